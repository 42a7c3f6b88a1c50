//! `getVideoScreenshot` (contract: messaging 4.31; decision 23).

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{Rgb, RgbImage};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::support::files::corpus_files;
use crate::support::{NOW_MS, Person, Reply, TestServer, have_program};

pub const FAILED: &str = "截图生成失败";
pub const RED: Rgb<u8> = Rgb([253, 0, 0]);
const BLUE: Rgb<u8> = Rgb([0, 0, 253]);

/// Videos made by ffmpeg.
pub struct Studio(TempDir);

impl Studio {
    /// `None`, said loudly, where there is no ffmpeg.
    pub fn open() -> Option<Self> {
        have_program("ffmpeg").then(|| Self(tempfile::tempdir().unwrap()))
    }

    /// Runs ffmpeg with these arguments and an output of this name.
    pub fn make(&self, arguments: &str, name: &str) -> Vec<u8> {
        let path = self.0.path().join(name);
        let made = std::process::Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error", "-y"])
            .args(arguments.split_whitespace())
            .arg(&path)
            .status()
            .unwrap();
        assert!(made.success(), "ffmpeg {arguments} {name}");
        std::fs::read(path).unwrap()
    }

    /// One second of red, then one of blue.
    pub fn red_then_blue(&self, size: &str, more: &str, name: &str) -> Vec<u8> {
        let colors = format!(
            "-f lavfi -i color=c=red:s={size}:r=25:d=1 -f lavfi -i color=c=blue:s={size}:r=25:d=1 \
             -filter_complex [0][1]concat=n=2 -pix_fmt yuv420p {more}"
        );
        self.make(&colors, name)
    }
}

/// Uploads a video; returns the absolute URL that the client would ask with.
pub async fn uploaded(alice: &Person, name: &str, video: &[u8]) -> String {
    let reply = alice.upload("chatVideos", name, video).await;
    format!("http://{}{}", alice.door.address, reply.ok()["url"].as_str().unwrap())
}

pub async fn ask(alice: &Person, body: Value) -> Reply {
    alice.post("getVideoScreenshot", body).await
}

/// The picture of a reply, whose base64 and URL must be the same file.
async fn picture(server: &TestServer, reply: &Reply) -> RgbImage {
    let data = reply.ok();
    let (head, base64) = data["base64"].as_str().unwrap().split_once(',').unwrap();
    assert_eq!(head, format!("data:image/{};base64", data["format"].as_str().unwrap()));
    let bytes = STANDARD.decode(base64).unwrap();
    let file = server.get(data["url"].as_str().unwrap()).await;
    assert_eq!((file.status, file.bytes == bytes), (200, true));
    image::load_from_memory(&bytes).unwrap().into_rgb8()
}

/// Whether a picture is all of one colour, but for what a codec changes.
pub fn is_all(picture: &RgbImage, color: Rgb<u8>) -> bool {
    picture.pixels().all(|pixel| pixel.0.iter().zip(color.0).all(|(got, wanted)| got.abs_diff(wanted) <= 12))
}

#[tokio::test]
async fn the_cover_is_the_frame_that_was_asked_for() {
    let Some(studio) = Studio::open() else { return };
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let video = uploaded(&alice, "a.mp4", &studio.red_then_blue("320x240", "", "a.mp4")).await;
    let early = ask(&alice, json!({ "videoUrl": video, "time": 20, "width": 260, "format": "png" })).await;
    let shot = picture(&server, &early).await;
    assert_eq!((shot.dimensions(), is_all(&shot, RED)), ((260, 195), true));
    let late = ask(&alice, json!({ "videoUrl": video, "time": 1500 })).await;
    let shot = picture(&server, &late).await;
    assert_eq!((shot.dimensions(), is_all(&shot, BLUE)), ((320, 240), true));
}

#[tokio::test]
async fn the_reply_has_its_shape_and_echoes_types() {
    let Some(studio) = Studio::open() else { return };
    let server = TestServer::start().await;
    let guest = server.guest().await;
    let video = uploaded(&guest, "a.mp4", &studio.red_then_blue("64x64", "", "a.mp4")).await;
    let shape = async |body: Value| {
        let mut data = ask(&guest, body).await.ok();
        let keys: Vec<_> = data.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["base64", "url", "format", "time", "width"]);
        let url = data["url"].as_str().unwrap().to_owned();
        let prefix = format!("/public/uploads/Diy/VideoScreenshot/screenshot_{NOW_MS}_");
        let (random, extension) = url.strip_prefix(&prefix).unwrap().split_once('.').unwrap();
        assert!(random.len() == 6 && random.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()), "{url}");
        assert_eq!(data["format"], extension);
        data.as_object_mut().unwrap().retain(|key, _| !matches!(key.as_str(), "base64" | "url"));
        data
    };
    assert_eq!(
        shape(json!({ "videoUrl": video, "time": 20, "width": 32, "format": "jpg" })).await,
        json!({ "format": "jpg", "time": 20, "width": 32 })
    );
    assert_eq!(
        shape(json!({ "videoUrl": video, "time": "20", "width": "32", "format": "jpeg" })).await,
        json!({ "format": "jpeg", "time": "20", "width": "32" })
    );
    assert_eq!(
        shape(json!({ "videoUrl": video, "time": 0 })).await,
        json!({ "format": "png", "time": 0, "width": "原始宽度" })
    );
}

#[tokio::test]
async fn a_form_is_taken_as_well() {
    let Some(studio) = Studio::open() else { return };
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let video = uploaded(&alice, "a.mp4", &studio.red_then_blue("64x64", "", "a.mp4")).await;
    let pairs = [("videoUrl", video.as_str()), ("time", "20"), ("width", "32")];
    let reply = alice.call(reqwest::Method::POST, "getVideoScreenshot").form(&pairs).send().await;
    assert_eq!((reply.ok()["time"].clone(), reply.ok()["width"].clone()), (json!("20"), json!("32")));
}

#[tokio::test]
async fn every_refusal_of_the_parameters_has_its_text() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let url = "http://x/public/uploads/none.mp4";
    for body in [json!({}), json!({ "videoUrl": "" }), json!({ "time": 20, "width": 0, "format": "x" })] {
        ask(&alice, body).await.refused(400, "视频地址不能为空");
    }
    for none in [Value::Null, json!(false), json!(0)] {
        ask(&alice, json!({ "videoUrl": none, "time": 20 })).await.refused(400, "视频地址不能为空");
    }
    for time in [Value::Null, json!(-1), json!("-1"), json!(-0.5), json!("x"), json!(""), json!([1]), json!("NaN")] {
        ask(&alice, json!({ "videoUrl": url, "time": time, "width": 0 })).await.refused(400, "时间点参数无效");
    }
    ask(&alice, json!({ "videoUrl": url })).await.refused(400, "时间点参数无效");
    for width in [json!(0), json!(3841), json!(-1), json!("x"), json!(1.5), json!([]), json!("1;2"), json!(1e9)] {
        let body = json!({ "videoUrl": url, "time": 20, "width": width });
        ask(&alice, body).await.refused(400, "图片宽度应在1-3840之间");
    }
    for format in ["gif", "PNG", "png/../../x", "webp", "mp4", "svg"] {
        let body = json!({ "videoUrl": url, "time": 20, "format": format });
        ask(&alice, body).await.refused(400, "截图处理失败: 图片格式应为png、jpg或jpeg");
    }
    assert_eq!(server.files().len(), 0);
}

#[tokio::test]
async fn only_own_uploads_and_allowed_hosts_are_read() {
    let Some(studio) = Studio::open() else { return };
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let film = studio.red_then_blue("64x64", "", "a.mp4");
    let own = uploaded(&alice, "a.mp4", &film).await;
    std::fs::write(server.dir.path().join("secret.mp4"), &film).unwrap();
    std::fs::write(server.config.public_dir.join("operators.mp4"), &film).unwrap();
    let (elsewhere, hits) = host(film).await;
    let secret = server.dir.path().join("secret.mp4");
    for url in [
        format!("http://{elsewhere}/a.mp4"),
        format!("http://127.0.0.1:1@{elsewhere}/a.mp4"),
        format!("file://{}", secret.display()),
        secret.display().to_string(),
        format!("concat:{}", secret.display()),
        format!("subfile,,start,0,end,0,,:{}", secret.display()),
        format!("crypto:{}", secret.display()),
        "data:video/mp4;base64,AAAA".to_owned(),
        "pipe:0".to_owned(),
        "/dev/zero".to_owned(),
        "rtmp://127.0.0.1/x".to_owned(),
        "lavfi:color=red".to_owned(),
        "/public/operators.mp4".to_owned(),
        "/public/uploads/../../secret.mp4".to_owned(),
        "/public/uploads/%2e%2e/%2e%2e/secret.mp4".to_owned(),
        "/public/uploads/..%2f..%2fsecret.mp4".to_owned(),
        "-i /etc/passwd".to_owned(),
        "\0".to_owned(),
        "x".repeat(100_000),
    ] {
        let reply = ask(&alice, json!({ "videoUrl": url, "time": 20 })).await;
        assert_eq!((reply.status, reply.json()["data"].clone()), (400, json!(FAILED)), "{url:.200}");
    }
    assert_eq!(hits.load(Ordering::Relaxed), 0);
    // By path, by the host that the client knows, and with the suffix that it has for OSS.
    let path = own.split_once("/public").map(|(_, path)| format!("/public{path}")).unwrap();
    for url in
        [path.clone(), format!("https://chat.example.com{path}"), format!("{own}?x-oss-process=video/snapshot,t_20")]
    {
        ask(&alice, json!({ "videoUrl": url, "time": 20 })).await.ok();
    }
}

/// A host that has one video at every path below `/videos/`, and counts who asks for anything.
async fn host(video: Vec<u8>) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let hits = Arc::new(AtomicUsize::new(0));
    let counter = hits.clone();
    let answer = move |request: Request| {
        counter.fetch_add(1, Ordering::Relaxed);
        let reply = match request.uri().path() {
            "/videos/moved.mp4" => (StatusCode::FOUND, [("location", "/videos/a.mp4")]).into_response(),
            path if path.starts_with("/videos/") => video.clone().into_response(),
            _ => StatusCode::NOT_FOUND.into_response(),
        };
        async move { reply }
    };
    (serve(Router::new().fallback(answer)).await, hits)
}

async fn serve(host: Router) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test's own server is no task of ours")]
    tokio::spawn(axum::serve(listener, host).into_future());
    address
}

#[tokio::test]
async fn an_allowed_host_is_asked_within_bounds() {
    let Some(studio) = Studio::open() else { return };
    let film = studio.red_then_blue("64x64", "", "a.mp4");
    let length = film.len() as u64;
    let (address, hits) = host(film).await;
    let server = TestServer::with(|config| {
        config.covers.hosts = vec![format!("http://{address}/videos")];
        config.uploads.video_bytes_max = length;
    })
    .await;
    let alice = server.user("alice").await;
    let ask_for = async |path: &str| {
        ask(&alice, json!({ "videoUrl": format!("https://{address}/{path}"), "time": 20, "width": 32 })).await
    };
    let shot = picture(&server, &ask_for("videos/a.mp4?v=1").await).await;
    assert!(is_all(&shot, RED));
    ask_for("other/a.mp4").await.refused(400, FAILED);
    assert_eq!(hits.load(Ordering::Relaxed), 1, "what is not below the allowed path is not asked for");
    ask_for("videos/moved.mp4").await.refused(400, FAILED);
    assert_eq!(hits.load(Ordering::Relaxed), 2, "nobody is followed elsewhere");
    assert_eq!(server.files().len(), 1, "only the picture stays");
}

/// It is never silent for long, and would never end.
#[tokio::test]
async fn a_host_that_dawdles_is_not_waited_for() {
    if Studio::open().is_none() {
        return;
    }
    let answer = || async {
        let drops = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            Some((Ok::<_, Infallible>("x"), ()))
        });
        axum::body::Body::from_stream(drops).into_response()
    };
    let address = serve(Router::new().fallback(answer)).await;
    let server = TestServer::with(|config| {
        config.covers.hosts = vec![format!("http://{address}")];
        config.covers.timeout_s = 1;
    })
    .await;
    let alice = server.user("alice").await;
    let began = Instant::now();
    let body = json!({ "videoUrl": format!("http://{address}/videos/a.mp4"), "time": 20 });
    ask(&alice, body).await.refused(400, FAILED);
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
    assert_eq!(server.files().len(), 0);
}

#[tokio::test]
async fn a_cover_keeps_its_shape_however_narrow() {
    let Some(studio) = Studio::open() else { return };
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let url = uploaded(&alice, "a.mp4", &studio.red_then_blue("640x360", "", "a.mp4")).await;
    for (width, height) in [(1, 1), (2, 1), (100, 56), (260, 146), (3840, 2160)] {
        for format in ["png", "jpg"] {
            let body = json!({ "videoUrl": url, "time": 20, "width": width, "format": format });
            let shot = picture(&server, &ask(&alice, body).await).await;
            assert_eq!(shot.dimensions(), (width, height), "{format}");
        }
    }
}

#[tokio::test]
async fn a_video_of_an_allowed_host_may_not_be_larger_than_an_upload() {
    let Some(studio) = Studio::open() else { return };
    let (address, _) = host(studio.red_then_blue("64x64", "", "a.mp4")).await;
    let server = TestServer::with(|config| {
        config.covers.hosts = vec![format!("http://{address}")];
        config.uploads.video_bytes_max = 1000;
    })
    .await;
    let alice = server.user("alice").await;
    let body = json!({ "videoUrl": format!("http://{address}/videos/a.mp4"), "time": 20 });
    ask(&alice, body).await.refused(400, FAILED);
    assert_eq!(server.files().len(), 0);
}

#[tokio::test]
async fn the_formats_of_phones_are_understood() {
    let Some(studio) = Studio::open() else { return };
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    for (name, codec) in [
        ("a.mov", "-c:v libx264"),
        ("a.mkv", "-c:v libx264"),
        ("a.3gp", "-c:v mpeg4"),
        ("a.avi", "-c:v mpeg4"),
        ("a.webm", "-c:v libvpx"),
        ("a.m4v", "-c:v libx264"),
    ] {
        let video = uploaded(&alice, name, &studio.red_then_blue("64x64", codec, name)).await;
        let reply = ask(&alice, json!({ "videoUrl": video, "time": 20 })).await;
        assert!(is_all(&picture(&server, &reply).await, RED), "{name}");
    }
}

#[tokio::test]
async fn hostile_videos_have_no_cover_and_reach_nothing() {
    let Some(studio) = Studio::open() else { return };
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let film = studio.red_then_blue("64x64", "", "sibling.mp4");
    let sibling = uploaded(&alice, "sibling.mp4", &film).await;
    let name = sibling.rsplit('/').next().unwrap();
    let secret = studio.0.path().join("sibling.mp4");
    let (address, hits) = host(film.clone()).await;
    let files = server.files().len();
    for (name_of, content) in corpus_files("videos") {
        let Ok(text) = String::from_utf8(content.clone()) else {
            let video = uploaded(&alice, &name_of, &content).await;
            ask(&alice, json!({ "videoUrl": video, "time": 20 })).await.refused(400, FAILED);
            continue;
        };
        let text = text.replace("SECRET", &secret.display().to_string()).replace("SIBLING", name);
        let text = text.replace("HOST", &format!("{address}/videos"));
        let video = uploaded(&alice, &name_of, text.as_bytes()).await;
        ask(&alice, json!({ "videoUrl": video, "time": 20 })).await.refused(400, FAILED);
    }
    let truncated = uploaded(&alice, "cut.mp4", &film[..film.len() / 2]).await;
    ask(&alice, json!({ "videoUrl": truncated, "time": 20 })).await.refused(400, FAILED);
    assert_eq!(hits.load(Ordering::Relaxed), 0);
    assert_eq!(server.files().len(), files + corpus_files("videos").len() + 1, "no picture was kept");
}

#[tokio::test]
async fn huge_frames_and_pictures_of_no_shape_are_refused() {
    let Some(studio) = Studio::open() else { return };
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let huge = studio.make("-f lavfi -i color=c=red:s=10000x6000:r=1:d=1 -c:v mjpeg", "huge.avi");
    let huge = uploaded(&alice, "huge.avi", &huge).await;
    ask(&alice, json!({ "videoUrl": huge, "time": 0, "width": 10 })).await.refused(400, FAILED);
    let tall = studio.make("-f lavfi -i color=c=red:s=2x3000:r=1:d=1 -c:v mpeg4", "tall.avi");
    let tall = uploaded(&alice, "tall.avi", &tall).await;
    ask(&alice, json!({ "videoUrl": tall, "time": 0, "width": 3840 })).await.refused(400, FAILED);
}

/// The app always asks for 20 ms.
#[tokio::test]
async fn a_video_that_is_over_after_its_beginning_shows_its_first_frame() {
    let Some(studio) = Studio::open() else { return };
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let video = uploaded(&alice, "a.mp4", &studio.red_then_blue("64x64", "-frames:v 1", "a.mp4")).await;
    for time in [20, 0, 900] {
        let cover = ask(&alice, json!({ "videoUrl": video, "time": time })).await;
        assert_eq!(*picture(&server, &cover).await.get_pixel(32, 32), RED, "{time}");
    }
    ask(&alice, json!({ "videoUrl": video, "time": 5000 })).await.refused(400, FAILED);
}

#[tokio::test]
async fn a_time_beyond_the_end_has_no_cover() {
    let Some(studio) = Studio::open() else { return };
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let video = uploaded(&alice, "a.mp4", &studio.red_then_blue("64x64", "", "a.mp4")).await;
    for time in [json!(5000), json!(1e300), json!("99999999999999999999")] {
        ask(&alice, json!({ "videoUrl": video, "time": time })).await.refused(400, FAILED);
    }
}

#[tokio::test]
async fn a_picture_that_cannot_be_kept_is_said_so() {
    let Some(studio) = Studio::open() else { return };
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let video = uploaded(&alice, "a.mp4", &studio.red_then_blue("64x64", "", "a.mp4")).await;
    std::fs::write(server.config.public_dir.join("uploads/Diy/VideoScreenshot"), "no folder").unwrap();
    let reply = ask(&alice, json!({ "videoUrl": video, "time": 20 })).await;
    reply.refused(400, "截图处理失败: 服务器内部错误");
}
