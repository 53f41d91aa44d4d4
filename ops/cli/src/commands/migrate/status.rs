//! `sallyport migrate status`.

use std::fmt;

use sallyport_core::clock::Timestamp;
use serde::Serialize;

use super::{
    record::{self, Record},
    registry,
};
use crate::{
    deployment::Deployment,
    failure::Failure,
    output::{Answer, Table, moment},
};

/// A deployment that begins with the format has nothing of an older one.
const NOT_NEEDED: &str = "not needed";

#[derive(Debug, Serialize)]
struct Status {
    /// Whether everything that this release knows is applied.
    up_to_date: bool,
    migrations: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct Entry {
    id: String,
    name: &'static str,
    /// `pending`, `applying`, `applied`, `reverting`, `not needed` (a deployment that begins with it), `unknown` (of another
    /// release).
    state: &'static str,
    /// Epoch seconds.
    applied_at: Option<u64>,
    by: Option<String>,
}

impl Status {
    fn of(records: &[Record], begins_at_newest: bool) -> Self {
        let unrecorded = if begins_at_newest { NOT_NEEDED } else { "pending" };
        let mut migrations: Vec<_> = registry::ALL
            .iter()
            .map(|migration| {
                let record = records.iter().find(|record| record.id == migration.id);
                Entry {
                    id: migration.id.to_owned(),
                    name: migration.name,
                    state: record.map_or(unrecorded, |record| record.state.as_str()),
                    applied_at: record.map(|record| record.at.seconds()),
                    by: record.map(|record| record.by.clone()),
                }
            })
            .collect();
        let settled = [record::State::Applied.as_str(), NOT_NEEDED];
        let up_to_date = migrations.iter().all(|entry| settled.contains(&entry.state));
        let others = records.iter().filter(|record| registry::find(&record.id).is_none());
        migrations.extend(others.map(|record| Entry {
            id: record.id.clone(),
            name: "of another release",
            state: "unknown",
            applied_at: Some(record.at.seconds()),
            by: Some(record.by.clone()),
        }));
        Self { up_to_date, migrations }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["id", "name", "state", "since", "by"]);
        for entry in &self.migrations {
            table.row([
                entry.id.clone(),
                entry.name.to_owned(),
                entry.state.to_owned(),
                entry.applied_at.map(|at| moment(Timestamp::from_seconds(at))).unwrap_or_default(),
                entry.by.clone().unwrap_or_default(),
            ]);
        }
        write!(f, "{table}")?;
        if !self.up_to_date {
            writeln!(f, "\nNot everything is applied: run `sallyport migrate up`.")?;
        }
        Ok(())
    }
}

pub(super) async fn run(deployment: &Deployment) -> Result<Answer, Failure> {
    let records = record::all(deployment).await?;
    let begins_at_newest = record::begins_at_newest(deployment, &records).await?;
    Answer::of(&Status::of(&records, begins_at_newest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pending_and_what_is_of_another_release_is_shown() {
        insta::assert_snapshot!(Status::of(&[], false), @r"
        ID    NAME                         STATE    SINCE  BY
        0001  baseline: items of format 1  pending  -      -

        Not everything is applied: run `sallyport migrate up`.
        ");
        insta::assert_snapshot!(Status::of(&[], true), @r"
        ID    NAME                         STATE       SINCE  BY
        0001  baseline: items of format 1  not needed  -      -
        ");
        let record = |id: &str| Record {
            id: id.to_owned(),
            state: record::State::Applied,
            at: Timestamp::from_seconds(1_785_506_531),
            by: "ada@desk".to_owned(),
        };
        insta::assert_snapshot!(Status::of(&[record("0001"), record("9999")], false), @r"
        ID    NAME                         STATE    SINCE                 BY
        0001  baseline: items of format 1  applied  2026-07-31 14:02:11Z  ada@desk
        9999  of another release           unknown  2026-07-31 14:02:11Z  ada@desk
        ");
    }
}
