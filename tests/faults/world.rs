//! A server with people, phones and groups, that outlives its processes.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::json;

use super::history::{Answer, Recorder, Who};
use super::load::{OWNER, Scene, changed};
use super::phone::{Phone, Wish};
use super::store::{MariaDb, SmallDisk, unused_port};
use super::support::{Door, Person, Process, command_of};

/// People who write, are in the groups, and are here or away.
pub const CORE: usize = 12;
/// Of them, who writes.
const SENDERS: usize = 6;
/// Of them, who comes into groups and goes; nobody else does.
const MOVERS: std::ops::Range<Who> = 9..12;
/// After the core: people whose phones have a network of their own, which can fail.
pub const WRECKED: std::ops::Range<Who> = 12..18;
/// Groups that stay.
const GROUPS: usize = 3;
/// How long phones may take to connect when nothing is wrong.
const CONNECTS_WITHIN: Duration = Duration::from_secs(30);

/// What a world is to be made of.
pub struct Setting<'a> {
    /// Its own folder, on a disk.
    pub folder: PathBuf,
    pub binary: &'a Path,
    /// MariaDB instead of SQLite.
    pub maria: Option<&'a MariaDb>,
    /// The name of its database there.
    pub name: &'a str,
    /// A disk for the store.
    pub disk: Option<SmallDisk>,
    /// libfaketime, for a server whose clock can be set.
    pub faketime: Option<PathBuf>,
}

pub struct World {
    folder: PathBuf,
    binary: PathBuf,
    url: Option<String>,
    /// The database's name on MariaDB.
    pub name: String,
    pub disk: Option<SmallDisk>,
    faketime: Option<PathBuf>,
    pub address: SocketAddr,
    process: Option<Process>,
    pub people: Arc<Vec<Person>>,
    /// Somebody whose token is misused.
    pub vandal: Option<Person>,
    phones: Vec<Phone>,
    /// Rows of the friends of the owner, by place less one.
    rows: Vec<i64>,
    groups: Vec<i64>,
    pub recorder: Recorder,
}

impl World {
    pub async fn make(setting: Setting<'_>) -> Self {
        let Setting { folder, binary, maria, name, disk, faketime } = setting;
        std::fs::create_dir_all(&folder).unwrap();
        let url = match maria {
            Some(maria) => Some(maria.database(name).await),
            None => None,
        };
        let address = ([127, 0, 0, 1], unused_port()).into();
        let mut world = Self {
            folder,
            binary: binary.to_owned(),
            url,
            name: name.to_owned(),
            disk,
            faketime,
            address,
            process: None,
            people: Arc::default(),
            vandal: None,
            phones: Vec::new(),
            rows: Vec::new(),
            groups: Vec::new(),
            recorder: Recorder::new(),
        };
        world.set_clock(0);
        world.start();
        world.add_people(WRECKED.end).await;
        world.vandal = Some(Door::to(world.address).user("vandal").await);
        let owner = world.people[OWNER].clone();
        for who in 1..CORE {
            world.rows.push(owner.friend_row(&world.people[who]).await);
        }
        for _ in 0..GROUPS {
            let group = world.make_group(&(1..MOVERS.start).collect::<Vec<_>>()).await;
            world.groups.push(group);
        }
        world
    }

    /// People with phones, until there are so many.
    pub async fn add_people(&mut self, count: usize) {
        let door = Door::to(self.address);
        let mut people = self.people.to_vec();
        while people.len() < count {
            let who = people.len();
            let person = door.user(&format!("p{who}")).await;
            person.take_from_all().await;
            self.recorder.lock().people.push(person.id);
            self.phones.push(Phone::of(who, person.clone(), WRECKED.contains(&who), self.recorder.clone()));
            people.push(person);
        }
        self.people = Arc::new(people);
    }

    /// A group of the owner with some of the core.
    async fn make_group(&self, members: &[Who]) -> i64 {
        let owner = &self.people[OWNER];
        let rows: Vec<i64> = members.iter().map(|who| self.rows[who - 1]).collect();
        // Its number is known only afterwards; nobody can write to it before.
        let places = self.recorder.lock().changes.len();
        let all: Vec<Who> = members.iter().copied().chain([OWNER]).collect();
        let made = changed(&self.recorder, 0, &all, true, owner, "group/create", json!({ "userIds": rows })).await;
        assert_eq!(made, Answer::Yes, "a group can be made while nothing is wrong");
        let group = owner.newest_group().await;
        self.recorder.lock().changes[places..].iter_mut().for_each(|change| change.group = group);
        group
    }

    fn start(&mut self) {
        let mut command = command_of(&self.binary, &self.folder);
        command.env("QINGNIAO_LISTEN", self.address.to_string());
        // Peers that are gone are to be found out within a round.
        command.env("QINGNIAO_WS_PONG_TIMEOUT_S", "2").env("QINGNIAO_WS_STALL_TIMEOUT_S", "2");
        command.env("QINGNIAO_WS_HEARTBEAT_S", "1").env("QINGNIAO_WS_OUTBOX_BYTES_MAX", "262144");
        if let Some(url) = &self.url {
            command.env("DATABASE_URL", url);
        }
        if let Some(disk) = &self.disk {
            command.env("QINGNIAO_DATA_DIR", &disk.folder);
        }
        if let Some(library) = &self.faketime {
            command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", self.clock_file());
            // Only the wall clock steps; the other one never does.
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("FAKETIME_NO_CACHE", "1");
        }
        self.process = Some(Process::start(&mut command));
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let process = self.process.take().expect("a server runs");
        let log = process.kill();
        self.ended(&log);
    }

    /// SIGTERM; returns how long the server took to end.
    pub fn terminate(&mut self) -> Duration {
        let mut process = self.process.take().expect("a server runs");
        let began = Instant::now();
        let status = process.signal("TERM");
        let took = began.elapsed();
        if !status.success() {
            self.recorder.wrong(format_args!("stop: the server ended with {status}"));
        }
        self.ended(&process.log());
        took
    }

    fn ended(&self, log: &str) {
        let at = self.recorder.now();
        self.recorder.lock().deaths.push(at);
        self.keep_log(log);
    }

    /// Starts the next process; returns how long it took until it listened.
    pub fn start_again(&mut self) -> Duration {
        let began = Instant::now();
        self.start();
        began.elapsed()
    }

    /// Appends to the log of all processes.
    fn keep_log(&self, log: &str) {
        let file = std::fs::File::options().create(true).append(true).open(self.folder.join("server.log"));
        file.unwrap().write_all(log.as_bytes()).unwrap();
    }

    /// Writes down what the present process has logged, and says whether it still runs and what it has to regret.
    pub fn close(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }

    /// The process that serves now.
    pub fn process(&self) -> u32 {
        self.process.as_ref().expect("a server runs").id()
    }

    pub fn sqlite_file(&self) -> PathBuf {
        let folder = self.disk.as_ref().map_or_else(|| self.folder.join("data"), |disk| disk.folder.clone());
        folder.join("qingniao.db")
    }

    fn clock_file(&self) -> PathBuf {
        self.folder.join("clock")
    }

    /// Sets the server's wall clock to so many seconds ahead of the machine's.
    pub fn set_clock(&self, ahead_s: i64) {
        if self.faketime.is_some() {
            // Replaced in one step: the server reads it at any time.
            let new = self.folder.join("clock.new");
            std::fs::write(&new, format!("{ahead_s:+}\n")).unwrap();
            std::fs::rename(new, self.clock_file()).unwrap();
        }
    }

    pub fn wish(&self, whose: impl IntoIterator<Item = Who>, wish: Wish) {
        whose.into_iter().for_each(|who| self.phones[who].wish(wish));
    }

    /// Who goes away, and who stays or comes: the owner and, of the others, about half.
    pub fn reshuffle(&self, rng: &mut StdRng) {
        for who in 0..WRECKED.end {
            let here = rng.random_ratio(3, 5);
            self.phones[who].wish(if here { Wish::Here } else { Wish::Away });
        }
        self.wish(WRECKED.end..self.phones.len(), Wish::Away);
    }

    /// Waits until all phones that are wanted are connected and have asked.
    pub async fn connected(&self) -> Duration {
        let began = Instant::now();
        loop {
            let waiting = {
                let history = self.recorder.lock();
                let mut asked = vec![false; self.phones.len()];
                for line in history.lines.iter().filter(|line| line.heard_until().is_none()) {
                    asked[line.who] |= line.asked.is_some();
                }
                (0..asked.len()).filter(|who| self.phones[*who].wished() == Wish::Here && !asked[*who]).count()
            };
            if waiting == 0 {
                return began.elapsed();
            }
            if began.elapsed() > CONNECTS_WITHIN {
                self.recorder.wrong(format_args!("connect: {waiting} phones cannot connect"));
                return began.elapsed();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What the load of a round stands on, with a group of its own that will be ended.
    pub async fn scene(&self, pace: Duration) -> Scene {
        let members = vec![1, 2, 7, 8];
        let ending = self.make_group(&members).await;
        Scene {
            people: self.people.clone(),
            senders: SENDERS,
            movers: MOVERS,
            recipients: (0..WRECKED.end).collect(),
            groups: self.groups.clone(),
            ending: (ending, members.into_iter().chain([OWNER]).collect()),
            pace,
            recorder: self.recorder.clone(),
        }
    }
}
