//! What is due: reminders and escalations, as a function of the incident and the time.

use sallyport_core::clock::Timestamp;

use super::{Incident, State};

/// What an incident waits for by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nobody has acknowledged it in time: it goes one level up.
    Escalation { level: u32 },
    /// Nobody has said how it goes for a quarter of an hour.
    Status,
}

/// At most one of each. Each is counted from the last of its kind, so that a scheduler that was away for an hour catches
/// up with one and not with a dozen.
pub fn due(incident: &Incident, now: Timestamp) -> Vec<Due> {
    let mut found = Vec::new();
    if incident.state() == State::Open {
        let from = incident.escalated_at.map_or(incident.waiting_since, |at| at.max(incident.waiting_since));
        if now >= from + incident.severity.response() {
            found.push(Due::Escalation { level: incident.escalation_level.saturating_add(1) });
        }
    }
    if let (true, Some(every)) = (incident.is_open(), incident.severity.updates()) {
        let from = incident.reminded_at.map_or(incident.status_at, |at| at.max(incident.status_at));
        if now >= from + every {
            found.push(Due::Status);
        }
    }
    found
}
