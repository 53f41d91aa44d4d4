//! `cargo run -p local`: its console breaks what is to break and puts its clock forward.

use std::net::IpAddr;

use sallyport_alarms::{Datum, Parameters, emf};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{FUNCTIONS, Ground, MINUTE_MS, PAST, PUBLISHED, http};
use crate::{
    commands::gameday::games::Fault,
    console::{Console, odd},
    failure::Failure,
};

pub(in super::super) struct Here {
    console: Console,
    url: String,
    seen_line: u64,
    seen_value: u64,
}

impl Here {
    /// A backend at rest.
    ///
    /// # Errors
    /// None runs on this machine, or it is not at rest.
    pub(in super::super) async fn find() -> Result<Self, Failure> {
        let console = Console::find()?;
        for path in ["faults", "functions/faults"] {
            if !console.list(path, "faults").await?.is_empty() {
                let message = format!(
                    "faults stand already: DELETE {}/_local/{path}, or start a fresh `cargo run -p local`",
                    console.url()
                );
                return Err(Failure::conflict("faults_standing", message));
            }
        }
        let offset = console.get("clock").await?.get("offset_seconds").and_then(Value::as_u64);
        if offset.is_none_or(|offset| offset > 86_400) {
            let message = "this backend's clock was put forward for days: start a fresh `cargo run -p local`";
            return Err(Failure::conflict("clock_ahead", message));
        }
        // Callers bind addresses of 127.0.0.0/8, from which the name's other address cannot be reached.
        let url = console.url().replace("localhost", "127.0.0.1");
        Ok(Self { console, url, seen_line: 0, seen_value: 0 })
    }

    async fn advance(&self, seconds: u64) -> Result<(), Failure> {
        self.console.post("clock", &json!({"advance_seconds": seconds})).await.map(drop)
    }
}

impl Ground for Here {
    fn url(&self) -> &str {
        &self.url
    }

    fn deployment(&self) -> &'static str {
        "sallyport-local"
    }

    fn parameters(&self) -> Parameters {
        Parameters::new()
    }

    fn caller(&self, address: Option<IpAddr>) -> Result<reqwest::Client, Failure> {
        http(reqwest::Client::builder().local_address(address))
    }

    /// The gateway publishes what it answers.
    fn answered(&mut self, _status: u16) {}

    async fn now(&self) -> Result<u64, Failure> {
        Ok(self.console.now().await?.millis())
    }

    async fn next_minute(&mut self) -> Result<(), Failure> {
        let into = (self.now().await? % MINUTE_MS) / 1000;
        self.advance(60 - into).await
    }

    async fn settle(&mut self) -> Result<(), Failure> {
        self.advance(11).await
    }

    async fn inject(&mut self, fault: Fault) -> Result<(), Failure> {
        for (path, rule) in rules(fault) {
            self.console.post(path, &rule).await?;
        }
        if fault == Fault::OldKey { self.advance(PAST.as_secs()).await } else { Ok(()) }
    }

    async fn lift(&mut self, fault: Fault) -> Result<(), Failure> {
        self.leave().await?;
        if fault == Fault::OldKey { self.advance(PUBLISHED.as_secs()).await } else { Ok(()) }
    }

    async fn collect(&mut self) -> Result<Vec<Datum>, Failure> {
        let mut data = Vec::new();
        let number =
            |entry: &Value| entry.get("sequence").and_then(Value::as_u64).ok_or_else(|| odd("no number"));
        for entry in self.console.list(&format!("logs?since={}", self.seen_line), "lines").await? {
            self.seen_line = number(&entry)?;
            data.extend(entry.get("line").map(emf::read_value).and_then(Result::ok).unwrap_or_default());
        }
        for entry in self.console.list(&format!("metrics?since={}", self.seen_value), "data").await? {
            self.seen_value = number(&entry)?;
            let datum: Datum = serde_json::from_value(entry).map_err(|error| odd(&error.to_string()))?;
            data.push(datum);
        }
        Ok(data)
    }

    async fn invoke(&mut self, function: &str, event: &Value) -> Result<Value, Failure> {
        let mut answer = self.console.post(&format!("invoke/{function}"), event).await?;
        Ok(answer.get_mut("result").map(Value::take).unwrap_or_default())
    }

    fn by_functions(&self, at: u64) -> u64 {
        at
    }

    /// Its environment is this one's.
    fn aim(&self, _command: &mut Command) {}

    async fn leave(&mut self) -> Result<(), Failure> {
        let tables = self.console.delete("faults").await;
        tables.and(self.console.delete("keyring/faults").await)
    }
}

/// Rules for the console, with where to post them.
fn rules(fault: Fault) -> Vec<(&'static str, Value)> {
    let (path, rule) = match fault {
        Fault::Throttled(table) => {
            ("faults", json!({"kind": "throttle", "table": table, "count": 1_000_000}))
        }
        Fault::Slow(table, delay) => {
            let delay = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            ("faults", json!({"kind": "slow", "table": table, "count": 1_000_000, "delay_ms": delay}))
        }
        Fault::Keyring => ("keyring/faults", json!({"kind": "refuse"})),
        Fault::Stuffing | Fault::OldKey => return Vec::new(),
    };
    let of_function = |function: &&str| {
        let mut rule = rule.clone();
        if let Some(rule) = rule.as_object_mut() {
            rule.insert("function".to_owned(), json!(function));
        }
        (path, rule)
    };
    FUNCTIONS.iter().map(of_function).collect()
}
