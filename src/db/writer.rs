//! SQLite's one writer: a connection behind a fair lock.
//!
//! Not a pool of one: sqlx asks each connection that comes back whether it lives, and the next writer would wait for that
//! round to the connection's thread.

use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteTransactionManager};
use sqlx::{ConnectOptions, Connection, SqlSafeStr, SqliteConnection};
use sqlx_core::transaction::TransactionManager;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::PoolState;
use crate::error::{AppError, Result};

/// The connection, lent to one writer at a time in the order of asking.
#[derive(Clone, Debug)]
pub struct Writer {
    /// `None` once it is closed.
    connection: Arc<Mutex<Option<SqliteConnection>>>,
    options: Arc<SqliteConnectOptions>,
    /// How long a writer waits for its turn.
    patience: Duration,
}

impl Writer {
    pub(super) async fn open(options: SqliteConnectOptions, patience: Duration) -> Result<Self> {
        let connection = options.connect().await?;
        Ok(Self { connection: Arc::new(Mutex::new(Some(connection))), options: Arc::new(options), patience })
    }

    /// Waits for the turn of one writer.
    pub(super) async fn lock(&self) -> Result<WriteLock> {
        let turn = tokio::time::timeout(self.patience, self.connection.clone().lock_owned()).await;
        let mut turn = turn.map_err(AppError::unavailable)?;
        let Some(connection) = turn.as_mut() else { return Err(AppError::busy()) };
        if connection.is_in_transaction() {
            // The rollback of a dropped transaction may still be on its way to the connection's thread.
            connection.ping().await?;
            if connection.is_in_transaction() {
                // After some errors (a full disk, a failed read) SQLite takes the transaction back by itself. The driver's
                // own rollback then fails, and it would refuse every later transaction on this connection.
                *connection = self.options.connect().await?;
            }
        }
        Ok(WriteLock(turn))
    }

    /// As a pool of one.
    pub(super) fn state(&self) -> PoolState {
        let idle = usize::from(self.connection.try_lock().is_ok());
        PoolState { pool: "sqlite_writer", size: 1, idle, max: 1 }
    }

    /// Waits for the turn, and begins a transaction that holds SQLite's write lock from its first moment.
    pub(super) async fn begin(&self) -> Result<WriteTx> {
        let mut lock = self.lock().await?;
        SqliteTransactionManager::begin(lock.connection(), Some("BEGIN IMMEDIATE".into_sql_str())).await?;
        Ok(WriteTx { lock, open: true })
    }

    /// Waits for the last writer, and folds SQLite's log into its file.
    pub(super) async fn close(&self) {
        if let Some(connection) = self.connection.lock().await.take()
            && let Err(cause) = connection.close().await
        {
            tracing::warn!(%cause, "SQLite could not be closed; its log is read at the next start");
        }
    }
}

/// The right to write.
pub struct WriteLock(OwnedMutexGuard<Option<SqliteConnection>>);

impl WriteLock {
    /// The connection.
    pub fn connection(&mut self) -> &mut SqliteConnection {
        self.0.as_mut().expect("a closed connection is not lent")
    }
}

/// A transaction of the writer: rolled back unless it is committed.
pub struct WriteTx {
    lock: WriteLock,
    open: bool,
}

impl WriteTx {
    /// The connection.
    pub fn connection(&mut self) -> &mut SqliteConnection {
        self.lock.connection()
    }

    pub(super) async fn commit(mut self) -> Result<()> {
        SqliteTransactionManager::commit(self.lock.connection()).await?;
        self.open = false;
        Ok(())
    }
}

impl Drop for WriteTx {
    fn drop(&mut self) {
        if self.open {
            // Reaches the connection's thread before whatever the next writer asks for.
            SqliteTransactionManager::start_rollback(self.lock.connection());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn writer(folder: &tempfile::TempDir) -> Writer {
        let options = SqliteConnectOptions::new().filename(folder.path().join("w.db")).create_if_missing(true);
        let writer = Writer::open(options, Duration::from_millis(50)).await.unwrap();
        sqlx::query("CREATE TABLE t (n INTEGER)").execute(writer.lock().await.unwrap().connection()).await.unwrap();
        writer
    }

    async fn count(writer: &Writer) -> i64 {
        let mut lock = writer.lock().await.unwrap();
        sqlx::query_scalar("SELECT COUNT(*) FROM t").fetch_one(lock.connection()).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_not_committed_is_rolled_back_before_the_next_writer() {
        let folder = tempfile::tempdir().unwrap();
        let writer = writer(&folder).await;
        for commit in [false, true, false] {
            let mut tx = writer.begin().await.unwrap();
            sqlx::query("INSERT INTO t VALUES (1)").execute(tx.connection()).await.unwrap();
            if commit {
                tx.commit().await.unwrap();
            }
        }
        assert_eq!(count(&writer).await, 1);
    }

    #[tokio::test]
    async fn a_writer_that_is_dropped_in_the_middle_leaves_a_usable_connection() {
        let folder = tempfile::tempdir().unwrap();
        let writer = writer(&folder).await;
        for polls in 0..40 {
            let work = async {
                let mut tx = writer.begin().await.unwrap();
                sqlx::query("INSERT INTO t VALUES (1)").execute(tx.connection()).await.unwrap();
                std::future::pending::<()>().await;
            };
            let _ = tokio::time::timeout(Duration::from_micros(polls * 25), work).await;
        }
        assert_eq!(count(&writer).await, 0);
        writer.begin().await.unwrap().commit().await.unwrap();
    }

    #[tokio::test]
    async fn nobody_waits_for_ever_and_nobody_writes_after_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let writer = writer(&folder).await;
        let held = writer.lock().await.unwrap();
        assert!(writer.begin().await.is_err(), "the patience has an end");
        drop(held);
        writer.begin().await.unwrap().commit().await.unwrap();
        writer.close().await;
        assert!(writer.lock().await.is_err());
    }
}
