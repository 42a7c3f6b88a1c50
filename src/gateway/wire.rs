//! One WebSocket on a bare TCP stream: tungstenite reads (masks, fragments, control frames), frames are written as the
//! hub encoded them, several in one system call, with no buffer of their own.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::http::stream::TimedStream;
use crate::hub::Frame;
use crate::os;

/// tungstenite fills its read buffer as soon as it reads, so each idle socket costs this much. Clients send next to
/// nothing.
const READ_BUFFER: usize = 512;
/// What the library may hold of the frames that it writes itself: answers to pings and closes.
const ANSWERS_BYTES_MAX: usize = 64 * 1024;
/// What is left of a frame is shared from so many bytes on, and not copied: of a group's thousands who read slowly, each would
/// hold a copy.
const SHARED_MIN: usize = 16 * 1024;
/// Frames written by one system call.
const SLICES_MAX: usize = 64;

/// An open socket.
#[derive(Debug)]
pub struct Wire {
    socket: WebSocketStream<TcpStream>,
    /// tungstenite has answered a ping or a close frame, and may not have written the answer whole.
    answering: bool,
}

/// The answer that accepts a WebSocket, and the connection to come; `None` if the request does not ask for one.
pub fn accept(request: &mut Request) -> Option<(Response, OnUpgrade)> {
    let headers = request.headers();
    let asks = request.method() == Method::GET
        && names(headers, &header::CONNECTION, "upgrade")
        && names(headers, &header::UPGRADE, "websocket")
        && headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| asks)?;
    let accepted = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()?;
    // A browser that asks for a subprotocol breaks off unless it gets one: the first, as the old server's stack chose.
    let offered = headers.get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|offered| offered.to_str().ok());
    let protocol = offered.and_then(|offered| HeaderValue::from_str(offered.split(',').next()?.trim()).ok());
    let upgrade = request.extensions_mut().remove::<OnUpgrade>()?;
    let mut response = Response::default();
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accepted);
    headers.extend(protocol.map(|protocol| (header::SEC_WEBSOCKET_PROTOCOL, protocol)));
    Some((response, upgrade))
}

/// What is left of the last `count` frames and what comes after them, to be held until the network takes it.
fn held(frames: &[Frame], left: &[&[u8]], count: usize) -> Vec<Bytes> {
    let (of_frames, after) = left.split_at(count);
    let (mut held, mut copied) = (Vec::new(), Vec::new());
    for (frame, left) in frames[frames.len() - count..].iter().zip(of_frames) {
        if left.len() < SHARED_MIN {
            copied.extend_from_slice(left);
            continue;
        }
        held.push(Bytes::from(std::mem::take(&mut copied)));
        held.push(frame.part(left));
    }
    copied.extend(after.concat());
    held.push(Bytes::from(copied));
    held.retain(|bytes| !bytes.is_empty());
    held
}

fn names(headers: &HeaderMap, name: &header::HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(word))
}

impl Wire {
    /// Takes the TCP stream out of hyper; hyper's buffers are gone when this returns. A frame or message of
    /// the peer may have `message_bytes_max` bytes.
    pub async fn new(upgraded: Upgraded, message_bytes_max: usize) -> Result<Self> {
        let parts = upgraded
            .downcast::<TokioIo<TimedStream>>()
            .map_err(|_| Error::new(ErrorKind::Unsupported, "the connection is not plain TCP"))?;
        let (stream, early) = (parts.io.into_inner().into_inner(), parts.read_buf.to_vec());
        drop(parts.read_buf);
        // What is written to a socket has bounds of its own, and a phone in a tunnel is to find a long message in the kernel.
        if let Err(cause) = os::bound_unsent(&stream, 0) {
            tracing::debug!(%cause, "the kernel's bound on what is not sent stays as it is for HTTP");
        }
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(ANSWERS_BYTES_MAX)
            .max_message_size(Some(message_bytes_max))
            .max_frame_size(Some(message_bytes_max));
        let socket = WebSocketStream::from_partially_read(stream, early, Role::Server, Some(config)).await;
        Ok(Self { socket, answering: false })
    }

    /// How long what is written may stay unacknowledged by the peer's kernel; then the connection breaks.
    pub fn set_patience(&self, patience: Duration) {
        if let Err(cause) = os::break_unacknowledged(self.socket.get_ref(), patience) {
            tracing::debug!(%cause, "the kernel's patience could not be set; a broken connection will be noticed later");
        }
    }

    /// The next message of the peer; `None` when it said goodbye. Pings are answered on the way, and a close frame by the
    /// call after the one that returned it. May be dropped and called again.
    pub async fn recv(&mut self) -> Option<Result<Message>> {
        let received = self.socket.next().await;
        self.answering |= matches!(received, Some(Ok(Message::Ping(_) | Message::Close(_))));
        received.map(|received| received.map_err(Error::other))
    }

    /// Writes `frames` and then a ping that carries its number, as far as the network takes them at once. Returns the bytes
    /// that are left for [`Wire::finish`], none as a rule.
    pub fn start(&mut self, frames: &[Frame], ping: Option<u64>) -> Result<Vec<Bytes>> {
        let (ping, has_ping) = (ping.map(Frame::ping), ping.is_some());
        let mut rest: Vec<&[u8]> =
            frames.iter().map(Frame::bytes).chain(ping.iter().map(<[u8; 10]>::as_slice)).collect();
        let mut rest = rest.as_mut_slice();
        while !rest.is_empty() && !self.answering {
            let slices: Vec<IoSlice<'_>> = rest.iter().take(SLICES_MAX).map(|bytes| IoSlice::new(bytes)).collect();
            let mut written = match self.socket.get_ref().try_write_vectored(&slices) {
                Ok(written) => written,
                Err(cause) if cause.kind() == ErrorKind::WouldBlock => break,
                Err(cause) => return Err(cause),
            };
            while let Some(first) = rest.first_mut() {
                if written < first.len() {
                    *first = &first[written..];
                    break;
                }
                written -= first.len();
                rest = &mut rest[1..];
            }
        }
        Ok(if rest.is_empty() { Vec::new() } else { held(frames, rest, rest.len() - usize::from(has_ping)) })
    }

    /// Writes what [`Wire::start`] left. If it is dropped before its end, so must be the socket.
    pub async fn finish(&mut self, rest: &[Bytes]) -> Result<()> {
        // An answer of tungstenite's that is not written whole comes first, or it would be torn apart.
        self.socket.flush().await.map_err(Error::other)?;
        self.answering = false;
        for bytes in rest {
            self.socket.get_mut().write_all(bytes).await?;
        }
        Ok(())
    }

    /// Writes `frames` whole.
    pub async fn write(&mut self, frames: &[Frame]) -> Result<()> {
        let rest = self.start(frames, None)?;
        self.finish(&rest).await
    }

    /// Sends a close frame, without a code if there is none. Read on after it until the peer has answered.
    pub async fn close(&mut self, code: Option<u16>) -> Result<()> {
        let frame = code.map(|code| CloseFrame { code: CloseCode::from(code), reason: Utf8Bytes::default() });
        self.socket.send(Message::Close(frame)).await.map_err(Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_network_did_not_take_is_held_in_order_and_long_frames_are_shared() {
        let frames = [5, SHARED_MIN, 7, 2 * SHARED_MIN, 9].map(|length| Frame::text(&[&vec![b'x'; length]]));
        let ping = Frame::ping(1);
        for skipped in 0..=frames.len() {
            let mut left: Vec<&[u8]> = frames[skipped..].iter().map(Frame::bytes).chain([ping.as_slice()]).collect();
            left[0] = &left[0][1..];
            let held = held(&frames, &left, frames.len() - skipped);
            assert_eq!(held.concat(), left.concat(), "{skipped}");
            assert!(held.iter().all(|bytes| !bytes.is_empty()));
            let shared = held.iter().filter(|held| frames.iter().any(|frame| shares(frame, held))).count();
            assert_eq!(shared, [2, 2, 1, 1, 0, 0][skipped]);
        }
    }

    fn shares(frame: &Frame, bytes: &Bytes) -> bool {
        frame.bytes().as_ptr_range().contains(&bytes.as_ptr())
    }
}
