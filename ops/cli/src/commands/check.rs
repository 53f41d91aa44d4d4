//! What a look at a deployment came to: a line per check, and what to do about it.

use std::fmt;

use serde::Serialize;

use super::config::{Finding, Severity};
use crate::{
    aws_fault::address_of,
    deployment::{Deployment, is_loopback},
    failure::{Exit, Failure},
    output::{Answer, count, plain},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    Ok,
    /// There is nothing to look at here, and why.
    Skipped,
    /// It works; look at it.
    Warning,
    /// Something does not work, or is not protected.
    Fault,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    pub(super) name: String,
    pub(super) outcome: Outcome,
    pub(super) what: String,
    /// A command where there is one.
    pub(super) fix: Option<String>,
}

impl Check {
    fn new(name: impl Into<String>, outcome: Outcome, what: impl Into<String>) -> Self {
        Self { name: name.into(), outcome, what: what.into(), fix: None }
    }

    fn fixed_by(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    pub(super) fn ok(name: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(name, Outcome::Ok, what)
    }

    pub(super) fn skipped(name: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(name, Outcome::Skipped, why)
    }

    pub(super) fn warning(name: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(name, Outcome::Warning, what).fixed_by(fix)
    }

    pub(super) fn fault(name: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(name, Outcome::Fault, what).fixed_by(fix)
    }

    /// The call that would have told failed: that says nothing of others, which are made all the same.
    pub(super) fn unanswered(name: impl Into<String>, failure: &Failure) -> Self {
        let fix = remedy(failure);
        match failure.code {
            "access_denied" => Self::warning(name, &failure.message, fix),
            _ => Self::fault(name, &failure.message, fix),
        }
    }

    pub(super) fn found(finding: Finding) -> Self {
        match finding.severity {
            Severity::Error => Self::fault(finding.subject, finding.problem, finding.fix),
            Severity::Warning => Self::warning(finding.subject, finding.problem, finding.fix),
        }
    }
}

/// What helps against a call that failed, by why it did.
fn remedy(failure: &Failure) -> &'static str {
    let here = address_of(&failure.message).is_some_and(|address| is_loopback(address.trim_end_matches(':')));
    match failure.code {
        "access_denied" => "run this with a role that may look at it",
        "unreachable" | "timeout" if here => {
            "does the backend run, and on this port? cargo run -p local, then in this shell: eval \"$(cargo run -q -p local -- env)\""
        }
        "unreachable" => "is this machine online, and does HTTPS_PROXY fit? Then the AWS status page",
        "timeout" => "try again; then the AWS status page",
        "throttled" => "try again in a minute",
        "no_credentials" | "credentials_refused" => "aws sso login, or another --profile",
        "resource_not_found" | "stack_not_found" => "look at --stack, --region and the account",
        "keyring_empty" => "sallyport keys init",
        "keyring_unusable" => "sallyport runbook show key-compromise, or restore the secret's version before",
        "corrupt_item" => "sallyport migrate validate",
        "console_refused" => "is this backend of the same release? Start it again: cargo run -p local",
        _ => "sallyport runbook show application; then the AWS status page",
    }
}

/// The checks of a command, as they are answered.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// No faults; there may be warnings.
    pub(super) ok: bool,
    pub(super) source: String,
    pub(super) checks: Vec<Check>,
}

impl Report {
    pub(super) fn of(deployment: &Deployment, checks: Vec<Check>) -> Self {
        Self::new(deployment.settings.source.to_string(), checks)
    }

    pub(super) fn new(source: String, checks: Vec<Check>) -> Self {
        let ok = !checks.iter().any(|check| check.outcome == Outcome::Fault);
        Self { ok, source, checks }
    }

    /// # Errors
    /// The report does not serialise.
    pub(super) fn answer(&self, strict: bool) -> Result<Answer, Failure> {
        let worst = self.checks.iter().map(|check| check.outcome).max();
        let limit = if strict { Outcome::Warning } else { Outcome::Fault };
        let exit = if worst.is_some_and(|worst| worst >= limit) { Exit::Findings } else { Exit::Done };
        Ok(Answer::of(self)?.exit(exit))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Check { name, outcome, what, fix } in &self.checks {
            writeln!(f, "{:<8} {}: {}", outcome.as_str(), plain(name), plain(what))?;
            if let Some(fix) = fix {
                writeln!(f, "         fix: {}", plain(fix))?;
            }
        }
        let number = |outcome| self.checks.iter().filter(|check| check.outcome == outcome).count();
        let (faults, warnings) = (number(Outcome::Fault), number(Outcome::Warning));
        let all = count(self.checks.len(), "check");
        writeln!(f, "{all} of {}: {}, {}", self.source, count(faults, "fault"), count(warnings, "warning"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_helps_against_a_failed_call_fits_why_it_failed() {
        // The codes of src/aws_fault.rs and src/failure.rs that a call can fail with.
        let of = |code| remedy(&Failure::dependency(code, "read the table: it is so"));
        let codes = [
            "access_denied",
            "unreachable",
            "timeout",
            "throttled",
            "no_credentials",
            "resource_not_found",
            "keyring_empty",
            "keyring_unusable",
            "corrupt_item",
            "console_refused",
            "aws_error",
        ];
        let fixes: std::collections::BTreeSet<_> = codes.into_iter().map(of).collect();
        assert_eq!(fixes.len(), codes.len(), "each has its own");
        assert_eq!(of("credentials_refused"), of("no_credentials"));
        // Nobody can run a placeholder.
        assert!(fixes.iter().all(|fix| !fix.split([' ', ',']).any(|word| word == "ID")));
        for (message, runs_here) in [
            ("describe the table: can't reach http://127.0.0.1:8999: Connection refused", true),
            ("http://localhost:3000/health/ready: can't be reached", true),
            ("describe the table: can't reach https://dynamodb.eu-central-1.amazonaws.com: dns error", false),
        ] {
            let fix = remedy(&Failure::dependency("unreachable", message));
            assert_eq!(fix.contains("cargo run -p local"), runs_here, "{message}");
        }
    }

    #[test]
    fn a_finding_stands_with_its_fix_and_a_warning_counts_only_when_asked() {
        let checks = vec![
            Check::ok("tables", "6 tables"),
            Check::warning("modes", "maintenance", "sallyport mode clear maintenance"),
            Check::skipped("topics", "not on this machine"),
        ];
        let mut report = Report::new("the environment".to_owned(), checks);
        insta::assert_snapshot!(report, @r"
        ok       tables: 6 tables
        warning  modes: maintenance
                 fix: sallyport mode clear maintenance
        skipped  topics: not on this machine
        3 checks of the environment: 0 faults, 1 warning
        ");
        let exits = |report: &Report| [false, true].map(|strict| report.answer(strict).map(|a| a.exit));
        assert_eq!(exits(&report), [Ok(Exit::Done), Ok(Exit::Findings)]);
        report.checks.push(Check::fault("keyring", "is empty", "sallyport keys init"));
        assert_eq!(exits(&report), [Ok(Exit::Findings), Ok(Exit::Findings)]);
    }
}
