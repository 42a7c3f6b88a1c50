//! Between the accept loop and the connections: a herd of clients that comes back in one moment is let in a few at a time,
//! so that those who are here already do not wait for their turn behind all of it.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

/// Connections that are let in together, for each core.
const TOGETHER_PER_CORE: usize = 3;
/// So many that wait are a herd. Fewer are let in without a pause: clients and proxies that open a connection for each request
/// have no more requests than this on their way.
const HERD_MIN: usize = 64;
/// Shortest pause of a herd: the next tick of the runtime's timer, which has one each millisecond.
const PAUSE_MIN: Duration = Duration::from_micros(100);

/// Hands what waits in `queue` to `serve`, in order, until the queue is closed and empty.
pub async fn let_in<T>(mut queue: mpsc::Receiver<T>, mut serve: impl FnMut(T)) {
    let (together, mut batch) = (together(), Vec::new());
    while queue.recv_many(&mut batch, together).await > 0 {
        batch.drain(..).for_each(&mut serve);
        let began = Instant::now();
        // Those who came, and all that was ready before them, have their turn.
        yield_now().await;
        if let Some(pause) = pause(queue.len(), began.elapsed()) {
            sleep(pause).await;
        }
    }
}

fn together() -> usize {
    TOGETHER_PER_CORE * std::thread::available_parallelism().map_or(1, usize::from)
}

/// How long the next ones wait while so many do, after a turn of everybody that took so long: as much time again is left to those
/// who are not of the herd.
fn pause(waiting: usize, turn: Duration) -> Option<Duration> {
    (waiting >= HERD_MIN).then(|| turn.max(PAUSE_MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_is_let_in_in_the_order_of_coming_and_a_herd_takes_its_time() {
        let herd = 300;
        let (arrivals, queue) = mpsc::channel(herd);
        for number in 0..herd {
            arrivals.send(number).await.unwrap();
        }
        drop(arrivals);
        let (began, mut times) = (Instant::now(), Vec::new());
        let_in(queue, |number| {
            assert_eq!(number, times.len());
            times.push(began.elapsed());
        })
        .await;
        assert_eq!(times.len(), herd);
        let together = together();
        let mut herd = times.windows(together + 1).take(times.len() - HERD_MIN - together);
        assert!(herd.all(|some| some[0] + PAUSE_MIN <= some[together]), "{times:?}");
    }

    #[test]
    fn only_a_herd_pauses_and_as_long_as_everybody_took() {
        let long = Duration::from_millis(5);
        assert_eq!(pause(HERD_MIN - 1, long), None);
        assert_eq!(pause(HERD_MIN, long), Some(long));
        assert_eq!(pause(5000, Duration::ZERO), Some(PAUSE_MIN));
    }
}
