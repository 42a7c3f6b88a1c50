//! A socket over bare TCP: it never answers pings by itself, and reads only when the test does. For peers that are mute,
//! slow or gone.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::{PATIENCE, Person, described, is_greeting};

/// Small, so that a peer that does not read is noticed soon.
const RECEIVE_BUFFER: u32 = 4096;
/// A frame that is a whole message.
const FIN: u8 = 0x80;
/// Beside the length: the payload is masked.
const MASKED: u8 = 0x80;
const MASK: [u8; 4] = [7, 1, 3, 9];

/// A frame as it came.
#[derive(Clone, Debug, PartialEq)]
pub enum RawFrame {
    Text(String),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
    /// TCP ended.
    End,
}

/// An open socket that does nothing by itself.
pub struct RawSocket {
    pub owner: Option<Person>,
    stream: TcpStream,
    /// The payload of the latest ping, to answer it late.
    pub last_ping: Option<Vec<u8>>,
}

impl RawSocket {
    /// Opens `/ws`; nothing is read but the head of the upgrade's reply.
    pub async fn open(address: SocketAddr, token: Option<&str>) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(RECEIVE_BUFFER).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        let query = token.map(|token| format!("?token={token}")).unwrap_or_default();
        let head = format!(
            "GET /ws{query} HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut reply = Vec::new();
        while !reply.ends_with(b"\r\n\r\n") {
            reply.push(stream.read_u8().await.expect("the server answers the upgrade"));
        }
        assert!(reply.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&reply));
        Self { owner: None, stream, last_ping: None }
    }

    /// Reads up to the last greeting card that everybody gets.
    pub(super) async fn greeted(&mut self) {
        loop {
            let frame = self.next_json().await;
            let key = frame["data"]["msgidKey"].as_str().unwrap_or_default();
            if key.starts_with("redirect-AskAndAnswerSet-") || key.starts_with("redirect-visitorLogin-") {
                return;
            }
        }
    }

    /// The next frame; a ping is remembered but not answered.
    pub async fn next_frame(&mut self) -> RawFrame {
        self.frame_within(PATIENCE).await.expect("a frame comes in time")
    }

    /// The next frame, or `None` if nothing comes within `wait`. Do not read on after `None`: a frame may be cut.
    pub async fn frame_within(&mut self, wait: Duration) -> Option<RawFrame> {
        let frame = tokio::time::timeout(wait, read_frame(&mut self.stream)).await.ok()?.unwrap_or(RawFrame::End);
        if let RawFrame::Ping(payload) = &frame {
            self.last_ping = Some(payload.clone());
        }
        Some(frame)
    }

    /// The next text frame as JSON.
    pub async fn next_json(&mut self) -> Value {
        loop {
            match self.next_frame().await {
                RawFrame::Text(text) => {
                    let frame = serde_json::from_str(&text).unwrap();
                    described::check_frame(&frame);
                    return frame;
                }
                RawFrame::Ping(_) | RawFrame::Pong(_) => {}
                other => panic!("the socket ended while a frame was expected: {other:?}"),
            }
        }
    }

    /// The next message object that is not a greeting card.
    pub async fn next_message(&mut self) -> Value {
        loop {
            let mut frame = self.next_json().await;
            if frame["type"] == "singleChat" && !is_greeting(&frame) {
                return frame["data"].take();
            }
        }
    }

    /// Answers the latest ping that was read.
    pub async fn pong(&mut self) {
        let payload = self.last_ping.take().expect("a ping was read");
        self.send_frame(0xA, &payload).await;
    }

    /// Sends a text frame.
    pub async fn send(&mut self, text: &str) {
        self.send_frame(0x1, text.as_bytes()).await;
    }

    /// Sends a frame of any opcode, masked as clients must.
    pub async fn send_frame(&mut self, opcode: u8, payload: &[u8]) {
        let mut frame = vec![FIN | opcode];
        match u16::try_from(payload.len()) {
            Ok(length @ 0..=125) => frame.push(MASKED | length.to_be_bytes()[1]),
            Ok(length) => {
                frame.push(MASKED | 0x7e);
                frame.extend(length.to_be_bytes());
            }
            Err(_) => {
                frame.push(MASKED | 0x7f);
                frame.extend((payload.len() as u64).to_be_bytes());
            }
        }
        frame.extend(MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.stream.write_all(&frame).await.expect("the socket is open");
    }

    /// Ends TCP with a reset, as a phone that lost its network: no close frame.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

async fn read_frame(stream: &mut TcpStream) -> std::io::Result<RawFrame> {
    let opcode = stream.read_u8().await? & 0x0f;
    let length = match stream.read_u8().await? & 0x7f {
        126 => u64::from(stream.read_u16().await?),
        127 => stream.read_u64().await?,
        short => u64::from(short),
    };
    let mut payload = vec![0; usize::try_from(length).expect("a frame fits into memory")];
    stream.read_exact(&mut payload).await?;
    Ok(match opcode {
        0x1 => RawFrame::Text(String::from_utf8(payload).expect("text frames are UTF-8")),
        0x8 => RawFrame::Close(payload.get(..2).map(|code| u16::from_be_bytes([code[0], code[1]]))),
        0x9 => RawFrame::Ping(payload),
        0xA => RawFrame::Pong(payload),
        other => panic!("no such frame is expected: opcode {other}"),
    })
}
