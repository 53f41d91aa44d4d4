//! `sallyport retention`.

use std::fmt;

use clap::Subcommand;
use sallyport_aws::system::OsRandom;
use sallyport_core::clock::Timestamp;
use sallyport_operations::{
    incidents::Incident,
    retention::{self, LogGroup, SweepError},
};
use serde::Serialize;

use crate::{
    cli::{Change, Target},
    deployment::Deployment,
    failure::{Exit, Failure},
    logs::of_stack,
    output::{Answer, Format, Progress, ago, count},
};

#[derive(Debug, Subcommand)]
pub(crate) enum RetentionCommand {
    /// Check that log groups keep their lines as long as the stack says, and count incidents that are past their time.
    Check,
    /// Forget incidents that were resolved more than 400 days ago, with their timelines, as the maintenance function does
    /// once a day.
    Sweep {
        #[command(flatten)]
        change: Change,
    },
}

impl RetentionCommand {
    pub(crate) async fn run(self, target: &Target, format: Format) -> Result<Answer, Failure> {
        match self {
            Self::Check => check(target).await,
            Self::Sweep { change } => sweep(target, change, format).await,
        }
    }
}

#[derive(Serialize)]
struct Checked {
    ok: bool,
    /// For how many days the deployment keeps a line of the log; `null` on this machine, where there are no log groups.
    log_retention_days: Option<u32>,
    log_groups: Vec<Group>,
    /// That wait for the next sweep.
    incidents_overdue: usize,
    problems: Vec<String>,
}

#[derive(Serialize)]
struct Group {
    name: String,
    /// `null`: for ever.
    days: Option<u32>,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.log_retention_days {
            Some(days) => {
                writeln!(f, "{} of {days} days", count(self.log_groups.len(), "log group"))?;
            }
            None => writeln!(f, "log groups: none on this machine")?,
        }
        writeln!(f, "{} for the next sweep", count(self.incidents_overdue, "incident"))?;
        for problem in &self.problems {
            writeln!(f, "problem: {problem}")?;
        }
        Ok(())
    }
}

async fn check(target: &Target) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    let overdue = retention::overdue(&deployment.store, deployment.now()).await?;
    let (days, groups) = match &target.stack {
        Some(stack) => {
            (deployment.settings.log_retention_days()?, of_stack(&deployment.connection, stack).await?)
        }
        None => (None, Vec::new()),
    };
    let unreadable = overdue.unreadable.iter().map(ToString::to_string);
    let problems: Vec<_> = retention::words(&groups, days).into_iter().chain(unreadable).collect();
    let ok = problems.is_empty();
    let log_groups = groups.into_iter().map(|LogGroup { name, days }| Group { name, days }).collect();
    let report = Checked {
        ok,
        log_retention_days: days,
        log_groups,
        incidents_overdue: overdue.incidents.len(),
        problems,
    };
    Ok(Answer::of(&report)?.exit(if ok { Exit::Done } else { Exit::Findings }))
}

#[derive(Serialize)]
struct Swept {
    dry_run: bool,
    forgotten: Vec<String>,
    problems: Vec<String>,
}

impl fmt::Display for Swept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let incidents = count(self.forgotten.len(), "incident");
        if self.dry_run {
            writeln!(f, "would forget {incidents}; nothing was changed")?;
        } else {
            writeln!(f, "forgot {incidents}")?;
        }
        self.problems.iter().try_for_each(|problem| writeln!(f, "problem: {problem}"))
    }
}

async fn sweep(target: &Target, change: Change, format: Format) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    let (store, now, progress) = (&deployment.store, deployment.now(), Progress::new(format));
    let (forgotten, unreadable) = if change.dry_run {
        let overdue = retention::overdue(store, now).await?;
        overdue.incidents.iter().for_each(|incident| tell(progress, incident, now));
        (overdue.incidents.iter().map(|incident| incident.id).collect(), overdue.unreadable)
    } else {
        let tell = |incident: &Incident| tell(progress, incident, now);
        let swept = retention::sweep(store, now, &OsRandom, &Deployment::origin()?, &tell).await;
        let swept = swept.map_err(|error| match error {
            SweepError::Store(error) => Failure::from(error),
            SweepError::Random(error) => error.into(),
        })?;
        (swept.forgotten, swept.unreadable)
    };
    let forgotten = forgotten.iter().map(ToString::to_string).collect();
    let problems: Vec<_> = unreadable.iter().map(ToString::to_string).collect();
    let exit = if problems.is_empty() { Exit::Done } else { Exit::Findings };
    Ok(Answer::of(&Swept { dry_run: change.dry_run, forgotten, problems })?.exit(exit))
}

fn tell(progress: Progress, incident: &Incident, now: Timestamp) {
    let resolved = incident.resolved.as_ref().map(|resolved| ago(resolved.at, now)).unwrap_or_default();
    progress.tell(&format!("{} {}, resolved {resolved}", incident.id, incident.cause));
}
