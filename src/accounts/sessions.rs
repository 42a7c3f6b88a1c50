//! Live tokens: one a user and role, issued, handed out again, checked and ended; and the cache that every request asks.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::model::{Account, AccountRow, Role, SessionRow, User};
use super::store;
use super::tokens::Claims;
use crate::app::{App, Shared};
use crate::cache::{self, Fill, Outdated};
use crate::clock::{DAY_MS, is_trusted};
use crate::db::sql::ROWS_MAX;
use crate::db::{Conn, in_time};
use crate::error::{AppError, Result};
use crate::hub::Ticket;
use crate::ids::{self, UserId};

/// Users kept in memory with their live tokens: what every request needs. Bounded in bytes, because people choose how long
/// their settings are.
const CACHED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Users that are expected to fit.
const CACHED_USERS: usize = 100_000;
/// What a user takes beside its texts: the row, two sessions, the cache's own bookkeeping.
const CACHED_USER_BYTES: usize = 600;
/// Close code for a user's sockets whose token was replaced; the client then shows its own dialog (decision 12).
pub const CLOSE_SUPERSEDED: u16 = 4001;

/// The refusal of a login to an account that is not there or not enabled.
pub const NO_ACCOUNT: AppError = AppError::refused("账号不存在或者被禁用");
/// The refusal of a login with another password than the account has.
pub const WRONG_PASSWORD: AppError = AppError::refused("账户或密码错误");

/// Users kept in memory with their live tokens; the store has the truth.
#[derive(Debug)]
pub struct Known(Cache<UserId, Arc<KnownUser>, ByBytes>);

impl Known {
    /// Nobody yet.
    pub fn new() -> Self {
        Self(cache::weighted(CACHED_USERS, CACHED_BYTES_MAX, ByBytes))
    }

    /// How full it is.
    pub fn fill(&self) -> Fill {
        Fill::of("users", &self.0)
    }
}

/// A user and the tokens that are live.
#[derive(Debug)]
struct KnownUser {
    user: Arc<User>,
    /// Exactly as many as there are, since each connected person has an entry.
    live: Box<[Live]>,
    loaded_at: i64,
}

/// What stands for a role in the row of a guest's token whose account has since logged in elsewhere.
const FORMER_GUEST: &str = "former_guest";

/// A live token.
#[derive(Debug)]
struct Live {
    role: Role,
    former: bool,
    token_id: Box<str>,
    expires_at: i64,
    answers_pings: AtomicBool,
}

impl Live {
    /// `None` for a role that this server does not issue.
    fn of(row: SessionRow) -> Option<Self> {
        let former = row.role == FORMER_GUEST;
        let role = [Role::User, Role::Visitor].into_iter().find(|role| role.as_str() == row.role);
        let role = role.or(former.then_some(Role::Visitor))?;
        let answers_pings = AtomicBool::new(row.answers_pings != 0);
        Some(Self { role, former, token_id: row.token_id.into(), expires_at: row.expires_at, answers_pings })
    }

    fn is(&self, claims: &Claims, now_ms: i64) -> bool {
        self.role == claims.role && *self.token_id == *claims.jti && self.expires_at > now_ms
    }
}

/// How much memory a cached user takes.
#[derive(Clone, Debug)]
struct ByBytes;

impl Weighter<UserId, Arc<KnownUser>> for ByBytes {
    fn weight(&self, _: &UserId, entry: &Arc<KnownUser>) -> u64 {
        let User { nickname, avatar, userset, .. } = entry.user.as_ref();
        (CACHED_USER_BYTES + nickname.len() + avatar.len() + userset.text().len()) as u64
    }
}

/// Somebody with a live token.
#[derive(Clone, Debug)]
pub struct Bearer {
    /// The row; a change made behind this server's back may take half a minute to show.
    pub user: Arc<User>,
    /// How the token lets them act.
    pub role: Role,
    /// Whether it is a guest's token whose account has since logged in elsewhere. It keeps its sockets, so that their client does
    /// not wipe the login that has replaced it (contract: client §5.4), and opens nothing else.
    pub former: bool,
    /// The token's `jti`.
    pub token_id: String,
    /// Whether the client that bears it has ever answered a ping.
    pub answers_pings: bool,
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

/// Issues a token of `role` and makes it the only live one of its role (decision 11), for whoever has proved the password
/// behind `password_hash`: if that was changed meanwhile, it proves nothing. When a user token is replaced, the sockets that
/// carry the old one are closed, and a token from the account's time as a guest is a former guest's from then on: else the page in
/// which it was registered, or a phone that shares its device id, would take what the new login is due.
pub async fn open_session(app: &Shared, user: UserId, role: Role, password_hash: &str, ip: IpAddr) -> Result<Account> {
    let proved = password_hash.to_owned();
    let session = start_session(app, user, role, ip, move |row, _| Ok((row.password_hash == proved).then_some(false)));
    session.await?.ok_or(WRONG_PASSWORD)
}

/// How a guest comes by its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// It is the same one as before.
    Again,
    /// It is issued now.
    Anew,
}

/// Hands the live guest token out again, or issues one if there is none (decision 14). `admit` hears which, and may refuse.
/// `None` if the guest has become a registered account meanwhile, which a device id alone never opens (decision 15).
pub async fn resume_guest(
    app: &Shared,
    guest: UserId,
    ip: IpAddr,
    admit: impl FnOnce(Resumed) -> Result<()> + Send + 'static,
) -> Result<Option<Account>> {
    let keep = |row: &AccountRow, live| {
        if row.role != Role::Visitor.as_str() {
            return Ok(None);
        }
        admit(if live { Resumed::Again } else { Resumed::Anew })?;
        Ok(Some(live))
    };
    start_session(app, guest, Role::Visitor, ip, keep).await
}

/// `keep` sees the account and whether a token of this role is live, and says whether that one is to be handed out again, or
/// `None`: no token at all.
async fn start_session(
    app: &Shared,
    user: UserId,
    role: Role,
    ip: IpAddr,
    keep: impl FnOnce(&AccountRow, bool) -> Result<Option<bool>> + Send + 'static,
) -> Result<Option<Account>> {
    let own = app.clone();
    app.detached(async move {
        let now_ms = own.clock.now_ms();
        let memory = Outdated::from_now(|| forget(&own, user));
        let mut tx = own.db.begin().await?;
        // This locks the row, so that parallel logins of one user take turns and those of one guest share a token.
        store::update_last_login(&mut tx.conn(), user, &ip.to_string(), now_ms).await?;
        let row = store::find_account(&mut tx.conn(), user).await?.filter(|row| row.status == 1).ok_or(NO_ACCOUNT)?;
        let sessions = store::list_sessions(&mut tx.conn(), user).await?;
        let before = sessions.iter().find(|session| session.role == role.as_str()).cloned();
        let live = before.as_ref().is_some_and(|session| session.expires_at > now_ms);
        let Some(kept) = keep(&row, live)? else { return Ok(None) };
        let (session, replaced) = match before {
            Some(session) if kept => (session, None),
            before => (new_session(&own, role, now_ms), before),
        };
        if !kept {
            store::upsert_session(&mut tx.conn(), user, &session).await?;
        }
        let from_elsewhere = role == Role::User && replaced.is_some();
        if from_elsewhere && sessions.iter().any(|session| session.role == Role::Visitor.as_str()) {
            store::update_session_role(&mut tx.conn(), user, Role::Visitor.as_str(), FORMER_GUEST).await?;
        }
        tx.commit().await?;
        drop(memory);
        if let (Role::User, Some(replaced)) = (role, replaced) {
            let keeps = |ticket: &Ticket| ticket.registered && *ticket.token_id != *replaced.token_id;
            own.hub.end_pushes(user, Some(CLOSE_SUPERSEDED), &keeps);
        }
        account(&own, row, role, &session).map(Some)
    })
    .await
}

fn new_session(app: &App, role: Role, now_ms: i64) -> SessionRow {
    SessionRow {
        role: role.into(),
        token_id: ids::uuid(),
        issued_at: now_ms,
        expires_at: now_ms + app.config.tokens.ttl_days * DAY_MS,
        answers_pings: 0,
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
pub async fn logout(app: &Shared, user: UserId) -> Result<()> {
    let own = app.clone();
    app.detached(async move {
        let memory = Outdated::from_now(|| forget(&own, user));
        let mut tx = own.db.begin().await?;
        store::delete_sessions_except(&mut tx.conn(), user, "").await?;
        tx.commit().await?;
        drop(memory);
        own.hub.end_pushes(user, None, &|_| false);
        Ok(())
    })
    .await
}

/// Whose token it was, and of which role.
pub type Expired = (UserId, String);

/// Looks for tokens that were over before then. Returns them, and whether there may be more.
pub async fn find_expired(app: &App, before_ms: i64) -> Result<(Vec<Expired>, Option<()>)> {
    let expired = store::list_expired_sessions(&mut app.db.read().await?.conn(), before_ms, ROWS_MAX).await?;
    let more = (expired.len() == ROWS_MAX).then_some(());
    Ok((expired, more))
}

/// Deletes tokens that were over before then. Returns how many still were.
pub async fn delete_expired(app: &App, expired: Vec<Expired>, before_ms: i64) -> Result<u64> {
    let mut tx = app.db.begin().await?;
    let mut deleted = 0;
    for (user, role) in &expired {
        deleted += store::delete_expired_session(&mut tx.conn(), *user, role, before_ms).await?;
    }
    tx.commit().await?;
    for (user, _) in &expired {
        forget(app, *user);
    }
    Ok(deleted)
}

/// Who bears `token`, if it is live.
pub async fn authenticate(app: &App, token: &str) -> Result<Result<Bearer, Rejection>> {
    let now_ms = app.clock.now_ms();
    let Some(claims) = app.tokens.verify(token, now_ms) else { return Ok(Err(Rejection::Token)) };
    let of_token = |live: &Live| live.is(&claims, now_ms);
    let Some(known) = known(app, claims.id).await? else {
        // With the token gone as well, the store was emptied: the client must hear the one text from which it recovers.
        let live = in_time(Box::pin(async { list_live(&mut app.db.read().await?.conn(), claims.id).await })).await?;
        return Ok(Err(if live.iter().any(of_token) { Rejection::Missing } else { Rejection::Token }));
    };
    let Some(live) = known.live.iter().find(|live| of_token(live)) else { return Ok(Err(Rejection::Token)) };
    if known.user.status == 0 {
        return Ok(Err(Rejection::Disabled));
    }
    let (former, answers_pings) = (live.former, live.answers_pings.load(Ordering::Relaxed));
    Ok(Ok(Bearer { user: known.user.clone(), role: claims.role, former, token_id: claims.jti, answers_pings }))
}

/// Stores that whoever bears these tokens, up to [`ROWS_MAX`] of them, answers pings. After the commit call
/// [`remember_answers_pings`].
pub async fn store_answers_pings(conn: &mut Conn<'_>, tokens: &[(UserId, Box<str>)]) -> Result<()> {
    store::update_answers_pings(conn, tokens).await
}

/// Has memory know what [`store_answers_pings`] stored. What is being loaded at the moment may be older, and is not kept.
pub fn remember_answers_pings(app: &App, tokens: &[(UserId, Box<str>)]) {
    for (user, token_id) in tokens {
        let Some(known) = app.accounts.known.0.peek(user) else {
            forget(app, *user);
            continue;
        };
        let of_token = known.live.iter().filter(|live| live.token_id == *token_id);
        of_token.for_each(|live| live.answers_pings.store(true, Ordering::Relaxed));
    }
}

/// The user with this id, from memory if it can be.
pub async fn user(app: &App, id: UserId) -> Result<Option<Arc<User>>> {
    Ok(known(app, id).await?.map(|known| known.user.clone()))
}

async fn known(app: &App, id: UserId) -> Result<Option<Arc<KnownUser>>> {
    let now_ms = app.clock.now_ms();
    if app.accounts.known.0.get(&id).is_some_and(|entry| !is_trusted(entry.loaded_at, now_ms)) {
        forget(app, id);
    }
    // A row that changes while it is loaded is not kept: `forget` also removes the placeholder.
    let guard = match app.accounts.known.0.get_value_or_guard_async(&id).await {
        Ok(known) => return Ok(Some(known)),
        Err(guard) => guard,
    };
    app.metrics.loads.users.inc();
    // Boxed, as everything large that a message seldom needs: each request would be made with room for it.
    let Some(known) = in_time(Box::pin(load(app, id, now_ms))).await? else { return Ok(None) };
    // An error means that the row changed meanwhile: this request may still use what it read.
    let _ = guard.insert(known.clone());
    Ok(Some(known))
}

async fn load(app: &App, id: UserId, now_ms: i64) -> Result<Option<Arc<KnownUser>>> {
    let mut reader = app.db.read().await?;
    let Some(user) = store::find_user(&mut reader.conn(), id).await? else { return Ok(None) };
    let live = list_live(&mut reader.conn(), id).await?;
    Ok(Some(Arc::new(KnownUser { user: Arc::new(user), live, loaded_at: now_ms })))
}

async fn list_live(conn: &mut Conn<'_>, user: UserId) -> Result<Box<[Live]>> {
    Ok(store::list_sessions(conn, user).await?.into_iter().filter_map(Live::of).collect())
}

/// Drops what is kept of a user: to be called after every change of the row or its tokens.
pub fn forget(app: &App, user: UserId) {
    app.accounts.known.0.remove(&user);
}
