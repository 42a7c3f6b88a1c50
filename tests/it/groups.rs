//! Groups: made, shown, named, left and ended (contract: messaging §4.21, 4.23-4.28, 4.35, 4.37), and who is told of it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{CACHE_MS, Call, PICTURE, Person, Reply, Socket, TestServer, golden_card, golden_notice, text_of};

/// A group of alice's with bob and carol, each with a socket on which nothing is pending.
struct Trio {
    server: TestServer,
    id: i64,
    alice: Person,
    bob: Person,
    carol: Person,
    sockets: [Socket; 3],
}

async fn trio() -> Trio {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let carol = server.user("carol").await;
    let id = alice.group(&[&bob, &carol]).await;
    let sockets = [alice.listen().await, bob.listen().await, carol.listen().await];
    Trio { server, id, alice, bob, carol, sockets }
}

impl Trio {
    /// Everyone gets this, and nothing else.
    async fn all_get(&mut self, golden: &Value) {
        for socket in &mut self.sockets {
            assert_eq!(&self.server.redacted(&socket.next_message().await), golden);
            assert!(socket.catch_up().await.is_empty());
        }
    }

    async fn nobody_gets_anything(&mut self) {
        for socket in &mut self.sockets {
            let got = socket.catch_up().await;
            assert!(got.is_empty(), "{got:?}");
        }
    }
}

const NAME: &str = "alice、bob、carol";

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

#[tokio::test]
async fn a_new_name_is_announced_to_all_under_the_owner_s_name_in_the_group() {
    let mut trio = trio().await;
    trio.alice.post("groupnickname", json!({ "id": trio.id, "nickname": "群主" })).await.ok();
    assert_eq!(trio.alice.rename(trio.id, "新群👍").await.ok(), "ok");
    let mut golden = golden_notice("alice", &golden_card("新群👍", 3), "群名称修改为：新群👍");
    golden["from_name"] = json!("群主");
    trio.all_get(&golden).await;
    assert_eq!(trio.alice.group_info(trio.id).await["name"], "新群👍");
}

#[tokio::test]
async fn a_new_announcement_is_told_to_all() {
    let mut trio = trio().await;
    let reply = trio.alice.post("groupremark", json!({ "id": trio.id, "remark": "明天放假" })).await;
    assert_eq!(reply.ok(), "ok");
    let mut card = golden_card(NAME, 3);
    card["remark"] = json!("明天放假");
    trio.all_get(&golden_notice("alice", &card, "[公告] \n\n 明天放假")).await;
    assert_eq!(trio.bob.group_info(trio.id).await["remark"], "明天放假");
}

#[tokio::test]
async fn those_who_wait_hear_of_names_and_announcements_too() {
    let Trio { server, id, alice, .. } = trio().await;
    alice.set_join_rule(id, 1).await;
    let dave = server.user("dave").await;
    let mut socket = dave.listen().await;
    assert_eq!(dave.join(id).await.ok(), "等待群主同意");
    alice.rename(id, "甲").await.ok();
    alice.say_in(id, "hidden").await.ok();
    alice.post("groupremark", json!({ "id": id, "remark": "乙" })).await.ok();
    assert_eq!(socket.texts().await, ["群名称修改为：甲", "[公告] \n\n 乙"]);
}

#[tokio::test]
async fn only_the_owner_of_an_open_group_names_it() {
    let mut trio = trio().await;
    let (server, id) = (&trio.server, trio.id);
    let name = async |who: &Person, group: i64| who.rename(group, "x").await;
    let remark = async |who: &Person, group: i64| who.post("groupremark", json!({ "id": group, "remark": "x" })).await;
    for who in [&trio.bob, &server.user("stranger").await] {
        name(who, id).await.refused(400, "只有群主才能修改群名称");
        remark(who, id).await.refused(400, "只有群主才能修改群公告");
    }
    name(&trio.alice, 999_999_999).await.refused(400, "只有群主才能修改群名称");
    remark(&trio.alice, 999_999_999).await.refused(400, "只有群主才能修改群公告");
    server.sql("UPDATE chat_groups SET status = 2 WHERE id = ?", &[id.into()]).await;
    name(&trio.alice, id).await.refused(400, "只有群主才能修改群名称");
    remark(&trio.alice, id).await.refused(400, "只有群主才能修改群公告");
    trio.nobody_gets_anything().await;
}

#[tokio::test]
async fn an_owner_without_a_place_in_the_group_changes_it_but_tells_nobody() {
    let mut trio = trio().await;
    let (id, alice) = (trio.id, trio.alice.clone());
    let gone = "DELETE FROM group_members WHERE group_id = ? AND user_id = ?";
    trio.server.sql(gone, &[id.into(), alice.id.into()]).await;
    let version = "UPDATE chat_groups SET version = version + 1 WHERE id = ?";
    trio.server.sql(version, &[id.into()]).await;
    alice.rename(id, "甲").await.refused(400, "无法通知群成员");
    alice.post("groupremark", json!({ "id": id, "remark": "乙" })).await.refused(400, "无法通知群成员");
    let info = trio.bob.group_info(id).await;
    assert_eq!((&info["name"], &info["remark"]), (&json!("甲"), &json!("乙")));
    trio.nobody_gets_anything().await;
}

#[tokio::test]
async fn a_name_of_one_s_own_is_told_to_nobody_and_stands_on_what_one_says() {
    let mut trio = trio().await;
    let reply = trio.bob.post("groupnickname", json!({ "id": trio.id.to_string(), "nickname": "小波" })).await;
    assert_eq!(reply.ok(), "ok");
    trio.nobody_gets_anything().await;
    assert_eq!(trio.bob.say_in(trio.id, "hi").await.ok()["from_name"], "小波");
}

#[tokio::test]
async fn only_active_members_have_a_name_of_their_own() {
    const OUTSIDE: &str = "你不在该群聊中，无法修改昵称";
    let Trio { server, id, alice, .. } = trio().await;
    alice.set_join_rule(id, 1).await;
    let dave = server.user("dave").await;
    let name =
        async |who: &Person, group: i64| who.post("groupnickname", json!({ "id": group, "nickname": "x" })).await;
    name(&dave, id).await.refused(400, OUTSIDE);
    dave.join(id).await.ok();
    name(&dave, id).await.refused(400, OUTSIDE);
    name(&alice, 999_999_999).await.refused(400, OUTSIDE);
    alice.leave(id).await.ok();
    name(&alice, id).await.refused(400, OUTSIDE);
}

#[tokio::test]
async fn who_quits_is_reported_to_the_owner_alone() {
    let mut trio = trio().await;
    let (id, carol) = (trio.id, trio.carol.clone());
    carol.post("groupnickname", json!({ "id": id, "nickname": "卡罗" })).await.ok();
    assert_eq!(carol.leave(id).await.ok(), "ok");
    let text = "卡罗于 9/4/2025, 11:33:20 PM 已退出群聊";
    let mut golden = golden_notice("carol", &golden_card(NAME, 3), text);
    golden["from_name"] = json!("卡罗");
    assert_eq!(trio.server.redacted(&trio.sockets[0].next_message().await), golden);
    trio.nobody_gets_anything().await;
    // The picture stays as it was.
    assert_eq!(trio.alice.group_info(id).await["avatar"], [PICTURE; 3].join(","));
    assert_eq!(trio.alice.members(id).await, [trio.alice.id, trio.bob.id]);
    assert_eq!(carol.get("grouplist/1").await.ok(), json!([]));
    carol.say_in(id, "hi").await.refused(400, "您不在群里，无法发消息");
    carol.leave(id).await.refused(400, "你不在该群聊中，操作失败");
}

#[tokio::test]
async fn who_waits_may_quit_too() {
    let mut trio = trio().await;
    let dave = trio.server.user("dave").await;
    trio.alice.set_join_rule(trio.id, 1).await;
    dave.join(trio.id).await.ok();
    dave.leave(trio.id).await.ok();
    let texts = trio.sockets[0].texts().await;
    assert_eq!(texts[1], format!("{}于 9/4/2025, 11:33:20 PM 已退出群聊", dave.username));
    trio.alice.decide(trio.id, &dave, "agree").await.refused(400, "非法操作");
}

#[tokio::test]
async fn the_end_of_a_group_is_told_to_all_and_then_it_is_gone() {
    let mut trio = trio().await;
    let (id, alice, bob) = (trio.id, trio.alice.clone(), trio.bob.clone());
    assert_eq!(alice.leave(id).await.ok(), "ok");
    trio.all_get(&golden_notice("alice", &golden_card(NAME, 3), "群主于 9/4/2025, 11:33:20 PM 解散了该群")).await;
    for who in [&alice, &bob] {
        assert_eq!(who.get("grouplist/1").await.ok(), json!([]));
        who.get(&format!("groupinfo/{id}")).await.refused(400, "群不存在或被封禁");
        who.say_in(id, "hi").await.refused(400, "群不存在或者已解散或者被封禁，无法发消息");
        who.rename(id, "x").await.refused(400, "只有群主才能修改群名称");
        who.remove(id, &trio.carol).await.refused(400, "只有群主才能操作");
        who.join(id).await.refused(400, "群不存在或者被封禁");
        who.decide(id, &bob, "agree").await.refused(400, "群不存在或者被封禁或者你无权操作");
        who.leave(id).await.refused(400, "群不存在");
    }
    bob.leave(999_999_999).await.refused(400, "群不存在");
}

#[tokio::test]
async fn those_who_wait_hear_of_the_end() {
    let Trio { server, id, alice, .. } = trio().await;
    alice.set_join_rule(id, 1).await;
    let dave = server.user("dave").await;
    let mut socket = dave.listen().await;
    dave.join(id).await.ok();
    alice.leave(id).await.ok();
    assert_eq!(socket.texts().await, ["群主于 9/4/2025, 11:33:20 PM 解散了该群"]);
}

#[tokio::test]
async fn a_locked_group_can_still_be_left_and_ended() {
    let Trio { server, id, alice, bob, carol, .. } = trio().await;
    server.sql("UPDATE chat_groups SET status = 2 WHERE id = ?", &[id.into()]).await;
    bob.leave(id).await.ok();
    alice.remove(id, &carol).await.ok();
    alice.leave(id).await.ok();
    alice.leave(id).await.refused(400, "群不存在");
}

#[tokio::test]
async fn who_is_removed_is_out_and_nobody_is_told() {
    let mut trio = trio().await;
    let (id, alice, bob) = (trio.id, trio.alice.clone(), trio.bob.clone());
    alice.set("avatar", "/a.png").await;
    trio.carol.set("avatar", "/c.png").await;
    assert_eq!(alice.remove(id, &bob).await.ok(), "删除群成员成功");
    trio.nobody_gets_anything().await;
    let info = alice.group_info(id).await;
    assert_eq!(info["avatar"], "/a.png,/c.png");
    assert_eq!(alice.members(id).await, [alice.id, trio.carol.id]);
    bob.say_in(id, "hi").await.refused(400, "您不在群里，无法发消息");
    // Somebody who is not in it is out already.
    for nobody in [&bob, &trio.server.user("stranger").await] {
        assert_eq!(alice.remove(id, nobody).await.ok(), "删除群成员成功");
    }
}

#[tokio::test]
async fn who_waits_can_be_removed() {
    let Trio { server, id, alice, .. } = trio().await;
    alice.set_join_rule(id, 1).await;
    let dave = server.user("dave").await;
    dave.join(id).await.ok();
    alice.remove(id, &dave).await.ok();
    alice.decide(id, &dave, "agree").await.refused(400, "非法操作");
}

#[tokio::test]
async fn only_the_owner_removes_and_not_the_owner() {
    let Trio { server, id, alice, bob, carol, .. } = trio().await;
    for who in [&bob, &server.user("stranger").await] {
        who.remove(id, &carol).await.refused(400, "只有群主才能操作");
        who.remove(id, &alice).await.refused(400, "只有群主才能操作");
    }
    alice.remove(999_999_999, &carol).await.refused(400, "只有群主才能操作");
    alice.remove(id, &alice).await.refused(400, "群主不能删除自己");
}

#[tokio::test]
async fn the_join_rule_is_told_to_nobody_and_stands_on_what_is_said() {
    let mut trio = trio().await;
    for rule in [10, 1, 0, 2] {
        trio.alice.set_join_rule(trio.id, rule).await;
        assert_eq!(trio.bob.group_info(trio.id).await["invite_confirm"], rule);
    }
    trio.nobody_gets_anything().await;
    assert_eq!(trio.bob.say_in(trio.id, "hi").await.ok()["group"]["invite_confirm"], 2);
}

#[tokio::test]
async fn only_the_owner_of_an_open_group_sets_the_join_rule() {
    const REFUSED: &str = "群不存在或者被封禁或者你无权操作";
    let Trio { server, id, alice, bob, .. } = trio().await;
    let set = async |who: &Person, group: i64| {
        who.post("groupAddUserSet", json!({ "group_id": group, "addGroupSet": 1 })).await
    };
    set(&bob, id).await.refused(400, REFUSED);
    set(&alice, 999_999_999).await.refused(400, REFUSED);
    server.sql("UPDATE chat_groups SET status = 2 WHERE id = ?", &[id.into()]).await;
    set(&alice, id).await.refused(400, REFUSED);
}

#[tokio::test]
async fn every_parameter_is_checked_in_order_with_its_text() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let long = |count: usize| "长".repeat(count);
    let cases: Vec<(&str, Value, String)> = vec![
        ("groupUpdateName", json!({}), "群id不能为空".into()),
        ("groupUpdateName", json!({"id": "x", "name": ""}), "群id 的值 `x` 的类型不是 `int`".into()),
        ("groupUpdateName", json!({"id": 0}), "群id 的数值 必须 在 1 和 10000000000000000 之间".into()),
        ("groupUpdateName", json!({"id": 1}), "群名称不能为空".into()),
        ("groupUpdateName", json!({"id": 1, "name": long(21)}), "群名称 的长度 必须 在 1 和 20 之间".into()),
        ("groupremark", json!({"id": -1, "remark": "x"}), "群id 的数值 必须 在 1 和 10000000000000000 之间".into()),
        ("groupremark", json!({"id": 1, "remark": ""}), "群公告不能为空".into()),
        ("groupremark", json!({"id": 1, "remark": long(501)}), "群公告 的长度 必须 在 1 和 500 之间".into()),
        ("groupnickname", json!({"nickname": "x"}), "群id不能为空".into()),
        ("groupnickname", json!({"id": "1"}), "群昵称不能为空".into()),
        ("groupnickname", json!({"id": 1, "nickname": long(21)}), "群昵称 的长度 必须 在 1 和 20 之间".into()),
        ("groupDeleteOrQuit", json!({}), "群id不能为空".into()),
        ("groupDeleteOrQuit", json!({"id": [1]}), "群id 的值 `[1]` 的类型不是 `int`".into()),
        ("groupDeleteUser", json!({"user_id": 1}), "群id不能为空".into()),
        ("groupDeleteUser", json!({"group_id": 1}), "群成员id不能为空".into()),
        ("groupDeleteUser", json!({"group_id": 1, "user_id": "b"}), "群成员id 的值 `b` 的类型不是 `int`".into()),
        ("groupInviteUser", json!({"user_id": 1}), "群id不能为空".into()),
        ("groupInviteUser", json!({"group_id": 1}), "用户id不能为空".into()),
        (
            "groupInviteUser",
            json!({"group_id": 1, "user_id": 0}),
            "用户id 的数值 必须 在 1 和 10000000000000000 之间".into(),
        ),
        ("groupAddUserSet", json!({"group_id": "", "addGroupSet": 1}), "群id不能为空".into()),
        ("groupAddUserSet", json!({"group_id": 1}), "进群设置属性值不能为空".into()),
        (
            "groupAddUserSet",
            json!({"group_id": 1, "addGroupSet": "x"}),
            "进群设置属性值 的值 `x` 的类型不是 `int`".into(),
        ),
        (
            "groupAddUserSet",
            json!({"group_id": 1, "addGroupSet": 11}),
            "进群设置属性值 的数值 必须 大于等于 `0` 小于等于 `10`".into(),
        ),
        (
            "groupAddUserSet",
            json!({"group_id": 1, "addGroupSet": -1}),
            "进群设置属性值 的数值 必须 大于等于 `0` 小于等于 `10`".into(),
        ),
        ("groupAgreeOrNo", json!({"user_id": 1, "type": "no"}), "群id不能为空".into()),
        ("groupAgreeOrNo", json!({"group_id": 1, "type": "no"}), "进群的用户id不能为空".into()),
        ("groupAgreeOrNo", json!({"group_id": 1, "user_id": 1}), "同意或者拒绝不能为空".into()),
        (
            "groupAgreeOrNo",
            json!({"group_id": 1, "user_id": 1, "type": "yes"}),
            "同意或者拒绝 的值 `yes` 必须在 [`agree`、`no`] 中".into(),
        ),
    ];
    for (path, body, text) in cases {
        alice.post(path, body).await.refused(422, &text);
    }
    alice.get("groupinfo/x").await.refused(422, "群id 的值 `x` 的类型不是 `int`");
    alice.get("groupinfo/0").await.refused(422, "群id 的数值 必须 在 1 和 10000000000000000 之间");
}

#[tokio::test]
async fn names_are_measured_in_code_points_up_to_their_limits() {
    let Trio { id, alice, .. } = trio().await;
    let faces = |count: usize| "👍".repeat(count);
    alice.rename(id, &faces(20)).await.ok();
    alice.post("groupremark", json!({ "id": id, "remark": faces(500) })).await.ok();
    alice.post("groupnickname", json!({ "id": id, "nickname": faces(20) })).await.ok();
    let info = alice.group_info(id).await;
    assert_eq!((&info["name"], &info["remark"]), (&json!(faces(20)), &json!(faces(500))));
    assert_eq!(info["group_users"][0]["nickname"], faces(20));
    // Numbers are taken for text, as everywhere.
    alice.rename(id, "x").await.ok();
    alice.post("groupUpdateName", json!({ "id": id, "name": 7 })).await.ok();
    assert_eq!(alice.group_info(id).await["name"], "7");
}

#[tokio::test]
async fn guests_take_part_in_groups_that_take_them() {
    let Trio { server, id, alice, mut sockets, .. } = trio().await;
    let guest = server.guest().await;
    assert_eq!(guest.join(id).await.ok(), "加群成功");
    guest.post("groupnickname", json!({ "id": id, "nickname": "访客" })).await.ok();
    guest.say_in(id, "hi").await.ok();
    assert_eq!(guest.get("grouplist/1").await.ok()[0]["id"], id);
    guest.leave(id).await.ok();
    let texts = sockets[0].texts().await;
    let name = &guest.username;
    assert_eq!(texts, [&format!("[{name}] 加入了群聊"), "hi", "访客于 9/4/2025, 11:33:20 PM 已退出群聊"]);
    assert_eq!(alice.members(id).await.len(), 3);
}

#[tokio::test]
async fn two_renames_at_once_both_happen() {
    let mut trio = trio().await;
    let names: Vec<String> = (0..12).map(|i| format!("名{i}")).collect();
    let replies = futures_util::future::join_all(names.iter().map(|name| trio.alice.rename(trio.id, name))).await;
    assert!(replies.iter().all(|reply: &Reply| reply.status == 200));
    for socket in &mut trio.sockets {
        let notices = socket.catch_up().await;
        let told: Vec<&str> = notices.iter().map(|notice| notice["to_name"].as_str().unwrap()).collect();
        for (notice, name) in notices.iter().zip(&told) {
            assert_eq!(text_of(notice), format!("群名称修改为：{name}"));
            assert_eq!(notice["group"]["name"], *name);
        }
        let mut sorted = told.clone();
        sorted.sort_unstable_by_key(|name| name.trim_start_matches('名').parse::<u32>().unwrap());
        assert_eq!(sorted, names, "each name was announced once");
        // The last that was announced is the one that stands.
        assert_eq!(trio.alice.group_info(trio.id).await["name"], *told.last().unwrap());
    }
}
