//! The faults, what each needs, and how each is done.

use std::ops::Range;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use rand::Rng;
use rand::rngs::StdRng;
use tokio::task::JoinSet;

use super::garbage;
use super::history::{Answer, Chat, Who};
use super::load::{LARGE, Scene, send};
use super::phone::Wish;
use super::store::{MariaDb, lock_sqlite};
use super::world::{CORE, WRECKED, World};

/// How long a stop may take: running requests and last pongs, not a whole second of waiting for peers.
const STOPS_WITHIN: Duration = Duration::from_secs(2);
/// How long the server may be away.
const STARTS_WITHIN: Duration = Duration::from_secs(3);
/// How often a sender tries again to reach a member of a herd.
const TRIES_MAX: usize = 100;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
pub enum Fault {
    /// kill -9 of the server, and a start.
    Kill,
    /// SIGTERM of the server, and a start.
    Term,
    /// Another process holds the write lock of the store.
    DbLock,
    /// MariaDB is stopped politely, and started after a while.
    DbStop,
    /// MariaDB gets kill -9, and is started after a while.
    DbKill,
    /// The connections to MariaDB are cut, and refused for a while.
    DbCut,
    /// Everything to and from MariaDB comes late.
    DbSlow,
    /// Nothing gets through to MariaDB for a while.
    DbStall,
    /// The open connections to MariaDB lead nowhere for good; new ones are well.
    DbBlackhole,
    /// The disk under the store is full for a while.
    DiskFull,
    /// Clients stop reading while they are written to without end.
    Stall,
    /// Clients lose their network without a word; some come back while the server still believes in their old socket.
    Vanish,
    /// Very many clients lose their connections and come back in one moment.
    Herd,
    /// The same after kill -9 of the server.
    KillHerd,
    /// Clients send garbage, as HTTP and as frames.
    Garbage,
    /// The server's wall clock steps back and forth.
    Clock,
}

/// Where a fault can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ground {
    Plain,
    /// A store on a small disk.
    SmallDisk,
    /// A server whose clock can be set.
    Clock,
}

/// How much of it there is to be.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Phones of a herd.
    pub herd: usize,
    /// Faults last up to so many times as long as they must.
    pub patience: u32,
}

impl Fault {
    pub fn name(self) -> String {
        self.to_possible_value().expect("every fault has a name").get_name().to_owned()
    }

    pub const fn ground(self) -> Ground {
        match self {
            Self::DiskFull => Ground::SmallDisk,
            Self::Clock => Ground::Clock,
            _ => Ground::Plain,
        }
    }

    /// Whether it needs MariaDB (true), SQLite (false), or is done on both.
    pub const fn engine(self) -> Option<bool> {
        match self {
            Self::DbStop | Self::DbKill | Self::DbCut | Self::DbSlow | Self::DbStall | Self::DbBlackhole => Some(true),
            _ => None,
        }
    }

    /// Whether it is the store that suffers.
    pub const fn of_store(self) -> bool {
        matches!(self, Self::DbLock | Self::DiskFull) || matches!(self.engine(), Some(true))
    }

    /// Whether it is some clients that misbehave, so that the others must not feel it.
    pub const fn of_clients(self) -> bool {
        matches!(self, Self::Stall | Self::Vanish | Self::Herd | Self::Garbage)
    }

    /// How soon after its end the server must acknowledge again.
    pub const fn recovery_max(self) -> Duration {
        match self {
            // There is no end to wait for: whoever waits gives up after ten seconds.
            Self::DbBlackhole => Duration::from_secs(13),
            _ => super::check::RECOVERY_MAX,
        }
    }
}

/// Whom a fault is done to.
pub struct Victim<'a> {
    pub world: &'a mut World,
    pub maria: Option<&'a mut MariaDb>,
    pub scene: &'a Scene,
    pub scale: Scale,
}

impl Victim<'_> {
    /// Does it, and returns when it is over. What it has measured by the way comes back in words.
    pub async fn suffer(&mut self, fault: Fault, rng: &mut StdRng) -> String {
        match fault {
            Fault::Kill => {
                self.world.kill();
                pause(rng, 0..60).await;
                format!("started in {} ms", self.start_again().as_millis())
            }
            Fault::Term => {
                let ended = self.world.terminate();
                if ended > STOPS_WITHIN {
                    self.world.recorder.wrong(format_args!("stop: SIGTERM took {ended:?}"));
                }
                let started = self.start_again();
                format!("ended in {} ms, started in {} ms", ended.as_millis(), started.as_millis())
            }
            Fault::DbLock => self.lock_store(rng).await,
            Fault::DiskFull => self.fill_disk(rng).await,
            Fault::Stall => self.stall(rng).await,
            Fault::Vanish => self.vanish(rng).await,
            Fault::Herd => self.herd(false).await,
            Fault::KillHerd => self.herd(true).await,
            Fault::Garbage => {
                let span = Duration::from_millis(rng.random_range(1500..2500));
                let vandal = self.world.vandal.as_ref().expect("every world has one");
                garbage::pour(self.world.address, vandal, &self.world.recorder, span, rng).await
            }
            Fault::Clock => self.turn_clock(rng).await,
            _ => self.break_maria(fault, rng).await,
        }
    }

    fn start_again(&mut self) -> Duration {
        let took = self.world.start_again();
        if took > STARTS_WITHIN {
            self.world.recorder.wrong(format_args!("start: it took {took:?}"));
        }
        took
    }

    async fn lock_store(&self, rng: &mut StdRng) -> String {
        let held = Duration::from_millis(rng.random_range(500..3000 * u64::from(self.scale.patience)));
        match &self.maria {
            Some(maria) => maria.lock_messages(&self.world.name, held).await,
            None => lock_sqlite(&self.world.sqlite_file(), held).await,
        }
        format!("held for {} ms", held.as_millis())
    }

    async fn break_maria(&mut self, fault: Fault, rng: &mut StdRng) -> String {
        let patience = u64::from(self.scale.patience);
        let Some(maria) = &mut self.maria else { return String::new() };
        match fault {
            Fault::DbStop | Fault::DbKill => {
                maria.stop(fault == Fault::DbStop);
                pause(rng, 100..1500 * patience).await;
                maria.start().await;
            }
            Fault::DbCut => {
                maria.proxy.cut().await;
                pause(rng, 100..1500 * patience).await;
                maria.proxy.restore();
            }
            Fault::DbSlow => {
                maria.proxy.slow(Duration::from_millis(rng.random_range(5..60)));
                pause(rng, 1000..2500).await;
                maria.proxy.slow(Duration::ZERO);
            }
            Fault::DbStall => {
                maria.proxy.stall();
                pause(rng, 500..2500 * patience).await;
                maria.proxy.resume();
            }
            Fault::DbBlackhole => {
                maria.proxy.abandon();
                let gone = self.scene.recorder.now() + Duration::from_millis(200);
                let began = Instant::now();
                while began.elapsed() < fault.recovery_max() && !acknowledged_after(self.scene, gone) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                let took = began.elapsed();
                if took >= fault.recovery_max() {
                    self.scene.recorder.wrong(format_args!("recovery: nothing was acknowledged for {took:?}"));
                }
                maria.proxy.resume();
                return format!("given up after {} ms", took.as_millis());
            }
            other => unreachable!("{other:?} is not a fault of MariaDB's"),
        }
        String::new()
    }

    async fn fill_disk(&self, rng: &mut StdRng) -> String {
        let disk = self.world.disk.as_ref().expect("this world has a small disk");
        disk.fill();
        let span = Duration::from_millis(rng.random_range(600..2000));
        // MariaDB has room left inside its files, which large messages soon use up.
        let sent = if self.maria.is_some() { self.flood(0..CORE - 2, span).await } else { 0 };
        tokio::time::sleep(span).await;
        disk.free();
        if sent > 0 { format!("{sent} large messages") } else { String::new() }
    }

    /// Some stop reading, and two write to them without end.
    async fn stall(&self, rng: &mut StdRng) -> String {
        self.world.wish(WRECKED, Wish::Frozen);
        let sent = self.flood(WRECKED, Duration::from_millis(rng.random_range(2500..3500))).await;
        format!("{} stalled, {sent} large messages to them", WRECKED.len())
    }

    /// Two write large messages to some without end, for a while. How many it were.
    pub async fn flood(&self, recipients: Range<Who>, span: Duration) -> usize {
        let until = Instant::now() + span;
        let mut floods = JoinSet::new();
        for sender in 0..2 {
            // Not by those who are measured.
            let (scene, sender, recipients) = (self.scene.clone(), CORE - 1 - sender, recipients.clone());
            floods.spawn(async move {
                let mut count = 0;
                for who in recipients.cycle() {
                    if Instant::now() > until {
                        break;
                    }
                    send(&scene, sender, Chat::Direct(who), LARGE).await;
                    count += 1;
                }
                count
            });
        }
        floods.join_all().await.into_iter().sum()
    }

    async fn vanish(&self, rng: &mut StdRng) -> String {
        self.world.wish(WRECKED, Wish::Frozen);
        pause(rng, 200..1500).await;
        let (back, later) = (WRECKED.start..WRECKED.start + 3, WRECKED.start + 3..WRECKED.end);
        self.world.wish(back.clone(), Wish::Here);
        pause(rng, 1500..3500).await;
        format!("{} vanished, {} of them came back at once", back.len() + later.len(), back.len())
    }

    async fn herd(&mut self, kill: bool) -> String {
        let herd = WRECKED.end..WRECKED.end + self.scale.herd;
        if kill {
            self.world.kill();
        }
        self.world.wish(herd.clone(), Wish::Away);
        let mut started = Duration::ZERO;
        if kill {
            started = self.start_again();
        }
        // Each has missed something.
        let mut senders = JoinSet::new();
        for first in 0..8 {
            let (scene, herd) = (self.scene.clone(), herd.clone());
            senders.spawn(async move {
                for who in herd.skip(first).step_by(8) {
                    for _ in 0..TRIES_MAX {
                        if send(&scene, CORE - 1 - first % 4, Chat::Direct(who), 30).await.is_some() {
                            break;
                        }
                    }
                }
            });
        }
        senders.join_all().await;
        self.world.wish(herd.clone(), Wish::Here);
        let connected = self.world.connected().await;
        let more = if kill { format!(", server started in {} ms", started.as_millis()) } else { String::new() };
        format!("{} phones back in {} ms{more}", herd.len(), connected.as_millis())
    }

    async fn turn_clock(&self, rng: &mut StdRng) -> String {
        let mut steps = Vec::new();
        for _ in 0..4 {
            let ahead_s = match rng.random_range(0..4) {
                0 => rng.random_range(-120..120),
                1 => rng.random_range(-90_000..90_000),
                2 => -30 * 86_400,
                _ => 30 * 86_400,
            };
            self.world.set_clock(ahead_s);
            steps.push(format!("{ahead_s:+} s"));
            pause(rng, 200..700).await;
        }
        self.world.set_clock(0);
        steps.join(", ")
    }
}

/// Whether anything was acknowledged after a moment.
pub fn acknowledged_after(scene: &Scene, moment: Duration) -> bool {
    let history = scene.recorder.lock();
    let mut latest = history.messages.iter().rev().take(5000);
    latest.any(|message| matches!(&message.call.ended, Some((at, Answer::Yes)) if *at > moment))
}

async fn pause(rng: &mut StdRng, ms: std::ops::Range<u64>) {
    tokio::time::sleep(Duration::from_millis(rng.random_range(ms))).await;
}

/// Whose messages show what others feel: people of the core that no fault is done to.
pub fn is_bystander(who: Who) -> bool {
    who < CORE
}
