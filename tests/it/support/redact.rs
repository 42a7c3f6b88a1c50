//! Golden JSON: what differs from run to run becomes a placeholder. Times stay, because the clock is the test's.

use serde_json::{Map, Value};

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
            Value::Object(map) => {
                name_groups(map);
                map.iter_mut().for_each(|(key, value)| self.redact(key, value));
            }
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
        let names = self.names.lock().unwrap();
        let mut text = without_group_ids(text, &names);
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

/// Groups and their rows: their ids may equal somebody's.
fn name_groups(map: &mut Map<String, Value>) {
    if map.contains_key("invite_confirm") && map.contains_key("remark") {
        map.insert("id".to_owned(), "[group]".into());
    }
    if map.get("chatType").is_some_and(|kind| kind == "group") {
        map.insert("to_id".to_owned(), "[group]".into());
    }
    if map.contains_key("group_id") {
        map.get_mut("id").into_iter().for_each(|id| *id = "[row]".into());
        map.insert("group_id".to_owned(), "[group]".into());
    }
    map.get_mut("groupId").into_iter().for_each(|id| *id = "[group]".into());
}

/// The group's and the applicant's ids in the keys and the page of a request to join.
fn without_group_ids(text: &str, names: &[(Value, String)]) -> String {
    let mut parts = text.split("redirect-applyAddGroup");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut ids = part.splitn(3, '-');
        let (_, applicant, rest) = (ids.next(), ids.next().unwrap_or_default(), ids.next().unwrap_or_default());
        let name = names
            .iter()
            .find(|(id, _)| id.as_i64().is_some() && id.as_i64() == applicant.parse().ok())
            .map_or("[id]", |(_, name)| name);
        out.extend(["redirect-applyAddGroup[group]-", name, "-", rest]);
    }
    if let Some((head, tail)) = out.split_once("&id=").filter(|_| out.contains("action=applyAddGroup")) {
        let tail = tail.trim_start_matches(|c: char| c.is_ascii_digit());
        out = format!("{head}&id=[group]{tail}");
    }
    out
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
