//! What reaches the functions is what the client sent, twice what it sent twice; and no event ends a function.

use crate::prelude::*;

const REFRESH: &str = "__Host-sallyport_refresh";

/// A request in its bytes.
async fn sent(backend: &Backend, start: &str, headers: &[&[u8]], body: &str) -> Result<Answer> {
    let host = backend.url().trim_start_matches("http://");
    let mut request = format!("{start} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n").into_bytes();
    for header in headers {
        request.extend_from_slice(header);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    raw(host, &request).await
}

#[tokio::test]
async fn of_two_tokens_neither_counts_and_spaces_before_one_do_not_matter() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let session = backend.actor().log_in(&account).await?;
    let good = format!("Authorization: Bearer {}", session.access_token);
    let spaced = format!("Authorization: Bearer   {}", session.access_token);
    let factors = |headers: Vec<String>| {
        let backend = &backend;
        async move {
            let headers: Vec<_> = headers.iter().map(String::as_bytes).collect();
            sent(backend, "GET /api/v1/mfa/factors", &headers, "").await
        }
    };
    for header in [&good, &spaced] {
        factors(vec![header.clone()]).await?.expect(200)?;
    }
    let others =
        ["Authorization: Bearer a.b.c", "Authorization: Basic Zm9vOmJhcg==", "authorization: x", &good];
    for other in others {
        for headers in [vec![other.to_owned(), good.clone()], vec![good.clone(), other.to_owned()]] {
            let answer = factors(headers).await?;
            assert_eq!(answer.outcome(), outcome(401, "invalid_token"), "{other}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn cookies_are_read_from_all_their_headers_and_two_of_one_name_are_none() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let browser = backend.browser(APP_ORIGIN);
    browser.log_in(&account).await?;
    let origin = format!("Origin: {APP_ORIGIN}").into_bytes();
    let evil = format!("Cookie: {REFRESH}=spr_evil").into_bytes();
    let umlaut = "Cookie: name=J\u{fc}rgen".as_bytes();
    let latin = b"Cookie: name=J\xfcrgen".as_slice();
    for others in [&[b"Cookie: theme=dark".as_slice()][..], &[umlaut], &[latin], &[umlaut, latin]] {
        for first in [false, true] {
            let own =
                format!("Cookie: {REFRESH}={}", browser.cookie(REFRESH).context("no cookie")?).into_bytes();
            let mut headers = vec![origin.as_slice()];
            headers.extend(if first {
                [&[own.as_slice()], others].concat()
            } else {
                [others, &[own.as_slice()]].concat()
            });
            let answer = sent(&backend, "POST /api/v1/auth/refresh", &headers, "").await?.expect(200)?;
            let (_, value, _) =
                answer.cookies().into_iter().find(|(name, ..)| name == REFRESH).context("no cookie")?;
            browser.set_cookie(REFRESH, &value);
        }
    }
    let own = format!("Cookie: {REFRESH}={}", browser.cookie(REFRESH).context("no cookie")?).into_bytes();
    for headers in [[&origin, &evil, &own], [&origin, &own, &evil]] {
        let headers = headers.map(Vec::as_slice);
        let answer = sent(&backend, "POST /api/v1/auth/refresh", &headers, "").await?;
        assert!(answer.status >= 400, "{}", answer.text());
    }
    let foreign = b"Origin: https://evil.example".to_vec();
    for headers in [[&origin, &foreign, &own], [&foreign, &origin, &own], [&origin, &origin, &own]] {
        let headers = headers.map(Vec::as_slice);
        let answer = sent(&backend, "POST /api/v1/auth/refresh", &headers, "").await?;
        assert_eq!(answer.outcome(), outcome(403, "origin_not_allowed"));
        assert!(answer.headers.get("access-control-allow-origin").is_none());
    }
    sent(&backend, "POST /api/v1/auth/refresh", &[&origin, &own], "").await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_header_beyond_ascii_is_answered_here_as_in_the_cloud() -> Result<()> {
    let backend = Backend::start().await?;
    for header in
        ["Cookie: name=J\u{fc}rgen", "User-Agent: \u{1f600}", "Cf-Ipcity: M\u{fc}nchen", "Accept: \u{fc}"]
    {
        sent(&backend, "GET /health/live", &[header.as_bytes()], "").await?.expect(200)?;
    }
    sent(&backend, "GET /health/live", &[b"Cf-Ipcity: M\xfcnchen"], "").await?.expect(200)?;
    Ok(())
}

/// Each member of an event in turn is each of these, for a route of every function.
#[tokio::test]
async fn whatever_a_member_of_an_event_is_every_function_answers() -> Result<()> {
    let backend = Backend::start().await?;
    let routes = [
        ("login", "POST", "/api/v1/auth/login"),
        ("refresh", "POST", "/api/v1/auth/refresh"),
        ("mfa", "DELETE", "/api/v1/mfa/factors/fac_x"),
        ("keys", "GET", "/.well-known/openid-configuration"),
        ("health", "GET", "/health/live"),
    ];
    let odd = [
        json!(null),
        json!(0),
        json!(true),
        json!(""),
        json!([]),
        json!([null, 1]),
        json!({}),
        json!({"a": null}),
        json!("a b:99999"),
        json!("\u{0}\u{202e}"),
    ];
    let members = [
        "/resource",
        "/path",
        "/httpMethod",
        "/headers",
        "/multiValueHeaders",
        "/headers/Host",
        "/multiValueHeaders/Host",
        "/headers/X-Forwarded-Proto",
        "/pathParameters",
        "/stageVariables",
        "/queryStringParameters",
        "/body",
        "/isBase64Encoded",
        "/requestContext",
        "/requestContext/resourcePath",
        "/requestContext/httpMethod",
        "/requestContext/stage",
        "/requestContext/domainName",
        "/requestContext/requestId",
        "/requestContext/identity",
        "/requestContext/identity/sourceIp",
        "/requestContext/requestTimeEpoch",
    ];
    for (function, method, path) in routes {
        for member in members {
            for value in &odd {
                let mut event = json!({
                    "resource": path, "path": path, "httpMethod": method, "body": null, "isBase64Encoded": false,
                    "headers": {"Host": "a.example", "X-Forwarded-Proto": "https"},
                    "multiValueHeaders": {"Host": ["a.example"], "X-Forwarded-Proto": ["https"]},
                    "queryStringParameters": null, "pathParameters": null, "stageVariables": null,
                    "requestContext": {
                        "resourcePath": path, "httpMethod": method, "stage": "prod", "domainName": "a.example",
                        "requestId": "r", "requestTimeEpoch": 1, "identity": {"sourceIp": "198.51.100.7"},
                    },
                });
                *event.pointer_mut(member).context("no such member")? = value.clone();
                let answer = backend.invoke(function, &event).await?;
                let status = answer.field("result")["statusCode"].as_u64().unwrap_or_default();
                assert!((200..500).contains(&status), "{function} {member} {value}: {}", answer.text());
            }
        }
    }
    Ok(())
}

/// Behind a base path of a custom domain the event's path has it, and the route that API Gateway found has not.
#[tokio::test]
async fn an_api_that_is_mounted_under_a_path_answers() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let route = "/api/v1/auth/login";
    let path = format!("/identity{route}");
    let event = json!({
        "resource": route, "path": path, "httpMethod": "POST", "isBase64Encoded": false,
        "body": json!({"email": account.email, "password": account.password}).to_string(),
        "headers": {"Content-Type": "application/json"},
        "multiValueHeaders": {"Content-Type": ["application/json"]},
        "requestContext": {
            "resourcePath": route, "path": path, "httpMethod": "POST", "stage": "prod", "requestId": "r",
            "identity": {"sourceIp": "198.51.100.7"},
        },
    });
    let answer = backend.invoke("login", &event).await?;
    assert_eq!(answer.field("result")["statusCode"], 200, "{}", answer.text());
    Ok(())
}
