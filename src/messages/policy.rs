//! Who may write to whom (contract: people §3 "userset JSON", messaging §4.20, decision 20).

use crate::accounts::{SendCount, User};
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
    match target.userset.send_count(me.is_visitor()) {
        SendCount::Any => Ok(Permit::Free),
        SendCount::One => Ok(Permit::FirstOnly),
        SendCount::None if me.is_visitor() => Err(AppError::refused("你们不是好友关系，对方设置成：先登录才能发消息")),
        SendCount::None => Err(AppError::refused("对方设置成：需要您先成为他的好友才能发消息")),
    }
}
