//! Who may write to whom (contract: people §3 "userset JSON", messaging §4.20, decision 20).

use serde_json::Value;

use crate::accounts::User;
use crate::error::{AppError, Result};
use crate::friends::model::Friend;

/// What a permitted single message still has to observe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// No limit.
    Free,
    /// Only if I have never written to this person.
    FirstOnly,
}

/// How many messages a recipient takes from those who are not friends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendCount {
    None,
    One,
    Any,
}

/// Decides by the sender's row, the recipient's row, and the recipient's friendship row of the sender.
pub fn single(me: &User, target: &User, their_friend: Option<&Friend>) -> Result<Permit> {
    if let Some(friend) = their_friend {
        let (blocked, by_system) = if me.is_visitor() {
            ("对方把你拉黑了，不能发消息", "系统把你们拉黑了，不能发消息")
        } else {
            ("对方把你拉黑了，不能发送消息", "系统把你们拉黑了，不能发送消息")
        };
        if friend.blocked != 0 {
            return Err(AppError::refused(blocked));
        }
        if friend.status != 1 {
            return Err(AppError::refused(by_system));
        }
        return Ok(Permit::Free);
    }
    if !me.is_registered() && !me.is_visitor() {
        return Ok(Permit::Free);
    }
    match send_count(&target.userset, me.is_visitor()) {
        SendCount::Any => Ok(Permit::Free),
        SendCount::One => Ok(Permit::FirstOnly),
        SendCount::None if me.is_visitor() => Err(AppError::refused("你们不是好友关系，对方设置成：先登录才能发消息")),
        SendCount::None => Err(AppError::refused("对方设置成：需要您先成为他的好友才能发消息")),
    }
}

/// Empty, malformed, or without the side asked for: one message. The first clients wrote bare numbers instead of objects
/// (`{"chatset":{"visitor":0,"user":0}}`): there the old server saw no count, which is no limit.
fn send_count(userset: &str, visitor: bool) -> SendCount {
    let settings: Value = serde_json::from_str(userset).unwrap_or_default();
    let side = &settings["chatset"][if visitor { "visitor" } else { "user" }];
    if side.is_null() {
        return SendCount::One;
    }
    match side["sendCount"].as_f64() {
        Some(0.0) => SendCount::None,
        Some(1.0) => SendCount::One,
        _ => SendCount::Any,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_every_age_are_read() {
        for (userset, count) in [
            ("", SendCount::One),
            ("{", SendCount::One),
            ("7", SendCount::One),
            (r#"{"chatset":{}}"#, SendCount::One),
            (r#"{"chatset":{"visitor":{"sendCount":0}}}"#, SendCount::One),
            (r#"{"chatset":{"user":{"sendCount":0}}}"#, SendCount::None),
            (r#"{"chatset":{"user":{"sendCount":1}}}"#, SendCount::One),
            (r#"{"chatset":{"user":{"sendCount":2}}}"#, SendCount::Any),
            (r#"{"chatset":{"user":{"sendCount":"0"}}}"#, SendCount::Any),
            (r#"{"chatset":{"user":0}}"#, SendCount::Any),
            (r#"{"chatset":{"user":{}}}"#, SendCount::Any),
        ] {
            assert_eq!(send_count(userset, false), count, "{userset}");
        }
    }
}
