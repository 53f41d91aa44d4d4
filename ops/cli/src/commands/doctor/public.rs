//! What anybody sees of the deployment: its clock, its health, its keys.

use std::time::Duration;

use sallyport_core::{
    clock::Timestamp,
    keyring::{KeyState, KeyringDocument, SigningKeyEntry},
};
use serde_json::Value;

use super::{Check, is_local, signing};
use crate::{
    api::{Answered, Api},
    deployment::{Deployment, name},
    failure::Failure,
    output::span,
};

/// `Date` has whole seconds, and the answer takes its time.
const TOLERATED: Duration = Duration::from_secs(5);
/// An authenticator's step: beyond it codes are refused that are right.
const SKEWED: Duration = Duration::from_secs(30);

pub(super) async fn check(deployment: &Deployment, keys: Option<&KeyringDocument>) -> Vec<Check> {
    let Some(issuer) = deployment.settings.get(name::ISSUER) else {
        return vec![Check::skipped("api", "SALLYPORT_ISSUER does not say where it answers")];
    };
    let api = match Api::at(issuer, deployment.connection.ca_bundle.as_deref()) {
        Ok(api) => api,
        Err(failure) => return vec![Check::unanswered("api", &failure)],
    };
    let mut checks = Vec::new();
    match api.get("/health/ready").await {
        Ok(answer) => {
            checks.push(clock(&answer));
            checks.push(readiness(&answer));
        }
        Err(failure) => {
            let fix = if is_local(&deployment.settings) {
                "cargo run -p local"
            } else {
                "sallyport runbook show service-down"
            };
            // The others would say the same.
            return vec![Check::fault("api", failure.message, fix)];
        }
    }
    // Where the setting does not read, another check says so.
    let keyring_age = deployment.settings.rotation_policy().map(|policy| policy.keyring_max_age);
    let seen_from = deployment.now().minus(keyring_age.unwrap_or_default());
    checks.push(jwks(api.get("/.well-known/jwks.json").await, keys, seen_from));
    checks.push(discovery(api.get("/.well-known/openid-configuration").await, &api.url));
    checks.push(metrics(api.get("/metrics").await));
    checks
}

fn clock(answer: &Answered) -> Check {
    const NAME: &str = "clock";
    let Some(theirs) = answer.date() else {
        return Check::skipped(NAME, "the answer has no Date");
    };
    let ours = answer.asked_at;
    // One of the two is nothing: a difference is never below it.
    let skew = theirs.since(ours).max(ours.since(theirs));
    let what = format!("this machine and the API differ by {}", span(skew));
    let fix = "set this machine's clock (timedatectl set-ntp true); AWS keeps its own";
    if skew >= SKEWED {
        Check::fault(NAME, what, fix)
    } else if skew > TOLERATED {
        Check::warning(NAME, what, fix)
    } else {
        Check::ok(NAME, what)
    }
}

fn readiness(answer: &Answered) -> Check {
    const NAME: &str = "readiness";
    match answer.unready() {
        None => Check::ok(NAME, "everything that it depends on answers"),
        Some(what) => Check::fault(NAME, what, "sallyport runbook show service-down"),
    }
}

/// `seen_from`: functions that read the keyring before that have read it anew since.
fn jwks(answer: Result<Answered, Failure>, keys: Option<&KeyringDocument>, seen_from: Timestamp) -> Check {
    const NAME: &str = "jwks";
    let answer = match answer {
        Ok(answer) => answer,
        Err(failure) => return Check::unanswered(NAME, &failure),
    };
    let Some(published) = answer.body.get("keys").and_then(Value::as_array) else {
        let what = format!("/.well-known/jwks.json answers {}", answer.status.as_u16());
        return Check::fault(NAME, what, "sallyport runbook show application");
    };
    let kids: Vec<_> = published.iter().filter_map(|key| key.get("kid").and_then(Value::as_str)).collect();
    let Some(document) = keys else {
        return Check::skipped(NAME, format!("{} published; there is no keyring to compare", kids.len()));
    };
    let Some(signs) = signing(document) else {
        return Check::skipped(NAME, "no key signs");
    };
    // A key that will sign must be known before it does. One that is new is in no copy of the keyring yet.
    let next = document.signing.iter().filter(|key| key.state == KeyState::Next);
    let (to_come, missing): (Vec<_>, Vec<_>) = std::iter::once(signs)
        .chain(next)
        .filter(|key| !kids.contains(&key.kid.as_str()))
        .partition(|key| key.state == KeyState::Next && key.created_at > seen_from.seconds());
    let named =
        |keys: &[&SigningKeyEntry]| keys.iter().map(|key| key.kid.as_str()).collect::<Vec<_>>().join(", ");
    let (to_come, missing) = (named(&to_come), named(&missing));
    if missing.is_empty() {
        let rest = if to_come.is_empty() { String::new() } else { format!("; {to_come} will be") };
        Check::ok(NAME, format!("{} published, with the one that signs{rest}", kids.len()))
    } else {
        Check::fault(
            NAME,
            format!("not published: {missing}: whoever verifies refuses its tokens"),
            "wait for one keyring age (SALLYPORT_KEYRING_MAX_AGE_SECONDS); then deploy the keys function again",
        )
    }
}

fn discovery(answer: Result<Answered, Failure>, issuer: &str) -> Check {
    const NAME: &str = "discovery";
    match answer {
        Ok(answer) => match answer.body.get("issuer").and_then(Value::as_str) {
            Some(found) if found == issuer => Check::ok(NAME, format!("the issuer is {issuer}")),
            found => Check::fault(
                NAME,
                format!("says the issuer {}, the settings say {issuer}", found.unwrap_or("of nobody")),
                "deploy with Issuer set to the URL that callers use",
            ),
        },
        Err(failure) => Check::unanswered(NAME, &failure),
    }
}

fn metrics(answer: Result<Answered, Failure>) -> Check {
    const NAME: &str = "metrics token";
    let id = answer.as_ref().ok().and_then(|answer| answer.header("x-request-id")).map(str::to_owned);
    match answer.map(|answer| answer.status.as_u16()) {
        Ok(401 | 403) => Check::ok(NAME, "/metrics asks for it"),
        Ok(200) => {
            Check::fault(NAME, "/metrics answers anybody", "set metrics_token in the providers' secret")
        }
        Ok(404) => Check::warning(
            NAME,
            "none is set: nobody can scrape /metrics",
            "aws secretsmanager put-secret-value --secret-id PROVIDERS_SECRET --secret-string '{\"metrics_token\": …}'",
        ),
        Ok(status) => {
            let fix = id.map_or_else(
                || "sallyport logs errors".to_owned(),
                |id| format!("sallyport explain request {id}"),
            );
            Check::warning(NAME, format!("/metrics answers {status}"), fix)
        }
        Err(failure) => Check::unanswered(NAME, &failure),
    }
}
