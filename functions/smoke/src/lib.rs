//! Smoke: the hook of a gradual deployment. CodeDeploy calls it before the first caller reaches a new version, and goes on or
//! back by what it reports (docs/decisions/smoke.md).

mod trial;

use std::sync::Arc;

use sallyport_aws::{CodeDeployHooks, LambdaVersions};
use sallyport_lambda::{Event, Platform, Trigger, TriggerError};
use sallyport_operations::smoke::{Hook, TellDeployer as _};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::trial::try_release;

/// What the function stands on.
struct State {
    versions: LambdaVersions,
    deployer: CodeDeployHooks,
}

/// The function.
pub fn trigger(platform: &Platform) -> Trigger {
    let state = State {
        versions: LambdaVersions::new(platform.clients()),
        deployer: CodeDeployHooks::new(platform.clients()),
    };
    Trigger::new("smoke", platform, &Arc::new(state), handle)
}

/// What CodeDeploy sends.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    deployment_id: String,
    lifecycle_event_hook_execution_id: String,
}

async fn handle(state: Arc<State>, event: Event) -> Result<Value, TriggerError> {
    let request: Request =
        serde_json::from_value(event.payload).map_err(|error| TriggerError::Unknown(error.to_string()))?;
    let hook =
        Hook { deployment: request.deployment_id, execution: request.lifecycle_event_hook_execution_id };
    if hook.deployment.is_empty() || hook.execution.is_empty() {
        return Err(TriggerError::Unknown("an empty id".to_owned()));
    }
    let verdict = try_release(&state.versions, &state.deployer, &hook).await?;
    let (deployment, passed, findings) = (hook.deployment.as_str(), verdict.passed(), verdict.to_string());
    if passed {
        tracing::info!(target: "request", deployment, findings, "the release answers");
    } else {
        tracing::error!(target: "request", deployment, findings, "the release does not answer as it should");
    }
    state.deployer.tell(&hook, passed).await?;
    Ok(json!({"passed": passed, "findings": findings}))
}
