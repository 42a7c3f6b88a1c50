//! The accept loop: HTTP/1.1 with upgrades, timeouts on headers and idle connections, a bound on open connections.
//!
//! `axum::serve` hides hyper's timeouts, and an idle keep-alive connection would stay for ever.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderMap;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::config;

/// hyper's read buffer a connection; headers beyond it are refused.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// After a failed accept (no file descriptors left) the loop rests, so that it does not spin.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// The peer of the connection that a request came by.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// A place among the open connections; whoever takes a connection over keeps it.
#[derive(Clone, Debug)]
pub struct Slot(#[expect(dead_code, reason = "held, not read")] Arc<OwnedSemaphorePermit>);

/// Serves `router` on `listener` until `stop`, then lets running requests end within `grace`.
///
/// Sockets that were upgraded are not waited for: they are dropped without a close frame, as a restart must be.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    http: &config::Http,
    tasks: &TaskTracker,
    stop: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(http.connections_max));
    let idle = Duration::from_secs(http.idle_timeout_s);
    loop {
        let slot = tokio::select! {
            () = stop.cancelled() => break,
            slot = slots.clone().acquire_owned() => slot.expect("the semaphore is never closed"),
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(cause) => {
                warn!(%cause, "a connection could not be accepted; if this repeats, raise the limit of open files");
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            }
        };
        if let Err(cause) = stream.set_nodelay(true) {
            debug!(%cause, "a connection ended before it was served");
            continue;
        }
        let slot = Slot(Arc::new(slot));
        tasks.spawn(connection(stream, peer, slot, router.clone(), idle, stop.clone()));
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    slot: Slot,
    router: Router,
    idle: Duration,
    stop: CancellationToken,
) {
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().insert(slot.clone());
        router.clone().oneshot(request.map(axum::body::Body::new))
    });
    let mut connection = std::pin::pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(idle)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
    );
    let ended = tokio::select! {
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

/// The address to count a client by: the peer's, or the last one that an untrusted hop gave to a trusted proxy.
pub fn client_address(peer: SocketAddr, headers: &HeaderMap, trusted: &[IpAddr]) -> IpAddr {
    let mut address = peer.ip().to_canonical();
    let forwarded: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    for hop in forwarded.iter().rev() {
        if !trusted.contains(&address) {
            break;
        }
        let Ok(next) = hop.parse::<IpAddr>() else { break };
        address = next.to_canonical();
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_trusted_proxy_may_name_the_client() {
        let peer: SocketAddr = "10.0.0.2:5000".parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", "6.6.6.6, 1.2.3.4".parse().unwrap());
        let of = |trusted: &[&str]| {
            let trusted: Vec<IpAddr> = trusted.iter().map(|t| t.parse().unwrap()).collect();
            client_address(peer, &headers, &trusted).to_string()
        };
        assert_eq!(of(&[]), "10.0.0.2");
        assert_eq!(of(&["10.0.0.2"]), "1.2.3.4");
        assert_eq!(of(&["10.0.0.2", "1.2.3.4"]), "6.6.6.6");
    }
}
