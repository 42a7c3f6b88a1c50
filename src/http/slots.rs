//! Places for connections: so many in all, and so many from one network, so that nobody takes them all; and room for bodies that
//! come, and for replies that are taken, slowly.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::http::HeaderMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

use super::network::{bounded_network, network_of};
use super::proxies::client_address;
use crate::limits::{Budget, Portion, Seldom, Share, Shares};
use crate::metrics::Connections;

/// Bytes of each body that do not count against the room shared by large bodies; messages are rarely longer.
pub const BODY_BYTES_FREE: usize = 16 * 1024;
/// Of the room for bodies, and of that for replies, one network gets one part in so many.
const ROOM_SHARE: usize = 4;

/// How many places there are.
#[derive(Clone, Debug)]
pub struct Places {
    /// Open connections in all; further ones wait.
    pub all: usize,
    /// Open connections from one network; further ones are refused.
    pub by_network: usize,
    /// Reverse proxies, from which all the connections come.
    pub exempt: Vec<IpAddr>,
    /// Bytes of the bodies of requests that are not answered yet, beyond the first [`BODY_BYTES_FREE`] of each;
    /// and as many of replies that are longer than that and not written yet.
    pub bodies_bytes: usize,
    /// The longest body. A network has room for one.
    pub body_bytes: usize,
}

/// The places of one listener.
#[derive(Debug)]
pub struct Slots {
    all: Arc<Semaphore>,
    by_network: Shares<IpAddr>,
    common: Arc<Common>,
    told: Seldom,
}

/// What all connections of a listener have in common.
#[derive(Debug)]
struct Common {
    places: Places,
    bodies: Budget<IpAddr>,
    replies: Budget<IpAddr>,
    counts: Connections,
}

/// A place among the open connections. There may be many, and nearly all are idle sockets: what few need is apart.
#[derive(Debug)]
pub struct Slot {
    _place: OwnedSemaphorePermit,
    /// `None` for a reverse proxy.
    network: Option<Share<IpAddr>>,
    /// For whom a reverse proxy makes the present request.
    client: Mutex<Option<IpAddr>>,
    /// Room that the body of the present request takes.
    room: Mutex<Room>,
    /// Room that the reply which is being written takes: its own, or that of the request's body.
    reply: Mutex<Room>,
    common: Arc<Common>,
}

type Room = Option<Box<Portion<IpAddr>>>;

impl Slots {
    /// All free.
    pub fn new(places: Places, counts: Connections) -> Self {
        Self {
            all: Arc::new(Semaphore::new(places.all)),
            by_network: Shares::new(places.by_network),
            common: Arc::new(Common {
                bodies: Budget::new(places.bodies_bytes, (places.bodies_bytes / ROOM_SHARE).max(places.body_bytes)),
                replies: Budget::new(places.bodies_bytes, places.bodies_bytes / ROOM_SHARE),
                places,
                counts,
            }),
            told: Seldom::default(),
        }
    }

    /// Waits until there is a place for one more.
    pub async fn free(&self) -> OwnedSemaphorePermit {
        self.all.clone().acquire_owned().await.expect("the semaphore is never closed")
    }

    /// Gives the place to a connection, unless its network has too many.
    pub fn take(&self, place: OwnedSemaphorePermit, peer: IpAddr) -> Option<Slot> {
        let common = self.common.clone();
        let network = if common.places.exempt.contains(&peer.to_canonical()) {
            None
        } else {
            let network = network_of(peer);
            let Some(share) = self.by_network.take(network, 1) else {
                common.counts.refused.inc();
                self.tell(network);
                return None;
            };
            Some(share)
        };
        common.counts.open.inc();
        Some(Slot {
            _place: place,
            network,
            client: Mutex::default(),
            room: Mutex::default(),
            reply: Mutex::default(),
            common,
        })
    }

    fn tell(&self, network: IpAddr) {
        if self.told.is_due() {
            warn!(
                "{network} has used up http.connections_per_address_max, {}; if it is a reverse proxy, name it in \
                 http.trusted_proxies",
                self.common.places.by_network
            );
        }
    }
}

impl Slot {
    /// A request comes: what it takes is on its client's account, also where a reverse proxy makes it.
    pub fn begin(&self, peer: SocketAddr, headers: &HeaderMap) {
        if self.network.is_none() {
            *self.client() = bounded_network(client_address(peer, headers, &self.common.places.exempt));
        }
    }

    /// Bytes that the body of a request may have, uploads excepted.
    pub fn body_bytes_max(&self) -> usize {
        self.common.places.body_bytes
    }

    /// Takes room for a part of the body of the connection's request. False if there is none left, or the network has its share.
    pub fn take_room(&self, bytes: usize) -> bool {
        let Some(more) = self.common.bodies.take(self.account(), bytes) else { return false };
        match &mut *self.room() {
            Some(room) => room.merge(more),
            room => *room = Some(Box::new(more)),
        }
        true
    }

    /// Takes, before anything is done that cannot be undone, what a reply of so many bytes will need beside the room of the request's
    /// body. False if there is not so much left.
    pub fn reserve_for_reply(&self, bytes: usize) -> bool {
        let held = self.room().as_deref().map_or(0, Portion::amount);
        // The envelope has a place in what is free.
        let lacking = bytes.saturating_sub(held + BODY_BYTES_FREE);
        lacking == 0 || self.take_room(lacking)
    }

    /// The request is answered, and what was made of its body is gone.
    pub fn give_room_back(&self) {
        *self.room() = None;
    }

    /// Takes room for a reply until it is written. False if there is none left, or the network has its share: whoever asks for
    /// long lists and takes none of them gets 503 in place of the server's memory.
    pub fn hold_reply(&self, bytes: usize) -> bool {
        // The reply of a message is that message. It is stored by now, and not refused: its own room will do.
        let own = self.room().take();
        let room = own.as_deref().map_or(0, Portion::amount);
        if bytes <= room + 2 * BODY_BYTES_FREE {
            *self.reply() = own;
            return true;
        }
        // One that is longer than a share comes alone.
        let Some(taken) = self.common.replies.take(self.account(), bytes) else { return false };
        *self.reply() = Some(Box::new(taken));
        true
    }

    /// Everything that was to be written is with the kernel.
    pub fn give_reply_room_back(&self) {
        *self.reply() = None;
    }

    /// Whose account the connection is on; `None` for a reverse proxy.
    pub fn network(&self) -> Option<IpAddr> {
        self.network.as_ref().map(|share| *share.key())
    }

    /// Whose account the present request is on.
    fn account(&self) -> Option<IpAddr> {
        self.network().or_else(|| *self.client())
    }

    fn client(&self) -> MutexGuard<'_, Option<IpAddr>> {
        self.client.lock().expect("no code panics while it holds this lock")
    }

    fn reply(&self) -> MutexGuard<'_, Room> {
        self.reply.lock().expect("no code panics while it holds this lock")
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().expect("no code panics while it holds this lock")
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.common.counts.open.dec();
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    const ROOM: usize = 100 * 4 * BODY_BYTES_FREE;

    fn slots(all: usize, by_network: usize) -> Slots {
        let places =
            Places { all, by_network, exempt: vec!["10.0.0.2".parse().unwrap()], bodies_bytes: ROOM, body_bytes: ROOM };
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
        assert_eq!(
            (slots.all.available_permits(), slots.common.counts.open.get(), slots.common.counts.refused.get()),
            (100, 0, 1)
        );
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
    async fn room_for_replies_is_shared_between_networks() {
        let slots = slots(100, 8);
        let mut taken = Vec::new();
        for peer in ["1.2.3.4", "1.2.3.4", "1.2.3.5", "1.2.3.6", "1.2.3.7"] {
            taken.push(take(&slots, peer).await.unwrap());
        }
        let part = |hundredths: usize| ROOM / 100 * hundredths;
        assert!(taken[0].hold_reply(part(20)) && !taken[1].hold_reply(part(6)), "a network has a quarter");
        assert!(taken[1].hold_reply(part(5)) && taken[2].hold_reply(part(1000)), "a longer one is a share");
        assert!(taken[3].hold_reply(part(25)) && taken[4].hold_reply(part(25)));
        let other = take(&slots, "10.0.0.2").await.unwrap();
        assert!(!other.hold_reply(part(1)), "there is no more");
        assert!(other.take_room(part(1)) && other.hold_reply(part(1)), "but for the reply of what was stored");
        taken[0].give_reply_room_back();
        drop(taken.remove(4));
        assert!(taken[0].hold_reply(part(20)) && taken[1].take_room(part(99)), "bodies have room of their own");
        other.give_reply_room_back();
        assert!(taken[1].take_room(part(1)));
        assert!(!other.reserve_for_reply(part(1)) && other.reserve_for_reply(BODY_BYTES_FREE), "bodies have it all");
        taken[1].give_room_back();
        assert!(other.take_room(part(1)) && other.reserve_for_reply(part(3)));
        assert!(other.hold_reply(part(3)), "it is kept for it");
    }

    #[tokio::test]
    async fn room_for_bodies_is_shared_between_networks() {
        let places = Places { all: 9, by_network: 9, exempt: Vec::new(), bodies_bytes: ROOM, body_bytes: ROOM / 10 };
        let slots = Slots::new(places, Connections::new(&Registry::new()));
        let greedy = [take(&slots, "1.2.3.4").await.unwrap(), take(&slots, "1.2.3.4").await.unwrap()];
        assert!(greedy[0].take_room(ROOM / 8) && greedy[1].take_room(ROOM / 8));
        assert!(!greedy[0].take_room(1) && !greedy[1].take_room(1), "a network has a quarter");
        let other = take(&slots, "1.2.3.5").await.unwrap();
        assert!(other.take_room(ROOM / 4));
        greedy[0].give_room_back();
        assert!(greedy[1].take_room(ROOM / 8));
    }

    #[tokio::test]
    async fn a_client_behind_a_reverse_proxy_has_an_account_of_its_own() {
        let exempt = vec!["10.0.0.2".parse().unwrap()];
        let places = Places { all: 9, by_network: 9, exempt, bodies_bytes: ROOM, body_bytes: ROOM / 10 };
        let slots = Slots::new(places, Connections::new(&Registry::new()));
        let request =
            |client: &str| HeaderMap::from_iter([("x-forwarded-for".parse().unwrap(), client.parse().unwrap())]);
        let peer = "10.0.0.2:9".parse().unwrap();
        let by_proxy = [take(&slots, "10.0.0.2").await.unwrap(), take(&slots, "10.0.0.2").await.unwrap()];
        for slot in &by_proxy {
            slot.begin(peer, &request("1.2.3.4"));
        }
        assert!(by_proxy[0].take_room(ROOM / 4) && !by_proxy[1].take_room(1));
        by_proxy[0].give_room_back();
        assert!(by_proxy[0].hold_reply(ROOM / 4) && !by_proxy[1].hold_reply(ROOM / 8));
        by_proxy[1].begin(peer, &request("1.2.3.5"));
        assert!(by_proxy[1].hold_reply(ROOM / 4) && by_proxy[1].take_room(ROOM / 4));
        // Whoever is no proxy says nothing of others.
        let direct = take(&slots, "1.2.3.5").await.unwrap();
        direct.begin("1.2.3.5:9".parse().unwrap(), &request("1.2.3.6"));
        assert!(!direct.take_room(1));
    }

    #[tokio::test]
    async fn room_for_bodies_is_bounded_and_comes_back() {
        let slots = slots(100, 2);
        let slot = take(&slots, "1.2.3.4").await.unwrap();
        let other = take(&slots, "1.2.3.5").await.unwrap();
        assert!(slot.take_room(ROOM / 3) && slot.take_room(ROOM / 3));
        assert!(!slot.take_room(ROOM / 2) && !other.take_room(ROOM / 2));
        slot.give_room_back();
        assert!(other.take_room(ROOM));
        drop(other);
        assert!(slot.take_room(ROOM));
    }
}
