//! What an address is counted as, and how many newcomers one may send.

use std::net::{IpAddr, Ipv6Addr};

use crate::limits::{Held, SlidingLimit};

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
    pub fn admit(&self, address: IpAddr, now_ms: i64) -> Option<Admission<'_>> {
        if address.to_canonical().is_loopback() {
            return Some(Admission(None));
        }
        self.0.hold(network_of(address), now_ms).map(|held| Admission(Some(held)))
    }
}

/// A newcomer who is let in. Dropped before it is kept, nobody has come.
#[derive(Debug)]
pub struct Admission<'a>(Option<Held<'a, IpAddr>>);

impl Admission<'_> {
    /// Somebody has come.
    pub fn keep(self) {
        if let Some(held) = self.0 {
            held.keep();
        }
    }
}
