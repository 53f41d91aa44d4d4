//! Gauges that alarms read.

use sallyport_core::{
    keyring::{KeyringDocument, KeyringSource as _, Stored},
    providers::ReadProviders as _,
    store::StoreError,
};
use sallyport_lambda::{TriggerError, telemetry::Facts};
use sallyport_operations::{
    recovery::{InspectTables as _, Proof, Proofs as _, Role, Topics as _, backup_gaps, gaps, unheard},
    rotation,
};
use serde_json::{Value, json};

use crate::State;

const DAY: f64 = 24.0 * 60.0 * 60.0;

/// How old the key is that signs now.
pub(crate) async fn key_age(state: &State, facts: &Facts) -> Result<Value, TriggerError> {
    let unreadable = |problem: &str| StoreError::Corrupt {
        table: "keyring",
        key: "AWSCURRENT".to_owned(),
        problem: problem.to_owned(),
    };
    let document: KeyringDocument = match state.platform.keyring_cache().source().read().await? {
        // A state and no failure: the keys function fills it, and until then no key has an age.
        Stored::Empty => return Ok(json!({"keyring": "empty"})),
        // serde's message could quote what it read; what it read is keys.
        Stored::Filled(text) => {
            serde_json::from_str(text.expose()).map_err(|_| unreadable("it does not read"))?
        }
    };
    let created = rotation::signing_key_created_at(&document).ok_or_else(|| unreadable("no key signs"))?;
    let days = state.platform.clock().now().since(created).as_secs_f64() / DAY;
    facts.measure("signing_key_age_days", days);
    Ok(json!({"signing_key_age_days": days}))
}

/// Which tables lack what their contents ask for.
pub(crate) async fn recovery(state: &State, facts: &Facts) -> Result<Value, TriggerError> {
    let mut missing = Vec::new();
    let mut tables = 0_u64;
    for role in Role::ALL {
        let protection = state.platform.store().protection(role).await?;
        let found = gaps(&protection, state.platform.config().data_protected);
        tables += u64::from(!found.is_empty());
        missing.extend(found.into_iter().map(|gap| format!("{}: {}", gap.role.as_str(), gap.problem)));
    }
    for problem in &missing {
        tracing::warn!(%problem, "a table is not protected");
    }
    facts.count("tables_without_recovery", tables);
    Ok(json!({"tables_without_recovery": tables, "problems": missing}))
}

/// Which of the alarms' topics reach nobody.
pub(crate) async fn topics(state: &State, facts: &Facts) -> Result<Value, TriggerError> {
    let config = state.platform.config();
    let mut alarms = Vec::new();
    for topic in &config.alarm_topics {
        alarms.push(state.topics.listeners(topic).await?);
    }
    let incidents = match &config.incident_topic {
        Some(topic) => Some(state.topics.listeners(topic).await?),
        None => None,
    };
    let webhook = match state.platform.providers() {
        Some(secret) => secret.providers().await?.has_incident_webhook(),
        None => false,
    };
    let unheard = unheard(alarms, incidents.as_ref(), webhook);
    for topic in &unheard {
        tracing::warn!(%topic, "nobody listens to the topic");
    }
    facts.count("unheard_alarm_topics", unheard.len() as u64);
    Ok(json!({"unheard_alarm_topics": unheard.len(), "topics": unheard}))
}

/// Whether the tables that must be kept could be restored now.
pub(crate) async fn backups(state: &State) -> Result<Value, TriggerError> {
    let store = state.platform.store();
    let now = state.platform.clock().now();
    let (mut tables, mut problems) = (Vec::new(), Vec::new());
    for role in Role::RETAINED {
        let protection = store.protection(role).await?;
        let on_demand = store.backups(role).await?;
        let window = protection.point_in_time.flatten();
        tables.push(json!({
            "table": role.as_str(),
            "earliest": window.map(|window| window.earliest.seconds()),
            "latest": window.map(|window| window.latest.seconds()),
            "backups_on_demand": on_demand.map(|backups| backups.number),
        }));
        problems.extend(
            backup_gaps(&protection, now)
                .into_iter()
                .map(|gap| format!("{}: {}", gap.role.as_str(), gap.problem)),
        );
    }
    let report = json!({"ok": problems.is_empty(), "tables": tables, "problems": problems});
    let name = Proof::BACKUP_VERIFY.to_owned();
    store.keep_proof(&Proof { name, at: now, ok: problems.is_empty(), report: report.to_string() }).await?;
    Ok(report)
}
