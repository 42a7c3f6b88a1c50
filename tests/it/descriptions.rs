//! The descriptions say what is there: every route, for whom it is, every text, and a page that shows them without a
//! network. That replies and frames are as described is checked wherever a test receives one (`support/described.rs`).

use std::collections::{BTreeMap, BTreeSet};

use qingniao::docs::{asyncapi, openapi, postman, sections};
use qingniao::http::describe::{Caller, JSON, Route, Text};
use reqwest::Method;
use serde_json::{Value, json};

use crate::routes::{For, ROUTES, in_router};
use crate::support::TestServer;
use crate::support::described::{self, Seen};

/// Routes that are themselves descriptions.
const DESCRIPTIONS: [&str; 2] = ["/docs", "/api-docs"];

fn routes() -> Vec<Route> {
    sections().into_iter().flat_map(|section| section.routes).collect()
}

fn method(route: &Route) -> &'static str {
    if route.method == utoipa::openapi::HttpMethod::Get { "GET" } else { "POST" }
}

#[test]
fn every_route_is_described_and_every_described_route_exists() {
    let described: BTreeSet<_> = routes().iter().map(|route| (method(route), route.path)).collect();
    let there: BTreeSet<_> =
        in_router().into_iter().filter(|(_, path)| !DESCRIPTIONS.iter().any(|own| path.starts_with(own))).collect();
    let missing: Vec<_> = there.difference(&described).collect();
    assert!(missing.is_empty(), "describe these routes in the describe.rs of their feature: {missing:?}");
    let gone: Vec<_> = described.difference(&there).collect();
    assert!(gone.is_empty(), "these routes are described and not in src/router.rs: {gone:?}");
    assert_eq!(routes().len(), described.len(), "none is described twice");
}

#[test]
fn descriptions_say_for_whom_a_route_is() {
    let whom: BTreeMap<_, _> = ROUTES.iter().map(|(method, path, whom)| ((*method, *path), *whom)).collect();
    for route in routes() {
        let Some(whom) = whom.get(&(method(&route), route.path)) else { continue };
        let expected = match whom {
            For::All => Caller::Anyone,
            For::Bearers => Caller::Bearer,
            For::Users => Caller::User,
        };
        assert_eq!(route.caller, expected, "{}", route.path);
    }
}

/// Calls `f` with each description and summary.
fn for_each_sentence(described: &Value, f: &mut impl FnMut(&str)) {
    match described {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) if key == "description" || key == "summary" => f(text),
                    _ => for_each_sentence(value, f),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| for_each_sentence(item, f)),
        _ => {}
    }
}

#[test]
fn descriptions_speak_of_the_wire_and_not_of_the_source() {
    for document in [openapi::document(), asyncapi::document()] {
        let mut sentences = 0;
        for_each_sentence(&document, &mut |text| {
            sentences += 1;
            for word in ["[`", "::", "contract:", "decision ", "Row of", "old backend", "in the store"] {
                assert!(word == "[`" && text.contains("必须在 [`") || !text.contains(word), "{word:?} in {text:?}");
            }
        });
        assert!(sentences > 10, "the check found what to check");
    }
}

/// The collection's requests but for its first folder, the story, which has variables of its own.
fn requests(collection: &Value) -> Vec<&Value> {
    let folders = collection["item"].as_array().unwrap();
    folders[1..].iter().flat_map(|folder| folder["item"].as_array().unwrap()).collect()
}

fn keeps_token(item: &Value) -> bool {
    item["event"].to_string().contains("pm.collectionVariables.set('token', reply.data.token)")
}

fn path(item: &Value) -> String {
    item["request"]["url"]["raw"].as_str().unwrap().replace("{{baseUrl}}", "")
}

#[test]
fn requests_of_the_collection_keep_the_token_of_whoever_logs_in() {
    let collection = postman::collection();
    let keeping: BTreeSet<_> = requests(&collection).into_iter().filter(|item| keeps_token(item)).map(path).collect();
    let expected =
        ["/api/loginChat", "/api/regChat", "/api/visitorRegister", "/api/visitorloginChat", "/api/visitorregChat"];
    assert_eq!(keeping, expected.map(str::to_owned).into());
}

#[test]
fn whoever_runs_the_whole_collection_has_a_token_where_one_is_sent() {
    let collection = postman::collection();
    let (mut has_token, mut logouts) = (false, 0);
    for item in requests(&collection) {
        has_token |= keeps_token(item);
        assert!(has_token || item["request"]["auth"]["type"] == "noauth", "{} needs a token", item["name"]);
        if path(item).ends_with("/logout") {
            has_token = false;
            logouts += 1;
        }
    }
    assert_eq!(logouts, 1, "the check found what to check");
}

#[test]
fn who_registers_as_in_the_example_can_log_in_as_in_the_example() {
    let document = openapi::document();
    let example = |path: &str| document["paths"][path]["post"]["requestBody"]["content"][JSON]["example"].clone();
    let account = example("/api/regChat");
    assert!(account["username"].is_string(), "{account}");
    assert_eq!(example("/api/loginChat"), account);
}

#[test]
fn every_parameter_has_a_type() {
    let document = openapi::document();
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(parameter["schema"]["type"].is_string(), "{path}: {parameter} may be anything");
            }
        }
    }
    let known = |path: &str, name: &str| {
        let parameters = document["paths"][path]["get"]["parameters"].as_array().unwrap();
        parameters.iter().find(|parameter| parameter["name"] == name).unwrap_or_else(|| panic!("{path} takes {name}"))
    };
    let id = known("/api/chat/groupQrcode/{id}", "id");
    assert_eq!((&id["schema"]["type"], &id["in"]), (&json!("integer"), &json!("path")));
    assert!(id["description"].as_str().unwrap().contains("chatType=single"), "{id}");
    let token = known("/ws", "token");
    assert_eq!((&token["in"], &token["required"]), (&json!("query"), &json!(true)));
    let options = &document["components"]["schemas"]["chat_socket_sendmessage_request"]["properties"]["options"];
    assert_eq!(options["type"], "string");
    assert!(options["description"].as_str().unwrap().contains("JSON"), "{options}");
}

#[test]
fn every_tag_says_what_it_is_of_and_the_licence_which_it_is() {
    let document = openapi::document();
    let tags = document["tags"].as_array().unwrap();
    assert_eq!(tags.len(), sections().len());
    assert!(tags.iter().all(|tag| tag["description"].as_str().is_some_and(|text| text.ends_with('.'))), "{tags:?}");
    assert_eq!(document["info"]["license"], json!({ "name": "MIT", "identifier": "MIT" }));
}

#[test]
fn names_are_unique_and_each_shape_has_one() {
    let mut names = BTreeSet::new();
    let mut shapes: BTreeMap<String, Value> = BTreeMap::new();
    for route in routes() {
        assert!(names.insert(openapi::name(&route)), "{} has the name of another route", route.path);
        for (name, shape) in &route.schemas {
            let shape = serde_json::to_value(shape).unwrap();
            let known = shapes.entry(name.clone()).or_insert_with(|| shape.clone());
            assert_eq!(*known, shape, "two shapes are called {name}");
        }
    }
}

#[test]
fn every_text_is_one_of_the_server_s() {
    let source: String = crate::documents::sources()
        .into_iter()
        .filter(|(file, _)| !file.ends_with("describe.rs"))
        .map(|(_, text)| text)
        .collect();
    for route in routes() {
        for (status, text) in route.failures() {
            // Those of parameters are made of their labels; that they fit is seen by every test of them.
            let Text::Exact(text) = text else { continue };
            let said = status == 422 || source.contains(&format!("\"{text}\"")) || source.contains(&text);
            assert!(said, "{} is described to fail with `{text}`, which stands nowhere in src/", route.path);
        }
    }
}

#[test]
fn examples_are_as_the_schemas_say() {
    let document = openapi::document();
    let mut checked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            let bodies = operation["requestBody"]["content"].as_object().into_iter().flatten();
            let replies = operation["responses"]["200"]["content"].as_object().into_iter().flatten();
            for (_, content) in bodies.chain(replies).filter(|(_, content)| content.get("example").is_some()) {
                let schema = described::closed(&document, &content["schema"]);
                let validator = jsonschema::validator_for(&schema).unwrap();
                let errors: Vec<_> = validator.iter_errors(&content["example"]).map(|e| e.to_string()).collect();
                assert!(errors.is_empty(), "{path}: {errors:?}: {}", content["example"]);
                checked += 1;
            }
        }
    }
    assert!(checked > 100, "examples are there: {checked}");
}

#[test]
fn the_head_names_every_route_whose_success_has_an_envelope_of_its_own() {
    let document = openapi::document();
    let head = document["info"]["description"].as_str().unwrap();
    let mut found = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            if operation["responses"]["200"]["content"][JSON]["example"]["code"] != 200 {
                continue;
            }
            found += 1;
            let name = if path.contains("/askanswer/") { "askanswer/*" } else { path.rsplit('/').next().unwrap() };
            assert!(head.contains(&format!("`{name}`")), "{path} is not named in {head}");
        }
    }
    assert_eq!(found, 7, "the check found what to check");
}

#[test]
fn examples_of_frames_are_as_the_schemas_say() {
    let document = asyncapi::document();
    let messages = document["channels"]["ws"]["messages"].as_object().unwrap();
    assert!(messages.len() > 7, "{messages:?}");
    for (name, message) in messages {
        let schema = described::closed(&document, &message["payload"]);
        let validator = jsonschema::validator_for(&schema).unwrap();
        let example = &message["examples"][0]["payload"];
        let errors: Vec<_> = validator.iter_errors(example).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}: {example}");
    }
}

#[tokio::test]
async fn the_documents_are_served_beside_the_api() {
    let server = TestServer::start().await;
    for (path, version) in [("/api-docs/openapi.json", "openapi"), ("/api-docs/asyncapi.json", "asyncapi")] {
        let reply = server.get(path).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, "application/json; charset=utf-8"));
        assert!(reply.json()[version].as_str().unwrap().starts_with("3."), "{path}");
        server.post(path, json!({})).await.refused(405, "请求方法不允许");
    }
    assert_eq!(server.get("/api-docs/openapi.json").await.json(), openapi::document());
    server.get("/api-docs/other.json").await.refused(404, "404 错误");
}

#[tokio::test]
async fn the_page_is_whole_and_asks_no_other_host() {
    let server = TestServer::start().await;
    let page = server.get("/docs").await;
    assert_eq!((page.status, page.header("content-type"), page.header("content-encoding")), (200, "text/html", "gzip"));
    for (file, media) in [
        ("swagger-ui-bundle.js", "text/javascript"),
        ("swagger-ui-standalone-preset.js", "text/javascript"),
        ("swagger-ui.css", "text/css"),
        ("index.css", "text/css"),
        ("favicon-32x32.png", "image/png"),
    ] {
        let reply = server.get(&format!("/docs/{file}")).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, media), "{file}");
        assert!(!reply.bytes.is_empty());
    }
    let start = server.get("/docs/swagger-initializer.js").await.text;
    assert!(start.contains("\"url\": \"/api-docs/openapi.json\""), "{start}");
    assert!(!start.contains("://"), "{start}");
    assert!(start.contains("\"validatorUrl\": \"none\""), "else the page asks validator.swagger.io: {start}");
    for outside in ["/docs/../config.rs", "/docs/other.js", "/docs/%2e%2e/x", "/docs/%FF"] {
        assert_eq!(server.get(outside).await.status, 404, "{outside}");
    }
    server.post("/docs/", json!({})).await.refused(405, "请求方法不允许");
}

#[tokio::test]
async fn an_operator_may_switch_the_descriptions_off() {
    let server = TestServer::with(|config| config.http.docs = false).await;
    for path in ["/docs", "/docs/", "/docs/swagger-ui.css", "/api-docs/openapi.json", "/api-docs/asyncapi.json"] {
        server.call(Method::GET, path).send().await.refused(404, "404 错误");
    }
}

#[test]
fn the_collection_calls_every_route_and_signs_what_is_signed() {
    let collection = postman::collection();
    let called = requests(&collection);
    assert_eq!(called.len(), routes().len());
    for (item, route) in called.into_iter().zip(routes()) {
        let request = &item["request"];
        assert_eq!((&request["method"], &item["name"]), (&json!(method(&route)), &json!(route.title)));
        let open = request["auth"]["type"] == "noauth";
        assert_eq!(open, route.caller == Caller::Anyone, "{}", route.path);
        let signed = item["event"][0]["script"]["exec"].to_string().contains("APP_SECRET");
        assert_eq!(signed, route.path.contains("/visitor"), "{}", route.path);
    }
    let variables = collection["variable"].as_array().unwrap();
    let names: Vec<_> = variables.iter().map(|variable| variable["key"].as_str().unwrap()).collect();
    assert_eq!(names, ["baseUrl", "token", "salt", "deviceId"]);
}

#[tokio::test]
async fn uploads_of_the_collection_are_taken_as_they_are_imported() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let collection = postman::collection();
    let uploads = requests(&collection).into_iter().filter(|item| path(item).contains("/upload"));
    let mut urls = Vec::new();
    for upload in uploads {
        let request = &upload["request"];
        let media = request["header"][0]["value"].as_str().unwrap();
        let body = request["body"]["raw"].as_str().unwrap();
        let path = path(upload).replace(":diydir", "chatImgs");
        let reply = alice.call(Method::POST, &path).body(media, body).send().await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text);
        urls.push(reply.json()["data"]["url"].clone());
        assert!(request["description"].as_str().unwrap().contains("form-data"), "{path} says how a file is chosen");
    }
    assert_eq!(urls.len(), 2, "the check found what to check");
    // The first reply is the one whose file is kept for the request that reads it.
    assert_eq!(server.get(urls[0].as_str().unwrap()).await.text, "hello");
    let keeping = requests(&collection).into_iter().filter(|item| item["event"].to_string().contains("set('file'"));
    assert_eq!(
        keeping.map(path).collect::<Vec<_>>(),
        ["/api/chat/uploadStreamSingleToServerDiy/:diydir", "/api/chat/getVideoScreenshot"]
    );
    let read = requests(&collection).into_iter().find(|item| path(item) == "/public/:path").unwrap();
    assert_eq!(read["request"]["url"]["variable"], json!([{ "key": "path", "value": "{{file}}" }]));
}

/// What is answered to a logout; the comparison must notice whatever is not described.
fn logout_answers(status: u16, media: &str, body: &str) {
    let seen = Seen { method: "POST", path: "/api/chat/logout", status, media, body: body.as_bytes() };
    described::check_reply(&seen);
}

#[test]
fn a_described_reply_passes_the_comparison() {
    logout_answers(200, "application/json; charset=utf-8", r#"{"msg":"ok","data":true}"#);
    logout_answers(400, "application/json", r#"{"msg":"fail","data":"Token 令牌不合法！"}"#);
    described::check_frame(&json!({ "type": "ping" }));
}

#[test]
#[should_panic(expected = "with what is not described")]
fn a_property_that_is_not_described_is_noticed() {
    logout_answers(200, "application/json", r#"{"msg":"ok","data":true,"more":1}"#);
}

#[test]
#[should_panic(expected = "with what is not described")]
fn a_value_that_is_not_described_is_noticed() {
    logout_answers(200, "application/json", r#"{"msg":"ok","data":false}"#);
}

#[test]
#[should_panic(expected = "with what is not described")]
fn a_text_that_is_not_described_is_noticed() {
    logout_answers(400, "application/json", r#"{"msg":"fail","data":"another text"}"#);
}

#[test]
#[should_panic(expected = "answered 418, which is not described")]
fn a_status_that_is_not_described_is_noticed() {
    logout_answers(418, "application/json", "{}");
}

#[test]
#[should_panic(expected = "as \"text/html\", which is not described")]
fn a_media_type_that_is_not_described_is_noticed() {
    logout_answers(200, "text/html", "<p>");
}

#[test]
#[should_panic(expected = "a frame came that is not described")]
fn a_frame_that_is_not_described_is_noticed() {
    described::check_frame(&json!({ "type": "pong", "timestamp": 1, "more": 2 }));
}
