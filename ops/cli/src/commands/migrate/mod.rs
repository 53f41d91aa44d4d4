//! `sallyport migrate`: the formats of stored items.

mod record;
mod registry;
mod run;
mod status;
mod validate;

use clap::Subcommand;

use crate::{
    cli::{Change, Target},
    deployment::Deployment,
    failure::Failure,
    output::{Answer, Format, Progress},
};

/// How a deployment stands with the migrations that this release knows.
pub(super) enum Standing {
    Applied,
    /// It began at the newest format. `migrate up` would still record them.
    NotNeeded,
    /// Ids of those that are not applied.
    Pending(Vec<&'static str>),
}

pub(super) async fn standing(deployment: &Deployment) -> Result<Standing, Failure> {
    let records = record::all(deployment).await?;
    let applied =
        |id: &str| records.iter().any(|record| record.id == id && record.state == record::State::Applied);
    let pending: Vec<_> =
        registry::ALL.iter().map(|migration| migration.id).filter(|id| !applied(id)).collect();
    Ok(if pending.is_empty() {
        Standing::Applied
    } else if record::begins_at_newest(deployment, &records).await? {
        Standing::NotNeeded
    } else {
        Standing::Pending(pending)
    })
}

/// Applies what is not applied yet.
///
/// # Errors
/// As `migrate up`.
pub(super) async fn apply(deployment: &Deployment) -> Result<(), Failure> {
    run::up(deployment, None, Change { dry_run: false }).await.map(drop)
}

#[derive(Debug, Subcommand)]
pub(crate) enum MigrateCommand {
    /// List the migrations, and which are applied.
    Status,
    /// Apply what is not applied yet, in order. Twice is as good as once.
    Up {
        /// The last one to apply.
        #[arg(long, value_name = "ID")]
        to: Option<String>,
        #[command(flatten)]
        change: Change,
    },
    /// Revert the last one that is applied.
    Down {
        /// Revert all that come after this one.
        #[arg(long, value_name = "ID")]
        to: Option<String>,
        #[command(flatten)]
        change: Change,
    },
    /// Read every item of every table as this release does, and report those that do not read.
    Validate,
}

impl MigrateCommand {
    /// # Errors
    /// Somebody else is at it; AWS.
    pub(crate) async fn run(self, target: &Target, format: Format) -> Result<Answer, Failure> {
        let deployment = Deployment::find(target).await?;
        match self {
            Self::Status => status::run(&deployment).await,
            Self::Up { to, change } => run::up(&deployment, to.as_deref(), change).await,
            Self::Down { to, change } => run::down(&deployment, to.as_deref(), change).await,
            Self::Validate => validate::run(&deployment, Progress::new(format)).await,
        }
    }
}
