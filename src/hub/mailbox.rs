//! The delivery state of one user: which socket gets pushes, how far they have come, and what is on its way.
//!
//! A socket starts `Fresh`: older messages may be pending that the client has not asked for, so a live message that is
//! confirmed now is recorded as *early*. A drain pushes what is pending in order; once it has caught up, or a probe found
//! nothing pending, pushes are `Live` and each confirmation moves a cursor.

use std::collections::VecDeque;
use std::sync::Arc;

use super::outbox::{Ending, Session, Ticket};
use super::{Confirmed, Drain, Frame, Receipt, Step, Stream};
use crate::ids::MessageId;

#[derive(Debug, Default)]
pub struct Mailbox {
    /// Oldest first.
    sessions: Vec<Arc<Session>>,
    active: Option<Arc<Session>>,
    /// Grows when a drain loses its right to push.
    epoch: u64,
    phase: Phase,
    /// In the order of pushing.
    in_flight: VecDeque<InFlight>,
    /// What was on its way to the active socket when its drain began, in order: the drain must not push it again.
    carried: Vec<MessageId>,
    /// The newest message that a drain or a live push has handled.
    position: MessageId,
    /// A live message found no room while `Fresh`: it is pending, though later ones may be on their way.
    missed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Fresh,
    /// A drain runs; `more` says that a message was committed since it last read the store.
    Draining {
        more: bool,
    },
    Live,
}

#[derive(Debug)]
struct InFlight {
    session: u64,
    number: u64,
    receipt: Receipt,
    early: bool,
}

impl Mailbox {
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    pub fn sessions(&self) -> &[Arc<Session>] {
        &self.sessions
    }

    pub const fn active(&self) -> Option<&Arc<Session>> {
        self.active.as_ref()
    }

    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    pub fn add(&mut self, session: Arc<Session>) -> Option<Drain> {
        self.sessions.push(session);
        self.choose()
    }

    pub fn remove(&mut self, session: &Session) -> Option<Drain> {
        self.sessions.retain(|other| other.id != session.id);
        self.in_flight.retain(|entry| entry.session != session.id);
        self.choose()
    }

    pub fn push(&mut self, frame: &Frame, receipt: Receipt, bytes_max: usize) -> Option<Drain> {
        let session = self.active.clone()?;
        let early = match &mut self.phase {
            Phase::Draining { more } => {
                *more = true;
                return None;
            }
            Phase::Live if receipt.message <= self.position => return None,
            Phase::Live => false,
            Phase::Fresh => true,
        };
        match session.push_message(frame, bytes_max) {
            Some(number) => {
                self.in_flight.push_back(InFlight { session: session.id, number, receipt, early });
                self.position = self.position.max(receipt.message);
                None
            }
            // The reader is slower than its messages: from here on the store feeds it, at its own pace.
            None if !early => Some(self.start_drain(session, true)),
            None => {
                self.missed = true;
                None
            }
        }
    }

    pub fn ask(&mut self) -> Option<Drain> {
        let session = self.active.clone()?;
        session.mark_asked();
        (self.phase == Phase::Fresh).then(|| self.start_drain(session, true))
    }

    pub fn held_elsewhere(&self) -> bool {
        let Some(active) = &self.active else { return false };
        let holders: Vec<u64> =
            self.in_flight.iter().map(|entry| entry.session).filter(|session| *session != active.id).collect();
        self.sessions.iter().filter(|session| holders.contains(&session.id)).for_each(|session| session.probe());
        !holders.is_empty()
    }

    pub fn drain_push(&mut self, frame: &Frame, receipt: Receipt, bytes_max: usize) -> Step {
        let Some(session) = self.active.clone() else { return Step::Over };
        if self.carried.binary_search(&receipt.message).is_ok() {
            return Step::Done;
        }
        let Some(number) = session.push_message(frame, bytes_max) else { return Step::Full };
        self.in_flight.push_back(InFlight { session: session.id, number, receipt, early: false });
        Step::Done
    }

    pub fn drain_end(&mut self, position: MessageId) -> bool {
        if let Phase::Draining { more } = &mut self.phase
            && std::mem::take(more)
        {
            return false;
        }
        // What was pushed early stays early: it may be confirmed before the older messages that the drain pushed after it.
        self.go_live(position);
        true
    }

    pub fn probe_end(&mut self, due: &[MessageId]) {
        let Some(active) = &self.active else { return };
        let on_its_way =
            |id: &MessageId| self.in_flight.iter().any(|e| e.receipt.message == *id && e.session == active.id);
        if self.phase == Phase::Fresh && !self.missed && due.iter().all(on_its_way) {
            // All that is pending is on its way in order, so a confirmation of any of it covers what came before.
            self.in_flight.iter_mut().for_each(|entry| entry.early = false);
            self.go_live(due.last().copied().unwrap_or_default());
        }
    }

    pub fn confirm(&mut self, session: u64, count: u64) -> Confirmed {
        let mut confirmed = Confirmed::default();
        self.in_flight.retain(|entry| {
            let received = entry.session == session && entry.number <= count;
            if received {
                record(&mut confirmed, entry);
            }
            !received
        });
        confirmed
    }

    pub fn revoke(&mut self, code: Option<u16>, keep: &dyn Fn(&Ticket) -> bool) -> Option<Drain> {
        for session in self.sessions.iter().filter(|session| !keep(&session.ticket)) {
            session.mute();
            if let (Some(code), true) = (code, session.ticket.registered) {
                session.end(Ending::Close(code));
            }
        }
        self.choose()
    }

    /// Picks the socket that gets the pushes: the newest of a registered user, else the newest (decision 28).
    fn choose(&mut self) -> Option<Drain> {
        let heard = || self.sessions.iter().rev().filter(|session| !session.is_muted());
        let chosen = heard().find(|session| session.ticket.registered).or_else(|| heard().next()).cloned();
        if chosen.as_ref().map(|session| session.id) == self.active.as_ref().map(|session| session.id) {
            return None;
        }
        self.epoch += 1;
        self.phase = Phase::Fresh;
        self.active = chosen;
        let session = self.active.clone()?;
        let asked = session.has_asked();
        Some(self.start_drain(session, asked))
    }

    fn start_drain(&mut self, session: Arc<Session>, asked: bool) -> Drain {
        self.epoch += 1;
        self.phase = if asked { Phase::Draining { more: false } } else { Phase::Fresh };
        self.missed = false;
        let on_it = self.in_flight.iter().filter(|entry| entry.session == session.id);
        self.carried = on_it.map(|entry| entry.receipt.message).collect();
        self.carried.sort_unstable();
        Drain { user: session.user, session, asked, epoch: self.epoch }
    }

    fn go_live(&mut self, position: MessageId) {
        self.phase = Phase::Live;
        self.carried = Vec::new();
        self.position = self.position.max(position);
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

    fn opened() -> Mailbox {
        let mut mailbox = Mailbox::default();
        let ticket = Ticket { registered: true, token_id: "t".into() };
        let drain = mailbox.add(Arc::new(Session::new(1, UserId(1), ticket, Vec::new())));
        assert!(drain.is_some_and(|drain| !drain.asked), "a socket begins with a probe");
        mailbox
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
    fn an_early_message_never_moves_the_cursor_past_older_ones_that_are_on_their_way() {
        let mut mailbox = opened();
        mailbox.push(&frame(1), direct(50), ROOM);
        assert!(mailbox.ask().is_some_and(|drain| drain.asked));
        for id in [10, 20, 50] {
            assert_eq!(mailbox.drain_push(&frame(1), direct(id), ROOM), Step::Done);
        }
        assert!(mailbox.drain_end(MessageId(50)));
        let first = mailbox.confirm(1, 1);
        assert_eq!((first.direct, first.early), (None, ids(&[50])));
        let rest = mailbox.confirm(1, 3);
        assert_eq!((rest.direct, rest.early), (Some(MessageId(20)), Vec::new()));
    }

    #[test]
    fn a_probe_makes_pushes_live_if_all_that_is_pending_is_on_its_way() {
        let mut mailbox = opened();
        mailbox.push(&frame(1), direct(5), ROOM);
        mailbox.probe_end(&ids(&[5]));
        mailbox.push(&frame(1), direct(6), ROOM);
        assert_eq!(mailbox.confirm(1, 2).direct, Some(MessageId(6)));
    }

    #[test]
    fn a_message_that_found_no_room_keeps_pushes_early() {
        let mut mailbox = opened();
        mailbox.push(&frame(ROOM), direct(5), ROOM);
        mailbox.push(&frame(1), direct(6), ROOM);
        mailbox.active().unwrap().take(ROOM);
        mailbox.push(&frame(1), direct(7), ROOM);
        mailbox.probe_end(&ids(&[5]));
        let confirmed = mailbox.confirm(1, 2);
        assert_eq!((confirmed.direct, confirmed.early), (None, ids(&[5, 7])), "message 6 is still pending");
    }
}
