//! People who write to each other and to their groups, take messages back, join and leave, and end a group, until they are
//! told to stop. Each does one thing after another, and writes down what became of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::history::{Answer, Change, Chat, Message, Recorder, Revoke, SERVER, Who, text};
use super::support::{self, Person, letter};

/// The only words by which a rule of groups may refuse what the load asks for.
const OF_GROUPS: [&str; 4] =
    ["群不存在或者已解散或者被封禁，无法发消息", "您不在群里，无法发消息", "你不在该群聊中，操作失败", "群不存在"];
const TOO_OLD: &str = "消息超过5分钟，不能撤回";
const BUSY: &str = r#"{"msg":"fail","data":"服务繁忙，请稍后再试"}"#;
/// Characters of a message that is large.
pub const LARGE: usize = 6000;
/// Rest of a sender whose server is away.
const REST: Duration = Duration::from_millis(10);

/// Who takes part, and where.
#[derive(Clone)]
pub struct Scene {
    pub people: Arc<Vec<Person>>,
    /// The first so many send.
    pub senders: usize,
    /// Those who come into groups and go.
    pub movers: std::ops::Range<Who>,
    /// Those who may be written to.
    pub recipients: Vec<Who>,
    /// Groups that stay.
    pub groups: Vec<i64>,
    /// The group that is ended meanwhile, and who is in it.
    pub ending: (i64, Vec<Who>),
    /// Mean rest of a sender after each message.
    pub pace: Duration,
    pub recorder: Recorder,
}

/// The owner of all groups.
pub const OWNER: Who = 0;

/// A load that goes on until it is stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    running: JoinSet<()>,
}

impl Load {
    pub fn start(scene: &Scene, rng: &mut StdRng) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut running = JoinSet::new();
        let mut actor =
            |who| Actor { who, scene: scene.clone(), rng: StdRng::seed_from_u64(rng.random()), stop: stop.clone() };
        for who in 0..scene.senders {
            running.spawn(actor(who).write());
        }
        for who in scene.movers.clone() {
            running.spawn(actor(who).come_and_go());
        }
        running.spawn(actor(OWNER).end_a_group());
        Self { stop, running }
    }

    /// Returns when every call has its answer.
    pub async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.running.join_next().await {
            ended.expect("nobody of the load panics");
        }
    }
}

struct Actor {
    who: Who,
    scene: Scene,
    rng: StdRng,
    stop: Arc<AtomicBool>,
}

impl Actor {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn person(&self) -> &Person {
        &self.scene.people[self.who]
    }

    async fn rest(&mut self, mean: Duration) {
        let mean = u64::try_from(mean.as_micros()).unwrap_or(u64::MAX);
        tokio::time::sleep(Duration::from_micros(self.rng.random_range(0..=2 * mean))).await;
    }

    async fn write(mut self) {
        while self.goes_on() {
            let chat = match self.rng.random_range(0..10) {
                0..6 => Chat::Direct(self.somebody()),
                9 => Chat::Group(self.scene.ending.0),
                _ => Chat::Group(self.scene.groups[self.rng.random_range(0..self.scene.groups.len())]),
            };
            let size = match self.rng.random_range(0..50) {
                0 => LARGE,
                1..10 => 300,
                small => small,
            };
            let sent = send(&self.scene, self.who, chat, size).await;
            if let Some((number, message)) = sent
                && self.rng.random_ratio(1, 20)
            {
                self.rest(self.scene.pace).await;
                self.revoke(number, &message).await;
            }
            self.rest(self.scene.pace).await;
        }
    }

    fn somebody(&mut self) -> Who {
        loop {
            let who = self.scene.recipients[self.rng.random_range(0..self.scene.recipients.len())];
            if who != self.who {
                return who;
            }
        }
    }

    async fn revoke(&self, number: usize, message: &Value) {
        let recorder = &self.scene.recorder;
        let place = {
            let call = recorder.call();
            let mut history = recorder.lock();
            history.revokes.push(Revoke { message: number, call });
            history.revokes.len() - 1
        };
        let (answer, text) = ask(recorder, self.person(), "revokeMessage", message).await;
        if answer == Answer::No && text != TOO_OLD && !OF_GROUPS.contains(&text.as_str()) {
            recorder.wrong(format_args!("refused: m{number} cannot be revoked: {text}"));
        }
        recorder.lock().revokes[place].call.ended = Some((recorder.now(), answer));
    }

    /// Comes into groups and goes, each time in another way.
    async fn come_and_go(mut self) {
        // As things stand for all that we know.
        let mut inside: Vec<bool> = self.scene.groups.iter().map(|group| self.is_inside(*group)).collect();
        while self.goes_on() {
            self.rest(20 * self.scene.pace).await;
            let place = self.rng.random_range(0..inside.len());
            let group = self.scene.groups[place];
            let (me, owner) = (self.person().clone(), self.scene.people[OWNER].clone());
            let comes = !inside[place];
            let answer = if comes {
                let body = json!({ "group_id": group, "user_id": me.id, "inviteuser_id": -1 });
                self.change(group, comes, &me, "groupInviteUser", body).await
            } else if self.rng.random() {
                self.change(group, comes, &me, "groupDeleteOrQuit", json!({ "id": group })).await
            } else {
                let body = json!({ "group_id": group, "user_id": me.id });
                self.change(group, comes, &owner, "groupDeleteUser", body).await
            };
            // A refusal says that it has happened before, by a call whose answer was lost.
            if matches!(answer, Answer::Yes | Answer::No) {
                inside[place] = comes;
            }
        }
    }

    fn is_inside(&self, group: i64) -> bool {
        let history = self.scene.recorder.lock();
        let mine = history.changes.iter().rev().find(|change| change.group == group && change.who == self.who);
        mine.is_some_and(|change| change.comes)
    }

    async fn change(&self, group: i64, comes: bool, by: &Person, path: &str, body: Value) -> Answer {
        changed(&self.scene.recorder, group, &[self.who], comes, by, path, body).await
    }

    /// Ends the group that is to be ended, some time during the load.
    async fn end_a_group(mut self) {
        self.rest(60 * self.scene.pace).await;
        let (group, members) = self.scene.ending.clone();
        let recorder = &self.scene.recorder;
        let notice =
            begin(recorder, Message { ends_group: true, ..message_of(recorder, SERVER, Chat::Group(group), 0) });
        while self.goes_on() {
            let body = json!({ "id": group });
            let answer = changed(recorder, group, &members, false, self.person(), "groupDeleteOrQuit", body).await;
            let over = matches!(answer, Answer::Yes | Answer::No);
            // A refusal says that it has happened, by a call whose answer was lost.
            let told = if answer == Answer::Yes { Answer::Yes } else { Answer::Nothing };
            let ended = Some((recorder.now(), told));
            recorder.lock().messages[notice].call.ended = ended;
            if over {
                return;
            }
            tokio::time::sleep(REST).await;
        }
    }
}

/// Sends the next message. Returns its number and the object that the server made of it, if it was acknowledged.
pub async fn send(scene: &Scene, sender: Who, chat: Chat, size: usize) -> Option<(usize, Value)> {
    let recorder = &scene.recorder;
    let number = begin(recorder, message_of(recorder, sender, chat, size));
    let text = text(number, size);
    let body = match chat {
        Chat::Direct(who) => letter("single", scene.people[who].id, &text),
        Chat::Group(group) => letter("group", group, &text),
    };
    let (answer, data) = ask(recorder, &scene.people[sender], "socket/sendmessage", &body).await;
    let message: Value = serde_json::from_str(&data).unwrap_or_default();
    {
        let ended = Some((recorder.now(), answer));
        let sent = &mut recorder.lock().messages[number];
        sent.call.ended = ended;
        sent.id = message["id"].as_str().and_then(|id| Uuid::parse_str(id).ok());
    }
    match answer {
        Answer::Yes => return Some((number, message)),
        Answer::No if matches!(chat, Chat::Direct(_)) || !OF_GROUPS.contains(&data.as_str()) => {
            recorder.wrong(format_args!("refused: m{number} of p{sender} to {chat:?}: {data}"));
        }
        Answer::No => {}
        Answer::Busy | Answer::Nothing => tokio::time::sleep(REST).await,
    }
    None
}

fn message_of(recorder: &Recorder, sender: Who, chat: Chat, size: usize) -> Message {
    Message { sender, chat, call: recorder.call(), size, ends_group: false, id: None }
}

/// Writes down that a message is on its way, and returns its number.
fn begin(recorder: &Recorder, message: Message) -> usize {
    let mut history = recorder.lock();
    history.messages.push(message);
    history.messages.len() - 1
}

/// Moves people into a group or out of it by one call, and writes down what became of it.
pub async fn changed(
    recorder: &Recorder,
    group: i64,
    people: &[Who],
    comes: bool,
    by: &Person,
    path: &str,
    body: Value,
) -> Answer {
    let call = recorder.call();
    let places = {
        let mut history = recorder.lock();
        let first = history.changes.len();
        history.changes.extend(people.iter().map(|who| Change { group, who: *who, comes, call: call.clone() }));
        first..history.changes.len()
    };
    let (answer, _) = ask(recorder, by, path, &body).await;
    let ended = Some((recorder.now(), answer));
    let mut history = recorder.lock();
    history.changes[places].iter_mut().for_each(|change| change.call.ended.clone_from(&ended));
    answer
}

/// Makes a call; the second part of what it returns is the text of a refusal, or the data of a success as JSON.
pub async fn ask(recorder: &Recorder, person: &Person, path: &str, body: &Value) -> (Answer, String) {
    let call: support::Call = person.call(Method::POST, path).json(body);
    let reply = match call.try_send().await {
        Ok(reply) => reply,
        Err(cause) => {
            // A server that keeps its connections must answer, and the connections of one that has ended end with it.
            if cause.is_timeout() {
                recorder.wrong(format_args!("silence: {path} has no answer: {cause:?}"));
            }
            return (Answer::Nothing, String::new());
        }
    };
    let envelope: Value = serde_json::from_str(&reply.text).unwrap_or_default();
    let text = envelope["data"].as_str().unwrap_or_default().to_owned();
    match reply.status {
        200 if envelope["msg"] == "ok" => (Answer::Yes, envelope["data"].to_string()),
        400 if envelope["msg"] == "fail" => (Answer::No, text),
        503 if reply.text == BUSY => {
            let at = recorder.now();
            recorder.lock().busy.push(at);
            (Answer::Busy, text)
        }
        status => {
            recorder.wrong(format_args!("status: {path} is answered {status} {}", reply.text));
            (Answer::Nothing, text)
        }
    }
}
