//! The facts of groups: rooms from memory, message numbers from the store, what lists print.
//!
//! Every change of a group or its members is made through [`lock`] inside a `messages::post::Post`, which keeps the rooms in
//! memory in step.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

pub use super::changes::{Edit, create, lock};
use super::model::{Counters, Group, Joined, OPEN, Participant, People, Room};
use super::store;
use crate::app::App;
use crate::cache::{self, Fill};
use crate::clock::is_trusted;
use crate::db::sql::ROWS_MAX;
use crate::db::{Conn, in_time};
use crate::error::{AppError, Result};
use crate::ids::{GroupId, SubscriptionId, UserId};

/// Members of the rooms that are kept in memory, some 200 bytes each, where a room counts as [`WEIGHT_MAX`] at most.
const CACHED_MEMBERS_MAX: u64 = 500_000;
/// What the largest rooms count as, so that the cache takes them too.
const WEIGHT_MAX: u64 = 20_000;
/// Members up to which a room is loaded again when it has not been for a while. Of a larger one the group alone is looked at.
const RELOADED_MAX: usize = 1000;
/// Most groups in one page of a list.
const PAGE_MAX: i64 = 2000;
/// Ended subscriptions looked at in one step.
const SUBSCRIPTIONS_MAX: usize = 512;

/// What this feature keeps in memory; the store has the truth.
#[derive(Debug)]
pub struct State {
    rooms: Cache<GroupId, Kept, ByMembers>,
}

/// A room in memory.
#[derive(Clone, Debug)]
struct Kept {
    room: Arc<Room>,
    marks: Arc<Marks>,
}

#[derive(Debug)]
struct Marks {
    /// When the room was last known to be what the store has.
    checked_at: AtomicI64,
    /// The number of the group's newest message, as far as is known, or [`UNKNOWN`].
    last_seq: AtomicI64,
}

const UNKNOWN: i64 = -1;

impl Kept {
    fn new(app: &App, room: Arc<Room>) -> Self {
        let (checked_at, last_seq) = (AtomicI64::new(app.clock.now_ms()), AtomicI64::new(UNKNOWN));
        Self { room, marks: Arc::new(Marks { checked_at, last_seq }) }
    }

    /// Whether it was what the store has a moment ago.
    fn is_trusted(&self, app: &App) -> bool {
        is_trusted(self.marks.checked_at.load(Ordering::Relaxed), app.clock.now_ms())
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
        Self { rooms: cache::weighted(20_000, CACHED_MEMBERS_MAX, ByMembers) }
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
    if let Some(kept) = app.groups.rooms.get(&id)
        && !kept.is_trusted(app)
    {
        let Kept { room, marks } = kept;
        let found = async {
            // What an operator has changed of its members by hand shows in no other way.
            if room.len() <= RELOADED_MAX {
                return Ok(None);
            }
            store::find_group(&mut app.db.read().await?.conn(), id).await
        };
        if in_time(Box::pin(found)).await?.as_ref() == Some(&room.group) {
            marks.checked_at.store(app.clock.now_ms(), Ordering::Relaxed);
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
    let Some(room) = in_time(loaded).await? else { return Ok(None) };
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
    let kept = app.groups.rooms.get(&id).filter(|kept| kept.room.group.version == version);
    kept.filter(|kept| kept.is_trusted(app)).map(|kept| kept.room.people.clone())
}

/// Keeps a room as a committed change has left it. What the change did not touch is as old as it was.
pub fn keep(app: &App, room: Arc<Room>) {
    let id = room.group.id;
    let new = Kept::new(app, room);
    if let Some(old) = app.groups.rooms.get(&id).filter(|old| old.is_trusted(app)) {
        new.marks.checked_at.store(old.marks.checked_at.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    app.groups.rooms.insert(id, new);
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

/// Looks for ended subscriptions after one of them in which nothing can be pending: they have come to their end, or what the
/// group said until then is gone. An ended one never opens again. Returns them, and where to go on.
pub async fn find_spent_subscriptions(
    app: &App,
    after: SubscriptionId,
) -> Result<(Vec<SubscriptionId>, Option<SubscriptionId>)> {
    let rows = store::list_ended_subscriptions(&mut app.db.read().await?.conn(), after, SUBSCRIPTIONS_MAX).await?;
    let next = rows.get(SUBSCRIPTIONS_MAX - 1).map(|(id, _)| *id);
    Ok((rows.into_iter().filter(|(_, needed)| *needed == 0).map(|(id, _)| id).collect(), next))
}

/// Deletes up to [`crate::db::sql::ROWS_MAX`] subscriptions. Returns how many were there.
pub async fn delete_subscriptions(app: &App, ids: Vec<SubscriptionId>) -> Result<u64> {
    let mut tx = app.db.begin().await?;
    let deleted = store::delete_subscriptions(&mut tx.conn(), &ids).await?;
    tx.commit().await?;
    Ok(deleted)
}

/// Message numbers reserved in a transaction that now holds the group's lock.
#[derive(Clone, Copy, Debug)]
pub struct Reserved {
    /// The group.
    pub group: GroupId,
    /// The first of the numbers.
    pub first_seq: i64,
    /// The last of them.
    pub last_seq: i64,
    /// The group's version under the lock.
    pub version: i64,
    /// Whether the group is open under the lock: another program may close it and leave its version.
    pub open: bool,
}

/// Reserves message numbers, so many in each of the groups, by two statements for all of them. Those that do not exist are
/// missing from the answer. The groups come in the order of their ids, so that two nodes cannot deadlock.
pub async fn reserve(conn: &mut Conn<'_>, counts: &[(GroupId, i64)]) -> Result<Vec<Reserved>> {
    let mut reserved = Vec::with_capacity(counts.len());
    for chunk in counts.chunks(ROWS_MAX) {
        store::update_last_seqs(conn, chunk).await?;
        for Counters { id, last_seq, version, status } in store::list_counters(conn, chunk).await? {
            let count = chunk.iter().find(|(group, _)| *group == id).map_or(0, |(_, count)| *count);
            let (first_seq, open) = (last_seq - count + 1, status == OPEN);
            reserved.push(Reserved { group: id, first_seq, last_seq, version, open });
        }
    }
    Ok(reserved)
}

/// What [`reserve`] would give, with who is in each group, if memory knows all of them and they are open. Whether they
/// still stand so in the store, [`reserve_expected`] tells.
pub fn expected(app: &App, counts: &[(GroupId, i64)]) -> Option<Vec<(Reserved, Arc<Room>)>> {
    let expect = |(id, count): &(GroupId, i64)| {
        let Kept { room, marks } = app.groups.rooms.get(id)?;
        let newest = marks.last_seq.load(Ordering::Relaxed);
        let (first_seq, last_seq, version) = (newest + 1, newest + count, room.group.version);
        let expected = Reserved { group: *id, first_seq, last_seq, version, open: true };
        (newest != UNKNOWN && room.group.is_open()).then_some((expected, room))
    };
    counts.iter().map(expect).collect()
}

/// Reserves what was expected, by one statement and without a look at the groups. Returns whether each of them stood as
/// expected; if not, the transaction is to be taken back. The groups come in the order of their ids.
pub async fn reserve_expected(conn: &mut Conn<'_>, expected: &[Reserved]) -> Result<bool> {
    for chunk in expected.chunks(ROWS_MAX) {
        if store::update_last_seqs_expected(conn, chunk).await? != chunk.len() as u64 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Keeps in memory the number that a transaction has left as the newest of the group.
pub fn remember_last_seq(app: &App, reserved: &Reserved) {
    if let Some(Kept { room, marks }) = app.groups.rooms.get(&reserved.group)
        && room.group.version == reserved.version
    {
        marks.last_seq.store(reserved.last_seq, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_room_fits_into_its_part_of_the_cache() {
        assert!(State::default().rooms.shard_capacity() >= 2 * WEIGHT_MAX);
    }
}
