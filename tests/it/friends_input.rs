//! What the routes of friends and their requests make of odd parameters (contract: people §1.1).

use serde_json::{Value, json};

use crate::support::TestServer;

/// Routes whose id is in the path, with the name that their messages give it, and a valid body.
fn routes_by_id() -> [(&'static str, &'static str, Value); 6] {
    [
        ("setblackgoodfriend", "好友id", json!({})),
        ("setstargoodfriend", "好友id", json!({})),
        ("setmeOrfriendCanSee", "朋友id", json!({ "friendlookme": 1, "melookfriend": 1 })),
        ("ismygoodfriend", "朋友id", json!({})),
        ("deletegoodfriend", "朋友id", json!({})),
        ("handleapply", "申请表的id", json!({ "status": "agree" })),
    ]
}

#[tokio::test]
async fn an_id_in_the_path_is_a_whole_number_from_1_on() {
    let server = TestServer::start().await;
    let me = server.user("me").await;
    for (route, label, body) in routes_by_id() {
        for odd in ["x", "1.5", "null", "%F0%9F%91%8D", "1e3"] {
            let shown = odd.replace("%F0%9F%91%8D", "👍");
            let text = format!("{label} 的值 `{shown}` 的类型不是 `int`");
            me.post(&format!("{route}/{odd}"), body.clone()).await.refused(422, &text);
        }
        for beyond in ["0", "-1", "10000000000000001", "99999999999999999999999"] {
            let text = format!("{label} 的数值 必须 在 1 和 10000000000000000 之间");
            me.post(&format!("{route}/{beyond}"), body.clone()).await.refused(422, &text);
        }
    }
    me.get("getgoodfriendinfo/x").await.refused(422, "好友id 的值 `x` 的类型不是 `int`");
    me.get("getgoodfriendinfo/0").await.refused(422, "好友id 的数值 必须 在 1 和 10000000000000000 之间");
}

#[tokio::test]
async fn the_path_wins_over_the_body() {
    let server = TestServer::start().await;
    let (me, friend) = server.users("me", "friend").await;
    me.befriend(&friend).await;
    let body = json!({ "id": 1, "page": 7, "more": { "deep": [1, 2] } });
    assert_eq!(me.post(&format!("ismygoodfriend/+0{}", friend.id), body).await.ok()["friend_id"], friend.id);
}

#[tokio::test]
async fn a_page_is_a_whole_number_from_1_on() {
    let server = TestServer::start().await;
    let me = server.user("me").await;
    for route in ["goodfriendlist", "listapplyfriend"] {
        me.get(&format!("{route}/x")).await.refused(422, "页码 的值 `x` 的类型不是 `int`");
        me.get(&format!("{route}/0")).await.refused(422, "页码 的数值 必须 在 1 和 10000000000000000 之间");
        me.get(&format!("{route}/-2")).await.refused(422, "页码 的数值 必须 在 1 和 10000000000000000 之间");
        for limit in ["0", "-1", "x", "", "99999999999999999999", "[]"] {
            me.get(&format!("{route}/1?limit={limit}")).await.ok();
        }
        me.get(&format!("{route}/10000000000000000?limit=10000000000000000")).await.ok();
    }
}

#[tokio::test]
async fn whom_to_ask_is_an_id() {
    let server = TestServer::start().await;
    let me = server.user("me").await;
    for route in ["applyfriend", "autoAddFriendAndAgree"] {
        let refused = |body: Value, text: &'static str| {
            let me = me.clone();
            async move { me.post(route, body).await.refused(422, text) }
        };
        let range = "我申请添加的好友id 的数值 必须 在 1 和 10000000000000000 之间";
        refused(json!({}), "我申请添加的好友id不能为空").await;
        refused(json!({ "friend_id": "" }), "我申请添加的好友id不能为空").await;
        refused(json!({ "friend_id": null }), "我申请添加的好友id 的值 `null` 的类型不是 `int`").await;
        refused(json!({ "friend_id": [1] }), "我申请添加的好友id 的值 `[1]` 的类型不是 `int`").await;
        refused(json!({ "friend_id": 1.5 }), "我申请添加的好友id 的值 `1.5` 的类型不是 `int`").await;
        refused(json!({ "friend_id": 0 }), range).await;
        refused(json!({ "friend_id": -3 }), range).await;
        refused(json!({ "friend_id": "100000000000000000000" }), range).await;
    }
}

#[tokio::test]
async fn a_note_that_is_too_long_counts_as_none() {
    let server = TestServer::start().await;
    for (note, kept) in [
        (json!("👍".repeat(50)), "👍".repeat(50)),
        (json!("👍".repeat(51)), String::new()),
        (json!(""), String::new()),
        (json!(12), "12".to_owned()),
        (json!(null), "null".to_owned()),
        (json!(["a"]), r#"["a"]"#.to_owned()),
        (json!("a\0'\"\\%_"), "a\0'\"\\%_".to_owned()),
    ] {
        let (me, other) = server.users("me", "other").await;
        me.post("applyfriend", json!({ "friend_id": other.id.to_string(), "nickname": note })).await.ok();
        let found = other.post(&format!("isApplyfriend/{}", me.uuid), json!({})).await.ok();
        assert_eq!(found["nickname"], kept, "{note}");
    }
}

#[tokio::test]
async fn an_answer_is_one_of_four_words() {
    let server = TestServer::start().await;
    let me = server.user("me").await;
    let refused = async |body: Value, text: &str| me.post("handleapply/5", body).await.refused(422, text);
    refused(json!({}), "处理状态不能为空").await;
    let text = |word: &str| format!("处理状态 的值 `{word}` 必须在 [`pending`、`refuse`、`agree`、`ignore`] 中");
    for word in ["Agree", "agreed", " agree", "1"] {
        refused(json!({ "status": word }), &text(word)).await;
    }
    refused(json!({ "status": null }), &text("null")).await;
    refused(json!({ "status": ["agree"] }), &text(r#"["agree"]"#)).await;
}

#[tokio::test]
async fn visibility_is_two_marks_of_0_or_1() {
    let server = TestServer::start().await;
    let me = server.user("me").await;
    let refused = async |body: Value, text: &str| me.post("setmeOrfriendCanSee/5", body).await.refused(422, text);
    let (first, second) = ("朋友是否可以看我的动态", "我的朋友圈是否出现朋友的信息（我是否看朋友的动态）");
    refused(json!({}), &format!("{first}不能为空")).await;
    refused(json!({ "friendlookme": 1 }), &format!("{second}不能为空")).await;
    refused(json!({ "friendlookme": 2, "melookfriend": 1 }), &format!("{first} 的值 `2` 必须在 [`0`、`1`] 中")).await;
    refused(json!({ "friendlookme": "a" }), &format!("{first} 的值 `a` 的类型不是 `int`")).await;
    refused(json!({ "friendlookme": true }), &format!("{first} 的值 `true` 的类型不是 `int`")).await;
    refused(json!({ "friendlookme": "1", "melookfriend": -1 }), &format!("{second} 的值 `-1` 必须在 [`0`、`1`] 中"))
        .await;
}

#[tokio::test]
async fn a_public_id_has_36_characters() {
    let server = TestServer::start().await;
    let me = server.user("me").await;
    for id in ["1".repeat(35), "1".repeat(37), "%F0%9F%91%8D".repeat(35)] {
        me.post(&format!("isApplyfriend/{id}"), json!({})).await.refused(422, "uuid值 的长度 必须 在 36 和 36 之间");
    }
    let wild = "%F0%9F%91%8D".repeat(36);
    me.post(&format!("isApplyfriend/{wild}"), json!({})).await.refused(400, "用户不存在");
}

#[tokio::test]
async fn whose_settings_is_an_id() {
    let server = TestServer::start().await;
    let me = server.user("me").await;
    me.post("getUserSetInfo", json!({})).await.refused(422, "用户id不能为空");
    me.post("getUserSetInfo", json!({ "userid": "me" })).await.refused(422, "用户id 的值 `me` 的类型不是 `int`");
    let text = "用户id 的数值 必须 在 1 和 10000000000000000 之间";
    me.post("getUserSetInfo", json!({ "userid": 0 })).await.refused(422, text);
}

#[tokio::test]
async fn bodies_may_be_forms() {
    let server = TestServer::start().await;
    let (me, friend) = server.users("me", "friend").await;
    let call = |path: &str| me.call(reqwest::Method::POST, path);
    let id = friend.id.to_string();
    assert_eq!(call("autoAddFriendAndAgree").form(&[("friend_id", &id), ("x", "y")]).send().await.ok(), "ok");
    let both = [("friendlookme", "0"), ("melookfriend", "1")];
    assert_eq!(call(&format!("setmeOrfriendCanSee/{id}")).multipart(&both).send().await.ok(), "ok");
    assert_eq!(call(&format!("ismygoodfriend/{id}")).send().await.ok()["friendlookme"], 0);
}
