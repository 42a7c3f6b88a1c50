//! What is pending is found whether it was filed in the backlog or not, and nothing else is filed.

use std::time::Duration;

use qingniao::db::Db;
use qingniao::ids::MessageId;
use qingniao::messages::{backlog, receipts};

use crate::delivery::{expect_all, say_all};
use crate::migrations::{refuse_inserts, run, take_inserts};
use crate::support::{Person, TestServer, database, eventually};

/// How many messages are filed for somebody.
async fn filed(server: &TestServer, person: &Person) -> usize {
    let count = "SELECT CAST(COUNT(*) AS CHAR) FROM backlog WHERE user_id = ?";
    server.sql_text(count, person.id).await.parse().unwrap()
}

/// How many messages have not been looked at: of all that the test's database has.
async fn unfiled(server: &TestServer) -> i64 {
    let count = "SELECT CAST((SELECT MAX(id) FROM messages) - filed_id AS CHAR) FROM backlog_progress WHERE id = ?";
    server.sql_text(count, 1).await.parse().unwrap()
}

/// A server whose store no other test writes to.
async fn server(name: &str) -> TestServer {
    let url = database::fresh(&format!("qingniao_backlog_{name}_")).await.unwrap_or_default();
    TestServer::with(|config| config.database_url = url).await
}

#[tokio::test]
async fn only_what_was_not_confirmed_soon_is_filed() {
    let server = server("soon").await;
    let ((alice, bob), carol) = (server.friends("alice", "bob").await, server.user("carol").await);
    carol.take_from_all().await;
    let mut socket = bob.listen().await;
    say_all(&alice, &bob, 0..50).await;
    say_all(&alice, &carol, 0..50).await;
    expect_all(&mut socket, 0..50).await;
    eventually("everything was looked at", async || unfiled(&server).await == 0).await;
    assert_eq!((filed(&server, &carol).await, filed(&server, &bob).await), (50, 0));
    // Of what is filed, and of what is not yet.
    say_all(&alice, &carol, 50..60).await;
    let mut socket = carol.asking_socket().await;
    expect_all(&mut socket, 0..60).await;
    socket.expect_silence().await;
}

#[tokio::test]
async fn what_a_crash_has_left_unfiled_is_found() {
    let server = server("crash").await;
    let ((alice, bob), carol) = (server.friends("alice", "bob").await, server.user("carol").await);
    carol.take_from_all().await;
    // More than a drain looks through, and more than one transaction files.
    say_all(&alice, &carol, 0..300).await;
    say_all(&alice, &bob, 0..800).await;
    // As if nothing had been filed when the machine went down.
    let stopped = server.stop().await;
    let db = Db::open(&stopped.config).await.unwrap();
    run(&db, "DELETE FROM backlog").await;
    run(&db, "UPDATE backlog_progress SET filed_id = 0").await;
    db.close().await;
    let server = stopped.start().await;
    let (mut hers, mut his) = (carol.asking_socket().await, bob.asking_socket().await);
    expect_all(&mut hers, 0..300).await;
    expect_all(&mut his, 0..800).await;
    eventually("the rest is filed", async || unfiled(&server).await == 0).await;
    for socket in [&mut hers, &mut his] {
        socket.expect_silence().await;
    }
}

#[tokio::test]
async fn a_store_in_which_nothing_can_be_filed_gives_what_is_pending_all_the_same() {
    let server = server("full").await;
    let (alice, bob) = server.friends("alice", "bob").await;
    refuse_inserts!(server.app.db, "backlog");
    say_all(&alice, &bob, 0..600).await;
    let mut socket = bob.asking_socket().await;
    expect_all(&mut socket, 0..600).await;
    assert_eq!(filed(&server, &bob).await, 0);
    // Once there is room, what came meanwhile is filed by itself.
    eventually("everything is confirmed", async || server.app.hub.census().unconfirmed == 0).await;
    receipts::flush(&server.app).await.unwrap();
    socket.go().await;
    say_all(&alice, &bob, 600..610).await;
    take_inserts(&server.app.db).await;
    eventually("the rest is filed", async || unfiled(&server).await == 0).await;
    assert_eq!(filed(&server, &bob).await, 10);
    expect_all(&mut bob.asking_socket().await, 600..610).await;
}

/// A drain that gives up, a stop, a store that is slow: filing is dropped in the middle, and its commit may come all the same.
#[tokio::test]
async fn a_filing_that_was_dropped_half_way_does_not_bar_the_next() {
    let server = server("dropped").await;
    let (alice, bob) = server.friends("alice", "bob").await;
    for round in 0..60 {
        say_all(&alice, &bob, round * 5..round * 5 + 5).await;
        let newest: i64 =
            server.sql_text("SELECT CAST(MAX(id) AS CHAR) FROM messages WHERE id > ?", 0).await.parse().unwrap();
        let whole = backlog::file_up_to(&server.app, MessageId(newest));
        let _ = tokio::time::timeout(Duration::from_micros(50 * round as u64), whole).await;
        backlog::file_up_to(&server.app, MessageId(newest - 2)).await.unwrap();
    }
    eventually("everything is filed", async || unfiled(&server).await == 0).await;
    assert_eq!(filed(&server, &bob).await, 300);
    expect_all(&mut bob.asking_socket().await, 0..300).await;
}
