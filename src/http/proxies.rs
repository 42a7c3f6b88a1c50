//! What a reverse proxy says of the client that it speaks for, and whether it is believed: only those that the operator has named are.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use axum::http::uri::Authority;

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
