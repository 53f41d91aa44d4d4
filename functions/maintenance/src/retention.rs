//! What is past its time goes, and log groups keep their lines for as long as they should.

use sallyport_core::{
    recovery::{Proof, Proofs as _},
    retention::{self, kept_otherwise},
};
use sallyport_http::TriggerError;
use serde_json::{Value, json};

use crate::State;

/// Nobody's setting is put back: a group that keeps its lines for longer may keep them for an investigation.
pub(crate) async fn run(state: &State) -> Result<Value, TriggerError> {
    let (store, now) = (state.platform.store(), state.platform.clock().now());
    let tell = |incident: &_| tracing::info!(target: "request", %incident, "an incident is past its time");
    let forgotten = retention::sweep(store, now, &|incident| tell(&incident.id)).await?;
    let groups = match &state.log_groups {
        Some(groups) => groups
            .list()
            .await
            .map_err(|error| TriggerError::Dependency { dependency: "logs", reason: error.to_string() })?,
        None => Vec::new(),
    };
    let days = state.platform.config().log_retention_days;
    let otherwise = |days| kept_otherwise(&groups, days).map(move |group| group.instead_of(days));
    let problems: Vec<_> = days.into_iter().flat_map(otherwise).collect();
    for problem in &problems {
        tracing::warn!(%problem, "a log group does not keep its lines as long as it should");
    }
    let ok = problems.is_empty();
    let forgotten: Vec<_> = forgotten.iter().map(ToString::to_string).collect();
    let report =
        json!({"ok": ok, "incidents_forgotten": forgotten, "log_groups": groups.len(), "problems": problems});
    let name = Proof::RETENTION.to_owned();
    store.keep_proof(&Proof { name, at: now, ok, report: report.to_string() }).await?;
    Ok(report)
}
