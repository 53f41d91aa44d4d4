//! `sallyport migrate up|down`.

use std::fmt;

use serde::Serialize;

use super::{
    record::{self, Claimed, Record, State},
    registry::{self, Migration, Written},
};
use crate::{
    cli::Change,
    deployment::Deployment,
    failure::Failure,
    output::{Answer, count, moment},
};

#[derive(Debug, Serialize)]
struct Ran {
    direction: Direction,
    dry_run: bool,
    migrations: Vec<Step>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Direction {
    Up,
    Down,
}

#[derive(Debug, Serialize)]
struct Step {
    id: &'static str,
    name: &'static str,
    items_written: Written,
}

impl Step {
    fn of(migration: &Migration, items_written: Written) -> Self {
        Self { id: migration.id, name: migration.name, items_written }
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match (self.direction, self.dry_run) {
            (Direction::Up, false) => "applied",
            (Direction::Up, true) => "would apply",
            (Direction::Down, false) => "reverted",
            (Direction::Down, true) => "would revert",
        };
        for step in &self.migrations {
            write!(f, "{verb} {} ({})", step.id, step.name)?;
            if self.dry_run {
                writeln!(f)?;
            } else {
                writeln!(f, ", {} written", count(step.items_written, "item"))?;
            }
        }
        match (self.migrations.is_empty(), self.direction, self.dry_run) {
            (true, Direction::Up, _) => writeln!(f, "everything is applied already; nothing was changed"),
            (true, Direction::Down, _) => {
                writeln!(f, "nothing is applied that could be reverted; nothing was changed")
            }
            (false, _, true) => writeln!(f, "nothing was changed"),
            (false, _, false) => Ok(()),
        }
    }
}

/// # Errors
/// Somebody else is at it; there is no such migration; AWS.
pub(super) async fn up(deployment: &Deployment, to: Option<&str>, change: Change) -> Result<Answer, Failure> {
    let last = known(to)?;
    let records = record::all(deployment).await?;
    refuse_reverting(&records)?;
    let mut steps = Vec::new();
    for migration in pending(&records, last) {
        if change.dry_run {
            steps.push(Step::of(migration, 0));
            continue;
        }
        match record::claim_up(deployment, migration.id, migration.name).await? {
            Claimed::Mine(claim) => {
                let written = (migration.up)(deployment).await?;
                claim.applied(deployment).await?;
                steps.push(Step::of(migration, written));
            }
            // Somebody else was faster. If he is through, all is well; if not, the next must wait for him.
            Claimed::Not => refuse_unless_applied(deployment, migration.id).await?,
        }
    }
    Answer::of(&Ran { direction: Direction::Up, dry_run: change.dry_run, migrations: steps })
}

/// # Errors
/// Somebody else is at it; there is no such migration; a newer release's is applied; AWS.
pub(super) async fn down(
    deployment: &Deployment,
    to: Option<&str>,
    change: Change,
) -> Result<Answer, Failure> {
    let last = known(to)?;
    let records = record::all(deployment).await?;
    if let Some(other) = records.iter().find(|record| registry::find(&record.id).is_none()) {
        let message =
            format!("migration {} was applied by another release: revert it with that one first", other.id);
        return Err(Failure::conflict("migration_unknown", message));
    }
    let mut steps = Vec::new();
    for migration in reverting(&records, last) {
        if change.dry_run {
            steps.push(Step::of(migration, 0));
            continue;
        }
        match record::claim_down(deployment, migration.id).await? {
            Claimed::Mine(claim) => {
                let written = (migration.down)(deployment).await?;
                claim.reverted(deployment).await?;
                steps.push(Step::of(migration, written));
            }
            Claimed::Not => {
                let now = record::all(deployment).await?;
                if let Some(record) = now.iter().find(|record| record.id == migration.id) {
                    return Err(busy(record));
                }
            }
        }
    }
    Answer::of(&Ran { direction: Direction::Down, dry_run: change.dry_run, migrations: steps })
}

/// What is to be applied, in order.
fn pending<'a>(
    records: &'a [Record],
    last: Option<&str>,
) -> impl Iterator<Item = &'static Migration> + use<'a> {
    let count = last.map_or(registry::ALL.len(), |last| {
        registry::ALL.iter().take_while(|migration| migration.id <= last).count()
    });
    let applied = |id: &str| records.iter().any(|record| record.id == id && record.state == State::Applied);
    registry::ALL.iter().take(count).filter(move |migration| !applied(migration.id))
}

/// What is to be reverted, the last first: one, or all that come after `last`.
fn reverting(records: &[Record], last: Option<&str>) -> Vec<&'static Migration> {
    let recorded =
        registry::ALL.iter().rev().filter(|migration| records.iter().any(|record| record.id == migration.id));
    match last {
        None => recorded.take(1).collect(),
        Some(last) => recorded.take_while(|migration| migration.id > last).collect(),
    }
}

fn known(id: Option<&str>) -> Result<Option<&'static str>, Failure> {
    let Some(id) = id else { return Ok(None) };
    let found = registry::find(id).map(|migration| Some(migration.id));
    found.ok_or_else(|| {
        Failure::not_found("migration_not_found", format!("this release has no migration {id}"))
    })
}

fn refuse_reverting(records: &[Record]) -> Result<(), Failure> {
    match records.iter().find(|record| record.state == State::Reverting) {
        Some(record) => Err(busy(record)),
        None => Ok(()),
    }
}

async fn refuse_unless_applied(deployment: &Deployment, id: &str) -> Result<(), Failure> {
    let records = record::all(deployment).await?;
    match records.iter().find(|record| record.id == id) {
        Some(record) if record.state == State::Applied => Ok(()),
        Some(record) => Err(busy(record)),
        None => {
            Err(Failure::conflict("migration_in_progress", format!("migration {id} was reverted meanwhile")))
        }
    }
}

fn busy(record: &Record) -> Failure {
    let Record { id, state, at, by } = record;
    let state = state.as_str();
    Failure::conflict(
        "migration_in_progress",
        format!(
            "migration {id} is {state} by {by} since {}; run `sallyport migrate status` to see it through",
            moment(*at)
        ),
    )
}

#[cfg(test)]
mod tests {
    use sallyport_core::clock::Timestamp;

    use super::*;

    fn record(state: State) -> Record {
        Record { id: "0001".to_owned(), state, at: Timestamp::from_seconds(0), by: "ada@desk".to_owned() }
    }

    #[test]
    fn what_is_applied_is_not_applied_again_and_what_died_half_way_is() {
        let ids =
            |records: &[Record]| pending(records, None).map(|migration| migration.id).collect::<Vec<_>>();
        assert_eq!(ids(&[]), ["0001"]);
        assert_eq!(ids(&[record(State::Applying)]), ["0001"]);
        assert_eq!(ids(&[record(State::Applied)]), [""; 0]);
    }

    #[test]
    fn down_reverts_the_last_or_down_to_one() {
        let ids =
            |last| reverting(&[record(State::Applied)], last).iter().map(|one| one.id).collect::<Vec<_>>();
        assert_eq!(ids(None), ["0001"]);
        assert_eq!(ids(Some("0001")), [""; 0]);
        assert!(reverting(&[], None).is_empty());
    }

    #[test]
    fn nobody_goes_up_while_somebody_goes_down() {
        assert_eq!(
            refuse_reverting(&[record(State::Reverting)]).map_err(|failure| failure.code),
            Err("migration_in_progress")
        );
        assert_eq!(refuse_reverting(&[record(State::Applying)]), Ok(()));
        insta::assert_snapshot!(busy(&record(State::Applying)).message, @"migration 0001 is applying by ada@desk since 1970-01-01 00:00:00Z; run `sallyport migrate status` to see it through");
    }
}
