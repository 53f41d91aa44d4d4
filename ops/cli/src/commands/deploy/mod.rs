//! `sallyport deploy`: is the deployment fit to take a release, did the release arrive, and back again.

mod account;
mod aliases;
mod changes;
mod preflight;
mod prune;
mod rollback;
mod settle;
mod template;
mod verify;

pub(super) use self::verify::too_many;

use std::{path::PathBuf, time::Duration};

use clap::Subcommand;
use sallyport_aws::system::SystemClock;
use sallyport_core::clock::Clock as _;

use crate::{
    cli::{Change, Target},
    failure::Failure,
    output::{Answer, Format, parse_span},
};

#[derive(Debug, Subcommand)]
pub(crate) enum DeployCommand {
    /// Say whether the deployment is fit to take a release: its health, open incidents, modes, migrations. Changes nothing.
    Preflight {
        /// Let warnings count as findings, too.
        #[arg(long)]
        strict: bool,
        /// A parameter that the deployment will have, such as LoginReservedConcurrency=50; the others are the stack's.
        #[arg(long, value_name = "NAME=VALUE", value_parser = account::parameter)]
        parameter: Vec<(String, String)>,
    },
    /// Say what a deployment would do, nested stacks included: which table or secret it would replace or delete.
    #[command(group = clap::ArgGroup::new("source").required(true))]
    Changes {
        /// A change set that is there, such as that of `sam deploy --no-execute-changeset`.
        #[arg(long, value_name = "NAME", group = "source")]
        change_set: Option<String>,
        /// A packaged template (`sam package`), or its https:// address in a bucket: a change set is made, read and deleted.
        #[arg(long, value_name = "FILE", group = "source")]
        template: Option<String>,
    },
    /// Write the template of a gradual deployment: aliases, tried first, then a tenth of the calls, back when an alarm fires.
    Template {
        /// The stack's template.
        #[arg(long, value_name = "FILE", default_value = "template.yaml")]
        from: PathBuf,
        /// The file to write, in the same directory: paths in it are relative.
        #[arg(long, value_name = "FILE", default_value = "gradual.yaml")]
        to: PathBuf,
        /// Without CodeDeploy: the aliases move when the stack is updated. Rolling back works all the same.
        #[arg(long)]
        at_once: bool,
        #[command(flatten)]
        change: Change,
    },
    /// Say whether the release serves, by the public API: health, keys, discovery, a sign-in that is refused, headers, errors.
    Verify {
        /// Ask again and again for so long, such as 30m, and end at the first fault.
        #[arg(long, value_name = "DURATION", value_parser = parse_span)]
        watch: Option<Duration>,
        /// Where the API answers; by default at the deployment's issuer.
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        /// The longest that an answer may take from here, in milliseconds.
        #[arg(long, value_name = "MS", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
        within: u64,
    },
    /// End a canary that runs, or point every function of the last release at the version before. Item formats stay.
    Rollback {
        #[command(flatten)]
        change: Change,
    },
    /// Delete published versions of functions that are older than the newest few, and that nothing uses.
    Prune {
        /// How many of the newest stay, whether anything uses them or not.
        #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(2..=1000))]
        keep: u16,
        #[command(flatten)]
        change: Change,
    },
    /// After a rollback: write the stack's template with the versions that serve, so that the next release begins with them.
    Settle {
        /// The file to write.
        #[arg(long, value_name = "FILE", default_value = "settled.json")]
        to: PathBuf,
        #[command(flatten)]
        change: Change,
    },
}

impl DeployCommand {
    /// # Errors
    /// Nothing says which deployment; there is nothing to go back to; AWS.
    pub(crate) async fn run(self, target: &Target, format: Format) -> Result<Answer, Failure> {
        match self {
            Self::Preflight { strict, parameter } => preflight::run(target, strict, &parameter).await,
            Self::Template { from, to, at_once, change } => {
                if !at_once && target.stack.is_some() {
                    aliases::refuse_moved(target).await?;
                }
                let pace = if at_once { template::Pace::AtOnce } else { template::Pace::Gradual };
                template::run(&from, to, pace, change.dry_run, SystemClock.now())
            }
            Self::Verify { watch, url, within } => {
                let limit = Duration::from_millis(within);
                verify::run(target, format, verify::Asked { watch, url, limit }).await
            }
            Self::Rollback { change } => rollback::run(target, change).await,
            Self::Prune { keep, change } => prune::run(target, usize::from(keep), change).await,
            Self::Changes { change_set, template } => {
                let asked = match (change_set, template) {
                    (Some(name), _) => changes::Asked::ChangeSet(name),
                    (None, template) => changes::Asked::Template(template.unwrap_or_default()),
                };
                changes::run(target, asked).await
            }
            Self::Settle { to, change } => settle::run(target, to, change).await,
        }
    }
}
