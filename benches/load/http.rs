//! A minimal HTTP/1.1 keep-alive client: one request at a time, the answer read by its `content-length`.
//!
//! It exists because the generator shares two cores with the server: a general client costs more than the server itself.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::failure::{Failure, While};

const READ_BYTES: usize = 8 * 1024;
/// A list of 5,000 friends is about 1.5 MB.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
const CALL_TIME: Duration = Duration::from_mins(1);

/// One keep-alive connection.
pub struct Http {
    stream: TcpStream,
    inbox: Vec<u8>,
}

/// Status and body of an answer.
pub struct Answer<'a> {
    pub status: u16,
    pub body: &'a [u8],
}

struct Head {
    status: u16,
    body_start: usize,
    body_bytes: usize,
}

impl Http {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await.doing("connecting over HTTP")?;
        stream.set_nodelay(true).doing("setting TCP_NODELAY")?;
        Ok(Self { stream, inbox: vec![0; READ_BYTES] })
    }

    /// Writes a whole request and reads its whole answer.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>, Failure> {
        self.stream.write_all(request).await.doing("writing a request")?;
        let mut filled = 0;
        let mut head = None;
        loop {
            if filled == self.inbox.len() {
                self.inbox.resize(filled * 2, 0);
            }
            let count = self.stream.read(&mut self.inbox[filled..]).await.doing("reading an answer")?;
            if count == 0 {
                return Err(Failure::new("the server closed a connection instead of answering"));
            }
            filled += count;
            if head.is_none() {
                head = Head::parse(&self.inbox[..filled])?;
            }
            if let Some(Head { status, body_start, body_bytes }) = head
                && filled >= body_start + body_bytes
            {
                return Ok(Answer { status, body: &self.inbox[body_start..body_start + body_bytes] });
            }
        }
    }

    /// Calls a route off the hot path and hands out the envelope's `data`; anything but 200 is a failure.
    pub async fn call(&mut self, route: &str, token: &str, body: &Value) -> Result<Value, Failure> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = request(route, token, &body);
        let answer = timeout(CALL_TIME, self.exchange(&request)).await.doing(route)?.doing(route)?;
        answer.accepted().doing(route)?;
        let mut envelope: Value = serde_json::from_slice(answer.body).doing(route)?;
        Ok(envelope["data"].take())
    }
}

impl Answer<'_> {
    /// Fails with the server's own words unless the status is 200.
    pub fn accepted(&self) -> Result<(), Failure> {
        if self.status == 200 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(300)]);
        Err(Failure::new(format!("the server answered {}: {text}", self.status)))
    }
}

impl Head {
    fn parse(bytes: &[u8]) -> Result<Option<Self>, Failure> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&bytes[..end]).doing("reading an answer's head")?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.get(9..12)).and_then(|code| code.parse().ok());
        let length = lines
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, value)| value.trim().parse().ok());
        let status = status.doing("the status of an answer")?;
        let body_bytes = length.doing("the content-length of an answer")?;
        if body_bytes > ANSWER_BYTES_MAX {
            return Err(Failure::new(format!("an answer of {body_bytes} bytes")));
        }
        Ok(Some(Self { status, body_start: end + 4, body_bytes }))
    }
}

/// The bytes of a request. `route` is method and path, as in `POST /api/regChat`.
pub fn request(route: &str, token: &str, body: &str) -> Vec<u8> {
    request_of(route, token, "application/json", body.as_bytes())
}

/// The same with a body that is not JSON.
pub fn request_of(route: &str, token: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let token = if token.is_empty() { String::new() } else { format!("token: {token}\r\n") };
    let length = body.len();
    let head = format!(
        "{route} HTTP/1.1\r\nhost: 127.0.0.1\r\n{token}content-type: {content_type}\r\n\
         content-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}
