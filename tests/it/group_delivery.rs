//! What is pending in groups: everything that was due arrives, in order, whoever was away, came or left meanwhile.

use std::collections::{HashMap, HashSet};

use qingniao::clock;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::support::{Person, Socket, TestServer, text_of};

/// A group of alice's with bob. Nothing is pending for either, and both are away.
async fn pair() -> (TestServer, i64, Person, Person) {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let id = alice.group(&[&bob]).await;
    for person in [&alice, &bob] {
        person.listen().await.go().await;
    }
    (server, id, alice, bob)
}

/// What is pending for somebody, as texts.
async fn pending(person: &Person) -> Vec<String> {
    person.asking_socket().await.texts().await
}

async fn say(person: &Person, group: i64, texts: &[&str]) {
    for text in texts {
        person.say_in(group, text).await.ok();
    }
}

#[tokio::test]
async fn direct_and_group_messages_arrive_in_one_order() {
    let (server, id, alice, bob) = pair().await;
    let other = alice.group(&[&bob]).await;
    bob.listen().await.go().await;
    let carol = server.user("carol").await;
    for i in 0..30 {
        match i % 4 {
            0 => alice.say_in(id, &format!("{i}")).await,
            1 => alice.say(&bob, &format!("{i}")).await,
            2 => alice.say_in(other, &format!("{i}")).await,
            // A stranger has one message.
            _ if i == 3 => carol.say(&bob, &format!("{i}")).await,
            _ => alice.rename(id, &format!("{i}")).await,
        }
        .ok();
    }
    let texts: Vec<String> =
        pending(&bob).await.iter().map(|text| text.trim_start_matches("群名称修改为：").to_owned()).collect();
    let all: Vec<String> = (0..30).map(|i| i.to_string()).collect();
    assert_eq!(texts, all);
}

#[tokio::test]
async fn what_was_confirmed_does_not_come_again_and_the_rest_does() {
    let (_server, id, alice, bob) = pair().await;
    say(&alice, id, &["1", "2"]).await;
    let mut socket = bob.asking_socket().await;
    assert_eq!(socket.texts().await, ["1", "2"]);
    socket.go().await;
    say(&alice, id, &["3"]).await;
    // A socket that never answers: what it got stays pending when it is cut.
    let mut mute = bob.raw_socket().await;
    bob.post("chatGetmessageOffLine", json!({})).await.ok();
    assert_eq!(text_of(&mute.next_message().await), "3");
    mute.reset();
    say(&alice, id, &["4"]).await;
    assert_eq!(pending(&bob).await, ["3", "4"]);
}

#[tokio::test]
async fn pending_messages_survive_a_restart() {
    let (server, id, alice, bob) = pair().await;
    say(&alice, id, &["1", "2"]).await;
    let _server = server.restart().await;
    say(&alice, id, &["3"]).await;
    assert_eq!(pending(&bob).await, ["1", "2", "3"]);
}

#[tokio::test]
async fn a_new_member_gets_only_what_comes_after() {
    let (server, id, alice, _) = pair().await;
    let carol = server.user("carol").await;
    say(&alice, id, &["before"]).await;
    carol.join(id).await.ok();
    say(&alice, id, &["after"]).await;
    assert_eq!(pending(&carol).await, [format!("[{}] 加入了群聊", carol.username), "after".to_owned()]);
}

#[tokio::test]
async fn an_approved_member_gets_only_what_comes_after_the_approval() {
    let (server, id, alice, _) = pair().await;
    let carol = server.user("carol").await;
    alice.set_join_rule(id, 1).await;
    say(&alice, id, &["before"]).await;
    carol.join(id).await.ok();
    say(&alice, id, &["while waiting"]).await;
    alice.rename(id, "甲").await.ok();
    alice.decide(id, &carol, "agree").await.ok();
    say(&alice, id, &["after"]).await;
    let came = format!("[{}] 加入了群聊", carol.username);
    assert_eq!(pending(&carol).await, ["群名称修改为：甲", &came, "after"]);
}

#[tokio::test]
async fn who_waits_in_a_busy_group_misses_nothing_after_the_approval() {
    let (server, id, alice, _) = pair().await;
    let carol = server.user("carol").await;
    alice.set_join_rule(id, 1).await;
    carol.join(id).await.ok();
    say(&alice, id, &["1", "2"]).await;
    // Looks for messages while waiting, when there are none for her.
    carol.listen().await.go().await;
    say(&alice, id, &["3"]).await;
    alice.decide(id, &carol, "agree").await.ok();
    say(&alice, id, &["4"]).await;
    assert_eq!(pending(&carol).await, [format!("[{}] 加入了群聊", carol.username), "4".to_owned()]);
}

#[tokio::test]
async fn who_quits_or_is_removed_still_gets_what_was_pending_and_no_more() {
    for kicked in [true, false] {
        let (_server, id, alice, bob) = pair().await;
        say(&alice, id, &["1", "2"]).await;
        if kicked {
            alice.remove(id, &bob).await.ok();
        } else {
            bob.leave(id).await.ok();
        }
        say(&alice, id, &["3"]).await;
        alice.rename(id, "甲").await.ok();
        let mut socket = bob.asking_socket().await;
        assert_eq!(socket.texts().await, ["1", "2"]);
        socket.go().await;
        assert!(pending(&bob).await.is_empty());
    }
}

#[tokio::test]
async fn who_is_refused_still_gets_the_names_that_were_pending() {
    let (server, id, alice, _) = pair().await;
    let carol = server.user("carol").await;
    alice.set_join_rule(id, 1).await;
    carol.join(id).await.ok();
    alice.rename(id, "甲").await.ok();
    alice.decide(id, &carol, "no").await.ok();
    alice.rename(id, "乙").await.ok();
    assert_eq!(pending(&carol).await, ["群名称修改为：甲"]);
}

#[tokio::test]
async fn who_comes_back_gets_both_stays_and_nothing_between() {
    let (_server, id, alice, bob) = pair().await;
    say(&alice, id, &["1"]).await;
    bob.leave(id).await.ok();
    say(&alice, id, &["2"]).await;
    alice.invite(id, &bob).await.ok();
    say(&alice, id, &["3"]).await;
    alice.remove(id, &bob).await.ok();
    say(&alice, id, &["4"]).await;
    bob.join(id).await.ok();
    say(&alice, id, &["5"]).await;
    let invited = format!("[{}]邀请 [{}] 加入了群聊", alice.username, bob.username);
    let came = format!("[{}] 加入了群聊", bob.username);
    assert_eq!(pending(&bob).await, ["1", &invited, "3", &came, "5"]);
}

#[tokio::test]
async fn those_who_come_and_go_leave_no_rows_behind() {
    let (server, id, alice, bob) = pair().await;
    for _ in 0..5 {
        alice.remove(id, &bob).await.ok();
        alice.invite(id, &bob).await.ok();
        bob.listen().await.go().await;
    }
    let count = "SELECT CAST(COUNT(*) AS CHAR) FROM subscriptions WHERE user_id = ?";
    let rows: u32 = server.sql_text(count, bob.id).await.parse().unwrap();
    assert!(rows <= 2, "{rows} subscriptions of one who comes and goes");
}

#[tokio::test]
async fn the_end_of_a_group_and_all_before_it_reach_those_who_are_away() {
    let (server, id, alice, bob) = pair().await;
    let carol = server.user("carol").await;
    alice.set_join_rule(id, 1).await;
    carol.join(id).await.ok();
    say(&alice, id, &["1", "2"]).await;
    alice.leave(id).await.ok();
    let end = "群主于 9/4/2025, 11:33:20 PM 解散了该群";
    assert_eq!(pending(&bob).await, ["1", "2", end]);
    assert_eq!(pending(&carol).await, [end]);
    let own = pending(&alice).await;
    assert_eq!(own.last().unwrap(), end);
}

#[tokio::test]
async fn a_group_of_one_who_talks_alone_is_not_read_again_and_again() {
    let (server, id, alice, bob) = pair().await;
    alice.remove(id, &bob).await.ok();
    say(&alice, id, &["1", "2", "3"]).await;
    alice.listen().await.go().await;
    // The confirmation is written with the next ones.
    alice.listen().await.go().await;
    let cursor = "SELECT CAST(MAX(delivered_seq) AS CHAR) FROM subscriptions WHERE open_mark = 1 AND user_id = ?";
    let newest = "SELECT CAST(MAX(last_seq) AS CHAR) FROM chat_groups WHERE owner_id = ?";
    assert_eq!(server.sql_text(cursor, alice.id).await, server.sql_text(newest, alice.id).await);
    alice.invite(id, &bob).await.ok();
    bob.say_in(id, "hi").await.ok();
    assert_eq!(pending(&alice).await.last().unwrap(), "hi");
}

#[tokio::test]
async fn many_groups_with_many_messages_arrive_in_order() {
    let (_server, first, alice, bob) = pair().await;
    let mut groups = vec![first];
    for _ in 0..30 {
        groups.push(alice.group(&[&bob]).await);
    }
    bob.listen().await.go().await;
    // Some groups have far more than others, so that their streams are read on at different times.
    let mut random = StdRng::seed_from_u64(7);
    let mut said = Vec::new();
    for i in 0..1500 {
        let text = i.to_string();
        let pick = random.random_range(0..120);
        match groups.get(pick) {
            Some(group) => alice.say_in(*group, &text).await.ok(),
            None if pick % 3 == 0 => alice.say(&bob, &text).await.ok(),
            None => alice.say_in(groups[pick % 3], &text).await.ok(),
        };
        said.push(text);
    }
    let got = pending(&bob).await;
    assert_eq!(got.len(), said.len());
    assert!(got == said, "in the order in which it was said");
}

/// One of the people in the random test, and what the person must have got in the end.
pub struct Actor {
    person: Person,
    socket: Option<Socket>,
    due: Vec<String>,
    got: Vec<Value>,
}

impl Actor {
    async fn read(&mut self) {
        if let Some(socket) = &mut self.socket {
            self.got.extend(socket.catch_up().await);
        }
    }

    /// Comes, or goes before all of it is confirmed: the rest comes again.
    async fn come_or_go(&mut self) {
        self.read().await;
        match self.socket.take() {
            Some(socket) => socket.cut().await,
            None => self.socket = Some(self.person.asking_socket().await),
        }
    }

    /// What came, without what came twice because it was not confirmed when a socket ended.
    fn got(&self) -> Vec<String> {
        let mut seen = HashSet::new();
        let first = self.got.iter().filter(|message| seen.insert(message["id"].clone()));
        first.map(text_of).filter(|text| text != "我们已经是好友了，可以开始聊天了").collect()
    }
}

/// People of whom the first owns all groups, and a simple model of who is in which (`true`: active, `false`: waiting).
pub struct Walk {
    random: StdRng,
    actors: Vec<Actor>,
    groups: Vec<(i64, HashMap<usize, bool>)>,
}

impl Walk {
    pub async fn begin(server: &TestServer, seed: u64) -> Self {
        let mut actors = Vec::new();
        for name in ["alice", "bob", "carol", "dave", "erin"] {
            let person = server.user(name).await;
            actors.push(Actor { person, socket: None, due: Vec::new(), got: Vec::new() });
        }
        let mut walk = Self { random: StdRng::seed_from_u64(seed), actors, groups: Vec::new() };
        for place in 0..3 {
            let alice = &walk.actors[0].person;
            let text = format!("{}创建了一个群，大家可以开始聊天了", alice.username);
            walk.groups.push((alice.group(&[&walk.actors[1].person]).await, HashMap::from([(0, true), (1, true)])));
            walk.post(place, &text, false, None);
        }
        walk
    }

    /// The model's message to a group.
    fn post(&mut self, place: usize, text: &str, to_waiting: bool, except: Option<usize>) {
        for (who, active) in &self.groups[place].1 {
            if (*active || to_waiting) && Some(*who) != except {
                self.actors[*who].due.push(text.to_owned());
            }
        }
    }

    pub async fn step(&mut self, number: i64) {
        let (who, place) =
            (self.random.random_range(0..self.actors.len()), self.random.random_range(0..self.groups.len()));
        let (id, standing) = (self.groups[place].0, self.groups[place].1.get(&who).copied());
        let (alice, person) = (self.actors[0].person.clone(), self.actors[who].person.clone());
        match self.random.random_range(0..12) {
            0..5 => {
                let spoke = person.say_in(id, &number.to_string()).await.status == 200;
                assert_eq!(spoke, standing == Some(true));
                if spoke {
                    self.post(place, &number.to_string(), false, Some(who));
                }
            }
            5 => {
                alice.rename(id, &number.to_string()).await.ok();
                self.post(place, &format!("群名称修改为：{number}"), true, None);
            }
            6 if who != 0 => self.join(place, who, number % 2 == 0).await,
            7 if standing == Some(false) => self.decide(place, who, number % 3 != 0).await,
            8 if who != 0 => {
                alice.remove(id, &person).await.ok();
                self.groups[place].1.remove(&who);
            }
            9 if who != 0 && standing.is_some() => {
                person.leave(id).await.ok();
                self.groups[place].1.remove(&who);
                let now = clock::spoken(alice.door.clock.now_ms());
                self.actors[0].due.push(format!("{}于 {now} 已退出群聊", person.username));
            }
            10 => self.actors[who].come_or_go().await,
            _ => self.actors[who].read().await,
        }
    }

    /// Everyone takes what is left, and has got exactly what was due.
    pub async fn end(&mut self, words: &str) {
        for actor in &mut self.actors {
            actor.read().await;
            if let Some(socket) = actor.socket.replace(actor.person.asking_socket().await) {
                socket.close().await;
            }
            actor.read().await;
            assert_eq!(actor.got(), actor.due, "{} {words}", actor.person.name);
        }
    }

    async fn join(&mut self, place: usize, who: usize, open: bool) {
        let (id, members) = &mut self.groups[place];
        let (alice, person) = (self.actors[0].person.clone(), &self.actors[who].person);
        alice.set_join_rule(*id, i64::from(!open)).await;
        let came = person.join(*id).await.status == 200;
        assert_eq!(came, !members.contains_key(&who));
        if !came {
            return;
        }
        members.insert(who, open);
        let text = format!("[{}] 加入了群聊", person.username);
        if open {
            self.post(place, &text, false, None);
        } else {
            let info = alice.group_info(*id).await;
            let text = format!("请处理申请 [{}] 加入了群[{}]", person.username, info["name"].as_str().unwrap());
            self.actors[0].due.push(text);
        }
    }

    async fn decide(&mut self, place: usize, who: usize, agreed: bool) {
        let (id, members) = &mut self.groups[place];
        let (alice, person) = (&self.actors[0].person, &self.actors[who].person);
        alice.decide(*id, person, if agreed { "agree" } else { "no" }).await.ok();
        members.remove(&who);
        if agreed {
            members.insert(who, true);
            let text = format!("[{}] 加入了群聊", person.username);
            self.post(place, &text, false, None);
        }
    }
}

/// People come, go, talk, wait and are away at random; in the end everyone has got exactly what the model says, in order.
#[tokio::test]
async fn everyone_gets_exactly_what_was_due() {
    let walks = (0..6).map(|_| async {
        let (server, seed) = (TestServer::start().await, rand::random());
        let mut walk = Walk::begin(&server, seed).await;
        for number in 0..220 {
            walk.step(number).await;
        }
        walk.end(&format!("with seed {seed}")).await;
    });
    futures_util::future::join_all(walks).await;
}
