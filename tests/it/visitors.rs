//! The three signed calls: signature, device, limits, and what becomes of a device's guest (contract: people §2-3, decisions
//! 11, 13-15).

use futures_util::future::join_all;
use qingniao::db::Engine;
use reqwest::Method;
use serde_json::{Value, json};

use crate::migrations::{refuse_inserts, run, take_inserts};
use crate::support::{NOW_MS, PASSWORD, Person, Reply, TestServer, database, device_id, sign, unique};

const TOO_MANY: &str = "请求过于频繁，请1个小时后再试";
pub const TAKEN: &str = "该账号已存在，请换一个账号注册";
pub const NO_ACCOUNT: &str = "账号不存在或者被禁用";
pub const BAD_TOKEN: &str = "Token 令牌不合法！";
const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;

pub const ARRIVE: &str = "/api/visitorRegister";
pub const REGISTER: &str = "/api/visitorregChat";
const LOGIN: &str = "/api/visitorloginChat";
const ALL: [&str; 3] = [ARRIVE, REGISTER, LOGIN];

/// A call with everything chosen by the test.
pub async fn call(server: &TestServer, path: &str, sign: Option<&str>, body: Value) -> Reply {
    let call = server.call(Method::POST, path).json(&body);
    match sign {
        Some(sign) => call.header("x-security-sign", sign).send().await,
        None => call.send().await,
    }
}

pub async fn register(server: &TestServer, device: &str, name: &str) -> Reply {
    server.signed(REGISTER, device, json!({ "username": name, "password": PASSWORD })).await
}

pub async fn login(server: &TestServer, device: &str, name: &str, password: &str) -> Reply {
    server.signed(LOGIN, device, json!({ "username": name, "password": password })).await
}

pub async fn is_live(person: &Person) -> bool {
    person.post("chatGetmessageOffLine", json!({})).await.status == 200
}

#[tokio::test]
async fn a_new_device_gets_a_guest() {
    let server = TestServer::start().await;
    let device = device_id();
    let stats = json!({ "uniplatform": "h5", "devicemodel": "P40", "deviceos": "android", "devicebrand": "huawei" });
    let mut account = server.signed(ARRIVE, &device, stats).await.ok();
    let guest = server.person("guest", account.clone(), &device);
    assert_eq!(guest.username, format!("VIS{}", &device[..8]));
    assert_eq!(account["devicefingeruuid"], device);
    account["devicefingeruuid"] = "[device]".into();
    insta::assert_json_snapshot!(server.redacted(&account), @r#"
    {
      "create_time": "2025-09-04 23:33:20",
      "id": "[guest.id]",
      "uuid": "[guest.uuid]",
      "username": "guest",
      "nickname": "",
      "avatar": "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/user.jpg",
      "devicefingeruuid": "[device]",
      "uniplatform": "h5",
      "devicemodel": "P40",
      "deviceos": "android",
      "devicebrand": "huawei",
      "userset": "",
      "invite_confirm": 0,
      "mobile": null,
      "email": null,
      "status": 1,
      "last_login": "2025-09-04T15:33:20.000Z",
      "last_login_ip": "127.0.0.1",
      "register_time": "2025-09-04T15:33:20.000Z",
      "register_ip": null,
      "is_deleted": 0,
      "wechat_openid": null,
      "qq_openid": null,
      "weibo_uid": null,
      "role": "visitor",
      "is_email_verified": 0,
      "is_mobile_verified": 0,
      "order": 50,
      "update_time": "2025-09-04T15:33:20.000Z",
      "token": "[token]"
    }
    "#);
    assert!(is_live(&guest).await);
}

#[tokio::test]
async fn the_contract_s_signature_vector_is_accepted() {
    let server = TestServer::start().await;
    let timestamp = 1_752_835_449_008_i64;
    server.advance(timestamp - NOW_MS);
    let body = json!({ "deviceId": "8d1a344c-bf16-5425-adbc-d12f49cfa332", "timestamp": timestamp });
    let vector = "a5b40139b65b13cf214d05c27dece58ebe840d888b12272f0ccd15ea72e68998";
    call(&server, ARRIVE, Some(&vector.to_uppercase()), body.clone()).await.refused(400, "非法签名");
    // On a shared database the device may be known from elsewhere, but it is let in.
    assert_eq!(call(&server, ARRIVE, Some(vector), body).await.ok()["role"], "visitor");
}

#[tokio::test]
async fn another_salt_makes_another_signature() {
    let server = TestServer::with(|config| config.sign_salt = "pepper".to_owned()).await;
    server.signed(ARRIVE, &device_id(), json!({})).await.refused(400, "非法签名");
}

#[tokio::test]
async fn a_call_without_a_signature_is_refused_before_its_parameters() {
    let server = TestServer::start().await;
    for path in ALL {
        for sign in [None, Some("")] {
            call(&server, path, sign, json!({})).await.refused(400, "非法访问");
        }
    }
}

#[tokio::test]
async fn parameters_are_checked_before_the_signature() {
    let server = TestServer::start().await;
    for path in ALL {
        let post = async |body| call(&server, path, Some("wrong"), body).await;
        let length = "设备指纹 的长度 必须 在 36 和 200 之间";
        post(json!({})).await.invalid("设备指纹不能为空");
        post(json!({ "deviceId": "fallback-id" })).await.invalid(length);
        post(json!({ "deviceId": "x".repeat(35) })).await.invalid(length);
        post(json!({ "deviceId": "x".repeat(201) })).await.invalid(length);
        let device = device_id();
        post(json!({ "deviceId": device })).await.invalid("时间戳不能为空");
        for (timestamp, shown) in
            [(json!("soon"), "soon"), (json!(1.5), "1.5"), (json!(null), "null"), (json!([]), "[]")]
        {
            let refusal = format!("时间戳 的值 `{shown}` 的类型不是 `int`");
            post(json!({ "deviceId": device, "timestamp": timestamp })).await.invalid(&refusal);
        }
    }
    for path in [REGISTER, LOGIN] {
        let base = json!({ "deviceId": device_id(), "timestamp": NOW_MS });
        let post = async |more: Value| {
            let mut body = base.clone();
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            call(&server, path, Some("wrong"), body).await
        };
        post(json!({})).await.invalid("账号不能为空");
        post(json!({ "username": "abc" })).await.invalid("账号 的长度 必须 在 4 和 20 之间");
        post(json!({ "username": "abcd" })).await.invalid("密码不能为空");
        post(json!({ "username": "abcd", "password": "12345" })).await.invalid("密码 的长度 必须 在 6 和 20 之间");
    }
}

#[tokio::test]
async fn new_names_are_checked_where_they_are_made_only() {
    let server = TestServer::start().await;
    register(&server, &device_id(), "al ice").await.invalid("账号 只能由字母、数字和下划线组成");
    login(&server, &device_id(), "al ice", PASSWORD).await.refused(400, NO_ACCOUNT);
}

#[tokio::test]
async fn the_signature_is_checked_before_the_time_and_the_time_before_the_device() {
    let server = TestServer::start().await;
    let fallback = format!("fallback-{}", device_id());
    let stale = NOW_MS - 6 * MINUTE_MS;
    let more = json!({ "username": unique("alice"), "password": PASSWORD });
    for path in ALL {
        let post = async |timestamp: i64, sign: &str| {
            let mut body = json!({ "deviceId": fallback, "timestamp": timestamp });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            call(&server, path, Some(sign), body).await
        };
        post(stale, "wrong").await.refused(400, "非法签名");
        post(stale, &sign(&fallback, stale)).await.refused(400, "请求已过期");
        post(NOW_MS, &sign(&fallback, NOW_MS)).await.refused(400, "无效标识");
    }
}

#[tokio::test]
async fn the_client_s_clock_may_be_five_minutes_off_either_way() {
    let server = TestServer::start().await;
    let post = async |timestamp: i64| {
        let device = device_id();
        let body = json!({ "deviceId": device, "timestamp": timestamp });
        call(&server, ARRIVE, Some(&sign(&device, timestamp)), body).await
    };
    for off in [0, 5 * MINUTE_MS, -5 * MINUTE_MS] {
        post(NOW_MS + off).await.ok();
    }
    for timestamp in [NOW_MS + 5 * MINUTE_MS + 1, NOW_MS - 5 * MINUTE_MS - 1, 0, -NOW_MS, 10_000_000_000_000_000] {
        post(timestamp).await.refused(400, "请求已过期");
    }
}

#[tokio::test]
async fn a_device_id_is_36_letters_digits_dashes_and_underscores() {
    let server = TestServer::start().await;
    server.signed(ARRIVE, &format!("_-Az09{}", &device_id()[6..]), json!({})).await.ok();
    let bad = [
        "x".repeat(37),
        "x".repeat(200),
        format!("{}!", "x".repeat(35)),
        "你".repeat(36),
        format!("{} ", "x".repeat(35)),
    ];
    for device in bad {
        server.signed(ARRIVE, &device, json!({})).await.refused(400, "无效标识");
    }
}

#[tokio::test]
async fn forms_and_numbers_as_text_are_signed_alike() {
    let server = TestServer::start().await;
    let device = device_id();
    let timestamp = NOW_MS.to_string();
    let fields = [("deviceId", device.as_str()), ("timestamp", timestamp.as_str()), ("uniplatform", "h5")];
    let post = || server.call(Method::POST, ARRIVE).header("X-Security-Sign", &sign(&device, NOW_MS));
    let one = post().form(&fields).send().await.ok();
    let two = post().multipart(&fields).send().await.ok();
    let three = post().json(&json!({ "deviceId": device, "timestamp": timestamp })).send().await.ok();
    assert_eq!((&one["token"], &one["uniplatform"]), (&two["token"], &json!("h5")));
    assert_eq!(one["token"], three["token"]);
}

#[tokio::test]
async fn what_a_device_says_of_itself_is_kept_if_it_fits() {
    let server = TestServer::start().await;
    let device = device_id();
    let odd =
        json!({ "uniplatform": "x", "devicemodel": "m".repeat(51), "deviceos": 7, "devicebrand": "👍".repeat(50) });
    let first = server.signed(ARRIVE, &device, odd).await.ok();
    let shown = |account: &Value| {
        ["uniplatform", "devicemodel", "deviceos", "devicebrand"].map(|key| account[key].as_str().unwrap().to_owned())
    };
    assert_eq!(shown(&first), ["", "", "7", "👍".repeat(50).as_str()]);
    // A later call replaces them all, and shows those from before.
    let second = server.signed(ARRIVE, &device, json!({ "devicemodel": "P50" })).await.ok();
    assert_eq!(shown(&second), shown(&first));
    let third = server.signed(ARRIVE, &device, json!({})).await.ok();
    assert_eq!(shown(&third), ["", "P50", "", ""]);
}

#[tokio::test]
async fn a_device_gets_the_same_token_again() {
    let server = TestServer::start().await;
    let guest = server.guest().await;
    server.advance(HOUR_MS);
    let again = server.guest_on(&guest.device_id).await;
    assert_eq!((again.id, &again.token), (guest.id, &guest.token));
    assert_eq!(again.account["last_login"], "2025-09-04T16:33:20.000Z");
}

#[tokio::test]
async fn first_calls_that_come_at_once_share_one_guest_and_one_token() {
    let server = TestServer::start().await;
    for _ in 0..3 {
        let device = device_id();
        let guests = join_all((0..8).map(|_| server.guest_on(&device))).await;
        assert!(guests.iter().all(|guest| guest.token == guests[0].token && guest.id == guests[0].id));
        assert!(is_live(&guests[0]).await);
    }
}

#[tokio::test]
async fn a_guest_whose_token_has_expired_gets_a_new_one() {
    let server = TestServer::start().await;
    let guest = server.guest().await;
    server.advance(365 * 24 * HOUR_MS);
    guest.post("chatGetmessageOffLine", json!({})).await.refused(400, BAD_TOKEN);
    let again = server.guest_on(&guest.device_id).await;
    assert_eq!(again.id, guest.id);
    assert!(is_live(&again).await);
}

#[tokio::test]
async fn the_same_token_is_handed_out_sixty_times_an_hour() {
    let server = TestServer::start().await;
    let guest = server.guest().await;
    for _ in 0..60 {
        server.guest_on(&guest.device_id).await;
    }
    server.signed(ARRIVE, &guest.device_id, json!({})).await.refused(400, TOO_MANY);
    server.guest().await;
    server.advance(HOUR_MS - 1);
    server.signed(ARRIVE, &guest.device_id, json!({})).await.refused(400, TOO_MANY);
    server.advance(1);
    server.guest_on(&guest.device_id).await;
}

#[tokio::test]
async fn new_tokens_registrations_and_logins_count_apart_each_five_an_hour() {
    let server = TestServer::start().await;
    let device = device_id();
    let mut names = Vec::new();
    for _ in 0..5 {
        // Each registration takes the guest from the device, so that the next call needs a new one.
        server.guest_on(&device).await;
        names.push(unique("alice"));
        register(&server, &device, names.last().unwrap()).await.ok();
        login(&server, &device, names.last().unwrap(), PASSWORD).await.ok();
        server.advance(MINUTE_MS);
    }
    let refuse_all = async || {
        server.signed(ARRIVE, &device, json!({})).await.refused(400, TOO_MANY);
        register(&server, &device, &unique("alice")).await.refused(400, TOO_MANY);
        login(&server, &device, &names[0], PASSWORD).await.refused(400, TOO_MANY);
    };
    refuse_all().await;
    // The window slides: the first calls leave it an hour after they were made, and refused ones never entered it.
    server.advance(HOUR_MS - 5 * MINUTE_MS - 1);
    refuse_all().await;
    server.advance(1);
    server.guest_on(&device).await;
    register(&server, &device, &unique("alice")).await.ok();
    login(&server, &device, &names[0], PASSWORD).await.ok();
    refuse_all().await;
}

#[tokio::test]
async fn a_device_counts_for_itself() {
    let server = TestServer::with(|config| config.limits.visitor_calls_per_hour = 1).await;
    let alice = server.user("alice").await;
    let (one, other) = (device_id(), device_id());
    login(&server, &one, &alice.username, PASSWORD).await.ok();
    login(&server, &one, &alice.username, PASSWORD).await.refused(400, TOO_MANY);
    login(&server, &other, &alice.username, PASSWORD).await.ok();
}

#[tokio::test]
async fn refused_registrations_and_logins_do_not_count() {
    let server = TestServer::with(|config| config.limits.visitor_calls_per_hour = 1).await;
    let alice = server.user("alice").await;
    let device = device_id();
    for _ in 0..3 {
        register(&server, &device, &alice.username).await.refused(400, TAKEN);
        login(&server, &device, &alice.username, "wrong-one").await.refused(400, "账户或密码错误");
        login(&server, &device, &unique("nobody"), PASSWORD).await.refused(400, NO_ACCOUNT);
        call(
            &server,
            LOGIN,
            Some("wrong"),
            json!({ "deviceId": device, "timestamp": NOW_MS, "username": "abcd", "password": PASSWORD }),
        )
        .await
        .refused(400, "非法签名");
    }
    register(&server, &device, &unique("bob")).await.ok();
    login(&server, &device, &alice.username, PASSWORD).await.ok();
}

#[tokio::test]
async fn wrong_passwords_count_against_the_name_at_this_door_too() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    for _ in 0..10 {
        login(&server, &device_id(), &alice.username, "wrong-one").await.refused(400, "账户或密码错误");
    }
    login(&server, &device_id(), &alice.username, PASSWORD).await.refused(400, TOO_MANY);
}

#[tokio::test]
async fn two_devices_that_share_eight_characters_get_a_guest_each() {
    let server = TestServer::start().await;
    let (one, other) = (device_id(), device_id());
    let other = format!("{}{}", &one[..8], &other[8..]);
    let (first, second) = (server.guest_on(&one).await, server.guest_on(&other).await);
    assert_ne!(first.id, second.id);
    assert!(second.username.starts_with(&first.username) && second.username.len() <= 20);
}

#[tokio::test]
async fn a_disabled_guest_is_refused() {
    let server = TestServer::start().await;
    let guest = server.guest().await;
    server.sql("UPDATE users SET status = 0 WHERE id = ?", &[guest.id.into()]).await;
    server.signed(ARRIVE, &guest.device_id, json!({})).await.refused(400, NO_ACCOUNT);
}

#[tokio::test]
async fn calls_that_the_store_refuses_do_not_count() {
    let url = database::fresh("qingniao_visitors_").await.unwrap_or_default();
    let server = TestServer::with(|config| config.database_url = url).await;
    let device = device_id();
    let arrive = async || server.signed(ARRIVE, &device, json!({})).await;
    refuse_inserts!(server.app.db, "sessions");
    for _ in 0..6 {
        arrive().await.refused(500, "服务器内部错误");
    }
    take_inserts(&server.app.db).await;
    // A new token each, up to the limit of them.
    for _ in 0..5 {
        arrive().await.ok();
        server.sql("DELETE FROM sessions", &[]).await;
    }
    arrive().await.refused(400, TOO_MANY);
}

#[tokio::test]
async fn a_guest_has_its_token_though_what_its_device_says_cannot_be_stored() {
    let url = database::fresh("qingniao_statistics_").await.unwrap_or_default();
    let server = TestServer::with(|config| config.database_url = url).await;
    let device = device_id();
    server.signed(ARRIVE, &device, json!({ "uniplatform": "h5" })).await.ok();
    let refuse = match server.app.db.engine() {
        Engine::MySql => {
            "CREATE TRIGGER full BEFORE UPDATE ON users FOR EACH ROW IF NEW.uniplatform <> OLD.uniplatform THEN \
             SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'full'; END IF"
        }
        Engine::Sqlite => {
            "CREATE TRIGGER full BEFORE UPDATE ON users WHEN NEW.uniplatform <> OLD.uniplatform BEGIN \
             SELECT RAISE(ABORT, 'full'); END"
        }
    };
    run(&server.app.db, refuse).await;
    let account = server.signed(ARRIVE, &device, json!({ "uniplatform": "app" })).await.ok();
    let guest = server.person("guest", account, &device);
    assert!(is_live(&guest).await);
    let stored = server.sql_text("SELECT uniplatform FROM users WHERE id = ?", guest.id).await;
    assert_eq!(stored, "h5", "the trigger works");
}
