//! Coming into a group: by oneself, invited, or after the owner's approval (contract: messaging §4.36, 4.38; decision 18).

use serde_json::{Value, json};

use super::service::{settle, untied};
use crate::accounts::User;
use crate::accounts::service as accounts;
use crate::app::App;
use crate::error::{AppError, Result};
use crate::friends::service as friends;
use crate::groups::model::{MEMBER_WAITING, Member, Room};
use crate::groups::service::{self as groups, Edit};
use crate::http::component::encode;
use crate::ids::{GroupId, UserId};
use crate::messages::model::{Audience, Notice, Party, Redirect, SYSTEM_AVATAR, avatar_in_group, name_in_group};
use crate::messages::post::Post;

/// Join rule: the owner approves each who is not invited by the owner.
const RULE_APPROVAL: i64 = 1;
/// Join rule: guests must log in first, unless the owner invites them.
const RULE_NO_GUESTS: i64 = 2;

const ILLEGAL: AppError = AppError::refused("非法操作");

/// Somebody is to come into a group.
#[derive(Debug)]
pub struct Invitation {
    /// Where to.
    pub group: GroupId,
    /// Who.
    pub user: UserId,
    /// Who invites; 0 or less for those who come by themselves.
    pub inviter: i64,
    /// What is said about it, or "".
    pub reason: String,
}

/// What came of an [`Invitation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// In the group.
    Joined,
    /// The owner has been asked.
    Waiting,
}

/// Lets somebody into a group, or asks its owner, by the group's rule.
pub async fn invite(app: &App, me: &User, asked: &Invitation) -> Result<Outcome> {
    untied(|| try_invite(app, me, asked)).await
}

async fn try_invite(app: &App, me: &User, asked: &Invitation) -> Result<Outcome> {
    let joiner = accounts::user(app, asked.user).await?.filter(|user| user.is_enabled());
    // Read before the post, which must not wait for a second connection; nothing changes who owns a group.
    let owner = match groups::room(app, asked.group).await? {
        Some(room) => accounts::user(app, room.group.owner_id).await?,
        None => None,
    };
    let now_ms = app.clock.now_ms();
    let mut post = Post::begin(app).await?;
    let edit = groups::lock(app, &mut post.conn(), asked.group).await?.filter(|edit| edit.group.is_open());
    let mut edit = edit.ok_or_else(|| AppError::refused("群不存在或者被封禁"))?;
    let inviter = inviter(&mut post, &edit, me, asked).await?;
    match edit.member(&mut post.conn(), asked.user).await? {
        Some(member) if member.status == MEMBER_WAITING => {
            return Err(AppError::refused("已申请加入群聊，正在等待群主同意"));
        }
        Some(_) => return Err(AppError::refused("用户已经在群里")),
        None => {}
    }
    let joiner = joiner.ok_or_else(|| AppError::refused("加群的用户不存在或已被封禁，无法加入群聊"))?;
    let by_owner = inviter.is_some() && me.id == edit.group.owner_id;
    if edit.group.invite_confirm == RULE_NO_GUESTS && !by_owner && joiner.is_visitor() {
        return Err(AppError::refused("请先登录再申请进群"));
    }
    let approved = by_owner || edit.group.invite_confirm != RULE_APPROVAL;
    edit.join(&mut post.conn(), joiner.id, approved, now_ms).await?;
    let room = settle(&mut post, &edit).await?;
    // Guests invite too, but are not named.
    let inviter = inviter.as_ref().filter(|_| me.is_registered()).map(|member| name_in_group(Some(member), me));
    if approved {
        let notice = joined(&joiner, inviter, &room, now_ms);
        post.notify_group(joiner.id, &room, Audience::Members, &notice).await?;
    } else if let Some(owner) = owner
        // Applying again and again would be a way to write to somebody who has blocked me (decision 20).
        && !friends::is_blocked_by(&mut post.conn(), owner.id, me.id).await?
        && !friends::is_blocked_by(&mut post.conn(), owner.id, joiner.id).await?
    {
        let card = approval_card(&joiner, inviter, asked, &owner, &room, now_ms);
        post.notify(joiner.id, owner.id, &card).await?;
    }
    post.commit().await?;
    Ok(if approved { Outcome::Joined } else { Outcome::Waiting })
}

/// Who invites, which only an active member may do in the own name; the others come by themselves (decision 18).
async fn inviter(post: &mut Post<'_>, edit: &Edit, me: &User, asked: &Invitation) -> Result<Option<Member>> {
    if asked.inviter <= 0 {
        return if asked.user == me.id { Ok(None) } else { Err(ILLEGAL) };
    }
    if asked.inviter != me.id.0 {
        return Err(ILLEGAL);
    }
    edit.member(&mut post.conn(), me.id).await?.filter(Member::is_active).ok_or(ILLEGAL).map(Some)
}

/// The owner lets somebody in who waits, or does not.
pub async fn decide(app: &App, me: &User, group: GroupId, user: UserId, agreed: bool) -> Result<()> {
    untied(|| try_decide(app, me, group, user, agreed)).await
}

async fn try_decide(app: &App, me: &User, group: GroupId, user: UserId, agreed: bool) -> Result<()> {
    let applicant = accounts::user(app, user).await?.filter(|user| user.is_enabled());
    let now_ms = app.clock.now_ms();
    let mut post = Post::begin(app).await?;
    let edit = groups::lock(app, &mut post.conn(), group).await?;
    let edit = edit.filter(|edit| edit.group.is_open() && edit.group.owner_id == me.id);
    let mut edit = edit.ok_or_else(|| AppError::refused("群不存在或者被封禁或者你无权操作"))?;
    let member = edit.member(&mut post.conn(), user).await?.filter(|member| member.status == MEMBER_WAITING);
    let member = member.ok_or(ILLEGAL)?;
    if agreed {
        edit.approve(&mut post.conn(), member, now_ms).await?;
    } else {
        edit.remove(&mut post.conn(), &member).await?;
    }
    let room = settle(&mut post, &edit).await?;
    let Some(applicant) = applicant else {
        // As before, the decision stands.
        post.commit().await?;
        return Err(AppError::refused("用户不存在或者被封禁"));
    };
    if agreed {
        let notice = joined(&applicant, None, &room, now_ms);
        post.notify_group(applicant.id, &room, Audience::Members, &notice).await?;
    }
    post.commit().await
}

/// Tells the members, the new one included, who has come.
fn joined(joiner: &User, inviter: Option<&str>, room: &Room, now_ms: i64) -> Notice {
    let text = format!("{}[{}] 加入了群聊", invited_by(inviter), joiner.display_name());
    let from = Party::Card(format!("redirect-{}", key(room, joiner, now_ms)));
    Notice::group(from, "加群申请提醒", SYSTEM_AVATAR, room, text, now_ms)
}

/// Asks the owner.
fn approval_card(
    joiner: &User,
    inviter: Option<&str>,
    asked: &Invitation,
    owner: &User,
    room: &Room,
    now_ms: i64,
) -> Notice {
    let group = &room.group;
    let text = format!("请处理申请 {}[{}] 加入了群[{}]", invited_by(inviter), joiner.display_name(), group.name);
    let mut card = Notice::card(&key(room, joiner, now_ms), "加群处理", SYSTEM_AVATAR, owner, &text, now_ms);
    let desc = json!({
        "addGroupUserType": if asked.inviter > 0 { "邀请进群" } else { "用户自主进群" },
        "inviteUser": inviter.unwrap_or_default(),
        "addGroupTime": now_ms,
        "addGroupDesc": asked.reason,
        "addGroupUserRole": joiner.role,
        "msgidKey": card.msgid_key,
    });
    let place = room.member(owner.id);
    name_in_group(place, owner).clone_into(&mut card.to_name);
    avatar_in_group(place, owner).clone_into(&mut card.to_avatar);
    card.group = Some(serde_json::to_value(group.card()).expect("a card is plain data"));
    card.redirect = Some(Redirect { desc: Some(desc.clone()), ..Redirect::to(approval_url(joiner, room, &desc)) });
    card
}

/// The client's page on which the owner decides. It reads each part with `decodeURIComponent`, except the name of the
/// applicant, which it takes as it comes.
fn approval_url(joiner: &User, room: &Room, desc: &Value) -> String {
    let group = &room.group;
    format!(
        "/pages/setpageInfo/setpageInfo?action=applyAddGroup&title={}&id={}&name={}&avatar={}&chatType=group\
         &applyUserid={}&applyUsername={}&applyUseruuid={}&applyUseravatar={}&applydesc={}",
        encode("加群申请"),
        group.id,
        encode(&group.name),
        encode(&group.avatar),
        joiner.id,
        harmless(joiner.display_name()),
        joiner.uuid,
        encode(&joiner.avatar),
        encode(&desc.to_string()),
    )
}

/// A name that goes into an address as it is, without the characters that would end it there: people choose their names,
/// and with `x&applyUserid=1` somebody would have the owner decide about somebody else.
fn harmless(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for char in name.chars() {
        if matches!(char, '&' | '=' | '#' | '?' | '%' | '+') {
            text.extend(encode(char.encode_utf8(&mut [0; 4])));
        } else {
            text.push(char);
        }
    }
    text
}

fn key(room: &Room, joiner: &User, now_ms: i64) -> String {
    format!("applyAddGroup{}-{}-{now_ms}", room.group.id, joiner.id)
}

fn invited_by(inviter: Option<&str>) -> String {
    inviter.map(|name| format!("[{name}]邀请 ")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_name_cannot_add_to_the_address_it_stands_in() {
        assert_eq!(super::harmless("张三 👍/'(x)"), "张三 👍/'(x)");
        assert_eq!(super::harmless("x&applyUserid=1#?%+"), "x%26applyUserid%3D1%23%3F%25%2B");
    }
}
