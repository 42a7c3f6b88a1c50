//! The room that all long bodies share until they are answered, and all long replies until they are read: what does not fit is
//! refused, and nothing of it is done.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::hostile::{MIB, connect, refusal, reply};
use crate::support::{BUSY, Person, Reply, TestServer, eventually, letter};

/// Most of the room.
const MOST: usize = 700 * 1024;

/// A server in which all bodies have as much room as one may take.
async fn narrow() -> TestServer {
    TestServer::with(|config| {
        config.http.body_bytes_max = MIB;
        config.http.bodies_bytes_max = MIB;
    })
    .await
}

/// Announces a body that needs all of it.
fn large_head() -> String {
    format!(
        "POST /api/loginChat HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {MIB}\r\n\r\n"
    )
}

#[tokio::test]
async fn large_bodies_that_come_slowly_share_a_bounded_room_and_small_ones_do_not_need_it() {
    let server = narrow().await;
    let alice = server.user("alice").await;
    let large = vec![b' '; MOST];
    let mut first = connect(&server).await;
    first.write_all(large_head().as_bytes()).await.unwrap();
    first.write_all(&large).await.unwrap();
    // It waits with most of the room taken; a second one has none.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut second = connect(&server).await;
    second.write_all(large_head().as_bytes()).await.unwrap();
    // The server may close before it has taken everything.
    let _ = second.write_all(&large).await;
    assert_eq!(reply(&mut second).await, ("503 Service Unavailable".to_owned(), refusal(BUSY)));
    alice.take_from_all().await;
    drop(first);
    eventually("the room is free again", async || {
        let mut third = connect(&server).await;
        third.write_all(large_head().as_bytes()).await.unwrap();
        third.write_all(&vec![b' '; MIB]).await.is_ok() && reply(&mut third).await.0.starts_with("422")
    })
    .await;
}

/// A token in the body has it read before the handler's turn.
#[tokio::test]
async fn a_large_body_takes_its_room_once_and_gives_it_back() {
    let server = narrow().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let mut letter = letter("single", bob.id, &"x".repeat(MOST));
    letter["token"] = alice.token.as_str().into();
    for _ in 0..3 {
        server.post("/api/chat/socket/sendmessage", letter.clone()).await.ok();
    }
}

/// Says so many quotes, which take one byte each in the request, and two in the reply.
async fn say_quotes(from: &Person, to: &Person, count: usize) -> Reply {
    let fields = [
        ("sendto_id", to.id.to_string()),
        ("chatType", "single".into()),
        ("type", "text".into()),
        ("data", "\"".repeat(count)),
    ];
    let part = |(name, value)| format!("--x\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let form = fields.map(part).concat() + "--x--\r\n";
    let call = from.call(reqwest::Method::POST, "socket/sendmessage");
    call.body("multipart/form-data; boundary=x", form).send().await
}

/// Whoever hears 503 sends the message again.
#[tokio::test]
async fn a_message_is_refused_for_want_of_room_before_it_is_stored_or_not_at_all() {
    let server = narrow().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let mut trickling = connect(&server).await;
    trickling.write_all(large_head().as_bytes()).await.unwrap();
    trickling.write_all(&vec![b' '; MOST]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    // There is room for the request, and not for twice as much.
    say_quotes(&alice, &bob, 200_000).await.refused(503, BUSY);
    alice.say(&bob, "short").await.ok();
    let mut socket = bob.asking_socket().await;
    assert_eq!(socket.next_text().await, "short");
    drop(trickling);
    eventually("the room is free again", async || say_quotes(&alice, &bob, 200_000).await.status == 200).await;
    assert_eq!(socket.next_message().await["data"].as_str().map(str::len), Some(200_000));
    socket.expect_silence().await;
}

#[tokio::test]
async fn long_replies_that_nobody_reads_take_a_bounded_room() {
    let server = narrow().await;
    // As many as the buffers of both kernels do not hold.
    let mut greedy = connect(&server).await;
    let ask = format!("GET /api-docs/openapi.json HTTP/1.1\r\nhost: {}\r\n\r\n", server.address);
    greedy.write_all(ask.repeat(100).as_bytes()).await.unwrap();
    let document = async || server.get("/api-docs/openapi.json").await.status;
    eventually("the network has its share", async || document().await == 503).await;
    let (alice, bob) = server.friends("alice", "bob").await;
    alice.post("chatGetmessageOffLine", serde_json::json!({})).await.ok();
    say_quotes(&alice, &bob, 100_000).await.ok();
    assert_eq!(document().await, 503, "there was no room all the while");
    drop(greedy);
    eventually("the room is free again", async || document().await == 200).await;
}
