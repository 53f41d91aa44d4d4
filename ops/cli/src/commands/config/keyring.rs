//! The keyring: there, readable, whole.

use sallyport_aws::SecretsKeyring;
use sallyport_core::keyring::{
    KeyState, Keyring, KeyringDocument, KeyringSource as _, SigningAlgorithm, Stored,
};

use super::Findings;
use crate::{
    deployment::{Connection, Settings, name},
    failure::Failure,
};

/// # Errors
/// Secrets Manager does not answer.
pub(super) async fn check(
    connection: &Connection,
    settings: &Settings,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let Some(secret) = settings.get(name::KEYRING) else { return Ok(()) };
    findings.checked();
    let subject = format!("keyring {secret}");
    let source = SecretsKeyring::new(connection.secrets.clone(), secret);
    let stored = match source.read().await.map_err(Failure::from) {
        Ok(stored) => stored,
        Err(failure) if failure.code == "resource_not_found" => {
            let fix = format!(
                "name the right secret, region ({}) and account, or deploy the stack",
                connection.region
            );
            findings.error(&subject, "does not exist", fix);
            return Ok(());
        }
        Err(failure) => return findings.uncheckable(&subject, failure),
    };
    match stored {
        Stored::Empty => {
            let fix = "run `sallyport keys init`, or let the keys function do it at its first start";
            findings.warning(&subject, "is empty", fix);
        }
        Stored::Filled(text) => match Keyring::parse(text.expose()) {
            // A message about what does not parse could quote it; it is keys.
            Err(sallyport_core::keyring::KeyringError::Malformed(_)) => {
                findings.error(&subject, "does not read", "restore the version before in Secrets Manager");
            }
            Err(error) => {
                findings.error(&subject, error.to_string(), "restore the version before in Secrets Manager");
            }
            Ok(_) => algorithm(text.expose(), settings, &subject, findings),
        },
    }
    Ok(())
}

/// The algorithm is settled when the keyring is filled; a parameter that says otherwise misleads.
fn algorithm(text: &str, settings: &Settings, subject: &str, findings: &mut Findings) {
    findings.checked();
    let (Ok(document), Ok(configured)) =
        (serde_json::from_str::<KeyringDocument>(text), settings.signing_algorithm())
    else {
        return;
    };
    let current = document.signing.iter().find(|key| key.state == KeyState::Current).map(|key| key.algorithm);
    if let Some(current) = current.filter(|current| *current != configured) {
        let name = |algorithm| match algorithm {
            SigningAlgorithm::ES256 => "ES256",
            SigningAlgorithm::RS256 => "RS256",
        };
        findings.warning(
            subject,
            format!("signs with {}, the deployment is configured for {}", name(current), name(configured)),
            "rotate the signing key, or set SALLYPORT_SIGNING_ALGORITHM to what is used",
        );
    }
}
