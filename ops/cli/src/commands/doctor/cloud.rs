//! What only AWS knows: the stack, the functions' parameters, alarms and who hears them.

use std::collections::BTreeMap;

use aws_sdk_cloudformation::types::{Stack, StackStatus};
use aws_sdk_lambda::operation::get_function_configuration::GetFunctionConfigurationOutput;
use sallyport_alarms::{Parameters, Template};
use sallyport_aws::{SecretsProviders, SnsTopics};
use sallyport_core::providers::ReadProviders as _;
use sallyport_operations::recovery::{TopicListeners, Topics as _, unheard};

use super::{Check, drift::REVERT, is_local};
use crate::{
    aws_fault,
    cli::Target,
    commands::alarms,
    deployment::{Deployment, FUNCTIONS, name},
    failure::Failure,
};

pub(super) const ELSEWHERE: &str = "not on this machine: pass --stack NAME for a deployment";

/// Alarms of the template that the stack has not.
pub(in crate::commands) const ALARMS_MISSING: &str = "alarms missing";

/// The topics of alarms, which the responder hears, as the stack's outputs name them.
const ALARM_TOPICS: [&str; 3] = ["CriticalTopic", "WarningTopic", "InfoTopic"];
/// The topic of those whom the responder tells.
const INCIDENT_TOPIC: &str = "IncidentTopic";
const PROVIDERS_SECRET: &str = "ProvidersSecret";

/// The stack, as CloudFormation describes it.
pub(super) enum Described {
    /// On this machine there is none.
    Elsewhere,
    Unanswered(Failure),
    Stack(Box<Stack>),
}

pub(super) async fn describe(deployment: &Deployment, target: &Target) -> Described {
    let Some(stack) = &target.stack else { return Described::Elsewhere };
    let asked = deployment.connection.cloudformation.describe_stacks().stack_name(stack).send().await;
    match asked {
        Ok(answer) => match answer.stacks.into_iter().flatten().next() {
            Some(stack) => Described::Stack(Box::new(stack)),
            // It was there when its settings were read.
            None => Described::Unanswered(Failure::not_found(
                "stack_not_found",
                format!("there is no stack {stack} any more"),
            )),
        },
        Err(error) => Described::Unanswered(aws_fault::from_sdk("describe the stack", &error)),
    }
}

pub(super) fn stack(described: &Described) -> Vec<Check> {
    const NAME: &str = "stack";
    let described = match described {
        Described::Elsewhere => return vec![Check::skipped(NAME, ELSEWHERE)],
        Described::Unanswered(failure) => return vec![Check::unanswered(NAME, failure)],
        Described::Stack(stack) => stack,
    };
    let stack = described.stack_name().unwrap_or_default();
    let status = described.stack_status().map_or("unknown", StackStatus::as_str);
    vec![if status.ends_with("_IN_PROGRESS") {
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
    }]
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
        Check::fault(NAME, differing.join("; "), REVERT)
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

pub(super) async fn alarms(deployment: &Deployment, target: &Target, described: &Described) -> Vec<Check> {
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
    let all = watch.names.len();
    let mut checks = vec![match watch.firing.first() {
        None if all == 0 => {
            Check::fault(NAME, "there are none", "deploy the stack again: infra/alarms.yaml makes them")
        }
        None => Check::ok(NAME, format!("none of {all} fires")),
        Some(first) => {
            let what = format!("{} of {all} fire: {}", watch.firing.len(), watch.firing.join(", "));
            Check::warning(NAME, what, format!("sallyport runbook show {first}"))
        }
    }];
    if let Described::Stack(stack) = described
        && all > 0
    {
        match missing(stack, &watch.names) {
            Ok(missing) if missing.is_empty() => {}
            Ok(missing) => checks.push(Check::fault(
                ALARMS_MISSING,
                format!("the release has them, the stack has not: {}", missing.join(", ")),
                format!("deploy the release; what was deleted by hand: {REVERT}"),
            )),
            Err(failure) => checks.push(Check::unanswered(ALARMS_MISSING, &failure)),
        }
    }
    if let Some(stack) = &target.stack {
        checks.extend(actions(&watch, stack));
    }
    checks
}

/// Whether those that fire would be heard of.
fn actions(watch: &alarms::Watch, stack: &str) -> Vec<Check> {
    const NAME: &str = "alarm actions";
    let mut checks = Vec::new();
    if !watch.muted.is_empty() {
        let names: Vec<_> = watch.muted.iter().map(|name| format!("{stack}-{name}")).collect();
        checks.push(Check::fault(
            NAME,
            format!("switched off: {}", watch.muted.join(", ")),
            format!("aws cloudwatch enable-alarm-actions --alarm-names {}", names.join(" ")),
        ));
    }
    if !watch.silent.is_empty() {
        let what = format!("tell nobody, nor does a composite for them: {}", watch.silent.join(", "));
        checks.push(Check::fault(NAME, what, REVERT));
    }
    if checks.is_empty() && !watch.names.is_empty() {
        checks.push(Check::ok(NAME, "each tells a topic, or its composite does"));
    }
    checks
}

/// Which alarms ship in the set that the stack was deployed with, and are not among `there`.
fn missing(stack: &Stack, there: &[String]) -> Result<Vec<String>, Failure> {
    const SET: &str = "AlarmSet";
    let set = stack.parameters().iter().find(|parameter| parameter.parameter_key() == Some(SET));
    let set = set.and_then(|parameter| parameter.parameter_value()).map(|value| (SET.into(), value.into()));
    let template = Template::of_the_stack(&set.into_iter().collect::<Parameters>())
        .map_err(|error| Failure::dependency("alarms_unreadable", error.to_string()))?;
    let shipped = template.alarms.into_iter().map(|alarm| alarm.short);
    Ok(shipped.filter(|name| !there.contains(name)).collect())
}

/// By the rule of the alarm `alarm-topic-unheard`, for whoever does not want to wait for its next hour.
pub(super) async fn topics(deployment: &Deployment, described: &Described) -> Vec<Check> {
    const NAME: &str = "alarm topics";
    let stack = match described {
        Described::Elsewhere => return vec![Check::skipped(NAME, ELSEWHERE)],
        Described::Unanswered(failure) => return vec![Check::unanswered(NAME, failure)],
        Described::Stack(stack) => stack,
    };
    let sns = SnsTopics::from_client(deployment.connection.sns.clone());
    let (mut checks, mut heard) = (Vec::new(), BTreeMap::new());
    for output in ALARM_TOPICS.into_iter().chain([INCIDENT_TOPIC]) {
        let Some(topic) = named(stack, output) else {
            checks.push(Check::fault(output, "the stack names no such topic", "deploy the stack again"));
            continue;
        };
        match sns.listeners(topic).await {
            Ok(listeners) => drop(heard.insert(output, listeners)),
            Err(error) => checks.push(Check::unanswered(output, &error.into())),
        }
    }
    let incidents = heard.remove(INCIDENT_TOPIC);
    let mut webhook = Some(false);
    // It holds credentials: where people listen already nobody need read it.
    if incidents.as_ref().is_some_and(|topic| topic.confirmed == 0)
        && let Some(secret) = named(stack, PROVIDERS_SECRET)
    {
        let secret = SecretsProviders::new(deployment.connection.secrets.clone(), secret);
        match secret.providers().await {
            Ok(providers) => webhook = Some(providers.has_incident_webhook()),
            Err(error) => {
                webhook = None;
                checks.push(Check::unanswered("incident webhook", &error.into()));
            }
        }
    }
    checks.extend(judge(&heard, incidents.as_ref(), webhook));
    checks
}

fn judge(
    heard: &BTreeMap<&'static str, TopicListeners>,
    incidents: Option<&TopicListeners>,
    webhook: Option<bool>,
) -> Vec<Check> {
    // Where nobody knows there may be one: what is unheard then is unheard either way.
    let nobody = unheard(heard.values().cloned().collect(), incidents, webhook.unwrap_or(true));
    let subscribe = |topic: &str| {
        format!("aws sns subscribe --topic-arn {topic} --protocol email --notification-endpoint ADDRESS")
    };
    let mut checks = Vec::new();
    for output in ALARM_TOPICS {
        let Some(topic) = heard.get(output) else { continue };
        let bad = nobody.contains(&topic.topic);
        checks.push(match incidents {
            // One that listens to the incidents makes all three heard.
            Some(incidents) if bad && topic.confirmed > 0 => Check::fault(
                output,
                "only the responder listens, and it has nobody to tell",
                format!("{}, or set incident_webhook in the providers' secret", subscribe(&incidents.topic)),
            ),
            _ if bad => Check::fault(output, "nobody listens", subscribe(&topic.topic)),
            _ => Check::ok(output, format!("{} listen", topic.confirmed)),
        });
    }
    let told = incidents.and_then(|topic| match (topic.confirmed, webhook) {
        (0, Some(true)) => Some("nobody listens; incidents are told to a webhook".to_owned()),
        (0, Some(false)) if nobody.is_empty() => {
            Some("nobody listens, but to the alarms themselves".to_owned())
        }
        // Said above, of each topic that it leaves unheard, or of the secret.
        (0, _) => None,
        (confirmed, _) => Some(format!("{confirmed} listen")),
    });
    checks.extend(told.map(|what| Check::ok(INCIDENT_TOPIC, what)));
    checks
}

/// What the stack's output says.
fn named<'a>(stack: &'a Stack, output: &str) -> Option<&'a str> {
    let known = stack.outputs().iter().find(|known| known.output_key() == Some(output));
    known.and_then(|known| known.output_value())
}
