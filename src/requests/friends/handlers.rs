//! Routes of friend requests (API document chapters 5, 6, 7, 17, 33, 40).

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::model::{Application, Listed, Status};
use super::service;
use crate::accounts::auth::{CurrentUser, RegisteredUser};
use crate::app::Shared;
use crate::clock;
use crate::error::Result;
use crate::http::fields::INT_MAX;
use crate::http::{Draft, Fields, Params, Payload, ok};
use crate::ids::{ApplicationId, UserId};

/// Whom to ask, and what to say of oneself.
#[derive(Debug)]
pub struct Asking {
    friend: UserId,
    note: String,
}

impl Draft for Asking {
    fn read(fields: &Fields) -> Result<Self> {
        let friend = fields.id("friend_id", "我申请添加的好友id").map(UserId)?;
        Ok(Self { friend, note: fields.optional_string("nickname", 1, 50) })
    }
}

/// `POST /api/chat/applyfriend`
pub async fn apply(
    State(app): State<Shared>,
    CurrentUser(me): CurrentUser,
    Payload(Asking { friend, note }): Payload<Asking>,
) -> Result<Response> {
    let own = app.clone();
    app.detached(async move { service::apply(&own, &me.user, friend, &note).await }).await?;
    Ok(ok("ok"))
}

/// `POST /api/chat/autoAddFriendAndAgree`
pub async fn add(
    State(app): State<Shared>,
    CurrentUser(me): CurrentUser,
    Payload(Asking { friend, note }): Payload<Asking>,
) -> Result<Response> {
    let own = app.clone();
    app.detached(async move { service::add(&own, &me.user, friend, &note).await }).await?;
    Ok(ok("ok"))
}

/// A page of applications.
#[derive(Debug)]
pub struct Page {
    page: i64,
    limit: i64,
}

impl Draft for Page {
    fn read(fields: &Fields) -> Result<Self> {
        Ok(Self { page: fields.id("page", "页码")?, limit: fields.optional_int("limit", 1, INT_MAX, 10) })
    }
}

/// A friend application.
#[derive(Serialize, ToSchema)]
pub(super) struct ApplicationRow<'a> {
    id: ApplicationId,
    /// Who asks.
    user_id: UserId,
    /// Who is asked.
    friend_id: UserId,
    /// What the applicant says of itself, or "".
    nickname: &'a str,
    /// Always 1; the next three never change either.
    friendlookme: u8,
    melookfriend: u8,
    ismystarfriend: u8,
    isblack: u8,
    /// `pending`, `refuse`, `agree` or `ignore`.
    status: &'a str,
}

impl<'a> ApplicationRow<'a> {
    fn new(application: &'a Application) -> Self {
        Self {
            id: application.id,
            user_id: application.user_id,
            friend_id: application.friend_id,
            nickname: &application.note,
            friendlookme: 1,
            melookfriend: 1,
            ismystarfriend: 0,
            isblack: 0,
            status: &application.status,
        }
    }
}

/// A page of the applications to me.
#[derive(Serialize, ToSchema)]
pub(super) struct ApplicationPage<'a> {
    /// The newest first.
    alldata: Vec<ListedRow<'a>>,
    /// How many wait for my answer, on all pages.
    #[serde(rename = "pendingCount")]
    pending_count: i64,
}

/// A friend application with its applicant.
#[derive(Serialize, ToSchema)]
#[schema(as = ListedApplication)]
pub(super) struct ListedRow<'a> {
    /// `YYYY-MM-DD HH:mm:ss` in UTC+8.
    create_time: String,
    #[serde(flatten)]
    row: ApplicationRow<'a>,
    /// Always 50.
    order: u8,
    /// ISO-8601 in UTC.
    update_time: String,
    /// Repeats `user_id`.
    #[serde(rename = "userId")]
    user_id: UserId,
    /// Who asks.
    user: Applicant<'a>,
}

/// Who asks to be a friend.
#[derive(Serialize, ToSchema)]
pub(super) struct Applicant<'a> {
    id: UserId,
    /// Unique name.
    username: &'a str,
    /// URL of the picture, or a path on this server.
    avatar: &'a str,
    /// Chosen name, or "".
    nickname: &'a str,
    /// Public id.
    uuid: &'a str,
}

impl<'a> ListedRow<'a> {
    fn new(listed: &'a Listed) -> Self {
        let applicant = listed.application.user_id;
        Self {
            create_time: clock::local(listed.created_at),
            row: ApplicationRow::new(&listed.application),
            order: 50,
            update_time: clock::iso(listed.updated_at),
            user_id: applicant,
            user: Applicant {
                id: applicant,
                username: &listed.username,
                avatar: &listed.avatar,
                nickname: &listed.nickname,
                uuid: &listed.uuid,
            },
        }
    }
}

/// `GET /api/chat/listapplyfriend/:page`
pub async fn list(
    State(app): State<Shared>,
    RegisteredUser(me): RegisteredUser,
    Params(Page { page, limit }): Params<Page>,
) -> Result<Response> {
    let (listed, pending_count) = service::list(&app, me.user.id, page, limit).await?;
    Ok(ok(ApplicationPage { alldata: listed.iter().map(ListedRow::new).collect(), pending_count }))
}

/// My answer to an application, whose id is in the path.
#[derive(Debug)]
pub struct Decision {
    id: ApplicationId,
    remark: String,
    status: Status,
}

impl Draft for Decision {
    fn read(fields: &Fields) -> Result<Self> {
        Ok(Self {
            id: fields.id("id", "申请表的id").map(ApplicationId)?,
            remark: fields.optional_string("nickname", 1, 50),
            status: Status::of(fields.choice("status", "处理状态", &Status::WORDS)?),
        })
    }
}

/// `POST /api/chat/handleapply/:id`
pub async fn answer(
    State(app): State<Shared>,
    RegisteredUser(me): RegisteredUser,
    Payload(Decision { id, remark, status }): Payload<Decision>,
) -> Result<Response> {
    let own = app.clone();
    app.detached(async move { service::answer(&own, &me.user, id, status, &remark).await }).await?;
    Ok(ok("ok"))
}

/// The public id of somebody who may have asked.
#[derive(Debug)]
pub struct FromUser(String);

impl Draft for FromUser {
    fn read(fields: &Fields) -> Result<Self> {
        fields.string("uuid", "uuid值", 36, 36).map(Self)
    }
}

/// Somebody's application to me.
#[derive(Serialize, ToSchema)]
pub(super) struct FoundApplication<'a> {
    #[serde(flatten)]
    row: ApplicationRow<'a>,
    /// Repeats `user_id`.
    #[serde(rename = "userId")]
    user_id: UserId,
}

/// `POST /api/chat/isApplyfriend/:uuid`
pub async fn find_from(
    State(app): State<Shared>,
    RegisteredUser(me): RegisteredUser,
    Payload(FromUser(uuid)): Payload<FromUser>,
) -> Result<Response> {
    let application = service::find_from(&app, me.user.id, &uuid).await?;
    Ok(ok(FoundApplication { row: ApplicationRow::new(&application), user_id: application.user_id }))
}

/// The friend's user id in a path.
#[derive(Debug)]
pub struct FriendId(UserId);

impl Draft for FriendId {
    fn read(fields: &Fields) -> Result<Self> {
        fields.id("id", "朋友id").map(|id| Self(UserId(id)))
    }
}

/// `POST /api/chat/deletegoodfriend/:id`
pub async fn part(
    State(app): State<Shared>,
    CurrentUser(me): CurrentUser,
    Payload(FriendId(friend)): Payload<FriendId>,
) -> Result<Response> {
    let own = app.clone();
    app.detached(async move { service::part(&own, me.user.id, friend).await }).await?;
    Ok(ok("删除好友成功"))
}
