//! What is done without where Linux's means are not to be had.

use std::io;
use std::time::Duration;

use prometheus::core::Collector;
use tokio::net::TcpStream;

/// Not to be had for one thread: hashes compete with everything else, and rest after each.
pub fn lower_priority(_: i32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Never: the system's slices are as they are.
pub fn lengthen_slices(_: Duration) -> io::Result<bool> {
    Ok(false)
}

/// Not to be had: the system's own patience decides, and a client that has never answered a ping and whose network stalls may lose
/// what was written meanwhile.
pub fn break_unacknowledged(_: &TcpStream, _: Duration) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Left to the system's own bounds: a reply that nobody reads takes as much of its memory as they allow.
pub fn bound_unsent<T>(_: &T, _: u32) -> io::Result<()> {
    Ok(())
}

/// None: the metrics say nothing of the process itself.
pub fn process_metrics() -> Option<Box<dyn Collector>> {
    None
}
