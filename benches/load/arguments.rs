//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::Parser;

use crate::setting::{Engine, Target};

/// Drives the release binary over loopback and prints one table.
#[derive(Parser)]
pub struct Arguments {
    /// Rows to run, by name, by topic or by the beginning of a name; all when none is given.
    pub rows: Vec<String>,
    /// Rows to leave out, named likewise.
    #[arg(long, value_delimiter = ',')]
    pub skip: Vec<String>,
    /// How often each row is run; the table shows the median.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub runs: u32,
    /// The engine of the rows that are not about one.
    #[arg(long, value_enum, default_value_t = Engine::Sqlite)]
    pub engine: Engine,
    /// Measured seconds of the rows that are measured by time.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// Where MySQL or MariaDB listens; the database `qingniao_load` there is made anew for each run.
    #[arg(long, default_value = "mysql://root@127.0.0.1:3306")]
    pub mysql_url: String,
    /// Measures another build of the server than the one that was built with this program.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_qingniao"), hide_default_value = true)]
    pub binary: PathBuf,
    /// Prints the table as Markdown, when all rows are done.
    #[arg(long)]
    pub markdown: bool,
    /// Lists the rows.
    #[arg(long)]
    pub list: bool,
    /// Measures only the server, or only the ceiling program in its place.
    #[arg(long, value_enum)]
    pub only: Option<Target>,
    /// Serves as the ceiling program.
    #[arg(long, hide = true)]
    pub ceiling: Option<SocketAddr>,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}
