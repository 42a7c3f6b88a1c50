//! Routes of friends (API document chapters 4, 8-12, 19, 39).

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::lists;
use super::model::{Friend, Listed, Section};
use super::service::{self, Change};
use crate::accounts::auth::{CurrentUser, RegisteredUser};
use crate::accounts::model::Profile;
use crate::accounts::search::search;
use crate::app::Shared;
use crate::error::Result;
use crate::http::fields::INT_MAX;
use crate::http::{Draft, Fields, Params, Payload, ok};
use crate::ids::{FriendshipId, UserId};

/// `keyword`: 1 to 50 characters, each taken literally.
#[derive(Debug)]
pub struct Keyword(String);

impl Draft for Keyword {
    fn read(fields: &Fields) -> Result<Self> {
        fields.string("keyword", "搜索关键词", 1, 50).map(Self)
    }
}

/// `POST /api/chat/searchUser`
pub async fn search_user(
    State(app): State<Shared>,
    RegisteredUser(me): RegisteredUser,
    Payload(Keyword(keyword)): Payload<Keyword>,
) -> Result<Response> {
    Ok(ok(search(&app, me.user.id, &keyword).await?))
}

/// A page of a friend list.
#[derive(Debug)]
pub struct Page {
    page: i64,
    limit: i64,
}

impl Draft for Page {
    fn read(fields: &Fields) -> Result<Self> {
        Ok(Self { page: fields.id("page", "页码")?, limit: fields.optional_int("limit", 1, INT_MAX, 2000) })
    }
}

/// A page of the friend list.
#[derive(Serialize, ToSchema)]
pub(super) struct FriendList<'a> {
    /// How many friends are on this page.
    count: usize,
    /// This page of them.
    rows: Rows<'a>,
}

/// `[]` when there are no friends: the client tells the two apart by it.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = FriendSections)]
pub(super) enum Rows<'a> {
    Nobody([ListSection<'a>; 0]),
    #[serde(rename_all = "camelCase")]
    Sections {
        new_list: Vec<ListSection<'a>>,
        index_list: Vec<char>,
        total: usize,
    },
}

/// Friends whose names begin with one letter.
#[derive(Serialize, ToSchema)]
#[schema(as = FriendSection)]
pub(super) struct ListSection<'a> {
    /// The letter, or `#`.
    title: char,
    /// In the order in which the list grew.
    list: Vec<ListItem<'a>>,
}

/// A friend in the list.
#[derive(Serialize, ToSchema)]
#[schema(as = ListedFriend)]
pub(super) struct ListItem<'a> {
    /// Of the friendship: what `group/create` calls `userIds`.
    id: FriendshipId,
    /// My remark, or "".
    beizhu: &'a str,
    /// Unique name.
    username: &'a str,
    /// URL of the picture, or a path on this server.
    avatar: &'a str,
    /// The friend's own name, or "".
    friend_nickname: &'a str,
    /// Who it is.
    friend_id: UserId,
    /// What to show: the remark, else the nickname, else the username.
    name: &'a str,
    /// Public id.
    uuid: &'a str,
}

impl<'a> ListItem<'a> {
    fn new(friend: &'a Listed) -> Self {
        Self {
            id: friend.id,
            beizhu: &friend.remark,
            username: &friend.username,
            avatar: &friend.avatar,
            friend_nickname: &friend.nickname,
            friend_id: friend.friend_id,
            name: friend.name(),
            uuid: &friend.uuid,
        }
    }
}

impl<'a> Rows<'a> {
    fn new(sections: &'a [Section]) -> Self {
        if sections.is_empty() {
            return Self::Nobody([]);
        }
        let listed = |section: &'a Section| ListSection {
            title: section.title,
            list: section.friends.iter().map(ListItem::new).collect(),
        };
        Self::Sections {
            new_list: sections.iter().map(listed).collect(),
            index_list: sections.iter().map(|section| section.title).collect(),
            total: sections.len(),
        }
    }
}

/// `GET /api/chat/goodfriendlist/:page`
pub async fn list(
    State(app): State<Shared>,
    RegisteredUser(me): RegisteredUser,
    Params(Page { page, limit }): Params<Page>,
) -> Result<Response> {
    let list = lists::page(&app, me.user.id, page, limit).await?;
    let count = list.sections.iter().map(|section| section.friends.len()).sum();
    Ok(ok(FriendList { count, rows: Rows::new(&list.sections) }))
}

/// The friend's user id in a path, called 好友id.
#[derive(Debug)]
pub struct FriendId(UserId);

impl Draft for FriendId {
    fn read(fields: &Fields) -> Result<Self> {
        fields.id("id", "好友id").map(|id| Self(UserId(id)))
    }
}

/// The friend's user id in a path, called 朋友id: some routes word it so.
#[derive(Debug)]
pub struct PalId(UserId);

impl Draft for PalId {
    fn read(fields: &Fields) -> Result<Self> {
        fields.id("id", "朋友id").map(|id| Self(UserId(id)))
    }
}

/// A friend, with more about the person.
#[derive(Serialize, ToSchema)]
pub(super) struct FriendCard<'a> {
    id: FriendshipId,
    /// Me.
    user_id: UserId,
    /// Who it is.
    friend_id: UserId,
    /// My remark, or "".
    nickname: &'a str,
    /// The person.
    friendinfo: FriendInfo<'a>,
}

/// The person behind a friendship.
#[derive(Serialize, ToSchema)]
pub(super) struct FriendInfo<'a> {
    id: UserId,
    /// Unique name.
    username: &'a str,
    /// URL of the picture, or a path on this server.
    avatar: &'a str,
    /// Chosen name, or "".
    nickname: &'a str,
    /// `user` or `visitor`.
    role: &'a str,
    /// 1 enabled, 0 disabled, 2 locked.
    status: i64,
    /// More about the person, or null.
    userinfo: Option<Profile>,
}

/// `GET /api/chat/getgoodfriendinfo/:id`
pub async fn card(
    State(app): State<Shared>,
    RegisteredUser(me): RegisteredUser,
    Params(FriendId(id)): Params<FriendId>,
) -> Result<Response> {
    let (mine, user, userinfo) = service::card(&app, me.user.id, id).await?;
    Ok(ok(FriendCard {
        id: mine.id,
        user_id: mine.user_id,
        friend_id: mine.friend_id,
        nickname: &mine.remark,
        friendinfo: FriendInfo {
            id: user.id,
            username: &user.username,
            avatar: &user.avatar,
            nickname: &user.nickname,
            role: &user.role,
            status: user.status,
            userinfo,
        },
    }))
}

/// `POST /api/chat/setblackgoodfriend/:id`
pub async fn set_blocked(
    State(app): State<Shared>,
    RegisteredUser(me): RegisteredUser,
    Payload(FriendId(id)): Payload<FriendId>,
) -> Result<Response> {
    change(app, me.user.id, id, Change::Blocked).await
}

/// `POST /api/chat/setstargoodfriend/:id`
pub async fn set_starred(
    State(app): State<Shared>,
    RegisteredUser(me): RegisteredUser,
    Payload(FriendId(id)): Payload<FriendId>,
) -> Result<Response> {
    change(app, me.user.id, id, Change::Starred).await
}

/// Who sees whose posts.
#[derive(Debug)]
pub struct Visibility {
    id: UserId,
    change: Change,
}

impl Draft for Visibility {
    fn read(fields: &Fields) -> Result<Self> {
        let PalId(id) = PalId::read(fields)?;
        let friendlookme = fields.int_choice("friendlookme", "朋友是否可以看我的动态", &[0, 1])?;
        let label = "我的朋友圈是否出现朋友的信息（我是否看朋友的动态）";
        let melookfriend = fields.int_choice("melookfriend", label, &[0, 1])?;
        Ok(Self { id, change: Change::Visibility { friendlookme, melookfriend } })
    }
}

/// `POST /api/chat/setmeOrfriendCanSee/:id`
pub async fn set_visibility(
    State(app): State<Shared>,
    RegisteredUser(me): RegisteredUser,
    Payload(draft): Payload<Visibility>,
) -> Result<Response> {
    change(app, me.user.id, draft.id, draft.change).await
}

async fn change(app: Shared, me: UserId, friend: UserId, change: Change) -> Result<Response> {
    let own = app.clone();
    app.detached(async move { service::change(&own, me, friend, change).await }).await?;
    Ok(ok("ok"))
}

/// One side of a friendship: what I have set for a friend.
#[derive(Serialize, ToSchema)]
pub(super) struct FriendRow<'a> {
    id: FriendshipId,
    /// Me.
    user_id: UserId,
    /// Who it is.
    friend_id: UserId,
    /// My remark, or "".
    nickname: &'a str,
    /// 1 if the friend may see my moments, else 0.
    friendlookme: i64,
    /// 1 if I see the friend's moments, else 0.
    melookfriend: i64,
    /// 1 if I have starred the friend, else 0.
    ismystarfriend: i64,
    /// 1 if I have blocked the friend, else 0.
    isblack: i64,
    /// 1 enabled.
    status: i64,
}

impl<'a> FriendRow<'a> {
    fn new(friend: &'a Friend) -> Self {
        Self {
            id: friend.id,
            user_id: friend.user_id,
            friend_id: friend.friend_id,
            nickname: &friend.remark,
            friendlookme: friend.friendlookme,
            melookfriend: friend.melookfriend,
            ismystarfriend: friend.starred,
            isblack: friend.blocked,
            status: friend.status,
        }
    }
}

/// `POST /api/chat/ismygoodfriend/:id`: the client needs a failure for "no".
pub async fn is_mine(
    State(app): State<Shared>,
    CurrentUser(me): CurrentUser,
    Payload(PalId(id)): Payload<PalId>,
) -> Result<Response> {
    let friend = service::unblocked(&app, me.user.id, id).await?;
    Ok(ok(FriendRow::new(&friend)))
}

/// `userid` of a person whose chat page is opened.
#[derive(Debug)]
pub struct OfUser(UserId);

impl Draft for OfUser {
    fn read(fields: &Fields) -> Result<Self> {
        fields.id("userid", "用户id").map(|id| Self(UserId(id)))
    }
}

/// What matters to whoever opens a chat with a person.
#[derive(Serialize, ToSchema)]
pub(super) struct UserSettings<'a> {
    id: UserId,
    /// Settings as JSON text, or "".
    userset: &'a str,
    /// Who may become a friend: 0 anybody at once, 1 who is accepted.
    invite_confirm: i64,
    /// Public id.
    uuid: &'a str,
    /// Whether I am in the person's list.
    isgoodfriend: bool,
    /// False if the person has blocked me.
    isgoodfriend_status: bool,
}

/// `POST /api/chat/getUserSetInfo`: `isgoodfriend` says whether I am in *their* list.
pub async fn user_settings(
    State(app): State<Shared>,
    CurrentUser(me): CurrentUser,
    Payload(OfUser(id)): Payload<OfUser>,
) -> Result<Response> {
    let (user, theirs) = service::settings(&app, me.user.id, id).await?;
    Ok(ok(UserSettings {
        id: user.id,
        userset: user.userset.text(),
        invite_confirm: user.invite_confirm,
        uuid: &user.uuid,
        isgoodfriend: theirs.is_some(),
        isgoodfriend_status: theirs.is_none_or(|friend| friend.blocked == 0 && friend.status == 1),
    }))
}
