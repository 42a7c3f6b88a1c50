//! Golden JSON: what differs from run to run becomes a placeholder. Times stay, because the clock is the test's.

use serde_json::Value;

use super::{Door, Person};

impl Door {
    pub(super) fn remember(&self, person: &Person) {
        let mut names = self.names.lock().unwrap();
        let name = &person.name;
        names.push((person.id.into(), format!("[{name}.id]")));
        names.push((person.uuid.clone().into(), format!("[{name}.uuid]")));
        names.push((person.username.clone().into(), name.clone()));
    }

    /// `value` with `[alice.id]`, `[alice.uuid]` and `alice` for what belongs to people of the test, and `[id]`, `[uuid]`,
    /// `[token]` for the rest that is random.
    pub fn redacted(&self, value: &Value) -> Value {
        let mut value = value.clone();
        self.redact("", &mut value);
        value
    }

    fn redact(&self, key: &str, value: &mut Value) {
        match value {
            Value::Object(map) => map.iter_mut().for_each(|(key, value)| self.redact(key, value)),
            Value::Array(list) => list.iter_mut().for_each(|value| self.redact(key, value)),
            Value::Number(number) if is_id_key(key) => {
                let number = Value::Number(number.clone());
                *value = self.placeholder(&number).unwrap_or_else(|| "[id]".to_owned()).into();
            }
            Value::String(text) => *text = self.redacted_text(text),
            _ => {}
        }
    }

    fn placeholder(&self, known: &Value) -> Option<String> {
        self.names.lock().unwrap().iter().find(|(value, _)| value == known).map(|(_, name)| name.clone())
    }

    fn redacted_text(&self, text: &str) -> String {
        if text.len() > 100 && text.starts_with("eyJ") && text.matches('.').count() == 2 {
            return "[token]".to_owned();
        }
        let mut text = text.to_owned();
        let names = self.names.lock().unwrap();
        for (value, name) in names.iter() {
            if let Value::String(value) = value {
                text = text.replace(value.as_str(), name);
            }
        }
        // Ids inside texts: at the end of a card's key and in the query of a page.
        for (value, name) in names.iter() {
            let Value::Number(id) = value else { continue };
            if text.starts_with("redirect-") && text.ends_with(&format!("-{id}")) {
                text.truncate(text.len() - id.to_string().len());
                text.push_str(name);
            }
            text = text.replace(&format!("id={id}&"), &format!("id={name}&"));
        }
        without_uuids(&text)
    }
}

/// Whether numbers under this key are ids of rows.
fn is_id_key(key: &str) -> bool {
    matches!(key, "id" | "userId" | "userIds" | "group_id" | "order_id") || key.ends_with("_id")
}

fn without_uuids(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if rest.get(..36).is_some_and(|head| uuid::Uuid::try_parse(head).is_ok()) {
            out.push_str("[uuid]");
            rest = &rest[36..];
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}
