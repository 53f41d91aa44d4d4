//! CodeDeploy, which waits for the verdict of a deployment's hook.

use aws_sdk_codedeploy::{
    Client as CodeDeploy,
    operation::put_lifecycle_event_hook_execution_status::PutLifecycleEventHookExecutionStatusError,
    types::LifecycleEventStatus,
};
use sallyport_core::store::StoreResult;
use sallyport_operations::smoke::{Hook, Target, TellDeployer};
use yaml_rust2::{Yaml, YamlLoader};

use crate::{
    operations::functions::unconnected,
    platform::{connection::Clients, meter::CallMeter, store::unavailable},
};

const LOOK: &str = "read the deployment";
const TELL: &str = "report to CodeDeploy";

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

    use serde_json::json;

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
}
