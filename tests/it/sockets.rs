//! Several sockets of one person: which one gets the pushes, and what becomes of the others when tokens end (decisions 11,
//! 12, 28, 30).

use serde_json::json;

use crate::support::{Event, PASSWORD, Person, Socket, TestServer, device_id, unique};

/// The same page as a guest and as the user that the guest has become: both tokens are live.
async fn upgraded(server: &TestServer) -> (Person, Person) {
    let device = device_id();
    let guest = server.guest_on(&device).await;
    let name = json!({ "username": unique("bob"), "password": PASSWORD });
    let account = server.signed("/api/visitorregChat", &device, name).await.ok();
    (guest, server.person("bob", account, ""))
}

async fn expect_text(socket: &mut Socket, text: &str) {
    assert_eq!(socket.next_text().await, text);
}

#[tokio::test]
async fn only_the_newest_socket_gets_the_pushes() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let (mut old, mut middle, mut new) =
        (bob.asking_socket().await, bob.asking_socket().await, bob.asking_socket().await);
    alice.say(&bob, "hello").await.ok();
    expect_text(&mut new, "hello").await;
    for socket in [&mut old, &mut middle, &mut new] {
        socket.expect_silence().await;
    }
}

#[tokio::test]
async fn when_the_newest_socket_ends_the_one_before_it_gets_the_pushes() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let (mut old, new) = (bob.asking_socket().await, bob.asking_socket().await);
    new.close().await;
    alice.say(&bob, "hello").await.ok();
    expect_text(&mut old, "hello").await;
}

#[tokio::test]
async fn the_end_of_an_old_socket_never_unregisters_the_new_one() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let (closed, cut) = (bob.asking_socket().await, bob.asking_socket().await);
    let mut new = bob.asking_socket().await;
    closed.close().await;
    cut.cut().await;
    alice.say(&bob, "hello").await.ok();
    expect_text(&mut new, "hello").await;
    new.expect_silence().await;
}

#[tokio::test]
async fn a_user_s_socket_is_preferred_to_a_newer_guest_s() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let (guest, bob) = upgraded(&server).await;
    bob.take_from_all().await;
    let user_socket = {
        let mut user_socket = bob.asking_socket().await;
        let mut guest_socket = guest.asking_socket().await;
        alice.say(&bob, "to the user").await.ok();
        expect_text(&mut user_socket, "to the user").await;
        guest_socket.expect_silence().await;
        user_socket.close().await;
        alice.say(&bob, "to the guest").await.ok();
        expect_text(&mut guest_socket, "to the guest").await;
        let mut user_socket = bob.asking_socket().await;
        alice.say(&bob, "to the user again").await.ok();
        expect_text(&mut user_socket, "to the user again").await;
        user_socket
    };
    user_socket.close().await;
}

#[tokio::test]
async fn a_login_elsewhere_closes_the_user_s_sockets_with_4001_and_no_others() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let (guest, bob) = upgraded(&server).await;
    bob.take_from_all().await;
    let mut guest_socket = guest.asking_socket().await;
    let mut sockets = [bob.asking_socket().await, bob.asking_socket().await];
    let elsewhere = bob.login().await;
    for socket in &mut sockets {
        assert_eq!(socket.close_code().await, Some(4001), "the client then shows its own dialog");
    }
    guest_socket.expect_silence().await;
    let mut new = elsewhere.asking_socket().await;
    alice.say(&bob, "to the new one").await.ok();
    expect_text(&mut new, "to the new one").await;
}

#[tokio::test]
async fn after_a_login_elsewhere_the_guest_s_token_keeps_its_socket_and_opens_nothing_else() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let (guest, bob) = upgraded(&server).await;
    bob.take_from_all().await;
    let mut guest_socket = guest.asking_socket().await;
    guest.post("userset", json!({ "userset": {} })).await.ok();
    let elsewhere = bob.login().await;
    alice.say(&bob, "for bob alone").await.ok();
    guest_socket.expect_silence().await;
    guest_socket.send("ping").await;
    assert_eq!(guest_socket.next_frame().await["type"], "pong");
    for (path, body) in [("userset", json!({ "userset": {} })), ("goodfriendlist", json!({ "page": 1, "limit": 9 }))] {
        guest.post(path, body).await.refused(400, "您没有权限访问，请先注册或登录");
    }
    let _server = server.restart().await;
    let mut guest_socket = guest.asking_socket().await;
    guest_socket.expect_silence().await;
    let mut socket = elsewhere.asking_socket().await;
    expect_text(&mut socket, "for bob alone").await;
    guest.post("chatGetmessageOffLine", json!({})).await.ok();
    guest_socket.expect_silence().await;
}

#[tokio::test]
async fn a_login_in_the_same_place_keeps_what_the_old_socket_did_not_get() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let mut mute = bob.raw_socket().await;
    bob.post("chatGetmessageOffLine", json!({})).await.ok();
    alice.say(&bob, "one").await.ok();
    assert_eq!(crate::support::text_of(&mute.next_message().await), "one");
    // Never confirmed by the old socket, which is closed now.
    let mut new = bob.login().await.asking_socket().await;
    expect_text(&mut new, "one").await;
    new.expect_silence().await;
}

#[tokio::test]
async fn a_logout_leaves_sockets_open_but_ends_their_pushes() {
    let server = TestServer::with(|config| config.ws.heartbeat_s = 1).await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let mut socket = bob.asking_socket().await;
    bob.post("logout", json!({})).await.ok();
    alice.say(&bob, "later").await.ok();
    let mut beats = 0;
    while beats < 2 {
        match socket.event_within(crate::support::PATIENCE).await {
            Some(Event::Frame(frame)) if frame["type"] == "ping" => beats += 1,
            Some(Event::Ping) => {}
            other => panic!("only heartbeats were expected, not {other:?}"),
        }
    }
    let mut again = bob.login().await.asking_socket().await;
    expect_text(&mut again, "later").await;
    again.expect_silence().await;
}

#[tokio::test]
async fn a_new_password_keeps_the_socket_of_who_set_it_and_mutes_the_guest_s() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let (guest, bob) = upgraded(&server).await;
    bob.take_from_all().await;
    let mut own = bob.asking_socket().await;
    let mut guest_socket = guest.asking_socket().await;
    let change = json!({ "oldpassword": PASSWORD, "newpassword": "secret02", "checknewpassword": "secret02" });
    bob.post("setPassword", change).await.ok();
    alice.say(&bob, "hello").await.ok();
    expect_text(&mut own, "hello").await;
    own.close().await;
    alice.say(&bob, "later").await.ok();
    guest_socket.expect_silence().await;
    let mut own = bob.asking_socket().await;
    expect_text(&mut own, "later").await;
}

#[tokio::test]
async fn a_superseded_guest_socket_is_not_closed() {
    let server = TestServer::start().await;
    let device = device_id();
    let guest = server.guest_on(&device).await;
    let mut socket = guest.asking_socket().await;
    // The same token again, then a login of the same device as somebody else.
    assert_eq!(server.guest_on(&device).await.token, guest.token);
    let name = json!({ "username": unique("bob"), "password": PASSWORD });
    server.signed("/api/visitorregChat", &device, name).await.ok();
    socket.expect_silence().await;
    socket.close().await;
}
