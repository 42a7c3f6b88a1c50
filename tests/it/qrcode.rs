//! `groupQrcode` (contract: messaging 4.29): each picture is read back by a decoder and its text compared.

use reqwest::Method;
use serde_json::json;

use crate::support::{Person, Reply, TestServer, answered_before};

const NO_GROUP: &str = "群不存在或被封禁或者您不在该群聊中";
const NO_USER: &str = "用户不存在或被封禁";

/// Asks as `<image src>` does: no header, the token in the query.
async fn ask(me: &Person, id: impl std::fmt::Display, query: &str) -> Reply {
    me.door.get(&format!("/api/chat/groupQrcode/{id}?token={}{query}", me.token)).await
}

/// The text in the picture.
#[track_caller]
fn text_of(reply: &Reply) -> String {
    assert_eq!((reply.status, reply.header("content-type")), (200, "image/png"), "{}", reply.text);
    let picture = image::load_from_memory(&reply.bytes).unwrap();
    assert_eq!((picture.color(), picture.width()), (image::ColorType::L8, picture.height()));
    let picture = picture.into_luma8();
    let (width, height) = picture.dimensions();
    let gray = |x: usize, y: usize| picture.get_pixel(u32::try_from(x).unwrap(), u32::try_from(y).unwrap()).0[0];
    let mut prepared = rqrr::PreparedImage::prepare_from_greyscale(width as usize, height as usize, gray);
    let codes = prepared.detect_grids();
    assert_eq!(codes.len(), 1);
    let (facts, text) = codes[0].decode().unwrap();
    // Level M is written 0, and a side is ten pixels a module with four modules of margin on both ends.
    assert_eq!((facts.ecc_level, width as usize), (0, (facts.version.to_size() + 8) * 10));
    text
}

async fn rename(me: &Person, field: &str, value: &str) {
    me.post("updateUserinfo", json!({ "fieldname": field, "fieldValue": value })).await.ok();
}

/// A group of two, made as the client makes it.
async fn group_of(owner: &Person, other: &Person) -> i64 {
    owner.befriend(other).await;
    let row = owner.friends().await[0]["id"].clone();
    owner.post("group/create", json!({ "userIds": [row] })).await.ok();
    owner.get("grouplist/1").await.ok()[0]["id"].as_i64().unwrap()
}

#[tokio::test]
async fn a_group_s_code_for_a_browser_leads_to_the_page_that_joins_it() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let group = group_of(&alice, &bob).await;
    alice.post("groupUpdateName", json!({ "id": group, "name": "睿晨网 & 技术群" })).await.ok();
    for me in [&alice, &bob] {
        for chat_type in ["", "&chatType=", "&chatType=group"] {
            let query = format!("&type=H5&http=http%3A%2F%2F192.168.2.6%3A8081%2F{chat_type}");
            assert_eq!(
                text_of(&ask(me, group, &query).await),
                format!(
                    "http://192.168.2.6:8081/#/pages/setpageInfo/setpageInfo?action=autoAddGroup\
                     &title=%E7%BE%A4%E4%BB%8B%E7%BB%8D&id={group}&chatType=group&name=睿晨网 & 技术群"
                )
            );
        }
    }
}

#[tokio::test]
async fn a_group_s_code_for_an_app_is_its_id_and_name() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let group = group_of(&alice, &bob).await;
    alice.post("groupUpdateName", json!({ "id": group, "name": "\"群\"" })).await.ok();
    // Without an address to lead to, a browser's is none either.
    for query in ["", "&chatType=group", "&type=H5", "&type=H5&http=", "&http=http://x", "&type=h5&http=http://x"] {
        assert_eq!(text_of(&ask(&bob, group, query).await), format!(r#"{{"id":{group},"name":"\"群\""}}"#), "{query}");
    }
}

#[tokio::test]
async fn only_active_members_of_a_group_see_its_code() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let group = group_of(&alice, &bob).await;
    let stranger = server.user("carol").await;
    ask(&stranger, group, "").await.refused(400, NO_GROUP);
    alice.post("groupAddUserSet", json!({ "group_id": group, "addGroupSet": 1 })).await.ok();
    let join = json!({ "group_id": group, "user_id": stranger.id, "inviteuser_id": -1 });
    stranger.post("groupInviteUser", join).await.ok();
    ask(&stranger, group, "").await.refused(400, NO_GROUP);
    let known = ask(&bob, group, "").await;
    bob.post("groupDeleteOrQuit", json!({ "id": group })).await.ok();
    let path = format!("groupQrcode/{group}");
    let again = bob.call(Method::GET, &path).header("if-none-match", known.header("etag")).send().await;
    again.refused(400, NO_GROUP);
    alice.post("groupDeleteOrQuit", json!({ "id": group })).await.ok();
    ask(&alice, group, "").await.refused(400, NO_GROUP);
}

#[tokio::test]
async fn a_person_s_code_for_a_browser_leads_to_the_page_that_adds_them() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    rename(&alice, "nickname", "爱丽丝 & co").await;
    rename(&alice, "avatar", "/public/uploads/a.png").await;
    let http = "http%3A%2F%2F192.168.2.6%3A8081%2F";
    let reply = ask(&alice, alice.id, &format!("&type=H5&http={http}&chatType=single")).await;
    assert_eq!(
        text_of(&reply),
        format!(
            "http://192.168.2.6:8081/#/pages/setpageInfo/setpageInfo?action=autoAddGroup&title=%E5%8A%A0%E7%94%A8%E6%88%B7%5B\
             %E7%88%B1%E4%B8%BD%E4%B8%9D%20%26%20co%5D%E4%B8%BA%E5%A5%BD%E5%8F%8B&id={}&chatType=single&name=爱丽丝 & co\
             &avatar=/public/uploads/a.png",
            alice.id
        )
    );
}

#[tokio::test]
async fn without_a_nickname_the_username_stands() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let text = text_of(&ask(&alice, bob.id, "&type=H5&http=http://x&chatType=single").await);
    assert!(text.contains(&format!("&name={}&avatar=", bob.username)), "{text}");
}

#[tokio::test]
async fn a_person_s_code_for_an_app_names_its_type() {
    let server = TestServer::start().await;
    let guest = server.guest().await;
    let text = text_of(&ask(&guest, guest.id, "&chatType=single").await);
    let name = guest.account["nickname"].as_str().filter(|name| !name.is_empty()).unwrap_or(&guest.username);
    assert_eq!(text, json!({ "id": guest.id, "name": name, "chatType": "single" }).to_string());
}

/// The page "My QR" of an app sends my id and no type.
#[tokio::test]
async fn my_own_id_without_a_type_is_my_code_unless_it_is_a_group_of_mine() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let code = json!({ "id": alice.id, "name": alice.username, "chatType": "single" }).to_string();
    assert_eq!(text_of(&ask(&alice, alice.id, "").await), code);
    assert_eq!(text_of(&ask(&alice, alice.id, "&type=H5").await), code);
    let page = text_of(&ask(&alice, alice.id, "&type=H5&http=http://x").await);
    assert!(page.starts_with("http://x#/") && page.contains("&chatType=single"), "{page}");
    ask(&alice, bob.id, "").await.refused(400, NO_GROUP);
    ask(&alice, alice.id, "&chatType=group").await.refused(400, NO_GROUP);
}

#[tokio::test]
async fn who_or_what_is_not_there_has_no_code() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    for id in ["0", "-1", "99999999", "x", "1.5", "99999999999999999999", "%20"] {
        ask(&alice, id, "&chatType=single").await.refused(400, NO_USER);
        ask(&alice, id, "&chatType=single&type=H5&http=x").await.refused(400, NO_USER);
        ask(&alice, id, "&chatType=other").await.refused(400, NO_USER);
        ask(&alice, id, "").await.refused(400, NO_GROUP);
        ask(&alice, id, "&chatType=group&type=H5&http=x").await.refused(400, NO_GROUP);
    }
}

#[tokio::test]
async fn a_browser_s_code_of_another_type_does_not_exist() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    ask(&alice, alice.id, "&type=H5&http=http://x&chatType=other").await.refused(404, "404 错误");
}

#[tokio::test]
async fn what_no_code_can_hold_is_refused() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let http = "x".repeat(3000);
    ask(&alice, alice.id, &format!("&type=H5&http={http}&chatType=single")).await.refused(400, "二维码内容过长");
}

/// A code of its own for each number, and so large that it takes its time to draw.
async fn get_large(me: &Person, number: usize) {
    let query = format!("&chatType=single&type=H5&http={number:x<1500}");
    let reply = ask(me, me.id, &query).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, "image/png"), "{}", reply.text);
}

#[tokio::test]
async fn one_person_s_many_codes_do_not_keep_another_s_waiting() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let hers = (0..40).map(|number| get_large(&alice, number));
    let before = answered_before(get_large(&bob, 0), hers).await;
    assert!(before < 20, "four or a few more, not {before}");
}

#[tokio::test]
async fn a_picture_that_the_client_has_is_not_sent_again_until_its_text_changes() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let first = ask(&alice, alice.id, "&chatType=single").await;
    assert_eq!(first.header("cache-control"), "private, no-cache");
    let path = format!("groupQrcode/{}?chatType=single", alice.id);
    let again = async || alice.call(Method::GET, &path).header("if-none-match", first.header("etag")).send().await;
    let same = again().await;
    assert_eq!((same.status, same.text.as_str(), same.header("etag")), (304, "", first.header("etag")));
    rename(&alice, "nickname", "other").await;
    let changed = again().await;
    assert_eq!(changed.status, 200);
    assert_ne!(changed.header("etag"), first.header("etag"));
}

#[tokio::test]
async fn a_token_is_needed() {
    let server = TestServer::start().await;
    server.get("/api/chat/groupQrcode/1").await.refused(400, "您没有权限访问即时通讯接口");
    server.get("/api/chat/groupQrcode/1?token=garbage").await.refused(400, "Token 令牌不合法！");
}
