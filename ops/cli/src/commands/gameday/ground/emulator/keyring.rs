//! A keyring that grows old at once.

use std::time::Duration;

use sallyport_core::keyring::{KeyState, KeyringDocument, KeyringSource as _, Stored};

use crate::{aws_fault, deployment::Deployment, failure::Failure};

/// Age after which nothing that an old key made is of use any more, and a rotation has dropped the key.
const OUTLIVED: Duration = Duration::from_secs(90 * 86_400);

/// Makes every key, and the keyring itself, so much older. Keys that would be gone by then are.
///
/// # Errors
/// It does not read or write.
pub(super) async fn age(deployment: &Deployment, by: Duration) -> Result<(), Failure> {
    let Stored::Filled(text) = deployment.secret.read().await? else {
        return Err(Failure::dependency(
            "keyring_empty",
            "the keyring is empty: run `sallyport keys init` first",
        ));
    };
    // serde's message could quote what it read; what it read is keys.
    let unreadable = |_| Failure::dependency("keyring_unusable", "the keyring does not read");
    let mut document: KeyringDocument = serde_json::from_str(text.expose()).map_err(unreadable)?;
    let earlier = |at: &mut u64| *at = at.saturating_sub(by.as_secs());
    document.changed_at.iter_mut().for_each(earlier);
    for key in &mut document.signing {
        earlier(&mut key.created_at);
        key.since.iter_mut().for_each(earlier);
    }
    let secrets = [&mut document.refresh, &mut document.device, &mut document.pepper, &mut document.aead];
    for key in secrets.into_iter().flatten() {
        earlier(&mut key.created_at);
        key.since.iter_mut().for_each(earlier);
    }
    if by >= OUTLIVED {
        // What was encrypted and hashed has no end, so the other two keep theirs.
        document.signing.retain(|key| key.state == KeyState::Current);
        document.refresh.retain(|key| key.state == KeyState::Current);
        document.device.retain(|key| key.state == KeyState::Current);
    }
    let text = serde_json::to_string(&document).map_err(unreadable)?;
    let secret = deployment.settings.keyring_secret()?;
    let put = deployment.connection.secrets.put_secret_value().secret_id(secret).secret_string(text);
    let sent = put.client_request_token(deployment.version()?).send().await;
    sent.map(drop).map_err(|error| aws_fault::from_sdk("write the keyring", &error))
}
