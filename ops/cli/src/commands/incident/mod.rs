//! `sallyport incident`.

mod change;
mod list;
mod open;
mod postmortem;
mod show;

use std::fmt;

use clap::Subcommand;
use sallyport_core::clock::Timestamp;
use sallyport_operations::incidents::{
    Cause, Entry, FindIncident as _, Incident, IncidentError, IncidentId, Measure, ReadTimeline as _,
    Severity,
};
use serde::Serialize;

use crate::{
    cli::{Change, Target},
    deployment::Deployment,
    failure::Failure,
    output::{Answer, moment},
};

#[derive(Debug, Subcommand)]
pub(crate) enum IncidentCommand {
    /// List the incidents that are open, or all of the last days.
    List {
        /// Also those that are resolved, of the last DAYS days.
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..=400))]
        days: Option<u16>,
    },
    /// Show an incident: state, alarms, figures, timeline with the first diagnosis.
    Show {
        /// Its id, inc_…
        id: IncidentId,
    },
    /// Open an incident that no alarm knows of: a user's report, a leaked key. It is told, waited for and escalated like any
    /// other.
    Open {
        /// SEV1 to SEV4: how grave it is. SEV1 and SEV2 want an answer in 5 minutes.
        #[arg(long, value_parser = severity)]
        severity: Severity,
        /// One word for what is wrong, such as security. With availability, performance or attack it is shown on the status
        /// page, and alarms of that cause join it.
        #[arg(long, value_name = "WORD")]
        cause: String,
        /// What is known of it.
        text: String,
        #[command(flatten)]
        change: Change,
    },
    /// Take an incident on: it escalates no further.
    Ack {
        /// Its id.
        id: IncidentId,
        /// What is being done, for the timeline.
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        #[command(flatten)]
        change: Change,
    },
    /// Write into the timeline how it goes. It counts as the status update.
    Note {
        /// Its id.
        id: IncidentId,
        /// The note.
        text: String,
        #[command(flatten)]
        change: Change,
    },
    /// Call for more people: one level up.
    Escalate {
        /// Its id.
        id: IncidentId,
        #[command(flatten)]
        change: Change,
    },
    /// End an incident whose alarms are clear.
    Resolve {
        /// Its id.
        id: IncidentId,
        /// What it was and what ended it. Left out, it is the last note.
        #[arg(long, value_name = "TEXT")]
        summary: Option<String>,
        /// Also while an alarm rings, such as one whose metric is gone.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        change: Change,
    },
    /// Print the draft of a blameless post-mortem, filled with timeline and figures.
    Postmortem {
        /// Its id.
        id: IncidentId,
    },
}

impl IncidentCommand {
    /// # Errors
    /// There is no such incident; somebody has done it already; AWS.
    pub(crate) async fn run(self, target: &Target) -> Result<Answer, Failure> {
        match self {
            Self::List { days } => list::run(target, days).await,
            Self::Show { id } => show::run(target, id).await,
            Self::Open { severity, cause, text, change } => {
                open::run(target, severity, Cause::new(cause), text, change).await
            }
            Self::Ack { id, note, change } => change::acknowledge(target, id, note.as_deref(), change).await,
            Self::Note { id, text, change } => change::note(target, id, &text, change).await,
            Self::Escalate { id, change } => change::escalate(target, id, change).await,
            Self::Resolve { id, summary, force, change } => {
                change::resolve(target, id, summary.as_deref(), force, change).await
            }
            Self::Postmortem { id } => postmortem::run(target, id).await,
        }
    }
}

fn severity(text: &str) -> Result<Severity, String> {
    text.to_ascii_uppercase().parse().map_err(|()| "SEV1, SEV2, SEV3 or SEV4".to_owned())
}

/// An incident with its timeline.
async fn find(deployment: &Deployment, id: IncidentId) -> Result<(Incident, Vec<Entry>), Failure> {
    let (incident, timeline) =
        tokio::try_join!(deployment.store.incident(id), deployment.store.timeline(id))?;
    Ok((incident.ok_or_else(|| failure(IncidentError::NotFound, id))?, timeline))
}

/// In one line.
fn failure(error: IncidentError, id: impl fmt::Display) -> Failure {
    let message = match &error {
        IncidentError::NotFound => format!("there is no incident {id}"),
        IncidentError::Acknowledged { by, at } => {
            format!("{id} was acknowledged already, by {by} at {}", moment(*at))
        }
        IncidentError::Resolved { by, at } => {
            format!("{id} was resolved already, by {by} at {}", moment(*at))
        }
        IncidentError::JustEscalated { level, at } => {
            format!("{id} was escalated already, to level {level} at {}: again in a minute", moment(*at))
        }
        IncidentError::Open { id } => {
            format!("{id} of this cause is open already: `sallyport incident note {id}` adds to it")
        }
        IncidentError::NoteExists => format!("{id} has this very note already"),
        IncidentError::Ringing(alarms) => {
            format!("{id} has alarms that still ring: {alarms}: wait until they clear, or pass --force")
        }
        IncidentError::Text | IncidentError::Cause | IncidentError::Store(_) => error.to_string(),
    };
    match error {
        IncidentError::NotFound => Failure::not_found("incident_not_found", message),
        IncidentError::Acknowledged { .. } => Failure::conflict("incident_acknowledged", message),
        IncidentError::Resolved { .. } => Failure::conflict("incident_resolved", message),
        IncidentError::JustEscalated { .. } => Failure::conflict("incident_escalated", message),
        IncidentError::Open { .. } => Failure::conflict("incident_open", message),
        IncidentError::Cause => Failure::usage("invalid_cause", message),
        IncidentError::NoteExists => Failure::conflict("note_exists", message),
        IncidentError::Ringing(_) => Failure::conflict("alarms_ringing", message),
        IncidentError::Text => Failure::usage("invalid_text", message),
        IncidentError::Store(error) => error.into(),
    }
}

/// An incident for scripts. Times are epoch seconds.
#[derive(Debug, Serialize)]
struct Report {
    id: String,
    severity: &'static str,
    state: &'static str,
    cause: String,
    alarms: Vec<AlarmReport>,
    began_at: u64,
    opened_at: u64,
    acknowledged_at: Option<u64>,
    acknowledged_by: Option<String>,
    resolved_at: Option<u64>,
    resolved_by: Option<String>,
    summary: Option<String>,
    escalation_level: u32,
    #[serde(skip)]
    opened: Timestamp,
}

#[derive(Debug, Serialize)]
struct AlarmReport {
    name: String,
    state: &'static str,
    changed_at: u64,
}

#[derive(Debug, Serialize)]
struct EntryReport {
    at: u64,
    kind: &'static str,
    by: String,
    text: String,
    #[serde(skip)]
    time: Timestamp,
}

impl Report {
    fn of(incident: &Incident) -> Self {
        let acknowledged = incident.acknowledged.as_ref();
        let resolved = incident.resolved.as_ref();
        Self {
            id: incident.id.to_string(),
            severity: incident.severity.as_str(),
            state: incident.state().as_str(),
            cause: incident.cause.to_string(),
            alarms: incident
                .alarms
                .iter()
                .map(|(name, alarm)| AlarmReport {
                    name: name.clone(),
                    state: alarm.state.as_str(),
                    changed_at: alarm.changed_at.seconds(),
                })
                .collect(),
            began_at: incident.began_at.seconds(),
            opened_at: incident.opened_at.seconds(),
            acknowledged_at: acknowledged.map(|acknowledged| acknowledged.at.seconds()),
            acknowledged_by: acknowledged.map(|acknowledged| acknowledged.by.clone()),
            resolved_at: resolved.map(|resolved| resolved.at.seconds()),
            resolved_by: resolved.map(|resolved| resolved.by.clone()),
            summary: resolved.map(|resolved| resolved.summary.clone()),
            escalation_level: incident.escalation_level,
            opened: incident.opened_at,
        }
    }

    fn alarms(&self) -> String {
        let each = self.alarms.iter().map(|alarm| format!("{} {}", alarm.name, alarm.state));
        each.collect::<Vec<_>>().join(", ")
    }
}

impl EntryReport {
    /// The timeline, with what operators changed in between.
    fn all(timeline: &[Entry], measures: &[Measure]) -> Vec<Self> {
        let mut all: Vec<_> =
            timeline.iter().map(Self::of).chain(measures.iter().map(Self::changed)).collect();
        all.sort_by_key(|entry| entry.time);
        all
    }

    fn changed(measure: &Measure) -> Self {
        Self {
            at: measure.at.seconds(),
            kind: measure.kind.as_str(),
            by: measure.by.clone(),
            text: measure.detail.clone(),
            time: measure.at,
        }
    }

    fn of(entry: &Entry) -> Self {
        Self {
            at: entry.at.seconds(),
            kind: entry.kind.as_str(),
            by: entry.by.clone(),
            text: entry.text.clone(),
            time: entry.at,
        }
    }
}
