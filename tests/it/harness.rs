//! The harness itself: that its people, sockets and redactions do what the tests of the topics rely on.

use serde_json::json;

use crate::support::{Event, RawFrame, TestServer, text_of};

#[cfg(not(unix))]
#[test]
fn what_needs_unix_is_said_to_be_left_out() {
    crate::support::skip("config_cli, ffmpeg, plans and posters need signals, rights of files or shell scripts");
}

#[tokio::test]
async fn people_talk_to_each_other() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let mut socket = bob.asking_socket().await;
    let sent = alice.say(&bob, "hello").await.ok();
    let got = socket.next_message().await;
    assert_eq!(got, sent);
    assert_eq!(text_of(&got), "hello");
    socket.expect_silence().await;
    socket.close().await;
}

#[tokio::test]
async fn guests_are_signed_and_greeted_by_their_cards() {
    let server = TestServer::start().await;
    let guest = server.guest().await;
    let socket = guest.socket().await;
    let keys: Vec<_> = socket.cards.iter().map(|card| server.redacted(&card["msgidKey"])).collect();
    assert_eq!(keys, ["redirect-whoCanChatMe-[guest.id]", "redirect-visitorLogin-[guest.id]"]);
    socket.cut().await;
}

#[tokio::test]
async fn a_raw_socket_answers_pings_only_when_told() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let mut socket = bob.raw_socket().await;
    socket.send("ping").await;
    alice.say(&bob, "hello").await.ok();
    assert_eq!(text_of(&socket.next_message().await), "hello");
    while socket.last_ping.is_none() {
        assert!(!matches!(socket.next_frame().await, RawFrame::End));
    }
    socket.pong().await;
    socket.reset();
}

#[tokio::test]
async fn a_restart_keeps_address_store_and_clock() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mut socket = alice.socket().await;
    let server = server.restart().await;
    assert_eq!(socket.ending().await, Event::Lost);
    alice.post("chatGetmessageOffLine", json!({})).await.ok();
    server.advance(1000);
    assert_eq!(server.app.clock.now_ms(), server.clock.now_ms());
}

#[tokio::test]
async fn redaction_names_the_people_of_the_test() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let shown = json!({ "id": alice.id, "other_id": -5, "uuid": alice.uuid, "text": format!("hi {}", alice.username),
        "token": alice.token, "create_time": 5, "page": format!("/a?id={}&x", alice.id) });
    insta::assert_json_snapshot!(server.redacted(&shown), @r#"
    {
      "id": "[alice.id]",
      "other_id": "[id]",
      "uuid": "[alice.uuid]",
      "text": "hi alice",
      "token": "[token]",
      "create_time": 5,
      "page": "/a?id=[alice.id]&x"
    }
    "#);
}
