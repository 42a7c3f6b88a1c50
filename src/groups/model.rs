//! A group, its members, and the room that a message is posted to.

use std::collections::HashMap;

use serde::Serialize;

use crate::clock;
use crate::ids::{GroupId, MemberId, SubscriptionId, UserId};

/// Standing of a member who may speak and hear.
pub const MEMBER_ACTIVE: i64 = 1;
/// Standing of somebody who waits for the owner's approval.
pub const MEMBER_WAITING: i64 = 2;

/// A row of `chat_groups`.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Group {
    /// Row id.
    pub id: GroupId,
    /// Public id.
    pub uuid: String,
    /// Who may rename, kick, approve and dissolve.
    pub owner_id: UserId,
    /// At most 50 UTF-16 units when composed, 20 code points when set.
    pub name: String,
    /// Up to nine avatars joined by commas.
    pub avatar: String,
    /// The announcement, or "".
    pub remark: String,
    /// 0 anyone joins, 1 the owner approves, 2 guests must log in first; 3 and above as 0 (decision 18).
    pub invite_confirm: i64,
    /// 1 normal; 0 dissolved or disabled; 2 locked.
    pub status: i64,
    /// Grows with every change of the group or its members.
    pub version: i64,
    /// Epoch milliseconds.
    pub created_at: i64,
    /// Epoch milliseconds.
    pub updated_at: i64,
}

impl Group {
    /// Whether the group can be used at all.
    pub const fn is_open(&self) -> bool {
        self.status == 1
    }

    /// The group as message frames carry it: every column, no members (decision 7).
    pub fn card(&self) -> Card<'_> {
        Card {
            create_time: clock::local(self.created_at),
            id: self.id,
            uuid: &self.uuid,
            user_id: self.owner_id,
            name: &self.name,
            avatar: &self.avatar,
            remark: &self.remark,
            invite_confirm: self.invite_confirm,
            status: self.status,
            order: 50,
            update_time: clock::iso(self.updated_at),
        }
    }
}

/// See [`Group::card`].
#[derive(Clone, Debug, Serialize)]
pub struct Card<'a> {
    create_time: String,
    id: GroupId,
    uuid: &'a str,
    user_id: UserId,
    name: &'a str,
    avatar: &'a str,
    remark: &'a str,
    invite_confirm: i64,
    status: i64,
    order: i64,
    update_time: String,
}

/// A row of `group_members` with the member's open subscription.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Member {
    /// Row id.
    pub id: MemberId,
    /// Who it is.
    pub user_id: UserId,
    /// The name in this group, or "".
    pub nickname: String,
    /// The picture in this group, or "".
    pub avatar: String,
    /// [`MEMBER_ACTIVE`], [`MEMBER_WAITING`], or 0 (muted).
    pub status: i64,
    /// Epoch milliseconds.
    pub created_at: i64,
    /// Where this stay's deliveries are counted.
    pub subscription: SubscriptionId,
}

impl Member {
    /// Whether the member may speak and hear.
    pub const fn is_active(&self) -> bool {
        self.status == MEMBER_ACTIVE
    }
}

/// A group with everyone in it: what posting a message needs, kept in memory and checked by its version.
#[derive(Debug)]
pub struct Room {
    /// The group.
    pub group: Group,
    /// In the order in which they joined.
    pub members: Vec<Member>,
    places: HashMap<UserId, usize>,
}

impl Room {
    /// Builds the index over the members.
    pub fn new(group: Group, members: Vec<Member>) -> Self {
        let places = members.iter().enumerate().map(|(place, member)| (member.user_id, place)).collect();
        Self { group, members, places }
    }

    /// The member, in whatever standing.
    pub fn member(&self, user: UserId) -> Option<&Member> {
        self.places.get(&user).map(|place| &self.members[*place])
    }

    /// Members who may speak and hear.
    pub fn active(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.is_active())
    }
}
