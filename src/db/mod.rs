//! Two databases behind one set of statements.
//!
//! [`Db`] is chosen by the URL's scheme. Store functions take a [`Conn`] and write each statement once, through the macros
//! of `macros`, which hand it to the native driver of either engine. Only [`dialect`] knows that the engines differ.

mod checkpoint;
mod claim;
pub mod dialect;
mod error;
mod lease;
pub(crate) mod macros;
mod open;
pub mod packed;
mod schema;
mod snapshot;
pub mod sql;
mod url;
mod writer;

use std::time::Duration;

use checkpoint::Checkpoints;
pub use claim::Claim;
pub use error::{is_deadlock, is_unique_violation, needs_operator};
use futures_util::FutureExt;
use lease::{Lease, LeaseTx, Lender};
pub(crate) use macros::{execute, execute_with, fetch_all, fetch_all_with, fetch_one, fetch_optional};
use prometheus::{Histogram, HistogramOpts, HistogramVec};
pub use snapshot::{Cell, Snapshot};
use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqliteConnection, SqlitePool};
use tokio_util::sync::CancellationToken;
pub use url::{check_mysql, check_url};
use writer::{WriteLock, WriteTx, Writer};

use crate::error::{AppError, Result};
use crate::metrics::SECONDS;

/// How long a piece of work on the store may take.
const WORK_MAX: Duration = Duration::from_secs(10);

/// Bounds work on the store. A database that vanished without a word answers nothing for many minutes, and whoever waits for
/// it holds locks, places and connections that others need.
/// Each statement that goes to MySQL has this bound by itself.
pub fn in_time<T>(work: impl Future<Output = Result<T>>) -> impl Future<Output = Result<T>> {
    // Not an async function, which would hold `work` twice.
    tokio::time::timeout(WORK_MAX, work).map(|done| done.unwrap_or_else(|late| Err(AppError::unavailable(late))))
}

/// The store.
#[derive(Clone, Debug)]
pub struct Db {
    pools: Pools,
    waits: Waits,
}

/// Pools of one engine.
#[derive(Clone, Debug)]
enum Pools {
    /// MySQL 8 or MariaDB 10.11 and later.
    MySql(Lender),
    /// The embedded SQLite: readers run beside one writer, so that writers queue fairly instead of polling a lock.
    Sqlite {
        /// Connections that only read.
        readers: SqlitePool,
        /// The one connection that writes.
        writer: Writer,
        /// Keeps the writer's log short.
        checkpoints: Checkpoints,
    },
}

/// How long connections were waited for.
#[derive(Clone, Debug)]
pub struct Waits {
    family: HistogramVec,
    read: Histogram,
    write: Histogram,
    transaction: Histogram,
}

impl Default for Waits {
    fn default() -> Self {
        let options = HistogramOpts::new(
            "qingniao_database_wait_seconds",
            "Time until a connection was lent; for a transaction, until it had begun.",
        );
        let family = HistogramVec::new(options.buckets(SECONDS.to_vec()), &["for"]).expect("a valid name");
        let of = |what| family.with_label_values(&[what]);
        let (read, write, transaction) = (of("read"), of("write"), of("transaction"));
        Self { family, read, write, transaction }
    }
}

/// How a pool stands.
#[derive(Clone, Copy, Debug)]
pub struct PoolState {
    /// Value of the label `pool`.
    pub pool: &'static str,
    /// Open connections.
    pub size: u32,
    /// Of these, not lent.
    pub idle: usize,
    /// Most connections.
    pub max: u32,
}

impl PoolState {
    fn of<DB: sqlx::Database>(name: &'static str, pool: &sqlx::Pool<DB>) -> Self {
        Self { pool: name, size: pool.size(), idle: pool.num_idle(), max: pool.options().get_max_connections() }
    }
}

/// Which engine a statement goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// MySQL or MariaDB.
    MySql,
    /// SQLite.
    Sqlite,
}

/// A connection lent to store functions, in or out of a transaction.
pub enum Conn<'c> {
    /// A connection of the MySQL driver.
    MySql(&'c mut Lease),
    /// A connection of the SQLite driver.
    Sqlite(&'c mut SqliteConnection),
}

/// A pooled connection without a transaction.
pub enum Lent {
    /// Of the MySQL pool.
    MySql(Lease),
    /// Of the SQLite readers.
    Sqlite(PoolConnection<Sqlite>),
    /// The SQLite writer.
    SqliteWriter(WriteLock),
}

/// A write transaction: rolled back unless [`Tx::commit`] is called.
pub enum Tx {
    /// Of the MySQL driver.
    MySql(LeaseTx),
    /// Of the SQLite driver, begun with the write lock taken.
    Sqlite(WriteTx),
}

impl Engine {
    /// As a label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MySql => "mysql",
            Self::Sqlite => "sqlite",
        }
    }
}

impl Db {
    /// Lends a connection for reading.
    pub async fn read(&self) -> Result<Lent> {
        let _waiting = self.waits.read.start_timer();
        Ok(match &self.pools {
            Pools::MySql(lender) => Lent::MySql(lender.lend().await?),
            Pools::Sqlite { readers, .. } => Lent::Sqlite(readers.acquire().await?),
        })
    }

    /// Begins a write transaction. On SQLite this waits for the only writer, so keep it short.
    pub async fn begin(&self) -> Result<Tx> {
        let _waiting = self.waits.transaction.start_timer();
        Ok(match &self.pools {
            Pools::MySql(lender) => Tx::MySql(lender.begin().await?),
            Pools::Sqlite { writer, checkpoints, .. } => {
                checkpoints.expect_write();
                Tx::Sqlite(writer.begin().await?)
            }
        })
    }

    /// Begins a write transaction that may take hours, for a store that nobody else has.
    pub async fn begin_long(&self) -> Result<Tx> {
        match &self.pools {
            Pools::MySql(lender) => lender.begin_long().await.map(Tx::MySql),
            Pools::Sqlite { .. } => self.begin().await,
        }
    }

    /// Keeps SQLite's log short, or closes connections to MySQL that nobody needs, until `stop`.
    pub async fn run_upkeep(&self, stop: &CancellationToken) {
        match &self.pools {
            Pools::MySql(lender) => lender.run(stop).await,
            Pools::Sqlite { checkpoints, .. } => checkpoints.run(stop).await,
        }
    }

    /// Lends a connection for one statement that writes and is durable by itself: no transaction to begin and commit.
    pub async fn write_one(&self) -> Result<Lent> {
        let _waiting = self.waits.write.start_timer();
        Ok(match &self.pools {
            Pools::MySql(lender) => Lent::MySql(lender.lend().await?),
            Pools::Sqlite { writer, checkpoints, .. } => {
                checkpoints.expect_write();
                Lent::SqliteWriter(writer.lock().await?)
            }
        })
    }

    /// Which engine this is.
    pub const fn engine(&self) -> Engine {
        match self.pools {
            Pools::MySql(_) => Engine::MySql,
            Pools::Sqlite { .. } => Engine::Sqlite,
        }
    }

    /// How long connections were waited for, to be registered.
    pub fn waits(&self) -> HistogramVec {
        self.waits.family.clone()
    }

    /// How the pools stand.
    pub fn pools(&self) -> Vec<PoolState> {
        match &self.pools {
            Pools::MySql(lender) => vec![PoolState::of("mysql", lender.pool())],
            Pools::Sqlite { readers, writer, .. } => {
                vec![PoolState::of("sqlite_readers", readers), writer.state()]
            }
        }
    }

    /// Asks the store for next to nothing, and waits for the answer.
    pub async fn ping(&self) -> Result<()> {
        let mut reader = self.read().await?;
        let (_,) = fetch_one!(&mut reader.conn(), (i64,), "SELECT COUNT(*) FROM inboxes WHERE user_id = 0")?;
        Ok(())
    }

    /// Commits next to nothing: shows that the store can be written.
    pub async fn try_write(&self) -> Result<()> {
        let mut tx = self.begin().await?;
        // There and back, since MySQL writes nothing where nothing changes.
        execute!(&mut tx.conn(), "UPDATE backlog_progress SET filed_id = filed_id + 1 WHERE id = 1")?;
        execute!(&mut tx.conn(), "UPDATE backlog_progress SET filed_id = filed_id - 1 WHERE id = 1")?;
        tx.commit().await
    }

    /// Closes every connection; SQLite folds its log into the file.
    pub async fn close(&self) {
        match &self.pools {
            Pools::MySql(lender) => lender.pool().close().await,
            Pools::Sqlite { readers, writer, .. } => {
                readers.close().await;
                writer.close().await;
            }
        }
    }
}

impl Lent {
    /// The connection, as store functions take it.
    pub fn conn(&mut self) -> Conn<'_> {
        match self {
            Self::MySql(c) => Conn::MySql(c),
            Self::Sqlite(c) => Conn::Sqlite(c),
            Self::SqliteWriter(c) => Conn::Sqlite(c.connection()),
        }
    }
}

impl Tx {
    /// The connection, as store functions take it.
    pub fn conn(&mut self) -> Conn<'_> {
        match self {
            Self::MySql(c) => Conn::MySql(c.lease()),
            Self::Sqlite(c) => Conn::Sqlite(c.connection()),
        }
    }

    /// Makes the changes durable. After an error the outcome is unknown: answer nobody as if it had happened.
    pub async fn commit(self) -> Result<()> {
        match self {
            Self::MySql(tx) => tx.commit().await?,
            Self::Sqlite(tx) => tx.commit().await?,
        }
        Ok(())
    }
}

impl Conn<'_> {
    /// Which engine this connection speaks to.
    pub const fn engine(&self) -> Engine {
        match self {
            Self::MySql(_) => Engine::MySql,
            Self::Sqlite(_) => Engine::Sqlite,
        }
    }
}

/// What a statement that changes rows did.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// Rows that matched (both engines count matched rows, changed or not).
    pub rows: u64,
    /// Id of the inserted row; on MySQL that of the *first* row of a multi-row insert, on SQLite that of the last.
    pub id: i64,
}
