//! A day on the server that needs every statement of every store, told to the real binary, whose log names each.

use std::collections::BTreeSet;
use std::path::Path;

use qingniao::config::Config;
use qingniao::db::{Conn, Db};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{Door, PASSWORD, Person, Process, command, device_id, eventually, text_of, unique};

/// The server of the story.
struct Stage<'a> {
    door: Door,
    db: &'a Db,
}

/// Tells the story; what the server asked of its store.
pub async fn told(folder: &Path, config: &Config, db: &Db) -> BTreeSet<String> {
    let mut command = command(folder);
    command.env("RUST_LOG", "info,sqlx::query=debug").env("QINGNIAO_LOG_FORMAT", "json");
    command.env("QINGNIAO_ANSWERS_DELAY_MS", "0").env("DATABASE_URL", &config.database_url);
    command.env("QINGNIAO_DATA_DIR", &config.data_dir);
    let mut process = Process::start(&mut command);
    let stage = Stage { door: Door::to(process.address), db };
    stage.guests().await;
    let (alice, bob) = stage.accounts().await;
    stage.friends(&alice, &bob).await;
    stage.answers(&alice, &bob).await;
    stage.groups(&alice, &bob).await;
    stage.pending(&alice).await;
    assert!(process.signal("TERM").success());
    process.log().lines().filter_map(statement).collect()
}

/// The statement that a line of the log tells of.
pub fn statement(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).expect("the log is JSON");
    if line["target"] != "sqlx::query" {
        return None;
    }
    let fields = &line["fields"];
    let whole = [&fields["db.statement"], &fields["summary"]].into_iter().filter_map(Value::as_str);
    whole.map(str::trim).find(|text| !text.is_empty()).map(str::to_owned)
}

impl Stage<'_> {
    /// What no route can arrange.
    async fn arrange(&self, statement: String) {
        let mut tx = self.db.begin().await.unwrap();
        let statement = sqlx::AssertSqlSafe(statement);
        match tx.conn() {
            Conn::MySql(c) => sqlx::raw_sql(statement).execute(c.start()).await.map(drop).unwrap(),
            Conn::Sqlite(c) => sqlx::raw_sql(statement).execute(c).await.map(drop).unwrap(),
        }
        tx.commit().await.unwrap();
    }

    /// A device comes twice, registers, logs in again elsewhere, and is then linked to a registered account as by an import.
    async fn guests(&self) {
        let device = device_id();
        self.door.guest_on(&device).await;
        self.door.guest_on(&device).await;
        let name = json!({ "username": unique("upgraded"), "password": PASSWORD });
        let account = self.door.signed("/api/visitorregChat", &device, name).await.ok();
        self.door.person("upgraded", account.clone(), "").login().await;
        self.arrange(format!("UPDATE users SET device_id = '{device}' WHERE id = {}", account["id"])).await;
        self.door.guest_on(&device).await;
    }

    /// Two people, one with a password of the old backend, settle in.
    async fn accounts(&self) -> (Person, Person) {
        let (alice, bob) = self.door.users("alice", "bob").await;
        let old = Sha256::digest(PASSWORD).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        self.arrange(format!("UPDATE users SET password_hash = '{old}' WHERE id = {}", alice.id)).await;
        let alice = alice.login().await;
        let change = json!({ "oldpassword": PASSWORD, "newpassword": "secret02", "checknewpassword": "secret02" });
        assert_eq!(alice.post("setPassword", change).await.status, 200);
        alice.set("nickname", "Al").await;
        alice.set("avatar", "https://example.com/a.png").await;
        alice.set("invite_confirm", 0).await;
        alice.take_from_all().await;
        bob.take_from_all().await;
        self.door.call(reqwest::Method::GET, &format!("/api/userinfo/{}", bob.uuid)).send().await.ok();
        assert_eq!(alice.post("searchUser", json!({ "keyword": "bob_" })).await.status, 200);
        (alice, bob)
    }

    async fn friends(&self, alice: &Person, bob: &Person) {
        let carol = self.door.user("carol").await;
        carol.apply_to(bob).await;
        bob.get("listapplyfriend/1").await.ok();
        bob.answer(&carol, "agree", "").await;
        assert_eq!(carol.post("applyfriend", json!({ "friend_id": bob.id })).await.status, 400, "they are friends");
        alice.befriend(bob).await;
        alice.friends().await;
        for path in ["setblackgoodfriend", "setblackgoodfriend", "setstargoodfriend", "ismygoodfriend"] {
            assert_eq!(alice.post(&format!("{path}/{}", bob.id), json!({})).await.status, 200, "{path}");
        }
        let seen = json!({ "friendlookme": 1, "melookfriend": 1 });
        alice.post(&format!("setmeOrfriendCanSee/{}", bob.id), seen).await.ok();
        bob.post(&format!("deletegoodfriend/{}", carol.id), json!({})).await.ok();
    }

    /// Bob has an answer to alice's question.
    async fn answers(&self, alice: &Person, bob: &Person) {
        let entry = json!({ "type": "kind", "ask": "opening hours?", "answer": "always" });
        let made = bob.post("askanswer/create", entry).await.json();
        let id = made["data"]["id"].as_i64().expect("an entry has an id");
        bob.post("askanswer/update", json!({ "id": id, "answer": "nearly always" })).await;
        bob.post("askanswer/detail", json!({ "id": id })).await;
        bob.post("askanswer/list", json!({})).await;
        bob.post("askanswer/list", json!({ "type": "kind" })).await;
        let mut socket = alice.asking_socket().await;
        let options = percent_encoding::utf8_percent_encode("{\"askanswer\":true}", percent_encoding::NON_ALPHANUMERIC);
        let question = json!({ "data": "opening hours?", "dataType": false, "otherData": null });
        let asked = json!({ "sendto_id": bob.id, "chatType": "single", "type": "text", "data": question,
            "options": options.to_string() });
        alice.post("socket/sendmessage", asked).await.ok();
        while text_of(&socket.next_message().await) != "nearly always" {}
        socket.close().await;
        assert_eq!(bob.post("askanswer/delete", json!({ "id": id })).await.status, 200);
    }

    async fn groups(&self, alice: &Person, bob: &Person) {
        let (dora, eve) = self.door.users("dora", "eve").await;
        let group = alice.group(&[bob]).await;
        alice.get(&format!("groupinfo/{group}")).await.ok();
        alice.rename(group, "name").await.ok();
        alice.post("groupremark", json!({ "id": group, "remark": "words" })).await.ok();
        bob.post("groupnickname", json!({ "id": group, "nickname": "b" })).await.ok();
        let sent = alice.say_in(group, "hello").await.ok();
        alice.revoke(&sent).await.ok();
        alice.set_join_rule(group, 1).await;
        dora.join(group).await.ok();
        alice.decide(group, &dora, "agree").await.ok();
        alice.set_join_rule(group, 0).await;
        eve.join(group).await.ok();
        alice.remove(group, &eve).await.ok();
        eve.join(group).await.ok();
        eve.leave(group).await.ok();
        bob.listen().await.close().await;
        alice.leave(group).await.ok();
    }

    /// Something arrives while older messages are still pending.
    async fn pending(&self, alice: &Person) {
        let frank = self.door.user("frank").await;
        let group = alice.group(&[&frank]).await;
        alice.say_in(group, "one").await.ok();
        let unfiled = "messages WHERE id > (SELECT filed_id FROM backlog_progress)";
        eventually("everything is filed", async || self.count(unfiled).await == 0).await;
        let mut socket = frank.socket().await;
        alice.say(&frank, "early").await.ok();
        assert_eq!(text_of(&socket.next_message().await), "early");
        eventually("the early one is remembered", async || self.count("early_receipts").await > 0).await;
        socket.ask().await;
        socket.catch_up().await;
        socket.go().await;
        eventually("the cursor is remembered", async || self.count("inboxes").await > 0).await;
        assert_eq!(alice.post("logout", json!({})).await.status, 200);
    }

    async fn count(&self, table: &str) -> i64 {
        let sql = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
        let mut reader = self.db.read().await.unwrap();
        match reader.conn() {
            Conn::MySql(c) => sqlx::query_scalar(sql).fetch_one(c.start()).await.unwrap(),
            Conn::Sqlite(c) => sqlx::query_scalar(sql).fetch_one(c).await.unwrap(),
        }
    }
}
