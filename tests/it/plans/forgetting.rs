//! Years later: what the retention job asks of the store. Told with a store of its own, because a pass deletes rows that the
//! other statements are to find.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use qingniao::config::Config;
use qingniao::db::{Conn, Db};

use super::story::statement;
use crate::support::{Process, command, database};

/// A pass takes many steps, asks a busy database, and rests after each.
const FORGETS_WITHIN: Duration = Duration::from_secs(30);

/// Some of everything that is spent, and a newest message, which stays.
const SPENT: [&str; 8] = [
    "INSERT INTO chat_groups (id, uuid, owner_id, name, avatar, remark, last_seq, created_at, updated_at) \
     VALUES (1, 'a', 1, '', '', '', 1, 0, 0)",
    "INSERT INTO messages (id, sender_id, recipient_id, group_id, seq, created_at, size, body) \
     VALUES (1, 1, 2, NULL, NULL, 0, 2, '{}'), (2, 1, NULL, 1, 1, 0, 2, '{}'), (3, 1, 1, NULL, NULL, 0, 2, '{}')",
    "INSERT INTO inboxes (user_id, delivered_id) VALUES (2, 1)",
    "INSERT INTO backlog (user_id, message_id) VALUES (2, 1)",
    "UPDATE backlog_progress SET filed_id = 3",
    "INSERT INTO early_receipts (user_id, message_id) VALUES (2, 1)",
    "INSERT INTO subscriptions (group_id, user_id, delivered_seq, active_from_seq, until_seq, open_mark) \
     VALUES (1, 2, 1, 0, 1, NULL)",
    "INSERT INTO sessions (user_id, role, token_id, issued_at, expires_at) VALUES (2, 'user', 'old', 0, 1)",
];

/// What the job asked of its store.
pub async fn told() -> BTreeSet<String> {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::defaults();
    config.data_dir = folder.path().join("data");
    config.database_url = database::fresh("qingniao_forgetting_").await.unwrap_or_default();
    let db = Db::open(&config).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    for row in SPENT {
        match tx.conn() {
            Conn::MySql(c) => sqlx::raw_sql(row).execute(c.start()).await.map(drop).unwrap(),
            Conn::Sqlite(c) => sqlx::raw_sql(row).execute(c).await.map(drop).unwrap(),
        }
    }
    tx.commit().await.unwrap();
    db.close().await;
    let mut command = command(folder.path());
    command.env("RUST_LOG", "info,sqlx::query=debug").env("QINGNIAO_LOG_FORMAT", "json");
    command.env("QINGNIAO_DATA_DIR", &config.data_dir).env("DATABASE_URL", &config.database_url);
    let mut process = Process::start(command.env("QINGNIAO_RETENTION_FIRST_S", "0"));
    let deleted =
        "deleted 2 old messages that everybody has, 1 early receipts, 1 ended subscriptions and 1 expired tokens";
    let deadline = Instant::now() + FORGETS_WITHIN;
    while !process.log().contains(deleted) {
        assert!(Instant::now() < deadline, "not all was forgotten in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(process.signal("TERM").success());
    process.log().lines().filter_map(statement).collect()
}
