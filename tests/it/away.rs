//! A database that goes away under load, loudly or without a word: refusals are 503 in the envelope, nothing that was
//! acknowledged is lost, and the server finds it again by itself. On MySQL only, through a proxy.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use qingniao::db::Engine;
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{PATIENCE, Person, Proxy, Socket, TestServer, mysql_url, text_of};

const BUSY: &str = "服务繁忙，请稍后再试";
const SENDERS: usize = 4;

struct Town {
    server: TestServer,
    proxy: Proxy,
    senders: Vec<Person>,
    online: (Person, Socket),
    offline: Person,
}

/// A server whose database is behind a proxy, some who write, one who is connected and one who is not.
async fn town() -> Option<Town> {
    let url = mysql_url().await?;
    let (host, name) = url.rsplit_once('@').unwrap().1.split_once('/').unwrap();
    let proxy = Proxy::to(host.parse().expect("an address and a port"));
    let through = url.replace(&format!("{host}/{name}"), &format!("{}/{name}", proxy.address));
    let server = TestServer::with(|config| {
        config.database_url = through;
        config.database.acquire_timeout_ms = 500;
    })
    .await;
    let senders = join_all((0..SENDERS).map(|_| server.user("sender"))).await;
    let (online, offline) = server.friends("online", "offline").await;
    let socket = online.asking_socket().await;
    Some(Town { server, proxy, senders, online: (online, socket), offline })
}

/// What a sender was told: texts that were acknowledged, in order.
async fn send_all(
    sender: &Person,
    to: &Person,
    until: &AtomicUsize,
    last_ok: &std::sync::Mutex<Instant>,
    told: &AtomicUsize,
) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let mut count = 0;
    while until.load(Ordering::Relaxed) == 0 {
        count += 1;
        let text = format!("{}/{count}", sender.id);
        let body = json!({ "sendto_id": to.id, "chatType": "single", "type": "text", "data": { "data": text } });
        let reply = sender.post("socket/sendmessage", body).await;
        if reply.status == 200 {
            acknowledged.push(text);
            told.fetch_add(1, Ordering::Relaxed);
            *last_ok.lock().unwrap() = Instant::now();
        } else {
            reply.refused(503, BUSY);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    acknowledged
}

/// Everybody writes to both while `trouble` goes on. Returns the acknowledged texts of each of the two.
async fn under_load(
    town: &mut Town,
    trouble: impl AsyncFnOnce(&mut Proxy, &std::sync::Mutex<Instant>),
) -> [Vec<String>; 2] {
    let (over, last_ok) = (AtomicUsize::new(0), std::sync::Mutex::new(Instant::now()));
    let Town { proxy, senders, online, offline, .. } = town;
    let (one, other) = senders.split_at(SENDERS / 2);
    let told = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let to_online = join_all(one.iter().map(|sender| send_all(sender, &online.0, &over, &last_ok, &told[0])));
    let to_offline = join_all(other.iter().map(|sender| send_all(sender, offline, &over, &last_ok, &told[1])));
    // However slow the disk is, the trouble falls into a stream of messages.
    let at_least = async |count| {
        let began = Instant::now();
        while told.iter().any(|told| told.load(Ordering::Relaxed) < count) {
            assert!(began.elapsed() < 6 * PATIENCE, "{count} messages to each are acknowledged, and not {told:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let trouble = async {
        at_least(30).await;
        trouble(proxy, &last_ok).await;
        at_least(60).await;
        over.store(1, Ordering::Relaxed);
    };
    let (to_online, to_offline, ()) = tokio::join!(to_online, to_offline, trouble);
    [to_online.concat(), to_offline.concat()]
}

/// Reads until all of `acknowledged` came: each once, and each sender's in order.
async fn expect_all(socket: &mut Socket, acknowledged: &[String]) {
    let mut missing: std::collections::HashSet<&str> = acknowledged.iter().map(String::as_str).collect();
    let mut latest = std::collections::HashMap::new();
    while !missing.is_empty() {
        let text = text_of(&socket.next_message().await);
        // What was refused may be stored all the same, if the answer of the commit was lost.
        missing.remove(text.as_str());
        let (sender, count) = text.split_once('/').unwrap();
        let count: usize = count.parse().unwrap();
        let last = latest.insert(sender.to_owned(), count);
        assert!(last.is_none_or(|last| last < count), "{text} came after {last:?}");
    }
}

async fn expect_nothing_lost(mut town: Town, [to_online, to_offline]: [Vec<String>; 2]) {
    expect_all(&mut town.online.1, &to_online).await;
    let mut socket = town.offline.asking_socket().await;
    expect_all(&mut socket, &to_offline).await;
    // What was confirmed while the database was away is recorded by now.
    tokio::time::sleep(Duration::from_millis(700)).await;
    town.online.1.cut().await;
    socket.cut().await;
    for person in [&town.online.0, &town.offline] {
        person.asking_socket().await.expect_silence().await;
    }
    drop(town.server);
}

#[tokio::test]
async fn a_database_that_is_cut_loses_nothing_that_was_acknowledged() {
    let Some(mut town) = town().await else { return };
    let acknowledged = under_load(&mut town, async |proxy, last_ok| {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            proxy.cut().await;
            tokio::time::sleep(Duration::from_millis(700)).await;
            proxy.restore();
            let back = Instant::now();
            while *last_ok.lock().unwrap() < back {
                assert!(back.elapsed() < Duration::from_secs(2), "the server found its store again");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    })
    .await;
    expect_nothing_lost(town, acknowledged).await;
}

#[tokio::test]
async fn a_database_that_stalls_for_a_moment_is_waited_for() {
    let Some(mut town) = town().await else { return };
    let acknowledged = under_load(&mut town, async |proxy, last_ok| {
        tokio::time::sleep(Duration::from_millis(500)).await;
        proxy.stall();
        tokio::time::sleep(Duration::from_secs(3)).await;
        proxy.resume();
        let back = Instant::now();
        while *last_ok.lock().unwrap() < back {
            assert!(back.elapsed() < Duration::from_secs(2), "the server goes on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    })
    .await;
    expect_nothing_lost(town, acknowledged).await;
}

#[tokio::test]
async fn a_database_that_vanished_without_a_word_holds_nobody_for_ever() {
    let Some(mut town) = town().await else { return };
    // More than there are connections.
    let readers: Vec<Person> = town.senders.iter().cycle().take(8).cloned().collect();
    let acknowledged = under_load(&mut town, async |proxy, last_ok| {
        let mut reading = JoinSet::new();
        for reader in readers {
            reading.spawn(async move {
                loop {
                    let reply = reader.get("grouplist/1").await;
                    if reply.status != 200 {
                        reply.refused(503, BUSY);
                    }
                }
            });
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        // As when another machine takes the database's address over.
        proxy.abandon();
        let gone = Instant::now();
        tokio::time::sleep(Duration::from_millis(100)).await;
        while *last_ok.lock().unwrap() < gone + Duration::from_millis(50) {
            assert!(gone.elapsed() < Duration::from_secs(13), "whoever waits gives up after ten seconds");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        reading.shutdown().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    })
    .await;
    expect_nothing_lost(town, acknowledged).await;
}

#[tokio::test]
async fn connections_that_nobody_needs_any_more_are_closed() {
    let server = TestServer::with(|config| config.operations.address = String::from("127.0.0.1:0")).await;
    if server.app.db.engine() != Engine::MySql {
        return;
    }
    let someone = server.user("someone").await;
    let open = async || server.scrape().await.get("qingniao_database_connections{pool=\"mysql\",state=\"idle\"}");
    // However fast each is, some of so many run at the same time.
    while open().await < 3.0 {
        join_all((0..50).map(|_| someone.get("grouplist/1"))).await;
    }
    let began = Instant::now();
    while open().await > 1.0 {
        assert!(began.elapsed() < Duration::from_secs(25), "MySQL, which does so after 30 s, would write a warning");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    someone.get("grouplist/1").await.ok();
}
