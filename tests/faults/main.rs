//! The fault runner: load on the real binary, faults, and a check of the whole history after each. `README.md` beside this
//! file says how to use it.

mod arguments;
mod check;
mod fault;
mod findings;
mod garbage;
mod history;
mod load;
mod phone;
mod round;
mod spoil;
mod stage;
mod store;
#[path = "../it/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the runner uses a part of what the black-box tests stand on")]
mod support;
mod world;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use arguments::{Arguments, Engine};
use fault::{Fault, Scale};
use findings::Findings;
use qingniao::os::{Signals, raise_open_files};
use spoil::Spoiling;
use stage::Stage;

/// Longest round, beyond all waits that it has of its own: one that hangs is to say so, and not to hold up a suite.
const ROUND_MAX: Duration = Duration::from_mins(5);
/// So many rounds have something in them for every way to spoil a history.
const ROUNDS_FOR_SPOILING: u32 = 8;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if cfg!(not(unix)) {
        support::skip("the fault runner needs signals");
        return ExitCode::SUCCESS;
    }
    if arguments.list {
        Arguments::print_list();
        return ExitCode::SUCCESS;
    }
    // A herd takes as many open files as it has phones. With less, it shows that.
    let _ = raise_open_files();
    // One worker beside the main thread, which kills servers and waits for them. With two, hyper's client may hand a request to a
    // connection that ends in the same moment, and tokio's channel then keeps it where nobody finds it: the call has no answer for ever
    // (README.md, "What was seen").
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    let mut good = true;
    for engine in arguments.engines() {
        good &= runtime.block_on(async {
            tokio::select! {
                good = run(&arguments, engine) => good,
                // What was started ends with the run: MariaDB would live on.
                () = interrupted() => {
                    println!("faults on {engine}: interrupted");
                    false
                }
            }
        });
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Waits for Ctrl-C or SIGTERM.
async fn interrupted() {
    Signals::listen().expect("signals can be listened to").next().await;
}

/// All rounds on one engine. Returns whether everything was as promised.
async fn run(arguments: &Arguments, engine: Engine) -> bool {
    if arguments.faults(engine).is_empty() {
        return true;
    }
    let seed = arguments.seed.unwrap_or_else(rand::random);
    let again = arguments.again(engine, seed);
    println!("faults on {engine}: seed {seed} (again: {again})");
    let Some(mut stage) = Stage::prepare(arguments, engine, seed).await else { return true };
    let mut rng = StdRng::seed_from_u64(seed);
    let (began, mut findings, mut spoiling) = (Instant::now(), Findings::default(), Spoiling::default());
    let mut plan = Plan::of(arguments, engine, &mut rng);
    let mut good = true;
    while let Some(fault) = plan.next(began.elapsed(), &mut rng) {
        // Each round has its own choices, so that one that is slow does not change the next.
        let mut rng = StdRng::seed_from_u64(rng.random());
        let Some((world, maria)) = stage.ground(fault).await else { continue };
        let ended = tokio::time::timeout(ROUND_MAX, round::run(world, maria, fault, plan.scale, &mut rng)).await;
        let outcome =
            ended.unwrap_or_else(|_| panic!("round {} ({}) ends, seed {seed}", plan.rounds + 1, fault.name()));
        plan.rounds += 1;
        let wrongs = findings.add(fault, &outcome, arguments.strict);
        println!("{}", Findings::line(plan.rounds, began.elapsed(), fault, &outcome));
        if wrongs.is_empty() {
            spoiling.try_on(&world.recorder.copy());
        } else {
            good = false;
            wrongs.iter().take(20).for_each(|wrong| println!("  !!! {wrong}"));
            if wrongs.len() > 20 {
                println!("  !!! and {} more", wrongs.len() - 20);
            }
            break;
        }
    }
    for missed in &spoiling.missed {
        println!("  !!! {missed}");
        good = false;
    }
    if good && plan.rounds >= ROUNDS_FOR_SPOILING && !spoiling.is_complete() {
        println!("  !!! the rounds had too little in them to check the check");
        good = false;
    }
    print!("{findings}");
    println!("{}", spoiling.summary());
    println!(
        "faults on {engine}: {}, seed {seed}, {:.0} s",
        if good { "all as promised" } else { "FAILED" },
        began.elapsed().as_secs_f64()
    );
    if good {
        stage.remove();
    } else {
        println!("server logs and histories are in {}", stage.keep().display());
        println!("again: {again}");
    }
    good
}

/// Which fault comes next, and when it is enough.
struct Plan {
    /// Those that are left of the list, or, in a run without end, those to choose from.
    faults: Vec<Fault>,
    at_random: bool,
    rounds: u32,
    rounds_max: u32,
    time_max: Duration,
    scale: Scale,
}

impl Plan {
    fn of(arguments: &Arguments, engine: Engine, rng: &mut StdRng) -> Self {
        let at_random = arguments.is_long();
        let mut faults = arguments.faults(engine);
        if !at_random {
            // A short run does each once, the commonest more often, in an order of its own.
            for (fault, more) in [(Fault::Kill, 9), (Fault::Term, 2)] {
                let times = if faults.contains(&fault) { more } else { 0 };
                faults.extend(std::iter::repeat_n(fault, times));
            }
            rand::seq::SliceRandom::shuffle(faults.as_mut_slice(), rng);
        }
        let (rounds_max, minutes) = match (arguments.rounds, arguments.minutes) {
            (Some(rounds), minutes) => (rounds, minutes.unwrap_or(u64::MAX / 60)),
            (None, Some(minutes)) => (u32::MAX, minutes),
            (None, None) if at_random => (u32::MAX, 10),
            (None, None) => (u32::MAX, u64::MAX / 60),
        };
        let scale = Scale { herd: arguments.herd(), patience: if at_random { 3 } else { 1 } };
        Self { faults, at_random, rounds: 0, rounds_max, time_max: Duration::from_secs(60 * minutes), scale }
    }

    fn next(&mut self, elapsed: Duration, rng: &mut StdRng) -> Option<Fault> {
        if self.rounds >= self.rounds_max || elapsed >= self.time_max {
            return None;
        }
        if self.at_random { self.faults.choose(rng).copied() } else { self.faults.pop() }
    }
}
