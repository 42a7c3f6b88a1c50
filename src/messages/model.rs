//! Message objects as they go over the wire (contract: messaging §1), and rows as they are stored.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::accounts::User;
use crate::groups::model::{Card, Member, Recipient, Room};
use crate::hub::Frame;
use crate::ids::{GroupId, MessageId, SubscriptionId, UserId};

/// The picture of what the system says about requests (contract: messaging §3).
pub const SYSTEM_AVATAR: &str = "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/group.png";

/// The two kinds of chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChatType {
    /// Between two people.
    Single,
    /// In a group.
    Group,
}

/// Who of a group gets a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Active members except the sender: chat.
    Others = 0,
    /// Active members.
    Members = 1,
    /// Every row of the group, waiting and muted members included.
    Everyone = 2,
}

impl Audience {
    /// Whether a member in this standing is among the recipients.
    pub fn includes(self, recipient: &Recipient, sender: UserId) -> bool {
        match self {
            Self::Others => recipient.active && recipient.user != sender,
            Self::Members => recipient.active,
            Self::Everyone => true,
        }
    }

    /// How many of the room are among the recipients.
    pub fn count(self, room: &Room, sender: UserId) -> usize {
        match self {
            Self::Others => room.active() - usize::from(room.member(sender).is_some_and(Member::is_active)),
            Self::Members => room.active(),
            Self::Everyone => room.len(),
        }
    }
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// To one person.
    User(UserId),
    /// To a group.
    Group(GroupId, Audience),
}

/// A row of `messages` to be stored.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Set on chat messages: what `revokeMessage` names.
    pub uuid: Option<Uuid>,
    /// Who caused it.
    pub sender: UserId,
    /// Who gets it.
    pub address: Address,
    /// Epoch milliseconds.
    pub created_at: i64,
    /// The message object as JSON.
    pub body: Bytes,
}

/// A stored chat message, as a revocation needs it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Sent {
    /// Row id.
    pub id: MessageId,
    /// Who sent it.
    pub sender_id: UserId,
    /// To whom, if it was a single chat.
    pub recipient_id: Option<UserId>,
    /// To which group, if it was a group's.
    pub group_id: Option<GroupId>,
    /// When the server accepted it.
    pub created_at: i64,
    /// The message object as JSON.
    pub body: String,
}

/// Something pending, without its body.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct Due {
    /// Row id.
    pub id: MessageId,
    /// Bytes of the body.
    pub size: i64,
    /// The subscription by which it is due, or 0 for a direct message.
    pub subscription: i64,
    /// The number in the group, or 0.
    pub seq: i64,
}

/// A subscription that has messages behind its cursor.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct Subscription {
    /// Row id.
    pub id: SubscriptionId,
    /// The group.
    pub group_id: GroupId,
    /// The cursor.
    pub delivered_seq: i64,
    /// Chat is due from the message after this one on.
    pub active_from_seq: i64,
    /// The last message that the subscription and the group have.
    pub last_seq: i64,
}

/// How far direct messages are filed in the backlog.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct Progress {
    /// Up to this one, all that are pending have a row there.
    pub filed_id: MessageId,
    /// The newest of all that are committed; every lower id is committed too, or was answered with 503.
    pub newest_id: MessageId,
}

/// How far somebody's direct messages have come, and where the backlog begins.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct Inbox {
    /// Whose.
    pub user_id: UserId,
    /// The cursor.
    pub delivered_id: MessageId,
    /// The oldest message of the backlog, received or not.
    pub oldest_id: Option<MessageId>,
}

/// A row of somebody's backlog.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct Filed {
    /// Whose.
    pub user_id: UserId,
    /// The message.
    pub message_id: MessageId,
    /// When the server accepted it, if it is still there.
    pub created_at: Option<i64>,
}

/// A message that may be old.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct Received {
    /// Row id.
    pub id: MessageId,
    /// When the server accepted it.
    pub created_at: i64,
    /// 1 if it is a direct one and its recipient's cursor has passed it.
    pub received: i64,
}

/// A group's message that may be old.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct Aging {
    /// Row id.
    pub id: MessageId,
    /// Its number in the group.
    pub seq: i64,
    /// Who caused it.
    pub sender_id: UserId,
    /// An [`Audience`].
    pub audience: i64,
    /// When the server accepted it.
    pub created_at: i64,
}

/// A subscription, as far as it says which of its group's messages are due.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct Holder {
    /// Whose.
    pub user_id: UserId,
    /// The cursor.
    pub delivered_seq: i64,
    /// Chat is due from the message after this one on.
    pub active_from_seq: i64,
    /// Nothing is due after this one.
    pub until_seq: i64,
}

impl Holder {
    /// If the message is due here, as `store::list_due_group` says it in SQL: up to which one all that
    /// follow are held. Who waits for an approval holds single notices.
    pub fn holds_up_to(&self, message: &Aging) -> Option<i64> {
        let is_behind = self.delivered_seq < message.seq && message.seq <= self.until_seq;
        let is_active = message.seq > self.active_from_seq;
        let is_own = message.audience == Audience::Others as i64 && message.sender_id == self.user_id;
        let is_due = is_behind && !is_own && (is_active || message.audience == Audience::Everyone as i64);
        is_due.then_some(if is_active { self.until_seq } else { message.seq })
    }
}

/// A chat message of a person's.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChatMessage)]
pub struct Chat<'a> {
    /// What `revokeMessage` names.
    pub id: Uuid,
    /// The sender's picture.
    pub from_avatar: &'a str,
    /// The sender's name, in a group the one there.
    pub from_name: &'a str,
    /// The sender.
    pub from_id: UserId,
    /// The recipient, or the group.
    pub to_id: i64,
    /// The recipient's or the group's name.
    pub to_name: &'a str,
    /// The recipient's or the group's picture.
    pub to_avatar: &'a str,
    /// Whether `to_id` is a person or a group.
    #[serde(rename = "chatType")]
    pub chat_type: ChatType,
    /// `text`, `image`, `video`, `audio` …: the clients agree on it.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// The content, as the sender wrote it.
    pub data: &'a str,
    /// What the sender added, as it was.
    #[schema(value_type = Value)]
    pub options: &'a RawValue,
    /// When the server accepted it, in milliseconds since 1970.
    pub create_time: i64,
    /// 1 if it was revoked and its content is gone, else 0.
    pub isremove: u8,
    /// The group, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Card<'a>>,
    /// The sender's public id.
    #[serde(rename = "sendUUid")]
    pub send_uuid: &'a str,
}

/// The content of everything that the server says by itself.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = NoticeText)]
pub struct Text {
    /// The text.
    data: String,
    /// Always false.
    #[serde(rename = "dataType")]
    data_type: bool,
    /// Always null.
    #[serde(rename = "otherData")]
    other_data: Option<()>,
}

impl Text {
    /// Plain text.
    pub fn new(text: impl Into<String>) -> Self {
        Self { data: text.into(), data_type: false, other_data: None }
    }
}

/// Who a notice says it is from or to: a number, or `redirect-…` for cards.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Party {
    /// A user or a group.
    Id(i64),
    /// A system card.
    Card(String),
}

/// Where a card leads in the client.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Redirect {
    /// Page and query.
    pub url: String,
    /// The `uni.*` function to call.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// `avatar` on the avatar card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doaction: Option<&'static str>,
    /// What a join request says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desc: Option<Value>,
}

impl Redirect {
    /// A page to open.
    pub const fn to(url: String) -> Self {
        Self { url, kind: "navigateTo", doaction: None, desc: None }
    }
}

/// A message that the server makes: notices, cards, revocations.
// contract: messaging §1, §3
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Notice {
    /// Of its own; of a revocation, that of the message.
    pub id: String,
    /// The picture to show.
    pub from_avatar: String,
    /// The name to show.
    pub from_name: String,
    /// A person, a group, or a card.
    pub from_id: Party,
    /// The recipient, or the group.
    pub to_id: i64,
    /// The recipient's or the group's name.
    pub to_name: String,
    /// The recipient's or the group's picture.
    pub to_avatar: String,
    /// Whether `to_id` is a person or a group.
    #[serde(rename = "chatType")]
    pub chat_type: ChatType,
    /// `systemNotice`, or `text` for cards.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// `revoke`, or nothing.
    #[serde(rename = "actionType", skip_serializing_if = "Option::is_none")]
    pub action_type: Option<&'static str>,
    /// What to show.
    pub data: Text,
    /// Always empty.
    #[schema(value_type = Object)]
    pub options: Map<String, Value>,
    /// When the server accepted it, in milliseconds since 1970.
    pub create_time: i64,
    /// Always 0.
    pub isremove: u8,
    /// The group, if it concerns one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Value>,
    /// Where a tap leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
    /// Of cards and requests: by it the client tells them apart.
    #[serde(rename = "msgidKey", skip_serializing_if = "Option::is_none")]
    pub msgid_key: Option<String>,
}

impl Notice {
    /// What every notice has: whom it is from and to, each with a name and a picture, and what to show.
    pub(super) fn new(
        (from_id, from_name, from_avatar): (Party, &str, &str),
        (chat_type, to_id, to_name, to_avatar): (ChatType, i64, &str, &str),
        text: String,
        now_ms: i64,
    ) -> Self {
        Self {
            id: crate::ids::uuid(),
            from_avatar: from_avatar.to_owned(),
            from_name: from_name.to_owned(),
            from_id,
            to_id,
            to_name: to_name.to_owned(),
            to_avatar: to_avatar.to_owned(),
            chat_type,
            kind: "systemNotice",
            action_type: None,
            data: Text::new(text),
            options: Map::new(),
            create_time: now_ms,
            isremove: 0,
            group: None,
            redirect: None,
            msgid_key: None,
        }
    }

    /// From one person to another.
    pub fn single(from: &User, from_name: &str, to: &User, to_name: &str, text: String, now_ms: i64) -> Self {
        let from = (Party::Id(from.id.0), from_name, from.avatar.as_str());
        Self::new(from, (ChatType::Single, to.id.0, to_name, &to.avatar), text, now_ms)
    }

    /// A card from the system to a person; `key` becomes `redirect-<key>`, by which the client tells cards apart.
    pub fn card(key: &str, from_name: &str, from_avatar: &str, to: &User, text: &str, now_ms: i64) -> Self {
        let id = format!("redirect-{key}");
        let mut card = Self::single(to, from_name, to, to.display_name(), text.to_owned(), now_ms);
        from_avatar.clone_into(&mut card.from_avatar);
        card.from_id = Party::Card(id.clone());
        card.kind = "text";
        card.msgid_key = Some(id);
        card
    }

    /// To a group, with the group as it is now.
    pub fn group(from: Party, from_name: &str, from_avatar: &str, room: &Room, text: String, now_ms: i64) -> Self {
        let group = &room.group;
        let to = (ChatType::Group, group.id.0, group.name.as_str(), group.avatar.as_str());
        let card = serde_json::to_value(group.card()).expect("a card is plain data");
        Self { group: Some(card), ..Self::new((from, from_name, from_avatar), to, text, now_ms) }
    }

    /// The JSON of the notice.
    pub fn body(&self) -> Bytes {
        serde_json::to_vec(self).expect("a notice is plain data").into()
    }

    /// The pushed frame of a notice that is not stored.
    pub fn frame(&self) -> Frame {
        frame(&self.body(), self.create_time)
    }
}

/// The pushed form of a message object: every push has type `singleChat`, groups and notices included.
pub fn frame(body: &[u8], now_ms: i64) -> Frame {
    let tail = format!(",\"timestamp\":{now_ms}}}");
    Frame::text(&[b"{\"type\":\"singleChat\",\"data\":", body, tail.as_bytes()])
}

/// The name of somebody in a group: the group's own, else the user's.
pub fn name_in_group<'a>(member: Option<&'a Member>, user: &'a User) -> &'a str {
    member.map(|member| member.nickname.as_str()).filter(|name| !name.is_empty()).unwrap_or_else(|| user.display_name())
}

/// The picture of somebody in a group: the group's own, else the user's.
pub fn avatar_in_group<'a>(member: Option<&'a Member>, user: &'a User) -> &'a str {
    member.map(|member| member.avatar.as_str()).filter(|avatar| !avatar.is_empty()).unwrap_or(&user.avatar)
}
