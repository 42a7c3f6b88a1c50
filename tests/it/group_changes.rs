//! Groups: named, left and ended (contract: messaging §4.25-4.28, 4.35, 4.37), and who is told of it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::groups::{NAME, Trio, trio};
use crate::support::{PICTURE, Person, Proxy, Reply, TestServer, golden_card, golden_notice, mysql_url, text_of};

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
    let odd = "\0\u{ffff}<&\"'\\%\u{202e}";
    for (path, field) in [("groupUpdateName", "name"), ("groupremark", "remark"), ("groupnickname", "nickname")] {
        alice.post(path, json!({ "id": id, field: odd })).await.ok();
    }
    let info = alice.group_info(id).await;
    assert_eq!([&info["name"], &info["remark"], &info["group_users"][0]["nickname"]], [odd; 3]);
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

#[tokio::test]
async fn a_store_that_vanishes_without_a_word_holds_nobody_up_for_ever() {
    let Some(url) = mysql_url().await else { return };
    let (host, name) = url.rsplit_once('@').unwrap().1.split_once('/').unwrap();
    let proxy = Proxy::to(host.parse().expect("an address and a port"));
    let through_proxy = url.replace(&format!("{host}/{name}"), &format!("{}/{name}", proxy.address));
    let server = TestServer::with(|config| config.database_url = through_proxy).await;
    let (alice, bob) = server.users("alice", "bob").await;
    let id = alice.group(&[&bob]).await;
    alice.rename(id, "一").await.ok();
    proxy.stall();
    let began = Instant::now();
    alice.rename(id, "二").await.refused(503, "服务繁忙，请稍后再试");
    assert!(began.elapsed() < Duration::from_secs(15), "the posting lock is free again");
    proxy.resume();
    alice.rename(id, "三").await.ok();
    assert_eq!(bob.say_in(id, "hi").await.ok()["to_name"], "三");
    assert_eq!(bob.group_info(id).await["name"], "三");
}
