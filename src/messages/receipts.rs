//! What recipients have proved to have, gathered in memory and written in batches: a cursor a person or subscription.
//!
//! A crash loses what was not yet written; those messages are then pushed again, which is allowed for unconfirmed ones
//! only, so the delay is short.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tracing::warn;

use super::store;
use crate::accounts::service as accounts;
use crate::app::App;
use crate::db::in_time;
use crate::db::sql::ROWS_MAX;
use crate::error::Result;
use crate::hub::Confirmed;
use crate::ids::{MessageId, SubscriptionId, UserId};

/// How long confirmations gather before they are written.
const GATHER: Duration = Duration::from_millis(100);
/// Rest after the store refused them.
const RETRY: Duration = Duration::from_millis(500);

/// Confirmations that are not written yet.
#[derive(Debug, Default)]
pub struct Receipts {
    book: Mutex<Book>,
    wake: Notify,
    /// One writer at a time, so that whoever flushes knows that all earlier confirmations are written.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Book {
    pending: Pending,
    /// Whose those are.
    owners: HashSet<UserId>,
    /// Whose are being written.
    underway: HashSet<UserId>,
}

#[derive(Debug, Default)]
struct Pending {
    direct: HashMap<UserId, MessageId>,
    groups: HashMap<SubscriptionId, i64>,
    early: Vec<(UserId, MessageId)>,
    /// Tokens whose bearers have answered a ping for the first time.
    answering: Vec<(UserId, Box<str>)>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.direct.is_empty() && self.groups.is_empty() && self.early.is_empty() && self.answering.is_empty()
    }

    fn merge(&mut self, other: Self) {
        for (user, id) in other.direct {
            let cursor = self.direct.entry(user).or_default();
            *cursor = (*cursor).max(id);
        }
        for (subscription, seq) in other.groups {
            let cursor = self.groups.entry(subscription).or_default();
            *cursor = (*cursor).max(seq);
        }
        self.early.extend(other.early);
        self.answering.extend(other.answering);
    }
}

impl Receipts {
    /// Takes note of what `user` has proved to have.
    pub fn add(&self, user: UserId, confirmed: Confirmed) {
        if confirmed.is_empty() {
            return;
        }
        let new = Pending {
            direct: confirmed.direct.map(|id| (user, id)).into_iter().collect(),
            groups: confirmed.groups.into_iter().collect(),
            early: confirmed.early.into_iter().map(|id| (user, id)).collect(),
            answering: Vec::new(),
        };
        self.merge(new, Some(user));
    }

    /// Takes note that the bearer of `user`'s token answers pings. No drain waits for that to be written.
    pub fn note_answers_pings(&self, user: UserId, token_id: &str) {
        self.merge(Pending { answering: vec![(user, token_id.into())], ..Pending::default() }, None);
    }

    fn merge(&self, new: Pending, owner: Option<UserId>) {
        let mut book = self.lock();
        let was_empty = book.pending.is_empty();
        book.pending.merge(new);
        book.owners.extend(owner);
        drop(book);
        if was_empty {
            self.wake.notify_one();
        }
    }

    /// How many wait to be written: a cursor counts once, however far it moves.
    pub fn waiting(&self) -> usize {
        let Pending { direct, groups, early, answering } = &self.lock().pending;
        direct.len() + groups.len() + early.len() + answering.len()
    }

    /// Whether something that `user` has proved to have may not be in the store yet.
    fn concern(&self, user: UserId) -> bool {
        let book = self.lock();
        book.owners.contains(&user) || book.underway.contains(&user)
    }

    fn take(&self) -> Taken<'_> {
        let mut book = self.lock();
        book.underway = std::mem::take(&mut book.owners);
        let mut pending = std::mem::take(&mut book.pending);
        // A herd has thousands of them. Nobody waits for these, and everybody would for so long a transaction.
        if pending.answering.len() > ROWS_MAX {
            book.pending.answering = pending.answering.split_off(ROWS_MAX);
            self.wake.notify_one();
        }
        Taken { receipts: self, pending: Some(pending) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().expect("no code panics while it holds this lock")
    }
}

/// Confirmations on their way to the store; they go back if they do not get there, also when the writer is dropped.
struct Taken<'a> {
    receipts: &'a Receipts,
    pending: Option<Pending>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut book = self.receipts.lock();
        let owners = std::mem::take(&mut book.underway);
        if let Some(pending) = self.pending.take().filter(|pending| !pending.is_empty()) {
            book.pending.merge(pending);
            book.owners.extend(owners);
            drop(book);
            self.receipts.wake.notify_one();
        }
    }
}

/// Writes confirmations as they come, until the server stops. A stop calls [`flush`] once all connections have ended.
pub async fn run(app: Arc<App>) {
    loop {
        tokio::select! {
            () = app.messages.receipts.wake.notified() => {}
            () = app.stop.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(GATHER) => {}
            () = app.stop.cancelled() => return,
        }
        if flush(&app).await.is_err() {
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Writes what `user` has confirmed so far, and with it what others have. A herd of people who have confirmed nothing costs no
/// commits, which those who chat would have to wait for.
pub async fn flush_of(app: &App, user: UserId) -> Result<()> {
    if app.messages.receipts.concern(user) { flush(app).await } else { Ok(()) }
}

/// Writes what has been confirmed so far. What could not be written is kept.
pub async fn flush(app: &App) -> Result<()> {
    let receipts = &app.messages.receipts;
    let _writing = receipts.writing.lock().await;
    let mut taken = receipts.take();
    let pending = taken.pending.as_ref().filter(|pending| !pending.is_empty());
    let Some(pending) = pending else { return Ok(()) };
    let written = in_time(write(app, pending)).await;
    match &written {
        Ok(()) => taken.pending = None,
        Err(cause) => {
            app.metrics.messages.unrecorded.inc();
            warn!(cause = cause.for_log(), "confirmations could not be stored; they are kept and tried again");
        }
    }
    written
}

async fn write(app: &App, pending: &Pending) -> Result<()> {
    let newest = &app.messages.newest;
    let known = newest.get();
    let mut tx = app.db.begin().await?;
    let conn = &mut tx.conn();
    let mut direct: Vec<_> = pending.direct.iter().map(|(user, id)| (*user, *id)).collect();
    direct.sort_unstable();
    for chunk in direct.chunks(ROWS_MAX) {
        store::upsert_inbox_cursors(conn, chunk).await?;
    }
    let mut by_seq: BTreeMap<i64, Vec<SubscriptionId>> = BTreeMap::new();
    pending.groups.iter().for_each(|(subscription, seq)| by_seq.entry(*seq).or_default().push(*subscription));
    for (seq, mut subscriptions) in by_seq {
        subscriptions.sort_unstable();
        for chunk in subscriptions.chunks(ROWS_MAX) {
            store::update_subscription_cursors(conn, chunk, seq).await?;
        }
    }
    for chunk in pending.early.chunks(ROWS_MAX) {
        store::insert_early_receipts(conn, chunk).await?;
    }
    if !pending.answering.is_empty() {
        accounts::store_answers_pings(conn, &pending.answering).await?;
    }
    // Last, so that a machine that only reads any more has said so.
    newest.compare(known, store::find_progress(conn).await?.newest_id)?;
    tx.commit().await?;
    accounts::remember_answers_pings(app, &pending.answering);
    Ok(())
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;
    use crate::hub::{Frame, Hub, Receipt, Stream, Ticket};
    use crate::metrics::Overflows;

    /// Two sockets of one person: the drain of the second waits for what the first one carries. Seldom, without the order
    /// that `Hub::confirm` keeps, it saw that nothing was on its way any more and found no confirmation to write.
    #[tokio::test]
    async fn a_drain_that_waited_for_another_socket_finds_its_confirmation() {
        let me = UserId(7);
        for _ in 0..300 {
            let hub = Hub::new(1000, Overflows::new(&Registry::new()));
            let receipts = Receipts::default();
            let one = hub.register(me, Ticket::of(true, "1"), Vec::new());
            hub.push(me, &Frame::text(&[b"x"]), Receipt { message: MessageId(5), stream: Stream::Direct }, None);
            let _two = hub.register(me, Ticket::of(true, "2"), Vec::new());
            hub.ask(me);
            let drain = hub.next_drain().await;
            let gate = std::sync::Barrier::new(2);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    gate.wait();
                    hub.confirm(&one, 1, |confirmed| {
                        // Whoever may run now does.
                        std::thread::yield_now();
                        receipts.add(me, confirmed);
                    });
                });
                gate.wait();
                while hub.held_elsewhere(&drain).expect("the second socket is open") {}
                assert!(receipts.concern(me), "what is no longer on its way is confirmed");
            });
        }
    }
    #[test]
    fn somebody_s_confirmations_are_a_concern_until_they_are_written() {
        let receipts = Receipts::default();
        let (me, other) = (UserId(7), UserId(8));
        let confirmed = || Confirmed { direct: Some(MessageId(5)), ..Confirmed::default() };
        receipts.add(me, confirmed());
        assert_eq!((receipts.concern(me), receipts.concern(other)), (true, false));
        let taken = receipts.take();
        receipts.add(other, confirmed());
        assert_eq!((receipts.concern(me), receipts.concern(other)), (true, true), "they are being written, or wait");
        drop(taken);
        assert_eq!((receipts.concern(me), receipts.waiting()), (true, 2), "they could not be written");
        let mut taken = receipts.take();
        taken.pending = None;
        drop(taken);
        assert_eq!((receipts.concern(me), receipts.concern(other)), (false, false));
    }
}
