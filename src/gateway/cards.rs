//! The first frames of a socket: the welcome, then the cards that are the client's menu (contract: messaging §2 "On
//! connect"). Their ids are stable, so that the client shows each once. Names come from the row, not the token.

use serde_json::{Map, Value};

use super::signal::Signal;
use crate::accounts::service::Bearer;
use crate::accounts::{Role, User};
use crate::app::App;
use crate::error::Result;
use crate::friends::service as friends;
use crate::groups::service as groups;
use crate::http::component::encode;
use crate::hub::Frame;
use crate::messages::model::{Notice, Redirect};

const ICONS: &str = "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat";
const SETTINGS: &str = "/pages/setpageInfo/setpageInfo";

/// One entry of the menu.
struct Card {
    key: &'static str,
    name: &'static str,
    text: &'static str,
    url: String,
    icon: String,
}

/// The welcome frame and the cards of somebody who connects.
pub async fn greeting(app: &App, bearer: &Bearer) -> Result<Vec<Frame>> {
    let now_ms = app.clock.now_ms();
    let me = &bearer.user;
    let in_group = groups::is_in_any(app, me.id).await?;
    let has_friend = bearer.role == Role::User && friends::has_any(app, me.id).await?;
    let mut frames = vec![Signal::System { data: "欢迎您访问我们的系统！", timestamp: now_ms }.frame()];
    let cards = match bearer.role {
        Role::Visitor => visitor_cards(in_group),
        Role::User => user_cards(me, in_group, has_friend),
    };
    frames.extend(cards.into_iter().map(|card| card.frame(me, now_ms)));
    if bearer.role == Role::User && app.hub.is_online(me.id) && crate::accounts::service::take_avatar_change(app, me.id)
    {
        frames.push(avatar_card(me, now_ms).frame());
    }
    Ok(frames)
}

fn visitor_cards(in_group: bool) -> Vec<Card> {
    let login = Card {
        key: "visitorLogin",
        name: "登录提示",
        text: "欢迎您，登录可以获取更多功能！",
        url: "/pages/loginCenter/loginCenter".to_owned(),
        icon: format!("{ICONS}/kefu.png"),
    };
    in_group.then(group_list).into_iter().chain([who_can_chat_me(), login]).collect()
}

fn user_cards(me: &User, in_group: bool, has_friend: bool) -> Vec<Card> {
    let mut cards = vec![Card {
        key: "setPassword",
        name: "修改密码",
        text: "您可以点击这里，修改密码",
        url: settings("setPassword", "修改密码"),
        icon: icon("setPassword.png"),
    }];
    cards.extend(in_group.then(group_list));
    cards.extend(has_friend.then(|| Card {
        key: "friendsList",
        name: "我的通讯录",
        text: "可查看我的通讯录好友",
        url: "/pages/friendsList/friendsList".to_owned(),
        icon: icon("friendList.png"),
    }));
    cards.push(Card {
        key: "userInfoSet",
        name: "头像设置",
        text: "不满意你的头像可以更换",
        url: userinfo_url(),
        icon: me.avatar.clone(),
    });
    cards.push(who_can_chat_me());
    let qrcode = format!(
        "{}&id={}&name={}&avatar={}&chatType=single",
        settings("groupQrcode", "我的二维码"),
        me.id,
        encode(me.display_name()),
        encode(&me.avatar)
    );
    let rest = [
        ("myQrcode", "我的二维码", "展示给别人加你为好友", qrcode, "myQrcode1.png"),
        ("search", "搜索加好友", "搜索账号加好友或聊天", "/pages/search/search".to_owned(), "search.png"),
        (
            "applyAddMeFriendSet",
            "加我为好友时是否需要我验证",
            "默认不需要，您可以去设置",
            settings("applyAddMeFriendSet", "申请加我为好友设置"),
            "applyAddMeFriendSet.png",
        ),
        (
            "AskAndAnswerSet",
            "问答设置",
            "当您不在线时，自动回答客户的常见问题",
            settings("AskAndAnswerSet", "问答设置"),
            "AskAndAnswerSet.png",
        ),
    ];
    cards.extend(rest.map(|(key, name, text, url, file)| Card { key, name, text, url, icon: icon(file) }));
    cards
}

fn group_list() -> Card {
    Card {
        key: "groupList",
        name: "我的群聊",
        text: "可查看我加入的群聊列表",
        url: format!("/pages/applyMyfriend/applyMyfriend?action=grouplist&title={}", encode("我的群聊列表")),
        icon: icon("qunliaoNoticeIcon.png"),
    }
}

fn who_can_chat_me() -> Card {
    Card {
        key: "whoCanChatMe",
        name: "聊天消息条数限制",
        text: "谁可以和我聊天，可向我发几条消息",
        url: settings("chatset", "和我聊天设置"),
        icon: icon("whoCanChatMe.png"),
    }
}

/// Tells a person who has just changed the picture that it worked: the client updates the card in place.
fn avatar_card(me: &User, now_ms: i64) -> Notice {
    let key = format!("userInfoSet-{}", me.id);
    let mut card = Notice::card(&key, "头像更换成功", &me.avatar, me, "不满意你的头像可以继续更换", now_ms);
    card.group = Some(Value::Object(Map::new()));
    card.redirect = Some(Redirect { doaction: Some("avatar"), ..Redirect::to(userinfo_url()) });
    card
}

impl Card {
    fn frame(self, me: &User, now_ms: i64) -> Frame {
        let mut card = Notice::card(&format!("{}-{}", self.key, me.id), self.name, &self.icon, me, self.text, now_ms);
        card.group = Some(Value::Object(Map::new()));
        card.redirect = Some(Redirect::to(self.url));
        card.frame()
    }
}

fn settings(action: &str, title: &str) -> String {
    format!("{SETTINGS}?action={action}&title={}", encode(title))
}

fn userinfo_url() -> String {
    let back = encode("/pages/xiaoxi/xiaoxi");
    format!("{}&redirectUrl={back}&redirectType=switchTab", settings("userinfoSet", "账号信息设置"))
}

fn icon(file: &str) -> String {
    format!("{ICONS}/img/{file}")
}
