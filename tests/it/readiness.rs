//! When `/readyz` says that the server is not ready: its store is away, messages cannot be stored, it stops.

use crate::migrations::{refuse_inserts, take_inserts};
use crate::operations::{READY, watched, watched_with};
use crate::single_chat::ONE_ONLY;
use crate::support::{Proxy, TestServer, database, eventually, mysql_url};

/// Status and text of the answer of a server that is ready.
fn ready() -> (u16, String) {
    (200, READY.to_owned())
}

/// The same, where the answer names this as failing.
fn failing(what: &str) -> (u16, String) {
    (503, format!(r#"{{"ready":false,"failing":["{what}"]}}"#))
}

async fn readiness(server: &TestServer) -> (u16, String) {
    let reply = server.ask_operations("/readyz").await;
    (reply.status, reply.text)
}

#[tokio::test]
async fn a_server_whose_store_is_away_lives_but_is_not_ready() {
    let Some(url) = mysql_url().await else { return };
    let (host, name) = url.rsplit_once('@').unwrap().1.split_once('/').unwrap();
    let mut proxy = Proxy::to(host.parse().expect("an address and a port"));
    let through_proxy = url.replace(&format!("{host}/{name}"), &format!("{}/{name}", proxy.address));
    let server = watched_with(|config| {
        config.database_url = through_proxy;
        config.database.acquire_timeout_ms = 500;
    })
    .await;
    assert_eq!(readiness(&server).await, ready());
    proxy.cut().await;
    assert_eq!(readiness(&server).await, failing("store"));
    assert_eq!(server.ask_operations("/healthz").await.status, 200);
    proxy.restore();
    eventually("the server is ready again", async || readiness(&server).await == ready()).await;
    // Without a word, which is worse.
    proxy.stall();
    assert_eq!(readiness(&server).await, failing("store"));
}

#[tokio::test]
async fn a_store_that_is_closed_makes_the_server_unready_on_either_engine() {
    let server = watched().await;
    server.app.db.close().await;
    assert_eq!(readiness(&server).await, failing("store"));
    // The metrics are still there.
    assert!(server.scrape().await.0.len() > 50);
}

#[tokio::test]
async fn a_refused_message_does_not_show_that_messages_can_be_stored() {
    let url = database::fresh("qingniao_ready_").await.unwrap_or_default();
    let server = watched_with(|config| config.database_url = url).await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let (stranger, carol) = server.users("stranger", "carol").await;
    stranger.say(&carol, "hello").await.ok();
    refuse_inserts!(server.app.db, "messages");
    alice.say(&bob, "lost").await.refused(500, "服务器内部错误");
    assert_eq!(readiness(&server).await, failing("store"));
    stranger.say(&carol, "hello again").await.refused(400, ONE_ONLY);
    assert_eq!(readiness(&server).await, failing("store"));
    take_inserts(&server.app.db).await;
    alice.say(&bob, "stored").await.ok();
    assert_eq!(readiness(&server).await, ready());
}

#[tokio::test]
async fn a_server_that_stops_is_not_ready_but_still_says_so() {
    let server = watched().await;
    server.app.stop.cancel();
    assert_eq!(readiness(&server).await, failing("stopping"));
    assert_eq!(server.ask_operations("/healthz").await.status, 200);
    let address = server.operations.unwrap();
    server.stop().await;
    eventually("the address is given up", async || tokio::net::TcpStream::connect(address).await.is_err()).await;
}
