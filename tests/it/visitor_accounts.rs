//! What becomes of a device's guest when the person at the device registers or logs in (decisions 11, 15).

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{PASSWORD, TestServer, device_id, unique};
use crate::visitors::{ARRIVE, BAD_TOKEN, NO_ACCOUNT, REGISTER, TAKEN, is_live, login, register};

#[tokio::test]
async fn a_guest_that_registers_keeps_id_friends_and_token() {
    let server = TestServer::start().await;
    let guest = server.guest().await;
    guest.post("updateUserinfo", json!({ "fieldname": "nickname", "fieldValue": "小客" })).await.ok();
    let name = unique("alice");
    let account = register(&server, &guest.device_id, &name).await.ok();
    let user = server.person("alice", account, "");
    assert_eq!((user.id, &user.uuid, &user.username), (guest.id, &guest.uuid, &name));
    assert_eq!((&user.account["role"], &user.account["nickname"]), (&json!("user"), &json!("小客")));
    assert_eq!(user.account["devicefingeruuid"], "");
    assert!(is_live(&guest).await && is_live(&user).await);
    assert_eq!(user.login().await.id, guest.id);
}

#[tokio::test]
async fn the_token_of_an_upgraded_guest_still_acts_as_a_guest() {
    let server = TestServer::start().await;
    let guest = server.guest().await;
    register(&server, &guest.device_id, &unique("alice")).await.ok();
    guest.post("logout", json!({})).await.refused(400, "您没有权限访问，请先注册或登录");
    let cards: Vec<_> = guest.socket().await.cards.iter().map(|card| card["from_name"].clone()).collect();
    assert_eq!(cards, ["聊天消息条数限制", "登录提示"]);
}

#[tokio::test]
async fn every_door_replies_with_the_same_fields() {
    let server = TestServer::start().await;
    let (alice, guest) = (server.user("alice").await, server.guest().await);
    let keys = |account: &Value| account.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let doors = [
        guest.account.clone(),
        register(&server, &guest.device_id, &unique("bob")).await.ok(),
        login(&server, &guest.device_id, &alice.username, PASSWORD).await.ok(),
        server.post("/api/loginChat", json!({ "username": alice.username, "password": PASSWORD })).await.ok(),
    ];
    for account in &doors {
        assert_eq!(keys(account), keys(&alice.account));
    }
}

#[tokio::test]
async fn after_a_registration_the_device_gets_a_fresh_guest() {
    let server = TestServer::start().await;
    let guest = server.guest().await;
    register(&server, &guest.device_id, &unique("alice")).await.ok();
    let fresh = server.guest_on(&guest.device_id).await;
    assert_ne!((fresh.id, &fresh.token), (guest.id, &guest.token));
    assert_eq!(fresh.username, guest.username);
}

#[tokio::test]
async fn a_second_registration_on_a_device_never_touches_the_first_account() {
    let server = TestServer::start().await;
    let guest = server.guest().await;
    let (first, second) = (unique("alice"), unique("bob"));
    register(&server, &guest.device_id, &first).await.ok();
    let other = register(&server, &guest.device_id, &second).await.ok();
    assert_ne!(other["id"], guest.id);
    assert_eq!(login(&server, &device_id(), &first, PASSWORD).await.ok()["id"], guest.id);
}

#[tokio::test]
async fn a_device_without_a_guest_registers_a_plain_account() {
    let server = TestServer::start().await;
    let device = device_id();
    let account = register(&server, &device, &unique("alice")).await.ok();
    assert_eq!((&account["role"], &account["devicefingeruuid"]), (&json!("user"), &json!("")));
    assert_ne!(server.guest_on(&device).await.id, account["id"]);
}

#[tokio::test]
async fn of_parallel_registrations_of_one_guest_one_takes_the_row() {
    let server = TestServer::start().await;
    let guest = server.guest().await;
    let names: Vec<_> = (0..4).map(|_| unique("alice")).collect();
    let replies = join_all(names.iter().map(|name| register(&server, &guest.device_id, name))).await;
    let upgraded = replies.iter().filter(|reply| reply.status == 200 && reply.json()["data"]["id"] == guest.id);
    assert_eq!(upgraded.count(), 1);
    // The others are accounts of their own: none took the row from the first.
    for (name, reply) in names.iter().zip(&replies) {
        assert_eq!(login(&server, &device_id(), name, PASSWORD).await.ok()["id"], reply.ok()["id"]);
    }
}

#[tokio::test]
async fn a_device_that_arrives_while_its_guest_registers_never_gets_the_account() {
    let server = TestServer::start().await;
    for _ in 0..8 {
        let (guest, name) = (server.guest().await, unique("alice"));
        let arrivals = join_all((0..12).map(|_| server.signed(ARRIVE, &guest.device_id, json!({}))));
        let (registered, arrived) = tokio::join!(register(&server, &guest.device_id, &name), arrivals);
        assert_eq!(registered.ok()["id"], guest.id);
        for reply in arrived {
            let account = reply.ok();
            assert_eq!((&account["role"], &account["devicefingeruuid"]), (&json!("visitor"), &json!(guest.device_id)));
        }
    }
}

#[tokio::test]
async fn a_guest_may_not_take_a_name_that_is_taken() {
    let server = TestServer::start().await;
    let (alice, guest) = (server.user("alice").await, server.guest().await);
    register(&server, &guest.device_id, &alice.username.to_uppercase()).await.refused(400, TAKEN);
    assert!(is_live(&guest).await);
    assert_eq!(server.guest_on(&guest.device_id).await.id, guest.id);
}

#[tokio::test]
async fn a_login_at_a_device_leaves_its_guest_alone() {
    let server = TestServer::start().await;
    let (alice, guest) = (server.user("alice").await, server.guest().await);
    let account = login(&server, &guest.device_id, &alice.username, PASSWORD).await.ok();
    assert_eq!((&account["id"], &account["role"]), (&json!(alice.id), &json!("user")));
    alice.post("chatGetmessageOffLine", json!({})).await.refused(400, BAD_TOKEN);
    let again = server.guest_on(&guest.device_id).await;
    assert_eq!((again.id, &again.token), (guest.id, &guest.token));
}

#[tokio::test]
async fn a_device_never_opens_the_registered_account_that_an_import_linked_to_it() {
    let server = TestServer::start().await;
    for path in [ARRIVE, REGISTER] {
        let alice = server.user("alice").await;
        let device = device_id();
        server.sql("UPDATE users SET device_id = ? WHERE id = ?", &[device.clone().into(), alice.id.into()]).await;
        let more = json!({ "username": unique("bob"), "password": PASSWORD });
        let account = server.signed(path, &device, more).await.ok();
        assert_ne!(account["id"], alice.id);
        assert_eq!(alice.login().await.account["devicefingeruuid"], "");
    }
}

#[tokio::test]
async fn a_disabled_guest_does_not_become_an_account() {
    let server = TestServer::start().await;
    for status in [0, 2] {
        let (guest, name) = (server.guest().await, unique("alice"));
        server.sql("UPDATE users SET status = ? WHERE id = ?", &[status.into(), guest.id.into()]).await;
        register(&server, &guest.device_id, &name).await.refused(400, NO_ACCOUNT);
        // The name is still free.
        register(&server, &device_id(), &name).await.ok();
    }
}
