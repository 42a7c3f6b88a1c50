//! One server a database: a second one would move cursors past messages that only the first has pushed.
//!
//! A guard against a mistake (two containers, a stop that was not waited for). It is given back when the process ends, however it ends.

use std::fs::{File, TryLockError};
use std::future::pending;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use sqlx::mysql::MySqlConnectOptions;
use sqlx::{Connection, Executor, MySqlConnection};
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::open::{reach, sqlite_options};
use crate::config::Config;
use crate::error::{AppError, Result};

/// How long a start waits for the end of another server on the same SQLite file: a stop takes three seconds.
const FILE_PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks.
const FILE_POLL: Duration = Duration::from_millis(50);
/// The same on MySQL, which notices after 30 s that a machine is gone.
const MYSQL_PATIENCE: Duration = Duration::from_secs(35);
/// How often the connection that holds the claim shows that it lives.
const PING_EVERY: Duration = Duration::from_secs(5);

/// The right to serve a database, until it is dropped.
#[derive(Debug)]
pub enum Claim {
    /// The lock of a file beside SQLite's.
    File(File),
    /// A user lock of MySQL, which belongs to this connection.
    MySql(Box<(MySqlConnection, MySqlConnectOptions)>),
    /// The file system or the database has no such locks.
    Unguarded,
}

impl Claim {
    /// Makes this process the only one that serves the database of `config`; waits a while for one that is about to end.
    pub async fn new(config: &Config) -> Result<Self> {
        match sqlite_options(config)? {
            Some(options) => Self::of_file(options.get_filename()).await,
            None => Self::of_mysql(&MySqlConnectOptions::from_str(&config.database_url)?).await,
        }
    }

    async fn of_file(database: &Path) -> Result<Self> {
        let mut path = database.as_os_str().to_owned();
        path.push(".lock");
        let file = File::create(&path)
            .map_err(|cause| AppError::internal(format!("{} cannot be made: {cause}", Path::new(&path).display())))?;
        let began = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self::File(file)),
                Err(TryLockError::WouldBlock) if began.elapsed() < FILE_PATIENCE => sleep(FILE_POLL).await,
                Err(TryLockError::WouldBlock) => return Err(taken()),
                Err(TryLockError::Error(cause)) => return Ok(unguarded(&cause)),
            }
        }
    }

    async fn of_mysql(options: &MySqlConnectOptions) -> Result<Self> {
        let mut connection = open(options).await?;
        let name = name(options);
        let mut got = take(&mut connection, &name, Duration::ZERO).await;
        if matches!(got, Ok(false)) {
            warn!("another server uses this database; waiting up to {} s for its end", MYSQL_PATIENCE.as_secs());
            got = take(&mut connection, &name, MYSQL_PATIENCE).await;
        }
        match got {
            Ok(true) => Ok(Self::MySql(Box::new((connection, options.clone())))),
            Ok(false) => Err(taken()),
            Err(cause) => Ok(unguarded(&cause)),
        }
    }

    /// Keeps the claim. Returns when another server has it, which can only be if the database did not hear of this one for long.
    pub async fn lost(&mut self) -> AppError {
        let Self::MySql(held) = self else { return pending().await };
        let (connection, options) = &mut **held;
        loop {
            sleep(PING_EVERY).await;
            if matches!(timeout(PING_EVERY, connection.ping()).await, Ok(Ok(()))) {
                continue;
            }
            // The database was restarted, or is away: then nothing can be stored, and there is time.
            let Ok(mut anew) = open(options).await else { continue };
            match take(&mut anew, &name(options), MYSQL_PATIENCE).await {
                Ok(true) => *connection = anew,
                Ok(false) => return AppError::internal("another server has claimed the database meanwhile"),
                Err(cause) => warn!(%cause, "the claim on the database could not be renewed; trying again"),
            }
        }
    }
}

async fn open(options: &MySqlConnectOptions) -> Result<MySqlConnection> {
    let mut connection = reach(options).await?;
    // If this machine vanishes, MySQL frees the claim after so long.
    connection.execute("SET SESSION wait_timeout = 30").await?;
    Ok(connection)
}

/// Of the user lock: MySQL takes 64 characters.
fn name(options: &MySqlConnectOptions) -> String {
    format!("qingniao:{}", options.get_database().unwrap_or_default()).chars().take(64).collect()
}

async fn take(connection: &mut MySqlConnection, name: &str, patience: Duration) -> Result<bool, sqlx::Error> {
    let got = sqlx::query_scalar("SELECT GET_LOCK(?, ?)").bind(name).bind(patience.as_secs());
    let got: Option<i64> = got.fetch_one(connection).await?;
    Ok(got == Some(1))
}

fn taken() -> AppError {
    AppError::internal(
        "another Qingniao serves this database: of two, each would lose messages of the other; stop it first",
    )
}

fn unguarded(cause: &impl std::fmt::Display) -> Claim {
    warn!(%cause, "this database cannot be claimed: take care that no second server uses it");
    Claim::Unguarded
}
