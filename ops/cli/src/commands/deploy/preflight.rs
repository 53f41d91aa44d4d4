//! `sallyport deploy preflight`: what the doctor finds, and what speaks against a release although nothing is broken.

use sallyport_core::{flags::ReadFlags as _, incidents::ListIncidents as _};

use crate::{
    cli::Target,
    commands::{
        check::{Check, Outcome, Report},
        doctor, migrate,
    },
    deployment::Deployment,
    failure::Failure,
    output::{Answer, mode_words},
};

/// # Errors
/// Nothing says which deployment.
pub(super) async fn run(target: &Target, strict: bool) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    let mut checks = doctor::examine(&deployment, target).await;
    // A deployment is what brings them.
    for check in checks.iter_mut().filter(|check| check.name == doctor::ALARMS_MISSING) {
        check.outcome = check.outcome.min(Outcome::Warning);
    }
    // These weigh more before a deployment than on any other day.
    checks.retain(|check| !["modes", "incidents"].contains(&check.name.as_str()));
    checks.push(modes(&deployment).await);
    checks.push(incidents(&deployment).await);
    checks.push(migrations(&deployment).await);
    Report::of(&deployment, checks).answer(strict)
}

async fn modes(deployment: &Deployment) -> Check {
    let flags = match deployment.store.flags().await {
        Ok(flags) => flags,
        Err(error) => return Check::unanswered("modes", &error.into()),
    };
    let set: Vec<_> = flags.modes_at(deployment.now()).map(|(name, _)| mode_words(name)).collect();
    match set.first() {
        None => Check::ok("modes", "none is set"),
        Some(first) => Check::fault(
            "modes",
            format!("set: {}: a release would be judged by what the mode does", set.join(", ")),
            format!("sallyport mode clear {}", first.replace('.', " ")),
        ),
    }
}

async fn incidents(deployment: &Deployment) -> Check {
    let open = match deployment.store.open_incidents().await {
        Ok(open) => open,
        Err(error) => return Check::unanswered("incidents", &error.into()),
    };
    let grave: Vec<_> = open.iter().filter(|incident| doctor::is_grave(incident)).collect();
    match (grave.first(), open.first()) {
        (Some(first), _) => Check::fault(
            "incidents",
            format!("{} of SEV1 or SEV2 open: deploy only what ends them", grave.len()),
            format!("sallyport incident show {}", first.id),
        ),
        (None, Some(first)) => Check::warning(
            "incidents",
            format!("{} open, none of them grave", open.len()),
            format!("sallyport incident show {}", first.id),
        ),
        (None, None) => Check::ok("incidents", "none is open"),
    }
}

async fn migrations(deployment: &Deployment) -> Check {
    match migrate::pending(deployment).await {
        Ok(pending) if pending.is_empty() => Check::ok("migrations", "all are applied"),
        Ok(pending) => Check::warning(
            "migrations",
            format!("not applied: {}: those that add come before the release", pending.join(", ")),
            "sallyport migrate up --dry-run",
        ),
        Err(failure) => Check::unanswered("migrations", &failure),
    }
}
