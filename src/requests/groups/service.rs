//! Making, naming, leaving and ending groups (contract: messaging §4.21, 4.25-4.28, 4.35, 4.37). Each call changes the facts
//! under the group's lock and posts its notice in the same transaction.

use std::collections::BTreeSet;
use std::iter;
use std::sync::Arc;

use crate::accounts::User;
use crate::accounts::service as accounts;
use crate::app::App;
use crate::clock;
use crate::db::is_deadlock;
use crate::error::{AppError, Result};
use crate::friends::service as friends;
use crate::groups::model::{Group, Member, Room, composed_avatar, composed_name};
use crate::groups::service::{self as groups, Edit};
use crate::ids::{FriendshipId, GroupId, UserId};
use crate::messages::model::{Audience, Notice, Party, avatar_in_group, name_in_group};
use crate::messages::post::Post;

/// How often what touches cursors is tried.
const ATTEMPTS_MAX: u32 = 4;

/// Does what touches cursors of members, which confirmations move at the same time (the end of a large group, all of them), so that
/// MySQL may have to break a tie: then it is tried again.
pub(super) async fn untied<T, F: Future<Output = Result<T>>>(attempt: impl Fn() -> F) -> Result<T> {
    for _ in 1..ATTEMPTS_MAX {
        match attempt().await {
            Err(cause) if is_deadlock(&cause) => {}
            outcome => return outcome,
        }
    }
    attempt().await
}

/// Makes a group of the bearer and those friends that `chosen` rows of the own list name.
pub async fn create(app: &App, me: &User, chosen: &BTreeSet<FriendshipId>) -> Result<()> {
    let chosen: BTreeSet<UserId> = friends::reachable(app, me.id, chosen).await?.into_iter().collect();
    if chosen.is_empty() {
        return Err(AppError::refused("请选择加入群聊的用户"));
    }
    let others = accounts::enabled_users(app, &chosen).await?;
    if others.is_empty() {
        return Err(AppError::refused("用户不存在，无法加入群聊"));
    }
    let everyone = || iter::once(me).chain(&others);
    let name = composed_name(everyone().map(User::display_name));
    let avatar = composed_avatar(everyone().map(|user| user.avatar.as_str()));
    let others: Vec<UserId> = others.iter().map(|user| user.id).collect();
    let now_ms = app.clock.now_ms();

    let mut post = Post::begin(app).await?;
    let edit = groups::create(&mut post.conn(), me.id, &others, name, avatar, now_ms).await?;
    let room = settle(&mut post, &edit).await?;
    let text = format!("{}创建了一个群，大家可以开始聊天了", me.display_name());
    let notice = from_member(me, None, &room, text, now_ms);
    post.notify_group(me.id, &room, Audience::Members, &notice).await?;
    post.commit().await
}

/// Gives the owner's group another name.
pub async fn rename(app: &App, me: &User, id: GroupId, name: String) -> Result<()> {
    let text = format!("群名称修改为：{name}");
    announce(app, me, id, AppError::refused("只有群主才能修改群名称"), text, |group| group.name = name).await
}

/// Puts another announcement up in the owner's group.
pub async fn set_remark(app: &App, me: &User, id: GroupId, remark: String) -> Result<()> {
    let text = format!("[公告] \n\n {remark}");
    announce(app, me, id, AppError::refused("只有群主才能修改群公告"), text, |group| group.remark = remark).await
}

/// Changes the owner's group and tells everyone in it. `refusal` is what others hear.
async fn announce(
    app: &App,
    me: &User,
    id: GroupId,
    refusal: AppError,
    text: String,
    change: impl FnOnce(&mut Group),
) -> Result<()> {
    let now_ms = app.clock.now_ms();
    let mut post = Post::begin(app).await?;
    let edit = groups::lock(app, &mut post.conn(), id).await?;
    let mut edit = edit.filter(|edit| edit.group.is_open() && edit.group.owner_id == me.id).ok_or(refusal)?;
    change(&mut edit.group);
    edit.save(&mut post.conn(), now_ms).await?;
    let room = settle(&mut post, &edit).await?;
    let Some(owner) = room.member(me.id) else {
        // An owner without a place in the group comes from an import only; as before, the change stands.
        post.commit().await?;
        return Err(AppError::refused("无法通知群成员"));
    };
    let notice = from_member(me, Some(owner), &room, text, now_ms);
    post.notify_group(me.id, &room, Audience::Everyone, &notice).await?;
    post.commit().await
}

/// Changes the bearer's name in a group. Nobody is told: the next message carries it.
pub async fn set_nickname(app: &App, me: &User, id: GroupId, nickname: String) -> Result<()> {
    const OUTSIDE: AppError = AppError::refused("你不在该群聊中，无法修改昵称");
    let mut post = Post::begin(app).await?;
    let mut edit = groups::lock(app, &mut post.conn(), id).await?.ok_or(OUTSIDE)?;
    let member = edit.member(&mut post.conn(), me.id).await?.filter(Member::is_active).ok_or(OUTSIDE)?;
    edit.rename_member(&mut post.conn(), member, nickname, app.clock.now_ms()).await?;
    settle(&mut post, &edit).await?;
    post.commit().await
}

/// Ends the bearer's own group, or takes the bearer out of another's.
pub async fn leave(app: &App, me: &User, id: GroupId) -> Result<()> {
    untied(|| try_leave(app, me, id)).await
}

async fn try_leave(app: &App, me: &User, id: GroupId) -> Result<()> {
    let now_ms = app.clock.now_ms();
    let mut post = Post::begin(app).await?;
    let edit = groups::lock(app, &mut post.conn(), id).await?.ok_or_else(|| AppError::refused("群不存在"))?;
    let member = edit.member(&mut post.conn(), me.id).await?;
    let member = member.ok_or_else(|| AppError::refused("你不在该群聊中，操作失败"))?;
    if edit.group.owner_id == me.id {
        dissolve(post, edit, me, &member, now_ms).await
    } else {
        quit(post, edit, me, &member, now_ms).await
    }
}

/// The notice is numbered before everyone is out, so that it is the last that they get of the group.
async fn dissolve(mut post: Post<'_>, edit: Edit, me: &User, member: &Member, now_ms: i64) -> Result<()> {
    let id = edit.group.id;
    let room = edit.room(&mut post.conn()).await?;
    let text = format!("群主于 {} 解散了该群", clock::spoken(now_ms));
    let notice = from_member(me, Some(member), &room, text, now_ms);
    post.notify_group(me.id, &room, Audience::Everyone, &notice).await?;
    edit.dissolve(&mut post.conn(), now_ms).await?;
    post.group_changed(id, None);
    post.commit().await
}

async fn quit(mut post: Post<'_>, mut edit: Edit, me: &User, member: &Member, now_ms: i64) -> Result<()> {
    edit.remove(&mut post.conn(), member).await?;
    let room = settle(&mut post, &edit).await?;
    // As an application is not told of either (decision 20).
    if !friends::is_blocked_by(&mut post.conn(), room.group.owner_id, me.id).await? {
        let text = format!("{}于 {} 已退出群聊", name_in_group(Some(member), me), clock::spoken(now_ms));
        let notice = from_member(me, Some(member), &room, text, now_ms);
        post.notify(me.id, room.group.owner_id, &notice).await?;
    }
    post.commit().await
}

/// Takes somebody out of the owner's group. Nobody is told, as before; somebody who is not in it is out already.
pub async fn remove_member(app: &App, me: &User, id: GroupId, user: UserId) -> Result<()> {
    untied(|| try_remove_member(app, me, id, user)).await
}

async fn try_remove_member(app: &App, me: &User, id: GroupId, user: UserId) -> Result<()> {
    let mut post = Post::begin(app).await?;
    let edit = groups::lock(app, &mut post.conn(), id).await?.filter(|edit| edit.group.owner_id == me.id);
    let mut edit = edit.ok_or_else(|| AppError::refused("只有群主才能操作"))?;
    if user == me.id {
        return Err(AppError::refused("群主不能删除自己"));
    }
    let Some(member) = edit.member(&mut post.conn(), user).await? else { return Ok(()) };
    edit.remove(&mut post.conn(), &member).await?;
    edit.refresh_avatar(&mut post.conn(), app.clock.now_ms()).await?;
    settle(&mut post, &edit).await?;
    post.commit().await
}

/// Says who may join the owner's group: see [`Group::invite_confirm`].
pub async fn set_join_rule(app: &App, me: &User, id: GroupId, rule: i64) -> Result<()> {
    let mut post = Post::begin(app).await?;
    let edit = groups::lock(app, &mut post.conn(), id).await?;
    let edit = edit.filter(|edit| edit.group.is_open() && edit.group.owner_id == me.id);
    let mut edit = edit.ok_or_else(|| AppError::refused("群不存在或者被封禁或者你无权操作"))?;
    edit.group.invite_confirm = rule;
    edit.save(&mut post.conn(), app.clock.now_ms()).await?;
    settle(&mut post, &edit).await?;
    post.commit().await
}

/// The changes are made: hands the room that they leave to `post`, which keeps it from the commit on.
pub(super) async fn settle(post: &mut Post<'_>, edit: &Edit) -> Result<Arc<Room>> {
    let room = edit.room(&mut post.conn()).await?;
    post.group_changed(room.group.id, Some(room.clone()));
    Ok(room)
}

/// What a member says to the group through the system.
fn from_member(me: &User, member: Option<&Member>, room: &Room, text: String, now_ms: i64) -> Notice {
    let (name, avatar) = (name_in_group(member, me), avatar_in_group(member, me));
    Notice::group(Party::Id(me.id.0), name, avatar, room, text, now_ms)
}
