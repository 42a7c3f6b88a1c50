//! Asking to be friends, the list of what others ask, and parting (contract: people §4, §4.2).

use futures_util::future::join_all;
use serde_json::json;

use crate::support::{Person, TestServer, are_friends, text_of};

const ASKED: &str = "您已经申请过了，请勿重复申请";

#[tokio::test]
async fn the_one_who_is_asked_gets_a_card() {
    let server = TestServer::start().await;
    let (me, other) = server.users("me", "other").await;
    me.set("nickname", "小明").await;
    let mut socket = other.asking_socket().await;
    let reply = me.post("applyfriend", json!({ "friend_id": other.id, "nickname": "我是小明" })).await;
    assert_eq!(reply.ok(), "ok");
    insta::assert_json_snapshot!(server.redacted(&socket.next_message().await), @r#"
    {
      "id": "[uuid]",
      "from_avatar": "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/group.png",
      "from_name": "好友申请提醒",
      "from_id": "redirect-applyFriend-[me.id]",
      "to_id": "[other.id]",
      "to_name": "other",
      "to_avatar": "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/user.jpg",
      "chatType": "single",
      "type": "text",
      "data": {
        "data": "用户[小明]申请添加您为好友，请尽快处理",
        "dataType": false,
        "otherData": null
      },
      "options": {},
      "create_time": 1757000000000,
      "isremove": 0,
      "redirect": {
        "url": "/pages/applyMyfriend/applyMyfriend",
        "type": "navigateTo"
      },
      "msgidKey": "redirect-applyFriend-[me.id]"
    }
    "#);
    socket.expect_silence().await;
}

#[tokio::test]
async fn a_card_that_was_missed_comes_when_asked_for() {
    let server = TestServer::start().await;
    let (me, other) = server.users("me", "other").await;
    me.apply_to(&other).await;
    let mut socket = other.asking_socket().await;
    let card = socket.next_message().await;
    assert_eq!(text_of(&card), format!("用户[{}]申请添加您为好友，请尽快处理", me.username));
    assert_eq!(card["from_id"], card["msgidKey"]);
    assert_eq!(card["from_id"], format!("redirect-applyFriend-{}", me.id));
}

#[tokio::test]
async fn nobody_asks_himself_or_the_absent() {
    let server = TestServer::start().await;
    let (me, gone) = server.users("me", "gone").await;
    server.alter("UPDATE users SET status = 0 WHERE id = ?", &[gone.id]).await;
    for route in ["applyfriend", "autoAddFriendAndAgree"] {
        me.post(route, json!({ "friend_id": me.id })).await.refused(400, "不能添加自己为好友");
        me.post(route, json!({ "friend_id": gone.id })).await.refused(400, "添加的好友不存在");
        me.post(route, json!({ "friend_id": 10_000_000_000_i64 })).await.refused(400, "添加的好友不存在");
    }
}

#[tokio::test]
async fn a_second_application_waits_for_the_answer_to_the_first() {
    let server = TestServer::start().await;
    let (me, other) = server.users("me", "other").await;
    me.apply_to(&other).await;
    me.post("applyfriend", json!({ "friend_id": other.id })).await.refused(400, ASKED);
    me.post("autoAddFriendAndAgree", json!({ "friend_id": other.id })).await.refused(400, ASKED);
    for no in ["refuse", "ignore"] {
        other.answer(&me, no, "").await;
        me.apply_to(&other).await;
    }
    other.answer(&me, "agree", "").await;
    me.post("applyfriend", json!({ "friend_id": other.id })).await.refused(400, ASKED);
    me.post("autoAddFriendAndAgree", json!({ "friend_id": other.id })).await.refused(400, ASKED);
}

#[tokio::test]
async fn a_friend_who_never_asked_may_still_ask() {
    let server = TestServer::start().await;
    let (me, other) = server.users("me", "other").await;
    me.befriend(&other).await;
    other.apply_to(&me).await;
    assert_eq!(me.get("listapplyfriend/1").await.ok()["pendingCount"], 1);
}

#[tokio::test]
async fn approval_blacklist_and_a_request_the_other_way_do_not_keep_one_from_asking() {
    let server = TestServer::start().await;
    let (me, other) = server.users("me", "other").await;
    other.set("invite_confirm", 1).await;
    other.apply_to(&me).await;
    me.apply_to(&other).await;
    me.answer(&other, "agree", "").await;
    let open = other.get("listapplyfriend/1").await.ok();
    assert_eq!((&open["pendingCount"], &open["alldata"][0]["status"]), (&json!(1), &json!("pending")));
    other.post(&format!("deletegoodfriend/{}", me.id), json!({})).await.ok();
    other.befriend(&me).await;
    other.turn_block(&me).await;
    me.apply_to(&other).await;
}

#[tokio::test]
async fn guests_ask_and_are_asked() {
    let server = TestServer::start().await;
    let (me, guest) = (server.user("me").await, server.guest().await);
    me.apply_to(&guest).await;
    guest.apply_to(&me).await;
    me.answer(&guest, "agree", "访客").await;
    assert_eq!(me.friends().await[0]["name"], "访客");
}

#[tokio::test]
async fn what_was_agreed_to_long_ago_keeps_nobody_from_asking_again() {
    let server = TestServer::start().await;
    let gone = "DELETE FROM friends WHERE user_id = ? AND friend_id = ?";
    for (route, sides) in [("applyfriend", 1), ("applyfriend", 2), ("autoAddFriendAndAgree", 1)] {
        let (me, other) = server.users("me", "other").await;
        me.befriend(&other).await;
        let pairs = [[me.id, other.id], [other.id, me.id]];
        for pair in &pairs[..sides] {
            server.alter(gone, pair).await;
        }
        assert_eq!(me.post(route, json!({ "friend_id": other.id })).await.ok(), "ok", "{route}");
        if route == "applyfriend" {
            other.answer(&me, "agree", "").await;
        }
        assert!(are_friends(&me, &other).await);
    }
}

#[tokio::test]
async fn of_applications_that_race_one_is_taken() {
    let server = TestServer::start().await;
    let (me, other) = server.users("me", "other").await;
    let mut socket = other.asking_socket().await;
    let replies = join_all((0..8).map(|_| me.post("applyfriend", json!({ "friend_id": other.id })))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
    replies.iter().filter(|reply| reply.status != 200).for_each(|reply| reply.refused(400, ASKED));
    let listed = other.get("listapplyfriend/1").await.ok();
    assert_eq!((listed["alldata"].as_array().unwrap().len(), other.waiting().await), (1, 1));
    socket.next_message().await;
    socket.expect_silence().await;
}

#[tokio::test]
async fn the_list_shows_who_asks_and_what_became_of_it() {
    let server = TestServer::start().await;
    let (me, other) = server.users("me", "other").await;
    other.set("nickname", "小明").await;
    other.post("applyfriend", json!({ "friend_id": me.id, "nickname": "我是小明" })).await.ok();
    server.advance(61_000);
    me.answer(&other, "ignore", "").await;
    let listed = me.get("listapplyfriend/1").await.ok();
    insta::assert_json_snapshot!(server.redacted(&listed), @r#"
    {
      "alldata": [
        {
          "create_time": "2025-09-04 23:33:20",
          "id": "[id]",
          "user_id": "[other.id]",
          "friend_id": "[me.id]",
          "nickname": "我是小明",
          "friendlookme": 1,
          "melookfriend": 1,
          "ismystarfriend": 0,
          "isblack": 0,
          "status": "ignore",
          "order": 50,
          "update_time": "2025-09-04T15:34:21.000Z",
          "userId": "[other.id]",
          "user": {
            "id": "[other.id]",
            "username": "other",
            "avatar": "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/user.jpg",
            "nickname": "小明",
            "uuid": "[other.uuid]"
          }
        }
      ],
      "pendingCount": 0
    }
    "#);
}

#[tokio::test]
async fn the_list_comes_in_pages_newest_first_and_counts_all_that_wait() {
    let server = TestServer::start().await;
    let me = server.user("me").await;
    assert_eq!(me.get("listapplyfriend/1").await.ok(), json!({ "alldata": [], "pendingCount": 0 }));
    let mut names = Vec::new();
    for number in 0..12 {
        let other = server.user(&format!("other{number}")).await;
        other.apply_to(&me).await;
        names.insert(0, other.username.clone());
        if number == 5 {
            me.answer(&other, "refuse", "").await;
        }
    }
    let page = async |query: &str| {
        let listed = me.get(&format!("listapplyfriend/{query}")).await.ok();
        assert_eq!(listed["pendingCount"], 11, "{query}");
        let rows = listed["alldata"].as_array().unwrap().iter();
        rows.map(|row| row["user"]["username"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(page("1").await, names[..10]);
    assert_eq!(page("2").await, names[10..]);
    assert_eq!(page("2?limit=5").await, names[5..10]);
    assert_eq!(page("1?limit=100000").await, names);
    assert!(page("9").await.is_empty());
}

#[tokio::test]
async fn those_who_wait_are_counted_right_when_many_ask_are_answered_and_part_at_once() {
    let server = TestServer::start().await;
    let me = server.user("me").await;
    let mut others = Vec::new();
    for number in 0..12 {
        others.push(server.user(&format!("other{number}")).await);
    }
    let [friends, strangers, late] = [&others[..4], &others[4..9], &others[9..]];
    // Of friends, only one who has never asked may ask.
    let [asking, asked] = [&friends[..2], &friends[2..]];
    join_all(asking.iter().map(|other| me.befriend(other))).await;
    join_all(asked.iter().map(|other| other.befriend(&me))).await;
    join_all(asked.iter().map(|other| me.apply_to(other))).await;
    join_all(asking.iter().chain(strangers).map(|other| other.apply_to(&me))).await;
    assert_eq!((me.waiting().await, asked[0].waiting().await), (7, 1));
    // Whoever parts takes along what either has asked of the other.
    let parting = friends.iter().map(|other| async {
        other.post(&format!("deletegoodfriend/{}", me.id), json!({})).await.ok();
    });
    let answering = strangers.iter().zip(["agree", "refuse", "ignore"]);
    let answering = answering.map(|(other, status)| me.answer(other, status, ""));
    let applying = late.iter().map(|other| other.apply_to(&me));
    tokio::join!(join_all(parting), join_all(answering), join_all(applying));
    assert_eq!(me.waiting().await, 7 - 2 - 3 + 3);
    for other in &others {
        assert_eq!(other.waiting().await, 0);
    }
}

#[tokio::test]
async fn one_sees_what_a_certain_person_asks() {
    let server = TestServer::start().await;
    let (me, other) = server.users("me", "other").await;
    let path = format!("isApplyfriend/{}", other.uuid);
    me.post(&path, json!({})).await.refused(400, "用户申请信息不存在");
    other.post("applyfriend", json!({ "friend_id": me.id, "nickname": "我是小明" })).await.ok();
    insta::assert_json_snapshot!(server.redacted(&me.post(&path, json!({})).await.ok()), @r#"
    {
      "id": "[id]",
      "user_id": "[other.id]",
      "friend_id": "[me.id]",
      "nickname": "我是小明",
      "friendlookme": 1,
      "melookfriend": 1,
      "ismystarfriend": 0,
      "isblack": 0,
      "status": "pending",
      "userId": "[other.id]"
    }
    "#);
    let mine = format!("isApplyfriend/{}", me.uuid);
    other.post(&mine, json!({})).await.refused(400, "用户申请信息不存在");
    me.answer(&other, "refuse", "").await;
    me.post(&path, json!({})).await.refused(400, "用户申请信息不存在");
    let nobody = "isApplyfriend/8d1a344c-bf16-5425-adbc-d12f49cfa332";
    me.post(nobody, json!({})).await.refused(400, "用户不存在");
}

#[tokio::test]
async fn parting_ends_it_for_both_and_forgets_every_application() {
    let server = TestServer::start().await;
    let (me, other) = server.users("me", "other").await;
    me.befriend(&other).await;
    other.apply_to(&me).await;
    let (mut mine, mut theirs) = (me.asking_socket().await, other.asking_socket().await);
    mine.next_messages(2).await;
    theirs.next_message().await;
    assert_eq!(me.post(&format!("deletegoodfriend/{}", other.id), json!({})).await.ok(), "删除好友成功");
    mine.expect_silence().await;
    theirs.expect_silence().await;
    assert!(!are_friends(&me, &other).await);
    for person in [&me, &other] {
        assert_eq!(person.get("listapplyfriend/1").await.ok(), json!({ "alldata": [], "pendingCount": 0 }));
    }
    me.befriend(&other).await;
    other.apply_to(&me).await;
}

#[tokio::test]
async fn one_whom_i_blocked_can_be_parted_from() {
    let server = TestServer::start().await;
    let (me, other) = server.users("me", "other").await;
    me.befriend(&other).await;
    me.turn_block(&other).await;
    me.post(&format!("deletegoodfriend/{}", other.id), json!({})).await.ok();
    assert!(!are_friends(&me, &other).await);
    me.befriend(&other).await;
    me.post(&format!("ismygoodfriend/{}", other.id), json!({})).await.ok();
}

#[tokio::test]
async fn one_parts_only_from_friends() {
    let server = TestServer::start().await;
    let (me, other) = server.users("me", "other").await;
    me.apply_to(&other).await;
    for id in [other.id, me.id, 10_000_000_000] {
        me.post(&format!("deletegoodfriend/{id}"), json!({})).await.refused(400, "不是好友关系，无权操作");
    }
    assert_eq!(other.get("listapplyfriend/1").await.ok()["pendingCount"], 1, "what was asked stays");
}

#[tokio::test]
async fn agreeing_and_parting_at_once_leave_no_half_friendship() {
    let server = TestServer::start().await;
    for _ in 0..10 {
        let (applicant, me) = server.users("applicant", "me").await;
        applicant.befriend(&me).await;
        me.apply_to(&applicant).await;
        let path = format!("handleapply/{}", applicant.application_of(&me).await);
        let part = |from: &Person, to: &Person| {
            let (from, path) = (from.clone(), format!("deletegoodfriend/{}", to.id));
            async move { from.post(&path, json!({})).await }
        };
        let (agreed, parted, parted_too) = tokio::join!(
            applicant.post(&path, json!({ "status": "agree" })),
            part(&me, &applicant),
            part(&applicant, &me)
        );
        assert!([&agreed, &parted, &parted_too].iter().all(|reply| [200, 400].contains(&reply.status)));
        assert!(parted.status == 200 || parted_too.status == 200);
        are_friends(&me, &applicant).await;
        assert_eq!((me.waiting().await, applicant.waiting().await), (0, 0));
    }
}
