//! Signing in with a password, and proving oneself again.

mod reauthenticate;
mod sign_in;

use std::sync::Arc;

use http::Method;
use sallyport_core::{accounts::PasswordHasher, checks::Component, flags::Gate};
use sallyport_lambda::{App, Platform};

/// What the handlers share.
#[derive(Debug)]
struct State {
    platform: Platform,
    hasher: PasswordHasher,
}

/// The record, the attempt, the address: three calls side by side.
const CALLS_SIDE_BY_SIDE: usize = 3;

/// What its answers depend on.
const GATE: Gate = Gate { needs: &[Component::Users, Component::Sessions, Component::Throttle] };

/// The routes of this function.
pub fn app(platform: &Platform) -> App {
    let hasher = PasswordHasher::new(platform.config().password);
    if platform.config().warm_up {
        hasher.warm_up();
    }
    let state = Arc::new(State { platform: platform.clone(), hasher });
    App::new("login", platform)
        .gated(GATE)
        .route(Method::POST, "/api/v1/auth/login", &state, sign_in::handle)
        .route(Method::POST, "/api/v1/auth/reauthenticate", &state, reauthenticate::handle)
}

/// Fetches what the first request would otherwise wait for.
pub async fn prepare(platform: Platform) {
    platform.warm_up_for(CALLS_SIDE_BY_SIDE).await;
}
