//! What the fuzz targets do with their bytes, and what must hold whatever these are. `tests/it/fuzz.rs` compiles this file
//! too and replays the seeds, so that a target that no longer fits the server is seen without a fuzzer.

use std::sync::OnceLock;
use std::time::Duration;

use axum::http::Uri;
use qingniao::accounts::tokens::Tokens;
use qingniao::clock::Clock;
use qingniao::config::Config;
use qingniao::lifecycle::Server;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// Where the clock stands.
const NOW_MS: i64 = 1_757_000_000_000;
/// Within this the server has answered whatever it was sent.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server, and somebody with a token.
struct Stage {
    runtime: Runtime,
    server: Server,
    token: String,
    _dir: TempDir,
}

fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::defaults();
        config.listen = "127.0.0.1:0".parse().unwrap();
        config.operations.address = String::new();
        config.data_dir = dir.path().join("data");
        config.public_dir = dir.path().join("public");
        config.passwords.memory_kib = 8;
        config.passwords.iterations = 1;
        config.limits.login_failures_per_address = usize::MAX;
        let server = runtime.block_on(Server::start(config, Clock::manual(NOW_MS))).unwrap();
        let mut stage = Stage { runtime, server, token: String::new(), _dir: dir };
        // Its password is in no seed: a login would end the token.
        let account = json!({ "username": "fuzzer", "password": "q8-fjW_2mNs!x04" }).to_string();
        let (_, account) = stage.ask("POST", "/api/regChat", "application/json", [account.as_bytes()].into_iter());
        stage.token.push_str(account["data"]["token"].as_str().unwrap());
        stage
    })
}

impl Stage {
    /// What the server says to `bytes`, all of it until it ends the connection.
    fn exchange(&self, bytes: &[u8]) -> Vec<u8> {
        self.runtime.block_on(async {
            let mut stream = TcpStream::connect(self.server.address).await.unwrap();
            let mut said = Vec::new();
            let talk = async {
                // It may have ended the connection already, by the beginning of what it was sent.
                let _ = stream.write_all(bytes).await;
                let _ = stream.read_to_end(&mut said).await;
            };
            tokio::time::timeout(PATIENCE, talk).await.expect("the server answers and ends the connection");
            said
        })
    }

    /// The answer to a request, a body of which comes in the pieces of `body`: a status that is no fault of the server's,
    /// and an envelope.
    fn ask<'a>(&self, method: &str, path: &str, kind: &str, body: impl Iterator<Item = &'a [u8]>) -> (u16, Value) {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntoken: {}\r\n\
             content-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n",
            self.token
        )
        .into_bytes();
        for piece in body {
            request.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            request.extend_from_slice(piece);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"0\r\n\r\n");
        let said = self.exchange(&request);
        let shown = String::from_utf8_lossy(&said);
        let (head, body) = shown.split_once("\r\n\r\n").unwrap_or_else(|| panic!("an answer, not {shown:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        assert!(status < 500, "{shown}");
        let body: Value = serde_json::from_str(body).unwrap_or_else(|cause| panic!("{cause}: {shown}"));
        assert!(body["msg"].is_string(), "an envelope: {shown}");
        assert!(status == 200 || body["data"].is_string(), "a refusal says why: {shown}");
        (status, body)
    }
}

/// Routes that read a body or a query. `/api/chat/logout` is not among them: it would end the token.
const ROUTES: [&str; 36] = [
    "/api/regChat",
    "/api/loginChat",
    "/api/visitorRegister",
    "/api/visitorregChat",
    "/api/visitorloginChat",
    "/api/chat/searchUser",
    "/api/chat/applyfriend",
    "/api/chat/handleapply/1",
    "/api/chat/setmeOrfriendCanSee/1",
    "/api/chat/userset",
    "/api/chat/deletegoodfriend/1",
    "/api/chat/updateUserinfo",
    "/api/chat/getUserSetInfo",
    "/api/chat/autoAddFriendAndAgree",
    "/api/chat/setPassword",
    "/api/chat/askanswer/create",
    "/api/chat/askanswer/update",
    "/api/chat/askanswer/delete",
    "/api/chat/askanswer/list",
    "/api/chat/askanswer/detail",
    "/api/chat/askanswer/search",
    "/api/chat/socket/sendmessage",
    "/api/chat/group/create",
    "/api/chat/chatGetmessageOffLine",
    "/api/chat/groupUpdateName",
    "/api/chat/groupremark",
    "/api/chat/groupnickname",
    "/api/chat/groupDeleteOrQuit",
    "/api/chat/getVideoScreenshot",
    "/api/chat/revokeMessage",
    "/api/chat/groupDeleteUser",
    "/api/chat/groupInviteUser",
    "/api/chat/groupAddUserSet",
    "/api/chat/groupAgreeOrNo",
    "/api/chat/listapplyfriend/",
    "/api/chat/grouplist/",
];

/// Parameters of any route in any encoding: the first byte is the route, the second the encoding.
pub fn payload(bytes: &[u8]) {
    let [route, encoding, rest @ ..] = bytes else { return };
    let stage = stage();
    let path = ROUTES[usize::from(*route) % ROUTES.len()];
    if path.ends_with('/') {
        // What is no path at all never reaches the server's own code.
        let Ok(path) = Uri::try_from(format!("{path}{}", String::from_utf8_lossy(rest))) else { return };
        stage.ask("GET", &path.to_string(), "text/plain", std::iter::empty());
    } else {
        let kinds = ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=cut"];
        let kind = kinds[usize::from(*encoding) % kinds.len()];
        stage.ask("POST", path, kind, rest.chunks(usize::MAX));
    }
}

/// An upload; the first byte says in what pieces it comes, which may not matter.
pub fn multipart(bytes: &[u8]) {
    let [piece, rest @ ..] = bytes else { return };
    let of = |size: usize| {
        let path = "/api/chat/uploadStreamSingleToServerDiy/fuzz";
        let (status, answer) = stage().ask("POST", path, "multipart/form-data; boundary=cut", rest.chunks(size));
        // Where a file is kept is different each time.
        (status, if status == 200 { Value::Null } else { answer })
    };
    assert_eq!(of(usize::from(*piece) + 1), of(usize::MAX));
}

/// A token: whatever is taken for one is, byte for byte, what is signed for its claims.
pub fn token(bytes: &[u8]) {
    static TOKENS: OnceLock<Tokens> = OnceLock::new();
    let tokens = TOKENS.get_or_init(|| Tokens::new("the secret of the seeds"));
    let text = String::from_utf8_lossy(bytes);
    if let Some(claims) = tokens.verify(&text, NOW_MS) {
        assert_eq!(tokens.sign(&claims).unwrap(), text);
    }
}

/// What a client sends on `/ws` after the handshake; the first byte says whether it comes in one piece with it. The server
/// answers in whole frames, and ends.
pub fn frames(bytes: &[u8]) {
    let [first, sent @ ..] = bytes else { return };
    let stage = stage();
    let handshake = format!(
        "GET /ws?token={} HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        stage.token
    );
    let said = stage.runtime.block_on(async {
        let mut stream = TcpStream::connect(stage.server.address).await.unwrap();
        let mut head = handshake.into_bytes();
        let together = first % 2 == 1;
        if together {
            head.extend_from_slice(sent);
        }
        stream.write_all(&head).await.unwrap();
        let mut said = Vec::new();
        let talk = async {
            if !together {
                let _ = stream.write_all(sent).await;
            }
            // The server may have ended already, by what it was sent.
            let _ = stream.shutdown().await;
            let _ = stream.read_to_end(&mut said).await;
        };
        tokio::time::timeout(PATIENCE, talk).await.expect("the server ends a socket whose peer has ended it");
        said
    });
    let Some(end) = said.windows(4).position(|window| window == b"\r\n\r\n") else { return };
    assert!(said.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&said));
    check_frames(&said[end + 4..]);
}

/// A server's frames: whole but for the last, final, not masked, of known kinds, texts in UTF-8.
fn check_frames(mut rest: &[u8]) {
    while let [head, length, more @ ..] = rest {
        assert!([0x81, 0x88, 0x89, 0x8a].contains(head), "the head of a frame, not {head:#x}");
        let (length, more) = match (length, more) {
            (126, [a, b, more @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), more),
            (127, more) if more.len() >= 8 => (u64::from_be_bytes(more[..8].try_into().unwrap()), &more[8..]),
            (126 | 127, _) => return,
            (length, more) => (u64::from(*length), more),
        };
        let length = usize::try_from(length).unwrap();
        let Some((payload, next)) = more.split_at_checked(length) else { return };
        assert!(*head != 0x81 || std::str::from_utf8(payload).is_ok(), "a text is UTF-8");
        rest = next;
    }
}
