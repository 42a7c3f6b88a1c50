//! Peers that are slow, stalled or gone: they lose nothing, and nobody else feels them (decisions 28, 29).

use std::time::{Duration, Instant};

use qingniao::ids::UserId;
use serde_json::json;

use crate::support::{Person, Proxy, RawFrame, RawSocket, Socket, TestServer, eventually, is_greeting, text_of};

/// A text that is large, so that few of them fill every buffer.
fn large(number: usize) -> String {
    format!("{number} {}", "x".repeat(20_000))
}

fn number(message: &serde_json::Value) -> usize {
    text_of(message).split(' ').next().unwrap().parse().unwrap()
}

async fn say_large(from: &Person, to: &Person, numbers: std::ops::Range<usize>) {
    for number in numbers {
        from.say(to, &large(number)).await.ok();
    }
}

/// The next message, with every ping on the way answered.
async fn next_answering(socket: &mut RawSocket) -> serde_json::Value {
    loop {
        match socket.next_frame().await {
            RawFrame::Ping(_) => socket.pong().await,
            RawFrame::Text(text) => {
                let mut frame: serde_json::Value = serde_json::from_str(&text).unwrap();
                if frame["type"] == "singleChat" && !is_greeting(&frame) {
                    return frame["data"].take();
                }
            }
            other => panic!("the socket ended: {other:?}"),
        }
    }
}

/// How long a message takes from one to the other, the longest of some.
async fn latency(from: &Person, to: &Person, socket: &mut Socket) -> Duration {
    let mut longest = Duration::ZERO;
    for _ in 0..20 {
        let start = Instant::now();
        from.say(to, "quick").await.ok();
        socket.next_message().await;
        longest = longest.max(start.elapsed());
    }
    longest
}

#[tokio::test]
async fn a_slow_reader_gets_everything_in_order_and_the_server_keeps_little_of_it() {
    let server = TestServer::with(|config| config.ws.outbox_bytes_max = 65_536).await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let mut slow = bob.raw_socket().await;
    bob.post("chatGetmessageOffLine", json!({})).await.ok();
    // 6 MB, of which the slow one reads nothing for a while.
    say_large(&alice, &bob, 0..300).await;
    for expected in 0..150 {
        assert_eq!(number(&next_answering(&mut slow).await), expected);
    }
    say_large(&alice, &bob, 300..320).await;
    for expected in 150..320 {
        assert_eq!(number(&next_answering(&mut slow).await), expected);
    }
    // It has caught up: what comes now comes at once.
    alice.say(&bob, &large(320)).await.ok();
    assert_eq!(number(&next_answering(&mut slow).await), 320);
}

#[tokio::test]
async fn a_slow_reader_that_breaks_off_gets_the_rest_later() {
    let server = TestServer::with(|config| config.ws.outbox_bytes_max = 65_536).await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let mut slow = bob.raw_socket().await;
    bob.post("chatGetmessageOffLine", json!({})).await.ok();
    say_large(&alice, &bob, 0..100).await;
    for expected in 0..50 {
        assert_eq!(number(&next_answering(&mut slow).await), expected);
    }
    slow.reset();
    let mut socket = bob.asking_socket().await;
    let first = number(&socket.next_message().await);
    // What it had read and not confirmed may come again, no more than a window of it.
    assert!((30..=50).contains(&first), "it goes on at {first}");
    for expected in first + 1..100 {
        assert_eq!(number(&socket.next_message().await), expected);
    }
    socket.expect_silence().await;
}

fn huge(number: usize) -> String {
    format!("{number} {}", "x".repeat(200_000))
}

#[tokio::test]
async fn huge_messages_stay_in_the_store_until_their_readers_have_proved_to_have_what_came_before() {
    let server = TestServer::with(|config| config.ws.outbox_bytes_max = 65_536).await;
    let (alice, bob) = server.friends("alice", "bob").await;
    for number in 0..4 {
        alice.say(&bob, &huge(number)).await.ok();
    }
    let mut slow = bob.raw_socket().await;
    bob.post("chatGetmessageOffLine", json!({})).await.ok();
    let held = || server.app.messages.large_bytes();
    let before = Instant::now();
    eventually("the first one is with the network", async || {
        held() == 0 && before.elapsed() > Duration::from_millis(300)
    })
    .await;
    for _ in 0..20 {
        assert_eq!(held(), 0, "nothing is read for it before it has answered the ping after the first");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for expected in 0..4 {
        assert_eq!(number(&next_answering(&mut slow).await), expected);
    }
    // There is no room for these in the queue of a socket that has taken everything: they come the same way.
    for number in 4..7 {
        alice.say(&bob, &huge(number)).await.ok();
    }
    alice.say(&bob, "7 small").await.ok();
    for expected in 4..8 {
        assert_eq!(number(&next_answering(&mut slow).await), expected);
    }
    eventually("nothing is held any more", async || held() == 0).await;
}

#[tokio::test]
async fn a_stalled_recipient_loses_nothing_and_nobody_else_feels_it() {
    let server = TestServer::with(|config| {
        config.ws.pong_timeout_s = 1;
        config.ws.heartbeat_s = 1;
    })
    .await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let (carol, dave) = server.friends("carol", "dave").await;
    let mut bystander = dave.asking_socket().await;
    let before = latency(&carol, &dave, &mut bystander).await;

    let proxy = Proxy::to(server.address);
    let mut stalled = Socket::open(proxy.address, Some(&bob.token)).await;
    bob.post("chatGetmessageOffLine", json!({})).await.ok();
    alice.say(&bob, &large(0)).await.ok();
    assert_eq!(number(&stalled.next_message().await), 0);
    // The pong gets through, then nothing more.
    tokio::time::sleep(Duration::from_millis(300)).await;
    proxy.stall();
    let say = async {
        for number in 1..60 {
            alice.say(&bob, &number.to_string()).await.ok();
        }
    };
    let (during, ()) = tokio::join!(latency(&carol, &dave, &mut bystander), say);
    assert!(during < before * 10 + Duration::from_millis(200), "bystanders: {before:?} before, {during:?} during");

    let bob_id = UserId(bob.id);
    eventually("the stalled socket is dropped", async || !server.app.hub.is_online(bob_id)).await;
    let mut socket = bob.asking_socket().await;
    for expected in 1..60 {
        assert_eq!(number(&socket.next_message().await), expected);
    }
    socket.expect_silence().await;
}

#[tokio::test]
async fn a_phone_that_comes_back_does_not_wait_for_its_dead_socket() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let proxy = Proxy::to(server.address);
    let mut dead = Socket::open(proxy.address, Some(&bob.token)).await;
    bob.post("chatGetmessageOffLine", json!({})).await.ok();
    alice.say(&bob, &large(0)).await.ok();
    assert_eq!(number(&dead.next_message().await), 0);
    tokio::time::sleep(Duration::from_millis(300)).await;
    proxy.stall();
    // Enough that the server is in the middle of writing to the dead socket.
    say_large(&alice, &bob, 1..400).await;
    let back = Instant::now();
    let mut socket = bob.asking_socket().await;
    for expected in 1..400 {
        assert_eq!(number(&socket.next_message().await), expected);
        if expected == 1 {
            assert!(back.elapsed() < Duration::from_secs(5), "it waited {:?}", back.elapsed());
        }
    }
    alice.say(&bob, &large(400)).await.ok();
    assert_eq!(number(&socket.next_message().await), 400);
    socket.expect_silence().await;
}

#[tokio::test]
async fn an_idle_peer_that_vanished_is_found_and_a_quiet_one_is_not_dropped() {
    let server = TestServer::with(|config| {
        config.ws.pong_timeout_s = 1;
        config.ws.heartbeat_s = 1;
    })
    .await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let mute = server.user("mute").await;
    let proxy = Proxy::to(server.address);
    let _vanishing = Socket::open(proxy.address, Some(&alice.token)).await;
    let mut quiet = bob.socket().await;
    let mut never_answers = mute.raw_socket().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    proxy.stall();
    let alice_id = UserId(alice.id);
    assert!(server.app.hub.is_online(alice_id));
    eventually("the vanished socket is dropped", async || !server.app.hub.is_online(alice_id)).await;
    // Several heartbeats later.
    tokio::time::sleep(Duration::from_secs(2)).await;
    quiet.expect_silence().await;
    while let Some(frame) = never_answers.frame_within(Duration::from_millis(50)).await {
        assert_ne!(frame, RawFrame::End, "a peer that never answered a ping is not asked to");
    }
}
