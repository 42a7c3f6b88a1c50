//! Routes that read groups (API document chapters 23, 24).

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::model::{Card, Group, Joined, MEMBER_ACTIVE, Participant};
use super::service;
use crate::accounts::auth::CurrentUser;
use crate::app::Shared;
use crate::clock;
use crate::error::Result;
use crate::http::fields::INT_MAX;
use crate::http::{Draft, Fields, Params, ok};
use crate::ids::{GroupId, MemberId, UserId};

/// Groups in one page where the client does not say.
const PAGE_DEFAULT: i64 = 30;
/// The rank that no call ever sets.
const ORDER: i64 = 50;

/// Which groups to list.
#[derive(Debug)]
pub struct Page {
    page: i64,
    limit: i64,
}

impl Draft for Page {
    fn read(fields: &Fields) -> Result<Self> {
        let limit = |fields: &Fields| fields.optional_int("limit", 1, INT_MAX, PAGE_DEFAULT);
        let page = |fields: &Fields| fields.int("page", "页码", 1, INT_MAX);
        // `1&limit=3`: the form that the API document prints (decision 5).
        let text = fields.text("page").unwrap_or_default();
        if let Some((number, query)) = text.split_once('&') {
            let mut own = Fields::default();
            own.insert("page".to_owned(), Value::from(number));
            for (name, value) in form_urlencoded::parse(query.as_bytes()) {
                own.insert(name.into_owned(), Value::from(value.into_owned()));
            }
            if let Ok(page) = page(&own) {
                return Ok(Self { page, limit: limit(&own) });
            }
        }
        Ok(Self { page: page(fields)?, limit: limit(fields) })
    }
}

/// A group in the list.
#[derive(Serialize, ToSchema)]
#[schema(as = ListedGroup)]
pub(super) struct ListedGroup<'a> {
    #[serde(flatten)]
    group: Card<'a>,
    /// The asker's own place.
    group_users: [OwnPlace<'a>; 1],
}

/// The asker's own place in a listed group.
#[derive(Serialize, ToSchema)]
pub(super) struct OwnPlace<'a> {
    group_id: GroupId,
    user_id: UserId,
    /// The name in this group, or "".
    nickname: &'a str,
    /// The picture in this group, or "".
    avatar: &'a str,
}

impl<'a> ListedGroup<'a> {
    fn new(me: UserId, joined: &'a Joined) -> Self {
        let place = OwnPlace {
            group_id: joined.group.id,
            user_id: me,
            nickname: &joined.my_nickname,
            avatar: &joined.my_avatar,
        };
        Self { group: joined.group.listed(), group_users: [place] }
    }
}

/// `GET /api/chat/grouplist/:page`
pub async fn list(
    State(app): State<Shared>,
    CurrentUser(me): CurrentUser,
    Params(Page { page, limit }): Params<Page>,
) -> Result<Response> {
    let joined = service::list(&app, me.user.id, page, limit).await?;
    let entries: Vec<_> = joined.iter().map(|joined| ListedGroup::new(me.user.id, joined)).collect();
    Ok(ok(entries))
}

/// The `:id` of a path.
#[derive(Debug)]
pub struct Id(GroupId);

impl Draft for Id {
    fn read(fields: &Fields) -> Result<Self> {
        Ok(Self(GroupId(fields.id("id", "群id")?)))
    }
}

/// A group with its members.
#[derive(Serialize, ToSchema)]
#[schema(as = GroupProfile)]
pub(super) struct Profile<'a> {
    #[serde(flatten)]
    group: Card<'a>,
    /// Its active members, in the order in which they came.
    group_users: Vec<Seat<'a>>,
}

/// A member as `groupinfo` prints it.
#[derive(Serialize, ToSchema)]
#[schema(as = GroupMember)]
pub(super) struct Seat<'a> {
    /// When the person came: `YYYY-MM-DD HH:mm:ss` in UTC+8.
    create_time: String,
    id: MemberId,
    group_id: GroupId,
    /// Who it is.
    user_id: UserId,
    /// The name in this group, or "".
    nickname: &'a str,
    /// The picture in this group, or "".
    avatar: &'a str,
    /// 1: only active members are listed.
    status: i64,
    /// Always 50.
    order: i64,
    /// Repeats `group_id`.
    #[serde(rename = "groupId")]
    group_id_again: GroupId,
    /// The person.
    user: Person<'a>,
}

/// The person behind a member.
#[derive(Serialize, ToSchema)]
#[schema(as = MemberUser)]
pub(super) struct Person<'a> {
    id: UserId,
    /// Unique name.
    username: &'a str,
    /// URL of the picture, or a path on this server.
    avatar: &'a str,
    /// Chosen name, or "".
    nickname: &'a str,
    /// Public id.
    uuid: &'a str,
    /// `user` or `visitor`.
    role: &'a str,
}

impl<'a> Seat<'a> {
    fn new(group: &Group, one: &'a Participant) -> Self {
        Self {
            create_time: clock::local(one.created_at),
            id: one.id,
            group_id: group.id,
            user_id: one.user_id,
            nickname: &one.nickname,
            avatar: &one.avatar,
            status: MEMBER_ACTIVE,
            order: ORDER,
            group_id_again: group.id,
            user: Person {
                id: one.user_id,
                username: &one.username,
                avatar: &one.user_avatar,
                nickname: &one.user_nickname,
                uuid: &one.uuid,
                role: &one.role,
            },
        }
    }
}

/// `GET /api/chat/groupinfo/:id`
pub async fn profile(
    State(app): State<Shared>,
    CurrentUser(_): CurrentUser,
    Params(Id(id)): Params<Id>,
) -> Result<Response> {
    let (group, participants) = service::profile(&app, id).await?;
    let group_users = participants.iter().map(|one| Seat::new(&group, one)).collect();
    Ok(ok(Profile { group: group.listed(), group_users }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_and_its_limit_may_come_in_one_segment() {
        let read = |page: &str, limit: Option<&str>| {
            let mut fields = Fields::default();
            fields.insert("page".to_owned(), json!(page));
            if let Some(limit) = limit {
                fields.insert("limit".to_owned(), json!(limit));
            }
            Page::read(&fields).map(|Page { page, limit }| (page, limit)).map_err(|refusal| refusal.to_string())
        };
        assert_eq!(read("1", None), Ok((1, 30)));
        assert_eq!(read("2", Some("3")), Ok((2, 3)));
        assert_eq!(read("2", Some("many")), Ok((2, 30)));
        assert_eq!(read("2&limit=3", None), Ok((2, 3)));
        assert_eq!(read("2&limit=", None), Ok((2, 30)));
        assert_eq!(read("x&limit=3", None), Err("页码 的值 `x&limit=3` 的类型不是 `int`".to_owned()));
        assert_eq!(read("0", None), Err("页码 的数值 必须 在 1 和 10000000000000000 之间".to_owned()));
    }
}
