//! kill -9 while groups are talked in, joined and ended, by the real binary: every acknowledged message reaches every
//! member that it was due to, in one order for all of them.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::crash::{ARRIVES_WITHIN, Received, check, wanted};
use crate::support::{Door, Event, Person, Process, Socket, command, database, text_of};

/// Kills of one run, unless the environment says otherwise.
const ROUNDS: usize = 12;
/// The first of them own and send, the last one joins during the load, the others receive.
const SENDERS: usize = 3;
const PEOPLE: usize = 7;

struct Crash {
    folder: tempfile::TempDir,
    address: SocketAddr,
    url: Option<String>,
    people: Vec<Person>,
    /// Rows of everybody else in the owner's friend list.
    rows: Vec<i64>,
    /// The group that stays; the other one of each round is ended during the load.
    lasting: i64,
}

/// What somebody got: chat by its text, and the groups whose end was told, in order.
#[derive(Default)]
struct Heard {
    chat: Received,
    /// Of each group, everything in order: texts, and "the end".
    by_group: HashMap<i64, Vec<String>>,
}

/// A message that was sent to a group.
struct Said {
    group: i64,
    sender: i64,
    text: String,
    began: Instant,
    /// When the server said yes.
    acknowledged: Option<Instant>,
}

/// Something that was asked for once during the load.
#[derive(Clone, Copy, Default)]
struct Chore {
    began: Option<Instant>,
    acknowledged: Option<Instant>,
}

const END: &str = "the end";

impl Crash {
    async fn prepare() -> (Self, Process) {
        let folder = tempfile::tempdir().unwrap();
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = database::url().await;
        let mut crash = Self { folder, address, url, people: Vec::new(), rows: Vec::new(), lasting: 0 };
        let process = crash.start();
        for n in 0..PEOPLE {
            crash.people.push(Door::to(crash.address).user(&format!("p{n}")).await);
        }
        let owner = crash.people[0].clone();
        for person in &crash.people[1..] {
            crash.rows.push(owner.friend_row(person).await);
        }
        crash.lasting = crash.make_group(PEOPLE - 2).await;
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

    async fn make_group(&self, friends: usize) -> i64 {
        let owner = &self.people[0];
        assert_eq!(owner.post("group/create", json!({ "userIds": self.rows[..friends] })).await.ok(), "ok");
        owner.newest_group().await
    }

    fn joiner(&self) -> &Person {
        &self.people[PEOPLE - 1]
    }

    /// Talks in both groups until `stop`, or until the server is gone.
    fn talk(&self, round: usize, groups: [i64; 2], rng: &mut StdRng, stop: &Arc<AtomicBool>) -> JoinSet<Vec<Said>> {
        let mut senders = JoinSet::new();
        for (n, sender) in self.people[..SENDERS].iter().cloned().enumerate() {
            let mut rng = StdRng::seed_from_u64(rng.random());
            let stop = stop.clone();
            senders.spawn(async move {
                let mut said = Vec::new();
                for count in 0.. {
                    let group = groups[rng.random_range(0..2)];
                    let text = format!("{group}/{round}/{n}/{count}");
                    let began = Instant::now();
                    let status = asked(&sender, "socket/sendmessage", &message(group, &text)).await;
                    let acknowledged = (status == Some(200)).then(Instant::now);
                    said.push(Said { group, sender: sender.id, text, began, acknowledged });
                    // A refusal tells that the group is at its end; the other one goes on.
                    if status.is_none() || stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
                said
            });
        }
        senders
    }
}

fn message(group: i64, text: &str) -> Value {
    let data = json!({ "data": text, "dataType": false, "otherData": null }).to_string();
    json!({ "sendto_id": group, "chatType": "group", "type": "text", "data": data })
}

/// The status, if the server was there to answer.
async fn asked(person: &Person, path: &str, body: &Value) -> Option<u16> {
    person.call(Method::POST, path).json(body).try_send().await.ok().map(|reply| reply.status)
}

/// Asks for something once, after a while.
async fn chore(person: Person, path: &'static str, body: Value, after: Duration) -> Chore {
    tokio::time::sleep(after).await;
    let began = Some(Instant::now());
    let done = asked(&person, path, &body).await == Some(200);
    Chore { began, acknowledged: done.then(Instant::now) }
}

/// Listens until the socket ends, or until `enough` says so.
async fn listen(mut socket: Socket, heard: &mut Heard, enough: impl Fn(&Heard) -> bool) -> Socket {
    let deadline = Instant::now() + ARRIVES_WITHIN;
    while !enough(heard) && Instant::now() < deadline {
        match socket.event_within(Duration::from_millis(50)).await {
            Some(Event::Frame(frame)) if frame["data"]["chatType"] == "group" => {
                let message = &frame["data"];
                let text = text_of(message);
                let in_group = heard.by_group.entry(message["to_id"].as_i64().unwrap()).or_default();
                if message["sendUUid"].is_string() {
                    in_group.push(text.clone());
                    heard.chat.push((text, Instant::now()));
                } else if text.contains("解散了该群") {
                    in_group.push(END.to_owned());
                }
            }
            Some(Event::Closed(code)) => panic!("a close frame ({code:?}) would log the user out"),
            Some(Event::Lost) => break,
            _ => {}
        }
    }
    socket
}

/// What a round left behind, for the checks.
struct Round {
    said: Vec<Said>,
    join: Chore,
    ending: i64,
    ended: bool,
    killed: Instant,
}

impl Round {
    /// The acknowledged messages that are due to a person.
    fn due(&self, crash: &Crash, person: &Person) -> Vec<String> {
        let joined = self.join.acknowledged;
        let due = self.said.iter().filter(|said| {
            let in_time = if person.id != crash.joiner().id {
                true
            } else if said.group == crash.lasting {
                joined.is_some_and(|joined| said.began > joined)
            } else {
                false
            };
            said.acknowledged.is_some() && said.sender != person.id && in_time
        });
        due.map(|said| said.text.clone()).collect()
    }

    /// What nobody may get who joined after it: acknowledged before the call to join was made.
    fn missed_by_joiner(&self, crash: &Crash) -> HashSet<&str> {
        let before_joining = |said: &&Said| match self.join.began {
            Some(began) => said.group == crash.lasting && said.acknowledged.is_some_and(|at| at < began),
            None => true,
        };
        self.said.iter().filter(before_joining).map(|said| said.text.as_str()).collect()
    }
}

/// In every group, all who got two messages got them in the same order, once each.
fn check_one_order(heard: &[HashMap<i64, Vec<String>>]) {
    for (place, one) in heard.iter().enumerate() {
        for other in &heard[place + 1..] {
            for (group, texts) in one {
                let Some(others) = other.get(group) else { continue };
                let common: HashSet<&String> = texts.iter().filter(|text| others.contains(text)).collect();
                let in_common = |texts: &Vec<String>| -> Vec<String> {
                    texts.iter().filter(|text| common.contains(text)).cloned().collect()
                };
                assert_eq!(in_common(texts), in_common(others), "one order in group {group}");
            }
        }
    }
}

/// What came before and after the end of the server, each once.
fn once(before: HashMap<i64, Vec<String>>, after: HashMap<i64, Vec<String>>) -> HashMap<i64, Vec<String>> {
    let mut all = before;
    for (group, texts) in after {
        let had = all.entry(group).or_default();
        for text in texts {
            if !had.contains(&text) {
                had.push(text);
            }
        }
    }
    all
}

async fn round(crash: &mut Crash, number: usize, process: Process, rng: &mut StdRng) -> (Process, usize) {
    let ending = crash.make_group(PEOPLE - 2).await;
    let mut listeners = JoinSet::new();
    for (place, person) in crash.people.iter().enumerate().filter(|(place, _)| (place + number).is_multiple_of(2)) {
        let socket = person.asking_socket().await;
        listeners.spawn(async move {
            let mut heard = Heard::default();
            listen(socket, &mut heard, |_| false).await;
            (place, heard)
        });
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut senders = crash.talk(number, [crash.lasting, ending], rng, &stop);
    let mut pause = || Duration::from_millis(rng.random_range(20..900));
    let join = json!({ "group_id": crash.lasting, "user_id": crash.joiner().id, "inviteuser_id": -1 });
    let join = chore(crash.joiner().clone(), "groupInviteUser", join, pause());
    let end_of_group = chore(crash.people[0].clone(), "groupDeleteOrQuit", json!({ "id": ending }), pause());
    let life = pause();
    let kill = async {
        tokio::time::sleep(life).await;
        let killed = Instant::now();
        process.kill();
        stop.store(true, Ordering::Relaxed);
        killed
    };
    let (join, end_of_group, killed) = tokio::join!(join, end_of_group, kill);
    let mut said = Vec::new();
    while let Some(one) = senders.join_next().await {
        said.extend(one.unwrap());
    }
    let mut before: HashMap<usize, Heard> = HashMap::new();
    while let Some(listener) = listeners.join_next().await {
        let (place, heard) = listener.unwrap();
        before.insert(place, heard);
    }
    let process = crash.start();
    // An end that was not acknowledged may have happened all the same.
    let ended = crash.people[0].get(&format!("groupinfo/{ending}")).await.status == 400;
    assert!(ended || end_of_group.acknowledged.is_none(), "an acknowledged end is not taken back");
    let round = Round { said, join, ending, ended, killed };
    let acknowledged = round.said.iter().filter(|said| said.acknowledged.is_some()).count();
    settle(crash, &round, before).await;
    // The next round begins as this one did.
    crash.people[0].remove(crash.lasting, crash.joiner()).await.ok();
    crash.people[0].leave(ending).await;
    (process, acknowledged)
}

/// Everybody connects, and must have got what was due.
async fn settle(crash: &Crash, round: &Round, mut before: HashMap<usize, Heard>) {
    let attempted: HashSet<String> = round.said.iter().map(|said| said.text.clone()).collect();
    let mut all = Vec::new();
    for (place, person) in crash.people.iter().enumerate() {
        let before = before.remove(&place).unwrap_or_default();
        let due = round.due(crash, person);
        let ends = round.ended && person.id != crash.joiner().id;
        let told =
            |heard: &Heard| heard.by_group.get(&round.ending).is_some_and(|all| all.iter().any(|text| text == END));
        let complete = |after: &Heard| {
            let got = |text: &String| before.chat.iter().chain(&after.chat).any(|(one, _)| one == text);
            due.iter().all(got) && (!ends || told(&before) || told(after))
        };
        let mut after = Heard::default();
        let socket = listen(person.asking_socket().await, &mut after, complete).await;
        // What comes beyond that was sent but not answered, or comes twice; it is read too, so that it is checked.
        let quiet = Instant::now() + Duration::from_millis(150);
        listen(socket, &mut after, |_| Instant::now() > quiet).await;
        assert!(!ends || told(&before) || told(&after), "{} was told of the end", person.name);
        check(&due, &attempted, &before.chat, &after.chat, round.killed);
        if person.id == crash.joiner().id {
            let missed = round.missed_by_joiner(crash);
            for (text, _) in before.chat.iter().chain(&after.chat) {
                assert!(!missed.contains(text.as_str()), "{text} was said before {} joined", person.name);
            }
        }
        all.push(once(before.by_group, after.by_group));
    }
    check_one_order(&all);
    for texts in all.iter().filter_map(|heard| heard.get(&round.ending)) {
        let at = texts.iter().position(|text| text == END);
        assert_eq!(at, round.ended.then(|| texts.len() - 1), "the end comes last, and only if it happened");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_loses_nothing_of_what_was_said_in_groups() {
    let seed: u64 =
        std::env::var("QINGNIAO_CRASH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    let count = wanted(ROUNDS);
    eprintln!("crash of groups: {count} rounds, QINGNIAO_CRASH_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut crash, mut process) = Crash::prepare().await;
    let mut acknowledged = 0;
    for number in 0..count {
        let (next, said) = round(&mut crash, number, process, &mut rng).await;
        process = next;
        acknowledged += said;
    }
    assert!(acknowledged > 10 * count, "a load worth the name: {acknowledged} messages");
    eprintln!("crash of groups: {acknowledged} acknowledged messages, none lost");
}
