//! A Postman collection (v2.1) of every route, which Apipost imports too. Its first folder runs as a story
//! (`docs/story.rs`).

use serde_json::{Map, Value, json};

use super::examples::{self, Example, method};
use super::{sections, story};
use crate::config::Config;
use crate::http::describe::{Body, Caller, JSON, Route};

const FORMAT: &str = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json";
const ABOUT: &str = "\
Set the variable `baseUrl`. Whoever registers or logs in here is who makes the other requests: the reply's token becomes the variable \
`token`. Ids in paths and bodies are examples. Signed requests sign themselves before they are sent, with the variables `salt` and \
`deviceId`. The path of what was uploaded last becomes the variable `file`, which `GET /public/:path` reads. The first folder \
runs as a story: every step sets what the next one needs.";

/// Signs a request as clients do (contract: people §2).
const SIGN: &str = "\
const crypto = typeof require === 'function' ? require('crypto-js') : CryptoJS;
const variables = pm.collectionVariables;
if (!variables.get('deviceId')) { variables.set('deviceId', pm.variables.replaceIn('{{$guid}}')); }
const timestamp = String(Date.now());
const signed = 'deviceId=' + variables.get('deviceId') + '&salt=' + variables.get('salt') + '&timestamp=' + timestamp;
variables.set('timestamp', timestamp);
variables.set('sign', crypto.SHA256(signed + 'APP_SECRET').toString());";

/// Keeps the token of a reply for the other requests.
const KEEP: &str = "\
const reply = pm.response.json();
if (reply.data && reply.data.token) { pm.collectionVariables.set('token', reply.data.token); }";

/// Keeps the path of a file that a reply names, for the request that reads it.
const KEEP_FILE: &str = "\
const reply = pm.response.json();
if (reply.data && reply.data.url) { pm.collectionVariables.set('file', reply.data.url.replace('/public/', '')); }";

/// The collection as JSON.
pub fn collection() -> Value {
    let mut folders = vec![json!({ "name": story::NAME, "description": story::ABOUT, "item": story::steps() })];
    for section in sections() {
        let items: Vec<Value> = section.routes.iter().map(item).collect();
        folders.push(json!({ "name": section.name, "description": section.about, "item": items }));
    }
    let variable = |key: &str, value: &str| json!({ "key": key, "value": value });
    let token = [variable("key", "token"), variable("value", "{{token}}"), variable("in", "header")];
    json!({
        "info": { "name": "Qingniao 青鸟", "description": ABOUT, "schema": FORMAT },
        "auth": { "type": "apikey", "apikey": token },
        "variable": [
            variable("baseUrl", "http://127.0.0.1:7001"),
            variable("token", ""),
            variable("salt", &Config::defaults().sign_salt),
            variable("deviceId", ""),
        ],
        "item": folders,
    })
}

/// A route with its example as request and as saved reply.
fn item(route: &Route) -> Value {
    let fallback = Example::default();
    let example = examples::of(route).unwrap_or(&fallback);
    let mut path = example.path.clone();
    if let Some(file) = path.get_mut("path") {
        // No server has the example's: part of its name is random.
        *file = "{{file}}".into();
    }
    let call = Call {
        name: route.title,
        path: &path,
        query: &example.query,
        body: body(route, &example.body),
        token: (route.caller != Caller::Anyone).then_some("{{token}}"),
    };
    let mut item = request(route, &call);
    item["request"]["description"] = description(route).into();
    if let Some(reply) = &example.reply {
        if reply["data"]["token"].is_string() {
            add(&mut item, "test", KEEP);
        }
        if reply["data"]["url"].is_string() {
            add(&mut item, "test", KEEP_FILE);
        }
        let shown = serde_json::to_string_pretty(reply).unwrap_or_default();
        let header = json!([{ "key": "Content-Type", "value": "application/json; charset=utf-8" }]);
        item["response"] = json!([{
            "name": "成功 (success)", "originalRequest": item["request"], "status": "OK", "code": 200,
            "_postman_previewlanguage": "json", "header": header, "body": shown,
        }]);
    }
    item
}

fn description(route: &Route) -> String {
    let mut notes: Vec<String> = route.notes.iter().map(|note| (*note).to_owned()).collect();
    if let Body::File(field) = route.body {
        notes.push(format!(
            "The body is a small text file, written out. For a file of yours set the body to form-data, choose the file in \
             a field `{field}`, and take out the header `Content-Type`."
        ));
    }
    notes.join("\n\n")
}

fn body(route: &Route, fields: &Map<String, Value>) -> Value {
    match route.body {
        Body::None => Value::Null,
        Body::File(field) => file(field),
        Body::Fields => {
            let mut fields = fields.clone();
            for name in ["deviceId", "timestamp"] {
                if let Some(value) = fields.get_mut(name) {
                    *value = format!("{{{{{name}}}}}").into();
                }
            }
            raw(&Value::Object(fields))
        }
    }
}

/// A JSON body.
pub fn raw(fields: &Value) -> Value {
    let text = serde_json::to_string_pretty(fields).unwrap_or_default();
    json!({ "mode": "raw", "raw": text, "options": { "raw": { "language": "json" } } })
}

/// A form with a small text file, written out: a collection brings no file along, and whoever runs it need not have one.
pub fn file(field: &str) -> Value {
    let form = format!(
        "--cut\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"hello.txt\"\r\n\
         Content-Type: text/plain\r\n\r\nhello\r\n--cut--\r\n"
    );
    json!({ "mode": "raw", "raw": form, "type": "multipart/form-data; boundary=cut" })
}

/// A request in the making.
#[derive(Debug)]
pub struct Call<'a> {
    /// Shown.
    pub name: &'a str,
    /// Parameters of the path.
    pub path: &'a Map<String, Value>,
    /// Parameters of the query.
    pub query: &'a Map<String, Value>,
    /// In Postman's form, or null.
    pub body: Value,
    /// The variable that holds the token.
    pub token: Option<&'a str>,
}

/// An item that calls the route.
pub fn request(route: &Route, call: &Call<'_>) -> Value {
    let mut headers: Vec<Value> = Vec::new();
    if call.body["mode"] == "raw" {
        let media = call.body["type"].as_str().unwrap_or(JSON);
        headers.push(json!({ "key": "Content-Type", "value": media }));
    }
    let signed = !route.headers.is_empty();
    if signed {
        headers.push(json!({ "key": "X-Security-Sign", "value": "{{sign}}" }));
    }
    let mut request = json!({ "method": method(route), "header": headers, "url": url(route, call) });
    if !call.body.is_null() {
        request["body"] = call.body.clone();
    }
    request["auth"] = match call.token {
        None => json!({ "type": "noauth" }),
        Some(token) => {
            let pair = |key: &str, value: &str| json!({ "key": key, "value": value, "type": "string" });
            json!({ "type": "apikey", "apikey": [pair("key", "token"), pair("value", token), pair("in", "header")] })
        }
    };
    let mut item = json!({ "name": call.name, "request": request });
    if signed {
        add(&mut item, "prerequest", SIGN);
    }
    item
}

/// Adds a script to an item.
pub fn add(item: &mut Value, listen: &str, script: &str) {
    let lines: Vec<&str> = script.lines().collect();
    let event = json!({ "listen": listen, "script": { "type": "text/javascript", "exec": lines } });
    let events = item["event"].take();
    let before = events.as_array().into_iter().flatten().cloned();
    item["event"] = before.chain([event]).collect();
}

fn url(route: &Route, call: &Call<'_>) -> Value {
    let path: Vec<String> = route
        .path
        .split('/')
        .skip(1)
        .map(|part| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(name) => format!(":{}", name.trim_start_matches('*')),
            None => part.to_owned(),
        })
        .collect();
    let pairs = |map: &Map<String, Value>| -> Vec<Value> {
        map.iter().map(|(key, value)| json!({ "key": key, "value": shown(value) })).collect()
    };
    let query: Vec<String> = call.query.iter().map(|(key, value)| format!("{key}={}", shown(value))).collect();
    let mark = if query.is_empty() { "" } else { "?" };
    json!({
        "raw": format!("{{{{baseUrl}}}}/{}{mark}{}", path.join("/"), query.join("&")),
        "host": ["{{baseUrl}}"],
        "path": path,
        "query": pairs(call.query),
        "variable": pairs(call.path),
    })
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
