//! Places for connections: so many in all, and so many from one network, so that nobody takes them all; and room for bodies that
//! come slowly.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

use super::network::network_of;
use crate::metrics::Connections;

/// How often the log tells of networks that have used up their places.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// How many places there are.
#[derive(Clone, Debug)]
pub struct Places {
    /// Open connections in all; further ones wait.
    pub all: usize,
    /// Open connections from one network; further ones are refused.
    pub by_network: usize,
    /// Reverse proxies, from which all the connections come.
    pub exempt: Vec<IpAddr>,
    /// Bytes of the bodies of requests that are not answered yet, beyond the first [`super::payload::BODY_BYTES_FREE`] of each.
    pub bodies_bytes: usize,
}

/// The places of one listener.
#[derive(Debug)]
pub struct Slots {
    all: Arc<Semaphore>,
    places: Places,
    by_network: Arc<DashMap<IpAddr, usize>>,
    bodies: Arc<Semaphore>,
    counts: Connections,
    told: Mutex<Option<Instant>>,
}

/// A place among the open connections.
#[derive(Debug)]
pub struct Slot {
    _place: OwnedSemaphorePermit,
    network: Option<(IpAddr, Arc<DashMap<IpAddr, usize>>)>,
    bodies: Arc<Semaphore>,
    /// Room that the body of the present request takes.
    room: Mutex<Option<OwnedSemaphorePermit>>,
    counts: Connections,
}

impl Slots {
    /// All free.
    pub fn new(places: Places, counts: Connections) -> Self {
        Self {
            all: Arc::new(Semaphore::new(places.all)),
            bodies: Arc::new(Semaphore::new(places.bodies_bytes)),
            places,
            by_network: Arc::default(),
            counts,
            told: Mutex::default(),
        }
    }

    /// Waits until there is a place for one more.
    pub async fn free(&self) -> OwnedSemaphorePermit {
        self.all.clone().acquire_owned().await.expect("the semaphore is never closed")
    }

    /// Gives the place to a connection, unless its network has too many.
    pub fn take(&self, place: OwnedSemaphorePermit, peer: IpAddr) -> Option<Slot> {
        let network = if self.places.exempt.contains(&peer.to_canonical()) {
            None
        } else {
            let network = network_of(peer);
            let mut count = self.by_network.entry(network).or_insert(0);
            if *count >= self.places.by_network {
                drop(count);
                self.counts.refused.inc();
                self.tell(network);
                return None;
            }
            *count += 1;
            Some((network, self.by_network.clone()))
        };
        self.counts.open.inc();
        Some(Slot {
            _place: place,
            network,
            bodies: self.bodies.clone(),
            room: Mutex::default(),
            counts: self.counts.clone(),
        })
    }

    fn tell(&self, network: IpAddr) {
        let mut told = self.told.lock().expect("no code panics while it holds this lock");
        if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            *told = Some(Instant::now());
            warn!(
                "{network} has used up http.connections_per_address_max, {}; if it is a reverse proxy, name it in \
                 http.trusted_proxies",
                self.places.by_network
            );
        }
    }
}

impl Slot {
    /// Takes room for a part of the body of the connection's request. False if there is none left.
    pub fn take_room(&self, bytes: usize) -> bool {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Ok(more) = self.bodies.clone().try_acquire_many_owned(bytes) else { return false };
        match &mut *self.room() {
            Some(room) => room.merge(more),
            room => *room = Some(more),
        }
        true
    }

    /// The request is answered, and what was made of its body is gone.
    pub fn give_room_back(&self) {
        *self.room() = None;
    }

    fn room(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.room.lock().expect("no code panics while it holds this lock")
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.counts.open.dec();
        if let Some((network, by_network)) = self.network.take() {
            by_network.remove_if_mut(&network, |_, count| {
                *count -= 1;
                *count == 0
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    fn slots(all: usize, by_network: usize) -> Slots {
        let places = Places { all, by_network, exempt: vec!["10.0.0.2".parse().unwrap()], bodies_bytes: 100 };
        Slots::new(places, Connections::new(&Registry::new()))
    }

    async fn take(slots: &Slots, peer: &str) -> Option<Slot> {
        slots.take(slots.free().await, peer.parse().unwrap())
    }

    #[tokio::test]
    async fn a_network_has_its_bound_and_gets_places_back() {
        let slots = slots(100, 2);
        let one = take(&slots, "1.2.3.4").await.unwrap();
        // The same address as a socket for both families reports it.
        let other = take(&slots, "::ffff:1.2.3.4").await.unwrap();
        assert!(take(&slots, "1.2.3.4").await.is_none());
        let neighbour = take(&slots, "1.2.3.5").await;
        assert!(neighbour.is_some());
        drop(one);
        assert!(take(&slots, "1.2.3.4").await.is_some());
        drop((other, neighbour));
        assert!(slots.by_network.is_empty(), "nobody is remembered who has left");
        assert_eq!((slots.all.available_permits(), slots.counts.open.get(), slots.counts.refused.get()), (100, 0, 1));
    }

    #[tokio::test]
    async fn a_home_with_ipv6_counts_once_however_many_addresses_it_uses() {
        let slots = slots(100, 2);
        let _held =
            [take(&slots, "2001:db8:0:1::1").await.unwrap(), take(&slots, "2001:db8:0:1:ffff::2").await.unwrap()];
        assert!(take(&slots, "2001:db8:0:1::3").await.is_none());
        assert!(take(&slots, "2001:db8:0:2::1").await.is_some());
    }

    #[tokio::test]
    async fn a_reverse_proxy_is_not_counted() {
        let slots = slots(100, 1);
        let held =
            [take(&slots, "10.0.0.2").await, take(&slots, "::ffff:10.0.0.2").await, take(&slots, "10.0.0.2").await];
        assert!(held.iter().all(Option::is_some));
    }

    #[tokio::test]
    async fn room_for_bodies_is_bounded_and_comes_back() {
        let slots = slots(100, 2);
        let slot = take(&slots, "1.2.3.4").await.unwrap();
        let other = take(&slots, "1.2.3.5").await.unwrap();
        assert!(slot.take_room(30) && slot.take_room(30));
        assert!(!slot.take_room(60) && !other.take_room(60));
        slot.give_room_back();
        assert!(other.take_room(100));
        drop(other);
        assert!(slot.take_room(100));
    }
}
