//! CORS: the public documents for every page, the rest for configured origins and nothing for others.

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use sallyport_core::web::WebOrigin;

use crate::reply::Reply;

/// Headers that every script of an allowed page may send: its own, and what the tracing libraries of browsers add by
/// themselves (W3C Trace Context, W3C Baggage, Sentry). Names are compared without regard to case.
pub(crate) const HEADERS: [&str; 6] =
    ["Authorization", "Content-Type", "traceparent", "tracestate", "baggage", "sentry-trace"];

/// Whose scripts may read an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers<'a> {
    /// Every page's: there is nothing in it that is not everybody's. Without cookies.
    All,
    /// Those of a configured origin.
    Page(&'a str),
    None,
}

/// The `Origin` of a request, when it is one of those configured: browsers spell it in one way, and so are the settings.
pub(crate) fn allowed<'a>(headers: &HeaderMap, origins: &'a [WebOrigin]) -> Option<&'a str> {
    let mut sent = headers.get_all(header::ORIGIN).iter();
    let (Some(origin), None) = (sent.next(), sent.next()) else { return None };
    let origin = origin.to_str().ok()?;
    origins.iter().map(WebOrigin::as_str).find(|allowed| *allowed == origin)
}

/// An `Origin` that is not configured, for the log. What is no origin at all may be anything, and is not told.
pub(crate) fn refused(headers: &HeaderMap, readers: Readers<'_>) -> Option<String> {
    if readers != Readers::None {
        return None;
    }
    let origin = headers.get(header::ORIGIN)?;
    let read = origin.to_str().ok().and_then(|text| text.parse::<WebOrigin>().ok());
    Some(read.map_or_else(|| "malformed".to_owned(), |origin| origin.as_str().chars().take(100).collect()))
}

/// Lets the readers read the answer.
pub(crate) fn expose(headers: &mut HeaderMap, readers: Readers<'_>) {
    if readers != Readers::All {
        // One header with both words, where the answer differs by something else as well.
        let also = headers.get(header::VARY).and_then(|value| value.to_str().ok());
        let vary = also.map(|also| format!("{also}, Origin"));
        let vary = vary.and_then(|vary| HeaderValue::from_str(&vary).ok());
        headers.insert(header::VARY, vary.unwrap_or(HeaderValue::from_static("Origin")));
    }
    match readers {
        Readers::All => {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        Readers::Page(origin) => {
            let Ok(origin) = HeaderValue::from_str(origin) else { return };
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        Readers::None => return,
    }
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("X-Request-Id, Retry-After, RateLimit, RateLimit-Policy, WWW-Authenticate"),
    );
}

/// The answer to a preflight.
pub(crate) fn preflight(allow: &str, readers: Readers<'_>, allowed_headers: &str) -> Reply {
    let reply = Reply::empty(StatusCode::NO_CONTENT);
    if readers == Readers::None {
        return reply;
    }
    let methods = HeaderValue::from_str(allow).unwrap_or_else(|_| HeaderValue::from_static("GET"));
    let headers =
        HeaderValue::from_str(allowed_headers).unwrap_or_else(|_| HeaderValue::from_static("Content-Type"));
    reply
        .header(header::ACCESS_CONTROL_ALLOW_METHODS, methods)
        .header(header::ACCESS_CONTROL_ALLOW_HEADERS, headers)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(origins: &[&'static [u8]]) -> HeaderMap {
        origins.iter().filter_map(|origin| HeaderValue::from_bytes(origin).ok()).fold(
            HeaderMap::new(),
            |mut headers, origin| {
                headers.append(header::ORIGIN, origin);
                headers
            },
        )
    }

    #[test]
    fn a_refused_origin_is_told_as_an_origin_and_an_allowed_one_is_not() {
        const LONG: [u8; 300] = [b'x'; 300];
        let origin = sent(&[b"https://evil.example"]);
        assert_eq!(refused(&origin, Readers::None).as_deref(), Some("https://evil.example"));
        assert_eq!(refused(&origin, Readers::Page("https://evil.example")), None);
        assert_eq!(refused(&origin, Readers::All), None);
        assert_eq!(refused(&sent(&[]), Readers::None), None);
        assert_eq!(refused(&sent(&[b"a b\tc\xff"]), Readers::None).as_deref(), Some("malformed"));
        assert_eq!(refused(&sent(&[&LONG]), Readers::None).as_deref(), Some("malformed"));
    }

    #[test]
    fn two_origins_are_none() {
        let allowed_origins: Vec<WebOrigin> =
            ["https://App.example.com:443"].iter().filter_map(|origin| origin.parse().ok()).collect();
        let app: &'static [u8] = b"https://app.example.com";
        assert_eq!(allowed(&sent(&[app]), &allowed_origins), Some("https://app.example.com"));
        assert_eq!(allowed(&sent(&[app, app]), &allowed_origins), None);
        assert_eq!(allowed(&sent(&[b"https://evil.example", app]), &allowed_origins), None);
        assert_eq!(allowed(&sent(&[b"https://APP.example.com"]), &allowed_origins), None);
    }
}
