//! What an address is counted as, and how many newcomers one may send.

use std::net::{IpAddr, Ipv6Addr};

use crate::limits::{Share, Shares, SlidingLimit};

/// Bits of an IPv6 address that name a network: a home or a phone has a whole one to itself, and could else be counted as
/// somebody new with each connection.
const NETWORK_BITS: u32 = 64;

/// What an address is counted as: itself, or its network.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let mask = u128::MAX << (Ipv6Addr::BITS - NETWORK_BITS);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// On which network's account `address` is. This machine itself has no bound: see [`Newcomers`].
pub fn bounded_network(address: IpAddr) -> Option<IpAddr> {
    (!address.to_canonical().is_loopback()).then(|| network_of(address))
}

/// Waits until the network of `address`, if there is a bound on it, may have one more of what all share.
pub async fn turn_of(shares: &Shares<IpAddr>, address: IpAddr) -> Option<Share<IpAddr>> {
    Some(shares.turn(bounded_network(address)?, 1).await)
}

/// How many newcomers a network sends in a window. This machine itself has no limit: that is a script of the operator's, or
/// everybody behind a proxy that nobody has named.
#[derive(Debug)]
pub struct Newcomers(SlidingLimit<IpAddr>);

impl Newcomers {
    /// At most `count_max` in any `window_ms`.
    pub fn new(count_max: usize, window_ms: i64) -> Self {
        Self(SlidingLimit::new(count_max, window_ms))
    }

    /// Counts one who comes from `address`, unless its network has sent too many.
    pub fn admit(&self, address: IpAddr, now_ms: i64) -> bool {
        address.to_canonical().is_loopback() || self.0.take(network_of(address), now_ms)
    }

    /// Takes the latest back: nobody came.
    pub fn take_back(&self, address: IpAddr) {
        self.0.give_back(&network_of(address));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_network_waits_for_itself_and_for_nobody_else() {
        let shares = Shares::new(1);
        let of = |address: &str| address.parse::<IpAddr>().unwrap();
        let soon = |address| timeout(Duration::from_millis(50), turn_of(&shares, address));
        let first = soon(of("2001:db8::1")).await.expect("nobody has any");
        assert!(first.is_some());
        assert!(soon(of("2001:db8::2")).await.is_err(), "it is the same network");
        assert!(soon(of("2001:db8:0:1::1")).await.is_ok());
        drop(first);
        assert!(soon(of("2001:db8::2")).await.is_ok());
        for local in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(soon(of(local)).await.unwrap().is_none());
        }
    }
}
