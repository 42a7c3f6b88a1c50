//! Changes of a group and its members inside a transaction that holds the group's lock.
//!
//! A change begins with [`lock`], which makes races queue on both engines. It keeps [`Edit`] in step with the store, so that
//! the room of a group of thousands is known after each change without reading everyone again.

use std::sync::Arc;

use super::model::{DISSOLVED, Group, MEMBER_ACTIVE, MEMBER_WAITING, Member, People, Room, composed_avatar};
use super::{service, store};
use crate::app::App;
use crate::db::Conn;
use crate::db::sql::ROWS_MAX;
use crate::error::Result;
use crate::ids::{self, GroupId, MemberId, SubscriptionId, UserId};

/// A group that is locked for a change until the end of its transaction.
#[derive(Debug)]
pub struct Edit {
    /// The group as it is inside the transaction.
    pub group: Group,
    /// Everyone in it, if they were known when it was locked.
    people: Option<Arc<People>>,
}

/// Locks a group for a change; `None` if there is no such group or it was dissolved.
pub async fn lock(app: &App, conn: &mut Conn<'_>, id: GroupId) -> Result<Option<Edit>> {
    if !store::update_version(conn, id).await? {
        return Ok(None);
    }
    let Some(group) = store::find_group(conn, id).await?.filter(Group::exists) else { return Ok(None) };
    let people = service::known_people(app, id, group.version - 1);
    Ok(Some(Edit { group, people }))
}

/// Makes a group of its owner and `others`, the owner first.
pub async fn create(
    conn: &mut Conn<'_>,
    owner: UserId,
    others: &[UserId],
    name: String,
    avatar: String,
    now_ms: i64,
) -> Result<Edit> {
    let mut group = Group {
        id: GroupId::default(),
        uuid: ids::uuid(),
        owner_id: owner,
        name,
        avatar,
        remark: String::new(),
        invite_confirm: 0,
        status: 1,
        version: 0,
        created_at: now_ms,
        updated_at: now_ms,
    };
    group.id = store::insert_group(conn, &group).await?;
    store::insert_members(conn, group.id, &[owner], now_ms).await?;
    store::insert_subscriptions(conn, group.id, &[owner]).await?;
    for chunk in others.chunks(ROWS_MAX) {
        store::insert_members(conn, group.id, chunk, now_ms).await?;
        store::insert_subscriptions(conn, group.id, chunk).await?;
    }
    Ok(Edit { group, people: None })
}

impl Edit {
    /// Somebody's place in the group.
    pub async fn member(&self, conn: &mut Conn<'_>, user: UserId) -> Result<Option<Member>> {
        store::find_member(conn, self.group.id, user).await
    }

    /// Stores what was changed of `group` itself.
    pub async fn save(&mut self, conn: &mut Conn<'_>, now_ms: i64) -> Result<()> {
        self.group.updated_at = now_ms;
        store::update_group(conn, &self.group).await
    }

    /// Lets somebody in, who hears only what comes after; or has the person wait for the owner's approval.
    pub async fn join(&mut self, conn: &mut Conn<'_>, user: UserId, approved: bool, now_ms: i64) -> Result<()> {
        store::delete_spent_subscriptions(conn, self.group.id, user).await?;
        let mut member = Member {
            id: MemberId::default(),
            user_id: user,
            nickname: String::new(),
            avatar: String::new(),
            status: if approved { MEMBER_ACTIVE } else { MEMBER_WAITING },
            created_at: now_ms,
            subscription: SubscriptionId::default(),
        };
        member.id = store::insert_member(conn, self.group.id, &member).await?;
        member.subscription = store::insert_subscription(conn, self.group.id, user, approved).await?;
        self.put(member);
        if approved { self.refresh_avatar(conn, now_ms).await } else { Ok(()) }
    }

    /// Lets somebody in who has waited.
    pub async fn approve(&mut self, conn: &mut Conn<'_>, mut member: Member, now_ms: i64) -> Result<()> {
        member.status = MEMBER_ACTIVE;
        store::update_member(conn, &member, now_ms).await?;
        store::update_subscription_active(conn, self.group.id, member.subscription).await?;
        self.put(member);
        self.refresh_avatar(conn, now_ms).await
    }

    /// Gives a member another name in the group.
    pub async fn rename_member(
        &mut self,
        conn: &mut Conn<'_>,
        mut member: Member,
        name: String,
        now_ms: i64,
    ) -> Result<()> {
        member.nickname = name;
        store::update_member(conn, &member, now_ms).await?;
        self.put(member);
        Ok(())
    }

    /// Takes somebody out, whatever the standing. What was pending still arrives. The picture stays as it is.
    pub async fn remove(&mut self, conn: &mut Conn<'_>, member: &Member) -> Result<()> {
        store::delete_member(conn, member.id).await?;
        store::update_subscription_closed(conn, self.group.id, member.subscription).await?;
        self.people = self.people.take().map(|people| Arc::new(people.without(member.user_id)));
        Ok(())
    }

    /// Ends the group: everyone is out of it, and to the API it is gone. What was pending still arrives, so the notice of
    /// it is to be posted before.
    pub async fn dissolve(mut self, conn: &mut Conn<'_>, now_ms: i64) -> Result<()> {
        self.group.status = DISSOLVED;
        self.save(conn, now_ms).await?;
        store::delete_members(conn, self.group.id).await?;
        store::update_subscriptions_closed(conn, self.group.id).await
    }

    /// Composes the group's picture anew from those of its first active members.
    pub async fn refresh_avatar(&mut self, conn: &mut Conn<'_>, now_ms: i64) -> Result<()> {
        let avatars = store::list_avatars(conn, self.group.id).await?;
        let avatar =
            composed_avatar(avatars.iter().map(|(here, own)| if here.is_empty() { own } else { here }.as_str()));
        if avatars.is_empty() || avatar == self.group.avatar {
            return Ok(());
        }
        self.group.avatar = avatar;
        self.save(conn, now_ms).await
    }

    /// The group and everyone in it, as they are inside the transaction.
    pub async fn room(&self, conn: &mut Conn<'_>) -> Result<Arc<Room>> {
        let people = match &self.people {
            Some(people) => people.clone(),
            None => Arc::new(People::new(store::list_members(conn, self.group.id).await?)),
        };
        #[cfg(debug_assertions)]
        self.check(conn, &people).await?;
        Ok(Arc::new(Room { group: self.group.clone(), people }))
    }

    /// Every test run shows that what is kept in memory is what the store has.
    #[cfg(debug_assertions)]
    async fn check(&self, conn: &mut Conn<'_>, people: &People) -> Result<()> {
        let stored = store::find_group(conn, self.group.id).await?;
        assert_eq!(stored.as_ref(), Some(&self.group), "the group in memory is the group in the store");
        let members = store::list_members(conn, self.group.id).await?;
        assert_eq!(&People::new(members), people, "the members in memory are the members in the store");
        Ok(())
    }

    fn put(&mut self, member: Member) {
        self.people = self.people.take().map(|people| Arc::new(people.with(member)));
    }
}
