//! `sallyport config`.

mod keyring;
mod providers;
mod rules;
mod tables;

use std::{collections::BTreeMap, fmt};

use clap::Subcommand;
use serde::Serialize;

use crate::{
    cli::Target,
    deployment::{Connection, Settings, name},
    failure::{Exit, Failure},
    output::{Answer, count, plain},
};

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check settings, tables and keyring of a deployment. Changes nothing.
    Validate,
}

impl ConfigCommand {
    /// # Errors
    /// There is no such stack; AWS does not answer.
    pub(crate) async fn run(self, target: &Target) -> Result<Answer, Failure> {
        match self {
            Self::Validate => validate(target).await,
        }
    }
}

/// One thing that is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// The variable, table or secret.
    pub(crate) subject: String,
    pub(crate) problem: String,
    pub(crate) fix: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Something does not work, or is not protected.
    Error,
    /// It works; look at it.
    Warning,
}

/// Findings, and how many checks were made to make them.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    checks: usize,
    found: Vec<Finding>,
}

impl Findings {
    /// Counts a check that came out well, or whose fault is reported with [`Findings::error`].
    pub(crate) fn checked(&mut self) {
        self.checks += 1;
    }

    pub(crate) fn error(&mut self, subject: &str, problem: impl Into<String>, fix: impl Into<String>) {
        self.add(Severity::Error, subject, problem.into(), fix.into());
    }

    pub(crate) fn warning(&mut self, subject: &str, problem: impl Into<String>, fix: impl Into<String>) {
        self.add(Severity::Warning, subject, problem.into(), fix.into());
    }

    fn add(&mut self, severity: Severity, subject: &str, problem: String, fix: String) {
        self.found.push(Finding { severity, subject: subject.to_owned(), problem, fix });
    }

    /// A call that was answered with an error is a finding; one that was not answered ends the command.
    ///
    /// # Errors
    /// The failure itself.
    pub(crate) fn uncheckable(&mut self, subject: &str, failure: Failure) -> Result<(), Failure> {
        match failure.code {
            "access_denied" => {
                self.warning(subject, failure.message, "run this with a role that may look at it");
                Ok(())
            }
            "aws_error" => {
                self.warning(subject, failure.message, "this endpoint can't tell; look at it by hand");
                Ok(())
            }
            _ => Err(failure),
        }
    }
}

#[derive(Debug, Serialize)]
struct Validated {
    /// No errors; there may be warnings.
    ok: bool,
    source: String,
    region: Option<String>,
    checks: usize,
    findings: Vec<Finding>,
    /// Lists, as the functions read them.
    lists: BTreeMap<&'static str, Vec<String>>,
}

impl fmt::Display for Validated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { severity, subject, problem, fix } in &self.findings {
            let severity = match severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            writeln!(f, "{severity}: {subject}: {problem}. Fix: {fix}.")?;
        }
        for (list, members) in &self.lists {
            let members = if members.is_empty() { "none".to_owned() } else { members.join(", ") };
            writeln!(f, "{list}: {}", plain(&members))?;
        }
        let number = |severity| self.findings.iter().filter(|finding| finding.severity == severity).count();
        let errors = count(number(Severity::Error), "error");
        let warnings = count(number(Severity::Warning), "warning");
        let place = self.region.as_deref().unwrap_or("no region");
        writeln!(f, "{} of {} in {place}: {errors}, {warnings}", count(self.checks, "check"), self.source)
    }
}

async fn validate(target: &Target) -> Result<Answer, Failure> {
    let mut findings = Findings::default();
    findings.checked();
    let connection = match Connection::open(target).await {
        Ok(connection) => Some(connection),
        Err(failure) if ["no_region", "no_deployment"].contains(&failure.code) && target.stack.is_none() => {
            findings.error("AWS_REGION", "no region is set", "pass --region, or set AWS_REGION or a profile");
            None
        }
        Err(failure) => return Err(failure),
    };
    let settings = match &connection {
        Some(connection) => Settings::find(target, connection).await?,
        None => Settings::from_environment(),
    };
    rules::check(&settings, &mut findings);
    if let Some(connection) = &connection {
        tables::check(connection, &settings, &mut findings).await?;
        keyring::check(connection, &settings, &mut findings).await?;
        providers::check(connection, &settings, &mut findings).await?;
    }
    let ok = !findings.found.iter().any(|finding| finding.severity == Severity::Error);
    let report = Validated {
        ok,
        source: settings.source.to_string(),
        region: connection.map(|connection| connection.region),
        checks: findings.checks,
        findings: findings.found,
        lists: rules::lists(&settings),
    };
    Ok(Answer::of(&report)?.exit(if ok { Exit::Done } else { Exit::Findings }))
}

/// What was checked of one part, for whoever shows it beside other checks.
pub(super) struct Part {
    pub(super) checks: usize,
    pub(super) findings: Vec<Finding>,
}

impl From<Findings> for Part {
    fn from(findings: Findings) -> Self {
        Self { checks: findings.checks, findings: findings.found }
    }
}

pub(super) fn settings(settings: &Settings) -> Part {
    let mut findings = Findings::default();
    rules::check(settings, &mut findings);
    findings.into()
}

/// # Errors
/// DynamoDB does not answer.
pub(super) async fn tables(connection: &Connection, settings: &Settings) -> Result<Part, Failure> {
    let mut findings = Findings::default();
    tables::check(connection, settings, &mut findings).await?;
    Ok(findings.into())
}

/// # Errors
/// Secrets Manager does not answer.
pub(super) async fn keyring(connection: &Connection, settings: &Settings) -> Result<Part, Failure> {
    let mut findings = Findings::default();
    keyring::check(connection, settings, &mut findings).await?;
    Ok(findings.into())
}

/// # Errors
/// Secrets Manager does not answer.
pub(super) async fn providers(connection: &Connection, settings: &Settings) -> Result<Part, Failure> {
    let mut findings = Findings::default();
    providers::check(connection, settings, &mut findings).await?;
    Ok(findings.into())
}

/// Whether the deployment is a developer's own machine, where nothing is backed up or encrypted.
pub(super) fn is_local(settings: &Settings) -> bool {
    settings.get(name::STAGE) == Some("local")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_with_its_fix() {
        let mut findings = Findings::default();
        findings.checked();
        findings.error("SALLYPORT_STAGE", "is not set", "set it to dev");
        findings.warning("keyring", "is empty", "run `sallyport keys init`");
        let report = Validated {
            ok: false,
            source: "the environment".to_owned(),
            region: Some("eu-central-1".to_owned()),
            checks: findings.checks,
            findings: findings.found,
            lists: [("SALLYPORT_ALLOWED_ORIGINS", vec!["https://app.example.com".to_owned()])].into(),
        };
        insta::assert_snapshot!(report, @r"
        error: SALLYPORT_STAGE: is not set. Fix: set it to dev.
        warning: keyring: is empty. Fix: run `sallyport keys init`.
        SALLYPORT_ALLOWED_ORIGINS: https://app.example.com
        1 check of the environment in eu-central-1: 1 error, 1 warning
        ");
    }
}
