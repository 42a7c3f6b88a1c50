//! One socket's task: writes bursts, pings after them, and turns pongs into confirmations (decision 26).

use std::time::Duration;

use axum::body::Bytes;
use prometheus::IntCounter;
use serde::Deserialize;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use utoipa::ToSchema;

use super::CLOSE_WAIT;
use super::pings::{DOUBT, Gone, Pings, UNPROVED_STALL_MAX, slowly};
use super::signal::Signal;
use super::wire::Wire;
use crate::app::App;
use crate::http::json;
use crate::hub::{Burst, Ending, Socket};

/// Bytes taken from the queue at a time.
const BURST_BYTES: usize = 64 * 1024;
/// How long a stop waits for the pong of what was written: what has none comes again after the restart.
const LAST_PONG: Duration = Duration::from_millis(200);

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The peer said goodbye.
    ByPeer,
    /// The network broke.
    Lost,
    /// A peer that used to answer pings stopped, or did not prove in time that it lives.
    Unanswered,
    /// The peer took no bytes for too long.
    Stalled,
    /// Its token was replaced.
    Superseded,
    /// The server stops.
    ByServer,
}

/// What goes on until the connection ends; the end is the error.
type Going = Result<(), Ended>;

struct Connection<'a> {
    app: &'a App,
    socket: &'a Socket,
    wire: &'a mut Wire,
    pings: Pings,
    /// How many messages count as received.
    received: u64,
    /// A frame is only half written.
    torn: bool,
}

/// Serves the socket until it ends, and confirms what the peer has received.
pub async fn run(app: &App, wire: &mut Wire, socket: &Socket) -> Ended {
    let pings = Pings::new(Duration::from_secs(app.config.ws.pong_timeout_s), socket.answers_pings());
    let mut connection = Connection { app, socket, wire, pings, received: 0, torn: false };
    connection.set_patience();
    // Around everything, so that a stop waits for no peer that is slow to take its bytes.
    let ended = tokio::select! {
        biased;
        () = app.stop.cancelled() => None,
        ended = connection.serve() => Some(ended),
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        // What a peer does not confirm in time comes again.
        let _ = Box::pin(timeout(LAST_PONG, connection.settle())).await;
        Ended::ByServer
    };
    let others_answer = app.hub.answers_pings(socket.user);
    let received = connection.pings.end(ended == Ended::ByPeer, Instant::now(), others_answer);
    connection.confirm(received, &app.metrics.messages.confirmed_unproved);
    ended
}

impl Connection<'_> {
    async fn serve(&mut self) -> Ended {
        loop {
            let due = self.pings.due(Instant::now());
            let went = tokio::select! {
                biased;
                received = self.wire.recv() => match received {
                    Some(Ok(message)) => self.receive(message).await,
                    Some(Err(_)) => Err(Ended::Lost),
                    None => Err(Ended::ByPeer),
                },
                () = self.socket.doubted() => {
                    self.pings.doubt(Instant::now());
                    self.ping().await
                }
                () = self.socket.woken(), if self.pings.window_open() => self.write().await,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.on_timer().await,
            };
            if let Err(ended) = went {
                return ended;
            }
            if self.pings.window_open() {
                self.socket.note_writable();
            }
        }
    }

    /// How long our kernel keeps retrying data that the peer's does not acknowledge. As long as the peer has answered no ping, it
    /// must end a connection whose network is broken before the silence counts as that of a mute peer.
    fn set_patience(&self) {
        // Twice our own patience with a burst, which ends first as a rule.
        let patience = 2 * (Duration::from_secs(self.app.config.ws.stall_timeout_s) + slowly(BURST_BYTES as u64));
        self.wire.set_patience(if self.pings.answers_pings() { patience } else { patience.min(UNPROVED_STALL_MAX) });
    }

    /// Lets the peer confirm what it has been sent. Nothing new is sent: it is pending, and comes after the restart.
    async fn settle(&mut self) {
        if self.torn {
            return;
        }
        if let ping @ Some(_) = self.pings.last_ping(Instant::now())
            && self.wire.start(&[], ping).is_ok_and(|rest| !rest.is_empty())
        {
            return;
        }
        while !self.pings.is_settled() {
            match self.wire.recv().await {
                Some(Ok(Message::Pong(payload))) => self.on_pong(&payload),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            }
        }
    }

    /// Writes what is queued, and a ping after it, unless it must wait.
    async fn write(&mut self) -> Going {
        let now = Instant::now();
        if self.pings.hold(now) {
            return Ok(());
        }
        let Burst { frames, messages, bytes, beat, ending } = self.socket.take(BURST_BYTES);
        self.pings.wrote(messages, bytes, now);
        if beat {
            self.pings.beat(now);
        }
        let ping = self.pings.next_ping(now);
        let rest = self.wire.start(&frames, ping).map_err(|_| Ended::Lost)?;
        drop(frames);
        self.finish(rest, bytes).await?;
        self.app.metrics.messages.delivered.inc_by(messages);
        match ending {
            None => Ok(()),
            Some(Ending::Drop) => Err(Ended::ByServer),
            Some(Ending::Close(code)) => Box::pin(self.say_goodbye(code)).await,
        }
    }

    /// Writes a ping, if one is due.
    async fn ping(&mut self) -> Going {
        let ping @ Some(_) = self.pings.next_ping(Instant::now()) else { return Ok(()) };
        let rest = self.wire.start(&[], ping).map_err(|_| Ended::Lost)?;
        self.finish(rest, 0).await
    }

    async fn on_timer(&mut self) -> Going {
        let (app, user) = (self.app, self.socket.user);
        let received = self.pings.on_timer(Instant::now(), || app.hub.answers_pings(user));
        let received = received.map_err(|Gone| Ended::Unanswered)?;
        self.confirm(received, &app.metrics.messages.confirmed_unproved);
        self.ping().await
    }

    async fn receive(&mut self, message: Message) -> Going {
        let text = match &message {
            Message::Pong(payload) => {
                self.on_pong(payload);
                return Ok(());
            }
            Message::Close(_) => {
                // The answer is written by the next call: without it a client that closed its socket would see the
                // connection break, and reconnect.
                let _ = Box::pin(timeout(CLOSE_WAIT, self.wire.recv())).await;
                return Err(Ended::ByPeer);
            }
            Message::Ping(_) | Message::Frame(_) => return Ok(()),
            Message::Text(text) => text.as_str(),
            Message::Binary(bytes) => std::str::from_utf8(bytes).unwrap_or_default(),
        };
        if !wants_pong(self.app, text) {
            return Ok(());
        }
        let pong = Signal::Pong { timestamp: self.app.clock.now_ms() }.frame();
        let rest = self.wire.start(&[pong], None).map_err(|_| Ended::Lost)?;
        self.finish(rest, 0).await
    }

    /// Writes what the network did not take at once, part of a burst of so many bytes; unless the peer takes none for too
    /// long, or another socket of the same person waits for what this one holds.
    async fn finish(&mut self, rest: Vec<Bytes>, bytes: usize) -> Going {
        if rest.is_empty() {
            return Ok(());
        }
        self.torn = true;
        let (socket, wire) = (self.socket, &mut *self.wire);
        let limit = Duration::from_secs(self.app.config.ws.stall_timeout_s) + slowly(bytes as u64);
        // Boxed, because few writes get here and each socket would have to keep the room for it.
        Box::pin(async move {
            tokio::select! {
                biased;
                done = wire.finish(&rest) => done.map_err(|_| Ended::Lost),
                () = sleep(limit) => Err(Ended::Stalled),
                () = async { socket.doubted().await; sleep(DOUBT).await } => Err(Ended::Unanswered),
            }
        })
        .await?;
        self.torn = false;
        Ok(())
    }

    fn on_pong(&mut self, payload: &[u8]) {
        let waits = self.pings.is_held();
        let received = self.pings.pong(payload);
        if waits && !self.pings.is_held() {
            self.socket.wake();
        }
        if self.pings.answers_pings() && self.socket.mark_answers_pings() {
            self.set_patience();
            self.app.messages.note_answers_pings(self.socket);
        }
        self.confirm(received, &self.app.metrics.messages.confirmed_by_pong);
    }

    /// Closes with a code. What the peer has answered by then still counts.
    async fn say_goodbye(&mut self, code: u16) -> Going {
        let goodbye = async {
            self.wire.close(Some(code)).await?;
            while let Some(Ok(message)) = self.wire.recv().await {
                if let Message::Pong(payload) = message {
                    self.on_pong(&payload);
                }
            }
            Ok::<_, std::io::Error>(())
        };
        // A peer that does not answer the close frame is dropped all the same.
        let _ = timeout(CLOSE_WAIT, goodbye).await;
        Err(Ended::Superseded)
    }

    fn confirm(&mut self, received: Option<u64>, counter: &IntCounter) {
        if let Some(count) = received {
            counter.inc_by(count - self.received);
            self.received = count;
            let (app, user) = (self.app, self.socket.user);
            app.hub.confirm(self.socket, count, |confirmed| app.messages.confirm(user, confirmed));
        }
    }
}

/// What a client may send; all else is ignored.
// contract: messaging §2 "Heartbeat"
#[derive(Debug, Deserialize, ToSchema)]
pub struct ClientFrame {
    #[serde(rename = "type")]
    #[schema(inline)]
    kind: ClientSignal,
    /// May be left out; one that is there must hold, and "" does not.
    token: Option<serde_json::Value>,
}

/// What a client may say.
#[derive(Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ClientSignal {
    Ping,
    Pong,
}

fn wants_pong(app: &App, text: &str) -> bool {
    if text == "ping" {
        return true;
    }
    let Ok(ClientFrame { kind, token }) = json::parse(text.as_bytes()) else { return false };
    let token_holds = token
        .is_none_or(|token| token.as_str().is_some_and(|token| app.tokens.verify(token, app.clock.now_ms()).is_some()));
    kind == ClientSignal::Ping && token_holds
}
