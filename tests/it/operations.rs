//! The operators' address: `/healthz`, `/readyz`, and each metric of `/metrics` moves when what it counts happens.

use std::time::{Duration, Instant};

use qingniao::config::Config;
use serde_json::json;

use crate::support::files::PNG;
use crate::support::{PASSWORD, PATIENCE, Process, Proxy, Scrape, TestServer, command, eventually, run, unique};

pub const READY: &str = r#"{"ready":true,"failing":[]}"#;

pub async fn watched() -> TestServer {
    watched_with(|_| {}).await
}

pub async fn watched_with(change: impl FnOnce(&mut Config)) -> TestServer {
    TestServer::with(|config| {
        config.operations.address = String::from("127.0.0.1:0");
        change(config);
    })
    .await
}

/// Waits until all these series have grown by so much since `before`.
async fn grown(server: &TestServer, before: &Scrape, expected: &[(&str, f64)]) {
    grown_within(PATIENCE, server, before, expected).await;
}

async fn grown_within(patience: Duration, server: &TestServer, before: &Scrape, expected: &[(&str, f64)]) {
    let deadline = Instant::now() + patience;
    loop {
        let now = server.scrape().await;
        let got: Vec<_> = expected.iter().map(|(series, _)| (*series, now.since(before, series))).collect();
        if got == expected {
            return;
        }
        assert!(Instant::now() < deadline, "grown: {got:#?}\nexpected: {expected:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The same for series that are looked at.
async fn reads(server: &TestServer, expected: &[(&str, f64)]) {
    grown(server, &Scrape::parse(""), expected).await;
}

#[tokio::test]
async fn the_operators_address_is_not_the_chat_s() {
    let server = watched().await;
    let health = server.ask_operations("/healthz").await;
    assert_eq!((health.status, health.text.as_str()), (200, "ok\n"));
    let ready = server.ask_operations("/readyz").await;
    assert_eq!((ready.status, ready.text.as_str()), (200, READY));
    let metrics = server.ask_operations("/metrics").await;
    assert_eq!((metrics.status, metrics.header("content-type")), (200, "text/plain; version=0.0.4"));
    for path in ["/healthz", "/readyz", "/metrics"] {
        server.get(path).await.refused(404, "404 错误");
    }
    assert_eq!(server.ask_operations("/api/regChat").await.status, 404);
    assert_eq!(server.ask_operations("/").await.status, 404);
}

#[tokio::test]
async fn the_help_of_the_queues_names_each_of_them() {
    let server = watched().await;
    let metrics = server.ask_operations("/metrics").await;
    let help = metrics.text.lines().find(|line| line.starts_with("# HELP qingniao_queue_length ")).unwrap();
    let series: Vec<&str> = metrics.text.lines().filter(|line| line.starts_with("qingniao_queue_length{")).collect();
    assert!(series.len() >= 4, "{series:?}");
    for line in series {
        let queue = line.split('"').nth(1).unwrap();
        assert!(help.contains(&format!("({queue})")), "{queue} is not in {help}");
    }
}

#[test]
fn a_port_in_use_stops_the_start_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let set = [("QINGNIAO_LISTEN", "127.0.0.1:0"), ("QINGNIAO_OPERATIONS_ADDRESS", address.as_str())];
    let ended = run(command(folder.path()).envs(set));
    assert_eq!(ended.code, Some(1));
    for words in [address.as_str(), "QINGNIAO_OPERATIONS_ADDRESS", "another port", "switch it off"] {
        assert!(ended.err.contains(words), "{words} is not in\n{}", ended.err);
    }
}

#[tokio::test]
async fn the_process_says_where_it_answers_and_may_be_told_not_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path());
    let process = Process::start(command.env("QINGNIAO_OPERATIONS_ADDRESS", "127.0.0.1:0"));
    let words = "operations on http://";
    eventually("the log names the address", async || process.log().contains(words)).await;
    let log = process.log();
    let address = log.split(words).nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    let text = crate::support::Door::to(address).get("/metrics").await.text;
    let scrape = Scrape::parse(&text);
    if cfg!(target_os = "linux") {
        for series in
            ["process_resident_memory_bytes", "process_open_fds", "process_max_fds", "process_start_time_seconds"]
        {
            assert!(scrape.get(series) > 0.0, "{series}");
        }
        assert!(text.contains("# TYPE process_cpu_seconds_total counter"));
    }
    assert!(
        text.contains(&format!("qingniao_build_info{{store=\"sqlite\",version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")))
    );
    drop(process);
    let process = Process::start(command.env("QINGNIAO_OPERATIONS_ADDRESS", ""));
    eventually("the log has its last line", async || process.log().contains("ffmpeg")).await;
    assert!(!process.log().contains(words));
}

#[tokio::test]
async fn a_message_is_counted_at_every_step() {
    let server = watched().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let group = alice.group(&[&bob]).await;
    let mut socket = bob.listen().await;
    reads(&server, &[("qingniao_messages_unconfirmed", 0.0), ("qingniao_queue_length{queue=\"receipts\"}", 0.0)]).await;
    let before = server.scrape().await;
    alice.say(&bob, "one").await.ok();
    alice.say_in(group, "two").await.ok();
    socket.next_messages(2).await;
    grown(
        &server,
        &before,
        &[
            ("qingniao_messages_sent_total{kind=\"single\"}", 1.0),
            ("qingniao_messages_sent_total{kind=\"group\"}", 1.0),
            ("qingniao_messages_sent_total{kind=\"notice\"}", 0.0),
            ("qingniao_messages_delivered_total", 2.0),
            ("qingniao_messages_confirmed_total{by=\"pong\"}", 2.0),
            ("qingniao_messages_confirmed_total{by=\"written\"}", 0.0),
            ("qingniao_messages_left_pending_total", 0.0),
            ("qingniao_commit_batch_messages_sum", 2.0),
            ("qingniao_commit_batch_messages_count", 2.0),
            ("qingniao_commit_seconds_count", 2.0),
            ("qingniao_commits_failed_total", 0.0),
        ],
    )
    .await;
    let before = server.scrape().await;
    alice.befriend(&server.user("carol").await).await;
    assert!(server.scrape().await.since(&before, "qingniao_messages_sent_total{kind=\"notice\"}") >= 1.0);
    // Nobody listens to what goes the other way.
    let before = server.scrape().await;
    bob.say_in(group, "three").await.ok();
    let left = ("qingniao_messages_left_pending_total", 1.0);
    grown(&server, &before, &[left, ("qingniao_messages_delivered_total", 0.0)]).await;
}

#[tokio::test]
async fn a_peer_that_never_answers_pings_confirms_by_what_is_written() {
    let server = watched().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let mut mute = bob.raw_socket().await;
    bob.post("chatGetmessageOffLine", json!({})).await.ok();
    let before = server.scrape().await;
    alice.say(&bob, "hello").await.ok();
    mute.next_message().await;
    assert!((server.scrape().await.get("qingniao_messages_unconfirmed") - 1.0).abs() < f64::EPSILON);
    tokio::time::sleep(Duration::from_secs(5)).await;
    grown(
        &server,
        &before,
        &[
            ("qingniao_messages_confirmed_total{by=\"written\"}", 1.0),
            ("qingniao_messages_confirmed_total{by=\"pong\"}", 0.0),
            ("qingniao_messages_unconfirmed", 0.0),
        ],
    )
    .await;
}

#[tokio::test]
async fn requests_are_counted_by_route_and_status_and_unknown_paths_together() {
    let server = watched().await;
    let alice = server.user("alice").await;
    let before = server.scrape().await;
    alice.get("goodfriendlist/1").await.ok();
    alice.get("goodfriendlist/2").await.ok();
    alice.get("goodfriendlist/x?limit=none").await;
    server.get("/api/chat/goodfriendlist/1").await;
    for n in 0..100 {
        server.get(&format!("/nothing/{n}")).await;
    }
    server.get("/public/absent/file.png").await;
    let now = server.scrape().await;
    let count = |route: &str, status: &str| {
        now.since(&before, &format!("qingniao_http_requests_total{{route=\"{route}\",status=\"{status}\"}}"))
    };
    assert!(count("/api/chat/goodfriendlist/{page}", "200") >= 2.0);
    assert!((count("/api/chat/goodfriendlist/{page}", "400") - 1.0).abs() < f64::EPSILON);
    assert!((count("none", "404") - 100.0).abs() < f64::EPSILON);
    assert!((count("/public/{*path}", "404") - 1.0).abs() < f64::EPSILON);
    let timed = "qingniao_http_request_seconds_count{route=\"/api/chat/goodfriendlist/{page}\"}";
    assert!(now.since(&before, timed) >= 4.0);
    assert!(now.get("qingniao_http_requests_running").abs() < f64::EPSILON);
    assert!(now.0.len() < before.0.len() + 100, "what strangers ask for makes no series of its own");
}

#[tokio::test]
async fn only_sockets_whose_clients_do_not_ask_are_probed() {
    let server = watched().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let before = server.scrape().await;
    let _asks = alice.asking_socket().await;
    let _waits = bob.socket().await;
    let drains = [("qingniao_drains_total{kind=\"asked\"}", 1.0), ("qingniao_drains_total{kind=\"probe\"}", 1.0)];
    // A probe waits as long as anything else may take.
    grown_within(2 * PATIENCE, &server, &before, &drains).await;
    reads(&server, &[("qingniao_sockets{phase=\"fresh\"}", 0.0), ("qingniao_sockets{phase=\"live\"}", 2.0)]).await;
}

#[tokio::test]
async fn connections_and_sockets_are_counted_by_what_they_are_used_for() {
    let server = watched().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    alice.say(&bob, "pending").await.ok();
    let before = server.scrape().await;
    assert!(before.get("qingniao_connections{phase=\"http\"}") >= 1.0, "the people's own");
    assert!(before.get("qingniao_connections_max") > 1.0 && before.get("qingniao_connections_accepted_total") >= 1.0);
    let waiting = bob.socket().await;
    let _older = alice.socket().await;
    let _newer = alice.asking_socket().await;
    let sockets = [("fresh", 1.0), ("live", 1.0), ("silent", 1.0), ("draining", 0.0)];
    let sockets = sockets.map(|(phase, number)| (format!("qingniao_sockets{{phase=\"{phase}\"}}"), number));
    let sockets: Vec<_> = sockets.iter().map(|(series, number)| (series.as_str(), *number)).collect();
    reads(&server, &sockets).await;
    reads(
        &server,
        &[
            ("qingniao_connections{phase=\"ws\"}", 3.0),
            ("qingniao_connections{phase=\"ws_opening\"}", 0.0),
            ("qingniao_connections{phase=\"waiting\"}", 0.0),
            ("qingniao_users_online", 2.0),
        ],
    )
    .await;
    grown(&server, &before, &[("qingniao_sockets_opened_total{outcome=\"registered\"}", 3.0)]).await;
    let before = server.scrape().await;
    waiting.ask().await;
    grown(&server, &before, &[("qingniao_drains_total{kind=\"asked\"}", 1.0)]).await;
    reads(&server, &[("qingniao_sockets{phase=\"fresh\"}", 0.0), ("qingniao_sockets{phase=\"live\"}", 2.0)]).await;
    drop(waiting);
    reads(&server, &[("qingniao_connections{phase=\"ws\"}", 2.0), ("qingniao_users_online", 1.0)]).await;
    let before = server.scrape().await;
    let mut refused = crate::support::Socket::open(server.address, Some("garbage")).await;
    refused.ending().await;
    grown(&server, &before, &[("qingniao_sockets_opened_total{outcome=\"refused\"}", 1.0)]).await;
    reads(&server, &[("qingniao_connections{phase=\"ws_opening\"}", 0.0)]).await;
}

#[tokio::test]
async fn sockets_that_end_say_why() {
    let server = watched_with(|config| {
        config.ws.heartbeat_s = 1;
        config.ws.pong_timeout_s = 1;
        config.ws.stall_timeout_s = 1;
    })
    .await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let before = server.scrape().await;
    let ended = async |why: &str| {
        let series = format!("qingniao_sockets_ended_total{{why=\"{why}\"}}");
        // A peer that never answers a ping is one that never will only after a while.
        grown_within(4 * PATIENCE, &server, &before, &[(series.as_str(), 1.0)]).await;
    };
    bob.socket().await.close().await;
    ended("goodbye").await;
    bob.raw_socket().await.reset();
    ended("lost").await;
    let proxy = Proxy::to(server.address);
    let mut vanishing = crate::support::Socket::open(proxy.address, Some(&bob.token)).await;
    vanishing.next_frame().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    proxy.stall();
    ended("unanswered").await;
    // It never answers a ping and reads nothing, and what is written to it fills every buffer.
    let (_, carol) = server.friends("dave", "carol").await;
    let stalled = carol.raw_socket().await;
    carol.post("chatGetmessageOffLine", json!({})).await.ok();
    // Before it counts as mute, no more than a window is written; and larger bursts are waited for longer than the network.
    tokio::time::sleep(Duration::from_millis(5500)).await;
    let large = "x".repeat(30_000);
    for _ in 0..300 {
        alice.say(&carol, &large).await.ok();
    }
    ended("stalled").await;
    drop(stalled);
    let _superseded = alice.socket().await;
    alice.login().await;
    ended("superseded").await;
}

#[tokio::test]
async fn queues_that_overflow_are_counted_by_what_became_of_it() {
    let server = watched_with(|config| {
        config.ws.outbox_bytes_max = 65_536;
        config.ws.heartbeat_s = 1;
    })
    .await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let large = "x".repeat(50_000);
    let before = server.scrape().await;
    let overflow = |queue: &str| format!("qingniao_queue_overflows_total{{queue=\"{queue}\"}}");
    // Something is pending and the client does not ask: it stays fresh.
    alice.say(&bob, "pending").await.ok();
    let fresh = bob.raw_socket().await;
    while server.scrape().await.since(&before, &overflow("missed")) < 1.0 {
        alice.say(&bob, &large).await.ok();
    }
    assert!(server.scrape().await.since(&before, &overflow("draining")).abs() < f64::EPSILON);
    fresh.reset();
    let mut caught_up = bob.listen().await;
    caught_up.catch_up().await;
    caught_up.close().await;
    let _slow = bob.raw_socket().await;
    bob.post("chatGetmessageOffLine", json!({})).await.ok();
    reads(&server, &[("qingniao_sockets{phase=\"live\"}", 1.0)]).await;
    while server.scrape().await.since(&before, &overflow("draining")) < 1.0 {
        alice.say(&bob, &large).await.ok();
    }
    reads(&server, &[("qingniao_sockets{phase=\"draining\"}", 1.0)]).await;
    while server.scrape().await.since(&before, &overflow("tail")) < 1.0 {
        alice.say(&bob, &large).await.ok();
    }
    // It takes no heartbeats either, and soon there is no room for another one.
    let sockets = server.app.hub.sockets(|_| true);
    let slow = sockets.iter().find(|socket| socket.user.0 == bob.id).expect("bob's is open");
    while slow.push_transient(qingniao::hub::Frame::text(&[b"x"])) {}
    grown(&server, &before, &[(&overflow("transient"), 1.0)]).await;
}

#[tokio::test]
async fn the_store_s_pools_and_caches_are_seen() {
    let server = watched().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    alice.say(&bob, "hello").await.ok();
    let before = server.scrape().await;
    let (reading, max) = match server.app.db.engine() {
        qingniao::db::Engine::MySql => ("mysql", 6.0),
        qingniao::db::Engine::Sqlite => ("sqlite_readers", 4.0),
    };
    assert!(
        (before.get(&format!("qingniao_database_connections_max{{pool=\"{reading}\"}}")) - max).abs() < f64::EPSILON
    );
    let lent = format!("qingniao_database_connections{{pool=\"{reading}\",state=\"lent\"}}");
    let reader = server.app.db.read().await.unwrap();
    reads(&server, &[(lent.as_str(), 1.0)]).await;
    drop(reader);
    reads(&server, &[(lent.as_str(), 0.0)]).await;
    alice.set("nickname", "Al").await;
    alice.say(&bob, "hello").await.ok();
    let now = server.scrape().await;
    for purpose in ["read", "write", "transaction"] {
        let series = format!("qingniao_database_wait_seconds_count{{for=\"{purpose}\"}}");
        assert!(now.since(&before, &series) >= 1.0, "{series}");
    }
    for cache in ["users", "friends", "contacts"] {
        assert!(now.get(&format!("qingniao_cache_entries{{cache=\"{cache}\"}}")) >= 1.0, "{cache}");
        assert!(now.get(&format!("qingniao_cache_weight{{cache=\"{cache}\"}}")) >= 1.0, "{cache}");
        assert!(now.get(&format!("qingniao_cache_weight_max{{cache=\"{cache}\"}}")) >= 1000.0, "{cache}");
    }
    let before = now;
    server.advance(crate::support::CACHE_MS);
    let group = alice.group(&[&bob]).await;
    alice.friends().await;
    server.advance(crate::support::CACHE_MS);
    alice.say_in(group, "hello").await.ok();
    alice.say(&bob, "hello").await.ok();
    let now = server.scrape().await;
    for cache in ["users", "friends", "friend_lists"] {
        assert!(now.since(&before, &format!("qingniao_cache_loads_total{{cache=\"{cache}\"}}")) >= 1.0, "{cache}");
    }
    for cache in ["rooms", "friend_lists"] {
        assert!(now.get(&format!("qingniao_cache_entries{{cache=\"{cache}\"}}")) >= 1.0, "{cache}");
    }
}

#[tokio::test]
async fn a_room_that_is_not_in_memory_is_counted_as_loaded() {
    let server = watched().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let group = alice.group(&[&bob]).await;
    let server = server.restart().await;
    let before = server.scrape().await;
    alice.say_in(group, "hello").await.ok();
    grown(&server, &before, &[("qingniao_cache_loads_total{cache=\"rooms\"}", 1.0)]).await;
}

#[tokio::test]
async fn uploads_and_their_bytes_are_counted() {
    let server = watched().await;
    let alice = server.user("alice").await;
    let before = server.scrape().await;
    alice.upload("chatImgs", "me.png", PNG).await.ok();
    #[expect(clippy::cast_precision_loss, reason = "a picture is small")]
    let bytes = PNG.len() as f64;
    grown(&server, &before, &[("qingniao_uploads_total{kept=\"disk\"}", 1.0), ("qingniao_upload_bytes_total", bytes)])
        .await;
    reads(&server, &[("qingniao_uploads_running", 0.0), ("qingniao_uploads_running_max", 64.0)]).await;
    let before = server.scrape().await;
    let cover = json!({ "videoUrl": "https://elsewhere.example/x.mp4", "time": 0 });
    alice.post("getVideoScreenshot", cover).await.refused(400, "截图生成失败");
    grown(&server, &before, &[("qingniao_covers_total{outcome=\"failed\"}", 1.0)]).await;
}

#[tokio::test]
async fn refusals_by_rate_limits_are_counted() {
    let server = watched_with(|config| {
        config.limits.login_failures_per_hour = 1;
        config.limits.visitor_calls_per_hour = 1;
    })
    .await;
    let alice = server.user("alice").await;
    let before = server.scrape().await;
    let wrong = json!({ "username": alice.username, "password": "not the one" });
    server.post("/api/loginChat", wrong.clone()).await.refused(400, "账户或密码错误");
    assert!(
        server.scrape().await.since(&before, "qingniao_rate_limited_total{limit=\"password\"}").abs() < f64::EPSILON
    );
    server.post("/api/loginChat", wrong).await.refused(400, "请求过于频繁，请1个小时后再试");
    grown(&server, &before, &[("qingniao_rate_limited_total{limit=\"password\"}", 1.0)]).await;
    let device = crate::support::device_id();
    for name in ["one", "two"] {
        let registration = json!({ "username": unique(name), "password": PASSWORD });
        server.signed("/api/visitorregChat", &device, registration).await;
    }
    grown(&server, &before, &[("qingniao_rate_limited_total{limit=\"visitor\"}", 1.0)]).await;
}

#[tokio::test]
async fn a_commit_that_fails_is_counted() {
    let server = watched().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    alice.say(&bob, "hello").await.ok();
    let before = server.scrape().await;
    server.app.db.close().await;
    alice.say(&bob, "hello").await.refused(503, "服务繁忙，请稍后再试");
    grown(
        &server,
        &before,
        &[("qingniao_commits_failed_total", 1.0), ("qingniao_messages_sent_total{kind=\"single\"}", 0.0)],
    )
    .await;
}

#[tokio::test]
async fn names_are_prometheus_s_and_the_readme_lists_them_all() {
    let server = watched().await;
    server.user("alice").await;
    let text = server.ask_operations("/metrics").await.text;
    let readme = include_str!("../../README.md");
    let mut families = 0;
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        families += 1;
        let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        assert!(plain && (name.starts_with("qingniao_") || name.starts_with("process_")), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
        assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help");
        assert!(name.starts_with("process_") || readme.contains(&format!("`{name}`")), "README.md lacks {name}");
    }
    assert!(families > 30, "{families}");
}
