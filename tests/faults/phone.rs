//! One person's phone: while it is wanted it connects, asks for what is pending, and comes back whenever the connection
//! breaks, as the client does. Whatever comes is written into the history.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::history::{Answer, Chat, Kind, Line, Receipt, Recorder, Who};
use super::load::ask;
use super::support::{Event, Person, Proxy, Socket, is_greeting, text_of};

/// Rest before the next attempt.
const REST: Duration = Duration::from_millis(25);
/// How long to wait for the next event before looking again.
const LONG: Duration = Duration::from_hours(1);

/// What the phone is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// No connection.
    Away,
    /// Connected, and back at once when the connection breaks.
    Here,
    /// Its network is gone, and neither side is told. Only for phones with a network of their own.
    Frozen,
}

/// A phone that runs until it is dropped.
pub struct Phone {
    wish: watch::Sender<Wish>,
    _running: JoinSet<()>,
}

impl Phone {
    /// With a network of its own (`own_network`) it can be frozen.
    pub fn of(who: Who, person: Person, own_network: bool, recorder: Recorder) -> Self {
        let wish = watch::Sender::new(Wish::Away);
        let handset = Handset { who, person, own_network, recorder, wish: wish.subscribe() };
        let mut running = JoinSet::new();
        running.spawn(handset.run());
        Self { wish, _running: running }
    }

    pub fn wish(&self, wish: Wish) {
        self.wish.send_if_modified(|present| std::mem::replace(present, wish) != wish);
    }

    pub fn wished(&self) -> Wish {
        *self.wish.borrow()
    }
}

struct Handset {
    who: Who,
    person: Person,
    own_network: bool,
    recorder: Recorder,
    wish: watch::Receiver<Wish>,
}

/// An open socket with the network that carries it.
struct Link {
    /// Its place in the history.
    line: usize,
    socket: Socket,
    network: Option<Proxy>,
}

impl Handset {
    async fn run(mut self) {
        // Links whose network is gone: the server has to find out by itself.
        let mut frozen: Vec<Link> = Vec::new();
        loop {
            if *self.wish.borrow_and_update() != Wish::Here {
                frozen.clear();
                if self.wish.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let Some(mut link) = self.open().await else {
                tokio::time::sleep(REST).await;
                continue;
            };
            self.talk(&mut link).await;
            if *self.wish.borrow() == Wish::Frozen {
                // The next link comes while the server may still believe in this one.
                frozen.push(link);
                if self.wish.wait_for(|wish| *wish != Wish::Frozen).await.is_err() {
                    return;
                }
            } else {
                for event in link.socket.cut_and_rest().await {
                    self.note(link.line, event);
                }
                self.edit(link.line, |line, now| line.ended = line.ended.or(Some(now)));
                tokio::time::sleep(REST).await;
            }
        }
    }

    async fn open(&self) -> Option<Link> {
        let opening = self.recorder.now();
        let network = self.own_network.then(|| Proxy::to(self.person.door.address));
        let address = network.as_ref().map_or(self.person.door.address, |network| network.address);
        let socket = Socket::try_open(address, Some(&self.person.token)).await?;
        let mut history = self.recorder.lock();
        let line = history.lines.len();
        history.lines.push(Line { who: self.who, opening, asked: None, deaf: None, ended: None });
        Some(Link { line, socket, network })
    }

    fn edit(&self, line: usize, edit: impl FnOnce(&mut Line, Duration)) {
        let now = self.recorder.now();
        edit(&mut self.recorder.lock().lines[line], now);
    }

    /// Listens until the link breaks or something else is wished for.
    async fn talk(&self, link: &mut Link) {
        let mut wish = self.wish.clone();
        let ask = self.ask();
        tokio::pin!(ask);
        let mut asked = false;
        loop {
            tokio::select! {
                biased;
                changed = wish.wait_for(|wish| *wish != Wish::Here) => {
                    if let (Ok(wish), Some(network)) = (changed, &link.network)
                        && *wish == Wish::Frozen
                    {
                        network.stall();
                        self.edit(link.line, |line, now| line.deaf = Some(now));
                    }
                    return;
                }
                () = &mut ask, if !asked => {
                    asked = true;
                    self.edit(link.line, |line, now| line.asked = Some(now));
                }
                event = link.socket.event_within(LONG) => {
                    if event.is_some_and(|event| !self.note(link.line, event)) {
                        return;
                    }
                }
            }
        }
    }

    /// Asks for what is pending until the server has taken note of it.
    async fn ask(&self) {
        loop {
            match ask(&self.recorder, &self.person, "chatGetmessageOffLine", &json!({})).await {
                (Answer::Yes, _) => return,
                (Answer::No, text) => self.recorder.wrong(format_args!("refused: p{} cannot ask: {text}", self.who)),
                (Answer::Busy | Answer::Nothing, _) => {}
            }
            tokio::time::sleep(4 * REST).await;
        }
    }

    /// Writes down what came. Returns false if it was the end.
    fn note(&self, line: usize, event: Event) -> bool {
        match event {
            Event::Frame(frame) if frame["type"] == "singleChat" && !is_greeting(&frame) => {
                self.receive(line, &frame["data"]);
                true
            }
            Event::Frame(frame) if frame["msg"] == "fail" => {
                self.recorder.wrong(format_args!("refused: a socket of p{} was told {frame}", self.who));
                true
            }
            Event::Frame(_) | Event::Ping => true,
            Event::Closed(code) => {
                self.recorder
                    .wrong(format_args!("closed: a socket of p{} got {code:?}: it logs the user out", self.who));
                false
            }
            Event::Lost => false,
        }
    }

    fn receive(&self, line: usize, message: &Value) {
        let at = self.recorder.now();
        let id = message["id"].as_str().and_then(|id| Uuid::parse_str(id).ok());
        let chat = message["sendUUid"].is_string();
        let revoked = message["actionType"] == "revoke";
        let ended = !chat && text_of(message).contains("解散了该群");
        if !chat && !revoked && !ended {
            // The other notices.
            return;
        }
        let emptied = message["isremove"] == 1;
        let mut history = self.recorder.lock();
        let number = if ended {
            message["to_id"].as_i64().and_then(|group| history.end_of(group))
        } else if revoked || emptied {
            history.messages.iter().rposition(|message| message.id.is_some() && message.id == id)
        } else {
            history.number_of(&text_of(message))
        };
        let known = number.filter(|number| {
            let known = &history.messages[*number];
            let to = match known.chat {
                Chat::Direct(who) => history.people[who],
                Chat::Group(group) => group,
            };
            revoked || ended || (message["from_id"] == history.people[known.sender] && message["to_id"] == to)
        });
        if let Some(number) = known {
            let kind = match (revoked, emptied) {
                (true, _) => Kind::Revoked,
                (_, true) => Kind::Emptied,
                _ => Kind::Whole,
            };
            history.receipts.push(Receipt { who: self.who, line, message: number, kind, at });
        } else {
            drop(history);
            self.recorder.wrong(format_args!("phantom: p{} got what nobody sent: {message}", self.who));
        }
    }
}
