//! `sallyport deploy changes`: what a deployment would do, nested stacks included. `sam deploy` shows a nested stack as one line,
//! "Modify Data", and a table that would be replaced by an empty one does not stand in it.

use std::{collections::VecDeque, fmt, fs, time::Duration};

use aws_sdk_cloudformation::{
    error::ProvideErrorMetadata as _,
    types::{Capability, ChangeAction, ChangeSetStatus, Parameter, Replacement, ResourceChange},
};
use serde::Serialize;

use crate::{
    aws_fault,
    cli::Target,
    deployment::Connection,
    failure::{Exit, Failure},
    output::{Answer, Table, count},
};

/// What holds what nobody can make again.
const PRECIOUS: [&str; 4] =
    ["AWS::DynamoDB::Table", "AWS::DynamoDB::GlobalTable", "AWS::SecretsManager::Secret", "AWS::KMS::Key"];
const NESTED: &str = "AWS::CloudFormation::Stack";
/// CloudFormation takes longer templates from a bucket alone.
const LONGEST_BODY: usize = 51_200;
const PATIENCE: Duration = Duration::from_secs(5 * 60);
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Where the changes come from.
pub(super) enum Asked {
    /// A change set that is there.
    ChangeSet(String),
    /// A packaged template, as a file or as an address in a bucket: a change set is made of it, read, and deleted.
    Template(String),
}

#[derive(Debug, Serialize)]
struct Line {
    stack: String,
    resource: String,
    kind: String,
    action: String,
    /// Data would be lost, or left behind.
    precious: bool,
}

#[derive(Debug, Serialize)]
struct Changes {
    ok: bool,
    changes: Vec<Line>,
    /// Nested stacks that the change set says nothing of.
    hidden: Vec<String>,
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["stack", "resource", "type", "action", ""]);
        for line in &self.changes {
            let mark = if line.precious { "<- its data" } else { "" };
            table.row([
                line.stack.clone(),
                line.resource.clone(),
                line.kind.clone(),
                line.action.clone(),
                mark.to_owned(),
            ]);
        }
        write!(f, "{table}")?;
        if !self.hidden.is_empty() {
            writeln!(
                f,
                "\nThe change set does not show what happens within {}: sallyport deploy changes --template FILE makes one that does.",
                self.hidden.join(", ")
            )?;
        }
        let precious = self.changes.iter().filter(|line| line.precious).count();
        writeln!(
            f,
            "\n{}, {} data",
            count(self.changes.len(), "change"),
            if precious == 0 { "none to".to_owned() } else { format!("{precious} to") }
        )
    }
}

/// # Errors
/// No stack is named; there is no such change set, or it failed; AWS.
pub(super) async fn run(target: &Target, asked: Asked) -> Result<Answer, Failure> {
    let Some(stack) = &target.stack else {
        return Err(Failure::usage(
            "no_deployment",
            "which stack? Pass --stack NAME: only a stack has change sets",
        ));
    };
    let connection = Connection::open(target).await?;
    let report = match asked {
        Asked::ChangeSet(name) => read(&connection, stack, &name).await?,
        Asked::Template(template) => {
            let id = make(&connection, stack, &template).await?;
            let read = read(&connection, stack, &id).await;
            // Whatever was read: nobody should execute it by mistake.
            let deleted = connection.cloudformation.delete_change_set().change_set_name(&id).send().await;
            let report = read?;
            deleted.map_err(|error| aws_fault::from_sdk("delete the change set", &error))?;
            report
        }
    };
    let exit = if report.ok { Exit::Done } else { Exit::Findings };
    Ok(Answer::of(&report)?.exit(exit))
}

/// Makes a change set with its nested ones, of the stack's own parameters.
async fn make(connection: &Connection, stack: &str, template: &str) -> Result<String, Failure> {
    let client = &connection.cloudformation;
    let described = client.describe_stacks().stack_name(stack).send().await;
    let described = described.map_err(|error| aws_fault::from_sdk("describe the stack", &error))?;
    let known =
        described.stacks().first().map(aws_sdk_cloudformation::types::Stack::parameters).unwrap_or_default();
    let kept = known
        .iter()
        .filter_map(|parameter| parameter.parameter_key())
        .map(|key| Parameter::builder().parameter_key(key).use_previous_value(true).build());
    let mut asked = client
        .create_change_set()
        .stack_name(stack)
        .change_set_name(format!("sallyport-changes-{}", std::process::id()))
        .include_nested_stacks(true)
        .capabilities(Capability::CapabilityIam)
        .capabilities(Capability::CapabilityAutoExpand)
        .set_parameters(Some(kept.collect()));
    asked = if template.starts_with("https://") {
        asked.template_url(template)
    } else {
        let unreadable =
            |error: std::io::Error| Failure::usage("template_unusable", format!("{template}: {error}"));
        let body = fs::read_to_string(template).map_err(unreadable)?;
        if body.len() > LONGEST_BODY {
            return Err(Failure::usage(
                "template_unusable",
                format!(
                    "{template} has {} bytes, and CloudFormation takes {LONGEST_BODY}: put it into a bucket (aws s3 cp) and pass its https:// address",
                    body.len()
                ),
            ));
        }
        asked.template_body(body)
    };
    let answer = asked.send().await.map_err(|error| aws_fault::from_sdk("make the change set", &error))?;
    let id = answer.id().map(str::to_owned).unwrap_or_default();
    let mut waited = Duration::ZERO;
    loop {
        let asked = client.describe_change_set().change_set_name(&id).stack_name(stack).send().await;
        let answer = asked.map_err(|error| aws_fault::from_sdk("read the change set", &error))?;
        match answer.status() {
            Some(ChangeSetStatus::CreateComplete) => return Ok(id),
            Some(ChangeSetStatus::Failed) => {
                let why = answer.status_reason().unwrap_or("without a reason");
                // Nothing changes: that is an answer.
                if why.contains("didn't contain changes") || why.contains("No updates are to be performed") {
                    return Ok(id);
                }
                return Err(Failure::dependency(
                    "change_set_failed",
                    format!("CloudFormation makes no change set: {why}"),
                ));
            }
            _ if waited >= PATIENCE => {
                return Err(Failure::dependency(
                    "timeout",
                    "the change set is not made in five minutes".to_owned(),
                ));
            }
            _ => {
                tokio::time::sleep(LOOK_AGAIN).await;
                waited += LOOK_AGAIN;
            }
        }
    }
}

/// All changes of a change set and of those nested in it.
async fn read(connection: &Connection, stack: &str, name: &str) -> Result<Changes, Failure> {
    let (mut changes, mut hidden) = (Vec::new(), Vec::new());
    let mut left = VecDeque::from([(stack.to_owned(), name.to_owned())]);
    while let Some((stack, name)) = left.pop_front() {
        let mut token = None;
        loop {
            let mut asked =
                connection.cloudformation.describe_change_set().change_set_name(&name).set_next_token(token);
            // An ARN says which stack it is of.
            if !name.starts_with("arn:") {
                asked = asked.stack_name(&stack);
            }
            let answer = asked.send().await.map_err(|error| {
                if error.code() == Some("ChangeSetNotFound") {
                    Failure::not_found(
                        "resource_not_found",
                        format!("there is no change set {name} of {stack}"),
                    )
                } else {
                    aws_fault::from_sdk("read the change set", &error)
                }
            })?;
            for change in answer.changes().iter().filter_map(|change| change.resource_change()) {
                let line = line(&stack, change);
                if line.kind == NESTED && change.action() != Some(&ChangeAction::Add) {
                    match change.change_set_id() {
                        Some(nested) => left.push_back((line.resource.clone(), nested.to_owned())),
                        None => hidden.push(line.resource.clone()),
                    }
                }
                changes.push(line);
            }
            token = answer.next_token().map(str::to_owned);
            if token.is_none() {
                break;
            }
        }
    }
    let ok = hidden.is_empty() && !changes.iter().any(|line| line.precious);
    Ok(Changes { ok, changes, hidden })
}

fn line(stack: &str, change: &ResourceChange) -> Line {
    let kind = change.resource_type().unwrap_or_default();
    let action = change.action().map_or("unknown", ChangeAction::as_str);
    let replaced = match change.replacement() {
        Some(Replacement::True) => " (replaces it)",
        Some(Replacement::Conditional) => " (may replace it)",
        _ => "",
    };
    let goes = change.action() == Some(&ChangeAction::Remove) || !replaced.is_empty();
    // What is in a nested stack that goes is not shown in the change set at all.
    let precious = goes && (PRECIOUS.contains(&kind) || kind == NESTED);
    Line {
        stack: stack.to_owned(),
        resource: change.logical_resource_id().unwrap_or_default().to_owned(),
        kind: kind.to_owned(),
        action: format!("{action}{replaced}"),
        precious,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(kind: &str, action: ChangeAction, replacement: Option<Replacement>) -> bool {
        let change =
            ResourceChange::builder().resource_type(kind).action(action).set_replacement(replacement);
        line("prod", &change.build()).precious
    }

    #[test]
    fn what_holds_data_is_told_when_it_goes_and_not_when_it_changes() {
        for kind in PRECIOUS.into_iter().chain([NESTED]) {
            for (action, replacement, precious) in [
                (ChangeAction::Add, None, false),
                (ChangeAction::Modify, Some(Replacement::False), false),
                (ChangeAction::Modify, Some(Replacement::True), true),
                (ChangeAction::Modify, Some(Replacement::Conditional), true),
                (ChangeAction::Remove, None, true),
            ] {
                let told = format!("{kind} {action:?} {replacement:?}");
                assert_eq!(judged(kind, action, replacement), precious, "{told}");
            }
        }
        assert!(!judged("AWS::Lambda::Function", ChangeAction::Modify, Some(Replacement::True)));
        assert!(!judged("AWS::Logs::LogGroup", ChangeAction::Remove, None));
    }

    #[test]
    fn everything_precious_of_the_template_is_of_a_kind_that_is_known() {
        let data = include_str!("../../../../../infra/data.yaml");
        let kinds = data.lines().filter_map(|line| line.trim().strip_prefix("Type: AWS::"));
        for kind in kinds.filter(|kind| !kind.contains("ResourcePolicy") && !kind.contains("KMS::Alias")) {
            assert!(PRECIOUS.contains(&format!("AWS::{kind}").as_str()), "AWS::{kind}");
        }
    }
}
