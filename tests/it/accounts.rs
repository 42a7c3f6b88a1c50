//! Registration, login, logout, passwords and what people change of themselves (contract: people §3, decisions 9-11, 14, 16,
//! 30).

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{CACHE_MS, Event, PASSWORD, Person, Reply, TestServer, unique};

const TAKEN: &str = "该账号已存在，请换一个账号注册";
const NO_ACCOUNT: &str = "账号不存在或者被禁用";
const WRONG: &str = "账户或密码错误";
const BAD_TOKEN: &str = "Token 令牌不合法！";
const TOO_MANY: &str = "请求过于频繁，请1个小时后再试";
const HOUR_MS: i64 = 3_600_000;

async fn register(server: &TestServer, username: &str, password: &str) -> Reply {
    server.post("/api/regChat", json!({ "username": username, "password": password })).await
}

async fn login(server: &TestServer, username: &str, password: &str) -> Reply {
    server.post("/api/loginChat", json!({ "username": username, "password": password })).await
}

/// A login that comes through the proxy 127.0.0.1 from somewhere else.
async fn login_from(server: &TestServer, address: &str, username: &str, password: &str) -> Reply {
    let body = json!({ "username": username, "password": password });
    server.call(Method::POST, "/api/loginChat").header("x-forwarded-for", address).json(&body).send().await
}

async fn behind_a_proxy() -> TestServer {
    TestServer::with(|config| config.http.trusted_proxies = vec!["127.0.0.1".parse().unwrap()]).await
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
async fn an_old_hash_verifies_once_and_is_replaced() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    // SHA-256 of "123456", as the old backend stored it.
    let old = "8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92";
    server.sql("UPDATE users SET password_hash = ? WHERE id = ?", &[old.into(), alice.id.into()]).await;
    let stored = async || server.sql_text("SELECT password_hash FROM users WHERE id = ?", alice.id).await;
    login(&server, &alice.username, PASSWORD).await.refused(400, WRONG);
    // The hash itself is no password.
    login(&server, &alice.username, &old[..20]).await.refused(400, WRONG);
    assert_eq!(stored().await, old);
    login(&server, &alice.username, "123456").await.ok();
    assert!(stored().await.starts_with("$argon2id$v=19$m=8,t=1,p=1$"));
    login(&server, &alice.username, "123456").await.ok();
}

#[tokio::test]
async fn passwords_are_stored_as_argon2id_with_a_salt_each() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let one = server.sql_text("SELECT password_hash FROM users WHERE id = ?", alice.id).await;
    let other = server.sql_text("SELECT password_hash FROM users WHERE id = ?", bob.id).await;
    assert!(one.starts_with("$argon2id$") && one != other);
}

#[tokio::test]
async fn after_ten_wrong_passwords_even_the_right_one_waits_an_hour() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    for _ in 0..10 {
        login(&server, &alice.username, "wrong-one").await.refused(400, WRONG);
        server.advance(1000);
    }
    login(&server, &alice.username, PASSWORD).await.refused(400, TOO_MANY);
    login(&server, &alice.username.to_uppercase(), PASSWORD).await.refused(400, TOO_MANY);
    login(&server, &bob.username, PASSWORD).await.ok();
    // The first wrong one was ten seconds ago; refused calls have not counted.
    server.advance(HOUR_MS - 10_001);
    login(&server, &alice.username, PASSWORD).await.refused(400, TOO_MANY);
    server.advance(1);
    login(&server, &alice.username, PASSWORD).await.ok();
}

#[tokio::test]
async fn guesses_at_names_that_do_not_exist_count_too() {
    let server = TestServer::start().await;
    let name = unique("nobody");
    for _ in 0..10 {
        login(&server, &name, PASSWORD).await.refused(400, NO_ACCOUNT);
    }
    login(&server, &name, PASSWORD).await.refused(400, TOO_MANY);
}

#[tokio::test]
async fn the_right_password_from_another_address_still_gets_in() {
    let server = behind_a_proxy().await;
    let alice = server.user("alice").await;
    for _ in 0..10 {
        login_from(&server, "203.0.113.7", &alice.username, "wrong-one").await.refused(400, WRONG);
    }
    login_from(&server, "203.0.113.7", &alice.username, PASSWORD).await.refused(400, TOO_MANY);
    let account = login_from(&server, "203.0.113.8", &alice.username, PASSWORD).await.ok();
    assert_eq!(account["last_login_ip"], "203.0.113.8");
}

#[tokio::test]
async fn a_client_that_is_no_proxy_cannot_name_its_address() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    for n in 0..10 {
        login_from(&server, &format!("203.0.113.{n}"), &alice.username, "wrong-one").await.refused(400, WRONG);
    }
    login_from(&server, "203.0.113.99", &alice.username, PASSWORD).await.refused(400, TOO_MANY);
}

#[tokio::test]
async fn wrong_passwords_for_many_names_from_one_address_are_limited() {
    let server = TestServer::with(|config| config.limits.login_failures_per_address = 3).await;
    let alice = server.user("alice").await;
    for _ in 0..3 {
        login(&server, &unique("nobody"), PASSWORD).await.refused(400, NO_ACCOUNT);
    }
    login(&server, &alice.username, PASSWORD).await.refused(400, TOO_MANY);
    server.advance(HOUR_MS);
    login(&server, &alice.username, PASSWORD).await.ok();
}

#[tokio::test]
async fn right_passwords_do_not_count_however_many_come_at_once() {
    let server = TestServer::with(|config| {
        config.limits.login_failures_per_hour = 1;
        config.limits.login_failures_per_address = 1;
    })
    .await;
    let alice = server.user("alice").await;
    let logins = (0..12).map(|_| login(&server, &alice.username, PASSWORD));
    for reply in futures_util::future::join_all(logins).await {
        reply.ok();
    }
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

#[tokio::test]
async fn userinfo_shows_anyone_who_somebody_is() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    alice.post("userset", json!({ "userset": "{\"chatset\":{}}" })).await.ok();
    let info = server.get(&format!("/api/userinfo/{}", alice.uuid)).await.ok();
    insta::assert_json_snapshot!(server.redacted(&info), @r#"
    {
      "id": "[alice.id]",
      "uuid": "[alice.uuid]",
      "username": "alice",
      "nickname": "",
      "avatar": "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/user.jpg",
      "role": "user",
      "userset": "{\"chatset\":{}}",
      "userinfo": {
        "id": "[id]",
        "gender": "unknown",
        "birthday": null,
        "bio": null,
        "location": null,
        "website": null
      }
    }
    "#);
}

#[tokio::test]
async fn userinfo_prints_the_profile_as_imported() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let statement =
        "UPDATE profiles SET gender = 'female', birthday_at = ?, bio = ?, location = ?, website = ? WHERE user_id = ?";
    let binds =
        [946_684_800_000_i64.into(), "你好".into(), "上海".into(), "https://example.com".into(), alice.id.into()];
    assert_eq!(server.sql(statement, &binds).await, 1);
    let info = server.get(&format!("/api/userinfo/{}", alice.uuid)).await.ok();
    let mut profile = info["userinfo"].clone();
    profile.as_object_mut().unwrap().remove("id");
    assert_eq!(
        profile,
        json!({ "gender": "female", "birthday": "2000-01-01T00:00:00.000Z", "bio": "你好", "location": "上海",
            "website": "https://example.com" })
    );
}

#[tokio::test]
async fn userinfo_of_guests_says_so_and_of_the_disabled_is_null() {
    let server = TestServer::start().await;
    let (alice, guest) = (server.user("alice").await, server.guest().await);
    let info = async |uuid: &str| server.get(&format!("/api/userinfo/{uuid}")).await.ok();
    assert_eq!(info(&guest.uuid).await["role"], "visitor");
    assert_eq!(info("8d1a344c-0000-5425-adbc-d12f49cfa332").await, Value::Null);
    for status in [0, 2] {
        server.sql("UPDATE users SET status = ? WHERE id = ?", &[status.into(), alice.id.into()]).await;
        assert_eq!(info(&alice.uuid).await, Value::Null);
    }
}

#[tokio::test]
async fn userinfo_wants_36_characters() {
    let server = TestServer::start().await;
    for uuid in ["x".repeat(35), "x".repeat(37), "%E4%BD%A0".repeat(35)] {
        server.get(&format!("/api/userinfo/{uuid}")).await.invalid("uuid值 的长度 必须 在 36 和 36 之间");
    }
    assert_eq!(server.get(&format!("/api/userinfo/{}", "%E4%BD%A0".repeat(36))).await.ok(), Value::Null);
}

/// Somebody who registered where it was a guest before: both of its tokens are live.
async fn upgraded(server: &TestServer) -> (Person, Person) {
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
async fn userset_is_stored_as_it_is() {
    let server = TestServer::start().await;
    for person in [server.user("alice").await, server.guest().await] {
        for text in ["{}", "not JSON 👍", &"x".repeat(16_000), "好".repeat(21_000).as_str()] {
            assert_eq!(person.post("userset", json!({ "userset": text })).await.ok(), "ok");
            assert_eq!(server.get(&format!("/api/userinfo/{}", person.uuid)).await.ok()["userset"], text);
        }
        // An object counts as its JSON text.
        person.post("userset", json!({ "userset": { "chatset": { "user": 0 } } })).await.ok();
        let stored = server.get(&format!("/api/userinfo/{}", person.uuid)).await.ok();
        assert_eq!(stored["userset"], r#"{"chatset":{"user":0}}"#);
    }
}

#[tokio::test]
async fn userset_has_two_characters_or_more() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    alice.post("userset", json!({})).await.invalid("用户设置不能为空");
    alice.post("userset", json!({ "userset": "👍" })).await.invalid("用户设置 的长度 必须 在 2 和 10000000 之间");
    alice.post("userset", json!({ "userset": "好".repeat(22_000) })).await.invalid("用户设置 过长");
}

async fn update(person: &Person, field: &str, value: impl Into<Value>) -> Reply {
    person.post("updateUserinfo", json!({ "fieldname": field, "fieldValue": value.into() })).await
}

async fn account_of(server: &TestServer, person: &Person) -> Value {
    server.get(&format!("/api/userinfo/{}", person.uuid)).await.ok()
}

#[tokio::test]
async fn a_nickname_has_up_to_30_utf16_units() {
    let server = TestServer::start().await;
    for person in [server.user("alice").await, server.guest().await] {
        for name in ["好".repeat(30), "👍".repeat(15)] {
            assert_eq!(update(&person, "nickname", name.clone()).await.ok(), "修改昵称成功");
            assert_eq!(account_of(&server, &person).await["nickname"], name);
        }
        for name in ["好".repeat(31), "👍".repeat(16)] {
            update(&person, "nickname", name).await.refused(400, "昵称长度不能超过30个字符");
        }
        assert_eq!(update(&person, "nickname", 7).await.ok(), "修改昵称成功");
        assert_eq!(account_of(&server, &person).await["nickname"], "7");
    }
}

#[tokio::test]
async fn an_avatar_has_up_to_1000_utf16_units() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let avatar = format!("/public/{}", "a".repeat(992));
    assert_eq!(update(&alice, "avatar", avatar.clone()).await.ok(), "头像更新成功");
    assert_eq!(account_of(&server, &alice).await["avatar"], avatar);
    update(&alice, "avatar", "a".repeat(1001)).await.refused(400, "头像地址过长不能超过1000个字符");
    update(&alice, "avatar", "👍".repeat(501)).await.refused(400, "头像地址过长不能超过1000个字符");
}

#[tokio::test]
async fn invite_confirm_is_0_or_1_as_number_or_text() {
    let server = TestServer::start().await;
    let mut alice = server.user("alice").await;
    for (value, stored) in [(json!(1), 1), (json!("0"), 0), (json!("1"), 1), (json!(0), 0)] {
        assert_eq!(update(&alice, "invite_confirm", value).await.ok(), "设置成功");
        alice = alice.login().await;
        assert_eq!(alice.account["invite_confirm"], stored);
    }
    for value in [json!(2), json!(-1), json!("yes"), json!(true), json!(null)] {
        update(&alice, "invite_confirm", value).await.refused(400, "添加我为好友设置值错误");
    }
}

#[tokio::test]
async fn a_username_never_changes_and_other_fields_are_ignored() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    update(&alice, "username", "other_name").await.refused(400, "账号不可修改");
    for field in ["password", "role", "status", "Nickname", &"x".repeat(30)] {
        assert_eq!(update(&alice, field, "visitor").await.ok(), "");
    }
    assert_eq!(account_of(&server, &alice).await["username"], alice.username.as_str());
    let again = alice.login().await.account;
    assert_eq!((&again["role"], &again["status"], &again["nickname"]), (&json!("user"), &json!(1), &json!("")));
}

#[tokio::test]
async fn update_userinfo_checks_its_two_fields() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let post = async |body| alice.post("updateUserinfo", body).await;
    post(json!({})).await.invalid("修改类型不能为空");
    post(json!({ "fieldname": "x".repeat(31), "fieldValue": "x" }))
        .await
        .invalid("修改类型 的长度 必须 在 1 和 30 之间");
    post(json!({ "fieldname": "nickname" })).await.invalid("修改结果不能为空");
    post(json!({ "fieldname": "nickname", "fieldValue": "" })).await.invalid("修改结果不能为空");
}

#[tokio::test]
async fn a_new_name_is_seen_by_the_next_message_and_the_next_card() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let mut socket = bob.asking_socket().await;
    alice.say(&bob, "one").await.ok();
    assert_eq!(socket.next_message().await["from_name"], alice.username.as_str());
    update(&alice, "nickname", "小爱").await.ok();
    update(&alice, "avatar", "/public/a.png").await.ok();
    server.sql("UPDATE users SET userset = '{\"chatset\":{\"user\":{\"sendCount\":2},\"visitor\":{\"sendCount\":2}}}' WHERE id = ?", &[bob.id.into()]).await;
    server.advance(CACHE_MS);
    alice.say(&bob, "two").await.ok();
    let message = socket.next_message().await;
    assert_eq!((&message["from_name"], &message["from_avatar"]), (&json!("小爱"), &json!("/public/a.png")));
    let card = alice.socket().await.cards.into_iter().find(|card| card["from_name"] == "头像设置").unwrap();
    assert_eq!((&card["to_name"], &card["from_avatar"]), (&json!("小爱"), &json!("/public/a.png")));
}

async fn set_password(person: &Person, old: &str, new: &str, again: &str) -> Reply {
    person.post("setPassword", json!({ "oldpassword": old, "newpassword": new, "checknewpassword": again })).await
}

#[tokio::test]
async fn a_new_password_replaces_the_old_one() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    assert_eq!(set_password(&alice, PASSWORD, "another7", "another7").await.ok(), "修改密码成功");
    login(&server, &alice.username, PASSWORD).await.refused(400, WRONG);
    login(&server, &alice.username, "another7").await.ok();
}

#[tokio::test]
async fn a_new_password_is_refused_for_each_of_its_reasons() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let post = async |body| alice.post("setPassword", body).await;
    post(json!({})).await.invalid("原始密码不能为空");
    post(json!({ "oldpassword": "x" })).await.invalid("新密码不能为空");
    for new in ["12345".to_owned(), "👍".repeat(21)] {
        set_password(&alice, PASSWORD, &new, &new).await.invalid("新密码 的长度 必须 在 6 和 20 之间");
    }
    post(json!({ "oldpassword": "x", "newpassword": "another7" })).await.invalid("确认新密码不能为空");
    set_password(&alice, "wrong", "another7", "another8").await.refused(400, "新密码与确认新密码不一致");
    set_password(&alice, "wrong", "another7", "another7").await.refused(400, "原始密码错误，无法修改密码");
    login(&server, &alice.username, PASSWORD).await.ok();
}

#[tokio::test]
async fn a_new_password_keeps_the_token_that_made_it_and_ends_the_other() {
    let server = TestServer::start().await;
    let (guest, user) = upgraded(&server).await;
    let (mut guest_socket, mut user_socket) = (guest.socket().await, user.socket().await);
    set_password(&user, PASSWORD, "another7", "another7").await.ok();
    user.post("chatGetmessageOffLine", json!({})).await.ok();
    guest.post("chatGetmessageOffLine", json!({})).await.refused(400, BAD_TOKEN);
    // Neither is closed: the one is current, the other a guest's.
    for socket in [&mut guest_socket, &mut user_socket] {
        socket.send("ping").await;
        assert_eq!(socket.next_frame().await["type"], "pong");
    }
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
