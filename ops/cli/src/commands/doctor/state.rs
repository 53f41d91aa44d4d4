//! What the deployment keeps about itself: keys, modes, incidents, proofs.

use std::time::Duration;

use sallyport_core::{
    clock::Timestamp,
    flags::ReadFlags as _,
    keyring::{KeyState, KeyringDocument, KeyringSource as _, Stored},
};
use sallyport_operations::{
    incidents::{Incident, ListIncidents as _, Severity},
    recovery::{Proof, Proofs as _},
};

use super::{Check, is_local, signing};
use crate::{
    commands::review::OLDEST_KEY_DAYS,
    deployment::Deployment,
    output::{ago, count, span},
};

/// A key is `next` for a few hours. One that waits for two days waits for nobody.
const LONGEST_WAIT: Duration = Duration::from_secs(2 * 24 * 60 * 60);
/// The alarm's own threshold, RestoreProofHours.
pub(in crate::commands) const OLDEST_PROOF: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// The keyring as it is stored. `None` when it can't be had: the check of the keyring says why.
pub(super) async fn read_keys(deployment: &Deployment) -> Option<KeyringDocument> {
    match deployment.secret.read().await {
        Ok(Stored::Filled(text)) => serde_json::from_str(text.expose()).ok(),
        Ok(Stored::Empty) | Err(_) => None,
    }
}

pub(super) fn keys(deployment: &Deployment, keys: Option<&KeyringDocument>, now: Timestamp) -> Vec<Check> {
    let Some(document) = keys else {
        return vec![Check::skipped("key age", "there is no keyring to look at")];
    };
    let mut checks = Vec::new();
    match signing(document) {
        Some(key) => {
            let age = now.since(Timestamp::from_seconds(key.created_at));
            let what = format!("the key that signs is {} old", span(age));
            checks.push(if age.as_secs() / 86_400 >= OLDEST_KEY_DAYS {
                Check::warning(
                    "key age",
                    format!("{what}; {OLDEST_KEY_DAYS} days are the limit"),
                    "sallyport keys rotate",
                )
            } else {
                Check::ok("key age", what)
            });
        }
        None => checks.push(Check::fault(
            "key age",
            "no key is current: nothing can be signed",
            "restore the keyring's version before in Secrets Manager",
        )),
    }
    // The rotation renews these with it; a pepper or a seal stays for what is under it.
    for (kind, entries) in [("refresh", &document.refresh), ("device", &document.device)] {
        let current = entries.iter().find(|key| key.state == KeyState::Current);
        let age = current.map(|key| now.since(Timestamp::from_seconds(key.created_at)));
        if let Some(age) = age.filter(|age| age.as_secs() / 86_400 >= OLDEST_KEY_DAYS) {
            let what = format!("is {} old; {OLDEST_KEY_DAYS} days are the limit", span(age));
            checks.push(Check::warning(format!("{kind} key age"), what, "sallyport keys rotate"));
        }
    }
    let secrets = [
        ("refresh", &document.refresh),
        ("device", &document.device),
        ("pepper", &document.pepper),
        ("aead", &document.aead),
    ];
    let waiting =
        document
            .signing
            .iter()
            .map(|key| ("signing", key.state, key.created_at))
            .chain(secrets.iter().flat_map(|(kind, entries)| {
                entries.iter().map(move |key| (*kind, key.state, key.created_at))
            }))
            .filter(|(_, state, _)| *state == KeyState::Next);
    for (kind, _, created_at) in waiting {
        let waits = now.since(Timestamp::from_seconds(created_at));
        let name = format!("{kind} key in waiting");
        checks.push(if waits > LONGEST_WAIT {
            Check::warning(
                name,
                format!("has been next for {}: the rotation that made it did not go on", span(waits)),
                rotation_fix(deployment),
            )
        } else {
            Check::ok(name, format!("next for {}", span(waits)))
        });
    }
    checks
}

fn rotation_fix(deployment: &Deployment) -> &'static str {
    if is_local(&deployment.settings) {
        "sallyport keys rotate"
    } else {
        "aws secretsmanager rotate-secret --secret-id \"$SALLYPORT_KEYRING_SECRET\", and see the runbook rotation-failed"
    }
}

pub(super) async fn modes(deployment: &Deployment, now: Timestamp) -> Check {
    let flags = match deployment.store.flags().await {
        Ok(flags) => flags,
        Err(error) => return Check::unanswered("modes", &error.into()),
    };
    let blocks = count(flags.blocks_at(now).count(), "block");
    let modes: Vec<_> = flags
        .modes_at(now)
        .map(|(name, mode)| (name, format!("{name}, ends {} ({})", ago(mode.expires_at, now), mode.reason)))
        .collect();
    let Some((first, _)) = modes.first() else {
        return Check::ok("modes", format!("none is set; {blocks}"));
    };
    let fix = format!("sallyport mode clear {}", first.to_string().replace('.', " "));
    let what = modes.iter().map(|(_, words)| words.as_str()).collect::<Vec<_>>().join("; ");
    Check::warning("modes", format!("{what}; {blocks}"), fix)
}

/// Grave enough to let a deployment wait.
pub(in crate::commands) fn is_grave(incident: &Incident) -> bool {
    matches!(incident.severity, Severity::Sev1 | Severity::Sev2)
}

pub(super) async fn incidents(deployment: &Deployment, now: Timestamp) -> Check {
    match deployment.store.open_incidents().await {
        Ok(open) => match open.iter().min_by_key(|incident| incident.severity) {
            None => Check::ok("incidents", "none is open"),
            Some(gravest) => Check::warning(
                "incidents",
                format!(
                    "{} open, the gravest {} {} ({}), opened {}",
                    open.len(),
                    gravest.severity.as_str(),
                    gravest.id,
                    gravest.cause,
                    ago(gravest.opened_at, now)
                ),
                format!("sallyport incident show {}", gravest.id),
            ),
        },
        Err(error) => Check::unanswered("incidents", &error.into()),
    }
}

pub(super) async fn proofs(deployment: &Deployment, now: Timestamp) -> Vec<Check> {
    const NAME: &str = "restore proof";
    const FIX: &str = "sallyport restore drill";
    let asked = tokio::try_join!(
        deployment.store.proof(Proof::RESTORE_DRILL),
        deployment.store.proof(Proof::RESTORE_DRILL_FAILED)
    );
    let (proven, failed) = match asked {
        Ok(proofs) => proofs,
        Err(error) => return vec![Check::unanswered(NAME, &error.into())],
    };
    let proven_at = proven.as_ref().map(|proof| proof.at);
    let mut checks = vec![match proven_at {
        None if is_local(&deployment.settings) => Check::skipped(NAME, "none yet, on this machine"),
        None => Check::warning(NAME, "no restore was ever proven", FIX),
        Some(at) if now.since(at) > OLDEST_PROOF => {
            Check::warning(NAME, format!("the last restore was proven {}", ago(at, now)), FIX)
        }
        Some(at) => Check::ok(NAME, format!("a restore was proven {}", ago(at, now))),
    }];
    if let Some(failed) = failed.filter(|failed| proven_at.is_none_or(|at| failed.at > at)) {
        let what = format!("the last drill failed, {}", ago(failed.at, now));
        checks.push(Check::fault("restore drill", what, FIX));
    }
    checks
}
