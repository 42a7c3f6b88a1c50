//! What waits in the server's memory when its socket loses its pushes, when it is taken back, or when its sender gives up
//! (decisions 19, 30; contract: messaging §4.20).

use std::time::Duration;

use serde_json::{Value, json};

use crate::envelope::lock;
use crate::support::{BUSY, Person, RawFrame, RawSocket, SILENCE, TestServer, eventually, is_greeting, text_of};

/// So many of such a length are more than a socket is given before it answers.
const COUNT: usize = 30;
const LENGTH: usize = 30_000;

fn long(number: usize) -> String {
    format!("{number:02} {}", "x".repeat(LENGTH))
}

/// The number of a [`long`] text.
fn number_of(message: &Value) -> usize {
    text_of(message)[..2].parse().expect("it begins with its number")
}

/// A socket of the person that has asked and does not read, with messages of somebody else behind it. Returns the last one.
async fn stalled(from: &Person, to: &Person) -> (RawSocket, Value) {
    let socket = to.raw_socket().await;
    to.post("chatGetmessageOffLine", json!({})).await.ok();
    let mut last = Value::Null;
    for number in 0..COUNT {
        last = from.say(to, &long(number)).await.ok();
    }
    (socket, last)
}

/// Reads and answers until nothing more comes: the messages, and how the connection was closed.
async fn read_on(socket: &mut RawSocket) -> (Vec<Value>, Option<u16>) {
    let mut messages = Vec::new();
    while let Some(frame) = socket.frame_within(SILENCE).await {
        match frame {
            RawFrame::Text(text) => {
                let mut frame: Value = serde_json::from_str(&text).unwrap();
                if frame["type"] == "singleChat" && !is_greeting(&frame) {
                    messages.push(frame["data"].take());
                }
            }
            RawFrame::Ping(_) => socket.pong().await,
            RawFrame::Close(code) => return (messages, code),
            RawFrame::Pong(_) | RawFrame::End => {}
        }
    }
    (messages, None)
}

/// The new socket gets whatever the old one has not been given, and nothing twice.
async fn what_is_left_goes_to(next: &Person, given: &[Value]) {
    let given: Vec<usize> = given.iter().map(number_of).collect();
    assert!(given.len() < COUNT / 2, "{} were given to a socket that had lost its pushes", given.len());
    assert_eq!(given, (0..given.len()).collect::<Vec<_>>());
    let mut socket = next.asking_socket().await;
    for number in given.len()..COUNT {
        assert_eq!(number_of(&socket.next_message().await), number);
    }
    socket.expect_silence().await;
}

#[tokio::test]
async fn what_waits_for_a_socket_when_its_person_logs_out_waits_for_the_next_login() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let (mut socket, _) = stalled(&alice, &bob).await;
    bob.post("logout", json!({})).await.ok();
    let (given, closed) = read_on(&mut socket).await;
    assert_eq!(closed, None, "the client closes it itself");
    what_is_left_goes_to(&bob.login().await, &given).await;
}

#[tokio::test]
async fn what_waits_for_a_socket_when_its_person_logs_in_elsewhere_goes_there() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let (mut socket, _) = stalled(&alice, &bob).await;
    let elsewhere = bob.login().await;
    let (given, closed) = read_on(&mut socket).await;
    assert_eq!(closed, Some(4001), "it is not kept waiting behind its messages");
    what_is_left_goes_to(&elsewhere, &given).await;
}

#[tokio::test]
async fn what_waits_for_a_socket_when_it_is_taken_back_comes_emptied() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let (mut socket, last) = stalled(&alice, &bob).await;
    alice.post("revokeMessage", last.clone()).await.ok();
    let (messages, _) = read_on(&mut socket).await;
    assert_eq!(messages.len(), COUNT + 1);
    let [.., emptied, notice] = &messages[..] else { unreachable!("there are more") };
    assert_eq!((&emptied["id"], &emptied["isremove"], text_of(emptied).as_str()), (&last["id"], &json!(1), ""));
    assert_eq!((&notice["id"], &notice["actionType"]), (&last["id"], &json!("revoke")));
    assert_eq!(messages[..COUNT - 1].iter().map(number_of).collect::<Vec<_>>(), (0..COUNT - 1).collect::<Vec<_>>());
}

/// Whoever has heard that a message was not sent sends it again.
#[tokio::test]
async fn a_message_whose_sender_gives_up_before_its_turn_is_not_stored() {
    let server = TestServer::with(|config| config.http.request_timeout_s = 1).await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let carol = server.user("carol").await;
    let group = alice.group(&[&bob, &carol]).await;
    let held = lock(&server, "UPDATE chat_groups SET version = version WHERE id = ?", group).await;
    // One that is being stored keeps the others waiting.
    tokio::join!(alice.say_in(group, "in time or not"), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(tokio::time::timeout(Duration::from_millis(200), alice.say(&bob, "hung up")).await.is_err());
        alice.say(&bob, "answered 503").await.refused(503, BUSY);
        drop(held);
    });
    eventually("the store is free", async || alice.say(&bob, "again").await.status == 200).await;
    let mut socket = bob.asking_socket().await;
    let mut texts = Vec::new();
    while texts.last().is_none_or(|text| text != "again") {
        let message = socket.next_message().await;
        if message["type"] == "text" {
            texts.push(text_of(&message));
        }
    }
    texts.retain(|text| text != "in time or not");
    assert_eq!(texts, ["again"]);
    socket.expect_silence().await;
}
