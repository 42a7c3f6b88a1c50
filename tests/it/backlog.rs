//! What is pending is found whether it was filed in the backlog or not, and nothing else is filed.

use crate::support::{Person, Socket, TestServer, eventually};

async fn say_all(from: &Person, to: &Person, texts: std::ops::Range<usize>) {
    for text in texts {
        from.say(to, &text.to_string()).await.ok();
    }
}

async fn expect_all(socket: &mut Socket, texts: std::ops::Range<usize>) {
    for text in texts {
        assert_eq!(socket.next_text().await, text.to_string());
    }
}

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
async fn server() -> TestServer {
    let url = crate::support::database::fresh("qingniao_backlog_").await.unwrap_or_default();
    TestServer::with(|config| config.database_url = url).await
}

#[tokio::test]
async fn only_what_was_not_confirmed_soon_is_filed() {
    let server = server().await;
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
    let server = server().await;
    let ((alice, bob), carol) = (server.friends("alice", "bob").await, server.user("carol").await);
    carol.take_from_all().await;
    // More than a drain looks through, and more than one transaction files.
    say_all(&alice, &carol, 0..300).await;
    say_all(&alice, &bob, 0..800).await;
    // As if nothing had been filed when the machine went down.
    let stopped = server.stop().await;
    let server = stopped.start().await;
    server.sql("DELETE FROM backlog", &[]).await;
    server.sql("UPDATE backlog_progress SET filed_id = 0", &[]).await;
    let (mut hers, mut his) = (carol.asking_socket().await, bob.asking_socket().await);
    expect_all(&mut hers, 0..300).await;
    expect_all(&mut his, 0..800).await;
    assert!(unfiled(&server).await < 256, "the drains had it filed");
    for socket in [&mut hers, &mut his] {
        socket.expect_silence().await;
    }
}

#[tokio::test]
async fn a_store_in_which_nothing_can_be_filed_gives_what_is_pending_all_the_same() {
    let server = server().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let trigger = match server.app.db.engine() {
        qingniao::db::Engine::MySql => {
            "CREATE TRIGGER full BEFORE INSERT ON backlog FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'full'"
        }
        qingniao::db::Engine::Sqlite => {
            "CREATE TRIGGER full BEFORE INSERT ON backlog BEGIN SELECT RAISE(ABORT, 'full'); END"
        }
    };
    server.script(trigger).await;
    say_all(&alice, &bob, 0..600).await;
    let mut socket = bob.asking_socket().await;
    expect_all(&mut socket, 0..600).await;
    assert_eq!(filed(&server, &bob).await, 0);
    // Once there is room, what came meanwhile is filed by itself.
    socket.go().await;
    say_all(&alice, &bob, 600..610).await;
    server.script("DROP TRIGGER full").await;
    eventually("the rest is filed", async || unfiled(&server).await == 0).await;
    assert_eq!(filed(&server, &bob).await, 10);
    expect_all(&mut bob.asking_socket().await, 600..610).await;
}
