//! Where a request came from.

use std::net::SocketAddr;
use std::sync::Arc;

use super::slots::Slot;

/// The connection that a request came by; carried by each request.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The other end.
    pub peer: SocketAddr,
    /// Its place among the open connections; whoever takes the connection over keeps it.
    pub slot: Arc<Slot>,
}
