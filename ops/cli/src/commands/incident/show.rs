//! `sallyport incident show`.

use std::{fmt, time::Duration};

use sallyport_core::clock::Timestamp;
use sallyport_operations::incidents::{Figures, IncidentId, figures, measures_of};
use serde::Serialize;

use super::{EntryReport, Report, find};
use crate::{
    cli::Target,
    deployment::Deployment,
    failure::Failure,
    output::{Answer, Facts, ago, moment, plain, span},
};

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    incident: Report,
    figures: FiguresReport,
    timeline: Vec<EntryReport>,
    #[serde(skip)]
    now: Timestamp,
}

/// Seconds.
#[derive(Debug, Serialize)]
pub(super) struct FiguresReport {
    detected: u64,
    acknowledged: Option<u64>,
    mitigated: Option<u64>,
    resolved: Option<u64>,
    escalations: usize,
    reminders: usize,
    reopenings: usize,
}

impl FiguresReport {
    pub(super) fn of(figures: Figures) -> Self {
        Self {
            detected: figures.detected.as_secs(),
            acknowledged: figures.acknowledged.map(|took| took.as_secs()),
            mitigated: figures.mitigated.map(|took| took.as_secs()),
            resolved: figures.resolved.map(|took| took.as_secs()),
            escalations: figures.escalations,
            reminders: figures.reminders,
            reopenings: figures.reopenings,
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let incident = &self.incident;
        let took = |seconds: Option<u64>| {
            seconds.map_or_else(|| "not yet".to_owned(), |seconds| span(Duration::from_secs(seconds)))
        };
        let by = |by: &Option<String>| by.as_ref().map(|by| format!(", by {by}")).unwrap_or_default();
        let figures = &self.figures;
        let facts = Facts::default()
            .with("incident", &incident.id)
            .with("severity", incident.severity)
            .with("state", incident.state)
            .with("cause", &incident.cause)
            .with("alarms", incident.alarms())
            .with("opened", format!("{} ({})", moment(incident.opened), ago(incident.opened, self.now)))
            .with("escalation level", incident.escalation_level)
            .with("detected after", took(Some(figures.detected)))
            .with("acknowledged after", took(figures.acknowledged) + &by(&incident.acknowledged_by))
            .with("mitigated after", took(figures.mitigated))
            .with("resolved after", took(figures.resolved) + &by(&incident.resolved_by));
        writeln!(f, "{facts}")?;
        for entry in &self.timeline {
            let mut lines = entry.text.lines();
            let first = plain(lines.next().unwrap_or_default());
            writeln!(f, "{}  {:<15}  {}  {first}", moment(entry.time), entry.kind, plain(&entry.by))?;
            for line in lines {
                writeln!(f, "{:22}{}", "", plain(line))?;
            }
        }
        Ok(())
    }
}

/// # Errors
/// There is no such incident; AWS.
pub(super) async fn run(target: &Target, id: IncidentId) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    let (incident, timeline) = find(&deployment, id).await?;
    let measures = measures_of(&deployment.store, &incident, deployment.now()).await?;
    Answer::of(&Shown {
        incident: Report::of(&incident),
        figures: FiguresReport::of(figures(&incident, &timeline, &measures)),
        timeline: EntryReport::all(&timeline, &measures),
        now: deployment.now(),
    })
}
