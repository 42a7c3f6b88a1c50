//! A store that forgets what it had committed, as one whose replica takes over before it has everything: what comes after it is not
//! lost as well.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use qingniao::config::Config;
use qingniao::db::{Conn, Db, Engine};
use qingniao::messages::receipts;
use tokio::time::timeout;

use crate::support::{BUSY, Door, PATIENCE, Process, TestServer, command, database};

async fn store() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    database::fresh(&format!("qingniao_forgotten{number}_")).await.unwrap_or_default()
}

/// A server with a store of its own on either engine.
async fn server() -> TestServer {
    let url = store().await;
    TestServer::with(|config| config.database_url = url).await
}

async fn newest(server: &TestServer) -> i64 {
    server.sql_text("SELECT CAST(MAX(id) AS CHAR) FROM messages WHERE id > ?", 0).await.parse().unwrap()
}

/// All messages after `kept` were never there: their ids come again.
async fn go_back(db: &Db, kept: i64) {
    let mut statements = vec![
        "DELETE FROM messages WHERE id > ?",
        "DELETE FROM backlog WHERE message_id > ?",
        "UPDATE backlog_progress SET filed_id = (SELECT COALESCE(MAX(id), 0) FROM messages) WHERE filed_id > ?",
    ];
    if db.engine() == Engine::Sqlite {
        statements.push("UPDATE sqlite_sequence SET seq = ? WHERE name = 'messages'");
    }
    let mut tx = db.begin().await.unwrap();
    for statement in statements {
        match tx.conn() {
            Conn::MySql(c) => sqlx::query(statement).bind(kept).execute(c.start()).await.map(drop).unwrap(),
            Conn::Sqlite(c) => sqlx::query(statement).bind(kept).execute(c).await.map(drop).unwrap(),
        }
    }
    tx.commit().await.unwrap();
    let mut lent = db.write_one().await.unwrap();
    if let Conn::MySql(c) = lent.conn() {
        // The next one after those that are there.
        sqlx::query("ALTER TABLE messages AUTO_INCREMENT = 1").execute(c.start()).await.unwrap();
    }
}

#[tokio::test]
async fn a_store_that_forgets_takes_nothing_new_until_a_start() {
    let server = server().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let group = alice.group(&[&bob]).await;
    alice.say(&bob, "kept").await.ok();
    let kept = newest(&server).await;
    for text in ["lost", "lost, too"] {
        alice.say(&bob, text).await.ok();
    }
    go_back(&server.app.db, kept).await;
    alice.say_in(group, "new").await.refused(503, BUSY);
    timeout(PATIENCE, server.app.messages.forgotten()).await.expect("it is known");
    alice.say(&bob, "new").await.refused(503, BUSY);
    alice.post("groupUpdateName", serde_json::json!({ "id": group, "name": "new" })).await.refused(503, BUSY);
    assert_eq!(newest(&server).await, kept, "nothing was stored");
    let _server = server.restart().await;
    alice.say(&bob, "new").await.ok();
    alice.say_in(group, "new, too").await.ok();
    let texts = bob.asking_socket().await.texts().await;
    assert_eq!(texts.iter().rev().take(3).rev().map(String::as_str).collect::<Vec<_>>(), ["kept", "new", "new, too"]);
}

#[tokio::test]
async fn one_message_alone_is_enough_to_see_it() {
    let server = server().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    alice.say(&bob, "kept").await.ok();
    let kept = newest(&server).await;
    alice.say(&bob, "lost").await.ok();
    go_back(&server.app.db, kept).await;
    alice.say(&bob, "new").await.refused(503, BUSY);
    timeout(PATIENCE, server.app.messages.forgotten()).await.expect("it is known");
}

/// The id of what was forgotten is that of a new message now: a cursor there would pass it.
#[tokio::test]
async fn a_confirmation_of_what_is_forgotten_moves_no_cursor() {
    let server = server().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let mut socket = bob.asking_socket().await;
    alice.say(&bob, "kept").await.ok();
    assert_eq!(socket.next_text().await, "kept");
    receipts::flush(&server.app).await.unwrap();
    let cursor = async || {
        server
            .sql_text("SELECT CAST(COALESCE(MAX(delivered_id), 0) AS CHAR) FROM inboxes WHERE user_id = ?", bob.id)
            .await
    };
    let (kept, before) = (newest(&server).await, cursor().await);
    alice.say(&bob, "lost").await.ok();
    go_back(&server.app.db, kept).await;
    // Its ping is answered by whoever reads.
    assert_eq!(socket.next_text().await, "lost");
    timeout(PATIENCE, server.app.messages.forgotten()).await.expect("it is known");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(receipts::flush(&server.app).await.is_err(), "it is kept, and not written");
    assert_eq!(cursor().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_store_forgets_ends_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::defaults();
    config.data_dir = folder.path().join("data");
    config.database_url = store().await;
    let mut command = command(folder.path());
    command.env("QINGNIAO_DATA_DIR", &config.data_dir).env("DATABASE_URL", &config.database_url);
    let process = Process::start(&mut command);
    let (alice, bob) = Door::to(process.address).friends("alice", "bob").await;
    alice.say(&bob, "lost").await.ok();
    let db = Db::open(&config).await.unwrap();
    go_back(&db, 0).await;
    db.close().await;
    let log = tokio::task::spawn_blocking(|| process.end()).await.unwrap();
    assert!(log.contains("the database has lost messages that it had committed") && log.contains("stopped"), "{log}");
}
