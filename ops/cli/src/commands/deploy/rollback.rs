//! `sallyport deploy rollback`: aliases go back to the versions before.

use std::{collections::HashMap, fmt, time::Duration};

use aws_sdk_cloudformation::{Client as CloudFormation, error::ProvideErrorMetadata as _};
use aws_sdk_lambda::{Client as Lambda, types::AliasRoutingConfiguration};
use serde::Serialize;

use crate::{
    aws_fault,
    cli::{Change, Target},
    deployment::Connection,
    failure::Failure,
    output::{Answer, Table},
};

/// The versions of one deployment are published within minutes of one another.
const ONE_RELEASE: Duration = Duration::from_secs(60 * 60);

/// An alias with what it points at and could point at.
#[derive(Debug, Clone, Default)]
struct Alias {
    function: String,
    name: String,
    /// For compare-and-swap: somebody else may be at it.
    revision: Option<String>,
    /// Where most calls go.
    version: u64,
    /// A canary that runs: where the other calls go.
    canary: Option<u64>,
    /// Published versions, with when (epoch seconds).
    versions: Vec<(u64, i64)>,
}

impl Alias {
    fn published(&self, version: u64) -> Option<i64> {
        self.versions.iter().find(|(known, _)| *known == version).map(|(_, at)| *at)
    }

    /// The newest version that serves calls.
    fn serving(&self) -> u64 {
        self.canary.unwrap_or_default().max(self.version)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Step {
    function: String,
    from: u64,
    to: u64,
    /// `would roll back`, `rolled back`, `stays`.
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
        if alias.published(from).is_none_or(|at| at < limit) {
            return step(from, "stays", "the last release left it alone".to_owned());
        }
        match alias.versions.iter().map(|(version, _)| *version).filter(|version| *version < from).max() {
            Some(before) => step(before, "would roll back", "the version before".to_owned()),
            None => step(from, "stays", "there is no version before".to_owned()),
        }
    };
    aliases.iter().map(step).enumerate().collect()
}

#[derive(Serialize)]
struct Report {
    steps: Vec<Step>,
    dry_run: bool,
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
            writeln!(f, "\nNothing was changed.")
        } else {
            writeln!(
                f,
                "\nNext: sallyport deploy verify. The stack itself still names the release: deploy the repaired one."
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
        return Err(nothing(
            "nothing to roll back: a backend on this machine has no versions, check out the release before; for a deployment pass --stack NAME",
        ));
    };
    let connection = Connection::open(target).await?;
    let mut aliases = Vec::new();
    for (function, name) in aliases_of(&connection.cloudformation, stack, &connection.region).await? {
        aliases.push(read(&connection.lambda, function, name).await?);
    }
    if aliases.is_empty() {
        return Err(nothing(format!(
            "nothing to roll back: stack {stack} has no aliases, it was deployed without `sallyport deploy template`: deploy the release before"
        )));
    }
    let mut steps = Vec::new();
    let planned = plan(&aliases);
    if planned.iter().all(|(_, step)| step.outcome == "stays") {
        return Err(nothing(format!(
            "nothing to roll back: no function of {stack} has a version before its own"
        )));
    }
    for (place, mut step) in planned {
        if step.outcome != "stays"
            && !change.dry_run
            && let Some(alias) = aliases.get(place)
        {
            update(&connection.lambda, alias, step.to).await.map_err(|failure| partly(&failure, &steps))?;
            step.outcome = "rolled back";
        }
        steps.push(step);
    }
    Answer::of(&Report { steps, dry_run: change.dry_run })
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

/// Function and alias of every alias in the stack.
async fn aliases_of(
    client: &CloudFormation,
    stack: &str,
    region: &str,
) -> Result<Vec<(String, String)>, Failure> {
    let mut found = Vec::new();
    let mut token = None;
    loop {
        let asked = client.list_stack_resources().stack_name(stack).set_next_token(token).send().await;
        let answer = asked.map_err(|error| {
            let absent = error.code() == Some("ValidationError")
                && error.message().is_some_and(|message| message.contains("does not exist"));
            if absent {
                Failure::not_found(
                    "stack_not_found",
                    format!(
                        "there is no stack {stack} in {region}: is it the right name, region and account?"
                    ),
                )
            } else {
                aws_fault::from_sdk("list the stack's resources", &error)
            }
        })?;
        let aliases = answer
            .stack_resource_summaries()
            .iter()
            .filter(|resource| resource.resource_type() == Some("AWS::Lambda::Alias"));
        // arn:aws:lambda:REGION:ACCOUNT:function:NAME:ALIAS
        found.extend(aliases.filter_map(|alias| {
            let mut parts = alias.physical_resource_id()?.rsplit(':');
            let (name, function) = (parts.next()?, parts.next()?);
            Some((function.to_owned(), name.to_owned()))
        }));
        token = answer.next_token().map(str::to_owned);
        if token.is_none() {
            found.sort();
            return Ok(found);
        }
    }
}

async fn read(client: &Lambda, function: String, name: String) -> Result<Alias, Failure> {
    let asked = client.get_alias().function_name(&function).name(&name).send().await;
    let answer = asked.map_err(|error| aws_fault::from_sdk("read the alias", &error))?;
    let number = |text: &str| text.parse::<u64>().ok();
    let others = answer.routing_config().and_then(|routing| routing.additional_version_weights());
    let canary = others.into_iter().flatten().filter_map(|(version, _)| number(version)).max();
    let mut alias = Alias {
        version: answer.function_version().and_then(number).unwrap_or_default(),
        revision: answer.revision_id().map(str::to_owned),
        canary,
        function,
        name,
        versions: Vec::new(),
    };
    let mut marker = None;
    loop {
        let asked = client.list_versions_by_function().function_name(&alias.function).set_marker(marker);
        let answer = asked.send().await.map_err(|error| aws_fault::from_sdk("list the versions", &error))?;
        alias.versions.extend(answer.versions().iter().filter_map(|version| {
            let at = version.last_modified().and_then(|at| at.parse::<jiff::Timestamp>().ok());
            Some((number(version.version()?)?, at.map(jiff::Timestamp::as_second).unwrap_or_default()))
        }));
        marker = answer.next_marker().map(str::to_owned);
        if marker.is_none() {
            return Ok(alias);
        }
    }
}

async fn update(client: &Lambda, alias: &Alias, version: u64) -> Result<(), Failure> {
    let whole =
        AliasRoutingConfiguration::builder().set_additional_version_weights(Some(HashMap::new())).build();
    let asked = client
        .update_alias()
        .function_name(&alias.function)
        .name(&alias.name)
        .function_version(version.to_string())
        .routing_config(whole)
        .set_revision_id(alias.revision.clone());
    match asked.send().await {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some("PreconditionFailedException") => Err(Failure::conflict(
            "alias_moved",
            format!(
                "somebody else moved the alias of {} meanwhile: look again with --dry-run",
                alias.function
            ),
        )),
        Err(error) => Err(aws_fault::from_sdk("move the alias", &error)),
    }
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

    #[test]
    fn the_time_that_lambda_tells_reads() {
        let read = "2026-07-31T14:02:11.000+0000".parse::<jiff::Timestamp>();
        assert_eq!(read.map(jiff::Timestamp::as_second).ok(), Some(1_785_506_531));
    }
}
