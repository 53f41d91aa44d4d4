//! `sallyport deploy rollback`: the versions before serve again. A canary that runs is ended first, since CodeDeploy would go on
//! and point the alias at the release after all; where none runs the aliases are moved.

use std::{fmt, time::Duration};

use aws_sdk_codedeploy::{error::ProvideErrorMetadata as _, types::DeploymentStatus};
use sallyport_core::audit::EventKind;
use serde::Serialize;

use super::aliases::{Alias, Running, Shifting, point};
use crate::{
    aws_fault,
    cli::{Change, Target},
    deployment::{Connection, Deployment, Settings},
    failure::Failure,
    output::{Answer, Table},
};

/// The versions of one deployment are published within minutes of one another.
const ONE_RELEASE: Duration = Duration::from_secs(60 * 60);

/// CodeDeploy needs a few seconds to give the calls back.
const PATIENCE: Duration = Duration::from_secs(3 * 60);
const LOOK_AGAIN: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Step {
    function: String,
    from: u64,
    to: u64,
    /// `would roll back`, `rolled back`, `stays`, `goes back with the stack`.
    outcome: &'static str,
    why: String,
}

/// What goes back: the functions whose newest serving version belongs to the last release. One that the release left alone
/// stays, or it would go back one release too far.
fn plan(aliases: &[Alias]) -> Vec<(usize, Step)> {
    let newest =
        aliases.iter().filter_map(|alias| alias.published(alias.serving())).max().unwrap_or_default();
    let limit = newest.saturating_sub(i64::try_from(ONE_RELEASE.as_secs()).unwrap_or_default());
    let step = |alias: &Alias| {
        let from = alias.serving();
        let step =
            |to, outcome, why: String| Step { function: alias.function.clone(), from, to, outcome, why };
        if alias.canary.is_some_and(|canary| canary > alias.version) {
            return step(alias.version, "would roll back", "the canary ends".to_owned());
        }
        // Numbers only rise: since that rollback nothing was released. Followed twice, a page goes back once.
        if let Some(taken) = alias.taken_back.iter().next_back().filter(|taken| **taken > from) {
            return step(from, "stays", format!("{taken} was taken back already"));
        }
        if alias.published(from).is_none_or(|at| at < limit) {
            return step(from, "stays", "the last release left it alone".to_owned());
        }
        match alias.before() {
            Some(before) => step(before, "would roll back", "the version before".to_owned()),
            None => step(from, "stays", "there is no version before".to_owned()),
        }
    };
    aliases.iter().map(step).enumerate().collect()
}

#[derive(Serialize)]
struct Report {
    steps: Vec<Step>,
    /// Deployments of CodeDeploy that ran.
    stopped: Vec<String>,
    /// Whether an event tells of it, and the functions' tags.
    recorded: bool,
    dry_run: bool,
    #[serde(skip)]
    stack: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["function", "from", "to", "outcome", "why"]);
        for step in &self.steps {
            table.row([
                step.function.clone(),
                step.from.to_string(),
                step.to.to_string(),
                step.outcome.to_owned(),
                step.why.clone(),
            ]);
        }
        write!(f, "{table}")?;
        if self.dry_run {
            return writeln!(f, "\nNothing was changed.");
        }
        if !self.recorded {
            writeln!(
                f,
                "\nIt is not written down everywhere (an event, a tag of each function): note it in the incident."
            )?;
        }
        writeln!(f, "\nNext: sallyport deploy verify.")?;
        if self.stopped.is_empty() {
            writeln!(
                f,
                "The stack's record still has the release: before the next one, sallyport deploy settle --stack {}.",
                self.stack
            )
        } else {
            writeln!(
                f,
                "CloudFormation takes the stack back: aws cloudformation wait stack-rollback-complete --stack-name {}",
                self.stack
            )
        }
    }
}

fn nothing(message: impl Into<String>) -> Failure {
    Failure::conflict("nothing_to_roll_back", message)
}

/// # Errors
/// There is nothing to go back to; somebody else moved an alias; AWS.
pub(super) async fn run(target: &Target, change: Change) -> Result<Answer, Failure> {
    let Some(stack) = &target.stack else {
        // Of nothing there is nothing to roll back either; but that is not what was asked.
        Settings::from_environment().tables()?;
        return Err(nothing(
            "nothing to roll back: a backend on this machine has no versions, check out the release before; for a deployment pass --stack NAME",
        ));
    };
    let connection = Connection::open(target).await?;
    let shifting = Shifting::of(&connection, stack).await?;
    let mut aliases = shifting.aliases(&connection).await?;
    if aliases.is_empty() {
        return Err(nothing(format!(
            "nothing to roll back: stack {stack} has no aliases, it was deployed without `sallyport deploy template`: deploy the release before (sallyport runbook show rollback)"
        )));
    }
    let running = shifting.running(&connection).await?;
    let (mut steps, kept) = if running.is_empty() {
        not_while_it_changes(&connection, stack).await?;
        shifting.remember(&connection, stack, &mut aliases).await;
        back(&connection, &shifting, &aliases, stack, change).await?
    } else {
        (end(&connection, &running, &aliases, change).await?, true)
    };
    steps.sort_by(|one, other| one.function.cmp(&other.function));
    let recorded = change.dry_run || (record(target, &steps).await.is_ok() && kept);
    let stopped = running.into_iter().map(|deployment| deployment.id).collect();
    Answer::of(&Report { steps, stopped, recorded, dry_run: change.dry_run, stack: stack.clone() })
}

/// An alias that is moved under an update makes CloudFormation's own way back fail.
async fn not_while_it_changes(connection: &Connection, stack: &str) -> Result<(), Failure> {
    let asked = connection.cloudformation.describe_stacks().stack_name(stack).send().await;
    let answer = asked.map_err(|error| aws_fault::from_sdk("describe the stack", &error))?;
    let status = answer.stacks().first().and_then(|stack| stack.stack_status());
    let status = status.map_or("unknown", aws_sdk_cloudformation::types::StackStatus::as_str);
    let next = match status {
        // What is left to do is to delete what is not used any more.
        "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS" => return Ok(()),
        "UPDATE_IN_PROGRESS" => {
            format!("aws cloudformation cancel-update-stack --stack-name {stack} takes it back")
        }
        _ if status.contains("ROLLBACK") && status.ends_with("_IN_PROGRESS") => {
            format!(
                "it goes back already: aws cloudformation wait stack-rollback-complete --stack-name {stack}"
            )
        }
        _ if status.ends_with("_IN_PROGRESS") => "wait until that is over".to_owned(),
        _ => return Ok(()),
    };
    Err(Failure::conflict(
        "stack_busy",
        format!("stack {stack} is {status}, and nothing was changed: {next}"),
    ))
}

/// Moves the aliases of the last release to the versions before.
async fn back(
    connection: &Connection,
    shifting: &Shifting,
    aliases: &[Alias],
    stack: &str,
    change: Change,
) -> Result<(Vec<Step>, bool), Failure> {
    let (mut steps, mut kept) = (Vec::new(), true);
    let planned = plan(aliases);
    if planned.iter().all(|(_, step)| step.outcome == "stays") {
        return Err(nothing(format!(
            "nothing to roll back: no function of {stack} has a version before its own that served, or the release was taken back already"
        )));
    }
    for (place, mut step) in planned {
        if step.outcome != "stays"
            && !change.dry_run
            && let Some(alias) = aliases.get(place)
        {
            point(&connection.lambda, alias, step.to).await.map_err(|failure| partly(&failure, &steps))?;
            step.outcome = "rolled back";
            // By this a later rollback does not come back to it.
            kept &= shifting.take_back(connection, alias, step.from).await.is_ok();
        }
        steps.push(step);
    }
    Ok((steps, kept))
}

/// Ends the deployments that run, and waits until every alias gives all calls to the version before. CodeDeploy moves the
/// aliases, and CloudFormation, whose update fails by it, takes the rest of the stack back.
async fn end(
    connection: &Connection,
    running: &[Running],
    before: &[Alias],
    change: Change,
) -> Result<Vec<Step>, Failure> {
    if !change.dry_run {
        for deployment in running {
            stop(connection, deployment).await?;
        }
        for deployment in running {
            ended(connection, &deployment.id).await?;
        }
    }
    let mut steps = Vec::new();
    for alias in before {
        let step = |to, outcome, why: &str| Step {
            function: alias.function.clone(),
            from: alias.serving(),
            to,
            outcome,
            why: why.to_owned(),
        };
        steps.push(match alias.canary {
            Some(_) if change.dry_run => {
                step(alias.version, "would roll back", "its deployment would be stopped")
            }
            Some(_) => step(alias.version, "rolled back", "its deployment was stopped"),
            None => step(alias.version, "goes back with the stack", "if the release has reached it"),
        });
    }
    Ok(steps)
}

async fn stop(connection: &Connection, deployment: &Running) -> Result<(), Failure> {
    let asked = connection.codedeploy.stop_deployment().deployment_id(&deployment.id);
    match asked.auto_rollback_enabled(true).send().await {
        Ok(_) => Ok(()),
        // It ended meanwhile: how, the alias says.
        Err(error) if error.code() == Some("DeploymentAlreadyCompletedException") => Ok(()),
        Err(error) => Err(aws_fault::from_sdk("stop the deployment", &error)),
    }
}

/// Waits until a deployment has ended, and the one that takes it back.
async fn ended(connection: &Connection, id: &str) -> Result<(), Failure> {
    let mut waited = Duration::ZERO;
    let mut id = id.to_owned();
    loop {
        let asked = connection.codedeploy.get_deployment().deployment_id(&id).send().await;
        let answer = asked.map_err(|error| aws_fault::from_sdk("read the deployment", &error))?;
        let deployment = answer.deployment_info();
        let status = deployment.and_then(|deployment| deployment.status());
        let over = matches!(
            status,
            Some(DeploymentStatus::Stopped | DeploymentStatus::Failed | DeploymentStatus::Succeeded)
        );
        let next = deployment
            .and_then(|deployment| deployment.rollback_info())
            .and_then(|rollback| rollback.rollback_deployment_id())
            .filter(|next| !next.is_empty() && *next != id);
        match next {
            Some(next) if over => id = next.to_owned(),
            _ if over => return Ok(()),
            _ if waited >= PATIENCE => {
                return Err(Failure::dependency(
                    "deployment_runs_on",
                    format!(
                        "deployment {id} was told to stop and runs on: run it again, or look at it in CodeDeploy"
                    ),
                ));
            }
            _ => {
                tokio::time::sleep(LOOK_AGAIN).await;
                waited += LOOK_AGAIN;
            }
        }
    }
}

/// Keeps an event of what was moved. Whatever hinders that hinders no rollback.
async fn record(target: &Target, steps: &[Step]) -> Result<(), Failure> {
    let moved: Vec<_> = steps
        .iter()
        .filter(|step| step.outcome == "rolled back")
        .map(|step| format!("{} {} to {}", step.function, step.from, step.to))
        .collect();
    let deployment = Deployment::find(target).await?;
    deployment.record(EventKind::ReleaseRolledBack, &moved.join(", ")).await
}

/// A rollback that stopped half-way says where.
fn partly(failure: &Failure, done: &[Step]) -> Failure {
    let names: Vec<_> =
        done.iter().filter(|step| step.outcome == "rolled back").map(|step| step.function.as_str()).collect();
    let done = if names.is_empty() {
        "nothing was changed".to_owned()
    } else {
        format!("rolled back so far: {}", names.join(", "))
    };
    Failure { message: format!("{}; {done}; run it again", failure.message), ..failure.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alias(function: &str, version: u64, canary: Option<u64>, versions: &[(u64, i64)]) -> Alias {
        Alias {
            function: function.to_owned(),
            version,
            canary,
            versions: versions.to_vec(),
            ..Alias::default()
        }
    }

    fn shown(aliases: &[Alias]) -> Vec<String> {
        plan(aliases)
            .into_iter()
            .map(|(_, step)| {
                format!("{} {} to {}: {}, {}", step.function, step.from, step.to, step.outcome, step.why)
            })
            .collect()
    }

    #[test]
    fn only_what_the_last_release_changed_goes_back() {
        let aliases = [
            alias("login", 7, None, &[(5, 1_000), (7, 900_000)]),
            alias("keys", 3, None, &[(2, 1_000), (3, 500_000)]),
            alias("mfa", 1, None, &[(1, 899_000)]),
        ];
        assert_eq!(
            shown(&aliases),
            [
                "login 7 to 5: would roll back, the version before",
                "keys 3 to 3: stays, the last release left it alone",
                "mfa 1 to 1: stays, there is no version before",
            ]
        );
    }

    #[test]
    fn what_was_taken_back_already_goes_no_further() {
        let mut again = alias("login", 6, None, &[(5, 1_000), (6, 800_000), (7, 900_000)]);
        again.taken_back.insert(7);
        assert_eq!(shown(&[again]), ["login 6 to 6: stays, 7 was taken back already"]);
        let mut next = alias("login", 8, None, &[(6, 1_000), (7, 800_000), (8, 900_000)]);
        next.taken_back.insert(7);
        assert_eq!(shown(&[next]), ["login 8 to 6: would roll back, the version before"]);
    }

    #[test]
    fn a_canary_that_runs_ends() {
        let aliases = [
            alias("login", 7, Some(8), &[(6, 1_000), (7, 500_000), (8, 900_000)]),
            alias("keys", 3, None, &[(2, 1_000), (3, 500_000)]),
        ];
        assert_eq!(
            shown(&aliases),
            [
                "login 8 to 7: would roll back, the canary ends",
                "keys 3 to 3: stays, the last release left it alone",
            ]
        );
    }
}
