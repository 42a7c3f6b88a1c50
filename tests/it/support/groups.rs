//! Groups, made as clients make them.

use serde_json::{Value, json};

use super::{Event, PATIENCE, Person, Reply, Socket, text_of};

impl Person {
    /// The row of `other` in this person's friend list, made if need be: what `group/create` takes.
    pub async fn friend_row(&self, other: &Person) -> i64 {
        for befriended in [false, true] {
            if befriended {
                self.befriend(other).await;
            }
            let friends = self.friends().await;
            if let Some(row) = friends.iter().find(|row| row["friend_id"] == other.id) {
                return row["id"].as_i64().unwrap();
            }
        }
        panic!("the two are friends now");
    }

    /// Makes a group with friends and returns its id. What all this told people is pending.
    pub async fn group(&self, others: &[&Person]) -> i64 {
        let mut rows = Vec::new();
        for other in others {
            rows.push(self.friend_row(other).await);
        }
        assert_eq!(self.post("group/create", json!({ "userIds": rows })).await.ok(), "ok");
        self.newest_group().await
    }

    pub async fn newest_group(&self) -> i64 {
        self.get("grouplist/1?limit=1").await.ok()[0]["id"].as_i64().expect("a group")
    }

    /// A socket that has asked, with all that was pending read away.
    pub async fn listen(&self) -> Socket {
        let mut socket = self.asking_socket().await;
        socket.catch_up().await;
        socket
    }

    /// Says who may join a group of this person's.
    pub async fn set_join_rule(&self, group: i64, rule: i64) {
        let reply = self.post("groupAddUserSet", json!({ "group_id": group, "addGroupSet": rule })).await;
        assert_eq!(reply.ok(), "设置成功");
    }

    /// Asks to come into a group by oneself, as by its QR code.
    pub async fn join(&self, group: i64) -> Reply {
        self.post("groupInviteUser", json!({ "group_id": group, "user_id": self.id, "inviteuser_id": -1 })).await
    }

    pub async fn invite(&self, group: i64, other: &Person) -> Reply {
        self.post("groupInviteUser", json!({ "group_id": group, "user_id": other.id, "inviteuser_id": self.id })).await
    }

    /// Lets somebody in who waits (`agree`), or not (`no`).
    pub async fn decide(&self, group: i64, other: &Person, kind: &str) -> Reply {
        self.post("groupAgreeOrNo", json!({ "group_id": group, "user_id": other.id, "type": kind })).await
    }

    pub async fn remove(&self, group: i64, other: &Person) -> Reply {
        self.post("groupDeleteUser", json!({ "group_id": group, "user_id": other.id })).await
    }

    /// Quits a group, or ends it if it is the own.
    pub async fn leave(&self, group: i64) -> Reply {
        self.post("groupDeleteOrQuit", json!({ "id": group })).await
    }

    pub async fn rename(&self, group: i64, name: &str) -> Reply {
        self.post("groupUpdateName", json!({ "id": group, "name": name })).await
    }

    /// The group as `groupinfo` shows it.
    pub async fn group_info(&self, group: i64) -> Value {
        self.get(&format!("groupinfo/{group}")).await.ok()
    }

    /// User ids of the active members, in order.
    pub async fn members(&self, group: i64) -> Vec<i64> {
        let info = self.group_info(group).await;
        info["group_users"].as_array().unwrap().iter().map(|member| member["user_id"].as_i64().unwrap()).collect()
    }

    /// Takes back a message that came to this person, or the reply to one that this person sent.
    pub async fn revoke(&self, message: &Value) -> Reply {
        self.post("revokeMessage", message.clone()).await
    }
}

impl Socket {
    /// Reads until nothing that was posted before is missing: somebody else makes a mark that comes after all of it.
    pub async fn catch_up(&mut self) -> Vec<Value> {
        let owner = self.owner.clone().expect("the socket was opened by a person");
        let marker = owner.door.user("marker").await;
        marker.say(&owner, "mark").await.ok();
        let mut before = Vec::new();
        loop {
            let message = self.next_message().await;
            if message["from_id"] == marker.id {
                return before;
            }
            // An older mark may come again, if it was not confirmed when its socket ended.
            if !message["from_name"].as_str().unwrap().starts_with("marker_") {
                before.push(message);
            }
        }
    }

    /// Goes away when it is proved that all that was read has arrived: with the ping that follows.
    pub async fn go(mut self) {
        while self.event_within(PATIENCE).await.expect("a ping follows what was pushed") != Event::Ping {}
        self.close().await;
    }

    /// The texts of all that came until now.
    pub async fn texts(&mut self) -> Vec<String> {
        self.catch_up().await.iter().map(text_of).collect()
    }
}

/// The picture of everyone who has not set one.
pub const PICTURE: &str = "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/user.jpg";
/// The picture of the system's own notices.
pub const SYSTEM_PICTURE: &str = "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/group.png";

/// A group of alice's as redacted frames carry it, made when the test began.
pub fn golden_card(name: &str, pictures: usize) -> Value {
    json!({
        "create_time": "2025-09-04 23:33:20",
        "id": "[group]",
        "uuid": "[uuid]",
        "user_id": "[alice.id]",
        "name": name,
        "avatar": vec![PICTURE; pictures].join(","),
        "remark": "",
        "invite_confirm": 0,
        "status": 1,
        "order": 50,
        "update_time": "2025-09-04T15:33:20.000Z",
    })
}

/// A redacted notice of somebody to a group of alice's, posted when the test began.
pub fn golden_notice(from: &str, card: &Value, text: &str) -> Value {
    json!({
        "id": "[uuid]",
        "from_avatar": PICTURE,
        "from_name": from,
        "from_id": format!("[{from}.id]"),
        "to_id": "[group]",
        "to_name": card["name"],
        "to_avatar": card["avatar"],
        "chatType": "group",
        "type": "systemNotice",
        "data": { "data": text, "dataType": false, "otherData": null },
        "options": {},
        "create_time": super::NOW_MS,
        "isremove": 0,
        "group": card,
    })
}
