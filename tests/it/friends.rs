//! The friend list and what a person may change of it (contract: people §4, §4.1).

use serde_json::{Value, json};

use crate::support::{PASSWORD, Person, TestServer, unique};

async fn names_under_titles(me: &Person, query: &str) -> Vec<(String, Vec<String>)> {
    let rows = me.get(&format!("goodfriendlist/{query}")).await.ok()["rows"].take();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let sections = rows["newList"].as_array().unwrap().iter();
    sections
        .map(|section| {
            (text(&section["title"]), section["list"].as_array().unwrap().iter().map(|f| text(&f["name"])).collect())
        })
        .collect()
}

#[tokio::test]
async fn without_friends_the_rows_are_an_empty_list() {
    let server = TestServer::start().await;
    let me = server.user("me").await;
    assert_eq!(me.get("goodfriendlist/1").await.ok(), json!({ "count": 0, "rows": [] }));
}

#[tokio::test]
async fn the_list_shows_each_friend_under_a_title() {
    let server = TestServer::start().await;
    let me = server.user("me").await;
    for (name, nickname) in [("seven", "7up"), ("zhang", "张三")] {
        let friend = server.user(name).await;
        friend.set("nickname", nickname).await;
        me.befriend(&friend).await;
    }
    insta::assert_json_snapshot!(server.redacted(&me.get("goodfriendlist/1").await.ok()), @r##"
    {
      "count": 2,
      "rows": {
        "newList": [
          {
            "title": "Z",
            "list": [
              {
                "id": "[id]",
                "beizhu": "",
                "username": "zhang",
                "avatar": "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/user.jpg",
                "friend_nickname": "张三",
                "friend_id": "[zhang.id]",
                "name": "张三",
                "uuid": "[zhang.uuid]"
              }
            ]
          },
          {
            "title": "#",
            "list": [
              {
                "id": "[id]",
                "beizhu": "",
                "username": "seven",
                "avatar": "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/user.jpg",
                "friend_nickname": "7up",
                "friend_id": "[seven.id]",
                "name": "7up",
                "uuid": "[seven.uuid]"
              }
            ]
          }
        ],
        "indexList": [
          "Z",
          "#"
        ],
        "total": 2
      }
    }
    "##);
}

#[tokio::test]
async fn letters_and_readings_sort_from_a_to_z_with_the_rest_last() {
    let server = TestServer::start().await;
    let me = server.user("me").await;
    for nickname in ["7up", "张三", "anna", "zoe", "彭", "Bob", "石"] {
        let friend = server.user("friend").await;
        friend.set("nickname", nickname).await;
        me.befriend(&friend).await;
    }
    let expected: [(&str, &[&str]); 6] =
        [("A", &["anna"]), ("B", &["Bob"]), ("P", &["彭"]), ("S", &["石"]), ("Z", &["张三", "zoe"]), ("#", &["7up"])];
    let expected =
        expected.map(|(title, names)| (title.to_owned(), names.iter().map(|&name| name.to_owned()).collect()));
    assert_eq!(names_under_titles(&me, "1").await, expected);
}

#[tokio::test]
async fn characters_that_broke_the_old_list_go_under_the_last_title() {
    let server = TestServer::start().await;
    let me = server.user("me").await;
    let names = [".", "^", "$", "|", "*", "+", "?", "(", ")", "[", "\\", "é", "か", "👍", "_", "1"];
    for name in names {
        let friend = server.user("odd").await;
        friend.set("nickname", name).await;
        me.befriend(&friend).await;
    }
    let expected: Vec<String> = names.map(str::to_owned).into();
    assert_eq!(names_under_titles(&me, "1").await, [("#".to_owned(), expected)]);
}

#[tokio::test]
async fn a_name_is_remark_then_nickname_then_username() {
    let server = TestServer::start().await;
    let (me, friend) = server.users("me", "friend").await;
    me.accept(&friend, "Remark").await;
    friend.set("nickname", "Nick").await;
    let listed = &me.friends().await[0];
    assert_eq!((&listed["name"], &listed["beizhu"]), (&json!("Remark"), &json!("Remark")));
    assert_eq!((&listed["friend_nickname"], &listed["username"]), (&json!("Nick"), &json!(friend.username)));
    let other = server.user("other").await;
    me.befriend(&other).await;
    assert_eq!(me.friends().await[0]["name"], other.username);
    other.set("nickname", "Other").await;
    assert_eq!(me.friends().await[0]["name"], "Other");
}

#[tokio::test]
async fn the_list_comes_in_pages_in_the_order_in_which_it_grew() {
    let server = TestServer::start().await;
    let me = server.user("me").await;
    let mut names = Vec::new();
    for name in ["cc", "cb", "ca", "b"] {
        let friend = server.user(name).await;
        me.befriend(&friend).await;
        names.push(friend.username);
    }
    let sorted = |places: &[usize]| places.iter().map(|place| names[*place].clone()).collect::<Vec<_>>();
    assert_eq!(
        names_under_titles(&me, "1").await,
        [("B".to_owned(), sorted(&[3])), ("C".to_owned(), sorted(&[0, 1, 2]))]
    );
    assert_eq!(names_under_titles(&me, "1?limit=2").await, [("C".to_owned(), sorted(&[0, 1]))]);
    let second = me.get("goodfriendlist/2?limit=3").await.ok();
    assert_eq!((&second["count"], &second["rows"]["total"]), (&json!(1), &json!(1)));
    assert_eq!(me.get("goodfriendlist/3?limit=2").await.ok(), json!({ "count": 0, "rows": [] }));
    assert_eq!(me.get("goodfriendlist/9999999999999999?limit=9999999999999999").await.ok()["count"], 0);
    assert_eq!(me.get("goodfriendlist/1?limit=none").await.ok()["count"], 4);
}

#[tokio::test]
async fn a_list_of_thousands_comes_whole_and_in_order() {
    let server = TestServer::start().await;
    let me = server.user("me").await;
    let first = 3_000_000_000 + i64::from(rand::random::<u16>()) * 10_000;
    let people = "INSERT INTO users (id, uuid, username, username_key, password_hash, avatar, userset, created_at, updated_at) \
        WITH d (n) AS (SELECT 0 UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 \
        UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9), \
        people (id) AS (SELECT ? + 1000 * e.n + 100 * a.n + 10 * b.n + c.n FROM d a, d b, d c, d e WHERE e.n < 2) \
        SELECT id, CAST(id AS CHAR), CAST(id AS CHAR), CAST(id AS CHAR), '', '/x', '', 0, 0 FROM people";
    assert_eq!(server.sql(people, &[first.into()]).await, 2000);
    let friends = "INSERT INTO friends (user_id, friend_id, created_at, updated_at) \
        SELECT ?, id, 0, 0 FROM users WHERE id BETWEEN ? AND ? ORDER BY id";
    server.sql(friends, &[me.id.into(), first.into(), (first + 1999).into()]).await;
    let ids = async |query: &str| {
        let list = me.get(&format!("goodfriendlist/{query}")).await.ok();
        let rows = list["rows"]["newList"][0]["list"].as_array().unwrap().clone();
        assert_eq!(list["count"], rows.len());
        rows.iter().map(|row| row["friend_id"].as_i64().unwrap() - first).collect::<Vec<_>>()
    };
    assert_eq!(ids("1").await, (0..2000).collect::<Vec<_>>());
    assert_eq!(ids("1?limit=5000").await, (0..2000).collect::<Vec<_>>());
    assert_eq!(ids("2?limit=1200").await, (1200..2000).collect::<Vec<_>>());
    assert_eq!(ids("1?limit=1000").await, (0..1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_list_shows_every_change_at_once() {
    let server = TestServer::start().await;
    let (me, friend) = server.users("me", "friend").await;
    assert!(me.friends().await.is_empty());
    me.befriend(&friend).await;
    assert_eq!(me.friends().await[0]["name"], friend.username);
    friend.set("nickname", "Nick").await;
    assert_eq!(me.friends().await[0]["name"], "Nick");
    friend.set("avatar", "/public/a.png").await;
    assert_eq!(me.friends().await[0]["avatar"], "/public/a.png");
    let guest = server.guest().await;
    me.befriend(&guest).await;
    assert_eq!(me.friends().await.len(), 2);
    let name = unique("new");
    server
        .signed("/api/visitorregChat", &guest.device_id, json!({ "username": name, "password": PASSWORD }))
        .await
        .ok();
    assert!(me.friends().await.iter().any(|row| row["username"] == name));
    friend.post(&format!("deletegoodfriend/{}", me.id), json!({})).await.ok();
    assert_eq!(me.friends().await.len(), 1);
    server.alter("DELETE FROM friends WHERE user_id = ?", &[me.id]).await;
    assert!(me.friends().await.is_empty(), "what was changed past the server is seen half a minute later");
}

#[tokio::test]
async fn names_hold_any_characters() {
    let server = TestServer::start().await;
    let (me, friend) = server.users("me", "friend").await;
    me.befriend(&friend).await;
    for name in ["5:a", "12:👍", ":", "a\u{0}b", "\u{1e}\u{1f}", "\"\\\n"] {
        friend.set("nickname", name).await;
        assert_eq!(me.friends().await[0]["name"], name);
    }
}

#[tokio::test]
async fn the_blocked_and_those_whom_the_system_blocked_stay_listed() {
    let server = TestServer::start().await;
    let (me, friend) = server.users("me", "friend").await;
    me.befriend(&friend).await;
    me.turn_block(&friend).await;
    assert_eq!(me.friends().await.len(), 1);
    server.alter("UPDATE friends SET status = 0 WHERE user_id = ? AND friend_id = ?", &[me.id, friend.id]).await;
    assert_eq!(me.friends().await.len(), 1);
}

#[tokio::test]
async fn a_friend_s_card_shows_the_account_and_its_profile() {
    let server = TestServer::start().await;
    let (me, friend) = server.users("me", "friend").await;
    me.accept(&friend, "老王").await;
    friend.set("nickname", "王").await;
    let path = format!("getgoodfriendinfo/{}", friend.id);
    let card = me.get(&path).await.ok();
    let mut shown = card.clone();
    assert!(shown["friendinfo"]["userinfo"]["id"].take().is_i64());
    insta::assert_json_snapshot!(server.redacted(&shown), @r#"
    {
      "id": "[id]",
      "user_id": "[me.id]",
      "friend_id": "[friend.id]",
      "nickname": "老王",
      "friendinfo": {
        "id": "[friend.id]",
        "username": "friend",
        "avatar": "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/user.jpg",
        "nickname": "王",
        "role": "user",
        "status": 1,
        "userinfo": {
          "id": null,
          "gender": "unknown",
          "birthday": null,
          "bio": null,
          "location": null,
          "website": null
        }
      }
    }
    "#);
    me.turn_block(&friend).await;
    assert_eq!(me.get(&path).await.ok(), card);
}

#[tokio::test]
async fn only_my_friends_have_a_card() {
    let server = TestServer::start().await;
    let (me, other) = server.users("me", "other").await;
    for id in [other.id, me.id, 10_000_000_000] {
        me.get(&format!("getgoodfriendinfo/{id}")).await.refused(400, "好友不存在");
    }
}

#[tokio::test]
async fn a_friend_s_row_shows_what_i_set() {
    let server = TestServer::start().await;
    let (me, friend) = server.users("me", "friend").await;
    me.accept(&friend, "老王").await;
    let path = format!("ismygoodfriend/{}", friend.id);
    insta::assert_json_snapshot!(server.redacted(&me.post(&path, json!({})).await.ok()), @r#"
    {
      "id": "[id]",
      "user_id": "[me.id]",
      "friend_id": "[friend.id]",
      "nickname": "老王",
      "friendlookme": 1,
      "melookfriend": 1,
      "ismystarfriend": 0,
      "isblack": 0,
      "status": 1
    }
    "#);
    let visibility = json!({ "friendlookme": 0, "melookfriend": "0" });
    assert_eq!(me.post(&format!("setmeOrfriendCanSee/{}", friend.id), visibility).await.ok(), "ok");
    assert_eq!(me.post(&format!("setstargoodfriend/{}", friend.id), json!({})).await.ok(), "ok");
    let row = me.post(&path, json!({})).await.ok();
    assert_eq!((&row["friendlookme"], &row["melookfriend"], &row["ismystarfriend"]), (&json!(0), &json!(0), &json!(1)));
    let theirs = friend.post(&format!("ismygoodfriend/{}", me.id), json!({})).await.ok();
    assert_eq!(
        (&theirs["friendlookme"], &theirs["ismystarfriend"]),
        (&json!(1), &json!(0)),
        "each side has its own row"
    );
}

#[tokio::test]
async fn a_second_turn_takes_the_first_back() {
    let server = TestServer::start().await;
    let (me, friend) = server.users("me", "friend").await;
    me.befriend(&friend).await;
    let (star, black) = (format!("setstargoodfriend/{}", friend.id), format!("setblackgoodfriend/{}", friend.id));
    let row = format!("ismygoodfriend/{}", friend.id);
    for expected in [1, 0, 1] {
        assert_eq!(me.post(&star, json!({})).await.ok(), "ok");
        assert_eq!(me.post(&row, json!({})).await.ok()["ismystarfriend"], expected);
    }
    assert_eq!(me.post(&black, json!({})).await.ok(), "ok");
    me.post(&row, json!({})).await.refused(400, "不是好友");
    assert_eq!(me.post(&black, json!({})).await.ok(), "ok");
    assert_eq!(me.post(&row, json!({})).await.ok()["ismystarfriend"], 1, "the star survives the blacklist");
}

#[tokio::test]
async fn one_who_is_no_friend_cannot_be_marked() {
    let server = TestServer::start().await;
    let (me, other) = server.users("me", "other").await;
    let visibility = json!({ "friendlookme": 1, "melookfriend": 1 });
    me.post(&format!("setblackgoodfriend/{}", other.id), json!({})).await.refused(400, "好友不存在");
    me.post(&format!("setstargoodfriend/{}", other.id), json!({})).await.refused(400, "好友不存在或者被拉黑，无法操作");
    me.post(&format!("setmeOrfriendCanSee/{}", other.id), visibility)
        .await
        .refused(400, "好友不存在或者被拉黑，无法操作");
    me.post(&format!("ismygoodfriend/{}", other.id), json!({})).await.refused(400, "不是好友");
}

#[tokio::test]
async fn a_blocked_friend_takes_no_other_mark() {
    let server = TestServer::start().await;
    let (me, friend) = server.users("me", "friend").await;
    me.befriend(&friend).await;
    me.turn_block(&friend).await;
    let visibility = json!({ "friendlookme": 0, "melookfriend": 0 });
    me.post(&format!("setstargoodfriend/{}", friend.id), json!({}))
        .await
        .refused(400, "好友不存在或者被拉黑，无法操作");
    me.post(&format!("setmeOrfriendCanSee/{}", friend.id), visibility)
        .await
        .refused(400, "好友不存在或者被拉黑，无法操作");
}

#[tokio::test]
async fn marking_and_blocking_tell_nobody() {
    let server = TestServer::start().await;
    let (me, friend) = server.users("me", "friend").await;
    me.befriend(&friend).await;
    let (mut mine, mut theirs) = (me.asking_socket().await, friend.asking_socket().await);
    mine.next_message().await;
    theirs.next_message().await;
    me.post(&format!("setstargoodfriend/{}", friend.id), json!({})).await.ok();
    let visibility = json!({ "friendlookme": 0, "melookfriend": 0 });
    me.post(&format!("setmeOrfriendCanSee/{}", friend.id), visibility).await.ok();
    me.turn_block(&friend).await;
    theirs.expect_silence().await;
    mine.expect_silence().await;
}

#[tokio::test]
async fn settings_of_a_stranger_say_how_to_reach_that_person() {
    let server = TestServer::start().await;
    let (me, other) = server.users("me", "other").await;
    let userset = r#"{"chatset":{"visitor":{"sendCount":0,"needFollow":false}}}"#;
    other.post("userset", json!({ "userset": userset })).await.ok();
    other.set("invite_confirm", 1).await;
    let settings = me.post("getUserSetInfo", json!({ "userid": other.id.to_string() })).await.ok();
    insta::assert_json_snapshot!(server.redacted(&settings), @r#"
    {
      "id": "[other.id]",
      "userset": "{\"chatset\":{\"visitor\":{\"sendCount\":0,\"needFollow\":false}}}",
      "invite_confirm": 1,
      "uuid": "[other.uuid]",
      "isgoodfriend": false,
      "isgoodfriend_status": true
    }
    "#);
}

#[tokio::test]
async fn settings_say_how_i_stand_in_the_other_s_list() {
    let server = TestServer::start().await;
    let (me, other) = server.users("me", "other").await;
    let standing = async |of: &Person| {
        let settings = me.post("getUserSetInfo", json!({ "userid": of.id })).await.ok();
        (settings["isgoodfriend"].as_bool().unwrap(), settings["isgoodfriend_status"].as_bool().unwrap())
    };
    assert_eq!(standing(&me).await, (false, true), "one's own id is allowed");
    assert_eq!(standing(&other).await, (false, true));
    me.befriend(&other).await;
    assert_eq!(standing(&other).await, (true, true));
    me.turn_block(&other).await;
    assert_eq!(standing(&other).await, (true, true), "my own blacklist does not show");
    other.turn_block(&me).await;
    assert_eq!(standing(&other).await, (true, false));
    other.turn_block(&me).await;
    server.alter("UPDATE friends SET status = 0 WHERE user_id = ? AND friend_id = ?", &[other.id, me.id]).await;
    assert_eq!(standing(&other).await, (true, false));
    server.alter("DELETE FROM friends WHERE user_id = ? AND friend_id = ?", &[other.id, me.id]).await;
    assert_eq!(standing(&other).await, (false, true), "it is the other's list that counts");
}

#[tokio::test]
async fn guests_and_absent_people_have_no_settings() {
    let server = TestServer::start().await;
    let (me, gone, guest) = (server.user("me").await, server.user("gone").await, server.guest().await);
    server.alter("UPDATE users SET status = 0 WHERE id = ?", &[gone.id]).await;
    for id in [guest.id, gone.id, 10_000_000_000] {
        let reply = me.post("getUserSetInfo", json!({ "userid": id })).await;
        reply.refused(400, "用户不存在或者为游客，无法加为好友");
    }
}

#[tokio::test]
async fn the_address_book_card_counts_only_friends_who_are_not_blocked() {
    let server = TestServer::start().await;
    let (me, friend) = server.users("me", "friend").await;
    let has_card = async || {
        let socket = me.socket().await;
        let found = socket.cards.iter().any(|card| card["from_name"] == "我的通讯录");
        socket.cut().await;
        found
    };
    assert!(!has_card().await);
    me.befriend(&friend).await;
    assert!(has_card().await);
    me.turn_block(&friend).await;
    assert!(!has_card().await);
}

#[tokio::test]
async fn turns_that_race_all_count() {
    let server = TestServer::start().await;
    let (me, friend) = server.users("me", "friend").await;
    me.befriend(&friend).await;
    let turn = |path: &str| {
        let (me, path) = (me.clone(), format!("{path}/{}", friend.id));
        async move { me.post(&path, json!({})).await }
    };
    let turns = (0..11).map(|_| turn("setstargoodfriend"));
    futures_util::future::join_all(turns).await.iter().for_each(|reply| assert_eq!(reply.ok(), "ok"));
    let row = me.post(&format!("ismygoodfriend/{}", friend.id), json!({})).await.ok();
    assert_eq!(row["ismystarfriend"], 1, "an odd number of turns");
    let turns = (0..11).map(|_| turn("setblackgoodfriend"));
    futures_util::future::join_all(turns).await.iter().for_each(|reply| assert_eq!(reply.ok(), "ok"));
    me.post(&format!("ismygoodfriend/{}", friend.id), json!({})).await.refused(400, "不是好友");
}
