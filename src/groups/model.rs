//! A group, its members, and the room that a message is posted to.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use crate::clock;
use crate::hub::{Crowd, Hub};
use crate::ids::{GroupId, MemberId, SubscriptionId, UserId};

/// Standing of a member who may speak and hear.
pub const MEMBER_ACTIVE: i64 = 1;
/// Standing of somebody who waits for the owner's approval.
pub const MEMBER_WAITING: i64 = 2;
/// Status of a group that can be used.
pub const OPEN: i64 = 1;
/// Status of a group that its owner dissolved.
pub const DISSOLVED: i64 = 0;
/// Most avatars that make up a group's picture.
pub const AVATARS_MAX: usize = 9;
/// Longest composed picture, in bytes of JSON. The old server's column had as many characters.
const AVATAR_BYTES_MAX: usize = 4000;
/// Longest composed name, in UTF-16 units.
const NAME_UNITS_MAX: usize = 50;

/// A row of `chat_groups`.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
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
        self.status == OPEN
    }

    /// Whether it was not dissolved: a locked group still knows its members.
    pub const fn exists(&self) -> bool {
        self.status != DISSOLVED
    }

    /// The group as lists print it: without its last change.
    pub fn listed(&self) -> Card<'_> {
        Card { update_time: None, ..self.card() }
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
            update_time: Some(clock::iso(self.updated_at)),
        }
    }
}

/// The columns of a group's row that change with each message, and the version that tells whether anything else did.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct Counters {
    /// Row id.
    pub id: GroupId,
    /// The number of the newest message.
    pub last_seq: i64,
    /// Grows with every change of the group or its members.
    pub version: i64,
    /// See [`Group::status`].
    pub status: i64,
}

/// A group, without its members.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = GroupCard)]
pub struct Card<'a> {
    /// `YYYY-MM-DD HH:mm:ss` in UTC+8.
    create_time: String,
    id: GroupId,
    /// Public id.
    uuid: &'a str,
    /// The owner.
    user_id: UserId,
    /// The name.
    name: &'a str,
    /// Up to nine pictures joined by commas.
    avatar: &'a str,
    /// The announcement, or "".
    remark: &'a str,
    /// Who may join: 0 anyone, 1 whom the owner approves, 2 anyone but guests.
    invite_confirm: i64,
    /// 1 normal, 0 dissolved or disabled, 2 locked.
    status: i64,
    /// Always 50.
    order: i64,
    /// ISO-8601 in UTC; lists leave it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    update_time: Option<String>,
}

/// A row of `group_members` with the member's open subscription.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
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
    /// Where this subscription's deliveries are counted.
    pub subscription: SubscriptionId,
}

impl Member {
    /// Whether the member may speak and hear.
    pub const fn is_active(&self) -> bool {
        self.status == MEMBER_ACTIVE
    }
}

/// One member as a message sees it: small, since a message to thousands who are connected looks at each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Who it is.
    pub user: UserId,
    /// Where this subscription's deliveries are counted.
    pub subscription: SubscriptionId,
    /// Whether the member may speak and hear.
    pub active: bool,
    /// Which of the members it is.
    place: u32,
}

/// Everyone in a group, in whatever standing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct People {
    /// In the order in which they came.
    members: Vec<Member>,
    /// In the order of user ids, for the search of one.
    recipients: Vec<Recipient>,
    /// The same people, for the search of those who are connected.
    crowd: Crowd,
    active: usize,
}

impl People {
    /// Builds the indexes over the members.
    pub fn new(members: Vec<Member>) -> Self {
        let mut recipients: Vec<_> = (0..).zip(&members).map(|(place, member)| Recipient::of(place, member)).collect();
        recipients.sort_unstable_by_key(|recipient| recipient.user);
        let crowd = Crowd::new(recipients.iter().map(|recipient| recipient.user));
        let active = recipients.iter().filter(|recipient| recipient.active).count();
        Self { members, recipients, crowd, active }
    }

    /// With one member more, or in another standing or under another name.
    #[must_use]
    pub fn with(&self, member: Member) -> Self {
        let mut members = self.members.clone();
        match self.place(member.user_id) {
            Some(place) => members[place] = member,
            None => members.push(member),
        }
        Self::new(members)
    }

    /// Without one of them.
    #[must_use]
    pub fn without(&self, user: UserId) -> Self {
        Self::new(self.members.iter().filter(|member| member.user_id != user).cloned().collect())
    }

    fn place(&self, user: UserId) -> Option<usize> {
        let found = self.recipients.binary_search_by_key(&user, |recipient| recipient.user).ok()?;
        Some(self.recipients[found].place as usize)
    }
}

impl Recipient {
    const fn of(place: u32, member: &Member) -> Self {
        Self { user: member.user_id, subscription: member.subscription, active: member.is_active(), place }
    }
}

/// A group with everyone in it: what posting a message needs, kept in memory and checked by its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// The group.
    pub group: Group,
    /// Everyone in it, shared with older versions of the room that differ in the group alone.
    pub people: Arc<People>,
}

impl Room {
    /// The member, in whatever standing.
    pub fn member(&self, user: UserId) -> Option<&Member> {
        self.people.place(user).map(|place| &self.people.members[place])
    }

    /// How many may speak and hear.
    pub fn active(&self) -> usize {
        self.people.active
    }

    /// Those of all who are connected, in the order of their ids: the absent cost nothing, however many they are.
    pub fn connected<'a>(&'a self, hub: &'a Hub) -> impl Iterator<Item = &'a Recipient> {
        hub.connected(&self.people.crowd).map(|place| &self.people.recipients[place])
    }

    /// How many are in it, in whatever standing.
    pub fn len(&self) -> usize {
        self.people.members.len()
    }

    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.people.members.is_empty()
    }
}

/// A group of somebody's, with the person's own place in it (contract: messaging §4.23).
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Joined {
    /// The group.
    #[sqlx(flatten)]
    pub group: Group,
    /// The person's name in it, or "".
    pub my_nickname: String,
    /// The person's picture in it, or "".
    pub my_avatar: String,
}

/// An active member with the account behind it (contract: messaging §4.24).
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Participant {
    /// Row id of the member.
    pub id: MemberId,
    /// When the person came.
    pub created_at: i64,
    /// The name in the group, or "".
    pub nickname: String,
    /// The picture in the group, or "".
    pub avatar: String,
    /// Who it is.
    pub user_id: UserId,
    /// Public id.
    pub uuid: String,
    /// Unique name.
    pub username: String,
    /// The person's own name, or "".
    pub user_nickname: String,
    /// The person's own picture.
    pub user_avatar: String,
    /// `user` or `visitor`.
    pub role: String,
}

/// The name of a new group: those of its people, cut to the length that the old server stored.
pub fn composed_name<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut composed = String::new();
    let mut units = 0;
    let parts = names.into_iter().enumerate().flat_map(|(i, name)| [if i == 0 { "" } else { "、" }, name]);
    for char in parts.flat_map(str::chars) {
        units += char.len_utf16();
        if units > NAME_UNITS_MAX {
            break;
        }
        composed.push(char);
    }
    composed
}

/// How many bytes a text has in JSON, at most.
fn json_len(text: &str) -> usize {
    let escaped = |byte| match byte {
        b'"' | b'\\' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(escaped).sum()
}

/// The picture of a group: those of its first people, as many as fit. It is part of each message to the group, and of each row of
/// a list of groups.
pub fn composed_avatar<'a>(avatars: impl IntoIterator<Item = &'a str>) -> String {
    let mut composed: Option<String> = None;
    for avatar in avatars.into_iter().take(AVATARS_MAX) {
        let longer = composed.as_ref().map_or_else(|| avatar.to_owned(), |composed| format!("{composed},{avatar}"));
        if json_len(&longer) <= AVATAR_BYTES_MAX {
            composed = Some(longer);
        }
    }
    composed.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: i64, status: i64) -> Member {
        Member {
            id: MemberId(id),
            user_id: UserId(100 + id),
            nickname: String::new(),
            avatar: String::new(),
            status,
            created_at: 0,
            subscription: SubscriptionId(200 + id),
        }
    }

    #[test]
    fn a_composed_picture_is_bounded() {
        let url = "u".repeat(990);
        assert_eq!(composed_avatar([url.as_str(); 9]), [url.as_str(); 4].join(","), "four have room");
        assert_eq!(composed_avatar(["a", "b"]), "a,b");
        let wide = "\u{1}".repeat(1000);
        assert_eq!(composed_avatar(["a", &wide, "b"]), "a,b", "in JSON it has six thousand");
        assert_eq!(composed_avatar([&wide, "a", "b"]), "a,b", "no comma for what is not there");
        let quotes = "\"".repeat(1000);
        assert_eq!(composed_avatar([quotes.as_str(); 3]), quotes, "two thousand each, and a comma");
        assert_eq!(composed_avatar(["", "b"]), ",b");
    }

    #[test]
    fn a_composed_name_never_ends_in_half_a_character() {
        assert_eq!(composed_name(["my06", "彦祖", "老二"]), "my06、彦祖、老二");
        let (long, face) = ("x".repeat(46), "👍👍");
        assert_eq!(composed_name([long.as_str(), face]), format!("{long}、👍"), "49 units, the next takes two");
        assert_eq!(composed_name([long.as_str(), "ab", "c"]), format!("{long}、ab、"));
        assert_eq!(composed_name([]), "");
    }

    #[test]
    fn a_composed_picture_has_nine_parts_at_most() {
        assert_eq!(composed_avatar(["/a", "/b"]), "/a,/b");
        assert_eq!(composed_avatar(["/a"; 12]), ["/a"; 9].join(","));
    }

    #[test]
    fn a_change_of_one_member_leaves_the_others_as_they_were() {
        let people = People::new(vec![member(1, 1), member(2, 2)]);
        assert_eq!(people.with(member(3, 1)), People::new(vec![member(1, 1), member(2, 2), member(3, 1)]));
        assert_eq!(people.with(member(2, 1)), People::new(vec![member(1, 1), member(2, 1)]));
        assert_eq!(people.without(UserId(101)), People::new(vec![member(2, 2)]));
        assert_eq!(people.without(UserId(9)), people);
    }

    #[test]
    fn a_member_is_found_whatever_the_order_of_coming() {
        let members = [5, 1, 9, 3].map(|id| member(id, id % 2));
        let people = Arc::new(People::new(members.to_vec()));
        assert_eq!(members.iter().map(|one| people.place(one.user_id)).collect::<Vec<_>>(), [0, 1, 2, 3].map(Some));
        assert_eq!([0, 102, 110].map(|id| people.place(UserId(id))), [None; 3]);
    }
}
