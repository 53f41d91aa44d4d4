//! The secret of outside providers: it reads, and what is in it is fit for a secret.

use sallyport_aws::SecretsProviders;
use sallyport_core::{providers::ReadProviders as _, secret::LEAST_SECRET, store::StoreError};

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
    let Some(secret) = settings.get(name::PROVIDERS) else { return Ok(()) };
    findings.checked();
    let subject = format!("providers {secret}");
    match SecretsProviders::new(connection.secrets.clone(), secret).providers().await {
        Ok(providers) => {
            for refused in providers.refused() {
                let problem = format!("{} {}, and is refused", refused.member, refused.problem);
                let fix = format!(
                    "put a random one there of {LEAST_SECRET} characters or more: `openssl rand -hex 32` prints one"
                );
                findings.error(&subject, problem, fix);
            }
        }
        Err(StoreError::Corrupt { problem, .. }) => {
            findings.error(&subject, problem, "put a JSON object there, `{}` for nothing");
        }
        Err(error) => {
            let failure = Failure::from(error);
            // It holds credentials: who may not read it has nothing to look after there.
            if failure.code != "access_denied" {
                findings.uncheckable(&subject, failure)?;
            }
        }
    }
    Ok(())
}
