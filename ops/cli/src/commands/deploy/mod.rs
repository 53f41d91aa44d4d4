//! `sallyport deploy`: is the deployment fit to take a release, did the release arrive, and back again.

mod preflight;
mod rollback;
mod verify;

use std::time::Duration;

use clap::Subcommand;

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
    /// Point every function of the last release at the version before it. Item formats stay as they are.
    Rollback {
        #[command(flatten)]
        change: Change,
    },
}

impl DeployCommand {
    /// # Errors
    /// Nothing says which deployment; there is nothing to go back to; AWS.
    pub(crate) async fn run(self, target: &Target, format: Format) -> Result<Answer, Failure> {
        match self {
            Self::Preflight { strict } => preflight::run(target, strict).await,
            Self::Verify { watch, url, within } => {
                let limit = Duration::from_millis(within);
                verify::run(target, format, verify::Asked { watch, url, limit }).await
            }
            Self::Rollback { change } => rollback::run(target, change).await,
        }
    }
}
