//! How long things are kept, and what is past its time.
//!
//! DynamoDB takes away by itself what carries its end from the day it is written. Two things do not: an incident is kept from
//! when it was over, and lines of the log as long as the setting of their group says.

use std::time::Duration;

use sallyport_core::{
    audit::{EventKind, Origin, SecurityEvent, Subject},
    clock::Timestamp,
    ids::OperationId,
    random::{Random, RandomUnavailable},
    store::{StoreError, StoreResult},
};
use thiserror::Error;

use crate::incidents::{Incident, IncidentId};

/// How long security events are kept (DESIGN: 400 days), and incidents after they were resolved: a year can be compared with
/// the one before.
pub const EVENTS_KEPT: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// How long refusals are kept that anybody can cause who knows an address: as many as an attack makes.
pub const REFUSALS_KEPT: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// How long an event is kept. What a stranger can cause without a password, a code or a token goes first, so that an attack
/// does not decide how large the table gets.
pub const fn kept(kind: EventKind) -> Duration {
    match kind {
        EventKind::SignInRefused | EventKind::LockedOut => REFUSALS_KEPT,
        _ => EVENTS_KEPT,
    }
}

pub trait ForgetIncidents: Send + Sync {
    /// All that were opened before, oldest first. One that does not read is none of the others' business.
    fn incidents_before(
        &self,
        before: Timestamp,
    ) -> impl Future<Output = StoreResult<Vec<StoreResult<Incident>>>> + Send;

    /// Deletes an incident and what its cause leads to, and marks its timeline as what remains of it: all or nothing. `false`: it
    /// is no longer as it was read, and stays.
    fn forget_incident(
        &self,
        incident: &Incident,
        event: &SecurityEvent,
    ) -> impl Future<Output = StoreResult<bool>> + Send;

    /// Incidents that are deleted and of which something remains.
    fn remains(&self) -> impl Future<Output = StoreResult<Vec<IncidentId>>> + Send;

    /// Deletes the timeline of an incident that is deleted, and the mark last.
    fn clear_remains(&self, id: IncidentId) -> impl Future<Output = StoreResult<()>> + Send;
}

/// What is past its time.
#[derive(Debug, Clone, Default)]
pub struct Overdue {
    /// Over for so long that nobody needs them. What is open is never among them.
    pub incidents: Vec<Incident>,
    /// Nobody can say since when these are over: they stay, and somebody should look.
    pub unreadable: Vec<StoreError>,
}

pub async fn overdue(ports: &impl ForgetIncidents, now: Timestamp) -> StoreResult<Overdue> {
    let before = now.minus(EVENTS_KEPT);
    let mut overdue = Overdue::default();
    // What was over by then was opened by then.
    for incident in ports.incidents_before(before).await? {
        match incident {
            Ok(incident) if incident.resolved.as_ref().is_some_and(|resolved| resolved.at < before) => {
                overdue.incidents.push(incident);
            }
            Ok(_) => {}
            Err(unreadable) => overdue.unreadable.push(unreadable),
        }
    }
    Ok(overdue)
}

/// What a sweep has done.
#[derive(Debug, Clone, Default)]
pub struct Swept {
    pub forgotten: Vec<IncidentId>,
    pub unreadable: Vec<StoreError>,
}

/// Why a sweep stopped.
#[derive(Debug, Error)]
pub enum SweepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Random(#[from] RandomUnavailable),
}

/// Forgets what is overdue, and clears what remains of it or of a sweep that was broken off. `tell` is given each incident that is
/// gone.
///
/// # Errors
/// Storage, randomness. What is gone by then stays gone; the next sweep goes on with the rest.
pub async fn sweep(
    ports: &impl ForgetIncidents,
    now: Timestamp,
    random: &dyn Random,
    origin: &Origin,
    tell: &(dyn Fn(&Incident) + Sync),
) -> Result<Swept, SweepError> {
    let overdue = overdue(ports, now).await?;
    let mut swept = Swept { unreadable: overdue.unreadable, ..Swept::default() };
    for incident in overdue.incidents {
        let id = OperationId::generate(random)?;
        let event = SecurityEvent::new(id, now, EventKind::IncidentForgotten, Subject::Deployment, origin)
            .detail(incident.id.to_string());
        match ports.forget_incident(&incident, &event).await {
            Ok(true) => {
                tell(&incident);
                swept.forgotten.push(incident.id);
            }
            Ok(false) => {}
            // What its cause leads to does not read: no reason to keep those behind it.
            Err(unreadable @ StoreError::Corrupt { .. }) => swept.unreadable.push(unreadable),
            Err(unavailable) => return Err(unavailable.into()),
        }
    }
    for id in ports.remains().await? {
        ports.clear_remains(id).await?;
    }
    Ok(swept)
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

/// What is to be said of groups that do not keep their lines for `days`; nothing where there is no such rule.
pub fn words(groups: &[LogGroup], days: Option<u32>) -> Vec<String> {
    let otherwise = |days| kept_otherwise(groups, days).map(move |group| group.instead_of(days));
    days.into_iter().flat_map(otherwise).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_keeps_longer_shorter_or_for_ever_is_told_with_what_was_meant() {
        let group = |name: &str, days| LogGroup { name: name.to_owned(), days };
        let groups =
            [group("login", Some(400)), group("mfa", Some(30)), group("keys", None), group("api", Some(7))];
        assert_eq!(
            words(&groups, Some(30)),
            [
                "login keeps its lines for 400 days, not 30",
                "keys keeps its lines for ever, not 30 days",
                "api keeps its lines for 7 days, not 30",
            ]
        );
        assert_eq!(words(&groups, Some(400)).len(), 3);
        assert_eq!(words(&groups, None), Vec::<String>::new());
    }
}
