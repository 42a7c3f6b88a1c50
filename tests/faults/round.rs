//! One round: people talk, a fault is done to them, it ends, everybody comes back, and the history is checked.

use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;

use super::check::{self, Verdict};
use super::fault::{Fault, Scale, Victim, acknowledged_after, is_bystander};
use super::history::{Chat, History, Kind, Moment, Trouble};
use super::load::Load;
use super::phone::Wish;
use super::store::MariaDb;
use super::world::{WRECKED, World};

/// How long all that is due may take to arrive when nothing is wrong any more.
const ARRIVES_WITHIN: Duration = Duration::from_secs(30);
/// Messages that are acknowledged before the fault.
pub const LOAD_MIN: usize = 30;
/// How long is listened for what should not come.
const QUIET: Duration = Duration::from_millis(150);

/// What a round has shown.
pub struct Outcome {
    pub verdict: Verdict,
    /// What the fault has measured by the way.
    pub words: String,
    /// From the end of the fault to the first acknowledgement.
    pub recovery: Duration,
    /// From sending to arrival among bystanders, before the fault and during it.
    pub calm: Vec<Duration>,
    pub during: Vec<Duration>,
    /// Growth of the server's resident memory at its peak, in KiB.
    pub growth_kib: Option<u64>,
    /// Phones that took part.
    pub phones: usize,
}

pub async fn run(
    world: &mut World,
    maria: Option<&mut MariaDb>,
    fault: Fault,
    scale: Scale,
    rng: &mut StdRng,
) -> Outcome {
    world.recorder.lock().next_round();
    world.reshuffle(rng);
    let herd = WRECKED.end..WRECKED.end + if matches!(fault, Fault::Herd | Fault::KillHerd) { scale.herd } else { 0 };
    world.add_people(herd.end).await;
    world.wish(herd.clone(), Wish::Here);
    if fault.of_clients() {
        // The wrecked must have shown that they answer pings, and as many bystanders as can be are measured.
        world.wish(0..WRECKED.end, Wish::Here);
    }
    world.connected().await;
    let scene = world.scene(Duration::from_millis(2)).await;
    let load = Load::start(&scene, rng);
    let calm = if fault.of_clients() { 1000..1500 } else { 100..500 };
    let calm = Duration::from_millis(rng.random_range(calm));
    if fault == Fault::Stall {
        // What others suffer is to be told apart from what so many large messages cost anyhow, when they are read.
        Victim { world, maria: None, scene: &scene, scale }.flood(WRECKED, calm).await;
    } else {
        tokio::time::sleep(calm).await;
    }
    // On a machine that is busy with other things, until there is a load worth the name.
    let patience = Instant::now() + ARRIVES_WITHIN;
    while acknowledged(&world.recorder.lock()) < LOAD_MIN && Instant::now() < patience {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let memory = Memory::begin(world.process());
    let recorder = world.recorder.clone();
    let began = recorder.now();
    let trouble = Trouble { name: fault.name(), began, healed: None, store: fault.of_store() };
    recorder.lock().troubles.push(trouble);
    let words = Victim { world, maria, scene: &scene, scale }.suffer(fault, rng).await;
    let healed = recorder.now();
    if let Some(trouble) = recorder.lock().troubles.last_mut() {
        trouble.healed = Some(healed);
    }
    let growth_kib = memory.filter(|_| fault.of_clients()).and_then(Memory::growth_kib);
    let recovery = recovery(&scene, healed, fault).await;
    tokio::time::sleep(Duration::from_millis(rng.random_range(50..300))).await;
    load.stop().await;
    settle(world, herd.end).await;

    let history = world.recorder.copy();
    let calm = latencies(&history, Moment::ZERO..began);
    let during = latencies(&history, began..healed);
    let verdict = check::check(&history);
    Outcome { verdict, words, recovery, calm, during, growth_kib, phones: herd.end }
}

/// How many messages of the round are acknowledged.
fn acknowledged(history: &History) -> usize {
    history.current().filter(|(_, message)| message.call.is_yes()).count()
}

/// Waits until something is acknowledged again.
async fn recovery(scene: &super::load::Scene, healed: Moment, fault: Fault) -> Duration {
    let began = Instant::now();
    while !acknowledged_after(scene, healed) && began.elapsed() < ARRIVES_WITHIN {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let took = began.elapsed();
    if took > fault.recovery_max() {
        scene.recorder.wrong(format_args!("recovery: nothing was acknowledged for {took:?} after {}", fault.name()));
    }
    took
}

/// Everybody comes, until all that is due is there; then a moment longer, for what is not.
async fn settle(world: &World, everybody: usize) {
    world.wish(0..everybody, Wish::Here);
    let mut due = check::due(&world.recorder.copy());
    let began = Instant::now();
    while !due.is_empty() && began.elapsed() < ARRIVES_WITHIN {
        due = check::missing(&world.recorder.lock(), &due);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.connected().await;
    tokio::time::sleep(QUIET).await;
}

/// From sending to arrival, of messages among bystanders that were sent in a span of time.
fn latencies(history: &History, span: std::ops::Range<Moment>) -> Vec<Duration> {
    let receipts = history.receipts[history.first_receipt..].iter().filter(|receipt| {
        let message = &history.messages[receipt.message];
        let online = history.lines[receipt.line].asked.is_some_and(|asked| asked < message.call.began);
        let bystanders = is_bystander(receipt.who) && matches!(message.chat, Chat::Direct(_));
        online && bystanders && receipt.kind == Kind::Whole && span.contains(&message.call.began)
    });
    receipts.map(|receipt| receipt.at.saturating_sub(history.messages[receipt.message].call.began)).collect()
}

/// The resident memory of a process from now on.
struct Memory {
    process: u32,
    before_kib: u64,
}

impl Memory {
    fn begin(process: u32) -> Option<Self> {
        // "5" starts the peak anew.
        std::fs::write(format!("/proc/{process}/clear_refs"), "5").ok()?;
        Some(Self { process, before_kib: kib(process, "VmRSS:")? })
    }

    fn growth_kib(self) -> Option<u64> {
        Some(kib(self.process, "VmHWM:")?.saturating_sub(self.before_kib))
    }
}

fn kib(process: u32, key: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}
