//! Every minute: what is due is decided once, and written before it is sent.

use sallyport_core::{
    audit::{EventKind, Origin},
    clock::Timestamp,
    ids::OperationId,
    random::Random,
    store::StoreResult,
};

use super::{ChangeIncident, Due, EntryKind, Incident, ListIncidents, NoticeKind, Pointer, due, open::Step};

/// What a tick has decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ticked {
    /// Incidents that are not resolved.
    pub open: usize,
    pub escalations: usize,
    pub reminders: usize,
}

/// Decides reminders and escalations. Of two ticks at once one decides each.
///
/// # Errors
/// Storage, randomness; the next tick decides what this one could not.
pub async fn tick<P>(ports: &P, now: Timestamp, random: &dyn Random, origin: &Origin) -> StoreResult<Ticked>
where
    P: ListIncidents + ChangeIncident,
{
    let incidents = ports.open_incidents().await?;
    let mut ticked = Ticked { open: incidents.len(), ..Ticked::default() };
    for mut incident in incidents {
        for due in due(&incident, now) {
            let step = match due {
                Due::Escalation { level } => escalate(&incident, level, now),
                Due::Status => remind(&incident, now),
            };
            let change = step.change(now, OperationId::generate(random)?, origin);
            if !ports.change_incident(&change).await? {
                // Somebody was there first. What is still due is due at the next tick.
                break;
            }
            match due {
                Due::Escalation { .. } => ticked.escalations += 1,
                Due::Status => ticked.reminders += 1,
            }
            incident = change.incident;
        }
    }
    Ok(ticked)
}

pub(super) fn escalate(incident: &Incident, level: u32, now: Timestamp) -> Step {
    let waited = now.since(incident.waiting_since).as_secs() / 60;
    let text = format!("level {level}: not acknowledged for {waited} minutes");
    let mut step = Step::of(incident, Pointer::Stays)
        .entry(EntryKind::Escalated, &text)
        .notice(NoticeKind::Escalated, &text)
        .event(EventKind::IncidentEscalated);
    step.incident.escalation_level = level;
    step.incident.escalated_at = Some(now);
    step
}

fn remind(incident: &Incident, now: Timestamp) -> Step {
    let silent = now.since(incident.status_at).as_secs() / 60;
    let text =
        format!("no word for {silent} minutes: say how it goes (sallyport incident note {})", incident.id);
    let mut step = Step::of(incident, Pointer::Stays)
        .entry(EntryKind::Reminded, format!("no word for {silent} minutes"))
        .notice(NoticeKind::StatusDue, text);
    step.incident.reminded_at = Some(now);
    step
}
