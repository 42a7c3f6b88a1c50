//! Against what, on which engine and for how long a row is run.

use std::{fmt, path::PathBuf, time::Duration};

use clap::ValueEnum;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// The release binary.
    Server,
    /// The same route and push with no rules and no store.
    Ceiling,
}

/// Where the server keeps its rows.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// A fresh file in a fresh directory.
    Sqlite,
    /// A fresh database on the local MariaDB or MySQL.
    Mysql,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::Mysql => "MySQL",
        })
    }
}

/// One run of one row.
#[derive(Clone)]
pub struct Setting {
    pub target: Target,
    pub engine: Engine,
    /// Load that is not counted, before the measured time.
    pub warm_up: Duration,
    /// The measured time of a row that is measured by time.
    pub measured: Duration,
    /// The server's program.
    pub binary: PathBuf,
    /// The server's root URL of MySQL, without a database.
    pub mysql_url: String,
}
