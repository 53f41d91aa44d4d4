//! The public API of a deployment, asked as anybody would.

use std::time::Duration;

use reqwest::{Certificate, RequestBuilder, StatusCode, header::HeaderMap};
use sallyport_aws::system::SystemClock;
use sallyport_core::clock::{Clock as _, Timestamp};
use serde_json::Value;

use crate::{deployment::is_loopback, failure::Failure, proxy::by_proxy};

const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) struct Api {
    http: reqwest::Client,
    pub(crate) url: String,
    clock: SystemClock,
}

/// What was answered.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// `null` when it is no JSON.
    pub(crate) body: Value,
    /// By this machine's clock: when the request left, and how long its answer took.
    pub(crate) asked_at: Timestamp,
    pub(crate) took: Duration,
}

impl Answered {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The server's clock, by the second.
    pub(crate) fn date(&self) -> Option<Timestamp> {
        let date = jiff::fmt::rfc2822::parse(self.header("date")?).ok()?;
        u64::try_from(date.timestamp().as_second()).ok().map(Timestamp::from_seconds)
    }

    /// The API's own code of an error.
    pub(crate) fn code(&self) -> &str {
        self.body.get("code").and_then(Value::as_str).unwrap_or_default()
    }

    /// Of `/health/ready`: the parts that are down.
    pub(crate) fn down(&self) -> Vec<&str> {
        let parts = self.body.get("checks").and_then(Value::as_object).into_iter().flatten();
        parts
            .filter(|(_, part)| part.get("status").and_then(Value::as_str) != Some("up"))
            .map(|(name, _)| name.as_str())
            .collect()
    }

    /// Of `/health/ready`: what is not ready. Nothing, if all is.
    pub(crate) fn unready(&self) -> Option<String> {
        if self.status.is_success() {
            return None;
        }
        let down = self.down();
        Some(if down.is_empty() {
            format!("/health/ready answers {} {}", self.status.as_u16(), self.code())
        } else {
            format!("down: {}", down.join(", "))
        })
    }
}

impl Api {
    /// `bundle` are the certificates to trust in place of the system's, as PEM.
    ///
    /// # Errors
    /// There is no TLS here.
    pub(crate) fn at(url: &str, bundle: Option<&[u8]>) -> Result<Self, Failure> {
        let unusable = |error: reqwest::Error| Failure::dependency("runtime", error.to_string());
        let mut builder = reqwest::Client::builder().timeout(PATIENCE);
        if let Some(pem) = bundle {
            builder = builder.tls_certs_only(Certificate::from_pem_bundle(pem).map_err(unusable)?);
        }
        // A proxy of the surroundings does not know this machine.
        let builder = if is_loopback(url) { builder.no_proxy() } else { builder };
        let http = builder.build().map_err(unusable)?;
        Ok(Self { http, url: url.trim_end_matches('/').to_owned(), clock: SystemClock })
    }

    /// By this machine's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// # Errors
    /// Nobody answers.
    pub(crate) async fn get(&self, path: &str) -> Result<Answered, Failure> {
        self.send(path, self.http.get(format!("{}{path}", self.url))).await
    }

    /// # Errors
    /// Nobody answers.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Answered, Failure> {
        self.send(path, self.http.post(format!("{}{path}", self.url)).json(body)).await
    }

    async fn send(&self, path: &str, request: RequestBuilder) -> Result<Answered, Failure> {
        let asked_at = self.clock.now();
        let lost = |error: reqwest::Error| {
            let why = if error.is_timeout() { "no answer in time" } else { "can't be reached" };
            let proxy = by_proxy(&self.url);
            Failure::dependency("unreachable", format!("{}{path}: {why}{proxy}", self.url))
        };
        let response = request.send().await.map_err(lost)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.bytes().await.map_err(lost)?;
        let body = serde_json::from_slice(&text).unwrap_or(Value::Null);
        Ok(Answered { status, headers, body, asked_at, took: self.clock.now().since(asked_at) })
    }
}
