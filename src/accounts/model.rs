//! Users as the rest of the server knows them, and the account as the login replies print it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::userset::Userset;
use crate::clock;
use crate::ids::UserId;

/// The picture of everyone who has not set one (contract: people §5).
pub const DEFAULT_AVATAR: &str = "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/user.jpg";

/// How somebody may act. In a token it is the bearer's mode; in a row, what the account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Registered with a username and a password.
    User,
    /// A guest known by a device.
    Visitor,
}

impl Role {
    /// As stored and sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Visitor => "visitor",
        }
    }
}

/// What other features need to know of a user; cached, so it holds nothing secret.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct User {
    /// Row id.
    pub id: UserId,
    /// Public id.
    pub uuid: String,
    /// Unique without regard to case.
    pub username: String,
    /// May be empty.
    pub nickname: String,
    /// URL or path, never empty.
    pub avatar: String,
    /// `user` or `visitor`; imported rows may hold other words, which count as neither.
    pub role: String,
    /// 1 normal, 0 disabled, 2 locked (cannot log in, but a live token still works).
    pub status: i64,
    /// The person's chat settings.
    #[sqlx(try_from = "String")]
    pub userset: Userset,
    /// 0 anyone may add me as a friend, 1 I approve.
    pub invite_confirm: i64,
}

impl User {
    /// Nickname, or username if that is empty: what others see.
    pub fn display_name(&self) -> &str {
        if self.nickname.is_empty() { &self.username } else { &self.nickname }
    }

    /// Whether the row is a registered account.
    pub fn is_registered(&self) -> bool {
        self.role == Role::User.as_str()
    }

    /// Whether the row is a guest.
    pub fn is_visitor(&self) -> bool {
        self.role == Role::Visitor.as_str()
    }

    /// Whether the account may be seen, written to and logged in to.
    pub const fn is_enabled(&self) -> bool {
        self.status == 1
    }
}

/// Somebody whom a search has found.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = FoundUser)]
#[expect(missing_docs, reason = "as in User")]
pub struct Found {
    pub id: UserId,
    /// Unique name.
    pub username: String,
    /// URL of the picture, or a path on this server.
    pub avatar: String,
    /// `user` or `visitor`.
    pub role: String,
    /// Public id.
    pub uuid: String,
    /// Chosen name, or "".
    pub nickname: String,
}

/// The whole row, for logins.
#[derive(Clone, Debug, sqlx::FromRow)]
#[expect(missing_docs, reason = "the columns of `users`, described in its migration")]
pub struct AccountRow {
    pub id: UserId,
    pub uuid: String,
    pub username: String,
    pub password_hash: String,
    pub nickname: String,
    pub avatar: String,
    pub device_id: Option<String>,
    pub uniplatform: String,
    pub devicemodel: String,
    pub deviceos: String,
    pub devicebrand: String,
    pub userset: String,
    pub invite_confirm: i64,
    pub mobile: Option<String>,
    pub email: Option<String>,
    pub status: i64,
    pub last_login_at: Option<i64>,
    pub last_login_ip: Option<String>,
    pub register_ip: Option<String>,
    pub is_deleted: i64,
    pub wechat_openid: Option<String>,
    pub qq_openid: Option<String>,
    pub weibo_uid: Option<String>,
    pub role: String,
    pub is_email_verified: i64,
    pub is_mobile_verified: i64,
    pub sort_order: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

/// The `data` of a login or registration: the account without its password, and the token.
// contract: people §3
#[derive(Debug, Serialize, ToSchema)]
pub struct Account {
    /// `YYYY-MM-DD HH:mm:ss` in UTC+8.
    create_time: String,
    id: UserId,
    /// Public id.
    uuid: String,
    /// Unique name.
    username: String,
    /// Chosen name, or "".
    nickname: String,
    /// URL of the picture, or a path on this server.
    avatar: String,
    /// The device that a guest was made for, or "".
    devicefingeruuid: String,
    /// What the device said of itself at registration; so the next three.
    uniplatform: String,
    devicemodel: String,
    deviceos: String,
    devicebrand: String,
    /// Settings as JSON text, or "".
    userset: String,
    /// Who may become my friend: 0 anybody at once, 1 whom I accept.
    invite_confirm: i64,
    /// Of imported accounts only; so `email`, the `openid`s and `is_…_verified`.
    mobile: Option<String>,
    email: Option<String>,
    /// 1 enabled, 0 disabled, 2 locked.
    status: i64,
    /// ISO-8601 in UTC.
    last_login: Option<String>,
    last_login_ip: Option<String>,
    /// ISO-8601 in UTC.
    register_time: String,
    register_ip: Option<String>,
    /// Not used.
    is_deleted: i64,
    wechat_openid: Option<String>,
    qq_openid: Option<String>,
    weibo_uid: Option<String>,
    /// How the token acts: `user` or `visitor`.
    role: Role,
    is_email_verified: i64,
    is_mobile_verified: i64,
    /// Always 50 unless imported.
    order: i64,
    /// ISO-8601 in UTC.
    update_time: String,
    /// For the header `token`, and for `/ws?token=`.
    token: String,
}

impl Account {
    /// The row as the bearer of `token`, who acts as `role`, sees it.
    pub fn new(row: AccountRow, role: Role, token: String) -> Self {
        Self {
            create_time: clock::local(row.created_at),
            id: row.id,
            uuid: row.uuid,
            username: row.username,
            nickname: row.nickname,
            avatar: row.avatar,
            devicefingeruuid: row.device_id.unwrap_or_default(),
            uniplatform: row.uniplatform,
            devicemodel: row.devicemodel,
            deviceos: row.deviceos,
            devicebrand: row.devicebrand,
            userset: row.userset,
            invite_confirm: row.invite_confirm,
            mobile: row.mobile,
            email: row.email,
            status: row.status,
            last_login: row.last_login_at.map(clock::iso),
            last_login_ip: row.last_login_ip,
            register_time: clock::iso(row.created_at),
            register_ip: row.register_ip,
            is_deleted: row.is_deleted,
            wechat_openid: row.wechat_openid,
            qq_openid: row.qq_openid,
            weibo_uid: row.weibo_uid,
            role,
            is_email_verified: row.is_email_verified,
            is_mobile_verified: row.is_mobile_verified,
            order: row.sort_order,
            update_time: clock::iso(row.updated_at),
            token,
        }
    }
}

/// What userinfo shows beside the account.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct Profile {
    /// Row id.
    pub id: i64,
    /// `male`, `female` or `unknown`.
    pub gender: String,
    /// ISO-8601 in UTC.
    #[serde(serialize_with = "iso_or_null")]
    #[serde(rename = "birthday")]
    #[schema(value_type = Option<String>)]
    pub birthday_at: Option<i64>,
    /// About me.
    pub bio: Option<String>,
    /// Where I am.
    pub location: Option<String>,
    /// My page.
    pub website: Option<String>,
}

#[expect(clippy::ref_option, reason = "the signature that serde asks for")]
fn iso_or_null<S: serde::Serializer>(at: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(clock::iso).serialize(serializer)
}

/// A row to be made.
#[derive(Debug)]
#[expect(missing_docs, reason = "the columns of `users`, described in its migration")]
pub struct NewUser<'a> {
    pub uuid: String,
    pub username: &'a str,
    pub password_hash: &'a str,
    pub role: Role,
    pub device_id: Option<&'a str>,
    pub stats: DeviceStats,
    pub last_login_at: Option<i64>,
    pub now_ms: i64,
}

/// What a device says of itself, for statistics.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the wire's own words, contract: people §3")]
pub struct DeviceStats {
    pub uniplatform: String,
    pub devicemodel: String,
    pub deviceos: String,
    pub devicebrand: String,
}

/// A live token's row.
#[derive(Clone, Debug, sqlx::FromRow)]
#[expect(missing_docs, reason = "the columns of `sessions`, described in its migration")]
pub struct SessionRow {
    pub role: String,
    pub token_id: String,
    pub issued_at: i64,
    pub expires_at: i64,
    pub answers_pings: i64,
}

/// How names compare: without regard to case (decision 16) and to spaces after them. MySQL pads what it compares, and so did
/// the old backend's; SQLite does not. A limit that told `alice` from `alice ` would count guesses at one account twice.
pub fn username_key(username: &str) -> String {
    folded(username.trim_end_matches(' '))
}

/// A part of a name, or a keyword, without regard to case.
pub fn folded(part: &str) -> String {
    part.to_lowercase()
}

/// What a name of this key is found by: all of it (true), and each shorter end of it.
pub fn username_parts(key: &str) -> impl Iterator<Item = (bool, &str)> {
    key.char_indices().map(|(at, _)| (at == 0, &key[at..]))
}
