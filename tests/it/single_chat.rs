//! Sending to one person: shapes, names, and every rule of who may write to whom (contract: messaging §4.20, decision 20).

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{CACHE_MS, NOW_MS, Person, Reply, TestServer, text_of};

const BLOCKED_USER: &str = "对方把你拉黑了，不能发送消息";
const BLOCKED_GUEST: &str = "对方把你拉黑了，不能发消息";
const BY_SYSTEM_USER: &str = "系统把你们拉黑了，不能发送消息";
const BY_SYSTEM_GUEST: &str = "系统把你们拉黑了，不能发消息";
const FRIENDS_ONLY_USER: &str = "对方设置成：需要您先成为他的好友才能发消息";
const FRIENDS_ONLY_GUEST: &str = "你们不是好友关系，对方设置成：先登录才能发消息";
pub const ONE_ONLY: &str = "在成为好友之前，对方只允许向他发一条消息";
const NOBODY: &str = "对方不存在或者被禁用，不能发消息";

async fn send(from: &Person, body: Value) -> Reply {
    from.post("socket/sendmessage", body).await
}

/// `from` is in `to`'s list, as `to` sees it.
async fn listed(server: &TestServer, to: &Person, from: &Person, remark: &str, blocked: u8, status: u8) {
    server
        .sql(
            "INSERT INTO friends (user_id, friend_id, remark, blocked, status, created_at, updated_at) \
             VALUES (?, ?, ?, ?, ?, 0, 0)",
            &[to.id.into(), from.id.into(), remark.into(), blocked.into(), status.into()],
        )
        .await;
}

async fn userset(person: &Person, text: &str) {
    person.post("userset", json!({ "userset": text })).await.ok();
}

#[tokio::test]
async fn a_message_is_answered_and_pushed_as_the_same_object() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    bob.take_from_all().await;
    let mut socket = bob.asking_socket().await;
    let body = json!({ "sendto_id": bob.id, "chatType": "single", "type": "text",
        "data": { "data": "你好 \"<&", "dataType": false, "otherData": null },
        "options": "%7B%22a%22%3A%22%E4%B8%AD%22%7D", "undeclared": { "ignored": true } });
    let reply = send(&alice, body).await.ok();
    insta::assert_json_snapshot!(server.redacted(&reply), { ".id" => "[uuid]" }, @r#"
    {
      "id": "[uuid]",
      "from_avatar": "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/user.jpg",
      "from_name": "alice",
      "from_id": "[alice.id]",
      "to_id": "[bob.id]",
      "to_name": "bob",
      "to_avatar": "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/user.jpg",
      "chatType": "single",
      "type": "text",
      "data": "{\"data\":\"你好 \\\"<&\",\"dataType\":false,\"otherData\":null}",
      "options": {
        "a": "中"
      },
      "create_time": 1757000000000,
      "isremove": 0,
      "sendUUid": "[alice.uuid]"
    }
    "#);
    assert_eq!(reply["id"].as_str().unwrap().len(), 36);
    let frame = socket.next_frame().await;
    assert_eq!(frame, json!({ "type": "singleChat", "data": reply, "timestamp": NOW_MS }));
}

#[tokio::test]
async fn data_may_be_text_or_an_object_and_ids_may_be_strings_in_json_and_forms() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    bob.take_from_all().await;
    let content = json!({ "dataType": "image", "data": "/a.png", "otherData": { "b": [1, 2.5, null] } });
    for data in [content.clone(), content.to_string().into()] {
        let body = json!({ "sendto_id": bob.id.to_string(), "chatType": "single", "type": "image", "data": data });
        let reply = send(&alice, body).await.ok();
        assert_eq!(reply["data"], content.to_string(), "the content goes out as JSON text");
        assert_eq!((&reply["to_id"], &reply["type"]), (&json!(bob.id), &json!("image")));
    }
    let (id, content) = (bob.id.to_string(), content.to_string());
    let pairs = [("sendto_id", id.as_str()), ("chatType", "single"), ("type", "image"), ("data", &content)];
    let form = alice.call(reqwest::Method::POST, "socket/sendmessage").form(&pairs).send().await.ok();
    assert_eq!(form["data"], content);
    let content = json!({ "data": "/a.png", "otherData": { "b": ["1", "2"], "c": { "d": "" } } });
    let (to, content) = (format!("sendto_id={id}&chatType=single&type=image"), content.to_string());
    let nested = "data[data]=/a.png&data[otherData][b][]=1&data[otherData][b][]=2&data[otherData][c][d]=";
    let post = alice.call(reqwest::Method::POST, "socket/sendmessage");
    let form = post.body("application/x-www-form-urlencoded", format!("{to}&{nested}")).send().await.ok();
    assert_eq!(form["data"], content);
}

#[tokio::test]
async fn every_character_arrives_as_it_was_sent_live_and_later() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    bob.take_from_all().await;
    let text = "\0\u{1}\u{7f}\u{2028}\u{202e}\u{feff}\u{ffff}\u{10ffff} 👨‍👩‍👧 <b>&\"'\\ %00 \\u0000 \\ud83d";
    let content = json!({ "data": text, "dataType": false, "otherData": { text: [text] } });
    let body = json!({ "sendto_id": bob.id, "chatType": "single", "type": text, "data": content,
        "options": json!({ text: text }).to_string().replace('%', "%25") });
    let sent = [send(&alice, body.clone()).await.ok(), send(&alice, body).await.ok()];
    assert_eq!(serde_json::from_str::<Value>(sent[0]["data"].as_str().unwrap()).unwrap(), content);
    assert_eq!((&sent[0]["type"], &sent[0]["options"]), (&json!(text), &json!({ text: text })));
    let mut socket = bob.asking_socket().await;
    assert_eq!(socket.next_messages(2).await, sent);
    let live = alice.say(&bob, text).await.ok();
    assert_eq!(socket.next_message().await, live);
    assert_eq!(text_of(&live), text);
}

#[tokio::test]
async fn a_text_that_was_cut_in_the_middle_of_a_character_is_sent() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    bob.take_from_all().await;
    let mut socket = bob.asking_socket().await;
    for (text, shown) in [(r"hi \ud83d", "hi \u{fffd}"), (r"\udc4d\ud83d\udc4d", "\u{fffd}👍"), (r"\\ud83d", r"\ud83d")]
    {
        let body = format!(
            r#"{{"sendto_id":{},"chatType":"single","type":"text","data":{{"data":"{text}"}},"options":"%7B%22a%22%3A%22%5Cud83d%22%7D"}}"#,
            bob.id
        );
        let post = alice.call(reqwest::Method::POST, "socket/sendmessage");
        let sent = post.body("application/json", body).send().await.ok();
        let got = socket.next_message().await;
        assert_eq!((text_of(&got).as_str(), &got["options"]), (shown, &json!({ "a": "\u{fffd}" })));
        assert_eq!(got, sent);
    }
}

#[tokio::test]
async fn options_are_decoded_or_null() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    bob.take_from_all().await;
    for (options, decoded) in [
        (json!("%7B%22a%22%3A1%7D"), json!({ "a": 1 })),
        (json!(r#"{"a":1}"#), json!({ "a": 1 })),
        (json!({ "a": 1 }), json!({ "a": 1 })),
        (json!("[1]"), json!([1])),
        (json!("%5"), Value::Null),
        (json!("{"), Value::Null),
        (json!("undefined"), Value::Null),
        (json!(""), Value::Null),
        (Value::Null, Value::Null),
    ] {
        let body =
            json!({ "sendto_id": bob.id, "chatType": "single", "type": "text", "data": "x", "options": options });
        assert_eq!(send(&alice, body).await.ok()["options"], decoded, "{options}");
    }
}

#[tokio::test]
async fn names_are_the_remark_else_the_nickname_else_the_username() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let (guest, carol) = (server.guest().await, server.user("carol").await);
    bob.take_from_all().await;
    let names = async |from: &Person| {
        let reply = from.say(&bob, "x").await.ok();
        (reply["from_name"].clone(), reply["to_name"].clone())
    };
    assert_eq!(names(&alice).await, (alice.username.clone().into(), bob.username.clone().into()));
    for (person, name) in [(&alice, "爱丽丝"), (&bob, "鲍勃"), (&guest, "客人"), (&carol, "卡罗尔")] {
        person.post("updateUserinfo", json!({ "fieldname": "nickname", "fieldValue": name })).await.ok();
    }
    assert_eq!(names(&alice).await, ("爱丽丝".into(), "鲍勃".into()));
    for (one, other, remark) in [(&bob, &carol, "my carol"), (&carol, &bob, "my bob"), (&bob, &guest, "my guest")] {
        listed(&server, one, other, remark, 0, 1).await;
    }
    assert_eq!(names(&carol).await, ("my carol".into(), "my bob".into()));
    assert_eq!(names(&guest).await, ("客人".into(), "鲍勃".into()), "remarks are looked up only for role user");
}

#[tokio::test]
async fn the_sender_hears_no_echo() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let mut socket = alice.asking_socket().await;
    alice.say(&bob, "hello").await.ok();
    socket.expect_silence().await;
}

#[tokio::test]
async fn who_writes_to_itself_gets_the_message() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mut socket = alice.asking_socket().await;
    let sent = alice.say(&alice, "note").await.ok();
    assert_eq!(socket.next_message().await, sent);
    alice.say(&alice, "another").await.refused(400, ONE_ONLY);
}

#[tokio::test]
async fn parameters_are_checked_in_the_contract_s_order() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let whole = json!({ "sendto_id": bob.id, "chatType": "single", "type": "text", "data": "x" });
    for (field, value, text) in [
        ("sendto_id", json!(""), "接收人/群的id值不能为空"),
        ("sendto_id", json!("x"), "接收人/群的id值 的值 `x` 的类型不是 `int`"),
        ("sendto_id", json!(0), "接收人/群的id值 的数值 必须 在 1 和 10000000000000000 之间"),
        ("chatType", json!(""), "接收类型不能为空"),
        ("chatType", json!("both"), "接收类型 的值 `both` 必须在 [`single`、`group`] 中"),
        ("type", json!(""), "消息类型不能为空"),
        ("data", json!(""), "消息内容不能为空"),
    ] {
        let mut body = whole.clone();
        body[field] = value;
        send(&alice, body).await.refused(422, text);
    }
    send(&alice, json!({})).await.refused(422, "接收人/群的id值不能为空");
}

#[tokio::test]
async fn nobody_writes_to_who_is_not_there() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let locked = server.user("locked").await;
    let nowhere = json!({ "sendto_id": 9_000_000_000_i64, "chatType": "single", "type": "text", "data": "x" });
    send(&alice, nowhere).await.refused(400, NOBODY);
    server.sql("UPDATE users SET status = 0 WHERE id = ?", &[bob.id.into()]).await;
    server.sql("UPDATE users SET status = 2 WHERE id = ?", &[locked.id.into()]).await;
    server.advance(CACHE_MS);
    for person in [&bob, &locked] {
        alice.say(person, "x").await.refused(400, NOBODY);
    }
}

#[tokio::test]
async fn a_stranger_may_write_once_whether_or_not_it_was_delivered() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let guest = server.guest().await;
    for stranger in [&alice, &guest] {
        stranger.say(&bob, "first").await.ok();
        stranger.say(&bob, "second").await.refused(400, ONE_ONLY);
    }
    let mut socket = bob.asking_socket().await;
    socket.next_messages(2).await;
    alice.say(&bob, "third").await.refused(400, ONE_ONLY);
    bob.say(&alice, "the other way round").await.ok();
    // The limit is in the store.
    let server = server.restart().await;
    alice.say(&bob, "fourth").await.refused(400, ONE_ONLY);
    drop(server);
}

#[tokio::test]
async fn of_first_messages_at_the_same_time_only_one_is_taken() {
    let server = TestServer::start().await;
    let bob = server.user("bob").await;
    for _ in 0..5 {
        let stranger = server.user("stranger").await;
        let replies = join_all((0..8).map(|_| stranger.say(&bob, "first"))).await;
        let taken = replies.iter().filter(|reply| reply.status == 200).count();
        assert_eq!(taken, 1);
        replies.iter().filter(|reply| reply.status != 200).for_each(|reply| reply.refused(400, ONE_ONLY));
    }
    let mut socket = bob.asking_socket().await;
    socket.next_messages(5).await;
    socket.expect_silence().await;
}

#[tokio::test]
async fn what_strangers_may_do_is_the_recipient_s_choice() {
    let server = TestServer::start().await;
    let guest = server.guest().await;
    // What the first and the second message get: `None` is taken.
    let one = [None, Some(ONE_ONLY)];
    for (settings, user, visitor) in [
        (
            r#"{"chatset":{"visitor":{"sendCount":0},"user":{"sendCount":0}}}"#,
            [Some(FRIENDS_ONLY_USER); 2],
            [Some(FRIENDS_ONLY_GUEST); 2],
        ),
        (r#"{"chatset":{"visitor":{"sendCount":1},"user":{"sendCount":1}}}"#, one, one),
        (r#"{"chatset":{"visitor":{"sendCount":2},"user":{"sendCount":2}}}"#, [None; 2], [None; 2]),
        (r#"{"chatset":{"visitor":{"sendCount":0},"user":{"sendCount":2}}}"#, [None; 2], [Some(FRIENDS_ONLY_GUEST); 2]),
        // The needs of followers were never looked at.
        (
            r#"{"chatset":{"visitor":{"sendCount":2,"needFollow":1},"user":{"sendCount":2,"needFollow":1}}}"#,
            [None; 2],
            [None; 2],
        ),
        // Comparison is strict with the numbers 0 and 1.
        (r#"{"chatset":{"visitor":{"sendCount":"0"},"user":{"sendCount":"1"}}}"#, [None; 2], [None; 2]),
        (r#"{"chatset":{"visitor":0,"user":0}}"#, [None; 2], [None; 2]),
        // What lacks a side, or is no JSON, counts as empty.
        (r#"{"chatset":{}}"#, one, one),
        (r#"{"other":1}"#, one, one),
        ("not json", one, one),
        (r#"{"chatset":{"visitor":{"sendCount":2}}}"#, one, [None; 2]),
    ] {
        let (alice, bob) = server.users("alice", "bob").await;
        userset(&bob, settings).await;
        for (sender, expected) in [(&alice, user), (&guest, visitor)] {
            for text in expected {
                let reply = sender.say(&bob, "x").await;
                match text {
                    None => drop(reply.ok()),
                    Some(text) => reply.refused(400, text),
                }
            }
        }
    }
}

#[tokio::test]
async fn who_is_in_the_recipient_s_list_is_free_unless_blocked() {
    let server = TestServer::start().await;
    let bob = server.user("bob").await;
    userset(&bob, r#"{"chatset":{"visitor":{"sendCount":0},"user":{"sendCount":0}}}"#).await;
    for (blocked, status, user, visitor) in [
        (0, 1, None, None),
        (1, 1, Some(BLOCKED_USER), Some(BLOCKED_GUEST)),
        (0, 0, Some(BY_SYSTEM_USER), Some(BY_SYSTEM_GUEST)),
        (1, 0, Some(BLOCKED_USER), Some(BLOCKED_GUEST)),
    ] {
        let (alice, guest) = (server.user("alice").await, server.guest().await);
        for (sender, refusal) in [(&alice, user), (&guest, visitor)] {
            listed(&server, &bob, sender, "", blocked, status).await;
            for _ in 0..2 {
                let reply = sender.say(&bob, "x").await;
                match refusal {
                    None => drop(reply.ok()),
                    Some(text) => reply.refused(400, text),
                }
            }
        }
    }
}

#[tokio::test]
async fn a_blacklist_binds_even_where_everybody_may_write() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    bob.take_from_all().await;
    listed(&server, &bob, &alice, "", 1, 1).await;
    alice.say(&bob, "x").await.refused(400, BLOCKED_USER);
}

#[tokio::test]
async fn my_own_blacklist_does_not_keep_me_from_writing() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    listed(&server, &alice, &bob, "", 1, 1).await;
    alice.say(&bob, "x").await.ok();
}

#[tokio::test]
async fn the_largest_message_is_delivered_and_so_is_the_next() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    bob.take_from_all().await;
    // Control characters grow sixfold in JSON.
    let head = format!("sendto_id={}&chatType=single&type=text&data=", bob.id);
    let body = [head.as_bytes(), &vec![1; 1_000_000]].concat();
    let call = || alice.call(reqwest::Method::POST, "socket/sendmessage");
    let sent = call().body("application/x-www-form-urlencoded", body).send().await.ok();
    alice.say(&bob, "after it").await.ok();
    let mut socket = bob.asking_socket().await;
    assert_eq!(socket.next_message().await["data"], sent["data"]);
    assert_eq!(text_of(&socket.next_message().await), "after it");
}

#[tokio::test]
async fn large_messages_of_many_at_once_are_all_taken() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    bob.take_from_all().await;
    let text = "x".repeat(900_000);
    let replies = join_all((0..24).map(|_| alice.say(&bob, &text))).await;
    for reply in replies {
        reply.ok();
    }
    let mut socket = bob.asking_socket().await;
    for _ in 0..24 {
        assert_eq!(socket.next_text().await.len(), text.len());
    }
}
