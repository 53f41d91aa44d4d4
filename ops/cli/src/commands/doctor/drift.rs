//! What was changed by hand, which no deployment sees: it compares templates.

use std::iter;

use aws_sdk_cloudformation::{
    Client,
    types::{Stack, StackDriftStatus},
};

use super::{Check, cloud::Described};
use crate::{aws_fault, deployment::Deployment, failure::Failure};

const NAME: &str = "drift";

/// Tables and alarms are in nested stacks, which a change set leaves out unless it is told to take them in.
pub(super) const REVERT: &str = "deploy the stack again, by a change set with --deployment-mode REVERT_DRIFT --include-nested-stacks (docs/OPERATIONS.md, \"Drift\")";

/// What drift detection last found. Each stack is looked at for itself: that of the parent does not look into nested ones.
pub(super) async fn check(deployment: &Deployment, described: &Described) -> Vec<Check> {
    // Of anything else the check of the stack says why.
    let Described::Stack(stack) = described else { return Vec::new() };
    let client = &deployment.connection.cloudformation;
    match nested(client, stack.stack_name().unwrap_or_default()).await {
        Ok(nested) => judge(iter::once(&**stack).chain(&nested)),
        Err(failure) => vec![Check::unanswered(NAME, &failure)],
    }
}

fn judge<'a>(stacks: impl Iterator<Item = &'a Stack>) -> Vec<Check> {
    let (mut drifted, mut unseen) = (Vec::new(), Vec::new());
    for stack in stacks {
        let name = stack.stack_name().unwrap_or_default();
        match stack.drift_information().and_then(|drift| drift.stack_drift_status()) {
            Some(StackDriftStatus::Drifted) => drifted.push(name),
            Some(StackDriftStatus::InSync) => {}
            _ => unseen.push(name),
        }
    }
    let each = |command: &str, names: &[&str]| {
        let commands: Vec<_> =
            names.iter().map(|name| format!("aws cloudformation {command} --stack-name {name}")).collect();
        commands.join("; ")
    };
    let mut checks = Vec::new();
    if !drifted.is_empty() {
        checks.push(Check::warning(
            NAME,
            format!("resources are not as they were deployed: {}", drifted.join(", ")),
            format!("{}; then {REVERT}", each("describe-stack-resource-drifts", &drifted)),
        ));
    }
    if !unseen.is_empty() {
        checks.push(Check::skipped(
            NAME,
            format!("nobody has looked: {}", each("detect-stack-drift", &unseen)),
        ));
    }
    if checks.is_empty() {
        checks.push(Check::ok(NAME, "resources are as they were deployed"));
    }
    checks
}

/// The stacks in a stack.
async fn nested(client: &Client, stack: &str) -> Result<Vec<Stack>, Failure> {
    let mut found = Vec::new();
    let mut token = None;
    loop {
        let asked = client.list_stack_resources().stack_name(stack).set_next_token(token).send().await;
        let answer = asked.map_err(|error| aws_fault::from_sdk("list the stack's resources", &error))?;
        let stacks = answer
            .stack_resource_summaries()
            .iter()
            .filter(|resource| resource.resource_type() == Some("AWS::CloudFormation::Stack"));
        for id in stacks.filter_map(|resource| resource.physical_resource_id()) {
            let asked = client.describe_stacks().stack_name(id).send().await;
            let answer = asked.map_err(|error| aws_fault::from_sdk("describe a nested stack", &error))?;
            found.extend(answer.stacks.into_iter().flatten());
        }
        token = answer.next_token().map(str::to_owned);
        if token.is_none() {
            return Ok(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_cloudformation::types::StackDriftInformation;

    use super::*;

    fn stack(name: &str, status: StackDriftStatus) -> Stack {
        let drift = StackDriftInformation::builder().stack_drift_status(status).build();
        Stack::builder().stack_name(name).drift_information(drift).build()
    }

    #[test]
    fn a_nested_stack_that_drifted_is_told_with_what_reverts_it_and_one_that_nobody_looked_at_with_how_to_look()
     {
        let shop = stack("shop", StackDriftStatus::InSync);
        let data = stack("shop-Data-1", StackDriftStatus::Drifted);
        let alarms = stack("shop-Alarms-2", StackDriftStatus::NotChecked);
        let told = judge([&shop, &data, &alarms].into_iter());
        assert_eq!(
            told,
            [
                Check::warning(
                    "drift",
                    "resources are not as they were deployed: shop-Data-1",
                    format!(
                        "aws cloudformation describe-stack-resource-drifts --stack-name shop-Data-1; then {REVERT}"
                    )
                ),
                Check::skipped(
                    "drift",
                    "nobody has looked: aws cloudformation detect-stack-drift --stack-name shop-Alarms-2"
                ),
            ]
        );
        assert!(REVERT.contains("--include-nested-stacks"));
        assert_eq!(judge([&shop].into_iter()), [Check::ok("drift", "resources are as they were deployed")]);
    }
}
