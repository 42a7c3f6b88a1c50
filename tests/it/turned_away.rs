//! A database that is there and turns the server away: too many connections of its account, a password that was changed. Who needs a
//! connection meanwhile is answered 503, and the connections that are open serve on. On MySQL only.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::support::database::Account;
use crate::support::{BUSY, Person, Proxy, Reply, TestServer, eventually, mysql_url};

/// More than a test needs: to wait for one of the server's own is answered 503 as well.
const CONNECTIONS: u32 = 32;

async fn write(person: &Person) -> Reply {
    person.post("userset", json!({ "userset": "{}" })).await
}

/// Changes the account of a running server so that MySQL takes no further connection of it.
async fn expect_busy_after(change: &str) {
    let Some(mut account) = Account::new().await else { return };
    let server = TestServer::with(|config| {
        config.database_url.clone_from(&account.url);
        config.database.connections_max = CONNECTIONS;
    })
    .await;
    let alice = server.user("alice").await;
    account.alter(change).await;
    let mut held = Vec::new();
    let refused = loop {
        // Takes one more of those that are open, until a call has to ask MySQL for another.
        held.extend(server.app.db.read().await.ok());
        let reply = write(&alice).await;
        if reply.status != 200 {
            break reply;
        }
    };
    refused.refused(503, BUSY);
    assert!(held.len() < CONNECTIONS as usize, "it was MySQL that refused");
    drop(held);
    eventually("what is open serves on", async || write(&alice).await.status == 200).await;
    account.remove().await;
}

/// MySQL's error 1226.
#[tokio::test]
async fn a_server_that_has_as_many_connections_as_its_account_may_have_is_busy() {
    expect_busy_after("WITH MAX_USER_CONNECTIONS 1").await;
}

/// MariaDB's error 4151.
#[tokio::test]
async fn a_server_whose_account_was_locked_is_busy() {
    expect_busy_after("ACCOUNT LOCK").await;
}

/// MySQL's error 1045: an operator changes the password there first, and in the server's configuration afterwards.
#[tokio::test]
async fn a_server_whose_password_was_changed_is_busy() {
    expect_busy_after("IDENTIFIED BY 'second'").await;
}

/// Refuses whoever connects with an error of this number, as MySQL does.
async fn turn_away(listener: TcpListener, number: u16, turned_away: Arc<AtomicUsize>) {
    let words = [&[0xff_u8][..], &number.to_le_bytes()[..], &b"#08004turned away"[..]].concat();
    let head = [u8::try_from(words.len()).unwrap(), 0, 0, 0];
    let packet = [&head[..], &words[..]].concat();
    while let Ok((mut stream, _)) = listener.accept().await {
        // Who has gone meanwhile is not missed.
        let _ = stream.write_all(&packet).await;
        turned_away.fetch_add(1, Ordering::Relaxed);
    }
}

/// The bound for all accounts (1203) is a setting of the whole database server, which other tests share: something else says it.
#[tokio::test]
async fn whatever_the_server_is_turned_away_for_it_is_busy_and_comes_back() {
    let Some(url) = mysql_url().await else { return };
    let (host, name) = url.rsplit_once('@').unwrap().1.split_once('/').unwrap();
    let mut proxy = Proxy::to(host.parse().expect("an address and a port"));
    let through_proxy = url.replace(&format!("{host}/{name}"), &format!("{}/{name}", proxy.address));
    let server = TestServer::with(|config| config.database_url = through_proxy).await;
    let alice = server.user("alice").await;
    for number in [1040, 1045, 1203, 1226, 3118, 4151] {
        write(&alice).await.ok();
        proxy.cut().await;
        let listener = TcpListener::bind(proxy.address).await.unwrap();
        let (turned_away, mut database) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
        database.spawn(turn_away(listener, number, turned_away.clone()));
        // More than there were connections, each of which fails once because it was cut.
        for _ in 0..10 {
            write(&alice).await.refused(503, BUSY);
        }
        assert!(turned_away.load(Ordering::Relaxed) > 0, "{number}");
        database.shutdown().await;
        proxy.restore();
        eventually("the server has found its database again", async || write(&alice).await.status == 200).await;
    }
}
