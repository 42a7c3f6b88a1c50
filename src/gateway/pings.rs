//! What one socket's pings and pongs prove (decision 26). Pure: times come in, decisions go out.
//!
//! Numbers count the messages of this socket. A ping carries the number that was written before it; its pong confirms
//! them. At most one ping is on its way, and at most [`WINDOW_BYTES`] and one burst are unconfirmed: what a slow reader would get
//! twice after a broken connection is bounded by that, and so is the time that a pong may take.

use std::time::Duration;

use tokio::time::Instant;

/// Over time pings of one socket are at least this far apart: bursts in between are confirmed together.
const PING_GAP: Duration = Duration::from_millis(100);
/// So many pings may follow their bursts at once, so that a client which takes its messages and leaves has confirmed them.
const PINGS_AT_ONCE: u32 = 10;
/// A peer that has not answered its first ping for this long never will: what was written before a ping counts as received when
/// the ping is so old.
const MUTE_AFTER: Duration = Duration::from_secs(5);
/// How long the network may take nothing before the first pong: below [`MUTE_AFTER`], so that what counts as received without a
/// pong is in the peer's kernel.
pub const UNPROVED_STALL_MAX: Duration = Duration::from_secs(4);
/// The same as [`MUTE_AFTER`] when other sockets of this person do answer, so that a broken network is more likely.
const MUTE_AFTER_OTHERS_ANSWERED: Duration = Duration::from_mins(1);
/// A peer that says goodbye with its first ping unanswered for this long has chosen not to answer it.
const MUTE_AT_GOODBYE: Duration = Duration::from_secs(1);
/// How long a socket may take to prove that it lives while another one of its user waits for what it holds.
pub const DOUBT: Duration = Duration::from_secs(3);
/// Bytes written beyond the latest confirmation; past it the socket waits for its pong.
const WINDOW_BYTES: u64 = 128 * 1024;
/// A ping of a peer that answers may be unanswered for this long before nothing more is written: a phone whose kernel takes bytes
/// while its app is suspended shows twice what it had not confirmed when its socket ended.
const SILENCE_MAX: Duration = Duration::from_secs(2);
/// The slowest reader that is waited for, beside the time that a silent one gets.
const BYTES_PER_SECOND_MIN: u64 = 16 * 1024;

/// How a peer treats pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    /// It has not answered one yet.
    Unknown,
    /// It answers.
    Answers,
    /// It has proved not to answer.
    Mute,
}

/// A ping without its pong.
#[derive(Clone, Copy, Debug)]
struct Outstanding {
    number: u64,
    bytes: u64,
    sent: Instant,
}

/// A pong that had to come did not: drop the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// The state of one socket's pings.
#[derive(Debug)]
pub struct Pings {
    peer: Peer,
    /// Messages and bytes written so far.
    written: u64,
    written_bytes: u64,
    /// Messages and bytes that are confirmed, or count as received.
    confirmed: u64,
    confirmed_bytes: u64,
    outstanding: Option<Outstanding>,
    /// When the pings so far would have been sent, had they been a gap apart; they may be ahead of that by
    /// [`PINGS_AT_ONCE`], and are never taken for more.
    spent: Option<Instant>,
    /// A ping is due although nothing is unconfirmed.
    wanted: bool,
    /// A pong is expected by then.
    deadline: Option<Instant>,
    /// Something waits to be written until the outstanding ping is answered.
    held: bool,
    /// A first ping without an answer for this long makes the peer mute.
    mute_after: Duration,
    /// How long a peer that answers may take to do so.
    pong_timeout: Duration,
}

impl Pings {
    /// A socket to which nothing was written yet. `answers`: the peer is known to answer pings, by other sockets of its token.
    pub const fn new(pong_timeout: Duration, answers: bool) -> Self {
        Self {
            peer: if answers { Peer::Answers } else { Peer::Unknown },
            written: 0,
            written_bytes: 0,
            confirmed: 0,
            confirmed_bytes: 0,
            outstanding: None,
            spent: None,
            wanted: true,
            deadline: None,
            held: false,
            mute_after: MUTE_AFTER,
            pong_timeout,
        }
    }

    /// Takes note of a burst.
    pub fn wrote(&mut self, messages: u64, bytes: usize, now: Instant) {
        self.written += messages;
        self.written_bytes += bytes as u64;
        if self.peer == Peer::Answers && !self.window_open() {
            self.expect_by(now + self.pong_timeout + slowly(self.unconfirmed_bytes()));
        }
    }

    /// A heartbeat goes out: a peer that answers has to answer now.
    pub fn beat(&mut self, now: Instant) {
        match self.peer {
            Peer::Answers => self.expect_by(now + self.pong_timeout + slowly(self.unconfirmed_bytes())),
            // Perhaps it has learnt to answer.
            Peer::Mute => {}
            Peer::Unknown => return,
        }
        self.wanted = true;
    }

    /// Another socket waits for what this one holds: prove soon that the peer lives.
    pub fn doubt(&mut self, now: Instant) {
        if self.peer != Peer::Mute {
            self.expect_by(now + DOUBT);
            self.wanted = true;
        }
    }

    /// Whether more may be written before a pong comes.
    pub const fn window_open(&self) -> bool {
        !self.held && (matches!(self.peer, Peer::Mute) || self.unconfirmed_bytes() < WINDOW_BYTES)
    }

    /// Whether what is to be written now must wait, because a peer that answers has been silent for [`SILENCE_MAX`]. The window is
    /// closed then until it answers. Heartbeats wait, too, so the end is as far away as theirs may be.
    pub fn hold(&mut self, now: Instant) -> bool {
        let is_silent = |ping: Outstanding| now >= ping.sent + SILENCE_MAX;
        if self.peer == Peer::Answers && self.outstanding.is_some_and(is_silent) {
            self.held = true;
            self.expect_by(now + 2 * self.pong_timeout + slowly(self.unconfirmed_bytes()));
        }
        self.held
    }

    /// Whether something waits for an answer.
    pub const fn is_held(&self) -> bool {
        self.held
    }

    /// The number of the ping that is to be written now, if one is.
    pub fn next_ping(&mut self, now: Instant) -> Option<u64> {
        if self.ping_at(now).is_none_or(|at| at > now) {
            return None;
        }
        self.outstanding = Some(Outstanding { number: self.written, bytes: self.written_bytes, sent: now });
        // Pings that had to come because a window was full are not paid for later: what follows a large backlog would
        // stay unconfirmed for as long as that was, and a heartbeat would find no turn before its deadline.
        let spent = self.spent.map_or(now, |spent| spent.max(now)) + PING_GAP;
        self.spent = Some(spent.min(now + PING_GAP * PINGS_AT_ONCE));
        self.wanted = false;
        Some(self.written)
    }

    /// The number of the ping that lets a peer confirm the rest before the connection ends, if there is a rest.
    pub fn last_ping(&mut self, now: Instant) -> Option<u64> {
        if self.is_settled() || self.outstanding.is_some_and(|ping| ping.number == self.written) {
            return None;
        }
        self.outstanding = Some(Outstanding { number: self.written, bytes: self.written_bytes, sent: now });
        Some(self.written)
    }

    /// Whether all that was written is confirmed, or counts as received.
    pub fn is_settled(&self) -> bool {
        self.written == self.confirmed || self.peer == Peer::Mute
    }

    /// When a ping is to be written, if there is something to learn from it.
    fn ping_at(&self, now: Instant) -> Option<Instant> {
        let unconfirmed = self.written > self.confirmed || !self.window_open();
        if !(self.wanted || unconfirmed) || self.outstanding.is_some() {
            return None;
        }
        let turn = self
            .spent
            .filter(|_| self.window_open())
            .and_then(|spent| spent.checked_sub(PING_GAP * (PINGS_AT_ONCE - 1)));
        Some(turn.map_or(now, |turn| turn.max(now)))
    }

    /// Takes a pong's payload. Returns the count of messages that it confirms, if that is news.
    pub fn pong(&mut self, payload: &[u8]) -> Option<u64> {
        let number = u64::from_be_bytes(payload.try_into().ok()?);
        if number > self.written {
            return None;
        }
        self.peer = Peer::Answers;
        if let Some(answered) = self.outstanding.filter(|ping| number >= ping.number) {
            self.outstanding = None;
            self.deadline = None;
            self.held = false;
            self.confirmed_bytes = self.confirmed_bytes.max(answered.bytes);
        }
        let news = number > self.confirmed;
        self.confirmed = self.confirmed.max(number);
        news.then_some(number)
    }

    /// Whether the peer has ever answered a ping.
    pub fn answers_pings(&self) -> bool {
        self.peer == Peer::Answers
    }

    /// When [`Self::on_timer`] must be called; idle sockets have no timer.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        [self.ping_at(now), self.deadline, self.unanswered_at()].into_iter().flatten().min()
    }

    /// When the ping will not be answered any more: what was written before it counts as received, and the peer is mute.
    fn unanswered_at(&self) -> Option<Instant> {
        let ping = self.outstanding?;
        match self.peer {
            Peer::Unknown => Some(ping.sent + self.mute_after),
            Peer::Mute => Some(ping.sent + MUTE_AFTER),
            Peer::Answers => None,
        }
    }

    /// Decides what the passing of time decides. Returns the count of messages that are received without a pong, if that is
    /// news.
    pub fn on_timer(&mut self, now: Instant, others_answer: impl FnOnce() -> bool) -> Result<Option<u64>, Gone> {
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return Err(Gone);
        }
        let Some(ping) = self.outstanding.filter(|_| self.unanswered_at().is_some_and(|at| now >= at)) else {
            return Ok(None);
        };
        if self.peer == Peer::Unknown {
            if self.mute_after < MUTE_AFTER_OTHERS_ANSWERED && others_answer() {
                self.mute_after = MUTE_AFTER_OTHERS_ANSWERED;
                return Ok(None);
            }
            self.peer = Peer::Mute;
            self.deadline = None;
            self.wanted = false;
        }
        self.outstanding = None;
        Ok(self.count_as_received(ping.number, ping.bytes))
    }

    /// The connection is over. Returns the count of messages that a peer which never answered has received all the same:
    /// if it said goodbye, it had the time to answer. If the network broke, they stay pending: better twice than never.
    pub fn end(&mut self, goodbye: bool, now: Instant, others_answer: bool) -> Option<u64> {
        let chose_not_to = self.peer == Peer::Unknown
            && goodbye
            && !others_answer
            && self.outstanding.is_some_and(|ping| now >= ping.sent + MUTE_AT_GOODBYE);
        let took_it_all = chose_not_to || (self.peer == Peer::Mute && goodbye);
        if took_it_all { self.count_as_received(self.written, self.written_bytes) } else { None }
    }

    const fn count_as_received(&mut self, written: u64, bytes: u64) -> Option<u64> {
        let news = written > self.confirmed;
        self.confirmed = written;
        self.confirmed_bytes = bytes;
        if news { Some(written) } else { None }
    }

    const fn unconfirmed_bytes(&self) -> u64 {
        self.written_bytes - self.confirmed_bytes
    }

    fn expect_by(&mut self, deadline: Instant) {
        self.deadline = Some(self.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
    }
}

/// The time that the slowest reader worth waiting for takes for so many bytes.
pub const fn slowly(bytes: u64) -> Duration {
    Duration::from_millis(bytes * 1000 / BYTES_PER_SECOND_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(20);
    const MS: Duration = Duration::from_millis(1);

    /// A socket whose greeting, a ping with it, was written at the returned time.
    fn opened() -> (Pings, Instant) {
        let (mut pings, now) = (Pings::new(TIMEOUT, false), Instant::now());
        pings.wrote(0, 5000, now);
        assert_eq!(pings.next_ping(now), Some(0), "the first ping comes with the greeting");
        (pings, now)
    }

    /// The same, and the peer has answered.
    fn answering() -> (Pings, Instant) {
        let (mut pings, now) = opened();
        assert_eq!(pings.pong(&0_u64.to_be_bytes()), None);
        (pings, now)
    }

    fn fire(pings: &mut Pings, now: Instant) -> Result<Option<u64>, Gone> {
        pings.on_timer(now, || false)
    }

    #[test]
    fn who_is_known_to_answer_is_never_taken_for_mute() {
        let (mut pings, now) = (Pings::new(TIMEOUT, true), Instant::now());
        pings.wrote(3, 300, now);
        assert_eq!(pings.next_ping(now), Some(3));
        assert_eq!(fire(&mut pings, now + MUTE_AFTER), Ok(None));
        assert_eq!(pings.end(true, now + MUTE_AFTER, false), None);
        pings.beat(now + MUTE_AFTER);
        assert_eq!(fire(&mut pings, now + MUTE_AFTER + 2 * TIMEOUT), Err(Gone));
    }

    #[test]
    fn a_pong_confirms_what_was_written_before_its_ping() {
        let (mut pings, now) = answering();
        pings.wrote(3, 300, now);
        let ping = pings.next_ping(now).expect("it follows the burst");
        pings.wrote(2, 200, now);
        assert_eq!(pings.next_ping(now + TIMEOUT), None, "one ping at a time");
        assert_eq!(pings.pong(&ping.to_be_bytes()), Some(3));
        assert_eq!(pings.pong(&ping.to_be_bytes()), None, "once");
        assert_eq!(pings.due(now), Some(now), "the rest gets a ping of its own");
        assert_eq!(pings.next_ping(now), Some(5));
    }

    /// Uses up all pings that may be sent at once. Returns how many those were.
    fn exhaust(pings: &mut Pings, now: Instant) -> u32 {
        for count in 0.. {
            pings.wrote(1, 100, now);
            let Some(ping) = pings.next_ping(now) else { return count };
            pings.pong(&ping.to_be_bytes());
        }
        0
    }

    #[test]
    fn under_constant_traffic_pings_are_a_gap_apart() {
        let (mut pings, start) = answering();
        assert_eq!(exhaust(&mut pings, start), PINGS_AT_ONCE - 1, "the first one came with the greeting");
        for gaps in 1..50 {
            let turn = start + PING_GAP * gaps;
            assert_eq!(pings.due(turn - MS), Some(turn));
            assert_eq!(pings.next_ping(turn - MS), None);
            assert_eq!(exhaust(&mut pings, turn), 1);
        }
        let rested = start + PING_GAP * 100;
        assert_eq!(exhaust(&mut pings, rested), PINGS_AT_ONCE);
    }

    #[test]
    fn after_many_full_windows_the_next_ping_is_a_gap_away() {
        let (mut pings, now) = answering();
        for _ in 0..500 {
            pings.wrote(1, 2 * usize::try_from(WINDOW_BYTES).unwrap(), now);
            let ping = pings.next_ping(now).expect("the reader waits for nothing else");
            pings.pong(&ping.to_be_bytes());
        }
        pings.wrote(1, 100, now);
        assert_eq!(pings.due(now), Some(now + PING_GAP));
        pings.beat(now);
        assert!(pings.next_ping(now + PING_GAP).is_some());
    }

    #[test]
    fn an_idle_socket_has_no_timer() {
        let (pings, now) = answering();
        assert_eq!(pings.due(now), None);
    }

    #[test]
    fn nothing_more_is_written_to_a_peer_that_has_fallen_silent() {
        let (mut pings, start) = answering();
        pings.wrote(1, 100, start);
        let ping = pings.next_ping(start).unwrap();
        assert!(!pings.hold(start + SILENCE_MAX - MS) && pings.window_open());
        assert_eq!(pings.due(start + SILENCE_MAX), None, "there is no timer as long as nothing waits");
        let silent = start + SILENCE_MAX;
        assert!(pings.hold(silent) && pings.is_held() && !pings.window_open());
        assert_eq!(pings.due(silent), Some(silent + 2 * TIMEOUT + slowly(100)));
        assert!(fire(&mut pings, silent + 2 * TIMEOUT + slowly(100)).is_err());
        assert_eq!(pings.pong(&ping.to_be_bytes()), Some(1));
        assert!(!pings.is_held() && pings.window_open());
        assert_eq!(pings.due(silent), None);
    }

    #[test]
    fn whoever_never_answers_is_not_waited_for() {
        let (mut pings, start) = opened();
        pings.wrote(1, 100, start);
        assert!(!pings.hold(start + MUTE_AFTER - MS));
        assert!(fire(&mut pings, start + MUTE_AFTER).is_ok());
        pings.next_ping(start + MUTE_AFTER).unwrap();
        assert!(!pings.hold(start + 2 * MUTE_AFTER - MS));
    }

    #[test]
    fn pongs_that_nobody_asked_for_confirm_nothing_that_was_not_written() {
        let (mut pings, now) = opened();
        for payload in [&b""[..], b"abc", &u64::MAX.to_be_bytes(), &1_u64.to_be_bytes()] {
            assert_eq!(pings.pong(payload), None);
            assert!(!pings.answers_pings());
        }
        pings.wrote(1, 100, now);
        assert_eq!(pings.pong(&1_u64.to_be_bytes()), Some(1), "the peer can only harm itself");
    }

    #[test]
    fn a_heartbeat_just_after_many_pings_does_not_drop_a_healthy_socket() {
        let (mut pings, start) = answering();
        exhaust(&mut pings, start);
        let now = start + PING_GAP / 2;
        pings.beat(now);
        assert_eq!(pings.next_ping(now), None, "too soon after the others");
        let due = pings.due(now).unwrap();
        assert_eq!(due, start + PING_GAP, "so the timer sends it");
        assert_eq!(fire(&mut pings, due), Ok(None));
        let ping = pings.next_ping(due).unwrap();
        pings.pong(&ping.to_be_bytes());
        assert_eq!(pings.due(due), None, "nothing is expected any more");
    }

    #[test]
    fn an_idle_peer_that_vanished_is_found_by_the_heartbeat() {
        let (mut pings, start) = answering();
        let now = start + TIMEOUT;
        pings.beat(now);
        assert!(pings.next_ping(now).is_some());
        assert_eq!(pings.due(now), Some(now + TIMEOUT));
        assert!(fire(&mut pings, now + TIMEOUT - MS).is_ok());
        assert!(fire(&mut pings, now + TIMEOUT).is_err());
    }

    #[test]
    fn later_heartbeats_do_not_put_the_end_off() {
        let (mut pings, start) = answering();
        pings.beat(start);
        pings.beat(start + TIMEOUT / 2);
        assert!(fire(&mut pings, start + TIMEOUT).is_err());
    }

    #[test]
    fn what_a_mute_peer_gets_counts_as_received_when_its_ping_is_old() {
        let (mut pings, start) = opened();
        pings.wrote(4, 400, start + MS);
        assert_eq!(pings.due(start), Some(start + MUTE_AFTER));
        let mute = start + MUTE_AFTER;
        assert_eq!(fire(&mut pings, mute), Ok(None), "the network may have gone just before they were written");
        assert_eq!(pings.next_ping(mute), Some(4));
        for count in 5..20 {
            pings.wrote(1, 1_000_000, mute + MS * count);
            assert!(pings.window_open());
        }
        assert_eq!(
            pings.end(false, mute + MUTE_AFTER, false),
            None,
            "nor is what a broken network was to carry received"
        );
        assert_eq!(fire(&mut pings, mute + MUTE_AFTER - MS), Ok(None));
        assert_eq!(fire(&mut pings, mute + MUTE_AFTER), Ok(Some(4)));
        let later = mute + MUTE_AFTER;
        assert_eq!(pings.next_ping(later), Some(19));
        assert_eq!(fire(&mut pings, later + MUTE_AFTER), Ok(Some(19)));
        pings.beat(start + TIMEOUT);
        pings.doubt(start + TIMEOUT);
        assert!(pings.next_ping(start + TIMEOUT).is_some(), "it may learn to answer");
        assert_eq!(fire(&mut pings, start + TIMEOUT + MUTE_AFTER), Ok(None));
        assert_eq!(pings.due(start + TIMEOUT + MUTE_AFTER), None, "but nothing is expected");
        pings.wrote(1, 100, start + TIMEOUT + MUTE_AFTER);
        assert_eq!(
            pings.end(true, start + TIMEOUT + MUTE_AFTER, false),
            Some(20),
            "and whoever says goodbye has it all"
        );
    }

    #[test]
    fn a_peer_that_was_doubted_before_it_was_mute_is_not_dropped() {
        let (mut pings, start) = opened();
        pings.doubt(start + MUTE_AFTER - DOUBT / 2);
        assert_eq!(fire(&mut pings, start + MUTE_AFTER), Ok(None));
        assert!(fire(&mut pings, start + MUTE_AFTER + DOUBT).is_ok());
    }

    #[test]
    fn a_late_first_pong_makes_a_mute_peer_answer() {
        let (mut pings, start) = opened();
        assert!(fire(&mut pings, start + MUTE_AFTER).is_ok());
        assert_eq!(pings.pong(&0_u64.to_be_bytes()), None);
        pings.wrote(1, 100, start + MUTE_AFTER);
        assert_eq!(pings.next_ping(start + MUTE_AFTER), Some(1));
        assert_eq!(fire(&mut pings, start + 2 * MUTE_AFTER), Ok(None), "now it has to prove what it gets");
    }

    #[test]
    fn a_peer_whose_other_sockets_answer_is_not_soon_taken_for_mute() {
        let (mut pings, start) = opened();
        pings.wrote(1, 100, start);
        assert_eq!(pings.on_timer(start + MUTE_AFTER, || true), Ok(None));
        assert_eq!(pings.due(start), Some(start + MUTE_AFTER_OTHERS_ANSWERED));
        assert_eq!(pings.on_timer(start + MUTE_AFTER_OTHERS_ANSWERED, || true), Ok(None));
        assert_eq!(pings.next_ping(start + MUTE_AFTER_OTHERS_ANSWERED), Some(1));
    }

    #[test]
    fn doubt_ends_a_socket_that_does_not_answer_soon() {
        for (mut pings, start) in [opened(), answering()] {
            let now = start + PING_GAP;
            pings.wrote(1, 100, now);
            pings.doubt(now);
            pings.doubt(now + DOUBT / 2);
            assert!(fire(&mut pings, now + DOUBT).is_err());
            assert_eq!(pings.end(false, now + DOUBT, false), None, "and what it holds stays pending");
        }
    }

    #[test]
    fn a_network_that_broke_before_the_first_pong_confirms_nothing() {
        let (mut pings, start) = opened();
        pings.wrote(1, 100, start);
        assert_eq!(pings.end(false, start + MUTE_AFTER / 2, false), None);
    }

    #[test]
    fn a_peer_that_says_goodbye_without_an_answer_had_the_time_to_give_one() {
        let (mut pings, start) = opened();
        pings.wrote(1, 100, start);
        assert_eq!(pings.end(true, start + MUTE_AT_GOODBYE - MS, false), None, "unless it closed at once");
        assert_eq!(pings.end(true, start + MUTE_AT_GOODBYE, true), None, "or its other sockets answer");
        assert_eq!(pings.end(true, start + MUTE_AT_GOODBYE, false), Some(1));
    }

    #[test]
    fn before_an_end_the_rest_can_be_confirmed_at_once() {
        let (mut pings, now) = answering();
        assert_eq!((pings.is_settled(), pings.last_ping(now)), (true, None));
        exhaust(&mut pings, now);
        let number = pings.last_ping(now).expect("whatever the gap says");
        assert_eq!((pings.is_settled(), pings.last_ping(now)), (false, None), "once");
        assert_eq!(pings.pong(&number.to_be_bytes()), Some(number));
        assert!(pings.is_settled());
    }

    #[test]
    fn a_slow_reader_gets_a_window_at_a_time() {
        let (mut pings, start) = answering();
        let now = start + MS;
        pings.wrote(1, 300 * 1024, now);
        assert!(!pings.window_open());
        let ping = pings.next_ping(now).expect("a full window does not wait for the gap between pings");
        assert_eq!(pings.due(now), Some(now + TIMEOUT + slowly(300 * 1024)), "a large frame may take its time");
        assert_eq!(pings.pong(&ping.to_be_bytes()), Some(1));
        assert!(pings.window_open());
        assert_eq!(pings.due(now), None);
    }
}
