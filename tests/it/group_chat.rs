//! Talking in groups and taking back what was said (contract: messaging §4.20, 4.32; decisions 7, 19).

use serde_json::{Value, json};

use crate::support::{CACHE_MS, NOW_MS, PICTURE, Person, Socket, TestServer, golden_card, golden_notice, text_of};

const NAME: &str = "alice、bob、carol";
const MINUTE_MS: i64 = 60_000;

/// A group of alice's with bob and carol, each with a socket on which nothing is pending.
struct Talk {
    server: TestServer,
    id: i64,
    alice: Person,
    bob: Person,
    carol: Person,
    /// Of alice, bob and carol.
    sockets: [Socket; 3],
}

async fn talk() -> Talk {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let carol = server.user("carol").await;
    let id = alice.group(&[&bob, &carol]).await;
    let sockets = [alice.listen().await, bob.listen().await, carol.listen().await];
    Talk { server, id, alice, bob, carol, sockets }
}

impl Talk {
    /// The texts that alice, bob and carol got until now.
    async fn texts(&mut self) -> [Vec<String>; 3] {
        let [alice, bob, carol] = &mut self.sockets;
        [alice.texts().await, bob.texts().await, carol.texts().await]
    }
}

#[tokio::test]
async fn a_message_reaches_every_active_member_but_the_sender() {
    let mut talk = talk().await;
    let body = json!({
        "sendto_id": talk.id.to_string(),
        "chatType": "group",
        "type": "text",
        "data": { "data": "大家好", "dataType": false, "otherData": null },
        "options": "%7B%22a%22%3A1%7D",
    });
    let reply = talk.bob.post("socket/sendmessage", body).await.ok();
    let pictures = [PICTURE; 3].join(",");
    let golden = json!({
        "id": "[uuid]",
        "from_avatar": PICTURE,
        "from_name": "bob",
        "from_id": "[bob.id]",
        "to_id": "[group]",
        "to_name": NAME,
        "to_avatar": pictures,
        "chatType": "group",
        "type": "text",
        "data": r#"{"data":"大家好","dataType":false,"otherData":null}"#,
        "options": { "a": 1 },
        "create_time": NOW_MS,
        "isremove": 0,
        "group": golden_card(NAME, 3),
        "sendUUid": "[bob.uuid]",
    });
    assert_eq!(talk.server.redacted(&reply), golden);
    assert!(reply["to_id"].is_number() && reply["from_id"].is_number());
    for place in [0, 2] {
        assert_eq!(talk.sockets[place].next_message().await, reply);
    }
    for socket in &mut talk.sockets {
        assert!(socket.catch_up().await.is_empty());
    }
}

#[tokio::test]
async fn names_and_pictures_of_the_group_come_first() {
    let mut talk = talk().await;
    talk.bob.set("nickname", "波波").await;
    assert_eq!(talk.bob.say_in(talk.id, "1").await.ok()["from_name"], "波波");
    talk.bob.post("groupnickname", json!({ "id": talk.id, "nickname": "小波" })).await.ok();
    let reply = talk.bob.say_in(talk.id, "2").await.ok();
    assert_eq!(reply["from_name"], "小波");
    // A picture of one's own in a group comes from an import only.
    let picture = "UPDATE group_members SET avatar = '/b.png' WHERE group_id = ? AND user_id = ?";
    talk.server.sql(picture, &[talk.id.into(), talk.bob.id.into()]).await;
    talk.server.sql("UPDATE chat_groups SET version = version + 1 WHERE id = ?", &[talk.id.into()]).await;
    talk.bob.say_in(talk.id, "3").await.ok();
    assert_eq!(talk.bob.say_in(talk.id, "4").await.ok()["from_avatar"], "/b.png");
    assert_eq!(talk.sockets[0].texts().await, ["1", "2", "3", "4"]);
}

#[tokio::test]
async fn only_active_members_of_an_open_group_speak() {
    const CLOSED: &str = "群不存在或者已解散或者被封禁，无法发消息";
    const OUTSIDE: &str = "您不在群里，无法发消息";
    let mut talk = talk().await;
    let (id, server) = (talk.id, &talk.server);
    let stranger = server.user("stranger").await;
    stranger.say_in(id, "x").await.refused(400, OUTSIDE);
    stranger.say_in(999_999_999, "x").await.refused(400, CLOSED);
    talk.alice.set_join_rule(id, 1).await;
    stranger.join(id).await.ok();
    stranger.say_in(id, "x").await.refused(400, OUTSIDE);
    // Locked by somebody else: noticed when the message is to be stored.
    server.sql("UPDATE chat_groups SET status = 2 WHERE id = ?", &[id.into()]).await;
    talk.bob.say_in(id, "x").await.refused(400, CLOSED);
    server.sql("UPDATE chat_groups SET status = 1 WHERE id = ?", &[id.into()]).await;
    let mute = "UPDATE group_members SET status = 0 WHERE group_id = ?";
    server.sql(mute, &[id.into()]).await;
    server.sql("UPDATE chat_groups SET version = version + 1 WHERE id = ?", &[id.into()]).await;
    talk.bob.say_in(id, "x").await.refused(400, OUTSIDE);
    talk.bob.say_in(id, "x").await.refused(400, CLOSED);
    assert!(talk.sockets[2].catch_up().await.is_empty());
}

/// There is no route that mutes: an operator does it in the database.
#[tokio::test]
async fn who_is_muted_by_hand_is_noticed_within_half_a_minute() {
    let mut talk = talk().await;
    let (id, server) = (talk.id, &talk.server);
    talk.bob.say_in(id, "mine").await.ok();
    // What is kept of a group that is changed is as old as it was.
    server.advance(CACHE_MS / 2);
    talk.alice.rename(id, "busy").await.ok();
    let mute = "UPDATE group_members SET status = 0 WHERE group_id = ? AND user_id = ?";
    server.sql(mute, &[id.into(), talk.bob.id.into()]).await;
    server.advance(CACHE_MS / 2 + 1);
    talk.bob.say_in(id, "x").await.refused(400, "您不在群里，无法发消息");
    talk.sockets[1].catch_up().await;
    talk.alice.say_in(id, "not for bob").await.ok();
    assert!(talk.sockets[1].catch_up().await.is_empty());
}

#[tokio::test]
async fn messages_at_once_reach_all_in_one_order() {
    let mut talk = talk().await;
    let calls = (0..60).map(|i| {
        let who = [&talk.alice, &talk.bob, &talk.carol][i % 3];
        let id = talk.id;
        async move { who.say_in(id, &i.to_string()).await.ok() }
    });
    futures_util::future::join_all(calls).await;
    let [alice, bob, carol] = talk.texts().await;
    let said_by = |place: usize| move |text: &&String| text.parse::<usize>().unwrap() % 3 == place;
    let others = |texts: &[String], mine: usize, theirs: usize| -> Vec<String> {
        assert!(!texts.iter().any(|text| said_by(mine)(&text)), "no echo");
        texts.iter().filter(said_by(theirs)).cloned().collect()
    };
    assert_eq!((alice.len(), bob.len(), carol.len()), (40, 40, 40));
    assert_eq!(others(&alice, 0, 2), others(&bob, 1, 2));
    assert_eq!(others(&alice, 0, 1), others(&carol, 2, 1));
    assert_eq!(others(&bob, 1, 0), others(&carol, 2, 0));
}

#[tokio::test]
async fn messages_to_many_groups_at_once_arrive_once_whatever_another_program_did_to_some_of_them() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let mut groups = Vec::new();
    for _ in 0..6 {
        groups.push(alice.group(&[&bob]).await);
    }
    // Groups of which the server knows the newest number, and others.
    for group in &groups[..5] {
        alice.say_in(*group, "first").await.ok();
    }
    let mut socket = bob.listen().await;
    server.sql("UPDATE chat_groups SET last_seq = last_seq + 7 WHERE id = ?", &[groups[1].into()]).await;
    server.sql("UPDATE chat_groups SET version = version + 1 WHERE id = ?", &[groups[2].into()]).await;
    server.sql("UPDATE chat_groups SET status = 2 WHERE id = ?", &[groups[3].into()]).await;
    let say_all = async |round: usize| {
        let says = (0..24).map(|n| (n, groups[n % 6], format!("{round}.{n:02}")));
        let says = says.map(|(n, group, text)| {
            let alice = &alice;
            async move { (n, alice.say_in(group, &text).await.status, text) }
        });
        let said = futures_util::future::join_all(says).await;
        let expected = |n: usize| if n % 6 == 3 { 400 } else { 200 };
        assert!(said.iter().all(|(n, status, _)| *status == expected(*n)), "{said:?}");
        said.into_iter().filter(|(_, status, _)| *status == 200).map(|(_, _, text)| text).collect::<Vec<_>>()
    };
    let sorted = |mut texts: Vec<String>| {
        texts.sort();
        texts
    };
    assert_eq!(sorted(say_all(1).await), sorted(socket.texts().await));
    assert_eq!(sorted(say_all(2).await), sorted(socket.texts().await));
    socket.go().await;
    let missed = say_all(3).await;
    assert_eq!(sorted(missed), sorted(bob.asking_socket().await.texts().await));
}

#[tokio::test]
async fn what_is_taken_back_is_told_to_all_the_sender_included() {
    let mut talk = talk().await;
    talk.bob.post("groupnickname", json!({ "id": talk.id, "nickname": "小波" })).await.ok();
    let sent = talk.bob.say_in(talk.id, "oops").await.ok();
    talk.server.advance(1000);
    let reply = talk.bob.revoke(&sent).await.ok();
    assert_eq!(reply["id"], sent["id"]);
    let mut golden = golden_notice("bob", &golden_card(NAME, 3), "小波 撤回了一条消息");
    golden["from_name"] = json!("小波");
    golden["actionType"] = json!("revoke");
    golden["create_time"] = json!(NOW_MS + 1000);
    golden["group"] = Value::Null;
    assert_eq!(talk.server.redacted(&reply), golden);
    let mut heard = Vec::new();
    for socket in &mut talk.sockets {
        heard.push(socket.catch_up().await);
    }
    assert_eq!(heard, [vec![sent.clone(), reply.clone()], vec![reply.clone()], vec![sent, reply]]);
}

#[tokio::test]
async fn the_owner_takes_back_anything_and_others_only_their_own() {
    let mut talk = talk().await;
    let sent = talk.bob.say_in(talk.id, "rude").await.ok();
    talk.carol.revoke(&sent).await.refused(400, "消息不存在或无权撤回");
    let reply = talk.alice.revoke(&sent).await.ok();
    assert_eq!((text_of(&reply), &reply["id"]), (format!("{} 撤回了一条消息", talk.alice.username), &sent["id"]));
    assert_eq!(talk.sockets[1].next_message().await, reply);
    let mine = talk.alice.say_in(talk.id, "mine").await.ok();
    talk.bob.revoke(&mine).await.refused(400, "消息不存在或无权撤回");
}

#[tokio::test]
async fn nothing_is_taken_back_after_five_minutes() {
    let talk = talk().await;
    let sent = talk.bob.say_in(talk.id, "old").await.ok();
    talk.server.advance(5 * MINUTE_MS);
    talk.bob.revoke(&sent).await.ok();
    let sent = talk.bob.say_in(talk.id, "older").await.ok();
    talk.server.advance(5 * MINUTE_MS + 1);
    for who in [&talk.bob, &talk.alice] {
        who.revoke(&sent).await.refused(400, "消息超过5分钟，不能撤回");
    }
}

#[tokio::test]
async fn a_message_is_taken_back_only_where_it_was_said() {
    let talk = talk().await;
    let other = talk.alice.group(&[&talk.bob]).await;
    let sent = talk.bob.say_in(talk.id, "here").await.ok();
    let asked = |change: Value| {
        let mut message = sent.clone();
        message.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        message
    };
    talk.bob.revoke(&asked(json!({ "to_id": other }))).await.refused(400, "消息不存在或无权撤回");
    talk.bob.revoke(&asked(json!({ "id": "no uuid" }))).await.refused(400, "消息不存在或无权撤回");
    let private = asked(json!({ "chatType": "single", "to_id": talk.carol.id, "to_avatar": PICTURE }));
    talk.bob.revoke(&private).await.refused(400, "消息不存在或无权撤回");
    talk.bob.revoke(&asked(json!({ "to_id": 999_999_999 }))).await.refused(400, "群不存在");
    talk.server.user("stranger").await.revoke(&sent).await.refused(400, "你不在该群聊中，操作失败");
    talk.bob.leave(talk.id).await.ok();
    talk.bob.revoke(&sent).await.refused(400, "你不在该群聊中，操作失败");
    talk.alice.leave(talk.id).await.ok();
    talk.alice.revoke(&sent).await.refused(400, "群不存在");
}

#[tokio::test]
async fn a_notice_cannot_be_taken_back() {
    let mut talk = talk().await;
    talk.alice.rename(talk.id, "甲").await.ok();
    let notice = talk.sockets[0].next_message().await;
    talk.alice.revoke(&notice).await.refused(400, "消息不存在或无权撤回");
}

#[tokio::test]
async fn what_was_taken_back_before_it_was_delivered_arrives_empty() {
    let talk = talk().await;
    let [alice, bob, carol] = talk.sockets;
    carol.close().await;
    drop((alice, bob));
    talk.bob.say_in(talk.id, "first").await.ok();
    let sent = talk.bob.say_in(talk.id, "secret").await.ok();
    talk.bob.say_in(talk.id, "last").await.ok();
    let revoked = talk.bob.revoke(&sent).await.ok();
    let mut socket = talk.carol.asking_socket().await;
    let pending = socket.catch_up().await;
    let pending: Vec<_> = pending.iter().skip_while(|message| text_of(message) != "first").collect();
    let mut emptied = sent.clone();
    emptied["data"] = json!(r#"{"data":"","dataType":false,"otherData":null}"#);
    emptied["isremove"] = json!(1);
    assert_eq!(pending.len(), 4);
    assert_eq!((pending[1], text_of(pending[2]), pending[3]), (&emptied, "last".to_owned(), &revoked));
}

#[tokio::test]
async fn a_new_member_hears_that_an_older_message_was_taken_back() {
    let mut talk = talk().await;
    let sent = talk.bob.say_in(talk.id, "before").await.ok();
    let dave = talk.server.user("dave").await;
    let mut socket = dave.listen().await;
    dave.join(talk.id).await.ok();
    talk.bob.revoke(&sent).await.ok();
    let texts = socket.texts().await;
    assert_eq!(texts[1..], [format!("{} 撤回了一条消息", talk.bob.username)]);
    assert_eq!(talk.sockets[0].texts().await.len(), 3);
}

#[tokio::test]
async fn who_is_removed_while_speaking_is_heard_before_or_not_at_all() {
    let mut talk = talk().await;
    for round in 0..8 {
        let text = format!("round {round}");
        let calls = (0..6).map(|_| talk.bob.say_in(talk.id, &text));
        let (replies, removed) =
            tokio::join!(futures_util::future::join_all(calls), talk.alice.remove(talk.id, &talk.bob));
        removed.ok();
        let accepted = replies.iter().filter(|reply| reply.status == 200).count();
        for reply in replies.iter().filter(|reply| reply.status != 200) {
            reply.refused(400, "您不在群里，无法发消息");
        }
        talk.alice.say_in(talk.id, "after").await.ok();
        let [alice, bob, carol] = talk.texts().await;
        assert_eq!(alice, vec![text.clone(); accepted]);
        assert_eq!(carol, [vec![text; accepted], vec!["after".to_owned()]].concat());
        assert!(bob.is_empty(), "who is out hears nothing: {bob:?}");
        talk.alice.invite(talk.id, &talk.bob).await.ok();
        talk.texts().await;
    }
}

#[tokio::test]
async fn who_is_removed_gets_what_was_said_before_and_nothing_that_was_said_after() {
    let mut talk = talk().await;
    for _ in 0..8 {
        let calls = (0..10).map(|i| {
            let carol = talk.carol.clone();
            let (id, text) = (talk.id, i.to_string());
            async move { carol.say_in(id, &text).await.ok() }
        });
        let (_, removed) = tokio::join!(futures_util::future::join_all(calls), talk.alice.remove(talk.id, &talk.bob));
        removed.ok();
        let [alice, bob, _] = talk.texts().await;
        assert_eq!(alice.len(), 10);
        assert_eq!(bob, alice[..bob.len()], "a beginning of what the others got");
        talk.alice.invite(talk.id, &talk.bob).await.ok();
        talk.texts().await;
    }
}

#[tokio::test]
async fn nothing_is_said_after_the_end_of_a_group() {
    for _ in 0..6 {
        let mut talk = talk().await;
        let calls = (0..10).map(|i| {
            let carol = talk.carol.clone();
            let (id, text) = (talk.id, i.to_string());
            async move { carol.say_in(id, &text).await }
        });
        let (replies, ended) = tokio::join!(futures_util::future::join_all(calls), talk.alice.leave(talk.id));
        ended.ok();
        let accepted = replies.iter().filter(|reply| reply.status == 200).count();
        for reply in replies.iter().filter(|reply| reply.status != 200) {
            reply.refused(400, "群不存在或者已解散或者被封禁，无法发消息");
        }
        let [alice, bob, carol] = talk.texts().await;
        assert_eq!((alice.len(), bob.len(), carol.len()), (accepted + 1, accepted + 1, 1));
        assert_eq!(alice, bob);
        for texts in [alice, bob, carol] {
            assert!(texts.last().unwrap().contains("解散了该群"), "the end is the last: {texts:?}");
        }
    }
}
