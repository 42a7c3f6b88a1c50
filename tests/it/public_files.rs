//! `GET /public/**`: what is served, as what, and what never is.

use reqwest::Method;

use crate::support::files::{PNG, corpus_files, corpus_list};
use crate::support::{BUSY, Reply, TestServer};

/// A server with files of its operator's and one outside `public/`.
async fn furnished() -> TestServer {
    let server = TestServer::start().await;
    let public = &server.config.public_dir;
    for folder in ["h5", ".git", "uploads/Diy/.x", "uploads/.incoming", "uploads/old"] {
        std::fs::create_dir_all(public.join(folder)).unwrap();
    }
    for (path, text) in [
        ("hello.txt", "hello world"),
        ("h5/index.html", "<p>h5</p>"),
        ("h5/app.js", "1"),
        (".hidden", "secret"),
        (".git/config", "secret"),
        ("uploads/.incoming/half", "secret"),
        ("uploads/Diy/.x/y", "secret"),
        ("uploads/old/index.html", "<script>"),
        ("uploads/old/run.php", "<script>"),
        ("uploads/old/noextension", "<script>"),
        ("../secret.txt", "secret"),
    ] {
        std::fs::write(public.join(path), text).unwrap();
    }
    server
}

async fn get(server: &TestServer, path: &str, headers: &[(&str, &str)]) -> Reply {
    let call = headers.iter().fold(server.call(Method::GET, path), |call, (name, value)| call.header(name, value));
    call.send().await
}

/// The URL of an upload.
async fn uploaded(server: &TestServer, name: &str, content: &[u8]) -> String {
    let reply = server.user("alice").await.upload("x", name, content).await;
    reply.ok()["url"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn nothing_outside_or_hidden_is_served_in_any_encoding() {
    let server = furnished().await;
    for path in corpus_list("traversal.json") {
        let (status, text) = server.get_raw(&path).await;
        assert!(!text.contains("secret\r\n") && !text.ends_with("secret") && !text.contains("root:"), "{path}: {text}");
        // 400 is the HTTP parser's own, for what is no path at all.
        assert!(matches!(status, 400 | 404), "{path}: {text}");
        assert!(status == 400 || text.ends_with(r#"{"msg":"fail","data":"404 错误"}"#), "{path}: {text}");
    }
}

#[tokio::test]
async fn what_does_not_exist_is_refused_in_the_envelope() {
    let server = furnished().await;
    let long = format!("/public/{}", "x".repeat(3000));
    for path in ["/public/none.png", "/public/uploads/none.png", "/public/hello.txt/x", "/public/hello.txt/", &long] {
        server.get(path).await.refused(404, "404 错误");
    }
    server.call(Method::POST, "/public/hello.txt").send().await.refused(405, "请求方法不允许");
}

#[tokio::test]
async fn folders_are_never_listed_but_a_page_of_the_operator_stands_for_one() {
    let server = furnished().await;
    for path in
        ["/public/", "/public/h5", "/public/uploads", "/public/uploads/", "/public/uploads/old/", "/public/uploads/old"]
    {
        server.get(path).await.refused(404, "404 错误");
    }
    let page = server.get("/public/h5/").await;
    assert_eq!((page.text.as_str(), page.header("content-type")), ("<p>h5</p>", "text/html; charset=utf-8"));
}

#[tokio::test]
async fn files_of_the_operator_are_asked_for_again_and_served_as_they_are() {
    let server = furnished().await;
    let page = server.get("/public/h5/index.html").await;
    assert_eq!(page.header("cache-control"), "no-cache");
    assert_eq!(page.header("content-disposition"), "");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(server.get("/public/h5/app.js").await.header("content-type"), "text/javascript; charset=utf-8");
}

#[tokio::test]
async fn uploads_may_be_kept_for_ever_and_are_not_guessed_at() {
    let server = TestServer::start().await;
    let cases = [
        ("a.jpg", "image/jpeg"),
        ("a.webp", "image/webp"),
        ("a.heic", "image/heic"),
        ("a.mp3", "audio/mpeg"),
        ("a.mpeg", "audio/mpeg"),
        ("a.amr", "audio/amr"),
        ("a.m4a", "audio/mp4"),
        ("a.mp4", "video/mp4"),
        ("a.mov", "video/quicktime"),
        ("a.pdf", "application/pdf"),
    ];
    for (name, mime) in cases {
        let reply = server.get(&uploaded(&server, name, b"x").await).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, mime));
        assert_eq!(reply.header("cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert_eq!(reply.header("content-disposition"), "", "{name}");
        assert_eq!(reply.header("access-control-allow-origin"), "*");
    }
}

#[tokio::test]
async fn active_content_is_only_ever_saved() {
    let server = furnished().await;
    let alice = server.user("alice").await;
    let mut urls = vec!["/public/uploads/old/run.php".to_owned(), "/public/uploads/old/noextension".to_owned()];
    for (name, content) in corpus_files("active") {
        urls.push(alice.upload("x", &name, &content).await.ok()["url"].as_str().unwrap().to_owned());
    }
    urls.push("/public/uploads/old/index.html".to_owned());
    for url in urls {
        let reply = server.get(&url).await;
        assert_eq!((reply.status, reply.header("content-disposition")), (200, "attachment"), "{url}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{url}");
        assert!(reply.header("content-security-policy").contains("sandbox"), "{url}");
    }
}

#[tokio::test]
async fn a_page_that_calls_itself_something_else_is_only_ever_saved() {
    let server = TestServer::start().await;
    for (name, content) in [
        ("a.png", "<!doctype html><script>alert(1)</script>"),
        ("a.jpg", " \n<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"alert(1)\"/>"),
        ("a.mp4", "\u{feff}<?xml version=\"1.0\"?>"),
        ("a.pdf", "<html>"),
    ] {
        let reply = server.get(&uploaded(&server, name, content.as_bytes()).await).await;
        assert_eq!(reply.header("content-type"), "application/octet-stream", "{name}");
        assert_eq!(reply.header("content-disposition"), "attachment", "{name}");
        assert_eq!((reply.header("x-content-type-options"), reply.text.as_str()), ("nosniff", content));
    }
}

#[tokio::test]
async fn ranges_are_served_from_small_and_large_files() {
    let server = furnished().await;
    let path = "/public/hello.txt";
    let part = get(&server, path, &[("range", "bytes=6-")]).await;
    assert_eq!((part.status, part.text.as_str()), (206, "world"));
    assert_eq!((part.header("content-range"), part.header("content-length")), ("bytes 6-10/11", "5"));
    let last = get(&server, path, &[("range", "bytes=-2")]).await;
    assert_eq!((last.status, last.text.as_str()), (206, "ld"));
    let beyond = get(&server, path, &[("range", "bytes=11-")]).await;
    assert_eq!((beyond.status, beyond.header("content-range"), beyond.text.as_str()), (416, "bytes */11", ""));
    let several = get(&server, path, &[("range", "bytes=0-1,3-4")]).await;
    assert_eq!((several.status, several.text.as_str()), (200, "hello world"));
    assert_eq!(get(&server, path, &[]).await.header("accept-ranges"), "bytes");

    let large: Vec<u8> = (0..1_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let url = uploaded(&server, "a.mp4", &large).await;
    assert_eq!(get(&server, &url, &[]).await.bytes, large);
    let part = get(&server, &url, &[("range", "bytes=100000-899999")]).await;
    assert_eq!((part.status, part.header("content-length")), (206, "800000"));
    assert_eq!(part.bytes, large[100_000..900_000]);
}

/// A cache would give the refusal to whoever asks for the file.
#[tokio::test]
async fn the_refusal_of_a_range_is_not_kept_by_caches() {
    let server = TestServer::start().await;
    let url = uploaded(&server, "a.png", PNG).await;
    let beyond = get(&server, &url, &[("range", "bytes=100000-")]).await;
    assert_eq!((beyond.status, beyond.header("cache-control")), (416, "no-cache"));
    let part = get(&server, &url, &[("range", "bytes=0-0")]).await;
    assert_eq!((part.status, part.header("cache-control")), (206, "public, max-age=31536000, immutable"));
}

/// The server replaces refusals that hyper makes by itself. A file may hold the same words.
#[tokio::test]
async fn a_file_that_looks_like_a_refusal_is_sent_as_it_is() {
    let server = furnished().await;
    let piece = format!("{:a<1024}", "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    let words = piece.repeat(300);
    std::fs::write(server.config.public_dir.join("words.txt"), &words).unwrap();
    assert_eq!(get(&server, "/public/words.txt", &[]).await.text, words);
}

#[tokio::test]
async fn what_a_client_has_is_not_sent_again() {
    let server = furnished().await;
    let path = "/public/hello.txt";
    let first = get(&server, path, &[]).await;
    let (etag, date) = (first.header("etag"), first.header("last-modified"));
    let again = get(&server, path, &[("if-none-match", etag)]).await;
    assert_eq!((again.status, again.text.as_str(), again.header("etag")), (304, "", etag));
    assert_eq!(again.header("cache-control"), "no-cache");
    assert_eq!(get(&server, path, &[("if-modified-since", date)]).await.status, 304);
    assert_eq!(get(&server, path, &[("if-none-match", "\"other\"")]).await.status, 200);
    assert_eq!(get(&server, path, &[("range", "bytes=0-0"), ("if-range", etag)]).await.status, 206);
    assert_eq!(get(&server, path, &[("range", "bytes=0-0"), ("if-range", "\"other\"")]).await.status, 200);
    std::fs::write(server.config.public_dir.join("hello.txt"), "changed").unwrap();
    assert_eq!(get(&server, path, &[("if-none-match", etag)]).await.text, "changed");
}

#[tokio::test]
async fn head_has_the_headers_only() {
    let server = furnished().await;
    let reply = server.call(Method::HEAD, "/public/hello.txt").send().await;
    assert_eq!((reply.status, reply.header("content-length"), reply.text.as_str()), (200, "11", ""));
}

#[tokio::test]
async fn an_empty_file_is_a_file() {
    let server = TestServer::start().await;
    let reply = server.get(&uploaded(&server, "a.png", b"").await).await;
    assert_eq!((reply.status, reply.header("content-length"), reply.text.as_str()), (200, "0", ""));
}

#[tokio::test]
async fn a_token_is_not_needed_to_see_a_picture() {
    let server = TestServer::start().await;
    assert_eq!(server.get(&uploaded(&server, "a.png", PNG).await).await.bytes, PNG);
}

#[tokio::test]
async fn one_network_does_not_take_all_places_for_files_that_are_read_slowly() {
    let server = TestServer::with(|config| config.http.trusted_proxies = vec!["127.0.0.1".parse().unwrap()]).await;
    std::fs::write(server.config.public_dir.join("large.bin"), vec![7; 100_000]).unwrap();
    std::fs::write(server.config.public_dir.join("small.bin"), vec![7; 10_000]).unwrap();
    let get = async |file: &str, address: &str| {
        server.call(Method::GET, &format!("/public/{file}")).header("x-forwarded-for", address).send().await
    };
    let greedy = "203.0.113.7".parse().unwrap();
    let held: Vec<_> = std::iter::from_fn(|| server.app.media.streams.take(Some(greedy), 1)).collect();
    assert_eq!(held.len(), 512);
    get("large.bin", "203.0.113.7").await.refused(503, BUSY);
    assert_eq!(get("small.bin", "203.0.113.7").await.status, 200);
    assert_eq!(get("large.bin", "203.0.113.8").await.bytes.len(), 100_000);
    drop(held);
    for _ in 0..600 {
        assert_eq!(get("large.bin", "203.0.113.7").await.status, 200, "a place comes back");
    }
}
