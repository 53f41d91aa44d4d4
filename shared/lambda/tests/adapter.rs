//! The adapter as it is shipped: an event of API Gateway in, what Lambda returns out.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic, and should say where")]

use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header};
use proptest::prelude::*;
use sallyport_aws::Clients;
use sallyport_lambda::{
    App, Call, Config, Invocation, NoRequest, Platform, Problem, REFRESH_COOKIE, Reply, bearer_token,
    telemetry::Sink,
};
use serde_json::{Map, Value, json};

struct Nowhere;

impl Sink for Nowhere {
    fn line(&self, _: &str) {}
}

const ORIGIN: &str = "https://app.example.com";

/// Says what the guards made of a request.
async fn witness(_: Arc<()>, call: Call) -> Result<Reply, Problem> {
    let bearer = bearer_token(&call.headers).map(str::to_owned).map_err(|problem| problem.code.as_str());
    let cookie = call.cookie(REFRESH_COOKIE).map_err(|problem| problem.code.as_str());
    let origin = call.require_origin().is_ok();
    let body = call.optional_json::<Map<String, Value>>().map_err(|problem| problem.code.as_str());
    let reply = Reply::json(
        StatusCode::OK,
        &json!({
            "bearer": bearer.unwrap_or_else(|code| format!("!{code}")),
            "cookie": cookie.map_or_else(|code| json!(format!("!{code}")), |cookie| json!(cookie)),
            "origin": origin,
            "id": call.parameter("id"),
            "agent": call.context.origin.agent,
            "address": call.context.origin.address.to_string(),
            "request": call.context.origin.request_id,
            "body": body.err(),
        }),
    )?;
    let cookie = |text| HeaderValue::from_static(text);
    Ok(reply.append(header::SET_COOKIE, cookie("a=1")).append(header::SET_COOKIE, cookie("b=2")))
}

fn platform() -> Platform {
    let lookup = |name: &str| match name {
        "AWS_REGION" => Some("us-east-1".to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" | "SALLYPORT_STAGE" | "SALLYPORT_DEPLOYMENT" => {
            Some("test".to_owned())
        }
        "SALLYPORT_ALLOWED_ORIGINS" => Some(ORIGIN.to_owned()),
        name => (name.ends_with("_TABLE") || name.ends_with("_SECRET")).then(|| name.to_lowercase()),
    };
    let config = Config::from_lookup(&lookup).unwrap();
    let clients = Clients::connect(&config.endpoints, "test", &lookup).unwrap();
    Platform::builder(config, clients).sink(Arc::new(Nowhere)).build()
}

fn app() -> App {
    let state = Arc::new(());
    App::new("test", &platform())
        .route(Method::POST, "/api/v1/auth/login", &state, witness)
        .route(Method::GET, "/.well-known/openid-configuration", &state, witness)
        .route(Method::DELETE, "/api/v1/mfa/factors/{id}", &state, witness)
}

#[test]
fn routes_that_contradict_one_another_are_a_fault_of_the_start() {
    assert_eq!(app().check(), Ok(()));
    let fault = |app: App| app.check().unwrap_err().to_string();
    let with = |method, pattern| app().route(method, pattern, &Arc::new(()), witness);
    assert_eq!(with(Method::GET, "/api/v1/mfa/factors/{id}").check(), Ok(()));
    for pattern in ["/api/v1/mfa/factors/{factor}", "/api/{unclosed"] {
        let told = fault(with(Method::GET, pattern));
        assert!(told.starts_with(&format!("{pattern} cannot be a route: ")), "{told}");
    }
    assert_eq!(fault(with(Method::POST, "/api/v1/auth/login")), "POST /api/v1/auth/login is declared twice");
    assert_eq!(fault(app().internal("/nowhere")), "/nowhere is no route");
    assert_eq!(fault(app().public(&["/api/v1/auth/login", "/nowhere"])), "/nowhere is no route");
}

type Headers<'a> = &'a [(&'a str, &'a str)];

/// As API Gateway's REST API tells it.
fn rest(method: &str, resource: &str, path: &str, headers: Headers<'_>) -> Value {
    let (mut one, mut many) = (Map::new(), Map::new());
    for (name, value) in headers {
        one.insert((*name).to_owned(), json!(value));
        many.entry(*name).or_insert(json!([])).as_array_mut().unwrap().push(json!(value));
    }
    json!({
        "resource": resource, "path": path, "httpMethod": method, "headers": one, "multiValueHeaders": many,
        "queryStringParameters": null, "multiValueQueryStringParameters": null,
        "pathParameters": {"id": path.rsplit('/').next()}, "stageVariables": null, "body": null, "isBase64Encoded": false,
        "requestContext": {
            "resourcePath": resource, "httpMethod": method, "path": format!("/prod{path}"), "stage": "prod",
            "domainName": "abc.execute-api.us-east-1.amazonaws.com", "requestId": "the-id", "requestTimeEpoch": 1,
            "protocol": "HTTP/1.1", "accountId": "1", "apiId": "abc", "identity": {"sourceIp": "198.51.100.7"},
        },
    })
}

/// As API Gateway's HTTP API tells it: values of one name joined, cookies apart.
fn http_api(method: &str, route: &str, path: &str, headers: Headers<'_>) -> Value {
    let mut one: Map<String, Value> = Map::new();
    let mut cookies: Vec<&str> = Vec::new();
    for &(name, value) in headers {
        if name.eq_ignore_ascii_case("cookie") {
            cookies.extend(value.split("; "));
            continue;
        }
        let joined = match one.get(name).and_then(Value::as_str) {
            Some(before) => format!("{before},{value}"),
            None => value.to_owned(),
        };
        one.insert(name.to_owned(), json!(joined));
    }
    json!({
        "version": "2.0", "routeKey": route, "rawPath": path, "rawQueryString": "", "cookies": cookies,
        "headers": one, "isBase64Encoded": false,
        "requestContext": {
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "198.51.100.7", "userAgent": "x"},
            "routeKey": route, "stage": "$default", "requestId": "the-id", "domainName": "abc.example", "timeEpoch": 1,
        },
    })
}

async fn asked(app: &App, event: Value) -> Value {
    let answer = app.invoke(event, Invocation::default()).await.unwrap();
    assert_eq!(answer["isBase64Encoded"], false);
    answer
}

async fn seen(app: &App, event: Value) -> Value {
    let answer = asked(app, event).await;
    assert_eq!(answer["statusCode"], 200, "{answer}");
    serde_json::from_str(answer["body"].as_str().unwrap()).unwrap()
}

/// Headers, what the guards make of them, and what it is to be.
type Row<'a> = (Vec<(&'a str, &'a str)>, &'a str, Value);

#[tokio::test]
async fn what_a_client_sends_twice_the_guards_see_twice() {
    let app = app();
    let refresh = |value: &str| format!("{REFRESH_COOKIE}={value}");
    let (good, evil) = (refresh("spr_good"), refresh("spr_evil"));
    let own = ("origin", ORIGIN);
    let foreign = ("origin", "https://evil.example");
    let rows: Vec<Row<'_>> = vec![
        (vec![("authorization", "Bearer a.b.c")], "bearer", json!("a.b.c")),
        (vec![("authorization", "Bearer   a.b.c")], "bearer", json!("a.b.c")),
        (vec![("authorization", "bearer a.b.c")], "bearer", json!("a.b.c")),
        (vec![("authorization", "Bearer ")], "bearer", json!("!invalid_token")),
        (vec![("authorization", "Basic Zm9v")], "bearer", json!("!invalid_token")),
        (vec![own], "origin", json!(true)),
        (vec![foreign], "origin", json!(false)),
        (vec![own, foreign], "origin", json!(false)),
        (vec![foreign, own], "origin", json!(false)),
        (vec![own, own], "origin", json!(false)),
        (vec![own, ("cookie", &good)], "cookie", json!("spr_good")),
        (vec![own, ("cookie", &good), ("cookie", "theme=dark")], "cookie", json!("spr_good")),
        (vec![own, ("cookie", "theme=dark"), ("cookie", &good)], "cookie", json!("spr_good")),
        (vec![own, ("cookie", &evil), ("cookie", &good)], "cookie", json!(null)),
        (vec![own, ("cookie", &good), ("cookie", &evil)], "cookie", json!(null)),
        (vec![("cookie", &good)], "cookie", json!("!origin_not_allowed")),
        // Others' cookies hold what they like.
        (vec![own, ("cookie", "name=J\u{fc}rgen"), ("cookie", &good)], "cookie", json!("spr_good")),
    ];
    for (headers, member, expected) in &rows {
        for event in [
            rest("POST", "/api/v1/auth/login", "/api/v1/auth/login", headers),
            http_api("POST", "POST /api/v1/auth/login", "/api/v1/auth/login", headers),
        ] {
            assert_eq!(&seen(&app, event.clone()).await[*member], expected, "{event}");
        }
    }
    // Two tokens are joined in format 2.0, and so are no token either.
    for (first, second) in
        [("Bearer a.b.c", "Bearer d.e.f"), ("Basic Zm9v", "Bearer a.b.c"), ("Bearer a.b.c", "Bearer a.b.c")]
    {
        let headers = [("authorization", first), ("authorization", second)];
        let event = rest("POST", "/api/v1/auth/login", "/api/v1/auth/login", &headers);
        assert_eq!(seen(&app, event).await["bearer"], "!invalid_token", "{first} {second}");
    }
    // In two spellings they are two members of the event.
    for (first, second) in [("Authorization", "authorization"), ("AUTHORIZATION", "Authorization")] {
        let headers = [(first, "Bearer a.b.c"), (second, "Bearer d.e.f")];
        let event = rest("POST", "/api/v1/auth/login", "/api/v1/auth/login", &headers);
        assert_eq!(seen(&app, event).await["bearer"], "!invalid_token");
    }
    // The body of two types is of none.
    for headers in [
        [("content-type", "text/plain"), ("content-type", "application/json")],
        [("content-type", "application/json"), ("content-type", "text/plain")],
    ] {
        let mut event = rest("POST", "/api/v1/auth/login", "/api/v1/auth/login", &headers);
        event["body"] = json!("{}");
        assert_eq!(seen(&app, event).await["body"], "unsupported_media_type");
    }
}

/// "Cookie Chaos" (PortSwigger, 2025): parsers that trim Unicode's white space give a cookie that any page of the domain may set
/// the name of one with the prefix `__Host-`.
#[tokio::test]
async fn white_space_beyond_ascii_makes_no_cookie_ours() {
    let app = app();
    for space in ['\u{a0}', '\u{85}', '\u{1680}', '\u{2000}', '\u{2028}', '\u{3000}', '\u{feff}'] {
        for cookie in
            [format!("{space}{REFRESH_COOKIE}=spr_evil"), format!("{REFRESH_COOKIE}{space}=spr_evil")]
        {
            let headers = [("origin", ORIGIN), ("cookie", &*cookie)];
            let event = rest("POST", "/api/v1/auth/login", "/api/v1/auth/login", &headers);
            assert_eq!(seen(&app, event).await["cookie"], json!(null), "{cookie:?}");
        }
    }
}

#[tokio::test]
async fn a_route_is_found_whatever_the_api_is_mounted_under() {
    let app = app();
    let (pattern, key) = ("/api/v1/mfa/factors/{id}", "DELETE /api/v1/mfa/factors/{id}");
    for prefix in ["", "/identity", "/a/b/c", "/api", "/api/v1"] {
        let path = format!("{prefix}/api/v1/mfa/factors/fac_1");
        for event in [rest("DELETE", pattern, &path, &[]), http_api("DELETE", key, &path, &[])] {
            let mut event = event;
            event["pathParameters"] = json!({"id": "fac_1"});
            let seen = seen(&app, event).await;
            assert_eq!(
                (&seen["id"], &seen["address"], &seen["request"]),
                (&json!("fac_1"), &json!("198.51.100.7"), &json!("the-id"))
            );
        }
    }
    // What has no pattern goes by the path: a proxy resource, cargo lambda watch, the stage of an HTTP API.
    for resource in ["/{proxy+}", "", "/other"] {
        let event = rest("DELETE", resource, "/api/v1/mfa/factors/fac_2", &[]);
        assert_eq!(seen(&app, event).await["id"], "fac_2");
    }
    let mut event = http_api("DELETE", "$default", "/api/v1/mfa/factors/fac_3", &[]);
    assert_eq!(seen(&app, event.clone()).await["id"], "fac_3");
    event["rawPath"] = json!("/prod/api/v1/mfa/factors/fac_3");
    assert_eq!(asked(&app, event.clone()).await["statusCode"], 404);
    event["requestContext"]["stage"] = json!("prod");
    assert_eq!(seen(&app, event).await["id"], "fac_3");
    // The gateway's word leads to no other method and to no route that is not here.
    let event = rest("GET", pattern, "/api/v1/mfa/factors/fac_1", &[]);
    assert_eq!(asked(&app, event).await["statusCode"], 405);
    for path in [
        "/api/v1/mfa/factors",
        "/",
        "",
        "//api/v1/auth/login",
        "/api/v1/auth/login/",
        "/identity/api/v1/auth/login",
    ] {
        assert_eq!(asked(&app, rest("POST", "", path, &[])).await["statusCode"], 404, "{path}");
    }
}

#[tokio::test]
async fn an_answer_has_the_form_of_the_event() {
    let app = app();
    let path = "/api/v1/auth/login";
    let one = asked(&app, rest("POST", path, path, &[])).await;
    assert_eq!(one["multiValueHeaders"]["set-cookie"], json!(["a=1", "b=2"]));
    assert_eq!(one["multiValueHeaders"]["content-type"], json!(["application/json"]));
    let two = asked(&app, http_api("POST", &format!("POST {path}"), path, &[])).await;
    assert_eq!(two["cookies"], json!(["a=1", "b=2"]));
    assert_eq!(
        (&two["headers"]["content-type"], &two["headers"]["set-cookie"]),
        (&json!("application/json"), &json!(null))
    );
}

/// Every content type of the API's own document. What it does not know, `lambda_http` made base64 of, and a REST API without binary
/// media types hands that on: a scrape of `/metrics` got base64.
#[tokio::test]
async fn whatever_content_type_is_documented_its_body_leaves_as_text() {
    fn content_types(value: &Value, found: &mut std::collections::BTreeSet<String>) {
        for (name, inner) in value.as_object().into_iter().flatten() {
            if name == "content" {
                found.extend(inner.as_object().into_iter().flatten().map(|(kind, _)| kind.clone()));
            }
            content_types(inner, found);
        }
        value.as_array().into_iter().flatten().for_each(|inner| content_types(inner, found));
    }

    struct Kind(&'static str);

    async fn figures(kind: Arc<Kind>, _: Call) -> Result<Reply, Problem> {
        Ok(Reply::text(StatusCode::OK, kind.0, "# EOF\n\u{fc}".to_owned()))
    }

    let document = include_str!("../../../functions/keys/openapi.json");
    let mut found = std::collections::BTreeSet::new();
    content_types(&serde_json::from_str(document).unwrap(), &mut found);
    assert!(found.len() > 3 && found.iter().any(|kind| kind.contains("openmetrics")), "{found:?}");
    let versions = found.iter().map(|kind| format!("{kind}; version=1.0.0; charset=utf-8"));
    for kind in found.clone().into_iter().chain(versions.collect::<Vec<_>>()) {
        let kind: &'static str = Box::leak(kind.into_boxed_str());
        let app = app().route(Method::GET, "/figures", &Arc::new(Kind(kind)), figures);
        for event in
            [rest("GET", "/figures", "/figures", &[]), http_api("GET", "GET /figures", "/figures", &[])]
        {
            let answer = asked(&app, event).await;
            assert_eq!(
                (&answer["isBase64Encoded"], &answer["body"]),
                (&json!(false), &json!("# EOF\n\u{fc}")),
                "{kind}"
            );
        }
    }
}

#[tokio::test]
async fn what_http_does_not_carry_is_malformed_and_an_event_of_another_source_is_refused() {
    let app = app();
    let path = "/api/v1/auth/login";
    let good = || rest("POST", path, path, &[("authorization", "Bearer a.b.c")]);
    for (member, value) in [
        ("multiValueHeaders", json!({"Authorization": ["Bearer a.b.c", "Bearer \u{1}"]})),
        ("multiValueHeaders", json!({"Author ization": ["Bearer a.b.c"]})),
        ("multiValueHeaders", json!({"Authorization": [5]})),
        ("headers", json!({"X": {"a": 1}})),
        ("body", json!({"a": 1})),
    ] {
        let mut event = good();
        event[member] = value;
        assert_eq!(asked(&app, event.clone()).await["statusCode"], 400, "{event}");
    }
    let mut event = good();
    (event["body"], event["isBase64Encoded"]) = (json!("not base64!"), json!(true));
    assert_eq!(asked(&app, event).await["statusCode"], 400);
    for event in [
        json!({}),
        json!(null),
        json!("text"),
        json!([]),
        json!({"Records": []}),
        json!({"source": "aws.events", "detail-type": "Scheduled Event", "resources": []}),
    ] {
        let refused = app.invoke(event.clone(), Invocation::default()).await;
        assert_eq!(refused, Err(NoRequest), "{event}");
    }
}

/// What hosts, proxies, paths, cookies and tokens look like when nobody means well.
fn odd() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        proptest::sample::select(vec![
            "a:99999",
            "a:b",
            "a b",
            "xn--a.example",
            "[::1",
            "http, https",
            "https://",
            "//",
            "/..",
            "/%",
            "/%zz",
            "\u{0}",
            "%",
            "{id}",
            "/{proxy+}",
            "$default",
            "null",
            "-1",
            "Bearer ",
            "Bearer a.b.c",
            "Basic Og==",
            "a=b; c",
            "=",
            ";;;=",
            "\u{202e}",
            "J\u{fc}rgen",
            "\u{1f600}",
            "application/json; charset=utf-16",
            "gopher",
            "\t",
            "\r\n",
            "1e999",
            "::",
            "198.51.100.7, 6.6.6.6",
            "fe80::1%eth0",
            "Root=1-2;Root=;=",
            "POST",
            "P\u{d6}ST",
            "QUERY",
            "a/b",
            "*",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,40}",
        "[ -~]{0,200}",
    ]
}

fn weird() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        odd().prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::hash_map(odd(), inner, 0..3)
                .prop_map(|map| Value::from(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

const NAMES: [&str; 14] = [
    "Host",
    "host",
    "X-Forwarded-Proto",
    "x-forwarded-proto",
    "X-Forwarded-For",
    "Origin",
    "Authorization",
    "authorization",
    "Cookie",
    "Content-Type",
    "Content-Length",
    "User-Agent",
    "X-Amzn-Trace-Id",
    "Accept",
];

const PATHS: [&str; 4] = [
    "/api/v1/auth/login",
    "/.well-known/openid-configuration",
    "/api/v1/mfa/factors/x",
    "/identity/api/v1/auth/login",
];

/// Paths into an event, of both formats.
const MEMBERS: [&[&str]; 34] = [
    &["resource"],
    &["path"],
    &["httpMethod"],
    &["headers"],
    &["multiValueHeaders"],
    &["queryStringParameters"],
    &["multiValueQueryStringParameters"],
    &["pathParameters"],
    &["pathParameters", "id"],
    &["stageVariables"],
    &["body"],
    &["isBase64Encoded"],
    &["requestContext"],
    &["requestContext", "resourcePath"],
    &["requestContext", "httpMethod"],
    &["requestContext", "stage"],
    &["requestContext", "domainName"],
    &["requestContext", "requestId"],
    &["requestContext", "identity"],
    &["requestContext", "identity", "sourceIp"],
    &["requestContext", "requestTimeEpoch"],
    &["requestContext", "authorizer"],
    &["version"],
    &["routeKey"],
    &["rawPath"],
    &["rawQueryString"],
    &["cookies"],
    &["requestContext", "http"],
    &["requestContext", "http", "method"],
    &["requestContext", "http", "path"],
    &["requestContext", "http", "sourceIp"],
    &["requestContext", "timeEpoch"],
    &["headers", "Host"],
    &["multiValueHeaders", "Host"],
];

fn set(event: &mut Value, member: &[&str], value: Option<Value>) {
    let Some((last, before)) = member.split_last() else { return };
    let mut at = event;
    for name in before {
        match at.get_mut(*name) {
            Some(inner) => at = inner,
            None => return,
        }
    }
    if let Some(map) = at.as_object_mut() {
        match value {
            Some(value) => drop(map.insert((*last).to_owned(), value)),
            None => drop(map.remove(*last)),
        }
    }
}

prop_compose! {
    fn event()(
        is_rest: bool,
        method in proptest::sample::select(vec!["GET", "POST", "DELETE", "OPTIONS", "HEAD", "PUT"]),
        path in prop_oneof![4 => proptest::sample::select(PATHS.to_vec()).prop_map(str::to_owned), 1 => odd()],
        resource in prop_oneof![4 => proptest::sample::select(PATHS.to_vec()).prop_map(str::to_owned), 1 => odd()],
        headers in proptest::collection::vec((proptest::sample::select(NAMES.to_vec()), odd()), 0..6),
        changes in proptest::collection::vec(
            (proptest::sample::select(MEMBERS.to_vec()), proptest::option::weighted(0.8, weird())), 0..4),
        body in proptest::option::of(odd()),
    ) -> Value {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut event = if is_rest {
            rest(method, &resource, &path, &headers)
        } else {
            http_api(method, &format!("{method} {resource}"), &path, &headers)
        };
        event["body"] = json!(body);
        for (member, value) in changes {
            set(&mut event, member, value);
        }
        event
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_event_of_a_gateway_breaks_the_function(event in event()) {
        // One for all cases: a client of AWS is made with it.
        thread_local! {
            static RUNNING: (App, tokio::runtime::Runtime) =
                (app(), tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
        }
        let answer = RUNNING.with(|(app, runtime)| runtime.block_on(app.invoke(event.clone(), Invocation::default())));
        match answer {
            Ok(answer) => {
                let status = answer["statusCode"].as_u64().unwrap_or_default();
                prop_assert!((200..500).contains(&status), "{event} {answer}");
                prop_assert_eq!(&answer["isBase64Encoded"], false);
                prop_assert!(answer["body"].is_string());
            }
            Err(NoRequest) => prop_assert!(
                !event["requestContext"].is_object()
                    && event.get("httpMethod").is_none()
                    && event.get("rawPath").is_none(),
                "{event}"
            ),
        }
    }
}

/// Of an event that is in order, lambda_http and this adapter read the same.
#[tokio::test]
async fn an_ordinary_event_reads_as_lambda_http_reads_it() {
    use lambda_http::RequestExt as _;

    let app = app();
    let headers = [
        ("host", "abc.execute-api.us-east-1.amazonaws.com"),
        ("authorization", "Bearer a.b.c"),
        ("origin", ORIGIN),
        ("user-agent", "curl/8"),
        ("cookie", "theme=dark"),
    ];
    let path = "/api/v1/mfa/factors/fac_1";
    for event in [
        rest("DELETE", "/api/v1/mfa/factors/{id}", path, &headers),
        http_api("DELETE", "DELETE /api/v1/mfa/factors/{id}", path, &headers),
    ] {
        let theirs = lambda_http::request::from_str(&event.to_string()).unwrap();
        let ours = seen(&app, event).await;
        assert_eq!(theirs.raw_http_path(), path);
        assert_eq!(theirs.method(), "DELETE");
        let bearer = theirs.headers()["authorization"].to_str().unwrap().strip_prefix("Bearer ");
        assert_eq!((ours["bearer"].as_str(), ours["id"].as_str()), (bearer, Some("fac_1")));
        assert_eq!(ours["agent"].as_str(), theirs.headers()["user-agent"].to_str().ok());
    }
}
