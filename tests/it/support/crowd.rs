//! A crowd that asks for so much at once that somebody else might wait for all of it.

use std::pin::pin;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

/// How many of a crowd are answered before somebody else. The crowd asks at once, and `one` when the first of the crowd is answered:
/// by then all of it has asked. An order, which a busy machine does not change as it does times; the rest is not waited for.
pub async fn answered_before<F: Future>(one: impl Future, crowd: impl IntoIterator<Item = F>) -> usize {
    let mut crowd: FuturesUnordered<F> = crowd.into_iter().collect();
    let mut one = pin!(one);
    assert!(crowd.next().await.is_some(), "a crowd is not nobody");
    let mut answered = 1;
    loop {
        tokio::select! {
            biased;
            _ = &mut one => return answered,
            Some(_) = crowd.next() => answered += 1,
        }
    }
}
