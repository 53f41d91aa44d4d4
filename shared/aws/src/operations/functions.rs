//! Functions of this deployment, asked past the gateway: new versions by the hook of a deployment, one another by themselves.

use std::time::Duration;

use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_lambda::{Client as Lambda, primitives::Blob};
use sallyport_core::store::{StoreError, StoreResult};
use sallyport_operations::smoke::{Answer, AskVersion, Trial};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::platform::{connection::Clients, meter::CallMeter, store::unavailable};

/// A version that is asked for the first time has ten seconds to start, and ten to answer.
const ATTEMPT: Duration = Duration::from_secs(21);
/// Lambda tells what crashed or ran out of time; what is repeated is a call that it refused, which takes no time.
const OPERATION: Duration = Duration::from_secs(25);

const ASK: &str = "invoke version";

pub(crate) fn unconnected(operation: &'static str) -> StoreError {
    StoreError::Unavailable { operation, reason: "not connected as a function".to_owned() }
}

/// Versions of this deployment's functions, by ARN.
#[derive(Debug, Clone)]
pub struct LambdaVersions(Option<Lambda>);

impl LambdaVersions {
    pub fn new(clients: &Clients) -> Self {
        Self(clients.shared.as_ref().map(|shared| {
            let timeouts = TimeoutConfig::builder()
                .operation_attempt_timeout(ATTEMPT)
                .operation_timeout(OPERATION)
                .build();
            let mut config = aws_sdk_lambda::config::Builder::from(&shared.config)
                .timeout_config(timeouts)
                .interceptor(CallMeter);
            config.set_endpoint_url(shared.endpoints.lambda.clone());
            Lambda::from_conf(config.build())
        }))
    }
}

/// What a function returns to API Gateway.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Returned {
    status_code: u16,
    body: Option<String>,
}

/// What Lambda returns of a function that crashed or ran out of time.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Failure {
    error_type: String,
    error_message: String,
}

impl AskVersion for LambdaVersions {
    async fn ask(&self, version: &str, trial: &Trial) -> StoreResult<Answer> {
        let client = self.0.as_ref().ok_or_else(|| unconnected(ASK))?;
        let payload = Blob::new(event(trial).to_string());
        let output = client.invoke().function_name(version).payload(payload).send().await;
        let output = output.map_err(unavailable(ASK))?;
        let payload: &[u8] = output.payload().map(AsRef::as_ref).unwrap_or_default();
        if let Some(kind) = output.function_error() {
            let Failure { error_type, error_message } = serde_json::from_slice(payload).unwrap_or_default();
            let reason = format!("{kind} {error_type}: {error_message}");
            return Err(StoreError::Unavailable { operation: ASK, reason });
        }
        // serde's message could quote what it read.
        let returned: Returned = serde_json::from_slice(payload).map_err(|_| {
            let reason = "what came back is no answer to API Gateway".to_owned();
            StoreError::Unavailable { operation: ASK, reason }
        })?;
        let body = returned.body.and_then(|body| serde_json::from_str(&body).ok()).unwrap_or(Value::Null);
        Ok(Answer { status: returned.status_code, body })
    }
}

/// The event that API Gateway's REST API would send for the request.
fn event(trial: &Trial) -> Value {
    let Trial { method, path, .. } = trial;
    json!({
        "resource": path, "path": path, "httpMethod": method,
        "headers": {"User-Agent": "sallyport-smoke"}, "multiValueHeaders": {"User-Agent": ["sallyport-smoke"]},
        "queryStringParameters": null, "multiValueQueryStringParameters": null, "pathParameters": null,
        "stageVariables": null, "body": null, "isBase64Encoded": false,
        "requestContext": {
            "resourcePath": path, "path": path, "httpMethod": method, "protocol": "HTTP/1.1", "stage": "smoke",
            "accountId": "", "resourceId": "", "apiId": "", "identity": {},
        },
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeSet;

    use sallyport_operations::smoke::Expected;

    use super::*;

    #[test]
    fn the_event_has_the_members_of_the_probe_in_the_template() {
        let template = include_str!("../../../../template.yaml");
        let (_, rest) = template.split_once("Input: >-\n              {\"resource\"").unwrap();
        let (input, _) = rest.split_once("\n\n").unwrap();
        let input: String = input.lines().map(str::trim).collect();
        let probe: Value = serde_json::from_str(&format!("{{\"resource\"{input}")).unwrap();
        let members =
            |event: &Value| -> BTreeSet<String> { event.as_object().unwrap().keys().cloned().collect() };
        for (method, path) in [("GET", "/health/ready"), ("POST", "/api/v1/auth/logout")] {
            let event = event(&Trial { function: "health", method, path, expected: Expected::Ready });
            assert_eq!(members(&event), members(&probe));
            assert_eq!(members(&event["requestContext"]), members(&probe["requestContext"]));
        }
    }
}
