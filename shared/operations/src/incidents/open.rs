//! From an alarm to an incident.

use std::{collections::BTreeMap, time::Duration};

use sallyport_core::{
    audit::{EventKind, Origin, SecurityEvent, Subject},
    clock::Timestamp,
    ids::OperationId,
    random::Random,
    store::{StoreError, StoreResult},
};

use super::{
    AlarmChange, AlarmRecord, AlarmState, Cause, ChangeIncident, Classified, Entry, EntryKind, FindIncident,
    Incident, IncidentChange, IncidentId, Notice, NoticeKind, Pointer, Severity, State, classify,
};

/// An alarm that rings again within this time after the end goes on with the same incident: what was repaired did not hold.
pub const REOPEN: Duration = Duration::from_secs(30 * 60);

/// How often a change is decided anew because another came between. Each round at least one comes through.
pub(super) const ROUNDS: usize = 40;

/// What became of a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    Opened(Incident),
    Reopened(Incident),
    Updated(Incident),
    /// It was heard before, or there is no incident that it means something to.
    Unchanged(Option<Incident>),
}

impl Taken {
    pub fn incident(&self) -> Option<&Incident> {
        match self {
            Self::Opened(incident) | Self::Reopened(incident) | Self::Updated(incident) => Some(incident),
            Self::Unchanged(incident) => incident.as_ref(),
        }
    }

    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Opened(_) => "opened",
            Self::Reopened(_) => "reopened",
            Self::Updated(_) => "updated",
            Self::Unchanged(_) => "unchanged",
        }
    }
}

/// A step that was decided: the incident as it will be, and what is told of it.
pub(super) struct Step {
    pub(super) incident: Incident,
    pub(super) pointer: Pointer,
    pub(super) entries: Vec<(EntryKind, String)>,
    pub(super) notice: Option<(NoticeKind, String)>,
    pub(super) event: Option<EventKind>,
}

impl Step {
    pub(super) fn of(incident: &Incident, pointer: Pointer) -> Self {
        Self { incident: incident.clone(), pointer, entries: Vec::new(), notice: None, event: None }
    }

    pub(super) fn entry(mut self, kind: EntryKind, text: impl Into<String>) -> Self {
        self.entries.push((kind, text.into()));
        self
    }

    pub(super) fn notice(mut self, kind: NoticeKind, text: impl Into<String>) -> Self {
        self.notice = Some((kind, text.into()));
        self
    }

    pub(super) fn event(mut self, kind: EventKind) -> Self {
        self.event = Some(kind);
        self
    }

    /// The step as it is written, by whom and when.
    pub(super) fn change(self, now: Timestamp, operation: OperationId, origin: &Origin) -> IncidentChange {
        let Self { mut incident, pointer, entries, notice, event } = self;
        incident.version = incident.version.saturating_add(1);
        incident.operation = operation;
        let by = author(origin);
        let entries = entries.into_iter().zip(0_u8..).map(|((kind, text), index)| Entry {
            incident: incident.id,
            version: incident.version,
            index,
            at: now,
            kind,
            by: by.to_owned(),
            text,
        });
        let notice = notice.map(|(kind, text)| Notice {
            incident: incident.id,
            version: incident.version,
            kind,
            at: now,
            text,
            due_at: now,
            attempts: 0,
            claim: None,
            sent: Default::default(),
        });
        let event = event.map(|kind| {
            let detail = format!("{} {} {}", incident.id, incident.severity, incident.cause);
            SecurityEvent::new(operation, now, kind, Subject::Deployment, origin).detail(detail)
        });
        IncidentChange { pointer, entries: entries.collect(), notice, given_up: None, event, incident }
    }
}

/// An operator or a function by its name: callers change no incidents.
pub(super) fn author(origin: &Origin) -> &str {
    origin.actor.name()
}

pub(super) fn contended() -> StoreError {
    StoreError::Contended { operation: "change incident" }
}

/// Takes a notification: opens an incident, joins the one that is open, goes on with one that is just over, or changes
/// nothing. One cause has one incident, however many notifications come at once and however often each is delivered.
///
/// # Errors
/// Storage, randomness. The notification must be delivered again then.
pub async fn take_alarm<P>(
    ports: &P,
    now: Timestamp,
    random: &dyn Random,
    change: &AlarmChange,
    origin: &Origin,
) -> StoreResult<Taken>
where
    P: FindIncident + ChangeIncident,
{
    let classified = classify(change);
    let operation = OperationId::generate(random)?;
    let mut tried: Option<fn(Incident) -> Taken> = None;
    for _ in 0..ROUNDS {
        let latest = ports.latest_of(&classified.cause).await?;
        // The write was refused since it had been made: only its reply was lost.
        if let (Some(taken), Some(own)) =
            (tried, latest.as_ref().filter(|latest| latest.operation == operation))
        {
            return Ok(taken(own.clone()));
        }
        let fresh = IncidentId::generate(random, now)?;
        let Some(decided) = decide(latest.as_ref(), &classified, change, fresh, now) else {
            return Ok(Taken::Unchanged(latest));
        };
        let (taken, step): (fn(Incident) -> Taken, _) = match decided {
            Decided::Open(step) => (Taken::Opened, step),
            Decided::Reopen(step) => (Taken::Reopened, step),
            Decided::Update(step) => (Taken::Updated, step),
        };
        let change = step.change(now, operation, origin);
        if ports.change_incident(&change).await? {
            return Ok(taken(change.incident));
        }
        tried = Some(taken);
    }
    Err(contended())
}

enum Decided {
    Open(Step),
    Reopen(Step),
    Update(Step),
}

fn decide(
    latest: Option<&Incident>,
    classified: &Classified,
    change: &AlarmChange,
    fresh: IncidentId,
    now: Timestamp,
) -> Option<Decided> {
    let alarm = &classified.alarm;
    let heard = latest.and_then(|incident| incident.alarms.get(alarm));
    // Delivered twice, or overtaken by a later one.
    if heard.is_some_and(|record| change.changed_at <= record.changed_at) {
        return None;
    }
    let over = |incident: &&Incident| {
        incident.resolved.as_ref().is_some_and(|resolution| now > resolution.at + REOPEN)
    };
    match (latest.filter(|incident| !over(incident)), change.state) {
        (None, AlarmState::Alarm) => Some(Decided::Open(open(latest, classified, change, fresh, now))),
        (None, _) => None,
        (Some(incident), AlarmState::Alarm) if !incident.is_open() => {
            Some(Decided::Reopen(reopen(incident, classified, change, now)))
        }
        (Some(incident), AlarmState::Alarm) => Some(Decided::Update(join(incident, classified, change, now))),
        (Some(incident), _) => {
            // It rang for this incident, or it is none of its business.
            heard?;
            Some(Decided::Update(clear(incident, classified, change)))
        }
    }
}

fn record(classified: &Classified, change: &AlarmChange) -> AlarmRecord {
    // What was tested does not ring, and CloudWatch tells its return under the alarm's own cause.
    let state = if change.is_test() { AlarmState::Ok } else { change.state };
    AlarmRecord { state, changed_at: change.changed_at, children: classified.children.clone() }
}

/// The alarm with the first words of its reason.
fn told(classified: &Classified, change: &AlarmChange) -> String {
    let reason: String = change.reason.chars().take(400).collect();
    let children = match classified.children.as_slice() {
        [] => String::new(),
        children => format!(" ({})", children.join(", ")),
    };
    format!("{}{children}: {reason}", classified.alarm)
}

fn open(
    latest: Option<&Incident>,
    classified: &Classified,
    change: &AlarmChange,
    id: IncidentId,
    now: Timestamp,
) -> Step {
    let mut incident = begun(id, classified.cause.clone(), classified.severity, now);
    incident.began_at = change.began_at.min(now);
    incident.alarms = BTreeMap::from([(classified.alarm.clone(), record(classified, change))]);
    opening(&incident, latest, told(classified, change))
}

/// An incident that begins now, and of which nobody has heard.
pub(super) fn begun(id: IncidentId, cause: Cause, severity: Severity, now: Timestamp) -> Incident {
    Incident {
        id,
        cause,
        severity,
        began_at: now,
        opened_at: now,
        waiting_since: now,
        acknowledged: None,
        resolved: None,
        status_at: now,
        reminded_at: None,
        escalation_level: 0,
        escalated_at: None,
        alarms: BTreeMap::new(),
        diagnosis_from: Some(now),
        mitigated_for: None,
        version: 0,
        operation: OperationId::from_bytes([0; 16]),
    }
}

/// The first step of an incident, whose cause led to the latest one before.
pub(super) fn opening(incident: &Incident, latest: Option<&Incident>, text: String) -> Step {
    Step::of(incident, Pointer::Moves(latest.map(|latest| latest.id)))
        .entry(EntryKind::Opened, format!("{} {text}", incident.severity))
        .notice(NoticeKind::Opened, text)
        .event(EventKind::IncidentOpened)
}

fn reopen(incident: &Incident, classified: &Classified, change: &AlarmChange, now: Timestamp) -> Step {
    let text = told(classified, change);
    let mut step = Step::of(incident, Pointer::Marks)
        .entry(EntryKind::Reopened, &text)
        .notice(NoticeKind::Reopened, &text)
        .event(EventKind::IncidentReopened);
    let next = &mut step.incident;
    next.alarms.insert(classified.alarm.clone(), record(classified, change));
    next.severity = next.severity.min(classified.severity);
    next.resolved = None;
    wait_again(next, now);
    next.diagnosis_from = Some(now);
    step
}

/// Nobody has acknowledged what it has become.
fn wait_again(incident: &mut Incident, now: Timestamp) {
    incident.acknowledged = None;
    incident.waiting_since = now;
    incident.status_at = now;
    incident.reminded_at = None;
    incident.escalation_level = 0;
    incident.escalated_at = None;
}

fn join(incident: &Incident, classified: &Classified, change: &AlarmChange, now: Timestamp) -> Step {
    let text = told(classified, change);
    let mut step = Step::of(incident, Pointer::Stays).entry(EntryKind::AlarmJoined, &text);
    step.incident.alarms.insert(classified.alarm.clone(), record(classified, change));
    if classified.severity < incident.severity {
        let raised = format!("{} -> {}", incident.severity, classified.severity);
        // Who has acknowledged a warning has not acknowledged an outage.
        let was_acknowledged = incident.state() == State::Acknowledged;
        step.incident.severity = classified.severity;
        wait_again(&mut step.incident, now);
        step = step
            .entry(EntryKind::SeverityRaised, &raised)
            .notice(NoticeKind::SeverityRaised, format!("{raised}: {text}"));
        if was_acknowledged {
            step = step.event(EventKind::IncidentReopened);
        }
    }
    step
}

fn clear(incident: &Incident, classified: &Classified, change: &AlarmChange) -> Step {
    let text = format!("{} is {}", told(classified, change), change.state.as_str());
    let mut step = Step::of(incident, Pointer::Stays).entry(EntryKind::AlarmCleared, text);
    if let Some(record) = step.incident.alarms.get_mut(&classified.alarm) {
        record.state = change.state;
        record.changed_at = change.changed_at;
    }
    let rang = incident.ringing().next().is_some();
    if incident.is_open() && rang && step.incident.ringing().next().is_none() {
        let text = "no alarm rings any more: verify, then resolve it";
        step = step.notice(NoticeKind::AllClear, text);
    }
    step
}
