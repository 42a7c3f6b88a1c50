//! The load program: drives the real release binary over loopback and prints one table with the rows of `goals.md`.
//!
//! `cargo bench --bench load -- --list` lists the rows; `benches/README.md` says how to read the table. The generator runs
//! on one thread and does little for each message, because it shares the machine with the server.

mod apart;
mod arguments;
mod asking;
mod ceiling;
mod chat;
mod crew;
mod database;
mod failure;
mod fan;
mod figures;
mod files;
mod http;
mod letter;
mod machine;
mod mark;
mod people;
mod procfs;
mod report;
mod rows;
mod seed;
mod server;
mod setting;
mod table;
mod ws;

use std::{
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use clap::Parser;
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
    task::LocalSet,
};

use crate::{
    arguments::Arguments,
    failure::{Failure, While},
    rows::{ROWS, Row},
};

/// Set in the environment once the limit of open files has been raised.
const RAISED: &str = "QINGNIAO_LOAD_RAISED";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.ceiling {
        Some(address) => ceiling::serve(address).map(|()| true),
        None if arguments.list => {
            list();
            Ok(true)
        }
        None => raise_open_files().and_then(|()| measure(&arguments)),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("load: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn list() {
    for row in ROWS {
        println!("{:<8}{:<14}{}", row.topic, row.name, row.about);
    }
}

/// Starts this program again through a shell with as many open files as are allowed: ten thousand sockets need them, and
/// the limit cannot be raised from safe Rust.
fn raise_open_files() -> Result<(), Failure> {
    if std::env::var_os(RAISED).is_some() {
        return Ok(());
    }
    let program = std::env::current_exe().doing("finding this program")?;
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"ulimit -n "$(ulimit -Hn)"; exec "$0" "$@""#]);
    shell.arg(program).args(std::env::args_os().skip(1)).env(RAISED, "1");
    Err(Failure::new(format!("starting again with more open files: {}", shell.exec())))
}

/// Runs the chosen rows; false when one failed or sounded an alarm.
fn measure(arguments: &Arguments) -> Result<bool, Failure> {
    let chosen = choose(&arguments.rows, &arguments.skip)?;
    let runtime = Builder::new_current_thread().enable_all().build().doing("starting the runtime")?;
    LocalSet::new().block_on(&runtime, async {
        let mut interrupts = signal(SignalKind::interrupt()).doing("waiting for Ctrl-C")?;
        let mut terminations = signal(SignalKind::terminate()).doing("waiting for SIGTERM")?;
        // Dropping the measurement kills the server that it has started.
        tokio::select! {
            outcome = table::print(arguments, &chosen) => outcome,
            _ = interrupts.recv() => Err(Failure::new("interrupted")),
            _ = terminations.recv() => Err(Failure::new("terminated")),
        }
    })
}

fn choose(names: &[String], skip: &[String]) -> Result<Vec<&'static Row>, Failure> {
    let unknown = names.iter().chain(skip).find(|name| !ROWS.iter().any(|row| row.is_meant_by(name)));
    if let Some(name) = unknown {
        return Err(Failure::new(format!("no row or topic is called {name}; --list lists them")));
    }
    let meant = |row: &Row, names: &[String]| names.iter().any(|name| row.is_meant_by(name));
    Ok(ROWS.iter().filter(|row| (names.is_empty() || meant(row, names)) && !meant(row, skip)).collect())
}
