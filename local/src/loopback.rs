//! Listening on this machine only.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, anyhow, bail};
use http::uri::Authority;
use tokio::net::TcpListener;

use crate::identifier;

/// The address that everything here listens on; [`listen_on_both`] on that of IPv6 as well.
pub(crate) const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Listens on `address`:`port`; port 0 takes a free one. `flag` is what the user changes when the port is taken.
///
/// # Errors
/// When the address is not loopback (demo accounts with printed passwords stand behind it), when the port is in use.
pub(crate) async fn listen(address: IpAddr, port: u16, flag: &str) -> anyhow::Result<TcpListener> {
    if !address.is_loopback() {
        bail!("refusing to listen on {address}: the local backend is served on loopback only");
    }
    match TcpListener::bind(SocketAddr::new(address, port)).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(in_use(port, flag)),
        Err(error) => Err(error).with_context(|| format!("cannot listen on {address}:{port} ({flag})")),
    }
}

/// Listens on both addresses of loopback, on one port: `localhost` is the one here and the other there. Where there is no IPv6,
/// on the one.
///
/// # Errors
/// As [`listen`].
pub(crate) async fn listen_on_both(port: u16, flag: &str) -> anyhow::Result<Vec<TcpListener>> {
    /// A free port of one address is taken at the other now and then.
    const ATTEMPTS: usize = 16;
    for _ in 1..ATTEMPTS {
        let first = listen(ADDRESS, port, flag).await?;
        let chosen = first.local_addr()?.port();
        match TcpListener::bind(SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), chosen)).await {
            Ok(second) => return Ok(vec![first, second]),
            Err(error) if error.kind() != std::io::ErrorKind::AddrInUse => return Ok(vec![first]),
            Err(_) if port == 0 => {}
            Err(_) => return Err(in_use(port, flag)),
        }
    }
    bail!("no port is free on both addresses of this machine")
}

/// Listens where only this process knows: on one of sixteen million addresses, where the system has so many for loopback. What
/// answers there has no guard of its own, and a page could try the ports of 127.0.0.1.
///
/// # Errors
/// When there is no port.
pub(crate) async fn listen_inside() -> anyhow::Result<TcpListener> {
    let drawn = identifier::uuid()?;
    let mut bytes = drawn
        .split('-')
        .next()
        .unwrap_or_default()
        .as_bytes()
        .chunks(2)
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    let mut next = || bytes.next().unwrap_or(1);
    // Neither the network's own address nor its broadcast.
    let address = Ipv4Addr::new(127, next(), next(), next().clamp(1, 254));
    match TcpListener::bind(SocketAddr::new(IpAddr::V4(address), 0)).await {
        Ok(listener) if address != Ipv4Addr::LOCALHOST => Ok(listener),
        _ => listen(ADDRESS, 0, "--dynamodb-port").await,
    }
}

fn in_use(port: u16, flag: &str) -> anyhow::Error {
    anyhow!("port {port} is in use: choose another with {flag} (0 takes a free one)")
}

/// Whether an authority, as of a `Host` header, names this machine. `localhost` and the names under it resolve to loopback
/// everywhere and cannot be bound to anything else.
pub(crate) fn is_loopback_host(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    !host.contains('@')
        && (name == "localhost"
            || name.ends_with(".localhost")
            || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_other_address_is_refused() {
        for address in ["0.0.0.0", "192.168.1.10", "::", "fe80::1"] {
            let refused = listen(address.parse().unwrap(), 0, "--port").await.unwrap_err();
            assert_eq!(
                refused.to_string(),
                format!("refusing to listen on {address}: the local backend is served on loopback only")
            );
        }
    }

    #[tokio::test]
    async fn a_taken_port_is_one_line_that_names_the_flag() {
        let first = listen(ADDRESS, 0, "--port").await.unwrap();
        let port = first.local_addr().unwrap().port();
        let refused = listen(ADDRESS, port, "--dynamodb-port").await.unwrap_err();
        assert_eq!(
            format!("{refused:#}"),
            format!("port {port} is in use: choose another with --dynamodb-port (0 takes a free one)")
        );
    }

    #[test]
    fn hosts() {
        for host in [
            "localhost",
            "LOCALHOST:3000",
            "127.0.0.1:3000",
            "127.8.8.8",
            "[::1]:3000",
            "[::1]",
            "a.localhost:1",
        ] {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example:3000",
            "127.0.0.1.evil.example",
            "0.0.0.0:3000",
            "localhost@evil.example",
            "localhost:80@evil.example",
            "evil.example:localhost",
            "notlocalhost",
            "localhost, evil.example",
            "[::2]:3000",
        ] {
            assert!(!is_loopback_host(host), "{host}");
        }
    }
}
