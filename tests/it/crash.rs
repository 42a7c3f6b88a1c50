//! kill -9 under load, by the real binary: whatever was acknowledged arrives, in order, and only what was unconfirmed at
//! the kill arrives twice. `QINGNIAO_CRASH_ROUNDS` raises the number of kills, `QINGNIAO_CRASH_SEED` repeats a run.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{Door, Event, Person, Process, Socket, command, database, text_of};

/// Kills of one run, unless the environment says otherwise.
const ROUNDS: usize = 20;
/// What was received this long before the kill was confirmed and recorded long since.
const CONFIRMED_AFTER: Duration = Duration::from_secs(1);
/// How long all that is due may take to arrive after the restart.
pub const ARRIVES_WITHIN: Duration = Duration::from_secs(20);
/// How long a stop under load may take: running requests and last pongs, not a whole second of waiting for peers.
const STOPS_WITHIN: Duration = Duration::from_secs(2);
const SENDERS: usize = 4;

/// A text that a recipient got, and when.
pub type Received = Vec<(String, Instant)>;

struct Crash {
    folder: tempfile::TempDir,
    address: SocketAddr,
    url: Option<String>,
    /// The first four send, the rest receive.
    people: Vec<Person>,
}

/// What became of the messages of one round.
#[derive(Default)]
struct Load {
    /// By recipient, in the order in which each sender was answered.
    acknowledged: HashMap<i64, Vec<String>>,
    /// Everything that was ever sent, answered or not.
    attempted: HashSet<String>,
}

impl Crash {
    async fn prepare() -> (Self, Process) {
        let folder = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = database::url().await;
        let mut crash = Self { folder, address: port, url, people: Vec::new() };
        let process = crash.start();
        let door = Door::to(crash.address);
        let anyone = json!({ "chatset": { "user": { "sendCount": 2 } } }).to_string();
        for n in 0..SENDERS + 4 {
            let person = door.user(&format!("p{n}")).await;
            assert_eq!(person.post("userset", json!({ "userset": anyone })).await.ok(), "ok");
            crash.people.push(person);
        }
        (crash, process)
    }

    fn start(&self) -> Process {
        let mut command = command(self.folder.path());
        command.env("QINGNIAO_LISTEN", self.address.to_string());
        if let Some(url) = &self.url {
            command.env("DATABASE_URL", url);
        }
        Process::start(&mut command)
    }

    fn recipients(&self) -> &[Person] {
        &self.people[SENDERS..]
    }

    /// Sends from all senders until `stop`, or until the server is gone.
    fn load(&self, round: usize, rng: &mut StdRng, stop: &Arc<AtomicBool>) -> JoinSet<Load> {
        let mut senders = JoinSet::new();
        for (n, sender) in self.people[..SENDERS].iter().cloned().enumerate() {
            let to = self.recipients().to_vec();
            let mut rng = StdRng::seed_from_u64(rng.random());
            let stop = stop.clone();
            senders.spawn(async move {
                let mut load = Load::default();
                for count in 0.. {
                    let recipient = &to[rng.random_range(0..to.len())];
                    let text = format!("{round}/{n}/{count}");
                    load.attempted.insert(text.clone());
                    if stop.load(Ordering::Relaxed) || !accepted(&sender, recipient, &text).await {
                        break;
                    }
                    load.acknowledged.entry(recipient.id).or_default().push(text);
                }
                load
            });
        }
        senders
    }
}

/// Whether the server answered 200. Anything else is no acknowledgement.
async fn accepted(sender: &Person, to: &Person, text: &str) -> bool {
    let data = json!({ "data": text, "dataType": false, "otherData": null }).to_string();
    let body = json!({ "sendto_id": to.id, "chatType": "single", "type": "text", "data": data });
    let reply = sender.call(reqwest::Method::POST, "socket/sendmessage").json(&body).try_send().await;
    reply.is_ok_and(|reply| reply.status == 200)
}

/// Reads texts until the socket ends, or until `enough` says so.
async fn read(mut socket: Socket, enough: impl Fn(&Received) -> bool) -> (Received, Socket) {
    let mut received = Received::new();
    let deadline = Instant::now() + ARRIVES_WITHIN;
    while !enough(&received) && Instant::now() < deadline {
        match socket.event_within(Duration::from_millis(50)).await {
            Some(Event::Frame(frame)) if frame["data"]["sendUUid"].is_string() => {
                received.push((text_of(&frame["data"]), Instant::now()));
            }
            Some(Event::Closed(code)) => panic!("a close frame ({code:?}) would log the user out"),
            Some(Event::Lost) => break,
            _ => {}
        }
    }
    (received, socket)
}

/// Checks what one recipient got before the end of the server and after its restart. Returns how many came twice.
pub fn check(
    acknowledged: &[String],
    attempted: &HashSet<String>,
    before: &Received,
    after: &Received,
    end: Instant,
) -> usize {
    let had: HashMap<&str, Instant> = before.iter().map(|(text, at)| (text.as_str(), *at)).collect();
    assert_eq!(had.len(), before.len(), "nothing comes twice on one socket");
    let twice: Vec<_> = after.iter().filter_map(|(text, _)| had.get(text.as_str()).map(|at| (text, *at))).collect();
    for (text, at) in &twice {
        let age = end.saturating_duration_since(*at);
        assert!(age < CONFIRMED_AFTER, "{text} came again though it was received {age:?} before the end");
    }
    let all: Vec<&str> = before
        .iter()
        .chain(after.iter().filter(|(text, _)| !had.contains_key(text.as_str())))
        .map(|(text, _)| text.as_str())
        .collect();
    let got: HashSet<&str> = all.iter().copied().collect();
    assert_eq!(got.len(), all.len(), "nothing comes twice after the restart");
    for text in acknowledged {
        assert!(got.contains(text.as_str()), "{text} was acknowledged and never came");
    }
    let mut latest: HashMap<String, u64> = HashMap::new();
    for text in all {
        assert!(attempted.contains(text), "{text} was never sent");
        let (sender, count) = text.rsplit_once('/').unwrap();
        let count: u64 = count.parse().unwrap();
        let last = latest.insert(sender.to_owned(), count);
        assert!(last.is_none_or(|last| last < count), "{text} came after {last:?}");
    }
    twice.len()
}

/// One round: load, the end of the server, a restart, and what everybody then has.
async fn round(
    crash: &Crash,
    number: usize,
    mut process: Process,
    rng: &mut StdRng,
    kill: bool,
) -> (Process, usize, usize) {
    // Half of the recipients are online during the load; which half changes.
    let online: Vec<bool> =
        crash.recipients().iter().enumerate().map(|(n, _)| (n + number).is_multiple_of(2)).collect();
    let mut readers = JoinSet::new();
    for (place, person) in crash.recipients().iter().enumerate().filter(|(place, _)| online[*place]) {
        let socket = person.asking_socket().await;
        readers.spawn(async move { (place, read(socket, |_| false).await.0) });
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut senders = crash.load(number, rng, &stop);
    tokio::time::sleep(Duration::from_millis(rng.random_range(150..1300))).await;
    let end = Instant::now();
    if kill {
        process.kill();
    } else {
        assert!(process.signal("TERM").success());
    }
    let stopped = end.elapsed();
    stop.store(true, Ordering::Relaxed);
    let mut load = Load::default();
    while let Some(one) = senders.join_next().await {
        let one = one.unwrap();
        load.attempted.extend(one.attempted);
        for (recipient, texts) in one.acknowledged {
            load.acknowledged.entry(recipient).or_default().extend(texts);
        }
    }
    let mut before = vec![Received::new(); online.len()];
    while let Some(reader) = readers.join_next().await {
        let (place, received) = reader.unwrap();
        before[place] = received;
    }

    let began = Instant::now();
    let process = crash.start();
    assert!(began.elapsed() < Duration::from_secs(3), "the restart took {:?}", began.elapsed());
    if !kill {
        assert!(stopped < STOPS_WITHIN, "the stop took {stopped:?}");
    }
    let (mut acknowledged, mut doubled) = (0, 0);
    for (person, before) in crash.recipients().iter().zip(&before) {
        let due = load.acknowledged.get(&person.id).cloned().unwrap_or_default();
        let had: HashSet<&str> = before.iter().map(|(text, _)| text.as_str()).collect();
        let missing: HashSet<String> = due.iter().filter(|text| !had.contains(text.as_str())).cloned().collect();
        let complete = |after: &Received| {
            let got: HashSet<&str> = after.iter().map(|(text, _)| text.as_str()).collect();
            missing.iter().all(|text| got.contains(text.as_str()))
        };
        let (mut after, socket) = read(person.asking_socket().await, complete).await;
        // What comes beyond that was sent but not answered, or comes twice; it is read too, so that it is checked.
        let quiet = Instant::now() + Duration::from_millis(150);
        after.extend(read(socket, |_| Instant::now() > quiet).await.0);
        doubled += check(&due, &load.attempted, before, &after, end);
        acknowledged += due.len();
    }
    (process, acknowledged, doubled)
}

async fn rounds(kill: bool, count: usize) {
    let seed: u64 =
        std::env::var("QINGNIAO_CRASH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("crash: {count} rounds, QINGNIAO_CRASH_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let (crash, mut process) = Crash::prepare().await;
    let (mut acknowledged, mut doubled) = (0, 0);
    for number in 0..count {
        let (next, sent, twice) = round(&crash, number, process, &mut rng, kill).await;
        process = next;
        acknowledged += sent;
        doubled += twice;
    }
    assert!(acknowledged > 20 * count, "a load worth the name: {acknowledged} messages");
    // A stop asks for the last pongs: only a peer that was slow to answer, or whose socket was just opening, gets something twice.
    assert!(kill || doubled * 100 <= acknowledged, "{doubled} of {acknowledged} messages came twice over a stop");
    eprintln!("crash: {acknowledged} acknowledged messages, none lost, {doubled} came twice");
}

/// How many rounds the environment asks for.
pub fn wanted(default: usize) -> usize {
    std::env::var("QINGNIAO_CRASH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_under_load_loses_nothing_that_was_acknowledged() {
    rounds(true, wanted(ROUNDS)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_under_load_loses_nothing_and_logs_nobody_out() {
    rounds(false, wanted(ROUNDS).div_ceil(5)).await;
}
