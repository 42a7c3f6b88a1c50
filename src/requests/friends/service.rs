//! The rules of becoming friends and of parting. Each change is one posting transaction: the facts and their notices are
//! stored together or not at all, and requests that race take turns. Run each to its end ([`App::detached`]).
//!
//! Whoever inserts, answers or removes a pending application changes the count of the person asked in the same transaction,
//! by what the store says that it did.

use std::sync::Arc;

use super::model::{Application, Listed, Status, application_card, welcomes};
use super::store;
use crate::accounts::User;
use crate::accounts::service as accounts;
use crate::app::App;
use crate::db::{Conn, is_unique_violation};
use crate::error::{AppError, Result};
use crate::friends::service::{self as friends, Side};
use crate::ids::{ApplicationId, UserId};
use crate::messages::post::Post;

/// Most applications in one page: a bound on memory, far above what a client asks for.
const PAGE_MAX: i64 = 1000;

const ASKED_ALREADY: AppError = AppError::refused("您已经申请过了，请勿重复申请");
const NOT_OPEN: AppError = AppError::refused("申请不存在或已处理");

/// Asks `to` to be friends; whoever it is gets a card (E1).
pub async fn apply(app: &App, me: &User, to: UserId, note: &str) -> Result<()> {
    let target = target(app, me, to).await?;
    // A refusal costs no turn in the posting order.
    check_first(&mut app.db.read().await?.conn(), me.id, to).await?;
    let now_ms = app.clock.now_ms();
    let mut post = Post::begin(app).await?;
    check_first(&mut post.conn(), me.id, to).await?;
    insert(&mut post.conn(), (me.id, to), note, Status::Pending, now_ms).await?;
    post.notify(me.id, to, &application_card(me, &target, now_ms)).await?;
    post.commit().await
}

/// Makes `to` and me friends at once, if `to` lets anyone do that; both are told (E2).
pub async fn add(app: &App, me: &User, to: UserId, note: &str) -> Result<()> {
    let target = target(app, me, to).await?;
    if target.invite_confirm != 0 {
        return Err(AppError::refused("需要对方审核，不能自动加对方为好友"));
    }
    check_first(&mut app.db.read().await?.conn(), me.id, to).await?;
    let mut post = Post::begin(app).await?;
    check_first(&mut post.conn(), me.id, to).await?;
    insert(&mut post.conn(), (me.id, to), note, Status::Agree, app.clock.now_ms()).await?;
    befriend(app, &mut post, me, &target, "").await?;
    post.commit().await
}

/// Whom I may ask: anyone but me who exists and is enabled.
async fn target(app: &App, me: &User, id: UserId) -> Result<Arc<User>> {
    if id == me.id {
        return Err(AppError::refused("不能添加自己为好友"));
    }
    let target = accounts::user(app, id).await?.filter(|user| user.is_enabled());
    target.ok_or_else(|| AppError::refused("添加的好友不存在"))
}

/// Refuses a second application. One that was agreed to counts only while the two are friends: a leftover must not keep
/// them apart for ever (the old backend's fault).
async fn check_first(conn: &mut Conn<'_>, me: UserId, to: UserId) -> Result<()> {
    if store::find_pending(conn, me, to).await?.is_some() {
        return Err(ASKED_ALREADY);
    }
    if friends::are_friends(conn, me, to).await? && store::agreed_exists(conn, me, to).await? {
        return Err(ASKED_ALREADY);
    }
    Ok(())
}

/// The unique index has the last word between servers that share a database.
async fn insert(conn: &mut Conn<'_>, pair: (UserId, UserId), note: &str, status: Status, now_ms: i64) -> Result<()> {
    let inserted = store::insert(conn, pair, note, status, now_ms).await;
    inserted.map_err(|error| if is_unique_violation(&error) { ASKED_ALREADY } else { error })?;
    if status == Status::Pending { store::upsert_pending_count(conn, pair.1, 1).await } else { Ok(()) }
}

/// Answers an application to me. `Pending` leaves it as it is; `Agree` makes us friends, with `remark` as my name for the
/// applicant, and tells both (E2).
pub async fn answer(app: &App, me: &User, id: ApplicationId, answer: Status, remark: &str) -> Result<()> {
    let open = store::find_open(&mut app.db.read().await?.conn(), id, me.id).await?.ok_or(NOT_OPEN)?;
    if answer == Status::Pending {
        return Ok(());
    }
    let applicant = accounts::user(app, open.user_id).await?.ok_or(NOT_OPEN)?;
    let mut post = Post::begin(app).await?;
    if !store::update_settled(&mut post.conn(), id, answer, app.clock.now_ms()).await? {
        return Err(NOT_OPEN);
    }
    store::upsert_pending_count(&mut post.conn(), me.id, -1).await?;
    if answer == Status::Agree {
        befriend(app, &mut post, me, &applicant, remark).await?;
    }
    post.commit().await
}

/// Enters both into each other's list and tells both, except who has blocked me. The other's remark for me is my own nickname, as it
/// always was.
async fn befriend(app: &App, post: &mut Post<'_>, me: &User, other: &User, remark: &str) -> Result<()> {
    let now_ms = app.clock.now_ms();
    let (mine, theirs) = (Side { user: me.id, remark }, Side { user: other.id, remark: &me.nickname });
    friends::befriend(&mut post.conn(), mine, theirs, now_ms).await?;
    post.friends_changed(me.id, other.id);
    let other_name = if remark.is_empty() { other.display_name() } else { remark };
    let [to_other, to_me] = welcomes(me, other, other_name, now_ms);
    // Parting and adding again would be a way to write to somebody who has blocked me (decision 20).
    if !friends::is_blocked_by(&mut post.conn(), other.id, me.id).await? {
        post.notify(me.id, other.id, &to_other).await?;
    }
    post.notify(other.id, me.id, &to_me).await
}

/// Ends a friendship for both (whoever has blocked me keeps the own side, and me blocked) and forgets every application between the two; nobody is told.
pub async fn part(app: &App, me: UserId, friend: UserId) -> Result<()> {
    const NO_FRIEND: AppError = AppError::refused("不是好友关系，无权操作");
    friends::find(app, me, friend).await?.ok_or(NO_FRIEND)?;
    let mut post = Post::begin(app).await?;
    if !friends::part(&mut post.conn(), me, friend).await? {
        return Err(NO_FRIEND);
    }
    for (user, asked) in [(me, friend), (friend, me)] {
        if store::delete_pending(&mut post.conn(), user, asked).await? {
            store::upsert_pending_count(&mut post.conn(), asked, -1).await?;
        }
    }
    store::delete_pair(&mut post.conn(), me, friend).await?;
    post.friends_changed(me, friend);
    post.commit().await
}

/// A page of what others ask of me, newest first, and how many of all have no answer.
pub async fn list(app: &App, me: UserId, page: i64, limit: i64) -> Result<(Vec<Listed>, i64)> {
    let limit = limit.min(PAGE_MAX);
    let offset = page.saturating_sub(1).saturating_mul(limit);
    let mut reader = app.db.read().await?;
    let listed = store::list_page(&mut reader.conn(), me, limit, offset).await?;
    let pending = store::find_pending_count(&mut reader.conn(), me).await?;
    Ok((listed, pending))
}

/// What the person with this public id asks of me.
pub async fn find_from(app: &App, me: UserId, uuid: &str) -> Result<Application> {
    let mut reader = app.db.read().await?;
    let user = accounts::find_by_uuid(&mut reader.conn(), uuid).await?;
    let user = user.ok_or_else(|| AppError::refused("用户不存在"))?;
    let pending = store::find_pending(&mut reader.conn(), user.id, me).await?;
    pending.ok_or_else(|| AppError::refused("用户申请信息不存在"))
}
