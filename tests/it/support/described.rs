//! Every reply and every frame that a test receives is compared with the descriptions: what they do not say fails the test
//! that saw it.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use jsonschema::Validator;
use qingniao::docs::{asyncapi, openapi};
use serde_json::{Map, Value, json};

static OPENAPI: LazyLock<Value> = LazyLock::new(openapi::document);
static ASYNCAPI: LazyLock<Value> = LazyLock::new(asyncapi::document);

/// A reply as far as descriptions speak of it.
pub struct Seen<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub status: u16,
    pub media: &'a str,
    pub body: &'a [u8],
}

/// Panics if the reply is one that the description of its route does not name.
#[track_caller]
pub fn check_reply(seen: &Seen<'_>) {
    let Some((template, operation)) = operation(seen.method, seen.path) else { return };
    let what = || format!("{} {} ({template}) answered {}", seen.method, seen.path, seen.status);
    let response = &operation["responses"][seen.status.to_string()];
    assert!(response.is_object(), "{}, which is not described", what());
    let response = resolved(&OPENAPI, response);
    let Some(contents) = response["content"].as_object() else {
        assert!(seen.body.is_empty(), "{} with a body, which is not described", what());
        return;
    };
    let media = seen.media.split(';').next().unwrap_or_default().trim();
    let content = contents.get(media).or_else(|| contents.get("*/*"));
    let content = content.unwrap_or_else(|| panic!("{} as {media:?}, which is not described", what()));
    if media != "application/json" || !contents.contains_key(media) {
        return;
    }
    let body: Value =
        serde_json::from_slice(seen.body).unwrap_or_else(|_| panic!("{} with a body that is no JSON", what()));
    let validator = validator(format!("{} {template} {}", seen.method, seen.status), || {
        if seen.status < 400 { closed(&OPENAPI, &content["schema"]) } else { failure(response, content) }
    });
    if let Some(error) = validator.iter_errors(&body).next() {
        panic!("{} with what is not described: {error} (at {}): {body}", what(), error.instance_path());
    }
}

/// Panics if a frame of `/ws` is one that the description does not name.
#[track_caller]
pub fn check_frame(frame: &Value) {
    let validator = validator("frame".to_owned(), || {
        let sent = &ASYNCAPI["channels"]["ws"]["messages"];
        let from_server = ASYNCAPI["operations"].as_object().unwrap().values().filter(|one| one["action"] == "send");
        let named = from_server.flat_map(|one| one["messages"].as_array().unwrap());
        let payloads = named.map(|reference| {
            let name = reference["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
            closed(&ASYNCAPI, &resolved(&ASYNCAPI, &sent[name])["payload"])
        });
        json!({ "anyOf": payloads.collect::<Vec<_>>() })
    });
    assert!(validator.is_valid(frame), "a frame came that is not described: {frame}");
}

/// The described operation that serves a path, with its template.
fn operation<'a>(method: &str, path: &str) -> Option<(&'a str, &'a Value)> {
    let paths = OPENAPI["paths"].as_object().unwrap();
    let found = paths.iter().find(|(template, _)| fits(template, path))?;
    found.1.get(method.to_lowercase()).map(|operation| (found.0.as_str(), operation))
}

fn fits(template: &str, path: &str) -> bool {
    if let Some(folder) = template.strip_suffix("{path}") {
        return path.strip_prefix(folder).is_some_and(|rest| !rest.is_empty());
    }
    let (mut wanted, mut got) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), got.next()) {
            (None, None) => return true,
            (Some(wanted), Some(got)) if wanted == got || (wanted.starts_with('{') && !got.is_empty()) => {}
            _ => return false,
        }
    }
}

/// Made once for each key: compiling costs more than validating.
fn validator(key: String, schema: impl FnOnce() -> Value) -> Arc<Validator> {
    static MADE: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    if let Some(known) = MADE.lock().unwrap().get(&key) {
        return known.clone();
    }
    let schema = schema();
    let made = Arc::new(jsonschema::validator_for(&schema).unwrap_or_else(|cause| panic!("{key}: {cause}: {schema}")));
    MADE.lock().unwrap().insert(key, made.clone());
    made
}

/// The envelope of a failure with one of the texts that are named.
fn failure(response: &Value, content: &Value) -> Value {
    let examples = content["examples"].as_object().unwrap().values();
    let texts: Vec<&Value> = examples.map(|example| &example["value"]["data"]).collect();
    let mut kinds = vec![json!({ "enum": texts })];
    for pattern in response[openapi::PATTERNS].as_array().into_iter().flatten() {
        kinds.push(json!({ "type": "string", "pattern": pattern }));
    }
    let envelope = closed(&OPENAPI, &content["schema"]);
    json!({ "allOf": [envelope, { "properties": { "data": { "anyOf": kinds } } }] })
}

fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => {
            let found = document.pointer(reference.trim_start_matches('#'));
            resolved(document, found.unwrap_or_else(|| panic!("{reference} leads nowhere")))
        }
        None => value,
    }
}

/// A schema without references that allows no property which it does not name.
pub fn closed(document: &Value, schema: &Value) -> Value {
    shut(document, schema, true)
}

fn shut(document: &Value, schema: &Value, outermost: bool) -> Value {
    let Some(schema) = resolved(document, schema).as_object() else { return resolved(document, schema).clone() };
    let mut out = Map::new();
    for (key, value) in schema {
        let inner = |value: &Value, outermost| shut(document, value, outermost);
        let value = match (key.as_str(), value) {
            ("example" | "examples" | "description" | "default", _) => continue,
            ("properties", Value::Object(properties)) => {
                properties.iter().map(|(name, value)| (name.clone(), inner(value, true))).collect()
            }
            ("items", value) => inner(value, true),
            ("oneOf" | "anyOf", Value::Array(list)) => list.iter().map(|one| inner(one, true)).collect(),
            ("allOf", Value::Array(list)) => list.iter().map(|one| inner(one, false)).collect(),
            (_, value) => value.clone(),
        };
        out.insert(key.clone(), value);
    }
    let names_properties = out.contains_key("properties") || out.contains_key("allOf");
    if outermost && names_properties && !out.contains_key("additionalProperties") {
        out.insert("unevaluatedProperties".to_owned(), false.into());
    }
    Value::Object(out)
}
