//! `POST /api/v1/auth/mfa/verify`

use std::sync::Arc;

use sallyport_core::{
    mfa::{CompleteCommand, CompleteError, FactorChoice, complete_sign_in},
    tokens::Delivery,
};
use sallyport_lambda::{
    Call, Code, Platform, Problem, Reply,
    fields::{CodeField, FactorField, JwtField},
};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    mfa_token: JwtField,
    factor_id: FactorField,
    code: CodeField,
}

pub(crate) async fn handle(platform: Arc<Platform>, call: Call) -> Result<Reply, Problem> {
    let request: Request = call.json()?;
    call.facts.attempt("mfa_attempts", ["mfa_successes", "mfa_failures", "mfa_lockouts", "limiter_triggers"]);
    let keyring = platform.keyring().await?;
    let env = platform.env(&keyring);
    let rules = platform.rules(&call.context);
    let claims = crate::pending(env, &rules.audience, &call, &request.mfa_token.0)?;
    if claims.delivery == Delivery::Cookie {
        call.require_origin()?;
    }
    let choice = match request.factor_id {
        FactorField::Factor(factor) => FactorChoice::Totp(factor),
        FactorField::Recovery => FactorChoice::RecoveryCode,
    };
    let command = CompleteCommand { claims, choice, code: &request.code.0, origin: &call.context.origin };
    let answer = complete_sign_in(platform.store(), env, &rules, command).await;

    let refused = matches!(answer.outcome, Err(CompleteError::InvalidCode));
    let limited = matches!(
        answer.outcome,
        Err(CompleteError::TooManyAttempts { .. } | CompleteError::AddressExhausted { .. })
    );
    call.facts.count("mfa_successes", u64::from(answer.outcome.is_ok()));
    call.facts.count("mfa_failures", u64::from(refused));
    call.facts.count("mfa_lockouts", u64::from(answer.locked_out));
    call.facts.count("limiter_triggers", u64::from(limited));
    if matches!(answer.outcome, Err(CompleteError::Overtaken)) {
        call.facts.suspicious();
    }

    match answer.outcome {
        Ok(grant) => Ok(Reply::tokens(&grant)?.limits(answer.bucket)),
        Err(error) => Err(problem(error).limits(answer.bucket)),
    }
}

pub(crate) fn problem(error: CompleteError) -> Problem {
    match error {
        CompleteError::InvalidToken | CompleteError::Overtaken => Problem::new(Code::InvalidMfaToken),
        CompleteError::InvalidCode => Problem::new(Code::InvalidCode),
        CompleteError::FactorNotFound => Problem::new(Code::FactorNotFound),
        CompleteError::TooManyAttempts { retry_after } => {
            Problem::new(Code::TooManyAttempts).retry_after(retry_after)
        }
        CompleteError::AddressExhausted { retry_after } => {
            Problem::new(Code::RateLimited).retry_after(retry_after)
        }
        CompleteError::Store(error) => error.into(),
        CompleteError::Seed(error) => error.into(),
        CompleteError::Token(error) => error.into(),
        CompleteError::Random(error) => error.into(),
    }
}
