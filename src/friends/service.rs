//! The facts of friendships, from memory where a message needs them.

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::model::Friend;
use super::store;
use crate::app::App;
use crate::db::sql::ROWS_MAX;
use crate::error::Result;
use crate::ids::{FriendshipId, UserId};

/// Friendship rows (or their absence) kept in memory: each message asks for two.
const CACHED_MAX: usize = 200_000;

/// What this feature keeps in memory; the store has the truth.
#[derive(Debug)]
pub struct State {
    cache: Cache<(UserId, UserId), Option<Arc<Friend>>>,
}

impl Default for State {
    fn default() -> Self {
        Self { cache: Cache::new(CACHED_MAX) }
    }
}

/// `user`'s row of `friend`, if `friend` is in `user`'s list.
pub async fn find(app: &App, user: UserId, friend: UserId) -> Result<Option<Arc<Friend>>> {
    let key = (user, friend);
    let guard = match app.friends.cache.get_value_or_guard_async(&key).await {
        Ok(found) => return Ok(found),
        Err(guard) => guard,
    };
    let found = store::find(&mut app.db.read().await?.conn(), user, friend).await?.map(Arc::new);
    // An error means that the row changed meanwhile: this request may still use what it read.
    let _ = guard.insert(found.clone());
    Ok(found)
}

/// Whether `user` has a friend that is not blocked: what the menu card of the address book asks.
pub async fn has_any(app: &App, user: UserId) -> Result<bool> {
    store::exists_any(&mut app.db.read().await?.conn(), user).await
}

/// Who is in those of the rows `ids` that are `user`'s own, neither blocked nor disabled.
pub async fn reachable(app: &App, user: UserId, ids: &[FriendshipId]) -> Result<Vec<UserId>> {
    let mut reader = app.db.read().await?;
    let mut found = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(ROWS_MAX) {
        found.extend(store::list_reachable(&mut reader.conn(), user, chunk).await?.into_iter().map(|(id,)| id));
    }
    Ok(found)
}

/// Drops what is kept of both sides of a pair: to be called after every committed change of either row.
pub fn forget(app: &App, one: UserId, other: UserId) {
    app.friends.cache.remove(&(one, other));
    app.friends.cache.remove(&(other, one));
}
