//! One server per database: a second one would move cursors past messages that only the first has pushed.
//!
//! A guard against a mistake (two containers, a stop that was not waited for). It is given back when the process ends, however it ends.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use sqlx::mysql::MySqlConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor, MySqlConnection, SqlSafeStr};
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::open::{reach, sqlite_key, sqlite_options};
use super::sql::Sql;
use crate::config::{Config, open_private};
use crate::error::{AppError, Result};
use crate::os;

/// How long a start waits for the end of another server on the same SQLite file: a stop takes three seconds.
const FILE_PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks.
const FILE_POLL: Duration = Duration::from_millis(50);
/// The same on MySQL, which notices after 30 s that a machine is gone.
const MYSQL_PATIENCE: Duration = Duration::from_secs(35);
/// How often it is looked whether the claim still holds: whether MySQL knows of it, and SQLite's files are those that were opened.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long such a look may take.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// The right to serve a database, until it is dropped.
#[derive(Debug)]
pub enum Claim {
    /// The lock of a file beside SQLite's.
    File(FileLock),
    /// A user lock of MySQL.
    MySql(Box<UserLock>),
}

/// A lock that belongs to an open file.
#[derive(Debug)]
pub struct FileLock {
    database: PathBuf,
    path: PathBuf,
    file: File,
}

/// A lock that belongs to a connection.
#[derive(Debug)]
pub struct UserLock {
    name: String,
    options: MySqlConnectOptions,
    connection: MySqlConnection,
    /// What MySQL calls the connection.
    connection_id: i64,
}

impl Claim {
    /// Makes this process the only one that serves the database of `config`; waits a while for one that is about to end.
    pub async fn new(config: &Config) -> Result<Self> {
        match sqlite_options(config)? {
            Some(options) => lock_file(options.get_filename(), sqlite_key(config)).await.map(Self::File),
            None => lock_mysql(&config.database_url).await.map(|lock| Self::MySql(Box::new(lock))),
        }
    }

    /// Keeps the claim on a database, also while it is opened; may be dropped and called again. Returns when it is lost: another server was faster after MySQL had forgotten this
    /// one, or SQLite's file is not at its path any more.
    pub async fn lost(&mut self) -> AppError {
        let lock = match self {
            Self::File(lock) => return lock.lost().await,
            Self::MySql(lock) => lock,
        };
        loop {
            sleep(LOOK_EVERY).await;
            if matches!(timeout(LOOK_MAX, lock.is_held()).await, Ok(Ok(true))) {
                continue;
            }
            // The database was restarted, or is away, or this connection is: it is tried until one or the other has it.
            match timeout(LOOK_MAX, lock.renew()).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => {
                    return AppError::internal(
                        "another server has claimed the database in the meantime; this one must stop",
                    );
                }
                Ok(Err(cause)) => warn!(cause = cause.for_log(), "the claim on the database is gone; trying again"),
                Err(late) => warn!(cause = %late, "the claim on the database is gone; trying again"),
            }
        }
    }

    /// Lets another server have the database.
    pub async fn release(self) {
        if let Self::MySql(lock) = self {
            // If that fails, the connection is gone already.
            let _ = timeout(LOOK_MAX, lock.connection.close()).await;
        }
    }
}

async fn lock_file(database: &Path, key: &str) -> Result<FileLock> {
    // By whatever name it is opened: SQLite follows links, too.
    let database = std::fs::canonicalize(database).unwrap_or_else(|_| database.to_owned());
    let mut path = database.clone().into_os_string();
    path.push(".lock");
    let failed = |cause: io::Error| {
        AppError::internal(format!(
            "{} cannot be locked ({key}): {cause}{}",
            Path::new(&path).display(),
            advice(&cause)
        ))
    };
    let file = open_private(Path::new(&path)).map_err(failed)?;
    let mut waits_since = None;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(FileLock { database, path: path.into(), file }),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(cause)) => return Err(failed(cause)),
        }
        let since = waits_since.get_or_insert_with(|| {
            announce(FILE_PATIENCE);
            Instant::now()
        });
        if since.elapsed() >= FILE_PATIENCE {
            return Err(taken());
        }
        sleep(FILE_POLL).await;
    }
}

/// What to do about a file that cannot be opened, if it is known.
fn advice(cause: &io::Error) -> String {
    if cause.kind() != io::ErrorKind::PermissionDenied {
        return String::new();
    }
    format!("; it and its folder must belong to {}, as which this server runs", os::user())
}

impl FileLock {
    async fn lost(&self) -> AppError {
        let (database, lock) = loop {
            if let (Ok(database), Ok(lock)) = (file_id(&self.database).await, self.file.metadata()) {
                break (database, lock);
            }
            // At the first start it is about to be made.
            sleep(LOOK_EVERY).await;
        };
        loop {
            sleep(LOOK_EVERY).await;
            for (path, opened) in [(&self.database, database), (&self.path, os::file_id(&lock))] {
                let is_other = match file_id(path).await {
                    Ok(found) => found != opened,
                    // For another reason it may not be looked at, and be there all the same.
                    Err(cause) => cause.kind() == io::ErrorKind::NotFound,
                };
                if is_other {
                    return AppError::internal(format!(
                        "{} was removed or replaced while it was in use, and what is written now would be in no file. Stop the server \
                         before you restore a backup, then start it again",
                        path.display()
                    ));
                }
            }
        }
    }
}

/// Which file is at `path`.
async fn file_id(path: &Path) -> io::Result<u64> {
    Ok(os::file_id(&tokio::fs::metadata(path).await?))
}

async fn lock_mysql(url: &str) -> Result<UserLock> {
    // To wait for a lock is no slow statement that the log need name.
    let options = MySqlConnectOptions::from_str(url)?.disable_statement_logging();
    // MySQL takes 64 characters.
    let name: String = format!("qingniao:{}", options.get_database().unwrap_or_default()).chars().take(64).collect();
    let (mut connection, connection_id) = open(&options).await?;
    if !take(&mut connection, &name, Duration::ZERO).await? {
        announce(MYSQL_PATIENCE);
        if !take(&mut connection, &name, MYSQL_PATIENCE).await? {
            return Err(taken());
        }
    }
    let mut lock = UserLock { name, options, connection, connection_id };
    // The question is prepared once, here: if that were dropped half-way, the connection would be out of step (`db::lease`).
    lock.is_held().await?;
    Ok(lock)
}

impl UserLock {
    async fn is_held(&mut self) -> Result<bool> {
        let held = sqlx::query_scalar("SELECT IS_USED_LOCK(?) = CONNECTION_ID()").bind(&self.name);
        let held: Option<i64> = held.fetch_one(&mut self.connection).await?;
        Ok(held == Some(1))
    }

    /// Takes the lock by another connection. False if another server has it.
    async fn renew(&mut self) -> Result<bool> {
        let (mut anew, id) = open(&self.options).await?;
        if take(&mut anew, &self.name, Duration::ZERO).await? {
            (self.connection, self.connection_id) = (anew, id);
            return Ok(true);
        }
        let holder = sqlx::query_scalar("SELECT CAST(IS_USED_LOCK(?) AS SIGNED)").bind(&self.name);
        let holder: Option<i64> = holder.fetch_one(&mut anew).await?;
        if holder.is_some_and(|holder| holder != self.connection_id) {
            return Ok(false);
        }
        if let Some(own) = holder {
            // Our old connection, which does not answer us and still lives for the database.
            anew.execute(Sql::of_text(format!("KILL {own}")).into_sql_str()).await?;
        }
        Err(AppError::unavailable("the old connection to the database still has the claim"))
    }
}

async fn open(options: &MySqlConnectOptions) -> Result<(MySqlConnection, i64)> {
    let mut connection = reach(options).await?;
    // If this machine vanishes, MySQL frees the claim after so long.
    connection.execute("SET SESSION wait_timeout = 30").await?;
    let id = sqlx::query_scalar("SELECT CAST(CONNECTION_ID() AS SIGNED)").fetch_one(&mut connection).await?;
    Ok((connection, id))
}

async fn take(connection: &mut MySqlConnection, name: &str, patience: Duration) -> Result<bool> {
    let got = sqlx::query_scalar("SELECT GET_LOCK(?, ?)").bind(name).bind(patience.as_secs());
    let got: Option<i64> = got.fetch_one(connection).await?;
    Ok(got == Some(1))
}

fn announce(patience: Duration) {
    warn!("another server uses this database; waiting up to {} s for its end", patience.as_secs());
}

fn taken() -> AppError {
    AppError::internal(
        "another Qingniao is serving this database; two at once would lose each other's messages. Stop it first",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_may_not_open_the_file_is_told_whose_it_must_be() {
        let told = advice(&io::ErrorKind::PermissionDenied.into());
        assert!(told.contains(&os::user()), "{told}");
        assert_eq!(advice(&io::ErrorKind::NotFound.into()), "");
    }
}
