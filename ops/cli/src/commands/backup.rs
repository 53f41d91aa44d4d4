//! `sallyport backup`.

use std::fmt;

use clap::Subcommand;
use sallyport_core::clock::Timestamp;
use sallyport_operations::recovery::{InspectTables as _, Proof, Proofs as _, Role, backup_gaps, gaps};
use serde::Serialize;

use crate::{
    cli::Target,
    commands::doctor::OLDEST_PROOF,
    deployment::{Deployment, name},
    failure::{Exit, Failure},
    output::{Answer, Table, ago},
};

#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Check that every table that must be kept could be restored now, and that the last restore drill is not too old.
    Verify,
}

impl BackupCommand {
    pub(crate) async fn run(self, target: &Target) -> Result<Answer, Failure> {
        match self {
            Self::Verify => verify(target).await,
        }
    }
}

#[derive(Serialize)]
struct Verified {
    ok: bool,
    tables: Vec<TableBackup>,
    /// Epoch seconds of the last restore that was proven.
    restore_proven_at: Option<u64>,
    problems: Vec<String>,
    #[serde(skip)]
    now: Timestamp,
}

#[derive(Serialize)]
struct TableBackup {
    table: &'static str,
    /// Epoch seconds; `null` when it is off, or the endpoint cannot tell.
    earliest: Option<u64>,
    latest: Option<u64>,
    backups_on_demand: Option<usize>,
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["table", "restorable from", "restorable to", "backups on demand"]);
        let moment =
            |at: Option<u64>| at.map(|at| ago(Timestamp::from_seconds(at), self.now)).unwrap_or_default();
        for backup in &self.tables {
            table.row([
                backup.table.to_owned(),
                moment(backup.earliest),
                moment(backup.latest),
                backup.backups_on_demand.map(|number| number.to_string()).unwrap_or_default(),
            ]);
        }
        write!(f, "{table}")?;
        match self.restore_proven_at {
            Some(at) => writeln!(f, "last proven restore: {}", ago(Timestamp::from_seconds(at), self.now))?,
            None => writeln!(f, "no restore has been proven yet: run `sallyport restore drill`")?,
        }
        for problem in &self.problems {
            writeln!(f, "problem: {problem}")?;
        }
        Ok(())
    }
}

async fn verify(target: &Target) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    let store = &deployment.store;
    let now = deployment.now();
    // What prod refuses to lose, the other stages may.
    let protected = deployment.settings.get(name::STAGE) == Some("prod");
    let (mut tables, mut problems) = (Vec::new(), Vec::new());
    for role in Role::ALL {
        let protection = store.protection(role).await?;
        let found = backup_gaps(&protection, now).into_iter().chain(gaps(&protection, protected));
        for gap in found {
            let problem = format!("{}: {}", gap.role.as_str(), gap.problem);
            // Recovery that is off is found twice.
            if !problems.iter().any(|known: &String| known.starts_with(&problem)) {
                problems.push(problem);
            }
        }
        if role.is_retained() {
            let window = protection.point_in_time.flatten();
            tables.push(TableBackup {
                table: role.as_str(),
                earliest: window.map(|window| window.earliest.seconds()),
                latest: window.map(|window| window.latest.seconds()),
                backups_on_demand: store.backups(role).await?.map(|backups| backups.number),
            });
        }
    }
    let proof = store.proof(Proof::RESTORE_DRILL).await?;
    // What was never restored is no backup yet. Only prod has had the time to prove it.
    match &proof {
        Some(proof) if now.since(proof.at) > OLDEST_PROOF => {
            let age = ago(proof.at, now);
            problems.push(format!("the last restore was proven {age}: run `sallyport restore drill`"));
        }
        None if protected => {
            problems.push("no restore was ever proven: run `sallyport restore drill`".to_owned());
        }
        _ => {}
    }
    let report = Verified {
        ok: problems.is_empty(),
        tables,
        restore_proven_at: proof.map(|proof| proof.at.seconds()),
        problems,
        now,
    };
    let exit = if report.ok { Exit::Done } else { Exit::Findings };
    Ok(Answer::of(&report)?.exit(exit))
}
