//! WebSocket conformance, judged by an outside suite: Autobahn|Testsuite's fuzzing client against the server's own accept
//! loop and socket (`http::serve`, `gateway::wire`), on which an echo stands in place of the chat, as the suite's cases
//! expect one. `.ci/autobahn` installs the suite and prints the path that `QINGNIAO_WSTEST` is to hold.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use qingniao::gateway::wire::{self, Wire};
use qingniao::http::serve::{Terms, Timeouts, serve};
use qingniao::http::slots::Places;
use qingniao::hub::Frame;
use qingniao::metrics::Metrics;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::skip;

/// What of the suite does not apply, and why.
const EXCLUDED: &[(&str, &str)] = &[
    ("9.1.2", LARGE),
    ("9.1.3", LARGE),
    ("9.1.4", LARGE),
    ("9.1.5", LARGE),
    ("9.1.6", LARGE),
    ("9.2.2", LARGE),
    ("9.2.3", LARGE),
    ("9.2.4", LARGE),
    ("9.2.5", LARGE),
    ("9.2.6", LARGE),
    ("9.3.*", LARGE),
    ("9.4.*", LARGE),
    ("9.5.*", LARGE),
    ("9.6.*", LARGE),
    ("12.*", UNCOMPRESSED),
    ("13.*", UNCOMPRESSED),
];
const LARGE: &str = "messages of 256 KiB to 16 MiB; the echo takes 64 KiB";
const UNCOMPRESSED: &str = "permessage-deflate, which the server does not offer";

/// Longest message of this echo. The chat takes less (CLIENT_MESSAGE_MAX of `gateway`), which says nothing of its frames.
const MESSAGE_MAX: usize = 64 * 1024;

/// Cases that pass, but not as early as they might: bytes that are no UTF-8, in the middle of a frame, are refused when the
/// whole frame has come, since tungstenite reads frames whole. A frame has 64 KiB at most.
const LATE: [&str; 2] = ["6.4.3", "6.4.4"];

/// Cases of the suite that are left, at least: a run of fewer has not run the suite.
const CASES_MIN: usize = 240;
/// A run takes a quarter of a minute.
const PATIENCE: Duration = Duration::from_mins(4);

/// Serves an echo by the server's accept loop.
async fn echo_server(sockets: TaskTracker, stop: CancellationToken) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let counts = Metrics::default().connections;
    let places = Places { all: 100, by_network: 100, exempt: Vec::new(), bodies_bytes: 0, body_bytes: 0 };
    let timeouts = Timeouts { idle: PATIENCE, head: PATIENCE, stall: PATIENCE };
    let terms = Terms { places, timeouts, counts };
    sockets.clone().spawn(async move {
        let own = sockets.clone();
        let answer = move |request| std::future::ready(echo_at(request, &own));
        serve(listener, answer, terms, &sockets, stop).await;
    });
    address
}

fn echo_at(mut request: Request, sockets: &TaskTracker) -> Response {
    let (response, upgrade) = wire::accept(&mut request).expect("the suite asks for a WebSocket");
    sockets.spawn(async move {
        let mut wire = Wire::new(upgrade.await.unwrap(), MESSAGE_MAX).await.unwrap();
        // As in the server, a peer that breaks the protocol is dropped.
        let _ = echo(&mut wire).await;
    });
    response
}

async fn echo(wire: &mut Wire) -> std::io::Result<()> {
    while let Some(message) = wire.recv().await {
        match message? {
            Message::Text(text) => wire.write(&[Frame::text(&[text.as_bytes()])]).await?,
            Message::Binary(bytes) => wire.finish(&[binary(&bytes).into()]).await?,
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {}
        }
    }
    Ok(())
}

/// A binary frame; the server sends none.
fn binary(bytes: &[u8]) -> Vec<u8> {
    let mut frame = Frame::text(&[bytes]).bytes().to_vec();
    frame[0] = 0x82;
    frame
}

#[tokio::test]
async fn the_socket_passes_every_case_of_autobahn_that_applies() {
    let Some(suite) = std::env::var_os("QINGNIAO_WSTEST").filter(|path| !path.is_empty()) else {
        skip("it needs Autobahn|Testsuite (Python 2.7): set QINGNIAO_WSTEST to what .ci/autobahn prints");
        return;
    };
    let (sockets, stop) = (TaskTracker::new(), CancellationToken::new());
    let address = echo_server(sockets.clone(), stop.clone()).await;
    let folder = tempfile::tempdir().unwrap();
    let excluded: Vec<&str> = EXCLUDED.iter().map(|(case, _)| *case).collect();
    let spec = json!({
        "outdir": folder.path().join("reports"),
        "servers": [{ "agent": "qingniao", "url": format!("ws://{address}/ws") }],
        "cases": ["*"], "exclude-cases": excluded, "exclude-agent-cases": {},
    });
    let spec_path = folder.path().join("spec.json");
    std::fs::write(&spec_path, spec.to_string()).unwrap();
    let run = Command::new(suite)
        .args(["--mode", "fuzzingclient", "--spec"])
        .arg(&spec_path)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ended = tokio::time::timeout(PATIENCE, run).await.expect("the suite ends in time").unwrap();
    stop.cancel();
    let said = String::from_utf8_lossy(&ended.stdout);
    let index = std::fs::read_to_string(folder.path().join("reports/index.json"));
    let index = index.unwrap_or_else(|cause| panic!("{cause}: {said}{}", String::from_utf8_lossy(&ended.stderr)));
    let mut index: Value = serde_json::from_str(&index).unwrap();
    let Value::Object(cases) = index["qingniao"].take() else { panic!("a report of our cases: {index}") };
    assert!(cases.len() >= CASES_MIN, "the suite ran {} cases only", cases.len());
    let failed = failed(&cases);
    assert!(failed.is_empty(), "of {} cases, these failed:\n{}", cases.len(), failed.join("\n"));
}

/// The cases that did not pass, with what the suite says of each.
fn failed(cases: &Map<String, Value>) -> Vec<String> {
    let passes = |value: &Value| value == "OK" || value == "INFORMATIONAL";
    let late = |name: &str, value: &Value| value == "NON-STRICT" && LATE.contains(&name);
    let failed = cases.iter().filter(|(name, case)| {
        !(passes(&case["behavior"]) || late(name, &case["behavior"])) || !passes(&case["behaviorClose"])
    });
    failed.map(|(name, case)| format!("{name}: {} (close: {})", case["behavior"], case["behaviorClose"])).collect()
}
