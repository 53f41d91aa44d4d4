//! What introspection and revocation share: the form, the client, and errors after RFC 6749 5.2.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, StatusCode, header};
use sallyport_core::clients::{self, ClientSecret};
use sallyport_http::{Call, Platform, Problem, Reply};
use serde::{Deserialize, Serialize};

/// Parameters of other names are ignored (RFC 6749 3.2); one that stands twice is refused.
#[derive(Deserialize)]
pub(crate) struct Form {
    pub(crate) token: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
}

/// A request of a registered client.
pub(crate) struct Authenticated {
    pub(crate) token: String,
}

#[derive(Serialize)]
struct OAuthError {
    error: &'static str,
    error_description: &'static str,
}

/// Reads the form and authenticates the client. `Err` holds the finished answer, or a problem.
pub(crate) async fn authenticate(
    platform: &Platform,
    call: &Call,
) -> Result<Result<Authenticated, Reply>, Problem> {
    let form: Form = match call.form() {
        Ok(form) => form,
        Err(problem) if problem.code == sallyport_http::Code::MalformedRequest => {
            return invalid_request("The form does not read, or a parameter stands twice.").map(Err);
        }
        Err(problem) => return Err(problem),
    };
    let basic = call.headers.contains_key(header::AUTHORIZATION);
    let presented = match (basic, form.client_id, form.client_secret) {
        (true, None, None) => read_basic(call),
        (false, Some(id), Some(secret)) => Some((id, ClientSecret::new(&secret))),
        (true, _, Some(_)) | (true, Some(_), None) => {
            return invalid_request("The client may authenticate in one way, not in two.").map(Err);
        }
        (false, _, _) => None,
    };
    let Some((id, secret)) = presented else {
        return invalid_client().map(Err);
    };
    if !clients::authenticate(platform.store(), &id, &secret).await? {
        return invalid_client().map(Err);
    }
    match form.token.filter(|token| !token.is_empty()) {
        Some(token) => Ok(Ok(Authenticated { token })),
        None => invalid_request("The parameter token is missing.").map(Err),
    }
}

/// RFC 6749 2.3.1: both parts are form-urlencoded. Ids and secrets of ours hold nothing that the encoding changes.
fn read_basic(call: &Call) -> Option<(String, ClientSecret)> {
    let value = call.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((id.to_owned(), ClientSecret::new(secret)))
}

fn invalid_request(description: &'static str) -> Result<Reply, Problem> {
    Reply::json(
        StatusCode::BAD_REQUEST,
        &OAuthError { error: "invalid_request", error_description: description },
    )
}

fn invalid_client() -> Result<Reply, Problem> {
    let reply = Reply::json(
        StatusCode::UNAUTHORIZED,
        &OAuthError {
            error: "invalid_client",
            error_description: "The client is not known, or its secret is wrong.",
        },
    )?;
    Ok(reply.header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"sallyport\"")))
}
