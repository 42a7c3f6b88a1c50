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

#[derive(Serialize, ToSchema)]
pub(super) struct FoundUser {
    id: UserId,
    username: String,
    avatar: String,
    role: String,
    uuid: String,
    nickname: String,
}

/// `POST /api/chat/searchUser`
pub async fn search_user(
    State(app): State<Shared>,
    RegisteredUser(me): RegisteredUser,
    Payload(Keyword(keyword)): Payload<Keyword>,
) -> Result<Response> {
    let found = search(&app, me.user.id, &keyword).await?.into_iter().map(|user| FoundUser {
        id: user.id,
        username: user.username,
        avatar: user.avatar,
        role: user.role,
        uuid: user.uuid,
        nickname: user.nickname,
    });
    Ok(ok(found.collect::<Vec<_>>()))
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

#[derive(Serialize, ToSchema)]
pub(super) struct FriendList<'a> {
    count: usize,
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

#[derive(Serialize, ToSchema)]
#[schema(as = FriendSection)]
pub(super) struct ListSection<'a> {
    title: char,
    list: Vec<ListItem<'a>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ListedFriend)]
pub(super) struct ListItem<'a> {
    id: FriendshipId,
    beizhu: &'a str,
    username: &'a str,
    avatar: &'a str,
    friend_nickname: &'a str,
    friend_id: UserId,
    name: &'a str,
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

#[derive(Serialize, ToSchema)]
pub(super) struct FriendCard<'a> {
    id: FriendshipId,
    user_id: UserId,
    friend_id: UserId,
    nickname: &'a str,
    friendinfo: FriendInfo<'a>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct FriendInfo<'a> {
    id: UserId,
    username: &'a str,
    avatar: &'a str,
    nickname: &'a str,
    role: &'a str,
    status: i64,
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

#[derive(Serialize, ToSchema)]
pub(super) struct FriendRow<'a> {
    id: FriendshipId,
    user_id: UserId,
    friend_id: UserId,
    nickname: &'a str,
    friendlookme: i64,
    melookfriend: i64,
    ismystarfriend: i64,
    isblack: i64,
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

#[derive(Serialize, ToSchema)]
pub(super) struct UserSettings<'a> {
    id: UserId,
    userset: &'a str,
    invite_confirm: i64,
    uuid: &'a str,
    isgoodfriend: bool,
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
