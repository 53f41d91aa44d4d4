//! Rotation of the keyring, as Secrets Manager asks for it.
//!
//! Each rotation takes one step: publish new keys, promote them, drop the dead. So no running function signs with a key before
//! every other knows it, and nobody is signed out (docs/decisions/rotation.md).

use std::sync::Arc;

use sallyport_aws::{KeyMaker, KeyringVault};
use sallyport_core::audit::Origin;
use sallyport_lambda::{Event, Platform, Trigger, TriggerError};
use sallyport_operations::{
    rotate::{self, RotateError, RotationEnv, Tested},
    rotation::RotationPolicy,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// The function.
pub fn trigger(platform: &Platform) -> Trigger {
    Trigger::new("rotation", platform, &Arc::new(platform.clone()), handle)
}

/// What Secrets Manager sends.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    step: String,
    secret_id: String,
    /// The version that is to become current.
    client_request_token: String,
}

async fn handle(platform: Arc<Platform>, event: Event) -> Result<Value, TriggerError> {
    // It is a failure until it is none: an alarm counts them.
    event.facts.count("rotation_failures", 1);
    let request: Request =
        serde_json::from_value(event.payload).map_err(|error| TriggerError::Unknown(error.to_string()))?;
    let taken = match take(&platform, &request).await {
        // A state and no failure: the keys function fills it.
        Err(Failed::Rotation(RotateError::Empty)) => Ok(json!({"step": request.step, "phase": "empty"})),
        taken => taken,
    };
    // What a test has left behind is taken away, and nothing else is wrong: Secrets Manager begins again by itself.
    if matches!(taken, Ok(_) | Err(Failed::Rotation(RotateError::LeftOver(_)))) {
        event.facts.count("rotation_failures", 0);
    }
    taken.map_err(TriggerError::from)
}

/// A step that was not taken.
enum Failed {
    Rotation(RotateError),
    Event(TriggerError),
}

impl From<RotateError> for Failed {
    fn from(error: RotateError) -> Self {
        Self::Rotation(error)
    }
}

impl From<Failed> for TriggerError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Event(error) => error,
            Failed::Rotation(RotateError::Store(error)) => error.into(),
            Failed::Rotation(other) => Self::Refused(other.to_string()),
        }
    }
}

async fn take(platform: &Platform, request: &Request) -> Result<Value, Failed> {
    let config = platform.config();
    if !is_named(&request.secret_id, &config.keyring_secret) {
        return Err(Failed::Event(TriggerError::Refused(
            "it is not the keyring that is to be rotated".to_owned(),
        )));
    }
    let vault = KeyringVault { secret: platform.keyring_cache().source(), store: platform.store() };
    let keys = KeyMaker(platform.random());
    let env = RotationEnv {
        now: platform.clock().now(),
        policy: RotationPolicy { keyring_max_age: config.keyring_max_age },
        algorithm: config.signing_algorithm,
        keys: &keys,
    };
    let token = &request.client_request_token;
    let done = json!({"step": request.step});
    match request.step.as_str() {
        "createSecret" => Ok(rotate::create(&vault, env, token).await.map(|()| done)?),
        // The functions read the secret itself: there is no other place to set it.
        "setSecret" => Ok(done),
        "testSecret" => match rotate::test(&vault, env, token).await? {
            Tested::Pending => Ok(done),
            Tested::Configuration => Ok(json!({"step": request.step, "phase": "configuration"})),
        },
        "finishSecret" => {
            let origin = Origin::function("rotation");
            let rotated = rotate::finish(&vault, env, token, &origin).await?;
            let changes: Vec<_> = rotated.changes.iter().map(ToString::to_string).collect();
            Ok(json!({"step": request.step, "phase": rotated.phase.as_str(), "changes": changes}))
        }
        other => Err(Failed::Event(TriggerError::Unknown(format!("no step {other}")))),
    }
}

/// By ARN or by name; Secrets Manager puts six random characters behind a name.
fn is_named(id: &str, configured: &str) -> bool {
    let name_of = |arn: &str| {
        arn.split(":secret:").nth(1).and_then(|name| name.rsplit_once('-')).map(|(name, _)| name.to_owned())
    };
    id == configured
        || name_of(id).is_some_and(|name| name == configured)
        || name_of(configured).is_some_and(|name| name == id)
}

#[cfg(test)]
mod tests {
    use super::is_named;

    #[test]
    fn a_secret_is_known_by_name_and_by_arn() {
        let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:Keyring-dev-AbCdEf";
        for (id, configured) in
            [(arn, arn), (arn, "Keyring-dev"), ("Keyring-dev", arn), ("Keyring-dev", "Keyring-dev")]
        {
            assert!(is_named(id, configured), "{id} {configured}");
        }
        let other = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:Providers-AbCdEf";
        assert!(!is_named(other, arn));
        assert!(!is_named(other, "Keyring"));
    }
}
