//! The hub against a model: one person's sockets, a store and drains that do what `messages::delivery` does, in random
//! order. Nothing may be lost, nothing may come twice unless the socket that carried it died unconfirmed, and after the
//! client has asked nothing may overtake what is older.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use prometheus::Registry;
use proptest::prelude::*;

use super::{Confirmed, Drain, Frame, Hub, Receipt, Revoked, Socket, Step, Stream, Ticket};
use crate::ids::{MessageId, SubscriptionId, UserId};
use crate::metrics::Overflows;

const ME: UserId = UserId(7);
const GROUP: SubscriptionId = SubscriptionId(3);
/// Small, so that outboxes, pages and tails overflow.
const OUTBOX_BYTES: usize = 300;
const PAGE_MAX: usize = 3;
const SOCKETS_MAX: usize = 5;

#[derive(Clone, Debug)]
enum Op {
    Open {
        registered: bool,
    },
    Ask,
    Commit {
        direct: bool,
        size: usize,
    },
    /// One of the latest is taken back.
    Revoke {
        back: usize,
    },
    Push,
    /// Several messages at once.
    Say {
        count: usize,
        size: usize,
    },
    Take {
        socket: usize,
        bytes: usize,
    },
    Read {
        socket: usize,
        count: usize,
    },
    Pong {
        socket: usize,
        back: u64,
    },
    Die {
        socket: usize,
    },
    Mute {
        socket: usize,
    },
    Drain {
        index: usize,
        steps: usize,
    },
    /// The store does not answer a drain, which then begins again.
    Fail {
        index: usize,
    },
    Flush,
    /// So much time passes that calls for pending messages no longer count for new sockets.
    Later,
    Restart,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        3 => any::<bool>().prop_map(|registered| Op::Open { registered }),
        3 => Just(Op::Ask),
        12 => (any::<bool>(), 4_usize..120).prop_map(|(direct, size)| Op::Commit { direct, size }),
        3 => (0_usize..6).prop_map(|back| Op::Revoke { back }),
        12 => Just(Op::Push),
        4 => (2_usize..6, 60_usize..120).prop_map(|(count, size)| Op::Say { count, size }),
        8 => (0..SOCKETS_MAX, 1_usize..300).prop_map(|(socket, bytes)| Op::Take { socket, bytes }),
        8 => (0..SOCKETS_MAX, 1_usize..6).prop_map(|(socket, count)| Op::Read { socket, count }),
        6 => (0..SOCKETS_MAX, 0_u64..3).prop_map(|(socket, back)| Op::Pong { socket, back }),
        2 => (0..SOCKETS_MAX).prop_map(|socket| Op::Die { socket }),
        1 => (0..SOCKETS_MAX).prop_map(|socket| Op::Mute { socket }),
        14 => (0_usize..4, 1_usize..8).prop_map(|(index, steps)| Op::Drain { index, steps }),
        2 => (0_usize..4).prop_map(|index| Op::Fail { index }),
        4 => Just(Op::Flush),
        3 => Just(Op::Later),
        1 => Just(Op::Restart),
    ];
    proptest::collection::vec(op, 1..160)
}

/// A committed message.
#[derive(Clone, Copy, Debug)]
struct Stored {
    id: MessageId,
    stream: Stream,
    size: usize,
    /// The older message that it takes back.
    about: Option<MessageId>,
    revoked: bool,
}

/// What follows the number of a message that was taken back.
const EMPTIED: char = '-';

impl Stored {
    fn receipt(self) -> Receipt {
        Receipt { message: self.id, stream: self.stream }
    }

    fn frame(self) -> Frame {
        if self.revoked {
            return emptied(self.id);
        }
        Frame::text(&[format!("{:<width$}", self.id, width = self.size).as_bytes()])
    }
}

fn emptied(id: MessageId) -> Frame {
    Frame::text(&[format!("{id}{EMPTIED}").as_bytes()])
}

/// What `messages::store` keeps: cursors, and what was received early.
#[derive(Default)]
struct Store {
    messages: Vec<Stored>,
    inbox: MessageId,
    group: i64,
    early: BTreeSet<MessageId>,
}

impl Store {
    fn is_due(&self, message: &Stored) -> bool {
        let ahead = match message.stream {
            Stream::Direct => message.id > self.inbox,
            Stream::Group(_, seq) => seq > self.group,
        };
        ahead && !self.early.contains(&message.id)
    }

    fn page(&self, after: MessageId) -> Vec<Stored> {
        self.messages.iter().filter(|m| m.id > after && self.is_due(m)).take(PAGE_MAX).copied().collect()
    }

    fn record(&mut self, confirmed: Confirmed) {
        self.inbox = self.inbox.max(confirmed.direct.unwrap_or_default());
        self.group = confirmed.groups.iter().map(|(_, seq)| *seq).fold(self.group, i64::max);
        self.early.extend(confirmed.early);
    }
}

struct Client {
    socket: Arc<Socket>,
    alive: bool,
    asked: bool,
    muted: bool,
    /// Written to the network, not yet read by the peer.
    pipe: VecDeque<MessageId>,
    /// All that was written, in order.
    written: Vec<MessageId>,
    read: u64,
}

/// A drain as `messages::delivery` runs it, one step at a time.
struct Running {
    drain: Drain,
    position: MessageId,
    at: At,
}

enum At {
    Held,
    Flush,
    Read,
    Push { page: VecDeque<Stored>, last: bool },
    ProbeEnd { due: Vec<MessageId> },
    Over,
}

impl At {
    fn begin(drain: &Drain) -> Self {
        if drain.asked { Self::Held } else { Self::Flush }
    }
}

#[derive(Default)]
struct World {
    hub: Option<Hub>,
    store: Store,
    unpushed: VecDeque<Stored>,
    unflushed: Vec<Confirmed>,
    clients: Vec<Client>,
    drains: Vec<Running>,
    received: BTreeSet<MessageId>,
    confirmed: BTreeSet<MessageId>,
    carriers: BTreeMap<MessageId, Vec<usize>>,
    /// Those whose revocation was pushed: from then on nobody is given what they were.
    emptied: BTreeSet<MessageId>,
    group_seq: i64,
}

impl World {
    fn new() -> Self {
        Self { hub: Some(Hub::new(OUTBOX_BYTES, Overflows::new(&Registry::new()))), ..Self::default() }
    }

    fn hub(&self) -> &Hub {
        self.hub.as_ref().expect("there is always a hub")
    }

    fn alive(&self, index: usize) -> Option<usize> {
        let alive: Vec<usize> = (0..self.clients.len()).filter(|i| self.clients[*i].alive).collect();
        (!alive.is_empty()).then(|| alive[index % alive.len()])
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Open { registered } => {
                if self.clients.iter().filter(|client| client.alive).count() < SOCKETS_MAX {
                    self.open(registered);
                }
            }
            Op::Ask => self.ask(),
            Op::Commit { direct, size } => self.commit(direct, size, None),
            Op::Revoke { back } => self.revoke(back),
            Op::Push => self.push(),
            Op::Say { count, size } => {
                (0..count).for_each(|i| self.commit(i % 2 == 0, size, None));
                while !self.unpushed.is_empty() {
                    self.push();
                }
            }
            Op::Take { socket, bytes } => {
                if let Some(socket) = self.alive(socket) {
                    self.take(socket, bytes);
                }
            }
            Op::Read { socket, count } => {
                if let Some(socket) = self.alive(socket) {
                    self.read(socket, count);
                }
            }
            Op::Pong { socket, back } => {
                if let Some(socket) = self.alive(socket) {
                    self.pong(socket, back);
                }
            }
            Op::Die { socket } => {
                if let Some(socket) = self.alive(socket) {
                    self.die(socket);
                }
            }
            Op::Mute { socket } => {
                if let Some(socket) = self.alive(socket) {
                    let mark = socket.to_string();
                    self.hub().end_pushes(ME, None, &|ticket| *ticket.token_id != *mark);
                    self.clients[socket].muted = true;
                }
            }
            Op::Drain { index, steps } => {
                if !self.drains.is_empty() {
                    let index = index % self.drains.len();
                    (0..steps).for_each(|_| self.step(index));
                }
            }
            Op::Fail { index } => {
                let count = self.drains.len().max(1);
                if let Some(running) = self.drains.get_mut(index % count) {
                    running.at = At::begin(&running.drain);
                }
            }
            Op::Flush => self.flush(),
            Op::Later => self.hub().asked.clear(),
            Op::Restart => self.restart(),
        }
        self.collect_drains();
        self.check_store();
    }

    fn open(&mut self, registered: bool) {
        // The token's id is the socket's number, so that each can be muted alone.
        let ticket = Ticket::of(registered, &self.clients.len().to_string());
        let socket = self.hub().register(ME, ticket, vec![Frame::text(&[b"welcome"])]);
        let asked = socket.has_asked();
        self.clients.push(Client {
            socket,
            alive: true,
            asked,
            muted: false,
            pipe: VecDeque::new(),
            written: Vec::new(),
            read: 0,
        });
    }

    fn ask(&mut self) {
        // What was queued before the call may have overtaken older messages; what comes after may not.
        for socket in 0..self.clients.len() {
            if self.clients[socket].alive {
                self.take(socket, usize::MAX);
            }
        }
        self.hub().ask(ME);
        self.clients.iter_mut().filter(|client| client.alive).for_each(|client| client.asked = true);
    }

    fn commit(&mut self, direct: bool, size: usize, about: Option<MessageId>) {
        let id = MessageId(i64::try_from(self.store.messages.len()).unwrap() + 1);
        let stream = if direct {
            Stream::Direct
        } else {
            self.group_seq += 1;
            Stream::Group(GROUP, self.group_seq)
        };
        let message = Stored { id, stream, size, about, revoked: false };
        self.store.messages.push(message);
        self.unpushed.push_back(message);
    }

    /// Empties a message in the store, in the same transaction as its notice.
    fn revoke(&mut self, back: usize) {
        let revoked = self.store.messages.iter_mut().rev().nth(back);
        let revoked = revoked.map(|message| {
            message.revoked = true;
            message.id
        });
        self.commit(true, 10, revoked);
    }

    fn push(&mut self) {
        if let Some(message) = self.unpushed.pop_front() {
            let revoked = message.about.map(|id| Revoked { message: id, emptied: emptied(id) });
            self.hub().push(ME, &message.frame(), message.receipt(), revoked.as_ref());
            self.emptied.extend(message.about);
        }
    }

    fn take(&mut self, index: usize, bytes: usize) {
        let burst = self.clients[index].socket.take(bytes);
        let mut messages = 0;
        for frame in burst.frames {
            // Short frames have a header of two bytes.
            let text = std::str::from_utf8(&frame.bytes()[2..]).unwrap();
            let Ok(id) = text.trim_end_matches(EMPTIED).trim().parse().map(MessageId) else { continue };
            messages += 1;
            assert!(!self.clients[index].muted, "{id} goes to socket {index}, whose pushes have ended");
            assert!(!self.emptied.contains(&id) || text.ends_with(EMPTIED), "{id} was taken back before");
            self.check_carried(index, id);
            self.carriers.entry(id).or_default().push(index);
            self.clients[index].pipe.push_back(id);
            self.clients[index].written.push(id);
        }
        assert_eq!(messages, burst.messages);
    }

    /// A message is on a socket: may it be?
    fn check_carried(&self, index: usize, id: MessageId) {
        assert!(!self.confirmed.contains(&id), "{id} was confirmed and comes again");
        for carrier in self.carriers.get(&id).into_iter().flatten() {
            assert!(!self.clients[*carrier].alive, "{id} comes again while socket {carrier} that carries it lives");
        }
        let client = &self.clients[index];
        let written: BTreeSet<_> = client.written.iter().collect();
        let came_before = |older: MessageId| written.contains(&older) || self.confirmed.contains(&older);
        if client.asked {
            for older in self.store.messages.iter().map(|older| older.id).filter(|older| *older < id) {
                assert!(came_before(older), "{id} overtakes {older} on a socket that has asked");
            }
        }
        let message = self.store.messages.iter().find(|message| message.id == id).expect("it was committed");
        if let Some(about) = message.about {
            assert!(came_before(about), "{id} overtakes {about}, of which it speaks");
        }
    }

    fn read(&mut self, index: usize, count: usize) {
        let client = &mut self.clients[index];
        for _ in 0..count {
            let Some(id) = client.pipe.pop_front() else { return };
            client.read += 1;
            self.received.insert(id);
        }
    }

    fn pong(&mut self, index: usize, back: u64) {
        let client = &self.clients[index];
        let count = client.read.saturating_sub(back);
        self.confirmed.extend(&client.written[..usize::try_from(count).unwrap()]);
        let mut unflushed = std::mem::take(&mut self.unflushed);
        self.hub().confirm(&self.clients[index].socket, count, |confirmed| unflushed.push(confirmed));
        self.unflushed = unflushed;
    }

    fn die(&mut self, index: usize) {
        self.clients[index].alive = false;
        self.hub().unregister(&self.clients[index].socket.clone());
    }

    fn flush(&mut self) {
        for confirmed in std::mem::take(&mut self.unflushed) {
            self.store.record(confirmed);
        }
    }

    /// kill -9 and a start: only the store is left.
    fn restart(&mut self) {
        self.clients.iter_mut().for_each(|client| client.alive = false);
        self.drains.clear();
        self.unflushed.clear();
        self.unpushed.clear();
        let store = &self.store;
        self.confirmed.retain(|id| store.messages.iter().any(|m| m.id == *id && !store.is_due(m)));
        self.hub = Some(Hub::new(OUTBOX_BYTES, Overflows::new(&Registry::new())));
    }

    fn collect_drains(&mut self) {
        let new: Vec<Drain> = self.hub().drains.lock().unwrap().drain(..).collect();
        for drain in new {
            let at = At::begin(&drain);
            self.drains.push(Running { drain, position: MessageId::default(), at });
        }
        self.drains.retain(|running| !matches!(running.at, At::Over));
    }

    fn step(&mut self, index: usize) {
        let Some(mut running) = (index < self.drains.len()).then(|| self.drains.swap_remove(index)) else { return };
        let hub = self.hub.as_ref().expect("there is always a hub");
        let Running { drain, position, at } = &mut running;
        match at {
            At::Held => match hub.held_elsewhere(drain) {
                Some(true) => {}
                Some(false) => *at = At::Flush,
                None => *at = At::Over,
            },
            At::Flush => {
                self.flush();
                *at = At::Read;
            }
            At::Read => {
                let page = self.store.page(*position);
                let last = page.len() < PAGE_MAX;
                if drain.asked {
                    *at = At::Push { page: page.into(), last };
                } else {
                    let due = page.iter().map(|message| message.id).collect();
                    *at = if last { At::ProbeEnd { due } } else { At::Over };
                }
            }
            At::ProbeEnd { due } => {
                hub.probe_end(drain, due);
                *at = At::Over;
            }
            At::Push { page, last } => match page.front() {
                Some(message) => match hub.drain_push(drain, &message.frame(), message.receipt()) {
                    Step::Done => {
                        *position = message.id;
                        page.pop_front();
                    }
                    Step::Full => {}
                    Step::Over => *at = At::Over,
                },
                None if *last => match hub.drain_end(drain, *position) {
                    None => *at = At::Over,
                    Some(on_from) => {
                        *position = on_from;
                        *at = At::Read;
                    }
                },
                None => *at = At::Read,
            },
            At::Over => {}
        }
        self.drains.push(running);
        self.collect_drains();
    }

    /// What the store takes for delivered, a peer has.
    fn check_store(&self) {
        for message in &self.store.messages {
            assert!(self.store.is_due(message) || self.received.contains(&message.id), "{} is lost", message.id);
        }
        assert_eq!(self.hub().online.get(ME), self.clients.iter().any(|client| client.alive));
    }

    /// Everybody reads, answers and drains until nothing moves.
    fn settle(&mut self) {
        for _ in 0..self.store.messages.len() * 4 + 50 {
            while !self.unpushed.is_empty() {
                self.push();
            }
            for socket in 0..self.clients.len() {
                if self.clients[socket].alive {
                    self.take(socket, usize::MAX);
                    self.read(socket, usize::MAX);
                    self.pong(socket, 0);
                }
            }
            self.collect_drains();
            (0..self.drains.len() * 4).for_each(|i| self.step(i % self.drains.len().max(1)));
            self.flush();
        }
        assert!(self.drains.is_empty(), "every drain ends once its reader reads");
        self.check_store();
    }

    fn finish(&mut self) {
        self.settle();
        // A client that asks gets everything, whatever happened before.
        self.open(true);
        self.ask();
        self.settle();
        for message in &self.store.messages {
            assert!(self.received.contains(&message.id), "{} never came", message.id);
        }
        // From here on pushes are live: nothing waits for another drain.
        self.commit(true, 10, None);
        self.push();
        assert!(self.hub().drains.lock().unwrap().is_empty());
        let socket = self.clients.len() - 1;
        self.take(socket, usize::MAX);
        self.read(socket, usize::MAX);
        assert!(self.received.contains(&self.store.messages.last().unwrap().id));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_nothing_doubles_and_nothing_overtakes(ops in ops()) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
        }
        world.finish();
    }
}
