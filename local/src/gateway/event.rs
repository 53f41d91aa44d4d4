//! The event of a request, as API Gateway's REST API sends it to a function (payload format 1.0).

use std::{borrow::Cow, collections::BTreeMap, net::SocketAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, header, request::Parts, uri::Authority};
use sallyport_core::clock::Timestamp;
use serde_json::{Map, Value, json};

/// The stage's name, also that of the SALLYPORT_STAGE.
pub(crate) const STAGE: &str = "local";
const ACCOUNT: &str = "000000000000";
const API: &str = "local00000";

/// What API Gateway adds of its own.
pub(super) struct Addition<'a> {
    /// The identifier of the request.
    pub(super) id: &'a str,
    pub(super) at: Timestamp,
    /// The other end of the TCP connection: never what a header says.
    pub(super) peer: SocketAddr,
    /// The port that was listened on.
    pub(super) port: u16,
    pub(super) resource: &'a str,
    pub(super) parameters: &'a BTreeMap<String, String>,
}

/// A request that API Gateway would not forward.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// # Errors
/// [`Malformed`] for a `Host` that is none.
pub(super) fn build(parts: &Parts, body: &[u8], addition: &Addition<'_>) -> Result<Value, Malformed> {
    let headers = forwarded(&parts.headers, addition)?;
    let last = |values: &[String]| values.last().map_or(Value::Null, |value| json!(value));
    let path = parts.uri.path();
    let query = query(parts.uri.query().unwrap_or_default());
    let method = parts.method.as_str();
    let (body, is_base64) = match std::str::from_utf8(body) {
        Ok("") => (Value::Null, false),
        Ok(text) => (json!(text), false),
        Err(_) => (json!(STANDARD.encode(body)), true),
    };
    let domain = headers.get("host").and_then(|values| values.last()).map_or("localhost", String::as_str);
    Ok(json!({
        "resource": addition.resource,
        "path": path,
        "httpMethod": method,
        "headers": headers.iter().map(|(name, values)| (name.clone(), last(values))).collect::<Map<_, _>>(),
        "multiValueHeaders": headers,
        "queryStringParameters":
            nullable(query.iter().map(|(name, values)| (name.clone(), last(values))).collect()),
        "multiValueQueryStringParameters":
            nullable(query.iter().map(|(name, values)| (name.clone(), json!(values))).collect()),
        "pathParameters":
            nullable(addition.parameters.iter().map(|(name, value)| (name.clone(), json!(value))).collect()),
        "stageVariables": null,
        "requestContext": {
            "resourceId": "local0",
            "resourcePath": addition.resource,
            "httpMethod": method,
            "extendedRequestId": addition.id,
            "requestTime": request_time(addition.at),
            "path": format!("/{STAGE}{path}"),
            "accountId": ACCOUNT,
            "protocol": "HTTP/1.1",
            "stage": STAGE,
            "domainPrefix": domain.split(['.', ':']).next(),
            "requestTimeEpoch": addition.at.millis(),
            "requestId": addition.id,
            "identity": {
                "cognitoIdentityPoolId": null,
                "accountId": null,
                "cognitoIdentityId": null,
                "caller": null,
                "sourceIp": addition.peer.ip().to_string(),
                "principalOrgId": null,
                "accessKey": null,
                "cognitoAuthenticationType": null,
                "cognitoAuthenticationProvider": null,
                "userArn": null,
                "userAgent": headers.get("user-agent").and_then(|values| values.last()),
                "user": null,
            },
            "domainName": domain,
            "apiId": API,
        },
        "body": body,
        "isBase64Encoded": is_base64,
    }))
}

/// The headers by name, with those that API Gateway sets.
fn forwarded(
    headers: &HeaderMap,
    addition: &Addition<'_>,
) -> Result<BTreeMap<String, Vec<String>>, Malformed> {
    let host = headers.get(header::HOST).ok_or(Malformed)?;
    Authority::try_from(host.as_bytes()).map_err(|_| Malformed)?;
    let mut forwarded: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        forwarded.entry(name.as_str().to_owned()).or_default().push(text(value.as_bytes()));
    }
    let peer = addition.peer.ip().to_string();
    let claimed = forwarded.remove("x-forwarded-for").unwrap_or_default();
    let chain = claimed.into_iter().chain([peer]).collect::<Vec<_>>().join(", ");
    forwarded.insert("x-forwarded-for".to_owned(), vec![chain]);
    forwarded.insert("x-forwarded-port".to_owned(), vec![addition.port.to_string()]);
    forwarded.insert("x-forwarded-proto".to_owned(), vec!["http".to_owned()]);
    let trace: String = addition.id.chars().filter(|c| *c != '-').skip(8).collect();
    forwarded
        .entry("x-amzn-trace-id".to_owned())
        .or_insert_with(|| vec![format!("Root=1-{:08x}-{trace}", addition.at.seconds())]);
    Ok(forwarded)
}

/// A header's bytes in JSON, which holds text alone: UTF-8, or else Latin-1, as which HTTP took them once.
fn text(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => value.iter().copied().map(char::from).collect(),
    }
}

/// Decoded, in the order of the names; a name's values in the order of the query.
fn query(query: &str) -> BTreeMap<String, Vec<String>> {
    let mut parameters: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        parameters.entry(name.into_owned()).or_default().push(Cow::into_owned(value));
    }
    parameters
}

fn nullable(map: Map<String, Value>) -> Value {
    if map.is_empty() { Value::Null } else { Value::Object(map) }
}

/// `23/Nov/2026:20:15:00 +0000`
fn request_time(at: Timestamp) -> String {
    let millis = i64::try_from(at.millis()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis)
        .map(|at| at.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(request: http::request::Builder) -> Parts {
        request.body(()).unwrap().into_parts().0
    }

    fn event(request: http::request::Builder, body: &[u8]) -> Result<Value, Malformed> {
        let parameters = BTreeMap::from([("id".to_owned(), "fac 1".to_owned())]);
        let addition = Addition {
            id: "0f8b3c1e-9d2a-4b6c-8e7f-112233445566",
            at: Timestamp::from_seconds(1_764_000_000),
            peer: "127.0.0.1:50000".parse().unwrap(),
            port: 3000,
            resource: "/api/v1/mfa/factors/{id}",
            parameters: &parameters,
        };
        build(&parts(request), body, &addition)
    }

    fn request() -> http::request::Builder {
        Request::builder()
            .method("DELETE")
            .uri("/api/v1/mfa/factors/fac%201?a=1&a=2&b=%C3%A9+x")
            .header("host", "localhost:3000")
            .header("user-agent", "curl/8")
            .header("accept", "a/b")
            .header("accept", "c/d")
            .header("x-forwarded-for", "6.6.6.6")
            .header("x-forwarded-proto", "gopher")
    }

    #[test]
    fn the_whole_event() {
        let expected = json!({
            "resource": "/api/v1/mfa/factors/{id}",
            "path": "/api/v1/mfa/factors/fac%201",
            "httpMethod": "DELETE",
            "headers": {
                "accept": "c/d",
                "host": "localhost:3000",
                "user-agent": "curl/8",
                "x-amzn-trace-id": "Root=1-69248100-9d2a4b6c8e7f112233445566",
                "x-forwarded-for": "6.6.6.6, 127.0.0.1",
                "x-forwarded-port": "3000",
                "x-forwarded-proto": "http",
            },
            "multiValueHeaders": {
                "accept": ["a/b", "c/d"],
                "host": ["localhost:3000"],
                "user-agent": ["curl/8"],
                "x-amzn-trace-id": ["Root=1-69248100-9d2a4b6c8e7f112233445566"],
                "x-forwarded-for": ["6.6.6.6, 127.0.0.1"],
                "x-forwarded-port": ["3000"],
                "x-forwarded-proto": ["http"],
            },
            "queryStringParameters": {"a": "2", "b": "é x"},
            "multiValueQueryStringParameters": {"a": ["1", "2"], "b": ["é x"]},
            "pathParameters": {"id": "fac 1"},
            "stageVariables": null,
            "requestContext": {
                "resourceId": "local0",
                "resourcePath": "/api/v1/mfa/factors/{id}",
                "httpMethod": "DELETE",
                "extendedRequestId": "0f8b3c1e-9d2a-4b6c-8e7f-112233445566",
                "requestTime": "24/Nov/2025:16:00:00 +0000",
                "path": "/local/api/v1/mfa/factors/fac%201",
                "accountId": "000000000000",
                "protocol": "HTTP/1.1",
                "stage": "local",
                "domainPrefix": "localhost",
                "requestTimeEpoch": 1_764_000_000_000_u64,
                "requestId": "0f8b3c1e-9d2a-4b6c-8e7f-112233445566",
                "identity": {
                    "cognitoIdentityPoolId": null,
                    "accountId": null,
                    "cognitoIdentityId": null,
                    "caller": null,
                    "sourceIp": "127.0.0.1",
                    "principalOrgId": null,
                    "accessKey": null,
                    "cognitoAuthenticationType": null,
                    "cognitoAuthenticationProvider": null,
                    "userArn": null,
                    "userAgent": "curl/8",
                    "user": null,
                },
                "domainName": "localhost:3000",
                "apiId": "local00000",
            },
            "body": "{\"x\":\"ü\"}",
            "isBase64Encoded": false,
        });
        assert_eq!(event(request(), "{\"x\":\"ü\"}".as_bytes()).unwrap(), expected);
    }

    #[test]
    fn a_body_that_is_not_text_is_base64_and_an_empty_one_is_null() {
        let binary = event(request(), &[0xff, 0x00]).unwrap();
        assert_eq!((&binary["body"], &binary["isBase64Encoded"]), (&json!("/wA="), &json!(true)));
        let empty = event(request(), b"").unwrap();
        assert_eq!((&empty["body"], &empty["isBase64Encoded"]), (&Value::Null, &json!(false)));
    }

    #[test]
    fn what_an_event_cannot_carry_is_refused() {
        let host = |host: &str| Request::builder().uri("/").header("host", host);
        assert_eq!(event(Request::builder().uri("/"), b""), Err(Malformed));
        assert_eq!(event(host("a b"), b""), Err(Malformed));
    }

    #[test]
    fn a_header_beyond_ascii_goes_to_the_function_as_in_the_cloud() {
        for (sent, told) in [(&b"J\xc3\xbcrgen"[..], "Jürgen"), (b"J\xfcrgen", "Jürgen"), (b"\xff", "ÿ")] {
            let value = http::HeaderValue::from_bytes(sent).unwrap();
            let event = event(request().header("cookie", value), b"").unwrap();
            assert_eq!(event["multiValueHeaders"]["cookie"], json!([told]));
        }
    }
}
