//! What people do with an incident.

use std::time::Duration;

use sallyport_core::{
    audit::{EventKind, Origin},
    clock::Timestamp,
    ids::OperationId,
    random::{Random, RandomUnavailable},
    store::{StoreError, StoreResult},
};

use super::{
    Acknowledgement, ChangeIncident, EntryKind, FindIncident, Incident, IncidentId, NoticeKind, Pointer,
    ReadTimeline, Resolution,
    open::{ROUNDS, Step, author, contended},
};

/// Longer notes and summaries are refused.
pub const LONGEST_TEXT: usize = 4000;

/// Two escalations within this time are one that was asked for twice.
const SAME: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IncidentError {
    #[error("there is no such incident")]
    NotFound,
    #[error("it was acknowledged already, by {by}")]
    Acknowledged { by: String, at: Timestamp },
    #[error("it was resolved already, by {by}")]
    Resolved { by: String, at: Timestamp },
    #[error("it was escalated to level {level} less than a minute ago")]
    JustEscalated { level: u32, at: Timestamp },
    #[error("there is an open incident of this cause: {id}")]
    Open { id: IncidentId },
    #[error("a cause is 1 to {} lower-case letters, digits and hyphens", super::report::LONGEST_CAUSE)]
    Cause,
    #[error("the same note stands in the timeline already")]
    NoteExists,
    #[error("still ringing: {0}")]
    Ringing(String),
    #[error("a text has 1 to {LONGEST_TEXT} characters")]
    Text,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<RandomUnavailable> for IncidentError {
    fn from(error: RandomUnavailable) -> Self {
        Self::Store(error.into())
    }
}

/// Takes an incident on.
///
/// # Errors
/// There is none; somebody has it; it is over; storage.
pub async fn acknowledge<P>(
    ports: &P,
    now: Timestamp,
    random: &dyn Random,
    id: IncidentId,
    note: Option<&str>,
    origin: &Origin,
) -> Result<Incident, IncidentError>
where
    P: FindIncident + ChangeIncident,
{
    if let Some(note) = note {
        check(note)?;
    }
    change(ports, now, random, id, origin, |incident| {
        unresolved(incident)?;
        if let Some(Acknowledgement { at, by }) = &incident.acknowledged {
            return Err(IncidentError::Acknowledged { by: by.clone(), at: *at });
        }
        let by = author(origin).to_owned();
        let text = note.unwrap_or_default();
        let mut step = Step::of(incident, Pointer::Stays)
            .entry(EntryKind::Acknowledged, text)
            .notice(NoticeKind::Acknowledged, said(&by, "acknowledged it", text))
            .event(EventKind::IncidentAcknowledged);
        step.incident.acknowledged = Some(Acknowledgement { at: now, by });
        step.incident.status_at = now;
        Ok(step)
    })
    .await
}

/// Writes into the timeline how it goes.
///
/// # Errors
/// There is none; the same stands there; storage.
pub async fn note<P>(
    ports: &P,
    now: Timestamp,
    random: &dyn Random,
    id: IncidentId,
    text: &str,
    origin: &Origin,
) -> Result<Incident, IncidentError>
where
    P: FindIncident + ChangeIncident + ReadTimeline,
{
    check(text)?;
    ports.incident(id).await?.ok_or(IncidentError::NotFound)?;
    let by = author(origin);
    let timeline = ports.timeline(id).await?;
    if timeline.iter().any(|entry| entry.kind == EntryKind::Note && entry.by == by && entry.text == text) {
        return Err(IncidentError::NoteExists);
    }
    change(ports, now, random, id, origin, |incident| {
        let mut step = Step::of(incident, Pointer::Stays).entry(EntryKind::Note, text);
        step.incident.status_at = now;
        Ok(step)
    })
    .await
}

/// Calls for more people.
///
/// # Errors
/// There is none; it is over; it was just escalated; storage.
pub async fn escalate<P>(
    ports: &P,
    now: Timestamp,
    random: &dyn Random,
    id: IncidentId,
    origin: &Origin,
) -> Result<Incident, IncidentError>
where
    P: FindIncident + ChangeIncident,
{
    change(ports, now, random, id, origin, |incident| {
        unresolved(incident)?;
        if let Some(at) = incident.escalated_at.filter(|at| now < *at + SAME) {
            return Err(IncidentError::JustEscalated { level: incident.escalation_level, at });
        }
        let level = incident.escalation_level.saturating_add(1);
        let mut step = Step::of(incident, Pointer::Stays)
            .entry(EntryKind::Escalated, format!("level {level}: asked for"))
            .notice(NoticeKind::Escalated, format!("level {level}: {} asks for help", author(origin)))
            .event(EventKind::IncidentEscalated);
        step.incident.escalation_level = level;
        step.incident.escalated_at = Some(now);
        step.incident.status_at = now;
        Ok(step)
    })
    .await
}

/// Ends an incident. Only a person does, and not over an alarm that rings, unless with `force`: one whose metric is gone
/// would ring for ever.
///
/// # Errors
/// There is none; it is over; an alarm rings; storage.
pub async fn resolve<P>(
    ports: &P,
    now: Timestamp,
    random: &dyn Random,
    id: IncidentId,
    summary: &str,
    force: bool,
    origin: &Origin,
) -> Result<Incident, IncidentError>
where
    P: FindIncident + ChangeIncident,
{
    change(ports, now, random, id, origin, |incident| {
        unresolved(incident)?;
        let ringing: Vec<_> = incident.ringing().collect();
        if !ringing.is_empty() && !force {
            return Err(IncidentError::Ringing(ringing.join(", ")));
        }
        check(summary)?;
        let by = author(origin).to_owned();
        let mut step = Step::of(incident, Pointer::Marks)
            .entry(EntryKind::Resolved, summary)
            .notice(NoticeKind::Resolved, said(&by, "resolved it", summary))
            .event(EventKind::IncidentResolved);
        step.incident.resolved = Some(Resolution { at: now, by, summary: summary.to_owned() });
        step.incident.status_at = now;
        // What was not begun by now has nothing to look at any more.
        step.incident.diagnosis_from = None;
        Ok(step)
    })
    .await
}

fn said(by: &str, what: &str, text: &str) -> String {
    if text.is_empty() { format!("{by} {what}") } else { format!("{by} {what}: {text}") }
}

pub(super) fn check(text: &str) -> Result<(), IncidentError> {
    if text.trim().is_empty() || text.chars().count() > LONGEST_TEXT {
        Err(IncidentError::Text)
    } else {
        Ok(())
    }
}

fn unresolved(incident: &Incident) -> Result<(), IncidentError> {
    incident.resolved.as_ref().map_or(Ok(()), |resolution| {
        Err(IncidentError::Resolved { by: resolution.by.clone(), at: resolution.at })
    })
}

/// Decides a change on the incident as it is, anew whenever another came between.
async fn change<P>(
    ports: &P,
    now: Timestamp,
    random: &dyn Random,
    id: IncidentId,
    origin: &Origin,
    decide: impl Fn(&Incident) -> Result<Step, IncidentError>,
) -> Result<Incident, IncidentError>
where
    P: FindIncident + ChangeIncident,
{
    let operation = OperationId::generate(random)?;
    for _ in 0..ROUNDS {
        let incident = ports.incident(id).await?.ok_or(IncidentError::NotFound)?;
        let change = decide(&incident)?.change(now, operation, origin);
        if applied(ports, &change, operation).await? {
            return Ok(change.incident);
        }
    }
    Err(contended().into())
}

/// Writes a change. Refused may mean that the reply of this very write was lost: then the incident carries its operation.
pub(super) async fn applied<P>(
    ports: &P,
    change: &super::IncidentChange,
    operation: OperationId,
) -> StoreResult<bool>
where
    P: FindIncident + ChangeIncident,
{
    if ports.change_incident(change).await? {
        return Ok(true);
    }
    let stored = ports.incident(change.incident.id).await?;
    Ok(stored.is_some_and(|stored| stored.operation == operation))
}
