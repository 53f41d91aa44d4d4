//! A request as API Gateway hands it to a function, read from the event by ourselves.
//!
//! Nothing that a client sends can end the process here, and what it sent twice is seen twice. Both formats of API Gateway are
//! read: 1.0 of REST APIs and 2.0 of HTTP APIs, which `cargo lambda watch` speaks.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde_json::{Map, Value};

/// What Lambda says of an invocation, besides the event.
#[derive(Debug, Clone, Default)]
pub struct Invocation {
    pub request_id: String,
    /// X-Ray's header, where the function is traced.
    pub trace: Option<String>,
}

/// The event is none of API Gateway's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the event is no request of API Gateway")]
pub struct NoRequest;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// 1.0
    Rest,
    /// 2.0
    Http,
}

/// A request on its way to a route.
#[derive(Debug)]
pub struct Inbound {
    pub(crate) format: Format,
    pub(crate) method: Method,
    /// As it was called: behind a custom domain with the base path of the mapping, of an HTTP API with the stage.
    pub(crate) path: String,
    /// The pattern that the gateway found for it, such as `/api/v1/mfa/factors/{id}`: whatever the API is mounted under.
    pub(crate) resource: Option<String>,
    pub(crate) parameters: HashMap<String, String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// A header or the body is something that HTTP does not carry. It is refused, since leaving it out would let a guard
    /// see less than was sent.
    pub(crate) malformed: bool,
    pub(crate) source: Option<String>,
    pub(crate) domain: Option<String>,
    pub(crate) stage: Option<String>,
    pub(crate) request_id: String,
    pub(crate) trace: Option<String>,
}

/// The method of an event that has none. No route has it.
const NO_METHOD: &[u8] = b"NONE";

impl Inbound {
    /// A request without headers and body.
    pub fn new(method: Method, path: &str) -> Self {
        Self {
            format: Format::Rest,
            method,
            path: path.to_owned(),
            resource: None,
            parameters: HashMap::new(),
            headers: HeaderMap::new(),
            body: Vec::new(),
            malformed: false,
            source: None,
            domain: None,
            stage: None,
            request_id: String::new(),
            trace: None,
        }
    }

    /// # Errors
    /// [`NoRequest`] for an event of another source. Whatever else is odd is for the application to answer.
    pub fn read(mut event: Value, invocation: Invocation) -> Result<Self, NoRequest> {
        let body = event.get_mut("body").map(Value::take).unwrap_or_default();
        let event = &event;
        let context = &event["requestContext"];
        let (http, identity) = (&context["http"], &context["identity"]);
        let shaped = event.is_object()
            && (context.is_object()
                || ["httpMethod", "rawPath"].iter().any(|name| event.get(name).is_some()));
        if !shaped {
            return Err(NoRequest);
        }
        let format = if http.is_object() || event["version"] == "2.0" { Format::Http } else { Format::Rest };
        let first =
            |candidates: &[&Value]| candidates.iter().find_map(|value| value.as_str()).map(str::to_owned);
        let method = match format {
            Format::Rest => first(&[&event["httpMethod"], &context["httpMethod"]]),
            Format::Http => first(&[&http["method"]]),
        };
        let method = method.and_then(|method| Method::from_bytes(method.as_bytes()).ok());
        let stage = first(&[&context["stage"]]).filter(|stage| stage != "$default");
        let (path, resource, source) = match format {
            Format::Rest => (
                first(&[&event["path"]]),
                first(&[&context["resourcePath"], &event["resource"]]),
                first(&[&identity["sourceIp"]]),
            ),
            Format::Http => {
                let key = first(&[&context["routeKey"], &event["routeKey"]]);
                (
                    first(&[&event["rawPath"], &http["path"]]),
                    key.and_then(|key| Some(key.split_once(' ')?.1.to_owned())),
                    first(&[&http["sourceIp"]]),
                )
            }
        };
        let parameters = event["pathParameters"].as_object().into_iter().flatten();
        let parameters =
            parameters.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect();
        let headers = headers(event, format);
        let trace = invocation.trace.or_else(|| {
            let header = headers.as_ref()?.get("x-amzn-trace-id")?;
            header.to_str().ok().map(str::to_owned)
        });
        let (domain, request_id) = (first(&[&context["domainName"]]), first(&[&context["requestId"]]));
        let body = bytes(body, event["isBase64Encoded"] == true);
        Ok(Self {
            format,
            method: method.or_else(|| Method::from_bytes(NO_METHOD).ok()).unwrap_or_default(),
            path: path.unwrap_or_default(),
            resource,
            parameters,
            malformed: headers.is_none() || body.is_none(),
            headers: headers.unwrap_or_default(),
            body: body.unwrap_or_default(),
            source,
            domain,
            stage,
            request_id: request_id.filter(|id| !id.is_empty()).unwrap_or(invocation.request_id),
            trace,
        })
    }
}

/// All headers, those of one name in their order. None where one can't be a header.
///
/// Format 1.0 tells each header twice: by all of its values and by the last. Format 2.0 joins the values with commas, and has
/// cookies apart.
fn headers(event: &Value, format: Format) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    let many = event["multiValueHeaders"].as_object().filter(|_| format == Format::Rest);
    let one = event["headers"].as_object();
    let cookies = event["cookies"].as_array().filter(|_| format == Format::Http);
    let told = |name: &str| {
        many.is_some_and(|many| given(many, name))
            || (name.eq_ignore_ascii_case("cookie") && cookies.is_some())
    };
    let singles = one.into_iter().flatten().filter(|(name, _)| !told(name));
    for (name, value) in many.into_iter().flatten().chain(singles) {
        append(&mut headers, name, value)?;
    }
    for cookie in cookies.into_iter().flatten() {
        append(&mut headers, header::COOKIE.as_str(), cookie)?;
    }
    Some(headers)
}

/// Whether a header has a value among these, in whatever case its name is written.
fn given(headers: &Map<String, Value>, name: &str) -> bool {
    headers.iter().any(|(known, value)| {
        let empty =
            value.is_null() || value.as_array().is_some_and(|values| values.iter().all(Value::is_null));
        known.eq_ignore_ascii_case(name) && !empty
    })
}

fn append(headers: &mut HeaderMap, name: &str, value: &Value) -> Option<()> {
    let values = match value {
        Value::Null => return Some(()),
        Value::Array(values) => values.as_slice(),
        single => std::slice::from_ref(single),
    };
    for value in values.iter().filter(|value| !value.is_null()) {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        // The number of headers is bounded as well.
        headers.try_append(name, HeaderValue::from_bytes(value.as_str()?.as_bytes()).ok()?).ok()?;
    }
    Some(())
}

fn bytes(body: Value, is_base64: bool) -> Option<Vec<u8>> {
    match body {
        Value::Null => Some(Vec::new()),
        Value::String(text) if is_base64 => STANDARD.decode(text).ok(),
        Value::String(text) => Some(text.into_bytes()),
        _ => None,
    }
}
