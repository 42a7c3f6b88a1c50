//! The facts of groups: rooms from memory, message numbers from the store, what lists print.
//!
//! Every change of a group or its members is made through [`lock`] inside a `messages::post::Post`, which keeps the rooms in
//! memory in step.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

pub use super::changes::{Edit, create, lock};
use super::model::{Group, Joined, Participant, People, Room};
use super::store;
use crate::app::App;
use crate::clock::MINUTE_MS;
use crate::db::Conn;
use crate::error::{AppError, Result};
use crate::ids::{GroupId, UserId};
use crate::metrics::Fill;

/// Rooms kept in memory, by members: some 200 bytes each.
const CACHED_MEMBERS_MAX: u64 = 500_000;
/// What the largest rooms count as, so that the cache takes them too.
const WEIGHT_MAX: u64 = 20_000;
/// How long a room counts without a look at its group's row: another program may lock a group in the store.
const UNCHECKED_MS: i64 = MINUTE_MS / 2;
/// Most groups in one page of a list.
const PAGE_MAX: i64 = 2000;

/// What this feature keeps in memory; the store has the truth.
#[derive(Debug)]
pub struct State {
    rooms: Cache<GroupId, Kept, ByMembers>,
}

/// A room in memory, and when it was last known to be what the store has.
#[derive(Clone, Debug)]
struct Kept {
    room: Arc<Room>,
    checked_at: Arc<AtomicI64>,
}

impl Kept {
    fn new(app: &App, room: Arc<Room>) -> Self {
        Self { room, checked_at: Arc::new(AtomicI64::new(app.clock.now_ms())) }
    }
}

#[derive(Clone, Debug)]
struct ByMembers;

impl Weighter<GroupId, Kept> for ByMembers {
    fn weight(&self, _: &GroupId, kept: &Kept) -> u64 {
        (kept.room.len() as u64 + 8).min(WEIGHT_MAX)
    }
}

impl Default for State {
    fn default() -> Self {
        Self { rooms: Cache::with_weighter(20_000, CACHED_MEMBERS_MAX, ByMembers) }
    }
}

impl State {
    /// How full the caches are.
    pub fn fills(&self) -> [Fill; 1] {
        [Fill::of("rooms", &self.rooms)]
    }
}

/// The group and everyone in it, as of its last change on this server. Dissolved groups have a room that is empty.
pub async fn room(app: &App, id: GroupId) -> Result<Option<Arc<Room>>> {
    let now_ms = app.clock.now_ms();
    if let Some(Kept { room, checked_at }) = app.groups.rooms.get(&id)
        && now_ms - checked_at.load(Ordering::Relaxed) > UNCHECKED_MS
    {
        let found = Box::pin(async { store::find_group(&mut app.db.read().await?.conn(), id).await });
        if found.await?.as_ref() == Some(&room.group) {
            checked_at.store(now_ms, Ordering::Relaxed);
        } else {
            forget(app, id);
        }
    }
    // A room that changes while it is loaded is not kept: `keep` and `forget` also remove the placeholder.
    let guard = match app.groups.rooms.get_value_or_guard_async(&id).await {
        Ok(kept) => return Ok(Some(kept.room)),
        Err(guard) => guard,
    };
    app.metrics.loads.rooms.inc();
    let loaded = Box::pin(async { load(&mut app.db.read().await?.conn(), id).await });
    let Some(room) = loaded.await? else { return Ok(None) };
    // An error means that the room changed meanwhile: this request may still use what it read.
    let _ = guard.insert(Kept::new(app, room.clone()));
    Ok(Some(room))
}

/// The room exactly as it is inside the transaction of `conn`, which holds the group's lock and has not changed it.
pub async fn room_at(app: &App, conn: &mut Conn<'_>, id: GroupId, version: i64) -> Result<Option<Arc<Room>>> {
    if let Some(room) = kept_at(app, id, version) {
        return Ok(Some(room));
    }
    app.metrics.loads.rooms.inc();
    let room = load(conn, id).await?;
    if let Some(room) = &room {
        keep(app, room.clone());
    }
    Ok(room)
}

/// What is kept of the group, if that is as it was at `version`.
fn kept_at(app: &App, id: GroupId, version: i64) -> Option<Arc<Room>> {
    app.groups.rooms.get(&id).map(|kept| kept.room).filter(|room| room.group.version == version)
}

/// The group is read before its members, so that a room is never older than the version it names.
async fn load(conn: &mut Conn<'_>, id: GroupId) -> Result<Option<Arc<Room>>> {
    let Some(group) = store::find_group(conn, id).await? else { return Ok(None) };
    let people = Arc::new(People::new(store::list_members(conn, id).await?));
    Ok(Some(Arc::new(Room { group, people })))
}

/// Everyone in the group as it was at `version`, if that is what is kept of it.
pub(super) fn known_people(app: &App, id: GroupId, version: i64) -> Option<Arc<People>> {
    kept_at(app, id, version).map(|room| room.people.clone())
}

/// Keeps a room as a committed change has left it.
pub fn keep(app: &App, room: Arc<Room>) {
    app.groups.rooms.insert(room.group.id, Kept::new(app, room));
}

/// Drops what is kept of a group whose last change did not leave a room.
pub fn forget(app: &App, id: GroupId) {
    app.groups.rooms.remove(&id);
}

/// Whether `user` is an active member of an open group: what the menu card of the groups asks.
pub async fn is_in_any(app: &App, user: UserId) -> Result<bool> {
    store::exists_any(&mut app.db.read().await?.conn(), user).await
}

/// A page of the groups that somebody is in, newest first.
pub async fn list(app: &App, me: UserId, page: i64, limit: i64) -> Result<Vec<Joined>> {
    let limit = limit.min(PAGE_MAX);
    let offset = (page - 1).saturating_mul(limit);
    store::list_joined(&mut app.db.read().await?.conn(), me, limit, offset).await
}

/// A group with its active members, for anyone: whoever scans its code looks at it before joining.
pub async fn profile(app: &App, id: GroupId) -> Result<(Group, Vec<Participant>)> {
    const GONE: AppError = AppError::refused("群不存在或被封禁");
    let room = room(app, id).await?.filter(|room| room.group.is_open()).ok_or(GONE)?;
    let participants = store::list_participants(&mut app.db.read().await?.conn(), id).await?;
    if participants.is_empty() {
        return Err(GONE);
    }
    Ok((room.group.clone(), participants))
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
