//! Clients that send what no client sends: as HTTP, as frames, and half of it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::history::Recorder;
use super::support::Person;

/// Who sends at once.
const VANDALS: usize = 12;
/// Rest of each, in microseconds: they are many, and not all the machine's cores.
const REST_US: u64 = 8000;
/// How long an answer is waited for.
const LISTENS: Duration = Duration::from_millis(150);
const HEAD_END: &str = "\r\n\r\n";
const ROUTES: [&str; 8] = [
    "/api/chat/socket/sendmessage",
    "/api/chat/revokeMessage",
    "/api/chat/goodfriendlist/1",
    "/api/regChat",
    "/api/chat/group/create",
    "/api/chat/uploadfile",
    "/ws",
    "/public/../../etc/passwd",
];

/// Sends garbage for a while. Returns in words how much.
pub async fn pour(
    address: SocketAddr,
    vandal: &Person,
    recorder: &Recorder,
    span: Duration,
    rng: &mut StdRng,
) -> String {
    let until = Instant::now() + span;
    let mut vandals = JoinSet::new();
    for _ in 0..VANDALS {
        let (rng, token, recorder) = (StdRng::seed_from_u64(rng.random()), vandal.token.clone(), recorder.clone());
        vandals.spawn(Vandal { address, rng, token, recorder }.rage(until));
    }
    let counts = vandals.join_all().await;
    let sum = |which: fn(&(u32, u32)) -> u32| counts.iter().map(which).sum::<u32>();
    format!("{} garbled requests, {} sockets with garbage", sum(|count| count.0), sum(|count| count.1))
}

struct Vandal {
    address: SocketAddr,
    rng: StdRng,
    token: String,
    recorder: Recorder,
}

impl Vandal {
    async fn rage(mut self, until: Instant) -> (u32, u32) {
        let (mut requests, mut sockets) = (0, 0);
        // Left half open until the end.
        let mut left = Vec::new();
        while Instant::now() < until {
            let Ok(mut stream) = TcpStream::connect(self.address).await else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            // A server may hang up on garbage at any byte of it.
            if self.rng.random_ratio(1, 3) {
                sockets += 1;
                let _ = self.frames(&mut stream).await;
            } else {
                requests += 1;
                let request = self.request();
                let _ = stream.write_all(&request).await;
                self.read(&mut stream, &request).await;
            }
            tokio::time::sleep(Duration::from_micros(self.rng.random_range(0..2 * REST_US))).await;
            if left.len() < 20 && self.rng.random_ratio(1, 10) {
                left.push(stream);
            }
        }
        (requests, sockets)
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.rng.random_range(0..most);
        (0..length).map(|_| self.rng.random()).collect()
    }

    fn request(&mut self) -> Vec<u8> {
        let route = ROUTES[self.rng.random_range(0..ROUTES.len())];
        let body = self.bytes(3000);
        let head = match self.rng.random_range(0..6) {
            0 => return self.bytes(4000),
            1 => format!("GET {route} HTTP/1.1\r\nhost: x\r\nx-filler: {}", "y".repeat(20_000)),
            // Its body never comes whole.
            2 => format!("POST {route} HTTP/1.1\r\nhost: x\r\ncontent-length: 900000{HEAD_END}"),
            3 => format!("POST {route} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked{HEAD_END}zz\r\n"),
            4 => format!(
                "POST {route} HTTP/1.1\r\nhost: x\r\ntoken: {}\r\ncontent-type: application/json\r\ncontent-length: {}{HEAD_END}",
                self.token,
                body.len()
            ),
            _ => format!(
                "POST {route} HTTP/1.1\r\nhost: x\r\ntoken: {}\r\ncontent-type: multipart/form-data; boundary=b\r\n\
                 content-length: {}{HEAD_END}",
                self.token,
                body.len()
            ),
        };
        [head.into_bytes(), body].concat()
    }

    async fn read(&self, stream: &mut TcpStream, request: &[u8]) {
        let mut answer = vec![0; 512];
        let length = timeout(LISTENS, stream.read(&mut answer)).await.unwrap_or(Ok(0)).unwrap_or(0);
        let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
        if answer.starts_with("HTTP/1.1 5") {
            let asked = String::from_utf8_lossy(&request[..request.len().min(200)]).into_owned();
            self.recorder.wrong(format_args!("status: garbage {asked:?} was answered {answer:?}"));
        }
    }

    /// Opens a socket as it should be, and goes on as it should not.
    async fn frames(&mut self, stream: &mut TcpStream) -> std::io::Result<()> {
        let head = format!(
            "GET /ws?token={} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.token
        );
        stream.write_all(head.as_bytes()).await?;
        let mut answer = [0; 2048];
        let _ = timeout(LISTENS, stream.read(&mut answer)).await;
        for _ in 0..self.rng.random_range(1..6) {
            let payload = self.bytes(2000);
            let (first, masked) = (self.rng.random::<u8>(), self.rng.random_ratio(3, 4));
            let length = if self.rng.random_ratio(1, 8) { u64::MAX / 3 } else { payload.len() as u64 };
            let mut frame = vec![first, if masked { 0xff } else { 0x7f }];
            frame.extend(length.to_be_bytes());
            frame.extend([0; 4]);
            frame.extend(payload);
            stream.write_all(&frame).await?;
        }
        let _ = timeout(LISTENS / 3, stream.read(&mut answer)).await;
        Ok(())
    }
}
