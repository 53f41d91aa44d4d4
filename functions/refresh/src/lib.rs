//! Refreshing, ending and inspecting sessions.

mod introspect;
mod logout;
mod oauth;
mod refresh;
mod revoke;

use std::sync::Arc;

use http::Method;
use sallyport_http::{App, Platform};

/// The routes of this function.
pub fn app(platform: &Platform) -> App {
    let state = Arc::new(platform.clone());
    App::new("refresh", platform)
        .route(Method::POST, "/api/v1/auth/refresh", &state, refresh::handle)
        .route(Method::POST, "/api/v1/auth/logout", &state, logout::handle)
        .route(Method::POST, "/oauth/revoke", &state, revoke::handle)
        .route(Method::POST, "/oauth/introspect", &state, introspect::handle)
}
