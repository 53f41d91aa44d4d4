//! One log line and one wide event a request.
//!
//! The wide event is CloudWatch's Embedded Metric Format: JSON on standard output that becomes metrics without a call.
//! Its dimensions are few and never a user's, since each combination is a metric that is paid for. The first is the deployment:
//! two deployments of one account share no figure, whatever their stages are called.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{Method, StatusCode};
use sallyport_aws::meter::{Events, Usage};
use sallyport_core::clock::Timestamp;
use sallyport_operations::metrics::is_rare;
use serde_json::{Map, Number, Value, json};
use tracing_subscriber::{
    filter::Targets, fmt::MakeWriter, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// The namespace of all metrics.
pub const NAMESPACE: &str = "Sallyport";

use crate::problem::Code;

/// Takes lines of telemetry.
pub trait Sink: Send + Sync {
    /// One line, without its end.
    fn line(&self, line: &str);

    /// The last lines, where they are remembered: in development, not in the cloud, whose logs are asked instead.
    fn recent(&self) -> Option<Vec<String>> {
        None
    }
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
        .with_target("sallyport_lambda", tracing::Level::INFO)
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

/// What a handler adds to its wide event: 0 as well as 1, so that ratios exist.
#[derive(Debug, Clone, Default)]
pub struct Facts(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
pub(crate) struct Noted {
    metrics: BTreeMap<&'static str, Number>,
    suspicious: u32,
    client: Option<String>,
}

impl Facts {
    pub fn count(&self, name: &'static str, value: u64) {
        self.locked().metrics.insert(name, value.into());
    }

    /// A figure that is not whole. What is no number is left out.
    pub fn measure(&self, name: &'static str, value: f64) {
        if let Some(number) = Number::from_f64(value) {
            self.locked().metrics.insert(name, number);
        }
    }

    /// An attempt begins: 1 for itself, 0 for each of what may become of it, which stands unless it is counted.
    pub fn attempt<const N: usize>(&self, name: &'static str, outcomes: [&'static str; N]) {
        self.count(name, 1);
        for outcome in outcomes {
            self.count(outcome, 0);
        }
    }

    /// Takes a figure back: there is nothing to say of it.
    pub fn forget(&self, name: &'static str) {
        self.locked().metrics.remove(name);
    }

    /// Something that hardly happens by mistake: a forged token, an MFA token from before a password change. Suspicious
    /// events are counted by themselves.
    pub fn suspicious(&self) {
        let mut noted = self.locked();
        noted.suspicious = noted.suspicious.saturating_add(1);
    }

    /// The service that the request has proven to be of.
    pub fn of_client(&self, id: &str) {
        self.locked().client = Some(id.to_owned());
    }

    pub(crate) fn take(&self) -> Noted {
        std::mem::take(&mut *self.locked())
    }

    fn locked(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that has been answered.
#[derive(Debug)]
pub(crate) struct Answered<'a> {
    pub function: &'static str,
    pub deployment: &'a str,
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
    /// The `Origin` of a page that may not read the answer.
    pub refused_origin: Option<&'a str>,
    pub at: Timestamp,
    pub duration: Duration,
    pub usage: Usage,
    pub cold_start: bool,
    /// Of the stack's own schedule.
    pub is_probe: bool,
    pub facts: &'a Facts,
}

impl Answered<'_> {
    pub(crate) fn report(&self, sink: &dyn Sink) {
        self.log();
        sink.line(&self.wide_event().to_string());
    }

    /// Whether the service failed. Being shut by an operator is no failure, and pages nobody.
    fn is_failure(&self) -> bool {
        self.status.is_server_error() && self.code != Some(Code::Maintenance.as_str())
    }

    /// What is not so is left out: log lines are paid for by the byte.
    pub(crate) fn log(&self) {
        let (duration_ms, dependency_ms) = (in_millis(self.duration), in_millis(self.usage.time));
        let status = self.status.as_u16();
        let (method, route, code, trace_id) = (self.method.as_str(), self.route, self.code, self.trace_id);
        let refused_origin = self.refused_origin;
        let client = self.facts.locked().client.clone();
        let client = client.as_deref();
        let (request_id, address, calls) = (self.request_id, self.address, self.usage.calls);
        let retries = Some(self.usage.retries).filter(|retries| *retries > 0);
        let secrets_ms = Some(in_millis(self.usage.secrets_time)).filter(|millis| *millis > 0.0);
        macro_rules! tell {
            ($level:ident, $message:literal, $fault:expr) => {
                tracing::$level!(
                    target: "request",
                    method, route, status, code, fault = $fault, request_id, trace_id, address, client, refused_origin,
                    duration_ms, calls, retries, dependency_ms, secrets_ms,
                    $message
                )
            };
        }
        if self.is_failure() {
            tell!(error, "request failed", self.fault);
        } else {
            tell!(info, "request", None::<&str>);
        }
    }

    fn wide_event(&self) -> Value {
        let mut event = WideEvent::new(self.deployment, self.function);
        let Noted { metrics, suspicious, .. } = self.facts.take();
        // A metric is paid for in each hour in which it is written, and a stack that nobody calls is asked each minute: of its
        // own question it writes what it found, and counts it for no caller.
        if !self.is_probe {
            event.by_function("requests", 1);
            event.by_function("errors", u8::from(self.is_failure()));
            event.by_deployment_in_millis("response_time", self.duration);
            event.by_deployment("cold_starts", u8::from(self.cold_start));
            event.by_deployment_in_millis("dependency_time", self.usage.time);
            event.by_deployment("cache_hits", self.usage.cache_hits);
            event.by_deployment("cache_misses", self.usage.cache_misses);
            event.events(self.usage.events);
            let suspicious = suspicious.saturating_add(self.usage.events.suspicious);
            event.by_deployment("suspicious_activity", suspicious);
        }
        for (name, value) in metrics {
            event.by_deployment(name, value);
        }
        event.field("route", self.route);
        event.field("status", self.status.as_u16());
        event.field("request_id", self.request_id);
        if let Some(code) = self.code {
            event.field("code", code);
        }
        event.finish(self.at)
    }
}

/// An event that has been handled by a function without HTTP.
pub(crate) fn invocation_event(
    deployment: &str,
    function: &str,
    failed: bool,
    usage: &Usage,
    facts: &Facts,
    at: Timestamp,
) -> Value {
    let mut event = WideEvent::new(deployment, function);
    event.by_deployment("invocations", 1);
    event.by_deployment("invocation_failures", u8::from(failed));
    if usage.events != Events::default() {
        event.events(usage.events);
    }
    for (name, value) in facts.take().metrics {
        event.by_deployment(name, value);
    }
    event.finish(at)
}

/// A line of the Embedded Metric Format in the making. A metric without a unit is a count.
struct WideEvent {
    root: Map<String, Value>,
    /// Told apart by function, and added up over them.
    by_function: Vec<Value>,
    /// Added up over the functions alone: each combination of dimensions is a metric that is paid for.
    by_deployment: Vec<Value>,
}

impl WideEvent {
    fn new(deployment: &str, function: &str) -> Self {
        let root = Map::from_iter([
            ("deployment".to_owned(), deployment.into()),
            ("function".to_owned(), function.into()),
        ]);
        Self { root, by_function: Vec::new(), by_deployment: Vec::new() }
    }

    /// What no metric is made of.
    fn field(&mut self, name: &str, value: impl Into<Value>) {
        self.root.insert(name.to_owned(), value.into());
    }

    /// A count of nothing is not told apart: five metrics less in hours without an error.
    fn by_function(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        let told = if value.as_u64() == Some(0) { &mut self.by_deployment } else { &mut self.by_function };
        told.push(json!({"Name": name}));
        self.field(name, value);
    }

    /// A rare count of nothing stays a field that queries find, and is no metric of this hour.
    fn by_deployment(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        if value.as_u64() != Some(0) || !is_rare(name) {
            self.by_deployment.push(json!({"Name": name}));
        }
        self.field(name, value);
    }

    fn by_deployment_in_millis(&mut self, name: &str, duration: Duration) {
        self.by_deployment.push(json!({"Name": name, "Unit": "Milliseconds"}));
        self.field(name, in_millis(duration));
    }

    fn events(&mut self, events: Events) {
        self.by_deployment("security_events_info", events.info);
        self.by_deployment("security_events_warning", events.warning);
        self.by_deployment("security_events_critical", events.critical);
    }

    fn finish(mut self, at: Timestamp) -> Value {
        let directive = |dimensions: Value, metrics: Vec<Value>| json!({"Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": metrics});
        let directives: Vec<_> = [
            (json!([["deployment"], ["deployment", "function"]]), self.by_function),
            (json!([["deployment"]]), self.by_deployment),
        ]
        .into_iter()
        .filter(|(_, metrics)| !metrics.is_empty())
        .map(|(dimensions, metrics)| directive(dimensions, metrics))
        .collect();
        let metadata = json!({"Timestamp": at.millis(), "CloudWatchMetrics": directives});
        self.root.insert("_aws".to_owned(), metadata);
        Value::Object(self.root)
    }
}

/// Milliseconds with three decimals.
pub(crate) fn in_millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const AT: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn answered<'a>(facts: &'a Facts, usage: Usage) -> Answered<'a> {
        Answered {
            function: "login",
            deployment: "shop-prod",
            method: &Method::POST,
            route: "/api/v1/auth/login",
            status: StatusCode::OK,
            code: None,
            fault: None,
            request_id: "req-1",
            trace_id: None,
            address: "192.0.2.1",
            refused_origin: None,
            at: AT,
            duration: Duration::from_micros(34_567),
            usage,
            cold_start: false,
            is_probe: false,
            facts,
        }
    }

    #[test]
    fn the_probe_writes_what_it_found_and_counts_for_no_caller() {
        let facts = Facts::default();
        facts.count("ready", 1);
        let event = Answered { is_probe: true, ..answered(&facts, Usage::default()) }.wide_event();
        let directives = event["_aws"]["CloudWatchMetrics"].as_array().unwrap();
        assert_eq!(directives.len(), 1);
        assert_eq!(directives[0]["Metrics"], json!([{"Name": "ready"}]));
        assert_eq!(event["ready"], 1);
    }

    #[test]
    fn a_request_that_was_refused_is_one_wide_event_with_every_metric_once() {
        let facts = Facts::default();
        facts.attempt("login_attempts", ["login_successes", "login_failures"]);
        facts.count("login_failures", 1);
        facts.suspicious();
        let usage = Usage {
            calls: 5,
            retries: 1,
            time: Duration::from_micros(12_000),
            secrets_time: Duration::from_micros(2_000),
            cache_hits: 2,
            cache_misses: 1,
            events: Events { info: 0, warning: 2, critical: 1, suspicious: 1 },
        };
        let event = Answered {
            status: StatusCode::UNAUTHORIZED,
            code: Some("invalid_credentials"),
            ..answered(&facts, usage)
        }
        .wide_event();
        insta::assert_snapshot!(event.to_string(), @r#"{"_aws":{"CloudWatchMetrics":[{"Dimensions":[["deployment"],["deployment","function"]],"Metrics":[{"Name":"requests"}],"Namespace":"Sallyport"},{"Dimensions":[["deployment"]],"Metrics":[{"Name":"errors"},{"Name":"response_time","Unit":"Milliseconds"},{"Name":"dependency_time","Unit":"Milliseconds"},{"Name":"cache_hits"},{"Name":"cache_misses"},{"Name":"security_events_warning"},{"Name":"security_events_critical"},{"Name":"suspicious_activity"},{"Name":"login_attempts"},{"Name":"login_failures"},{"Name":"login_successes"}],"Namespace":"Sallyport"}],"Timestamp":1800000000000},"cache_hits":2,"cache_misses":1,"code":"invalid_credentials","cold_starts":0,"dependency_time":12.0,"deployment":"shop-prod","errors":0,"function":"login","login_attempts":1,"login_failures":1,"login_successes":0,"request_id":"req-1","requests":1,"response_time":34.567,"route":"/api/v1/auth/login","security_events_critical":1,"security_events_info":0,"security_events_warning":2,"status":401,"suspicious_activity":2}"#);
    }

    #[test]
    fn a_request_without_an_attempt_says_nothing_of_attempts() {
        let facts = Facts::default();
        let event = Answered { cold_start: true, ..answered(&facts, Usage::default()) }.wide_event();
        insta::assert_snapshot!(event.to_string(), @r#"{"_aws":{"CloudWatchMetrics":[{"Dimensions":[["deployment"],["deployment","function"]],"Metrics":[{"Name":"requests"}],"Namespace":"Sallyport"},{"Dimensions":[["deployment"]],"Metrics":[{"Name":"errors"},{"Name":"response_time","Unit":"Milliseconds"},{"Name":"cold_starts"},{"Name":"dependency_time","Unit":"Milliseconds"},{"Name":"cache_hits"},{"Name":"cache_misses"},{"Name":"suspicious_activity"}],"Namespace":"Sallyport"}],"Timestamp":1800000000000},"cache_hits":0,"cache_misses":0,"cold_starts":1,"dependency_time":0.0,"deployment":"shop-prod","errors":0,"function":"login","request_id":"req-1","requests":1,"response_time":34.567,"route":"/api/v1/auth/login","security_events_critical":0,"security_events_info":0,"security_events_warning":0,"status":200,"suspicious_activity":0}"#);
    }

    #[test]
    fn an_invocation_is_one_wide_event() {
        let facts = Facts::default();
        facts.count("active_sessions", 42);
        facts.measure("signing_key_age_days", 12.5);
        let event = invocation_event("shop-prod", "maintenance", false, &Usage::default(), &facts, AT);
        insta::assert_snapshot!(event.to_string(), @r#"{"_aws":{"CloudWatchMetrics":[{"Dimensions":[["deployment"]],"Metrics":[{"Name":"invocations"},{"Name":"active_sessions"},{"Name":"signing_key_age_days"}],"Namespace":"Sallyport"}],"Timestamp":1800000000000},"active_sessions":42,"deployment":"shop-prod","function":"maintenance","invocation_failures":0,"invocations":1,"signing_key_age_days":12.5}"#);
        let usage = Usage { events: Events { warning: 1, ..Events::default() }, ..Usage::default() };
        let failed = invocation_event("shop-prod", "responder", true, &usage, &Facts::default(), AT);
        insta::assert_snapshot!(failed.to_string(), @r#"{"_aws":{"CloudWatchMetrics":[{"Dimensions":[["deployment"]],"Metrics":[{"Name":"invocations"},{"Name":"invocation_failures"},{"Name":"security_events_warning"}],"Namespace":"Sallyport"}],"Timestamp":1800000000000},"deployment":"shop-prod","function":"responder","invocation_failures":1,"invocations":1,"security_events_critical":0,"security_events_info":0,"security_events_warning":1}"#);
    }
}
