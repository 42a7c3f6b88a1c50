//! What a group has said, and who of it still waits for what.

use super::{DAY_MS, DAYS, kept, pass, pass_when_old, recorded, server};
use crate::group_delivery::Walk;
use crate::many_groups::from_numbers;
use crate::support::{Person, TestServer, eventually};

async fn say(person: &Person, group: i64, texts: std::ops::Range<i64>) {
    for number in texts {
        person.say_in(group, &number.to_string()).await.ok();
    }
}

/// A group of alice's with bob and carol. Nothing is pending for any of them, and all are away.
async fn three() -> (TestServer, i64, [Person; 3]) {
    let server = server().await;
    let (alice, bob) = server.friends("alice", "bob").await;
    let carol = server.user("carol").await;
    carol.take_from_all().await;
    let group = alice.group(&[&bob, &carol]).await;
    for person in [&alice, &bob, &carol] {
        person.listen().await.go().await;
    }
    (server, group, [alice, bob, carol])
}

/// How many messages of the group are kept, its notices among them.
async fn kept_of(server: &TestServer, group: i64) -> i64 {
    let count = "SELECT CAST(COUNT(*) AS CHAR) FROM messages WHERE group_id = ?";
    server.sql_text(count, group).await.parse().unwrap()
}

/// How many subscriptions in groups somebody has, ended ones included.
async fn subscriptions(server: &TestServer, person: &Person) -> i64 {
    let count = "SELECT CAST(COUNT(*) AS CHAR) FROM subscriptions WHERE user_id = ?";
    server.sql_text(count, person.id).await.parse().unwrap()
}

/// Somebody comes, gets exactly these, and goes when that is recorded.
async fn gets(server: &TestServer, person: &Person, texts: &[String]) {
    let mut socket = person.asking_socket().await;
    assert_eq!(socket.texts().await, texts);
    socket.go().await;
    recorded(server).await;
}

fn numbers(range: std::ops::Range<i64>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn a_group_s_message_is_kept_until_the_last_member_has_it() {
    let (server, group, [alice, bob, carol]) = three().await;
    say(&alice, group, 0..100).await;
    gets(&server, &bob, &numbers(0..100)).await;
    pass_when_old(&server).await;
    assert_eq!(kept(&server, &alice).await, 100, "carol has none of them");
    gets(&server, &carol, &numbers(0..100)).await;
    assert!(pass(&server).await.messages >= 100);
    assert_eq!(kept_of(&server, group).await, 0);
    // Numbers and cursors go on.
    say(&bob, group, 100..103).await;
    gets(&server, &alice, &numbers(100..103)).await;
    gets(&server, &carol, &numbers(100..103)).await;
}

#[tokio::test]
async fn who_talks_alone_and_never_looks_does_not_keep_it() {
    let (server, group, [alice, bob, carol]) = three().await;
    say(&alice, group, 0..200).await;
    for listener in [&bob, &carol] {
        gets(&server, listener, &numbers(0..200)).await;
    }
    // Her own cursor stands before all of it: it moves when something comes to her.
    let behind = "SELECT CAST(COUNT(*) AS CHAR) FROM subscriptions s JOIN chat_groups g ON g.id = s.group_id \
        WHERE s.user_id = ? AND s.delivered_seq + 200 = g.last_seq";
    assert_eq!(server.sql_text(behind, alice.id).await, "1");
    pass_when_old(&server).await;
    assert_eq!(kept_of(&server, group).await, 0);
    bob.say_in(group, "thanks").await.ok();
    gets(&server, &alice, &[String::from("thanks")]).await;
}

#[tokio::test]
async fn what_each_says_while_the_other_is_away_waits_for_the_other_only() {
    let (server, group, [alice, bob, carol]) = three().await;
    say(&alice, group, 0..5).await;
    say(&bob, group, 5..10).await;
    gets(&server, &carol, &numbers(0..10)).await;
    gets(&server, &bob, &numbers(0..5)).await;
    pass_when_old(&server).await;
    assert_eq!((kept(&server, &alice).await, kept(&server, &bob).await), (0, 5), "alice has nothing of bob's");
    gets(&server, &alice, &numbers(5..10)).await;
    pass(&server).await;
    assert_eq!(kept_of(&server, group).await, 0);
}

#[tokio::test]
async fn who_waits_for_an_approval_keeps_the_notices_and_not_the_chat() {
    let (server, group, [alice, bob, carol]) = three().await;
    let erin = server.user("erin").await;
    alice.set_join_rule(group, 1).await;
    erin.join(group).await.ok();
    say(&bob, group, 0..70).await;
    alice.rename(group, "甲").await.ok();
    say(&bob, group, 70..140).await;
    let renamed = String::from("群名称修改为：甲");
    let all = [numbers(0..70), vec![renamed.clone()], numbers(70..140)].concat();
    for member in [&alice, &carol] {
        member.asking_socket().await.texts().await;
        member.listen().await.go().await;
    }
    gets(&server, &bob, std::slice::from_ref(&renamed)).await;
    pass_when_old(&server).await;
    assert_eq!((kept(&server, &bob).await, kept_of(&server, group).await), (0, 1), "of {}", all.len());
    alice.decide(group, &erin, "agree").await.ok();
    say(&bob, group, 140..143).await;
    let came = format!("[{}] 加入了群聊", erin.username);
    gets(&server, &erin, &[vec![renamed, came], numbers(140..143)].concat()).await;
}

#[tokio::test]
async fn what_waits_for_a_muted_member_is_kept() {
    let (server, group, [alice, bob, carol]) = three().await;
    say(&alice, group, 0..5).await;
    let mute = "UPDATE group_members SET status = 0 WHERE group_id = ? AND user_id = ?";
    server.sql(mute, &[group.into(), carol.id.into()]).await;
    gets(&server, &bob, &numbers(0..5)).await;
    pass_when_old(&server).await;
    assert_eq!(kept(&server, &alice).await, 5);
    gets(&server, &carol, &numbers(0..5)).await;
    pass(&server).await;
    assert_eq!(kept_of(&server, group).await, 0);
}

#[tokio::test]
async fn who_left_keeps_what_was_pending_and_nothing_that_came_later() {
    let (server, group, [alice, bob, carol]) = three().await;
    say(&alice, group, 0..5).await;
    alice.remove(group, &carol).await.ok();
    say(&alice, group, 5..200).await;
    gets(&server, &bob, &numbers(0..200)).await;
    pass_when_old(&server).await;
    assert_eq!((kept(&server, &alice).await, subscriptions(&server, &carol).await), (5, 1));
    pass_when_old(&server).await;
    gets(&server, &carol, &numbers(0..5)).await;
    pass(&server).await;
    assert_eq!((kept(&server, &alice).await, subscriptions(&server, &carol).await), (0, 0));
    assert_eq!(subscriptions(&server, &bob).await, 1, "a subscription that goes on is kept");
}

#[tokio::test]
async fn an_ended_subscription_goes_when_its_messages_are_gone_though_its_owner_never_comes() {
    let (server, group, [alice, bob, carol]) = three().await;
    // The last that carol says; nothing is due to her.
    say(&carol, group, 0..5).await;
    carol.leave(group).await.ok();
    for listener in [&alice, &bob] {
        listener.listen().await.go().await;
    }
    recorded(&server).await;
    assert_eq!(pass(&server).await.subscriptions, 0, "her subscription has not passed her own words");
    assert!(pass_when_old(&server).await.messages >= 5);
    assert_eq!(subscriptions(&server, &carol).await, 0);
}

#[tokio::test]
async fn a_dissolved_group_keeps_its_last_words_until_everybody_has_them() {
    let (server, group, [alice, bob, carol]) = three().await;
    say(&alice, group, 0..3).await;
    alice.leave(group).await.ok();
    let mut his = bob.asking_socket().await;
    let heard = his.texts().await;
    assert_eq!((heard.len(), &heard[..3]), (4, &numbers(0..3)[..]));
    his.go().await;
    alice.listen().await.go().await;
    recorded(&server).await;
    pass_when_old(&server).await;
    assert_eq!(kept_of(&server, group).await, 4);
    gets(&server, &carol, &heard).await;
    pass(&server).await;
    assert_eq!(kept_of(&server, group).await, 0);
    for person in [&alice, &bob, &carol] {
        assert_eq!(subscriptions(&server, person).await, 0);
        person.asking_socket().await.expect_silence().await;
    }
}

/// A bound on what is read of a large group must not be taken for an end.
#[tokio::test]
async fn where_too_many_are_behind_to_be_looked_at_all_is_kept() {
    let (server, group, [alice, bob, carol]) = three().await;
    say(&alice, group, 0..5).await;
    for listener in [&bob, &carol] {
        gets(&server, listener, &numbers(0..5)).await;
    }
    // Nothing is due to these, who wait for an approval.
    let waiting = from_numbers!(
        "INSERT INTO subscriptions (group_id, user_id, delivered_seq, active_from_seq) SELECT ?, n, 0, 1000"
    );
    server.sql(waiting, &[group.into(), 999.into()]).await;
    pass_when_old(&server).await;
    // Alice's own subscription is one of 1000.
    assert_eq!(kept(&server, &alice).await, 5);
    server.sql("DELETE FROM subscriptions WHERE user_id = 5 AND group_id = ?", &[group.into()]).await;
    pass(&server).await;
    assert_eq!(kept(&server, &alice).await, 0);
}

/// What waits for those who never come back is not read by each pass again.
#[tokio::test]
async fn a_pass_does_not_walk_over_what_is_pending() {
    let (server, group, [alice, bob, carol]) = three().await;
    say(&alice, group, 0..200).await;
    say(&bob, group, 200..300).await;
    gets(&server, &carol, &numbers(0..300)).await;
    pass_when_old(&server).await;
    let app = &server.app;
    let old = qingniao::messages::retention::find_old(app, server.clock.now_ms() - DAYS * DAY_MS).await.unwrap();
    let first = (qingniao::ids::GroupId(group), 0);
    let (found, next) = qingniao::messages::retention::find_undue(app, old, first).await.unwrap();
    assert!(found.is_empty() && next.is_none_or(|(next, _)| next.0 > group), "{} found, on at {next:?}", found.len());
}

/// The random walk of `group_delivery`, while all that nobody needs is forgotten again and again, a day after it was said.
#[tokio::test]
async fn nothing_that_is_due_is_forgotten_whoever_comes_goes_and_waits() {
    let walks = (0..3).map(|_| async {
        let (server, seed) = (super::server_with(|config| config.retention.messages_days = 1).await, rand::random());
        let mut walk = Walk::begin(&server, seed).await;
        let mut forgotten = 0;
        let forgets = async {
            loop {
                forgotten += pass(&server).await.messages;
            }
        };
        let walks = async {
            for number in 1..=200 {
                walk.step(number).await;
                server.advance(DAY_MS / 4);
                if number % 40 == 0 {
                    // Now and then all that was said has arrived.
                    walk.end(&format!("with seed {seed}")).await;
                }
            }
        };
        tokio::select! {
            () = walks => {}
            () = forgets => {}
        }
        assert!(forgotten > 20, "{forgotten} forgotten meanwhile, with seed {seed}");
        // Nobody is behind any more: nothing is kept but the newest message, and no subscription that has ended.
        server.advance(2 * DAY_MS);
        let left = "SELECT CAST(COUNT(*) AS CHAR) FROM messages WHERE id > ?";
        let ended = "SELECT CAST(COUNT(*) AS CHAR) FROM subscriptions WHERE open_mark IS NULL AND id > ?";
        eventually(&format!("all is forgotten, with seed {seed}"), async || {
            recorded(&server).await;
            pass(&server).await;
            server.sql_text(left, 0).await == "1" && server.sql_text(ended, 0).await == "0"
        })
        .await;
    });
    futures_util::future::join_all(walks).await;
}
