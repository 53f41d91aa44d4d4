//! Listening on this machine only.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context as _, bail};
use tokio::net::TcpListener;

/// The one address that anything here listens on.
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
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            bail!("port {port} is in use: choose another with {flag} (0 takes a free one)")
        }
        Err(error) => Err(error).with_context(|| format!("cannot listen on {address}:{port} ({flag})")),
    }
}

/// Whether a `Host` header names this machine: a page of another site that resolves its own name to 127.0.0.1
/// still sends that name.
pub(crate) fn is_loopback_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
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
        for host in ["localhost", "LOCALHOST:3000", "127.0.0.1:3000", "127.8.8.8", "[::1]:3000", "[::1]"] {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in
            ["", "evil.example", "localhost.evil.example:3000", "127.0.0.1.evil.example", "0.0.0.0:3000"]
        {
            assert!(!is_loopback_host(host), "{host}");
        }
    }
}
