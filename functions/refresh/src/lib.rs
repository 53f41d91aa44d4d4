//! Refreshing, ending and inspecting sessions.

mod introspect;
mod logout;
mod oauth;
mod refresh;
mod revoke;

use std::sync::Arc;

use http::Method;
use sallyport_core::{checks::Component, flags::Gate};
use sallyport_lambda::{App, Platform};

/// What its answers depend on.
const GATE: Gate = Gate { needs: &[Component::Sessions] };

/// The routes of this function.
pub fn app(platform: &Platform) -> App {
    let state = Arc::new(platform.clone());
    App::new("refresh", platform)
        .gated(GATE)
        .route(Method::POST, "/api/v1/auth/refresh", &state, refresh::handle)
        .route(Method::POST, "/api/v1/auth/logout", &state, logout::handle)
        .route(Method::POST, "/oauth/revoke", &state, revoke::handle)
        .route(Method::POST, "/oauth/introspect", &state, introspect::handle)
}

/// Fetches what the first request would otherwise wait for.
pub async fn prepare(platform: Platform) {
    platform.warm_up_for(1).await;
}
