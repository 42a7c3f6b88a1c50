//! Limits on what needs no token, or could be tried with a stolen one: new accounts from one address, guesses of an old password.

use serde_json::{Value, json};

use crate::support::{
    Door, PASSWORD, Person, Process, Reply, TestServer, command, device_id, eventually, sign, unique,
};

const HOUR_MS: i64 = 3_600_000;
const TOO_MANY: &str = "请求过于频繁，请1个小时后再试";
const WRONG_OLD: &str = "原始密码错误，无法修改密码";

async fn register_from(server: &TestServer, address: &str, name: &str) -> Reply {
    let call = server.call(reqwest::Method::POST, "/api/regChat").header("x-forwarded-for", address);
    call.json(&json!({ "username": name, "password": PASSWORD })).send().await
}

async fn set_password(person: &Person, old: &str) -> Reply {
    let change = json!({ "oldpassword": old, "newpassword": "another7", "checknewpassword": "another7" });
    person.post("setPassword", change).await
}

async fn login(server: &TestServer, person: &Person, password: &str) -> Reply {
    server.post("/api/loginChat", json!({ "username": person.username, "password": password })).await
}

#[tokio::test]
async fn a_proxy_that_nobody_has_named_is_told_of_once() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(&mut command(folder.path()));
    let door = Door::to(process.address);
    for _ in 0..3 {
        let call = door.call(reqwest::Method::POST, "/api/loginChat").header("x-forwarded-for", "203.0.113.9");
        let wrong = json!({ "username": "nobody", "password": PASSWORD });
        call.json(&wrong).send().await.refused(400, "账号不存在或者被禁用");
    }
    let told = || process.log().matches("127.0.0.1 sends X-Forwarded-For and is not in http.trusted_proxies").count();
    eventually("the log tells of it", async || told() > 0).await;
    assert_eq!(told(), 1);
}

#[tokio::test]
async fn one_address_makes_so_many_accounts_an_hour_and_others_are_not_concerned() {
    let server = TestServer::with(|config| {
        config.limits.registrations_per_address = 2;
        config.http.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let taken = unique("one");
    register_from(&server, "203.0.113.1", &taken).await.ok();
    // What made no account does not count.
    for _ in 0..3 {
        register_from(&server, "203.0.113.1", &taken).await.refused(400, "该账号已存在，请换一个账号注册");
        assert_eq!(register_from(&server, "203.0.113.1", "x").await.status, 422);
    }
    register_from(&server, "203.0.113.1", &unique("two")).await.ok();
    register_from(&server, "203.0.113.1", &unique("three")).await.refused(400, TOO_MANY);
    assert_eq!(server.app.metrics.limited.registration.get(), 1);
    register_from(&server, "203.0.113.2", &unique("three")).await.ok();
    server.advance(HOUR_MS);
    register_from(&server, "203.0.113.1", &unique("four")).await.ok();
}

/// A signed call of a device behind that address.
async fn signed_from(server: &TestServer, address: &str, path: &str, device: &str, more: Value) -> Reply {
    let timestamp = server.clock.now_ms();
    let mut body = json!({ "deviceId": device, "timestamp": timestamp });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let call = server.call(reqwest::Method::POST, path).header("x-forwarded-for", address);
    call.header("x-security-sign", &sign(device, timestamp)).json(&body).send().await
}

#[tokio::test]
async fn an_account_that_a_guest_becomes_counts_as_a_new_one() {
    let server = TestServer::with(|config| {
        config.limits.registrations_per_address = 2;
        config.http.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let one = "203.0.113.1";
    let become_user = async |address: &str, name: &str| {
        let device = device_id();
        signed_from(&server, address, "/api/visitorRegister", &device, json!({})).await.ok();
        let entry = json!({ "username": name, "password": PASSWORD });
        signed_from(&server, address, "/api/visitorregChat", &device, entry).await
    };
    let taken = unique("one");
    become_user(one, &taken).await.ok();
    become_user(one, &taken).await.refused(400, "该账号已存在，请换一个账号注册");
    register_from(&server, one, &unique("two")).await.ok();
    become_user(one, &unique("three")).await.refused(400, TOO_MANY);
    become_user("203.0.113.2", &unique("three")).await.ok();
    server.advance(HOUR_MS);
    become_user(one, &unique("four")).await.ok();
}

#[tokio::test]
async fn one_address_makes_so_many_guests_an_hour_and_those_who_are_there_are_not_concerned() {
    let server = TestServer::with(|config| {
        config.limits.guests_per_address = 2;
        config.http.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let arrive = async |address: &str, device: &str| {
        signed_from(&server, address, "/api/visitorRegister", device, json!({})).await
    };
    let (one, first) = ("203.0.113.1", device_id());
    let guest = arrive(one, &first).await.ok();
    arrive(one, &device_id()).await.ok();
    let third = device_id();
    arrive(one, &third).await.refused(400, TOO_MANY);
    assert_eq!(arrive(one, &first).await.ok()["id"], guest["id"]);
    arrive("203.0.113.2", &third).await.ok();
    server.advance(HOUR_MS);
    arrive(one, &device_id()).await.ok();
}

#[tokio::test]
async fn this_machine_itself_makes_as_many_as_it_likes() {
    let server = TestServer::with(|config| {
        config.limits.registrations_per_address = 1;
        config.limits.guests_per_address = 1;
    })
    .await;
    for _ in 0..3 {
        server.user("somebody").await;
        server.guest().await;
    }
}

#[tokio::test]
async fn wrong_old_passwords_are_limited_together_with_those_of_logins() {
    let server = TestServer::with(|config| config.limits.login_failures_per_hour = 3).await;
    let (alice, bob) = server.users("alice", "bob").await;
    set_password(&alice, "wrong").await.refused(400, WRONG_OLD);
    assert_eq!(login(&server, &alice, "wrong1").await.status, 400);
    set_password(&alice, "wrong").await.refused(400, WRONG_OLD);
    set_password(&alice, "wrong").await.refused(400, TOO_MANY);
    set_password(&alice, PASSWORD).await.refused(400, TOO_MANY);
    login(&server, &alice, PASSWORD).await.refused(400, TOO_MANY);
    set_password(&bob, PASSWORD).await.ok();
    server.advance(HOUR_MS);
    let changed: Value = set_password(&alice, PASSWORD).await.ok();
    assert_eq!(changed, "修改密码成功");
}
