//! How long things are kept, and what is past its time.
//!
//! DynamoDB takes away by itself what carries its end from the day it is written. Two things do not: an incident is kept from
//! when it was over, and lines of the log as long as the setting of their group says.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    incidents::{Incident, IncidentId},
    store::StoreResult,
};

/// How long security events are kept (DESIGN: 400 days), and incidents after they were resolved: a year can be compared with
/// the one before.
pub const EVENTS_KEPT: Duration = Duration::from_secs(400 * 24 * 60 * 60);

pub trait ForgetIncidents: Send + Sync {
    /// All that were opened before, oldest first.
    fn incidents_before(&self, before: Timestamp) -> impl Future<Output = StoreResult<Vec<Incident>>> + Send;

    /// Deletes an incident with its timeline. `false`: it is no longer as it was read, and stays.
    fn forget_incident(&self, incident: &Incident) -> impl Future<Output = StoreResult<bool>> + Send;
}

/// Incidents that were over so long ago that nobody needs them. What is open is never among them.
///
/// # Errors
/// Storage.
pub async fn overdue(ports: &impl ForgetIncidents, now: Timestamp) -> StoreResult<Vec<Incident>> {
    let before = now.minus(EVENTS_KEPT);
    // What was over by then was opened by then.
    let mut incidents = ports.incidents_before(before).await?;
    incidents.retain(|incident| incident.resolved.as_ref().is_some_and(|resolved| resolved.at < before));
    Ok(incidents)
}

/// Forgets what is overdue. `tell` is given each incident that is gone.
///
/// # Errors
/// Storage. What is gone by then stays gone; the next sweep goes on with the rest.
pub async fn sweep(
    ports: &impl ForgetIncidents,
    now: Timestamp,
    tell: &(dyn Fn(&Incident) + Sync),
) -> StoreResult<Vec<IncidentId>> {
    let mut forgotten = Vec::new();
    for incident in overdue(ports, now).await? {
        if ports.forget_incident(&incident).await? {
            tell(&incident);
            forgotten.push(incident.id);
        }
    }
    Ok(forgotten)
}

/// A group of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogGroup {
    pub name: String,
    /// How many days it keeps a line; `None` is for ever.
    pub days: Option<u32>,
}

impl LogGroup {
    /// What is to be said of it where `days` are meant.
    pub fn instead_of(&self, days: u32) -> String {
        match self.days {
            Some(kept) => format!("{} keeps its lines for {kept} days, not {days}", self.name),
            None => format!("{} keeps its lines for ever, not {days} days", self.name),
        }
    }
}

/// Groups that do not keep their lines for `days`.
pub fn kept_otherwise(groups: &[LogGroup], days: u32) -> impl Iterator<Item = &LogGroup> {
    groups.iter().filter(move |group| group.days != Some(days))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_keeps_longer_shorter_or_for_ever_is_told_with_what_was_meant() {
        let group = |name: &str, days| LogGroup { name: name.to_owned(), days };
        let groups =
            [group("login", Some(400)), group("mfa", Some(30)), group("keys", None), group("api", Some(7))];
        let told =
            |days| kept_otherwise(&groups, days).map(|group| group.instead_of(days)).collect::<Vec<_>>();
        assert_eq!(
            told(30),
            [
                "login keeps its lines for 400 days, not 30",
                "keys keeps its lines for ever, not 30 days",
                "api keeps its lines for 7 days, not 30",
            ]
        );
        assert_eq!(told(400).len(), 3);
    }
}
