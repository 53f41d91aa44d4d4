//! Who may use the console: this machine, and no page of another site that a browser on this machine shows.

use std::net::SocketAddr;

use axum::{
    extract::{ConnectInfo, Request},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use crate::loopback::is_loopback_host;

pub(super) async fn this_machine_only(
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    if peer.ip().is_loopback() && is_ours(request.headers()) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "The console is for this machine only.\n").into_response()
    }
}

fn is_ours(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = text(header::HOST).is_some_and(is_loopback_host);
    let origin = text(header::ORIGIN).is_none_or(|origin| {
        origin.split_once("://").is_some_and(|(_, authority)| is_loopback_host(authority))
    });
    host && origin
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(headers: &[(header::HeaderName, &str)]) -> bool {
        is_ours(&headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect())
    }

    #[test]
    fn a_name_that_resolves_to_loopback_and_a_foreign_page_are_refused() {
        assert!(ours(&[(header::HOST, "localhost:3000")]));
        assert!(ours(&[(header::HOST, "127.0.0.1:3000"), (header::ORIGIN, "http://localhost:5173")]));
        assert!(!ours(&[]));
        assert!(!ours(&[(header::HOST, "rebound.example:3000")]));
        assert!(!ours(&[(header::HOST, "localhost:3000"), (header::ORIGIN, "https://evil.example")]));
        assert!(!ours(&[(header::HOST, "localhost:3000"), (header::ORIGIN, "null")]));
    }
}
