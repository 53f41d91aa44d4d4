//! `sallyport deploy settle`: after a rollback the stack's record has the release that was taken back. The next gradual
//! deployment would begin with that, and CodeDeploy would refuse it, since the alias points elsewhere. This writes the stack's
//! own template with the versions that serve: deployed, it moves no call, and the record is right.

use std::{fmt, fs, path::PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::aliases::{Alias, moved, template};
use crate::{
    cli::{Change, Target},
    deployment::Connection,
    failure::Failure,
    output::Answer,
};

#[derive(Serialize)]
struct Settled {
    path: PathBuf,
    aliases: Vec<Moved>,
    dry_run: bool,
    #[serde(skip)]
    stack: String,
}

#[derive(Serialize)]
struct Moved {
    function: String,
    serves: u64,
    recorded: u64,
}

impl fmt::Display for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, stack) = (self.path.display(), &self.stack);
        if self.aliases.is_empty() {
            return writeln!(
                f,
                "Every alias of {stack} points where the stack's record says. Nothing was written."
            );
        }
        for Moved { function, serves, recorded } in &self.aliases {
            writeln!(f, "{function}: version {serves} serves, the record has {recorded}")?;
        }
        if self.dry_run {
            return writeln!(f, "would write {path}; nothing was changed");
        }
        writeln!(f, "wrote {path}: the template of {stack} with the versions that serve")?;
        writeln!(
            f,
            "Next: sam deploy --template-file {path} with the stack's --config-env. It moves no call."
        )
    }
}

/// # Errors
/// No stack is named; AWS; the file can't be written.
pub(super) async fn run(target: &Target, to: PathBuf, change: Change) -> Result<Answer, Failure> {
    let Some(stack) = &target.stack else {
        return Err(Failure::usage(
            "no_deployment",
            "which stack? Pass --stack NAME: only a stack has a record",
        ));
    };
    let connection = Connection::open(target).await?;
    let moved = moved(&connection, stack).await?;
    if let Some((alias, _)) = moved.iter().find(|(alias, _)| alias.canary.is_some()) {
        return Err(Failure::conflict(
            "stack_busy",
            format!(
                "a canary of {} runs: wait until it ends, or end it with sallyport deploy rollback",
                alias.function
            ),
        ));
    }
    if !moved.is_empty() && !change.dry_run {
        let mut template = template(&connection, stack).await?;
        moved.iter().for_each(|(alias, _)| settle(&mut template, alias));
        let unwritable =
            |error: std::io::Error| Failure::usage("template_unusable", format!("{}: {error}", to.display()));
        let text = serde_json::to_string_pretty(&template)
            .map_err(|error| Failure::dependency("output_failed", error.to_string()))?;
        fs::write(&to, text).map_err(unwritable)?;
    }
    let aliases = moved.into_iter().map(|(alias, recorded)| Moved {
        function: alias.function,
        serves: alias.version,
        recorded,
    });
    let aliases = aliases.collect();
    Answer::of(&Settled { path: to, aliases, dry_run: change.dry_run, stack: stack.clone() })
}

/// The alias with the version that serves, and without CodeDeploy: there is nothing to shift.
fn settle(template: &mut Value, alias: &Alias) {
    let Some(resource) = template.pointer_mut(&format!("/Resources/{}", alias.logical)) else { return };
    if let Some(resource) = resource.as_object_mut() {
        resource.remove("UpdatePolicy");
    }
    if let Some(properties) = resource.get_mut("Properties").and_then(Value::as_object_mut) {
        properties.insert("FunctionVersion".to_owned(), Value::String(alias.version.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_alias_that_was_moved_changes() {
        let alias = |version: Value| {
            json!({"Type": "AWS::Lambda::Alias", "UpdatePolicy": {"CodeDeployLambdaAliasUpdate": {}},
                   "Properties": {"Name": "live", "FunctionVersion": version}})
        };
        let reference = json!({"Fn::GetAtt": ["V", "Version"]});
        let mut template =
            json!({"Resources": {"A": alias(reference.clone()), "B": alias(reference.clone())}});
        settle(&mut template, &Alias { logical: "A".to_owned(), version: 6, ..Alias::default() });
        let settled =
            json!({"Type": "AWS::Lambda::Alias", "Properties": {"Name": "live", "FunctionVersion": "6"}});
        assert_eq!(template, json!({"Resources": {"A": settled, "B": alias(reference)}}));
    }
}
