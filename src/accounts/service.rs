//! The rules of accounts: registration, login, passwords, profiles.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;

use super::model::{Account, AccountRow, NewUser, Profile, Role, User, username_key};
use super::passwords::Verdict;
use super::sessions::Known;
pub use super::sessions::{
    Bearer, CLOSE_SUPERSEDED, Expired, NO_ACCOUNT, Rejection, Resumed, WRONG_PASSWORD, authenticate, delete_expired,
    find_expired, forget, logout, open_session, remember_answers_pings, resume_guest, store_answers_pings, user,
};
use super::store;
use crate::app::{App, Shared};
use crate::cache::{Fill, Outdated};
use crate::clock::{HOUR_MS, MINUTE_MS};
use crate::config;
use crate::db::sql::ROWS_MAX;
use crate::db::{Conn, is_unique_violation};
use crate::error::{AppError, Result};
use crate::http::network::{Newcomers, network_of, turn_of};
use crate::ids::{self, UserId};
use crate::limits::{Shares, SlidingLimit};

/// How long a changed picture is announced at the next socket.
const AVATAR_CHANGE_MS: i64 = MINUTE_MS;
/// Most such announcements that wait.
const AVATAR_CHANGES_MAX: usize = 10_000;

/// Passwords of one network that are hashed or wait for it in the one queue of all; others of that network wait before it.
const HASHES_BY_NETWORK_MAX: usize = 8;
/// The same of one name from one network, where networks have no bound: who knows a password must not keep all others waiting with it.
const GUESSES_MAX: usize = 8;

const USERNAME_TAKEN: AppError = AppError::refused("该账号已存在，请换一个账号注册");
const WRONG_OLD_PASSWORD: AppError = AppError::refused("原始密码错误，无法修改密码");
const TOO_MANY: AppError = AppError::refused("请求过于频繁，请1个小时后再试");

/// What this feature keeps in memory; the store has the truth.
#[derive(Debug)]
pub struct State {
    pub(super) known: Known,
    /// Who changed the picture, and when: the next socket tells the client (contract: people §3, `updateUserinfo`).
    avatar_changes: Cache<UserId, i64>,
    /// Counts changes of names and pictures, see [`faces`].
    faces: AtomicU64,
    failures: SlidingLimit<(String, IpAddr)>,
    failures_by_address: SlidingLimit<IpAddr>,
    /// Guesses that wait for their hash.
    guesses: Shares<(String, IpAddr)>,
    hash_turns: Shares<IpAddr>,
    registrations: Newcomers,
    /// A reverse proxy that is not named was told of.
    pub(super) proxy_told: Once,
}

impl State {
    /// Empty, with limits from the configuration.
    pub fn new(limits: &config::Limits) -> Self {
        Self {
            known: Known::new(),
            avatar_changes: Cache::new(AVATAR_CHANGES_MAX),
            faces: AtomicU64::default(),
            failures: SlidingLimit::new(limits.login_failures_per_hour, HOUR_MS),
            failures_by_address: SlidingLimit::new(limits.login_failures_per_address, HOUR_MS),
            guesses: Shares::new(GUESSES_MAX),
            hash_turns: Shares::new(HASHES_BY_NETWORK_MAX),
            registrations: Newcomers::new(limits.registrations_per_address, HOUR_MS),
            proxy_told: Once::new(),
        }
    }

    /// How full the caches are.
    pub fn fills(&self) -> [Fill; 2] {
        [self.known.fill(), Fill::of("avatar_changes", &self.avatar_changes)]
    }
}

/// Makes a registered account and logs it in (contract: people §3, chapter 1).
pub async fn register(app: &Shared, username: &str, password: &str, ip: IpAddr) -> Result<Account> {
    counted(app, ip, make_account(app, username, password, ip)).await
}

/// Counts a new account of a network; one that was not made does not count.
async fn counted(app: &App, ip: IpAddr, made: impl Future<Output = Result<Account>>) -> Result<Account> {
    let limit = &app.accounts.registrations;
    if !limit.admit(ip, app.clock.now_ms()) {
        app.metrics.limited.registration.inc();
        return Err(TOO_MANY);
    }
    made.await.inspect_err(|_| limit.take_back(ip))
}

/// The hash of a new account's password, unless its name is taken: a refusal must not cost a hash.
async fn hash_for(app: &App, username: &str, password: &str, ip: IpAddr) -> Result<String> {
    let _turn = turn_of(&app.accounts.hash_turns, ip).await;
    let key = username_key(username);
    if store::find_account_by_username(&mut app.db.read().await?.conn(), &key).await?.is_some() {
        return Err(USERNAME_TAKEN);
    }
    app.passwords.hash(password).await
}

async fn make_account(app: &Shared, username: &str, password: &str, ip: IpAddr) -> Result<Account> {
    let password_hash = hash_for(app, username, password, ip).await?;
    let id = insert_user(app, username, &password_hash).await?;
    open_session(app, id, Role::User, &password_hash, ip).await
}

async fn insert_user(app: &App, username: &str, password_hash: &str) -> Result<UserId> {
    let new = NewUser {
        uuid: ids::uuid(),
        username,
        password_hash,
        role: Role::User,
        device_id: None,
        stats: super::model::DeviceStats::default(),
        last_login_at: None,
        now_ms: app.clock.now_ms(),
    };
    insert(app, &new).await
}

/// Inserts a user with a profile; a name that was taken meanwhile is refused.
pub async fn insert(app: &App, new: &NewUser<'_>) -> Result<UserId> {
    let mut tx = app.db.begin().await?;
    let id = store::insert_user(&mut tx.conn(), new).await.map_err(as_name_taken)?;
    store::insert_profile(&mut tx.conn(), id, new.now_ms).await?;
    if new.role == Role::User {
        store::insert_username_parts(&mut tx.conn(), id, new.username).await?;
    }
    tx.commit().await?;
    // An id comes again if the store has forgotten who had it: the sockets of that person get nothing that is due to this one.
    forget(app, id);
    app.hub.end_pushes(id, None, &|_| false);
    Ok(id)
}

/// Gives the guest of a device a name and a password: the row, its friends and chats stay, the device is unlinked
/// (decision 15). The guest's token stays valid: its socket lives on in the same page. If another call of the device was faster,
/// this one makes an account of its own.
pub async fn upgrade_guest(app: &Shared, guest: UserId, username: &str, password: &str, ip: IpAddr) -> Result<Account> {
    counted(app, ip, make_user_of(app, guest, username, password, ip)).await
}

async fn make_user_of(app: &Shared, guest: UserId, username: &str, password: &str, ip: IpAddr) -> Result<Account> {
    let password_hash = hash_for(app, username, password, ip).await?;
    let (own, name, hash) = (app.clone(), username.to_owned(), password_hash.clone());
    let upgraded = app
        .detached(async move {
            let now_ms = own.clock.now_ms();
            let _memory = Outdated::from_now(|| forget_face(&own, guest));
            let mut tx = own.db.begin().await?;
            let upgraded = store::update_guest_to_user(&mut tx.conn(), guest, &name, &hash, now_ms).await;
            if !upgraded.map_err(as_name_taken)? {
                return Ok(false);
            }
            store::insert_username_parts(&mut tx.conn(), guest, &name).await?;
            tx.commit().await?;
            Ok(true)
        })
        .await?;
    let id = if upgraded { guest } else { insert_user(app, username, &password_hash).await? };
    open_session(app, id, Role::User, &password_hash, ip).await
}

/// Checks username and password and issues a token (contract: people §3, "login core").
pub async fn login(app: &Shared, username: &str, password: &str, ip: IpAddr) -> Result<Account> {
    let row = check_password(app, &username_key(username), password, ip).await?;
    let role = if row.role == Role::Visitor.as_str() { Role::Visitor } else { Role::User };
    open_session(app, row.id, role, &row.password_hash, ip).await
}

/// A password that may be wrong, for a name and from a network.
#[derive(Clone)]
struct Guess {
    app: Shared,
    key: (String, IpAddr),
}

impl Guess {
    fn new(app: &Shared, username_key: String, ip: IpAddr) -> Self {
        Self { app: app.clone(), key: (username_key, network_of(ip)) }
    }

    /// Refuses it if there were too many wrong ones.
    fn admit(&self) -> Result<()> {
        let (counts, now_ms) = (&self.app.accounts, self.app.clock.now_ms());
        let used_up =
            counts.failures.is_used_up(&self.key, now_ms) || counts.failures_by_address.is_used_up(&self.key.1, now_ms);
        if used_up {
            self.app.metrics.limited.password.inc();
            return Err(TOO_MANY);
        }
        Ok(())
    }

    /// Compares it with the stored hash. A wrong one counts even if its client does not wait for the answer.
    async fn verify(&self, password: &str, stored: &str) -> Result<Verdict> {
        let _share = self.app.accounts.guesses.turn(self.key.clone(), 1).await;
        let _turn = turn_of(&self.app.accounts.hash_turns, self.key.1).await;
        let wrong = self.clone();
        self.app.passwords.verify(password, stored, || self.admit(), move || wrong.was_wrong()).await
    }

    fn was_wrong(&self) {
        let (counts, now_ms) = (&self.app.accounts, self.app.clock.now_ms());
        counts.failures.count(self.key.clone(), now_ms);
        counts.failures_by_address.count(self.key.1, now_ms);
    }
}

/// The account behind the name, if the password is right. Wrong ones are counted when they are known to be wrong, so that
/// a crowd behind one address may log in at once; the count is looked at again when the turn to hash has come, so that
/// parallel guesses gain no more than there are turns.
async fn check_password(app: &Shared, key: &str, password: &str, ip: IpAddr) -> Result<AccountRow> {
    let guess = Guess::new(app, key.to_owned(), ip);
    guess.admit()?;
    let row = store::find_account_by_username(&mut app.db.read().await?.conn(), key).await?;
    let row = row.filter(|row| row.status == 1);
    let Some(mut row) = row else {
        // The reply says that there is no such name, so the time may say it too.
        guess.was_wrong();
        return Err(NO_ACCOUNT);
    };
    match guess.verify(password, &row.password_hash).await? {
        Verdict::Right => Ok(row),
        Verdict::RightButOld => {
            let hash = app.passwords.hash(password).await?;
            let mut tx = app.db.begin().await?;
            let now_ms = app.clock.now_ms();
            let replaced = store::update_password(&mut tx.conn(), row.id, &row.password_hash, &hash, now_ms).await?;
            tx.commit().await?;
            if !replaced {
                // Another login of the same person replaced it first.
                return Box::pin(check_password(app, key, password, ip)).await;
            }
            row.password_hash = hash;
            Ok(row)
        }
        Verdict::Wrong => Err(WRONG_PASSWORD),
    }
}

/// Replaces the bearer's password; every other token ends, and the sockets of a user token that ended are closed
/// (decision 30).
pub async fn set_password(app: &Shared, me: &Bearer, old: &str, new: &str, ip: IpAddr) -> Result<()> {
    let row = store::find_account(&mut app.db.read().await?.conn(), me.user.id).await?;
    let row = row.ok_or_else(|| AppError::refused("用户不存在，无法修改密码"))?;
    // A stolen token must not be a way to try passwords that the login counts.
    let guess = Guess::new(app, username_key(&row.username), ip);
    guess.admit()?;
    if guess.verify(old, &row.password_hash).await? == Verdict::Wrong {
        return Err(WRONG_OLD_PASSWORD);
    }
    let hash = app.passwords.hash(new).await?;
    let (own, user, kept) = (app.clone(), me.user.id, me.token_id.clone());
    app.detached(async move {
        let memory = Outdated::from_now(|| forget(&own, user));
        let mut tx = own.db.begin().await?;
        if !store::update_password(&mut tx.conn(), user, &row.password_hash, &hash, own.clock.now_ms()).await? {
            // Another change was faster.
            return Err(WRONG_OLD_PASSWORD);
        }
        store::delete_sessions_except(&mut tx.conn(), user, &kept).await?;
        tx.commit().await?;
        drop(memory);
        own.hub.end_pushes(user, Some(CLOSE_SUPERSEDED), &|ticket| *ticket.token_id == *kept);
        Ok(())
    })
    .await
}

/// The users with these ids that exist and are enabled, in the order of their ids.
pub async fn enabled_users(app: &App, ids: &BTreeSet<UserId>) -> Result<Vec<User>> {
    let ids: Vec<_> = ids.iter().copied().collect();
    let mut reader = app.db.read().await?;
    let mut users = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(ROWS_MAX) {
        users.extend(store::list_users(&mut reader.conn(), chunk).await?.into_iter().filter(User::is_enabled));
    }
    Ok(users)
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
#[derive(Clone, Debug)]
pub enum Change {
    /// Shown name.
    Nickname(String),
    /// Picture.
    Avatar(String),
    /// Who may add me as a friend.
    InviteConfirm(i64),
    /// Chat settings, stored as they are.
    Userset(String),
}

/// Stores a change of the bearer's own row.
pub async fn change(app: &Shared, me: UserId, change: Change) -> Result<()> {
    let own = app.clone();
    app.detached(async move {
        let now_ms = own.clock.now_ms();
        let is_shown = matches!(change, Change::Nickname(_) | Change::Avatar(_));
        let forget = if is_shown { forget_face } else { forget };
        let memory = Outdated::from_now(|| forget(&own, me));
        let mut tx = own.db.begin().await?;
        match &change {
            Change::Nickname(value) => store::update_nickname(&mut tx.conn(), me, value, now_ms).await?,
            Change::Avatar(value) => store::update_avatar(&mut tx.conn(), me, value, now_ms).await?,
            Change::InviteConfirm(value) => store::update_invite_confirm(&mut tx.conn(), me, *value, now_ms).await?,
            Change::Userset(value) => store::update_userset(&mut tx.conn(), me, value, now_ms).await?,
        }
        tx.commit().await?;
        drop(memory);
        match change {
            Change::Avatar(_) => own.accounts.avatar_changes.insert(me, now_ms),
            Change::Nickname(_) | Change::InviteConfirm(_) => {
                own.accounts.avatar_changes.remove(&me);
            }
            // Only `updateUserinfo` counts.
            Change::Userset(_) => {}
        }
        Ok(())
    })
    .await
}

/// Counts the changes of names and pictures on this server: what shows other people is as it was while this stays the same.
/// Read it before what it is to vouch for.
pub fn faces(app: &App) -> u64 {
    app.accounts.faces.load(Ordering::SeqCst)
}

/// Drops what is kept of a user whose name or picture has changed, here and wherever it is shown.
fn forget_face(app: &App, user: UserId) {
    forget(app, user);
    app.accounts.faces.fetch_add(1, Ordering::SeqCst);
}

/// Whether a socket that opens now is to announce a changed picture; it does so once.
pub fn take_avatar_change(app: &App, me: UserId) -> bool {
    let changed = app.accounts.avatar_changes.remove(&me);
    changed.is_some_and(|(_, at)| app.clock.now_ms() - at <= AVATAR_CHANGE_MS)
}

fn as_name_taken(error: AppError) -> AppError {
    if is_unique_violation(&error) { USERNAME_TAKEN } else { error }
}
