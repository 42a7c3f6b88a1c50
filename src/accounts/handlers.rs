//! Routes of accounts (API document chapters 1, 2, 3, 16, 18, 34, and `setPassword`).

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::{ClientAddress, CurrentUser, RegisteredUser};
use super::credentials::{Credentials, NewCredentials};
use super::model::{Profile, User};
use super::service::{self, Change};
use crate::app::Shared;
use crate::error::{AppError, Result};
use crate::http::fields::LENGTH_MAX;
use crate::http::{Draft, Fields, Params, Payload, ok};
use crate::ids::UserId;

/// `POST /api/regChat`
pub async fn register(
    State(app): State<Shared>,
    ClientAddress(ip): ClientAddress,
    Payload(NewCredentials(draft)): Payload<NewCredentials>,
) -> Result<Response> {
    Ok(ok(service::register(&app, &draft.username, &draft.password, ip).await?))
}

/// `POST /api/loginChat`
pub async fn login(
    State(app): State<Shared>,
    ClientAddress(ip): ClientAddress,
    Payload(draft): Payload<Credentials>,
) -> Result<Response> {
    Ok(ok(service::login(&app, &draft.username, &draft.password, ip).await?))
}

/// `POST /api/chat/logout`
pub async fn logout(State(app): State<Shared>, RegisteredUser(me): RegisteredUser) -> Result<Response> {
    service::logout(&app, me.user.id).await?;
    Ok(ok(true))
}

/// The `:uuid` of a path.
#[derive(Debug)]
pub struct PublicId(pub String);

impl Draft for PublicId {
    fn read(fields: &Fields) -> Result<Self> {
        fields.string("uuid", "uuid值", 36, 36).map(Self)
    }
}

/// A person as everybody sees it.
#[derive(Serialize, ToSchema)]
pub(super) struct UserInfo {
    id: UserId,
    /// Public id.
    uuid: String,
    /// Unique name.
    username: String,
    /// Chosen name, or "".
    nickname: String,
    /// URL of the picture, or a path on this server.
    avatar: String,
    /// `user` or `visitor`.
    role: String,
    /// Settings as JSON text, or "".
    userset: String,
    /// More about the person, or null.
    userinfo: Option<Profile>,
}

/// `GET /api/userinfo/:uuid`
pub async fn userinfo(State(app): State<Shared>, Params(PublicId(uuid)): Params<PublicId>) -> Result<Response> {
    let found = service::find_public(&app, &uuid).await?;
    Ok(ok(found.map(|(user, userinfo)| {
        let User { id, uuid, username, nickname, avatar, role, userset, .. } = user;
        let userset = userset.text().to_owned();
        UserInfo { id, uuid, username, nickname, avatar, role, userset, userinfo }
    })))
}

/// `userset`: 2 characters or more, any text.
#[derive(Debug)]
pub struct Userset(String);

impl Draft for Userset {
    fn read(fields: &Fields) -> Result<Self> {
        let text = fields.string("userset", "用户设置", 2, LENGTH_MAX)?;
        if text.len() > USERSET_BYTES_MAX {
            return Err(AppError::Invalid("用户设置 过长".to_owned()));
        }
        Ok(Self(text))
    }
}

/// What a TEXT column of MySQL holds.
const USERSET_BYTES_MAX: usize = 65_535;

/// `POST /api/chat/userset`
pub async fn userset(
    State(app): State<Shared>,
    CurrentUser(me): CurrentUser,
    Payload(Userset(text)): Payload<Userset>,
) -> Result<Response> {
    service::change(&app, me.user.id, Change::Userset(text)).await?;
    Ok(ok("ok"))
}

/// One field of `updateUserinfo`.
#[derive(Debug)]
pub struct FieldChange {
    name: String,
    value: String,
}

impl Draft for FieldChange {
    fn read(fields: &Fields) -> Result<Self> {
        Ok(Self {
            name: fields.string("fieldname", "修改类型", 1, 30)?,
            value: fields.any_string("fieldValue", "修改结果")?,
        })
    }
}

/// `POST /api/chat/updateUserinfo`: each field has its own rule and reply (contract: people §3).
pub async fn update_userinfo(
    State(app): State<Shared>,
    CurrentUser(me): CurrentUser,
    Payload(FieldChange { name, value }): Payload<FieldChange>,
) -> Result<Response> {
    let (change, reply) = match name.as_str() {
        "username" => return Err(AppError::refused("账号不可修改")),
        "nickname" if value.encode_utf16().count() > 30 => return Err(AppError::refused("昵称长度不能超过30个字符")),
        "nickname" => (Change::Nickname(value), "修改昵称成功"),
        "avatar" if value.encode_utf16().count() > 1000 => {
            return Err(AppError::refused("头像地址过长不能超过1000个字符"));
        }
        "avatar" => (Change::Avatar(value), "头像更新成功"),
        // A number however it is written, as `1.0`.
        "invite_confirm" => match value.trim().parse::<f64>() {
            Ok(0.0) => (Change::InviteConfirm(0), "设置成功"),
            Ok(1.0) => (Change::InviteConfirm(1), "设置成功"),
            _ => return Err(AppError::refused("添加我为好友设置值错误")),
        },
        _ => return Ok(ok("")),
    };
    service::change(&app, me.user.id, change).await?;
    Ok(ok(reply))
}

/// The three passwords of `setPassword`.
#[derive(Debug)]
pub struct PasswordChange {
    old: String,
    new: String,
    again: String,
}

impl Draft for PasswordChange {
    fn read(fields: &Fields) -> Result<Self> {
        Ok(Self {
            old: fields.any_string("oldpassword", "原始密码")?,
            new: fields.string("newpassword", "新密码", 6, 20)?,
            again: fields.any_string("checknewpassword", "确认新密码")?,
        })
    }
}

/// `POST /api/chat/setPassword`
pub async fn set_password(
    State(app): State<Shared>,
    RegisteredUser(me): RegisteredUser,
    ClientAddress(ip): ClientAddress,
    Payload(draft): Payload<PasswordChange>,
) -> Result<Response> {
    if draft.new != draft.again {
        return Err(AppError::refused("新密码与确认新密码不一致"));
    }
    service::set_password(&app, &me, &draft.old, &draft.new, ip).await?;
    Ok(ok("修改密码成功"))
}
