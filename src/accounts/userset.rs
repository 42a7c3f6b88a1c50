//! A person's chat settings (contract: people §3 "userset JSON"): the text as the client sent it, and what it says of strangers.

use std::collections::HashMap;

use serde_json::value::RawValue;

/// Read once when the row is loaded, since every message to the person asks what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Userset {
    text: String,
    from_users: SendCount,
    from_visitors: SendCount,
}

/// How many messages somebody takes from those who are not friends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendCount {
    /// They have to be friends first.
    None,
    /// Until they are friends.
    One,
    /// No limit.
    Any,
}

impl Userset {
    /// JSON text, or whatever else was stored.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What strangers may send: guests if `visitors`, else registered users.
    pub const fn send_count(&self, visitors: bool) -> SendCount {
        if visitors { self.from_visitors } else { self.from_users }
    }
}

impl From<String> for Userset {
    fn from(text: String) -> Self {
        let settings = object(&text);
        let sides = settings.get("chatset").map(|sides| object(sides.get())).unwrap_or_default();
        let of = |side| send_count(sides.get(side).copied());
        Self { from_users: of("user"), from_visitors: of("visitor"), text }
    }
}

/// What an object says, of a name that comes twice the last; nothing, if it is none. What is of no concern stays text: it is read for
/// whoever is looked at, and may be long.
fn object(json: &str) -> HashMap<String, &RawValue> {
    serde_json::from_str(json).unwrap_or_default()
}

/// Empty, malformed, or without the side asked for: one message (decision 20). The first clients wrote bare numbers instead of
/// objects (`{"chatset":{"visitor":0,"user":0}}`): there the old server saw no count, which is no limit.
fn send_count(side: Option<&RawValue>) -> SendCount {
    let Some(side) = side.map(RawValue::get).filter(|side| *side != "null") else { return SendCount::One };
    match object(side).get("sendCount").and_then(|count| count.get().parse::<f64>().ok()) {
        Some(0.0) => SendCount::None,
        Some(1.0) => SendCount::One,
        _ => SendCount::Any,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_every_age_are_read() {
        for (text, count) in [
            ("", SendCount::One),
            ("{", SendCount::One),
            ("7", SendCount::One),
            (r#"{"chatset":{}}"#, SendCount::One),
            (r#"{"chatset":{"visitor":{"sendCount":0}}}"#, SendCount::One),
            (r#"{"chatset":{"user":{"sendCount":0}}}"#, SendCount::None),
            (r#"{"chatset":{"user":{"sendCount":1}}}"#, SendCount::One),
            (r#"{"chatset":{"user":{"sendCount":2}}}"#, SendCount::Any),
            (r#"{"chatset":{"user":{"sendCount":"0"}}}"#, SendCount::Any),
            (r#"{"chatset":{"user":0}}"#, SendCount::Any),
            (r#"{"chatset":{"user":{}}}"#, SendCount::Any),
            (r#"{"chatset":{"user":[1]}}"#, SendCount::Any),
            (r#"{"chatset":{"user":{"sendCount":1.0}}}"#, SendCount::One),
            (r#"{"chatset":[{"sendCount":0}]}"#, SendCount::One),
            (r#"[{"user":{"sendCount":0}}]"#, SendCount::One),
            (r#"{"chatset":{"user":null}}"#, SendCount::One),
            (r#"{"chatset":{"user":{"sendCount":2,"sendCount":0}}}"#, SendCount::None),
            (r#"{"chatset":{},"chatset":{"user":{"sendCount":2}}}"#, SendCount::Any),
            (r#" {"more":[[]],"chatset": {"more":7, "user": {"more":{}, "sendCount": 0}}}"#, SendCount::None),
        ] {
            let userset = Userset::from(text.to_owned());
            assert_eq!((userset.text(), userset.send_count(false)), (text, count));
        }
        let both = Userset::from(r#"{"chatset":{"visitor":{"sendCount":0},"user":{"sendCount":2}}}"#.to_owned());
        assert_eq!((both.send_count(true), both.send_count(false)), (SendCount::None, SendCount::Any));
    }
}
