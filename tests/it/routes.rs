//! Every route × who calls it: nobody, garbage, a superseded token, a guest, a user (contract: people §1.2).
//!
//! Whoever adds a route to `src/router.rs` adds its line to [`ROUTES`]; the last test sees to that.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;

use crate::support::TestServer;

const NO_TOKEN: &str = "您没有权限访问即时通讯接口";
const BAD_TOKEN: &str = "Token 令牌不合法！";
const VISITOR: &str = "您没有权限访问，请先注册或登录";

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum For {
    /// No token is looked at.
    All,
    /// Guests and users: the contract's visitor white-list.
    Bearers,
    /// Users only.
    Users,
}

use For::{All, Bearers, Users};

pub const ROUTES: &[(&str, &str, For)] = &[
    ("POST", "/api/regChat", All),
    ("POST", "/api/loginChat", All),
    ("POST", "/api/visitorRegister", All),
    ("POST", "/api/visitorregChat", All),
    ("POST", "/api/visitorloginChat", All),
    ("GET", "/api/userinfo/{uuid}", All),
    ("POST", "/api/chat/logout", Users),
    ("POST", "/api/chat/searchUser", Users),
    ("POST", "/api/chat/applyfriend", Bearers),
    ("GET", "/api/chat/listapplyfriend/{page}", Users),
    ("POST", "/api/chat/handleapply/{id}", Users),
    ("GET", "/api/chat/goodfriendlist/{page}", Users),
    ("GET", "/api/chat/getgoodfriendinfo/{id}", Users),
    ("POST", "/api/chat/setblackgoodfriend/{id}", Users),
    ("POST", "/api/chat/setstargoodfriend/{id}", Users),
    ("POST", "/api/chat/setmeOrfriendCanSee/{id}", Users),
    ("POST", "/api/chat/isApplyfriend/{uuid}", Users),
    ("POST", "/api/chat/userset", Bearers),
    ("POST", "/api/chat/ismygoodfriend/{id}", Bearers),
    ("POST", "/api/chat/deletegoodfriend/{id}", Bearers),
    ("POST", "/api/chat/updateUserinfo", Bearers),
    ("POST", "/api/chat/getUserSetInfo", Bearers),
    ("POST", "/api/chat/autoAddFriendAndAgree", Bearers),
    ("POST", "/api/chat/setPassword", Users),
    ("POST", "/api/chat/askanswer/create", Users),
    ("POST", "/api/chat/askanswer/update", Users),
    ("POST", "/api/chat/askanswer/delete", Users),
    ("POST", "/api/chat/askanswer/list", Users),
    ("POST", "/api/chat/askanswer/detail", Users),
    ("POST", "/api/chat/askanswer/search", Users),
    ("POST", "/api/chat/socket/sendmessage", Bearers),
    ("POST", "/api/chat/group/create", Users),
    ("POST", "/api/chat/chatGetmessageOffLine", Bearers),
    ("GET", "/api/chat/grouplist/{page}", Bearers),
    ("GET", "/api/chat/groupinfo/{id}", Bearers),
    ("POST", "/api/chat/groupUpdateName", Users),
    ("POST", "/api/chat/groupremark", Users),
    ("POST", "/api/chat/groupnickname", Bearers),
    ("POST", "/api/chat/groupDeleteOrQuit", Bearers),
    ("GET", "/api/chat/groupQrcode/{id}", Bearers),
    ("POST", "/api/chat/uploadStreamSingleToServerDiy/{diydir}", Bearers),
    ("POST", "/api/chat/uploadAliyun", Bearers),
    ("POST", "/api/chat/getVideoScreenshot", Bearers),
    ("POST", "/api/chat/revokeMessage", Bearers),
    ("POST", "/api/chat/groupDeleteUser", Users),
    ("POST", "/api/chat/groupInviteUser", Bearers),
    ("POST", "/api/chat/groupAddUserSet", Users),
    ("POST", "/api/chat/groupAgreeOrNo", Users),
];

/// Not for bearers of header tokens: sockets, files and descriptions have tests of their own.
const OTHERS: &[&str] = &["/ws", "/public", "/docs", "/api-docs"];

/// A caller: the token, and the text by which each kind of route refuses it.
struct Caller {
    token: Option<String>,
    at_bearers: Option<&'static str>,
    at_users: Option<&'static str>,
}

async fn walk(server: &TestServer, caller: Caller) {
    // Logout last, because it ends the token.
    let (last, first): (Vec<_>, Vec<_>) = ROUTES.iter().partition(|(_, path, _)| path.ends_with("/logout"));
    for (method, path, whom) in first.into_iter().chain(last) {
        let path = path.replace("{uuid}", "8d1a344c-bf16-5425-adbc-d12f49cfa332").replace(['{', '}'], "");
        let path = path.replace("/id", "/1").replace("/page", "/1").replace("/*dir", "/x");
        let method: Method = method.parse().unwrap();
        let mut call = server.call(method.clone(), &path);
        if method == Method::POST {
            call = call.json(&json!({}));
        }
        if let Some(token) = &caller.token {
            call = call.token(token);
        }
        let reply = call.send().await;
        let expected = match whom {
            All => None,
            Bearers => caller.at_bearers,
            Users => caller.at_users,
        };
        if let Some(text) = expected {
            assert_eq!((reply.status, &reply.json()["data"]), (400, &json!(text)), "{method} {path}");
        } else {
            let refused = [NO_TOKEN, BAD_TOKEN, VISITOR].iter().any(|text| reply.text.contains(text));
            assert!(!refused, "{method} {path} refused: {}", reply.text);
            assert!(reply.status != 404 && reply.status != 405, "{method} {path} is not there: {}", reply.text);
        }
    }
}

#[tokio::test]
async fn without_a_token_only_the_open_routes_answer() {
    let server = TestServer::start().await;
    walk(&server, Caller { token: None, at_bearers: Some(NO_TOKEN), at_users: Some(NO_TOKEN) }).await;
}

#[tokio::test]
async fn a_garbage_token_opens_nothing() {
    let server = TestServer::start().await;
    let token = Some("garbage".to_owned());
    walk(&server, Caller { token, at_bearers: Some(BAD_TOKEN), at_users: Some(BAD_TOKEN) }).await;
}

#[tokio::test]
async fn a_superseded_token_opens_nothing() {
    let server = TestServer::start().await;
    let old = server.user("alice").await;
    old.login().await;
    let token = Some(old.token);
    walk(&server, Caller { token, at_bearers: Some(BAD_TOKEN), at_users: Some(BAD_TOKEN) }).await;
}

#[tokio::test]
async fn a_guest_s_token_opens_the_white_list() {
    let server = TestServer::start().await;
    let token = Some(server.guest().await.token);
    walk(&server, Caller { token, at_bearers: None, at_users: Some(VISITOR) }).await;
}

#[tokio::test]
async fn a_user_s_token_opens_everything() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    walk(&server, Caller { token: Some(alice.token), at_bearers: None, at_users: None }).await;
}

/// Method and path of every route of the router.
pub fn in_router() -> BTreeSet<(&'static str, &'static str)> {
    let source = include_str!("../../src/router.rs").split("#[cfg(test)]").next().unwrap();
    source
        .split(".route(")
        .skip(1)
        .map(|rest| {
            let (path, rest) = rest.trim_start().strip_prefix('"').unwrap().split_once('"').unwrap();
            let method = rest.trim_start_matches([',', ' ', '\n']);
            (if method.starts_with("get(") { "GET" } else { "POST" }, path)
        })
        .collect()
}

#[test]
fn the_table_has_every_route_of_the_router() {
    let of_tokens = |(_, path): &(&str, &str)| !OTHERS.iter().any(|other| path.starts_with(other));
    let in_router: BTreeSet<_> = in_router().into_iter().filter(of_tokens).collect();
    let in_table: BTreeSet<(&str, &str)> = ROUTES.iter().map(|(method, path, _)| (*method, *path)).collect();
    let missing: Vec<_> = in_router.difference(&in_table).collect();
    assert!(missing.is_empty(), "add these routes to ROUTES, with whom they are for: {missing:?}");
    let gone: Vec<_> = in_table.difference(&in_router).collect();
    assert!(gone.is_empty(), "these routes of the table are not in src/router.rs: {gone:?}");
}
