//! CORS: for configured origins, nothing for others.

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::reply::Reply;

/// The `Origin` of a request, when it is one of those configured. Two are none: no browser sends them.
pub(crate) fn allowed<'a>(headers: &HeaderMap, origins: &'a [String]) -> Option<&'a str> {
    let mut given = headers.get_all(header::ORIGIN).iter();
    let (Some(origin), None) = (given.next(), given.next()) else { return None };
    let origin = origin.to_str().ok()?;
    origins.iter().map(String::as_str).find(|allowed| *allowed == origin)
}

/// Lets the page at `origin` read the answer.
pub(crate) fn expose(headers: &mut HeaderMap, origin: Option<&str>) {
    // One header with both words, where the answer differs by something else as well.
    let also = headers.get(header::VARY).and_then(|value| value.to_str().ok());
    let vary = also.map(|also| format!("{also}, Origin"));
    let vary = vary.and_then(|vary| HeaderValue::from_str(&vary).ok());
    headers.insert(header::VARY, vary.unwrap_or(HeaderValue::from_static("Origin")));
    let Some(origin) = origin.and_then(|origin| HeaderValue::from_str(origin).ok()) else {
        return;
    };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("X-Request-Id, Retry-After, RateLimit, RateLimit-Policy, WWW-Authenticate"),
    );
}

/// The answer to a preflight.
pub(crate) fn preflight(allow: &str, origin: Option<&str>) -> Reply {
    let reply = Reply::empty(StatusCode::NO_CONTENT);
    if origin.is_none() {
        return reply;
    }
    let methods = HeaderValue::from_str(allow).unwrap_or_else(|_| HeaderValue::from_static("GET"));
    reply
        .header(header::ACCESS_CONTROL_ALLOW_METHODS, methods)
        .header(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Authorization, Content-Type"))
        .header(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"))
}

/// Methods as the `Allow` header lists them.
pub(crate) fn allow_list(methods: &[Method]) -> String {
    let mut names: Vec<_> = methods.iter().map(Method::as_str).collect();
    if methods.contains(&Method::GET) {
        names.push("HEAD");
    }
    names.push("OPTIONS");
    names.join(", ")
}
