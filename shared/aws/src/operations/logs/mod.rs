//! The questions that people and alarms have to the logs, and who answers them: Logs Insights, or lines at hand.

mod entered;
mod groups;
mod insights;
mod plan;

use std::collections::BTreeMap;

use aws_sdk_cloudwatchlogs::{Client, config::Builder};
use sallyport_core::{address::Network, clock::Timestamp};
use serde_json::Value;

use self::plan::Plan;
pub use self::{
    entered::{AskLogs, FoundEntered, failure_sources, suspicious_sign_ins},
    groups::LogGroups,
    insights::{LogInsights, LogsError},
};
use crate::platform::{connection::Clients, meter::CallMeter};

fn client_of_function(clients: &Clients) -> Option<Client> {
    let shared = clients.shared.as_ref()?;
    let mut config = Builder::from(&shared.config).interceptor(CallMeter);
    config.set_endpoint_url(shared.endpoints.logs.clone());
    Some(Client::from_conf(config.build()))
}

/// One line of an answer: values by the names that the query gives them. What a line does not have is absent.
pub type Row = BTreeMap<String, String>;

/// Reads a time of an answer: CloudWatch has them as texts, and as milliseconds where it has compared them.
pub fn instant(text: &str) -> Option<Timestamp> {
    if text.len() == 13
        && let Ok(millis) = text.parse()
    {
        return Some(Timestamp::from_millis(millis));
    }
    let zone = if text.ends_with('Z') { "" } else { "Z" };
    let moment: jiff::Timestamp = format!("{text}{zone}").parse().ok()?;
    u64::try_from(moment.as_millisecond()).ok().map(Timestamp::from_millis)
}

/// A file of `infra/queries`, the same that the stack saves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    pub name: &'static str,
    text: &'static str,
}

macro_rules! questions {
    ($($constant:ident = $name:literal;)*) => {
        impl Question {
            $(pub const $constant: Self =
                Self { name: $name, text: include_str!(concat!("../../../../../infra/queries/", $name, ".logs")) };)*
        }

        #[cfg(test)]
        const ASKED: &[Question] = &[$(Question::$constant),*];
    };
}

questions! {
    ERRORS = "errors";
    ERRORS_BY_CODE = "errors-by-code";
    EVENTS = "security-events";
    GATEWAY_ERRORS = "gateway-errors";
    KILLED = "killed";
    REQUEST = "request";
    REFUSALS = "refusals";
    REFUSALS_BY_ADDRESS = "refusals-by-address";
    FAILURES_BY_ADDRESS = "failures-by-address";
    FAILURES_BY_DEVICE = "failures-by-device";
    FAILURES_BY_ACCOUNT = "failures-by-account";
    REQUESTS_BY_ADDRESS = "requests-by-address";
    REVIEW = "review";
}

/// A question with what was left open in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query(String);

impl Question {
    pub fn query(self) -> Query {
        Query(self.text.to_owned())
    }
}

impl Query {
    /// Only lines whose field has one of these values, which must have nothing that would end a text.
    #[must_use]
    pub fn only(mut self, field: &str, values: &[&str]) -> Self {
        if !values.is_empty() {
            let values: Vec<_> = values.iter().map(|value| format!("\"{value}\"")).collect();
            let filter = format!("\n| filter {field} in [{}]\n| sort", values.join(", "));
            self.0 = self.0.replacen("\n| sort", &filter, 1);
        }
        self
    }

    /// Only lines whose field is an address of this network.
    #[must_use]
    pub fn within(mut self, field: &str, network: Network) -> Self {
        let filter = format!("\n| filter isIpInSubnet({field}, \"{network}\")\n| sort");
        self.0 = self.0.replacen("\n| sort", &filter, 1);
        self
    }

    /// As many lines at most.
    #[must_use]
    pub fn limit(mut self, most: u16) -> Self {
        if let Some((before, _)) = self.0.rsplit_once("\n| limit ") {
            self.0 = format!("{before}\n| limit {most}\n");
        }
        self
    }

    /// Puts the id of a request in its place.
    #[must_use]
    pub fn of_request(mut self, id: &str) -> Self {
        self.0 = self.0.replace("REQUEST_ID", id);
        self
    }

    /// What CloudWatch would answer if these were the lines. They come oldest first.
    ///
    /// # Errors
    /// The query has something that only CloudWatch understands.
    pub fn over(&self, lines: Vec<Value>) -> Result<Vec<Row>, LogsError> {
        Ok(Plan::read(&self.0).map_err(LogsError::Unreadable)?.run(lines))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use serde_json::json;

    use super::*;

    #[test]
    fn times_read_as_cloudwatch_and_the_functions_write_them() {
        let at = Some(Timestamp::from_millis(1_785_506_591_123));
        for text in ["1785506591123", "2026-07-31 14:03:11.123", "2026-07-31T14:03:11.123456Z"] {
            assert_eq!(instant(text), at, "{text}");
        }
        assert_eq!(instant("yesterday"), None);
    }

    #[test]
    fn every_question_is_understood_here() {
        for question in ASKED {
            Plan::read(&question.query().0).unwrap_or_else(|error| panic!("{}: {error}", question.name));
        }
    }

    fn shown(rows: &[Row], names: &[&str]) -> Vec<String> {
        let row = |row: &Row| {
            let values: Vec<_> = names.iter().map(|name| row.get(*name).map_or("", String::as_str)).collect();
            values.join(" ")
        };
        rows.iter().map(row).collect()
    }

    /// In the forms of Lambda's telemetry, whose lines those of its log are.
    #[test]
    fn what_lambda_reports_as_ended_is_found_by_its_status() {
        let report = |second: u8, record: Value| json!({"time": format!("2026-07-31T14:03:0{second}.500Z"), "type": "platform.report", "record": record, "@log": "1:/sallyport/prod/login"});
        let lines = vec![
            json!({"time": "2026-07-31T14:03:00.500Z", "type": "platform.initReport", "record": {
                "initializationType": "on-demand", "phase": "init", "status": "error", "errorType": "Runtime.ExitError",
                "metrics": {"durationMs": 41.2}}}),
            report(
                1,
                json!({"requestId": "a", "status": "success", "metrics": {"durationMs": 12.5, "billedDurationMs": 13, "memorySizeMB": 1769, "maxMemoryUsedMB": 61}}),
            ),
            report(
                2,
                json!({"requestId": "b", "status": "error", "errorType": "Runtime.OutOfMemory", "metrics": {"durationMs": 812.25, "billedDurationMs": 813, "memorySizeMB": 1769, "maxMemoryUsedMB": 1769}, "tracing": {"spanId": "s", "type": "X-Amzn-Trace-Id", "value": "Root=1-x;Parent=y;Sampled=1"}}),
            ),
            json!({"time": "2026-07-31T14:03:02.600Z", "type": "platform.runtimeDone", "record": {"requestId": "b", "status": "error"}}),
            report(
                3,
                json!({"requestId": "c", "status": "timeout", "metrics": {"durationMs": 10_000.0, "billedDurationMs": 10_000, "memorySizeMB": 1769, "maxMemoryUsedMB": 60}}),
            ),
            json!({"timestamp": "2026-07-31T14:03:04.500000Z", "level": "ERROR", "message": "request failed", "status": 503}),
        ];
        let found = Question::KILLED.query().over(lines).unwrap();
        let names = [
            "@timestamp",
            "what",
            "status",
            "error_type",
            "duration_ms",
            "used_mb",
            "size_mb",
            "invocation",
            "trace",
        ];
        assert_eq!(
            shown(&found, &names),
            [
                "2026-07-31 14:03:03.500 platform.report timeout  10000.0 60 1769 c ",
                "2026-07-31 14:03:02.500 platform.report error Runtime.OutOfMemory 812.25 1769 1769 b Root=1-x;Parent=y;Sampled=1",
                "2026-07-31 14:03:00.500 platform.initReport error Runtime.ExitError 41.2    ",
            ]
        );
    }

    #[test]
    fn what_the_gateway_answered_itself_is_told_from_what_functions_did() {
        let line = |status: &str, gateway_error: &str, lambda_status: &str| {
            json!({
                "request_id": "r", "time": "1785506591123", "method": "POST", "route": "/api/v1/auth/login", "status": status,
                "gateway_error": gateway_error, "lambda_status": lambda_status, "address": "192.0.2.1",
            })
        };
        let lines = vec![
            line("200", "-", "200"),
            line("401", "-", "200"),
            line("500", "DEFAULT_5XX", "429"),
            line("500", "DEFAULT_5XX", "429"),
            line("500", "DEFAULT_5XX", "429"),
            line("503", "-", "200"),
            line("500", "-", "200"),
            line("429", "THROTTLED", "-"),
            line("429", "THROTTLED", "-"),
        ];
        let found = Question::GATEWAY_ERRORS.query().over(lines).unwrap();
        assert_eq!(
            shown(&found, &["answers", "status", "gateway_error", "lambda_status", "last_seen"]),
            [
                "3 500 DEFAULT_5XX 429 1785506591123",
                "2 429 THROTTLED - 1785506591123",
                "1 500 - 200 1785506591123",
                "1 503 - 200 1785506591123"
            ]
        );
    }

    #[test]
    fn what_is_left_open_is_filled_in() {
        let query = Question::EVENTS.query().only("severity", &["critical"]).only("event", &[]).limit(7);
        assert!(query.0.contains("\n| filter severity in [\"critical\"]\n| sort"), "{}", query.0);
        assert!(query.0.ends_with("\n| limit 7\n"), "{}", query.0);
        let query = Question::REQUEST.query().of_request("1-2");
        assert!(query.0.contains("request_id = \"1-2\"") && !query.0.contains("REQUEST_ID"), "{}", query.0);
    }
}
