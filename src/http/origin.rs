//! Where a request came from, and what holds for every one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::slots::Slot;

/// The connection that a request came by, and the bounds that it is served within; carried by each request.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The other end.
    pub peer: SocketAddr,
    /// Its place among the open connections; whoever takes the connection over keeps it.
    pub slot: Arc<Slot>,
    /// Bounds of every request.
    pub bounds: Bounds,
}

/// Bounds that hold for every request.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of a JSON or form body.
    pub body_bytes_max: usize,
    /// Time for the whole request, uploads, files and sockets excepted.
    pub request_timeout: Duration,
}
