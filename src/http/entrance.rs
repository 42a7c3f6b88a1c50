//! Between the accept loop and the connections: a herd of clients that comes back in one moment is let in a few at a time,
//! so that those who are here already do not wait for their turn behind all of it.

use std::net::IpAddr;
use std::time::Duration;

use prometheus::IntGauge;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::limits::Shares;

/// Connections that are let in together, for each core.
const TOGETHER_PER_CORE: usize = 3;
/// So many that wait are a herd. Fewer are let in without a pause: clients and proxies that open a connection for each request
/// have no more requests than this on their way.
const HERD_MIN: usize = 64;
/// Connections of one network among those who wait: the others of it wait for these, and not in front of everybody else.
const BY_NETWORK_MAX: usize = 128;
/// Shortest pause of a herd: the next tick of the runtime's timer, which has one each millisecond.
const PAUSE_MIN: Duration = Duration::from_micros(100);

/// Where connections wait for their turn.
#[derive(Clone, Debug)]
pub struct Entrance {
    calls: mpsc::Sender<oneshot::Sender<()>>,
    by_network: Shares<IpAddr>,
    waiting: IntGauge,
}

/// Those who wait, in the order of coming.
pub type Queue = mpsc::Receiver<oneshot::Sender<()>>;

impl Entrance {
    /// An entrance at which so many may wait, counted by `waiting`, and its queue.
    pub fn new(waiting_max: usize, waiting: IntGauge) -> (Self, Queue) {
        let (calls, queue) = mpsc::channel(waiting_max);
        (Self { calls, by_network: Shares::new(BY_NETWORK_MAX), waiting }, queue)
    }

    /// Waits until the client has spoken, and then for its turn, and for that of its `network` if it has one. False if there is no first
    /// byte within `idle`, or before the `stop`: whoever has spoken by then is answered.
    ///
    /// Whoever only connects needs no turn: else all of a herd that connects first would speak in one moment, with nothing between
    /// it and everybody else.
    pub async fn enter(
        self,
        stream: &TcpStream,
        network: Option<IpAddr>,
        idle: Duration,
        stop: &CancellationToken,
    ) -> bool {
        let spoken = tokio::select! {
            biased;
            spoken = timeout(idle, has_spoken(stream)) => spoken.unwrap_or(false),
            () = stop.cancelled() => false,
        };
        spoken && self.turn(network).await
    }

    /// False when nobody lets in any more.
    async fn turn(self, network: Option<IpAddr>) -> bool {
        let (call, called) = oneshot::channel();
        self.waiting.inc();
        let _share = match network {
            Some(network) => Some(self.by_network.turn(network, 1).await),
            None => None,
        };
        let is_called = self.calls.send(call).await.is_ok() && called.await.is_ok();
        self.waiting.dec();
        is_called
    }
}

/// Waits for the first byte of a client; false if there will be none.
async fn has_spoken(stream: &TcpStream) -> bool {
    matches!(stream.peek(&mut [0]).await, Ok(1..))
}

/// Lets in those who wait in `queue`, until it is closed and empty.
pub async fn let_in(mut queue: Queue) {
    let (together, mut batch) = (together(), Vec::new());
    while queue.recv_many(&mut batch, together).await > 0 {
        for call in batch.drain(..) {
            // Whoever has gone meanwhile is not missed.
            let _ = call.send(());
        }
        let began = Instant::now();
        // They, and all that was ready before them, are run.
        yield_now().await;
        if let Some(pause) = pause(queue.len(), began.elapsed()) {
            sleep(pause).await;
        }
    }
}

fn together() -> usize {
    TOGETHER_PER_CORE * std::thread::available_parallelism().map_or(1, usize::from)
}

/// How long the next ones wait while so many do, after a round of everybody that took so long: as much time again is left to those
/// who are not of the herd.
fn pause(waiting: usize, round: Duration) -> Option<Duration> {
    (waiting >= HERD_MIN).then(|| round.max(PAUSE_MIN))
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::task::coop::unconstrained;

    use super::*;

    /// Longer than any test takes.
    const IDLE: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn everybody_is_let_in_in_the_order_of_coming_and_a_herd_takes_its_time() {
        let herd = 300;
        let (entrance, queue) = Entrance::new(herd, gauge());
        let (turns, mut order) = mpsc::channel(herd);
        let began = Instant::now();
        for number in 0..herd {
            let (entrance, turns) = (entrance.clone(), turns.clone());
            let mut waits = Box::pin(async move {
                assert!(entrance.turn(None).await);
                turns.try_send((number, began.elapsed())).unwrap();
            });
            assert!((&mut waits).now_or_never().is_none());
            #[expect(clippy::disallowed_methods, reason = "joined by the end of `order`")]
            drop(tokio::spawn(waits));
        }
        drop((entrance, turns));
        // Their first turns in the runtime, which are all ready, are not to be taken for the herd's.
        for _ in 0..herd {
            yield_now().await;
        }
        let_in(queue).await;
        let mut times = Vec::new();
        while let Some((number, time)) = order.recv().await {
            assert_eq!(number, times.len());
            times.push(time);
        }
        assert_eq!(times.len(), herd);
        let together = together();
        let mut herd = times.windows(together + 1).take(times.len() - HERD_MIN - together);
        assert!(herd.all(|some| some[0] + PAUSE_MIN <= some[together]), "{times:?}");
    }

    #[tokio::test]
    async fn a_network_s_herd_does_not_stand_before_everybody_else() {
        let (entrance, mut queue) = Entrance::new(9999, gauge());
        let of = |last| Some(IpAddr::from([10, 0, 0, last]));
        let mut waits: Vec<_> = (0..500).map(|_| Box::pin(entrance.clone().turn(of(1)))).collect();
        waits.push(Box::pin(entrance.clone().turn(of(2))));
        // Else tokio would let only the first of them try.
        for waits in &mut waits {
            assert!(unconstrained(waits).now_or_never().is_none());
        }
        assert_eq!((queue.len(), entrance.waiting.get()), (BY_NETWORK_MAX + 1, 501));
        // Who has gone makes place for the next.
        drop(waits.remove(0));
        assert!(unconstrained(&mut waits[BY_NETWORK_MAX - 1]).now_or_never().is_none());
        assert_eq!(queue.len(), BY_NETWORK_MAX + 2);
        queue.close();
    }

    fn gauge() -> IntGauge {
        IntGauge::new("waiting", "waiting").unwrap()
    }

    /// The two ends of a connection.
    async fn connect() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn whoever_only_connects_waits_for_no_turn_yet() {
        let waiting = gauge();
        let (entrance, mut queue) = Entrance::new(9, waiting.clone());
        let (stop, (mut client, accepted)) = (CancellationToken::new(), connect().await);
        let mut enters = pin!(entrance.enter(&accepted, None, IDLE, &stop));
        assert!(timeout(Duration::from_millis(20), &mut enters).await.is_err());
        assert!(queue.is_empty() && waiting.get() == 0);
        client.write_all(b"G").await.unwrap();
        let call = tokio::select! {
            call = queue.recv() => call,
            _ = &mut enters => panic!("it was let in without a turn"),
        };
        assert_eq!(waiting.get(), 1);
        call.unwrap().send(()).unwrap();
        assert!(enters.await);
        assert_eq!(waiting.get(), 0);
    }

    #[tokio::test]
    async fn whoever_says_nothing_is_not_let_in() {
        let (entrance, queue) = Entrance::new(9, gauge());
        let (going, stopped) = (CancellationToken::new(), CancellationToken::new());
        let (client, accepted) = connect().await;
        assert!(!entrance.clone().enter(&accepted, None, Duration::from_millis(20), &going).await, "in time");
        stopped.cancel();
        assert!(!entrance.clone().enter(&accepted, None, IDLE, &stopped).await, "before the stop");
        drop(client);
        assert!(!entrance.enter(&accepted, None, IDLE, &going).await, "before going");
        assert!(queue.is_empty());
    }

    #[tokio::test]
    async fn whoever_has_spoken_is_let_in_though_the_server_stops() {
        let (entrance, queue) = Entrance::new(9, gauge());
        let (stop, (mut client, accepted)) = (CancellationToken::new(), connect().await);
        client.write_all(b"G").await.unwrap();
        accepted.readable().await.unwrap();
        stop.cancel();
        let enters = entrance.enter(&accepted, None, IDLE, &stop);
        assert!(tokio::join!(enters, let_in(queue)).0);
    }

    #[test]
    fn only_a_herd_pauses_and_as_long_as_everybody_took() {
        let long = Duration::from_millis(5);
        assert_eq!(pause(HERD_MIN - 1, long), None);
        assert_eq!(pause(HERD_MIN, long), Some(long));
        assert_eq!(pause(5000, Duration::ZERO), Some(PAUSE_MIN));
    }
}
