//! Requests and replies as they went over the wire. `tests/it/examples.rs` walks the story that made them and fails when the
//! server answers anything else; it also writes them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::openapi::path::HttpMethod;

use crate::http::describe::Route;

/// One call.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Example {
    /// Parameters of the path.
    pub path: Map<String, Value>,
    /// Parameters of the query.
    pub query: Map<String, Value>,
    /// Fields of the body.
    pub body: Map<String, Value>,
    /// The reply of a success, if it is JSON.
    pub reply: Option<Value>,
}

static EXAMPLES: LazyLock<BTreeMap<String, Example>> =
    LazyLock::new(|| serde_json::from_str(include_str!("examples.json")).expect("the examples are JSON"));

/// The example of a route.
pub fn of(route: &Route) -> Option<&'static Example> {
    EXAMPLES.get(&format!("{} {}", method(route), route.path))
}

/// What the route of this method and path replied.
pub fn reply(route: &str) -> Option<&'static Value> {
    EXAMPLES.get(route)?.reply.as_ref()
}

/// As on the wire.
pub fn method(route: &Route) -> &'static str {
    if route.method == HttpMethod::Get { "GET" } else { "POST" }
}
