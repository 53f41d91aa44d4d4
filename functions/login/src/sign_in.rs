//! `POST /api/v1/auth/login`

use std::sync::Arc;

use http::StatusCode;
use sallyport_core::{
    login::{MfaChallenge, OfferedFactor, SignInCommand, SignInError, SignedIn, sign_in},
    tokens::{Delivery, MFA_LIFETIME},
};
use sallyport_lambda::{
    Call, Code, DEVICE_COOKIE, DeliveryField, Problem, Reply,
    fields::{DeviceTokenField, EmailField, PasswordField},
};
use serde::{Deserialize, Serialize};

use crate::State;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    email: EmailField,
    password: PasswordField,
    #[serde(default)]
    device_token: DeviceTokenField,
    #[serde(default)]
    token_delivery: DeliveryField,
}

pub(crate) async fn handle(state: Arc<State>, call: Call) -> Result<Reply, Problem> {
    let request: Request = call.json()?;
    let DeliveryField(delivery) = request.token_delivery;
    if delivery == Delivery::Cookie {
        call.require_origin()?;
    }
    let device_token = match request.device_token.0 {
        Some(token) => Some(token),
        None if delivery == Delivery::Cookie => call.cookie(DEVICE_COOKIE)?,
        None => None,
    };
    call.facts.attempt(
        "login_attempts",
        ["login_successes", "login_failures", "password_checks", "lockouts", "limiter_triggers"],
    );
    let keyring = state.platform.keyring().await?;
    let command = SignInCommand {
        email: request.email.0,
        password: request.password.0,
        device_token: device_token.as_deref(),
        delivery,
        origin: &call.context.origin,
    };
    let rules = state.platform.rules(&call.context);
    let answer =
        sign_in(state.platform.store(), state.platform.env(&keyring), &rules, &state.hasher, command).await;

    let refused = matches!(answer.outcome, Err(SignInError::InvalidCredentials));
    let limited = matches!(
        answer.outcome,
        Err(SignInError::TooManyAttempts { .. } | SignInError::AddressExhausted { .. })
    );
    call.facts.count("login_successes", u64::from(answer.outcome.is_ok()));
    call.facts.count("login_failures", u64::from(refused));
    call.facts.count("password_checks", u64::from(answer.password_checked));
    call.facts.count("lockouts", u64::from(answer.locked_out));
    call.facts.count("limiter_triggers", u64::from(limited));

    let outcome = match answer.outcome {
        Ok(SignedIn::Authenticated(grant)) => Reply::tokens(&grant),
        Ok(SignedIn::MfaRequired(challenge)) => mfa_required(&challenge),
        Err(error) => Err(problem(error)),
    };
    match outcome {
        Ok(reply) => Ok(reply.limits(answer.bucket)),
        Err(problem) => Err(problem.limits(answer.bucket)),
    }
}

#[derive(Serialize)]
struct MfaRequired<'a> {
    status: &'static str,
    mfa_token: &'a str,
    expires_in: u64,
    factors: Vec<Factor<'a>>,
}

#[derive(Serialize)]
struct Factor<'a> {
    id: String,
    r#type: &'static str,
    hint: Option<&'a str>,
}

fn mfa_required(challenge: &MfaChallenge) -> Result<Reply, Problem> {
    let factors = challenge.factors.iter().map(|factor| match factor {
        OfferedFactor::Totp { id, label } => Factor { id: id.to_string(), r#type: "totp", hint: Some(label) },
        OfferedFactor::RecoveryCode => Factor { id: "recovery".to_owned(), r#type: "recovery", hint: None },
    });
    Reply::json(
        StatusCode::OK,
        &MfaRequired {
            status: "mfa_required",
            mfa_token: challenge.token.expose(),
            expires_in: MFA_LIFETIME.as_secs(),
            factors: factors.collect(),
        },
    )
}

fn problem(error: SignInError) -> Problem {
    match error {
        SignInError::InvalidCredentials => Problem::new(Code::InvalidCredentials),
        SignInError::TooManyAttempts { retry_after } => {
            Problem::new(Code::TooManyAttempts).retry_after(retry_after)
        }
        SignInError::AddressExhausted { retry_after } => {
            Problem::new(Code::RateLimited).retry_after(retry_after)
        }
        SignInError::Store(error) => error.into(),
        SignInError::Password(error) => error.into(),
        SignInError::Token(error) => error.into(),
        SignInError::Random(error) => error.into(),
    }
}
