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

/// Each path once, with an example in place of a parameter, and its methods.
fn paths() -> Result<std::collections::BTreeMap<String, Vec<String>>> {
    let mut paths = std::collections::BTreeMap::<String, Vec<String>>::new();
    for route in local::routes()? {
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
        assert_eq!(answer.header("access-control-allow-headers"), "Authorization, Content-Type");
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
