//! `sallyport incident list`.

use std::{fmt, time::Duration};

use sallyport_core::clock::Timestamp;
use sallyport_operations::incidents::ListIncidents as _;
use serde::Serialize;

use super::Report;
use crate::{
    cli::Target,
    deployment::Deployment,
    failure::Failure,
    output::{Answer, Table, ago, moment},
};

#[derive(Serialize)]
struct Listed {
    incidents: Vec<Report>,
    #[serde(skip)]
    days: Option<u16>,
    #[serde(skip)]
    now: Timestamp,
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.incidents.is_empty() {
            return match self.days {
                None => writeln!(f, "No open incident."),
                Some(days) => writeln!(f, "No open incident, and none in {days} days."),
            };
        }
        let mut table =
            Table::new(["incident", "severity", "state", "cause", "opened", "age", "level", "alarms"]);
        for incident in &self.incidents {
            table.row([
                incident.id.clone(),
                incident.severity.to_owned(),
                incident.state.to_owned(),
                incident.cause.clone(),
                moment(incident.opened),
                ago(incident.opened, self.now),
                incident.escalation_level.to_string(),
                incident.alarms(),
            ]);
        }
        write!(f, "{table}")
    }
}

pub(super) async fn run(target: &Target, days: Option<u16>) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    let now = deployment.now();
    let mut found = deployment.store.open_incidents().await?;
    if let Some(days) = days {
        let since = now.minus(Duration::from_secs(u64::from(days) * 24 * 60 * 60));
        let open: Vec<_> = found.iter().map(|incident| incident.id).collect();
        let recent = deployment.store.incidents_since(since).await?;
        found.extend(recent.into_iter().filter(|incident| !open.contains(&incident.id)));
    }
    found.sort_by_key(|incident| (!incident.is_open(), incident.severity, std::cmp::Reverse(incident.id)));
    Answer::of(&Listed { incidents: found.iter().map(Report::of).collect(), days, now })
}
