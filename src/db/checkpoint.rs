//! Copies SQLite's log into its file beside the writer.
//!
//! SQLite does so by itself, but inside a commit: everybody who writes then waits until thousands of pages are copied and the file
//! is on the disk. A checkpoint of another connection holds nobody up, and leaves a little for that commit to do.

use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How long the log grows after a write before it is looked at.
const GATHER: Duration = Duration::from_millis(10);
/// Pages that are worth a checkpoint: a page that changes often is copied once for many changes.
const PAGES_MIN: i64 = 500;
/// Rest after a checkpoint failed.
const RETRY: Duration = Duration::from_secs(1);

/// What there is to know for checkpoints.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    options: Arc<SqliteConnectOptions>,
    /// Something may have been written.
    written: Arc<Notify>,
}

impl Checkpoints {
    /// Of the file that `options` name.
    pub fn new(options: SqliteConnectOptions) -> Self {
        Self { options: Arc::new(options), written: Arc::default() }
    }

    /// Tells that something is about to be written.
    pub fn expect_write(&self) {
        self.written.notify_one();
    }

    /// Keeps the log short until the server stops.
    pub async fn run(&self, stop: &CancellationToken) {
        let mut connection = None;
        while let Some(()) = stop.run_until_cancelled(self.due()).await {
            if let Err(cause) = self.step(&mut connection).await {
                warn!(%cause, "a checkpoint of SQLite's log failed; until one succeeds, commits do that work");
                connection = None;
                stop.run_until_cancelled(sleep(RETRY)).await;
            }
        }
        // The last connection to close folds the log into the file; that is to be the writer.
        if let Some(connection) = connection
            && let Err(cause) = connection.close().await
        {
            warn!(%cause, "the connection for checkpoints could not be closed");
        }
    }

    async fn due(&self) {
        self.written.notified().await;
        sleep(GATHER).await;
    }

    async fn step(&self, connection: &mut Option<SqliteConnection>) -> sqlx::Result<()> {
        let connection = match connection {
            Some(connection) => connection,
            None => connection.insert(self.options.connect().await?),
        };
        // Pages in the log, and how many of them are copied.
        let (_, pages, copied): (i64, i64, i64) =
            sqlx::query_as("PRAGMA wal_checkpoint(NOOP)").fetch_one(&mut *connection).await?;
        if pages - copied >= PAGES_MIN {
            sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(connection).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqliteJournalMode;

    use super::*;

    #[tokio::test]
    async fn a_long_log_is_copied_and_a_short_one_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new().filename(folder.path().join("c.db")).create_if_missing(true);
        let options = options.journal_mode(SqliteJournalMode::Wal);
        let writing = options.clone().pragma("wal_autocheckpoint", "0");
        let mut writer = writing.connect().await.unwrap();
        let checkpoints = Checkpoints::new(options);
        let mut connection = None;
        sqlx::query("CREATE TABLE t (b BLOB)").execute(&mut writer).await.unwrap();
        for (pages, expected) in [(PAGES_MIN / 2, false), (PAGES_MIN, true)] {
            sqlx::query("INSERT INTO t VALUES (randomblob(? * 4096))").bind(pages).execute(&mut writer).await.unwrap();
            checkpoints.step(&mut connection).await.unwrap();
            let sql = "PRAGMA wal_checkpoint(NOOP)";
            let (_, log, copied): (i64, i64, i64) = sqlx::query_as(sql).fetch_one(&mut writer).await.unwrap();
            assert_eq!((log >= pages, copied == log), (true, expected), "{copied} of {log}");
        }
    }
}
