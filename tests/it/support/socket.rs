//! A client's socket: a task reads it all the time, so that pings are answered as every WebSocket stack answers them.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use super::{PATIENCE, Person, SILENCE, described};

/// Frames that may wait for the test to look at them.
const WAITING_MAX: usize = 100_000;
/// Keys of the cards that greet a socket (contract: messaging §2).
const GREETINGS: [&str; 10] = [
    "visitorLogin",
    "groupList",
    "whoCanChatMe",
    "setPassword",
    "friendsList",
    "userInfoSet",
    "myQrcode",
    "search",
    "applyAddMeFriendSet",
    "AskAndAnswerSet",
];

/// What happened on a socket.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A text frame, parsed.
    Frame(Value),
    /// A ping frame came, and was answered.
    Ping,
    /// A close frame came, with this code.
    Closed(Option<u16>),
    /// TCP ended without a close frame.
    Lost,
}

/// An open socket of somebody.
pub struct Socket {
    /// Whose it is, if it was opened by a person.
    pub owner: Option<Person>,
    /// The welcome frame.
    pub welcome: Value,
    /// Message objects of the greeting cards that came so far.
    pub cards: Vec<Value>,
    events: mpsc::Receiver<Event>,
    outgoing: mpsc::Sender<Message>,
    task: JoinSet<()>,
}

impl Socket {
    /// Opens `/ws` with a token, or without; nothing is read yet.
    pub async fn open(address: SocketAddr, token: Option<&str>) -> Self {
        Self::try_open(address, token).await.expect("the upgrade is accepted")
    }

    /// The same of a server that may be away.
    pub async fn try_open(address: SocketAddr, token: Option<&str>) -> Option<Self> {
        let query = token.map(|token| format!("?token={token}")).unwrap_or_default();
        let (mut stream, _) = tokio_tungstenite::connect_async(format!("ws://{address}/ws{query}")).await.ok()?;
        let (events_in, events) = mpsc::channel(WAITING_MAX);
        let (outgoing, mut to_send) = mpsc::channel(16);
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                let event = tokio::select! {
                    message = to_send.recv() => {
                        let Some(message) = message else { return };
                        // A broken stream shows up in the reading half.
                        let _ = stream.send(message).await;
                        continue;
                    }
                    received = stream.next() => match received {
                        Some(Ok(Message::Text(text))) => {
                            Event::Frame(serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.to_string())))
                        }
                        Some(Ok(Message::Ping(_))) => {
                            // The pong waits in the stream until something is written.
                            let _ = stream.flush().await;
                            Event::Ping
                        }
                        Some(Ok(Message::Close(frame))) => Event::Closed(frame.map(|frame| frame.code.into())),
                        Some(Ok(_)) => continue,
                        Some(Err(_)) | None => Event::Lost,
                    },
                };
                let over = matches!(event, Event::Closed(_) | Event::Lost);
                if events_in.send(event).await.is_err() || over {
                    // The answer to a close frame is written by the next poll.
                    while let Some(Ok(_)) = stream.next().await {}
                    return;
                }
            }
        });
        Some(Self { owner: None, welcome: Value::Null, cards: Vec::new(), events, outgoing, task })
    }

    /// Waits for the welcome and the last card that everybody gets.
    pub(super) async fn greeted(&mut self) {
        self.welcome = self.next_frame().await;
        assert_eq!(self.welcome["type"], "system", "the first frame is the welcome: {}", self.welcome);
        loop {
            let frame = self.next_frame().await;
            assert!(is_greeting(&frame), "a greeting card, not {frame}");
            let key = frame["data"]["msgidKey"].as_str().unwrap_or_default().to_owned();
            self.cards.push(frame["data"].clone());
            if key.starts_with("redirect-AskAndAnswerSet-") || key.starts_with("redirect-visitorLogin-") {
                return;
            }
        }
    }

    /// Asks for what is pending, as the client does when its socket opens.
    pub async fn ask(&self) {
        let owner = self.owner.as_ref().expect("the socket was opened by a person");
        assert_eq!(owner.post("chatGetmessageOffLine", json!({})).await.ok(), "ok");
    }

    /// The next thing that happens, or `None` after `wait`.
    pub async fn event_within(&mut self, wait: Duration) -> Option<Event> {
        let event = tokio::time::timeout(wait, self.events.recv()).await.ok()?.unwrap_or(Event::Lost);
        if let Event::Frame(frame) = &event {
            described::check_frame(frame);
        }
        Some(event)
    }

    /// The next text frame of any kind but the heartbeat.
    pub async fn next_frame(&mut self) -> Value {
        loop {
            match self.event_within(PATIENCE).await {
                Some(Event::Ping) => {}
                Some(Event::Frame(frame)) if frame["type"] == "ping" => {}
                Some(Event::Frame(frame)) => return frame,
                Some(over) => panic!("the socket ended while a frame was expected: {over:?}"),
                None => panic!("no frame came in time"),
            }
        }
    }

    /// The next message object that is not a greeting card.
    pub async fn next_message(&mut self) -> Value {
        loop {
            let mut frame = self.next_frame().await;
            if is_greeting(&frame) {
                self.cards.push(frame["data"].take());
            } else if frame["type"] == "singleChat" {
                return frame["data"].take();
            }
        }
    }

    /// The next `count` message objects.
    pub async fn next_messages(&mut self, count: usize) -> Vec<Value> {
        let mut messages = Vec::with_capacity(count);
        while messages.len() < count {
            messages.push(self.next_message().await);
        }
        messages
    }

    /// The text of the next message.
    pub async fn next_text(&mut self) -> String {
        text_of(&self.next_message().await)
    }

    /// Panics if a message comes, or if the socket ends.
    pub async fn expect_silence(&mut self) {
        let deadline = tokio::time::Instant::now() + SILENCE;
        loop {
            match self.event_within(deadline.saturating_duration_since(tokio::time::Instant::now())).await {
                None => return,
                Some(Event::Ping) => {}
                Some(Event::Frame(frame)) if frame["type"] == "ping" || is_greeting(&frame) => {}
                Some(other) => panic!("nothing was expected, but this came: {other:?}"),
            }
        }
    }

    /// Waits for the end; the code of the close frame. Panics if TCP ended without a frame.
    pub async fn close_code(&mut self) -> Option<u16> {
        match self.ending().await {
            Event::Closed(code) => code,
            other => panic!("a close frame was expected, not {other:?}"),
        }
    }

    /// Waits for the end, whatever it is.
    pub async fn ending(&mut self) -> Event {
        loop {
            match self.event_within(PATIENCE).await {
                Some(end @ (Event::Closed(_) | Event::Lost)) => return end,
                Some(_) => {}
                None => panic!("the socket did not end in time"),
            }
        }
    }

    /// Sends a text frame.
    pub async fn send(&self, text: &str) {
        self.outgoing.send(Message::Text(text.into())).await.expect("the socket is open");
    }

    /// Says goodbye with a close frame.
    pub async fn close(self) {
        assert!(!self.outgoing.is_closed(), "the socket is open");
        self.close_and_rest().await;
    }

    /// The same of a socket that may have ended. Returns what came until then and was not looked at: it may have been confirmed.
    pub async fn close_and_rest(self) -> Vec<Event> {
        // An end shows up in the rest.
        let _ = self.outgoing.send(Message::Close(None)).await;
        self.rest().await
    }

    /// Waits for the end, whatever it is. Returns what came before it.
    pub async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            match self.event_within(PATIENCE).await {
                Some(Event::Closed(_) | Event::Lost) => return events,
                Some(event) => events.push(event),
                None => panic!("the socket did not end in time"),
            }
        }
    }

    /// Drops TCP without a close frame.
    pub async fn cut(self) {
        self.cut_and_rest().await;
    }

    /// The same. Returns what had come and was not looked at: it may have been confirmed.
    pub async fn cut_and_rest(mut self) -> Vec<Event> {
        self.task.shutdown().await;
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }
}

/// The text of a message object: of one that a person sent (JSON text) or of a notice (an object).
pub fn text_of(message: &Value) -> String {
    let data = match &message["data"] {
        Value::String(text) => serde_json::from_str(text).unwrap_or(Value::Null),
        other => other.clone(),
    };
    data["data"].as_str().unwrap_or_else(|| panic!("a message with text, not {message}")).to_owned()
}

/// Whether a frame is one of the cards that greet each socket.
pub fn is_greeting(frame: &Value) -> bool {
    let key = frame["data"]["msgidKey"].as_str().and_then(|key| key.strip_prefix("redirect-")).unwrap_or_default();
    key.rsplit_once('-').is_some_and(|(kind, _)| GREETINGS.contains(&kind))
}
