//! A `sendmessage` request made once and stamped anew for every send.

use crate::{
    http,
    mark::{MARK_BYTES, Mark, now_ns},
};

/// About what the real client sends for a short text.
const BODY_BYTES: usize = 400;

/// To whom a letter goes.
#[derive(Clone, Copy)]
pub enum Addressee {
    /// A user id.
    Person(u64),
    /// A group id.
    Group(u64),
}

/// One sender's request to one addressee, in one stream.
pub struct Letter {
    request: Vec<u8>,
    mark_start: usize,
    stream: u32,
}

impl Letter {
    /// Writes the request with an empty mark.
    pub fn new(token: &str, addressee: Addressee, stream: u32) -> Self {
        let (sendto_id, chat_type) = match addressee {
            Addressee::Person(id) => (id, "single"),
            Addressee::Group(id) => (id, "group"),
        };
        let before = format!(r#"{{"sendto_id":{sendto_id},"chatType":"{chat_type}","type":"text","data":{{"data":""#);
        let after = r#"","dataType":false,"otherData":null},"options":"%7B%7D"}"#;
        let filler = BODY_BYTES.saturating_sub(before.len() + MARK_BYTES + after.len());
        let body = format!("{before}{}{}{after}", "?".repeat(MARK_BYTES), ".".repeat(filler));
        let request = http::request("POST /api/chat/socket/sendmessage", token, &body);
        let mark_start = request.len() - body.len() + before.len();
        Self { request, mark_start, stream }
    }

    /// The stream, as an index.
    pub fn stream(&self) -> usize {
        // Streams are counted from 0 in a run and are few.
        usize::try_from(self.stream).unwrap_or(usize::MAX)
    }

    /// Stamps number and time; hands out the bytes to write and the time.
    pub fn stamp(&mut self, seq: u32) -> (&[u8], u64) {
        let at_ns = now_ns();
        let mark = Mark { stream: self.stream, seq, at_ns };
        mark.write(&mut self.request[self.mark_start..self.mark_start + MARK_BYTES]);
        (&self.request, at_ns)
    }
}
