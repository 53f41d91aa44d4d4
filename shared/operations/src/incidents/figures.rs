//! How long everything took.

use std::time::Duration;

use sallyport_core::clock::Timestamp;

use super::{Entry, EntryKind, Incident, Measure};

/// Durations of an incident. What has not happened has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// From the beginning, as the alarm's periods tell, to the incident.
    pub detected: Duration,
    /// The rest from the opening: to the first acknowledgement,
    pub acknowledged: Option<Duration>,
    /// to the end of what users met: the first mitigation, whoever did it, or the clearing of the last alarm,
    pub mitigated: Option<Duration>,
    /// to a person's word that it is over.
    pub resolved: Option<Duration>,
    pub escalations: usize,
    pub reminders: usize,
    pub reopenings: usize,
}

/// Counts and measures by the timeline.
pub fn figures(incident: &Incident, timeline: &[Entry], measures: &[Measure]) -> Figures {
    let first = |kind| timeline.iter().find(|entry| entry.kind == kind).map(|entry| entry.at);
    let last = |kind| timeline.iter().rfind(|entry| entry.kind == kind).map(|entry| entry.at);
    let count = |kind| timeline.iter().filter(|entry| entry.kind == kind).count();
    let since = |at: Timestamp| at.since(incident.opened_at);
    let all_clear = if incident.ringing().next().is_none() { last(EntryKind::AlarmCleared) } else { None };
    let by_people = measures
        .iter()
        .find(|measure| Measure::mitigates(measure.kind) == Some(true) && measure.at >= incident.opened_at)
        .map(|measure| measure.at);
    let by_itself = first(EntryKind::Mitigated);
    Figures {
        detected: incident.opened_at.since(incident.began_at),
        acknowledged: first(EntryKind::Acknowledged).map(since),
        mitigated: by_people.into_iter().chain(by_itself).min().or(all_clear).map(since),
        resolved: incident.resolved.as_ref().map(|resolution| since(resolution.at)),
        escalations: count(EntryKind::Escalated),
        reminders: count(EntryKind::Reminded),
        reopenings: count(EntryKind::Reopened),
    }
}
