//! The facts of groups: rooms from memory, message numbers from the store.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::model::Room;
use super::store;
use crate::app::App;
use crate::db::Conn;
use crate::error::Result;
use crate::ids::{GroupId, UserId};

/// Rooms kept in memory, by members: some 200 bytes each.
const CACHED_MEMBERS_MAX: u64 = 500_000;

/// What this feature keeps in memory; the store has the truth.
#[derive(Debug)]
pub struct State {
    rooms: Cache<GroupId, Arc<Room>, ByMembers>,
}

#[derive(Clone, Debug)]
struct ByMembers;

impl Weighter<GroupId, Arc<Room>> for ByMembers {
    fn weight(&self, _: &GroupId, room: &Arc<Room>) -> u64 {
        room.members.len() as u64 + 8
    }
}

impl Default for State {
    fn default() -> Self {
        Self { rooms: Cache::with_weighter(20_000, CACHED_MEMBERS_MAX, ByMembers) }
    }
}

/// The group and everyone in it, at most as old as its last change on this server.
pub async fn room(app: &App, id: GroupId) -> Result<Option<Arc<Room>>> {
    if let Some(room) = app.groups.rooms.get(&id) {
        return Ok(Some(room));
    }
    load(app, &mut app.db.read().await?.conn(), id).await
}

/// Whether `user` is an active member of an open group: what the menu card of the groups asks.
pub async fn is_in_any(app: &App, user: UserId) -> Result<bool> {
    store::exists_any(&mut app.db.read().await?.conn(), user).await
}

/// The room exactly as it is inside the transaction of `conn`, which has locked the group at `version`.
pub async fn room_at(app: &App, conn: &mut Conn<'_>, id: GroupId, version: i64) -> Result<Option<Arc<Room>>> {
    match app.groups.rooms.get(&id).filter(|room| room.group.version == version) {
        Some(room) => Ok(Some(room)),
        None => load(app, conn, id).await,
    }
}

/// The group is read before its members, so that a room is never older than the version it names.
async fn load(app: &App, conn: &mut Conn<'_>, id: GroupId) -> Result<Option<Arc<Room>>> {
    let Some(group) = store::find_group(conn, id).await? else { return Ok(None) };
    let members = store::list_members(conn, id).await?;
    let room = Arc::new(Room::new(group, members));
    app.groups.rooms.insert(id, room.clone());
    Ok(Some(room))
}

/// Drops what is kept of a group: to be called after every committed change of it or its members.
pub fn forget(app: &App, id: GroupId) {
    app.groups.rooms.remove(&id);
}

/// Message numbers reserved in a transaction that now holds the group's lock.
#[derive(Clone, Copy, Debug)]
pub struct Reserved {
    /// The first of the numbers.
    pub first_seq: i64,
    /// The group's version under the lock.
    pub version: i64,
    /// The group's status under the lock.
    pub status: i64,
}

/// Reserves `count` message numbers of the group; `None` if it does not exist.
pub async fn reserve(conn: &mut Conn<'_>, id: GroupId, count: usize) -> Result<Option<Reserved>> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    if !store::update_last_seq(conn, id, count).await? {
        return Ok(None);
    }
    let (last_seq, version, status) = store::find_counters(conn, id).await?;
    Ok(Some(Reserved { first_seq: last_seq - count + 1, version, status }))
}
