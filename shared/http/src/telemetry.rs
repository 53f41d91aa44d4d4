//! One log line and one wide event a request.
//!
//! The wide event is CloudWatch's Embedded Metric Format: JSON on standard output that becomes metrics without a call.
//! Its dimensions are few and never a user's, since each combination is a metric that is paid for.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Method, StatusCode};
use sallyport_aws::{KeyringUse, meter::Usage};
use sallyport_core::clock::Timestamp;
use serde_json::{Map, Value, json};
use tracing_subscriber::{
    filter::Targets, fmt::MakeWriter, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// Takes lines of telemetry.
pub trait Sink: Send + Sync {
    /// One line, without its end.
    fn line(&self, line: &str);
}

/// Where Lambda collects.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stdout;

impl Sink for Stdout {
    fn line(&self, line: &str) {
        let mut out = io::stdout().lock();
        // There is nobody to tell when standard output is gone.
        let _lost = out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n"));
    }
}

/// Sends events of `tracing` to `sink` as JSON lines. The first call in a process counts.
pub fn install(sink: Arc<dyn Sink>) {
    let targets = Targets::new()
        .with_default(tracing::Level::WARN)
        .with_target("request", tracing::Level::INFO)
        .with_target("security", tracing::Level::INFO)
        .with_target("sallyport_http", tracing::Level::INFO)
        .with_target("sallyport_aws", tracing::Level::INFO);
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_target(false)
        .with_writer(LineWriter(sink));
    // In tests many backends live in one process.
    let _installed_before = tracing_subscriber::registry().with(targets).with(lines).try_init();
}

struct LineWriter(Arc<dyn Sink>);

/// Collects what one event writes, and hands it on as one line.
struct Line(Arc<dyn Sink>, Vec<u8>);

impl<'a> MakeWriter<'a> for LineWriter {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line(Arc::clone(&self.0), Vec::with_capacity(512))
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.1.is_empty() {
            self.0.line(String::from_utf8_lossy(&self.1).trim_end());
        }
    }
}

/// Counts that a handler adds to its request's wide event: 0 as well as 1, so that ratios exist.
#[derive(Debug, Clone, Default)]
pub struct Facts(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Facts {
    pub fn count(&self, name: &'static str, value: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name, value);
    }

    pub(crate) fn take(&self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A request that has been answered.
#[derive(Debug)]
pub(crate) struct Answered<'a> {
    pub function: &'static str,
    pub stage: &'a str,
    pub method: &'a Method,
    /// The pattern, never the path: paths hold ids.
    pub route: &'static str,
    pub status: StatusCode,
    pub code: Option<&'static str>,
    /// The operator's message.
    pub fault: Option<&'a str>,
    pub request_id: &'a str,
    pub trace_id: Option<&'a str>,
    pub address: &'a str,
    pub at: Timestamp,
    pub duration: Duration,
    pub usage: Usage,
    pub keyring: KeyringUse,
    pub cold_start: bool,
    pub facts: &'a Facts,
}

impl Answered<'_> {
    pub(crate) fn report(&self, sink: &dyn Sink) {
        self.log();
        sink.line(&self.wide_event().to_string());
    }

    /// What is not so is left out: log lines are paid for by the byte.
    fn log(&self) {
        let (duration_ms, dependency_ms) = (in_millis(self.duration), in_millis(self.usage.time));
        let status = self.status.as_u16();
        let (method, route, code, trace_id) = (self.method.as_str(), self.route, self.code, self.trace_id);
        let (request_id, address, calls) = (self.request_id, self.address, self.usage.calls);
        let retries = Some(self.usage.retries).filter(|retries| *retries > 0);
        macro_rules! tell {
            ($level:ident, $message:literal, $fault:expr) => {
                tracing::$level!(
                    target: "request",
                    method, route, status, code, fault = $fault, request_id, trace_id, address, duration_ms, calls,
                    retries, dependency_ms,
                    $message
                )
            };
        }
        if self.status.is_server_error() {
            tell!(error, "request failed", self.fault);
        } else {
            tell!(info, "request", None::<&str>);
        }
    }

    fn wide_event(&self) -> Value {
        // A metric without a unit is a count.
        let mut metrics = vec![
            json!({"Name": "requests"}),
            json!({"Name": "errors"}),
            json!({"Name": "response_time", "Unit": "Milliseconds"}),
            json!({"Name": "dependency_time", "Unit": "Milliseconds"}),
            json!({"Name": "cold_starts"}),
            json!({"Name": "keyring_hits"}),
            json!({"Name": "keyring_misses"}),
        ];
        let mut event = Map::new();
        for (name, value) in self.facts.take() {
            metrics.push(json!({"Name": name}));
            event.insert(name.to_owned(), json!(value));
        }
        event.insert(
            "_aws".to_owned(),
            json!({
                "Timestamp": self.at.millis(),
                "CloudWatchMetrics": [{
                    "Namespace": "Sallyport",
                    "Dimensions": [["stage", "function"]],
                    "Metrics": metrics,
                }],
            }),
        );
        let fields = [
            ("stage", json!(self.stage)),
            ("function", json!(self.function)),
            ("route", json!(self.route)),
            ("status", json!(self.status.as_u16())),
            ("request_id", json!(self.request_id)),
            ("requests", json!(1)),
            ("errors", json!(u8::from(self.status.is_server_error()))),
            ("response_time", json!(in_millis(self.duration))),
            ("dependency_time", json!(in_millis(self.usage.time))),
            ("dependency_calls", json!(self.usage.calls)),
            ("dependency_retries", json!(self.usage.retries)),
            ("cold_starts", json!(u8::from(self.cold_start))),
            ("keyring_hits", json!(self.keyring.hits)),
            ("keyring_misses", json!(self.keyring.misses)),
        ];
        for (name, value) in fields {
            event.insert(name.to_owned(), value);
        }
        if let Some(code) = self.code {
            event.insert("code".to_owned(), json!(code));
        }
        Value::Object(event)
    }
}

/// Milliseconds with three decimals.
pub(crate) fn in_millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}
