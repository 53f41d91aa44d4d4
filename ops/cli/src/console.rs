//! The console of a backend that runs on this machine.

use std::time::Duration;

use sallyport_core::clock::Timestamp;
use serde_json::Value;

use crate::{deployment::is_loopback, environment::variable, failure::Failure};

/// What answers is no console of this release.
pub(crate) fn odd(what: &str) -> Failure {
    Failure::dependency("unreachable", format!("the console answers oddly: {what}"))
}

/// A backend on this machine, where its functions say that it is.
pub(crate) struct Console {
    http: reqwest::Client,
    url: String,
}

impl Console {
    /// # Errors
    /// The environment names no backend on this machine.
    pub(crate) fn find() -> Result<Self, Failure> {
        let url = variable("SALLYPORT_ISSUER").filter(|url| is_loopback(url)).ok_or_else(|| {
            Failure::usage(
                "no_deployment",
                "which deployment? Pass --stack NAME, or set SALLYPORT_ISSUER to a backend on this machine",
            )
        })?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .build()
            .map_err(|error| Failure::dependency("runtime", error.to_string()))?;
        Ok(Self { http, url: url.trim_end_matches('/').to_owned() })
    }

    /// What a route under `/_local` answers.
    ///
    /// # Errors
    /// Nobody answers there, or not as the console does.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        let url = format!("{}/_local/{path}", self.url);
        let read = async { self.http.get(&url).send().await?.error_for_status()?.json().await };
        read.await.map_err(|_| {
            Failure::dependency(
                "unreachable",
                format!("{url} does not answer: does `cargo run -p local` run, and is this its port?"),
            )
        })
    }

    /// Hands something to a route under `/_local`, and returns what it answers.
    ///
    /// # Errors
    /// As [`Console::get`]; or it refuses.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let url = format!("{}/_local/{path}", self.url);
        let unreachable = |_| {
            Failure::dependency(
                "unreachable",
                format!("{url} does not answer: does `cargo run -p local` run?"),
            )
        };
        let response = self.http.post(&url).json(body).send().await.map_err(unreachable)?;
        let refused = response.status().is_client_error() || response.status().is_server_error();
        let answer: Value = response.json().await.unwrap_or(Value::Null);
        if refused {
            return Err(Failure::dependency("console_refused", format!("{url} refuses: {answer}")));
        }
        Ok(answer)
    }

    /// # Errors
    /// As [`Console::get`].
    pub(crate) async fn delete(&self, path: &str) -> Result<(), Failure> {
        let url = format!("{}/_local/{path}", self.url);
        let sent = async { self.http.delete(&url).send().await?.error_for_status() };
        sent.await.map(drop).map_err(|_| Failure::dependency("unreachable", format!("{url} does not answer")))
    }

    /// The backend's own time, which can be put forward.
    ///
    /// # Errors
    /// As [`Console::get`].
    pub(crate) async fn now(&self) -> Result<Timestamp, Failure> {
        let clock = self.get("clock").await?;
        let millis = clock.get("now_ms").and_then(Value::as_u64).ok_or_else(|| odd("no time"))?;
        Ok(Timestamp::from_millis(millis))
    }

    /// Where the backend answers.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A list of the console's.
    ///
    /// # Errors
    /// As [`Console::get`].
    pub(crate) async fn list(&self, path: &str, field: &str) -> Result<Vec<Value>, Failure> {
        let mut answer = self.get(path).await?;
        match answer.get_mut(field).map(Value::take) {
            Some(Value::Array(items)) => Ok(items),
            _ => Err(Failure::dependency(
                "unreachable",
                format!("{}/_local/{path} is no console of ours", self.url),
            )),
        }
    }
}
