//! How people of a test become friends.

use serde_json::{Value, json};

use super::{Person, Socket};

impl Person {
    /// Makes the two friends at once, without remarks.
    pub async fn befriend(&self, other: &Person) {
        assert_eq!(self.post("autoAddFriendAndAgree", json!({ "friend_id": other.id })).await.ok(), "ok");
    }

    /// Asks to be friends.
    pub async fn apply_to(&self, other: &Person) {
        assert_eq!(self.post("applyfriend", json!({ "friend_id": other.id })).await.ok(), "ok");
    }

    /// The id of what `applicant` asks of this person.
    pub async fn application_of(&self, applicant: &Person) -> i64 {
        self.post(&format!("isApplyfriend/{}", applicant.uuid), json!({})).await.ok()["id"].as_i64().unwrap()
    }

    /// Answers the application of `applicant`.
    pub async fn answer(&self, applicant: &Person, status: &str, remark: &str) {
        let path = format!("handleapply/{}", self.application_of(applicant).await);
        assert_eq!(self.post(&path, json!({ "status": status, "nickname": remark })).await.ok(), "ok");
    }

    /// How many who ask this person have no answer; the list tells as many as it shows.
    pub async fn waiting(&self) -> usize {
        let listed = self.get("listapplyfriend/1?limit=1000").await.ok();
        let rows = listed["alldata"].as_array().unwrap().iter();
        let waiting = rows.filter(|row| row["status"] == "pending").count();
        assert_eq!(listed["pendingCount"], waiting, "the rows and their count agree");
        waiting
    }

    /// Lets `applicant` ask, and agrees under a remark.
    pub async fn accept(&self, applicant: &Person, remark: &str) {
        applicant.apply_to(self).await;
        self.answer(applicant, "agree", remark).await;
    }

    /// Turns this person's blacklist mark on `other` around.
    pub async fn turn_block(&self, other: &Person) {
        assert_eq!(self.post(&format!("setblackgoodfriend/{}", other.id), json!({})).await.ok(), "ok");
    }

    /// Friends of this person as the list shows them, without their titles.
    pub async fn friends(&self) -> Vec<Value> {
        let rows = self.get("goodfriendlist/1").await.ok()["rows"].take();
        let sections = rows["newList"].as_array().cloned().unwrap_or_default();
        sections.into_iter().flat_map(|mut section| section["list"].as_array_mut().unwrap().split_off(0)).collect()
    }
}

/// Whether each is in the other's list; a half-made friendship, or one made twice, fails the test.
pub async fn are_friends(one: &Person, other: &Person) -> bool {
    let has = async |me: &Person, friend: &Person| {
        let rows = me.friends().await.into_iter().filter(|row| row["friend_id"] == friend.id).count();
        assert!(rows <= 1, "one row a pair");
        rows == 1
    };
    let (mine, theirs) = (has(one, other).await, has(other, one).await);
    assert_eq!(mine, theirs, "a friendship has both sides");
    mine
}

/// What both sockets get when the two become friends: for the other, for me; one id.
pub async fn welcomes(mine: &mut Socket, theirs: &mut Socket) -> (Value, Value) {
    let (to_other, to_me) = (theirs.next_message().await, mine.next_message().await);
    assert_eq!(to_other["id"], to_me["id"]);
    (to_other, to_me)
}
