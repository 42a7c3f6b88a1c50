//! Applications: who asked whom to be friends, and what became of it.

use crate::accounts::User;
use crate::ids::{ApplicationId, UserId};
use crate::messages::model::{Notice, Redirect, SYSTEM_AVATAR};

/// What an application has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not answered.
    Pending,
    /// Answered no; the applicant may ask again.
    Refuse,
    /// Answered yes.
    Agree,
    /// Put aside; the applicant may ask again.
    Ignore,
}

impl Status {
    /// As the wire words them, in the contract's order.
    pub const WORDS: [&'static str; 4] = ["pending", "refuse", "agree", "ignore"];

    /// The status of one of [`Self::WORDS`].
    pub fn of(word: &str) -> Self {
        match word {
            "agree" => Self::Agree,
            "refuse" => Self::Refuse,
            "ignore" => Self::Ignore,
            _ => Self::Pending,
        }
    }

    /// As stored and sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Refuse => "refuse",
            Self::Agree => "agree",
            Self::Ignore => "ignore",
        }
    }
}

/// A row of `friend_applications`.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Application {
    /// Row id.
    pub id: ApplicationId,
    /// Who asks.
    pub user_id: UserId,
    /// Who is asked.
    pub friend_id: UserId,
    /// What the applicant says of itself, or "".
    pub note: String,
    /// One of [`Status::WORDS`].
    pub status: String,
}

/// An application in the list of the person asked, with the applicant as it is now.
#[derive(Clone, Debug, sqlx::FromRow)]
#[expect(missing_docs, reason = "the columns of `friend_applications` and of the applicant's `users` row")]
pub struct Listed {
    #[sqlx(flatten)]
    pub application: Application,
    pub created_at: i64,
    pub updated_at: i64,
    pub username: String,
    pub avatar: String,
    pub nickname: String,
    pub uuid: String,
}

/// E1: the card that tells `to` of an application (contract: people §4.2). Its id is stable, so that the client shows one
/// card for each applicant, however often that person asks.
pub fn application_card(from: &User, to: &User, now_ms: i64) -> Notice {
    let text = format!("用户[{}]申请添加您为好友，请尽快处理", from.display_name());
    let mut card = Notice::card(&format!("applyFriend-{}", from.id), "好友申请提醒", SYSTEM_AVATAR, to, &text, now_ms);
    card.redirect = Some(Redirect::to("/pages/applyMyfriend/applyMyfriend".to_owned()));
    card
}

/// E2: what both are told when they become friends: one message seen from each side, under one id. First the one for
/// `other`, whom `me` calls `other_name`, then the one for `me`.
pub fn welcomes(me: &User, other: &User, other_name: &str, now_ms: i64) -> [Notice; 2] {
    let text = "我们已经是好友了，可以开始聊天了".to_owned();
    let to_other = Notice::single(me, me.display_name(), other, other_name, text.clone(), now_ms);
    let mut to_me = Notice::single(other, other_name, me, me.display_name(), text, now_ms);
    to_me.id.clone_from(&to_other.id);
    [to_other, to_me]
}
