//! `uploadStreamSingleToServerDiy` and `uploadAliyun` without OSS (contract: messaging 4.30a, 4.30b; decisions 22, 24).

use std::time::Duration;

use qingniao::config::Config;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::support::files::{FORM, Form, PNG, answer, corpus_files, corpus_list};

use crate::support::{NOW_MS, Person, Process, TestServer, command, eventually, skip};

const NO_FILE: &str = "Can't found upload file";
const MALFORMED: &str = "请求体格式错误";
const TOO_LARGE: &str = "Request file too large, please check multipart config";
const NOT_MULTIPART: &str = "Content-Type must be multipart/*";

/// A server with limits that small files reach.
async fn tight() -> TestServer {
    TestServer::with(|config: &mut Config| {
        config.uploads.image_bytes_max = 10_000;
        config.uploads.audio_bytes_max = 20_000;
        config.uploads.video_bytes_max = 30_000;
        config.uploads.other_bytes_max = 40_000;
    })
    .await
}

/// A file that begins like one kind and has this length.
fn like(head: &[u8], len: usize) -> Vec<u8> {
    let mut file = head.to_vec();
    file.resize(len, b'x');
    file
}

pub fn url(reply: &crate::support::Reply) -> String {
    reply.ok()["url"].as_str().unwrap().to_owned()
}

/// The random part of a stored name is replaced, its form checked.
fn shape(url: &str) -> String {
    let (stem, extension) = url.rsplit_once('.').unwrap();
    let (place, random) = stem.rsplit_once('_').unwrap();
    assert!(random.len() <= 8 && random.bytes().all(|b| b.is_ascii_digit()), "{url}");
    format!("{place}_[random].{extension}")
}

#[tokio::test]
async fn a_picture_is_stored_and_served_byte_for_byte() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let reply = alice.upload("chatImgs", "me.PNG", PNG).await;
    assert_eq!(shape(&url(&reply)), format!("/public/uploads/Diy/chatImgs/20250904/{NOW_MS}_[random].png"));
    assert_eq!(reply.text, json!({ "msg": "ok", "data": { "url": url(&reply) } }).to_string());
    let file = server.get(&url(&reply)).await;
    assert_eq!((file.status, file.header("content-type")), (200, "image/png"));
    assert_eq!(file.bytes, PNG);
    assert_eq!(server.files().len(), 1);
}

#[tokio::test]
async fn guests_may_upload_to_both() {
    let server = TestServer::start().await;
    let guest = server.guest().await;
    guest.upload("chatImgs", "a.png", PNG).await.ok();
    guest.upload_aliyun("a.png", PNG).await.ok();
}

#[tokio::test]
async fn underscores_make_folders_and_any_field_name_will_do() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let form = Form::default().file("whatever", "a.png", PNG);
    let reply = alice.call(Method::POST, "uploadStreamSingleToServerDiy/a_b-1_C").form_data(form).send().await;
    assert!(url(&reply).starts_with("/public/uploads/Diy/a/b-1/C/20250904/"), "{}", reply.text);
}

#[tokio::test]
async fn the_first_of_two_files_counts() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let form =
        Form::default().text("x", "y").file("file", "a.txt", b"first").file("file", "b.exe", b"second").text("z", "");
    let reply = alice.call(Method::POST, "uploadStreamSingleToServerDiy/x").form_data(form).send().await;
    assert_eq!(server.get(&url(&reply)).await.text, "first");
    assert_eq!(server.files().len(), 1);
}

#[tokio::test]
async fn the_local_answer_of_upload_aliyun_has_its_shape() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let form = Form::default().text("imageClassId", "9").file("img", "a.JPG", PNG);
    let reply = alice.call(Method::POST, "uploadAliyun?imageClassId=7").form_data(form).send().await;
    let data = &reply.json()["data"][0];
    let path = data["path"].as_str().unwrap();
    let random = path.strip_prefix(&format!("images/20250904/{NOW_MS}_")).unwrap().strip_suffix(".jpg").unwrap();
    assert!(random.len() == 12 && random.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{path}");
    let url = format!("http://{}/public/uploads/{path}", server.address);
    let expected = json!({ "code": 200, "msg": "ok", "data": [
        { "url": url, "path": path, "image_class_id": 7, "create_time": NOW_MS / 1000 }
    ]});
    assert_eq!((reply.status, &reply.text), (200, &expected.to_string()));
    assert_eq!(server.get(&format!("/public/uploads/{path}")).await.bytes, PNG);
}

#[tokio::test]
async fn without_a_class_in_the_query_it_is_zero() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    for query in ["", "?imageClassId=", "?imageClassId=x"] {
        let form = Form::default().text("imageClassId", "9").file("img", "a.png", PNG);
        let reply = alice.call(Method::POST, &format!("uploadAliyun{query}")).form_data(form).send().await;
        assert_eq!(reply.ok()[0]["image_class_id"], 0, "{query}");
    }
}

#[tokio::test]
async fn absolute_urls_follow_the_configuration_or_a_trusted_proxy() {
    let origin = async |server: &TestServer| {
        let alice = server.user("alice").await;
        let form = Form::default().file("img", "a.png", PNG);
        let call = alice.call(Method::POST, "uploadAliyun").header("x-forwarded-proto", "https");
        let url = call.header("host", "chat.example.com").form_data(form).send().await.ok()[0]["url"].to_string();
        url.split("/public").next().unwrap().trim_start_matches('"').to_owned()
    };
    assert_eq!(origin(&TestServer::start().await).await, "http://chat.example.com");
    let proxied = TestServer::with(|config| config.http.trusted_proxies = vec!["127.0.0.1".parse().unwrap()]).await;
    assert_eq!(origin(&proxied).await, "https://chat.example.com");
    let fixed = TestServer::with(|config| config.uploads.base_url = "https://cdn.example.com/".to_owned()).await;
    assert_eq!(origin(&fixed).await, "https://cdn.example.com");
}

#[tokio::test]
async fn upload_aliyun_wants_its_own_field() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let send = async |form| alice.call(Method::POST, "uploadAliyun").form_data(form).send().await;
    send(Form::default().file("file", "a.png", PNG))
        .await
        .refused(400, "上传失败: Expected field 'img', but got 'file'");
    send(Form::default().text("img", "x")).await.refused(400, &format!("上传失败: {NO_FILE}"));
    send(Form::default().file("img", "a.exe", PNG)).await.refused(400, "上传失败: Invalid filename: a.exe");
    assert_eq!(server.files().len(), 0);
}

#[tokio::test]
async fn what_is_no_form_is_refused() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    for kind in ["application/json", "text/plain", "application/octet-stream", "application/x-www-form-urlencoded"] {
        let call = alice.call(Method::POST, "uploadStreamSingleToServerDiy/x").body(kind, "{}");
        call.send().await.refused(400, NOT_MULTIPART);
    }
    let none = alice.call(Method::POST, "uploadStreamSingleToServerDiy/x");
    none.send().await.refused(400, NOT_MULTIPART);
    let aliyun = alice.call(Method::POST, "uploadAliyun").json(&json!({}));
    aliyun.send().await.refused(400, &format!("上传失败: {NOT_MULTIPART}"));
    let unbounded = alice.call(Method::POST, "uploadStreamSingleToServerDiy/x").body("multipart/form-data", "x");
    unbounded.send().await.refused(400, MALFORMED);
}

#[tokio::test]
async fn hostile_bodies_get_a_clear_error_and_leave_nothing() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    for (name, body) in corpus_files("bodies") {
        let text = match name.as_str() {
            "only_text" | "only_end" | "file_without_name" | "no_disposition" => NO_FILE,
            "line_break_in_name" => "Invalid filename: a",
            _ => MALFORMED,
        };
        let reply = alice.call(Method::POST, "uploadStreamSingleToServerDiy/x").body(FORM, body.clone()).send().await;
        assert_eq!((reply.status, reply.json()), (400, json!({ "msg": "fail", "data": text })), "{name}");
        let reply = alice.call(Method::POST, "uploadAliyun").body(FORM, body).send().await;
        assert_eq!((reply.status, reply.json()["data"].as_str()), (400, Some(&*format!("上传失败: {text}"))), "{name}");
    }
    assert_eq!(server.files().len(), 0);
}

#[tokio::test]
async fn hostile_names_that_end_well_are_stored_under_names_of_our_own() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    for name in corpus_list("names_accepted.json") {
        let reply = alice.upload("x", &name, b"content").await;
        assert_eq!(reply.status, 200, "{name:.80}: {}", reply.text);
        assert!(shape(&url(&reply)).starts_with("/public/uploads/Diy/x/20250904/"), "{name:.80}");
        assert_eq!(server.get(&url(&reply)).await.text, "content", "{name:.80}");
    }
    let root = server.config.public_dir.join("uploads/Diy/x/20250904");
    assert!(server.files().iter().all(|file| file.parent() == Some(&root)));
}

#[tokio::test]
async fn names_that_do_not_end_well_are_refused() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    for name in corpus_list("names_refused.json") {
        let shown: String = name.chars().take(255).collect();
        alice.upload("x", &name, b"content").await.refused(400, &format!("Invalid filename: {shown}"));
    }
    assert_eq!(server.files().len(), 0);
}

#[tokio::test]
async fn a_name_that_is_not_utf_8_still_has_its_extension() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mut body =
        b"--cut\r\ncontent-disposition: form-data; name=\"file\"; filename=\"\xd5\xd5\xc6\xac.png\"\r\n\r\n".to_vec();
    body.extend_from_slice(b"content\r\n--cut--\r\n");
    let reply = alice.call(Method::POST, "uploadStreamSingleToServerDiy/x").body(FORM, body).send().await;
    assert_eq!(url(&reply).rsplit('.').next(), Some("png"));
}

#[tokio::test]
async fn hostile_folders_are_refused() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let body = Form::default().file("file", "a.png", PNG).body();
    for folder in corpus_list("folders_refused.json") {
        // Dots encoded too, and written by hand: client libraries tidy them away.
        let encoded = percent_encoding::utf8_percent_encode(&folder, percent_encoding::NON_ALPHANUMERIC);
        let head = alice.head(&format!("uploadStreamSingleToServerDiy/{encoded}"), FORM, body.len());
        let (status, text) = answer(server.begin(&[head.as_bytes(), &body].concat()).await).await;
        assert!(status == 400 && text.ends_with(r#"{"msg":"fail","data":"上传目录名称不合法"}"#), "{folder:?}: {text}");
    }
    assert_eq!(server.files().len(), 0);
}

#[tokio::test]
async fn each_kind_has_its_limit_and_the_content_says_which_kind() {
    let server = tight().await;
    let alice = server.user("alice").await;
    let (png, mp3, mp4): (&[u8], &[u8], &[u8]) =
        (b"\x89PNG\r\n\x1a\n", b"ID3\x03\0", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom");
    let cases: &[(&str, &[u8], usize)] = &[
        ("a.png", png, 10_000),
        ("a.mp3", mp3, 20_000),
        ("a.mp4", mp4, 30_000),
        ("a.zip", b"PK\x03\x04", 40_000),
        ("a.txt", b"text", 40_000),
        // Nothing to tell by: the name counts.
        ("a.jpg", b"?", 10_000),
        ("a.amr", b"?", 20_000),
        // The content says more than the name.
        ("a.mp4", png, 10_000),
        ("a.png", mp3, 20_000),
    ];
    for (name, head, max) in cases {
        alice.upload("x", name, &like(head, *max)).await.ok();
        alice.upload("x", name, &like(head, max + 1)).await.refused(413, TOO_LARGE);
    }
    alice.upload_aliyun("a.png", &like(png, 10_001)).await.refused(400, &format!("上传失败: {TOO_LARGE}"));
    assert_eq!(server.files().len(), cases.len());
}

#[tokio::test]
async fn a_sender_of_far_too_much_still_reads_the_refusal() {
    let server = TestServer::with(|config| config.uploads.image_bytes_max = 10_000).await;
    let alice = server.user("alice").await;
    alice.upload("x", "a.png", &vec![0; 20_000_000]).await.refused(413, TOO_LARGE);
    alice.upload("x", "a.exe", &vec![0; 20_000_000]).await.refused(400, "Invalid filename: a.exe");
    let stranger = Person { token: "garbage".to_owned(), ..alice };
    stranger.upload("x", "a.png", &vec![0; 20_000_000]).await.refused(400, "Token 令牌不合法！");
    assert_eq!(server.files().len(), 0);
}

#[tokio::test]
async fn what_is_announced_as_too_much_is_refused_at_once() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let head = alice.head("uploadStreamSingleToServerDiy/x", FORM, 10_000_000_000);
    let (status, text) = answer(server.begin(head.as_bytes()).await).await;
    assert!(status == 413 && text.contains(TOO_LARGE), "{text}");
}

#[tokio::test]
async fn fields_and_headers_without_end_are_cut_off() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let endless_text = Form::default().text("x", &"y".repeat(2_000_000)).file("file", "a.png", PNG);
    let call = alice.call(Method::POST, "uploadStreamSingleToServerDiy/x").form_data(endless_text);
    call.send().await.refused(413, TOO_LARGE);
    let mut endless_head = b"--cut\r\n".to_vec();
    endless_head.extend(b"x-a: b\r\n".repeat(200_000));
    let call = alice.call(Method::POST, "uploadStreamSingleToServerDiy/x").body(FORM, endless_head);
    call.send().await.refused(413, TOO_LARGE);
    let preamble = vec![b'-'; 2_000_000];
    let call = alice.call(Method::POST, "uploadStreamSingleToServerDiy/x").body(FORM, preamble);
    call.send().await.refused(413, TOO_LARGE);
}

/// Begins an upload and sends only part of the file.
pub async fn half_sent(alice: &Person) -> tokio::net::TcpStream {
    half_sent_with(alice, "").await
}

/// The same with a header more, which ends with a line break.
pub async fn half_sent_with(alice: &Person, header: &str) -> tokio::net::TcpStream {
    let body = Form::default().file("file", "a.png", &like(b"\x89PNG\r\n\x1a\n", 100_000)).body();
    let head = alice.head("uploadStreamSingleToServerDiy/x", FORM, body.len());
    let head = head.replacen("\r\n", &format!("\r\n{header}"), 1);
    alice.door.begin(&[head.as_bytes(), &body[..80_000]].concat()).await
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let stream = half_sent(&alice).await;
    eventually("the upload has begun", async || server.files().len() == 1).await;
    assert!(server.files()[0].parent().unwrap().ends_with("uploads/.incoming"));
    drop(stream);
    eventually("nothing is left", async || server.files().is_empty()).await;
}

#[tokio::test]
async fn an_upload_that_stalls_is_ended() {
    let server = TestServer::with(|config| config.uploads.stall_timeout_s = 1).await;
    let alice = server.user("alice").await;
    let (status, text) = answer(half_sent(&alice).await).await;
    assert!(status == 400 && text.contains("上传超时，请重试"), "{text}");
    assert_eq!(server.files().len(), 0);
}

#[tokio::test]
async fn a_length_that_is_too_short_is_malformed() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let body = Form::default().file("file", "a.png", PNG).body();
    let head = alice.head("uploadStreamSingleToServerDiy/x", FORM, body.len() - 20);
    let (status, text) = answer(server.begin(&[head.as_bytes(), &body].concat()).await).await;
    assert!(status == 400 && text.contains(MALFORMED), "{text}");
    assert_eq!(server.files().len(), 0);
}

#[tokio::test]
async fn chunked_bodies_are_taken() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let body = Form::default().file("file", "a.txt", b"content").body();
    let head = alice
        .head("uploadStreamSingleToServerDiy/x", FORM, 0)
        .replace("content-length: 0", "transfer-encoding: chunked");
    let mut stream = server.begin(head.as_bytes()).await;
    for byte in body {
        stream.write_all(&[b'1', b'\r', b'\n', byte, b'\r', b'\n']).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let (status, text) = answer(stream).await;
    assert_eq!(status, 200, "{text}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_an_error_of_the_server() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let uploads = server.config.public_dir.join("uploads");
    std::fs::remove_dir_all(&uploads).unwrap();
    std::fs::write(&uploads, "no folder").unwrap();
    alice.upload("x", "a.png", PNG).await.refused(500, "服务器内部错误");
    alice.upload_aliyun("a.png", PNG).await.refused(400, "上传失败: 服务器内部错误");
}

#[tokio::test]
async fn uploads_leave_room_on_the_disk_for_the_chat() {
    let server = TestServer::with(|config| config.uploads.free_bytes_min = 1 << 60).await;
    let (alice, bob) = server.friends("alice", "bob").await;
    alice.upload("x", "a.png", PNG).await.refused(500, "服务器内部错误");
    alice.upload_aliyun("a.png", PNG).await.refused(400, "上传失败: 服务器内部错误");
    assert_eq!(server.files().len(), 0);
    alice.say(&bob, "hello").await.ok();
}

#[tokio::test]
async fn a_full_disk_is_an_error_of_the_server_and_leaves_nothing() {
    let server = TestServer::with(|config| config.uploads.free_bytes_min = 0).await;
    let alice = server.user("alice").await;
    let folder = server.config.public_dir.join("uploads");
    std::fs::create_dir_all(&folder).unwrap();
    let mount =
        std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&folder).status();
    if !mount.is_ok_and(|status| status.success()) {
        crate::support::skip("this process may not mount a small disk");
        return;
    }
    let full = alice.upload("x", "a.zip", &vec![7; 5_000_000]).await;
    let aliyun = alice.upload_aliyun("a.zip", &vec![7; 5_000_000]).await;
    let left = server.files();
    let small = alice.upload("x", "a.png", PNG).await;
    let unmount = std::process::Command::new("umount").arg("-l").arg(&folder).status().unwrap();
    full.refused(500, "服务器内部错误");
    aliyun.refused(400, "上传失败: 服务器内部错误");
    assert_eq!(left.len(), 0);
    small.ok();
    assert!(unmount.success());
}

/// Resident memory of a process in KiB, by its name in `/proc/<pid>/status`.
fn memory_kib(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn memory_does_not_grow_with_the_files() {
    if !cfg!(target_os = "linux") {
        return skip("it reads /proc");
    }
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(&mut command(folder.path()));
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = |path: &str| format!("http://{}{path}", process.address);
    let account = json!({ "username": "alice", "password": "secret01" }).to_string();
    let reply = http.post(url("/api/regChat")).header("content-type", "application/json").body(account);
    let reply: Value = serde_json::from_slice(&reply.send().await.unwrap().bytes().await.unwrap()).unwrap();
    let token = reply["data"]["token"].as_str().unwrap();
    let body = bytes::Bytes::from(Form::default().file("file", "film.mp4", &vec![7; 50_000_000]).body());
    let upload = async || {
        let path = url("/api/chat/uploadStreamSingleToServerDiy/x");
        let call = http.post(path).header("token", token).header("content-type", FORM).body(body.clone());
        assert_eq!(call.send().await.unwrap().status(), 200);
    };
    upload().await;
    // From here on the peak counts anew.
    std::fs::write(format!("/proc/{}/clear_refs", process.id()), "5").unwrap();
    let before = memory_kib(process.id(), "VmRSS");
    futures_util::future::join_all((0..8).map(|_| upload())).await;
    let grown = memory_kib(process.id(), "VmHWM").saturating_sub(before);
    assert!(grown < 16 * 1024, "400 MB in 8 uploads at once took {grown} KiB");
}

#[tokio::test]
async fn unfinished_files_of_a_crash_are_swept_at_the_next_start() {
    let server = TestServer::start().await;
    let incoming = server.config.public_dir.join("uploads/.incoming");
    std::fs::create_dir_all(&incoming).unwrap();
    for name in ["old", "young"] {
        std::fs::write(incoming.join(name), "half").unwrap();
    }
    let yesterday = std::time::SystemTime::now() - Duration::from_hours(25);
    std::fs::File::options().write(true).open(incoming.join("old")).unwrap().set_modified(yesterday).unwrap();
    let server = server.restart().await;
    eventually("the old one is gone", async || server.files() == [incoming.join("young")]).await;
}
