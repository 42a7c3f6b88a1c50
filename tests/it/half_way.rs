//! Work on the store that is dropped half-way, or whose client is gone without a word, harms nothing that follows it.

use std::time::{Duration, Instant};

use qingniao::config::Config;
use qingniao::db::{Conn, Db};
use qingniao::error::{AppError, Result};
use sqlx::{Connection, Executor, MySqlConnection, query};
use tokio::time::timeout;

use crate::support::database;

/// Polls `work` so many times, with some time between for answers to come, and drops it.
async fn drop_after(polls: u32, work: impl Future) {
    let mut work = std::pin::pin!(work);
    for _ in 0..polls {
        if futures_util::poll!(work.as_mut()).is_ready() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn insert(db: &Db, user: u32) {
    const SQL: &str = "INSERT INTO inboxes (user_id, delivered_id) VALUES (?, 1)";
    match db.write_one().await.unwrap().conn() {
        Conn::MySql(c) => {
            query(SQL).bind(user).execute(c.start()).await.unwrap();
            c.ended(None);
        }
        Conn::Sqlite(c) => drop(query(SQL).bind(user).execute(c).await.unwrap()),
    }
}

async fn count(db: &Db) -> i64 {
    const SQL: &str = "SELECT COUNT(*) FROM inboxes";
    match db.read().await.unwrap().conn() {
        Conn::MySql(c) => sqlx::query_scalar(SQL).fetch_one(c.start()).await.unwrap(),
        Conn::Sqlite(c) => sqlx::query_scalar(SQL).fetch_one(c).await.unwrap(),
    }
}

#[tokio::test]
async fn what_follows_a_transaction_that_was_dropped_as_it_began_is_durable() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::defaults();
    config.data_dir = folder.path().to_owned();
    config.database_url = database::fresh("qingniao_half_").await.unwrap_or_default();
    config.database.connections_max = 1;
    let (db, other) = (Db::open(&config).await.unwrap(), Db::open(&config).await.unwrap());
    for polls in 1..=8 {
        drop_after(polls, db.begin()).await;
        insert(&db, polls).await;
        // From elsewhere: the connection itself would show what the next transaction on it commits by accident.
        assert_eq!(count(&other).await, i64::from(polls), "durable when its statement had ended");
    }
}

/// A transaction that has locked a row and says no more: its server is gone, or the network between.
#[tokio::test]
async fn rows_that_a_silent_transaction_has_locked_are_freed() {
    let Some(url) = database::mysql_url().await else { return };
    let mut config = Config::defaults();
    config.database_url = url;
    let (gone, db) = (Db::open(&config).await.unwrap(), Db::open(&config).await.unwrap());
    let user = 4_000_000_000;
    insert(&db, user).await;
    let mut silent = gone.begin().await.unwrap();
    update(silent.conn(), user).await.unwrap();
    let mut version = db.read().await.unwrap();
    let Conn::MySql(c) = version.conn() else { unreachable!("the URL is MySQL's") };
    let version: String = sqlx::query_scalar("SELECT VERSION()").fetch_one(c.start()).await.unwrap();
    // MySQL has no bound for transactions, but one for whatever is silent.
    let patience = Duration::from_secs(if version.contains("MariaDB") { 5 } else { 40 });
    let began = Instant::now();
    while let Err(locked) = update(db.write_one().await.unwrap().conn(), user).await {
        assert!(began.elapsed() < patience, "{locked:?}");
    }
    assert!(matches!(update(silent.conn(), user).await, Err(AppError::Busy(Some(_)))), "answered 503");
    drop(silent);
    update(gone.begin().await.unwrap().conn(), user).await.unwrap();
}

async fn update(conn: Conn<'_>, user: u32) -> Result<()> {
    const SQL: &str = "UPDATE inboxes SET delivered_id = delivered_id + 1 WHERE user_id = ?";
    let Conn::MySql(c) = conn else { unreachable!("the URL is MySQL's") };
    let done = query(SQL).bind(user).execute(c.start()).await;
    c.ended(done.as_ref().err());
    done?;
    Ok(())
}

/// MySQL does not look after a client whose statement waits for a lock: with a new connection in the place of each that was dropped there would
/// be ever more of them.
#[tokio::test]
async fn what_is_dropped_while_it_waits_for_a_lock_keeps_its_place_until_mysql_has_done_with_it() {
    let Some(url) = database::fresh("qingniao_half_lock_").await else { return };
    let mut config = Config::defaults();
    config.database_url.clone_from(&url);
    config.database.connections_max = 3;
    let db = Db::open(&config).await.unwrap();
    let (mut holder, mut witness) =
        (MySqlConnection::connect(&url).await.unwrap(), MySqlConnection::connect(&url).await.unwrap());
    holder.execute("LOCK TABLES inboxes WRITE").await.unwrap();
    // Whoever waits is told so by MySQL, and leaves nothing behind there.
    let began = Instant::now();
    let Err(AppError::Busy(Some(cause))) = db.ping().await else { panic!("the table is locked") };
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(cause.to_string().contains("Lock wait timeout"), "{cause}");
    for _ in 0..20 {
        assert!(timeout(Duration::from_millis(30), db.ping()).await.is_err(), "it waits");
    }
    let open = "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE()";
    let open: i64 = sqlx::query_scalar(open).fetch_one(&mut witness).await.unwrap();
    assert!(open <= 5, "{open} connections, of which two are the test's");
    holder.execute("UNLOCK TABLES").await.unwrap();
    db.ping().await.unwrap();
}

/// A machine whose place another has taken may live on, and answer with what it had then.
#[tokio::test]
async fn connections_from_before_a_fail_over_are_not_lent_again() {
    const READ_ONLY: &str = "CREATE TRIGGER replaced BEFORE UPDATE ON inboxes FOR EACH ROW \
                             SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1290, MESSAGE_TEXT = 'read-only'";
    let Some(url) = database::fresh("qingniao_replaced_").await else { return };
    let mut config = Config::defaults();
    config.database_url.clone_from(&url);
    config.database.connections_max = 1;
    let db = Db::open(&config).await.unwrap();
    insert(&db, 1).await;
    let connection = async || {
        let mut reader = db.read().await.unwrap();
        let Conn::MySql(c) = reader.conn() else { unreachable!("the URL is MySQL's") };
        let id: u64 = sqlx::query_scalar("SELECT CONNECTION_ID()").fetch_one(c.start()).await.unwrap();
        c.ended(None);
        id
    };
    let (first, again) = (connection().await, connection().await);
    assert_eq!(first, again, "it is lent again");
    let mut witness = MySqlConnection::connect(&url).await.unwrap();
    witness.execute(READ_ONLY).await.unwrap();
    let refused = update(db.write_one().await.unwrap().conn(), 1).await;
    assert!(matches!(refused, Err(AppError::Busy(Some(_)))), "{refused:?}");
    let new = connection().await;
    assert_ne!(new, first);
    assert_eq!(connection().await, new, "which is lent again");
    witness.execute("DROP TRIGGER replaced").await.unwrap();
    update(db.write_one().await.unwrap().conn(), 1).await.unwrap();
}
