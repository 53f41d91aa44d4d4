//! `sallyport sessions`.

use std::fmt;

use clap::Subcommand;
use sallyport_operations::gauge;
use serde::Serialize;

use crate::{
    cli::Target,
    deployment::Deployment,
    failure::Failure,
    output::{self, Answer, Format, Progress},
};

#[derive(Debug, Subcommand)]
pub(crate) enum SessionsCommand {
    /// Count the sessions that live, to five minutes, without reading them.
    Count {
        /// Read every session besides, and compare: exact, slow, and paid for by the item.
        #[arg(long)]
        scan: bool,
    },
}

impl SessionsCommand {
    pub(crate) async fn run(self, target: &Target, format: Format) -> Result<Answer, Failure> {
        match self {
            Self::Count { scan } => count(target, scan, Progress::new(format)).await,
        }
    }
}

#[derive(Serialize)]
struct Counted {
    active_sessions: u64,
    /// By reading them all; `null` unless that was asked for.
    scanned: Option<u64>,
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "active sessions: {}", self.active_sessions)?;
        match self.scanned {
            Some(scanned) => writeln!(f, "by reading them all: {scanned}"),
            None => Ok(()),
        }
    }
}

async fn count(target: &Target, scan: bool, progress: Progress) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    let now = deployment.now();
    let active_sessions = gauge::active_sessions(&deployment.store, now).await?;
    let tell = |users: usize, live| {
        progress.tell(&format!("sessions of {} read, {live} live", output::count(users, "user")));
    };
    let scanned = if scan { Some(deployment.store.scan_sessions(now, &tell).await?) } else { None };
    Answer::of(&Counted { active_sessions, scanned })
}
