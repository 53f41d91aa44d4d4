//! Calls of a webhook: HTTPS, one small body, no redirects.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use aws_smithy_types::body::SdkBody;
use http::{Method, Request, StatusCode, Uri, header};
use rustls::RootCertStore;

use crate::{
    ConnectError,
    platform::{
        connection::{read_roots, tls, trust},
        transport::{Http, http as connect},
    },
};

/// Where systems keep the roots of the public web: Amazon Linux, and so Lambda, first.
const BUNDLES: [&str; 3] =
    ["/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem"];

const CONNECT: Duration = Duration::from_secs(2);
/// From the first byte to the status.
const ANSWER: Duration = Duration::from_secs(5);
/// Further attempts are the next minute's.
const ATTEMPTS: usize = 2;

/// An address that may be called: `https`, or this machine's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookUrl(Uri);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a webhook has an https URL without a user")]
pub struct InvalidUrl;

impl std::str::FromStr for WebhookUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let uri: Uri = text.parse().map_err(|_| InvalidUrl)?;
        let authority = uri.authority().ok_or(InvalidUrl)?;
        let host = uri.host().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let loopback =
            host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let allowed = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => loopback,
            _ => false,
        };
        if allowed && !host.is_empty() && !authority.as_str().contains('@') {
            Ok(Self(uri))
        } else {
            Err(InvalidUrl)
        }
    }
}

/// It was not taken, as far as is known. The address stays untold: it is a secret where it holds a token.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    #[error("no answer: {0}")]
    Unreachable(String),
    #[error("no answer within {} s", ANSWER.as_secs())]
    Late,
    #[error("answered {0}")]
    Refused(StatusCode),
    #[error("answered {0}: redirects are not followed")]
    Redirected(StatusCode),
    #[error("the request does not build: {0}")]
    Request(#[from] http::Error),
}

impl PostError {
    /// Whether the same request may have more luck at once.
    fn passes(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Late => true,
            Self::Refused(status) => status.is_server_error(),
            Self::Redirected(_) | Self::Request(_) => false,
        }
    }
}

/// The way to webhooks.
#[derive(Debug, Clone)]
pub struct Webhooks(Arc<Http>);

impl Webhooks {
    /// Trusts the system's roots, and those of `further`.
    ///
    /// # Errors
    /// The roots do not read.
    pub fn connect(further: Option<&PathBuf>) -> Result<Self, ConnectError> {
        let mut roots = RootCertStore::empty();
        if let Some(bundle) = BUNDLES.into_iter().map(Path::new).find(|path| path.exists()) {
            trust(&mut roots, &read_roots(bundle)?)?;
        }
        if let Some(path) = further {
            trust(&mut roots, &read_roots(path)?)?;
        }
        Ok(Self(Arc::new(connect(roots, CONNECT).map_err(tls)?)))
    }

    /// Posts JSON; any status of 2xx is a yes.
    ///
    /// # Errors
    /// [`PostError`].
    pub async fn post(
        &self,
        url: &WebhookUrl,
        headers: &[(&'static str, String)],
        body: &str,
    ) -> Result<(), PostError> {
        let mut outcome = self.attempt(url, headers, body).await;
        for _ in 1..ATTEMPTS {
            match &outcome {
                Err(error) if error.passes() => outcome = self.attempt(url, headers, body).await,
                _ => break,
            }
        }
        outcome
    }

    async fn attempt(
        &self,
        url: &WebhookUrl,
        headers: &[(&'static str, String)],
        body: &str,
    ) -> Result<(), PostError> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(url.0.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("sallyport/", env!("CARGO_PKG_VERSION")));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(SdkBody::from(body))?;
        let answer = tokio::time::timeout(ANSWER, self.0.request(request)).await;
        let answer = answer.map_err(|_| PostError::Late)?;
        let status = answer.map_err(|error| PostError::Unreachable(causes(&error)))?.status();
        if status.is_success() {
            Ok(())
        } else if status.is_redirection() {
            Err(PostError::Redirected(status))
        } else {
            Err(PostError::Refused(status))
        }
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_https_or_on_this_machine() {
        for url in [
            "https://hooks.slack.com/services/T0/B0/x",
            "https://example.com:8443/a?b=c",
            "http://127.0.0.1:8000/hook",
            "http://localhost:9/",
            "http://[::1]:9/",
        ] {
            assert!(url.parse::<WebhookUrl>().is_ok(), "{url}");
        }
        for url in [
            "http://example.com/",
            "http://127.0.0.1.example.com/",
            "http://10.0.0.1/",
            "http://169.254.169.254/latest/meta-data",
            "https://user:pass@example.com/",
            "http://localhost@example.com/",
            "ftp://example.com/",
            "/hook",
            "",
        ] {
            assert_eq!(url.parse::<WebhookUrl>(), Err(InvalidUrl), "{url}");
        }
    }
}
