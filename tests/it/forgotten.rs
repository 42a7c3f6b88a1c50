//! A store that forgets what it had committed, as one whose replica takes over before it has everything: what comes after it is not
//! lost as well.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use qingniao::config::Config;
use qingniao::db::{Conn, Db, Engine};
use qingniao::messages::receipts;
use tokio::time::timeout;

use crate::support::{BUSY, Door, PATIENCE, Person, Process, Socket, TestServer, command, database, eventually};

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

/// The last direct message that is known to have arrived.
async fn cursor(server: &TestServer, person: &Person) -> i64 {
    let cursor = "SELECT CAST(COALESCE(MAX(delivered_id), 0) AS CHAR) FROM inboxes WHERE user_id = ?";
    server.sql_text(cursor, person.id).await.parse().unwrap()
}

/// Alice, and Bob who listens and is known to have her last message, by its id.
async fn listening(server: &TestServer) -> (Person, Person, Socket, i64) {
    let (alice, bob) = server.friends("alice", "bob").await;
    let mut socket = bob.asking_socket().await;
    alice.say(&bob, "kept").await.ok();
    assert_eq!(socket.next_text().await, "kept");
    let kept = newest(server).await;
    eventually("it is recorded", async || cursor(server, &bob).await == kept).await;
    (alice, bob, socket, kept)
}

/// Runs statements in which the id of the last row that stays is bound.
async fn run(db: &Db, statements: &[&'static str], last: i64) {
    let mut tx = db.begin().await.unwrap();
    for statement in statements {
        match tx.conn() {
            Conn::MySql(c) => sqlx::query(*statement).bind(last).execute(c.start()).await.map(drop).unwrap(),
            Conn::Sqlite(c) => sqlx::query(*statement).bind(last).execute(c).await.map(drop).unwrap(),
        }
    }
    tx.commit().await.unwrap();
}

/// Lets ids begin again after the last row that is there; each engine has a statement of its own for that.
async fn begin_again(db: &Db, [sqlite, mysql]: [&'static str; 2], last: i64) {
    if db.engine() == Engine::Sqlite {
        return run(db, &[sqlite], last).await;
    }
    let mut lent = db.write_one().await.unwrap();
    if let Conn::MySql(c) = lent.conn() {
        sqlx::query(mysql).execute(c.start()).await.unwrap();
    }
}

/// All messages after `kept` were never there: their ids come again.
async fn go_back(db: &Db, kept: i64) {
    let statements = [
        "DELETE FROM messages WHERE id > ?",
        "DELETE FROM backlog WHERE message_id > ?",
        "UPDATE backlog_progress SET filed_id = (SELECT COALESCE(MAX(id), 0) FROM messages) WHERE filed_id > ?",
    ];
    run(db, &statements, kept).await;
    let anew =
        ["UPDATE sqlite_sequence SET seq = ? WHERE name = 'messages'", "ALTER TABLE messages AUTO_INCREMENT = 1"];
    begin_again(db, anew, kept).await;
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
    let (alice, bob, mut socket, kept) = listening(&server).await;
    alice.say(&bob, "lost").await.ok();
    go_back(&server.app.db, kept).await;
    // Its ping is answered by whoever reads.
    assert_eq!(socket.next_text().await, "lost");
    timeout(PATIENCE, server.app.messages.forgotten()).await.expect("it is known");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(receipts::flush(&server.app).await.is_err(), "it is kept, and not written");
    assert_eq!(cursor(&server, &bob).await, kept);
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
    alice.say(&bob, "new").await.refused(503, BUSY);
    let log = tokio::task::spawn_blocking(|| process.end()).await.unwrap();
    assert_eq!(log.matches("a start goes on from what the database has").count(), 1, "said once: {log}");
    assert!(log.contains("known=") && log.contains("found=") && log.contains("stopped"), "{log}");
}

/// As in a change of the primary, when a connection still leads to the old machine.
#[tokio::test]
async fn a_store_that_is_behind_for_a_while_is_read_again() {
    let server = server().await;
    let (alice, bob, socket, kept) = listening(&server).await;
    socket.close().await;
    alice.say(&bob, "late").await.ok();
    run(&server.app.db, &["UPDATE messages SET id = -id WHERE id > ?"], kept).await;
    let mut socket = bob.asking_socket().await;
    socket.expect_silence().await;
    run(&server.app.db, &["UPDATE messages SET id = -id WHERE id < 0 AND -1 < ?"], kept).await;
    assert_eq!(socket.next_text().await, "late");
    alice.say(&bob, "new").await.ok();
    assert_eq!(socket.next_text().await, "new", "nothing has ended");
}

/// Of the people, it takes only the last: nobody has an id that is known, and it comes again.
#[tokio::test]
async fn whoever_gets_an_id_again_gets_what_is_due_to_it() {
    let server = server().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let mut lost = bob.asking_socket().await;
    let statements = [
        "DELETE FROM users WHERE id > ?",
        "DELETE FROM profiles WHERE user_id > ?",
        "DELETE FROM username_parts WHERE user_id > ?",
        "DELETE FROM sessions WHERE user_id > ?",
    ];
    run(&server.app.db, &statements, alice.id).await;
    let anew = ["UPDATE sqlite_sequence SET seq = ? WHERE name = 'users'", "ALTER TABLE users AUTO_INCREMENT = 1"];
    begin_again(&server.app.db, anew, alice.id).await;
    let carol = server.user("carol").await;
    assert_eq!(carol.id, bob.id);
    alice.say(&carol, "for carol").await.ok();
    lost.expect_silence().await;
    assert_eq!(carol.asking_socket().await.next_text().await, "for carol");
}
