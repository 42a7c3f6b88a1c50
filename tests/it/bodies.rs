//! Parameters as clients of every kind write them: halves of characters, numbers with a point (contract: people §1.1, decision 4).

use reqwest::Method;
use serde_json::Value;

use crate::support::{Person, Reply, TestServer};

async fn named(server: &TestServer, person: &Person) -> Value {
    server.get(&format!("/api/userinfo/{}", person.uuid)).await.ok()["nickname"].clone()
}

/// A new nickname, in a body that is written by hand.
async fn rename(person: &Person, value: &str) -> Reply {
    let body = format!(r#"{{"fieldname":"nickname","fieldValue":{value}}}"#);
    person.call(Method::POST, "updateUserinfo").body("application/json", body).send().await
}

/// A page that cuts a text after so many UTF-16 units may cut an emoji, and `JSON.stringify` then writes the half of it.
#[tokio::test]
async fn half_a_character_is_taken_as_an_unknown_one() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    for (sent, kept) in [
        (r#""cut \ud83d""#, "cut \u{fffd}"),
        (r#""\ude00 cut""#, "\u{fffd} cut"),
        (r#""\uDE00\uD83D\ud83d\ude00\u4f60""#, "\u{fffd}\u{fffd}😀你"),
        (r#""\ud83dA\\ud83d\"""#, "\u{fffd}A\\ud83d\""),
    ] {
        rename(&alice, sent).await.ok();
        assert_eq!(named(&server, &alice).await, kept, "{sent}");
    }
    // Wherever it stands, also where nobody looks.
    let body = r#"{"fieldname":"nickname","fieldValue":"whole","\ud83d":["\udfff"]}"#;
    alice.call(Method::POST, "updateUserinfo").body("application/json", body).send().await.ok();
    assert_eq!(named(&server, &alice).await, "whole");
    for broken in [r#""\ud8""#, r#""\ud83d"#, r#""\ud83d\""#, r#""\ud83d\q""#] {
        rename(&alice, broken).await.refused(400, "请求体格式错误");
    }
}

/// To JavaScript, and so to the old backend, `33.0` is 33.
#[tokio::test]
async fn a_whole_number_may_be_written_with_a_point() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let settings = async |id: String| {
        let body = format!(r#"{{"userid":{id}}}"#);
        alice.call(Method::POST, "getUserSetInfo").body("application/json", body).send().await
    };
    for id in [format!("{}.0", bob.id), format!("{}e0", bob.id), format!("{}0.00e-1", bob.id)] {
        assert_eq!(settings(id.clone()).await.ok()["id"], bob.id, "{id}");
    }
    settings("1.5".to_owned()).await.invalid("用户id 的值 `1.5` 的类型不是 `int`");
    settings("-0.0".to_owned()).await.invalid("用户id 的数值 必须 在 1 和 10000000000000000 之间");
    settings("1e20".to_owned()).await.invalid("用户id 的数值 必须 在 1 和 10000000000000000 之间");
    for (sent, kept) in [("7.0", "7"), ("-7.0", "-7"), ("1e3", "1000"), ("0.5", "0.5")] {
        rename(&alice, sent).await.ok();
        assert_eq!(named(&server, &alice).await, kept, "{sent}");
    }
}
