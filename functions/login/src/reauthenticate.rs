//! `POST /api/v1/auth/reauthenticate`

use std::sync::Arc;

use sallyport_core::{
    login::{Proof, ReauthenticateCommand, ReauthenticateError, reauthenticate},
    tokens::open_refresh_token,
};
use sallyport_lambda::{
    Call, Code, Problem, REFRESH_COOKIE, Reply,
    fields::{CodeField, FactorField, PasswordField, present},
};
use serde::Deserialize;

use crate::State;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[serde(default, deserialize_with = "present")]
    password: Option<PasswordField>,
    #[serde(default, deserialize_with = "present")]
    factor_id: Option<FactorField>,
    #[serde(default, deserialize_with = "present")]
    code: Option<CodeField>,
}

pub(crate) async fn handle(state: Arc<State>, call: Call) -> Result<Reply, Problem> {
    let keyring = state.platform.keyring().await?;
    let env = state.platform.env(&keyring);
    let rules = state.platform.rules(&call.context);
    let caller = call.caller(env, &rules.audience)?;
    let request: Request = call.json()?;
    let cookie = call.cookie(REFRESH_COOKIE)?;
    let proof = match (request.password, request.factor_id, &request.code) {
        (Some(password), None, None) => Proof::Password(password.0),
        (None, Some(FactorField::Factor(factor)), Some(code)) => Proof::Code { factor, code: &code.0 },
        (None, Some(FactorField::Recovery), Some(code)) => Proof::RecoveryCode(&code.0),
        (None, Some(_), None) => return Err(missing("code")),
        (None, None, Some(_)) => return Err(missing("factor_id")),
        (None, None, None) => return Err(missing("password")),
        (Some(_), _, _) => {
            return Err(Problem::field("password", "invalid", "Send the password or a code, not both."));
        }
    };
    let counted = Counted::of(&proof);
    call.facts.attempt("reauthentications", ["reauthentication_failures"]);
    let session = caller.session;
    let outcomes = [counted.successes, counted.failures, counted.lockouts, "limiter_triggers"];
    call.facts.attempt(counted.attempts, outcomes);
    let command =
        ReauthenticateCommand { caller, proof, cookie: cookie.as_deref(), origin: &call.context.origin };
    let answer = reauthenticate(state.platform.store(), env, &rules, &state.hasher, command).await;
    let refused = matches!(
        answer.outcome,
        Err(ReauthenticateError::InvalidCredentials | ReauthenticateError::InvalidCode)
    );
    let limited = matches!(
        answer.outcome,
        Err(ReauthenticateError::TooManyAttempts { .. } | ReauthenticateError::AddressExhausted { .. })
    );
    call.facts.count("reauthentication_failures", u64::from(refused));
    call.facts.count(counted.successes, u64::from(answer.outcome.is_ok()));
    call.facts.count(counted.failures, u64::from(refused));
    call.facts.count(counted.lockouts, u64::from(answer.locked_out));
    call.facts.count("limiter_triggers", u64::from(limited));
    if counted.passwords {
        call.facts.count("password_checks", u64::from(answer.password_checked));
    }
    match answer.outcome {
        Ok(grant) => Ok(Reply::tokens(&grant)?.limits(answer.bucket)),
        Err(error) => {
            let ended = matches!(error, ReauthenticateError::SessionEnded);
            let refusal = problem(error).limits(answer.bucket);
            // The cookie of a session that has ended is dead with it; that of another session is not ours to judge.
            let dead = |token: &str| {
                open_refresh_token(&keyring, token).is_none_or(|token| token.session == session)
            };
            Err(if ended && cookie.as_deref().is_some_and(dead) {
                refusal.without_refresh_cookie()
            } else {
                refusal
            })
        }
    }
}

/// What a proof is counted as: the same secret is guessed at here as at a sign-in, and the same alarms look at both.
struct Counted {
    passwords: bool,
    attempts: &'static str,
    successes: &'static str,
    failures: &'static str,
    lockouts: &'static str,
}

impl Counted {
    const PASSWORDS: Self = Self {
        passwords: true,
        attempts: "login_attempts",
        successes: "login_successes",
        failures: "login_failures",
        lockouts: "lockouts",
    };
    const CODES: Self = Self {
        passwords: false,
        attempts: "mfa_attempts",
        successes: "mfa_successes",
        failures: "mfa_failures",
        lockouts: "mfa_lockouts",
    };

    const fn of(proof: &Proof<'_>) -> Self {
        match proof {
            Proof::Password(_) => Self::PASSWORDS,
            Proof::Code { .. } | Proof::RecoveryCode(_) => Self::CODES,
        }
    }
}

fn missing(field: &str) -> Problem {
    Problem::field(field, "missing", "This field is required.")
}

fn problem(error: ReauthenticateError) -> Problem {
    match error {
        ReauthenticateError::SessionEnded => Problem::invalid_token(),
        ReauthenticateError::InvalidCredentials => Problem::new(Code::InvalidCredentials),
        ReauthenticateError::InvalidCode => Problem::new(Code::InvalidCode),
        ReauthenticateError::FactorNotFound => Problem::new(Code::FactorNotFound),
        ReauthenticateError::TooManyAttempts { retry_after } => {
            Problem::new(Code::TooManyAttempts).retry_after(retry_after)
        }
        ReauthenticateError::AddressExhausted { retry_after } => {
            Problem::new(Code::RateLimited).retry_after(retry_after)
        }
        ReauthenticateError::Store(error) => error.into(),
        ReauthenticateError::Password(error) => error.into(),
        ReauthenticateError::Seed(error) => error.into(),
        ReauthenticateError::Token(error) => error.into(),
        ReauthenticateError::Random(error) => error.into(),
    }
}
