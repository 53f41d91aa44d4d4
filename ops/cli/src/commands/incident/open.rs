//! `sallyport incident open`.

use std::fmt;

use sallyport_operations::incidents::{self, Cause, FindIncident as _, IncidentError, NewIncident, Severity};
use serde::Serialize;

use super::failure;
use crate::{
    cli::{Change, Target},
    deployment::Deployment,
    failure::Failure,
    output::Answer,
};

#[derive(Serialize)]
struct Opened {
    /// `null` at a dry run.
    incident: Option<String>,
    severity: &'static str,
    cause: String,
    dry_run: bool,
}

impl fmt::Display for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.incident {
            Some(id) => {
                writeln!(f, "opened {id}, {}: `sallyport incident ack {id}` takes it on", self.severity)
            }
            None => {
                writeln!(f, "would open an incident, {}: {}; nothing was changed", self.severity, self.cause)
            }
        }
    }
}

/// # Errors
/// One of this cause is open; the text or the cause is none; AWS.
pub(super) async fn run(
    target: &Target,
    severity: Severity,
    cause: Cause,
    text: String,
    change: Change,
) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    let new = NewIncident { cause, severity, text };
    new.check().map_err(|error| failure(error, &new.cause))?;
    let incident = if change.dry_run {
        let latest = deployment.store.latest_of(&new.cause).await?;
        match latest.filter(incidents::Incident::is_open) {
            Some(open) => return Err(failure(IncidentError::Open { id: open.id }, &new.cause)),
            None => None,
        }
    } else {
        let (now, random, origin) = (deployment.now(), deployment.random(), Deployment::origin()?);
        let opened = incidents::report(&deployment.store, now, random, &new, &origin).await;
        Some(opened.map_err(|error| failure(error, &new.cause))?.id.to_string())
    };
    Answer::of(&Opened {
        incident,
        severity: new.severity.as_str(),
        cause: new.cause.to_string(),
        dry_run: change.dry_run,
    })
}
