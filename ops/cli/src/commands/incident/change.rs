//! `sallyport incident ack|note|escalate|resolve`.

use std::fmt;

use sallyport_core::audit::Origin;
use sallyport_operations::incidents::{self, Entry, EntryKind, Incident, IncidentError, IncidentId};
use serde::Serialize;

use super::{failure, find};
use crate::{
    cli::{Change, Target},
    deployment::Deployment,
    failure::Failure,
    output::Answer,
};

/// What a change came to.
#[derive(Debug, Serialize)]
struct Changed {
    incident: String,
    /// `acknowledged`, `noted`, `escalated`, `resolved`.
    change: &'static str,
    state: &'static str,
    escalation_level: u32,
    /// `false` when it was so already, and at a dry run.
    changed: bool,
    dry_run: bool,
    /// What is so already, in words.
    #[serde(skip)]
    already: Option<String>,
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.change {
            "escalated" => format!(" to level {}", self.escalation_level),
            _ => String::new(),
        };
        if let Some(already) = &self.already {
            writeln!(f, "{already}; nothing was changed")
        } else if self.dry_run {
            writeln!(f, "{} would be {}{level}; nothing was changed", self.incident, self.change)
        } else {
            writeln!(f, "{} {}{level}", self.change, self.incident)
        }
    }
}

/// Which change, with what it says.
enum Asked<'a> {
    Acknowledge(Option<&'a str>),
    Note(&'a str),
    Escalate,
    Resolve(Option<&'a str>, bool),
}

impl Asked<'_> {
    const fn name(&self) -> &'static str {
        match self {
            Self::Acknowledge(_) => "acknowledged",
            Self::Note(_) => "noted",
            Self::Escalate => "escalated",
            Self::Resolve(..) => "resolved",
        }
    }
}

/// # Errors
/// There is no such incident; it is so already; AWS.
pub(super) async fn acknowledge(
    target: &Target,
    id: IncidentId,
    note: Option<&str>,
    change: Change,
) -> Result<Answer, Failure> {
    run(target, id, &Asked::Acknowledge(note), change).await
}

/// # Errors
/// As [`acknowledge`].
pub(super) async fn note(
    target: &Target,
    id: IncidentId,
    text: &str,
    change: Change,
) -> Result<Answer, Failure> {
    run(target, id, &Asked::Note(text), change).await
}

/// # Errors
/// As [`acknowledge`].
pub(super) async fn escalate(target: &Target, id: IncidentId, change: Change) -> Result<Answer, Failure> {
    run(target, id, &Asked::Escalate, change).await
}

/// # Errors
/// As [`acknowledge`]; an alarm rings.
pub(super) async fn resolve(
    target: &Target,
    id: IncidentId,
    summary: Option<&str>,
    force: bool,
    change: Change,
) -> Result<Answer, Failure> {
    run(target, id, &Asked::Resolve(summary, force), change).await
}

async fn run(target: &Target, id: IncidentId, asked: &Asked<'_>, change: Change) -> Result<Answer, Failure> {
    let origin = Deployment::origin()?;
    let deployment = Deployment::find(target).await?;
    let changed = if change.dry_run {
        let (incident, timeline) = find(&deployment, id).await?;
        let trial = incidents::Trial::new(incident, timeline);
        apply(&deployment, &trial, id, asked, &origin).await
    } else {
        apply(&deployment, &deployment.store, id, asked, &origin).await
    };
    let (incident, already) = match changed {
        Ok(incident) => (incident, None),
        Err(error @ (IncidentError::NotFound | IncidentError::Store(_))) => return Err(failure(error, id)),
        Err(error) => {
            // That it is so is no failure: a page may be followed twice.
            let (incident, timeline) = find(&deployment, id).await?;
            let failure = failure(error.clone(), id);
            match is_so(&error, asked, &incident, &timeline, origin.actor.name()) {
                Standing::AsAsked => (incident, Some(failure.message)),
                Standing::Otherwise(how) => {
                    return Err(Failure { message: format!("{}{how}", failure.message), ..failure });
                }
            }
        }
    };
    Answer::of(&Changed {
        incident: id.to_string(),
        change: asked.name(),
        state: incident.state().as_str(),
        escalation_level: incident.escalation_level,
        changed: !change.dry_run && already.is_none(),
        dry_run: change.dry_run,
        already,
    })
}

/// How an incident stands that refused a change.
enum Standing {
    /// It has what was asked for.
    AsAsked,
    /// It has not; in what it differs, where that is not said yet.
    Otherwise(&'static str),
}

fn is_so(
    error: &IncidentError,
    asked: &Asked<'_>,
    incident: &Incident,
    timeline: &[Entry],
    asks: &str,
) -> Standing {
    const WITH_OTHER_WORDS: &str = ", with other words: `sallyport incident note` adds to them";
    let said_the_same = match (error, asked) {
        (IncidentError::NoteExists, Asked::Note(_))
        | (IncidentError::JustEscalated { .. }, Asked::Escalate) => true,
        (IncidentError::Acknowledged { by, .. }, Asked::Acknowledge(note)) if by == asks => {
            let said = |entry: &&Entry| entry.kind == EntryKind::Acknowledged;
            let last = timeline.iter().rfind(said).map(|entry| entry.text.as_str());
            note.is_none() || *note == last
        }
        (IncidentError::Resolved { .. }, Asked::Resolve(summary, _)) => {
            let said = incident.resolved.as_ref().map(|resolution| resolution.summary.as_str());
            summary.is_none() || *summary == said
        }
        _ => return Standing::Otherwise(""),
    };
    if said_the_same { Standing::AsAsked } else { Standing::Otherwise(WITH_OTHER_WORDS) }
}

async fn apply<P>(
    deployment: &Deployment,
    ports: &P,
    id: IncidentId,
    asked: &Asked<'_>,
    origin: &Origin,
) -> Result<Incident, IncidentError>
where
    P: incidents::FindIncident + incidents::ChangeIncident + incidents::ReadTimeline,
{
    let (now, random) = (deployment.now(), deployment.random());
    match asked {
        Asked::Acknowledge(note) => incidents::acknowledge(ports, now, random, id, *note, origin).await,
        Asked::Note(text) => incidents::note(ports, now, random, id, text, origin).await,
        Asked::Escalate => incidents::escalate(ports, now, random, id, origin).await,
        Asked::Resolve(summary, force) => {
            let summary = match summary {
                Some(summary) => (*summary).to_owned(),
                None => last_note(ports, id).await?,
            };
            incidents::resolve(ports, now, random, id, &summary, *force, origin).await
        }
    }
}

/// What was said last; nothing where nobody has said anything, which is no summary.
async fn last_note<P: incidents::ReadTimeline>(ports: &P, id: IncidentId) -> Result<String, IncidentError> {
    let timeline = ports.timeline(id).await?;
    let note = timeline.into_iter().rfind(|entry| entry.kind == EntryKind::Note);
    Ok(note.map(|entry| entry.text).unwrap_or_default())
}
