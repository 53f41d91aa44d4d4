//! Second factors: completing a sign-in with one, and managing them.

mod challenge;
mod factors;
mod recovery_codes;
mod totp;
mod verify;

use std::sync::Arc;

use http::Method;
use sallyport_core::{
    checks::Component,
    env::Env,
    flags::Gate,
    mfa::ManageError,
    sessions::CallerError,
    tokens::{Audience, MfaClaims, TokenError, verify_mfa_token},
};
use sallyport_lambda::{App, Call, Code, Platform, Problem};

/// The session, the factors, the profile, the recovery codes: four calls side by side.
const CALLS_SIDE_BY_SIDE: usize = 4;

/// What its answers depend on.
const GATE: Gate = Gate { needs: &[Component::Users, Component::Sessions, Component::Throttle] };

/// The routes of this function.
pub fn app(platform: &Platform) -> App {
    let state = Arc::new(platform.clone());
    App::new("mfa", platform)
        .gated(GATE)
        .route(Method::POST, "/api/v1/auth/mfa/challenge", &state, challenge::handle)
        .route(Method::POST, "/api/v1/auth/mfa/verify", &state, verify::handle)
        .route(Method::GET, "/api/v1/mfa/factors", &state, factors::list)
        .route(Method::DELETE, "/api/v1/mfa/factors/{id}", &state, factors::remove)
        .route(Method::POST, "/api/v1/mfa/totp", &state, totp::enrol)
        .route(Method::POST, "/api/v1/mfa/totp/confirm", &state, totp::confirm)
        .route(Method::POST, "/api/v1/mfa/recovery-codes", &state, recovery_codes::regenerate)
}

/// Fetches what the first request would otherwise wait for.
pub async fn prepare(platform: Platform) {
    platform.warm_up_for(CALLS_SIDE_BY_SIDE).await;
}

fn pending(env: Env<'_>, audience: &Audience, call: &Call, token: &str) -> Result<MfaClaims, Problem> {
    verify_mfa_token(env.keyring, audience, token, env.now()).map_err(|error| {
        if error == TokenError::Forged {
            call.facts.suspicious();
        }
        Problem::new(Code::InvalidMfaToken)
    })
}

fn problem(error: ManageError) -> Problem {
    match error {
        ManageError::Caller(CallerError::InvalidToken) => Problem::invalid_token(),
        ManageError::Caller(CallerError::ReauthenticationRequired) => Problem::reauthentication_required(),
        ManageError::Caller(CallerError::Store(error)) | ManageError::Store(error) => error.into(),
        ManageError::FactorNotFound | ManageError::NoFactor => Problem::new(Code::FactorNotFound),
        ManageError::FactorLimitReached => Problem::new(Code::FactorLimitReached),
        ManageError::AlreadyConfirmed => Problem::new(Code::FactorAlreadyConfirmed),
        ManageError::InvalidCode => Problem::new(Code::InvalidCode),
        ManageError::TooManyAttempts { retry_after } => {
            Problem::new(Code::TooManyAttempts).retry_after(retry_after)
        }
        ManageError::Seed(error) => error.into(),
        ManageError::Enrolment(message) => Problem::new(Code::InternalError).operator(message),
        ManageError::Random(error) => error.into(),
    }
}
