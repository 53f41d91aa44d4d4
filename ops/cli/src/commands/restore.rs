//! `sallyport restore`.

use std::{fmt, sync::Arc, time::Duration};

use clap::Subcommand;
use sallyport_core::{
    accounts::PasswordHasher,
    rules::Rules,
    sessions::SessionPolicy,
    throttle::{AddressLimit, PoolPolicy},
    tokens::Audience,
};
use sallyport_operations::recovery::drill::{self, DrillEnv, DrillError, Report, Standing};
use serde::Serialize;

use crate::{
    cli::{Change, Target},
    deployment::Deployment,
    failure::{Exit, Failure},
    output::{Answer, Format},
};

#[derive(Debug, Subcommand)]
pub(crate) enum RestoreCommand {
    /// Restore the tables beside the live ones, read every item, sign in out of them, and delete them again.
    ///
    /// In the cloud the tables are restored to the latest point in time that there is; where there is no backup to restore,
    /// such as on an emulator, they are copied, and the report says so. It costs what the restored data costs.
    Drill {
        #[command(flatten)]
        change: Change,
    },
}

impl RestoreCommand {
    /// # Errors
    /// AWS; somebody else drills.
    pub(crate) async fn run(self, target: &Target, format: Format) -> Result<Answer, Failure> {
        match self {
            Self::Drill { change } => run(target, change, format).await,
        }
    }
}

#[derive(Serialize)]
struct Drilled {
    #[serde(flatten)]
    report: Option<Report>,
    dry_run: bool,
}

impl fmt::Display for Drilled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(report) = &self.report else {
            return writeln!(
                f,
                "would restore users, audit and ops beside the live tables; nothing was changed"
            );
        };
        let how = report.method.as_str();
        let verdict = if report.ok { "the restore is proven" } else { "the restore failed" };
        writeln!(f, "{verdict} (by {how}, {} s)", report.took)?;
        for (table, items) in &report.items {
            let live = report.live_items.get(table).copied().unwrap_or_default();
            writeln!(f, "{table}: {items} items; the live table had about {live}")?;
        }
        for finding in report.findings.iter().chain(&report.examples) {
            writeln!(f, "problem: {finding}")?;
        }
        Ok(())
    }
}

/// Between two looks at tables that are being restored.
const POLL: Duration = Duration::from_secs(15);

/// Looks that find an error before the drill is left for the next one to go on with.
const PATIENCE: usize = 5;

async fn run(target: &Target, change: Change, format: Format) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    if change.dry_run {
        return Answer::of(&Drilled { report: None, dry_run: true });
    }
    let keyring = deployment.keyring().await?;
    let hasher = PasswordHasher::new(deployment.hash_parameters()?);
    let rules = Rules {
        audience: Audience { issuer: "drill".to_owned(), audience: "drill".to_owned() },
        sessions: SessionPolicy::default(),
        pool: PoolPolicy::default(),
        address: AddressLimit::default(),
        // Modes and blocks are for those who come from outside.
        flags: Arc::default(),
        emergency: None,
    };
    let origin = Deployment::origin()?;
    let prefix = deployment.settings.scratch_prefix();
    let drill = DrillEnv {
        env: deployment.env(&keyring),
        hasher: &hasher,
        rules: &rules,
        prefix: &prefix,
        origin: &origin,
        due_after: Duration::ZERO,
        patience: Duration::from_secs(60 * 60),
    };
    let tell = |step: &str| format.progress(step);
    let mut failures = 0;
    loop {
        let (report, exit) = match drill::drive(&deployment.store, drill, &tell).await {
            Ok(Standing::Proven(report)) => (report, Exit::Done),
            Ok(Standing::Failed(report)) => (report, Exit::Findings),
            Ok(Standing::UnderWay(what)) => {
                format.progress(&format!("waiting: {what}"));
                drill.env.clock.sleep(POLL).await;
                continue;
            }
            Ok(Standing::NotDue) => {
                return Err(Failure::conflict("not_due", "a drill has just been proven"));
            }
            Err(DrillError::Store(error)) => {
                failures += 1;
                if failures < PATIENCE {
                    format.progress(&format!("again: {error}"));
                    continue;
                }
                // Nothing is left behind if it can be helped; if not, the next drill begins with it.
                if let Err(error) = drill::abandon(&deployment.store, drill, &tell).await {
                    format.progress(&format!("the scratch tables {prefix}-* may still be there: {error}"));
                }
                return Err(error.into());
            }
            Err(DrillError::Leased(until)) => {
                let seconds = until.since(deployment.now()).as_secs();
                return Err(Failure::conflict(
                    "drill_under_way",
                    format!("somebody else is drilling; if not, the drill is free again in {seconds} s"),
                ));
            }
            Err(DrillError::Random(error)) => return Err(error.into()),
            Err(error @ DrillError::Canary(_)) => {
                return Err(Failure::dependency("canary_unusable", error.to_string()));
            }
        };
        return Ok(Answer::of(&Drilled { report: Some(report), dry_run: false })?.exit(exit));
    }
}
