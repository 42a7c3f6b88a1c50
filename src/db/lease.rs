//! MySQL connections that are lent, and closed instead of given back if work on them was dropped half-way, or when nobody needs
//! them any more.
//!
//! sqlx gives a connection back whose work was dropped. But the answer to a statement that was being prepared is then still to come, and every
//! later statement would take the answer of the one before it; or a transaction has begun that the driver knows nothing of,
//! and a statement that is thought to be durable would become part of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use sqlx::mysql::MySqlTransactionManager;
use sqlx::pool::PoolConnection;
use sqlx::{Connection, Executor, MySql, MySqlConnection, MySqlPool};
use sqlx_core::transaction::TransactionManager;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::error::is_replaced;
use super::{WORK_MAX, in_time};
use crate::error::{AppError, Result};
use crate::limits::Seldom;

/// How long MySQL may take for a rollback and for the question with which a connection is given back; then it is closed.
const RETURN_MAX: Duration = Duration::from_secs(3);
/// Connections nobody has needed since the last look, which comes this often, are closed: before MySQL does it, and writes a warning.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long the end of such a connection may take.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// Has a session live through hours in which it is asked for nothing, also within a transaction (MariaDB's own settings).
pub(super) const LONG_SESSION: &str = "SET SESSION wait_timeout = 28800 /*M!100300 , SESSION idle_transaction_timeout = 0, \
    SESSION idle_write_transaction_timeout = 0, SESSION idle_readonly_transaction_timeout = 0 */";
/// How long the commit of a long transaction may take: a binary log gets a copy of all of it.
const LONG_COMMIT_MAX: Duration = Duration::from_hours(1);
/// How often all connections may be given up because the server may not be written to.
const RENEW_REST: Duration = Duration::from_secs(1);

/// Lends the connections of one pool.
#[derive(Clone, Debug)]
pub struct Lender {
    pool: MySqlPool,
    /// How often since the last look.
    lent: Arc<AtomicUsize>,
    replaced: Replaced,
}

/// When the server behind the connections was last found to be none to write to. Those from before then are not lent again: they lead to
/// a machine whose place another has taken, and what is read there is old.
#[derive(Clone, Debug, Default)]
pub(super) struct Replaced(Arc<(Mutex<Option<Instant>>, Seldom)>);

impl Replaced {
    fn at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.0.lock().expect("no code panics while it holds this lock")
    }

    /// Takes note of it, once a [`RENEW_REST`]: until the new server takes writes, each statement may say so.
    fn note(&self) {
        let mut at = self.at();
        if at.is_none_or(|at| at.elapsed() >= RENEW_REST) {
            *at = Some(Instant::now());
            if self.0.1.is_due() {
                warn!("the database may only be read: another may have taken its place, and connections are made anew");
            }
        }
    }

    /// Whether a connection of this age is from before.
    pub(super) fn outdates(&self, age: Duration) -> bool {
        self.at().is_some_and(|at| at.elapsed() <= age)
    }
}

impl Lender {
    /// Of a pool that looks after no connections itself: sqlx's would take each rest for a new one whenever it looks, and lend a
    /// connection untried that leads nowhere.
    pub(super) fn new(pool: MySqlPool, replaced: Replaced) -> Self {
        Self { pool, lent: Arc::default(), replaced }
    }

    /// The pool.
    pub(super) const fn pool(&self) -> &MySqlPool {
        &self.pool
    }

    pub(super) async fn lend(&self) -> Result<Lease> {
        self.lent.fetch_add(1, Ordering::Relaxed);
        let connection = Some(self.pool.acquire().await?);
        Ok(Lease { connection, running: None, outdated: false, replaced: self.replaced.clone() })
    }

    pub(super) async fn begin(&self) -> Result<LeaseTx> {
        let mut lease = self.lend().await?;
        in_time(async {
            let begun = MySqlTransactionManager::begin(lease.start(), None).await;
            lease.ended(begun.as_ref().err());
            Ok(begun?)
        })
        .await?;
        Ok(LeaseTx { lease, open: true, commit_max: WORK_MAX })
    }

    /// Begins a transaction that may take hours. Its connection is not lent again.
    pub(super) async fn begin_long(&self) -> Result<LeaseTx> {
        let mut tx = self.begin().await?;
        in_time(async {
            let asked = tx.lease.start().execute(LONG_SESSION).await;
            tx.lease.ended(asked.as_ref().err());
            Ok(asked?)
        })
        .await?;
        tx.lease.outdated = true;
        tx.commit_max = LONG_COMMIT_MAX;
        Ok(tx)
    }

    /// Closes what is not needed, until the server stops.
    pub(super) async fn run(&self, stop: &CancellationToken) {
        while stop.run_until_cancelled(sleep(LOOK_EVERY)).await.is_some() {
            // The pool lends whatever has rested longest: so many loans, so many connections at most.
            let needed = self.lent.swap(0, Ordering::Relaxed);
            for _ in needed..self.pool.num_idle() {
                let Some(rested) = self.pool.try_acquire() else { break };
                if !matches!(timeout(CLOSE_MAX, rested.close()).await, Ok(Ok(()))) {
                    debug!("a MySQL connection that nobody needs could not be closed politely");
                }
            }
        }
    }
}

/// A lent connection.
pub struct Lease {
    /// `None` when it is given back.
    connection: Option<PoolConnection<MySql>>,
    /// Something was asked of it then, and its answer has not been taken yet.
    running: Option<Instant>,
    /// It is not to be lent again: its server may not be written to, or its session is another than all have.
    outdated: bool,
    replaced: Replaced,
}

impl Lease {
    /// The connection, for one statement, whose end must be told by [`Lease::ended`].
    pub fn start(&mut self) -> &mut MySqlConnection {
        self.running = Some(Instant::now());
        self.connection()
    }

    fn connection(&mut self) -> &mut PoolConnection<MySql> {
        self.connection.as_mut().expect("only its end takes it")
    }

    /// The answer to the statement was taken, whatever it was.
    pub fn ended(&mut self, failure: Option<&sqlx::Error>) {
        self.running = None;
        if failure.is_some_and(is_replaced) {
            self.outdated = true;
            self.replaced.note();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        if let Some(asked_at) = self.running {
            connection.close_on_drop();
            // MySQL looks after its client only when it has an answer. A statement that waits for a lock would stay there, and with a
            // new connection in its place there would be ever more of them than the pool may have.
            let answered = async move { timeout_at(asked_at + WORK_MAX, connection.ping()).await };
            #[expect(clippy::disallowed_methods, reason = "as sqlx does; a stop waits for the pool")]
            drop(tokio::spawn(answered));
            return;
        }
        if self.outdated {
            connection.close_on_drop();
            return;
        }
        // sqlx asks MySQL once more before it takes a connection back: one that leads nowhere would keep its place in the pool
        // for as long as the kernel is patient. Its end is not waited for.
        let back = connection.return_to_pool();
        #[expect(clippy::disallowed_methods, reason = "as sqlx does; a stop waits for the pool")]
        drop(tokio::spawn(timeout(RETURN_MAX, back)));
    }
}

/// A transaction: rolled back unless it is committed.
pub struct LeaseTx {
    lease: Lease,
    open: bool,
    commit_max: Duration,
}

impl LeaseTx {
    /// The connection.
    pub fn lease(&mut self) -> &mut Lease {
        &mut self.lease
    }

    pub(super) async fn commit(mut self) -> Result<()> {
        let committed = timeout(self.commit_max, MySqlTransactionManager::commit(self.lease.start())).await;
        let committed = committed.map_err(AppError::unavailable)?;
        self.lease.ended(committed.as_ref().err());
        committed?;
        self.open = false;
        Ok(())
    }
}

impl Drop for LeaseTx {
    fn drop(&mut self) {
        if self.open && self.lease.running.is_none() {
            // Sent when the connection is given back, before whoever gets it next.
            MySqlTransactionManager::start_rollback(self.lease.connection());
        }
    }
}
