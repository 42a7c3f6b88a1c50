//! Registration, login and logout (contract: people §3, decisions 10, 11, 16).

use serde_json::{Value, json};

use crate::support::{Event, PASSWORD, Person, Reply, TestServer, unique};

const TAKEN: &str = "该账号已存在，请换一个账号注册";
pub const NO_ACCOUNT: &str = "账号不存在或者被禁用";
pub const WRONG: &str = "账户或密码错误";
pub const BAD_TOKEN: &str = "Token 令牌不合法！";

pub async fn register(server: &TestServer, username: &str, password: &str) -> Reply {
    server.post("/api/regChat", json!({ "username": username, "password": password })).await
}

pub async fn login(server: &TestServer, username: &str, password: &str) -> Reply {
    server.post("/api/loginChat", json!({ "username": username, "password": password })).await
}

#[tokio::test]
async fn a_registration_replies_with_the_whole_account() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    insta::assert_json_snapshot!(server.redacted(&alice.account), @r#"
    {
      "create_time": "2025-09-04 23:33:20",
      "id": "[alice.id]",
      "uuid": "[alice.uuid]",
      "username": "alice",
      "nickname": "",
      "avatar": "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/user.jpg",
      "devicefingeruuid": "",
      "uniplatform": "",
      "devicemodel": "",
      "deviceos": "",
      "devicebrand": "",
      "userset": "",
      "invite_confirm": 0,
      "mobile": null,
      "email": null,
      "status": 1,
      "last_login": "2025-09-04T15:33:20.000Z",
      "last_login_ip": "127.0.0.1",
      "register_time": "2025-09-04T15:33:20.000Z",
      "register_ip": null,
      "is_deleted": 0,
      "wechat_openid": null,
      "qq_openid": null,
      "weibo_uid": null,
      "role": "user",
      "is_email_verified": 0,
      "is_mobile_verified": 0,
      "order": 50,
      "update_time": "2025-09-04T15:33:20.000Z",
      "token": "[token]"
    }
    "#);
}

#[tokio::test]
async fn a_taken_name_is_refused_without_regard_to_case() {
    let server = TestServer::start().await;
    let alice = server.user("Alice").await;
    for name in [alice.username.clone(), alice.username.to_lowercase(), alice.username.to_uppercase()] {
        register(&server, &name, PASSWORD).await.refused(400, TAKEN);
    }
}

#[tokio::test]
async fn the_names_of_disabled_accounts_and_of_guests_are_taken_too() {
    let server = TestServer::start().await;
    let (alice, guest) = (server.user("alice").await, server.guest().await);
    server.sql("UPDATE users SET status = 0 WHERE id = ?", &[alice.id.into()]).await;
    register(&server, &alice.username, PASSWORD).await.refused(400, TAKEN);
    register(&server, &guest.username, PASSWORD).await.refused(400, TAKEN);
}

#[tokio::test]
async fn of_two_who_want_one_name_at_once_one_gets_it() {
    let server = TestServer::start().await;
    let name = unique("racer");
    let replies = futures_util::future::join_all((0..6).map(|_| register(&server, &name, PASSWORD))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
    replies.iter().filter(|reply| reply.status != 200).for_each(|reply| reply.refused(400, TAKEN));
}

#[tokio::test]
async fn new_names_are_of_letters_digits_and_underscores() {
    let server = TestServer::start().await;
    for name in ["al ice", "al-ice", "ali.ce", "张三李四", "alicé", "<b>x</b>", "👍👍👍👍"] {
        register(&server, name, PASSWORD).await.invalid("账号 只能由字母、数字和下划线组成");
    }
    // Parameters are checked in order.
    register(&server, "al ice", "short").await.invalid("账号 只能由字母、数字和下划线组成");
    register(&server, &unique("A_9"), PASSWORD).await.ok();
}

#[tokio::test]
async fn lengths_of_names_and_passwords_count_code_points() {
    let server = TestServer::start().await;
    let name_length = "账号 的长度 必须 在 4 和 20 之间";
    for name in ["abc".to_owned(), "a".repeat(21), "👍".repeat(3), "👍".repeat(21)] {
        register(&server, &name, PASSWORD).await.invalid(name_length);
        login(&server, &name, PASSWORD).await.invalid(name_length);
    }
    let name = format!("{:0>20}", unique("n"));
    for length in [5, 21] {
        register(&server, &name, &"👍".repeat(length)).await.invalid("密码 的长度 必须 在 6 和 20 之间");
        login(&server, &name, &"x".repeat(length)).await.invalid("密码 的长度 必须 在 6 和 20 之间");
    }
    register(&server, &name, &"👍".repeat(20)).await.ok();
    login(&server, &name, &"👍".repeat(20)).await.ok();
    let short = format!("{:04x}", rand::random::<u16>());
    // The name may be taken by an earlier run of the same database, but it is not invalid.
    assert_ne!(register(&server, &short, &"👍".repeat(6)).await.status, 422);
}

#[tokio::test]
async fn the_first_missing_field_is_named() {
    let server = TestServer::start().await;
    for path in ["/api/regChat", "/api/loginChat"] {
        for body in [json!({}), json!({ "password": PASSWORD }), json!({ "username": "", "password": PASSWORD })] {
            server.post(path, body).await.invalid("账号不能为空");
        }
        server.post(path, json!({ "username": "somebody" })).await.invalid("密码不能为空");
        server.post(path, json!({ "username": "somebody", "password": "" })).await.invalid("密码不能为空");
    }
}

#[tokio::test]
async fn a_login_takes_loose_types_and_ignores_other_fields() {
    let server = TestServer::start().await;
    let name = rand::random::<u64>().to_string()[..12].to_owned();
    let number: Value = name.parse::<u64>().unwrap().into();
    server.post("/api/regChat", json!({ "username": number, "password": 123_456 })).await.ok();
    let form = json!({ "username": name, "password": "123456", "username_placeHolder": "x", "id": [1, { "a": null }] });
    assert_eq!(server.post("/api/loginChat", form).await.ok()["username"], name.as_str());
}

#[tokio::test]
async fn a_login_prints_the_time_and_keeps_the_account() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    server.advance(1500);
    let again = alice.login().await;
    assert_eq!((again.id, &again.uuid), (alice.id, &alice.uuid));
    assert_eq!(again.account["last_login"], "2025-09-04T15:33:21.500Z");
    assert_eq!(again.account["create_time"], "2025-09-04 23:33:20");
    assert_eq!(again.account["role"], "user");
}

#[tokio::test]
async fn names_log_in_without_regard_to_case() {
    let server = TestServer::start().await;
    let alice = server.user("Alice").await;
    for name in [alice.username.to_lowercase(), alice.username.to_uppercase()] {
        assert_eq!(login(&server, &name, PASSWORD).await.ok()["username"], alice.username.as_str());
    }
}

#[tokio::test]
async fn wrong_passwords_and_unknown_names_are_refused() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    login(&server, &alice.username, "Secret01").await.refused(400, WRONG);
    login(&server, &unique("nobody"), PASSWORD).await.refused(400, NO_ACCOUNT);
    let guest = server.guest().await;
    login(&server, &guest.username, "000000").await.refused(400, WRONG);
}

#[tokio::test]
async fn disabled_and_locked_accounts_cannot_log_in() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    for status in [0, 2] {
        server.sql("UPDATE users SET status = ? WHERE id = ?", &[status.into(), alice.id.into()]).await;
        login(&server, &alice.username, PASSWORD).await.refused(400, NO_ACCOUNT);
    }
}

#[tokio::test]
async fn imported_names_of_other_characters_log_in() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let name = format!("é-{}", &alice.username[..8]);
    let binds = [name.clone().into(), name.to_lowercase().into(), alice.id.into()];
    server.sql("UPDATE users SET username = ?, username_key = ? WHERE id = ?", &binds).await;
    assert_eq!(login(&server, &name.to_uppercase(), PASSWORD).await.ok()["id"], alice.id);
}

#[tokio::test]
async fn a_new_login_replaces_the_old_token() {
    let server = TestServer::start().await;
    let old = server.user("alice").await;
    let new = old.login().await;
    assert_ne!(new.token, old.token);
    old.post("chatGetmessageOffLine", json!({})).await.refused(400, BAD_TOKEN);
    new.post("chatGetmessageOffLine", json!({})).await.ok();
}

#[tokio::test]
async fn a_new_login_closes_the_sockets_of_the_old_user_token_with_4001() {
    let server = TestServer::start().await;
    let old = server.user("alice").await;
    let (mut first, mut second) = (old.socket().await, old.socket().await);
    let mut new = old.login().await.socket().await;
    assert_eq!(first.close_code().await, Some(4001));
    assert_eq!(second.close_code().await, Some(4001));
    new.expect_silence().await;
}

/// Somebody who registered where it was a guest before: both of its tokens are live.
pub async fn upgraded(server: &TestServer) -> (Person, Person) {
    let guest = server.guest().await;
    let fields = json!({ "username": unique("alice"), "password": PASSWORD });
    let account = server.signed("/api/visitorregChat", &guest.device_id, fields).await.ok();
    (guest, server.person("alice", account, ""))
}

#[tokio::test]
async fn logout_ends_both_tokens() {
    let server = TestServer::start().await;
    let (guest, user) = upgraded(&server).await;
    guest.post("chatGetmessageOffLine", json!({})).await.ok();
    assert_eq!(user.post("logout", json!({})).await.ok(), true);
    for person in [&guest, &user] {
        person.post("chatGetmessageOffLine", json!({})).await.refused(400, BAD_TOKEN);
    }
    user.login().await.post("chatGetmessageOffLine", json!({})).await.ok();
}

#[tokio::test]
async fn logout_leaves_sockets_open_but_ends_their_pushes() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let mut socket = alice.asking_socket().await;
    alice.post("logout", json!({})).await.ok();
    bob.say(&alice, "are you there?").await.ok();
    socket.expect_silence().await;
    socket.send("ping").await;
    assert_eq!(socket.next_frame().await["type"], "pong");
}

#[tokio::test]
async fn a_login_never_closes_a_guest_s_socket() {
    let server = TestServer::start().await;
    let (guest, user) = upgraded(&server).await;
    let (mut guest_socket, mut user_socket) = (guest.socket().await, user.socket().await);
    user.login().await;
    assert_eq!(user_socket.ending().await, Event::Closed(Some(4001)));
    guest_socket.send("ping").await;
    assert_eq!(guest_socket.next_frame().await["type"], "pong");
    guest.post("chatGetmessageOffLine", json!({})).await.ok();
}
