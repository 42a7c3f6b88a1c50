//! What is old and nobody needs any more; `jobs::retention` says when it is deleted, and at what pace.
//!
//! A message may go when it is due to nobody. That never changes again: cursors only grow, a subscription that is opened
//! begins after the messages that are there, and one that ends keeps what is pending. So what a step has read needs no lock until it is
//! deleted, and only what the store has counts: a confirmation that is not written yet moves nothing.

use std::sync::atomic::Ordering;

use super::model::{Aging, Filed, Progress};
use super::store;
use crate::app::App;
use crate::db::Conn;
use crate::db::sql::ROWS_MAX;
use crate::error::Result;
use crate::ids::{GroupId, MessageId, UserId};

/// Messages looked at in one step.
const MESSAGES_MAX: usize = 512;
/// Inboxes looked at in one step.
const INBOXES_MAX: usize = 512;
/// Groups looked at in one step.
const GROUPS_MAX: usize = 16;
/// Subscriptions that are read to judge a group's oldest messages. If that many are behind them, they are all taken to be needed.
const HOLDERS_MAX: usize = 1000;
/// Early receipts looked at in one step.
const EARLY_RECEIPTS_MAX: usize = 512;

/// Which messages are old.
#[derive(Clone, Copy, Debug)]
pub struct Old {
    /// The last of them, as far as times grow with ids; all of them are filed. Never the newest of all: ids grow from it, even if
    /// the database forgot how far it had counted.
    last: MessageId,
    /// They were sent before this. A clock that was set may have left younger ones among them.
    before_ms: i64,
}

/// Finds what was sent before then: by halves, since no index knows when a message was sent.
pub async fn find_old(app: &App, before_ms: i64) -> Result<Old> {
    let mut reader = app.db.read().await?;
    let conn = &mut reader.conn();
    let Progress { filed_id, newest_id } = store::find_progress(conn).await?;
    let (mut last, mut young) = (0, newest_id.0.min(filed_id.0 + 1));
    while last + 1 < young {
        let middle = last + (young - last) / 2;
        match store::find_next(conn, MessageId(middle)).await? {
            Some((id, sent_at)) if id.0 < young && sent_at < before_ms => last = id.0,
            _ => young = middle,
        }
    }
    Ok(Old { last: MessageId(last), before_ms })
}

/// Where a pass over the messages is.
#[derive(Clone, Copy, Debug)]
pub struct Position {
    /// The last message that was looked at.
    after: MessageId,
    /// One that is too young was passed over: the next pass has to begin before it.
    left_one: bool,
}

/// Where a pass over the messages begins. What is kept before that is pending and therefore filed: once it was received,
/// [`find_spent`] finds it. So one pass does not walk again over what the last one left.
pub fn first_position(app: &App) -> Position {
    Position { after: MessageId(app.messages.looked_through.load(Ordering::Relaxed)), left_one: false }
}

/// Looks for old direct messages that were received, after one of them. Returns them, and where to go on. All that were found
/// before must be deleted.
pub async fn find_received(app: &App, old: Old, position: Position) -> Result<(Vec<MessageId>, Option<Position>)> {
    let mut left_one = position.left_one;
    if !left_one {
        app.messages.looked_through.store(position.after.0, Ordering::Relaxed);
    }
    let mut reader = app.db.read().await?;
    let page = store::list_received(&mut reader.conn(), position.after, old.last, MESSAGES_MAX).await?;
    let next = page.get(MESSAGES_MAX - 1).map(|last| last.id);
    let mut found = Vec::new();
    for message in &page {
        if message.created_at >= old.before_ms {
            left_one = true;
        } else if message.received != 0 {
            found.push(message.id);
        }
    }
    Ok((found, next.map(|after| Position { after, left_one })))
}

/// Something of a backlog that was received: a row that is no longer needed, and perhaps a message.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    user: UserId,
    message: MessageId,
    /// The message is old and goes as well.
    is_old: bool,
}

/// Looks for what of the backlogs was received, from an inbox on. Returns it, and where to go on; what was found must be deleted
/// before.
pub async fn find_spent(app: &App, old: Option<Old>, user: UserId) -> Result<(Vec<Spent>, Option<UserId>)> {
    let mut reader = app.db.read().await?;
    let conn = &mut reader.conn();
    let inboxes = store::list_inboxes(conn, user, INBOXES_MAX).await?;
    let is_old = |filed: &Filed| {
        old.is_some_and(|old| {
            filed.message_id <= old.last && filed.created_at.is_some_and(|sent_at| sent_at < old.before_ms)
        })
    };
    let mut spent = Vec::new();
    for inbox in &inboxes {
        if inbox.oldest_id.is_some_and(|oldest| oldest <= inbox.delivered_id) {
            let room = ROWS_MAX - spent.len();
            let page = store::list_filed(conn, inbox.user_id, inbox.delivered_id, room).await?;
            for filed in &page {
                let is_old = is_old(filed);
                if !is_old && filed.created_at.is_some() {
                    // Nothing leads to it but the walk, which may have passed it if the clock was set back since.
                    app.messages.looked_through.fetch_min(filed.message_id.0 - 1, Ordering::Relaxed);
                }
                spent.push(Spent { user: filed.user_id, message: filed.message_id, is_old });
            }
            if page.len() == room {
                return Ok((spent, Some(inbox.user_id)));
            }
        }
    }
    Ok((spent, inboxes.last().map(|inbox| UserId(inbox.user_id.0 + 1))))
}

/// Takes up to [`ROWS_MAX`] messages out of the backlogs, and deletes those that are old. Returns how many messages that were.
pub async fn delete_spent(app: &App, spent: Vec<Spent>) -> Result<u64> {
    let mut tx = app.db.begin().await?;
    for of_one in spent.chunk_by(|one, other| one.user == other.user) {
        let messages: Vec<_> = of_one.iter().map(|spent| spent.message).collect();
        store::delete_backlog(&mut tx.conn(), of_one[0].user, &messages).await?;
    }
    let old: Vec<_> = spent.iter().filter(|spent| spent.is_old).map(|spent| spent.message).collect();
    let deleted = if old.is_empty() { 0 } else { store::delete_messages(&mut tx.conn(), &old).await? };
    tx.commit().await?;
    Ok(deleted)
}

/// Looks for old messages of groups that are due to nobody, from a group on and in that after a number. Returns them, and
/// where to go on.
pub async fn find_undue(
    app: &App,
    old: Old,
    (group, after): (GroupId, i64),
) -> Result<(Vec<MessageId>, Option<(GroupId, i64)>)> {
    let mut reader = app.db.read().await?;
    let conn = &mut reader.conn();
    let groups = store::list_groups(conn, group, GROUPS_MAX).await?;
    let mut undue = Vec::new();
    for (id, oldest) in &groups {
        if oldest.is_some_and(|oldest| oldest <= old.last) {
            let after = if *id == group { after } else { 0 };
            if let Some(after) = look_into_group(conn, old, (*id, after), &mut undue).await? {
                return Ok((undue, Some((*id, after))));
            }
        }
    }
    Ok((undue, groups.last().map(|(id, _)| (GroupId(id.0 + 1), 0))))
}

/// Adds those of the group's next messages that are due to nobody, up to [`ROWS_MAX`] in all. Returns after which number to go on
/// in it, unless it is through.
///
/// A subscription to which something is due holds all from there to its end, the person's own messages among it: otherwise each
/// pass would walk again over everything that waits for people who never come back.
async fn look_into_group(
    conn: &mut Conn<'_>,
    old: Old,
    (group, after): (GroupId, i64),
    undue: &mut Vec<MessageId>,
) -> Result<Option<i64>> {
    let room = ROWS_MAX - undue.len();
    let page = store::list_in_group(conn, group, after, room).await?;
    let aged: Vec<Aging> = page.iter().take_while(|message| message.id <= old.last).copied().collect();
    let (Some(first), Some(last)) = (aged.first(), aged.last()) else { return Ok(None) };
    let holders = store::list_holders(conn, group, first.seq, last.seq, HOLDERS_MAX).await?;
    if holders.len() == HOLDERS_MAX {
        return Ok(None);
    }
    let mut after = after;
    for message in &aged {
        if message.seq > after {
            let held_up_to = holders.iter().filter_map(|holder| holder.holds_up_to(message)).max();
            after = held_up_to.unwrap_or(message.seq);
            if held_up_to.is_none() && message.created_at < old.before_ms {
                undue.push(message.id);
            }
        }
    }
    Ok((aged.len() == room && after < i64::MAX).then_some(after))
}

/// Deletes up to [`ROWS_MAX`] messages. Returns how many were there.
pub async fn delete_messages(app: &App, ids: Vec<MessageId>) -> Result<u64> {
    let mut tx = app.db.begin().await?;
    let deleted = store::delete_messages(&mut tx.conn(), &ids).await?;
    tx.commit().await?;
    Ok(deleted)
}

/// Somebody and a message that was received before an older one.
pub type EarlyReceipt = (UserId, MessageId);

/// Looks for early receipts after one of them that say no more than the cursors do, or whose message is gone. Returns them, and where
/// to go on.
pub async fn find_void_early_receipts(
    app: &App,
    (user, after): EarlyReceipt,
) -> Result<(Vec<EarlyReceipt>, Option<EarlyReceipt>)> {
    let mut reader = app.db.read().await?;
    let conn = &mut reader.conn();
    let mut rows = store::list_early_receipts(conn, user, after, EARLY_RECEIPTS_MAX).await?;
    if rows.len() < EARLY_RECEIPTS_MAX {
        rows.extend(store::list_early_receipts_after(conn, user, EARLY_RECEIPTS_MAX - rows.len()).await?);
    }
    let next = rows.get(EARLY_RECEIPTS_MAX - 1).map(|(user, message, _)| (*user, *message));
    let void = rows.into_iter().filter(|(_, _, needed)| *needed == 0).map(|(user, message, _)| (user, message));
    Ok((void.collect(), next))
}

/// Deletes up to [`ROWS_MAX`] early receipts, those of each person together. Returns how many were there.
pub async fn delete_early_receipts(app: &App, receipts: Vec<EarlyReceipt>) -> Result<u64> {
    let mut tx = app.db.begin().await?;
    let mut deleted = 0;
    for of_one in receipts.chunk_by(|one, other| one.0 == other.0) {
        let messages: Vec<_> = of_one.iter().map(|(_, message)| *message).collect();
        deleted += store::delete_early_receipts(&mut tx.conn(), of_one[0].0, &messages).await?;
    }
    tx.commit().await?;
    Ok(deleted)
}
