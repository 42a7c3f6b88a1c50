//! The story whose requests and replies are the examples of the descriptions (`src/docs/examples.json`). The server must
//! answer each call exactly as the example says; `QINGNIAO_WRITE_EXAMPLES=1 cargo test --test it examples` writes them anew.

use std::collections::BTreeMap;
use std::path::Path;

use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::support::files::{Form, PNG};
use crate::support::{NOW_MS, PASSWORD, Person, Reply, TestServer, have_program, sign};

const FILE: &str = "src/docs/examples.json";
const DEVICE: &str = "8d1a344c-bf16-5425-adbc-d12f49cfa332";
const OTHER_DEVICE: &str = "1b4e28ba-2fa1-51d2-883f-0016d3cca427";
const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpZCI6MTAwMDAwMX0.c2lnbmF0dXJl";
/// What needs a program that may be absent.
const COVER: &str = "POST /api/chat/getVideoScreenshot";

/// One call in the making.
struct Asked<'a> {
    by: Option<&'a Person>,
    path: Value,
    query: Value,
    body: Value,
}

impl<'a> Asked<'a> {
    fn by(person: &'a Person) -> Self {
        Self { by: Some(person), ..Self::open() }
    }

    fn open() -> Self {
        Self { by: None, path: json!({}), query: json!({}), body: json!({}) }
    }

    fn path(self, path: Value) -> Self {
        Self { path, ..self }
    }

    fn query(self, query: Value) -> Self {
        Self { query, ..self }
    }

    fn body(self, body: Value) -> Self {
        Self { body, ..self }
    }
}

struct Story {
    server: TestServer,
    /// By method and path of the router.
    calls: BTreeMap<String, Value>,
}

impl Story {
    async fn begin() -> Self {
        let server = TestServer::with(|config| {
            // One engine, so that ids are the same in every run.
            config.database_url = String::new();
            "https://chat.example.com".clone_into(&mut config.uploads.base_url);
        });
        Self { server: server.await, calls: BTreeMap::new() }
    }

    /// Calls a route and remembers the first time.
    async fn call(&mut self, route: &str, asked: Asked<'_>) -> Reply {
        let (method, template) = route.split_once(' ').unwrap();
        let mut path = template.to_owned();
        for (name, value) in asked.path.as_object().unwrap() {
            path = path.replace(&format!("{{{name}}}"), &shown(value));
        }
        let pairs = asked.query.as_object().unwrap().iter().map(|(name, value)| (name, shown(value)));
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let method: Method = method.parse().unwrap();
        let mut call =
            self.server.call(method.clone(), &if query.is_empty() { path } else { format!("{path}?{query}") });
        if method == Method::POST {
            call = call.json(&asked.body);
        }
        if let Some(person) = asked.by {
            call = call.token(&person.token);
        }
        if let Some(device) = asked.body["deviceId"].as_str() {
            call = call.header("X-Security-Sign", &sign(device, NOW_MS));
        }
        let reply = call.send().await;
        assert_eq!(reply.status, 200, "{route}: {}", reply.text);
        self.remember(route, &asked, &reply);
        reply
    }

    fn remember(&mut self, route: &str, asked: &Asked<'_>, reply: &Reply) {
        let mut example = Map::new();
        for (part, value) in [("path", &asked.path), ("query", &asked.query), ("body", &asked.body)] {
            if value.as_object().is_some_and(|map| !map.is_empty()) {
                example.insert(part.to_owned(), value.clone());
            }
        }
        if reply.header("content-type").starts_with("application/json") {
            example.insert("reply".to_owned(), reply.json());
        }
        self.calls.entry(route.to_owned()).or_insert(Value::Object(example));
    }

    async fn post(&mut self, by: &Person, route: &str, body: Value) -> Value {
        self.call(&format!("POST /api/chat/{route}"), Asked::by(by).body(body)).await.json()["data"].take()
    }

    /// The person of a login's reply.
    async fn person(&mut self, name: &str, route: &str, body: Value) -> Person {
        let account = self.call(&format!("POST /api/{route}"), Asked::open().body(body)).await.ok();
        self.server.person(name, account, "")
    }

    async fn register(&mut self, name: &str) -> Person {
        self.person(name, "regChat", json!({ "username": name, "password": PASSWORD })).await
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[tokio::test]
async fn the_server_answers_as_the_examples_say() {
    let mut story = Story::begin().await;
    let (alice, bob) = accounts(&mut story).await;
    friendship(&mut story, &alice, &bob).await;
    messages(&mut story, &alice, &bob).await;
    groups(&mut story, &alice, &bob).await;
    files(&mut story, &alice).await;
    answers(&mut story, &alice).await;
    ends(&mut story, &alice, &bob).await;

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let known: BTreeMap<String, Value> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let mut told = canonical(&story.calls);
    if !told.contains_key(COVER)
        && let Some(cover) = known.get(COVER)
    {
        told.insert(COVER.to_owned(), cover.clone());
    }
    if std::env::var_os("QINGNIAO_WRITE_EXAMPLES").is_some() {
        std::fs::write(&path, serde_json::to_string_pretty(&told).unwrap() + "\n").unwrap();
        return;
    }
    for (route, example) in &told {
        assert_eq!(known.get(route), Some(example), "{route}: {FILE} says otherwise");
    }
    assert_eq!(known.len(), told.len(), "{FILE} has examples that the story does not make");
}

#[test]
fn every_route_that_replies_json_has_an_example() {
    let known: BTreeMap<String, Value> = serde_json::from_str(include_str!("../../src/docs/examples.json")).unwrap();
    let token_routes = crate::routes::in_router().into_iter().filter(|(_, path)| path.starts_with("/api/"));
    let missing: Vec<_> =
        token_routes.filter(|(method, path)| !known.contains_key(&format!("{method} {path}"))).collect();
    assert!(missing.is_empty(), "walk these routes in the story: {missing:?}");
}

async fn accounts(story: &mut Story) -> (Person, Person) {
    story.register("alice_01").await;
    // Who tries the examples on a new server registers and then logs in: both are of one account.
    let alice = story.person("alice_01", "loginChat", json!({ "username": "alice_01", "password": PASSWORD })).await;
    let bob = story.register("bob_02").await;
    let signed = json!({ "deviceId": DEVICE, "timestamp": NOW_MS });
    let with = |more: Value| {
        let mut body = signed.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let device = json!({ "uniplatform": "web", "devicemodel": "PC", "deviceos": "windows", "devicebrand": "chrome" });
    story.person("guest", "visitorRegister", with(device)).await;
    let carol = json!({ "username": "carol_03", "password": PASSWORD });
    story.person("carol_03", "visitorregChat", with(carol.clone())).await;
    let mut elsewhere = with(carol);
    elsewhere["deviceId"] = OTHER_DEVICE.into();
    story.person("carol_03", "visitorloginChat", elsewhere).await;

    story.call("GET /api/userinfo/{uuid}", Asked::open().path(json!({ "uuid": bob.uuid }))).await;
    let settings = json!({ "chatset": { "visitor": { "sendCount": 1 }, "user": { "sendCount": 2 } } });
    story.post(&bob, "userset", json!({ "userset": settings.to_string() })).await;
    story.post(&bob, "updateUserinfo", json!({ "fieldname": "nickname", "fieldValue": "小波" })).await;
    story.post(&alice, "getUserSetInfo", json!({ "userid": bob.id })).await;
    story.post(&alice, "searchUser", json!({ "keyword": "bob" })).await;
    (alice, bob)
}

async fn friendship(story: &mut Story, alice: &Person, bob: &Person) {
    story.post(alice, "applyfriend", json!({ "friend_id": bob.id, "nickname": "我是小爱" })).await;
    let path = json!({ "uuid": alice.uuid });
    let application = story.call("POST /api/chat/isApplyfriend/{uuid}", Asked::by(bob).path(path)).await.ok();
    let page = Asked::by(bob).path(json!({ "page": 1 })).query(json!({ "limit": 10 }));
    story.call("GET /api/chat/listapplyfriend/{page}", page).await;
    let answer = Asked::by(bob).path(json!({ "id": application["id"] }));
    let answer = answer.body(json!({ "status": "agree", "nickname": "小爱" }));
    story.call("POST /api/chat/handleapply/{id}", answer).await;
    let page = Asked::by(alice).path(json!({ "page": 1 })).query(json!({ "limit": 100 }));
    story.call("GET /api/chat/goodfriendlist/{page}", page).await;
    let of_bob = || Asked::by(alice).path(json!({ "id": bob.id }));
    story.call("GET /api/chat/getgoodfriendinfo/{id}", of_bob()).await;
    story.call("POST /api/chat/setstargoodfriend/{id}", of_bob()).await;
    let seen = of_bob().body(json!({ "friendlookme": 1, "melookfriend": 0 }));
    story.call("POST /api/chat/setmeOrfriendCanSee/{id}", seen).await;
    story.call("POST /api/chat/ismygoodfriend/{id}", of_bob()).await;
    for _ in ["on", "off"] {
        story.call("POST /api/chat/setblackgoodfriend/{id}", of_bob()).await;
    }
}

async fn messages(story: &mut Story, alice: &Person, bob: &Person) {
    let content = json!({ "data": "你好", "dataType": false, "otherData": null }).to_string();
    let message =
        json!({ "sendto_id": bob.id, "chatType": "single", "type": "text", "data": content, "options": "%7B%7D" });
    let sent = story.post(alice, "socket/sendmessage", message).await;
    story.post(bob, "chatGetmessageOffLine", json!({})).await;
    let revoked = json!({ "id": sent["id"], "to_id": bob.id, "to_name": sent["to_name"], "to_avatar": sent["to_avatar"],
        "chatType": "single", "create_time": sent["create_time"] });
    story.post(alice, "revokeMessage", revoked).await;
}

async fn groups(story: &mut Story, alice: &Person, bob: &Person) {
    let (dave, erin) = (story.register("dave_04").await, story.register("erin_05").await);
    story.post(alice, "autoAddFriendAndAgree", json!({ "friend_id": dave.id, "nickname": "我是小爱" })).await;
    let rows = [alice.friend_row(bob).await, alice.friend_row(&dave).await];
    story.post(alice, "group/create", json!({ "userIds": rows })).await;
    let page = Asked::by(alice).path(json!({ "page": 1 })).query(json!({ "limit": 30 }));
    let group = story.call("GET /api/chat/grouplist/{page}", page).await.ok()[0]["id"].clone();
    story.call("GET /api/chat/groupinfo/{id}", Asked::by(alice).path(json!({ "id": group }))).await;
    story.post(alice, "groupUpdateName", json!({ "id": group, "name": "周末爬山" })).await;
    story.post(alice, "groupremark", json!({ "id": group, "remark": "周六早上八点集合" })).await;
    story.post(bob, "groupnickname", json!({ "id": group, "nickname": "波波" })).await;
    let invited = json!({ "group_id": group, "user_id": erin.id, "inviteuser_id": alice.id, "addGroupDesc": "" });
    story.post(alice, "groupInviteUser", invited).await;
    story.post(alice, "groupDeleteUser", json!({ "group_id": group, "user_id": erin.id })).await;
    story.post(alice, "groupAddUserSet", json!({ "group_id": group, "addGroupSet": 1 })).await;
    story.post(&erin, "groupInviteUser", json!({ "group_id": group, "user_id": erin.id, "inviteuser_id": -1 })).await;
    let decision = json!({ "group_id": group, "user_id": erin.id, "type": "agree" });
    story.post(alice, "groupAgreeOrNo", decision).await;
    let code = Asked::by(alice).path(json!({ "id": group }));
    let code = code.query(json!({ "type": "H5", "http": "https://chat.example.com/", "chatType": "group" }));
    story.call("GET /api/chat/groupQrcode/{id}", code).await;
    story.post(&erin, "groupDeleteOrQuit", json!({ "id": group })).await;
}

async fn files(story: &mut Story, alice: &Person) {
    let form = Form::default().file("file", "a.png", PNG);
    let path = "uploadStreamSingleToServerDiy/chatImgs";
    let reply = alice.call(Method::POST, path).form_data(form).send().await;
    let asked = Asked::by(alice).path(json!({ "diydir": "chatImgs" }));
    story.remember("POST /api/chat/uploadStreamSingleToServerDiy/{diydir}", &asked, &reply);
    let url = reply.ok()["url"].as_str().unwrap().to_owned();
    let file = story.server.get(&url).await;
    assert_eq!((file.status, file.bytes.as_slice()), (200, PNG));
    let asked = Asked::open().path(json!({ "path": url.trim_start_matches("/public/") }));
    story.remember("GET /public/{*path}", &asked, &file);
    let form = Form::default().file("img", "a.png", PNG);
    let reply = alice.call(Method::POST, "uploadAliyun?imageClassId=0").form_data(form).send().await;
    let asked = Asked::by(alice).query(json!({ "imageClassId": 0 }));
    story.remember("POST /api/chat/uploadAliyun", &asked, &reply);
    if have_program("ffmpeg") {
        let video = alice.upload("chatVideos", "a.mp4", &video(story.server.dir.path())).await.ok();
        let url = format!("https://chat.example.com{}", video["url"].as_str().unwrap());
        story
            .post(alice, "getVideoScreenshot", json!({ "videoUrl": url, "time": 0, "width": 16, "format": "png" }))
            .await;
    }
}

fn video(folder: &Path) -> Vec<u8> {
    let path = folder.join("a.mp4");
    let arguments = "-nostdin -v error -y -f lavfi -i color=c=red:s=32x32:r=5:d=1 -pix_fmt yuv420p";
    let made = std::process::Command::new("ffmpeg").args(arguments.split(' ')).arg(&path).status().unwrap();
    assert!(made.success());
    std::fs::read(path).unwrap()
}

async fn answers(story: &mut Story, alice: &Person) {
    let entry = json!({ "ask": "什么时候发货", "answer": "下单后两天内发货", "type": "shop" });
    let id = story.post(alice, "askanswer/create", entry).await["id"].clone();
    story.post(alice, "askanswer/update", json!({ "id": id, "answer": "下单后一天内发货" })).await;
    story.post(alice, "askanswer/list", json!({ "type": "shop" })).await;
    story.post(alice, "askanswer/detail", json!({ "id": id })).await;
    story.post(alice, "askanswer/search", json!({ "ask": "请问什么时候发货" })).await;
    story.post(alice, "askanswer/delete", json!({ "id": id })).await;
}

async fn ends(story: &mut Story, alice: &Person, bob: &Person) {
    story.call("POST /api/chat/deletegoodfriend/{id}", Asked::by(alice).path(json!({ "id": bob.id }))).await;
    let passwords = json!({ "oldpassword": PASSWORD, "newpassword": "secret02", "checknewpassword": "secret02" });
    story.post(alice, "setPassword", passwords).await;
    story.call("POST /api/chat/logout", Asked::by(alice)).await;
}

/// The same in every run: what is random gets a fixed name, in the order in which it appears.
fn canonical(calls: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let mut known: Vec<String> = vec![DEVICE.to_owned(), OTHER_DEVICE.to_owned()];
    calls.iter().map(|(route, call)| (route.clone(), steady(call, &mut known))).collect()
}

fn steady(value: &Value, known: &mut Vec<String>) -> Value {
    match value {
        Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), steady(value, known))).collect(),
        Value::Array(list) => list.iter().map(|value| steady(value, known)).collect(),
        Value::String(text) if text.len() > 100 && text.starts_with("eyJ") => TOKEN.into(),
        Value::String(text) if text.starts_with("data:image/png;base64,") => {
            "data:image/png;base64,iVBORw0KGgo=".into()
        }
        Value::String(text) if uuid::Uuid::try_parse(text).is_ok() => steady_uuid(text, known).into(),
        Value::String(text) => steady_file(text).into(),
        other => other.clone(),
    }
}

fn steady_uuid(uuid: &str, known: &mut Vec<String>) -> String {
    let place = known.iter().position(|one| one == uuid).unwrap_or_else(|| {
        known.push(uuid.to_owned());
        known.len() - 1
    });
    if place < 2 { uuid.to_owned() } else { format!("6f9619ff-8b86-4011-b42d-{:012}", place - 1) }
}

/// Names of files end in the time and something random.
fn steady_file(text: &str) -> String {
    let Some((head, tail)) = text.split_once(&format!("{NOW_MS}_")) else { return text.to_owned() };
    let extension = tail.rsplit('.').next().unwrap_or_default();
    format!("{head}{NOW_MS}_12345678.{extension}")
}
