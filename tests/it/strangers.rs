//! Who may write to whom: the limits that a person sets for strangers, and the blacklist (contract: people §3 "userset
//! JSON", messaging §4.20, decision 20).

use serde_json::json;

use crate::single_chat::ONE_ONLY;
use crate::support::{Person, TestServer};

const FRIENDS_ONLY: &str = "对方设置成：需要您先成为他的好友才能发消息";
const BLOCKED: &str = "对方把你拉黑了，不能发送消息";
const LOGIN_FIRST: &str = "你们不是好友关系，对方设置成：先登录才能发消息";

/// How many messages somebody takes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Takes {
    Nothing,
    One,
    Any,
}

/// Sends two messages and tells how many were taken.
async fn tried(from: &Person, to: &Person, refusal_of_none: &str) -> Takes {
    let first = from.say(to, "one").await;
    if first.status != 200 {
        first.refused(400, refusal_of_none);
        return Takes::Nothing;
    }
    let second = from.say(to, "two").await;
    if second.status != 200 {
        second.refused(400, ONE_ONLY);
        return Takes::One;
    }
    Takes::Any
}

async fn limit(person: &Person, userset: &str) {
    assert_eq!(person.post("userset", json!({ "userset": userset })).await.ok(), "ok");
}

#[tokio::test]
async fn settings_of_every_age_limit_users_and_guests() {
    use Takes::{Any, Nothing, One};
    let server = TestServer::start().await;
    let forms = [
        (
            r#"{"chatset":{"visitor":{"sendCount":0,"needFollow":false},"user":{"sendCount":0,"needFollow":false}}}"#,
            Nothing,
            Nothing,
        ),
        (
            r#"{"chatset":{"visitor":{"sendCount":1,"needFollow":true},"user":{"sendCount":1,"needFollow":true}}}"#,
            One,
            One,
        ),
        (
            r#"{"chatset":{"visitor":{"sendCount":2,"needFollow":true},"user":{"sendCount":2,"needFollow":true}}}"#,
            Any,
            Any,
        ),
        (r#"{"chatset":{"visitor":{"sendCount":0},"user":{"sendCount":2}}}"#, Any, Nothing),
        (r#"{"chatset":{"visitor":{"sendCount":2},"user":{"sendCount":0}}}"#, Nothing, Any),
        // The first clients wrote bare numbers: the old server saw no count in them.
        (r#"{"chatset":{"visitor":0,"user":0}}"#, Any, Any),
        (r#"{"chatset":{"visitor":{"sendCount":"0"},"user":{"sendCount":"1"}}}"#, Any, Any),
        // Malformed, or a side is missing: as empty.
        (r#"{"chatset":{}}"#, One, One),
        (r#"{"chatset":{"user":{"sendCount":2}}}"#, Any, One),
        (r#"{"chatset":{"visitor":{"sendCount":2}}}"#, One, Any),
        (r#"{"chatset":null}"#, One, One),
        ("{}", One, One),
        ("[]", One, One),
        ("{{", One, One),
        ("null", One, One),
    ];
    for (userset, users, guests) in forms {
        let (target, user, guest) = (server.user("target").await, server.user("user").await, server.guest().await);
        limit(&target, userset).await;
        assert_eq!(tried(&user, &target, FRIENDS_ONLY).await, users, "users by {userset}");
        assert_eq!(tried(&guest, &target, LOGIN_FIRST).await, guests, "guests by {userset}");
    }
}

#[tokio::test]
async fn who_set_nothing_takes_one_message_from_each_stranger() {
    let server = TestServer::start().await;
    let (target, user, guest) = (server.user("target").await, server.user("user").await, server.guest().await);
    assert_eq!(tried(&user, &target, "").await, Takes::One);
    assert_eq!(tried(&guest, &target, "").await, Takes::One);
    assert_eq!(tried(&target, &user, "").await, Takes::One, "each direction counts for itself");
    user.say(&target, "still one").await.refused(400, ONE_ONLY);
}

#[tokio::test]
async fn what_waits_for_an_absent_person_counts() {
    let server = TestServer::start().await;
    let (target, user) = server.users("target", "user").await;
    user.say(&target, "one").await.ok();
    user.say(&target, "two").await.refused(400, ONE_ONLY);
    let mut socket = target.asking_socket().await;
    assert_eq!(socket.next_text().await, "one");
    user.say(&target, "two").await.refused(400, ONE_ONLY);
    socket.expect_silence().await;
}

#[tokio::test]
async fn of_first_messages_that_race_one_is_taken() {
    let server = TestServer::start().await;
    let (target, user) = server.users("target", "user").await;
    let replies = futures_util::future::join_all((0..8).map(|_| user.say(&target, "first"))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
    replies.iter().filter(|reply| reply.status != 200).for_each(|reply| reply.refused(400, ONE_ONLY));
}

#[tokio::test]
async fn the_limit_is_counted_across_a_restart() {
    let server = TestServer::start().await;
    let (target, user) = server.users("target", "user").await;
    user.say(&target, "one").await.ok();
    let _server = server.restart().await;
    user.say(&target, "two").await.refused(400, ONE_ONLY);
}

#[tokio::test]
async fn limits_do_not_bind_friends() {
    let server = TestServer::start().await;
    let (target, user, guest) = (server.user("target").await, server.user("user").await, server.guest().await);
    limit(&target, r#"{"chatset":{"visitor":{"sendCount":0},"user":{"sendCount":0}}}"#).await;
    for friend in [&user, &guest] {
        friend.befriend(&target).await;
        assert_eq!(tried(friend, &target, "").await, Takes::Any);
    }
    user.post(&format!("deletegoodfriend/{}", target.id), json!({})).await.ok();
    user.say(&target, "again").await.refused(400, FRIENDS_ONLY);
    limit(&target, r#"{"chatset":{"user":{"sendCount":1}}}"#).await;
    user.say(&target, "again").await.refused(400, ONE_ONLY);
}

#[tokio::test]
async fn the_blacklist_binds_whatever_the_limits() {
    let server = TestServer::start().await;
    let (target, user, guest) = (server.user("target").await, server.user("user").await, server.guest().await);
    for (sender, text) in [(&user, BLOCKED), (&guest, "对方把你拉黑了，不能发消息")] {
        sender.befriend(&target).await;
        for count in 0..3 {
            let userset = json!({ "chatset": { "visitor": { "sendCount": count }, "user": { "sendCount": count } } });
            limit(&target, &userset.to_string()).await;
            target.turn_block(sender).await;
            sender.say(&target, "blocked").await.refused(400, text);
            target.turn_block(sender).await;
            sender.say(&target, "not blocked").await.ok();
        }
    }
}

/// Leaving takes me out of the other's list, but not out of the blacklist (decision 20).
#[tokio::test]
async fn nobody_gets_out_of_a_blacklist_by_parting() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    alice.befriend(&bob).await;
    alice.turn_block(&bob).await;
    bob.say(&alice, "hello").await.refused(400, BLOCKED);
    assert_eq!(bob.post(&format!("deletegoodfriend/{}", alice.id), json!({})).await.ok(), "删除好友成功");
    assert!(bob.friends().await.is_empty());
    bob.say(&alice, "hello").await.refused(400, BLOCKED);
    // Even as a friend again, of which nobody tells her.
    let mut socket = alice.asking_socket().await;
    socket.next_messages(1).await;
    bob.post("autoAddFriendAndAgree", json!({ "friend_id": alice.id })).await.ok();
    bob.say(&alice, "hello").await.refused(400, BLOCKED);
    socket.expect_silence().await;
    assert_eq!(alice.post(&format!("deletegoodfriend/{}", bob.id), json!({})).await.ok(), "删除好友成功");
    bob.say(&alice, "hello").await.ok();
}

#[tokio::test]
async fn blocking_somebody_does_not_bind_the_one_who_blocks() {
    let server = TestServer::start().await;
    let (me, other) = server.users("me", "other").await;
    me.befriend(&other).await;
    me.turn_block(&other).await;
    assert_eq!(tried(&me, &other, "").await, Takes::Any);
}

#[tokio::test]
async fn a_friendship_that_the_system_blocked_binds() {
    let server = TestServer::start().await;
    let (target, user, guest) = (server.user("target").await, server.user("user").await, server.guest().await);
    for (sender, text) in [(&user, "系统把你们拉黑了，不能发送消息"), (&guest, "系统把你们拉黑了，不能发消息")]
    {
        sender.befriend(&target).await;
        let statement = "UPDATE friends SET status = 0 WHERE user_id = ? AND friend_id = ?";
        server.alter(statement, &[target.id, sender.id]).await;
        sender.say(&target, "hello").await.refused(400, text);
    }
}

#[tokio::test]
async fn a_registered_person_in_guest_mode_counts_as_user() {
    let server = TestServer::start().await;
    let (target, user) = server.users("target", "user").await;
    limit(&target, r#"{"chatset":{"visitor":{"sendCount":0},"user":{"sendCount":2}}}"#).await;
    // It is the row that counts, not the token; an import may have left guests whose rows are registered.
    let guest = server.guest().await;
    guest.say(&target, "hello").await.refused(400, LOGIN_FIRST);
    server.alter("UPDATE users SET role = 'user' WHERE id = ?", &[guest.id]).await;
    assert_eq!(tried(&guest, &target, "").await, Takes::Any);
    assert_eq!(tried(&user, &target, "").await, Takes::Any);
}

#[tokio::test]
async fn a_blocked_friend_is_left_out_of_a_new_group() {
    let server = TestServer::start().await;
    let (me, other) = server.users("me", "other").await;
    me.befriend(&other).await;
    let row = me.friends().await[0]["id"].clone();
    me.turn_block(&other).await;
    let reply = me.post("group/create", json!({ "userIds": [row] })).await;
    if reply.status == 404 {
        // The route comes with the groups.
        return;
    }
    reply.refused(400, "请选择加入群聊的用户");
}
