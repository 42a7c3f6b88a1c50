//! Two databases behind one set of statements.
//!
//! [`Db`] is chosen by the URL's scheme. Store functions take a [`Conn`] and write each statement once, through the macros
//! of [`macros`](self), which hand it to the native driver of either engine. Only [`dialect`] knows that the engines differ.

pub mod dialect;
mod error;
pub(crate) mod macros;
mod open;
pub mod packed;
pub mod sql;

use std::time::Duration;

pub use error::{is_deadlock, is_unique_violation};
pub(crate) use macros::{execute, execute_with, fetch_all, fetch_all_with, fetch_one, fetch_optional};
use sqlx::pool::PoolConnection;
use sqlx::{MySql, MySqlConnection, MySqlPool, Sqlite, SqliteConnection, SqlitePool, Transaction};

use crate::error::{AppError, Result};

/// How long a piece of work on the store may take.
const WORK_MAX: Duration = Duration::from_secs(10);

/// Bounds work on the store. A database that vanished without a word answers nothing for many minutes, and whoever waits for
/// it holds locks, places and connections that others need.
pub async fn in_time<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let done = tokio::time::timeout(WORK_MAX, work).await;
    done.unwrap_or_else(|late| Err(AppError::unavailable(late)))
}

/// The store: a pool of one engine.
#[derive(Clone, Debug)]
pub enum Db {
    /// MySQL 8 or MariaDB 10.11 and later.
    MySql(MySqlPool),
    /// The embedded SQLite: readers run beside one writer, so that writers queue fairly instead of polling a lock.
    Sqlite {
        /// Connections that only read.
        readers: SqlitePool,
        /// The one connection that writes.
        writer: SqlitePool,
    },
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
    MySql(&'c mut MySqlConnection),
    /// A connection of the SQLite driver.
    Sqlite(&'c mut SqliteConnection),
}

/// A pooled connection without a transaction.
pub enum Lent {
    /// Of the MySQL pool.
    MySql(PoolConnection<MySql>),
    /// Of the SQLite readers, or the SQLite writer.
    Sqlite(PoolConnection<Sqlite>),
}

/// A write transaction: rolled back unless [`Tx::commit`] is called.
pub enum Tx {
    /// Of the MySQL driver.
    MySql(Transaction<'static, MySql>),
    /// Of the SQLite driver, begun with the write lock taken.
    Sqlite(Transaction<'static, Sqlite>),
}

impl Db {
    /// Lends a connection for reading.
    pub async fn read(&self) -> Result<Lent> {
        Ok(match self {
            Self::MySql(pool) => Lent::MySql(pool.acquire().await?),
            Self::Sqlite { readers, .. } => Lent::Sqlite(readers.acquire().await?),
        })
    }

    /// Begins a write transaction. On SQLite this waits for the only writer, so keep it short.
    pub async fn begin(&self) -> Result<Tx> {
        Ok(match self {
            Self::MySql(pool) => Tx::MySql(pool.begin().await?),
            Self::Sqlite { writer, .. } => Tx::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
        })
    }

    /// Lends a connection for one statement that writes and is durable by itself: no transaction to begin and commit.
    pub async fn write_one(&self) -> Result<Lent> {
        Ok(match self {
            Self::MySql(pool) => Lent::MySql(pool.acquire().await?),
            Self::Sqlite { writer, .. } => Lent::Sqlite(writer.acquire().await?),
        })
    }

    /// Which engine this is.
    pub const fn engine(&self) -> Engine {
        match self {
            Self::MySql(_) => Engine::MySql,
            Self::Sqlite { .. } => Engine::Sqlite,
        }
    }

    /// Closes every connection; SQLite folds its log into the file.
    pub async fn close(&self) {
        match self {
            Self::MySql(pool) => pool.close().await,
            Self::Sqlite { readers, writer } => {
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
        }
    }
}

impl Tx {
    /// The connection, as store functions take it.
    pub fn conn(&mut self) -> Conn<'_> {
        match self {
            Self::MySql(c) => Conn::MySql(c),
            Self::Sqlite(c) => Conn::Sqlite(c),
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
