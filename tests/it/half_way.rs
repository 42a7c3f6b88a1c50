//! Work on the store that is dropped half-way harms nothing that follows it on the same connection.

use std::time::Duration;

use qingniao::config::Config;
use qingniao::db::{Conn, Db};
use sqlx::query;

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
            c.ended();
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
