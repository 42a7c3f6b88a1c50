//! What holds for every route: the shape of failures, bodies of every kind, CORS, bounds, a store that is away (decisions
//! 1, 2, 4).

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{PASSWORD, PATIENCE, Proxy, Reply, TestServer, mysql_url, skip, unique};

const NO_TOKEN: &str = "您没有权限访问即时通讯接口";
const BAD_TOKEN: &str = "Token 令牌不合法！";
const VISITOR: &str = "您没有权限访问，请先注册或登录";
const NOT_FOUND: &str = "404 错误";
const WRONG_METHOD: &str = "请求方法不允许";
const MALFORMED: &str = "请求体格式错误";
const TOO_LARGE: &str = "请求体过大";
const BUSY: &str = "服务繁忙，请稍后再试";

#[tokio::test]
async fn an_unknown_path_is_404_in_the_envelope() {
    let server = TestServer::start().await;
    for path in
        ["/", "/api", "/api/", "/api/nothing", "/apichat", "/api/regChat/", "/nothing?token=x", "/%00", "/api/%E4%BD"]
    {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
            server.call(method, path).send().await.refused(404, NOT_FOUND);
        }
    }
}

#[tokio::test]
async fn an_unknown_path_under_chat_looks_at_the_token_first() {
    let server = TestServer::start().await;
    let (alice, guest) = (server.user("alice").await, server.guest().await);
    for path in ["/api/chat/nothing", "/api/chat/", "/api/chat"] {
        server.get(path).await.refused(400, NO_TOKEN);
        server.call(Method::POST, path).token("garbage").send().await.refused(400, BAD_TOKEN);
        guest.get(path).await.refused(400, VISITOR);
        alice.get(path).await.refused(404, NOT_FOUND);
        alice.post(path, json!({})).await.refused(404, NOT_FOUND);
    }
}

#[tokio::test]
async fn a_wrong_method_is_405_in_the_envelope() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH] {
        server.call(method.clone(), "/api/regChat").send().await.refused(405, WRONG_METHOD);
        alice.call(method.clone(), "/api/chat/logout").send().await.refused(405, WRONG_METHOD);
        server.call(method, "/api/chat/logout").send().await.refused(400, NO_TOKEN);
    }
    server.post(&format!("/api/userinfo/{}", alice.uuid), json!({})).await.refused(405, WRONG_METHOD);
}

#[tokio::test]
async fn a_body_that_is_not_what_it_says_is_malformed() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let broken: [&[u8]; 8] = [b"{", b"[]", b"7", b"null", b"\"x\"", b"{\"a\":}", b"{\"a\":\"\xff\"}", b"username=x"];
    for body in broken {
        server.call(Method::POST, "/api/regChat").body("application/json", body).send().await.refused(400, MALFORMED);
        let post = |path| alice.call(Method::POST, path).body("application/json; charset=utf-8", body);
        post("updateUserinfo").send().await.refused(400, MALFORMED);
    }
    let nested = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let nested = format!("{{\"username\":{nested}}}");
    server.call(Method::POST, "/api/regChat").body("application/json", nested).send().await.refused(400, MALFORMED);
    for kind in ["multipart/form-data", "multipart/form-data; boundary=cut"] {
        server.call(Method::POST, "/api/regChat").body(kind, "no boundary").send().await.refused(400, MALFORMED);
    }
}

#[tokio::test]
async fn an_empty_body_and_an_unknown_type_hold_no_fields() {
    let server = TestServer::start().await;
    let post = || server.call(Method::POST, "/api/regChat");
    post().send().await.invalid("账号不能为空");
    let filled = r#"{"username":"somebody","password":"secret01"}"#;
    for (kind, body) in [("application/json", ""), ("application/json", " \n"), ("text/plain", filled), ("", filled)] {
        post().body(kind, body).send().await.invalid("账号不能为空");
    }
}

#[tokio::test]
async fn json_forms_and_multipart_are_taken_alike() {
    let server = TestServer::start().await;
    let name = unique("alice");
    let fields = [("username", name.as_str()), ("password", "pass & wörd=👍"), ("extra[]", "1"), ("extra[]", "2")];
    server.call(Method::POST, "/api/regChat").form(&fields).send().await.ok();
    let login = || server.call(Method::POST, "/api/loginChat");
    login().multipart(&fields).send().await.ok();
    login().json(&json!({ "username": name, "password": "pass & wörd=👍" })).send().await.ok();
    let body = "username=x&password=y";
    login()
        .body("application/x-www-form-urlencoded; charset=UTF-8", body)
        .send()
        .await
        .invalid("账号 的长度 必须 在 4 和 20 之间");
    // A file is no field.
    let file = "--cut\r\ncontent-disposition: form-data; name=\"username\"; filename=\"x\"\r\n\r\nalice\r\n--cut--\r\n";
    login().body("multipart/form-data; boundary=cut", file).send().await.invalid("账号不能为空");
}

#[tokio::test]
async fn wrong_types_are_read_as_the_old_validator_read_them() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let update =
        async |value| alice.post("updateUserinfo", json!({ "fieldname": "nickname", "fieldValue": value })).await;
    for (value, stored) in [
        (json!(12), "12"),
        (json!(-1.5), "-1.5"),
        (json!(true), "true"),
        (json!(null), "null"),
        (json!([1, "a"]), r#"[1,"a"]"#),
        (json!({ "b": 1, "a": 2 }), r#"{"b":1,"a":2}"#),
        (json!(" "), " "),
    ] {
        update(value).await.ok();
        assert_eq!(server.get(&format!("/api/userinfo/{}", alice.uuid)).await.ok()["nickname"], stored);
    }
    update(json!("")).await.invalid("修改结果不能为空");
}

#[tokio::test]
async fn ids_are_whole_numbers_of_any_spelling_and_within_bounds() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let send = async |to| {
        alice
            .post("socket/sendmessage", json!({ "sendto_id": to, "chatType": "single", "type": "text", "data": "x" }))
            .await
    };
    send(json!(bob.id)).await.ok();
    let bounds = "接收人/群的id值 的数值 必须 在 1 和 10000000000000000 之间";
    for id in [
        json!(0),
        json!(-1),
        json!("0"),
        json!("-7"),
        json!(10_000_000_000_000_001_i64),
        json!("99999999999999999999999"),
    ] {
        send(id).await.invalid(bounds);
    }
    for (id, shown) in [
        (json!("x"), "x"),
        (json!(1.5), "1.5"),
        (json!(null), "null"),
        (json!(true), "true"),
        (json!([1]), "[1]"),
        (json!("1 "), "1 "),
        (json!("0x1"), "0x1"),
        (json!("１"), "１"),
    ] {
        send(id).await.invalid(&format!("接收人/群的id值 的值 `{shown}` 的类型不是 `int`"));
    }
    send(json!("")).await.invalid("接收人/群的id值不能为空");
    // The other spellings of a number are let through to the rules: this one asks for a second message to a stranger.
    for id in [json!(format!("{}", bob.id)), json!(format!("+{}", bob.id)), json!(format!("000{}", bob.id))] {
        assert_eq!(send(id).await.status, 400);
    }
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_413_in_the_envelope() {
    let server = TestServer::with(|config| config.http.body_bytes_max = 1000).await;
    let (alice, long) = (server.user("alice").await, "x".repeat(1001));
    let bodies = |path: &'static str| {
        let post = || server.call(Method::POST, path);
        [
            post().json(&json!({ "username": long })),
            post().form(&[("username", &long)]),
            post().multipart(&[("username", &long)]),
        ]
    };
    for call in bodies("/api/regChat") {
        call.send().await.refused(413, TOO_LARGE);
    }
    for call in bodies("/api/chat/updateUserinfo") {
        call.token(&alice.token).send().await.refused(413, TOO_LARGE);
    }
    let fits = json!({ "userset": "x".repeat(900) });
    alice.post("userset", fits).await.ok();
    // A body of unknown length is measured as it comes.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head =
        "POST /api/regChat HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(format!("{head}400\r\n{}\r\n400\r\n{0}\r\n0\r\n\r\n", "x".repeat(1024)).as_bytes()).await.unwrap();
    let reply = read_some(&mut stream).await;
    assert!(reply.starts_with("HTTP/1.1 413") && reply.contains(TOO_LARGE), "{reply}");
}

async fn read_some(stream: &mut TcpStream) -> String {
    let mut buffer = vec![0; 4096];
    let length = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await.expect("an answer in time").unwrap();
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[tokio::test]
async fn a_raised_bound_holds_for_every_kind_of_body() {
    let server = TestServer::with(|config| config.http.body_bytes_max = 4 << 20).await;
    // Beyond two mebibytes, which axum allows by itself.
    let (name, long) = (unique("alice"), "x".repeat(3 << 20));
    let fields = [("username", name.as_str()), ("password", PASSWORD), ("more", long.as_str())];
    server.call(Method::POST, "/api/regChat").multipart(&fields).send().await.ok();
    let login = || server.call(Method::POST, "/api/loginChat");
    login().multipart(&fields).send().await.ok();
    login().form(&fields).send().await.ok();
    login().json(&json!({ "username": name, "password": PASSWORD, "more": long })).send().await.ok();
    let beyond = "x".repeat(4 << 20);
    login().multipart(&[("more", &beyond)]).send().await.refused(413, TOO_LARGE);
}

#[tokio::test]
async fn the_default_bound_of_a_body_is_a_mebibyte() {
    let server = TestServer::start().await;
    let body = |length: usize| json!({ "username": "x".repeat(length) });
    server.post("/api/regChat", body(1_048_000)).await.invalid("账号 的长度 必须 在 4 和 20 之间");
    server.post("/api/regChat", body(1_048_576)).await.refused(413, TOO_LARGE);
}

fn assert_open_to_browsers(reply: &Reply) {
    assert_eq!(reply.header("access-control-allow-origin"), "*", "{} {}", reply.status, reply.text);
}

#[tokio::test]
async fn a_preflight_is_granted_what_it_asks_for() {
    let server = TestServer::start().await;
    for path in ["/api/regChat", "/api/chat/logout", "/api/chat/nothing", "/nothing", "/public/uploads/x.png"] {
        for method in ["POST", "GET", "DELETE"] {
            let reply = server
                .call(Method::OPTIONS, path)
                .header("origin", "http://localhost:8080")
                .header("access-control-request-method", method)
                .header("access-control-request-headers", "token,content-type,x-security-sign")
                .send()
                .await;
            assert_eq!(reply.status, 204, "{path}");
            assert_open_to_browsers(&reply);
            assert_eq!(reply.header("access-control-allow-methods"), method);
            assert_eq!(reply.header("access-control-allow-headers"), "token,content-type,x-security-sign");
        }
    }
}

#[tokio::test]
async fn every_reply_is_open_to_browsers() {
    let server = TestServer::with(|config| config.http.body_bytes_max = 1000).await;
    let alice = server.user("alice").await;
    let replies = [
        alice.post("chatGetmessageOffLine", json!({})).await,
        alice.get("nothing").await,
        alice.get("logout").await,
        server.get("/nothing").await,
        server.post("/api/regChat", json!({})).await,
        server.post("/api/regChat", json!({ "x": "x".repeat(1000) })).await,
        server.post("/api/chat/logout", json!({ "x": "x".repeat(1000) })).await,
        server.call(Method::POST, "/api/regChat").body("application/json", "{").send().await,
        server.call(Method::POST, "/api/chat/logout").body("application/json", "{").send().await,
        server.get("/ws").await,
    ];
    for reply in &replies {
        assert_open_to_browsers(reply);
    }
    assert_eq!(replies.map(|reply| reply.status), [200, 404, 405, 404, 422, 413, 413, 400, 400, 400]);
}

#[tokio::test]
async fn replies_are_json_and_carry_an_id_of_their_own() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let replies = [
        server.get("/nothing").await,
        alice.get("nothing").await,
        alice.post("userset", json!({ "userset": "{}" })).await,
    ];
    let mut ids: Vec<_> = replies.iter().map(|reply| reply.header("x-request-id")).collect();
    assert!(ids.iter().all(|id| !id.is_empty()));
    ids.dedup();
    assert_eq!(ids.len(), 3);
    for reply in &replies {
        assert_eq!(reply.header("content-type"), "application/json; charset=utf-8");
    }
}

#[tokio::test]
async fn the_socket_s_path_wants_a_socket() {
    let server = TestServer::start().await;
    server.get("/ws").await.refused(400, "请使用 WebSocket 连接");
    server.post("/ws", json!({})).await.refused(405, WRONG_METHOD);
}

const TOUCH_USER: &str = "UPDATE users SET sort_order = sort_order + 1 WHERE id = ?";

/// Takes the store's write lock (SQLite), or the lock of the row that the statement changes (MySQL), for as long as the transaction
/// lives.
pub async fn lock(server: &TestServer, statement: &'static str, id: i64) -> qingniao::db::Tx {
    let mut tx = server.app.db.begin().await.unwrap();
    match tx.conn() {
        qingniao::db::Conn::MySql(c) => {
            sqlx::query(statement).bind(id).execute(c.start()).await.unwrap();
            c.ended(None);
        }
        qingniao::db::Conn::Sqlite(c) => drop(sqlx::query(statement).bind(id).execute(c).await.unwrap()),
    }
    tx
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered_503() {
    let server = TestServer::with(|config| config.http.request_timeout_s = 1).await;
    let alice = server.user("alice").await;
    let tx = lock(&server, TOUCH_USER, alice.id).await;
    let began = Instant::now();
    let reply = alice.post("userset", json!({ "userset": "{}" })).await;
    reply.refused(503, BUSY);
    assert_open_to_browsers(&reply);
    assert!(began.elapsed() >= Duration::from_secs(1) && began.elapsed() < Duration::from_secs(3));
    drop(tx);
    alice.post("userset", json!({ "userset": "{}" })).await.ok();
}

#[tokio::test]
async fn a_store_that_is_busy_for_too_long_is_answered_503() {
    let server = TestServer::with(|config| config.database.acquire_timeout_ms = 200).await;
    if server.app.db.engine() == qingniao::db::Engine::MySql {
        return skip("MySQL has no single writer to wait for");
    }
    let alice = server.user("alice").await;
    let tx = lock(&server, TOUCH_USER, alice.id).await;
    alice.post("userset", json!({ "userset": "{}" })).await.refused(503, BUSY);
    server.post("/api/regChat", json!({ "username": unique("bob"), "password": PASSWORD })).await.refused(503, BUSY);
    // Reading goes on beside the writer.
    server.get(&format!("/api/userinfo/{}", alice.uuid)).await.ok();
    drop(tx);
    alice.post("userset", json!({ "userset": "{}" })).await.ok();
}

#[tokio::test]
async fn a_fault_of_the_store_shows_nothing_of_its_inside() {
    let server = TestServer::start().await;
    if server.app.db.engine() == qingniao::db::Engine::MySql {
        return skip("all tests share the schema on MySQL");
    }
    let alice = server.user("alice").await;
    server.sql("DROP TABLE profiles", &[]).await;
    server.get(&format!("/api/userinfo/{}", alice.uuid)).await.refused(500, "服务器内部错误");
    let name = unique("bob");
    server.post("/api/regChat", json!({ "username": name, "password": PASSWORD })).await.refused(500, "服务器内部错误");
    // What failed half-way was rolled back.
    server
        .post("/api/loginChat", json!({ "username": name, "password": PASSWORD }))
        .await
        .refused(400, "账号不存在或者被禁用");
}

#[tokio::test]
async fn a_store_that_is_away_is_answered_503_and_found_again_by_itself() {
    let Some(url) = mysql_url().await else { return };
    let (host, name) = url.rsplit_once('@').unwrap().1.split_once('/').unwrap();
    let mut proxy = Proxy::to(host.parse().expect("an address and a port"));
    let through_proxy = url.replace(&format!("{host}/{name}"), &format!("{}/{name}", proxy.address));
    let server = TestServer::with(|config| {
        config.database_url = through_proxy;
        config.database.acquire_timeout_ms = 500;
    })
    .await;
    let (alice, bob) = server.users("alice", "bob").await;
    let userset = async || alice.post("userset", json!({ "userset": "{}" })).await;
    userset().await.ok();
    proxy.cut().await;
    for _ in 0..3 {
        userset().await.refused(503, BUSY);
        alice.say(&bob, "hello").await.refused(503, BUSY);
        server.get(&format!("/api/userinfo/{}", alice.uuid)).await.refused(503, BUSY);
        server
            .post("/api/loginChat", json!({ "username": bob.username, "password": PASSWORD }))
            .await
            .refused(503, BUSY);
    }
    proxy.restore();
    let back = Instant::now();
    while userset().await.status != 200 {
        assert!(back.elapsed() < Duration::from_secs(2), "the server found its store again");
    }
    alice.say(&bob, "hello").await.ok();
    let mut socket = bob.asking_socket().await;
    assert_eq!(crate::support::text_of(&socket.next_message().await), "hello");
    // What was refused was not done.
    socket.expect_silence().await;
}

#[tokio::test]
async fn a_connection_that_sends_no_request_is_closed() {
    let server = TestServer::with(|config| config.http.idle_timeout_s = 1).await;
    for start in ["", "GET /nothing HTTP/1.1\r\nhost: x\r\n"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(start.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "the connection is closed");
    }
}

#[tokio::test]
async fn a_connection_beyond_the_bound_waits_for_a_place() {
    let server = TestServer::with(|config| config.http.connections_max = 1).await;
    let request = b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(request).await.unwrap();
    assert!(read_some(&mut first).await.starts_with("HTTP/1.1 404"));
    let mut second = TcpStream::connect(server.address).await.unwrap();
    second.write_all(request).await.unwrap();
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(200), second.read(&mut byte)).await;
    assert!(early.is_err(), "the second waits while the first is open");
    drop(first);
    assert!(read_some(&mut second).await.starts_with("HTTP/1.1 404"));
}
