//! The accept loop: HTTP/1.1 with upgrades, timeouts on heads, replies and idle connections, bounds on open connections.
//!
//! `axum::serve` hides hyper's timeouts, and an idle keep-alive connection would stay for ever.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::uri::Authority;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::edge::Bounds;
use super::entrance::{Entrance, let_in};
use super::slots::{Places, Slot, Slots};
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

/// The connection that a request came by, and the bounds that it is served within; carried by each request.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The other end.
    pub peer: SocketAddr,
    /// Its place among the open connections; whoever takes the connection over keeps it.
    pub slot: Arc<Slot>,
    /// Bounds of every request.
    pub bounds: Bounds,
}

/// How connections are served.
#[derive(Clone, Debug)]
pub struct Terms {
    /// How many of them.
    pub places: Places,
    /// How long each may be silent.
    pub timeouts: Timeouts,
    /// Bounds of every request.
    pub bounds: Bounds,
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
    let Terms { places, timeouts, bounds, counts } = terms;
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
        let origin = Origin { peer, slot: Arc::new(slot), bounds };
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
        let Some(next) = hop_address(hop) else { break };
        address = next.to_canonical();
    }
    address
}

/// Whether a peer says whom it speaks for, is not believed, and is near enough to be a proxy that an operator has forgotten to name.
pub fn is_unnamed_proxy(peer: SocketAddr, headers: &HeaderMap, trusted: &[IpAddr]) -> bool {
    let address = peer.ip().to_canonical();
    let is_near = match address {
        IpAddr::V4(address) => address.is_private() || address.is_loopback(),
        IpAddr::V6(address) => address.is_unique_local() || address.is_loopback(),
    };
    is_near && headers.contains_key("x-forwarded-for") && !trusted.contains(&address)
}

/// The address of a hop; some proxies write its port as well.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let alone = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    alone.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|hop| hop.ip()))
}

/// The base of URLs by which the client reached the server, as `https://chat.example.com`: what a trusted proxy says, else the
/// `Host` of the request and plain HTTP.
pub fn base_url(peer: SocketAddr, headers: &HeaderMap, trusted: &[IpAddr]) -> Option<String> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let believed = trusted.contains(&peer.ip().to_canonical());
    // Of several proxies the first one wrote what the client did.
    let forwarded = |name: &str| text(name).filter(|_| believed)?.split(',').next().map(str::trim);
    let host: Authority = forwarded("x-forwarded-host").or(text("host"))?.parse().ok()?;
    let scheme = if forwarded("x-forwarded-proto") == Some("https") { "https" } else { "http" };
    // Names before an `@` are no part of a host, and a made-up one could lead elsewhere.
    (!host.as_str().contains('@')).then(|| format!("{scheme}://{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_nobody_has_named_is_told_from_clients() {
        let is_unnamed = |peer: &str, header: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header, "203.0.113.9".parse().unwrap());
            is_unnamed_proxy(peer.parse().unwrap(), &headers, &["10.0.0.2".parse().unwrap()])
        };
        for near in ["172.18.0.3:80", "127.0.0.1:80", "[fd00::1]:80", "[::ffff:192.168.0.1]:80", "10.0.0.3:80"] {
            assert!(is_unnamed(near, "x-forwarded-for") && !is_unnamed(near, "x-real-ip"), "{near}");
        }
        for other in ["10.0.0.2:80", "203.0.113.1:80", "[2001:db8::1]:80"] {
            assert!(!is_unnamed(other, "x-forwarded-for"), "{other}");
        }
    }

    #[test]
    fn the_base_url_is_what_the_client_wrote_and_a_trusted_proxy_saw() {
        let peer: SocketAddr = "10.0.0.2:5000".parse().unwrap();
        let of = |pairs: &[(&'static str, &str)], trusted: &[&str]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, value.parse().unwrap());
            }
            let trusted: Vec<IpAddr> = trusted.iter().map(|t| t.parse().unwrap()).collect();
            base_url(peer, &headers, &trusted)
        };
        let proxied = [("host", "chat.example.com"), ("x-forwarded-proto", "https")];
        assert_eq!(of(&[("host", "127.0.0.1:7001")], &[]).unwrap(), "http://127.0.0.1:7001");
        assert_eq!(of(&proxied, &[]).unwrap(), "http://chat.example.com");
        assert_eq!(of(&proxied, &["10.0.0.2"]).unwrap(), "https://chat.example.com");
        let renamed = [("host", "127.0.0.1:7001"), ("x-forwarded-host", "chat.example.com")];
        assert_eq!(of(&renamed, &[]).unwrap(), "http://127.0.0.1:7001");
        assert_eq!(of(&renamed, &["10.0.0.2"]).unwrap(), "http://chat.example.com");
        let chain = [("host", "inner"), ("x-forwarded-host", "a.com, b.com"), ("x-forwarded-proto", "https, http")];
        assert_eq!(of(&chain, &["10.0.0.2"]).unwrap(), "https://a.com");
        assert_eq!(of(&[("host", "a@b")], &[]), None);
        assert_eq!(of(&[("host", "a/b")], &[]), None);
        assert_eq!(of(&[], &[]), None);
    }

    #[test]
    fn the_answer_to_one_too_many_is_whole() {
        let (head, body) = TOO_MANY.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
        assert_eq!(body, format!(r#"{{"msg":"fail","data":"{}"}}"#, crate::error::AppError::busy()));
    }

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
        for (written, address) in [
            ("1.2.3.4:5678", "1.2.3.4"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:5678", "2001:db8::1"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("unknown", "10.0.0.2"),
        ] {
            headers.insert("x-forwarded-for", written.parse().unwrap());
            let trusted = ["10.0.0.2".parse().unwrap()];
            assert_eq!(client_address(peer, &headers, &trusted).to_string(), address, "{written}");
        }
    }
}
