//! `POST /api/v1/auth/reauthenticate`

use std::sync::Arc;

use sallyport_core::{
    login::{Proof, ReauthenticateCommand, ReauthenticateError, reauthenticate},
    tokens::open_refresh_token,
};
use sallyport_http::{
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
    call.facts.attempt("reauthentications", ["reauthentication_failures"]);
    let session = caller.session;
    let command =
        ReauthenticateCommand { caller, proof, cookie: cookie.as_deref(), origin: &call.context.origin };
    let (bucket, outcome) = reauthenticate(state.platform.store(), env, &rules, &state.hasher, command).await;
    let refused =
        matches!(outcome, Err(ReauthenticateError::InvalidCredentials | ReauthenticateError::InvalidCode));
    call.facts.count("reauthentication_failures", u64::from(refused));
    match outcome {
        Ok(grant) => Ok(Reply::tokens(&grant)?.limits(bucket)),
        Err(error) => {
            let ended = matches!(error, ReauthenticateError::SessionEnded);
            let refusal = problem(error).limits(bucket);
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
