//! The rules of accounts: registration, login, single login, passwords, profiles.

use std::net::IpAddr;
use std::sync::Arc;

use quick_cache::sync::Cache;

use super::model::{Account, AccountRow, NewUser, Profile, Role, SessionRow, User};
use super::passwords::Verdict;
use super::store;
use super::tokens::Claims;
use crate::app::App;
use crate::clock::{DAY_MS, HOUR_MS, MINUTE_MS};
use crate::config;
use crate::db::{Conn, is_unique_violation};
use crate::error::{AppError, Result};
use crate::hub::Ticket;
use crate::ids::{self, UserId};
use crate::limits::SlidingLimit;

/// Users kept in memory with their live tokens: what every request needs.
const CACHED_USERS_MAX: usize = 100_000;
/// How long a changed picture is announced at the next socket.
const AVATAR_CHANGE_MS: i64 = MINUTE_MS;
/// Most such announcements that wait.
const AVATAR_CHANGES_MAX: usize = 10_000;
/// Close code for a user's sockets whose token was replaced; the client then shows its own dialog (decision 12).
pub const CLOSE_SUPERSEDED: u16 = 4001;

const USERNAME_TAKEN: AppError = AppError::refused("该账号已存在，请换一个账号注册");
const TOO_MANY: AppError = AppError::refused("请求过于频繁，请1个小时后再试");

/// What this feature keeps in memory; the store has the truth.
#[derive(Debug)]
pub struct State {
    cache: Cache<UserId, Arc<Known>>,
    /// Who changed the picture, and when: the next socket tells the client (contract: people §3, `updateUserinfo`).
    avatar_changes: Cache<UserId, i64>,
    failures: SlidingLimit<(String, IpAddr)>,
    failures_by_address: SlidingLimit<IpAddr>,
}

/// A user and the tokens that are live.
#[derive(Debug)]
struct Known {
    user: Arc<User>,
    sessions: Vec<SessionRow>,
}

/// Somebody with a live token.
#[derive(Clone, Debug)]
pub struct Bearer {
    /// The row, at most as old as its last change.
    pub user: Arc<User>,
    /// How the token lets them act.
    pub role: Role,
    /// The token's `jti`.
    pub token_id: String,
}

/// Why a token does not open a door; HTTP and `/ws` word it differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Not ours, expired, superseded or revoked.
    Token,
    /// The user's row is gone.
    Missing,
    /// The user was disabled.
    Disabled,
}

impl State {
    /// Empty, with limits from the configuration.
    pub fn new(limits: &config::Limits) -> Self {
        Self {
            cache: Cache::new(CACHED_USERS_MAX),
            avatar_changes: Cache::new(AVATAR_CHANGES_MAX),
            failures: SlidingLimit::new(limits.login_failures_per_hour, HOUR_MS),
            failures_by_address: SlidingLimit::new(limits.login_failures_per_address, HOUR_MS),
        }
    }
}

/// Makes a registered account and logs it in (contract: people §3, chapter 1).
pub async fn register(app: &App, username: &str, password: &str, ip: IpAddr) -> Result<Account> {
    let taken =
        store::find_account_by_username(&mut app.db.read().await?.conn(), &store::username_key(username)).await?;
    if taken.is_some() {
        return Err(USERNAME_TAKEN);
    }
    let password_hash = app.passwords.hash(password).await?;
    let new = NewUser {
        uuid: ids::uuid(),
        username,
        password_hash: &password_hash,
        role: Role::User,
        device_id: None,
        stats: super::model::DeviceStats::default(),
        last_login_at: None,
        now_ms: app.clock.now_ms(),
    };
    let id = insert(app, &new).await?;
    open_session(app, id, Role::User, ip).await
}

/// Inserts a user with a profile; a name that was taken meanwhile is refused.
pub async fn insert(app: &App, new: &NewUser<'_>) -> Result<UserId> {
    let mut tx = app.db.begin().await?;
    let id = store::insert_user(&mut tx.conn(), new).await.map_err(taken)?;
    store::insert_profile(&mut tx.conn(), id, new.now_ms).await?;
    tx.commit().await?;
    Ok(id)
}

/// Gives the guest of a device a name and a password: the row, its friends and chats stay, the device is unlinked
/// (decision 15). The guest's token stays valid: its socket lives on in the same page.
pub async fn upgrade_guest(app: &App, guest: UserId, username: &str, password: &str, ip: IpAddr) -> Result<Account> {
    let password_hash = app.passwords.hash(password).await?;
    let mut tx = app.db.begin().await?;
    let upgraded = store::update_guest_to_user(&mut tx.conn(), guest, username, &password_hash, app.clock.now_ms())
        .await
        .map_err(taken)?;
    tx.commit().await?;
    forget(app, guest);
    if !upgraded {
        return Err(USERNAME_TAKEN);
    }
    open_session(app, guest, Role::User, ip).await
}

/// Checks username and password and issues a token (contract: people §3, "login core").
pub async fn login(app: &App, username: &str, password: &str, ip: IpAddr) -> Result<Account> {
    let key = store::username_key(username);
    let now_ms = app.clock.now_ms();
    let failures = &app.accounts.failures;
    let by_address = &app.accounts.failures_by_address;
    // Counted before the check and given back when the password is right, so that parallel guesses count too.
    if !failures.take((key.clone(), ip), now_ms) {
        return Err(TOO_MANY);
    }
    if !by_address.take(ip, now_ms) {
        failures.give_back(&(key, ip));
        return Err(TOO_MANY);
    }
    let outcome = check_password(app, &key, password).await;
    let wrong = matches!(&outcome, Err(AppError::Refused(_)));
    if !wrong {
        failures.give_back(&(key, ip));
        by_address.give_back(&ip);
    }
    let row = outcome?;
    let role = if row.role == Role::Visitor.as_str() { Role::Visitor } else { Role::User };
    open_session(app, row.id, role, ip).await
}

async fn check_password(app: &App, key: &str, password: &str) -> Result<AccountRow> {
    let row = store::find_account_by_username(&mut app.db.read().await?.conn(), key).await?;
    let Some(row) = row.filter(|row| row.status == 1) else {
        app.passwords.verify_nobody(password).await?;
        return Err(AppError::refused("账号不存在或者被禁用"));
    };
    match app.passwords.verify(password, &row.password_hash).await? {
        Verdict::Wrong => return Err(AppError::refused("账户或密码错误")),
        Verdict::Right => {}
        Verdict::RightButOld => {
            let hash = app.passwords.hash(password).await?;
            let mut tx = app.db.begin().await?;
            store::update_password(&mut tx.conn(), row.id, &hash, app.clock.now_ms()).await?;
            tx.commit().await?;
        }
    }
    Ok(row)
}

/// Issues a token of `role` and makes it the only live one of its role (decision 11). When a user token is replaced, the
/// sockets that carry the old one are closed.
pub async fn open_session(app: &App, user: UserId, role: Role, ip: IpAddr) -> Result<Account> {
    let now_ms = app.clock.now_ms();
    let session = SessionRow {
        role: role.into(),
        token_id: ids::uuid(),
        issued_at: now_ms,
        expires_at: now_ms + app.config.tokens.ttl_days * DAY_MS,
    };
    let mut tx = app.db.begin().await?;
    store::update_last_login(&mut tx.conn(), user, &ip.to_string(), now_ms).await?;
    store::upsert_session(&mut tx.conn(), user, &session).await?;
    let row = store::find_account(&mut tx.conn(), user).await?;
    tx.commit().await?;
    forget(app, user);
    let row = row.ok_or_else(|| AppError::refused("账号不存在或者被禁用"))?;
    if role == Role::User {
        let superseded = |ticket: &Ticket| ticket.registered && *ticket.token_id != *session.token_id;
        app.hub.revoke(user, Some(CLOSE_SUPERSEDED), &|ticket| !superseded(ticket));
    }
    account(app, row, role, &session)
}

/// The account with the live token of `role` printed again, if there is one (decision 14).
pub async fn reopen_session(app: &App, row: AccountRow, role: Role) -> Result<Option<Account>> {
    let sessions = store::list_sessions(&mut app.db.read().await?.conn(), row.id).await?;
    let live = |session: &&SessionRow| session.role == role.as_str() && session.expires_at > app.clock.now_ms();
    match sessions.iter().find(live) {
        Some(session) => account(app, row, role, session).map(Some),
        None => Ok(None),
    }
}

fn account(app: &App, row: AccountRow, role: Role, session: &SessionRow) -> Result<Account> {
    let token = app.tokens.sign(&Claims {
        id: row.id,
        uuid: row.uuid.clone(),
        username: row.username.clone(),
        role,
        jti: session.token_id.clone(),
        iat: session.issued_at / 1000,
        exp: session.expires_at / 1000,
    })?;
    Ok(Account::new(row, role, token))
}

/// Ends every token of the bearer. Sockets stay open, since the client closes them itself, but get no more pushes
/// (decision 30).
pub async fn logout(app: &App, user: UserId) -> Result<()> {
    end_sessions(app, user, "", None).await
}

/// Ends every token of `user` except `keep`; their sockets get no more pushes, and those of role user close with `code`.
async fn end_sessions(app: &App, user: UserId, keep: &str, code: Option<u16>) -> Result<()> {
    let mut tx = app.db.begin().await?;
    store::delete_sessions_except(&mut tx.conn(), user, keep).await?;
    tx.commit().await?;
    forget(app, user);
    app.hub.revoke(user, code, &|ticket| *ticket.token_id == *keep);
    Ok(())
}

/// Replaces the bearer's password; every other token ends (decision 30).
pub async fn set_password(app: &App, me: &Bearer, old: &str, new: &str) -> Result<()> {
    let row = store::find_account(&mut app.db.read().await?.conn(), me.user.id).await?;
    let row = row.ok_or_else(|| AppError::refused("用户不存在，无法修改密码"))?;
    if app.passwords.verify(old, &row.password_hash).await? == Verdict::Wrong {
        return Err(AppError::refused("原始密码错误，无法修改密码"));
    }
    let hash = app.passwords.hash(new).await?;
    let mut tx = app.db.begin().await?;
    store::update_password(&mut tx.conn(), me.user.id, &hash, app.clock.now_ms()).await?;
    tx.commit().await?;
    end_sessions(app, me.user.id, &me.token_id, Some(CLOSE_SUPERSEDED)).await
}

/// Who bears `token`, if it is live.
pub async fn authenticate(app: &App, token: &str) -> Result<Result<Bearer, Rejection>> {
    let now_ms = app.clock.now_ms();
    let Some(claims) = app.tokens.verify(token, now_ms) else { return Ok(Err(Rejection::Token)) };
    let Some(known) = known(app, claims.id).await? else { return Ok(Err(Rejection::Missing)) };
    let live = known.sessions.iter().any(|session| {
        session.role == claims.role.as_str() && session.token_id == claims.jti && session.expires_at > now_ms
    });
    if !live {
        return Ok(Err(Rejection::Token));
    }
    if known.user.status == 0 {
        return Ok(Err(Rejection::Disabled));
    }
    Ok(Ok(Bearer { user: known.user.clone(), role: claims.role, token_id: claims.jti }))
}

/// The user with this id, from memory if it can be.
pub async fn user(app: &App, id: UserId) -> Result<Option<Arc<User>>> {
    Ok(known(app, id).await?.map(|known| known.user.clone()))
}

async fn known(app: &App, id: UserId) -> Result<Option<Arc<Known>>> {
    // A row that changes while it is loaded is not kept: `forget` also removes the placeholder.
    let guard = match app.accounts.cache.get_value_or_guard_async(&id).await {
        Ok(known) => return Ok(Some(known)),
        Err(guard) => guard,
    };
    let mut reader = app.db.read().await?;
    let Some(user) = store::find_user(&mut reader.conn(), id).await? else { return Ok(None) };
    let sessions = store::list_sessions(&mut reader.conn(), id).await?;
    let known = Arc::new(Known { user: Arc::new(user), sessions });
    // An error means that the row changed meanwhile: this request may still use what it read.
    let _ = guard.insert(known.clone());
    Ok(Some(known))
}

/// Drops what is kept of a user: to be called after every change of the row or its tokens.
pub fn forget(app: &App, user: UserId) {
    app.accounts.cache.remove(&user);
}

/// The user with this public id, seen by anyone, with the profile; `None` if absent or disabled.
pub async fn find_public(app: &App, uuid: &str) -> Result<Option<(User, Option<Profile>)>> {
    let mut reader = app.db.read().await?;
    let user = store::find_user_by_uuid(&mut reader.conn(), uuid).await?.filter(User::is_enabled);
    match user {
        Some(user) => {
            let profile = store::find_profile(&mut reader.conn(), user.id).await?;
            Ok(Some((user, profile)))
        }
        None => Ok(None),
    }
}

/// The user with this public id, whatever its state.
pub async fn find_by_uuid(conn: &mut Conn<'_>, uuid: &str) -> Result<Option<User>> {
    store::find_user_by_uuid(conn, uuid).await
}

/// The profile of a user.
pub async fn find_profile(conn: &mut Conn<'_>, user: UserId) -> Result<Option<Profile>> {
    store::find_profile(conn, user).await
}

/// The account that a device is linked to.
pub async fn find_by_device(app: &App, device_id: &str) -> Result<Option<AccountRow>> {
    store::find_account_by_device(&mut app.db.read().await?.conn(), device_id).await
}

/// Takes the device from an account, so that it can get a guest of its own.
pub async fn unlink_device(app: &App, user: UserId) -> Result<()> {
    let mut tx = app.db.begin().await?;
    store::update_device_unlinked(&mut tx.conn(), user, app.clock.now_ms()).await?;
    tx.commit().await
}

/// Stores what a device says of itself.
pub async fn set_device_stats(app: &App, user: UserId, stats: &super::model::DeviceStats) -> Result<()> {
    let mut tx = app.db.begin().await?;
    store::update_device_stats(&mut tx.conn(), user, stats, app.clock.now_ms()).await?;
    tx.commit().await
}

/// What a person may change of itself (contract: people §3, `updateUserinfo`).
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// Shown name.
    Nickname(&'a str),
    /// Picture.
    Avatar(&'a str),
    /// Who may add me as a friend.
    InviteConfirm(i64),
    /// Chat settings, stored as they are.
    Userset(&'a str),
}

/// Stores a change of the bearer's own row.
pub async fn change(app: &App, me: UserId, change: Change<'_>) -> Result<()> {
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.begin().await?;
    let conn = &mut tx.conn();
    match change {
        Change::Nickname(value) => store::update_nickname(conn, me, value, now_ms).await?,
        Change::Avatar(value) => store::update_avatar(conn, me, value, now_ms).await?,
        Change::InviteConfirm(value) => store::update_invite_confirm(conn, me, value, now_ms).await?,
        Change::Userset(value) => store::update_userset(conn, me, value, now_ms).await?,
    }
    tx.commit().await?;
    forget(app, me);
    match change {
        Change::Avatar(_) if app.hub.is_online(me) => app.accounts.avatar_changes.insert(me, now_ms),
        _ => {
            app.accounts.avatar_changes.remove(&me);
        }
    }
    Ok(())
}

/// Whether a socket that opens now is to announce a changed picture; it does so once.
pub fn take_avatar_change(app: &App, me: UserId) -> bool {
    let changed = app.accounts.avatar_changes.remove(&me);
    changed.is_some_and(|(_, at)| app.clock.now_ms() - at <= AVATAR_CHANGE_MS)
}

fn taken(error: AppError) -> AppError {
    if is_unique_violation(&error) { USERNAME_TAKEN } else { error }
}
