//! `sallyport user disable|enable|unlock|set-password|reset-mfa|revoke-sessions`.

use std::fmt;

use sallyport_core::{
    accounts::{Email, PasswordHasher, Status},
    administration,
    clock::Timestamp,
    mfa::{FactorPorts as _, ManageFactors as _},
    sessions::{ReadSessions as _, UserSessions},
};
use serde::Serialize;

use super::{GivenPassword, find, pools};
use crate::{
    cli::{Change, Target},
    deployment::{Deployment, placeholder_keyring},
    failure::Failure,
    output::{Answer, count},
};

/// What a change came to.
#[derive(Debug, Serialize)]
struct Changed {
    email: String,
    user_id: String,
    /// `disabled`, `enabled`, `unlocked`, `password_set`, `mfa_reset`, `sessions_revoked`.
    change: &'static str,
    /// `false` when it was so already, and at a dry run.
    changed: bool,
    sessions_ended: usize,
    pools_cleared: usize,
    /// Of `mfa_reset` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    factors_removed: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_codes_removed: Option<usize>,
    dry_run: bool,
    /// Whether there is anything to change.
    #[serde(skip)]
    differs: bool,
    #[serde(skip)]
    words: Words,
}

/// How people are told.
#[derive(Debug, Clone, Copy)]
struct Words {
    done: &'static str,
    would: &'static str,
    already: &'static str,
}

const DISABLED: Words = Words { done: "disabled", would: "would disable", already: "is disabled already" };
const ENABLED: Words = Words { done: "enabled", would: "would enable", already: "is enabled already" };
const UNLOCKED: Words = Words { done: "unlocked", would: "would unlock", already: "has no failed attempts" };
const PASSWORD: Words =
    Words { done: "set the password of", would: "would set the password of", already: "" };
const RESET: Words = Words {
    done: "removed all second factors of",
    would: "would remove all second factors of",
    already: "has no second factor",
};
const REVOKED: Words =
    Words { done: "revoked all sessions of", would: "would revoke all sessions of", already: "" };

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Words { done, would, already } = self.words;
        if !self.differs {
            return writeln!(f, "{} {already}; nothing was changed", self.email);
        }
        write!(f, "{} {}", if self.dry_run { would } else { done }, self.email)?;
        for (removed, noun) in
            [(self.factors_removed, "factor"), (self.recovery_codes_removed, "recovery code")]
        {
            if let Some(number) = removed.filter(|number| *number > 0) {
                write!(f, ", {}", count(number, noun))?;
            }
        }
        if self.pools_cleared > 0 {
            write!(f, ", {} of failed attempts", count(self.pools_cleared, "pool"))?;
        }
        if self.sessions_ended > 0 {
            write!(f, ", {}", count(self.sessions_ended, "session"))?;
        }
        if self.dry_run {
            writeln!(f, "; nothing was changed")
        } else if self.sessions_ended > 0 {
            writeln!(f, " ended; access tokens that are out live up to 5 minutes")
        } else {
            writeln!(f)
        }
    }
}

/// # Errors
/// No such account; AWS.
pub(super) async fn set_status(
    target: &Target,
    email: &Email,
    status: Status,
    change: Change,
) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    let record = find(&deployment, email).await?;
    let held = deployment.store.sessions(record.user).await?;
    let changes = record.status != status;
    let (name, words) = match status {
        Status::Active => ("enabled", ENABLED),
        Status::Disabled => ("disabled", DISABLED),
    };
    if changes && !change.dry_run {
        let keyring = placeholder_keyring(deployment.now())?;
        let env = deployment.env(&keyring);
        administration::set_status(&deployment.store, env, email, status, &Deployment::origin()?).await?;
    }
    Answer::of(&Changed {
        email: email.to_string(),
        user_id: record.user.to_string(),
        change: name,
        changed: changes && !change.dry_run,
        sessions_ended: if changes { live(&held, deployment.now()) } else { 0 },
        pools_cleared: 0,
        factors_removed: None,
        recovery_codes_removed: None,
        dry_run: change.dry_run,
        differs: changes,
        words,
    })
}

/// # Errors
/// No such account; AWS.
pub(super) async fn unlock(target: &Target, email: &Email, change: Change) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    let record = find(&deployment, email).await?;
    let held = deployment.store.sessions(record.user).await?;
    let pools = pools::read(&deployment, &record, &held).await?;
    let changes = !pools.is_empty();
    if changes && !change.dry_run {
        let keyring = placeholder_keyring(deployment.now())?;
        let env = deployment.env(&keyring);
        administration::unlock(&deployment.store, env, email, &Deployment::origin()?).await?;
    }
    Answer::of(&Changed {
        email: email.to_string(),
        user_id: record.user.to_string(),
        change: "unlocked",
        changed: changes && !change.dry_run,
        sessions_ended: 0,
        pools_cleared: pools.len(),
        factors_removed: None,
        recovery_codes_removed: None,
        dry_run: change.dry_run,
        differs: changes,
        words: UNLOCKED,
    })
}

/// # Errors
/// No such account; a password that is too short; AWS.
pub(super) async fn set_password(
    target: &Target,
    email: &Email,
    password: &GivenPassword,
    change: Change,
) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    let record = find(&deployment, email).await?;
    let held = deployment.store.sessions(record.user).await?;
    let keyring = deployment.keyring().await?;
    let hasher = PasswordHasher::new(deployment.hash_parameters()?);
    let password = password.read()?;
    if !change.dry_run {
        let env = deployment.env(&keyring);
        let origin = Deployment::origin()?;
        administration::set_password(&deployment.store, env, &hasher, email, &password, &origin).await?;
    }
    Answer::of(&Changed {
        email: email.to_string(),
        user_id: record.user.to_string(),
        change: "password_set",
        changed: !change.dry_run,
        sessions_ended: live(&held, deployment.now()),
        pools_cleared: 0,
        factors_removed: None,
        recovery_codes_removed: None,
        dry_run: change.dry_run,
        differs: true,
        words: PASSWORD,
    })
}

/// # Errors
/// No such account; AWS.
pub(super) async fn reset_mfa(target: &Target, email: &Email, change: Change) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    let record = find(&deployment, email).await?;
    let (factors, codes, held) = tokio::try_join!(
        deployment.store.factors(record.user),
        deployment.store.recovery_codes(record.user),
        deployment.store.sessions(record.user),
    )?;
    let mut changes = !factors.is_empty() || !record.factors.is_empty() || record.recovery_codes;
    if changes && !change.dry_run {
        let keyring = placeholder_keyring(deployment.now())?;
        let env = deployment.env(&keyring);
        // Somebody else may have done it meanwhile.
        changes =
            administration::reset_factors(&deployment.store, env, email, &Deployment::origin()?).await?;
    }
    let of_change = |number: usize| if changes { number } else { 0 };
    Answer::of(&Changed {
        email: email.to_string(),
        user_id: record.user.to_string(),
        change: "mfa_reset",
        changed: changes && !change.dry_run,
        sessions_ended: of_change(live(&held, deployment.now())),
        pools_cleared: 0,
        factors_removed: Some(of_change(factors.len())),
        recovery_codes_removed: Some(of_change(codes.map_or(0, |codes| codes.left.len()))),
        dry_run: change.dry_run,
        differs: changes,
        words: RESET,
    })
}

/// # Errors
/// No such account; AWS.
pub(super) async fn revoke_sessions(
    target: &Target,
    email: &Email,
    change: Change,
) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    let record = find(&deployment, email).await?;
    let held = deployment.store.sessions(record.user).await?;
    // Even with no session in sight: a sign-in that is under way must not end in one.
    if !change.dry_run {
        let keyring = placeholder_keyring(deployment.now())?;
        let env = deployment.env(&keyring);
        administration::revoke_sessions(&deployment.store, env, email, &Deployment::origin()?).await?;
    }
    Answer::of(&Changed {
        email: email.to_string(),
        user_id: record.user.to_string(),
        change: "sessions_revoked",
        changed: !change.dry_run,
        sessions_ended: live(&held, deployment.now()),
        pools_cleared: 0,
        factors_removed: None,
        recovery_codes_removed: None,
        dry_run: change.dry_run,
        differs: true,
        words: REVOKED,
    })
}

fn live(held: &UserSessions, now: Timestamp) -> usize {
    held.sessions.iter().filter(|session| session.is_live(now)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(
        words: Words,
        changed: bool,
        dry_run: bool,
        sessions_ended: usize,
        pools_cleared: usize,
    ) -> String {
        let report = Changed {
            email: "ada@example.com".to_owned(),
            user_id: "usr_1".to_owned(),
            change: "disabled",
            changed,
            sessions_ended,
            pools_cleared,
            factors_removed: None,
            recovery_codes_removed: None,
            dry_run,
            differs: changed || dry_run,
            words,
        };
        report.to_string().trim_end().to_owned()
    }

    #[test]
    fn people_are_told_in_a_line_what_was_done() {
        insta::assert_snapshot!(told(DISABLED, true, false, 2, 0), @"disabled ada@example.com, 2 sessions ended; access tokens that are out live up to 5 minutes");
        insta::assert_snapshot!(told(DISABLED, false, false, 0, 0), @"ada@example.com is disabled already; nothing was changed");
        insta::assert_snapshot!(told(DISABLED, false, true, 1, 0), @"would disable ada@example.com, 1 session; nothing was changed");
        insta::assert_snapshot!(told(UNLOCKED, true, false, 0, 1), @"unlocked ada@example.com, 1 pool of failed attempts");
        insta::assert_snapshot!(told(REVOKED, true, false, 0, 0), @"revoked all sessions of ada@example.com");
    }
}
