//! The facts of friendships, from memory where a message needs them, and what a person may change of its own list.

use std::collections::BTreeSet;
use std::sync::Arc;

use quick_cache::sync::Cache;

use super::lists::Lists;
use super::model::Friend;
use super::store;
use crate::accounts::User;
use crate::accounts::model::Profile;
use crate::accounts::service as accounts;
use crate::app::App;
use crate::cache::{Fill, Outdated};
use crate::clock::is_trusted;
use crate::db::sql::ROWS_MAX;
use crate::db::{Conn, in_time};
use crate::error::{AppError, Result};
use crate::ids::{FriendshipId, UserId};

/// Friendship rows (or their absence) kept in memory: each message asks for two.
const CACHED_MAX: usize = 200_000;

const NO_FRIEND: AppError = AppError::refused("好友不存在");
const NO_FRIEND_OR_BLOCKED: AppError = AppError::refused("好友不存在或者被拉黑，无法操作");

/// What this feature keeps in memory; the store has the truth.
#[derive(Debug)]
pub struct State {
    cache: Cache<(UserId, UserId), Cached>,
    pub(super) lists: Lists,
}

/// A row, or its absence, as it was read.
#[derive(Clone, Debug)]
struct Cached {
    row: Option<Arc<Friend>>,
    loaded_at: i64,
}

impl Default for State {
    fn default() -> Self {
        Self { cache: Cache::new(CACHED_MAX), lists: Lists::default() }
    }
}

impl State {
    /// How full the caches are.
    pub fn fills(&self) -> [Fill; 2] {
        [Fill::of("friends", &self.cache), self.lists.fill()]
    }
}

/// `user`'s row of `friend`, if `friend` is in `user`'s list.
pub async fn find(app: &App, user: UserId, friend: UserId) -> Result<Option<Arc<Friend>>> {
    let (key, now_ms) = ((user, friend), app.clock.now_ms());
    if app.friends.cache.get(&key).is_some_and(|known| !is_trusted(known.loaded_at, now_ms)) {
        app.friends.cache.remove(&key);
    }
    let guard = match app.friends.cache.get_value_or_guard_async(&key).await {
        Ok(known) => return Ok(known.row),
        Err(guard) => guard,
    };
    let row = in_time(Box::pin(load(app, user, friend))).await?;
    // An error means that the row changed meanwhile: this request may still use what it read.
    let _ = guard.insert(Cached { row: row.clone(), loaded_at: now_ms });
    Ok(row)
}

async fn load(app: &App, user: UserId, friend: UserId) -> Result<Option<Arc<Friend>>> {
    app.metrics.loads.friends.inc();
    Ok(store::find(&mut app.db.read().await?.conn(), user, friend).await?.map(Arc::new))
}

/// Whether `user` has a friend that is not blocked: what the menu card of the address book asks.
pub async fn has_any(app: &App, user: UserId) -> Result<bool> {
    store::exists_any(&mut app.db.read().await?.conn(), user).await
}

/// Who is in those of the rows `ids` that are `user`'s own, neither blocked nor disabled.
pub async fn reachable(app: &App, user: UserId, ids: &BTreeSet<FriendshipId>) -> Result<Vec<UserId>> {
    let ids: Vec<_> = ids.iter().copied().collect();
    let mut reader = app.db.read().await?;
    let mut found = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(ROWS_MAX) {
        found.extend(store::list_reachable(&mut reader.conn(), user, chunk).await?.into_iter().map(|(id,)| id));
    }
    Ok(found)
}

/// Drops what is kept of both sides of a pair, their lists included: to be called after every committed change of either row.
pub fn forget(app: &App, one: UserId, other: UserId) {
    app.friends.cache.remove(&(one, other));
    app.friends.cache.remove(&(other, one));
    app.friends.lists.forget(one);
    app.friends.lists.forget(other);
}

/// A friend with what the account shows of itself.
pub async fn card(app: &App, me: UserId, friend: UserId) -> Result<(Arc<Friend>, Arc<User>, Option<Profile>)> {
    let mine = find(app, me, friend).await?.ok_or(NO_FRIEND)?;
    let user = accounts::user(app, friend).await?.ok_or(NO_FRIEND)?;
    let profile = accounts::find_profile(&mut app.db.read().await?.conn(), friend).await?;
    Ok((mine, user, profile))
}

/// My row of a friend whom I have not blocked: one whom I blocked reads as no friend.
pub async fn unblocked(app: &App, me: UserId, friend: UserId) -> Result<Arc<Friend>> {
    let mine = find(app, me, friend).await?.filter(|row| row.blocked == 0);
    mine.ok_or_else(|| AppError::refused("不是好友"))
}

/// How somebody takes messages and friends, and how I stand in that person's list, if I am in it.
pub async fn settings(app: &App, me: UserId, of: UserId) -> Result<(Arc<User>, Option<Arc<Friend>>)> {
    let user = accounts::user(app, of).await?.filter(|user| user.is_registered() && user.is_enabled());
    let user = user.ok_or_else(|| AppError::refused("用户不存在或者为游客，无法加为好友"))?;
    Ok((user, find(app, of, me).await?))
}

/// What a person may change of a friend's row.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// Into the blacklist, or out of it.
    Blocked,
    /// Star on, or off.
    Starred,
    /// Who sees whose posts, each 0 or 1.
    Visibility {
        /// Whether the friend may see my posts.
        friendlookme: i64,
        /// Whether I see the friend's posts.
        melookfriend: i64,
    },
}

/// Changes my row of a friend. Run it to its end: what is kept in memory is dropped after the commit.
pub async fn change(app: &App, me: UserId, friend: UserId, change: Change) -> Result<()> {
    let now_ms = app.clock.now_ms();
    let _memory = Outdated::from_now(|| forget(app, me, friend));
    let mut tx = app.db.begin().await?;
    let (changed, refusal) = match change {
        Change::Blocked => (store::update_blocked(&mut tx.conn(), me, friend, now_ms).await?, NO_FRIEND),
        Change::Starred => (store::update_starred(&mut tx.conn(), me, friend, now_ms).await?, NO_FRIEND_OR_BLOCKED),
        Change::Visibility { friendlookme, melookfriend } => (
            store::update_visibility(&mut tx.conn(), (me, friend), friendlookme, melookfriend, now_ms).await?,
            NO_FRIEND_OR_BLOCKED,
        ),
    };
    if !changed {
        return Err(refusal);
    }
    tx.commit().await
}

/// Whether each of the two is in the other's list. A friendship of which one row is missing is none.
pub async fn are_friends(conn: &mut Conn<'_>, one: UserId, other: UserId) -> Result<bool> {
    Ok(store::count_pair(conn, one, other).await? == 2)
}

/// A side of a new friendship: whose list, and the remark under which the other enters it.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// Whose list.
    pub user: UserId,
    /// Name of the other, or "".
    pub remark: &'a str,
}

/// Enters both into each other's list; a row that exists already stays as it is.
pub async fn befriend(conn: &mut Conn<'_>, one: Side<'_>, other: Side<'_>, now_ms: i64) -> Result<()> {
    store::insert_absent(conn, one.user, other.user, one.remark, now_ms).await?;
    store::insert_absent(conn, other.user, one.user, other.remark, now_ms).await
}

/// Whether `other`, or the system, blocks `me` in `other`'s list.
pub async fn is_blocked_by(conn: &mut Conn<'_>, other: UserId, me: UserId) -> Result<bool> {
    let theirs = store::find(conn, other, me).await?;
    Ok(theirs.is_some_and(|friend| friend.blocked != 0 || friend.status != 1))
}

/// Removes `other` from the list of `me`, and `me` from theirs unless they or the system block `me` there: a blacklist always
/// binds (decision 20), and whoever is in it must not get out by leaving. False, and nothing done, if `other` is not in the list of
/// `me`.
pub async fn part(conn: &mut Conn<'_>, me: UserId, other: UserId) -> Result<bool> {
    if store::find(conn, me, other).await?.is_none() {
        return Ok(false);
    }
    store::delete_with_other(conn, me, other).await?;
    Ok(true)
}
