//! Who is connected, and what is on its way to whom. In memory only: whatever is lost here is still pending in the store.
//!
//! The hub keeps a `mailbox` a user: its sockets, which of them gets the pushes, and the messages that were pushed
//! but not yet proved received. Pushing never blocks, never fails and never awaits. Reading the store is not the hub's
//! business: it queues [`Drain`] tickets, and `messages::delivery` does the work.

mod frame;
mod mailbox;
mod online;
mod outbox;
#[cfg(test)]
mod simulation;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dashmap::DashMap;
pub use frame::Frame;
use mailbox::{Mailbox, Pushed};
pub use online::Crowd;
use online::Online;
pub use outbox::{Burst, Ending, Socket, Ticket};
use tokio::sync::Notify;

use crate::ids::{MessageId, SubscriptionId, UserId};
use crate::metrics::Overflows;

/// How long a call for pending messages counts for a socket that has not registered yet (decision 27).
const ASKED_TTL: Duration = Duration::from_secs(15);
/// Most such calls remembered. Past it a new call reaches only sockets that are registered already.
const ASKED_MAX: usize = 200_000;
/// Bytes that a drain has queued for its socket (one message at least). What it would queue beyond that is safe in the store, and
/// a herd of slow readers would have it in memory.
const DRAIN_AHEAD_MAX: usize = 128 * 1024;

/// The connected users of this process.
#[derive(Debug)]
pub struct Hub {
    users: DashMap<UserId, Mailbox>,
    asked: DashMap<UserId, Instant>,
    online: Online,
    next_socket: AtomicU64,
    /// The newest message that any drain has pushed.
    drained: AtomicI64,
    outbox_bytes_max: usize,
    overflows: Overflows,
    /// At most one that is still valid a user.
    drains: Mutex<Vec<Drain>>,
    drains_wake: Notify,
}

/// What a confirmation of a pushed message moves: the cursor of its stream, once everything before it is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The message.
    pub message: MessageId,
    /// Where it is pending.
    pub stream: Stream,
}

/// A message that was taken back, and what is delivered in its place.
#[derive(Clone, Debug)]
pub struct Revoked {
    /// The message.
    pub message: MessageId,
    /// What is left of it.
    pub emptied: Frame,
}

/// One of the streams that make up what a person receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Messages to this person alone.
    Direct,
    /// A group's messages, by the person's subscription and the message's number in the group.
    Group(SubscriptionId, i64),
}

/// What a pong proved to be received.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Confirmed {
    /// New cursor of the direct messages.
    pub direct: Option<MessageId>,
    /// New cursors of subscriptions.
    pub groups: Vec<(SubscriptionId, i64)>,
    /// Messages received while older ones were pending, so that no cursor may pass them yet.
    pub early: Vec<MessageId>,
}

impl Confirmed {
    /// Whether there is nothing to record.
    pub fn is_empty(&self) -> bool {
        self.direct.is_none() && self.groups.is_empty() && self.early.is_empty()
    }
}

/// The right to push what is pending to one socket; it ends when another socket takes its place.
#[derive(Debug)]
pub struct Drain {
    /// Whose messages.
    pub user: UserId,
    /// The socket.
    pub socket: Arc<Socket>,
    /// Whether the client asked; if not, this only finds out whether anything is pending at all.
    pub asked: bool,
    epoch: u64,
}

/// What the hub holds at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// People with a socket.
    pub users: usize,
    /// Sockets that get their user's pushes although older messages may be pending: the client has not asked yet.
    pub fresh: usize,
    /// Sockets that are being fed from the store.
    pub draining: usize,
    /// Sockets that get every message as it is sent.
    pub live: usize,
    /// Sockets that get only heartbeats.
    pub silent: usize,
    /// Messages that were handed to sockets and are not proved to be received.
    pub unconfirmed: usize,
    /// Drains that wait to be run.
    pub drains_waiting: usize,
}

/// What became of one step of a [`Drain`].
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Done.
    Done,
    /// The socket's queue is full: wait for [`Socket::room`] and try again.
    Full,
    /// Another socket has taken over, or this one is gone.
    Over,
}

impl Hub {
    /// A hub whose sockets may each have `outbox_bytes_max` bytes waiting.
    pub fn new(outbox_bytes_max: usize, overflows: Overflows) -> Self {
        Self {
            users: DashMap::new(),
            asked: DashMap::new(),
            online: Online::new(),
            next_socket: AtomicU64::new(1),
            drained: AtomicI64::new(0),
            outbox_bytes_max,
            overflows,
            drains: Mutex::default(),
            drains_wake: Notify::new(),
        }
    }

    /// Registers a socket with its first frames.
    pub fn register(&self, user: UserId, ticket: Ticket, greeting: Vec<Frame>) -> Arc<Socket> {
        let id = self.next_socket.fetch_add(1, Relaxed);
        let is_late = ticket.opened_at.elapsed() >= ASKED_TTL;
        let socket = Arc::new(Socket::new(id, user, ticket, greeting));
        let mut mailbox =
            self.users.entry(user).or_insert_with(|| Mailbox::after(MessageId(self.drained.load(Relaxed))));
        // Looked up under the mailbox's lock: a call that comes now finds either this socket or its own mark here.
        // A client asks as soon as its socket is open: if that is long ago, so is the call.
        if is_late || self.asked.get(&user).is_some_and(|at| at.elapsed() < ASKED_TTL) {
            socket.mark_asked();
        }
        let drain = mailbox.add(socket.clone());
        self.online.set(user, true);
        drop(mailbox);
        self.start(drain);
        socket
    }

    /// Removes exactly this socket. What was on its way by it is pending again.
    pub fn unregister(&self, socket: &Arc<Socket>) {
        let Some(mut mailbox) = self.users.get_mut(&socket.user) else { return };
        let drain = mailbox.remove(socket);
        if mailbox.is_empty() {
            self.online.set(socket.user, false);
            drop(mailbox);
            // Whoever registers meanwhile says so after this, under the same lock.
            self.users.remove_if(&socket.user, |_, mailbox| mailbox.is_empty());
        }
        socket.pass_room();
        self.start(drain);
    }

    /// Places in `crowd` of those who are connected, in order. Whoever is not among them when a committed message is looked up
    /// for finds it in the store, as with [`Hub::push`].
    pub fn connected<'a>(&'a self, crowd: &'a Crowd) -> impl Iterator<Item = usize> + 'a {
        self.online.of(crowd)
    }

    /// Pushes a stored message to `user`, if one of its sockets may have it now. Returns whether it is on its way; if not, it
    /// is pending. `about` is an older message that it speaks of, and overtakes on no socket; whoever has not been given that one yet
    /// gets what is left of it.
    pub fn push(&self, user: UserId, frame: &Frame, receipt: Receipt, about: Option<&Revoked>) -> bool {
        if !self.online.get(user) {
            return false;
        }
        let Some(mut mailbox) = self.users.get_mut(&user) else { return false };
        let pushed = mailbox.push(frame, receipt, about, self.outbox_bytes_max);
        drop(mailbox);
        match pushed {
            Pushed::Handed => return true,
            Pushed::Left => {}
            Pushed::TailFull => self.overflows.tail.inc(),
            Pushed::Missed => self.overflows.missed.inc(),
            Pushed::Full(drain) => {
                self.overflows.draining.inc();
                self.start(Some(drain));
            }
        }
        false
    }

    /// Whether a socket of `user` gets pushes on this process.
    pub fn is_online(&self, user: UserId) -> bool {
        self.online.get(user) && self.users.get(&user).is_some_and(|mailbox| mailbox.active().is_some())
    }

    /// The client asked for what is pending: on its socket if there is one, and on one that registers soon.
    pub fn ask(&self, user: UserId) {
        if self.asked.len() >= ASKED_MAX {
            self.forget_asked();
        }
        if self.asked.len() < ASKED_MAX {
            self.asked.insert(user, Instant::now());
        }
        let drain = self.users.get_mut(&user).and_then(|mut mailbox| mailbox.ask());
        self.start(drain);
    }

    /// Whether the drain's socket still has its place, and waits for no other drain.
    pub fn is_wanted(&self, drain: &Drain) -> bool {
        self.mailbox_of(drain).is_some()
    }

    /// Whether messages are still on their way to the drain's user by another socket: they may not be overtaken.
    /// The other sockets are asked to prove that they live, and to be dropped if they do not (see `gateway`).
    /// `None` if the drain has lost its socket.
    pub fn held_elsewhere(&self, drain: &Drain) -> Option<bool> {
        self.mailbox_of(drain).map(|mailbox| mailbox.held_elsewhere())
    }

    /// Whether the socket would take a message at once: before a large one is read for it.
    pub fn drain_clear(&self, drain: &Drain) -> Step {
        match self.mailbox_of(drain) {
            None => Step::Over,
            Some(_) if drain.socket.is_clear() => Step::Done,
            Some(_) => Step::Full,
        }
    }

    /// Pushes one pending message on behalf of `drain`, which is never far ahead of its socket.
    pub fn drain_push(&self, drain: &Drain, frame: &Frame, receipt: Receipt) -> Step {
        let Some(mut mailbox) = self.mailbox_of(drain) else { return Step::Over };
        self.drained.fetch_max(receipt.message.0, Relaxed);
        mailbox.drain_push(frame, receipt, self.outbox_bytes_max.min(DRAIN_AHEAD_MAX))
    }

    /// Everything up to `position` has been pushed and the store showed nothing more. `None` if the drain is over; if too
    /// much was committed meanwhile, the position after which the store is to be read again.
    pub fn drain_end(&self, drain: &Drain, position: MessageId) -> Option<MessageId> {
        self.mailbox_of(drain)?.drain_end(position, self.outbox_bytes_max)
    }

    /// A probe read `due`, all that is pending. If it is all on its way already, pushes are live from here on.
    pub fn probe_end(&self, drain: &Drain, due: &[MessageId]) {
        if let Some(mut mailbox) = self.mailbox_of(drain) {
            mailbox.probe_end(due);
        }
    }

    /// Whether a socket of `user` has ever answered a ping, as far as this process remembers.
    pub fn answers_pings(&self, user: UserId) -> bool {
        self.users.get(&user).is_some_and(|mailbox| mailbox.answers_pings())
    }

    /// The socket proved that it received its first `count` messages. `record` takes note of what that moves, before anybody
    /// can see that they are no longer on their way: a drain that begins in between would push them again.
    pub fn confirm(&self, socket: &Socket, count: u64, record: impl FnOnce(Confirmed)) {
        if let Some(mut mailbox) = self.users.get_mut(&socket.user) {
            record(mailbox.confirm(socket.id, count));
        }
    }

    /// Ends the pushes of every socket of `user` whose token `keep` rejects, and closes with `code` those of role `user`
    /// if a code is given.
    pub fn end_pushes(&self, user: UserId, code: Option<u16>, keep: &dyn Fn(&Ticket) -> bool) {
        let drain = self.users.get_mut(&user).and_then(|mut mailbox| mailbox.end_pushes(code, keep));
        self.start(drain);
    }

    /// The next drain to run.
    pub async fn next_drain(&self) -> Drain {
        loop {
            let next = self.drains.lock().expect("no code panics while it holds this lock").pop();
            match next {
                Some(drain) => return drain,
                None => self.drains_wake.notified().await,
            }
        }
    }

    fn start(&self, drain: Option<Drain>) {
        if let Some(drain) = drain {
            self.drains.lock().expect("no code panics while it holds this lock").push(drain);
            self.drains_wake.notify_one();
        }
    }

    /// Counts sockets and what is on its way by walking over everybody who is connected.
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for mailbox in &self.users {
            census.users += 1;
            mailbox.count(&mut census);
        }
        census.drains_waiting = self.drains.lock().expect("no code panics while it holds this lock").len();
        census
    }

    /// The sockets whose turn it is, for the heartbeat.
    pub fn sockets(&self, is_due: impl Fn(&Socket) -> bool) -> Vec<Arc<Socket>> {
        let mut due = Vec::new();
        for mailbox in &self.users {
            due.extend(mailbox.sockets().iter().filter(|socket| is_due(socket)).cloned());
        }
        due
    }

    /// Drops calls for pending messages that are too old to matter.
    pub fn forget_asked(&self) {
        self.asked.retain(|_, at| at.elapsed() < ASKED_TTL);
    }

    fn mailbox_of(&self, drain: &Drain) -> Option<dashmap::mapref::one::RefMut<'_, UserId, Mailbox>> {
        // The epoch alone would not do: it starts again when a person's last socket has gone.
        let valid = |mailbox: &Mailbox| {
            mailbox.epoch() == drain.epoch && mailbox.active().is_some_and(|active| active.id == drain.socket.id)
        };
        self.users.get_mut(&drain.user).filter(|mailbox| valid(mailbox))
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    /// A drain found the message before it was pushed, and all of that person's sockets are gone before that push comes.
    #[tokio::test]
    async fn what_a_drain_was_faster_with_does_not_come_again_to_the_next_socket() {
        let hub = Hub::new(1000, Overflows::new(&Registry::new()));
        let (me, frame) = (UserId(7), Frame::text(&[b"x"]));
        let receipt = |id| Receipt { message: MessageId(id), stream: Stream::Direct };
        let first = hub.register(me, Ticket::of(true, "1"), Vec::new());
        hub.ask(me);
        let drain = hub.next_drain().await;
        assert_eq!(hub.drain_push(&drain, &frame, receipt(5)), Step::Done);
        hub.confirm(&first, 1, drop);
        hub.unregister(&first);
        hub.asked.clear();
        let second = hub.register(me, Ticket::of(true, "1"), Vec::new());
        assert!(!hub.push(me, &frame, receipt(5), None) && second.is_clear());
        assert!(hub.push(me, &frame, receipt(6), None) && !second.is_clear());
    }

    /// The call of a client whose socket took longer to register than the mark of a call lasts is not lost.
    #[tokio::test]
    async fn a_socket_that_opened_long_ago_has_been_asked_by_its_client() {
        let hub = Hub::new(1000, Overflows::new(&Registry::new()));
        for (user, ago, asked) in [(1, ASKED_TTL, true), (2, ASKED_TTL / 2, false)] {
            let opened_at = Instant::now().checked_sub(ago).expect("the machine has run for that long");
            let ticket = Ticket { opened_at, ..Ticket::of(true, "1") };
            let socket = hub.register(UserId(user), ticket, Vec::new());
            assert_eq!(socket.has_asked(), asked);
        }
    }
}
