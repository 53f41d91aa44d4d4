//! What introspection and revocation share: the form, the client, and errors after RFC 6749 5.2.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, StatusCode, header};
use percent_encoding::percent_decode_str;
use sallyport_core::clients::{self, ClientSecret};
use sallyport_lambda::{Call, Platform, Problem, Reply};
use serde::Serialize;

/// The parameters that these routes have. One without a value is as good as none, those of other names are ignored, however
/// often they stand there, and one that stands twice is refused (RFC 6749 3.2).
#[derive(Default)]
struct Form {
    token: Option<String>,
    /// Whether there is a `token_type_hint`: what it says changes nothing here.
    is_hinted: bool,
    client_id: Option<String>,
    client_secret: Option<ClientSecret>,
}

impl Form {
    /// `None`: a parameter stands twice.
    fn read(parameters: Vec<(String, String)>) -> Option<Self> {
        let mut form = Self::default();
        for (name, value) in parameters {
            if value.is_empty() {
                continue;
            }
            let twice = match name.as_str() {
                "token" => form.token.replace(value).is_some(),
                "token_type_hint" => std::mem::replace(&mut form.is_hinted, true),
                "client_id" => form.client_id.replace(value).is_some(),
                "client_secret" => form.client_secret.replace(ClientSecret::new(&value)).is_some(),
                _ => false,
            };
            if twice {
                return None;
            }
        }
        Some(form)
    }
}

/// Clients that did not authenticate: secrets that are guessed, and services that were given a wrong one.
const FAILURES: &str = "client_authentication_failures";

/// A request of a registered client.
pub(crate) struct Authenticated {
    /// Its id, which it has proven.
    pub(crate) client: String,
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
    let form = match call.form() {
        Ok(parameters) => Form::read(parameters),
        Err(problem) if problem.code == sallyport_lambda::Code::MalformedRequest => None,
        Err(problem) => return Err(problem),
    };
    let Some(form) = form else {
        return invalid_request("The form does not read, or a parameter stands twice.").map(Err);
    };
    call.facts.count(FAILURES, 0);
    let basic = call.headers.contains_key(header::AUTHORIZATION);
    let presented = match (basic, form.client_id, form.client_secret) {
        (true, _, Some(_)) => {
            return invalid_request("The client may authenticate in one way, not in two.").map(Err);
        }
        (true, named, None) => match (read_basic(call), named) {
            // An id alone authenticates nobody: it may stand beside (RFC 6749 3.2.1), if it is the same.
            (Some((id, _)), Some(named)) if id != named => {
                return invalid_request("The client_id of the form is not the one that authenticates.")
                    .map(Err);
            }
            (read, _) => read,
        },
        (false, Some(id), Some(secret)) => Some((id, secret)),
        (false, _, _) => None,
    };
    let Some((id, secret)) = presented else {
        return invalid_client(call).map(Err);
    };
    if !clients::authenticate(platform.store(), &id, &secret).await? {
        return invalid_client(call).map(Err);
    }
    call.facts.of_client(&id);
    match form.token {
        Some(token) => Ok(Ok(Authenticated { client: id, token })),
        None => invalid_request("The parameter token is missing.").map(Err),
    }
}

/// RFC 6749 2.3.1: both parts are form-urlencoded, which most libraries do and curl does not. Ids and secrets of ours hold
/// neither `%` nor `+`, so that one reading serves both, and no secret is tried twice.
fn read_basic(call: &Call) -> Option<(String, ClientSecret)> {
    let mut values = call.headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim_start_matches(' ')).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((form_decoded(id)?, ClientSecret::new(&form_decoded(secret)?)))
}

fn form_decoded(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

fn invalid_request(description: &'static str) -> Result<Reply, Problem> {
    Reply::json(
        StatusCode::BAD_REQUEST,
        &OAuthError { error: "invalid_request", error_description: description },
    )
}

fn invalid_client(call: &Call) -> Result<Reply, Problem> {
    call.facts.count(FAILURES, 1);
    let reply = Reply::json(
        StatusCode::UNAUTHORIZED,
        &OAuthError {
            error: "invalid_client",
            error_description: "The client is not known, or its secret is wrong.",
        },
    )?;
    Ok(reply.header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"sallyport\"")))
}
