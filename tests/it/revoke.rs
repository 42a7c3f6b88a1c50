//! Taking a message back in a single chat (contract: messaging §4.32, decision 19).

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{NOW_MS, PASSWORD, Person, TestServer, device_id, text_of, unique};

const TOO_LATE: &str = "消息超过5分钟，不能撤回";
const NOT_YOURS: &str = "消息不存在或无权撤回";
const FIVE_MINUTES_MS: i64 = 300_000;

/// The whole chat row, as the client posts it.
fn row(sent: &Value) -> Value {
    let mut row = sent.clone();
    row["showModel"] = json!(false);
    row
}

#[tokio::test]
async fn a_revocation_is_answered_and_pushed_as_the_same_notice() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let mut socket = bob.asking_socket().await;
    let sent = alice.say(&bob, "oops").await.ok();
    socket.next_message().await;
    server.advance(1000);
    let reply = alice.post("revokeMessage", row(&sent)).await.ok();
    assert_eq!(reply["id"], sent["id"], "the id of the message, so that the client finds it");
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
      "type": "systemNotice",
      "actionType": "revoke",
      "data": {
        "data": "alice撤回了一条消息",
        "dataType": false,
        "otherData": null
      },
      "options": {},
      "create_time": 1757000001000,
      "isremove": 0,
      "group": null
    }
    "#);
    let frame = socket.next_frame().await;
    assert_eq!(frame, json!({ "type": "singleChat", "data": reply, "timestamp": NOW_MS + 1000 }));
    socket.expect_silence().await;
}

#[tokio::test]
async fn the_notice_has_the_nickname_and_is_not_sent_to_who_revokes() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    alice.post("updateUserinfo", json!({ "fieldname": "nickname", "fieldValue": "爱丽丝" })).await.ok();
    let mut socket = alice.asking_socket().await;
    let sent = alice.say(&bob, "oops").await.ok();
    let reply = alice.post("revokeMessage", row(&sent)).await.ok();
    assert_eq!(text_of(&reply), "爱丽丝撤回了一条消息");
    socket.expect_silence().await;
}

#[tokio::test]
async fn an_undelivered_message_comes_emptied_in_its_place_and_its_notice_after_it() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    alice.say(&bob, "before").await.ok();
    let sent = alice.say(&bob, "oops").await.ok();
    alice.say(&bob, "after").await.ok();
    let notice = alice.post("revokeMessage", row(&sent)).await.ok();
    alice.say(&bob, "last").await.ok();

    let mut socket = bob.asking_socket().await;
    let got = socket.next_messages(5).await;
    let mut emptied = sent.clone();
    emptied["data"] = json!({ "data": "", "dataType": false, "otherData": null }).to_string().into();
    emptied["isremove"] = json!(1);
    assert_eq!(got[1], emptied);
    assert_eq!(got[3], notice);
    let rest: Vec<String> = [0, 2, 4].iter().map(|place| text_of(&got[*place])).collect();
    assert_eq!(rest, ["before", "after", "last"]);
    socket.expect_silence().await;
}

#[tokio::test]
async fn a_notice_does_not_overtake_its_message_on_a_socket_that_has_not_asked_yet() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let sent = alice.say(&bob, "oops").await.ok();
    let mut socket = bob.socket().await;
    let later = alice.say(&bob, "later").await.ok();
    assert_eq!(socket.next_message().await, later, "anything else may come before the call");
    let notice = alice.post("revokeMessage", row(&sent)).await.ok();
    socket.expect_silence().await;
    socket.ask().await;
    let got = socket.next_messages(2).await;
    assert_eq!((&got[0]["id"], &got[0]["isremove"]), (&sent["id"], &json!(1)));
    assert_eq!(got[1], notice);
    socket.expect_silence().await;
}

#[tokio::test]
async fn revocations_that_race_a_connecting_client_leave_nothing_behind() {
    const COUNT: usize = 150;
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let mut sent = Vec::new();
    for text in 0..COUNT {
        sent.push(alice.say(&bob, &text.to_string()).await.ok());
    }
    let revoke = async {
        for sent in &sent {
            alice.post("revokeMessage", row(sent)).await.ok();
        }
    };
    let (mut socket, ()) = tokio::join!(bob.asking_socket(), revoke);
    let got = socket.next_messages(2 * COUNT).await;
    socket.expect_silence().await;
    for sent in &sent {
        let of_it: Vec<_> = got.iter().filter(|message| message["id"] == sent["id"]).collect();
        let kinds: Vec<_> = of_it.iter().map(|message| message["actionType"].as_str().unwrap_or_default()).collect();
        assert_eq!(kinds, ["", "revoke"], "{sent}");
        assert!(of_it[0] == sent || of_it[0]["isremove"] == 1);
    }
}

#[tokio::test]
async fn a_message_is_revoked_within_five_minutes_by_the_server_s_own_clock() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let (in_time, late) = (alice.say(&bob, "in time").await.ok(), alice.say(&bob, "late").await.ok());
    server.advance(FIVE_MINUTES_MS);
    let mut ahead = row(&in_time);
    ahead["create_time"] = json!(NOW_MS + 3_600_000);
    alice.post("revokeMessage", ahead).await.ok();
    server.advance(1);
    let mut claims_to_be_new = row(&late);
    claims_to_be_new["create_time"] = json!(NOW_MS + FIVE_MINUTES_MS);
    alice.post("revokeMessage", claims_to_be_new).await.refused(400, TOO_LATE);
}

#[tokio::test]
async fn only_an_own_message_of_that_chat_can_be_revoked() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let carol = server.user("carol").await;
    let sent = alice.say(&bob, "hello").await.ok();
    let mut socket = bob.asking_socket().await;
    socket.next_message().await;

    for person in [&bob, &carol] {
        person.post("revokeMessage", row(&sent)).await.refused(400, NOT_YOURS);
    }
    let changed = |field: &str, value: Value| {
        let mut row = row(&sent);
        row[field] = value;
        row
    };
    for wrong in [
        changed("id", json!("11111111-1111-4111-8111-111111111111")),
        changed("id", json!("not a uuid")),
        changed("to_id", json!(carol.id)),
        changed("to_id", json!(alice.id)),
    ] {
        alice.post("revokeMessage", wrong).await.refused(400, NOT_YOURS);
    }
    socket.expect_silence().await;
}

#[tokio::test]
async fn a_notice_cannot_be_revoked_and_a_message_twice_harms_nobody() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let sent = alice.say(&bob, "oops").await.ok();
    let first = alice.post("revokeMessage", row(&sent)).await.ok();
    // The notice has the id of its message, so this is the message again.
    let mut again = alice.post("revokeMessage", row(&first)).await.ok();
    again["create_time"] = first["create_time"].clone();
    assert_eq!(again, first);
    let mut socket = bob.asking_socket().await;
    let got = socket.next_messages(2).await;
    assert_eq!(got[0]["isremove"], 1);
    assert_eq!(got[1], first);
    // Nothing more: it would be a way to write to somebody who has blocked me.
    socket.expect_silence().await;
}

#[tokio::test]
async fn of_revocations_that_race_one_is_told() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let sent = alice.say(&bob, "oops").await.ok();
    let mut socket = bob.asking_socket().await;
    socket.next_message().await;
    for reply in join_all((0..4).map(|_| alice.post("revokeMessage", row(&sent)))).await {
        reply.ok();
    }
    assert_eq!(socket.next_message().await["actionType"], "revoke");
    socket.expect_silence().await;
}

#[tokio::test]
async fn whatever_options_a_message_has_it_can_be_revoked() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    for (depth, kept) in [(125, true), (127, false), (5000, false)] {
        let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let body = json!({ "sendto_id": bob.id, "chatType": "single", "type": "text", "data": "x", "options": deep });
        let mut sent = alice.post("socket/sendmessage", body).await.ok();
        assert_eq!(sent["options"].take().is_array(), kept, "{depth}");
        alice.post("revokeMessage", row(&sent)).await.ok();
    }
    for got in bob.asking_socket().await.next_messages(6).await {
        assert!(matches!(&got["options"], Value::Null | Value::Object(_)), "nothing of it arrives: {got}");
    }
}

#[tokio::test]
async fn the_notice_names_the_message_as_its_recipients_know_it() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let mut socket = bob.asking_socket().await;
    for spell in [str::to_uppercase, |id: &str| id.replace('-', ""), |id: &str| format!("{{{id}}}")] {
        let sent = alice.say(&bob, "oops").await.ok();
        socket.next_message().await;
        let mut asked = row(&sent);
        let spelled = spell(sent["id"].as_str().unwrap());
        asked["id"] = json!(spelled);
        let reply = alice.post("revokeMessage", asked).await.ok();
        assert_eq!(reply["id"], sent["id"], "{spelled}");
        assert_eq!(socket.next_message().await, reply);
    }
}

#[tokio::test]
async fn guests_may_revoke_and_so_may_the_user_that_a_guest_has_become() {
    let server = TestServer::start().await;
    let bob = server.user("bob").await;
    bob.take_from_all().await;
    let device = device_id();
    let guest = server.guest_on(&device).await;
    let (one, other) = (guest.say(&bob, "one").await.ok(), guest.say(&bob, "other").await.ok());
    guest.post("revokeMessage", row(&one)).await.ok();
    let name = json!({ "username": unique("carol"), "password": PASSWORD });
    let account = server.signed("/api/visitorregChat", &device, name).await.ok();
    let carol: Person = server.person("carol", account, "");
    carol.post("revokeMessage", row(&other)).await.ok();
}

#[tokio::test]
async fn parameters_are_checked_in_the_contract_s_order() {
    let server = TestServer::start().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let sent = alice.say(&bob, "x").await.ok();
    for (field, value, text) in [
        ("to_id", json!(""), "接收者id或者群id不能为空"),
        ("to_id", json!("x"), "接收者id或者群id 的值 `x` 的类型不是 `int`"),
        ("to_id", json!(0), "接收者id或者群id 的数值 必须 在 1 和 10000000000000000 之间"),
        ("to_name", json!(""), "接收者或者群名称不能为空"),
        ("to_name", json!("名".repeat(51)), "接收者或者群名称 的长度 必须 在 1 和 50 之间"),
        ("to_avatar", json!(""), "接收者或者群头像不能为空"),
        ("to_avatar", json!("/a.png"), "接收者或者群头像 的长度 必须 在 10 和 1000 之间"),
        ("to_avatar", json!("/".repeat(1001)), "接收者或者群头像 的长度 必须 在 10 和 1000 之间"),
        ("id", json!(""), "消息uuid不能为空"),
        ("chatType", json!("both"), "聊天类型 的值 `both` 必须在 [`single`、`group`] 中"),
        ("create_time", json!(""), "消息发送时间不能为空"),
        ("create_time", json!("x"), "消息发送时间 的值 `x` 的类型不是 `int`"),
        ("create_time", json!(5), "消息发送时间 的数值 必须 在 1000000000000 和 10000000000000000 之间"),
    ] {
        let mut body = row(&sent);
        body[field] = value;
        alice.post("revokeMessage", body).await.refused(422, text);
    }
    alice.post("revokeMessage", json!({})).await.refused(422, "接收者id或者群id不能为空");
}
