//! `sallyport deploy prune`: published versions that nobody will go back to. CloudFormation keeps every version that it replaces
//! (else a rollback would have nothing to point at), and their archives count towards the account's 75 GB.

use std::{collections::BTreeSet, fmt};

use serde::Serialize;

use super::aliases::{Alias, Shifting, template};
use crate::{
    aws_fault,
    cli::{Change, Target},
    deployment::Connection,
    failure::Failure,
    output::{Answer, Table, count},
};

#[derive(Serialize)]
struct Pruned {
    functions: Vec<Function>,
    dry_run: bool,
}

#[derive(Serialize)]
struct Function {
    function: String,
    serves: u64,
    kept: Vec<u64>,
    deleted: Vec<u64>,
}

impl fmt::Display for Pruned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = |versions: &[u64]| versions.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let mut table =
            Table::new(["function", "serves", "kept", if self.dry_run { "would delete" } else { "deleted" }]);
        for Function { function, serves, kept, deleted } in &self.functions {
            table.row([function.clone(), serves.to_string(), listed(kept), listed(deleted)]);
        }
        write!(f, "{table}")?;
        let deleted: usize = self.functions.iter().map(|function| function.deleted.len()).sum();
        writeln!(
            f,
            "\n{}{}",
            count(deleted, "version"),
            if self.dry_run { "; nothing was changed" } else { " deleted" }
        )
    }
}

/// # Errors
/// No stack is named; a deployment runs; AWS.
pub(super) async fn run(target: &Target, keep: usize, change: Change) -> Result<Answer, Failure> {
    let Some(stack) = &target.stack else {
        return Err(Failure::usage(
            "no_deployment",
            "which stack? Pass --stack NAME: a backend on this machine has no versions",
        ));
    };
    let connection = Connection::open(target).await?;
    let shifting = Shifting::of(&connection, stack).await?;
    if let Some(running) = shifting.running(&connection).await?.first() {
        return Err(Failure::conflict(
            "stack_busy",
            format!("deployment {} of CodeDeploy runs: wait until it ends", running.id),
        ));
    }
    let aliases = shifting.aliases(&connection).await?;
    // What the stack's record has is never deleted, wherever the alias points: the next update would fail.
    let recorded = if aliases.is_empty() {
        Default::default()
    } else {
        shifting.recorded(&template(&connection, stack).await?)
    };
    let mut functions = Vec::new();
    for alias in &aliases {
        let mut held = shifting.of_stack(&alias.function);
        held.extend(recorded.get(&alias.logical));
        let (kept, deleted) = split(alias, &held, keep);
        if !change.dry_run {
            for version in &deleted {
                delete(&connection.lambda, &alias.function, *version).await?;
            }
        }
        functions.push(Function { function: alias.function.clone(), serves: alias.version, kept, deleted });
    }
    Answer::of(&Pruned { functions, dry_run: change.dry_run })
}

/// What stays and what goes: the newest stay, with whatever serves, is recorded, or is a resource of the stack.
fn split(alias: &Alias, held: &BTreeSet<u64>, keep: usize) -> (Vec<u64>, Vec<u64>) {
    let mut versions: Vec<_> = alias.versions.iter().map(|(version, _)| *version).collect();
    versions.sort_unstable_by(|one, other| other.cmp(one));
    let newest: BTreeSet<_> = versions.iter().copied().take(keep).collect();
    versions.into_iter().partition(|version| {
        newest.contains(version)
            || held.contains(version)
            || *version == alias.version
            || Some(*version) == alias.canary
    })
}

async fn delete(client: &aws_sdk_lambda::Client, function: &str, version: u64) -> Result<(), Failure> {
    let asked = client.delete_function().function_name(function).qualifier(version.to_string()).send().await;
    match asked {
        Ok(_) => Ok(()),
        Err(error) => match aws_fault::from_sdk("delete the version", &error) {
            // Somebody else was faster.
            failure if failure.code == "resource_not_found" => Ok(()),
            failure => Err(failure),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_stay_and_whatever_is_in_use() {
        let alias = Alias {
            version: 3,
            canary: Some(5),
            versions: (1..=9).map(|version| (version, 0)).collect(),
            ..Alias::default()
        };
        assert_eq!(split(&alias, &[4].into(), 2), (vec![9, 8, 5, 4, 3], vec![7, 6, 2, 1]));
        assert_eq!(split(&alias, &BTreeSet::new(), 100).1, [0; 0]);
    }
}
