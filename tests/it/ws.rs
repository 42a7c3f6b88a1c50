//! One socket: handshake, refusals, welcome, menu cards, heartbeat, and what a client may send (contract: messaging §2).

use futures_util::FutureExt;
use qingniao::ids::UserId;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::support::{
    CACHE_MS, Event, NOW_MS, PATIENCE, Person, RawFrame, RawSocket, Socket, TestServer, eventually, unique,
};

const YEAR_MS: i64 = 366 * 24 * 3_600_000;

/// The frame and the close without a code that end a socket with such a token.
async fn expect_refused(server: &TestServer, token: Option<&str>, text: &str) {
    let mut socket = Socket::open(server.address, token).await;
    assert_eq!(socket.next_frame().await, json!({ "msg": "fail", "data": text }));
    assert_eq!(socket.close_code().await, None, "a peer sees 1005");
}

#[tokio::test]
async fn a_socket_without_a_token_is_told_so_and_closed() {
    let server = TestServer::start().await;
    expect_refused(&server, None, "缺少 token 参数").await;
    expect_refused(&server, Some(""), "缺少 token 参数").await;
}

#[tokio::test]
async fn a_token_that_is_not_live_is_refused_after_the_upgrade() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    for garbage in ["x", "a.b.c", &format!("{}x", alice.token)] {
        expect_refused(&server, Some(garbage), "Token 不合法").await;
    }
    let again = alice.login().await;
    expect_refused(&server, Some(&alice.token), "Token 不合法").await;
    again.post("logout", json!({})).await.ok();
    expect_refused(&server, Some(&again.token), "Token 不合法").await;
}

#[tokio::test]
async fn an_expired_token_is_refused() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    server.advance(YEAR_MS);
    expect_refused(&server, Some(&alice.token), "Token 不合法").await;
}

#[tokio::test]
async fn users_that_are_gone_or_disabled_are_told_so() {
    let server = TestServer::start().await;
    let (gone, disabled) = server.users("gone", "disabled").await;
    let locked = server.user("locked").await;
    server.sql("DELETE FROM users WHERE id = ?", &[gone.id.into()]).await;
    server.sql("UPDATE users SET status = 0 WHERE id = ?", &[disabled.id.into()]).await;
    server.sql("UPDATE users SET status = 2 WHERE id = ?", &[locked.id.into()]).await;
    server.advance(CACHE_MS);
    expect_refused(&server, Some(&gone.token), "用户不存在").await;
    expect_refused(&server, Some(&disabled.token), "你已被管理员禁用").await;
    locked.socket().await.close().await;
}

#[tokio::test]
async fn an_ordinary_request_for_the_socket_s_path_is_refused_in_the_envelope() {
    let server = TestServer::start().await;
    server.get("/ws?token=x").await.refused(400, "请使用 WebSocket 连接");
    server.call(Method::POST, "/ws").send().await.refused(405, "请求方法不允许");
    let reply = server.call(Method::GET, "/ws").header("upgrade", "websocket").header("connection", "upgrade");
    reply.send().await.refused(400, "请使用 WebSocket 连接");
}

/// A browser breaks off if it has asked for a subprotocol and gets none.
#[tokio::test]
async fn a_socket_that_asks_for_subprotocols_gets_the_first() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mut request = format!("ws://{}/ws?token={}", server.address, alice.token).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "chat, other".parse().unwrap());
    let (_socket, accepted) = tokio_tungstenite::connect_async(request).await.unwrap();
    assert_eq!(accepted.headers()["sec-websocket-protocol"], "chat");
}

#[tokio::test]
async fn the_welcome_is_a_system_frame() {
    let server = TestServer::start().await;
    let socket = server.user("alice").await.socket().await;
    let welcome = json!({ "type": "system", "data": "欢迎您访问我们的系统！", "timestamp": NOW_MS });
    assert_eq!(socket.welcome, welcome);
}

/// Makes a group of one, as nobody but its owner has joined yet.
async fn with_group(server: &TestServer, owner: &Person) {
    let uuid = unique("group");
    server
        .sql(
            "INSERT INTO chat_groups (uuid, owner_id, name, avatar, remark, created_at, updated_at) \
             VALUES (?, ?, 'g', '', '', 0, 0)",
            &[uuid.clone().into(), owner.id.into()],
        )
        .await;
    server
        .sql(
            "INSERT INTO group_members (group_id, user_id, created_at, updated_at) \
             SELECT id, owner_id, 0, 0 FROM chat_groups WHERE uuid = ?",
            &[uuid.into()],
        )
        .await;
}

async fn with_friend(server: &TestServer, person: &Person, friend: &Person, blocked: u8) {
    server
        .sql(
            "INSERT INTO friends (user_id, friend_id, blocked, created_at, updated_at) VALUES (?, ?, ?, 0, 0)",
            &[person.id.into(), friend.id.into(), blocked.into()],
        )
        .await;
}

fn keys(server: &TestServer, socket: &Socket) -> Vec<String> {
    let key = |card: &Value| server.redacted(&card["msgidKey"]).as_str().unwrap().to_owned();
    socket.cards.iter().map(key).collect()
}

#[tokio::test]
async fn a_user_with_friend_and_group_gets_every_card() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    with_group(&server, &alice).await;
    with_friend(&server, &alice, &bob, 0).await;
    alice.post("updateUserinfo", json!({ "fieldname": "nickname", "fieldValue": "爱丽丝 & co" })).await.ok();
    let socket = alice.socket().await;
    let cards: Vec<Value> = socket.cards.iter().map(|card| server.redacted(card)).collect();
    insta::assert_json_snapshot!("cards_of_a_user", cards, { "[].id" => "[uuid]" });
}

#[tokio::test]
async fn a_guest_in_a_group_gets_its_three_cards() {
    let server = TestServer::start().await;
    let guest = server.guest().await;
    with_group(&server, &guest).await;
    let socket = guest.socket().await;
    let cards: Vec<Value> = socket.cards.iter().map(|card| server.redacted(card)).collect();
    insta::assert_json_snapshot!("cards_of_a_guest", cards, { "[].id" => "[uuid]" });
}

#[tokio::test]
async fn cards_of_groups_and_friends_come_only_to_those_who_have_some() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    with_friend(&server, &alice, &bob, 1).await;
    with_group(&server, &alice).await;
    server.sql("UPDATE group_members SET status = 2 WHERE user_id = ?", &[alice.id.into()]).await;
    let keys = keys(&server, &alice.socket().await);
    let expected =
        ["setPassword", "userInfoSet", "whoCanChatMe", "myQrcode", "search", "applyAddMeFriendSet", "AskAndAnswerSet"];
    assert_eq!(keys, expected.map(|key| format!("redirect-{key}-[alice.id]")), "neither for a blocked friend");
}

#[tokio::test]
async fn a_new_picture_is_announced_once_to_who_was_connected() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let change = json!({ "fieldname": "avatar", "fieldValue": "/public/uploads/new.png" });

    alice.post("updateUserinfo", change.clone()).await.ok();
    let mut first = alice.socket().await;
    first.expect_silence().await;
    let mut second = alice.socket().await;
    let card = second.next_frame().await;
    insta::assert_json_snapshot!(server.redacted(&card), { ".data.id" => "[uuid]" });
    alice.socket().await.expect_silence().await;

    alice.post("updateUserinfo", change).await.ok();
    server.advance(60_001);
    alice.socket().await.expect_silence().await;
}

#[tokio::test]
async fn a_new_name_instead_of_a_picture_is_not_announced() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let _first = alice.socket().await;
    alice.post("updateUserinfo", json!({ "fieldname": "avatar", "fieldValue": "/new.png" })).await.ok();
    alice.post("updateUserinfo", json!({ "fieldname": "nickname", "fieldValue": "new" })).await.ok();
    alice.socket().await.expect_silence().await;
}

#[tokio::test]
async fn every_socket_hears_the_heartbeat() {
    let server = TestServer::with(|config| config.ws.heartbeat_s = 1).await;
    let (alice, guest) = (server.user("alice").await, server.guest().await);
    for person in [&alice, &guest] {
        let mut socket = person.raw_socket().await;
        for _ in 0..2 {
            let beat = loop {
                match socket.next_frame().await {
                    RawFrame::Text(text) => break text,
                    RawFrame::Ping(_) => {}
                    other => panic!("a heartbeat was expected, not {other:?}"),
                }
            };
            assert_eq!(beat, r#"{"type":"ping"}"#);
        }
    }
}

#[tokio::test]
async fn the_client_s_pings_are_answered_and_all_else_is_ignored() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let superseded = alice.token.clone();
    let alice = alice.login().await;
    let mut socket = alice.raw_socket().await;
    let with_token = |token: &str| json!({ "type": "ping", "token": token, "timestamp": 1 }).to_string();
    let (good, old) = (with_token(&alice.token), with_token(&superseded));
    let (bad, empty) = (with_token("x"), with_token(""));
    let heard: [(u8, &str); 5] =
        [(1, "ping"), (1, r#"{"type":"ping"}"#), (1, &good), (1, &old), (2, r#"{"type":"ping"}"#)];
    let ignored: [(u8, &str); 12] = [
        (1, &bad),
        (1, &empty),
        (1, r#"{"type":"pong"}"#),
        (1, "undefined"),
        (1, "null"),
        (1, "[]"),
        (1, "7"),
        (1, r#"{"type":7}"#),
        (1, r#"{"type":"singleChat","data":{}}"#),
        (1, ""),
        (2, "\u{1}\u{2}"),
        (0xA, "12345678"),
    ];
    for (opcode, payload) in ignored {
        socket.send_frame(opcode, payload.as_bytes()).await;
    }
    socket.send_frame(2, &[0xff, 0xfe]).await;
    for (opcode, payload) in heard {
        socket.send_frame(opcode, payload.as_bytes()).await;
        let pong = socket.next_json().await;
        assert_eq!(pong, json!({ "type": "pong", "timestamp": NOW_MS }), "{payload}");
    }
    let rest = socket.frame_within(crate::support::SILENCE).await;
    assert!(matches!(rest, None | Some(RawFrame::Ping(_))), "{rest:?}");
}

#[tokio::test]
async fn the_protocol_s_own_pings_and_closes_are_answered() {
    let server = TestServer::start().await;
    let mut socket = server.user("alice").await.raw_socket().await;
    let mut next = async |opcode: u8, payload: &[u8]| {
        socket.send_frame(opcode, payload).await;
        loop {
            match socket.next_frame().await {
                RawFrame::Ping(_) => {}
                other => return other,
            }
        }
    };
    assert_eq!(next(0x9, b"are you there").await, RawFrame::Pong(b"are you there".to_vec()));
    // Without the answer a client that closes would see 1006, and reconnect.
    assert_eq!(next(0x8, &1000_u16.to_be_bytes()).await, RawFrame::Close(Some(1000)));
    assert_eq!(socket.next_frame().await, RawFrame::End);
}

#[tokio::test]
async fn a_frame_that_is_too_large_or_broken_ends_only_its_socket() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let mut listener = bob.asking_socket().await;
    for (opcode, payload) in [(1, vec![b'x'; 70_000]), (1, vec![0xff, 0xfe]), (0xB, vec![]), (0, b"rest".to_vec())] {
        let mut socket = bob.raw_socket().await;
        socket.send_frame(opcode, &payload).await;
        loop {
            match socket.next_frame().await {
                RawFrame::End => break,
                RawFrame::Ping(_) | RawFrame::Text(_) => {}
                other => panic!("no close frame: it would log the person out; {other:?}"),
            }
        }
    }
    alice.say(&bob, "hello").await.ok();
    assert_eq!(listener.next_text().await, "hello");
}

#[tokio::test]
async fn a_client_that_sends_and_never_reads_is_dropped() {
    let server = TestServer::with(|config| config.ws.stall_timeout_s = 1).await;
    let alice = server.user("alice").await;
    let mut socket = RawSocket::open(server.address, Some(&alice.token)).await;
    let is_online = || server.app.hub.is_online(UserId(alice.id));
    eventually("the socket is there", async || is_online()).await;
    let flood = async {
        loop {
            socket.send("ping").await;
        }
    };
    // It ends with a panic of the harness, since the socket is reset.
    let _ = std::panic::AssertUnwindSafe(flood).catch_unwind().await;
    eventually("the socket is gone", async || !is_online()).await;
}

/// What has come of a message stays in memory until the rest does.
#[tokio::test]
async fn a_client_that_says_more_than_a_ping_is_dropped() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mut socket = RawSocket::open(server.address, Some(&alice.token)).await;
    let is_online = || server.app.hub.is_online(UserId(alice.id));
    eventually("the socket is there", async || is_online()).await;
    socket.send(&"x".repeat(4096)).await;
    socket.send("ping").await;
    let pong = async { while !matches!(socket.next_frame().await, RawFrame::Text(text) if text.contains("pong")) {} };
    tokio::time::timeout(PATIENCE, pong).await.expect("so much may be said");
    socket.send(&"x".repeat(4097)).await;
    eventually("the socket is gone", async || !is_online()).await;
}

#[tokio::test]
async fn a_stop_drops_sockets_without_a_close_frame() {
    let server = TestServer::start().await;
    let (alice, guest) = (server.user("alice").await, server.guest().await);
    let mut sockets = [alice.asking_socket().await, guest.asking_socket().await];
    let stopped = server.stop().await;
    for socket in &mut sockets {
        assert_eq!(socket.ending().await, Event::Lost, "the client sees 1006 and comes back");
    }
    let _server = stopped.start().await;
    alice.asking_socket().await.close().await;
    guest.asking_socket().await.close().await;
}
