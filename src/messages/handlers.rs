//! Routes of messages (API document chapters 20, 22, 32).

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::model::ChatType;
use super::service::{self, Outgoing, Revocation};
use crate::accounts::auth::{AnyBearer, CurrentUser};
use crate::app::Shared;
use crate::error::{AppError, Result};
use crate::http::fields::{INT_MAX, is_truthy};
use crate::http::origin::Origin;
use crate::http::{Draft, Fields, Payload, Raw, json, ok};

/// A group's picture may be nine URLs of 1000 characters each, joined by commas, where the old server composed it.
const GROUP_AVATAR_MAX: u64 = 9 * 1001;
/// The earliest time that the old validator takes for a message, in epoch milliseconds.
const CREATE_TIME_MIN: i64 = 1_000_000_000_000;

impl Draft for Outgoing {
    fn read(fields: &Fields) -> Result<Self> {
        let (to, chat_type) = (fields.id("sendto_id", "接收人/群的id值")?, chat_type(fields, "接收类型")?);
        let (kind, data) = (fields.any_string("type", "消息类型")?, fields.any_string("data", "消息内容")?);
        let options = fields.text("options").and_then(|text| decoded(&text)).unwrap_or_default();
        let asks = is_truthy(&options["askanswer"]);
        let options = serde_json::value::to_raw_value(&options).map_err(AppError::internal)?;
        Ok(Self { to, chat_type, kind, data, options, asks })
    }
}

fn chat_type(fields: &Fields, label: &str) -> Result<ChatType> {
    Ok(match fields.choice("chatType", label, &["single", "group"])? {
        "group" => ChatType::Group,
        _ => ChatType::Single,
    })
}

/// `JSON.parse(decodeURIComponent(text))`, or `None` where that would throw, or where the message around it would be nested
/// too deeply to be read again.
fn decoded(text: &str) -> Option<Value> {
    let stray =
        |at: usize| !text.as_bytes().get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    if text.match_indices('%').any(|(at, _)| stray(at)) {
        return None;
    }
    let text = percent_decode_str(text).decode_utf8().ok()?;
    let [options] = json::parse(format!("[{text}]").as_bytes()).ok()?;
    Some(options)
}

/// `POST /api/chat/socket/sendmessage`
pub async fn send(
    State(app): State<Shared>,
    CurrentUser(me): CurrentUser,
    origin: Option<Extension<Origin>>,
    Payload(outgoing): Payload<Outgoing>,
) -> Result<Response> {
    let room = |bytes| origin.as_ref().is_none_or(|origin| origin.slot.reserve_for_reply(bytes));
    let body = service::send(&app, &me.user, outgoing, &room).await?;
    Ok(Raw(&body).into_response())
}

/// `POST /api/chat/chatGetmessageOffLine`
pub async fn ask(State(app): State<Shared>, AnyBearer(me): AnyBearer) -> Response {
    // The socket of a former guest gets nothing, and asks for nobody else.
    if !me.former {
        service::ask(&app, me.user.id);
    }
    ok("ok")
}

impl Draft for Revocation {
    fn read(fields: &Fields) -> Result<Self> {
        let group = fields.text("chatType").as_deref() == Some("group");
        let avatar_max = if group { GROUP_AVATAR_MAX } else { 1000 };
        let revocation = Self {
            to: fields.id("to_id", "接收者id或者群id")?,
            to_name: fields.string("to_name", "接收者或者群名称", 1, 50)?,
            to_avatar: fields.string("to_avatar", "接收者或者群头像", 10, avatar_max)?,
            id: fields.any_string("id", "消息uuid")?,
            chat_type: chat_type(fields, "聊天类型")?,
        };
        // The client's clock is not trusted, nor is it an error that it runs ahead (decision 19).
        fields.int("create_time", "消息发送时间", CREATE_TIME_MIN, INT_MAX)?;
        Ok(revocation)
    }
}

/// `POST /api/chat/revokeMessage`
pub async fn revoke(
    State(app): State<Shared>,
    CurrentUser(me): CurrentUser,
    Payload(revocation): Payload<Revocation>,
) -> Result<Response> {
    let own = Arc::clone(&app);
    let notice = app.detached(async move { service::revoke(&own, &me.user, &revocation).await }).await?;
    Ok(ok(notice))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_are_decoded_as_the_client_encodes_them() {
        assert_eq!(decoded("%7B%22a%22%3A%22%E4%B8%AD%22%7D"), Some(json!({"a": "中"})));
        assert_eq!(decoded(r#"{"a":1}"#), Some(json!({"a": 1})));
        assert_eq!(decoded(r#"{"a":"\ud83d"}"#), Some(json!({"a": "\u{fffd}"})));
        for broken in ["", " ", "%7", "%zz", "%E4", "{", "undefined", "1,2", "],[", "1]"] {
            assert_eq!(decoded(broken), None, "{broken}");
        }
    }
}
