//! Room in memory for large messages that drains have read and their sockets have not taken yet.
//!
//! Ten thousand phones that come back to a group with one large picture in it would else have it ten thousand times in memory, for
//! as long as the slowest of them reads.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{Share, Shares};

/// Bytes of all of them.
const LARGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Of these, for one network: readers that crawl must not take all. The largest message has less.
const LARGE_BY_NETWORK_MAX: usize = 16 * 1024 * 1024;

/// What there is.
#[derive(Debug)]
pub struct LargeBodies {
    left: Arc<Semaphore>,
    by_network: Shares<IpAddr>,
}

/// What one message takes, until it is dropped.
#[derive(Debug)]
pub struct Room {
    _of_network: Option<Share<IpAddr>>,
    _of_all: OwnedSemaphorePermit,
}

impl Default for LargeBodies {
    fn default() -> Self {
        let left = Arc::new(Semaphore::new(LARGE_BYTES_MAX));
        Self { left, by_network: Shares::new(LARGE_BY_NETWORK_MAX) }
    }
}

impl LargeBodies {
    /// Waits for room for one message, to a socket of `network` if there is a bound on that.
    pub async fn room(&self, bytes: usize, network: Option<IpAddr>) -> Room {
        let bytes = bytes.min(LARGE_BY_NETWORK_MAX);
        let of_network = match network {
            None => None,
            Some(network) => Some(self.by_network.turn(network, bytes).await),
        };
        let all = self.left.clone().acquire_many_owned(u32::try_from(bytes).unwrap_or(u32::MAX));
        let of_all = all.await.expect("the semaphore is never closed");
        Room { _of_network: of_network, _of_all: of_all }
    }

    /// Bytes that are taken.
    pub fn taken(&self) -> usize {
        LARGE_BYTES_MAX - self.left.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn readers_that_crawl_leave_room_for_other_networks_until_all_is_taken() {
        let large = LargeBodies::default();
        let of = |network: u8, bytes| large.room(bytes, Some(IpAddr::from([10, 0, 0, network]))).now_or_never();
        let take = |network| of(network, LARGE_BY_NETWORK_MAX).expect("it has none yet");
        let mut held = vec![take(1), take(2), take(3)];
        assert!(of(1, 1).is_none(), "others may have what is left");
        held.push(of(4, 2 * LARGE_BY_NETWORK_MAX).expect("what is larger than a share takes one"));
        assert_eq!(large.taken(), LARGE_BYTES_MAX);
        assert!(of(5, 1).is_none() && large.room(1, None).now_or_never().is_none(), "there is no more");
        held.pop();
        assert!(of(5, 1).is_some());
        drop(held);
        assert_eq!(large.taken(), 0);
    }
}
