//! MySQL connections that are lent, and closed instead of given back if work on them was dropped half-way.
//!
//! sqlx gives such a connection back. But the answer to a statement that was being prepared is then still to come, and every
//! later statement would take the answer of the one before it; or a transaction has begun that the driver knows nothing of,
//! and a statement that is thought to be durable would become part of it.

use sqlx::mysql::MySqlTransactionManager;
use sqlx::pool::PoolConnection;
use sqlx::{MySql, MySqlConnection, MySqlPool};
use sqlx_core::transaction::TransactionManager;

use crate::error::Result;

/// A lent connection.
pub struct Lease {
    connection: PoolConnection<MySql>,
    /// Something was asked of it, and its answer has not been taken yet.
    running: bool,
}

impl Lease {
    pub(super) async fn take(pool: &MySqlPool) -> Result<Self> {
        Ok(Self { connection: pool.acquire().await?, running: false })
    }

    /// The connection, for one statement, whose end must be told by [`Lease::ended`].
    pub fn start(&mut self) -> &mut MySqlConnection {
        self.running = true;
        &mut self.connection
    }

    /// The answer to the statement was taken, whatever it was.
    pub const fn ended(&mut self) {
        self.running = false;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.running {
            self.connection.close_on_drop();
        }
    }
}

/// A transaction: rolled back unless it is committed.
pub struct LeaseTx {
    lease: Lease,
    open: bool,
}

impl LeaseTx {
    pub(super) async fn begin(pool: &MySqlPool) -> Result<Self> {
        let mut lease = Lease::take(pool).await?;
        let begun = MySqlTransactionManager::begin(lease.start(), None).await;
        lease.ended();
        begun?;
        Ok(Self { lease, open: true })
    }

    /// The connection.
    pub fn lease(&mut self) -> &mut Lease {
        &mut self.lease
    }

    pub(super) async fn commit(mut self) -> Result<()> {
        let committed = MySqlTransactionManager::commit(self.lease.start()).await;
        self.lease.ended();
        committed?;
        self.open = false;
        Ok(())
    }
}

impl Drop for LeaseTx {
    fn drop(&mut self) {
        if self.open && !self.lease.running {
            // Sent when the connection is given back, before whoever gets it next.
            MySqlTransactionManager::start_rollback(&mut self.lease.connection);
        }
    }
}
