//! The restore drill, as far as one invocation gets. The hourly schedule goes on where the last one stopped.

use std::time::Duration;

use sallyport_lambda::{TriggerError, telemetry::Facts};
use sallyport_operations::recovery::drill::{self, DrillEnv, DrillError, Standing};
use serde_json::{Value, json};

use crate::State;

/// A proof is renewed once a week.
const DUE_AFTER: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A function has fifteen minutes; the last step begins well before.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

const HOUR: f64 = 60.0 * 60.0;

pub(crate) async fn run(state: &State, facts: &Facts) -> Result<Value, TriggerError> {
    let platform = &state.platform;
    let driven = drive(state).await;
    // Told whatever became of the drill: the alarm reads the age, and silence is an alarm too.
    let age = drill::proof_age(platform.store(), platform.clock().now()).await?;
    facts.measure("restore_proof_age_hours", age.as_secs_f64() / HOUR);
    let age = age.as_secs();
    let Some(standing) = driven? else {
        return Ok(json!({"standing": "no_keyring", "proof_age_seconds": age}));
    };
    Ok(match standing {
        Standing::NotDue => json!({"standing": "not_due", "proof_age_seconds": age}),
        Standing::UnderWay(what) => json!({"standing": "under_way", "waits_for": what}),
        Standing::Proven(report) => json!({"standing": "proven", "report": report}),
        Standing::Failed(report) => {
            let findings = report.findings.join("; ");
            tracing::error!(%findings, "the restore drill failed");
            json!({"standing": "failed", "report": report})
        }
    })
}

/// Nothing where the keyring has not been filled yet.
async fn drive(state: &State) -> Result<Option<Standing>, TriggerError> {
    let platform = &state.platform;
    // A state and no failure: the keys function fills it, and until then nobody can sign in, in a restored table or elsewhere.
    let Some(keyring) = platform.keyring_cache().get(None).await? else {
        drill::wait_for_keyring(platform.store(), platform.clock().now()).await?;
        return Ok(None);
    };
    let rules = platform.config().rules(platform.config().issuer.as_deref().unwrap_or("drill"));
    let drill = DrillEnv {
        env: platform.env(&keyring),
        hasher: &state.hasher,
        rules: &rules,
        prefix: &platform.config().scratch_prefix,
        origin: &state.origin,
        due_after: DUE_AFTER,
        patience: PATIENCE,
    };
    let tell = |step: &str| tracing::info!(target: "request", step, "restore drill");
    drill::drive(platform.store(), drill, &tell).await.map(Some).map_err(|error| match error {
        DrillError::Store(error) => error.into(),
        other => TriggerError::Refused(other.to_string()),
    })
}
