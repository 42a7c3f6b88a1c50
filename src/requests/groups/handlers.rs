//! Routes that change groups (API document chapters 21, 25-28, 35-38).

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::join::{self, Invitation, Outcome};
use super::service;
use crate::accounts::auth::{CurrentUser, RegisteredUser};
use crate::app::Shared;
use crate::error::{AppError, Result};
use crate::http::fields::INT_MAX;
use crate::http::{Draft, Fields, Payload, ok};
use crate::ids::{FriendshipId, GroupId, UserId};

/// Most rows that a group is made of.
const CHOSEN_MAX: usize = 10_000;

/// The rows of the friend list that make a group.
#[derive(Debug)]
pub struct Chosen(BTreeSet<FriendshipId>);

impl Draft for Chosen {
    /// What is no number names no row.
    fn read(fields: &Fields) -> Result<Self> {
        let ids = fields.list("userIds", "userIds")?;
        let chosen: BTreeSet<_> = ids.iter().filter_map(|id| id.trim().parse().ok().map(FriendshipId)).collect();
        if chosen.len() > CHOSEN_MAX {
            return Err(AppError::Invalid(format!("userIds 的个数 不能超过 {CHOSEN_MAX}")));
        }
        Ok(Self(chosen))
    }
}

/// `POST /api/chat/group/create`
pub async fn create(
    State(app): State<Shared>,
    RegisteredUser(me): RegisteredUser,
    Payload(Chosen(ids)): Payload<Chosen>,
) -> Result<Response> {
    let own = Arc::clone(&app);
    app.detached(async move { service::create(&own, &me.user, &ids).await }).await?;
    Ok(ok("ok"))
}

/// A group's new name.
#[derive(Debug)]
pub struct NewName {
    group: GroupId,
    name: String,
}

impl Draft for NewName {
    fn read(fields: &Fields) -> Result<Self> {
        Ok(Self { group: GroupId(fields.id("id", "群id")?), name: fields.string("name", "群名称", 1, 20)? })
    }
}

/// `POST /api/chat/groupUpdateName`
pub async fn rename(
    State(app): State<Shared>,
    RegisteredUser(me): RegisteredUser,
    Payload(NewName { group, name }): Payload<NewName>,
) -> Result<Response> {
    let own = Arc::clone(&app);
    app.detached(async move { service::rename(&own, &me.user, group, name).await }).await?;
    Ok(ok("ok"))
}

/// A group's new announcement.
#[derive(Debug)]
pub struct NewRemark {
    group: GroupId,
    remark: String,
}

impl Draft for NewRemark {
    fn read(fields: &Fields) -> Result<Self> {
        Ok(Self { group: GroupId(fields.id("id", "群id")?), remark: fields.string("remark", "群公告", 1, 500)? })
    }
}

/// `POST /api/chat/groupremark`
pub async fn set_remark(
    State(app): State<Shared>,
    RegisteredUser(me): RegisteredUser,
    Payload(NewRemark { group, remark }): Payload<NewRemark>,
) -> Result<Response> {
    let own = Arc::clone(&app);
    app.detached(async move { service::set_remark(&own, &me.user, group, remark).await }).await?;
    Ok(ok("ok"))
}

/// The bearer's new name in a group.
#[derive(Debug)]
pub struct NewNickname {
    group: GroupId,
    nickname: String,
}

impl Draft for NewNickname {
    fn read(fields: &Fields) -> Result<Self> {
        Ok(Self { group: GroupId(fields.id("id", "群id")?), nickname: fields.string("nickname", "群昵称", 1, 20)? })
    }
}

/// `POST /api/chat/groupnickname`
pub async fn set_nickname(
    State(app): State<Shared>,
    CurrentUser(me): CurrentUser,
    Payload(NewNickname { group, nickname }): Payload<NewNickname>,
) -> Result<Response> {
    let own = Arc::clone(&app);
    app.detached(async move { service::set_nickname(&own, &me.user, group, nickname).await }).await?;
    Ok(ok("ok"))
}

/// A group to leave.
#[derive(Debug)]
pub struct Left(GroupId);

impl Draft for Left {
    fn read(fields: &Fields) -> Result<Self> {
        Ok(Self(GroupId(fields.id("id", "群id")?)))
    }
}

/// `POST /api/chat/groupDeleteOrQuit`
pub async fn leave(
    State(app): State<Shared>,
    CurrentUser(me): CurrentUser,
    Payload(Left(group)): Payload<Left>,
) -> Result<Response> {
    let own = Arc::clone(&app);
    app.detached(async move { service::leave(&own, &me.user, group).await }).await?;
    Ok(ok("ok"))
}

/// Somebody to take out of a group.
#[derive(Debug)]
pub struct Removal {
    group: GroupId,
    user: UserId,
}

impl Draft for Removal {
    fn read(fields: &Fields) -> Result<Self> {
        Ok(Self { group: GroupId(fields.id("group_id", "群id")?), user: UserId(fields.id("user_id", "群成员id")?) })
    }
}

/// `POST /api/chat/groupDeleteUser`
pub async fn remove_member(
    State(app): State<Shared>,
    RegisteredUser(me): RegisteredUser,
    Payload(Removal { group, user }): Payload<Removal>,
) -> Result<Response> {
    let own = Arc::clone(&app);
    app.detached(async move { service::remove_member(&own, &me.user, group, user).await }).await?;
    Ok(ok("删除群成员成功"))
}

/// Who may join a group from now on.
#[derive(Debug)]
pub struct JoinRule {
    group: GroupId,
    rule: i64,
}

impl Draft for JoinRule {
    fn read(fields: &Fields) -> Result<Self> {
        Ok(Self {
            group: GroupId(fields.id("group_id", "群id")?),
            rule: fields.int("addGroupSet", "进群设置属性值", 0, 10)?,
        })
    }
}

/// `POST /api/chat/groupAddUserSet`
pub async fn set_join_rule(
    State(app): State<Shared>,
    RegisteredUser(me): RegisteredUser,
    Payload(JoinRule { group, rule }): Payload<JoinRule>,
) -> Result<Response> {
    let own = Arc::clone(&app);
    app.detached(async move { service::set_join_rule(&own, &me.user, group, rule).await }).await?;
    Ok(ok("设置成功"))
}

impl Draft for Invitation {
    fn read(fields: &Fields) -> Result<Self> {
        Ok(Self {
            group: GroupId(fields.id("group_id", "群id")?),
            user: UserId(fields.id("user_id", "用户id")?),
            inviter: fields.optional_int("inviteuser_id", -INT_MAX, INT_MAX, 0),
            reason: fields.optional_string("addGroupDesc", 0, 500),
        })
    }
}

/// `POST /api/chat/groupInviteUser`
pub async fn invite(
    State(app): State<Shared>,
    CurrentUser(me): CurrentUser,
    Payload(invitation): Payload<Invitation>,
) -> Result<Response> {
    let own = Arc::clone(&app);
    let outcome = app.detached(async move { join::invite(&own, &me.user, &invitation).await }).await?;
    Ok(ok(match outcome {
        Outcome::Joined => "加群成功",
        Outcome::Waiting => "等待群主同意",
    }))
}

/// What the owner says to somebody who waits.
#[derive(Debug)]
pub struct Decision {
    group: GroupId,
    user: UserId,
    agreed: bool,
}

impl Draft for Decision {
    fn read(fields: &Fields) -> Result<Self> {
        Ok(Self {
            group: GroupId(fields.id("group_id", "群id")?),
            user: UserId(fields.id("user_id", "进群的用户id")?),
            agreed: fields.choice("type", "同意或者拒绝", &["agree", "no"])? == "agree",
        })
    }
}

/// `POST /api/chat/groupAgreeOrNo`
pub async fn decide(
    State(app): State<Shared>,
    RegisteredUser(me): RegisteredUser,
    Payload(Decision { group, user, agreed }): Payload<Decision>,
) -> Result<Response> {
    let own = Arc::clone(&app);
    app.detached(async move { join::decide(&own, &me.user, group, user, agreed).await }).await?;
    Ok(ok("处理成功"))
}
