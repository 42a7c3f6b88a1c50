//! What the routes of messages are.

use super::handlers;
use super::model::{Chat, Notice};
use crate::http::describe::Route;
use crate::http::fields::{Field, Kind, LENGTH_MAX};

/// Routes of this feature.
pub fn routes() -> Vec<Route> {
    let chat_type = Field {
        name: "chatType".to_owned(),
        label: "聊天类型".to_owned(),
        about: "",
        kind: Kind::Word(vec!["single", "group"]),
        required: true,
    };
    let options = Field {
        name: "options".to_owned(),
        label: String::new(),
        about: "Percent-encoded JSON, which is pushed decoded; what is none is pushed as `null`. A true `askanswer` in it \
                asks for a prepared answer.",
        kind: Kind::Text { min: 0, max: LENGTH_MAX },
        required: false,
    };
    vec![
        Route::post("/api/chat/socket/sendmessage", "发消息 (send a message)", handlers::send)
            .note(
                "`data` is text for the recipient's client, by custom the JSON text of `{data, dataType, otherData}`.",
            )
            .note("`options` is percent-encoded JSON, or \"\".")
            .note("The reply is the message as it is pushed; it comes when the message is stored durably.")
            .field(options)
            .data::<Chat<'_>>()
            .refuses(&[
                "对方不存在或者被禁用，不能发消息",
                "对方把你拉黑了，不能发消息",
                "系统把你们拉黑了，不能发消息",
                "对方把你拉黑了，不能发送消息",
                "系统把你们拉黑了，不能发送消息",
                "你们不是好友关系，对方设置成：先登录才能发消息",
                "对方设置成：需要您先成为他的好友才能发消息",
                "在成为好友之前，对方只允许向他发一条消息",
                "群不存在或者已解散或者被封禁，无法发消息",
                "您不在群里，无法发消息",
            ]),
        Route::post("/api/chat/chatGetmessageOffLine", "取离线消息 (ask for what is pending)", handlers::ask)
            .note("It comes over `/ws`, in order, one frame a message.")
            .says(&["ok"]),
        Route::post("/api/chat/revokeMessage", "撤回消息 (take a message back)", handlers::revoke)
            .note("Within five minutes; the owner of a group may take back any message of it.")
            .field(chat_type)
            .data::<Notice>()
            .refuses(&["群不存在", "你不在该群聊中，操作失败", "消息不存在或无权撤回", "消息超过5分钟，不能撤回"]),
    ]
}
