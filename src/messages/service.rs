//! Sending, asking for what is pending, and revoking.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use bytes::Bytes;
use quick_cache::sync::Cache;
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::answering::{self, Answering, Question};
use super::backlog::Backlog;
use super::committer::Committer;
use super::model::{
    Address, Audience, Chat, ChatType, NewMessage, Notice, Party, Sent, avatar_in_group, frame, name_in_group,
};
use super::newest::Newest;
use super::policy::{self, Permit};
use super::post::Post;
use super::receipts::Receipts;
use super::store;
use crate::accounts::User;
use crate::accounts::service as accounts;
use crate::app::{App, Shared};
use crate::cache::Fill;
use crate::clock::MINUTE_MS;
use crate::error::{AppError, Result};
use crate::friends::service as friends;
use crate::groups::model::Room;
use crate::groups::service as groups;
use crate::hub::Revoked;
use crate::ids::{self, GroupId, UserId};
use crate::limits::{Budget, Seldom};

/// How long a message may be revoked, by the server's own record (decision 19).
const REVOKE_MS: i64 = 5 * MINUTE_MS;
/// What a message object holds beside its content, as a rule: room for it is made once.
const CHAT_BYTES: usize = 600;
/// Pairs known to have written, kept in memory so that the stranger limit costs nothing.
const CONTACTS_MAX: usize = 500_000;
/// Bytes of large messages that drains have read and their sockets have not taken.
const LARGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Of these, for one network: readers that crawl must not take all. The largest message has less.
const LARGE_BY_NETWORK_MAX: usize = 16 * 1024 * 1024;

/// What this feature keeps in memory; the store has the truth.
#[derive(Debug)]
pub struct State {
    /// The posting lock: see `post`.
    pub(super) order: Arc<tokio::sync::Mutex<()>>,
    pub(super) contacts: Cache<(UserId, UserId), ()>,
    pub(super) receipts: Receipts,
    pub(super) backlog: Backlog,
    pub(super) newest: Newest,
    /// How far retention has looked: see `retention::find_received`.
    pub(super) looked_through: AtomicI64,
    pub(super) answering: Answering,
    pub(super) committer: Committer,
    /// For large messages that drains have read and their sockets have not taken yet, by network. Ten thousand phones that come back
    /// to a group with one large picture in it would else have it ten thousand times in memory, for as long as the slowest of them
    /// reads.
    pub(super) large: Budget<IpAddr>,
    /// That the store is away, which each drain would say.
    pub(super) drains_told: Seldom,
}

impl State {
    /// Hands messages to `committer`.
    pub fn new(committer: Committer) -> Self {
        Self {
            order: Arc::default(),
            contacts: Cache::new(CONTACTS_MAX),
            receipts: Receipts::default(),
            backlog: Backlog::default(),
            newest: Newest::default(),
            looked_through: AtomicI64::default(),
            answering: Answering::default(),
            committer,
            large: Budget::new(LARGE_BYTES_MAX, LARGE_BY_NETWORK_MAX),
            drains_told: Seldom::default(),
        }
    }

    /// Returns when the store has forgotten messages that were committed.
    pub async fn forgotten(&self) -> AppError {
        self.newest.forgotten().await
    }

    /// What waits in each queue: messages to be committed, confirmations to be written, messages to be filed.
    pub fn queues(&self) -> [(&'static str, usize); 3] {
        [
            ("commit", self.committer.waiting()),
            ("receipts", self.receipts.waiting()),
            ("filing", self.backlog.unfiled(self.newest.get())),
        ]
    }

    /// Bytes of the room for large messages that is taken: by what drains have read, or are about to.
    pub fn large_bytes(&self) -> usize {
        self.large.taken()
    }

    /// How long ago the last messages could not be stored, if that is how it stands.
    pub fn failing_for(&self) -> Option<Duration> {
        self.committer.failing_for()
    }

    /// How full the caches are.
    pub fn fills(&self) -> [Fill; 1] {
        [Fill::of("contacts", &self.contacts)]
    }

    /// Takes note that the bearer of the socket's token answers pings.
    pub fn note_answers_pings(&self, socket: &crate::hub::Socket) {
        self.receipts.note_answers_pings(socket.user, &socket.ticket.token_id);
    }

    /// Takes note of what a connection has proved to have received.
    pub fn confirm(&self, user: UserId, confirmed: crate::hub::Confirmed) {
        self.receipts.add(user, confirmed);
    }
}

/// A chat message as a client sends it.
#[derive(Debug)]
pub struct Outgoing {
    /// User or group id.
    pub to: i64,
    /// Which of the two.
    pub chat_type: ChatType,
    /// `text`, `image`, …: the client's own words.
    pub kind: String,
    /// JSON text of the content, relayed as it is.
    pub data: String,
    /// JSON, or null. As text: what a client sends may be many times as long when it is parsed, and this may have to wait.
    pub options: Box<RawValue>,
    /// Whether they ask for an automatic answer.
    pub asks: bool,
}

/// Whether there is room to answer with so many bytes, which is taken then.
pub type ReplyRoom<'a> = &'a (dyn Fn(usize) -> bool + Sync);

/// Accepts a chat message, if there is room to answer with it: when this returns, it is durable. Returns the message object as JSON.
pub async fn send(app: &Shared, me: &User, outgoing: Outgoing, reply_room: ReplyRoom<'_>) -> Result<Bytes> {
    match outgoing.chat_type {
        ChatType::Single => send_single(app, me, outgoing, reply_room).await,
        ChatType::Group => send_group(app, me, outgoing, reply_room).await,
    }
}

async fn send_single(app: &Shared, me: &User, outgoing: Outgoing, reply_room: ReplyRoom<'_>) -> Result<Bytes> {
    let to = UserId(outgoing.to);
    let target = accounts::user(app, to).await?.filter(|user| user.is_enabled());
    let target = target.ok_or_else(|| AppError::refused("对方不存在或者被禁用，不能发消息"))?;
    let theirs = friends::find(app, to, me.id).await?;
    let permit = policy::single(me, &target, theirs.as_deref())?;
    let mine = if me.is_registered() { friends::find(app, me.id, to).await? } else { None };
    let their_remark = theirs.as_ref().filter(|_| me.is_registered()).map_or("", |friend| friend.remark.as_str());
    let my_remark = mine.as_ref().map_or("", |friend| friend.remark.as_str());
    let now_ms = app.clock.now_ms();
    let id = ids::message_uuid(now_ms);
    let chat = Chat {
        id,
        from_avatar: &me.avatar,
        from_name: either(their_remark, me.display_name()),
        from_id: me.id,
        to_id: outgoing.to,
        to_name: either(my_remark, target.display_name()),
        to_avatar: &target.avatar,
        chat_type: ChatType::Single,
        kind: &outgoing.kind,
        data: &outgoing.data,
        options: &outgoing.options,
        create_time: now_ms,
        isremove: 0,
        group: None,
        send_uuid: &me.uuid,
    };
    let question = if outgoing.asks { Question::in_chat(&chat) } else { None };
    let message = new_message(&chat, Address::User(to), reply_room)?;
    let body = message.body.clone();
    // What it was made of is larger than itself, and may have to wait.
    drop(outgoing);
    let first_only = permit == Permit::FirstOnly;
    let Some(question) = question else {
        app.messages.committer.store(message, first_only).await?;
        return Ok(body);
    };
    let queued = app.messages.committer.queue(message, first_only).await?;
    // What is stored is answered, even if its sender has gone meanwhile.
    let (own, asker) = (app.clone(), me.id);
    let stored = app.tasks.spawn(async move {
        queued.stored().await?;
        answering::schedule(&own, question, asker, to, body.clone());
        Ok(body)
    });
    stored.await.map_err(AppError::internal)?
}

async fn send_group(app: &App, me: &User, outgoing: Outgoing, reply_room: ReplyRoom<'_>) -> Result<Bytes> {
    let group = GroupId(outgoing.to);
    let room = groups::room(app, group).await?.filter(|room| room.group.is_open() && room.active() > 0);
    let room = room.ok_or_else(|| AppError::refused("群不存在或者已解散或者被封禁，无法发消息"))?;
    let member = room.member(me.id).filter(|member| member.is_active());
    let member = member.ok_or_else(|| AppError::refused("您不在群里，无法发消息"))?;
    let now_ms = app.clock.now_ms();
    let chat = Chat {
        id: ids::message_uuid(now_ms),
        from_avatar: avatar_in_group(Some(member), me),
        from_name: name_in_group(Some(member), me),
        from_id: me.id,
        to_id: outgoing.to,
        to_name: &room.group.name,
        to_avatar: &room.group.avatar,
        chat_type: ChatType::Group,
        kind: &outgoing.kind,
        data: &outgoing.data,
        options: &outgoing.options,
        create_time: now_ms,
        isremove: 0,
        group: Some(room.group.card()),
        send_uuid: &me.uuid,
    };
    let message = new_message(&chat, Address::Group(group, Audience::Others), reply_room)?;
    let body = message.body.clone();
    drop(outgoing);
    app.messages.committer.store(message, false).await?;
    Ok(body)
}

/// The message as it is stored, pushed and replied, once there is room for the reply.
fn new_message(chat: &Chat<'_>, address: Address, reply_room: ReplyRoom<'_>) -> Result<NewMessage> {
    let mut body = Vec::with_capacity(chat.data.len() + CHAT_BYTES);
    serde_json::to_writer(&mut body, chat).map_err(AppError::internal)?;
    // Once it is stored, whoever hears 503 would send it again.
    if !reply_room(body.len()) {
        return Err(AppError::busy());
    }
    let body = Bytes::from(body);
    Ok(NewMessage { uuid: Some(chat.id), sender: chat.from_id, address, created_at: chat.create_time, body })
}

/// The client wants what is pending; it comes over the socket, in order (decision 27).
pub fn ask(app: &App, me: UserId) {
    app.hub.ask(me);
}

/// A revocation as a client asks for it; names and pictures are the client's, and go back to it.
#[derive(Debug)]
pub struct Revocation {
    /// The message.
    pub id: String,
    /// User or group id.
    pub to: i64,
    /// Shown name of the chat.
    pub to_name: String,
    /// Picture of the chat.
    pub to_avatar: String,
    /// Which kind of chat.
    pub chat_type: ChatType,
}

const NOT_YOURS: AppError = AppError::refused("消息不存在或无权撤回");

/// Takes a message back (decision 19). Returns the notice that the others get, once.
pub async fn revoke(app: &App, me: &User, revocation: &Revocation) -> Result<Notice> {
    let room = match revocation.chat_type {
        ChatType::Single => None,
        ChatType::Group => {
            let room = groups::room(app, GroupId(revocation.to)).await?.filter(|room| room.group.exists());
            let room = room.ok_or_else(|| AppError::refused("群不存在"))?;
            if room.member(me.id).is_none() {
                return Err(AppError::refused("你不在该群聊中，操作失败"));
            }
            Some(room)
        }
    };
    let uuid = Uuid::parse_str(&revocation.id).map_err(|_| NOT_YOURS)?;
    let sent = store::find_sent(&mut app.db.read().await?.conn(), &uuid).await?.ok_or(NOT_YOURS)?;
    let now_ms = app.clock.now_ms();
    check_revocation(me, revocation, room.as_deref(), &sent, now_ms)?;
    let notice = revoke_notice(me, revocation, room.as_deref(), &uuid, now_ms);

    let mut post = Post::begin(app).await?;
    // As it stands now that nobody else can revoke it.
    let sent = store::find_sent(&mut post.conn(), &uuid).await?.ok_or(NOT_YOURS)?;
    let Some(emptied) = emptied(&sent.body)? else {
        // Everybody knows: repeated, it would be a way to write to whom one may not.
        return Ok(notice);
    };
    post.speaks_of(Revoked { message: sent.id, emptied: frame(emptied.as_bytes(), now_ms) });
    store::update_body(&mut post.conn(), sent.id, &emptied).await?;
    match &room {
        None => post.notify(me.id, UserId(revocation.to), &notice).await?,
        Some(room) => post.notify_group(me.id, room, Audience::Everyone, &notice).await?,
    }
    post.commit().await?;
    Ok(notice)
}

fn check_revocation(me: &User, asked: &Revocation, room: Option<&Room>, sent: &Sent, now_ms: i64) -> Result<()> {
    let (in_chat, may) = match room {
        None => (sent.recipient_id == Some(UserId(asked.to)), sent.sender_id == me.id),
        Some(room) => (sent.group_id == Some(room.group.id), sent.sender_id == me.id || room.group.owner_id == me.id),
    };
    if !in_chat || !may {
        return Err(NOT_YOURS);
    }
    if now_ms - sent.created_at > REVOKE_MS {
        return Err(AppError::refused("消息超过5分钟，不能撤回"));
    }
    Ok(())
}

fn revoke_notice(me: &User, asked: &Revocation, room: Option<&Room>, uuid: &Uuid, now_ms: i64) -> Notice {
    let member = room.and_then(|room| room.member(me.id));
    let name = name_in_group(member, me);
    let gap = if room.is_some() { " " } else { "" };
    let from = (Party::Id(me.id.0), name, avatar_in_group(member, me));
    let to = (asked.chat_type, asked.to, asked.to_name.as_str(), asked.to_avatar.as_str());
    Notice {
        // As the message has it, however it was asked for: the others look it up by its text.
        id: uuid.to_string(),
        action_type: Some("revoke"),
        group: Some(Value::Null),
        ..Notice::new(from, to, format!("{name}{gap}撤回了一条消息"), now_ms)
    }
}

/// The message with its content taken out: what is delivered in its place to those who do not have it yet. `None` if it is empty
/// already.
fn emptied(body: &str) -> Result<Option<String>> {
    let mut message: Value = serde_json::from_str(body).map_err(AppError::internal)?;
    if is_revoked(&message) {
        return Ok(None);
    }
    message["data"] = Value::from(r#"{"data":"","dataType":false,"otherData":null}"#);
    if !message["options"].is_null() {
        message["options"] = Value::Object(serde_json::Map::new());
    }
    message["isremove"] = Value::from(1);
    Ok(Some(message.to_string()))
}

/// Whether a stored message object was taken back.
pub(super) fn is_revoked(message: &Value) -> bool {
    message["isremove"] == 1
}

fn either<'a>(first: &'a str, second: &'a str) -> &'a str {
    if first.is_empty() { second } else { first }
}
