//! Groups: made and shown (contract: messaging §4.21, 4.23, 4.24).

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{CACHE_MS, Call, PICTURE, Person, Socket, TestServer, golden_card, golden_notice};

/// A group of alice's with bob and carol, each with a socket on which nothing is pending.
pub struct Trio {
    pub server: TestServer,
    pub id: i64,
    pub alice: Person,
    pub bob: Person,
    pub carol: Person,
    pub sockets: [Socket; 3],
}

pub async fn trio() -> Trio {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let carol = server.user("carol").await;
    let id = alice.group(&[&bob, &carol]).await;
    let sockets = [alice.listen().await, bob.listen().await, carol.listen().await];
    Trio { server, id, alice, bob, carol, sockets }
}

impl Trio {
    /// Everyone gets this, and nothing else.
    pub async fn all_get(&mut self, golden: &Value) {
        for socket in &mut self.sockets {
            assert_eq!(&self.server.redacted(&socket.next_message().await), golden);
            assert!(socket.catch_up().await.is_empty());
        }
    }

    pub async fn nobody_gets_anything(&mut self) {
        for socket in &mut self.sockets {
            let got = socket.catch_up().await;
            assert!(got.is_empty(), "{got:?}");
        }
    }
}

/// The name of the group.
pub const NAME: &str = "alice、bob、carol";

#[tokio::test]
async fn a_new_group_is_announced_to_all_the_creator_included() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let rows = [alice.friend_row(&bob).await];
    let mut sockets = [alice.listen().await, bob.listen().await];
    assert_eq!(alice.post("group/create", json!({ "userIds": rows })).await.ok(), "ok");
    let golden = golden_notice("alice", &golden_card("alice、bob", 2), "alice创建了一个群，大家可以开始聊天了");
    for socket in &mut sockets {
        assert_eq!(server.redacted(&socket.next_message().await), golden);
        assert!(socket.catch_up().await.is_empty());
    }
}

#[tokio::test]
async fn friends_are_chosen_in_every_spelling_of_a_list() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let carol = server.user("carol").await;
    let (b, c) = (alice.friend_row(&bob).await, alice.friend_row(&carol).await);
    let (b_text, c_text) = (b.to_string(), c.to_string());
    let create = || alice.call(Method::POST, "group/create");
    let calls: [(&str, Call); 9] = [
        ("numbers", create().json(&json!({ "userIds": [b, c] }))),
        ("texts", create().json(&json!({ "userIds": [b_text, c_text] }))),
        ("JSON text", create().json(&json!({ "userIds": format!("[{b},{c}]") }))),
        ("commas", create().json(&json!({ "userIds": format!("{b}, {c}") }))),
        ("form, repeated", create().form(&[("userIds", &b_text), ("userIds", &c_text)])),
        ("form, brackets", create().form(&[("userIds[]", &b_text), ("userIds[]", &c_text)])),
        ("form, indexes", create().form(&[("userIds[0]", &b_text), ("userIds[1]", &c_text)])),
        ("form, commas", create().form(&[("userIds", &format!("{b},{c}"))])),
        ("with rubbish and repeated", create().json(&json!({ "userIds": [b, c, b, "x", null, -1, {"a": 1}] }))),
    ];
    for (spelling, call) in calls {
        assert_eq!(call.send().await.ok(), "ok", "{spelling}");
        let group = alice.newest_group().await;
        assert_eq!(alice.members(group).await, [alice.id, bob.id, carol.id], "{spelling}");
    }
}

#[tokio::test]
async fn what_is_no_list_of_friends_is_refused() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let chosen = async |ids: Value| alice.post("group/create", json!({ "userIds": ids })).await;
    for scalar in [json!("5"), json!(5), json!(true), json!(null)] {
        let shown = scalar.as_str().map_or_else(|| scalar.to_string(), str::to_owned);
        chosen(scalar).await.refused(422, &format!("userIds 的值 `{shown}` 的类型不是 `json`"));
    }
    chosen(json!({"a": 1})).await.refused(422, r#"userIds 的值 `{"a":1}` 与指定结构 (`{"type":"array"}`) 冲突"#);
    chosen(json!("")).await.refused(422, "userIds不能为空");
    alice.post("group/create", json!({})).await.refused(422, "userIds不能为空");
    for nobody in [json!([]), json!("abc"), json!([999_999_999]), json!("0")] {
        chosen(nobody).await.refused(400, "请选择加入群聊的用户");
    }
    let (many, again): (Vec<_>, _) = ((1_000_000_000..1_000_010_001).collect(), vec![999_999_999; 100_000]);
    chosen(json!(many)).await.invalid("userIds 的个数 不能超过 10000");
    chosen(json!(again)).await.refused(400, "请选择加入群聊的用户");
}

#[tokio::test]
async fn only_my_own_friends_who_are_not_blocked_come_in() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let (carol, dave) = server.users("carol", "dave").await;
    let (mine, blocked, disabled) =
        (alice.friend_row(&bob).await, alice.friend_row(&carol).await, alice.friend_row(&dave).await);
    let foreign = bob.friend_row(&carol).await;
    server.sql("UPDATE friends SET blocked = 1 WHERE id = ?", &[blocked.into()]).await;
    server.sql("UPDATE friends SET status = 0 WHERE id = ?", &[disabled.into()]).await;
    let refused = alice.post("group/create", json!({ "userIds": [foreign, blocked, disabled] })).await;
    refused.refused(400, "请选择加入群聊的用户");
    alice.post("group/create", json!({ "userIds": [foreign, blocked, disabled, mine] })).await.ok();
    assert_eq!(alice.members(alice.newest_group().await).await, [alice.id, bob.id]);
}

#[tokio::test]
async fn friends_whose_accounts_are_disabled_do_not_come_in() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let carol = server.user("carol").await;
    let (b, c) = (alice.friend_row(&bob).await, alice.friend_row(&carol).await);
    server.sql("UPDATE users SET status = 0 WHERE id = ?", &[bob.id.into()]).await;
    server.advance(CACHE_MS);
    let refused = alice.post("group/create", json!({ "userIds": [b] })).await;
    refused.refused(400, "用户不存在，无法加入群聊");
    alice.post("group/create", json!({ "userIds": [b, c] })).await.ok();
    assert_eq!(alice.members(alice.newest_group().await).await, [alice.id, carol.id]);
}

#[tokio::test]
async fn name_and_picture_are_composed_of_the_first_members() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    alice.set("nickname", "群主").await;
    alice.set("avatar", "/a.png").await;
    let mut friends = Vec::new();
    for i in 0..10 {
        let friend = server.user("friend").await;
        friend.set("nickname", format!("第{i}👍👍")).await;
        friend.set("avatar", format!("/{i}.png")).await;
        friends.push(friend);
    }
    // The order is that of the accounts, not of the choice.
    let group = alice.group(&friends.iter().rev().collect::<Vec<_>>()).await;
    let info = alice.group_info(group).await;
    // 2 units, then 7 a friend; the seventh friend's second face would need a 51st unit, and has none.
    let name = "群主、第0👍👍、第1👍👍、第2👍👍、第3👍👍、第4👍👍、第5👍👍、第6👍";
    assert_eq!(info["name"], name);
    assert_eq!(info["avatar"], "/a.png,/0.png,/1.png,/2.png,/3.png,/4.png,/5.png,/6.png,/7.png");
}

#[tokio::test]
async fn the_list_shows_my_open_groups_newest_first() {
    let Trio { server, id, alice, bob, .. } = trio().await;
    bob.post("groupnickname", json!({ "id": id, "nickname": "小波" })).await.ok();
    let second = bob.group(&[&alice]).await;
    let listed = server.redacted(&bob.get("grouplist/1").await.ok());
    let mut older = golden_card(NAME, 3);
    older.as_object_mut().unwrap().remove("update_time");
    let mut newer = older.clone();
    newer["name"] = json!("bob、alice");
    newer["user_id"] = json!("[bob.id]");
    newer["avatar"] = json!([PICTURE; 2].join(","));
    let place =
        |nickname| json!([{ "group_id": "[group]", "user_id": "[bob.id]", "nickname": nickname, "avatar": "" }]);
    newer["group_users"] = place("");
    older["group_users"] = place("小波");
    assert_eq!(listed, json!([newer, older]));
    // Locked groups, and those where one waits, are not listed.
    server.sql("UPDATE chat_groups SET status = 2 WHERE id = ?", &[second.into()]).await;
    server
        .sql("UPDATE group_members SET status = 2 WHERE group_id = ? AND user_id = ?", &[id.into(), bob.id.into()])
        .await;
    assert_eq!(bob.get("grouplist/1").await.ok(), json!([]));
}

#[tokio::test]
async fn the_list_comes_in_pages_in_each_spelling() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let mut groups = Vec::new();
    for _ in 0..5 {
        groups.insert(0, alice.group(&[&bob]).await);
    }
    let page = async |path: &str| -> Vec<i64> {
        let list = alice.get(path).await.ok();
        list.as_array().unwrap().iter().map(|group| group["id"].as_i64().unwrap()).collect()
    };
    assert_eq!(page("grouplist/1").await, groups);
    for spelling in ["grouplist/2?limit=2", "grouplist/2&limit=2", "grouplist/2%26limit=2", "grouplist/2%26limit%3D2"] {
        assert_eq!(page(spelling).await, groups[2..4], "{spelling}");
    }
    assert_eq!(page("grouplist/3?limit=2").await, groups[4..]);
    assert!(page("grouplist/4?limit=2").await.is_empty());
    assert!(page("grouplist/9999999999999999?limit=9999999999999999").await.is_empty());
    for odd in ["grouplist/1?limit=many", "grouplist/1?limit=", "grouplist/1?limit=-3", "grouplist/1&limit=x"] {
        assert_eq!(page(odd).await, groups, "{odd}");
    }
    alice.get("grouplist/x").await.refused(422, "页码 的值 `x` 的类型不是 `int`");
    alice.get("grouplist/x&limit=3").await.refused(422, "页码 的值 `x&limit=3` 的类型不是 `int`");
    alice.get("grouplist/0").await.refused(422, "页码 的数值 必须 在 1 和 10000000000000000 之间");
    assert_eq!(alice.get("grouplist").await.status, 404);
}

#[tokio::test]
async fn a_group_shows_its_active_members_to_anyone() {
    let Trio { server, id, alice, bob, carol, .. } = trio().await;
    alice.set("nickname", "爱丽丝").await;
    bob.post("groupnickname", json!({ "id": id, "nickname": "小波" })).await.ok();
    server
        .sql("UPDATE group_members SET status = 2 WHERE group_id = ? AND user_id = ?", &[id.into(), carol.id.into()])
        .await;
    let member = |who: &str, here: &str, own: &str| {
        json!({
            "create_time": "2025-09-04 23:33:20",
            "id": "[row]",
            "group_id": "[group]",
            "user_id": format!("[{who}.id]"),
            "nickname": here,
            "avatar": "",
            "status": 1,
            "order": 50,
            "groupId": "[group]",
            "user": {
                "id": format!("[{who}.id]"),
                "username": who,
                "avatar": PICTURE,
                "nickname": own,
                "uuid": format!("[{who}.uuid]"),
                "role": "user",
            },
        })
    };
    let mut golden = golden_card(NAME, 3);
    golden.as_object_mut().unwrap().remove("update_time");
    golden["group_users"] = json!([member("alice", "", "爱丽丝"), member("bob", "小波", "")]);
    for viewer in [&alice, &server.user("stranger").await, &server.guest().await] {
        assert_eq!(server.redacted(&viewer.group_info(id).await), golden);
    }
}

#[tokio::test]
async fn a_group_that_is_locked_or_gone_shows_nothing() {
    let Trio { server, id, alice, .. } = trio().await;
    let gone = alice.group(&[&server.user("dave").await]).await;
    alice.leave(gone).await.ok();
    // Somebody else locks the group in the store; that is noticed within half a minute.
    alice.group_info(id).await;
    server.sql("UPDATE chat_groups SET status = 2 WHERE id = ?", &[id.into()]).await;
    server.advance(CACHE_MS);
    for path in [format!("groupinfo/{id}"), format!("groupinfo/{gone}"), "groupinfo/999999999".to_owned()] {
        alice.get(&path).await.refused(400, "群不存在或被封禁");
    }
}

#[tokio::test]
async fn a_group_without_active_members_shows_nothing() {
    let Trio { server, id, alice, .. } = trio().await;
    server.sql("UPDATE group_members SET status = 0 WHERE group_id = ?", &[id.into()]).await;
    alice.get(&format!("groupinfo/{id}")).await.refused(400, "群不存在或被封禁");
}
