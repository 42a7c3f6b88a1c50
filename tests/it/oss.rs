//! `uploadAliyun` with OSS: a server of our own in its place checks each request and its signature by Aliyun's public rules,
//! written down here a second time and apart from the signer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use futures_util::StreamExt;
use hmac::{Hmac, KeyInit, Mac};
use qingniao::config::Config;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

use crate::support::files::{PNG, corpus};
use crate::support::{NOW_MS, PATIENCE, TestServer, eventually};

const SECRET: &str = "the-secret";
/// As OSS: a request signed longer ago is refused.
const SKEW_MS: i64 = 15 * 60_000;

/// An object that was put.
#[derive(Clone)]
struct Object {
    content: Bytes,
    headers: HeaderMap,
}

/// How the bucket behaves.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Kind,
    /// Accepts the connection and never answers.
    Silent,
    /// Breaks the connection in the middle of the body.
    Rude,
    /// Takes the body slowly, and without a pause of any length.
    Slow,
}

struct Bucket {
    mood: Mood,
    objects: Mutex<BTreeMap<String, Object>>,
    refusals: Mutex<Vec<String>>,
}

impl Bucket {
    async fn open(mood: Mood) -> (SocketAddr, Arc<Self>) {
        let bucket = Arc::new(Self { mood, objects: Mutex::default(), refusals: Mutex::default() });
        let router = Router::new().fallback(take).with_state(bucket.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // Few bytes are on their way: what has left the server is taken soon.
        socket2::SockRef::from(&listener).set_recv_buffer_size(64 * 1024).unwrap();
        let address = listener.local_addr().unwrap();
        #[expect(clippy::disallowed_methods, reason = "a test's own server is no task of ours")]
        tokio::spawn(axum::serve(listener, router).into_future());
        (address, bucket)
    }

    fn only(&self) -> (String, Object) {
        assert_eq!(*self.refusals.lock().unwrap(), [""; 0]);
        let objects = self.objects.lock().unwrap();
        assert_eq!(objects.len(), 1);
        objects.first_key_value().map(|(key, object)| (key.clone(), object.clone())).unwrap()
    }
}

async fn take(State(bucket): State<Arc<Bucket>>, request: Request) -> Response {
    match bucket.mood {
        Mood::Silent => std::future::pending().await,
        Mood::Rude => panic!("the connection breaks"),
        Mood::Kind | Mood::Slow => {}
    }
    if request.method() == "GET" {
        let objects = bucket.objects.lock().unwrap();
        let found = objects.get(request.uri().path()).map(|object| object.content.clone());
        return found.map_or(StatusCode::NOT_FOUND.into_response(), IntoResponse::into_response);
    }
    let (parts, body) = request.into_parts();
    let v1 = parts.headers.get("authorization").is_some_and(|value| value.as_bytes().starts_with(b"OSS "));
    let check = if v1 { check_v1 } else { check };
    if let Err(code) = check(&parts.method, parts.uri.path(), &parts.headers) {
        bucket.refusals.lock().unwrap().push(code.to_owned());
        let words = format!("<Error><Code>{code}</Code><Message>no</Message><RequestId>1</RequestId></Error>");
        return (StatusCode::FORBIDDEN, words).into_response();
    }
    let mut content = Vec::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        content.extend_from_slice(&chunk.unwrap());
        if bucket.mood == Mood::Slow {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let content = Bytes::from(content);
    let length = parts.headers["content-length"].to_str().unwrap().parse::<usize>().unwrap();
    assert_eq!(length, content.len());
    bucket.objects.lock().unwrap().insert(parts.uri.path().to_owned(), Object { content, headers: parts.headers });
    StatusCode::OK.into_response()
}

/// The rules of "Include a V4 signature in the Authorization header".
fn check(method: &reqwest::Method, path: &str, headers: &HeaderMap) -> Result<(), &'static str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let date = text("x-oss-date");
    let at = chrono::NaiveDateTime::parse_from_str(date, "%Y%m%dT%H%M%SZ").map_err(|_| "InvalidDate")?;
    if (at.and_utc() - DateTime::from_timestamp_millis(NOW_MS).unwrap()).num_milliseconds().abs() > SKEW_MS {
        return Err("RequestTimeTooSkewed");
    }
    if text("x-oss-content-sha256") != "UNSIGNED-PAYLOAD" {
        return Err("InvalidArgument");
    }
    let fields = text("authorization").strip_prefix("OSS4-HMAC-SHA256 ").ok_or("AccessDenied")?;
    let field = |name: &str| fields.split(", ").find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    let day = &date[..8];
    let scope = format!("{day}/cn-test/oss/aliyun_v4_request");
    if field("Credential") != Some(&*format!("the-key/{scope}")) {
        return Err("InvalidAccessKeyId");
    }
    let additional: Vec<&str> = field("AdditionalHeaders").map(|names| names.split(';').collect()).unwrap_or_default();
    let mut signed = BTreeMap::new();
    for (name, value) in headers {
        let name = name.as_str();
        let default = name.starts_with("x-oss-") || name == "content-type" || name == "content-md5";
        if default || additional.contains(&name) {
            signed.insert(name, value.to_str().unwrap().trim());
        }
    }
    let lines = signed.iter().fold(String::new(), |lines, (name, value)| lines + name + ":" + value + "\n");
    let canonical = format!("{method}\n{path}\n\n{lines}\n{}\nUNSIGNED-PAYLOAD", additional.join(";"));
    let to_sign = format!("OSS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let mut key = format!("aliyun_v4{SECRET}").into_bytes();
    for part in [day, "cn-test", "oss", "aliyun_v4_request", &to_sign] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(part.as_bytes());
        key = mac.finalize().into_bytes().to_vec();
    }
    if field("Signature") == Some(&*hex(&key)) { Ok(()) } else { Err("SignatureDoesNotMatch") }
}

/// The rules of "Include a V1 signature in the Authorization header". Its crate takes the time from the machine's clock.
fn check_v1(method: &reqwest::Method, path: &str, headers: &HeaderMap) -> Result<(), &'static str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let to_sign = format!("{method}\n\n{}\n{}\n{path}", text("content-type"), text("date"));
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(to_sign.as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    if text("authorization") == format!("OSS the-key:{signature}") { Ok(()) } else { Err("SignatureDoesNotMatch") }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

fn to(address: SocketAddr) -> impl FnOnce(&mut Config) {
    move |config| {
        config.oss.endpoint = format!("http://{address}");
        config.oss.region = "cn-test".into();
        config.oss.bucket = "the-bucket".into();
        config.oss.access_key_id = "the-key".into();
        config.oss.access_key_secret = SECRET.into();
        config.oss.timeout_s = 1;
    }
}

#[tokio::test]
async fn an_upload_goes_to_the_bucket_and_its_signature_holds() {
    let (address, bucket) = Bucket::open(Mood::Kind).await;
    let server = TestServer::with(to(address)).await;
    let reply = server.user("alice").await.upload_aliyun("me.PNG", PNG).await;
    let (key, object) = bucket.only();
    let data = &reply.json()["data"][0];
    let path = data["path"].as_str().unwrap();
    let random = path.strip_prefix(&format!("images/20250904/{NOW_MS}_")).and_then(|rest| rest.strip_suffix(".png"));
    assert_eq!(random.map(str::len), Some(12), "{path}");
    assert_eq!(key, format!("/the-bucket/{path}"));
    assert_eq!(data["url"], format!("http://{address}/the-bucket/{path}"));
    assert_eq!((reply.json()["code"].clone(), reply.json()["msg"].clone()), (200.into(), "ok".into()));
    assert_eq!((object.content.as_ref(), &object.headers["content-type"]), (PNG, &"image/png".parse().unwrap()));
    assert!(!object.headers.contains_key("content-disposition"));
    assert_eq!(server.files().len(), 0, "nothing stays on this server");
}

#[tokio::test]
async fn a_large_file_arrives_whole() {
    let (address, bucket) = Bucket::open(Mood::Kind).await;
    let server = TestServer::with(to(address)).await;
    let film: Vec<u8> = (0..20_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    server.user("alice").await.upload_aliyun("a.mp4", &film).await.ok();
    assert!(bucket.only().1.content == film);
}

#[tokio::test]
async fn active_content_is_an_attachment_there_too() {
    let (address, bucket) = Bucket::open(Mood::Kind).await;
    let server = TestServer::with(to(address)).await;
    let page = std::fs::read(corpus("active/page.html")).unwrap();
    server.user("alice").await.upload_aliyun("page.html", &page).await.ok();
    let (_, object) = bucket.only();
    assert_eq!(object.headers["content-disposition"], "attachment");
    // It is part of what is signed, so nobody can take it off on the way.
    assert!(object.headers["authorization"].to_str().unwrap().contains("AdditionalHeaders=content-disposition, "));
}

#[tokio::test]
async fn a_page_that_calls_itself_a_picture_becomes_an_attachment_of_no_type() {
    let (address, bucket) = Bucket::open(Mood::Kind).await;
    let server = TestServer::with(to(address)).await;
    server.user("alice").await.upload_aliyun("a.png", b"<!doctype html><script>").await.ok();
    let (_, object) = bucket.only();
    assert_eq!(object.headers["content-type"], "application/octet-stream");
    assert_eq!(object.headers["content-disposition"], "attachment");
}

#[tokio::test]
async fn the_url_is_the_configured_one() {
    let (address, _) = Bucket::open(Mood::Kind).await;
    let server = TestServer::with(|config| {
        to(address)(config);
        config.oss.public_url = "https://cdn.example.com/".into();
    })
    .await;
    let reply = server.user("alice").await.upload_aliyun("a.png", PNG).await;
    assert!(reply.ok()[0]["url"].as_str().unwrap().starts_with("https://cdn.example.com/images/20250904/"));
}

#[tokio::test]
async fn uploads_to_this_server_stay_here() {
    let (address, bucket) = Bucket::open(Mood::Kind).await;
    let server = TestServer::with(to(address)).await;
    server.user("alice").await.upload("chatImgs", "a.png", PNG).await.ok();
    assert_eq!((server.files().len(), bucket.objects.lock().unwrap().len()), (1, 0));
}

#[tokio::test]
async fn a_wrong_secret_is_refused_with_a_plain_text() {
    let (address, bucket) = Bucket::open(Mood::Kind).await;
    let server = TestServer::with(|config| {
        to(address)(config);
        config.oss.access_key_secret = "another".into();
    })
    .await;
    server.user("alice").await.upload_aliyun("a.png", PNG).await.refused(400, "上传失败: 存储服务拒绝了上传");
    assert_eq!(*bucket.refusals.lock().unwrap(), ["SignatureDoesNotMatch"]);
    assert_eq!(server.files().len(), 0);
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_refused() {
    let (address, bucket) = Bucket::open(Mood::Kind).await;
    let server = TestServer::with(to(address)).await;
    let alice = server.user("alice").await;
    server.advance(SKEW_MS + 1000);
    alice.upload_aliyun("a.png", PNG).await.refused(400, "上传失败: 存储服务拒绝了上传");
    assert_eq!(*bucket.refusals.lock().unwrap(), ["RequestTimeTooSkewed"]);
}

#[tokio::test]
async fn an_oss_that_is_away_is_said_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let server = TestServer::with(to(address)).await;
    server.user("alice").await.upload_aliyun("a.png", PNG).await.refused(400, "上传失败: 存储服务无法连接");
    assert_eq!(server.files().len(), 0);
}

#[tokio::test]
async fn an_oss_that_breaks_off_is_said_so() {
    let (address, _) = Bucket::open(Mood::Rude).await;
    let server = TestServer::with(to(address)).await;
    let reply = server.user("alice").await.upload_aliyun("a.png", PNG).await;
    reply.refused(400, "上传失败: 存储服务无法连接");
}

#[tokio::test]
async fn an_oss_that_never_answers_is_not_waited_for() {
    let (address, _) = Bucket::open(Mood::Silent).await;
    let server = TestServer::with(to(address)).await;
    let alice = server.user("alice").await;
    let upload = tokio::time::timeout(PATIENCE, alice.upload_aliyun("a.png", PNG));
    upload.await.expect("no hang").refused(400, "上传失败: 存储服务响应超时");
    // Enough that it does not fit into the buffers between the two.
    let film = vec![1; 20_000_000];
    let upload = tokio::time::timeout(PATIENCE, alice.upload_aliyun("a.mp4", &film));
    upload.await.expect("no hang").refused(400, "上传失败: 存储服务响应超时");
    // Windows keeps a file's name until the last reader lets go of it, a moment later.
    if cfg!(unix) {
        assert_eq!(server.files().len(), 0);
    }
}

#[tokio::test]
async fn an_oss_that_takes_its_time_is_waited_for_as_long_as_bytes_go() {
    let (address, bucket) = Bucket::open(Mood::Slow).await;
    let server = TestServer::with(to(address)).await;
    let (alice, began) = (server.user("alice").await, Instant::now());
    let film = vec![1; 40_000_000];
    alice.upload_aliyun("a.mp4", &film).await.ok();
    assert!(began.elapsed() > Duration::from_secs(2), "longer than an answer may take");
    assert_eq!(bucket.only().1.content.len(), film.len());
}

#[cfg(feature = "oss-v1")]
mod v1 {
    use qingniao::config::OssSignature;

    use super::*;

    async fn server(address: SocketAddr) -> TestServer {
        TestServer::with(|config| {
            to(address)(config);
            config.oss.signature = OssSignature::V1;
        })
        .await
    }

    #[tokio::test]
    async fn an_upload_goes_to_an_old_bucket_and_its_signature_holds() {
        let (address, bucket) = Bucket::open(Mood::Kind).await;
        let reply = server(address).await.user("alice").await.upload_aliyun("a.png", PNG).await;
        let (key, object) = bucket.only();
        assert_eq!(reply.ok()[0]["url"], format!("http://{address}{key}"));
        assert_eq!((object.content.as_ref(), &object.headers["content-type"]), (PNG, &"image/png".parse().unwrap()));
    }

    #[tokio::test]
    async fn an_old_bucket_that_refuses_or_is_silent_is_said_so() {
        let (address, _) = Bucket::open(Mood::Silent).await;
        let alice = server(address).await.user("alice").await;
        let upload = tokio::time::timeout(PATIENCE, alice.upload_aliyun("a.png", PNG));
        upload.await.expect("no hang").refused(400, "上传失败: 存储服务响应超时");
        let (address, _) = Bucket::open(Mood::Rude).await;
        let alice = server(address).await.user("alice").await;
        alice.upload_aliyun("a.png", PNG).await.refused(400, "上传失败: 存储服务无法连接");
    }
}

#[tokio::test]
async fn a_sender_that_goes_away_puts_nothing_into_the_bucket() {
    let (address, bucket) = Bucket::open(Mood::Kind).await;
    let server = TestServer::with(to(address)).await;
    let alice = server.user("alice").await;
    let body = crate::support::files::Form::default().file("img", "a.png", &vec![7; 100_000]).body();
    let head = alice.head("uploadAliyun", crate::support::files::FORM, body.len());
    let stream = server.begin(&[head.as_bytes(), &body[..50_000]].concat()).await;
    eventually("the upload has begun", async || server.files().len() == 1).await;
    drop(stream);
    eventually("nothing is left", async || server.files().is_empty()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(bucket.objects.lock().unwrap().len(), 0);
}
