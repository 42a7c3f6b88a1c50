//! Friend lists, sorted under their letters, from memory while nothing that they show has changed.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::model::{Listed, Section, sections};
use super::store;
use crate::accounts::service as accounts;
use crate::app::App;
use crate::cache::{self, Fill};
use crate::clock::is_trusted;
use crate::db::in_time;
use crate::error::Result;
use crate::ids::UserId;

/// Most friends in one page of a list: a bound on memory, far above what a client asks for.
const PAGE_MAX: i64 = 10_000;
/// Friends read at a time, as one packed text: a bound on its bytes, which MySQL sends in one packet.
const PART_MAX: i64 = 1000;
/// Lists kept in memory, in bytes.
const CACHED_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Lists that are expected to fit.
const CACHED_LISTS: usize = 1000;
/// What a friend takes beside the texts.
const LISTED_BYTES: usize = 160;

/// One page of somebody's list.
#[derive(Debug)]
pub struct List {
    /// By title; empty when there is nobody on the page.
    pub sections: Vec<Section>,
    page: i64,
    limit: i64,
    loaded_at: i64,
    faces: u64,
}

/// The page that each person asked for last.
#[derive(Debug)]
pub struct Lists(Cache<UserId, Arc<List>, ByBytes>);

impl Default for Lists {
    fn default() -> Self {
        Self(cache::weighted(CACHED_LISTS, CACHED_BYTES_MAX, ByBytes))
    }
}

#[derive(Clone, Debug)]
struct ByBytes;

impl Weighter<UserId, Arc<List>> for ByBytes {
    fn weight(&self, _: &UserId, list: &Arc<List>) -> u64 {
        let friends = list.sections.iter().flat_map(|section| &section.friends);
        let bytes = friends.map(|Listed { remark, uuid, username, nickname, avatar, .. }| {
            LISTED_BYTES + remark.len() + uuid.len() + username.len() + nickname.len() + avatar.len()
        });
        (LISTED_BYTES + bytes.sum::<usize>()) as u64
    }
}

impl Lists {
    /// How full it is.
    pub fn fill(&self) -> Fill {
        Fill::of("friend_lists", &self.0)
    }

    /// Drops what is kept of a person's list.
    pub fn forget(&self, user: UserId) {
        self.0.remove(&user);
    }
}

/// One page of my list, sorted under its letters. Blocked friends stay listed (contract: people §4.1).
pub async fn page(app: &App, me: UserId, page: i64, limit: i64) -> Result<Arc<List>> {
    let limit = limit.min(PAGE_MAX);
    let (now_ms, faces) = (app.clock.now_ms(), accounts::faces(app));
    let lists = &app.friends.lists;
    let is_wanted =
        |list: &List| (list.page, list.limit, list.faces) == (page, limit, faces) && is_trusted(list.loaded_at, now_ms);
    if lists.0.get(&me).is_some_and(|list| !is_wanted(&list)) {
        lists.forget(me);
    }
    let guard = match lists.0.get_value_or_guard_async(&me).await {
        Ok(list) if is_wanted(&list) => return Ok(list),
        // Another request of mine wanted another page meanwhile.
        Ok(_) => return Ok(Arc::new(load(app, me, page, limit).await?)),
        Err(guard) => guard,
    };
    let list = Arc::new(in_time(load(app, me, page, limit)).await?);
    // An error means that the list changed meanwhile: this request may still use what it read.
    let _ = guard.insert(list.clone());
    Ok(list)
}

async fn load(app: &App, me: UserId, page: i64, limit: i64) -> Result<List> {
    app.metrics.loads.friend_lists.inc();
    // Before the rows: what changes while they are read is not vouched for.
    let (loaded_at, faces) = (app.clock.now_ms(), accounts::faces(app));
    let mut offset = page.saturating_sub(1).saturating_mul(limit);
    let end = offset.saturating_add(limit);
    let mut reader = app.db.read().await?;
    let mut friends = Vec::new();
    while offset < end {
        let asked = PART_MAX.min(end - offset);
        let part = store::list_part(&mut reader.conn(), me, asked, offset).await?;
        let is_last = i64::try_from(part.len()).unwrap_or(i64::MAX) < asked;
        friends.extend(part);
        if is_last {
            break;
        }
        offset += asked;
    }
    friends.sort_unstable_by_key(|friend| friend.id);
    Ok(List { sections: sections(friends), page, limit, loaded_at, faces })
}
