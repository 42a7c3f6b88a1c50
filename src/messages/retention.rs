//! What is old and nobody needs any more; `jobs::retention` says when it is deleted, and at what pace.
//!
//! A message may go when it is due to nobody. That never changes again: cursors only grow, a stay that is opened begins after
//! the messages that are there, and one that ends keeps what is pending. So what a step has read needs no lock until it is
//! deleted, and only what the store has counts: a confirmation that is not written yet moves nothing.

use super::model::Aging;
use super::store;
use crate::app::App;
use crate::db::Conn;
use crate::db::sql::ROWS_MAX;
use crate::error::Result;
use crate::ids::{GroupId, MessageId, UserId};

/// Groups looked at in one step.
const GROUPS_MAX: usize = 16;
/// Stays that are read to judge a group's oldest messages. If that many are behind them, they are all taken to be needed.
const HOLDERS_MAX: usize = 1000;
/// Marks looked at in one step.
const MARKS_MAX: usize = 512;

/// Which messages are old.
#[derive(Clone, Copy, Debug)]
pub struct Old {
    /// The last of them, as far as times grow with ids. Never the newest of all: ids grow from it, even if the database
    /// forgot how far it had counted.
    last: MessageId,
    /// They were sent before this. A clock that was set may have left younger ones among them.
    before_ms: i64,
}

/// Finds what was sent before then: by halves, since no index knows when a message was sent.
pub async fn find_old(app: &App, before_ms: i64) -> Result<Old> {
    let mut reader = app.db.read().await?;
    let conn = &mut reader.conn();
    let (mut last, mut young) = (0, store::find_newest_id(conn).await?.0);
    while last + 1 < young {
        let middle = last + (young - last) / 2;
        match store::find_next(conn, MessageId(middle)).await? {
            Some((id, sent_at)) if id.0 < young && sent_at < before_ms => last = id.0,
            _ => young = middle,
        }
    }
    Ok(Old { last: MessageId(last), before_ms })
}

/// Looks for old direct messages that were received, from an inbox on and in that after a message. Returns them, and where to
/// go on.
pub async fn find_received(
    app: &App,
    old: Old,
    (user, after): (UserId, MessageId),
) -> Result<(Vec<MessageId>, Option<(UserId, MessageId)>)> {
    let mut reader = app.db.read().await?;
    let conn = &mut reader.conn();
    let inboxes = store::list_inboxes(conn, user, ROWS_MAX).await?;
    let mut received = Vec::new();
    for inbox in &inboxes {
        let up_to = inbox.delivered_id.min(old.last);
        if inbox.oldest_id.is_some_and(|oldest| oldest <= up_to) {
            let after = if inbox.user_id == user { after } else { MessageId::default() };
            let room = ROWS_MAX - received.len();
            let page = store::list_direct(conn, inbox.user_id, after, up_to, room).await?;
            received.extend(page.iter().filter(|(_, sent_at)| *sent_at < old.before_ms).map(|(id, _)| *id));
            if let Some((last, _)) = page.get(room - 1) {
                return Ok((received, Some((inbox.user_id, *last))));
            }
        }
    }
    Ok((received, inboxes.last().map(|inbox| (UserId(inbox.user_id.0 + 1), MessageId::default()))))
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
/// A stay to which something is due holds all from there to its end, the person's own messages among it: otherwise each pass
/// would walk again over everything that waits for people who never come back.
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

/// A mark that somebody received a message early.
pub type Mark = (UserId, MessageId);

/// Looks for marks after one of them that say no more than the cursors do, or whose message is gone. Returns them, and where
/// to go on.
pub async fn find_void_marks(app: &App, (user, after): Mark) -> Result<(Vec<Mark>, Option<Mark>)> {
    let mut reader = app.db.read().await?;
    let conn = &mut reader.conn();
    let mut rows = store::list_early_receipts(conn, user, after, MARKS_MAX).await?;
    if rows.len() < MARKS_MAX {
        rows.extend(store::list_early_receipts_after(conn, user, MARKS_MAX - rows.len()).await?);
    }
    let next = rows.get(MARKS_MAX - 1).map(|(user, message, _)| (*user, *message));
    let void = rows.into_iter().filter(|(_, _, needed)| *needed == 0).map(|(user, message, _)| (user, message));
    Ok((void.collect(), next))
}

/// Deletes up to [`ROWS_MAX`] marks, those of each person together. Returns how many were there.
pub async fn delete_marks(app: &App, marks: Vec<Mark>) -> Result<u64> {
    let mut tx = app.db.begin().await?;
    let mut deleted = 0;
    for of_one in marks.chunk_by(|one, other| one.0 == other.0) {
        let messages: Vec<_> = of_one.iter().map(|(_, message)| *message).collect();
        deleted += store::delete_early_receipts(&mut tx.conn(), of_one[0].0, &messages).await?;
    }
    tx.commit().await?;
    Ok(deleted)
}
