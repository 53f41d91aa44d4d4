//! Public keys, discovery, and the API's own description.

use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header};
use sallyport_http::{App, Call, Platform, Problem, Reply};
use serde::Serialize;
use serde_json::json;

const OPENAPI: &str = include_str!("../openapi.json");

/// How long a JWKS may be kept. A new key is published at least this long before it signs.
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// The routes of this function.
pub fn app(platform: &Platform) -> App {
    let state = Arc::new(platform.clone());
    App::new("keys", platform)
        .route(Method::GET, "/.well-known/jwks.json", &state, jwks)
        .route(Method::GET, "/.well-known/openid-configuration", &state, discovery)
        .route(Method::GET, "/openapi.json", &state, openapi)
}

/// Fills an empty keyring at start. This function alone may: it takes no input that could be turned against it.
pub async fn prepare(platform: Platform) {
    if let Err(error) = platform.fill_keyring("keys").await {
        tracing::error!(%error, "filling the keyring failed");
    }
}

#[derive(Serialize)]
struct Jwks<T> {
    keys: T,
}

async fn jwks(platform: Arc<Platform>, _call: Call) -> Result<Reply, Problem> {
    let keyring = platform.keyring().await?;
    let reply = Reply::json(StatusCode::OK, &Jwks { keys: keyring.jwks() })?;
    Ok(reply.header(header::CACHE_CONTROL, CACHE))
}

/// OpenID Connect Discovery and RFC 8414, as far as it is true: there are no ID tokens and no authorization endpoint here,
/// so the lists that the standard requires of those are empty.
async fn discovery(platform: Arc<Platform>, call: Call) -> Result<Reply, Problem> {
    let keyring = platform.keyring().await?;
    let issuer = platform.issuer(&call.context);
    let methods = ["client_secret_basic", "client_secret_post"];
    let document = json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "introspection_endpoint": format!("{issuer}/oauth/introspect"),
        "introspection_endpoint_auth_methods_supported": methods,
        "revocation_endpoint": format!("{issuer}/oauth/revoke"),
        "revocation_endpoint_auth_methods_supported": methods,
        "response_types_supported": [],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [format!("{:?}", keyring.signer().algorithm)],
        "scopes_supported": ["account"],
        "claims_supported": [
            "iss", "aud", "sub", "client_id", "sid", "aal", "amr", "auth_time", "proofs", "iat", "exp", "jti", "scope",
        ],
    });
    Ok(Reply::json(StatusCode::OK, &document)?.header(header::CACHE_CONTROL, CACHE))
}

async fn openapi(_platform: Arc<Platform>, _call: Call) -> Result<Reply, Problem> {
    let reply = Reply::text(StatusCode::OK, "application/json", OPENAPI.to_owned());
    Ok(reply.header(header::CACHE_CONTROL, CACHE))
}
