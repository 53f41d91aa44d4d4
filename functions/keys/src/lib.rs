//! Public keys, discovery, and the API's own description.

use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header};
use sallyport_core::keyring::{Keyring, KeyringSource as _, Stored};
use sallyport_lambda::{App, Call, Code, Platform, Problem, Reply};
use serde::Serialize;
use serde_json::json;

const OPENAPI: &str = include_str!("../openapi.json");

/// Stands in the document for the deployment's address, which is not known when it is written.
const SERVER: &str = r#""http://localhost:3000""#;

/// How long a JWKS may be kept. A new key is published at least this long before it signs.
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// The same within an hour of a revocation: what is revoked next is not trusted for as long.
const CACHE_LATELY_REVOKED: HeaderValue = HeaderValue::from_static("public, max-age=30");

/// Asked by `health`, which may not read the keyring itself.
const KEYRING: &str = "/internal/keyring";

/// The routes of this function.
pub fn app(platform: &Platform) -> App {
    let state = Arc::new(platform.clone());
    App::new("keys", platform)
        .route(Method::GET, "/.well-known/jwks.json", &state, jwks)
        .route(Method::GET, "/.well-known/oauth-authorization-server", &state, discovery)
        .route(Method::GET, "/.well-known/openid-configuration", &state, discovery)
        .route(Method::GET, "/openapi.json", &state, openapi)
        .route(Method::GET, KEYRING, &state, keyring)
        .internal(KEYRING)
        .public(&[
            "/.well-known/jwks.json",
            "/.well-known/oauth-authorization-server",
            "/.well-known/openid-configuration",
            "/openapi.json",
        ])
}

/// Fills an empty keyring at start. This function alone may: it takes no input that could be turned against it.
pub async fn prepare(platform: Platform) {
    if let Err(error) = platform.fill_keyring("keys").await {
        tracing::error!(%error, "filling the keyring failed");
    }
    // With the handshake that the first request would wait for. What is missing is told by the requests that miss it.
    drop(platform.published_keyring().await);
}

#[derive(Serialize)]
struct Jwks<T> {
    keys: T,
}

async fn jwks(platform: Arc<Platform>, _call: Call) -> Result<Reply, Problem> {
    let published = platform.published_keyring().await?;
    let reply = Reply::json(StatusCode::OK, &Jwks { keys: published.keyring.jwks() })?;
    let cache = if published.lately_revoked { CACHE_LATELY_REVOKED } else { CACHE };
    Ok(reply.header(header::CACHE_CONTROL, cache))
}

/// Whether the keyring reads: past the cache, since that is the question.
async fn keyring(platform: Arc<Platform>, _call: Call) -> Result<Reply, Problem> {
    let fault = match platform.keyring_cache().source().read().await {
        // A state and no fault: so a deployment begins.
        Ok(Stored::Empty) => return Reply::json(StatusCode::OK, &json!({ "empty": true })),
        Ok(Stored::Filled(text)) => Keyring::parse(text.expose()).err().map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    };
    Reply::json(StatusCode::OK, &json!({ "fault": fault }))
}

/// RFC 8414, the same under OpenID Connect's name, where most verifiers look. It claims nothing of ID tokens and response
/// types, of which there are none: a list without elements is left out (RFC 8414 3.2).
async fn discovery(platform: Arc<Platform>, call: Call) -> Result<Reply, Problem> {
    let issuer = platform.issuer(&call.context);
    let methods = ["client_secret_basic", "client_secret_post"];
    let document = json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "introspection_endpoint": format!("{issuer}/oauth/introspect"),
        "introspection_endpoint_auth_methods_supported": methods,
        "revocation_endpoint": format!("{issuer}/oauth/revoke"),
        "revocation_endpoint_auth_methods_supported": methods,
        "scopes_supported": ["account"],
        "claims_supported": [
            "iss", "aud", "sub", "client_id", "sid", "aal", "amr", "auth_time", "proofs", "iat", "exp", "jti", "scope",
        ],
    });
    Ok(Reply::json(StatusCode::OK, &document)?.header(header::CACHE_CONTROL, CACHE))
}

async fn openapi(platform: Arc<Platform>, call: Call) -> Result<Reply, Problem> {
    let issuer = serde_json::to_string(platform.issuer(&call.context))
        .map_err(|error| Problem::new(Code::InternalError).operator(error))?;
    // The first is that of `servers`: generated clients call it.
    let document = OPENAPI.replacen(SERVER, &issuer, 1);
    let reply = Reply::text(StatusCode::OK, "application/json", document);
    Ok(reply.header(header::CACHE_CONTROL, CACHE))
}
