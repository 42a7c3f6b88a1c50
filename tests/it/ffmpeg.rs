//! ffmpeg as a program: one that hangs, floods, is asked for by many at once, or is not there.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use qingniao::config::Config;
use serde_json::json;
use tempfile::TempDir;

use crate::covers::{FAILED, ask, uploaded};
use crate::support::{Person, TestServer};

/// A program that stands in for ffmpeg.
fn impostor(folder: &Path, script: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("ffmpeg");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

pub async fn with_impostor(script: &str, parallel_max: usize) -> (TestServer, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = impostor(folder.path(), script);
    let server = TestServer::with(|config: &mut Config| {
        config.covers.ffmpeg_path = path.display().to_string();
        config.covers.timeout_s = 1;
        config.covers.parallel_max = parallel_max;
        // So that calls can come from different networks.
        config.http.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    (server, folder)
}

#[tokio::test]
async fn a_program_that_never_ends_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _kept) =
        with_impostor(&format!("echo $$ >> {}/pids; exec sleep 600", folder.path().display()), 1).await;
    let alice = server.user("alice").await;
    let video = uploaded(&alice, "a.mp4", b"x").await;
    ask(&alice, json!({ "videoUrl": video, "time": 20 })).await.refused(400, FAILED);
    let pid = std::fs::read_to_string(folder.path().join("pids")).unwrap();
    assert!(!Path::new(&format!("/proc/{}", pid.trim())).exists(), "neither running nor a zombie");
    assert_eq!(server.files().len(), 1);
}

#[tokio::test]
async fn a_program_that_writes_for_ever_is_cut_off() {
    let (server, _kept) = with_impostor("exec cat /dev/zero", 1).await;
    let alice = server.user("alice").await;
    let video = uploaded(&alice, "a.mp4", b"x").await;
    ask(&alice, json!({ "videoUrl": video, "time": 20 })).await.refused(400, FAILED);
    let (server, _kept) = with_impostor("exec cat /dev/zero >&2", 1).await;
    let alice = server.user("alice").await;
    let video = uploaded(&alice, "a.mp4", b"x").await;
    ask(&alice, json!({ "videoUrl": video, "time": 20 })).await.refused(400, FAILED);
}

#[tokio::test]
async fn so_many_run_at_once_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "cd {}; touch running.$$; ls running.* | wc -l >> counts; sleep 0.1; rm running.$$; echo picture",
        folder.path().display()
    );
    let (server, _kept) = with_impostor(&script, 2).await;
    let (alice, bob, carol) = (server.user("alice").await, server.user("bob").await, server.user("carol").await);
    let video = uploaded(&alice, "a.mp4", b"x").await;
    // One for each person at a time: nobody waits for all that somebody else asks for.
    let asks = [&alice, &bob, &carol, &alice, &bob, &carol, &alice, &bob]
        .map(|person| ask(person, json!({ "videoUrl": video, "time": 20 })));
    for reply in futures_util::future::join_all(asks).await {
        reply.ok();
    }
    let counts = std::fs::read_to_string(folder.path().join("counts")).unwrap();
    let counts: Vec<u32> = counts.lines().map(|line| line.trim().parse().unwrap()).collect();
    assert_eq!((counts.len(), *counts.iter().max().unwrap()), (8, 2));
}

#[tokio::test]
async fn a_network_that_keeps_ffmpeg_busy_keeps_itself_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let path = impostor(folder.path(), "case \"$*\" in *7.777*) exec sleep 600;; esac; echo picture");
    let server = TestServer::with(|config: &mut Config| {
        config.covers.ffmpeg_path = path.display().to_string();
        config.covers.timeout_s = 1;
        config.covers.parallel_max = 1;
        config.http.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let alice = server.user("alice").await;
    let video = uploaded(&alice, "a.mp4", b"x").await;
    let crowd = futures_util::future::join_all((0..6).map(|_| server.user("crowd"))).await;
    let cover = |person: &Person, address: &str, time: i64| {
        let call = person.call(reqwest::Method::POST, "getVideoScreenshot").header("x-forwarded-for", address);
        call.json(&json!({ "videoUrl": video, "time": time })).send()
    };
    let hanging = futures_util::future::join_all(crowd.iter().map(|person| cover(person, "203.0.113.7", 7777)));
    let mine = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let began = Instant::now();
        cover(&alice, "203.0.113.8", 20).await.ok();
        began.elapsed()
    };
    let (hung, took) = tokio::join!(hanging, mine);
    assert!(took < Duration::from_secs(4), "one or two of the six may be before it, not all: {took:?}");
    for reply in hung {
        reply.refused(400, FAILED);
    }
}

#[tokio::test]
async fn without_ffmpeg_it_fails_politely() {
    let server = TestServer::with(|config| config.covers.ffmpeg_path = "/nowhere/ffmpeg".to_owned()).await;
    assert!(server.app.media.ffmpeg().is_none());
    let alice = server.user("alice").await;
    let video = uploaded(&alice, "a.mp4", b"x").await;
    ask(&alice, json!({ "videoUrl": video, "time": 20 })).await.refused(400, FAILED);
}
