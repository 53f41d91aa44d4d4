//! The access log, a line a request, in the format of `template.yaml`.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use sallyport_aws::system::SystemClock;
use sallyport_core::clock::Clock as _;
use yaml_rust2::YamlLoader;

use crate::console::Logs;

const TEMPLATE: &str = include_str!("../../../template.yaml");

/// The group of the access log, by the last part of its name.
const GROUP: &str = "api";

/// The log and its format.
pub(crate) struct Access {
    format: String,
    logs: Arc<Logs>,
}

/// What is known of a request once it is answered.
pub(super) struct Answered<'a> {
    pub(super) request_id: &'a str,
    pub(super) method: &'a str,
    /// The pattern of the route; absent where there is none.
    pub(super) resource: Option<&'a str>,
    pub(super) status: u16,
    /// The type of the gateway's own response, if it answered itself.
    pub(super) gateway_error: Option<&'a str>,
    /// What Lambda answered, if it was asked and did.
    pub(super) lambda_status: Option<u16>,
    pub(super) latency: Duration,
    pub(super) length: Option<u64>,
    pub(super) address: String,
}

impl Access {
    /// # Errors
    /// When the template has no format.
    pub(crate) fn of_the_stack(logs: Arc<Logs>) -> anyhow::Result<Self> {
        let documents = YamlLoader::load_from_str(TEMPLATE).context("template.yaml")?;
        let document = documents.first().context("template.yaml is empty")?;
        // The second of `!If`: where it is logged at all.
        let format = document["Resources"]["Api"]["Properties"]["AccessLogSetting"][1]["Format"].as_str();
        Ok(Self { format: format.context("template.yaml has no format of the access log")?.to_owned(), logs })
    }

    pub(super) fn note(&self, answered: &Answered<'_>) {
        let or_none =
            |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let values = [
            ("requestId", answered.request_id.to_owned()),
            // As the functions' lines: by the machine's clock, whatever the functions' says.
            ("requestTimeEpoch", SystemClock.now().millis().to_string()),
            ("httpMethod", answered.method.to_owned()),
            ("resourcePath", answered.resource.unwrap_or("-").to_owned()),
            ("status", answered.status.to_string()),
            ("error.responseType", answered.gateway_error.unwrap_or("-").to_owned()),
            ("integrationStatus", or_none(answered.lambda_status.map(u64::from))),
            ("responseLatency", answered.latency.as_millis().to_string()),
            ("responseLength", or_none(answered.length)),
            ("identity.sourceIp", answered.address.clone()),
        ];
        let mut line = self.format.clone();
        for (name, value) in values {
            line = line.replace(&format!("\"$context.{name}\""), &serde_json::Value::from(value).to_string());
        }
        // What is not measured here.
        for name in ["xrayTraceId", "integrationLatency"] {
            line = line.replace(&format!("$context.{name}"), "-");
        }
        self.logs.push(Some(GROUP), &line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_all_that_the_template_asks_for() {
        let logs = Arc::new(Logs::default());
        let access = Access::of_the_stack(Arc::clone(&logs)).unwrap();
        access.note(&Answered {
            request_id: "the-id",
            method: "POST",
            resource: Some("/api/v1/auth/login"),
            status: 500,
            gateway_error: Some("DEFAULT_5XX"),
            lambda_status: Some(429),
            latency: Duration::from_millis(12),
            length: None,
            address: "192.0.2.1".to_owned(),
        });
        let lines = logs.since(0);
        let line = &lines.first().unwrap().line;
        assert!(line["time"].as_str().is_some_and(|time| time.len() == 13), "{line}");
        let shown =
            ["request_id", "method", "route", "status", "gateway_error", "lambda_status", "latency_ms"];
        assert_eq!(
            shown.map(|name| line[name].as_str().unwrap_or_default()),
            ["the-id", "POST", "/api/v1/auth/login", "500", "DEFAULT_5XX", "429", "12"]
        );
        assert!(!line.to_string().contains("$context"), "{line}");
    }
}
