//! What a run has found, fault by fault, in lines and in a table; and what of it is against the goals.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::check::Verdict;
use super::fault::Fault;
use super::round::{LOAD_MIN, Outcome};

/// Others may feel bad clients by this factor.
const FELT_MAX: u32 = 2;
/// A busy machine, with a debug build, may show so much of its own. Whoever waits for a stalled peer waits longer.
const NOISE: Duration = Duration::from_millis(600);
/// The same for a strict run: what a percentile of some hundred messages varies by.
const NOISE_STRICT: Duration = Duration::from_millis(10);
/// What bad clients may make the server's memory grow by: some windows and queues, whatever they do.
const GROWTH_MAX_KIB: u64 = 64 * 1024;
/// What each phone of a herd may add to that.
const GROWTH_A_PHONE_KIB: u64 = 48;

/// What may come twice over a stop, of all that comes, and whatever comes.
const TWICE_ONE_IN: usize = 20;
const TWICE_AT_LEAST: usize = 10;

#[derive(Default)]
struct Total {
    rounds: usize,
    sent: usize,
    acknowledged: usize,
    busy: usize,
    unanswered: usize,
    deliveries: usize,
    lost: usize,
    doubled: usize,
    revoked: usize,
    recoveries: Vec<Duration>,
    calm: Vec<Duration>,
    during: Vec<Duration>,
    growth_kib: u64,
}

#[derive(Default)]
pub struct Findings(BTreeMap<Fault, Total>);

impl Findings {
    /// Adds a round. Returns all that was wrong with it.
    pub fn add(&mut self, fault: Fault, outcome: &Outcome, strict: bool) -> Vec<String> {
        let total = self.0.entry(fault).or_default();
        let Verdict { wrongs, sent, acknowledged, busy, unanswered, deliveries, lost, doubled, revoked } =
            &outcome.verdict;
        let mut wrongs = wrongs.clone();
        total.rounds += 1;
        total.sent += sent;
        total.acknowledged += acknowledged;
        total.busy += busy;
        total.unanswered += unanswered;
        total.deliveries += deliveries;
        total.lost += lost;
        total.doubled += doubled;
        total.revoked += revoked;
        total.recoveries.push(outcome.recovery);
        total.calm.extend(&outcome.calm);
        total.during.extend(&outcome.during);
        if let Some(growth) = outcome.growth_kib {
            total.growth_kib = total.growth_kib.max(growth);
            let phones = u64::try_from(outcome.phones).unwrap_or(u64::MAX);
            if growth > GROWTH_MAX_KIB + phones * GROWTH_A_PHONE_KIB {
                wrongs.push(format!("memory: the server grew by {growth} KiB"));
            }
        }
        // A stop asks for the last pongs: only a peer that was slow to answer, or whose socket was just opening, gets some twice.
        if fault == Fault::Term && doubled * TWICE_ONE_IN > deliveries + TWICE_AT_LEAST * TWICE_ONE_IN {
            wrongs.push(format!("twice: {doubled} of {deliveries} came twice over a stop"));
        }
        if *acknowledged < LOAD_MIN {
            wrongs.push(format!("load: only {acknowledged} messages were acknowledged"));
        }
        let (calm, during) = (p99(&outcome.calm), p99(&outcome.during));
        let noise = if strict { NOISE_STRICT } else { NOISE };
        if fault.of_clients() && during > calm * FELT_MAX + noise {
            wrongs.push(format!("felt: p99 of the others was {during:?}, and {calm:?} before"));
        }
        wrongs
    }

    /// The line of progress after a round.
    pub fn line(round: u32, elapsed: Duration, fault: Fault, outcome: &Outcome) -> String {
        let verdict = &outcome.verdict;
        let words = if outcome.words.is_empty() { String::new() } else { format!("; {}", outcome.words) };
        let felt = if fault.of_clients() {
            format!("; p99 of the others {} -> {} ms", ms(p99(&outcome.calm)), ms(p99(&outcome.during)))
        } else {
            String::new()
        };
        let growth = outcome.growth_kib.map_or_else(String::new, |kib| format!("; memory +{} MiB", kib / 1024));
        format!(
            "[{:5.0} s] {round} {}: {} sent, {} acknowledged, {} refused by 503, {} unanswered; {} deliveries, {} lost, \
             {} twice; acknowledges again after {} ms{words}{felt}{growth}",
            elapsed.as_secs_f64(),
            fault.name(),
            verdict.sent,
            verdict.acknowledged,
            verdict.busy,
            verdict.unanswered,
            verdict.deliveries,
            verdict.lost,
            verdict.doubled,
            ms(outcome.recovery)
        )
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n| fault | rounds | acknowledged | 503 | unanswered | deliveries | lost | twice | revoked | again after, ms: median, most | \
             p99 of others, ms: before, during | memory, MiB |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
        )?;
        for (fault, total) in &self.0 {
            let mut recoveries = total.recoveries.clone();
            recoveries.sort_unstable();
            let median = recoveries.get(recoveries.len() / 2).copied().unwrap_or_default();
            let most = recoveries.last().copied().unwrap_or_default();
            let (felt, memory) = if fault.of_clients() {
                let felt = format!("{}, {}", ms(p99(&total.calm)), ms(p99(&total.during)));
                (felt, format!("+{}", total.growth_kib / 1024))
            } else {
                (String::new(), String::new())
            };
            writeln!(
                f,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {}, {} | {felt} | {memory} |",
                fault.name(),
                total.rounds,
                total.acknowledged,
                total.busy,
                total.unanswered,
                total.deliveries,
                total.lost,
                total.doubled,
                total.revoked,
                ms(median),
                ms(most),
            )?;
        }
        Ok(())
    }
}

/// The 99th percentile.
fn p99(values: &[Duration]) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get((sorted.len() * 99 / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn ms(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}
