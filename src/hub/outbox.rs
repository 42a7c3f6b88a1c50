//! One socket as the rest of the server sees it: a bounded queue of frames that its connection task writes.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use tokio::sync::Notify;

use super::Frame;
use crate::ids::UserId;

/// Most bytes of heartbeats and cards that may wait beside the messages; further ones are dropped.
const TRANSIENT_BYTES_MAX: usize = 64 * 1024;

/// Places that an empty queue keeps, once there was a message: the sockets that nobody writes to are the many.
const QUEUE_REST: usize = 8;

/// What a socket was opened with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Whether the token has role `user`: such a socket is preferred to guests' (decision 28).
    pub registered: bool,
    /// Whether the token is a former guest's: such a socket gets no pushes.
    pub former: bool,
    /// The token's `jti`.
    pub token_id: Box<str>,
    /// Whether its bearer's client has ever answered a ping.
    pub answers_pings: bool,
    /// When the client was told that its socket is open.
    pub opened_at: Instant,
    /// The network that it comes from; `None` for this machine itself, on which no network's bound lies.
    pub network: Option<IpAddr>,
}

#[cfg(test)]
impl Ticket {
    /// One that was just opened with the token `token_id`.
    pub fn of(registered: bool, token_id: &str) -> Self {
        let (token_id, opened_at) = (token_id.into(), Instant::now());
        Self { registered, former: false, token_id, answers_pings: false, opened_at, network: None }
    }
}

/// How a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Drop TCP without a close frame: the client sees 1006 and reconnects.
    Drop,
    /// Close with this code: the client of a registered user shows its dialog 账号异地登录.
    Close(u16),
}

/// A registered socket.
#[derive(Debug)]
pub struct Socket {
    /// Unique in this process.
    pub id: u64,
    /// Whose it is.
    pub user: UserId,
    /// What it was opened with.
    pub ticket: Ticket,
    queue: Mutex<Queue>,
    wake: Notify,
    room: Notify,
    doubt: Notify,
    asked: AtomicBool,
    pushes_ended: AtomicBool,
    answers_pings: AtomicBool,
    /// Messages were taken, and the connection task may not write further ones yet.
    busy: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<(Frame, bool)>,
    message_bytes: usize,
    transient_bytes: usize,
    pushed: u64,
    ending: Option<Ending>,
    beat: bool,
}

impl Queue {
    /// How many messages.
    fn waiting(&self) -> u64 {
        self.frames.iter().filter(|(_, message)| *message).count() as u64
    }
}

/// What a connection task takes out of the queue to write in one go.
#[derive(Debug, Default)]
pub struct Burst {
    /// Frames in order.
    pub frames: Vec<Frame>,
    /// How many of them are messages, to be confirmed.
    pub messages: u64,
    /// Bytes of all frames.
    pub bytes: usize,
    /// A heartbeat is among the frames: write a ping with it.
    pub beat: bool,
    /// End the connection after the frames.
    pub ending: Option<Ending>,
}

impl Socket {
    pub(super) fn new(id: u64, user: UserId, ticket: Ticket, greeting: Vec<Frame>) -> Self {
        let transient_bytes = greeting.iter().map(Frame::len).sum();
        let frames = greeting.into_iter().map(|frame| (frame, false)).collect();
        // The greeting waits already: without this it would come with the first push or heartbeat.
        let wake = Notify::new();
        wake.notify_one();
        let (answers_pings, pushes_ended) = (AtomicBool::new(ticket.answers_pings), AtomicBool::new(ticket.former));
        Self {
            id,
            user,
            ticket,
            queue: Mutex::new(Queue { frames, transient_bytes, ..Queue::default() }),
            wake,
            room: Notify::new(),
            doubt: Notify::new(),
            asked: AtomicBool::new(false),
            pushes_ended,
            answers_pings,
            busy: AtomicBool::new(false),
        }
    }

    /// Queues a frame that is not a message. Those that a stalled socket does not take are dropped: then it returns false.
    pub fn push_transient(&self, frame: Frame) -> bool {
        let mut queue = self.lock();
        if queue.transient_bytes + frame.len() > TRANSIENT_BYTES_MAX {
            return false;
        }
        queue.transient_bytes += frame.len();
        queue.frames.push_back((frame, false));
        drop(queue);
        self.wake.notify_one();
        true
    }

    /// Queues a message and returns its number on this socket, or `None` if more than `bytes_max` bytes would wait then.
    pub(super) fn push_message(&self, frame: &Frame, bytes_max: usize) -> Option<u64> {
        let mut queue = self.lock();
        if queue.message_bytes + frame.len() > bytes_max {
            return None;
        }
        queue.message_bytes += frame.len();
        queue.pushed += 1;
        queue.frames.push_back((frame.clone(), true));
        let number = queue.pushed;
        drop(queue);
        self.wake.notify_one();
        Some(number)
    }

    /// Puts `frame` in the place of a message that still waits in the queue; one that has left it has left it.
    pub(super) fn replace_message(&self, number: u64, frame: &Frame) {
        let mut queue = self.lock();
        // Those that wait are the latest.
        let behind = usize::try_from(queue.pushed - number).unwrap_or(usize::MAX);
        let mut latest = queue.frames.iter_mut().rev().filter(|(_, message)| *message);
        let Some((queued, _)) = latest.nth(behind) else { return };
        let before = std::mem::replace(queued, frame.clone()).len();
        queue.message_bytes = queue.message_bytes - before + frame.len();
    }

    /// Whether a message that is queued now would be written at once.
    pub(super) fn is_clear(&self) -> bool {
        self.lock().message_bytes == 0 && !self.busy.load(Ordering::Relaxed)
    }

    /// The connection task has written what it took, and may write more.
    pub fn note_writable(&self) {
        if self.busy.swap(false, Ordering::Relaxed) {
            self.room.notify_one();
        }
    }

    /// Queues a heartbeat and has the connection task see whether the peer still answers. Returns false if it was dropped.
    pub fn beat(&self, frame: Frame) -> bool {
        self.lock().beat = true;
        let queued = self.push_transient(frame);
        self.wake.notify_one();
        queued
    }

    /// Asks the connection task to prove soon that the peer lives: another socket waits for what this one holds.
    pub(super) fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// Waits until another socket of the same person waits for what this one holds.
    pub async fn doubted(&self) {
        self.doubt.notified().await;
    }

    /// Ends the connection once what is queued has been written.
    pub fn end(&self, ending: Ending) {
        self.lock().ending.get_or_insert(ending);
        self.wake.notify_one();
    }

    /// Has the connection task look for what there is to take.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits until there is something to take.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Waits until the connection task has taken something.
    pub async fn room(&self) {
        self.room.notified().await;
    }

    /// Takes up to `bytes_max` bytes of frames (at least one frame).
    pub fn take(&self, bytes_max: usize) -> Burst {
        let mut queue = self.lock();
        let mut burst = Burst { beat: std::mem::take(&mut queue.beat), ..Burst::default() };
        while let Some((frame, message)) = queue.frames.pop_front() {
            burst.bytes += frame.len();
            if message {
                queue.message_bytes -= frame.len();
                burst.messages += 1;
            } else {
                queue.transient_bytes -= frame.len();
            }
            burst.frames.push(frame);
            if burst.bytes >= bytes_max {
                break;
            }
        }
        if burst.messages > 0 {
            self.busy.store(true, Ordering::Relaxed);
        }
        if queue.frames.is_empty() {
            burst.ending = queue.ending;
            if queue.pushed == 0 || queue.frames.capacity() > QUEUE_REST {
                queue.frames.shrink_to_fit();
            }
        }
        let more = !queue.frames.is_empty();
        drop(queue);
        if more {
            self.wake.notify_one();
        }
        self.room.notify_one();
        burst
    }

    /// Wakes one of those who wait for room. A drain that has lost the socket passes on what woke it: another one, which
    /// has not, may be waiting behind it.
    pub fn pass_room(&self) {
        self.room.notify_one();
    }

    /// Takes note that the peer answers pings. Returns whether that is news.
    pub fn mark_answers_pings(&self) -> bool {
        !self.answers_pings.swap(true, Ordering::Relaxed)
    }

    /// Whether the peer answers pings, as far as is known.
    pub fn answers_pings(&self) -> bool {
        self.answers_pings.load(Ordering::Relaxed)
    }

    /// Whether the client has asked for what is pending, on this socket or just before it registered.
    pub fn has_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    pub(super) fn mark_asked(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    pub(super) fn gets_pushes(&self) -> bool {
        !self.pushes_ended.load(Ordering::Relaxed)
    }

    /// Nothing more is pushed here, and what waits is taken back. Returns the number of the last message that has left the queue.
    pub(super) fn end_pushes(&self) -> u64 {
        self.pushes_ended.store(true, Ordering::Relaxed);
        let mut queue = self.lock();
        let left = queue.pushed - queue.waiting();
        queue.frames.retain(|(_, message)| !message);
        queue.message_bytes = 0;
        drop(queue);
        self.room.notify_one();
        left
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("no code panics while it holds this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize) -> Frame {
        Frame::text(&[&vec![b'x'; length]])
    }

    /// The greeting has 7 bytes and a header of 2.
    fn socket() -> Socket {
        Socket::new(1, UserId(7), Ticket::of(true, "t"), vec![Frame::text(&[b"welcome"])])
    }

    #[tokio::test]
    async fn a_greeting_is_written_at_once() {
        let socket = socket();
        tokio::time::timeout(std::time::Duration::from_secs(1), socket.woken()).await.expect("nothing else wakes it");
        assert_eq!(socket.take(1024).frames.len(), 1);
    }

    #[test]
    fn frames_leave_in_order_in_bursts_of_a_bounded_size() {
        let socket = socket();
        assert_eq!(socket.push_message(&frame(3), 100), Some(1));
        socket.push_transient(frame(4));
        assert_eq!(socket.push_message(&frame(5), 100), Some(2));
        let lengths = |burst: &Burst| burst.frames.iter().map(Frame::len).collect::<Vec<_>>();
        let burst = socket.take(10);
        assert_eq!((lengths(&burst), burst.messages, burst.bytes), (vec![9, 5], 1, 14));
        let burst = socket.take(10);
        assert_eq!((lengths(&burst), burst.messages, burst.bytes), (vec![6, 7], 1, 13));
        assert!(socket.take(10).frames.is_empty());
    }

    #[test]
    fn the_queue_takes_no_more_than_its_bound() {
        let socket = socket();
        assert_eq!(socket.push_message(&frame(100), 50), None);
        assert!(socket.is_clear());
        assert_eq!(socket.push_message(&frame(48), 50), Some(1));
        assert_eq!(socket.push_message(&frame(2), 50), None);
        assert!(!socket.is_clear());
        socket.take(1000);
        assert!(!socket.is_clear(), "it is being written");
        socket.note_writable();
        assert!(socket.is_clear());
        assert_eq!(socket.push_message(&frame(2), 50), Some(2));
    }

    #[test]
    fn heartbeats_that_nobody_takes_do_not_pile_up() {
        let socket = socket();
        let frame = frame(1024);
        let queued = (0..1000).filter(|_| socket.beat(frame.clone())).count();
        assert_eq!(queued, 63, "together with the greeting that is what the bound allows");
        assert!(socket.take(usize::MAX).bytes <= TRANSIENT_BYTES_MAX);
        assert!(!socket.take(usize::MAX).beat, "one burst is enough to see to it");
    }

    #[test]
    fn what_waits_is_taken_back_when_pushes_end() {
        let socket = socket();
        for length in [1, 2, 3] {
            socket.push_message(&frame(length), 100);
        }
        assert_eq!(socket.take(12).messages, 1);
        socket.push_transient(frame(4));
        assert_eq!((socket.end_pushes(), socket.end_pushes()), (1, 3), "nothing is left the second time");
        let burst = socket.take(100);
        assert_eq!((burst.messages, burst.bytes), (0, 6), "the card goes out");
        assert!(socket.lock().message_bytes == 0);
    }

    #[test]
    fn only_what_waits_is_replaced() {
        let socket = socket();
        for length in [1, 2, 3] {
            socket.push_message(&frame(length), 100);
        }
        assert_eq!(socket.take(12).messages, 1);
        socket.push_transient(frame(4));
        for number in [1, 3] {
            socket.replace_message(number, &frame(30));
        }
        assert_eq!(socket.lock().message_bytes, 4 + 32);
        let lengths: Vec<_> = socket.take(100).frames.iter().map(Frame::len).collect();
        assert_eq!(lengths, [4, 32, 6]);
        socket.replace_message(2, &frame(30));
        assert!(socket.take(100).frames.is_empty());
    }

    #[test]
    fn the_connection_ends_after_what_is_queued() {
        let socket = socket();
        socket.push_message(&frame(100), 1000);
        socket.end(Ending::Close(4001));
        socket.end(Ending::Drop);
        assert_eq!(socket.take(5).ending, None);
        assert_eq!(socket.take(100).ending, Some(Ending::Close(4001)), "the first ending counts");
    }
}
