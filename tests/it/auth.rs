//! Tokens: where they may stand, what they say, and when they end (contract: people §1.2-1.3, decisions 3, 10, 11).

use base64::Engine as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::files::answer;
use crate::support::{CACHE_MS, PASSWORD, Person, TestServer, unique};

const NO_TOKEN: &str = "您没有权限访问即时通讯接口";
const BAD_TOKEN: &str = "Token 令牌不合法！";
const DISABLED: &str = "当前用户不存在或者已被禁用";
const ASK: &str = "chatGetmessageOffLine";
const YEAR_MS: i64 = 365 * 24 * 3_600_000;

async fn refuses(person: &Person, text: &str) {
    person.post(ASK, json!({})).await.refused(400, text);
}

#[tokio::test]
async fn a_token_may_stand_in_header_query_or_body() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let (post, token) = (|path: &str| server.call(Method::POST, path), alice.token.as_str());
    post(ASK).token(token).send().await.ok();
    post(&format!("{ASK}?token={token}")).send().await.ok();
    post(ASK).json(&json!({ "token": token })).send().await.ok();
    post(ASK).form(&[("token", token)]).send().await.ok();
    post(ASK).multipart(&[("token", token)]).send().await.ok();
}

#[tokio::test]
async fn a_body_that_held_the_token_is_read_by_the_route_too() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let body = json!({ "token": alice.token, "fieldname": "nickname", "fieldValue": "小爱" });
    assert_eq!(server.post("updateUserinfo", body).await.ok(), "修改昵称成功");
}

#[tokio::test]
async fn the_header_s_token_goes_before_the_query_s_and_that_before_the_body_s() {
    let server = TestServer::start().await;
    let token = server.user("alice").await.token;
    let with_query = format!("{ASK}?token={token}");
    let post = |path: &str| server.call(Method::POST, path);
    post(&with_query).token("garbage").send().await.refused(400, BAD_TOKEN);
    post(ASK).token("garbage").json(&json!({ "token": token })).send().await.refused(400, BAD_TOKEN);
    post(&format!("{ASK}?token=garbage")).json(&json!({ "token": token })).send().await.refused(400, BAD_TOKEN);
}

#[tokio::test]
async fn an_empty_token_counts_as_none() {
    let server = TestServer::start().await;
    let token = server.user("alice").await.token;
    let post = |path: &str| server.call(Method::POST, path).token("");
    post(ASK).send().await.refused(400, NO_TOKEN);
    post(&format!("{ASK}?token=")).json(&json!({ "token": "" })).send().await.refused(400, NO_TOKEN);
    post(&format!("{ASK}?token={token}")).send().await.ok();
    post(&format!("{ASK}?token=")).json(&json!({ "token": token })).send().await.ok();
}

#[tokio::test]
async fn garbage_of_every_kind_is_refused_with_the_one_text() {
    let server = TestServer::start().await;
    let token = server.user("alice").await.token;
    let (head, rest) = token.split_once('.').unwrap();
    let (body, _) = rest.split_once('.').unwrap();
    let unsigned = format!("eyJhbGciOiJub25lIn0.{body}.");
    let cut = &token[..token.len() - 1];
    let longer = format!("{token}A");
    let moved = format!("{head}.{}.{}", body.replace('a', "b"), &token[token.len() - 43..]);
    for garbage in ["undefined", "null", ".", "a.b.c", "Bearer x", &unsigned, cut, &longer, &moved] {
        server.call(Method::POST, ASK).token(garbage).send().await.refused(400, BAD_TOKEN);
    }
}

#[tokio::test]
async fn garbage_that_no_header_can_hold_is_refused_with_that_text_too() {
    let server = TestServer::start().await;
    let garbage =
        [json!("令牌"), json!("a\nb"), json!("\u{0}"), json!(5), json!(true), json!(["x"]), json!({ "a": 1 })];
    for token in garbage {
        server.post(ASK, json!({ "token": token })).await.refused(400, BAD_TOKEN);
    }
    for nothing in [json!(null), json!(""), json!(false), json!(0)] {
        server.post(ASK, json!({ "token": nothing })).await.refused(400, NO_TOKEN);
    }
    server.call(Method::POST, &format!("{ASK}?token=%E4%BB%A4%00")).send().await.refused(400, BAD_TOKEN);
    // Bytes that are no text, as some clients send what is not ASCII.
    let head =
        b"POST /api/chat/chatGetmessageOffLine HTTP/1.1\r\nhost: x\r\ntoken: \xe4\xbb\xa4\r\ncontent-length: 0\r\n\r\n";
    let (status, reply) = answer(server.begin(head).await).await;
    assert_eq!((status, reply.contains(BAD_TOKEN)), (400, true), "{reply}");
}

#[tokio::test]
async fn a_token_of_another_server_is_refused() {
    let (server, other) = (TestServer::start().await, TestServer::start().await);
    let (_, stranger) = (server.user("alice").await, other.user("alice").await);
    server.call(Method::POST, ASK).token(&stranger.token).send().await.refused(400, BAD_TOKEN);
}

#[tokio::test]
async fn a_token_says_who_somebody_is_and_no_secret() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let part = |n: usize| -> Value {
        let part = alice.token.split('.').nth(n).unwrap();
        serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    assert_eq!(part(0), json!({ "typ": "JWT", "alg": "HS256" }));
    insta::assert_json_snapshot!(server.redacted(&part(1)), @r#"
    {
      "id": "[alice.id]",
      "uuid": "[alice.uuid]",
      "username": "alice",
      "role": "user",
      "jti": "[uuid]",
      "iat": 1757000000,
      "exp": 1788536000
    }
    "#);
}

#[tokio::test]
async fn a_token_lives_for_a_year() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    server.advance(YEAR_MS - 1);
    alice.post(ASK, json!({})).await.ok();
    server.advance(1);
    refuses(&alice, BAD_TOKEN).await;
}

#[tokio::test]
async fn the_life_of_a_token_is_configurable() {
    let server = TestServer::with(|config| config.tokens.ttl_days = 1).await;
    let alice = server.user("alice").await;
    server.advance(24 * 3_600_000);
    refuses(&alice, BAD_TOKEN).await;
}

#[tokio::test]
async fn a_disabled_account_s_token_is_refused_and_a_locked_one_s_is_not() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    alice.post(ASK, json!({})).await.ok();
    server.sql("UPDATE users SET status = 2 WHERE id = ?", &[alice.id.into()]).await;
    server.advance(CACHE_MS);
    alice.post(ASK, json!({})).await.ok();
    server.sql("UPDATE users SET status = 0 WHERE id = ?", &[alice.id.into()]).await;
    server.advance(CACHE_MS);
    refuses(&alice, DISABLED).await;
}

#[tokio::test]
async fn the_token_of_a_deleted_account_is_refused() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    server.sql("DELETE FROM users WHERE id = ?", &[alice.id.into()]).await;
    server.advance(CACHE_MS);
    refuses(&alice, DISABLED).await;
    // With its session gone as well, the client hears the text from which it recovers.
    server.sql("DELETE FROM sessions WHERE user_id = ?", &[alice.id.into()]).await;
    refuses(&alice, BAD_TOKEN).await;
}

#[tokio::test]
async fn tokens_survive_a_restart() {
    let server = TestServer::start().await;
    let (alice, guest) = (server.user("alice").await, server.guest().await);
    let old = server.user("bob").await;
    old.login().await;
    let server = server.restart().await;
    alice.post(ASK, json!({})).await.ok();
    guest.post(ASK, json!({})).await.ok();
    refuses(&old, BAD_TOKEN).await;
    assert_eq!(server.guest_on(&guest.device_id).await.token, guest.token);
}

#[tokio::test]
async fn servers_with_the_same_configured_secret_take_each_other_s_signature() {
    let secret = "a secret of the owner's".to_owned();
    let server = TestServer::with(|config| config.jwt_secret.clone_from(&secret)).await;
    let alice = server.user("alice").await;
    assert!(!server.config.data_dir.join("jwt_secret").exists());
    let mut stopped = server.stop().await;
    stopped.config.jwt_secret = "another secret of his".to_owned();
    let server = stopped.start().await;
    refuses(&alice, BAD_TOKEN).await;
    let mut stopped = server.stop().await;
    stopped.config.jwt_secret = secret;
    let _server = stopped.start().await;
    alice.post(ASK, json!({})).await.ok();
}

#[tokio::test]
async fn guest_and_user_token_of_one_row_live_side_by_side() {
    let server = TestServer::start().await;
    let guest = server.guest().await;
    let fields = json!({ "username": unique("alice"), "password": PASSWORD });
    let account = server.signed("/api/visitorregChat", &guest.device_id, fields).await.ok();
    let first = server.person("alice", account, "");
    let second = first.login().await;
    refuses(&first, BAD_TOKEN).await;
    for person in [&guest, &second] {
        person.post(ASK, json!({})).await.ok();
    }
}

#[tokio::test]
async fn parallel_logins_leave_exactly_one_live_token() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let logins = futures_util::future::join_all((0..6).map(|_| alice.login())).await;
    let mut live = 0;
    for person in &logins {
        live += usize::from(person.post(ASK, json!({})).await.status == 200);
    }
    assert_eq!(live, 1);
}
