//! Who waits for whom: the places for uploads are shared by all, and nobody alone takes all of them.

use std::time::Duration;

use reqwest::Method;

use crate::support::files::{Form, PNG};
use crate::support::{TestServer, eventually};
use crate::uploads::{half_sent, half_sent_with, url};

#[tokio::test]
async fn many_uploads_at_once_wait_for_their_turn() {
    let server = TestServer::with(|config| config.uploads.parallel_max = 2).await;
    let mut people = Vec::new();
    for _ in 0..4 {
        people.push(server.user("alice").await);
    }
    let uploads = people.iter().flat_map(|person| {
        (0..10).map(move |n: usize| async move {
            url(&person.upload("x", "a.txt", n.to_string().repeat(5000).as_bytes()).await)
        })
    });
    let mut urls = futures_util::future::join_all(uploads).await;
    assert_eq!(server.files().len(), 40);
    for (n, url) in urls.iter().enumerate() {
        assert_eq!(server.get(url).await.text, (n % 10).to_string().repeat(5000));
    }
    urls.sort();
    urls.dedup();
    assert_eq!(urls.len(), 40);
}

#[tokio::test]
async fn one_person_cannot_take_all_the_places() {
    let server = TestServer::with(|config| config.uploads.parallel_max = 17).await;
    let (alice, bob) = server.users("alice", "bob").await;
    let mut streams = Vec::new();
    for _ in 0..16 {
        streams.push(half_sent(&alice).await);
    }
    eventually("sixteen have begun", async || server.files().len() == 16).await;
    alice.upload("x", "a.png", PNG).await.refused(400, "上传任务过多，请稍后再试");
    bob.upload("x", "a.png", PNG).await.ok();
    drop(streams);
    eventually("the places are free again", async || alice.upload("x", "a.png", PNG).await.status == 200).await;
}

#[tokio::test]
async fn one_network_cannot_take_all_the_places() {
    let server = TestServer::with(|config| {
        config.uploads.parallel_max = 64;
        config.http.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let (mut streams, alice) = (Vec::new(), server.user("alice").await);
    for _ in 0..16 {
        streams.push(half_sent_with(&alice, "x-forwarded-for: 203.0.113.7\r\n").await);
    }
    eventually("a quarter of the places are taken", async || server.files().len() == 16).await;
    let carol = server.user("carol").await;
    let upload = |address: &'static str| {
        let form = Form::default().file("file", "a.png", PNG);
        let call = carol.call(Method::POST, "uploadStreamSingleToServerDiy/x").token(&carol.token).form_data(form);
        call.header("x-forwarded-for", address).send()
    };
    let mut waiting = std::pin::pin!(upload("203.0.113.7"));
    let waited = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(waited.is_err(), "it waits for the end of one of the others");
    upload("203.0.113.8").await.ok();
    drop(streams);
    waiting.await.ok();
}
