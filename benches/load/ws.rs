//! A minimal WebSocket client: reads many frames from one large shared buffer and answers pings with masked pongs.
//!
//! The pongs matter: by them the server confirms deliveries. All pongs of one read go out in one write.

use std::{cell::RefCell, future::poll_fn, net::SocketAddr, pin::Pin, task::Poll};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};

use crate::failure::{Failure, While};

const SHARED_BYTES: usize = 64 * 1024;
const HEAD_BYTES_MAX: usize = 4 * 1024;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
/// FIN and opcode 10; then the mask bit. A mask of four zero bytes leaves the payload as it is, and is a legal mask.
const PONG_HEAD: u8 = 0x8a;
const MASKED: u8 = 0x80;

thread_local! {
    // One buffer for all sockets of the thread: ten thousand own buffers would not stay in the processor's cache.
    static SHARED: RefCell<Vec<u8>> = RefCell::new(vec![0; SHARED_BYTES]);
}

/// One open socket.
pub struct Socket {
    stream: TcpStream,
    /// The beginning of a frame whose end has not come yet.
    carry: Vec<u8>,
    /// Whether whole frames may lie in `carry`: they can come together with the answer to the handshake.
    unread: bool,
    pongs: Vec<u8>,
}

impl Socket {
    /// Connects and shakes hands; returns when the server has answered 101.
    pub async fn open(address: SocketAddr, token: &str) -> Result<Self, Failure> {
        let mut stream = TcpStream::connect(address).await.doing("connecting a socket")?;
        stream.set_nodelay(true).doing("setting TCP_NODELAY")?;
        let hello = format!(
            "GET /ws?token={token} HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: cWluZ25pYW8tYmVuY2gtMQ==\r\n\r\n"
        );
        stream.write_all(hello.as_bytes()).await.doing("asking for a socket")?;
        let mut inbox = Vec::with_capacity(HEAD_BYTES_MAX);
        let end = loop {
            let count = stream.read_buf(&mut inbox).await.doing("reading the handshake")?;
            if let Some(end) = inbox.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if count == 0 || inbox.len() >= HEAD_BYTES_MAX {
                return Err(Failure::new("the handshake has no end"));
            }
        };
        if !inbox.starts_with(b"HTTP/1.1 101") {
            let text = String::from_utf8_lossy(&inbox[..inbox.len().min(300)]).into_owned();
            return Err(Failure::new(format!("the socket was refused: {text}")));
        }
        let carry = inbox.split_off(end);
        Ok(Self { stream, carry, unread: true, pongs: Vec::new() })
    }

    /// Waits for bytes, hands every whole text frame to `on_text`, answers pings. A close or an end is a failure.
    pub async fn pump(&mut self, mut on_text: impl FnMut(&[u8])) -> Result<(), Failure> {
        if self.unread {
            self.unread = false;
            let used = walk(&self.carry, &mut on_text, &mut self.pongs)?;
            self.carry.drain(..used);
        } else {
            self.read(&mut on_text).await?;
        }
        if !self.pongs.is_empty() {
            self.stream.write_all(&self.pongs).await.doing("answering a ping")?;
            self.pongs.clear();
        }
        Ok(())
    }

    async fn read(&mut self, on_text: &mut impl FnMut(&[u8])) -> Result<(), Failure> {
        let Self { stream, carry, pongs, .. } = self;
        poll_fn(|context| {
            SHARED.with_borrow_mut(|shared| {
                let kept = carry.len();
                if kept * 2 > shared.len() {
                    shared.resize(kept * 4, 0);
                }
                shared[..kept].copy_from_slice(carry);
                let mut space = ReadBuf::new(&mut shared[kept..]);
                match Pin::new(&mut *stream).poll_read(context, &mut space) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(cause)) => return Poll::Ready(Err(cause).doing("reading a socket")),
                    Poll::Ready(Ok(())) => {}
                }
                let count = space.filled().len();
                if count == 0 {
                    return Poll::Ready(Err(Failure::new("the server ended a socket")));
                }
                let bytes = &shared[..kept + count];
                let used = walk(bytes, on_text, pongs);
                carry.clear();
                if let Ok(used) = used {
                    carry.extend_from_slice(&bytes[used..]);
                }
                Poll::Ready(used.map(|_| ()))
            })
        })
        .await
    }
}

/// Handles all whole frames; returns how many bytes they took.
fn walk(bytes: &[u8], on_text: &mut impl FnMut(&[u8]), pongs: &mut Vec<u8>) -> Result<usize, Failure> {
    let mut used = 0;
    while let Some((opcode, payload, length)) = frame(&bytes[used..]) {
        match opcode {
            TEXT => on_text(payload),
            PING => {
                // A control frame's payload is at most 125 bytes, so its length fits the 7 bits.
                let length = u8::try_from(payload.len()).doing("a ping's length")?;
                pongs.extend_from_slice(&[PONG_HEAD, MASKED | length, 0, 0, 0, 0]);
                pongs.extend_from_slice(payload);
            }
            CLOSE => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                return Err(Failure::new(format!("the server closed a socket with code {code:?}")));
            }
            _ => {}
        }
        used += length;
    }
    Ok(used)
}

/// Opcode, payload and whole length of the first frame; `None` while a part of it is missing.
fn frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (head, length) = match second & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)).ok()?),
        short => (2, usize::from(short)),
    };
    let payload = bytes.get(head..head + length)?;
    Some((first & 0x0f, payload, head + length))
}
