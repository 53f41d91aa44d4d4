//! What is past its time goes, and log groups keep their lines for as long as they should.

use sallyport_lambda::TriggerError;
use sallyport_operations::{
    incidents::Incident,
    recovery::{Proof, Proofs as _},
    retention::{self, SweepError},
};
use serde_json::{Value, json};

use crate::State;

/// Nobody's setting is put back: a group that keeps its lines for longer may keep them for an investigation.
pub(crate) async fn run(state: &State) -> Result<Value, TriggerError> {
    let (platform, now) = (&state.platform, state.platform.clock().now());
    let tell = |incident: &Incident| {
        tracing::info!(target: "request", incident = %incident.id, "an incident is past its time");
    };
    let swept = retention::sweep(platform.store(), now, platform.random(), &state.origin, &tell);
    let swept = swept.await.map_err(|error| match error {
        SweepError::Store(error) => error.into(),
        SweepError::Random(_) => TriggerError::Refused(error.to_string()),
    })?;
    let groups = match &state.log_groups {
        Some(groups) => groups
            .list()
            .await
            .map_err(|error| TriggerError::Dependency { dependency: "logs", reason: error.to_string() })?,
        None => Vec::new(),
    };
    let otherwise = retention::words(&groups, platform.config().log_retention_days);
    for problem in &otherwise {
        tracing::warn!(%problem, "a log group does not keep its lines as long as it should");
    }
    for fault in &swept.unreadable {
        tracing::error!(%fault, "an old incident does not read");
    }
    let unreadable = swept.unreadable.iter().map(ToString::to_string);
    let problems: Vec<_> = otherwise.into_iter().chain(unreadable).collect();
    let ok = problems.is_empty();
    let forgotten: Vec<_> = swept.forgotten.iter().map(ToString::to_string).collect();
    let report =
        json!({"ok": ok, "incidents_forgotten": forgotten, "log_groups": groups.len(), "problems": problems});
    let name = Proof::RETENTION.to_owned();
    platform.store().keep_proof(&Proof { name, at: now, ok, report: report.to_string() }).await?;
    Ok(report)
}
