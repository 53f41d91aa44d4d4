//! `sallyport doctor`: a live deployment, looked over from outside. Every check is made, whatever the others say.

mod cloud;
mod drift;
mod public;
mod retention;
mod state;

pub(super) use self::state::is_grave;
pub(in crate::commands) use self::{cloud::ALARMS_MISSING, state::OLDEST_PROOF};

use clap::Args;
use sallyport_core::keyring::KeyringDocument;

use super::{
    check::{Check, Report},
    config::{self, Part, is_local},
};
use crate::{
    cli::Target,
    deployment::Deployment,
    failure::Failure,
    output::{Answer, count},
};

#[derive(Debug, Args)]
pub(crate) struct DoctorCommand {
    /// Let warnings count as findings, too.
    #[arg(long)]
    strict: bool,
}

impl DoctorCommand {
    /// # Errors
    /// Nothing says which deployment, or there is none of that name.
    pub(crate) async fn run(self, target: &Target) -> Result<Answer, Failure> {
        let deployment = Deployment::find(target).await?;
        Report::of(&deployment, examine(&deployment, target).await).answer(self.strict)
    }
}

/// All checks, in the order in which a responder would want to know.
pub(super) async fn examine(deployment: &Deployment, target: &Target) -> Vec<Check> {
    let now = deployment.now();
    let mut checks = Vec::new();
    let described = cloud::describe(deployment, target).await;
    checks.extend(cloud::stack(&described));
    checks.extend(drift::check(deployment, &described).await);
    checks.extend(cloud::parameters(deployment, target).await);
    checks.extend(part("settings", Ok(config::settings(&deployment.settings))));
    checks.extend(part("tables", config::tables(&deployment.connection, &deployment.settings).await));
    if is_local(&deployment.settings) {
        let what = "point-in-time recovery and deletion protection: not on this machine";
        checks.push(Check::skipped("recovery", what));
    }
    checks.extend(part("keyring", config::keyring(&deployment.connection, &deployment.settings).await));
    checks.extend(part("providers", config::providers(&deployment.connection, &deployment.settings).await));
    let keys = state::read_keys(deployment).await;
    checks.extend(state::keys(deployment, keys.as_ref(), now));
    checks.extend(public::check(deployment, keys.as_ref()).await);
    checks.push(state::modes(deployment, now).await);
    checks.push(state::incidents(deployment, now).await);
    checks.extend(cloud::alarms(deployment, target, &described).await);
    checks.extend(cloud::topics(deployment, &described).await);
    checks.extend(state::proofs(deployment, now).await);
    checks.extend(retention::check(deployment, target).await);
    checks
}

/// What `sallyport config validate` finds of a part.
fn part(name: &str, part: Result<Part, Failure>) -> Vec<Check> {
    match part {
        Ok(part) if part.findings.is_empty() => {
            vec![Check::ok(name, format!("{} of `config validate`", count(part.checks, "check")))]
        }
        Ok(part) => part.findings.into_iter().map(Check::found).collect(),
        Err(failure) => vec![Check::unanswered(name, &failure)],
    }
}

/// The key that signs.
fn signing(document: &KeyringDocument) -> Option<&sallyport_core::keyring::SigningKeyEntry> {
    document.signing.iter().find(|key| key.state == sallyport_core::keyring::KeyState::Current)
}
