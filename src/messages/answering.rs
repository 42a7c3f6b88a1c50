//! The automatic answer: a single message that asks for it (`options.askanswer`) is answered a moment later from what its
//! recipient has prepared, whether online or not (contract: messaging §4.20 "Q&A").

use std::time::Duration;

use axum::body::Bytes;
use serde_json::{Value, json};
use tracing::warn;

use super::model::{Address, Chat, ChatType, NewMessage, Text};
use super::policy;
use super::post::Post;
use super::service::is_revoked;
use super::store;
use crate::accounts::service as accounts;
use crate::answers::service as answers;
use crate::app::{App, Shared};
use crate::db::in_time;
use crate::error::{AppError, Result};
use crate::friends::service as friends;
use crate::http::json;
use crate::ids::{self, UserId};
use crate::limits::{Budget, Seldom};

/// Bytes of messages that wait for their answer at once; past it a message stays without one.
const WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Of these, for one asker.
const WAITING_BY_ASKER_MAX: usize = 4 * 1024 * 1024;

/// Room for messages that wait for their answer.
#[derive(Debug)]
pub struct Answering {
    room: Budget<UserId>,
    told: Seldom,
}

impl Default for Answering {
    fn default() -> Self {
        Self { room: Budget::new(WAITING_BYTES_MAX, WAITING_BY_ASKER_MAX), told: Seldom::default() }
    }
}

/// The text of a message that asks for an automatic answer.
#[derive(Debug)]
pub struct Question(String);

impl Question {
    /// The question in a single chat message that asks for an answer, if it is one.
    pub fn in_chat(chat: &Chat<'_>) -> Option<Self> {
        if chat.from_id.0 == chat.to_id {
            return None;
        }
        let content: Value = json::parse(chat.data.as_bytes()).ok()?;
        content["data"].as_str().filter(|text| !text.is_empty()).map(|text| Self(text.to_owned()))
    }
}

/// Answers the message `body` that `asker` sent to `target`, after the configured delay; at once when the server stops.
pub fn schedule(app: &Shared, question: Question, asker: UserId, target: UserId, body: Bytes) {
    let Answering { room, told } = &app.messages.answering;
    let size = body.len() + question.0.len();
    let Some(place) = (size <= WAITING_BY_ASKER_MAX).then(|| room.take(Some(asker), size)).flatten() else {
        if told.is_due() {
            warn!(user.id = %target, "too many messages wait for an automatic answer; some stay without");
        }
        return;
    };
    let own = app.clone();
    app.tasks.spawn(async move {
        let _place = place;
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(own.config.answers.delay_ms)) => {}
            () = own.stop.cancelled() => {}
        }
        // Boxed, because it is large and many may wait. Bounded, because it holds the posting lock.
        if let Err(cause) = Box::pin(in_time(answer(&own, &question, asker, target, &body))).await
            && own.messages.answering.told.is_due()
        {
            warn!(cause = cause.for_log(), user.id = %target, "automatic answers could not be sent");
        }
    });
}

/// Sends the answer to the asker and a note of it to the target, if there is an answer. It is not the target who writes:
/// it does not count for the stranger limit. Nothing is sent if the question was taken back meanwhile, or would be refused now.
async fn answer(app: &App, Question(question): &Question, asker: UserId, target: UserId, body: &[u8]) -> Result<()> {
    let Some(answer) = answers::answer_of(app, target, question).await? else { return Ok(()) };
    let (Some(sender), Some(target)) = (accounts::user(app, asker).await?, accounts::user(app, target).await?) else {
        return Ok(());
    };
    let theirs = friends::find(app, target.id, asker).await?;
    if !target.is_enabled() || policy::single(&sender, &target, theirs.as_deref()).is_err() {
        return Ok(());
    }
    let original: Value = serde_json::from_slice(body).map_err(AppError::internal)?;
    let field = |name: &str| original[name].as_str().unwrap_or_default();
    let question_id = field("id").parse().map_err(AppError::internal)?;
    let now_ms = app.clock.now_ms();
    let id = ids::message_uuid(now_ms);
    let reply = Chat {
        id,
        from_avatar: &target.avatar,
        from_name: field("to_name"),
        from_id: target.id,
        to_id: asker.0,
        to_name: field("from_name"),
        to_avatar: field("from_avatar"),
        chat_type: ChatType::Single,
        kind: field("type"),
        data: &json!({ "data": answer, "dataType": false, "otherData": null }).to_string(),
        options: &serde_json::value::to_raw_value(&json!({})).map_err(AppError::internal)?,
        create_time: now_ms,
        isremove: 0,
        group: None,
        send_uuid: &target.uuid,
    };
    let reply = serde_json::to_vec(&reply).map_err(AppError::internal)?;
    let note = note(original, &id.to_string(), &answer, now_ms)?;
    let stored = |uuid, sender, to, body: Vec<u8>| {
        (NewMessage { uuid, sender, address: Address::User(to), created_at: now_ms, body: body.into() }, None)
    };
    let mut post = Post::begin(app).await?;
    let sent = store::find_sent(&mut post.conn(), &question_id).await?;
    let sent: Option<Value> = sent.and_then(|sent| serde_json::from_str(&sent.body).ok());
    if sent.as_ref().is_none_or(is_revoked) {
        return Ok(());
    }
    post.store_all(vec![stored(Some(id), target.id, asker, reply), stored(None, asker, target.id, note)]).await?;
    post.commit().await
}

/// The message itself once more, as a notice that says what was answered, under the id of the answer.
fn note(mut message: Value, id: &str, answer: &str, now_ms: i64) -> Result<Vec<u8>> {
    let text = format!("系统根据您设置的问答数据，挑选了最接近的答案，回复给对方，回复内容是：\n\n {answer}");
    message["id"] = Value::from(id);
    message["type"] = Value::from("systemNotice");
    message["data"] = serde_json::to_value(Text::new(text)).map_err(AppError::internal)?;
    message["create_time"] = Value::from(now_ms);
    serde_json::to_vec(&message).map_err(AppError::internal)
}
