//! What only AWS knows: the stack, the functions' parameters, alarms and who hears them.

use std::collections::BTreeMap;

use aws_sdk_cloudformation::types::{StackDriftStatus, StackStatus};
use aws_sdk_lambda::operation::get_function_configuration::GetFunctionConfigurationOutput;
use sallyport_aws::SnsTopics;
use sallyport_core::recovery::Topics as _;

use super::{Check, is_local};
use crate::{
    aws_fault,
    cli::Target,
    commands::alarms,
    deployment::{Deployment, FUNCTIONS, name},
    failure::Failure,
};

const ELSEWHERE: &str = "not on this machine: pass --stack NAME for a deployment";

/// The topics of alarms, which the responder hears, and the one of those whom it tells, as the stack's outputs name them.
const TOPICS: [&str; 4] = ["CriticalTopic", "WarningTopic", "InfoTopic", "IncidentTopic"];

pub(super) async fn stack(deployment: &Deployment, target: &Target) -> Vec<Check> {
    const NAME: &str = "stack";
    let Some(stack) = &target.stack else { return vec![Check::skipped(NAME, ELSEWHERE)] };
    let asked = deployment.connection.cloudformation.describe_stacks().stack_name(stack).send().await;
    let answer = match asked {
        Ok(answer) => answer,
        Err(error) => {
            return vec![Check::unanswered(NAME, &aws_fault::from_sdk("describe the stack", &error))];
        }
    };
    let Some(described) = answer.stacks().first() else { return Vec::new() };
    let status = described.stack_status().map_or("unknown", StackStatus::as_str);
    let mut checks = vec![if status.ends_with("_IN_PROGRESS") {
        Check::warning(
            NAME,
            format!("is {status}"),
            format!("aws cloudformation wait stack-update-complete --stack-name {stack}"),
        )
    } else if status.contains("FAILED") {
        Check::fault(
            NAME,
            format!("is {status}"),
            format!(
                "aws cloudformation describe-stack-events --stack-name {stack}; continue-update-rollback ends a failed one"
            ),
        )
    } else if status.contains("ROLLBACK") {
        Check::warning(
            NAME,
            format!("is {status}: the last deployment did not go through"),
            "deploy the repaired release",
        )
    } else {
        Check::ok(NAME, format!("is {status}"))
    }];
    let drift = described.drift_information();
    let detect = format!("aws cloudformation detect-stack-drift --stack-name {stack}");
    checks.push(match drift.and_then(|drift| drift.stack_drift_status()) {
        Some(StackDriftStatus::Drifted) => Check::warning(
            "drift",
            "resources are not as they were deployed",
            format!(
                "aws cloudformation describe-stack-resource-drifts --stack-name {stack}, then deploy again"
            ),
        ),
        Some(StackDriftStatus::InSync) => Check::ok("drift", "resources are as they were deployed"),
        _ => Check::skipped("drift", format!("nobody has looked: {detect}")),
    });
    checks
}

/// The functions' environment against what the stack was deployed with: a change by hand lasts until the next deployment.
pub(super) async fn parameters(deployment: &Deployment, target: &Target) -> Vec<Check> {
    const NAME: &str = "parameters";
    let Some(stack) = &target.stack else { return vec![Check::skipped(NAME, ELSEWHERE)] };
    let mut differing = Vec::new();
    for function in FUNCTIONS {
        let name = format!("{stack}-{function}");
        let answer = match configuration(&deployment.connection.lambda, &name).await {
            Ok(answer) => answer,
            Err(failure) => return vec![Check::unanswered(NAME, &failure)],
        };
        let variables: BTreeMap<_, _> = answer
            .environment()
            .and_then(|environment| environment.variables())
            .map(|variables| variables.iter().collect())
            .unwrap_or_default();
        for (variable, value) in variables {
            // Empty means "derive it", and the output says what came of that.
            let derived = variable == name::ISSUER && value.is_empty();
            let known = name::ALL.contains(&variable.as_str());
            let deployed = deployment.settings.get(variable).unwrap_or_default();
            if known && !derived && deployed != value {
                differing.push(format!("{function} has {variable}={value}, the stack {deployed}"));
            }
        }
    }
    vec![if differing.is_empty() {
        Check::ok(NAME, "the functions have what the stack was deployed with")
    } else {
        Check::fault(
            NAME,
            differing.join("; "),
            "deploy the stack again: it puts back what was changed by hand",
        )
    }]
}

/// Of the version that serves: behind an alias it need not be the newest.
async fn configuration(
    client: &aws_sdk_lambda::Client,
    function: &str,
) -> Result<GetFunctionConfigurationOutput, Failure> {
    let ask = || client.get_function_configuration().function_name(function);
    let failed = |error| aws_fault::from_sdk("read the function's configuration", &error);
    match ask().qualifier("live").send().await.map_err(failed) {
        Err(failure) if failure.code == "resource_not_found" => ask().send().await.map_err(failed),
        answer => answer,
    }
}

pub(super) async fn alarms(deployment: &Deployment, target: &Target) -> Vec<Check> {
    const NAME: &str = "alarms";
    if target.stack.is_none() && !is_local(&deployment.settings) {
        return vec![Check::skipped(NAME, "pass --stack NAME: alarms are the stack's")];
    }
    let watch = match alarms::watch(target, &deployment.connection).await {
        Ok(watch) => watch,
        // Database and keyring alone have no alarms, and the check of the API says that nobody answers.
        Err(Failure { code: "no_deployment", .. }) => {
            return vec![Check::skipped(NAME, "no backend runs here")];
        }
        Err(failure) => return vec![Check::unanswered(NAME, &failure)],
    };
    let mut checks = vec![match watch.firing.first() {
        None if watch.all == 0 => {
            Check::fault(NAME, "there are none", "deploy the stack again: infra/alarms.yaml makes them")
        }
        None => Check::ok(NAME, format!("none of {} fires", watch.all)),
        Some(first) => {
            let what = format!("{} of {} fire: {}", watch.firing.len(), watch.all, watch.firing.join(", "));
            Check::warning(NAME, what, format!("sallyport runbook show {first}"))
        }
    }];
    if !watch.muted.is_empty() {
        let stack = target.stack.as_deref().unwrap_or_default();
        let names: Vec<_> = watch.muted.iter().map(|name| format!("{stack}-{name}")).collect();
        checks.push(Check::fault(
            "alarm actions",
            format!("switched off: {}", watch.muted.join(", ")),
            format!("aws cloudwatch enable-alarm-actions --alarm-names {}", names.join(" ")),
        ));
    }
    checks
}

pub(super) async fn topics(deployment: &Deployment, target: &Target) -> Vec<Check> {
    const NAME: &str = "alarm topics";
    let Some(stack) = &target.stack else { return vec![Check::skipped(NAME, ELSEWHERE)] };
    let asked = deployment.connection.cloudformation.describe_stacks().stack_name(stack).send().await;
    let answer = match asked {
        Ok(answer) => answer,
        Err(error) => {
            return vec![Check::unanswered(NAME, &aws_fault::from_sdk("describe the stack", &error))];
        }
    };
    let outputs =
        answer.stacks().first().map(aws_sdk_cloudformation::types::Stack::outputs).unwrap_or_default();
    let sns = SnsTopics::from_client(deployment.connection.sns.clone());
    let mut checks = Vec::new();
    for output in TOPICS {
        let topic = outputs.iter().find(|known| known.output_key() == Some(output));
        let Some(topic) = topic.and_then(|topic| topic.output_value()) else {
            checks.push(Check::fault(output, "the stack names no such topic", "deploy the stack again"));
            continue;
        };
        checks.push(match sns.listeners(topic).await {
            Ok(heard) if heard.confirmed == 0 => Check::fault(
                output,
                "nobody listens",
                format!(
                    "aws sns subscribe --topic-arn {topic} --protocol email --notification-endpoint ADDRESS"
                ),
            ),
            Ok(heard) => Check::ok(output, format!("{} listen", heard.confirmed)),
            Err(error) => Check::unanswered(output, &error.into()),
        });
    }
    checks
}
