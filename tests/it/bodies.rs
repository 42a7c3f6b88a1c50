//! Parameters as clients of every kind write them: halves of characters, numbers with a point, forms in brackets, bodies that are
//! still coming when the answer is known (contract: people §1.1, messaging §0 "Body encoding", decision 4).

use std::fmt::Write;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::files::answer;
use crate::support::{Person, Reply, SILENCE, TestServer, text_of};

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

/// In memory they are three hundred times as long.
#[tokio::test]
async fn lists_in_lists_without_end_are_malformed() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let lists = "[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]";
    let many = |times: usize| format!("[{}]", vec![lists; times].join(","));
    let named = |value: &str| format!(r#"{{"fieldname":"nickname","fieldValue":"x","more":{value}}}"#);
    let call = |body: String| alice.call(Method::POST, "updateUserinfo").body("application/json", body).send();
    call(named(&many(2))).await.ok();
    call(named(&many(100))).await.refused(400, "请求体格式错误");
    // What is no part of the body's own JSON is as if it could not be read.
    let send = |options: String| {
        let letter =
            json!({ "sendto_id": bob.id, "chatType": "single", "type": "text", "data": "x", "options": options });
        alice.post("socket/sendmessage", letter)
    };
    assert_eq!(send(many(2)).await.ok()["options"], serde_json::from_str::<Value>(&many(2)).unwrap());
    assert_eq!(send(many(100)).await.ok()["options"], Value::Null);
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

#[tokio::test]
async fn forms_hold_objects_and_lists_in_brackets() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    for (form, kept) in [
        ("v[a]=1&v[b]=2", r#"{"a":"1","b":"2"}"#),
        ("v[a][b][c]=1&v[a][d]=", r#"{"a":{"b":{"c":"1"},"d":""}}"#),
        ("v[]=1&v[]=2", r#"["1","2"]"#),
        ("v[1]=b&v[0]=a&v[]=c", r#"["a","b","c"]"#),
        ("v[0][a]=1&v[1][a]=2", r#"[{"a":"1"},{"a":"2"}]"#),
        ("v=1&v[]=2", r#"["1","2"]"#),
        ("v%5Ba%5D%5B%5D=%F0%9F%91%8D", r#"{"a":["👍"]}"#),
        ("v[a][b][c][d][e][f]=1", r#"{"a":{"b":{"c":{"d":{"e":{"[f]":"1"}}}}}}"#),
    ] {
        let form = format!("x[=1&[y]=2&v]=3&{}", form.replace("v[", "userset[").replace("v%", "userset%"));
        let form = form.replace("&v=", "&userset=");
        let call = alice.call(Method::POST, "userset").body("application/x-www-form-urlencoded", form.clone());
        call.send().await.ok();
        let stored = server.get(&format!("/api/userinfo/{}", alice.uuid)).await.ok();
        assert_eq!(stored["userset"], kept, "{form}");
        let pairs: Vec<_> = form_urlencoded::parse(form.as_bytes()).collect();
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
        alice.post("userset", json!({ "userset": "other" })).await.ok();
        alice.call(Method::POST, "userset").multipart(&pairs).send().await.ok();
        let stored = server.get(&format!("/api/userinfo/{}", alice.uuid)).await.ok();
        assert_eq!(stored["userset"], kept, "multipart: {form}");
    }
}

#[tokio::test]
async fn a_message_may_be_a_form_in_brackets() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let mut socket = bob.asking_socket().await;
    let to = bob.id.to_string();
    let fields = [
        ("sendto_id", to.as_str()),
        ("chatType", "single"),
        ("type", "text"),
        ("data[data]", "你好"),
        ("data[dataType]", "article"),
        ("data[otherData][title]", "a title"),
    ];
    alice.call(Method::POST, "socket/sendmessage").form(&fields).send().await.ok();
    let message = socket.next_message().await;
    assert_eq!(text_of(&message), "你好");
    let data: Value = serde_json::from_str(message["data"].as_str().unwrap()).unwrap();
    assert_eq!(data["otherData"], json!({ "title": "a title" }));
}

#[tokio::test]
async fn a_list_in_a_form_is_never_cut_in_silence() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let post = |name: &str, count: usize| {
        let mut form = String::new();
        for number in 0..count {
            write!(form, "{}={number}&", name.replace('#', &number.to_string())).unwrap();
        }
        alice.call(Method::POST, "userset").body("application/x-www-form-urlencoded", form)
    };
    let expected = json!((0..5000).map(|number| number.to_string()).collect::<Vec<_>>()).to_string();
    for name in ["userset", "userset[]", "userset[#]"] {
        post(name, 5000).send().await.ok();
        let stored = server.get(&format!("/api/userinfo/{}", alice.uuid)).await.ok();
        assert_eq!(stored["userset"], expected, "{name}");
        post(name, 10_001).send().await.refused(413, "请求体过大");
    }
}

/// A server that answers and closes while a body is on its way resets the connection: the phone shows a network error in the
/// place of the reason, and the text from which a client recovers is lost.
#[tokio::test]
async fn a_refusal_waits_for_the_body_that_is_on_its_way() {
    let server = TestServer::with(|config| config.http.body_bytes_max = 100_000).await;
    let alice = server.user("alice").await;
    let half = "x".repeat(100_000);
    for (token, status, text) in [("garbage", 400, "Token 令牌不合法！"), (&alice.token, 413, "请求体过大")]
    {
        let head = format!(
            "POST /api/chat/userset HTTP/1.1\r\nhost: x\r\ntoken: {token}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{half}x",
            2 * half.len() + 1
        );
        let mut stream = server.begin(head.as_bytes()).await;
        let early = tokio::time::timeout(SILENCE, stream.read_u8()).await;
        assert!(early.is_err(), "the server reads on: {early:?}");
        stream.write_all(half.as_bytes()).await.unwrap();
        let (got, reply) = answer(stream).await;
        assert_eq!((got, reply.contains(text)), (status, true), "{reply}");
    }
}

#[tokio::test]
async fn who_asks_before_sending_a_body_is_answered_at_once() {
    let server = TestServer::start().await;
    let head = "POST /api/chat/userset HTTP/1.1\r\nhost: x\r\ntoken: garbage\r\nexpect: 100-continue\r\n\
        content-type: application/json\r\ncontent-length: 500000\r\n\r\n";
    let stream = server.begin(head.as_bytes()).await;
    let reply = tokio::time::timeout(Duration::from_millis(900), answer(stream)).await.expect("no pause before it");
    assert_eq!((reply.0, reply.1.contains("Token 令牌不合法！")), (400, true), "{}", reply.1);
}

/// The client's calls without parameters send `{}`, some clients and proxies in a packet of its own. Whatever is answered, the
/// next call may come by the same connection.
#[tokio::test]
async fn a_small_body_behind_its_head_does_not_end_the_connection() {
    let server = TestServer::start().await;
    let (alice, guest) = (server.user("alice").await, server.guest().await);
    let calls = [
        ("/api/chat/chatGetmessageOffLine", &*alice.token, 200),
        ("/api/chat/chatGetmessageOffLine", "garbage", 400),
        ("/api/chat/searchUser", &guest.token, 400),
        ("/api/visitorRegister", "", 400),
        ("/api/nothing", "", 404),
        ("/api/chat/logout", &alice.token, 200),
    ];
    for (path, token, status) in calls {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ntoken: {token}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n"
        );
        let mut stream = server.begin(head.as_bytes()).await;
        for _ in 0..2 {
            let early = tokio::time::timeout(Duration::from_millis(50), stream.read_u8()).await;
            assert!(early.is_err(), "{path}: the reply waits for the body: {early:?}");
            stream.write_all(b"{}").await.unwrap();
            let (got, reply) = answer(&mut stream).await;
            assert!(reply.contains("content-length"), "{path}: {reply}");
            // After the logout the same token is refused.
            assert!(got == status || (path.ends_with("logout") && got == 400), "{path}: {reply}");
            stream.write_all(head.as_bytes()).await.unwrap();
        }
    }
}
