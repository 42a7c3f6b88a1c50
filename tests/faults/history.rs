//! What happened: every call that was made and what became of it, every frame that somebody got, every fault. Written as
//! it happens by whoever does it, read by `check` after each round.

use std::collections::HashSet;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use uuid::Uuid;

/// A person, by place in the world's list.
pub type Who = usize;
/// Nobody: notices that the server sends.
pub const SERVER: Who = Who::MAX;
/// A message, by place in the history.
pub type Number = usize;
/// Time since the history began.
pub type Moment = Duration;

/// Where a message was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Chat {
    Direct(Who),
    Group(i64),
}

/// What the server said to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 200: it is done, and will stay so.
    Yes,
    /// A refusal by a rule (400): nothing was done.
    No,
    /// 503: told to try again. It may have been done all the same.
    Busy,
    /// Nothing came back.
    Nothing,
}

/// One call from just before it was made until its answer.
#[derive(Clone, Debug)]
pub struct Call {
    pub began: Moment,
    /// `None` while it runs.
    pub ended: Option<(Moment, Answer)>,
}

impl Call {
    pub fn answer(&self) -> Answer {
        self.ended.map_or(Answer::Nothing, |(_, answer)| answer)
    }

    pub fn is_yes(&self) -> bool {
        self.answer() == Answer::Yes
    }

    pub fn end(&self) -> Moment {
        self.ended.map_or(Moment::MAX, |(at, _)| at)
    }
}

#[derive(Clone, Debug)]
pub struct Message {
    pub sender: Who,
    pub chat: Chat,
    pub call: Call,
    /// Characters beside its number.
    pub size: usize,
    /// The notice of a group's end, which is sent by ending it.
    pub ends_group: bool,
    /// The server's id of it, if it was acknowledged.
    pub id: Option<Uuid>,
}

/// Somebody comes into a group or goes out of it.
#[derive(Clone, Debug)]
pub struct Change {
    pub group: i64,
    pub who: Who,
    pub comes: bool,
    pub call: Call,
}

#[derive(Clone, Debug)]
pub struct Revoke {
    pub message: Number,
    pub call: Call,
}

/// A socket of somebody, from the connect to its end.
#[derive(Clone, Debug)]
pub struct Line {
    pub who: Who,
    pub opening: Moment,
    /// When the call for pending messages was answered.
    pub asked: Option<Moment>,
    /// From then on no pong came through.
    pub deaf: Option<Moment>,
    pub ended: Option<Moment>,
}

impl Line {
    /// Until when its pongs can have reached the server.
    pub fn heard_until(&self) -> Option<Moment> {
        self.deaf.into_iter().chain(self.ended).min()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The message as it was sent.
    Whole,
    /// What is left of a revoked one.
    Emptied,
    /// That it was revoked.
    Revoked,
}

/// Something about a message came by a socket.
#[derive(Clone, Copy, Debug)]
pub struct Receipt {
    pub who: Who,
    pub line: usize,
    pub message: Number,
    pub kind: Kind,
    pub at: Moment,
}

/// Somebody, and of a message either the message, or (true) that it was revoked.
pub type Item = (Who, Number, bool);

impl Receipt {
    pub fn item(&self) -> Item {
        (self.who, self.message, self.kind == Kind::Revoked)
    }
}

/// A fault, from its beginning until nothing stands in the way any more.
#[derive(Clone, Debug)]
pub struct Trouble {
    pub name: String,
    pub began: Moment,
    pub healed: Option<Moment>,
    /// Whether the store is concerned: then confirmations wait too, and 503 is the right answer.
    pub store: bool,
}

#[derive(Clone, Debug, Default)]
pub struct History {
    pub round: u32,
    /// Ids of the people on the wire, by place.
    pub people: Vec<i64>,
    pub messages: Vec<Message>,
    pub changes: Vec<Change>,
    pub revokes: Vec<Revoke>,
    pub lines: Vec<Line>,
    pub receipts: Vec<Receipt>,
    pub troubles: Vec<Trouble>,
    /// When a server process ended.
    pub deaths: Vec<Moment>,
    /// When a 503 came.
    pub busy: Vec<Moment>,
    /// What must never happen, in words; the checks add theirs.
    pub wrongs: Vec<String>,
    /// The first message, and the first receipt, of the present round.
    pub first: Number,
    pub first_receipt: usize,
    /// What people had before the receipts that are kept.
    pub had: HashSet<Item>,
}

impl History {
    /// Begins a round. Receipts of the one before are kept: what comes now may repeat them.
    pub fn next_round(&mut self) {
        self.round += 1;
        for receipt in self.receipts.drain(..self.first_receipt) {
            self.had.insert(receipt.item());
        }
        self.first = self.messages.len();
        self.first_receipt = self.receipts.len();
    }

    /// Messages of the present round with their numbers.
    pub fn current(&self) -> impl Iterator<Item = (Number, &Message)> {
        self.messages.iter().enumerate().skip(self.first)
    }

    /// The number of a text that was sent, if it is whole.
    pub fn number_of(&self, sent: &str) -> Option<Number> {
        let number: Number = sent.strip_prefix('m')?.split(' ').next()?.parse().ok()?;
        let message = self.messages.get(number)?;
        (text(number, message.size) == sent).then_some(number)
    }

    /// The number of the notice that a group was ended.
    pub fn end_of(&self, group: i64) -> Option<Number> {
        self.messages.iter().rposition(|message| message.ends_group && message.chat == Chat::Group(group))
    }
}

/// The history that everybody writes.
#[derive(Clone)]
pub struct Recorder {
    origin: Instant,
    history: Arc<Mutex<History>>,
}

impl Recorder {
    pub fn new() -> Self {
        Self { origin: Instant::now(), history: Arc::default() }
    }

    pub fn now(&self) -> Moment {
        self.origin.elapsed()
    }

    pub fn lock(&self) -> MutexGuard<'_, History> {
        self.history.lock().expect("no code panics while it holds this lock")
    }

    /// As it is now, to be looked through in a time in which phones must write: those that cannot answer no pings.
    pub fn copy(&self) -> History {
        self.lock().clone()
    }

    /// A call that begins now.
    pub fn call(&self) -> Call {
        Call { began: self.now(), ended: None }
    }

    pub fn wrong(&self, what: impl fmt::Display) {
        let at = self.now();
        let mut history = self.lock();
        let round = history.round;
        history.wrongs.push(format!("round {round}, {}: {what}", Shown(at)));
    }
}

/// The text of a message.
pub fn text(number: Number, size: usize) -> String {
    format!("m{number} {}", "青".repeat(size))
}

/// Seconds to the millisecond.
pub struct Shown(pub Moment);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == Moment::MAX { f.write_str("never") } else { write!(f, "{:.3} s", self.0.as_secs_f64()) }
    }
}

impl History {
    /// All of it in the order of time, for whoever must find out what went wrong.
    pub fn told(&self) -> String {
        let mut events: Vec<(Moment, String)> = Vec::new();
        let mut call = |call: &Call, what: String| {
            events.push((call.began, format!("{what}?")));
            if let Some((at, answer)) = &call.ended {
                events.push((*at, format!("{what}: {answer:?}")));
            }
        };
        for (number, message) in self.messages.iter().enumerate() {
            let id = message.id.map(|id| format!(" ({id})")).unwrap_or_default();
            let verb = if message.ends_group { "ends, of which m" } else { "sends m" };
            let sender = if message.sender == SERVER { "the owner".to_owned() } else { format!("p{}", message.sender) };
            call(&message.call, format!("{sender} {verb}{number} tells {:?}{id}", message.chat));
        }
        for change in &self.changes {
            let verb = if change.comes { "into" } else { "out of" };
            call(&change.call, format!("p{} goes {verb} group {}", change.who, change.group));
        }
        for revoke in &self.revokes {
            call(&revoke.call, format!("m{} is revoked", revoke.message));
        }
        for (place, line) in self.lines.iter().enumerate() {
            let moments =
                [(Some(line.opening), "opens"), (line.asked, "has asked by"), (line.deaf, "hears no more by")];
            for (at, what) in moments.into_iter().chain([(line.ended, "has lost")]) {
                events.extend(at.map(|at| (at, format!("p{} {what} socket {place}", line.who))));
            }
        }
        for Receipt { who, line, message, kind, at } in &self.receipts {
            events.push((*at, format!("p{who} gets m{message} by socket {line}: {kind:?}")));
        }
        for trouble in &self.troubles {
            events.push((trouble.began, format!("=== {}", trouble.name)));
            events.extend(trouble.healed.map(|at| (at, format!("=== {} is over", trouble.name))));
        }
        events.extend(self.deaths.iter().map(|at| (*at, "=== the server has ended".to_owned())));
        events.sort_by_key(|(at, _)| *at);
        events.iter().fold(String::new(), |mut told, (at, what)| {
            writeln!(told, "{} {what}", Shown(*at)).expect("a text takes everything");
            told
        })
    }
}
