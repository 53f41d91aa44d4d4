//! The hook of a deployment: Lambda, by which it asks new versions, and CodeDeploy, which waits for its verdict.

use std::time::Duration;

use aws_sdk_codedeploy::{
    Client as CodeDeploy,
    operation::put_lifecycle_event_hook_execution_status::PutLifecycleEventHookExecutionStatusError,
    types::LifecycleEventStatus,
};
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_lambda::{Client as Lambda, primitives::Blob};
use sallyport_core::{
    smoke::{Answer, AskVersion, Hook, Target, TellDeployer, Trial},
    store::{StoreError, StoreResult},
};
use serde::Deserialize;
use serde_json::{Value, json};
use yaml_rust2::{Yaml, YamlLoader};

use crate::{Clients, meter::CallMeter, store::unavailable};

/// A version that is asked for the first time has ten seconds to start, and ten to answer.
const ATTEMPT: Duration = Duration::from_secs(21);
/// Lambda tells what crashed or ran out of time; what is repeated is a call that it refused, which takes no time.
const OPERATION: Duration = Duration::from_secs(25);

const ASK: &str = "invoke version";
const LOOK: &str = "read the deployment";
const TELL: &str = "report to CodeDeploy";

fn unconnected(operation: &'static str) -> StoreError {
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

/// The deployments that wait for a verdict.
#[derive(Debug, Clone)]
pub struct CodeDeployHooks(Option<CodeDeploy>);

impl CodeDeployHooks {
    pub fn new(clients: &Clients) -> Self {
        Self(clients.shared.as_ref().map(|shared| {
            let mut config = aws_sdk_codedeploy::config::Builder::from(&shared.config).interceptor(CallMeter);
            config.set_endpoint_url(shared.endpoints.codedeploy.clone());
            CodeDeploy::from_conf(config.build())
        }))
    }
}

impl TellDeployer for CodeDeployHooks {
    async fn target(&self, hook: &Hook) -> StoreResult<Option<Target>> {
        let client = self.0.as_ref().ok_or_else(|| unconnected(LOOK))?;
        let read = client.get_deployment().deployment_id(&hook.deployment).send().await;
        let read = read.map_err(unavailable(LOOK))?;
        let revision = read.deployment_info().and_then(|deployment| deployment.revision());
        // CodeDeploy has two names for a specification that was handed over as text.
        let content = revision.and_then(|revision| {
            let of_text = revision.string().and_then(|text| text.content());
            of_text.or_else(|| revision.app_spec_content().and_then(|spec| spec.content()))
        });
        Ok(content.and_then(named))
    }

    async fn tell(&self, hook: &Hook, passed: bool) -> StoreResult<()> {
        let client = self.0.as_ref().ok_or_else(|| unconnected(TELL))?;
        let status = if passed { LifecycleEventStatus::Succeeded } else { LifecycleEventStatus::Failed };
        let told = client
            .put_lifecycle_event_hook_execution_status()
            .deployment_id(&hook.deployment)
            .lifecycle_event_hook_execution_id(&hook.execution)
            .status(status)
            .send()
            .await;
        match told {
            Ok(_) => Ok(()),
            Err(error)
                if error.as_service_error().is_some_and(
                    PutLifecycleEventHookExecutionStatusError::is_lifecycle_event_already_completed_exception,
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(unavailable(TELL)(error)),
        }
    }
}

/// The function and the version that a specification hands calls to. It is JSON or YAML, of which JSON is a part.
fn named(specification: &str) -> Option<Target> {
    let documents = YamlLoader::load_from_str(specification).ok()?;
    let resources = documents.first()?["Resources"].as_vec()?;
    let mut functions = resources.iter().filter_map(Yaml::as_hash).flat_map(|resource| resource.values());
    let properties =
        &functions.find(|resource| resource["Type"].as_str() == Some("AWS::Lambda::Function"))?["Properties"];
    let function = properties["Name"].as_str()?.to_owned();
    // YAML takes a bare 7 for a number.
    let version = match &properties["TargetVersion"] {
        Yaml::String(version) => version.clone(),
        Yaml::Integer(version) => version.to_string(),
        _ => return None,
    };
    (!function.is_empty() && !version.is_empty()).then_some(Target { function, version })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeSet;

    use sallyport_core::smoke::TRIALS;

    use super::*;

    /// As in https://docs.aws.amazon.com/codedeploy/latest/userguide/application-specification-files.html, in both forms.
    #[test]
    fn the_version_is_read_from_the_specification_in_json_and_in_yaml() {
        let json = json!({"version": 0.0, "Resources": [{"LoginAliaslive": {"Type": "AWS::Lambda::Function", "Properties": {
            "Name": "prod-login", "Alias": "live", "CurrentVersion": "6", "TargetVersion": "7"}}}],
            "Hooks": [{"BeforeAllowTraffic": "CodeDeployHook_prod-smoke"}]});
        let yaml = |version: &str| {
            format!(
                "version: 0.0\nResources:\n  - LoginAliaslive:\n      Type: AWS::Lambda::Function\n      Properties:\n        \
                 Name: \"prod-login\"\n        Alias: \"live\"\n        CurrentVersion: \"6\"\n        TargetVersion: {version}\n\
                 Hooks:\n  - BeforeAllowTraffic: \"CodeDeployHook_prod-smoke\"\n"
            )
        };
        for specification in [json.to_string(), yaml("\"7\""), yaml("7")] {
            let target = named(&specification).unwrap();
            assert_eq!((target.function.as_str(), target.version.as_str()), ("prod-login", "7"));
        }
        for nothing in [
            "",
            "{",
            "version: 0.0",
            "Resources: []",
            "Resources: [{A: {Type: AWS::ECS::Service}}]",
            &yaml(""),
        ] {
            assert_eq!(named(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn the_event_has_the_members_of_the_probe_in_the_template() {
        let template = include_str!("../../../template.yaml");
        let (_, rest) = template.split_once("Input: >-\n              {\"resource\"").unwrap();
        let (input, _) = rest.split_once("\n\n").unwrap();
        let input: String = input.lines().map(str::trim).collect();
        let probe: Value = serde_json::from_str(&format!("{{\"resource\"{input}")).unwrap();
        let members =
            |event: &Value| -> BTreeSet<String> { event.as_object().unwrap().keys().cloned().collect() };
        for trial in TRIALS {
            let event = event(&trial);
            assert_eq!(members(&event), members(&probe));
            assert_eq!(members(&event["requestContext"]), members(&probe["requestContext"]));
        }
    }
}
