//! `sallyport deploy preflight`: what the doctor finds, and what speaks against a release although nothing is broken.

use sallyport_core::flags::ReadFlags as _;
use sallyport_operations::incidents::ListIncidents as _;

use super::account;
use crate::{
    cli::Target,
    commands::{
        check::{Check, Outcome, Report},
        doctor,
        migrate::{self, Standing},
    },
    deployment::{Connection, Deployment},
    failure::Failure,
    output::{Answer, mode_words},
};

/// # Errors
/// Nothing says which deployment.
pub(super) async fn run(target: &Target, strict: bool, said: &[(String, String)]) -> Result<Answer, Failure> {
    let deployment = match (Deployment::find(target).await, &target.stack) {
        // The first deployment: what can be looked at is the account.
        (Err(Failure { code: "stack_not_found", .. }), Some(stack)) => {
            let connection = Connection::open(target).await?;
            let parameters = account::parameters(None, said);
            let checks = account::examine_new(&connection, stack, &parameters).await;
            return Report::new(format!("stack {stack}, which is not there yet"), checks).answer(strict);
        }
        (found, _) => found?,
    };
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
    if let Some(stack) = &target.stack {
        let described = deployment.connection.cloudformation.describe_stacks().stack_name(stack).send().await;
        // That it does not answer was said by the check of the stack.
        let described = described.ok().and_then(|answer| answer.stacks.into_iter().flatten().next());
        let parameters = account::parameters(described.as_ref(), said);
        checks.extend(account::examine(&deployment.connection, stack, &parameters).await);
    }
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
    match migrate::standing(deployment).await {
        Ok(Standing::Applied) => Check::ok("migrations", "all are applied"),
        Ok(Standing::NotNeeded) => Check::ok("migrations", "none is needed: it begins at the newest format"),
        Ok(Standing::Pending(pending)) => Check::warning(
            "migrations",
            format!("not applied: {}: those that add come before the release", pending.join(", ")),
            "sallyport migrate up --dry-run",
        ),
        Err(failure) => Check::unanswered("migrations", &failure),
    }
}
