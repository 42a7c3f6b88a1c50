//! Opening the store at the start.

use std::io;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, Executor, MySqlConnection};

use super::checkpoint::Checkpoints;
use super::error::advice;
use super::lease::{Lender, Replaced};
use super::schema;
use super::writer::Writer;
use super::{Db, Pools, Waits};
use crate::config::{Config, make_private, open_private};
use crate::error::{AppError, Result};

/// Prepared statements kept a connection: the statements of all stores plus one for each length of the multi-row ones.
const STATEMENTS_MAX: usize = 512;
/// Readers of the embedded SQLite, each a thread: more would only queue for the same two cores.
const SQLITE_READERS_MAX: u32 = 4;
/// A MySQL connection that rested longer than this is tried before it is lent, so that a restarted server is noticed.
const MYSQL_REST_MAX: Duration = Duration::from_millis(500);
/// How long that trial may take.
const MYSQL_PING_MAX: Duration = Duration::from_millis(300);
/// A MySQL connection that is older than this is closed and not lent again: what takes its place may reach another machine.
const MYSQL_AGE_MAX: Duration = Duration::from_mins(30);
/// Settings of each MySQL session, besides its isolation.
///
/// A statement alone is a transaction, whatever the database's own default. The packed rows of `db::packed` would be cut at 1024 bytes.
/// Whoever waits for a row or a table is told so by MySQL, before the server gives up by itself. The last two end a transaction whose
/// client is gone without a word, and free its rows: MariaDB has a setting for just that (MySQL takes it for a comment); MySQL closes
/// whatever is silent.
const MYSQL_SESSION: &str = "SET SESSION autocommit = 1, SESSION auto_increment_increment = 1, SESSION innodb_lock_wait_timeout = 5, \
    SESSION lock_wait_timeout = 8, SESSION group_concat_max_len = 16777216, \
    SESSION wait_timeout = 30 /*M!100300, SESSION idle_transaction_timeout = 3 */";
/// How long the start waits for MySQL's answer.
const PATIENCE: Duration = Duration::from_secs(10);

impl Db {
    /// Opens the store that `config` names and brings its schema up to date.
    pub async fn open(config: &Config) -> Result<Self> {
        let Some(options) = sqlite_options(config)? else {
            return Self::migrated(open_mysql(config).await?).await;
        };
        let file = options.get_filename().to_owned();
        let opened = async { Self::migrated(open_sqlite(options, config).await?).await };
        opened.await.map_err(|cause| {
            // SQLite's own words name no file.
            let (file, key) = (file.display(), sqlite_key(config));
            AppError::internal(format!("the database {file} ({key}): {}", cause.for_log()))
        })
    }

    /// The store with its schema up to date, once it is sure that it can be written.
    async fn migrated(pools: Pools) -> Result<Self> {
        let db = Self { pools, waits: Waits::default() };
        match &db.pools {
            Pools::MySql(lender) => schema::migrate_mysql(&lender.pool().connect_options()).await?,
            Pools::Sqlite { writer, .. } => schema::migrate_sqlite(writer.lock().await?.connection()).await?,
        }
        let tried = db.try_write().await;
        tried.map_err(|cause| AppError::internal(format!("the database cannot be written: {}", cause.for_log())))?;
        Ok(db)
    }
}

/// SQLite's file, in a folder that is made if it is not there; `None` for MySQL.
pub(super) fn sqlite_options(config: &Config) -> Result<Option<SqliteConnectOptions>> {
    let options = match config.database_url.as_str() {
        "" => SqliteConnectOptions::new().filename(config.sqlite_path()),
        url if url.starts_with("sqlite:") => SqliteConnectOptions::from_str(url)?,
        _ => return Ok(None),
    };
    if let Some(folder) = options.get_filename().parent().filter(|folder| *folder != Path::new("")) {
        make_private(folder).map_err(|cause| {
            AppError::internal(format!("{} cannot be made ({}): {cause}", folder.display(), sqlite_key(config)))
        })?;
    }
    Ok(Some(options))
}

/// The setting that says where SQLite's file is.
pub(super) fn sqlite_key(config: &Config) -> &'static str {
    if config.database_url.is_empty() {
        "key `data_dir`, QINGNIAO_DATA_DIR"
    } else {
        "key `database_url`, DATABASE_URL"
    }
}

async fn open_sqlite(options: SqliteConnectOptions, config: &Config) -> Result<Pools> {
    // SQLite gives its other files the rights of this one, and itself would have made it for everybody to read.
    open_private(options.get_filename()).map_err(AppError::internal)?;
    let options = options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // For macOS, whose plain sync leaves what was written in the disk's own memory. Nothing elsewhere.
        .pragma("fullfsync", "ON")
        .busy_timeout(Duration::from_secs(5))
        .statement_cache_capacity(STATEMENTS_MAX);
    // Checkpoints are rare, so that a page that changes often is copied into the file once and not after every thousandth
    // page of the log; the log is cut back to its bound afterwards.
    let writing = options
        .clone()
        .pragma("wal_autocheckpoint", "8000")
        .pragma("journal_size_limit", "67108864")
        .pragma("cache_size", "-16384")
        // A multi-row insert keeps a journal of its own, which would spill into a temporary file on disk.
        .pragma("temp_store", "MEMORY");
    let patience = Duration::from_millis(config.database.acquire_timeout_ms);
    let checkpoints = Checkpoints::new(options.clone());
    let writer = Writer::open(writing, patience).await?;
    // Each commit of the writer empties the readers' caches: a cache larger than one answer needs would only take memory.
    let reading = options.pragma("query_only", "ON").pragma("cache_size", "-512");
    let readers = SqlitePoolOptions::new()
        .max_connections(SQLITE_READERS_MAX)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(patience)
        .connect_lazy_with(reading);
    Ok(Pools::Sqlite { readers, writer, checkpoints })
}

/// A connection beside the pool, or why there is none.
pub(super) async fn reach(options: &MySqlConnectOptions) -> Result<MySqlConnection> {
    connect(options).await.map_err(|cause| {
        let cause = format!("{cause}{}", advice(&cause));
        unreached("the database of `database_url` (DATABASE_URL)", options, &cause)
    })
}

/// A connection, if there is an answer in time.
pub(super) async fn connect(options: &MySqlConnectOptions) -> sqlx::Result<MySqlConnection> {
    let connected = tokio::time::timeout(PATIENCE, MySqlConnection::connect_with(options)).await;
    connected.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer").into()))
}

/// Why `database`, which is at the place that `options` name, cannot be used.
pub(super) fn unreached(database: &str, options: &MySqlConnectOptions, cause: &str) -> AppError {
    // Not the URL: its name and password are not for the log.
    let place = match options.get_socket() {
        Some(path) => path.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    AppError::internal(format!("{database} at {place}: {cause}"))
}

async fn open_mysql(config: &Config) -> Result<Pools> {
    let options = MySqlConnectOptions::from_str(&config.database_url)?
        .charset("utf8mb4")
        .statement_cache_capacity(STATEMENTS_MAX);
    // The pool tries again until its patience ends, and then tells of its patience only: ask once for the cause.
    // Its goodbye may fail: MySQL is the first to hang up.
    let _ = reach(&options).await?.close().await;
    let replaced = Replaced::default();
    let outdated = replaced.clone();
    let pool = MySqlPoolOptions::new()
        .max_connections(config.database.connections_max)
        .test_before_acquire(false)
        // See `Lender`.
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(Duration::from_millis(config.database.acquire_timeout_ms))
        .after_connect(|connection, _| {
            Box::pin(async move {
                connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
                connection.execute(MYSQL_SESSION).await?;
                Ok(())
            })
        })
        .before_acquire(move |connection, meta| {
            let is_outdated = outdated.outdates(meta.age);
            Box::pin(async move {
                if is_outdated || meta.age > MYSQL_AGE_MAX {
                    return Ok(false);
                }
                if meta.idle_for > MYSQL_REST_MAX {
                    // One that does not answer soon is given up for a new one.
                    let answered = tokio::time::timeout(MYSQL_PING_MAX, connection.ping()).await;
                    return Ok(matches!(answered, Ok(Ok(()))));
                }
                Ok(true)
            })
        })
        .connect_with(options)
        .await?;
    Ok(Pools::MySql(Lender::new(pool, replaced)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Conn;

    /// What a full disk does: SQLite takes the whole transaction back by itself, and has none to roll back afterwards.
    #[tokio::test]
    async fn a_transaction_that_sqlite_took_back_by_itself_does_not_bar_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::defaults();
        config.data_dir = folder.path().to_owned();
        let db = Db::open(&config).await.unwrap();
        let mut tx = db.begin().await.unwrap();
        let Conn::Sqlite(conn) = tx.conn() else { unreachable!("the default is SQLite") };
        conn.execute("PRAGMA max_page_count = 1").await.unwrap();
        let full = conn.execute(
            "INSERT INTO chat_groups (uuid, owner_id, name, avatar, remark, created_at, updated_at) \
             VALUES ('x', 1, '', '', hex(zeroblob(100000)), 0, 0)",
        );
        assert!(full.await.unwrap_err().to_string().contains("full"));
        drop(tx);
        db.begin().await.unwrap().commit().await.unwrap();
    }
}
