//! AsyncAPI 3.0 of the frames of `/ws`, of the types that the server sends. Its point of view is the server's: it *sends*
//! pushes and *receives* what a client writes.

use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::openapi::failure;
use crate::gateway::ClientFrame;
use crate::gateway::signal::Signal;
use crate::messages::model::{Chat, Notice};

const ABOUT: &str = "\
Connect to `/ws?token=<token>`. The upgrade is always accepted; if the token does not hold, one frame says so and the socket is \
closed. What is pending is pushed after `POST /api/chat/chatGetmessageOffLine`. \
Messages are confirmed by the pongs that every WebSocket stack sends by itself; a client needs no code for it. \
A close with code 4001 means a login elsewhere. A server that stops drops TCP without a close frame: connect again.";

/// A kind of frame.
struct Message {
    name: &'static str,
    title: &'static str,
    payload: Value,
    example: Value,
}

/// The document as JSON.
pub fn document() -> Value {
    let (pushed, written) = (pushed(), written());
    let reference = |message: &Message| json!({ "$ref": format!("#/channels/ws/messages/{}", message.name) });
    let messages = |list: &[Message]| list.iter().map(reference).collect::<Vec<_>>();
    let operations = json!({
        "push": {
            "action": "send", "channel": { "$ref": "#/channels/ws" },
            "summary": "推送 (what the server pushes)", "messages": messages(&pushed),
        },
        "write": {
            "action": "receive", "channel": { "$ref": "#/channels/ws" },
            "summary": "客户端帧 (what a client may write; all else is ignored)", "messages": messages(&written),
        },
    });
    let token = json!({ "type": "object", "required": ["token"], "properties": { "token": { "type": "string" } } });
    let channel = json!({
        "address": "/ws",
        "bindings": { "ws": { "method": "GET", "query": token } },
        "messages": pushed.iter().chain(&written).map(described).collect::<Map<_, _>>(),
    });
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Qingniao 青鸟 /ws", "version": env!("CARGO_PKG_VERSION"), "description": ABOUT,
            "license": { "name": "MIT" },
        },
        "defaultContentType": "application/json",
        "servers": { "here": { "host": "localhost:7001", "protocol": "ws" } },
        "channels": { "ws": channel },
        "operations": operations,
        "components": { "schemas": schemas() },
    })
}

fn described(message: &Message) -> (String, Value) {
    let Message { name, title, payload, example } = message;
    let text = json!({ "name": name, "title": title, "payload": payload, "examples": [{ "payload": example }] });
    ((*name).to_owned(), text)
}

fn pushed() -> Vec<Message> {
    let refused = json!({ "msg": "fail", "data": "Token 不合法" });
    vec![
        Message {
            name: "welcome",
            title: "欢迎 (the first frame)",
            payload: signal("system"),
            example: json!({ "type": "system", "data": "欢迎您访问我们的系统！", "timestamp": 1_757_000_000_000_i64 }),
        },
        Message {
            name: "chat",
            title: "聊天消息 (what a person sent, to me or to a group)",
            payload: single_chat("ChatMessage"),
            example: push(super::examples::reply("POST /api/chat/socket/sendmessage")),
        },
        Message {
            name: "notice",
            title: "通知 (what the server says: notices, cards of the menu, revocations)",
            payload: single_chat("Notice"),
            example: push(super::examples::reply("POST /api/chat/revokeMessage")),
        },
        Message {
            name: "answered",
            title: "自动回复通知 (what was answered in my name)",
            payload: single_chat("AnsweredNote"),
            example: answered(super::examples::reply("POST /api/chat/socket/sendmessage")),
        },
        Message {
            name: "heartbeat",
            title: "心跳 (needs no answer)",
            payload: signal("ping"),
            example: json!({ "type": "ping" }),
        },
        Message {
            name: "pong",
            title: "应答 (the answer to a client's ping)",
            payload: signal("pong"),
            example: json!({ "type": "pong", "timestamp": 1_757_000_000_000_i64 }),
        },
        Message {
            name: "refused",
            title: "拒绝 (why the socket is closed)",
            payload: json!({ "$ref": "#/components/schemas/Failure" }),
            example: refused,
        },
    ]
}

fn written() -> Vec<Message> {
    vec![
        Message {
            name: "clientFrame",
            title: "客户端心跳 (a ping is answered, unless it has a token that does not hold; a pong is ignored)",
            payload: json!({ "$ref": "#/components/schemas/ClientFrame" }),
            example: json!({ "type": "ping", "token": "eyJhbGciOiJIUzI1NiJ9.e30.c2ln" }),
        },
        Message {
            name: "barePing",
            title: "客户端心跳 (the same as bare text)",
            payload: json!({ "type": "string", "const": "ping" }),
            example: json!("ping"),
        },
    ]
}

/// The data of a reply as it is pushed.
fn push(reply: Option<&Value>) -> Value {
    let data = reply.map(|reply| reply["data"].clone()).unwrap_or_default();
    json!({ "type": "singleChat", "data": data, "timestamp": 1_757_000_000_000_i64 })
}

/// What was answered to a message: the message itself, as a notice (`messages::answering`).
fn answered(reply: Option<&Value>) -> Value {
    let mut frame = push(reply);
    frame["data"]["type"] = "systemNotice".into();
    frame["data"]["data"] = json!({ "data": "系统根据您设置的问答数据…", "dataType": false, "otherData": null });
    frame
}

/// Every message object is pushed in the same envelope (`messages::model::frame`).
fn single_chat(data: &str) -> Value {
    json!({
        "type": "object",
        "required": ["type", "data", "timestamp"],
        "properties": {
            "type": { "type": "string", "const": "singleChat" },
            "data": { "$ref": format!("#/components/schemas/{data}") },
            "timestamp": { "type": "integer", "description": "Epoch milliseconds." },
        },
    })
}

/// The signal of this type.
fn signal(kind: &str) -> Value {
    let all = json!(Signal::schema());
    let variants = all["oneOf"].as_array().cloned().unwrap_or_default();
    variants.into_iter().find(|one| one["properties"]["type"]["enum"][0] == kind).expect("a signal of each type")
}

fn schemas() -> Map<String, Value> {
    let mut found: Vec<(String, RefOr<Schema>)> = Vec::new();
    Chat::schemas(&mut found);
    Notice::schemas(&mut found);
    found.push((Chat::name().into_owned(), Chat::schema()));
    found.push((Notice::name().into_owned(), Notice::schema()));
    found.push((ClientFrame::name().into_owned(), ClientFrame::schema()));
    found.push(("Failure".to_owned(), failure().into()));
    let mut schemas: Map<String, Value> = found.into_iter().map(|(name, schema)| (name, json!(schema))).collect();
    let mut note = json!(Chat::schema());
    note["description"] = "What was answered in my name, told as a notice between the asker and me.".into();
    note["properties"]["data"] = json!({ "$ref": "#/components/schemas/NoticeText" });
    schemas.insert("AnsweredNote".to_owned(), note);
    schemas
}
