//! How passwords are kept, guessed at and changed (contract: people §1.4, §6, decisions 9, 14, 30).

use futures_util::future::join_all;
use qingniao::accounts::{Role, service as accounts};
use qingniao::ids::UserId;
use reqwest::Method;
use serde_json::json;

use crate::accounts::{BAD_TOKEN, NO_ACCOUNT, WRONG, login, upgraded};
use crate::support::{PASSWORD, Person, Reply, TestServer, answered_before, unique};

const TOO_MANY: &str = "请求过于频繁，请1个小时后再试";
const HOUR_MS: i64 = 3_600_000;

/// A login that comes through the proxy 127.0.0.1 from somewhere else.
async fn login_from(server: &TestServer, address: &str, username: &str, password: &str) -> Reply {
    let body = json!({ "username": username, "password": password });
    server.call(Method::POST, "/api/loginChat").header("x-forwarded-for", address).json(&body).send().await
}

async fn behind_a_proxy() -> TestServer {
    TestServer::with(|config| config.http.trusted_proxies = vec!["127.0.0.1".parse().unwrap()]).await
}

#[tokio::test]
async fn an_old_hash_verifies_once_and_is_replaced() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    // SHA-256 of "123456", as the old backend stored it.
    let old = "8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92";
    server.sql("UPDATE users SET password_hash = ? WHERE id = ?", &[old.into(), alice.id.into()]).await;
    let stored = async || server.sql_text("SELECT password_hash FROM users WHERE id = ?", alice.id).await;
    login(&server, &alice.username, PASSWORD).await.refused(400, WRONG);
    // The hash itself is no password.
    login(&server, &alice.username, &old[..20]).await.refused(400, WRONG);
    assert_eq!(stored().await, old);
    // Capitals mean the same hash.
    server.sql("UPDATE users SET password_hash = ? WHERE id = ?", &[old.to_uppercase().into(), alice.id.into()]).await;
    login(&server, &alice.username, "123456").await.ok();
    assert!(stored().await.starts_with("$argon2id$v=19$m=8,t=1,p=1$"));
    login(&server, &alice.username, "123456").await.ok();
}

#[tokio::test]
async fn passwords_are_stored_as_argon2id_with_a_salt_each() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let one = server.sql_text("SELECT password_hash FROM users WHERE id = ?", alice.id).await;
    let other = server.sql_text("SELECT password_hash FROM users WHERE id = ?", bob.id).await;
    assert!(one.starts_with("$argon2id$") && one != other);
}

#[tokio::test]
async fn after_ten_wrong_passwords_even_the_right_one_waits_an_hour() {
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    for _ in 0..10 {
        login(&server, &alice.username, "wrong-one").await.refused(400, WRONG);
        server.advance(1000);
    }
    login(&server, &alice.username, PASSWORD).await.refused(400, TOO_MANY);
    login(&server, &alice.username.to_uppercase(), PASSWORD).await.refused(400, TOO_MANY);
    login(&server, &bob.username, PASSWORD).await.ok();
    // The first wrong one was ten seconds ago; refused calls have not counted.
    server.advance(HOUR_MS - 10_001);
    login(&server, &alice.username, PASSWORD).await.refused(400, TOO_MANY);
    server.advance(1);
    login(&server, &alice.username, PASSWORD).await.ok();
}

#[tokio::test]
async fn guesses_at_names_that_do_not_exist_count_too() {
    let server = TestServer::start().await;
    let name = unique("nobody");
    for _ in 0..10 {
        login(&server, &name, PASSWORD).await.refused(400, NO_ACCOUNT);
    }
    login(&server, &name, PASSWORD).await.refused(400, TOO_MANY);
}

#[tokio::test]
async fn the_right_password_from_another_address_still_gets_in() {
    let server = behind_a_proxy().await;
    let alice = server.user("alice").await;
    for _ in 0..10 {
        login_from(&server, "203.0.113.7", &alice.username, "wrong-one").await.refused(400, WRONG);
    }
    login_from(&server, "203.0.113.7", &alice.username, PASSWORD).await.refused(400, TOO_MANY);
    let account = login_from(&server, "203.0.113.8", &alice.username, PASSWORD).await.ok();
    assert_eq!(account["last_login_ip"], "203.0.113.8");
}

/// A home has a whole IPv6 network: who guesses from there would else be somebody new with each address.
#[tokio::test]
async fn guesses_from_one_ipv6_network_count_together() {
    let server = behind_a_proxy().await;
    let alice = server.user("alice").await;
    for n in 0..10 {
        let address = format!("2001:db8:0:7:{n}::1");
        login_from(&server, &address, &alice.username, "wrong-one").await.refused(400, WRONG);
    }
    login_from(&server, "2001:db8:0:7:ffff::1", &alice.username, PASSWORD).await.refused(400, TOO_MANY);
    let account = login_from(&server, "2001:db8:0:8::1", &alice.username, PASSWORD).await.ok();
    assert_eq!(account["last_login_ip"], "2001:db8:0:8::1");
}

/// Keyboards of phones put a space after a word that they complete. The old backend's MySQL did not see it; neither does
/// ours, and it must not make a name of its own for guesses.
#[tokio::test]
async fn a_space_after_a_name_changes_nothing() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let spaced = |spaces| format!("{}{}", alice.username, " ".repeat(spaces));
    assert_eq!(login(&server, &spaced(1), PASSWORD).await.ok()["username"], alice.username.as_str());
    login(&server, &format!(" {}", alice.username), PASSWORD).await.refused(400, NO_ACCOUNT);
    for n in 0..10 {
        login(&server, &spaced(n % 3), "wrong-one").await.refused(400, WRONG);
    }
    for spaces in 0..3 {
        login(&server, &spaced(spaces), PASSWORD).await.refused(400, TOO_MANY);
    }
}

#[tokio::test]
async fn a_client_that_is_no_proxy_cannot_name_its_address() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    for n in 0..10 {
        login_from(&server, &format!("203.0.113.{n}"), &alice.username, "wrong-one").await.refused(400, WRONG);
    }
    login_from(&server, "203.0.113.99", &alice.username, PASSWORD).await.refused(400, TOO_MANY);
}

#[tokio::test]
async fn wrong_passwords_for_many_names_from_one_address_are_limited() {
    let server = TestServer::with(|config| config.limits.login_failures_per_address = 3).await;
    let alice = server.user("alice").await;
    for _ in 0..3 {
        login(&server, &unique("nobody"), PASSWORD).await.refused(400, NO_ACCOUNT);
    }
    login(&server, &alice.username, PASSWORD).await.refused(400, TOO_MANY);
    server.advance(HOUR_MS);
    login(&server, &alice.username, PASSWORD).await.ok();
}

#[tokio::test]
async fn right_passwords_do_not_count_however_many_come_at_once() {
    let server = TestServer::with(|config| {
        config.limits.login_failures_per_hour = 1;
        config.limits.login_failures_per_address = 1;
    })
    .await;
    let alice = server.user("alice").await;
    let logins = (0..12).map(|_| login(&server, &alice.username, PASSWORD));
    for reply in futures_util::future::join_all(logins).await {
        reply.ok();
    }
}

async fn enter_from(server: &TestServer, address: &str, person: &Person) {
    login_from(server, address, &person.username, PASSWORD).await.ok();
}

#[tokio::test]
async fn many_logins_from_one_network_do_not_keep_another_s_waiting() {
    let server = TestServer::with(|config| {
        config.http.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        // One hash at a time, which takes far longer than all else of a login.
        config.passwords.parallel_max = 1;
        config.passwords.memory_kib = 16 * 1024;
        config.passwords.iterations = 2;
    })
    .await;
    let bob = server.user("bob").await;
    let crowd = join_all((0..5).map(|_| server.user("crowd"))).await;
    // Of each name no more than one name may have in the queue: what bounds them is that they are of one network.
    let logins = crowd.iter().cycle().take(40).map(|person| enter_from(&server, "203.0.113.7", person));
    let before = answered_before(enter_from(&server, "203.0.113.8", &bob), logins).await;
    assert!(before < 20, "eight or a few more, not {before}");
}

async fn set_password(person: &Person, old: &str, new: &str, again: &str) -> Reply {
    person.post("setPassword", json!({ "oldpassword": old, "newpassword": new, "checknewpassword": again })).await
}

#[tokio::test]
async fn a_new_password_replaces_the_old_one() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    assert_eq!(set_password(&alice, PASSWORD, "another7", "another7").await.ok(), "修改密码成功");
    login(&server, &alice.username, PASSWORD).await.refused(400, WRONG);
    login(&server, &alice.username, "another7").await.ok();
}

#[tokio::test]
async fn an_imported_password_is_replaced_like_any_other() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    // SHA-256 of "123456", as the old backend stored it.
    let old = "8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92";
    server.sql("UPDATE users SET password_hash = ? WHERE id = ?", &[old.into(), alice.id.into()]).await;
    set_password(&alice, PASSWORD, "another7", "another7").await.refused(400, "原始密码错误，无法修改密码");
    set_password(&alice, "123456", "another7", "another7").await.ok();
    login(&server, &alice.username, "123456").await.refused(400, WRONG);
    login(&server, &alice.username, "another7").await.ok();
}

#[tokio::test]
async fn a_new_password_is_refused_for_each_of_its_reasons() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let post = async |body| alice.post("setPassword", body).await;
    post(json!({})).await.invalid("原始密码不能为空");
    post(json!({ "oldpassword": "x" })).await.invalid("新密码不能为空");
    for new in ["12345".to_owned(), "👍".repeat(21)] {
        set_password(&alice, PASSWORD, &new, &new).await.invalid("新密码 的长度 必须 在 6 和 20 之间");
    }
    post(json!({ "oldpassword": "x", "newpassword": "another7" })).await.invalid("确认新密码不能为空");
    set_password(&alice, "wrong", "another7", "another8").await.refused(400, "新密码与确认新密码不一致");
    set_password(&alice, "wrong", "another7", "another7").await.refused(400, "原始密码错误，无法修改密码");
    login(&server, &alice.username, PASSWORD).await.ok();
}

#[tokio::test]
async fn a_new_password_keeps_the_token_that_made_it_and_ends_the_other() {
    let server = TestServer::start().await;
    let (guest, user) = upgraded(&server).await;
    let (mut guest_socket, mut user_socket) = (guest.socket().await, user.socket().await);
    set_password(&user, PASSWORD, "another7", "another7").await.ok();
    user.post("chatGetmessageOffLine", json!({})).await.ok();
    guest.post("chatGetmessageOffLine", json!({})).await.refused(400, BAD_TOKEN);
    // Neither is closed: the one is current, the other a guest's.
    for socket in [&mut guest_socket, &mut user_socket] {
        socket.send("ping").await;
        assert_eq!(socket.next_frame().await["type"], "pong");
    }
}

#[tokio::test]
async fn logins_of_one_person_that_replace_an_old_hash_at_once_all_succeed() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let old = "8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92";
    server.sql("UPDATE users SET password_hash = ? WHERE id = ?", &[old.into(), alice.id.into()]).await;
    let logins = (0..6).map(|_| login(&server, &alice.username, "123456"));
    join_all(logins).await.iter().for_each(|reply| drop(reply.ok()));
}

/// The check of a password takes its time, and the password may be another one when it ends.
#[tokio::test]
async fn a_login_that_was_checked_before_a_change_gets_no_token_after_it() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let checked = server.sql_text("SELECT password_hash FROM users WHERE id = ?", alice.id).await;
    let open = async |hash: &str| {
        let ip = "127.0.0.1".parse().unwrap();
        accounts::open_session(&server.app, UserId(alice.id), Role::User, hash, ip).await
    };
    let alice = server.person("alice", serde_json::to_value(open(&checked).await.unwrap()).unwrap(), "");
    set_password(&alice, PASSWORD, "another7", "another7").await.ok();
    assert_eq!(open(&checked).await.unwrap_err().to_string(), WRONG);
    assert_eq!(
        alice.post("chatGetmessageOffLine", json!({})).await.status,
        200,
        "the token that made the change stays"
    );
}

#[tokio::test]
async fn of_two_changes_of_one_password_at_once_one_happens() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let new: Vec<_> = (0..4).map(|number| format!("another{number}")).collect();
    let changes = new.iter().map(|new| set_password(&alice, PASSWORD, new, new));
    let replies = join_all(changes).await;
    let done: Vec<_> = new.iter().zip(&replies).filter(|(_, reply)| reply.status == 200).collect();
    let [(new, _)] = done[..] else { panic!("{} changes were acknowledged", done.len()) };
    replies
        .iter()
        .filter(|reply| reply.status != 200)
        .for_each(|reply| reply.refused(400, "原始密码错误，无法修改密码"));
    login(&server, &alice.username, new).await.ok();
}
