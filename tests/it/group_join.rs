//! Coming into a group (contract: messaging §4.36, 4.38; decision 18): by oneself, invited, or after the owner's approval.

use serde_json::{Value, json};

use crate::support::{
    CACHE_MS, NOW_MS, PICTURE, Person, SYSTEM_PICTURE, Socket, TestServer, golden_card, golden_notice, text_of,
};

const JOINED: &str = "加群成功";
const WAITING: &str = "等待群主同意";
const ILLEGAL: &str = "非法操作";
const NAME: &str = "alice、bob";

/// A group of alice's with bob, and dave outside, each with a socket on which nothing is pending.
struct Club {
    server: TestServer,
    id: i64,
    alice: Person,
    bob: Person,
    dave: Person,
    /// Of alice, bob and dave.
    sockets: [Socket; 3],
}

async fn club() -> Club {
    club_with_rule(0).await
}

async fn club_with_rule(rule: i64) -> Club {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let dave = server.user("dave").await;
    let id = alice.group(&[&bob]).await;
    if rule != 0 {
        alice.set_join_rule(id, rule).await;
    }
    let sockets = [alice.listen().await, bob.listen().await, dave.listen().await];
    Club { server, id, alice, bob, dave, sockets }
}

impl Club {
    /// What each of the three got until now, redacted.
    async fn heard(&mut self) -> [Vec<Value>; 3] {
        let mut heard = [Vec::new(), Vec::new(), Vec::new()];
        for (socket, heard) in self.sockets.iter_mut().zip(&mut heard) {
            heard.extend(socket.catch_up().await.iter().map(|message| self.server.redacted(message)));
        }
        heard
    }

    async fn nobody_heard_anything(&mut self) {
        assert_eq!(self.heard().await, [const { Vec::<Value>::new() }; 3]);
    }

    /// All three got the notice that dave has come, and nothing else.
    async fn all_heard_of_dave(&mut self, rule: i64, text: &str) {
        let golden = golden_join(rule, text);
        assert_eq!(self.heard().await, [vec![golden.clone()], vec![golden.clone()], vec![golden]]);
    }
}

/// The redacted notice that dave has come into the group of alice and bob.
fn golden_join(rule: i64, text: &str) -> Value {
    let mut card = golden_card(NAME, 3);
    card["invite_confirm"] = json!(rule);
    let mut golden = golden_notice("dave", &card, text);
    golden["from_avatar"] = json!(SYSTEM_PICTURE);
    golden["from_name"] = json!("加群申请提醒");
    golden["from_id"] = json!(format!("redirect-applyAddGroup[group]-[dave.id]-{NOW_MS}"));
    golden
}

#[tokio::test]
async fn anyone_comes_in_by_oneself_and_all_are_told() {
    let mut club = club().await;
    assert_eq!(club.dave.join(club.id).await.ok(), JOINED);
    club.all_heard_of_dave(0, "[dave] 加入了群聊").await;
    let info = club.alice.group_info(club.id).await;
    assert_eq!(info["avatar"], [PICTURE; 3].join(","));
    assert_eq!(club.alice.members(club.id).await, [club.alice.id, club.bob.id, club.dave.id]);
}

#[tokio::test]
async fn a_member_invites_and_is_named() {
    let mut club = club().await;
    assert_eq!(club.bob.invite(club.id, &club.dave).await.ok(), JOINED);
    club.all_heard_of_dave(0, "[bob]邀请 [dave] 加入了群聊").await;
}

#[tokio::test]
async fn an_inviter_goes_by_the_name_in_the_group_and_a_joiner_by_the_own() {
    let mut club = club().await;
    club.bob.set("nickname", "波波").await;
    club.dave.set("nickname", "大卫").await;
    assert_eq!(club.bob.invite(club.id, &club.dave).await.ok(), JOINED);
    assert_eq!(club.sockets[0].texts().await, ["[波波]邀请 [大卫] 加入了群聊"]);
    club.dave.leave(club.id).await.ok();
    club.bob.post("groupnickname", json!({ "id": club.id, "nickname": "小波" })).await.ok();
    assert_eq!(club.bob.invite(club.id, &club.dave).await.ok(), JOINED);
    assert_eq!(club.sockets[1].texts().await.last().unwrap(), "[小波]邀请 [大卫] 加入了群聊");
}

#[tokio::test]
async fn a_guest_who_invites_is_not_named() {
    let mut club = club().await;
    let guest = club.server.guest().await;
    guest.join(club.id).await.ok();
    guest.invite(club.id, &club.dave).await.ok();
    assert_eq!(club.sockets[2].texts().await, [format!("[{}] 加入了群聊", club.dave.username)]);
}

#[tokio::test]
async fn the_owner_is_asked_when_a_member_invites_under_approval() {
    let mut club = club_with_rule(1).await;
    club.alice.post("groupnickname", json!({ "id": club.id, "nickname": "群主" })).await.ok();
    let asked = json!({ "group_id": club.id.to_string(), "user_id": club.dave.id.to_string(),
        "inviteuser_id": club.bob.id.to_string(), "addGroupDesc": "我的同事 & 朋友" });
    assert_eq!(club.bob.post("groupInviteUser", asked).await.ok(), WAITING);

    let key = format!("redirect-applyAddGroup[group]-[dave.id]-{NOW_MS}");
    let desc = json!({ "addGroupUserType": "邀请进群", "inviteUser": "bob", "addGroupTime": NOW_MS,
        "addGroupDesc": "我的同事 & 朋友", "addGroupUserRole": "user", "msgidKey": key });
    let mut card = golden_card(NAME, 2);
    card["invite_confirm"] = json!(1);
    let [alice, bob, dave] = club.heard().await;
    assert!(bob.is_empty() && dave.is_empty());
    let url = alice[0]["redirect"]["url"].clone();
    assert_eq!(
        alice,
        [json!({
            "id": "[uuid]",
            "from_avatar": SYSTEM_PICTURE,
            "from_name": "加群处理",
            "from_id": key,
            "to_id": "[alice.id]",
            "to_name": "群主",
            "to_avatar": PICTURE,
            "chatType": "single",
            "type": "text",
            "data": { "data": "请处理申请 [bob]邀请 [dave] 加入了群[alice、bob]", "dataType": false, "otherData": null },
            "options": {},
            "create_time": NOW_MS,
            "isremove": 0,
            "group": card,
            "redirect": { "url": url, "type": "navigateTo", "desc": desc },
            "msgidKey": key,
        })]
    );
    let (picture, pictures) = (encoded(PICTURE), encoded(&[PICTURE; 2].join(",")));
    let start = format!(
        "/pages/setpageInfo/setpageInfo?action=applyAddGroup&title=%E5%8A%A0%E7%BE%A4%E7%94%B3%E8%AF%B7&id=[group]\
         &name={}&avatar={pictures}&chatType=group&applyUserid=[dave.id]&applyUsername=dave&applyUseruuid=[dave.uuid]\
         &applyUseravatar={picture}&applydesc=",
        encoded(NAME)
    );
    let applydesc = url.as_str().unwrap().strip_prefix(&start).unwrap_or_else(|| panic!("{url} begins with {start}"));
    let decoded = percent_encoding::percent_decode_str(applydesc).decode_utf8().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&decoded).unwrap(), desc);
    assert!(!applydesc.contains(['&', ' ', '"', '同']), "{applydesc}");
}

/// `encodeURIComponent`, for text without its odd exceptions.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[tokio::test]
async fn the_owner_is_asked_when_somebody_comes_alone_under_approval() {
    let mut club = club_with_rule(1).await;
    let guest = club.server.guest().await;
    assert_eq!(guest.join(club.id).await.ok(), WAITING);
    let [alice, bob, _] = club.heard().await;
    assert!(bob.is_empty());
    assert_eq!(text_of(&alice[0]), "请处理申请 [guest] 加入了群[alice、bob]");
    let desc = &alice[0]["redirect"]["desc"];
    assert_eq!(desc["addGroupUserType"], "用户自主进群");
    assert_eq!((&desc["inviteUser"], &desc["addGroupDesc"]), (&json!(""), &json!("")));
    assert_eq!(desc["addGroupUserRole"], "visitor");
}

#[tokio::test]
async fn a_request_waits_for_an_owner_who_is_away() {
    let club = club_with_rule(1).await;
    let [socket, ..] = club.sockets;
    socket.close().await;
    club.dave.join(club.id).await.ok();
    let texts = club.alice.asking_socket().await.texts().await;
    assert!(texts.last().unwrap().starts_with("请处理申请 "), "{texts:?}");
}

#[tokio::test]
async fn a_name_cannot_point_the_owner_at_somebody_else() {
    let mut club = club_with_rule(1).await;
    club.dave.set("nickname", "x&applyUserid=1#?%").await;
    club.dave.join(club.id).await.ok();
    let card = club.sockets[0].next_message().await;
    let url = card["redirect"]["url"].as_str().unwrap();
    assert!(url.contains("&applyUsername=x%26applyUserid%3D1%23%3F%25&applyUseruuid="), "{url}");
    assert!(text_of(&card).contains("[x&applyUserid=1#?%]"));
}

#[tokio::test]
async fn too_long_a_reason_is_dropped() {
    let mut club = club_with_rule(1).await;
    for (count, kept) in [(501, 0), (500, 500)] {
        let reason = "长".repeat(count);
        let asked = json!({ "group_id": club.id, "user_id": club.dave.id, "addGroupDesc": reason });
        assert_eq!(club.dave.post("groupInviteUser", asked).await.ok(), WAITING);
        let card = club.sockets[0].next_message().await;
        assert_eq!(card["redirect"]["desc"]["addGroupDesc"].as_str().unwrap().chars().count(), kept);
        club.alice.decide(club.id, &club.dave, "no").await.ok();
    }
}

#[tokio::test]
async fn the_owner_s_guests_come_in_at_once_under_every_rule() {
    for rule in [1, 2] {
        let mut club = club_with_rule(rule).await;
        assert_eq!(club.alice.invite(club.id, &club.dave).await.ok(), JOINED);
        club.all_heard_of_dave(rule, "[alice]邀请 [dave] 加入了群聊").await;
        let guest = club.server.guest().await;
        assert_eq!(club.alice.invite(club.id, &guest).await.ok(), JOINED);
    }
}

#[tokio::test]
async fn guests_log_in_first_where_the_rule_says_so_and_users_come_in_at_once() {
    let mut club = club_with_rule(2).await;
    let guest = club.server.guest().await;
    guest.join(club.id).await.refused(400, "请先登录再申请进群");
    club.bob.invite(club.id, &guest).await.refused(400, "请先登录再申请进群");
    club.nobody_heard_anything().await;
    assert_eq!(club.dave.join(club.id).await.ok(), JOINED);
    club.all_heard_of_dave(2, "[dave] 加入了群聊").await;
}

#[tokio::test]
async fn rules_that_nobody_knows_let_everyone_in() {
    for rule in [3, 10] {
        let mut club = club_with_rule(rule).await;
        assert_eq!(club.bob.invite(club.id, &club.dave).await.ok(), JOINED);
        club.all_heard_of_dave(rule, "[bob]邀请 [dave] 加入了群聊").await;
        assert_eq!(club.server.guest().await.join(club.id).await.ok(), JOINED);
    }
}

#[tokio::test]
async fn invitations_are_refused_in_the_contract_s_order() {
    const CLOSED: &str = "群不存在或者被封禁";
    let club = club_with_rule(1).await;
    let (id, server, alice, bob, dave) = (club.id, &club.server, &club.alice, &club.bob, &club.dave);
    dave.join(999_999_999).await.refused(400, CLOSED);
    // Nobody speaks for others, and who is outside invites nobody.
    let claim = |user: i64, inviter: i64| json!({ "group_id": id, "user_id": user, "inviteuser_id": inviter });
    for (who, user, inviter) in [
        (dave, dave.id, alice.id),
        (dave, dave.id, bob.id),
        (bob, dave.id, alice.id),
        (dave, bob.id, dave.id),
        (bob, dave.id, -1),
        (bob, dave.id, 0),
        (dave, alice.id, 0),
    ] {
        who.post("groupInviteUser", claim(user, inviter)).await.refused(400, ILLEGAL);
    }
    bob.join(id).await.refused(400, "用户已经在群里");
    bob.invite(id, alice).await.refused(400, "用户已经在群里");
    bob.invite(id, bob).await.refused(400, "用户已经在群里");
    assert_eq!(dave.join(id).await.ok(), WAITING);
    dave.join(id).await.refused(400, "已申请加入群聊，正在等待群主同意");
    alice.invite(id, dave).await.refused(400, "已申请加入群聊，正在等待群主同意");
    // Who waits invites nobody.
    let erin = server.user("erin").await;
    dave.invite(id, &erin).await.refused(400, ILLEGAL);
    let nobody = json!({ "group_id": id, "user_id": 999_999_999, "inviteuser_id": bob.id });
    bob.post("groupInviteUser", nobody).await.refused(400, "加群的用户不存在或已被封禁，无法加入群聊");
    server.sql("UPDATE users SET status = 0 WHERE id = ?", &[erin.id.into()]).await;
    server.advance(CACHE_MS);
    bob.invite(id, &erin).await.refused(400, "加群的用户不存在或已被封禁，无法加入群聊");
    server.sql("UPDATE chat_groups SET status = 2 WHERE id = ?", &[id.into()]).await;
    bob.invite(id, &erin).await.refused(400, CLOSED);
}

#[tokio::test]
async fn who_is_muted_invites_nobody_and_is_in_the_group() {
    let club = club().await;
    let mute = "UPDATE group_members SET status = 0 WHERE group_id = ? AND user_id = ?";
    club.server.sql(mute, &[club.id.into(), club.bob.id.into()]).await;
    club.server.sql("UPDATE chat_groups SET version = version + 1 WHERE id = ?", &[club.id.into()]).await;
    club.bob.invite(club.id, &club.dave).await.refused(400, ILLEGAL);
    club.bob.join(club.id).await.refused(400, "用户已经在群里");
    club.bob.say_in(club.id, "hi").await.refused(400, "您不在群里，无法发消息");
}

#[tokio::test]
async fn who_is_approved_comes_in_and_all_are_told() {
    let mut club = club_with_rule(1).await;
    club.bob.invite(club.id, &club.dave).await.ok();
    club.heard().await;
    assert_eq!(club.alice.members(club.id).await.len(), 2, "who waits is not shown");
    assert_eq!(club.alice.decide(club.id, &club.dave, "agree").await.ok(), "处理成功");
    club.all_heard_of_dave(1, "[dave] 加入了群聊").await;
    assert_eq!(club.alice.group_info(club.id).await["avatar"], [PICTURE; 3].join(","));
    club.dave.say_in(club.id, "hi").await.ok();
    club.alice.decide(club.id, &club.dave, "agree").await.refused(400, ILLEGAL);
}

#[tokio::test]
async fn who_is_not_approved_is_not_told_and_may_ask_again() {
    let mut club = club_with_rule(1).await;
    club.dave.join(club.id).await.ok();
    assert_eq!(club.heard().await[0].len(), 1);
    assert_eq!(club.alice.decide(club.id, &club.dave, "no").await.ok(), "处理成功");
    club.nobody_heard_anything().await;
    club.alice.decide(club.id, &club.dave, "agree").await.refused(400, ILLEGAL);
    assert_eq!(club.dave.join(club.id).await.ok(), WAITING);
    assert_eq!(club.heard().await[0].len(), 1);
}

#[tokio::test]
async fn only_the_owner_of_an_open_group_decides_and_only_about_those_who_wait() {
    const REFUSED: &str = "群不存在或者被封禁或者你无权操作";
    let club = club_with_rule(1).await;
    club.dave.join(club.id).await.ok();
    for kind in ["agree", "no"] {
        for who in [&club.bob, &club.dave, &club.server.user("stranger").await] {
            who.decide(club.id, &club.dave, kind).await.refused(400, REFUSED);
        }
        club.alice.decide(999_999_999, &club.dave, kind).await.refused(400, REFUSED);
        for nobody in [&club.bob, &club.alice, &club.server.user("erin").await] {
            club.alice.decide(club.id, nobody, kind).await.refused(400, ILLEGAL);
        }
    }
    club.server.sql("UPDATE chat_groups SET status = 2 WHERE id = ?", &[club.id.into()]).await;
    club.alice.decide(club.id, &club.dave, "agree").await.refused(400, REFUSED);
}

#[tokio::test]
async fn a_decision_about_a_disabled_account_stands_and_is_told_to_nobody() {
    for (kind, then) in [("agree", "用户已经在群里"), ("no", "加群的用户不存在或已被封禁，无法加入群聊")]
    {
        let mut club = club_with_rule(1).await;
        club.dave.join(club.id).await.ok();
        assert_eq!(club.sockets[0].catch_up().await.len(), 1);
        club.server.sql("UPDATE users SET status = 2 WHERE id = ?", &[club.dave.id.into()]).await;
        club.server.advance(CACHE_MS);
        club.alice.decide(club.id, &club.dave, kind).await.refused(400, "用户不存在或者被封禁");
        club.alice.invite(club.id, &club.dave).await.refused(400, then);
        assert!(club.sockets[0].catch_up().await.is_empty());
    }
}

/// Applying and leaving in turns would be a way to write to somebody who has blocked me (decision 20).
#[tokio::test]
async fn an_owner_hears_nothing_of_those_whom_he_blocks() {
    let mut club = club_with_rule(1).await;
    club.alice.befriend(&club.dave).await;
    club.alice.turn_block(&club.dave).await;
    club.heard().await;
    for _ in 0..2 {
        assert_eq!(club.dave.join(club.id).await.ok(), WAITING);
        club.dave.leave(club.id).await.ok();
    }
    club.nobody_heard_anything().await;
    // Nor by way of somebody else's name.
    club.alice.turn_block(&club.bob).await;
    let guest = club.server.guest().await;
    assert_eq!(club.bob.invite(club.id, &guest).await.ok(), WAITING);
    club.nobody_heard_anything().await;
    club.alice.turn_block(&club.bob).await;
    assert_eq!(club.bob.invite(club.id, &club.dave).await.ok(), WAITING);
    club.dave.leave(club.id).await.ok();
    club.nobody_heard_anything().await;
    club.alice.turn_block(&club.dave).await;
    assert_eq!(club.dave.join(club.id).await.ok(), WAITING);
    assert_eq!(club.heard().await.map(|messages| messages.len()), [1, 0, 0]);
}

#[tokio::test]
async fn two_invitations_of_one_person_make_one_member() {
    for rule in [0, 1] {
        let mut club = club_with_rule(rule).await;
        let second =
            if rule == 0 { "用户已经在群里" } else { "已申请加入群聊，正在等待群主同意" };
        let club_now = &club;
        let calls = (0..8).map(|i| async move {
            let club = club_now;
            if i % 2 == 0 { club.dave.join(club.id).await } else { club.bob.invite(club.id, &club.dave).await }
        });
        let replies = futures_util::future::join_all(calls).await;
        let (done, refused): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 200);
        assert_eq!(done.len(), 1);
        for reply in refused {
            reply.refused(400, second);
        }
        let heard = club.heard().await;
        let counts = if rule == 0 { [1, 1, 1] } else { [1, 0, 0] };
        assert_eq!(heard.map(|messages| messages.len()), counts, "told once");
    }
}

#[tokio::test]
async fn approval_against_quitting_leaves_one_of_the_two() {
    for _ in 0..6 {
        let mut club = club_with_rule(1).await;
        club.dave.join(club.id).await.ok();
        club.heard().await;
        let (agreed, left) = tokio::join!(club.alice.decide(club.id, &club.dave, "agree"), club.dave.leave(club.id));
        left.ok();
        let texts = club.sockets[0].texts().await;
        let quit = format!("{}于 9/4/2025, 11:33:20 PM 已退出群聊", club.dave.username);
        if agreed.status == 200 {
            assert_eq!(texts, [format!("[{}] 加入了群聊", club.dave.username), quit]);
        } else {
            agreed.refused(400, ILLEGAL);
            assert_eq!(texts, [quit]);
        }
        assert_eq!(club.alice.members(club.id).await, [club.alice.id, club.bob.id]);
        assert_eq!(club.alice.group_info(club.id).await["group_users"].as_array().unwrap().len(), 2);
        club.dave.say_in(club.id, "hi").await.refused(400, "您不在群里，无法发消息");
    }
}

#[tokio::test]
async fn decisions_at_once_are_one_decision() {
    let mut club = club_with_rule(1).await;
    club.dave.join(club.id).await.ok();
    club.heard().await;
    let calls = (0..8).map(|i| {
        let kind = if i % 2 == 0 { "agree" } else { "no" };
        club.alice.decide(club.id, &club.dave, kind)
    });
    let replies = futures_util::future::join_all(calls).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
    let joined = club.alice.members(club.id).await.len() == 3;
    assert_eq!(club.heard().await[1].len(), usize::from(joined));
}
