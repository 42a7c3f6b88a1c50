//! The delivery state of one user: which socket gets pushes, how far they have come, and what is on its way.
//!
//! A socket starts `Fresh`: older messages may be pending that the client has not asked for, so a live message that is
//! confirmed now is recorded as *early*. A drain pushes what is pending in order; once it has caught up, or a probe found
//! nothing pending, pushes are `Live` and each confirmation moves a cursor.
//!
//! What makes this right: pushes come in the order of ids (`messages::post`), a drain reads the store after it was begun,
//! and nothing is pushed to a socket whose drain has not seen the end of what another socket carries.

use std::collections::VecDeque;
use std::sync::Arc;

use super::outbox::{Ending, Socket, Ticket};
use super::{Census, Confirmed, Drain, Frame, Receipt, Revoked, Step, Stream};
use crate::ids::MessageId;

/// Bytes of live messages that wait for the end of a drain; past it the drain reads them from the store. Without them a
/// drain of somebody who is written to all the time would never end.
const TAIL_BYTES_MAX: usize = if cfg!(test) { 300 } else { 64 * 1024 };
/// Messages revoked while a drain runs that it is told of, the newest. It has one page of bodies at most in its hands; where more are
/// revoked while it waits for its socket, one may come whole, and its notice behind it.
const REVOKED_MAX: usize = 64;

#[derive(Debug, Default)]
pub struct Mailbox {
    /// Oldest first.
    sockets: Vec<Arc<Socket>>,
    active: Option<Arc<Socket>>,
    /// Grows when a drain loses its right to push.
    epoch: u64,
    phase: Phase,
    /// In the order of pushing.
    in_flight: VecDeque<InFlight>,
    /// What was on its way to the active socket when its drain began, in order: the drain must not push it again.
    carried: Vec<MessageId>,
    /// What is left of messages that were revoked while a drain ran, the newest: it may have read them before.
    revoked: VecDeque<Revoked>,
    /// The newest message that a drain or a live push has handled.
    position: MessageId,
    /// See [`Mailbox::after`].
    begun_after: MessageId,
    /// A live message was left pending while `Fresh`, though later ones may be on their way.
    missed: bool,
    /// A socket that is gone has answered pings: this person's client does.
    answers_pings: bool,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Fresh,
    /// A drain runs.
    Draining(Tail),
    Live,
}

/// What was committed since a drain last read the store.
#[derive(Debug, Default)]
struct Tail {
    messages: Vec<(Frame, Receipt)>,
    bytes: usize,
    /// There was more than the tail holds.
    more: bool,
}

impl Tail {
    fn add(&mut self, frame: &Frame, receipt: Receipt) {
        self.bytes += frame.len();
        if self.more || self.bytes > TAIL_BYTES_MAX {
            *self = Self { more: true, ..Self::default() };
        } else {
            self.messages.push((frame.clone(), receipt));
        }
    }

    fn empty(&mut self, revoked: &Revoked) {
        let same = self.messages.iter_mut().find(|(_, receipt)| receipt.message == revoked.message);
        if let Some((frame, _)) = same {
            let before = std::mem::replace(frame, revoked.emptied.clone()).len();
            self.bytes = self.bytes - before + revoked.emptied.len();
        }
    }
}

/// What became of a live message.
#[derive(Debug)]
pub enum Pushed {
    /// It is on its way.
    Handed,
    /// It is pending: nobody is connected, or a drain will come to it.
    Left,
    /// The same, and it was one too many to be kept for the end of the drain.
    TailFull,
    /// It found no room before the client had asked: it is pending.
    Missed,
    /// It found no room: it is pending, and this drain will come to it.
    Full(Drain),
}

#[derive(Debug)]
struct InFlight {
    socket: u64,
    number: u64,
    receipt: Receipt,
    early: bool,
}

impl Mailbox {
    /// That of somebody who has no socket yet. What is not newer than `position` may have been pushed to one that is gone by a drain,
    /// which was faster than its commit's own push: that push comes too late, and another drain finds whatever is pending.
    pub fn after(position: MessageId) -> Self {
        Self { begun_after: position, ..Self::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Adds this person's sockets and what is on its way to a census.
    pub fn count(&self, census: &mut Census) {
        let active = usize::from(self.active.is_some());
        census.silent += self.sockets.len() - active;
        *match self.phase {
            Phase::Fresh => &mut census.fresh,
            Phase::Draining(_) => &mut census.draining,
            Phase::Live => &mut census.live,
        } += active;
        census.unconfirmed += self.in_flight.len();
    }

    pub fn sockets(&self) -> &[Arc<Socket>] {
        &self.sockets
    }

    pub const fn active(&self) -> Option<&Arc<Socket>> {
        self.active.as_ref()
    }

    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    pub fn add(&mut self, socket: Arc<Socket>) -> Option<Drain> {
        self.sockets.push(socket);
        self.choose()
    }

    pub fn remove(&mut self, socket: &Socket) -> Option<Drain> {
        self.answers_pings |= socket.answers_pings();
        self.sockets.retain(|other| other.id != socket.id);
        self.in_flight.retain(|entry| entry.socket != socket.id);
        self.choose()
    }

    /// `about`: an older message that was taken back. This one may not overtake it, and empties it wherever it still waits.
    pub fn push(&mut self, frame: &Frame, receipt: Receipt, about: Option<&Revoked>, bytes_max: usize) -> Pushed {
        if let Some(revoked) = about {
            self.empty(revoked);
        }
        let Some(socket) = self.active.clone() else { return Pushed::Left };
        if receipt.message <= self.begun_after {
            return Pushed::Left;
        }
        // A drain was faster: it found the message in the store before it was pushed.
        if receipt.message <= self.position {
            return Pushed::Handed;
        }
        let overtakes = about.is_some_and(|about| !self.carries(about.message));
        let early = match &mut self.phase {
            Phase::Draining(tail) => {
                let had_room = !tail.more;
                tail.add(frame, receipt);
                return if had_room && tail.more { Pushed::TailFull } else { Pushed::Left };
            }
            Phase::Live => false,
            Phase::Fresh if overtakes => {
                self.missed = true;
                return Pushed::Left;
            }
            Phase::Fresh => true,
        };
        match socket.push_message(frame, bytes_max) {
            Some(number) => {
                self.in_flight.push_back(InFlight { socket: socket.id, number, receipt, early });
                self.position = receipt.message;
                Pushed::Handed
            }
            // The reader is slower than its messages: from here on the store feeds it, at its own pace.
            None if !early => Pushed::Full(self.start_drain(socket, true)),
            // It stays pending until the client asks.
            None => {
                self.missed = true;
                Pushed::Missed
            }
        }
    }

    /// Puts what is left of a message in its place wherever it waits.
    fn empty(&mut self, revoked: &Revoked) {
        let mut found = false;
        for entry in self.in_flight.iter().filter(|entry| entry.receipt.message == revoked.message) {
            if let Some(socket) = self.sockets.iter().find(|socket| socket.id == entry.socket) {
                socket.replace_message(entry.number, &revoked.emptied);
                found = true;
            }
        }
        if let Phase::Draining(tail) = &mut self.phase {
            tail.empty(revoked);
            if found {
                return;
            }
            // The drain may have it in its hands, also if the tail had it: what is in the tail, the store may have shown.
            if self.revoked.len() == REVOKED_MAX {
                self.revoked.pop_front();
            }
            self.revoked.push_back(revoked.clone());
        }
    }

    pub fn ask(&mut self) -> Option<Drain> {
        // The call does not say by which socket it was made, and any of them may be the active one later.
        self.sockets.iter().for_each(|socket| socket.mark_asked());
        let socket = self.active.clone()?;
        matches!(self.phase, Phase::Fresh).then(|| self.start_drain(socket, true))
    }

    /// Whether a socket of this person has ever answered a ping.
    pub fn answers_pings(&self) -> bool {
        self.answers_pings || self.sockets.iter().any(|socket| socket.answers_pings())
    }

    pub fn held_elsewhere(&self) -> bool {
        let Some(active) = &self.active else { return false };
        let holders: Vec<u64> =
            self.in_flight.iter().map(|entry| entry.socket).filter(|socket| *socket != active.id).collect();
        self.sockets.iter().filter(|socket| holders.contains(&socket.id)).for_each(|socket| socket.doubt());
        !holders.is_empty()
    }

    pub fn drain_push(&mut self, frame: &Frame, receipt: Receipt, bytes_max: usize) -> Step {
        let Some(socket) = self.active.clone() else { return Step::Over };
        if self.carried.binary_search(&receipt.message).is_ok() {
            return Step::Done;
        }
        let revoked = self.revoked.iter().find(|revoked| revoked.message == receipt.message);
        let frame = revoked.map_or(frame, |revoked| &revoked.emptied);
        // The largest comes alone.
        let Some(number) = socket.push_message(frame, bytes_max.max(frame.len())) else { return Step::Full };
        self.position = self.position.max(receipt.message);
        self.in_flight.push_back(InFlight { socket: socket.id, number, receipt, early: false });
        Step::Done
    }

    pub fn drain_end(&mut self, mut position: MessageId, bytes_max: usize) -> Option<MessageId> {
        let Phase::Draining(tail) = &mut self.phase else { return None };
        let tail = std::mem::take(tail);
        if tail.more {
            return Some(position);
        }
        let socket = self.active.clone()?;
        let read = tail.messages.partition_point(|(_, receipt)| receipt.message <= position);
        for (frame, receipt) in tail.messages.into_iter().skip(read) {
            let Some(number) = socket.push_message(&frame, bytes_max) else { return Some(position) };
            self.in_flight.push_back(InFlight { socket: socket.id, number, receipt, early: false });
            position = receipt.message;
        }
        self.go_live(position);
        None
    }

    pub fn probe_end(&mut self, due: &[MessageId]) {
        if matches!(self.phase, Phase::Fresh) && !self.missed && due.iter().all(|id| self.carries(*id)) {
            self.go_live(due.last().copied().unwrap_or_default());
        }
    }

    /// Whether the active socket has a message on its way.
    fn carries(&self, id: MessageId) -> bool {
        let Some(active) = &self.active else { return false };
        self.in_flight.iter().any(|entry| entry.receipt.message == id && entry.socket == active.id)
    }

    pub fn confirm(&mut self, socket: u64, count: u64) -> Confirmed {
        let mut confirmed = Confirmed::default();
        self.in_flight.retain(|entry| {
            let received = entry.socket == socket && entry.number <= count;
            if received {
                record(&mut confirmed, entry);
            }
            !received
        });
        confirmed
    }

    pub fn end_pushes(&mut self, code: Option<u16>, keep: &dyn Fn(&Ticket) -> bool) -> Option<Drain> {
        for socket in self.sockets.iter().filter(|socket| !keep(&socket.ticket)) {
            // What it has not been given is pending again.
            let left = socket.end_pushes();
            self.in_flight.retain(|entry| entry.socket != socket.id || entry.number <= left);
            if let (Some(code), true) = (code, socket.ticket.registered) {
                socket.end(Ending::Close(code));
            }
        }
        self.choose()
    }

    /// Picks the socket that gets the pushes: the newest of a registered user, else the newest (decision 28).
    fn choose(&mut self) -> Option<Drain> {
        let heard = || self.sockets.iter().rev().filter(|socket| socket.gets_pushes());
        let chosen = heard().find(|socket| socket.ticket.registered).or_else(|| heard().next()).cloned();
        if chosen.as_ref().map(|socket| socket.id) == self.active.as_ref().map(|socket| socket.id) {
            return None;
        }
        self.epoch += 1;
        self.phase = Phase::Fresh;
        self.active = chosen;
        let socket = self.active.clone()?;
        let asked = socket.has_asked();
        Some(self.start_drain(socket, asked))
    }

    fn start_drain(&mut self, socket: Arc<Socket>, asked: bool) -> Drain {
        self.epoch += 1;
        self.phase = if asked { Phase::Draining(Tail::default()) } else { Phase::Fresh };
        self.missed = false;
        self.revoked.clear();
        let on_it = self.in_flight.iter().filter(|entry| entry.socket == socket.id);
        self.carried = on_it.map(|entry| entry.receipt.message).collect();
        self.carried.sort_unstable();
        Drain { user: socket.user, socket, asked, epoch: self.epoch }
    }

    fn go_live(&mut self, position: MessageId) {
        self.phase = Phase::Live;
        self.carried = Vec::new();
        self.revoked = VecDeque::new();
        self.position = self.position.max(position);
        // Older messages that the drain pushed after an early one may still be lost while the early one arrives.
        let mut oldest_behind = MessageId(i64::MAX);
        for entry in self.in_flight.iter_mut().rev() {
            entry.early &= oldest_behind < entry.receipt.message;
            oldest_behind = oldest_behind.min(entry.receipt.message);
        }
    }
}

fn record(confirmed: &mut Confirmed, entry: &InFlight) {
    match entry.receipt.stream {
        _ if entry.early => confirmed.early.push(entry.receipt.message),
        Stream::Direct => confirmed.direct = confirmed.direct.max(Some(entry.receipt.message)),
        Stream::Group(subscription, seq) => match confirmed.groups.iter_mut().find(|(id, _)| *id == subscription) {
            Some((_, cursor)) => *cursor = (*cursor).max(seq),
            None => confirmed.groups.push((subscription, seq)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UserId;

    const ROOM: usize = 64;

    fn socket(id: u64, registered: bool) -> Arc<Socket> {
        Arc::new(Socket::new(id, UserId(7), Ticket::of(registered, &id.to_string()), Vec::new()))
    }

    fn mailbox(sockets: &[(u64, bool)]) -> Mailbox {
        let mut mailbox = Mailbox::default();
        for (id, registered) in sockets {
            mailbox.add(socket(*id, *registered));
        }
        mailbox
    }

    fn active(mailbox: &Mailbox) -> Option<u64> {
        mailbox.active().map(|socket| socket.id)
    }

    fn direct(id: i64) -> Receipt {
        Receipt { message: MessageId(id), stream: Stream::Direct }
    }

    fn frame(bytes: usize) -> Frame {
        Frame::text(&[&vec![b'x'; bytes]])
    }

    fn ids(ids: &[i64]) -> Vec<MessageId> {
        ids.iter().copied().map(MessageId).collect()
    }

    #[test]
    fn the_newest_socket_of_a_user_gets_the_pushes_else_the_newest() {
        assert_eq!(active(&mailbox(&[(1, false), (2, false)])), Some(2));
        assert_eq!(active(&mailbox(&[(1, true), (2, true), (3, false)])), Some(2));
        assert_eq!(active(&mailbox(&[])), None);
    }

    #[test]
    fn a_socket_that_ends_unregisters_only_itself() {
        let mut mailbox = mailbox(&[(1, true), (2, true)]);
        assert!(mailbox.remove(&socket(1, true)).is_none(), "an old socket's end disturbs nobody");
        assert_eq!(active(&mailbox), Some(2));
        assert!(mailbox.remove(&socket(2, true)).is_none());
        assert_eq!((active(&mailbox), mailbox.is_empty()), (None, true));
    }

    #[test]
    fn a_muted_socket_gets_no_pushes_and_only_users_are_closed() {
        let mut mailbox = mailbox(&[(1, false), (2, true), (3, true)]);
        mailbox.end_pushes(Some(4001), &|ticket| &*ticket.token_id == "2");
        assert_eq!(active(&mailbox), Some(2));
        let endings: Vec<_> = mailbox.sockets().iter().map(|socket| socket.take(1).ending).collect();
        assert_eq!(endings, [None, None, Some(Ending::Close(4001))]);
        mailbox.end_pushes(None, &|_| false);
        assert_eq!(active(&mailbox), None);
    }

    #[test]
    fn an_early_message_never_moves_the_cursor_past_older_ones_that_are_on_their_way() {
        let mut mailbox = mailbox(&[(1, true)]);
        mailbox.push(&frame(1), direct(50), None, ROOM);
        assert!(mailbox.ask().is_some_and(|drain| drain.asked));
        for id in [10, 20, 50] {
            assert_eq!(mailbox.drain_push(&frame(1), direct(id), ROOM), Step::Done);
        }
        assert_eq!(mailbox.drain_end(MessageId(50), ROOM), None);
        let first = mailbox.confirm(1, 1);
        assert_eq!((first.direct, first.early), (None, ids(&[50])));
        let rest = mailbox.confirm(1, 3);
        assert_eq!((rest.direct, rest.early), (Some(MessageId(20)), Vec::new()));
    }

    #[test]
    fn a_probe_makes_pushes_live_if_all_that_is_pending_is_on_its_way() {
        let mut mailbox = mailbox(&[(1, true)]);
        mailbox.push(&frame(1), direct(5), None, ROOM);
        mailbox.probe_end(&ids(&[5]));
        mailbox.push(&frame(1), direct(6), None, ROOM);
        assert_eq!(mailbox.confirm(1, 2).direct, Some(MessageId(6)));
    }

    #[test]
    fn what_speaks_of_an_older_message_waits_for_it_until_the_client_asks() {
        let mut mailbox = mailbox(&[(1, true)]);
        mailbox.push(&frame(1), direct(5), None, ROOM);
        let revoked = |id| Revoked { message: MessageId(id), emptied: frame(1) };
        assert!(matches!(mailbox.push(&frame(1), direct(6), Some(&revoked(4)), ROOM), Pushed::Left));
        assert!(matches!(mailbox.push(&frame(1), direct(7), Some(&revoked(5)), ROOM), Pushed::Handed));
        mailbox.probe_end(&ids(&[5]));
        let confirmed = mailbox.confirm(1, 2);
        assert_eq!((confirmed.direct, confirmed.early), (None, ids(&[5, 7])), "message 6 is still pending");
    }

    #[test]
    fn a_message_that_found_no_room_keeps_pushes_early() {
        let mut mailbox = mailbox(&[(1, true)]);
        mailbox.push(&frame(ROOM - 2), direct(5), None, ROOM);
        mailbox.push(&frame(1), direct(6), None, ROOM);
        mailbox.active().unwrap().take(ROOM);
        mailbox.push(&frame(1), direct(7), None, ROOM);
        mailbox.probe_end(&ids(&[5]));
        let confirmed = mailbox.confirm(1, 2);
        assert_eq!((confirmed.direct, confirmed.early), (None, ids(&[5, 7])), "message 6 is still pending");
    }
}
