//! Messages that wait in the old backend's Redis for absent people: a list each, oldest first (contract: messaging §3).

use std::collections::BTreeSet;
use std::time::Duration;

use redis::{Client, Connection, RedisError, RedisResult, cmd};
use serde_json::{Map, Value};

use crate::db::sql::ROWS_MAX;
use crate::error::{AppError, Result};
use crate::http::json;

/// What the names of the lists begin with; the id of the person follows.
const PREFIX: &str = "chat_getmessage_";
/// How long Redis may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Messages that are read together: one of a group names all of its members.
const PAGE_MAX: isize = 100;

/// Bytes of the messages in one statement (one message at least): MySQL bounds its packets.
const STATEMENT_BYTES_MAX: usize = 1024 * 1024;

/// The lists.
pub struct Lists {
    client: Client,
    /// Made when the first page is read: hours may lie between.
    connection: Option<Connection>,
    /// Whose lists there are.
    pub people: BTreeSet<i64>,
}

/// A message that waits.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// For whom.
    pub recipient: i64,
    /// By whom; 0 if it does not say.
    pub sender: i64,
    /// Epoch milliseconds; 0 if it does not say.
    pub created_at: i64,
    /// What is pushed, a JSON object.
    pub body: String,
}

/// How many of the messages one statement takes: all of them, or as many as have [`STATEMENT_BYTES_MAX`].
pub fn fitting(messages: &[&Message]) -> usize {
    let mut bytes = 0;
    let fits = messages.iter().take(ROWS_MAX).take_while(|message| {
        bytes += message.body.len();
        bytes <= STATEMENT_BYTES_MAX
    });
    fits.count().max(1).min(messages.len())
}

impl Lists {
    /// Those of the Redis at `url`, `redis://:password@host:6379/0`.
    pub fn open(url: &str) -> Result<Self> {
        let opened = || {
            let client = Client::open(url)?;
            let mut names = cmd("SCAN");
            let names = names.cursor_arg(0).arg("MATCH").arg(format!("{PREFIX}*")).clone();
            let names = names.iter::<String>(&mut connect(&client)?)?.collect::<Result<Vec<_>, _>>()?;
            let people = names.iter().filter_map(|name| name.strip_prefix(PREFIX)?.parse().ok()).collect();
            Ok(Self { client, connection: None, people })
        };
        opened().map_err(told)
    }

    /// A page of what waits for somebody, from the message with this number on; empty at the end. Items that are no messages are `None`.
    pub fn page(&mut self, person: i64, first: isize) -> Result<Vec<Option<Message>>> {
        let mut range = cmd("LRANGE");
        range.arg(format!("{PREFIX}{person}")).arg(first).arg(first + PAGE_MAX - 1);
        let mut asked = || {
            let connection = match &mut self.connection {
                Some(connection) => connection,
                none => none.insert(connect(&self.client)?),
            };
            range.query::<Vec<Vec<u8>>>(connection)
        };
        Ok(asked().map_err(told)?.iter().map(|item| message(person, item)).collect())
    }
}

fn connect(client: &Client) -> RedisResult<Connection> {
    let connection = client.get_connection_with_timeout(PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    Ok(connection)
}

fn message(recipient: i64, item: &[u8]) -> Option<Message> {
    let mut object: Map<String, Value> = json::parse(item).ok()?;
    let number = |name: &str| match object.get(name) {
        Some(Value::String(text)) => text.parse().unwrap_or(0),
        other => other.and_then(Value::as_i64).unwrap_or(0),
    };
    let (sender, created_at) = (number("from_id"), number("create_time"));
    // What is pushed does not grow with its group (decision 7).
    if let Some(Value::Object(group)) = object.get_mut("group") {
        group.remove("group_users");
    }
    Some(Message { recipient, sender, created_at, body: Value::Object(object).to_string() })
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
fn told(cause: RedisError) -> AppError {
    AppError::internal(format!("the old backend's Redis (--redis, OLD_REDIS_URL): {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_keeps_all_but_the_members_of_its_group() {
        let item = r#"{"id":"x","from_id":"7","create_time":1752378365000,"group":{"id":3,"group_users":[{"id":1}]},"data":"{\"a\":1}"}"#;
        let read = message(9, item.as_bytes()).unwrap();
        assert_eq!((read.recipient, read.sender, read.created_at), (9, 7, 1_752_378_365_000));
        let body: Value = serde_json::from_str(&read.body).unwrap();
        assert_eq!(body["group"], serde_json::json!({ "id": 3 }));
        assert_eq!((&body["id"], &body["data"]), (&"x".into(), &"{\"a\":1}".into()));
    }

    #[test]
    fn a_statement_takes_what_fits_and_one_message_at_least() {
        let of = |bytes: usize| Message { recipient: 1, sender: 1, created_at: 0, body: "x".repeat(bytes) };
        let (long, half, short) = (of(2 * STATEMENT_BYTES_MAX), of(STATEMENT_BYTES_MAX / 2), of(1));
        assert_eq!(fitting(&[]), 0);
        assert_eq!(fitting(&[&long, &short]), 1);
        assert_eq!(fitting(&[&half, &half, &short]), 2);
        assert_eq!(fitting(&vec![&short; ROWS_MAX + 1]), ROWS_MAX);
    }

    #[test]
    fn half_of_an_emoji_is_no_reason_to_lose_a_message() {
        assert!(message(9, br#"{"from_name":"a\ud83d"}"#).unwrap().body.contains('\u{fffd}'));
    }

    #[test]
    fn what_is_no_object_is_no_message() {
        for item in ["", "[]", "\"x\"", "{"] {
            assert_eq!(message(9, item.as_bytes()), None, "{item}");
        }
        assert_eq!(message(9, b"{}").unwrap().sender, 0);
    }
}
