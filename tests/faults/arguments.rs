//! The command line.

use std::fmt;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use super::fault::Fault;
use super::support::database::mysql_server;

/// Drives load against the real binary, does faults to it, and checks the whole history after each.
///
/// Without options: every fault once, as the suite does it, on SQLite, or on MariaDB where QINGNIAO_TEST_DATABASE_URL is set.
#[derive(Parser, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct Arguments {
    /// Only these faults (repeat, or separate by commas).
    #[arg(long, value_enum, value_delimiter = ',')]
    pub fault: Vec<Fault>,
    /// Repeats the choices of a run.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Faults at random, harder and in larger herds, for ten minutes unless said otherwise.
    #[arg(long)]
    pub long: bool,
    /// So many rounds.
    #[arg(long)]
    pub rounds: Option<u32>,
    /// For so many minutes.
    #[arg(long)]
    pub minutes: Option<u64>,
    #[arg(long, value_enum)]
    pub engine: Option<Engine>,
    /// Phones of a herd.
    #[arg(long)]
    pub herd: Option<usize>,
    /// What others feel of bad clients is judged as the goals say, and not as a busy machine allows.
    #[arg(long)]
    pub strict: bool,
    /// Another build of the server.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_qingniao"), hide_default_value = true)]
    pub binary: PathBuf,
    /// Lists the faults.
    #[arg(long)]
    pub list: bool,
    /// What `cargo test NAME` hands to every test: only the faults whose names contain it.
    #[arg(hide = true)]
    pub names: Vec<String>,
    /// Handed over by `cargo test -- --nocapture`, as the next one.
    #[arg(long, hide = true)]
    nocapture: bool,
    #[arg(long, hide = true)]
    test_threads: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    Sqlite,
    Mysql,
    Both,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().expect("every engine has a name").get_name())
    }
}

impl Arguments {
    pub fn engines(&self) -> Vec<Engine> {
        match self.engine {
            Some(Engine::Both) => vec![Engine::Sqlite, Engine::Mysql],
            Some(engine) => vec![engine],
            None if mysql_server().is_some() => vec![Engine::Mysql],
            None => vec![Engine::Sqlite],
        }
    }

    /// Faults are chosen at random until it is enough.
    pub fn is_long(&self) -> bool {
        self.long || self.rounds.is_some() || self.minutes.is_some()
    }

    pub fn herd(&self) -> usize {
        self.herd.unwrap_or(if self.is_long() { 3000 } else { 200 })
    }

    /// Those that are asked for and can be done on an engine.
    pub fn faults(&self, engine: Engine) -> Vec<Fault> {
        let asked = |fault: &Fault| self.fault.is_empty() || self.fault.contains(fault);
        let named = |fault: &Fault| self.names.is_empty() || self.names.iter().any(|name| fault.name().contains(name));
        let can = |fault: &Fault| fault.engine().is_none_or(|maria| maria == (engine == Engine::Mysql));
        Fault::value_variants().iter().copied().filter(asked).filter(named).filter(can).collect()
    }

    pub fn print_list() {
        for fault in Fault::value_variants() {
            let help = fault.to_possible_value().and_then(|value| Some(value.get_help()?.to_string()));
            println!("{:14} {}", fault.name(), help.unwrap_or_default());
        }
    }

    /// The command that repeats a run.
    pub fn again(&self, engine: Engine, seed: u64) -> String {
        let mut command = format!("cargo test --test faults -- --engine {engine} --seed {seed}");
        let mut add = |option: &str, value: Option<String>| {
            command.extend(value.map(|value| format!(" {option} {value}")));
        };
        let faults: Vec<String> = self.fault.iter().map(|fault| fault.name()).collect();
        add("--fault", (!faults.is_empty()).then(|| faults.join(",")));
        add("--rounds", self.rounds.map(|rounds| rounds.to_string()));
        add("--minutes", self.minutes.map(|minutes| minutes.to_string()));
        add("--herd", self.herd.map(|herd| herd.to_string()));
        if self.long {
            command += " --long";
        }
        command
    }
}
