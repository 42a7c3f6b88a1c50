//! People: registered users and guests, each with a token.

use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Call, Door, RawSocket, Reply, Socket};

/// Everybody's password.
pub const PASSWORD: &str = "secret01";
/// The salt that shipped clients have.
const SALT: &str = "45ncashdaksh2!#@3nxjdas*_259";

/// Somebody with a live token.
#[derive(Clone)]
pub struct Person {
    pub door: Door,
    /// The short name that the test gave.
    pub name: String,
    pub id: i64,
    pub uuid: String,
    pub username: String,
    pub token: String,
    /// The device of a guest, or "".
    pub device_id: String,
    /// The whole reply by which the token came.
    pub account: Value,
}

impl Door {
    /// Registers somebody under a name that nobody else of the run has.
    pub async fn user(&self, name: &str) -> Person {
        let account = self.post("/api/regChat", json!({ "username": unique(name), "password": PASSWORD })).await.ok();
        self.person(name, account, "")
    }

    /// Two people, for the many tests that need just that.
    pub async fn users(&self, one: &str, other: &str) -> (Person, Person) {
        (self.user(one).await, self.user(other).await)
    }

    /// Two people who may write to each other as often as they like.
    pub async fn friends(&self, one: &str, other: &str) -> (Person, Person) {
        let (one, other) = self.users(one, other).await;
        one.take_from_all().await;
        other.take_from_all().await;
        (one, other)
    }

    /// A new guest on a new device.
    pub async fn guest(&self) -> Person {
        self.guest_on(&device_id()).await
    }

    /// The guest of a device.
    pub async fn guest_on(&self, device_id: &str) -> Person {
        let account = self.signed("/api/visitorRegister", device_id, json!({})).await.ok();
        self.person("guest", account, device_id)
    }

    /// A POST that is signed as the client signs, with further fields.
    pub async fn signed(&self, path: &str, device_id: &str, more: Value) -> Reply {
        let timestamp = self.clock.now_ms();
        let mut body = json!({ "deviceId": device_id, "timestamp": timestamp });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.call(Method::POST, path).header("X-Security-Sign", &sign(device_id, timestamp)).json(&body).send().await
    }

    /// The bearer of the token in a login's reply.
    pub fn person(&self, name: &str, account: Value, device_id: &str) -> Person {
        let text = |key: &str| account[key].as_str().expect("a login replies with it").to_owned();
        let person = Person {
            door: self.clone(),
            name: name.to_owned(),
            id: account["id"].as_i64().expect("a login replies with an id"),
            uuid: text("uuid"),
            username: text("username"),
            token: text("token"),
            device_id: device_id.to_owned(),
            account,
        };
        self.remember(&person);
        person
    }
}

impl Person {
    /// A call with the token in the header.
    pub fn call(&self, method: Method, path: &str) -> Call {
        self.door.call(method, path).token(&self.token)
    }

    /// A POST of JSON; a path that does not begin with `/` is meant to be under `/api/chat/`.
    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.call(Method::POST, path).json(&body).send().await
    }

    /// A GET, by the same rule.
    pub async fn get(&self, path: &str) -> Reply {
        self.call(Method::GET, path).send().await
    }

    /// The same person after another login: this one's token is superseded.
    pub async fn login(&self) -> Person {
        let account =
            self.door.post("/api/loginChat", json!({ "username": self.username, "password": PASSWORD })).await.ok();
        self.door.person(&self.name, account, "")
    }

    /// Changes one field of `updateUserinfo`.
    pub async fn set(&self, field: &str, value: impl Into<Value>) {
        self.post("updateUserinfo", json!({ "fieldname": field, "fieldValue": value.into() })).await.ok();
    }

    /// A socket, after its greeting.
    pub async fn socket(&self) -> Socket {
        let mut socket = Socket::open(self.door.address, Some(&self.token)).await;
        socket.owner = Some(self.clone());
        socket.greeted().await;
        socket
    }

    /// A socket that never answers pings and reads only when the test does, after its welcome.
    pub async fn raw_socket(&self) -> RawSocket {
        let mut socket = RawSocket::open(self.door.address, Some(&self.token)).await;
        socket.owner = Some(self.clone());
        socket.greeted().await;
        socket
    }

    /// A socket that has asked for what is pending, as the client does at once.
    pub async fn asking_socket(&self) -> Socket {
        let socket = self.socket().await;
        socket.ask().await;
        socket
    }

    /// Lets everybody write as often as they like.
    pub async fn take_from_all(&self) {
        let settings = json!({ "chatset": { "visitor": { "sendCount": 2 }, "user": { "sendCount": 2 } } });
        self.post("userset", json!({ "userset": settings.to_string() })).await.ok();
    }

    /// Sends a text to one person as the client does.
    pub async fn say(&self, to: &Person, text: &str) -> Reply {
        self.send("single", to.id, text).await
    }

    /// Sends a text to a group as the client does.
    pub async fn say_in(&self, group: i64, text: &str) -> Reply {
        self.send("group", group, text).await
    }

    async fn send(&self, kind: &str, to: i64, text: &str) -> Reply {
        self.post("socket/sendmessage", letter(kind, to, text)).await
    }
}

/// The body of `socket/sendmessage` as the client makes it, of kind `single` or `group`.
pub fn letter(kind: &str, to: i64, text: &str) -> Value {
    // The client sends the content as JSON text.
    let data = json!({ "data": text, "dataType": false, "otherData": null }).to_string();
    json!({ "sendto_id": to, "chatType": kind, "type": "text", "data": data, "options": "" })
}

/// A username nobody else of the run has, within 20 characters.
pub fn unique(name: &str) -> String {
    let short: String = name.chars().take(11).collect();
    format!("{short}_{:08x}", rand::random::<u32>())
}

/// A new device's id: 36 characters.
pub fn device_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// `X-Security-Sign` as the client computes it (contract: people §2).
pub fn sign(device_id: &str, timestamp: i64) -> String {
    let digest = Sha256::digest(format!("deviceId={device_id}&salt={SALT}&timestamp={timestamp}APP_SECRET"));
    digest.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}
