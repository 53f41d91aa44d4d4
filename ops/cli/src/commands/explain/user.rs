//! `sallyport explain user`.

use sallyport_core::{
    accounts::{Credential, Email, LoginRecord, LoginRecords as _, Status},
    administration::{AccountPool, Attempted},
    checks::Component,
    clock::Timestamp,
    flags::{BlockSubject, Flags, ReadFlags as _},
    sessions::ReadSessions as _,
    throttle::{PoolKey, PoolPolicy},
};

use super::{Cause, Explanation, LOOKED_THROUGH, logs, modes};
use crate::{
    api::Api,
    cli::Target,
    commands::user::{
        events::{self, EventReport},
        pools::{self, PoolReport, PoolState},
    },
    deployment::{Deployment, name},
    failure::Failure,
    output::on_account,
};

pub(super) async fn explain(target: &Target, email: &Email) -> Result<Explanation, Failure> {
    let deployment = Deployment::find(target).await?;
    let (readiness, read) = tokio::join!(outage(&deployment), of_state(target, &deployment, email));
    match read {
        Ok(mut explanation) => {
            // First, since nobody signs in as long as it lasts.
            explanation.causes.splice(0..0, readiness);
            Ok(explanation)
        }
        // What sign-in needs does not answer the operator either: that is the answer.
        Err(failure) if is_outage(&failure) => {
            let words = format!("sign-ins are answered 503; from here, too: {}", failure.message);
            let unread = Cause::new("dependency_unavailable", "service-down", words);
            let causes = readiness.into_iter().chain([unread]).collect();
            let now = deployment.now();
            Ok(Explanation::new(email.to_string(), causes, Ok(Vec::new()), Vec::new(), "", now))
        }
        Err(failure) => Err(failure),
    }
}

/// Whether something that answers everybody does not answer: not a right, nor an address, that this operator lacks.
fn is_outage(failure: &Failure) -> bool {
    matches!(failure.code, "unreachable" | "timeout" | "throttled" | "aws_error" | "dependency_unavailable")
}

/// Of what sign-in needs, what the deployment itself can't reach. Nothing where it can't be asked, or all is well.
async fn outage(deployment: &Deployment) -> Option<Cause> {
    let api =
        Api::at(deployment.settings.get(name::ISSUER)?, deployment.connection.ca_bundle.as_deref()).ok()?;
    let answer = match api.get("/health/ready").await {
        Ok(answer) => answer,
        Err(failure) => {
            let words = format!("nobody answers: {}", failure.message);
            return Some(Cause::new("unreachable", "service-down", words));
        }
    };
    let down: Vec<_> = answer.down().into_iter().filter(|down| Component::named(down).is_some()).collect();
    let words = format!("sign-ins are answered 503: the functions can't reach {}", down.join(", "));
    (!down.is_empty()).then(|| Cause::new("dependency_unavailable", "service-down", words))
}

async fn of_state(target: &Target, deployment: &Deployment, email: &Email) -> Result<Explanation, Failure> {
    let (record, flags) = tokio::try_join!(deployment.store.login_record(email), deployment.store.flags())?;
    let now = deployment.now();
    let user = record.as_ref().map(|record| record.user);
    let keys = match &record {
        Some(record) => {
            let held = deployment.store.sessions(record.user).await?;
            pools::all(deployment, record, &held).await?
        }
        // Locks do not ask whether there is an account.
        None => {
            let strangers = PoolKey::strangers(email.account_key());
            vec![(Attempted::SignInFromUnknownDevices, AccountPool::Stored(strangers))]
        }
    };
    let policy = PoolPolicy::default();
    let policy = flags.emergency(now).map_or(policy, |emergency| emergency.pool(&policy));
    let pools = pools::read_all(deployment, keys, &policy).await?;
    let events = events::recent_at(deployment, email, user, 10).await?;
    let mut causes = blocked(email, &flags, now);
    let reset = match &record {
        Some(record) if record.credential == Credential::None => {
            events::last_reset(deployment, record.user).await?
        }
        _ => None,
    };
    causes.extend(of_account(email, record.as_ref(), reset.as_ref()));
    causes.extend(pools.iter().filter_map(|pool| locked(email, pool)));
    causes.extend(modes(&flags, now));
    let requests = logs::of_events(target, &events, LOOKED_THROUGH, now).await;
    let nothing = "nothing refuses its sign-ins now";
    Ok(Explanation::new(email.to_string(), causes, requests, events, nothing, now))
}

fn blocked(email: &Email, flags: &Flags, now: Timestamp) -> Vec<Cause> {
    let subject = BlockSubject::Account(email.account_key());
    flags
        .blocks_at(now)
        .filter(|(held, _)| *held == subject)
        .map(|(_, block)| {
            let words = format!("sign-ins look locked; blocked by {}: {}", block.by, block.reason);
            Cause::new("account_blocked", "credential-stuffing", words)
                .until(block.expires_at)
                .command(on_account("block remove", email, ""))
        })
        .collect()
}

fn of_account(email: &Email, record: Option<&LoginRecord>, reset: Option<&EventReport>) -> Vec<Cause> {
    let Some(record) = record else {
        let words = "there is no account with this address; callers are told what a wrong password is told";
        return vec![Cause::new("no_account", "users-cannot-log-in", words)];
    };
    let mut causes = Vec::new();
    if record.status == Status::Disabled {
        let cause = Cause::new("account_disabled", "users-cannot-log-in", "the account is disabled");
        causes.push(cause.command(on_account("user enable", email, "")));
    }
    if !record.verified {
        causes.push(Cause::new("not_verified", "users-cannot-log-in", "the address was never confirmed"));
    }
    if record.credential == Credential::None {
        let words = reset.map_or_else(
            || "there is no password: the account never had one".to_owned(),
            |reset| format!("there is no password: reset by force {}", reset.told()),
        );
        let cause = Cause::new("no_password", "users-cannot-log-in", words);
        causes.push(cause.command(on_account("user set-password", email, " --password-stdin")));
    }
    causes
}

fn locked(email: &Email, pool: &PoolReport) -> Option<Cause> {
    let (code, words) = match pool.state {
        PoolState::Open => return None,
        PoolState::Locked => ("locked", "locked after"),
        PoolState::Shut => ("shut", "shut after"),
    };
    let page = if pool.attempts.contains("code") { "mfa-issues" } else { "lockouts-rising" };
    let failed = pool.failed.max(pool.failed_in_a_row);
    let after = if pool.gives_way {
        "; counted with unknown devices' attempts, and refused only with these"
    } else {
        ""
    };
    let words = format!("{}: {words} {failed} failed attempts{after}", pool.attempts);
    let cause = Cause::new(code, page, words).command(on_account("user unlock", email, ""));
    Some(match pool.until {
        Some(until) => cause.until(until),
        None => cause,
    })
}
