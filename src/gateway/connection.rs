//! One socket's task: writes bursts, pings after them, and turns pongs into confirmations (decision 26).

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::wire::Wire;
use crate::app::App;
use crate::hub::{Burst, Ending, Frame, Session};

/// How long a closed peer may take to answer the close frame.
pub const CLOSE_WAIT: Duration = Duration::from_secs(2);
/// Bytes taken from the queue at a time.
const BURST_BYTES: usize = 64 * 1024;
/// Pings of one socket are at least this far apart: bursts in between are confirmed together.
const PING_GAP: Duration = Duration::from_millis(100);
/// A peer that has never answered a ping for this long never will: what is written to it counts as received.
const NEVER_ANSWERS_AFTER: Duration = Duration::from_secs(5);
/// How long a socket may take to prove that it lives while another one of its user waits for what it holds.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The peer said goodbye.
    ByPeer,
    /// The network broke, or a peer that used to answer pings stopped.
    Lost,
    /// The peer took no bytes for too long.
    Stalled,
    /// The hub ended it, or the server stops.
    ByServer,
}

/// What is known of the peer's pongs. Numbers count messages of this socket.
#[derive(Debug)]
struct Pings {
    /// Messages written so far.
    written: u64,
    /// The message count that the latest ping covers, and when it was sent, until its pong.
    outstanding: Option<(u64, Instant)>,
    /// When the latest ping was sent.
    last: Option<Instant>,
    /// Messages covered by a pong, or counted as received.
    confirmed: u64,
    /// The peer has answered a ping at least once.
    answers: bool,
    /// The peer has proved not to answer pings.
    never_answers: bool,
    /// A pong is expected by then, or the socket is dropped.
    deadline: Option<Instant>,
}

/// Serves the socket until it ends, and confirms what the peer has received.
pub async fn run(app: &Arc<App>, wire: &mut Wire, session: &Arc<Session>) -> Ended {
    let mut pings = Pings {
        written: 0,
        outstanding: None,
        last: None,
        confirmed: 0,
        answers: false,
        never_answers: false,
        deadline: None,
    };
    let stall = Duration::from_secs(app.config.ws.stall_timeout_s);
    let mut stopped = std::pin::pin!(app.stop.cancelled());
    let ended = loop {
        let due = pings.next_due();
        let step = tokio::select! {
            biased;
            received = wire.recv() => match received {
                // Bounded too: a peer that sends pings and never reads would hold the task for ever.
                Some(Ok(message)) => match timeout(stall, receive(app, session, &mut pings, wire, message)).await {
                    Ok(ended) => ended,
                    Err(_) => Some(Ended::Stalled),
                },
                Some(Err(_)) => Some(Ended::Lost),
                None => Some(Ended::ByPeer),
            },
            () = session.woken() => {
                let burst = session.take(BURST_BYTES);
                match timeout(stall, write(app, wire, &mut pings, burst)).await {
                    Ok(ended) => ended,
                    Err(_) => Some(Ended::Stalled),
                }
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                match timeout(stall, pings.on_timer(app, session, wire)).await {
                    Ok(ended) => ended,
                    Err(_) => Some(Ended::Stalled),
                }
            }
            () = &mut stopped => Some(Ended::ByServer),
        };
        if let Some(ended) = step {
            break ended;
        }
    };
    // A peer that never answered a ping is treated as the old server did: written counts as received. If the network
    // broke before a pong could come back, what was written stays pending: better twice than never.
    if !pings.answers && (pings.never_answers || ended == Ended::ByPeer) {
        confirm(app, session, pings.written);
    }
    ended
}

async fn write(app: &App, wire: &mut Wire, pings: &mut Pings, burst: Burst) -> Option<Ended> {
    let now = Instant::now();
    if burst.probe && !pings.never_answers {
        pings.expect_by(now + PROBE_TIMEOUT);
    }
    if burst.beat && pings.answers {
        pings.expect_by(now + Duration::from_secs(app.config.ws.pong_timeout_s));
    }
    let written = pings.written + burst.messages;
    let ping = pings.next_ping(written, now);
    if wire.write(&burst.frames, ping).await.is_err() {
        return Some(Ended::Lost);
    }
    pings.written = written;
    match burst.ending {
        None => None,
        Some(Ending::Drop) => Some(Ended::ByServer),
        Some(Ending::Close(code)) => {
            // A peer that does not answer the close frame is dropped all the same.
            let _ = timeout(CLOSE_WAIT, Box::pin(wire.close(Some(code)))).await;
            Some(Ended::ByServer)
        }
    }
}

impl Pings {
    /// The number for a ping that goes out now, after `written` messages: if none is on its way, enough time has passed,
    /// and there is something to learn from it.
    fn next_ping(&mut self, written: u64, now: Instant) -> Option<u64> {
        let learn = written > self.confirmed || self.last.is_none() || self.deadline.is_some();
        if !learn || self.outstanding.is_some() || self.last.is_some_and(|last| now < last + PING_GAP) {
            return None;
        }
        self.outstanding = Some((written, now));
        self.last = Some(now);
        Some(written)
    }

    /// A pong is to come by `deadline`, or the socket is dropped.
    fn expect_by(&mut self, deadline: Instant) {
        self.deadline = Some(self.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
    }

    /// When the timer must look at this socket again; idle sockets have none.
    fn next_due(&self) -> Option<Instant> {
        let next = match self.outstanding {
            Some((_, sent)) if !self.answers && !self.never_answers => Some(sent + NEVER_ANSWERS_AFTER),
            None if self.written > self.confirmed => self.last.map(|last| last + PING_GAP),
            _ => None,
        };
        [next, self.deadline].into_iter().flatten().min()
    }

    async fn on_timer(&mut self, app: &App, session: &Session, wire: &mut Wire) -> Option<Ended> {
        let now = Instant::now();
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return Some(Ended::Lost);
        }
        if let Some((_, sent)) = self.outstanding {
            if !self.answers && now >= sent + NEVER_ANSWERS_AFTER {
                self.never_answers = true;
                self.outstanding = None;
            }
        } else if let ping @ Some(_) = self.next_ping(self.written, now)
            && wire.write(&[], ping).await.is_err()
        {
            return Some(Ended::Lost);
        }
        if self.never_answers && self.written > self.confirmed {
            self.confirmed = self.written;
            confirm(app, session, self.written);
        }
        None
    }

    /// Takes a pong's payload. Returns how many messages it confirms.
    fn on_pong(&mut self, payload: &[u8]) -> Option<u64> {
        let number = u64::from_be_bytes(payload.try_into().ok()?);
        if number > self.written {
            return None;
        }
        self.answers = true;
        self.never_answers = false;
        if self.outstanding.is_some_and(|(expected, _)| number >= expected) {
            self.outstanding = None;
            self.deadline = None;
        }
        let news = number > self.confirmed;
        self.confirmed = self.confirmed.max(number);
        news.then_some(number)
    }
}

fn confirm(app: &App, session: &Session, count: u64) {
    app.messages.confirm(session.user, app.hub.confirm(session, count));
}

/// Client frames that mean something; all else is ignored (contract: messaging §2 "Heartbeat").
#[derive(Deserialize)]
struct ClientFrame {
    #[serde(rename = "type")]
    kind: String,
    token: Option<serde_json::Value>,
}

async fn receive(
    app: &Arc<App>,
    session: &Session,
    pings: &mut Pings,
    wire: &mut Wire,
    message: Message,
) -> Option<Ended> {
    let text = match &message {
        Message::Pong(payload) => {
            if let Some(count) = pings.on_pong(payload) {
                confirm(app, session, count);
            }
            return None;
        }
        Message::Close(_) => return Some(Ended::ByPeer),
        Message::Ping(_) | Message::Frame(_) => return None,
        Message::Text(text) => text.as_str(),
        Message::Binary(bytes) => std::str::from_utf8(bytes).unwrap_or_default(),
    };
    if wants_pong(app, text) {
        let pong = json!({ "type": "pong", "timestamp": app.clock.now_ms() }).to_string();
        if wire.write(&[Frame::text(&[pong.as_bytes()])], None).await.is_err() {
            return Some(Ended::Lost);
        }
    }
    None
}

fn wants_pong(app: &App, text: &str) -> bool {
    if text == "ping" {
        return true;
    }
    let Ok(ClientFrame { kind, token }) = serde_json::from_str(text) else { return false };
    let token_holds = token
        .is_none_or(|token| token.as_str().is_some_and(|token| app.tokens.verify(token, app.clock.now_ms()).is_some()));
    kind == "ping" && token_holds
}
