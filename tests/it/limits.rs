//! Limits on what needs no token, or could be tried with a stolen one: new accounts from one address, guesses of an old password.

use serde_json::{Value, json};

use crate::support::{PASSWORD, Person, Reply, TestServer, unique};

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
