//! `sallyport deploy template`: the stack's template, with aliases that CodeDeploy shifts once a hook has tried the new versions.
//!
//! SAM makes a new version of a function only when the text of its properties changes, and a parameter's value is no part of
//! that text: with an alias in the template itself, a deployment that changes a parameter would reach nobody. Hence a text
//! that differs at every deployment. Lambda in turn publishes a version only when code or configuration differ from those of
//! the last, and CloudFormation fails where it does not ("A version for this Lambda function exists"). Hence a variable that
//! differs, too.
//!
//! `--at-once` leaves out CodeDeploy and its hook: the aliases move when the stack is updated, and back by `deploy rollback`.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use sallyport_core::clock::Timestamp;
use serde::Serialize;

use crate::{deployment::FUNCTIONS, failure::Failure, output::Answer};

/// The hook: it stands in the written template alone, since what it asks are versions, which the other does not have.
const SMOKE: &str = include_str!("smoke.yaml");

/// Metric alarms: CodeDeploy takes no composite ones.
const ALARMS: [&str; 4] = ["service-down", "function-errors", "api-server-errors", "high-error-rate"];

#[derive(Serialize)]
struct Written {
    path: PathBuf,
    functions: [&'static str; 5],
    /// What makes this deployment's versions others than those of the last.
    release: String,
    at_once: bool,
    dry_run: bool,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, functions) = (self.path.display(), self.functions.join(", "));
        if self.dry_run {
            return writeln!(f, "would write {path}: {functions} behind aliases; nothing was changed");
        }
        let how = if self.at_once { "moved at once" } else { "tried before they are shifted" };
        writeln!(f, "wrote {path}: {functions} behind aliases, {how}; release {}", self.release)?;
        writeln!(f, "Next: sam build --template {path}, then sam deploy.")
    }
}

/// How the aliases move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// By CodeDeploy, once the hook has tried the new version.
    Gradual,
    /// When CloudFormation updates them.
    AtOnce,
}

/// # Errors
/// A file can't be read or written; it is not the stack's template.
pub(super) fn run(
    from: &PathBuf,
    to: PathBuf,
    pace: Pace,
    dry_run: bool,
    now: Timestamp,
) -> Result<Answer, Failure> {
    let file = |path: &PathBuf, error: std::io::Error| {
        Failure::usage("template_unusable", format!("{}: {error}", path.display()))
    };
    let text = fs::read_to_string(from).map_err(|error| file(from, error))?;
    beside(from, &to)?;
    let release = now.seconds().to_string();
    let shifted = shifted(&text, &release, pace)
        .map_err(|problem| Failure::usage("template_unusable", format!("{}: {problem}", from.display())))?;
    if !dry_run {
        fs::write(&to, shifted).map_err(|error| file(&to, error))?;
    }
    let at_once = pace == Pace::AtOnce;
    Answer::of(&Written { path: to, functions: FUNCTIONS, release, at_once, dry_run })
}

/// Refuses to write over the template, and to where the relative paths in it lead nowhere.
fn beside(from: &Path, to: &Path) -> Result<(), Failure> {
    let directory = |path: &Path| {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        fs::canonicalize(parent.unwrap_or_else(|| Path::new(".")))
    };
    let refused = |why: &str| Failure::usage("template_unusable", format!("{}: {why}", to.display()));
    let is_beside = matches!((directory(from), directory(to)), (Ok(from), Ok(to)) if from == to);
    if !is_beside {
        return Err(refused("paths in the template are relative: --to names a file in its directory"));
    }
    // The same file by another name, too.
    let is_itself =
        matches!((fs::canonicalize(from), fs::canonicalize(to)), (Ok(from), Ok(to)) if from == to);
    if is_itself { Err(refused("it would write over the template: --to names another file")) } else { Ok(()) }
}

/// The variable that makes a release's configuration another than that of the last.
pub(super) const RELEASE: &str = "SALLYPORT_RELEASE";

/// The template with an alias for every function that answers callers, and the hook; or why it can't have them.
fn shifted(template: &str, release: &str, pace: Pace) -> Result<String, String> {
    const RESOURCES: &str = "\nResources:\n";
    // The first of the variables that all functions have.
    const VARIABLES: &str = "\n        SALLYPORT_STAGE: !Ref Stage\n";
    // What this has written would get all of it twice.
    if template.contains("AutoPublishAlias:") || template.contains(&format!("{RELEASE}:")) {
        return Err(
            "it has aliases already: --from names the template that they were written from".to_owned()
        );
    }
    let not_there = |what: &str| Err(format!("no {what}: is it the stack's template?"));
    let mut text = template.to_owned();
    let mut follow = |line: &str, added: &str| {
        let is_there = text.matches(line).count() == 1;
        text = text.replace(line, &format!("{line}{added}"));
        is_there
    };
    for function in FUNCTIONS {
        let line = format!("      FunctionName: !Sub \"${{AWS::StackName}}-{function}\"\n");
        if !follow(&line, &block(release, pace)) {
            return not_there(&format!("function {function}"));
        }
    }
    if !follow(VARIABLES, &variable(release)) {
        return not_there("variables of all functions");
    }
    if pace == Pace::Gradual && !follow(RESOURCES, SMOKE) {
        return not_there("resources");
    }
    Ok(text)
}

fn variable(release: &str) -> String {
    format!("        {RELEASE}: \"{release}\"\n")
}

fn block(release: &str, pace: Pace) -> String {
    let alias = format!("      AutoPublishAlias: live\n      AutoPublishCodeSha256: \"{release}\"\n");
    if pace == Pace::AtOnce {
        return alias;
    }
    let alarms: String =
        ALARMS.iter().map(|name| format!("          - !Sub \"${{AWS::StackName}}-{name}\"\n")).collect();
    format!(
        "{alias}\
         \x20     DeploymentPreference:\n\
         \x20       Type: Canary10Percent5Minutes\n\
         \x20       Hooks: {{PreTraffic: !Ref Smoke}}\n\
         \x20       Alarms:\n{alarms}"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::string_slice, reason = "tests")]

    use std::collections::BTreeSet;

    use sallyport_alarms::{Parameters, Template};

    use super::*;

    const TEMPLATE: &str = include_str!("../../../../../template.yaml");

    #[test]
    fn every_function_that_answers_callers_gets_an_alias_that_is_shifted() {
        for pace in [Pace::Gradual, Pace::AtOnce] {
            let text = shifted(TEMPLATE, "1785506531", pace).unwrap();
            assert_eq!(text.matches("\n      AutoPublishAlias: live\n").count(), FUNCTIONS.len());
            assert_eq!(text.contains("DeploymentPreference"), pace == Pace::Gradual);
            // What Lambda counts as configuration, in every function.
            let (globals, _) = text.split_once("\nResources:\n").unwrap();
            assert!(globals.contains("\n        SALLYPORT_RELEASE: \"1785506531\"\n"));
            // Nothing else has changed.
            let added = block("1785506531", pace);
            let less = text.replace(&added, "").replace(SMOKE, "").replace(&variable("1785506531"), "");
            assert_eq!(less, TEMPLATE);
        }
        let added = block("1785506531", Pace::Gradual);
        insta::assert_snapshot!(added, @r#"
              AutoPublishAlias: live
              AutoPublishCodeSha256: "1785506531"
              DeploymentPreference:
                Type: Canary10Percent5Minutes
                Hooks: {PreTraffic: !Ref Smoke}
                Alarms:
                  - !Sub "${AWS::StackName}-service-down"
                  - !Sub "${AWS::StackName}-function-errors"
                  - !Sub "${AWS::StackName}-api-server-errors"
                  - !Sub "${AWS::StackName}-high-error-rate"
        "#);
    }

    #[test]
    fn the_functions_are_those_that_routes_lead_to() {
        let routed: BTreeSet<_> = TEMPLATE
            .split("\n    Type: AWS::Serverless::Function\n")
            .skip(1)
            .filter(|resource| {
                let own = resource.split("\n  # ").next().unwrap_or_default();
                own.split("\n    Type: ").next().unwrap_or_default().contains("{Type: Api,")
            })
            .filter_map(|resource| resource.split("Binary: ").nth(1)?.split('}').next())
            .collect();
        assert_eq!(routed, BTreeSet::from(FUNCTIONS));
    }

    #[test]
    fn the_hook_may_call_every_version_and_nothing_else() {
        for function in FUNCTIONS {
            let resource = format!(":function:${{AWS::StackName}}-{function}:*\"");
            assert_eq!(SMOKE.matches(&resource).count(), 1, "{resource}");
        }
        assert_eq!(SMOKE.matches(":function:").count(), FUNCTIONS.len());
        // Which version it tries CodeDeploy says: a variable would be part of the deployment that it judges.
        assert!(SMOKE.contains("codedeploy:GetDeployment") && !SMOKE.contains(".Version}"));
        // The managed policy of CodeDeploy's role allows no other names.
        assert!(SMOKE.contains("FunctionName: !Sub \"CodeDeployHook_"));
    }

    #[test]
    fn a_deployment_goes_back_by_metric_alarms_that_exist() {
        let template = Template::of_the_stack(&Parameters::new()).unwrap();
        for name in ALARMS {
            assert!(template.alarm(name).is_some_and(|alarm| alarm.composite().is_none()), "{name}");
        }
    }

    #[test]
    fn another_template_is_refused() {
        let refused = shifted("Resources: {}", "1", Pace::Gradual).unwrap_err();
        assert_eq!(refused, "no function login: is it the stack's template?");
    }

    #[test]
    fn what_was_written_once_is_not_written_anew() {
        for once in [Pace::Gradual, Pace::AtOnce] {
            let written = shifted(TEMPLATE, "1", once).unwrap();
            for again in [Pace::Gradual, Pace::AtOnce] {
                let refused = shifted(&written, "2", again).unwrap_err();
                assert!(refused.starts_with("it has aliases already"), "{refused}");
            }
        }
    }
}
