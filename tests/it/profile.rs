//! What people show and change of themselves (contract: people §3, chapters 16, 18, 34).

use serde_json::{Value, json};

use crate::support::{CACHE_MS, Person, Reply, TestServer};

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
    for (value, stored) in [(json!(1), 1), (json!("0"), 0), (json!("1.0"), 1), (json!(0), 0)] {
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
