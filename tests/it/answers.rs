//! Questions and answers, and the automatic answer (decision 31; contract: messaging §4.20 and "Outside the 40").

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Event, Person, Reply, Socket, TestServer, text_of};

async fn server_that_answers_at_once() -> TestServer {
    TestServer::with(|config| config.answers.delay_ms = 0).await
}

async fn call(me: &Person, what: &str, body: Value) -> Value {
    let reply = me.post(&format!("askanswer/{what}"), body).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()
}

async fn prepare(me: &Person, ask: &str, answer: &str) -> Value {
    let reply = call(me, "create", json!({ "ask": ask, "answer": answer })).await;
    assert_eq!(reply["code"], 200, "{reply}");
    reply["data"]["id"].clone()
}

/// Asks as the client does: options are percent-encoded JSON.
async fn ask(me: &Person, to: &Person, text: &str, options: &Value) -> Reply {
    let options = options.to_string();
    let encoded = percent_encoding::utf8_percent_encode(&options, percent_encoding::NON_ALPHANUMERIC);
    let data = json!({ "data": text, "dataType": false, "otherData": null });
    let body = json!({ "sendto_id": to.id, "chatType": "single", "type": "text", "data": data,
        "options": encoded.to_string() });
    me.post("socket/sendmessage", body).await
}

fn asking() -> Value {
    json!({ "askanswer": true })
}

// --- entries ---

#[tokio::test]
async fn an_entry_is_made_changed_and_removed() {
    let server = TestServer::start().await;
    let me = server.user("me").await;
    let body = json!({ "ask": "价格多少？", "answer": "十元", "type": "single", "create_userId": 1, "userId": 1 });
    let made = call(&me, "create", body).await;
    let id = made["data"]["id"].clone();
    let shown = |value: &Value| {
        let mut value = value.clone();
        value["data"]["id"] = "[row]".into();
        assert_eq!(value["data"]["create_userId"].take(), me.id);
        value
    };
    insta::assert_json_snapshot!(shown(&made), @r#"
    {
      "code": 200,
      "msg": "添加成功",
      "data": {
        "id": "[row]",
        "ask": "价格多少？",
        "answer": "十元",
        "type": "single",
        "create_userId": null,
        "create_time": 1757000000000,
        "update_time": 1757000000000,
        "likeCount": 0,
        "liked": false
      }
    }
    "#);
    server.advance(1000);
    let changed = call(&me, "update", json!({ "id": id, "answer": "九元" })).await;
    insta::assert_json_snapshot!(shown(&changed), @r#"
    {
      "code": 200,
      "msg": "更新成功",
      "data": {
        "id": "[row]",
        "ask": "价格多少？",
        "answer": "九元",
        "type": "single",
        "create_userId": null,
        "create_time": 1757000000000,
        "update_time": 1757000001000,
        "likeCount": 0,
        "liked": false
      }
    }
    "#);
    assert_eq!(call(&me, "detail", json!({ "id": id })).await["data"], changed["data"]);
    let all = json!({ "id": id, "ask": "运费？", "answer": "免费", "type": "" });
    assert_eq!(call(&me, "update", all).await["data"]["ask"], "运费？");
    assert_eq!(call(&me, "delete", json!({ "id": id })).await, json!({ "code": 200, "msg": "删除成功" }));
    let gone = json!({ "code": 404, "msg": "问答不存在" });
    assert_eq!(call(&me, "detail", json!({ "id": id })).await, gone);
    assert_eq!(call(&me, "delete", json!({ "id": id })).await, gone);
    assert_eq!(call(&me, "update", json!({ "id": id, "ask": "x" })).await, gone);
}

#[tokio::test]
async fn entries_are_listed_newest_first_and_by_type() {
    let server = TestServer::start().await;
    let me = server.user("me").await;
    assert_eq!(call(&me, "list", json!({})).await, json!({ "code": 200, "msg": "获取成功", "data": [] }));
    for (ask, kind) in [("first", "a"), ("second", "b"), ("third", "a")] {
        call(&me, "create", json!({ "ask": ask, "answer": "x", "type": kind })).await;
    }
    let asks = async |body: Value| {
        let listed = call(&me, "list", body).await;
        let rows = listed["data"].as_array().unwrap().iter();
        rows.map(|row| row["ask"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(asks(json!({})).await, ["third", "second", "first"]);
    assert_eq!(asks(json!({ "type": "a" })).await, ["third", "first"]);
    assert!(asks(json!({ "type": "c" })).await.is_empty());
}

#[tokio::test]
async fn my_entries_are_searched_best_first() {
    let server = TestServer::start().await;
    let me = server.user("me").await;
    for ask in ["价格", "发货时间", "价格多少"] {
        prepare(&me, ask, ask).await;
    }
    for name in ["ask", "keyword"] {
        let found = call(&me, "search", json!({ name: "价格多少？" })).await;
        let asks: Vec<_> = found["data"].as_array().unwrap().iter().map(|row| row["ask"].clone()).collect();
        assert_eq!((&found["code"], &found["msg"]), (&json!(200), &json!("搜索成功")));
        assert_eq!(asks, ["价格多少", "价格"]);
    }
    let none = json!({ "code": 200, "msg": "搜索成功", "data": [] });
    assert_eq!(call(&me, "search", json!({ "ask": "你好" })).await, none);
}

#[tokio::test]
async fn nobody_reaches_the_entries_of_another() {
    let server = TestServer::start().await;
    let (me, other) = server.users("me", "other").await;
    let id = prepare(&other, "价格", "十元").await;
    for what in ["update", "delete", "detail"] {
        let body = json!({ "id": id, "ask": "x", "create_userId": other.id, "userId": other.id });
        assert_eq!(call(&me, what, body).await, json!({ "code": 404, "msg": "问答不存在" }), "{what}");
    }
    for what in ["list", "search"] {
        let body = json!({ "ask": "价格", "create_userId": other.id, "userId": other.id });
        assert_eq!(call(&me, what, body).await["data"], json!([]), "{what}");
    }
    call(&me, "create", json!({ "ask": "a", "answer": "b", "create_userId": other.id })).await;
    assert_eq!(call(&other, "list", json!({})).await["data"].as_array().unwrap().len(), 1);
    assert_eq!(call(&other, "detail", json!({ "id": id })).await["data"]["answer"], "十元");
}

#[tokio::test]
async fn odd_parameters_are_told_in_the_envelope_of_this_part() {
    let server = TestServer::start().await;
    let me = server.user("me").await;
    let cases = [
        ("create", json!({}), "问题不能为空"),
        ("create", json!({ "ask": "a" }), "答案不能为空"),
        ("create", json!({ "ask": "", "answer": "b" }), "问题不能为空"),
        ("create", json!({ "ask": "👍".repeat(501), "answer": "b" }), "问题 的长度 必须 在 1 和 500 之间"),
        ("create", json!({ "ask": "a", "answer": "👍".repeat(2001) }), "答案 的长度 必须 在 1 和 2000 之间"),
        ("create", json!({ "ask": "a", "answer": "b", "type": "x".repeat(51) }), "类型 的长度 必须 在 1 和 50 之间"),
        ("update", json!({}), "问答id不能为空"),
        ("update", json!({ "id": "x" }), "问答id 的值 `x` 的类型不是 `int`"),
        ("update", json!({ "id": 1, "ask": "x".repeat(501) }), "问题 的长度 必须 在 1 和 500 之间"),
        ("delete", json!({ "id": 0 }), "问答id 的数值 必须 在 1 和 10000000000000000 之间"),
        ("detail", json!({ "id": null }), "问答id 的值 `null` 的类型不是 `int`"),
        ("list", json!({ "type": "x".repeat(51) }), "类型 的长度 必须 在 1 和 50 之间"),
        ("search", json!({}), "问题不能为空"),
        ("search", json!({ "ask": "x".repeat(501) }), "问题 的长度 必须 在 1 和 500 之间"),
    ];
    for (what, body, text) in cases {
        assert_eq!(call(&me, what, body).await, json!({ "code": 400, "msg": text }));
    }
    let full = json!({ "ask": "👍".repeat(500), "answer": "👍".repeat(2000), "type": "👍".repeat(50) });
    assert_eq!(call(&me, "create", full).await["code"], 200);
    let loose = json!({ "ask": 12, "answer": { "a": 1 }, "type": null, "more": [] });
    let made = call(&me, "create", loose).await;
    assert_eq!((&made["data"]["ask"], &made["data"]["answer"]), (&json!("12"), &json!(r#"{"a":1}"#)));
}

#[tokio::test]
async fn entries_have_a_bound() {
    let server = TestServer::start().await;
    let me = server.user("me").await;
    let made = futures_util::future::join_all((0..500).map(|number| {
        let me = me.clone();
        async move { call(&me, "create", json!({ "ask": number, "answer": "x" })).await }
    }));
    made.await.iter().for_each(|reply| assert_eq!(reply["code"], 200));
    // The last places are sought by many in one moment.
    let listed = call(&me, "list", json!({})).await;
    let removed = listed["data"].as_array().unwrap()[..3].iter().map(|entry| entry["id"].clone());
    for id in removed {
        assert_eq!(call(&me, "delete", json!({ "id": id })).await["code"], 200);
    }
    let body = json!({ "ask": "one more", "answer": "x" });
    let replies = futures_util::future::join_all((0..16).map(|_| call(&me, "create", body.clone()))).await;
    assert_eq!(replies.iter().filter(|reply| reply["code"] == 200).count(), 3);
    assert_eq!(call(&me, "create", body).await, json!({ "code": 400, "msg": "问答数量已达上限" }));
    assert_eq!(call(&me, "list", json!({})).await["data"].as_array().unwrap().len(), 500);
}

// --- the automatic answer ---

#[tokio::test]
async fn the_asker_gets_the_answer_and_the_other_a_note() {
    let server = server_that_answers_at_once().await;
    let (asker, shop) = server.users("asker", "shop").await;
    shop.set("nickname", "小店").await;
    prepare(&shop, "价格多少", "十元").await;
    let (mut mine, mut theirs) = (asker.asking_socket().await, shop.asking_socket().await);
    let sent = ask(&asker, &shop, "价格多少？", &asking()).await.ok();
    assert_eq!(theirs.next_message().await, sent);
    let (answer, note) = (mine.next_message().await, theirs.next_message().await);
    assert_eq!(answer["id"], note["id"]);
    insta::assert_json_snapshot!(server.redacted(&answer), @r#"
    {
      "id": "[uuid]",
      "from_avatar": "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/user.jpg",
      "from_name": "小店",
      "from_id": "[shop.id]",
      "to_id": "[asker.id]",
      "to_name": "asker",
      "to_avatar": "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/user.jpg",
      "chatType": "single",
      "type": "text",
      "data": "{\"data\":\"十元\",\"dataType\":false,\"otherData\":null}",
      "options": {},
      "create_time": 1757000000000,
      "isremove": 0,
      "sendUUid": "[shop.uuid]"
    }
    "#);
    insta::assert_json_snapshot!(server.redacted(&note), @r#"
    {
      "id": "[uuid]",
      "from_avatar": "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/user.jpg",
      "from_name": "asker",
      "from_id": "[asker.id]",
      "to_id": "[shop.id]",
      "to_name": "小店",
      "to_avatar": "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/user.jpg",
      "chatType": "single",
      "type": "systemNotice",
      "data": {
        "data": "系统根据您设置的问答数据，挑选了最接近的答案，回复给对方，回复内容是：\n\n 十元",
        "dataType": false,
        "otherData": null
      },
      "options": {
        "askanswer": true
      },
      "create_time": 1757000000000,
      "isremove": 0,
      "sendUUid": "[asker.uuid]"
    }
    "#);
    mine.expect_silence().await;
    theirs.expect_silence().await;
}

#[tokio::test]
async fn both_get_it_later_if_they_are_away() {
    let server = server_that_answers_at_once().await;
    let (asker, shop) = server.users("asker", "shop").await;
    prepare(&shop, "价格多少", "十元").await;
    ask(&asker, &shop, "价格多少", &asking()).await.ok();
    let mut mine = asker.asking_socket().await;
    assert_eq!(mine.next_text().await, "十元");
    let mut theirs = shop.asking_socket().await;
    assert_eq!(theirs.next_text().await, "价格多少");
    let note = "系统根据您设置的问答数据，挑选了最接近的答案，回复给对方，回复内容是：\n\n 十元";
    assert_eq!(theirs.next_text().await, note);
}

#[tokio::test]
async fn friends_see_the_names_that_they_gave_each_other() {
    let server = server_that_answers_at_once().await;
    let (asker, shop) = server.users("asker", "shop").await;
    prepare(&shop, "价格多少", "十元").await;
    asker.accept(&shop, "老店").await;
    let mut mine = asker.asking_socket().await;
    mine.next_messages(2).await;
    let sent = ask(&asker, &shop, "价格多少", &asking()).await.ok();
    let answer = mine.next_message().await;
    assert_eq!((&answer["from_name"], &answer["to_name"]), (&json!("老店"), &sent["from_name"]));
}

#[tokio::test]
async fn only_a_message_that_asks_is_answered() {
    let server = server_that_answers_at_once().await;
    let (asker, shop) = server.users("asker", "shop").await;
    asker.befriend(&shop).await;
    prepare(&shop, "价格多少", "十元").await;
    let mut mine = asker.asking_socket().await;
    mine.next_message().await;
    let not_asking = [
        json!({}),
        json!({ "askanswer": 0 }),
        json!({ "askanswer": "" }),
        json!({ "askanswer": false }),
        json!([1]),
        json!("askanswer"),
    ];
    for options in not_asking {
        ask(&asker, &shop, "价格多少", &options).await.ok();
    }
    asker.say(&shop, "价格多少").await.ok();
    mine.expect_silence().await;
    for truthy in [json!(1), json!("no"), json!([]), json!({})] {
        ask(&asker, &shop, "价格多少", &json!({ "askanswer": truthy })).await.ok();
        assert_eq!(mine.next_text().await, "十元");
    }
}

#[tokio::test]
async fn a_question_without_an_answer_stays_with_the_one_who_was_asked() {
    let server = server_that_answers_at_once().await;
    let (asker, shop) = server.users("asker", "shop").await;
    asker.befriend(&shop).await;
    prepare(&shop, "价格多少", "十元").await;
    prepare(&asker, "你好", "my own entries are not asked").await;
    let (mut mine, mut theirs) = (asker.asking_socket().await, shop.asking_socket().await);
    mine.next_message().await;
    theirs.next_message().await;
    ask(&asker, &shop, "你好", &asking()).await.ok();
    assert_eq!(theirs.next_text().await, "你好");
    theirs.expect_silence().await;
    mine.expect_silence().await;
}

#[tokio::test]
async fn a_question_that_is_refused_is_not_answered() {
    let server = server_that_answers_at_once().await;
    let (asker, shop) = server.users("asker", "shop").await;
    asker.befriend(&shop).await;
    prepare(&shop, "价格多少", "十元").await;
    shop.turn_block(&asker).await;
    let mut mine = asker.asking_socket().await;
    mine.next_message().await;
    ask(&asker, &shop, "价格多少", &asking()).await.refused(400, "对方把你拉黑了，不能发送消息");
    mine.expect_silence().await;
}

#[tokio::test]
async fn content_that_is_no_text_is_no_question() {
    let server = server_that_answers_at_once().await;
    let (asker, shop) = server.users("asker", "shop").await;
    asker.befriend(&shop).await;
    prepare(&shop, "5", "five").await;
    let mut mine = asker.asking_socket().await;
    mine.next_message().await;
    for data in [json!("plain"), json!({ "data": 5 }), json!({ "data": null }), json!({ "data": "" }), json!([5])] {
        let body = json!({ "sendto_id": shop.id, "chatType": "single", "type": "text", "data": data,
            "options": r#"{"askanswer":1}"# });
        asker.post("socket/sendmessage", body).await.ok();
    }
    mine.expect_silence().await;
}

#[tokio::test]
async fn an_answer_is_not_a_message_of_the_one_who_prepared_it() {
    let server = server_that_answers_at_once().await;
    let (asker, shop) = server.users("asker", "shop").await;
    prepare(&shop, "价格多少", "十元").await;
    ask(&asker, &shop, "价格多少", &asking()).await.ok();
    assert_eq!(asker.asking_socket().await.next_text().await, "十元");
    shop.say(&asker, "my one message to a stranger").await.ok();
}

#[tokio::test]
async fn a_question_that_is_taken_back_or_whose_asker_is_blocked_meanwhile_is_not_answered() {
    let server = TestServer::with(|config| config.answers.delay_ms = 400).await;
    let (asker, shop) = server.users("asker", "shop").await;
    asker.befriend(&shop).await;
    prepare(&shop, "价格多少", "十元").await;
    let mut mine = asker.asking_socket().await;
    mine.next_message().await;
    let sent = ask(&asker, &shop, "价格多少", &asking()).await.ok();
    asker.revoke(&sent).await.ok();
    ask(&asker, &shop, "价格多少", &asking()).await.ok();
    shop.turn_block(&asker).await;
    while let Some(event) = mine.event_within(Duration::from_secs(1)).await {
        assert!(!matches!(&event, Event::Frame(frame) if frame["type"] == "singleChat"), "{event:?}");
    }
    shop.turn_block(&asker).await;
    ask(&asker, &shop, "价格多少", &asking()).await.ok();
    assert_eq!(mine.next_text().await, "十元");
}

#[tokio::test]
async fn the_answer_follows_after_a_while() {
    let server = TestServer::with(|config| config.answers.delay_ms = 400).await;
    let (asker, shop) = server.users("asker", "shop").await;
    prepare(&shop, "价格多少", "十元").await;
    let mut mine = asker.asking_socket().await;
    ask(&asker, &shop, "价格多少", &asking()).await.ok();
    mine.expect_silence().await;
    assert_eq!(mine.next_text().await, "十元");
}

#[tokio::test]
async fn one_asker_does_not_take_the_answers_of_all_others() {
    let server = TestServer::with(|config| config.answers.delay_ms = 1500).await;
    let (flood, shop) = server.friends("flood", "shop").await;
    let asker = server.user("asker").await;
    prepare(&shop, "价格多少", "十元").await;
    let mut socket = asker.asking_socket().await;
    // As many as wait for their answer together.
    for _ in 0..10 {
        ask(&flood, &shop, &"价".repeat(300_000), &asking()).await.ok();
    }
    ask(&asker, &shop, "价格多少", &asking()).await.ok();
    assert_eq!(text_of(&socket.next_message().await), "十元");
}

#[tokio::test]
async fn a_stop_does_not_lose_an_answer() {
    let server = TestServer::with(|config| config.answers.delay_ms = 3_600_000).await;
    let (asker, shop) = server.users("asker", "shop").await;
    prepare(&shop, "价格多少", "十元").await;
    ask(&asker, &shop, "价格多少", &asking()).await.ok();
    let _server = server.restart().await;
    let mut mine: Socket = asker.asking_socket().await;
    assert_eq!(text_of(&mine.next_message().await), "十元");
}
