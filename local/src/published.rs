//! What AWS would publish of the gateway, the functions, the tables and the log groups: the other half of what alarms read.
//! Each value is what really happened here, under the name, the dimensions and the unit that CloudWatch has for it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sallyport_alarms::Datum;
use sallyport_core::clock::Clock as _;
use serde::Serialize;

use crate::{
    clock::ShiftingClock,
    gateway::STAGE,
    proxy::{Call, Service},
};

/// The name that CloudFormation's stack would have; functions, tables and log groups are named after it.
pub(crate) const DEPLOYMENT: &str = "sallyport-local";

/// A drill's hundreds of requests, ten values each; beyond it the oldest are forgotten.
const CAPACITY: usize = 200_000;

/// A value with its number.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Numbered {
    /// Counts up from 1, never reused.
    pub(crate) sequence: u64,
    #[serde(flatten)]
    pub(crate) datum: Datum,
}

/// How an invocation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Returned,
    /// It crashed, ran out of time or returned an error: Lambda counts all three as errors.
    Failed,
}

/// Remembers the last values.
#[derive(Debug, Default)]
pub(crate) struct Published {
    clock: Arc<ShiftingClock>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    last: u64,
    data: VecDeque<Numbered>,
    /// Invocations under way, by function.
    running: BTreeMap<&'static str, u32>,
}

impl Published {
    /// The clock of the functions.
    pub(crate) fn clock(&self) -> Arc<ShiftingClock> {
        Arc::clone(&self.clock)
    }

    /// Stamps values by the clock of the functions.
    pub(crate) fn new(clock: Arc<ShiftingClock>) -> Self {
        Self { clock, kept: Mutex::default() }
    }

    /// The values after the given number, oldest first; 0 for all that are remembered.
    pub(crate) fn since(&self, sequence: u64) -> Vec<Numbered> {
        self.locked().data.iter().filter(|numbered| numbered.sequence > sequence).cloned().collect()
    }

    /// A request that the gateway has answered.
    pub(crate) fn request(&self, status: u16, latency: Duration) {
        let dimensions = [("ApiName", DEPLOYMENT), ("Stage", STAGE)];
        let is = |class: u16| f64::from(u8::from(status / 100 == class));
        self.record(
            "AWS/ApiGateway",
            &dimensions,
            "Count",
            &[("Count", 1.0), ("4XXError", is(4)), ("5XXError", is(5))],
        );
        self.record("AWS/ApiGateway", &dimensions, "Milliseconds", &[("Latency", in_millis(latency))]);
    }

    /// An invocation that begins. It counts as under way until it is [`Published::ended`].
    pub(crate) fn began(&self, function: &'static str) {
        let running = {
            let mut kept = self.locked();
            let running = kept.running.entry(function).or_default();
            *running += 1;
            *running
        };
        self.of_function(function, "Count", &[("ConcurrentExecutions", f64::from(running))]);
    }

    /// An invocation that has ended, after a time.
    pub(crate) fn ended(&self, function: &'static str, ending: Ending, after: Duration) {
        if let Some(running) = self.locked().running.get_mut(function) {
            *running = running.saturating_sub(1);
        }
        let failed = f64::from(u8::from(ending == Ending::Failed));
        self.of_function(function, "Count", &[("Invocations", 1.0), ("Errors", failed), ("Throttles", 0.0)]);
        self.of_function(function, "Milliseconds", &[("Duration", in_millis(after))]);
    }

    /// An invocation that Lambda refuses.
    pub(crate) fn throttled(&self, function: &'static str) {
        self.of_function(function, "Count", &[("Throttles", 1.0)]);
    }

    /// A line of metrics that CloudWatch refuses, by the metric that counts it.
    pub(crate) fn refused_line(&self, function: &str, metric: &str) {
        let group = format!("/sallyport/{DEPLOYMENT}/{function}");
        self.record("AWS/Logs", &[("LogGroupName", &group)], "Count", &[(metric, 1.0)]);
    }

    /// A call that DynamoDB has answered. It publishes throttles and failures only where there are some.
    pub(crate) fn call(&self, call: &Call) {
        if call.service != Service::DynamoDb {
            return;
        }
        let throttled = call.error.as_deref().is_some_and(|error| {
            matches!(
                error,
                "ProvisionedThroughputExceededException" | "ThrottlingException" | "RequestLimitExceeded"
            )
        });
        let failed = call.status.is_some_and(|status| status >= 500);
        for table in &call.tables {
            let by_operation = [("TableName", table.as_str()), ("Operation", call.operation.as_str())];
            if throttled {
                let event = if call.writes() { "WriteThrottleEvents" } else { "ReadThrottleEvents" };
                self.record("AWS/DynamoDB", &by_operation, "Count", &[("ThrottledRequests", 1.0)]);
                self.record("AWS/DynamoDB", &[("TableName", table)], "Count", &[(event, 1.0)]);
            }
            if failed {
                self.record("AWS/DynamoDB", &by_operation, "Count", &[("SystemErrors", 1.0)]);
            }
        }
    }

    fn of_function(&self, function: &str, unit: &str, metrics: &[(&str, f64)]) {
        self.record("AWS/Lambda", &[("FunctionName", &format!("{DEPLOYMENT}-{function}"))], unit, metrics);
    }

    fn record(&self, namespace: &str, dimensions: &[(&str, &str)], unit: &str, metrics: &[(&str, f64)]) {
        let at = self.clock.now().millis();
        let mut kept = self.locked();
        for (metric, value) in metrics {
            kept.last += 1;
            let datum = Datum {
                namespace: namespace.to_owned(),
                metric: (*metric).to_owned(),
                dimensions: dimensions
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
                at,
                value: *value,
                unit: Some(unit.to_owned()),
            };
            let sequence = kept.last;
            if kept.data.len() == CAPACITY {
                kept.data.pop_front();
            }
            kept.data.push_back(Numbered { sequence, datum });
        }
    }

    fn locked(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn in_millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Message;

    /// Name, dimensions and value of everything so far.
    fn shown(metrics: &Published) -> Vec<String> {
        metrics
            .since(0)
            .into_iter()
            .map(|Numbered { datum, .. }| {
                let dimensions: Vec<_> = datum.dimensions.into_values().collect();
                format!("{} {} {} {}", datum.namespace, datum.metric, dimensions.join(" "), datum.value)
            })
            .collect()
    }

    #[test]
    fn an_invocation_counts_while_it_runs_and_when_it_ends() {
        let metrics = Published::default();
        metrics.began("login");
        metrics.began("login");
        metrics.ended("login", Ending::Failed, Duration::from_millis(12));
        metrics.throttled("login");
        let of = |rest: &str| format!("AWS/Lambda {rest}");
        assert_eq!(
            shown(&metrics),
            [
                of("ConcurrentExecutions sallyport-local-login 1"),
                of("ConcurrentExecutions sallyport-local-login 2"),
                of("Invocations sallyport-local-login 1"),
                of("Errors sallyport-local-login 1"),
                of("Throttles sallyport-local-login 0"),
                of("Duration sallyport-local-login 12"),
                of("Throttles sallyport-local-login 1"),
            ]
        );
        assert_eq!(metrics.since(6).len(), 1);
    }

    #[test]
    fn a_request_is_counted_by_its_class() {
        let metrics = Published::default();
        metrics.request(503, Duration::from_millis(5));
        assert_eq!(
            shown(&metrics),
            [
                "AWS/ApiGateway Count sallyport-local local 1",
                "AWS/ApiGateway 4XXError sallyport-local local 0",
                "AWS/ApiGateway 5XXError sallyport-local local 1",
                "AWS/ApiGateway Latency sallyport-local local 5",
            ]
        );
    }

    #[test]
    fn dynamodb_publishes_trouble_and_nothing_else() {
        let call = |operation: &str, status: &str, error: &str| {
            let mut call = Call::describe(&Message {
                start: "POST / HTTP/1.1".to_owned(),
                headers: vec![("x-amz-target".to_owned(), format!("DynamoDB_20120810.{operation}"))],
                body: br#"{"TableName":"sallyport-local-users"}"#.to_vec(),
            });
            let body = format!(r#"{{"__type":"x#{error}"}}"#);
            call.complete(&Message::reply(status, "application/json", "id", body.into_bytes()));
            call
        };
        let metrics = Published::default();
        metrics.call(&call("GetItem", "200 OK", ""));
        metrics.call(&call("GetItem", "400 Bad Request", "ConditionalCheckFailedException"));
        assert_eq!(shown(&metrics), [""; 0]);
        metrics.call(&call("UpdateItem", "400 Bad Request", "ProvisionedThroughputExceededException"));
        metrics.call(&call("GetItem", "400 Bad Request", "ThrottlingException"));
        metrics.call(&call("GetItem", "500 Internal Server Error", "InternalServerError"));
        assert_eq!(
            shown(&metrics),
            [
                "AWS/DynamoDB ThrottledRequests UpdateItem sallyport-local-users 1",
                "AWS/DynamoDB WriteThrottleEvents sallyport-local-users 1",
                "AWS/DynamoDB ThrottledRequests GetItem sallyport-local-users 1",
                "AWS/DynamoDB ReadThrottleEvents sallyport-local-users 1",
                "AWS/DynamoDB SystemErrors GetItem sallyport-local-users 1",
            ]
        );
    }
}
