//! CORS: for the configured origins, and nothing for others.

use crate::prelude::*;

const HEADERS: [&str; 6] = [
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-expose-headers",
    "access-control-max-age",
];

const FOREIGN: [&str; 8] = [
    "https://evil.example",
    "null",
    "https://app.example.com.evil.example",
    "https://evilapp.example.com",
    "https://sub.app.example.com",
    "http://app.example.com",
    "https://app.example.com:443",
    "*",
];

/// What every page may read.
const PUBLIC: [&str; 5] = [
    "/.well-known/jwks.json",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
    "/openapi.json",
    "/status",
];

const SENT: &str = "Authorization, Content-Type, traceparent, tracestate, baggage, sentry-trace";

/// Each path once but the public ones, with an example in place of a parameter, and its methods.
fn paths() -> Result<std::collections::BTreeMap<String, Vec<String>>> {
    let mut paths = std::collections::BTreeMap::<String, Vec<String>>::new();
    for route in local::routes()?.into_iter().filter(|route| !PUBLIC.contains(&route.path.as_str())) {
        paths.entry(route.path.replace("{id}", "fac_AAAAAAAAAAAAAAAAAAAAAA")).or_default().push(route.method);
    }
    Ok(paths)
}

#[tokio::test]
async fn a_preflight_of_the_configured_origin_is_granted_on_every_path() -> Result<()> {
    let backend = Backend::start().await?;
    for (path, methods) in paths()? {
        let answer = backend
            .actor()
            .ask("OPTIONS", &path)
            .header("origin", APP_ORIGIN)
            .header("access-control-request-method", &methods[0])
            .header("access-control-request-headers", "authorization,content-type")
            .send()
            .await?
            .expect(204)?;
        assert!(answer.body.is_empty());
        assert_eq!(answer.header("access-control-allow-origin"), APP_ORIGIN, "{path}");
        assert_eq!(answer.header("access-control-allow-credentials"), "true");
        assert_eq!(answer.header("access-control-allow-headers"), SENT);
        assert!(answer.header("access-control-max-age").parse::<u32>()? >= 60);
        let granted: Vec<_> = answer.header("access-control-allow-methods").split(", ").collect();
        for method in methods {
            assert!(granted.contains(&method.as_str()), "{path}: {granted:?}");
        }
        assert!(answer.header("vary").contains("Origin"));
    }
    Ok(())
}

#[tokio::test]
async fn other_origins_get_no_cors_headers_and_are_not_mirrored() -> Result<()> {
    let backend = Backend::start().await?;
    for (path, methods) in paths()? {
        for origin in FOREIGN {
            for method in ["OPTIONS", methods[0].as_str()] {
                let ask = backend.actor().ask(method, &path).header("origin", origin);
                let answer = ask.header("access-control-request-method", &methods[0]).send().await?;
                for header in HEADERS {
                    assert!(!answer.has_header(header), "{method} {path} from {origin}: {header}");
                }
                assert!(answer.header("vary").contains("Origin"), "{method} {path}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn answers_and_refusals_may_be_read_by_pages_of_the_configured_origin() -> Result<()> {
    let backend =
        Backend::with(&[("SALLYPORT_ALLOWED_ORIGINS", "https://one.example, https://two.example")]).await?;
    for origin in ["https://one.example", "https://two.example"] {
        let ask = || backend.actor().ask("POST", "/api/v1/auth/login").header("origin", origin);
        let body = json!({"email": "nobody@example.com", "password": "x"});
        for answer in [ask().json(&body).send().await?, ask().send().await?] {
            assert!(answer.status >= 400);
            assert_eq!(answer.header("access-control-allow-origin"), origin);
            assert_eq!(answer.header("access-control-allow-credentials"), "true");
            for exposed in ["X-Request-Id", "Retry-After", "RateLimit"] {
                assert!(answer.header("access-control-expose-headers").contains(exposed));
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_public_documents_may_be_read_by_every_page() -> Result<()> {
    let backend = Backend::start().await?;
    for path in PUBLIC {
        for origin in FOREIGN.into_iter().map(Some).chain([Some(APP_ORIGIN), None]) {
            for (method, status) in [("OPTIONS", 204), ("GET", 200), ("HEAD", 200), ("POST", 405)] {
                let ask = backend.actor().ask(method, path).header("access-control-request-method", "GET");
                let ask = if let Some(origin) = origin { ask.header("origin", origin) } else { ask };
                let answer = ask.send().await?.expect(status)?;
                assert_eq!(answer.header("access-control-allow-origin"), "*", "{method} {path}");
                assert!(!answer.has_header("access-control-allow-credentials"), "{method} {path}");
                // One copy serves all pages.
                let vary = answer.has_header("vary").then(|| answer.header("vary").to_lowercase());
                assert!(!vary.is_some_and(|vary| vary.contains("origin")), "{method} {path}");
                if method == "OPTIONS" {
                    assert_eq!(answer.header("access-control-allow-headers"), SENT);
                }
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn tracing_headers_and_those_of_the_setting_are_granted() -> Result<()> {
    let backend = Backend::with(&[("SALLYPORT_ALLOWED_HEADERS", "X-Datadog-Trace-Id, b3")]).await?;
    for path in ["/api/v1/auth/login", "/status"] {
        let ask = backend.actor().ask("OPTIONS", path).header("origin", APP_ORIGIN);
        let ask = ask.header("access-control-request-headers", "content-type,traceparent,x-datadog-trace-id");
        let answer = ask.send().await?.expect(204)?;
        let granted = format!("{SENT}, x-datadog-trace-id, b3");
        assert_eq!(answer.header("access-control-allow-headers"), granted);
    }
    Ok(())
}

#[tokio::test]
async fn an_origin_is_the_same_however_the_setting_spells_it() -> Result<()> {
    let written =
        "https://Admin.Example.com,HTTPS://shop.example.com:443,http://LOCALHOST:80,http://[0::1]:5173";
    let backend = Backend::with(&[("SALLYPORT_ALLOWED_ORIGINS", written)]).await?;
    for sent in
        ["https://admin.example.com", "https://shop.example.com", "http://localhost", "http://[::1]:5173"]
    {
        let answer =
            backend.actor().ask("OPTIONS", "/api/v1/auth/login").header("origin", sent).send().await?;
        assert_eq!(answer.header("access-control-allow-origin"), sent);
    }
    Ok(())
}

#[tokio::test]
async fn a_setting_that_no_browser_can_meet_is_refused_at_the_start_by_name() -> Result<()> {
    for (name, value) in [
        ("SALLYPORT_ALLOWED_ORIGINS", "https://app.example.com,https://app.example.com/"),
        ("SALLYPORT_ALLOWED_ORIGINS", "https://app.example.com/login"),
        ("SALLYPORT_ALLOWED_ORIGINS", "https://*.example.com"),
        ("SALLYPORT_ALLOWED_ORIGINS", "*"),
        ("SALLYPORT_ALLOWED_ORIGINS", "null"),
        ("SALLYPORT_ALLOWED_ORIGINS", "https://ada@app.example.com"),
        ("SALLYPORT_ALLOWED_ORIGINS", "https://bücher.example"),
        ("SALLYPORT_ALLOWED_HEADERS", "x-*"),
        ("SALLYPORT_ALLOWED_HEADERS", "Cookie"),
    ] {
        let refused = Backend::with(&[(name, value)]).await.err().context(value)?;
        let said = format!("{refused:#}");
        assert!(said.contains(name), "{value}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn where_no_origin_is_configured_none_is_allowed() -> Result<()> {
    let backend = Backend::with(&[("SALLYPORT_ALLOWED_ORIGINS", "")]).await?;
    let answer =
        backend.actor().ask("OPTIONS", "/api/v1/auth/login").header("origin", APP_ORIGIN).send().await?;
    assert_eq!(answer.status, 204);
    for header in HEADERS {
        assert!(!answer.has_header(header), "{header}");
    }
    let account = backend.account().await?;
    let refused = backend.browser(APP_ORIGIN).try_log_in(&account.email, &account.password).await?;
    assert_eq!(refused.outcome(), outcome(403, "origin_not_allowed"));
    Ok(())
}
