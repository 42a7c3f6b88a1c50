//! The accept loop: HTTP/1.1 with upgrades, timeouts on heads, replies and idle connections, bounds on open connections.
//!
//! `axum::serve` hides hyper's timeouts, and an idle keep-alive connection would stay for ever.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::entrance::{Entrance, let_in};
use super::origin::Origin;
use super::slots::{Places, Slots};
use super::stream::TimedStream;
use crate::limits::Seldom;
use crate::metrics::Connections;

/// hyper's read buffer a connection; headers beyond it are refused.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// After a failed accept (no file descriptors left) the loop rests, so that it does not spin.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// The answer to a connection too many of one address.
const TOO_MANY: &str = concat!(
    "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json; charset=utf-8\r\naccess-control-allow-origin: *\r\n",
    "content-length: 54\r\nconnection: close\r\n\r\n{\"msg\":\"fail\",\"data\":\"服务繁忙，请稍后再试\"}"
);

/// How connections are served.
#[derive(Clone, Debug)]
pub struct Terms {
    /// How many of them.
    pub places: Places,
    /// How long each may be silent.
    pub timeouts: Timeouts,
    /// Where connections are counted.
    pub counts: Connections,
}

/// How long a client may keep a connection waiting.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Before the first request, and between requests.
    pub idle: Duration,
    /// For a head, from when its first byte is read.
    pub head: Duration,
    /// While it takes nothing of its reply.
    pub stall: Duration,
}

/// Serves what comes in at `listener` by `answer` until `stop`, then lets running requests end.
///
/// Sockets that were upgraded are not waited for: they are dropped without a close frame, as a restart must be.
pub async fn serve<A, F>(listener: TcpListener, answer: A, terms: Terms, tasks: &TaskTracker, stop: CancellationToken)
where
    A: Fn(Request) -> F + Clone + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let Terms { places, timeouts, counts } = terms;
    // Whoever waits to be let in has a place, so there is room for all.
    let (entrance, queue) = Entrance::new(places.all, counts.waiting.clone());
    let slots = Slots::new(places, counts.clone());
    tasks.spawn(let_in(queue));
    let told = Seldom::default();
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = slots.free() => place,
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(cause) => {
                counts.failed.inc();
                if told.is_due() {
                    warn!(%cause, "connections cannot be accepted; if this repeats, raise the limit of open files");
                }
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            }
        };
        counts.accepted.inc();
        let Some(slot) = slots.take(place, peer.ip()) else {
            // As far as the network takes it at once: nobody who has too many connections is waited for.
            let _ = stream.try_write(TOO_MANY.as_bytes());
            continue;
        };
        if let Err(cause) = stream.set_nodelay(true) {
            debug!(%cause, "a connection ended before it was served");
            continue;
        }
        let origin = Origin { peer, slot: Arc::new(slot) };
        let (entrance, answer, stop) = (entrance.clone(), answer.clone(), stop.clone());
        tasks.spawn(async move {
            if entrance.enter(&stream, origin.slot.network(), timeouts.idle, &stop).await {
                connection(stream, origin, timeouts, answer, stop).await;
            }
        });
    }
}

async fn connection<A, F>(stream: TcpStream, origin: Origin, timeouts: Timeouts, answer: A, stop: CancellationToken)
where
    A: Fn(Request) -> F + Clone + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let peer = origin.peer;
    let (stream, head_timer) = TimedStream::new(stream, origin.slot.clone(), timeouts.stall, timeouts.head);
    let heads = head_timer.clone();
    let mut http = Builder::new();
    http.timer(head_timer).header_read_timeout(timeouts.idle).max_buf_size(HEAD_BYTES_MAX);
    let answer = hyper::service::service_fn(move |request: Request<Incoming>| {
        heads.came();
        let mut request = request.map(Body::new);
        origin.slot.begin(origin.peer, request.headers());
        request.extensions_mut().insert(origin.clone());
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), answer).with_upgrades());
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(cause) = ended {
        debug!(%peer, %cause, "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_one_too_many_is_whole() {
        let (head, body) = TOO_MANY.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
        assert_eq!(body, format!(r#"{{"msg":"fail","data":"{}"}}"#, crate::error::AppError::busy()));
    }
}
