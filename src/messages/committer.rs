//! Group commit: chat messages of all requests are stored in one transaction for all that came in while the last one was
//! being synced. No timer: an idle server commits at once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use prometheus::IntCounter;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

use super::model::{Address, NewMessage};
use super::post::{self, Post, fitting};
use super::store;
use crate::app::App;
use crate::db::sql::ROWS_MAX;
use crate::db::{in_time, needs_operator};
use crate::error::{AppError, Result};
use crate::groups::model::{Member, Room};
use crate::ids::{GroupId, UserId};
use crate::limits::{Budget, Portion, Seldom};
use crate::metrics::Commits;

/// Messages waiting to be committed; past it senders wait, then are refused.
const QUEUE_MAX: usize = 4096;
/// Messages in one transaction.
const BATCH_MAX: usize = 512;
/// Bytes of bodies in one transaction (one body at least).
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of long bodies in the queue: a connection that has gone has given back the room that its request had.
const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Of these, one sender's.
const QUEUE_BY_SENDER_MAX: usize = 16 * 1024 * 1024;
/// Shorter ones have room enough in [`QUEUE_MAX`] places.
const LONG_BYTES: usize = 16 * 1024;
/// A body that is longer is committed alone: a database may refuse it for its length (`max_allowed_packet`), and with it all others.
const ALONE_BYTES: usize = 512 * 1024;
/// How long a sender waits for a place in the queue.
const QUEUE_WAIT: Duration = Duration::from_secs(5);

const NO_GROUP: AppError = AppError::refused("群不存在或者已解散或者被封禁，无法发消息");
const NOT_A_MEMBER: AppError = AppError::refused("您不在群里，无法发消息");
const ONE_ONLY: AppError = AppError::refused("在成为好友之前，对方只允许向他发一条消息");

/// A chat message to be stored.
#[derive(Debug)]
pub struct Job {
    /// The message.
    pub message: NewMessage,
    /// Refuse it if its sender has ever written to its recipient (the stranger limit, decision 20).
    pub first_only: bool,
    reply: Reply,
}

/// Who waits for a message to be stored, and the room that it takes meanwhile.
#[derive(Debug)]
struct Reply {
    outcome: oneshot::Sender<Result<()>>,
    _room: Option<Portion<UserId>>,
}

/// Where requests leave their messages.
#[derive(Clone, Debug)]
pub struct Committer {
    queue: mpsc::Sender<Job>,
    long: Budget<UserId>,
    refused: IntCounter,
    /// When a batch could last not be stored, if none was since.
    failed_at: Arc<Mutex<Option<Instant>>>,
    told: Arc<[Seldom; 2]>,
}

impl Committer {
    /// The two ends of the queue.
    pub fn new(counts: &Commits) -> (Self, mpsc::Receiver<Job>) {
        let (queue, receiver) = mpsc::channel(QUEUE_MAX);
        let committer = Self {
            queue,
            long: Budget::new(QUEUE_BYTES_MAX, QUEUE_BY_SENDER_MAX),
            refused: counts.refused.clone(),
            failed_at: Arc::default(),
            told: Arc::default(),
        };
        (committer, receiver)
    }

    /// How long ago the last messages could not be stored, if that is how it stands.
    pub fn failing_for(&self) -> Option<Duration> {
        self.failed_at.lock().expect("no code panics while it holds this lock").map(|at| at.elapsed())
    }

    fn ended(&self, failed: bool) {
        *self.failed_at.lock().expect("no code panics while it holds this lock") = failed.then(Instant::now);
    }

    /// Says why messages could not be stored, not once for each of the batches that fail while the store is away.
    fn tell(&self, cause: &AppError, messages: usize) {
        let (why, [acute, passing]) = (cause.for_log(), &*self.told);
        if needs_operator(cause) && acute.is_due() {
            error!(
                cause = why,
                messages, "messages cannot be stored: free space on the database's disk, or make the database writable"
            );
        } else if !needs_operator(cause) && passing.is_due() {
            warn!(cause = why, messages, "messages could not be stored; their senders were told (said once a minute)");
        }
    }

    /// Messages that wait to be committed.
    pub fn waiting(&self) -> usize {
        QUEUE_MAX - self.queue.capacity()
    }

    /// Stores a message; when this returns, it is durable and on its way. Dropped before its turn has come, it stores nothing.
    pub async fn store(&self, message: NewMessage, first_only: bool) -> Result<()> {
        self.queue(message, first_only).await?.stored().await
    }

    /// Finds a place for a message among those that wait to be stored.
    pub async fn queue(&self, message: NewMessage, first_only: bool) -> Result<Queued> {
        let (outcome, stored) = oneshot::channel();
        let queued = tokio::time::timeout(QUEUE_WAIT, async {
            let length = message.body.len();
            let room =
                if length > LONG_BYTES { Some(self.long.turn(Some(message.sender), length).await) } else { None };
            self.queue.send(Job { message, first_only, reply: Reply { outcome, _room: room } }).await
        });
        if !matches!(queued.await, Ok(Ok(()))) {
            self.refused.inc();
            return Err(AppError::busy());
        }
        Ok(Queued(stored))
    }
}

/// A message that waits to be stored. Dropped before its turn has come, it is not.
#[derive(Debug)]
pub struct Queued(oneshot::Receiver<Result<()>>);

impl Queued {
    /// When this returns, it is durable and on its way.
    pub async fn stored(self) -> Result<()> {
        self.0.await.unwrap_or_else(|_| Err(AppError::busy()))
    }
}

/// Commits what comes in until the queue is closed or the server stops; then everything that was accepted is stored, but for what
/// nobody waits for any more.
pub async fn run(app: Arc<App>, mut queue: mpsc::Receiver<Job>) {
    let mut jobs = Vec::with_capacity(BATCH_MAX);
    loop {
        let taken = tokio::select! {
            biased;
            taken = queue.recv_many(&mut jobs, BATCH_MAX) => taken,
            () = app.stop.cancelled(), if !queue.is_closed() => {
                queue.close();
                continue;
            }
        };
        if taken == 0 {
            return;
        }
        loop {
            // Their senders have hung up or were told 503: whoever sends such a one again would say it twice.
            jobs.retain(|job| !job.reply.outcome.is_closed());
            if jobs.is_empty() {
                break;
            }
            let fit = together(jobs.iter().map(|job| &job.message));
            // If it fails, that may be for its length, which says nothing of the store.
            let alone = jobs[0].message.body.len() > ALONE_BYTES;
            let (replies, batch) = split(jobs.drain(..fit));
            let began = Instant::now();
            let outcome = guarded(Box::pin(commit(&app, batch))).await;
            app.metrics.commits.seconds.observe(began.elapsed().as_secs_f64());
            app.metrics.commits.messages.observe(f64::from(u32::try_from(fit).unwrap_or(u32::MAX)));
            match &outcome {
                // What was refused says nothing of the store.
                Ok(refusals) if refusals.iter().all(Option::is_some) => {}
                Ok(_) => app.messages.committer.ended(false),
                Err(cause) => {
                    app.metrics.commits.failed.inc();
                    app.messages.committer.tell(cause, replies.len());
                    if !alone || matches!(cause, AppError::Busy(_)) {
                        app.messages.committer.ended(true);
                    }
                }
            }
            answer(replies, outcome);
        }
    }
}

/// How many of the first messages are committed together; one at least.
fn together<'m>(messages: impl Iterator<Item = &'m NewMessage> + Clone) -> usize {
    let short = messages.clone().take_while(|message| message.body.len() <= ALONE_BYTES).count().max(1);
    fitting(messages.take(short), BATCH_BYTES_MAX)
}

/// Whatever becomes of one batch, the next one gets its turn.
async fn guarded<T>(commit: impl Future<Output = Result<T>>) -> Result<T> {
    let outcome = AssertUnwindSafe(in_time(commit)).catch_unwind().await;
    outcome.unwrap_or_else(|_| Err(AppError::internal("a commit panicked")))
}

type Batch = Vec<(NewMessage, bool)>;

fn split(jobs: impl Iterator<Item = Job>) -> (Vec<Reply>, Batch) {
    jobs.map(|job| (job.reply, (job.message, job.first_only))).unzip()
}

/// Tells each sender its own refusal, or the failure of the whole batch.
fn answer(replies: Vec<Reply>, outcome: Result<Vec<Option<AppError>>>) {
    let tell = |reply: Reply, outcome| {
        // A sender that has gone is not missed.
        let _ = reply.outcome.send(outcome);
    };
    match outcome {
        Ok(refusals) => {
            for (reply, refusal) in replies.into_iter().zip(refusals) {
                tell(reply, refusal.map_or(Ok(()), Err));
            }
        }
        Err(AppError::Internal(cause)) => {
            let cause = cause.to_string();
            for reply in replies {
                tell(reply, Err(AppError::internal(cause.clone())));
            }
        }
        Err(_) => {
            for reply in replies {
                tell(reply, Err(AppError::busy()));
            }
        }
    }
}

/// Stores a batch, all of it or nothing. `Some` for each message that a rule refused.
async fn commit(app: &App, batch: Batch) -> Result<Vec<Option<AppError>>> {
    if batch.len() <= ROWS_MAX && batch.iter().all(|(message, first_only)| !first_only && is_plain(app, message)) {
        let refusals = batch.iter().map(|_| None).collect();
        post::store_at_once(app, batch.into_iter().map(|(message, _)| message).collect()).await?;
        return Ok(refusals);
    }
    let (mut post, rooms) = Post::begin_in(app, &group_counts(&batch)).await?;
    let mut rooms = rooms.into_iter().map(|(reserved, room)| (reserved.group, (room, reserved.first_seq))).collect();
    let fresh = fresh_contacts(app, &mut post, &batch).await?;
    let mut written = HashSet::new();
    let mut refusals = Vec::with_capacity(batch.len());
    let mut accepted = Vec::with_capacity(batch.len());
    for (message, first_only) in batch {
        let verdict = match message.address {
            Address::User(to) => {
                let pair = (message.sender, to);
                let first = fresh.contains(&pair) && written.insert(pair);
                if first_only && !first { Err(ONE_ONLY) } else { Ok(None) }
            }
            Address::Group(id, _) => admit(&mut rooms, id, message.sender).map(Some),
        };
        match verdict {
            Ok(room) => {
                accepted.push((message, room));
                refusals.push(None);
            }
            Err(refusal) => refusals.push(Some(refusal)),
        }
    }
    if accepted.is_empty() {
        return Ok(refusals);
    }
    let written: Vec<_> = written.into_iter().collect();
    for chunk in written.chunks(ROWS_MAX) {
        store::insert_contacts(&mut post.conn(), chunk).await?;
    }
    post.store_all(accepted).await?;
    post.commit().await?;
    for pair in written {
        app.messages.contacts.insert(pair, ());
    }
    Ok(refusals)
}

/// Whether a message is one row and nothing else: to one person, to whom its sender has written before.
fn is_plain(app: &App, message: &NewMessage) -> bool {
    matches!(message.address, Address::User(to) if app.messages.contacts.get(&(message.sender, to)).is_some())
}

/// How many messages go to each group of the batch.
fn group_counts(batch: &Batch) -> Vec<(GroupId, i64)> {
    let mut counts: BTreeMap<GroupId, i64> = BTreeMap::new();
    for (message, _) in batch {
        if let Address::Group(id, _) = message.address {
            *counts.entry(id).or_default() += 1;
        }
    }
    counts.into_iter().collect()
}

/// The open groups of a batch, with the number of the next message in each.
type Rooms = HashMap<GroupId, (Arc<Room>, i64)>;

/// Whether the sender may speak in the group, as things stand under the group's lock; if so, the message's number.
fn admit(rooms: &mut Rooms, id: GroupId, sender: UserId) -> Result<(Arc<Room>, i64)> {
    let (room, next) = rooms.get_mut(&id).ok_or(NO_GROUP)?;
    if !room.member(sender).is_some_and(Member::is_active) {
        return Err(NOT_A_MEMBER);
    }
    let number = *next;
    *next += 1;
    Ok((room.clone(), number))
}

/// The pairs of the batch that have no `contacts` row yet. Pairs known from memory cost nothing.
async fn fresh_contacts(app: &App, post: &mut Post<'_>, batch: &Batch) -> Result<HashSet<(UserId, UserId)>> {
    let mut fresh = HashSet::new();
    for (message, _) in batch {
        let Address::User(to) = message.address else { continue };
        let pair = (message.sender, to);
        if fresh.contains(&pair) || app.messages.contacts.get(&pair).is_some() {
            continue;
        }
        if store::contact_exists(&mut post.conn(), pair.0, pair.1).await? {
            app.messages.contacts.insert(pair, ());
        } else {
            fresh.insert(pair);
        }
    }
    Ok(fresh)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// How many messages each batch has, if so long ones wait.
    fn batches(lengths: &[usize]) -> Vec<usize> {
        let content = Bytes::from(vec![b'x'; BATCH_BYTES_MAX + 1]);
        let message = |length: &usize| NewMessage {
            uuid: None,
            sender: UserId(1),
            address: Address::User(UserId(2)),
            created_at: 0,
            body: content.slice(..*length),
        };
        let messages: Vec<NewMessage> = lengths.iter().map(message).collect();
        let (mut rest, mut batches) = (messages.as_slice(), Vec::new());
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(together(rest.iter()));
            batches.push(batch.len());
            rest = later;
        }
        batches
    }

    fn message(sender: i64, length: usize) -> NewMessage {
        let (sender, address) = (UserId(sender), Address::User(UserId(2)));
        NewMessage { uuid: None, sender, address, created_at: 0, body: vec![b'x'; length].into() }
    }

    #[tokio::test]
    async fn long_messages_share_the_room_of_the_queue_until_they_are_stored() {
        let (committer, mut queue) = Committer::new(&crate::metrics::Metrics::default().commits);
        let store = |sender, length| Box::pin(committer.store(message(sender, length), false));
        let third = QUEUE_BY_SENDER_MAX / 3;
        let mut calls: Vec<_> = [(1, third), (1, third), (1, third + 9), (1, LONG_BYTES), (2, 4 * third)]
            .map(|(sender, length)| store(sender, length))
            .into();
        for call in &mut calls {
            assert!(call.now_or_never().is_none());
        }
        assert_eq!(queue.len(), 4, "the third long one of the same sender waits");
        drop(queue.recv().await);
        assert!((&mut calls[2]).now_or_never().is_none());
        assert_eq!(queue.len(), 4, "there is room for it now");
    }

    /// The database may refuse it, and with it whatever is in the same transaction.
    #[test]
    fn a_long_body_is_committed_alone() {
        let long = ALONE_BYTES + 1;
        assert_eq!(batches(&[10, 10, long, 10, 10]), [2, 1, 2]);
        assert_eq!(batches(&[long, 10]), [1, 1]);
        assert_eq!(batches(&[long, long]), [1, 1]);
        assert_eq!(batches(&[BATCH_BYTES_MAX + 1, 10]), [1, 1]);
        assert_eq!(batches(&[10, ALONE_BYTES, 10]), [3], "it is not too long for company");
    }

    #[test]
    fn a_batch_has_so_many_bytes_and_no_more() {
        let whole = BATCH_BYTES_MAX / ALONE_BYTES;
        assert_eq!(batches(&vec![ALONE_BYTES; whole]), [whole]);
        assert_eq!(batches(&vec![ALONE_BYTES; whole + 1]), [whole, 1]);
        assert_eq!(batches(&[10; 3]), [3]);
    }
}
