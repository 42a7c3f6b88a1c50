//! `searchUser`: who is found, in which order, and what a keyword means (contract: people §4, decision 21).

use serde_json::{Value, json};

use crate::support::{PASSWORD, Person, TestServer, unique};

/// A tag that no other name of the run holds, in lower case.
fn tag() -> String {
    format!("{:06x}", rand::random::<u32>() & 0x00ff_ffff)
}

async fn named(server: &TestServer, name: &str) -> Person {
    let account = server.post("/api/regChat", json!({ "username": name, "password": PASSWORD })).await.ok();
    server.person(name, account, "")
}

async fn search(me: &Person, keyword: &str) -> Vec<String> {
    let found = me.post("searchUser", json!({ "keyword": keyword })).await.ok();
    let names = found.as_array().unwrap().iter().map(|user| user["username"].as_str().unwrap().to_owned());
    names.collect()
}

#[tokio::test]
async fn a_person_is_found_with_what_the_client_shows() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    bob.set("nickname", "小明").await;
    let found = alice.post("searchUser", json!({ "keyword": bob.username })).await.ok();
    insta::assert_json_snapshot!(server.redacted(&found), @r#"
    [
      {
        "id": "[bob.id]",
        "username": "bob",
        "avatar": "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/user.jpg",
        "role": "user",
        "uuid": "[bob.uuid]",
        "nickname": "小明"
      }
    ]
    "#);
}

#[tokio::test]
async fn the_exact_name_comes_first_then_names_that_begin_with_it_then_the_rest() {
    let server = TestServer::start().await;
    let (me, tag) = (server.user("me").await, tag());
    let names =
        [format!("z{tag}"), format!("{tag}zz"), format!("a{tag}b"), tag.clone(), format!("{tag}a"), format!("b_{tag}")];
    for name in &names {
        named(&server, name).await;
    }
    let expected = [&names[3], &names[4], &names[1], &names[2], &names[5], &names[0]];
    assert_eq!(search(&me, &tag).await, expected.map(String::as_str));
}

#[tokio::test]
async fn case_does_not_matter() {
    let server = TestServer::start().await;
    let (me, tag) = (server.user("me").await, tag());
    let name = format!("MiXed{tag}");
    named(&server, &name).await;
    for keyword in [format!("mixed{tag}"), format!("MIXED{}", tag.to_uppercase()), format!("XeD{tag}")] {
        assert_eq!(search(&me, &keyword).await, [name.as_str()], "{keyword}");
    }
}

#[tokio::test]
async fn percent_and_underscore_and_backslash_mean_themselves() {
    let server = TestServer::start().await;
    let (me, tag) = (server.user("me").await, tag());
    let (with, without) = (format!("a_{tag}"), format!("ab{tag}"));
    named(&server, &with).await;
    named(&server, &without).await;
    assert_eq!(search(&me, &format!("_{tag}")).await, [with.as_str()]);
    assert_eq!(search(&me, &format!("a_{tag}")).await, [with.as_str()]);
    for keyword in [format!("%{tag}"), format!("a%{tag}"), format!("?{tag}"), format!("\\_{tag}"), format!("{tag} ")] {
        assert!(search(&me, &keyword).await.is_empty(), "{keyword}");
    }
}

#[tokio::test]
async fn a_name_that_holds_the_keyword_twice_is_found_once() {
    let server = TestServer::start().await;
    let (me, tag) = (server.user("me").await, tag());
    let name = format!("{tag}{tag}");
    named(&server, &name).await;
    assert_eq!(search(&me, &tag).await, [name.as_str()]);
    assert_eq!(search(&me, &tag[1..]).await, [name.as_str()]);
}

#[tokio::test]
async fn only_the_username_counts() {
    let server = TestServer::start().await;
    let (me, bob, tag) = (server.user("me").await, server.user("bob").await, tag());
    bob.set("nickname", tag.as_str()).await;
    assert!(search(&me, &tag).await.is_empty());
    assert!(search(&me, &bob.uuid).await.is_empty());
}

#[tokio::test]
async fn neither_i_nor_guests_nor_the_disabled_are_found() {
    let server = TestServer::start().await;
    let (me, bob, guest) = (server.user("me").await, server.user("bob").await, server.guest().await);
    assert!(search(&me, &me.username).await.is_empty());
    assert!(search(&me, &guest.username).await.is_empty());
    assert_eq!(search(&me, &bob.username).await, [bob.username.as_str()]);
    server.alter("UPDATE users SET status = 0 WHERE id = ?", &[bob.id]).await;
    assert!(search(&me, &bob.username).await.is_empty());
    server.alter("UPDATE users SET status = 2 WHERE id = ?", &[bob.id]).await;
    assert!(search(&me, &bob.username).await.is_empty());
}

#[tokio::test]
async fn friends_and_the_blocked_are_found() {
    let server = TestServer::start().await;
    let (me, bob) = server.users("me", "bob").await;
    me.befriend(&bob).await;
    assert_eq!(search(&me, &bob.username).await, [bob.username.as_str()]);
    me.turn_block(&bob).await;
    assert_eq!(search(&me, &bob.username).await, [bob.username.as_str()]);
    assert_eq!(search(&bob, &me.username).await, [me.username.as_str()]);
}

#[tokio::test]
async fn a_guest_is_found_from_its_registration_on() {
    let server = TestServer::start().await;
    let (me, guest) = (server.user("me").await, server.guest().await);
    let name = unique("new");
    let account = json!({ "username": name, "password": PASSWORD });
    server.signed("/api/visitorregChat", &guest.device_id, account).await.ok();
    assert_eq!(search(&me, &name[1..]).await, [name.as_str()]);
    assert!(search(&me, &guest.username).await.is_empty());
}

#[tokio::test]
async fn at_most_fifty_are_found_and_the_best_are_among_them() {
    let server = TestServer::start().await;
    let (me, tag) = (server.user("me").await, tag());
    for number in 0..52 {
        named(&server, &format!("x{number:02}{tag}")).await;
    }
    for number in 0..3 {
        named(&server, &format!("{tag}{number}")).await;
    }
    let found = search(&me, &tag).await;
    assert_eq!(found.len(), 50);
    assert_eq!(found[..3], [0, 1, 2].map(|number| format!("{tag}{number}")));
    assert!(found[3..].is_sorted());
}

#[tokio::test]
async fn a_keyword_has_1_to_50_characters_of_any_kind() {
    let server = TestServer::start().await;
    let me = server.user("me").await;
    let refused = [
        (json!({}), "搜索关键词不能为空"),
        (json!({ "keyword": "" }), "搜索关键词不能为空"),
        (json!({ "keyword": "👍".repeat(51) }), "搜索关键词 的长度 必须 在 1 和 50 之间"),
    ];
    for (body, text) in refused {
        me.post("searchUser", body).await.refused(422, text);
    }
    let taken = [json!("👍".repeat(50)), json!("'\";--"), json!(" "), json!("\u{0}"), json!(987_654_321_012_i64)];
    for keyword in taken.into_iter().chain([json!(["a"]), json!({ "a": 1 })]) {
        assert_eq!(me.post("searchUser", json!({ "keyword": keyword, "more": 1 })).await.ok(), json!([]), "{keyword}");
    }
    // `null` becomes the word, which names may hold.
    assert!(matches!(me.post("searchUser", json!({ "keyword": null })).await.ok(), Value::Array(_)));
}

#[tokio::test]
async fn a_number_is_searched_as_its_digits() {
    let server = TestServer::start().await;
    let me = server.user("me").await;
    let digits = u64::from(rand::random::<u32>()) + 10_000_000_000;
    let name = format!("n{digits}");
    named(&server, &name).await;
    let found = me.post("searchUser", json!({ "keyword": digits })).await.ok();
    assert_eq!(found[0]["username"], name);
}

#[tokio::test]
async fn guests_may_not_search() {
    let server = TestServer::start().await;
    let guest = server.guest().await;
    guest.post("searchUser", json!({ "keyword": "a" })).await.refused(400, "您没有权限访问，请先注册或登录");
}
