//! What is pending: kept in order, pushed after `chatGetmessageOffLine`, confirmed by pongs (decisions 25-28).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use crate::support::{Event, PATIENCE, Person, RawFrame, RawSocket, SILENCE, Socket, TestServer, eventually, text_of};

/// Longer than a peer has to answer its first ping before it counts as mute.
const MUTE: Duration = Duration::from_millis(5500);

async fn ask(person: &Person) {
    assert_eq!(person.post("chatGetmessageOffLine", json!({})).await.ok(), "ok");
}

/// Says the numbers one after the other.
pub async fn say_all(from: &Person, to: &Person, texts: std::ops::Range<usize>) {
    for text in texts {
        from.say(to, &text.to_string()).await.ok();
    }
}

/// Takes the same numbers, in order.
pub async fn expect_all(socket: &mut Socket, texts: std::ops::Range<usize>) {
    for text in texts {
        assert_eq!(socket.next_text().await, text.to_string());
    }
}

/// Everything that comes within a while.
async fn rest(socket: &mut RawSocket) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(frame) = socket.frame_within(SILENCE).await {
        if let RawFrame::Text(text) = frame {
            let frame: serde_json::Value = serde_json::from_str(&text).unwrap();
            if frame["type"] == "singleChat" && frame["data"].get("msgidKey").is_none() {
                texts.push(text_of(&frame["data"]));
            }
        }
    }
    texts
}

/// As a phone whose app is suspended: its kernel takes what comes, and the app shows it when it goes on, also what its next socket
/// brings again.
#[tokio::test]
async fn who_has_stopped_answering_is_written_no_more_until_it_answers() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let mut socket = bob.raw_socket().await;
    ask(&bob).await;
    alice.say(&bob, "one").await.ok();
    assert_eq!(rest(&mut socket).await, ["one"]);
    socket.pong().await;
    assert_eq!(rest(&mut socket).await, [""; 0]);
    socket.pong().await;
    alice.say(&bob, "two").await.ok();
    assert_eq!(rest(&mut socket).await, ["two"]);
    tokio::time::sleep(Duration::from_millis(2100)).await;
    alice.say(&bob, "three").await.ok();
    assert_eq!(rest(&mut socket).await, [""; 0]);
    socket.pong().await;
    assert_eq!(rest(&mut socket).await, ["three"]);
    socket.reset();
    let mut next = bob.asking_socket().await;
    assert_eq!(next.next_text().await, "three");
    next.expect_silence().await;
}

#[tokio::test]
async fn what_was_sent_to_somebody_away_comes_in_order_after_the_call() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    say_all(&alice, &bob, 0..30).await;
    let mut socket = bob.socket().await;
    socket.expect_silence().await;
    socket.ask().await;
    expect_all(&mut socket, 0..30).await;
    socket.expect_silence().await;
}

#[tokio::test]
async fn pending_messages_keep_their_times_and_survive_a_restart() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let sent = alice.say(&bob, "hello").await.ok();
    let server = server.restart().await;
    server.advance(3_600_000);
    let mut socket = bob.asking_socket().await;
    let frame = socket.next_frame().await;
    assert_eq!(frame["data"], sent, "with its own create_time");
    assert_eq!(frame["timestamp"], server.clock.now_ms());
}

#[tokio::test]
async fn more_than_a_page_comes_in_order() {
    let server = TestServer::start().await;
    let bob = server.user("bob").await;
    bob.take_from_all().await;
    let senders = join_all((0..8).map(|_| server.user("sender"))).await;
    join_all(senders.iter().map(|sender| say_all(sender, &bob, 0..200))).await;
    let mut socket = bob.asking_socket().await;
    let mut next: BTreeMap<i64, usize> = BTreeMap::new();
    for message in socket.next_messages(1600).await {
        let expected = next.entry(message["from_id"].as_i64().unwrap()).or_default();
        assert_eq!(text_of(&message), expected.to_string());
        *expected += 1;
    }
    socket.expect_silence().await;
}

#[tokio::test]
async fn a_call_that_overtakes_the_registration_counts() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    say_all(&alice, &bob, 0..3).await;
    ask(&bob).await;
    let mut socket = bob.socket().await;
    expect_all(&mut socket, 0..3).await;
    socket.expect_silence().await;
}

#[tokio::test]
async fn a_call_during_the_registration_counts() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    for round in 0..20 {
        say_all(&alice, &bob, round..round + 1).await;
        // The client calls when it sees the upgrade accepted, before the server has registered the socket.
        let (mut socket, ()) = tokio::join!(Socket::open(server.address, Some(&bob.token)), ask(&bob));
        expect_all(&mut socket, round..round + 1).await;
        // Confirmed, so that the next socket does not get it again.
        tokio::time::sleep(Duration::from_millis(150)).await;
        socket.close().await;
    }
}

#[tokio::test]
async fn without_the_call_live_messages_come_and_are_not_repeated_by_it() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    say_all(&alice, &bob, 0..2).await;
    let mut socket = bob.socket().await;
    say_all(&alice, &bob, 2..4).await;
    expect_all(&mut socket, 2..4).await;
    socket.expect_silence().await;
    socket.ask().await;
    expect_all(&mut socket, 0..2).await;
    say_all(&alice, &bob, 4..6).await;
    expect_all(&mut socket, 4..6).await;
    socket.expect_silence().await;
    socket.ask().await;
    socket.expect_silence().await;
}

#[tokio::test]
async fn what_came_early_is_not_repeated_on_a_later_socket() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    say_all(&alice, &bob, 0..2).await;
    let mut socket = bob.socket().await;
    say_all(&alice, &bob, 2..4).await;
    expect_all(&mut socket, 2..4).await;
    socket.expect_silence().await;
    socket.cut().await;
    let mut socket = bob.asking_socket().await;
    expect_all(&mut socket, 0..2).await;
    socket.expect_silence().await;
    socket.cut().await;
    bob.asking_socket().await.expect_silence().await;
}

#[tokio::test]
async fn a_pong_confirms_and_what_has_none_comes_again() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let mut socket = bob.raw_socket().await;
    ask(&bob).await;
    say_all(&alice, &bob, 0..2).await;
    assert_eq!(rest_and_pong(&mut socket).await, ["0", "1"]);
    say_all(&alice, &bob, 2..4).await;
    assert_eq!(text_of(&socket.next_message().await), "2");
    assert_eq!(text_of(&socket.next_message().await), "3");
    socket.reset();
    let mut socket = bob.asking_socket().await;
    expect_all(&mut socket, 2..4).await;
    socket.expect_silence().await;
}

/// Reads until nothing comes, answering every ping.
async fn rest_and_pong(socket: &mut RawSocket) -> Vec<String> {
    let mut texts = Vec::new();
    loop {
        let more = rest(socket).await;
        let pinged = socket.last_ping.is_some();
        if pinged {
            socket.pong().await;
        }
        if more.is_empty() && !pinged {
            return texts;
        }
        texts.extend(more);
    }
}

#[tokio::test]
async fn a_second_socket_with_the_same_token_repeats_nothing() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let mut first = bob.asking_socket().await;
    say_all(&alice, &bob, 0..3).await;
    expect_all(&mut first, 0..3).await;
    // At once, while the pong may still be on its way.
    let mut second = bob.asking_socket().await;
    say_all(&alice, &bob, 3..5).await;
    expect_all(&mut second, 3..5).await;
    second.expect_silence().await;
    first.expect_silence().await;
}

#[tokio::test]
async fn sixteen_sockets_that_ask_at_once_get_each_message_once() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    for round in 0..3 {
        say_all(&alice, &bob, 0..100).await;
        let mut sockets = join_all((0..16).map(|_| async {
            let (socket, ()) = tokio::join!(Socket::open(server.address, Some(&bob.token)), ask(&bob));
            ask(&bob).await;
            socket
        }))
        .await;
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let deadline = Instant::now() + PATIENCE;
        while counts.len() < 100 {
            assert!(Instant::now() < deadline, "round {round}: only {} messages came", counts.len());
            for socket in &mut sockets {
                collect(socket, &mut counts, Duration::from_millis(5)).await;
            }
        }
        tokio::time::sleep(SILENCE).await;
        for socket in &mut sockets {
            collect(socket, &mut counts, Duration::ZERO).await;
        }
        assert!(counts.values().all(|count| *count == 1), "round {round}: {counts:?}");
        for socket in sockets {
            socket.cut().await;
        }
    }
}

async fn collect(socket: &mut Socket, counts: &mut BTreeMap<String, usize>, wait: Duration) {
    while let Some(event) = socket.event_within(wait).await {
        let frame = match event {
            Event::Frame(frame) => frame,
            Event::Ping => continue,
            Event::Closed(_) | Event::Lost => return,
        };
        if frame["type"] == "singleChat" && !crate::support::is_greeting(&frame) {
            *counts.entry(text_of(&frame["data"])).or_default() += 1;
        }
    }
}

/// A phone that comes back and whose network stalls at once is no mute client, although this socket has answered nothing.
#[tokio::test]
async fn who_has_answered_before_is_not_taken_for_mute_by_a_new_socket_nor_after_a_restart() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let mut socket = bob.asking_socket().await;
    say_all(&alice, &bob, 0..1).await;
    assert_eq!(socket.next_text().await, "0");
    let noted = "UPDATE sessions SET answers_pings = 1 WHERE answers_pings = 1 AND user_id = ?";
    eventually("the store knows it", async || server.sql(noted, &[bob.id.into()]).await == 1).await;
    drop(socket);
    let server = server.restart().await;
    say_all(&alice, &bob, 1..4).await;
    let mut stalled = bob.raw_socket().await;
    ask(&bob).await;
    assert_eq!(rest(&mut stalled).await, ["1", "2", "3"]);
    tokio::time::sleep(MUTE).await;
    say_all(&alice, &bob, 4..6).await;
    assert_eq!(rest(&mut stalled).await, [""; 0], "it is waited for");
    stalled.reset();
    expect_all(&mut bob.asking_socket().await, 1..6).await;
    drop(server);
}

/// Bob's stack answers no ping. He has asked, and got `0` and `1` from Alice.
async fn two_to_a_mute_client() -> (TestServer, Person, Person, RawSocket) {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let mut mute = bob.raw_socket().await;
    ask(&bob).await;
    say_all(&alice, &bob, 0..2).await;
    assert_eq!(rest(&mut mute).await, ["0", "1"]);
    (server, alice, bob, mute)
}

#[tokio::test]
async fn what_a_mute_client_was_sent_counts_as_delivered_after_a_grace() {
    let (_server, alice, bob, mut mute) = two_to_a_mute_client().await;
    tokio::time::sleep(MUTE).await;
    // Again and again, not only what was there when the grace was over.
    for text in 2..5 {
        say_all(&alice, &bob, text..text + 1).await;
        assert_eq!(text_of(&mute.next_message().await), text.to_string());
    }
    tokio::time::sleep(2 * MUTE).await;
    // A second socket of the same client neither waits for the first one nor repeats what that got.
    let mut second = bob.raw_socket().await;
    let asked = Instant::now();
    ask(&bob).await;
    say_all(&alice, &bob, 5..6).await;
    assert_eq!(text_of(&second.next_message().await), "5");
    assert!(asked.elapsed() < Duration::from_secs(1), "it waited {:?}", asked.elapsed());
    assert_eq!(rest(&mut second).await, [""; 0]);
    mute.reset();
    second.reset();
}

#[tokio::test]
async fn what_a_mute_client_was_sent_just_before_its_network_broke_comes_again() {
    let (_server, alice, bob, mut mute) = two_to_a_mute_client().await;
    // Mute by now, and what came with the first pings counts as received.
    tokio::time::sleep(2 * MUTE).await;
    say_all(&alice, &bob, 2..4).await;
    assert_eq!(rest(&mut mute).await, ["2", "3"]);
    mute.reset();
    let mut socket = bob.asking_socket().await;
    expect_all(&mut socket, 2..4).await;
    socket.expect_silence().await;
}

/// A second socket waits for what a mute one holds, since that is not old enough to count as received; and not for ever.
#[tokio::test]
async fn a_second_socket_of_a_mute_client_neither_repeats_nor_overtakes_what_the_first_was_sent_just_now() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let mut mute = bob.raw_socket().await;
    ask(&bob).await;
    tokio::time::sleep(MUTE).await;
    say_all(&alice, &bob, 0..2).await;
    assert_eq!(rest(&mut mute).await, ["0", "1"]);
    let mut second = bob.raw_socket().await;
    ask(&bob).await;
    say_all(&alice, &bob, 2..3).await;
    tokio::time::sleep(2 * MUTE).await;
    assert_eq!(rest(&mut second).await, ["2"]);
    mute.reset();
    second.reset();
}

#[tokio::test]
async fn what_a_mute_client_was_sent_comes_again_if_the_network_broke_at_once() {
    let (_server, _, bob, mute) = two_to_a_mute_client().await;
    mute.reset();
    let mut socket = bob.asking_socket().await;
    expect_all(&mut socket, 0..2).await;
}

#[tokio::test]
async fn a_mute_client_that_says_goodbye_has_what_it_was_sent() {
    let (_server, _, bob, mut mute) = two_to_a_mute_client().await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    mute.send_frame(0x8, &1000_u16.to_be_bytes()).await;
    while mute.next_frame().await != RawFrame::End {}
    bob.asking_socket().await.expect_silence().await;
}

#[tokio::test]
async fn a_client_that_closes_in_the_middle_loses_nothing() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    say_all(&alice, &bob, 0..5).await;
    // It asks and closes at once, before it can have answered a ping.
    let mut hasty = bob.raw_socket().await;
    ask(&bob).await;
    hasty.send_frame(0x8, &1000_u16.to_be_bytes()).await;
    while hasty.next_frame().await != RawFrame::End {}
    let mut socket = bob.asking_socket().await;
    expect_all(&mut socket, 0..5).await;
    socket.expect_silence().await;
}

#[tokio::test]
async fn an_acknowledged_message_is_stored_even_if_the_server_stops_at_once() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let mut socket = bob.asking_socket().await;
    let sends = (0..200).map(|text| {
        let (alice, bob) = (alice.clone(), bob.clone());
        async move {
            let call = alice.call(reqwest::Method::POST, "socket/sendmessage").json(&json!({ "sendto_id": bob.id,
                "chatType": "single", "type": "text", "data": { "data": text.to_string() } }));
            match call.try_send().await {
                Ok(reply) if reply.status == 200 => Some(text.to_string()),
                Ok(reply) => {
                    reply.refused(503, "服务繁忙，请稍后再试");
                    None
                }
                Err(_) => None,
            }
        }
    });
    let (replies, stopped) = tokio::join!(join_all(sends), async {
        tokio::time::sleep(Duration::from_millis(15)).await;
        server.stop().await
    });
    let mut counts = BTreeMap::new();
    collect(&mut socket, &mut counts, Duration::ZERO).await;
    let _server = stopped.start().await;
    let mut socket = bob.asking_socket().await;
    collect(&mut socket, &mut counts, SILENCE).await;
    let acknowledged: Vec<String> = replies.into_iter().flatten().collect();
    for text in &acknowledged {
        assert!(counts.contains_key(text), "{text} was acknowledged and never came");
    }
    println!("{} of 200 were acknowledged, {} came", acknowledged.len(), counts.len());
}

#[tokio::test]
async fn what_was_received_before_a_stop_does_not_come_again() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let mut socket = bob.asking_socket().await;
    // Under such traffic pings are a while apart: the stop itself asks for the last pong.
    say_all(&alice, &bob, 0..50).await;
    expect_all(&mut socket, 0..50).await;
    let _server = server.restart().await;
    bob.asking_socket().await.expect_silence().await;
}

#[tokio::test]
async fn a_peer_that_answers_nothing_holds_no_stop_up_and_gets_the_rest_again() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let mut mute = bob.raw_socket().await;
    ask(&bob).await;
    say_all(&alice, &bob, 0..3).await;
    for text in 0..3 {
        assert_eq!(text_of(&mute.next_message().await), text.to_string());
    }
    let began = Instant::now();
    let stopped = server.stop().await;
    assert!(began.elapsed() < Duration::from_secs(1), "the stop took {:?}", began.elapsed());
    let _server = stopped.start().await;
    expect_all(&mut bob.asking_socket().await, 0..3).await;
}
