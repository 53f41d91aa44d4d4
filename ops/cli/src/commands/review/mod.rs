//! `sallyport review`: what a team looks at every day, week and month, with the figures of the deployment beside it.

mod counts;
mod figures;
mod tasks;

pub(super) use self::figures::OLDEST_KEY_DAYS;

use std::fmt;

use clap::Subcommand;
use sallyport_core::clock::Timestamp;
use serde::Serialize;

use self::{
    figures::Figure,
    tasks::{Area, TASKS, Task},
};
use crate::{
    cli::Target,
    deployment::Deployment,
    failure::Failure,
    output::{Answer, Table, count, moment},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ReviewCommand {
    /// What is looked at every morning.
    Daily,
    /// What is looked at every week: errors, capacity, backups, patches.
    Weekly,
    /// What is looked at every month: restore, keys, rights, dependencies, a game day.
    Monthly,
}

impl ReviewCommand {
    /// How far back figures of a span go, and in the words that other commands take.
    const fn span(self) -> (u64, &'static str) {
        match self {
            Self::Daily => (24 * 60 * 60, "24h"),
            Self::Weekly => (7 * 24 * 60 * 60, "7d"),
            Self::Monthly => (30 * 24 * 60 * 60, "30d"),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
        }
    }

    /// # Errors
    /// There is no such deployment. A figure that can't be had is told as one.
    pub(crate) async fn run(self, target: &Target) -> Result<Answer, Failure> {
        let deployment = Deployment::find(target).await?;
        let now = deployment.now();
        let figures = figures::of(&deployment, target, self, now).await;
        let tasks = TASKS.iter().filter(|task| task.period == self).collect();
        Answer::of(&Review {
            period: self,
            of: deployment.settings.source.to_string(),
            at: now.seconds(),
            figures,
            tasks,
            now,
        })
    }
}

#[derive(Serialize)]
struct Review {
    period: ReviewCommand,
    /// The stack, or the environment.
    of: String,
    /// Epoch seconds.
    at: u64,
    figures: Vec<Figure>,
    tasks: Vec<&'static Task>,
    #[serde(skip)]
    now: Timestamp,
}

impl fmt::Display for Review {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} review of {}, {}\n", self.period.name(), self.of, moment(self.now))?;
        let mut table = Table::new(["area", "figure", "value", ""]);
        for figure in &self.figures {
            let mark = if figure.attention { "look at this" } else { " " };
            table.row([
                figure.area.name().to_owned(),
                figure.name.clone(),
                figure.text.clone(),
                mark.to_owned(),
            ]);
        }
        writeln!(f, "{table}")?;
        let mut table = Table::new(["area", "task", "done by", "how"]);
        for task in &self.tasks {
            table.row([
                task.area.name().to_owned(),
                task.what.to_owned(),
                task.automated_by.unwrap_or("you").to_owned(),
                task.how.to_owned(),
            ]);
        }
        write!(f, "{table}")?;
        let attention = self.figures.iter().filter(|figure| figure.attention).count();
        match attention {
            0 => writeln!(f, "\nNothing stands out."),
            number => writeln!(f, "\n{} to look at.", count(number, "figure")),
        }
    }
}
