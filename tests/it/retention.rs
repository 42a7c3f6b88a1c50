//! What is forgotten and what never is: only what everybody has received, and early receipts that mean nothing any more.

mod groups;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use qingniao::config::Config;
use qingniao::db::{Conn, Db, Engine};
use qingniao::ids::MessageId;
use qingniao::jobs::retention::{Swept, sweep};
use qingniao::messages::backlog;
use serde_json::json;

use crate::many_groups::from_numbers;
use crate::migrations::run;
use crate::support::{Door, Person, Process, Stopped, TestServer, command, database, eventually, text_of};

const DAY_MS: i64 = 24 * 3_600_000;
const DAYS: i64 = 30;
/// Far more old messages than a pass deletes before it is stopped.
const MANY: i64 = 20_000;

/// A store of the test's own on either engine: a pass looks at all that a store holds.
async fn store() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    database::fresh(&format!("qingniao_retention{number}_")).await.unwrap_or_default()
}

async fn server_with(change: impl FnOnce(&mut Config)) -> TestServer {
    let url = store().await;
    TestServer::with(|config| {
        config.database_url = url;
        change(config);
    })
    .await
}

/// A server that forgets messages after [`DAYS`].
async fn server() -> TestServer {
    server_with(|config| {
        config.retention.messages_days = DAYS;
        // The clock moves by years.
        config.tokens.ttl_days = 36_500;
    })
    .await
}

/// A server that makes its first pass as soon as it has started, and whose counts can be read.
async fn eager_server() -> TestServer {
    server_with(|config| {
        config.retention.first_s = 0;
        config.operations.address = String::from("127.0.0.1:0");
    })
    .await
}

/// Files every message, as the server does after a moment.
async fn file_all(server: &TestServer) {
    let newest = "SELECT CAST(COALESCE(MAX(id), 0) AS CHAR) FROM messages WHERE id > ?";
    let newest = server.sql_text(newest, 0).await.parse().unwrap();
    backlog::file_up_to(&server.app, MessageId(newest)).await.unwrap();
}

/// One pass, as the server makes it now and then: of messages that are old, and therefore filed.
async fn pass(server: &TestServer) -> Swept {
    file_all(server).await;
    let mut swept = Swept::default();
    sweep(&server.app, &mut swept).await.unwrap();
    swept
}

/// The same when all messages are old but one of carol's to herself: the newest of all stays.
async fn pass_when_old(server: &TestServer) -> Swept {
    let (carol, dave) = server.friends("carol", "dave").await;
    server.advance(10 * DAYS * DAY_MS);
    carol.say(&dave, "newest").await.ok();
    pass(server).await
}

/// How many chat messages of a person's are kept.
async fn kept(server: &TestServer, sender: &Person) -> i64 {
    let count = "SELECT CAST(COUNT(*) AS CHAR) FROM messages WHERE sender_id = ? AND uuid IS NOT NULL";
    server.sql_text(count, sender.id).await.parse().unwrap()
}

/// Waits until what was pushed is confirmed, and recorded.
async fn recorded(server: &TestServer) {
    eventually("everything is confirmed", async || server.app.hub.census().unconfirmed == 0).await;
    qingniao::messages::receipts::flush(&server.app).await.unwrap();
}

async fn say_all(from: &Person, to: &Person, count: usize) {
    for number in 0..count {
        from.say(to, &number.to_string()).await.ok();
    }
}

#[tokio::test]
async fn what_was_received_is_forgotten_after_its_days_and_not_before() {
    let server = server().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let mut socket = bob.listen().await;
    say_all(&alice, &bob, 150).await;
    socket.next_messages(150).await;
    recorded(&server).await;
    assert_eq!(pass(&server).await, Swept::default());
    server.advance(DAYS * DAY_MS);
    bob.say(&alice, "newest").await.ok();
    assert_eq!(pass(&server).await, Swept::default());
    server.advance(1);
    assert!(pass(&server).await.messages >= 150);
    assert_eq!((kept(&server, &alice).await, kept(&server, &bob).await), (0, 1));
    // Nothing of it is missed, and what follows comes.
    alice.say(&bob, "after").await.ok();
    assert_eq!(socket.next_text().await, "after");
    socket.go().await;
    let server = server.restart().await;
    let mut socket = bob.asking_socket().await;
    alice.say(&bob, "later").await.ok();
    assert_eq!(socket.next_text().await, "later");
    drop(server);
}

#[tokio::test]
async fn ids_go_on_after_everything_was_forgotten() {
    let server = server().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let mut socket = bob.listen().await;
    say_all(&alice, &bob, 20).await;
    socket.next_messages(20).await;
    recorded(&server).await;
    socket.close().await;
    server.advance(2 * DAYS * DAY_MS);
    let newest = "SELECT CAST(MAX(id) AS CHAR) FROM messages WHERE id > ?";
    let before = server.sql_text(newest, 0).await;
    pass(&server).await;
    assert_eq!(kept(&server, &alice).await, 1, "the newest of all");
    assert_eq!(server.sql_text(newest, 0).await, before);
    let server = server.restart().await;
    alice.say(&bob, "after").await.ok();
    let (before, after) = (before.parse::<i64>().unwrap(), server.sql_text(newest, 0).await.parse::<i64>().unwrap());
    assert!(after > before, "bob's cursor would be ahead of {after}");
    assert_eq!(bob.asking_socket().await.next_text().await, "after");
}

#[tokio::test]
async fn what_is_pending_is_never_forgotten_however_old() {
    let server = server().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let mut socket = bob.listen().await;
    say_all(&alice, &bob, 3).await;
    socket.next_messages(3).await;
    recorded(&server).await;
    socket.close().await;
    // More than a step of a pass looks at: what it has walked over, the next one does not walk over again.
    say_all(&alice, &bob, 600).await;
    // She has never connected: there is no cursor of hers at all.
    let erin = server.user("erin").await;
    erin.take_from_all().await;
    say_all(&alice, &erin, 5).await;
    assert!(pass_when_old(&server).await.messages >= 3);
    assert_eq!(kept(&server, &alice).await, 605);
    let (mut his, mut hers) = (bob.asking_socket().await, erin.asking_socket().await);
    for number in 0..600 {
        assert_eq!(his.next_text().await, number.to_string());
    }
    for number in 0..5 {
        assert_eq!(hers.next_text().await, number.to_string());
    }
    recorded(&server).await;
    let filed = "SELECT CAST(COUNT(*) AS CHAR) FROM backlog WHERE user_id = ?";
    assert_eq!(server.sql_text(filed, bob.id).await, "600");
    pass(&server).await;
    assert_eq!(kept(&server, &alice).await, 0);
    assert_eq!(server.sql_text(filed, bob.id).await, "0");
}

#[tokio::test]
async fn a_message_goes_by_the_time_at_which_it_was_sent() {
    let server = server().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let mut socket = bob.listen().await;
    // A clock that was wrong for a while.
    say_all(&alice, &bob, 100).await;
    server.advance(-2 * DAYS * DAY_MS);
    say_all(&alice, &bob, 100).await;
    server.advance(2 * DAYS * DAY_MS);
    say_all(&alice, &bob, 100).await;
    socket.next_messages(300).await;
    recorded(&server).await;
    pass(&server).await;
    let young = "SELECT CAST(COUNT(*) AS CHAR) FROM messages WHERE created_at >= ? AND uuid IS NOT NULL";
    let today = server.clock.now_ms() - DAY_MS;
    let young: i64 = server.sql_text(young, today).await.parse().unwrap();
    assert!(young >= 200, "{young} of today's 200");
}

#[tokio::test]
async fn a_revoked_message_waits_in_its_place_and_one_that_is_forgotten_cannot_be_revoked() {
    let server = server().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    bob.listen().await.go().await;
    let oops = alice.say(&bob, "oops").await.ok();
    alice.say(&bob, "hello").await.ok();
    alice.revoke(&oops).await.ok();
    pass_when_old(&server).await;
    let mut socket = bob.asking_socket().await;
    let emptied = socket.next_message().await;
    assert_eq!((&emptied["id"], &emptied["isremove"]), (&oops["id"], &json!(1)));
    assert_eq!(socket.next_text().await, "hello");
    assert_eq!(socket.next_message().await["actionType"], "revoke");
    recorded(&server).await;
    alice.revoke(&oops).await.refused(400, "消息超过5分钟，不能撤回");
    pass_when_old(&server).await;
    assert_eq!(kept(&server, &alice).await, 0);
    alice.revoke(&oops).await.refused(400, "消息不存在或无权撤回");
    socket.expect_silence().await;
}

#[tokio::test]
async fn a_mark_of_early_receipt_is_kept_while_it_means_something() {
    let server = server().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    alice.say(&bob, "older").await.ok();
    // The client has not asked: what comes now is received early.
    let mut socket = bob.socket().await;
    alice.say(&bob, "early").await.ok();
    assert_eq!(socket.next_text().await, "early");
    recorded(&server).await;
    let marks = "SELECT CAST(COUNT(*) AS CHAR) FROM early_receipts WHERE user_id = ?";
    assert_eq!(server.sql_text(marks, bob.id).await, "1");
    assert_eq!(pass_when_old(&server).await.early_receipts, 0, "without it the message would come twice");
    socket.ask().await;
    assert_eq!(socket.next_text().await, "older");
    alice.say(&bob, "newer").await.ok();
    assert_eq!(socket.next_text().await, "newer");
    recorded(&server).await;
    assert_eq!(pass(&server).await.early_receipts, 1);
    assert_eq!(server.sql_text(marks, bob.id).await, "0");
    socket.close().await;
    bob.asking_socket().await.expect_silence().await;
}

#[tokio::test]
async fn tokens_are_forgotten_a_day_after_they_have_expired() {
    let server = server_with(|config| config.tokens.ttl_days = 10).await;
    let (alice, bob) = server.users("alice", "bob").await;
    let tokens = "SELECT CAST(COUNT(*) AS CHAR) FROM sessions WHERE user_id = ?";
    server.advance(9 * DAY_MS);
    let bob = bob.login().await;
    server.advance(2 * DAY_MS);
    assert_eq!(pass(&server).await.sessions, 0);
    server.advance(1);
    assert_eq!(pass(&server).await.sessions, 1);
    assert_eq!(
        (server.sql_text(tokens, alice.id).await, server.sql_text(tokens, bob.id).await),
        ("0".into(), "1".into())
    );
    alice.post("chatGetmessageOffLine", json!({})).await.refused(400, "Token 令牌不合法！");
    bob.post("chatGetmessageOffLine", json!({})).await.ok();
    alice.login().await.post("chatGetmessageOffLine", json!({})).await.ok();
}

#[tokio::test]
async fn no_message_is_forgotten_where_all_are_to_be_kept() {
    let server = server_with(|config| {
        config.retention.messages_days = 0;
        config.tokens.ttl_days = 36_500;
    })
    .await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let mut socket = bob.listen().await;
    say_all(&alice, &bob, 3).await;
    socket.next_messages(3).await;
    recorded(&server).await;
    assert_eq!(pass_when_old(&server).await.messages, 0);
    assert_eq!(kept(&server, &alice).await, 3);
}

/// An old message to somebody who is not looked at: the newest of all stays.
const NEWEST: &str = "INSERT INTO messages (sender_id, recipient_id, created_at, size, body) VALUES (7, 7, 0, 2, '{}')";

#[tokio::test]
async fn everything_is_looked_through_however_much_there_is() {
    let server = server().await;
    // A message to each of many people and in each of many groups, all received; ended subscriptions, marks of one person and of
    // many, tokens.
    for (rows, statement) in [
        (
            300,
            from_numbers!(
                "INSERT INTO messages (sender_id, recipient_id, created_at, size, body) SELECT 7, 100 + n, 0, 2, '{}'"
            ),
        ),
        (300, from_numbers!("INSERT INTO inboxes (user_id, delivered_id) SELECT 100 + n, 1000")),
        (
            50,
            from_numbers!(
                "INSERT INTO messages (sender_id, group_id, seq, created_at, size, body) SELECT 7, 1 + n, 1, 0, 2, '{}'"
            ),
        ),
        (
            50,
            from_numbers!(
                "INSERT INTO chat_groups (id, uuid, owner_id, name, avatar, remark, last_seq, created_at, updated_at) \
                 SELECT 1 + n, CONCAT('', n), 7, '', '', '', 1, 0, 0"
            ),
        ),
        (
            600,
            from_numbers!(
                "INSERT INTO subscriptions (group_id, user_id, delivered_seq, active_from_seq, until_seq, open_mark) \
                 SELECT 1 + n % 50, n, 1, 0, 1, NULL"
            ),
        ),
        (600, from_numbers!("INSERT INTO early_receipts (user_id, message_id) SELECT 7, 1000 + n")),
        (600, from_numbers!("INSERT INTO early_receipts (user_id, message_id) SELECT 100 + n, 1000 + n")),
        (
            100,
            from_numbers!(
                "INSERT INTO sessions (user_id, role, token_id, issued_at, expires_at) SELECT n, 'user', 'x', 0, 0"
            ),
        ),
    ] {
        assert_eq!(server.sql(statement, &[rows.into()]).await, rows);
    }
    server.sql(NEWEST, &[]).await;
    let all = Swept { messages: 350, early_receipts: 1200, subscriptions: 600, sessions: 100 };
    assert_eq!(pass(&server).await, all);
    assert_eq!(pass(&server).await, Swept::default());
}

#[tokio::test]
async fn the_server_forgets_by_itself_and_a_stop_ends_a_pass_at_once() {
    let server = eager_server().await;
    // The first pass found nothing. The next start finds them.
    let messages =
        from_numbers!("INSERT INTO messages (sender_id, recipient_id, created_at, size, body) SELECT 7, 8, 0, 2, '{}'");
    server.sql(messages, &[MANY.into()]).await;
    server.sql("INSERT INTO inboxes (user_id, delivered_id) SELECT 8, MAX(id) FROM messages", &[]).await;
    server.sql(NEWEST, &[]).await;
    file_all(&server).await;
    let server = server.restart().await;
    let deleted = "qingniao_retention_deleted_total{table=\"messages\"}";
    eventually("a pass has begun", async || server.scrape().await.get(deleted) >= 64.0).await;
    let began = Instant::now();
    let stopped = server.stop().await;
    assert!(began.elapsed() < Duration::from_secs(1), "the stop took {:?}", began.elapsed());
    let mut config = stopped.config.clone();
    config.retention.first_s = 3600;
    let server = Stopped { config, ..stopped }.start().await;
    let count = "SELECT CAST(COUNT(*) AS CHAR) FROM messages WHERE recipient_id = ?";
    let left: i64 = server.sql_text(count, 8).await.parse().unwrap();
    assert!(0 < left && left < MANY, "{left} are left");
}

/// MySQL may break a tie to a pass's disadvantage, and a database may be away for a moment.
#[tokio::test]
async fn a_pass_that_failed_is_made_again_soon() {
    let server = eager_server().await;
    let alice = server.user("alice").await;
    let refused = match server.app.db.engine() {
        Engine::MySql => {
            "CREATE TRIGGER kept BEFORE DELETE ON sessions FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'kept'"
        }
        Engine::Sqlite => "CREATE TRIGGER kept BEFORE DELETE ON sessions BEGIN SELECT RAISE(ABORT, 'kept'); END",
    };
    run(&server.app.db, refused).await;
    server.sql("UPDATE sessions SET expires_at = 0 WHERE user_id = ?", &[alice.id.into()]).await;
    let server = server.restart().await;
    let failed = "qingniao_retention_failed_total";
    eventually("a pass has failed", async || server.scrape().await.get(failed) >= 1.0).await;
    run(&server.app.db, "DROP TRIGGER kept").await;
    let tokens = "SELECT CAST(COUNT(*) AS CHAR) FROM sessions WHERE user_id = ?";
    eventually("the next has not", async || server.sql_text(tokens, alice.id).await == "0").await;
}

/// What is pending for somebody by the store, read past the server; marks of `Socket::catch_up` aside.
async fn pending(db: &Db, user: i64) -> Vec<String> {
    const SQL: &str = "SELECT body FROM (SELECT m.id, m.body FROM messages m WHERE m.recipient_id = ? \
        AND m.id > COALESCE((SELECT i.delivered_id FROM inboxes i WHERE i.user_id = m.recipient_id), 0) \
        UNION ALL SELECT m.id, m.body FROM subscriptions s JOIN messages m ON m.group_id = s.group_id \
        AND m.seq > s.delivered_seq AND m.sender_id <> s.user_id WHERE s.user_id = ?) pending ORDER BY id";
    let mut reader = db.read().await.unwrap();
    let bodies: Vec<String> = match reader.conn() {
        Conn::MySql(c) => sqlx::query_scalar(SQL).bind(user).bind(user).fetch_all(c.start()).await.unwrap(),
        Conn::Sqlite(c) => sqlx::query_scalar(SQL).bind(user).bind(user).fetch_all(c).await.unwrap(),
    };
    let texts = bodies.iter().map(|body| text_of(&serde_json::from_str(body).unwrap()));
    texts.filter(|text| text != "mark").collect()
}

async fn make_old(db: &Db) {
    const SQL: &str = "UPDATE messages SET created_at = 0";
    let mut tx = db.begin().await.unwrap();
    match tx.conn() {
        Conn::MySql(c) => sqlx::query(SQL).execute(c.start()).await.map(drop).unwrap(),
        Conn::Sqlite(c) => sqlx::query(SQL).execute(c).await.map(drop).unwrap(),
    }
    tx.commit().await.unwrap();
}

/// A confirmation that a kill took before it was written is none: what it was for comes again, and was not forgotten.
#[tokio::test]
async fn a_kill_between_a_confirmation_and_its_record_forgets_nothing_that_is_still_due() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::defaults();
    config.data_dir = folder.path().join("data");
    config.database_url = store().await;
    let start = |first_s: &str| {
        let mut command = command(folder.path());
        command.env("QINGNIAO_DATA_DIR", &config.data_dir).env("DATABASE_URL", &config.database_url);
        Process::start(command.env("QINGNIAO_RETENTION_FIRST_S", first_s))
    };
    let at = |process: &Process, person: &Person| Person { door: Door::to(process.address), ..person.clone() };
    let first = start("3600");
    let (alice, bob) = Door::to(first.address).friends("alice", "bob").await;
    let group = alice.group(&[&bob]).await;
    bob.listen().await.go().await;
    first.kill();
    let db = Db::open(&config).await.unwrap();
    let mut again = 0;
    for round in 0..6 {
        let process = start("3600");
        let (alice, bob) = (at(&process, &alice), at(&process, &bob));
        for number in 0..20 {
            let text = format!("{round}/{number}");
            let reply = if number % 2 == 0 { alice.say(&bob, &text).await } else { alice.say_in(group, &text).await };
            reply.ok();
        }
        make_old(&db).await;
        bob.asking_socket().await.next_messages(20).await;
        // Confirmations gather for 100 ms.
        tokio::time::sleep(Duration::from_millis(35 * round)).await;
        process.kill();
        let due = pending(&db, bob.id).await;
        again += due.len();
        // Late enough for what the kill has left to be filed.
        let process = start("1");
        let mut socket = at(&process, &bob).asking_socket().await;
        assert_eq!(socket.texts().await, due);
        eventually("it is recorded", async || pending(&db, bob.id).await.is_empty()).await;
        let passed = async || process.log().contains("old messages that everybody has");
        eventually("a pass", async || round == 0 || passed().await).await;
        process.kill();
    }
    assert!(again > 0, "no kill came before the record");
    db.close().await;
}
