//! Phones on a bad network, all at once: they open sockets, ask, lose them, come back, read slowly or not at all, while
//! people write to them. In the end each has every message, and each socket that asked had them in order.
//! `QINGNIAO_CHAOS_SECONDS` makes it longer, `QINGNIAO_CHAOS_SEED` repeats the choices of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{Event, Person, Proxy, Socket, TestServer, is_greeting, text_of};

const PHONES: usize = 6;
const SENDERS: usize = 3;
/// What was received this long before its socket ended was confirmed.
const CONFIRMED_AFTER: Duration = Duration::from_secs(2);

/// What came by one socket.
struct Track {
    texts: Vec<(String, Instant)>,
    /// How many of them may have overtaken older ones, because the client had not asked yet.
    before_asking: usize,
    /// When it ended, or first stalled: from then on its pongs may not have come through.
    ended: Option<Instant>,
}

impl Track {
    /// Takes note of an event. Returns false when the socket has ended.
    fn note(&mut self, event: Event) -> bool {
        match event {
            Event::Frame(frame) if frame["type"] == "singleChat" && !is_greeting(&frame) => {
                self.texts.push((text_of(&frame["data"]), Instant::now()));
            }
            Event::Frame(_) | Event::Ping => {}
            Event::Closed(code) => panic!("the server closed a socket with {code:?}"),
            Event::Lost => return false,
        }
        true
    }

    fn end(&mut self) {
        self.ended.get_or_insert_with(Instant::now);
    }
}

/// An open socket of a phone, by its own network.
struct Line {
    socket: Socket,
    network: Proxy,
    track: Track,
    stalled: bool,
}

impl Line {
    async fn open(phone: &Person) -> Self {
        let network = Proxy::to(phone.door.address);
        let socket = Socket::open(network.address, Some(&phone.token)).await;
        let track = Track { texts: Vec::new(), before_asking: 0, ended: None };
        Self { socket, network, track, stalled: false }
    }

    /// Takes what has come by now. Returns false when the socket has ended.
    async fn read(&mut self, wait: Duration) -> bool {
        while let Some(event) = self.socket.event_within(wait).await {
            if !self.track.note(event) {
                return false;
            }
        }
        true
    }

    async fn end(mut self, how: usize) -> Track {
        self.track.end();
        // Whatever came to the client's stack was received: its pong may be out already.
        let rest = match how {
            _ if self.stalled => self.socket.cut_and_rest().await,
            0 => self.socket.close_and_rest().await,
            1 => {
                self.network.cut().await;
                self.socket.rest().await
            }
            _ => self.socket.cut_and_rest().await,
        };
        for event in rest {
            self.track.note(event);
        }
        self.track
    }
}

/// One phone until `over`: returns what came by each of its sockets.
async fn phone(phone: Person, mut rng: StdRng, over: Arc<AtomicBool>) -> Vec<Track> {
    let mut tracks = Vec::new();
    let mut lines: Vec<Line> = Vec::new();
    while !over.load(Ordering::Relaxed) {
        match rng.random_range(0..10) {
            0 | 1 if lines.len() < 4 => {
                lines.push(Line::open(&phone).await);
                if rng.random_bool(0.7) {
                    ask(&phone, &mut lines).await;
                }
            }
            2 => ask(&phone, &mut lines).await,
            3 if !lines.is_empty() => {
                let line = lines.swap_remove(rng.random_range(0..lines.len()));
                tracks.push(line.end(rng.random_range(0..3)).await);
            }
            4 if !lines.is_empty() => {
                let place = rng.random_range(0..lines.len());
                let line = &mut lines[place];
                line.stalled = !line.stalled;
                if line.stalled {
                    line.track.end();
                    line.network.stall();
                } else {
                    line.network.resume();
                }
            }
            _ => {
                let mut alive = Vec::new();
                for mut line in lines.drain(..) {
                    if line.read(Duration::ZERO).await {
                        alive.push(line);
                    } else {
                        line.track.end();
                        tracks.push(line.track);
                    }
                }
                lines = alive;
            }
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..60))).await;
    }
    for line in lines {
        tracks.push(line.end(rng.random_range(0..3)).await);
    }
    tracks
}

async fn ask(phone: &Person, lines: &mut [Line]) {
    phone.post("chatGetmessageOffLine", json!({})).await.ok();
    // What comes now may still have been on its way before the call, and what a stalled network holds comes at any time.
    tokio::time::sleep(Duration::from_millis(30)).await;
    for line in lines {
        line.read(Duration::ZERO).await;
        if line.track.before_asking == 0 {
            line.track.before_asking = if line.stalled { usize::MAX } else { line.track.texts.len() };
        }
    }
}

/// Writes to all phones in turn until `over`: what was acknowledged, by phone.
async fn sender(me: Person, phones: Vec<Person>, over: Arc<AtomicBool>) -> BTreeMap<i64, Vec<String>> {
    let mut acknowledged: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for count in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        for phone in &phones {
            let text = format!("{}/{count}", me.id);
            me.say(phone, &text).await.ok();
            acknowledged.entry(phone.id).or_default().push(text);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    acknowledged
}

/// Checks what one phone got. Returns how many messages came more than once.
fn check(acknowledged: &BTreeSet<&str>, tracks: &[Track]) -> usize {
    let mut seen: BTreeMap<&str, (Instant, Option<Instant>)> = BTreeMap::new();
    let mut doubled = 0;
    for track in tracks {
        let mut latest: BTreeMap<&str, u64> = BTreeMap::new();
        let mut here = BTreeSet::new();
        for (place, (text, at)) in track.texts.iter().enumerate() {
            assert!(here.insert(text), "{text} came twice by one socket");
            assert!(acknowledged.contains(text.as_str()), "{text} was never acknowledged");
            let (sender, count) = text.split_once('/').unwrap();
            // What came before the call may have overtaken older messages.
            if place >= track.before_asking {
                let count: u64 = count.parse().unwrap();
                let last = latest.insert(sender, count);
                assert!(last.is_none_or(|last| last < count), "{text} came after {last:?}");
            }
            if let Some((received, ended)) = seen.insert(text, (*at, track.ended)) {
                doubled += 1;
                let age = ended.map_or(Duration::ZERO, |ended| ended.saturating_duration_since(received));
                assert!(age < CONFIRMED_AFTER, "{text} came again; its first socket lived on for {age:?}");
            }
        }
    }
    for text in acknowledged {
        assert!(seen.contains_key(text), "{text} was acknowledged and never came");
    }
    doubled
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phones_on_a_bad_network_lose_nothing() {
    let variable = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let seed = variable("QINGNIAO_CHAOS_SEED").unwrap_or_else(rand::random);
    let seconds = variable("QINGNIAO_CHAOS_SECONDS").unwrap_or(4);
    eprintln!("chaos: {seconds} s, QINGNIAO_CHAOS_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let server = TestServer::with(|config| {
        config.ws.outbox_bytes_max = 65_536;
        config.ws.heartbeat_s = 1;
        config.ws.pong_timeout_s = 1;
    })
    .await;
    let mut phones = Vec::new();
    for _ in 0..PHONES {
        let person = server.user("phone").await;
        person.take_from_all().await;
        phones.push(person);
    }
    let over = Arc::new(AtomicBool::new(false));
    let (mut senders, mut running) = (JoinSet::new(), JoinSet::new());
    for _ in 0..SENDERS {
        senders.spawn(sender(server.user("sender").await, phones.clone(), over.clone()));
    }
    for person in phones.iter().cloned() {
        let (rng, over) = (StdRng::seed_from_u64(rng.random()), over.clone());
        running.spawn(async move { (person.id, phone(person, rng, over).await) });
    }
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    over.store(true, Ordering::Relaxed);
    let mut acknowledged: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for (phone, texts) in senders.join_all().await.into_iter().flatten() {
        acknowledged.entry(phone).or_default().extend(texts);
    }
    let mut tracks: BTreeMap<i64, Vec<Track>> = running.join_all().await.into_iter().collect();

    let (mut sent, mut doubled, mut sockets) = (0, 0, 0);
    for person in &phones {
        let due: BTreeSet<&str> = acknowledged[&person.id].iter().map(String::as_str).collect();
        let tracks = tracks.get_mut(&person.id).unwrap();
        let mut last = Line::open(person).await;
        person.post("chatGetmessageOffLine", json!({})).await.ok();
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            assert!(last.read(Duration::from_millis(300)).await);
            let got = tracks.iter().chain([&last.track]).flat_map(|track| &track.texts);
            let got: BTreeSet<&str> = got.map(|(text, _)| text.as_str()).collect();
            if got.is_superset(&due) {
                break;
            }
        }
        tracks.push(last.end(0).await);
        doubled += check(&due, tracks);
        sent += due.len();
        sockets += tracks.len();
    }
    assert!(sent > 500, "a load worth the name: {sent}");
    eprintln!("chaos: {sent} messages over {sockets} sockets, none lost, {doubled} came twice");
}
