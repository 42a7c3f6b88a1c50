//! The poster that stands in for OSS's snapshot of a video (decision 24).

use reqwest::Method;

use crate::covers::{RED, Studio, is_all, uploaded};
use crate::ffmpeg::with_impostor;
use crate::support::{Person, TestServer, answered_before};

/// What the client appends to the URL of a video that it believes to be in OSS.
const SNAPSHOT: &str = "?x-oss-process=video/snapshot,t_20,m_fast,w_260,f_png";

/// Uploads something that is called a video; returns where its poster is.
async fn poster_of(alice: &Person) -> String {
    let video = uploaded(alice, "a.mp4", b"x").await;
    video.split_once("/public").map(|(_, path)| format!("/public{path}{SNAPSHOT}")).unwrap()
}

#[tokio::test]
async fn without_oss_a_video_has_the_poster_that_the_client_asks_oss_for() {
    let Some(studio) = Studio::open() else { return };
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let reply = alice.upload_aliyun("a.mp4", &studio.red_then_blue("520x400", "", "a.mp4")).await;
    let path = format!("/public/uploads/{}", reply.ok()[0]["path"].as_str().unwrap());
    let poster = server.get(&format!("{path}{SNAPSHOT}")).await;
    assert_eq!((poster.status, poster.header("content-type")), (200, "image/png"));
    let picture = image::load_from_memory(&poster.bytes).unwrap().into_rgb8();
    assert_eq!((picture.dimensions(), is_all(&picture, RED)), ((260, 200), true));
    assert_eq!(server.files().len(), 2);
    assert_eq!(server.get(&format!("{path}{SNAPSHOT}")).await.bytes, poster.bytes);
    assert_eq!(server.files().len(), 2, "made once");
    assert_eq!(server.get(&path).await.header("content-type"), "video/mp4");
}

#[tokio::test]
async fn many_who_want_the_same_poster_make_it_once() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!("echo x >> {}/runs; sleep 0.1; echo picture", folder.path().display());
    let (server, _kept) = with_impostor(&script, 4).await;
    let alice = server.user("alice").await;
    let path = poster_of(&alice).await;
    let asks = (0..20).map(|_| server.get(&path));
    for reply in futures_util::future::join_all(asks).await {
        assert_eq!(reply.text, "picture\n");
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("runs")).unwrap(), "x\n");
}

/// Gets a poster as somebody who comes through the proxy 127.0.0.1 from somewhere else.
async fn get_from(server: &TestServer, address: &str, path: &str) {
    let reply = server.call(Method::GET, path).header("x-forwarded-for", address).send().await;
    assert_eq!((reply.status, reply.text.as_str()), (200, "picture\n"));
}

/// No token is needed to ask for them.
#[tokio::test]
async fn one_network_s_many_posters_do_not_keep_another_s_waiting() {
    let (server, _kept) = with_impostor("sleep 0.1; echo picture", 1).await;
    let alice = server.user("alice").await;
    let mine = poster_of(&alice).await;
    let theirs = futures_util::future::join_all((0..10).map(|_| poster_of(&alice))).await;
    let crowd = theirs.iter().map(|path| get_from(&server, "203.0.113.7", path));
    let before = answered_before(get_from(&server, "203.0.113.8", &mine), crowd).await;
    assert!(before < 6, "one was made and one was being made, not {before}");
}

#[tokio::test]
async fn a_video_without_a_poster_is_tried_once() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _kept) = with_impostor(&format!("echo x >> {}/runs; exit 1", folder.path().display()), 1).await;
    let alice = server.user("alice").await;
    let path = poster_of(&alice).await;
    for _ in 0..3 {
        server.get(&path).await.refused(404, "404 错误");
    }
    server.get(&format!("/public/uploads/Diy/none.mp4{SNAPSHOT}")).await.refused(404, "404 错误");
    assert_eq!(std::fs::read_to_string(folder.path().join("runs")).unwrap(), "x\n");
}
