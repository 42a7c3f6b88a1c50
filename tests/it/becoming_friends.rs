//! Agreeing and adding at once, with what each side is told and what each calls the other (contract: people §4, §4.2).

use futures_util::future::join_all;
use serde_json::json;

use crate::single_chat::ONE_ONLY;
use crate::support::{Person, Socket, TestServer, are_friends, text_of, welcomes};

const ASKED: &str = "您已经申请过了，请勿重复申请";
const SETTLED: &str = "申请不存在或已处理";

#[tokio::test]
async fn both_are_told_when_the_one_asked_agrees() {
    let server = TestServer::start().await;
    let (applicant, me) = server.users("applicant", "me").await;
    me.set("nickname", "老王").await;
    applicant.set("nickname", "小明").await;
    applicant.apply_to(&me).await;
    let (mut mine, mut theirs) = (me.asking_socket().await, applicant.asking_socket().await);
    mine.next_message().await;
    me.answer(&applicant, "agree", "同事小明").await;
    let (to_applicant, to_me) = welcomes(&mut mine, &mut theirs).await;
    insta::assert_json_snapshot!(server.redacted(&to_applicant), @r#"
    {
      "id": "[uuid]",
      "from_avatar": "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/user.jpg",
      "from_name": "老王",
      "from_id": "[me.id]",
      "to_id": "[applicant.id]",
      "to_name": "同事小明",
      "to_avatar": "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/user.jpg",
      "chatType": "single",
      "type": "systemNotice",
      "data": {
        "data": "我们已经是好友了，可以开始聊天了",
        "dataType": false,
        "otherData": null
      },
      "options": {},
      "create_time": 1757000000000,
      "isremove": 0
    }
    "#);
    insta::assert_json_snapshot!(server.redacted(&to_me), @r#"
    {
      "id": "[uuid]",
      "from_avatar": "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/user.jpg",
      "from_name": "同事小明",
      "from_id": "[applicant.id]",
      "to_id": "[me.id]",
      "to_name": "老王",
      "to_avatar": "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/user.jpg",
      "chatType": "single",
      "type": "systemNotice",
      "data": {
        "data": "我们已经是好友了，可以开始聊天了",
        "dataType": false,
        "otherData": null
      },
      "options": {},
      "create_time": 1757000000000,
      "isremove": 0
    }
    "#);
    mine.expect_silence().await;
    theirs.expect_silence().await;
}

#[tokio::test]
async fn without_a_remark_the_other_is_called_by_nickname_or_username() {
    let server = TestServer::start().await;
    let (applicant, me) = server.users("applicant", "me").await;
    applicant.apply_to(&me).await;
    let mut mine = me.socket().await;
    me.answer(&applicant, "agree", "").await;
    let to_me = mine.next_message().await;
    assert_eq!((&to_me["from_name"], &to_me["to_name"]), (&json!(applicant.username), &json!(me.username)));
    let (applicant, me) = server.users("applicant", "me").await;
    applicant.set("nickname", "小明").await;
    me.befriend(&applicant).await;
    let mut theirs = applicant.asking_socket().await;
    let to_applicant = theirs.next_message().await;
    assert_eq!((&to_applicant["from_name"], &to_applicant["to_name"]), (&json!(me.username), &json!("小明")));
}

#[tokio::test]
async fn each_enters_the_other_s_list_under_a_name() {
    let server = TestServer::start().await;
    let (applicant, me) = server.users("applicant", "me").await;
    me.set("nickname", "老王").await;
    applicant.post("applyfriend", json!({ "friend_id": me.id, "nickname": "我是小明" })).await.ok();
    me.answer(&applicant, "agree", "同事小明").await;
    assert_eq!(me.friends().await[0]["beizhu"], "同事小明");
    assert_eq!(applicant.friends().await[0]["beizhu"], "老王", "my own nickname becomes their remark");
    let (applicant, me) = server.users("applicant", "me").await;
    applicant.apply_to(&me).await;
    me.answer(&applicant, "agree", "").await;
    assert_eq!((&me.friends().await[0]["beizhu"], &applicant.friends().await[0]["beizhu"]), (&json!(""), &json!("")));
}

#[tokio::test]
async fn messages_carry_the_names_that_friends_gave_each_other() {
    let server = TestServer::start().await;
    let (applicant, me) = server.users("applicant", "me").await;
    me.set("nickname", "老王").await;
    applicant.apply_to(&me).await;
    me.answer(&applicant, "agree", "同事小明").await;
    me.set("nickname", "王总").await;
    let sent = me.say(&applicant, "在吗").await.ok();
    assert_eq!((&sent["from_name"], &sent["to_name"]), (&json!("老王"), &json!("同事小明")));
    let back = applicant.say(&me, "在").await.ok();
    assert_eq!((&back["from_name"], &back["to_name"]), (&json!("同事小明"), &json!("老王")));
    me.post(&format!("deletegoodfriend/{}", applicant.id), json!({})).await.ok();
    applicant.set("nickname", "小明").await;
    let sent = me.say(&applicant, "再见").await;
    sent.refused(400, ONE_ONLY);
}

#[tokio::test]
async fn who_is_told_later_gets_it_in_order() {
    let server = TestServer::start().await;
    let (applicant, me) = server.users("applicant", "me").await;
    applicant.apply_to(&me).await;
    me.answer(&applicant, "agree", "").await;
    applicant.say(&me, "hello").await.ok();
    let texts =
        async |socket: &mut Socket, count| socket.next_messages(count).await.iter().map(text_of).collect::<Vec<_>>();
    let welcome = "我们已经是好友了，可以开始聊天了".to_owned();
    let card = format!("用户[{}]申请添加您为好友，请尽快处理", applicant.username);
    assert_eq!(texts(&mut me.asking_socket().await, 3).await, [card, welcome.clone(), "hello".to_owned()]);
    assert_eq!(texts(&mut applicant.asking_socket().await, 1).await, [welcome]);
}

#[tokio::test]
async fn no_and_not_now_tell_nobody_and_change_no_list() {
    let server = TestServer::start().await;
    for status in ["refuse", "ignore"] {
        let (applicant, me) = server.users("applicant", "me").await;
        applicant.apply_to(&me).await;
        let id = me.application_of(&applicant).await;
        let (mut mine, mut theirs) = (me.asking_socket().await, applicant.asking_socket().await);
        mine.next_message().await;
        me.answer(&applicant, status, "").await;
        mine.expect_silence().await;
        theirs.expect_silence().await;
        assert!(!are_friends(&applicant, &me).await);
        me.post(&format!("handleapply/{id}"), json!({ "status": "agree" })).await.refused(400, SETTLED);
    }
}

#[tokio::test]
async fn pending_is_an_answer_that_leaves_it_open() {
    let server = TestServer::start().await;
    let (applicant, me) = server.users("applicant", "me").await;
    applicant.apply_to(&me).await;
    let id = me.application_of(&applicant).await;
    me.answer(&applicant, "pending", "").await;
    assert_eq!(me.application_of(&applicant).await, id);
    assert!(!are_friends(&applicant, &me).await);
}

#[tokio::test]
async fn only_the_one_who_is_asked_answers() {
    let server = TestServer::start().await;
    let (applicant, me, third) = (server.user("a").await, server.user("me").await, server.user("c").await);
    applicant.apply_to(&me).await;
    let id = me.application_of(&applicant).await;
    for status in ["agree", "pending", "refuse"] {
        for other in [&applicant, &third] {
            other.post(&format!("handleapply/{id}"), json!({ "status": status })).await.refused(400, SETTLED);
        }
    }
    me.post("handleapply/10000000000", json!({ "status": "agree" })).await.refused(400, SETTLED);
    assert_eq!(me.application_of(&applicant).await, id);
}

#[tokio::test]
async fn a_row_that_exists_keeps_its_remark_and_marks() {
    let server = TestServer::start().await;
    let (applicant, me) = server.users("applicant", "me").await;
    me.befriend(&applicant).await;
    me.post(&format!("setstargoodfriend/{}", applicant.id), json!({})).await.ok();
    applicant.apply_to(&me).await;
    me.answer(&applicant, "agree", "新名字").await;
    let row = me.post(&format!("ismygoodfriend/{}", applicant.id), json!({})).await.ok();
    assert_eq!((&row["nickname"], &row["ismystarfriend"]), (&json!(""), &json!(1)));
}

#[tokio::test]
async fn of_answers_that_race_one_is_taken() {
    let server = TestServer::start().await;
    for _ in 0..5 {
        let (applicant, me) = server.users("applicant", "me").await;
        applicant.apply_to(&me).await;
        let path = format!("handleapply/{}", me.application_of(&applicant).await);
        let mut socket = applicant.asking_socket().await;
        let statuses = ["agree", "agree", "refuse", "agree", "ignore", "agree"];
        let replies = join_all(statuses.map(|status| me.post(&path, json!({ "status": status })))).await;
        assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
        replies.iter().filter(|reply| reply.status != 200).for_each(|reply| reply.refused(400, SETTLED));
        let status = me.get("listapplyfriend/1").await.ok()["alldata"][0]["status"].clone();
        let agreed = status == "agree";
        assert_eq!(me.waiting().await, 0);
        assert_eq!(are_friends(&applicant, &me).await, agreed);
        if agreed {
            socket.next_message().await;
        }
        socket.expect_silence().await;
    }
}

#[tokio::test]
async fn one_who_lets_anyone_in_is_added_at_once_and_both_are_told() {
    let server = TestServer::start().await;
    let (me, other) = server.users("me", "other").await;
    me.set("nickname", "老王").await;
    other.set("nickname", "小明").await;
    let (mut mine, mut theirs) = (me.asking_socket().await, other.asking_socket().await);
    let reply = me.post("autoAddFriendAndAgree", json!({ "friend_id": other.id, "nickname": "我是老王" })).await;
    assert_eq!(reply.ok(), "ok");
    let (to_other, to_me) = welcomes(&mut mine, &mut theirs).await;
    insta::assert_json_snapshot!(server.redacted(&to_other), @r#"
    {
      "id": "[uuid]",
      "from_avatar": "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/user.jpg",
      "from_name": "老王",
      "from_id": "[me.id]",
      "to_id": "[other.id]",
      "to_name": "小明",
      "to_avatar": "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/user.jpg",
      "chatType": "single",
      "type": "systemNotice",
      "data": {
        "data": "我们已经是好友了，可以开始聊天了",
        "dataType": false,
        "otherData": null
      },
      "options": {},
      "create_time": 1757000000000,
      "isremove": 0
    }
    "#);
    insta::assert_json_snapshot!(server.redacted(&to_me), @r#"
    {
      "id": "[uuid]",
      "from_avatar": "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/user.jpg",
      "from_name": "小明",
      "from_id": "[other.id]",
      "to_id": "[me.id]",
      "to_name": "老王",
      "to_avatar": "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/user.jpg",
      "chatType": "single",
      "type": "systemNotice",
      "data": {
        "data": "我们已经是好友了，可以开始聊天了",
        "dataType": false,
        "otherData": null
      },
      "options": {},
      "create_time": 1757000000000,
      "isremove": 0
    }
    "#);
    assert_eq!((&me.friends().await[0]["beizhu"], &other.friends().await[0]["beizhu"]), (&json!(""), &json!("老王")));
    let listed = other.get("listapplyfriend/1").await.ok();
    assert_eq!((&listed["pendingCount"], &listed["alldata"][0]["status"]), (&json!(0), &json!("agree")));
    assert_eq!(listed["alldata"][0]["nickname"], "我是老王");
}

#[tokio::test]
async fn one_who_wants_to_be_asked_is_not_added() {
    let server = TestServer::start().await;
    let (me, other) = server.users("me", "other").await;
    other.set("invite_confirm", 1).await;
    let mut theirs = other.asking_socket().await;
    let add = async || me.post("autoAddFriendAndAgree", json!({ "friend_id": other.id })).await;
    add().await.refused(400, "需要对方审核，不能自动加对方为好友");
    me.apply_to(&other).await;
    add().await.refused(400, "需要对方审核，不能自动加对方为好友");
    theirs.next_message().await;
    theirs.expect_silence().await;
    assert!(!are_friends(&me, &other).await);
}

#[tokio::test]
async fn guests_add_and_are_added() {
    let server = TestServer::start().await;
    let (me, guest) = (server.user("me").await, server.guest().await);
    guest.befriend(&me).await;
    assert_eq!(guest.post(&format!("ismygoodfriend/{}", me.id), json!({})).await.ok()["friend_id"], me.id);
    guest.post(&format!("deletegoodfriend/{}", me.id), json!({})).await.ok();
    me.befriend(&guest).await;
    assert_eq!(me.friends().await[0]["friend_id"], guest.id);
}

#[tokio::test]
async fn two_who_add_each_other_at_once_become_friends_once() {
    let server = TestServer::start().await;
    for _ in 0..5 {
        let (me, other) = server.users("me", "other").await;
        let add = |from: &Person, to: &Person| {
            let (from, id) = (from.clone(), to.id);
            async move { from.post("autoAddFriendAndAgree", json!({ "friend_id": id })).await }
        };
        let calls = [(&me, &other), (&other, &me), (&me, &other), (&other, &me)].map(|(from, to)| add(from, to));
        let replies = join_all(calls).await;
        let refused = replies.iter().filter(|reply| reply.status != 200);
        refused.for_each(|reply| reply.refused(400, ASKED));
        assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 2, "one from each");
        assert!(are_friends(&me, &other).await);
    }
}
