//! Slow and hostile HTTP: heads and bodies that trickle, replies that nobody reads, floods of connections, heads that are too
//! large or make no sense. Each is ended or refused in the envelope, and costs a bounded amount of memory.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use qingniao::config::Config;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::support::{BUSY, Door, PATIENCE, Person, Process, Socket, TestServer, command, eventually, skip};

pub const MIB: usize = 1024 * 1024;

pub async fn connect(server: &TestServer) -> TcpStream {
    TcpStream::connect(server.address).await.unwrap()
}

/// Another machine, as far as the server can tell.
async fn connect_from(source: &str, server: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
    socket.connect(server).await.unwrap()
}

/// Everything up to the end of the connection, and how long that took.
async fn rest(stream: &mut TcpStream) -> (String, Duration) {
    let began = Instant::now();
    let mut bytes = Vec::new();
    // A reset ends it as well.
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    assert!(ended.is_ok(), "the server does not end the connection; it sent {:?}", String::from_utf8_lossy(&bytes));
    (String::from_utf8_lossy(&bytes).into_owned(), began.elapsed())
}

/// One reply: its status line and its body, which is in the envelope.
pub async fn reply(stream: &mut TcpStream) -> (String, Value) {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"}") {
        let byte = tokio::time::timeout(PATIENCE, stream.read_u8()).await.expect("a reply comes in time");
        bytes.push(byte.expect("a whole reply comes"));
    }
    parse(&String::from_utf8(bytes).unwrap())
}

fn parse(text: &str) -> (String, Value) {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no reply but {text:?}"));
    assert!(head.to_lowercase().contains("access-control-allow-origin: *"), "{head}");
    assert!(head.contains("content-type: application/json; charset=utf-8"), "{head}");
    (head.lines().next().unwrap()["HTTP/1.1 ".len()..].to_owned(), serde_json::from_str(body).unwrap())
}

pub fn refusal(text: &str) -> Value {
    serde_json::json!({ "msg": "fail", "data": text })
}

fn open(server: &TestServer) -> i64 {
    server.app.metrics.connections.open.get()
}

#[tokio::test]
async fn a_head_that_trickles_is_cut_and_an_idle_connection_is_not() {
    let server = TestServer::with(|config| {
        config.http.header_timeout_s = 1;
        config.http.idle_timeout_s = 60;
    })
    .await;
    let mut idle = connect(&server).await;
    let mut kept = connect(&server).await;
    kept.write_all(b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert_eq!(reply(&mut kept).await.0, "404 Not Found");
    let mut trickling = connect(&server).await;
    trickling.write_all(b"GET /nothing HTTP/1.1\r\n").await.unwrap();
    let began = Instant::now();
    let mut byte = [0];
    while began.elapsed() < PATIENCE {
        if trickling.write_all(b"x").await.is_err() {
            break;
        }
        let read = tokio::time::timeout(Duration::from_millis(100), trickling.read(&mut byte)).await;
        if read.is_ok_and(|read| !matches!(read, Ok(1))) {
            break;
        }
    }
    let took = began.elapsed();
    assert!((Duration::from_millis(900)..Duration::from_secs(3)).contains(&took), "it was cut after {took:?}");
    // Both have waited longer than that by now, and may go on.
    tokio::time::sleep(Duration::from_millis(500)).await;
    for stream in [&mut idle, &mut kept] {
        stream.write_all(b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert_eq!(reply(stream).await.0, "404 Not Found");
    }
}

#[tokio::test]
async fn the_second_head_of_a_connection_may_not_trickle_either() {
    let server = TestServer::with(|config| config.http.header_timeout_s = 1).await;
    let mut stream = connect(&server).await;
    for _ in 0..3 {
        stream.write_all(b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert_eq!(reply(&mut stream).await.0, "404 Not Found");
    }
    stream.write_all(b"GET /noth").await.unwrap();
    let (_, took) = rest(&mut stream).await;
    assert!(took < Duration::from_secs(3), "it was cut after {took:?}");
}

#[tokio::test]
async fn a_body_that_trickles_is_answered_503_in_time() {
    let server = TestServer::with(|config| config.http.request_timeout_s = 1).await;
    let mut stream = connect(&server).await;
    let head =
        "POST /api/loginChat HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let began = Instant::now();
    let (mut read, mut write) = stream.split();
    let answered = async {
        let mut text = String::new();
        read.read_to_string(&mut text).await.map(|_| text)
    };
    let trickling = async {
        while write.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        std::future::pending::<()>().await;
    };
    let text = tokio::select! {
        text = answered => text.unwrap(),
        () = trickling => unreachable!(),
        () = tokio::time::sleep(PATIENCE) => panic!("the server does not answer"),
    };
    assert_eq!(parse(&text), ("503 Service Unavailable".to_owned(), refusal(BUSY)));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

/// A file that no socket buffer holds.
fn large_file(server: &TestServer) -> usize {
    let length = 24 * MIB;
    std::fs::create_dir_all(&server.config.public_dir).unwrap();
    std::fs::write(server.config.public_dir.join("large.bin"), vec![7; length]).unwrap();
    length
}

async fn ask_for_large(server: &TestServer) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    stream.write_all(b"GET /public/large.bin HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    stream
}

#[tokio::test]
async fn a_client_that_does_not_read_its_reply_is_dropped() {
    let server = TestServer::with(|config| config.http.stall_timeout_s = 1).await;
    let length = large_file(&server);
    let before = open(&server);
    let mut stalled = ask_for_large(&server).await;
    eventually("it is connected", async || open(&server) == before + 1).await;
    eventually("it is dropped", async || open(&server) == before).await;
    let mut bytes = Vec::new();
    // What the kernel had taken is there, then the connection ends.
    let _ = stalled.read_to_end(&mut bytes).await;
    assert!(bytes.len() < length, "{} bytes came", bytes.len());
    // Of itself Linux takes some MiB.
    assert!(bytes.len() < MIB || !cfg!(target_os = "linux"), "the kernel held {} bytes", bytes.len());
}

#[tokio::test]
async fn a_client_that_reads_with_pauses_gets_its_whole_reply() {
    let server = TestServer::with(|config| config.http.stall_timeout_s = 1).await;
    let length = large_file(&server);
    let mut stream = ask_for_large(&server).await;
    let mut part = vec![0; 4 * MIB];
    let mut got = 0;
    for _ in 0..5 {
        got += stream.read_exact(&mut part).await.unwrap();
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    let mut last = Vec::new();
    got += stream.read_to_end(&mut last).await.unwrap();
    assert!(got > length, "{got} bytes came");
}

#[tokio::test]
async fn a_connection_that_says_nothing_ends_with_the_server() {
    let server = TestServer::start().await;
    let mut silent = connect(&server).await;
    eventually("it is accepted", async || open(&server) == 1).await;
    server.stop().await;
    assert_eq!(rest(&mut silent).await.0, "");
}

#[tokio::test]
async fn one_address_gets_its_share_of_connections_and_no_more() {
    let server = TestServer::with(|config| config.http.connections_per_address_max = 3).await;
    let request = b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = connect_from("127.0.0.2", server.address).await;
        stream.write_all(request).await.unwrap();
        assert_eq!(reply(&mut stream).await.0, "404 Not Found");
        held.push(stream);
    }
    let mut refused = connect_from("127.0.0.2", server.address).await;
    let (text, _) = rest(&mut refused).await;
    assert_eq!(parse(&text), ("503 Service Unavailable".to_owned(), refusal(BUSY)));
    assert_eq!(server.app.metrics.connections.refused.get(), 1);
    let mut other = connect_from("127.0.0.3", server.address).await;
    other.write_all(request).await.unwrap();
    assert_eq!(reply(&mut other).await.0, "404 Not Found");
    held.pop();
    eventually("the place is free again", async || {
        let mut again = connect_from("127.0.0.2", server.address).await;
        again.write_all(request).await.is_ok() && reply(&mut again).await.0 == "404 Not Found"
    })
    .await;
}

#[tokio::test]
async fn sockets_count_for_their_address_as_well() {
    let server = TestServer::with(|config| config.http.connections_per_address_max = 4).await;
    let alice = server.user("alice").await;
    let socket = alice.socket().await;
    let _second = alice.socket().await;
    let _third = alice.socket().await;
    let mut refused = connect(&server).await;
    assert!(rest(&mut refused).await.0.starts_with("HTTP/1.1 503"));
    socket.cut().await;
    eventually("its place is free", async || {
        let mut stream = connect(&server).await;
        stream.write_all(b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n").await.is_ok()
            && reply(&mut stream).await.0 == "404 Not Found"
    })
    .await;
}

#[tokio::test]
async fn a_trusted_proxy_may_have_as_many_connections_as_there_are() {
    let server = TestServer::with(|config: &mut Config| {
        config.http.connections_per_address_max = 1;
        config.http.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..5 {
        let mut stream = connect(&server).await;
        stream.write_all(b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert_eq!(reply(&mut stream).await.0, "404 Not Found");
        held.push(stream);
    }
}

#[tokio::test]
async fn a_head_that_cannot_be_read_is_refused_in_the_envelope() {
    let server = TestServer::start().await;
    let long = "x".repeat(20 * 1024);
    let many = "a: b\r\n".repeat(200);
    for (head, status, text) in [
        ("garbage\r\n\r\n".to_owned(), "400 Bad Request", "请求格式错误"),
        ("\u{0}\u{1}\u{2}\u{3}\r\n\r\n".to_owned(), "400 Bad Request", "请求格式错误"),
        ("GET / HTTP/1.1\r\nbad header\r\n\r\n".to_owned(), "400 Bad Request", "请求格式错误"),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), "400 Bad Request", "请求格式错误"),
        (
            "POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_owned(),
            "400 Bad Request",
            "请求格式错误",
        ),
        (format!("GET /{long} HTTP/1.1\r\n\r\n"), "431 Request Header Fields Too Large", "请求头过大"),
        (format!("GET / HTTP/1.1\r\nlong: {long}\r\n\r\n"), "431 Request Header Fields Too Large", "请求头过大"),
        (format!("GET / HTTP/1.1\r\n{many}\r\n"), "431 Request Header Fields Too Large", "请求头过大"),
    ] {
        let mut stream = connect(&server).await;
        stream.write_all(head.as_bytes()).await.unwrap();
        let shown: String = head.chars().take(40).collect();
        assert_eq!(reply(&mut stream).await, (status.to_owned(), refusal(text)), "{shown}");
        let (more, _) = rest(&mut stream).await;
        assert_eq!(more, "", "and the connection ends: {shown}");
    }
    // After a good one as well.
    let mut stream = connect(&server).await;
    stream.write_all(b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert_eq!(reply(&mut stream).await.0, "404 Not Found");
    stream.write_all(b"garbage\r\n\r\n").await.unwrap();
    assert_eq!(reply(&mut stream).await, ("400 Bad Request".to_owned(), refusal("请求格式错误")));
}

#[tokio::test]
async fn a_chunked_body_without_end_is_refused_at_its_bound() {
    let server = TestServer::with(|config| config.http.body_bytes_max = 10_000).await;
    let mut stream = connect(&server).await;
    let head = "POST /api/loginChat HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    for _ in 0..3 {
        stream.write_all(chunk.as_bytes()).await.unwrap();
    }
    assert_eq!(reply(&mut stream).await, ("413 Payload Too Large".to_owned(), refusal("请求体过大")));
}

#[tokio::test]
async fn an_upload_that_trickles_is_dropped_and_its_place_is_free() {
    let server = TestServer::with(|config| {
        config.uploads.stall_timeout_s = 1;
        config.uploads.parallel_max = 1;
    })
    .await;
    let alice = server.user("alice").await;
    let mut stream = connect(&server).await;
    let head = format!(
        "POST /api/chat/uploadStreamSingleToServerDiy/imgs HTTP/1.1\r\nhost: x\r\ntoken: {}\r\n\
         content-type: multipart/form-data; boundary=cut\r\ncontent-length: 100000\r\n\r\n\
         --cut\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\r\n",
        alice.token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut read, mut write) = stream.split();
    let began = Instant::now();
    let trickling = async {
        while write.write_all(&[b'x'; 50]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        std::future::pending::<()>().await;
    };
    let answered = async {
        let mut text = Vec::new();
        let _ = read.read_to_end(&mut text).await;
        String::from_utf8_lossy(&text).into_owned()
    };
    let text = tokio::select! {
        text = answered => text,
        () = trickling => unreachable!(),
        () = tokio::time::sleep(4 * PATIENCE) => panic!("the upload goes on"),
    };
    assert!(text.starts_with("HTTP/1.1 400"), "{text}");
    assert!(began.elapsed() < 3 * PATIENCE, "{:?}", began.elapsed());
    alice.upload("imgs", "me.png", crate::support::files::PNG).await.ok();
}

/// How many connections each attacker may have, and tries to have.
const SHARE: usize = 150;
const TRIES: usize = 200;
const ATTACKERS: [&str; 4] = ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"];
const SAMPLES: usize = 150;

/// One of three ways to hold a connection for as long as the server lets one: a head that trickles, a body that does, a reply
/// that is not read.
async fn hold(source: &str, server: SocketAddr, number: usize) {
    let mut stream = connect_from(source, server).await;
    let (begin, filling): (&[u8], usize) = match number % 3 {
        0 => (b"GET /nothing HTTP/1.1\r\nhost: x\r\nlong: ", 10_000),
        1 => (b"POST /api/loginChat HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n", 200_000),
        _ => (b"GET /public/large.bin HTTP/1.1\r\nhost: x\r\n\r\n", 0),
    };
    // The server may refuse and close at any time, which is what it is to do.
    if stream.write_all(begin).await.is_err() || stream.write_all(&vec![b' '; filling]).await.is_err() {
        return;
    }
    while number % 3 == 2 || stream.write_all(b" ").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Connects and leaves, again and again.
async fn come_and_go(source: &str, server: SocketAddr) {
    loop {
        let mut stream = connect_from(source, server).await;
        let _ = stream.write_all(b"GET / HT").await;
        drop(stream);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The time from sending to arrival that one in a hundred exceeds.
async fn p99(from: &Person, to: &Person, socket: &mut Socket) -> Duration {
    let mut times = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let began = Instant::now();
        from.say(to, "hello").await.ok();
        socket.next_message().await;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    times[SAMPLES * 99 / 100]
}

fn resident_mib(process: &Process) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() / 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_with_slow_lorises_costs_little_memory_and_others_hardly_feel_it() {
    if !cfg!(target_os = "linux") {
        return skip("it reads /proc");
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("public")).unwrap();
    std::fs::write(folder.path().join("public/large.bin"), vec![7; 24 * MIB]).unwrap();
    let share = SHARE.to_string();
    let process = Process::start(command(folder.path()).envs([
        ("QINGNIAO_HTTP_CONNECTIONS_PER_ADDRESS_MAX", share.as_str()),
        ("QINGNIAO_HTTP_BODIES_BYTES_MAX", "16777216"),
    ]));
    let door = Door::to(process.address);
    let (alice, bob) = door.friends("alice", "bob").await;
    let mut socket = bob.asking_socket().await;
    p99(&alice, &bob, &mut socket).await;
    let (before, memory_before) = (p99(&alice, &bob, &mut socket).await, resident_mib(&process));

    let mut attack = JoinSet::new();
    for source in ATTACKERS {
        for number in 0..TRIES {
            let address = process.address;
            attack.spawn(async move { hold(source, address, number).await });
        }
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    for source in ATTACKERS {
        let address = process.address;
        attack.spawn(async move { come_and_go(source, address).await });
    }
    let during = p99(&alice, &bob, &mut socket).await;
    let grown = resident_mib(&process).saturating_sub(memory_before);
    attack.shutdown().await;
    eprintln!("flood: p99 {before:?} before, {during:?} during; memory grew by {grown} MiB");
    // Attackers and people share the machine with other tests, so that little can be said of a single moment; the load
    // program's row `hostile` measures it.
    assert!(during < 2 * before + Duration::from_millis(150), "p99 {before:?} before, {during:?} during");
    // What 600 connections, 16 MiB of bodies in buffers that double, and a thread for each file that is read may take together.
    assert!(grown < 200, "memory grew by {grown} MiB");
}
