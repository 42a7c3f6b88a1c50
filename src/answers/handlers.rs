//! Routes of questions and answers (`askanswer/*`, beyond the API document). They answer in an envelope of their own:
//! always HTTP 200, `{code, msg, data?}` (contract: messaging, "Outside the 40").

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::model::{self, Entry};
use super::service;
use crate::accounts::auth::RegisteredUser;
use crate::app::Shared;
use crate::error::{AppError, Result};
use crate::http::envelope::{coded, coded_failure};
use crate::http::{Draft, Fields, Payload};
use crate::ids::{AnswerId, UserId};

const KIND_MAX: u64 = 50;
pub(super) const ASK_MAX: u64 = 500;
const ANSWER_MAX: u64 = 2000;
pub(super) const MISSING: &str = "问答不存在";

/// Parameters that may have failed: the failure too is told in this feature's envelope.
#[derive(Debug)]
pub struct Tried<T>(Result<T>);

impl<T: Draft> Draft for Tried<T> {
    fn read(fields: &Fields) -> Result<Self> {
        Ok(Self(T::read(fields)))
    }
}

/// An entry to be made. `create_userId` and `userId` are ignored: it is always the caller's.
#[derive(Debug)]
pub struct NewEntry {
    kind: String,
    ask: String,
    answer: String,
}

impl Draft for NewEntry {
    fn read(fields: &Fields) -> Result<Self> {
        Ok(Self {
            kind: kind(fields)?.unwrap_or_default(),
            ask: fields.string("ask", "问题", 1, ASK_MAX)?,
            answer: fields.string("answer", "答案", 1, ANSWER_MAX)?,
        })
    }
}

/// An entry to be changed; what is absent stays.
#[derive(Debug)]
pub struct ChangedEntry {
    id: AnswerId,
    change: model::EntryChange,
}

impl Draft for ChangedEntry {
    fn read(fields: &Fields) -> Result<Self> {
        let optional = |name, label, max| fields.text(name).map(|_| fields.string(name, label, 1, max)).transpose();
        Ok(Self {
            id: EntryId::read(fields)?.0,
            change: model::EntryChange {
                kind: kind(fields)?,
                ask: optional("ask", "问题", ASK_MAX)?,
                answer: optional("answer", "答案", ANSWER_MAX)?,
            },
        })
    }
}

/// Which entry.
#[derive(Debug)]
pub struct EntryId(AnswerId);

impl Draft for EntryId {
    fn read(fields: &Fields) -> Result<Self> {
        fields.id("id", "问答id").map(|id| Self(AnswerId(id)))
    }
}

/// Which entries.
#[derive(Debug)]
pub struct Filter {
    kind: Option<String>,
}

impl Draft for Filter {
    fn read(fields: &Fields) -> Result<Self> {
        Ok(Self { kind: kind(fields)? })
    }
}

/// A question to be answered from my entries: `ask`, or `keyword`.
#[derive(Debug)]
pub struct Question {
    kind: Option<String>,
    ask: String,
}

impl Draft for Question {
    fn read(fields: &Fields) -> Result<Self> {
        let name = if fields.text("ask").is_some() { "ask" } else { "keyword" };
        Ok(Self { kind: kind(fields)?, ask: fields.string(name, "问题", 1, ASK_MAX)? })
    }
}

fn kind(fields: &Fields) -> Result<Option<String>> {
    fields.text("type").map(|_| fields.string("type", "类型", 1, KIND_MAX)).transpose()
}

/// A prepared answer.
#[derive(Serialize, ToSchema)]
#[schema(as = PreparedAnswer)]
pub(super) struct EntryRow {
    id: AnswerId,
    /// What a message must say to get the answer.
    ask: String,
    /// What is answered.
    answer: String,
    /// As its author named it.
    #[serde(rename = "type")]
    kind: String,
    /// Its author.
    #[serde(rename = "create_userId")]
    create_user_id: UserId,
    /// In milliseconds since 1970.
    create_time: i64,
    /// In milliseconds since 1970.
    update_time: i64,
    /// How many like it.
    #[serde(rename = "likeCount")]
    like_count: i64,
    /// Whether the asker does.
    liked: bool,
}

impl EntryRow {
    fn new(owner: UserId, entry: Entry) -> Self {
        Self {
            id: entry.id,
            ask: entry.ask,
            answer: entry.answer,
            kind: entry.kind,
            create_user_id: owner,
            create_time: entry.created_at,
            update_time: entry.updated_at,
            like_count: entry.like_count,
            liked: entry.liked != 0,
        }
    }
}

/// `POST /api/chat/askanswer/create`
pub async fn create(
    State(app): State<Shared>,
    RegisteredUser(me): RegisteredUser,
    Payload(Tried(draft)): Payload<Tried<NewEntry>>,
) -> Response {
    let made = async {
        let draft = draft?;
        service::create(&app, me.user.id, &draft.kind, &draft.ask, &draft.answer).await
    };
    one(me.user.id, made.await.map(Some), "添加成功")
}

/// `POST /api/chat/askanswer/update`
pub async fn update(
    State(app): State<Shared>,
    RegisteredUser(me): RegisteredUser,
    Payload(Tried(draft)): Payload<Tried<ChangedEntry>>,
) -> Response {
    let changed = async {
        let draft = draft?;
        service::update(&app, me.user.id, draft.id, &draft.change).await
    };
    one(me.user.id, changed.await, "更新成功")
}

/// `POST /api/chat/askanswer/delete`
pub async fn delete(
    State(app): State<Shared>,
    RegisteredUser(me): RegisteredUser,
    Payload(Tried(draft)): Payload<Tried<EntryId>>,
) -> Response {
    let deleted = async { service::delete(&app, me.user.id, draft?.0).await };
    match deleted.await {
        Ok(true) => coded(200, "删除成功", None::<()>),
        Ok(false) => coded(404, MISSING, None::<()>),
        Err(failure) => coded_failure(failure),
    }
}

/// `POST /api/chat/askanswer/detail`
pub async fn detail(
    State(app): State<Shared>,
    RegisteredUser(me): RegisteredUser,
    Payload(Tried(draft)): Payload<Tried<EntryId>>,
) -> Response {
    let found = async { service::find(&app, me.user.id, draft?.0).await };
    one(me.user.id, found.await, "获取成功")
}

/// `POST /api/chat/askanswer/list`
pub async fn list(
    State(app): State<Shared>,
    RegisteredUser(me): RegisteredUser,
    Payload(Tried(draft)): Payload<Tried<Filter>>,
) -> Response {
    let listed = async { service::list(&app, me.user.id, draft?.kind.as_deref()).await };
    many(me.user.id, listed.await, "获取成功")
}

/// `POST /api/chat/askanswer/search`
pub async fn search(
    State(app): State<Shared>,
    RegisteredUser(me): RegisteredUser,
    Payload(Tried(draft)): Payload<Tried<Question>>,
) -> Response {
    let found = async {
        let draft = draft?;
        service::search(&app, me.user.id, draft.kind.as_deref(), &draft.ask).await
    };
    many(me.user.id, found.await, "搜索成功")
}

fn one(owner: UserId, entry: Result<Option<Entry>>, text: &str) -> Response {
    match entry {
        Ok(Some(entry)) => coded(200, text, Some(EntryRow::new(owner, entry))),
        Ok(None) => coded(404, MISSING, None::<()>),
        Err(failure) => coded_failure(failure),
    }
}

fn many(owner: UserId, entries: Result<Vec<Entry>, AppError>, text: &str) -> Response {
    match entries {
        Ok(entries) => {
            let rows: Vec<EntryRow> = entries.into_iter().map(|entry| EntryRow::new(owner, entry)).collect();
            coded(200, text, Some(rows))
        }
        Err(failure) => coded_failure(failure),
    }
}
