//! Who may ask: this machine, and no page of another site that a browser on this machine shows.
//!
//! What stands behind these ports is for a developer, and asks for no credentials: a page that can talk to it has the demo's
//! accounts, the keyring and the functions. A browser tells whose page it is by `Origin` and `Sec-Fetch-Site`, and under what
//! name it found this machine by `Host`.

use std::net::SocketAddr;

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use crate::{loopback::is_loopback_host, wire::Message};

pub(crate) const REFUSAL: &str = "This is for this machine only, and for no page of another site.\n";

/// What a request says of whom it comes from.
#[derive(Debug, Default)]
pub(crate) struct Asked<'a> {
    hosts: Vec<&'a str>,
    origins: Vec<&'a str>,
    /// `Sec-Fetch-Site`
    site: Option<&'a str>,
    /// Somebody follows a link or types an address: what is shown then, no other page reads.
    navigates: bool,
}

impl<'a> Asked<'a> {
    fn by(method: &Method, headers: &'a HeaderMap) -> Self {
        let all = |name: &str| -> Vec<&str> {
            headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default()).collect()
        };
        Self {
            hosts: all(header::HOST.as_str()),
            origins: all(header::ORIGIN.as_str()),
            site: all("sec-fetch-site").first().copied(),
            navigates: *method == Method::GET && all("sec-fetch-mode") == ["navigate"],
        }
    }

    pub(crate) fn in_message(message: &'a Message) -> Self {
        let all = |name: &str| -> Vec<&str> {
            let named = message.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
            named.map(|(_, value)| value.as_str()).collect()
        };
        Self {
            hosts: all("host"),
            origins: all("origin"),
            site: all("sec-fetch-site").first().copied(),
            navigates: false,
        }
    }

    /// Whether this machine is meant: a page that lets its own name resolve to 127.0.0.1 still sends that name.
    pub(crate) fn means_this_machine(&self) -> bool {
        matches!(self.hosts.as_slice(), [host] if is_loopback_host(host))
    }

    /// Whether no page asks, or one of the server at `port` itself.
    pub(crate) fn is_of_no_other_page(&self, port: u16) -> bool {
        let own = |origin: &str| {
            let authority = origin.strip_prefix("http://");
            authority.is_some_and(|authority| {
                is_loopback_host(authority)
                    && authority.rsplit_once(':').map_or("80", |(_, port)| port) == port.to_string()
            })
        };
        let site = self.navigates || matches!(self.site, None | Some("same-origin" | "none"));
        site && match self.origins.as_slice() {
            [] => true,
            [origin] => own(origin),
            _ => false,
        }
    }
}

/// Lets those through who ask for this machine by its name. Which pages may ask is for what comes behind.
pub(crate) async fn this_machine(request: Request, next: Next) -> Response {
    if Asked::by(request.method(), request.headers()).means_this_machine() {
        next.run(request).await
    } else {
        refuse()
    }
}

/// As [`this_machine`], and lets no page through but those of the server at this port.
pub(crate) async fn no_other_page(State(port): State<u16>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let from_here = peer.is_none_or(|ConnectInfo(peer)| peer.ip().is_loopback());
    let asked = Asked::by(request.method(), request.headers());
    if from_here && asked.means_this_machine() && asked.is_of_no_other_page(port) {
        next.run(request).await
    } else {
        refuse()
    }
}

fn refuse() -> Response {
    (StatusCode::FORBIDDEN, REFUSAL).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_no_other_page(headers: &[(&'static str, &str)]) -> bool {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        let asked = Asked::by(&Method::POST, &headers);
        asked.means_this_machine() && asked.is_of_no_other_page(3000)
    }

    #[test]
    fn a_name_that_resolves_to_loopback_and_every_other_page_are_refused() {
        for host in ["localhost:3000", "127.0.0.1:3000", "[::1]:3000", "console.localhost:3000"] {
            assert!(of_no_other_page(&[("host", host)]), "{host}");
        }
        for origin in ["http://localhost:3000", "http://127.0.0.1:3000", "http://[::1]:3000"] {
            assert!(of_no_other_page(&[("host", "localhost:3000"), ("origin", origin)]), "{origin}");
        }
        for site in ["same-origin", "none"] {
            assert!(of_no_other_page(&[("host", "localhost:3000"), ("sec-fetch-site", site)]), "{site}");
        }
        assert!(!of_no_other_page(&[]));
        assert!(!of_no_other_page(&[("host", "rebound.example:3000")]));
        for origin in [
            "https://evil.example",
            "null",
            "",
            "http://localhost:5173",
            "http://localhost",
            "https://localhost:3000",
            "http://localhost:3000.evil.example",
            "http://evil.example:3000",
            "http://localhost@evil.example:3000",
        ] {
            assert!(!of_no_other_page(&[("host", "localhost:3000"), ("origin", origin)]), "{origin}");
        }
        for site in ["cross-site", "same-site"] {
            assert!(!of_no_other_page(&[("host", "localhost:3000"), ("sec-fetch-site", site)]), "{site}");
        }
    }
}
