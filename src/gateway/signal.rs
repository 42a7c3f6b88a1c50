//! Frames that carry no message: the welcome, the heartbeat, and the answer to a client's ping (contract: messaging §2).

use serde::Serialize;
use utoipa::ToSchema;

use crate::hub::Frame;

/// One of them, told apart by `type`.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Signal {
    /// The first frame of a socket.
    System {
        /// The welcome.
        data: &'static str,
        /// Epoch milliseconds.
        timestamp: i64,
    },
    /// The heartbeat.
    Ping,
    /// The answer to a ping that came as a text frame.
    Pong {
        /// Epoch milliseconds.
        timestamp: i64,
    },
}

impl Signal {
    /// As pushed.
    pub fn frame(&self) -> Frame {
        Frame::text(&[&serde_json::to_vec(self).expect("a signal is plain data")])
    }
}
