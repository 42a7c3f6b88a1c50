//! What Linux alone offers.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use rustix::net::sockopt::set_tcp_user_timeout;
use rustix::process::nice;
use tokio::net::TcpStream;

/// Takes the calling thread's priority down by so many nice values; it can never be raised again.
pub fn lower_priority(by: i32) -> io::Result<()> {
    nice(by)?;
    Ok(())
}

/// Asks for slices of the core that are this long for the calling thread. Whether it has them, so that since Linux 6.12 all that
/// wakes with shorter ones takes the core from it.
pub fn lengthen_slices(slice: Duration) -> io::Result<bool> {
    let mut wishes = uapi::sched_getattr(0, 0)?;
    wishes.sched_runtime = u64::try_from(slice.as_nanos()).map_err(io::Error::other)?;
    uapi::sched_setattr(0, &wishes, 0)?;
    // Older systems take a slice and forget it.
    Ok(uapi::sched_getattr(0, 0)?.sched_runtime == wishes.sched_runtime)
}

/// Has a connection break when what was written to it stays unacknowledged by the peer's kernel for `patience`.
pub fn break_unacknowledged(connection: &TcpStream, patience: Duration) -> io::Result<()> {
    let millis = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
    Ok(set_tcp_user_timeout(connection, millis)?)
}

/// Has a connection, or each that comes in at a listener, hold back so many bytes at most which cannot be sent yet; with 0, as many as the
/// system likes. Of itself that lets a reply grow to megabytes of its own memory, for a peer that reads nothing of it.
pub fn bound_unsent(socket: &impl AsRawFd, bytes: u32) -> io::Result<()> {
    Ok(uapi::setsockopt(socket.as_raw_fd(), uapi::c::IPPROTO_TCP, uapi::c::TCP_NOTSENT_LOWAT, &bytes)?)
}

/// Memory, CPU, open files and threads of this process, for its metrics.
pub fn process_metrics() -> Option<Box<dyn Collector>> {
    Some(Box::new(ProcessCollector::for_self()))
}
