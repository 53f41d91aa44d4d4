//! Paths and methods.

use crate::prelude::*;

fn example(path: &str) -> String {
    path.replace("{id}", "fac_AAAAAAAAAAAAAAAAAAAAAA")
}

#[tokio::test]
async fn a_method_that_a_path_does_not_have_is_refused_with_those_that_it_has() -> Result<()> {
    let backend = Backend::start().await?;
    let routes = local::routes()?;
    for route in &routes {
        let methods: Vec<_> = routes
            .iter()
            .filter(|other| other.path == route.path)
            .map(|other| other.method.as_str())
            .collect();
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"] {
            if methods.contains(&method) {
                continue;
            }
            let answer = backend.actor().ask(method, &example(&route.path)).send().await?;
            assert_eq!(answer.outcome(), outcome(405, "method_not_allowed"), "{method} {}", route.path);
            let mut allowed: Vec<_> = answer.header("allow").split(", ").collect();
            let mut expected = methods.clone();
            expected.push("OPTIONS");
            if methods.contains(&"GET") {
                expected.push("HEAD");
            }
            allowed.sort_unstable();
            expected.sort_unstable();
            assert_eq!(allowed, expected, "{}", route.path);
        }
    }
    Ok(())
}

#[tokio::test]
async fn head_answers_as_get_without_a_body() -> Result<()> {
    let backend = Backend::start().await?;
    let session = backend.actor().log_in(&backend.account().await?).await?;
    for route in local::routes()?.iter().filter(|route| route.method == "GET") {
        let ask = |method: &str| session.ask(method, &route.path);
        let (head, get) = (ask("HEAD").send().await?, ask("GET").send().await?);
        assert_eq!(head.status, get.status, "{}", route.path);
        assert!(head.body.is_empty() && !get.body.is_empty(), "{}", route.path);
        assert_eq!(head.header("content-type"), get.header("content-type"), "{}", route.path);
        assert_eq!(head.header("cache-control"), get.header("cache-control"), "{}", route.path);
    }
    let refused = backend.actor().ask("HEAD", "/api/v1/auth/login").send().await?;
    assert_eq!((refused.status, refused.body.len()), (405, 0));
    Ok(())
}

#[tokio::test]
async fn paths_are_compared_exactly() -> Result<()> {
    let backend = Backend::start().await?;
    let mut checked = 0;
    for route in local::routes()? {
        let path = example(&route.path);
        let (parent, last) = path.rsplit_once('/').unwrap();
        for variant in [
            format!("{path}/"),
            format!("/{path}"),
            format!("{path}//"),
            format!("{parent}//{last}"),
            format!("{path}."),
            format!("{path}%20"),
            format!("{path}%00"),
            format!("{path};a=b"),
            format!("{parent}%2F{last}"),
            format!("{parent}%5C{last}"),
            format!("{path}/extra"),
            format!("/tenant{path}"),
            format!("/v1{path}"),
            format!("/..{path}"),
            format!("{parent}/./{last}"),
            format!("{parent}/x/../{last}"),
            path.to_uppercase(),
            path.replacen('/', "/%2e%2e/", 1),
        ] {
            if !variant.starts_with('/') {
                // No path of HTTP at all.
                continue;
            }
            let id = variant.strip_prefix("/api/v1/mfa/factors/");
            if variant == path || id.is_some_and(|id| !id.is_empty() && !id.contains('/')) {
                // Behind the collection every text is an id: it leads to the route, which knows no such factor.
                continue;
            }
            let request = format!(
                "{} {variant} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                route.method,
                backend.host()
            );
            let answer = raw(backend.host(), request.as_bytes()).await?;
            assert_eq!(answer.outcome(), outcome(404, "not_found"), "{variant}");
            checked += 1;
        }
    }
    assert!(checked > 300, "{checked}");
    Ok(())
}

#[tokio::test]
async fn a_factor_s_id_is_taken_as_it_stands() -> Result<()> {
    let backend = Backend::start().await?;
    let session = backend.actor().log_in(&backend.account().await?).await?;
    let enrolment = session.enrol_totp("Phone").await?;
    let id = &enrolment.factor.id;
    for variant in [
        format!("{id}."),
        format!("{id}%20"),
        format!("{id}%00"),
        format!("%20{id}"),
        id.to_uppercase(),
        id.trim_start_matches("fac_").to_owned(),
        id.replace("fac_", "ses_"),
        "recovery".to_owned(),
        "*".to_owned(),
        "%2e".to_owned(),
        "fac_".to_owned(),
        "x".repeat(4000),
    ] {
        let answer = session.remove_factor(&variant).await?;
        assert_eq!(answer.status, 404, "{variant}: {}", answer.text());
    }
    session.remove_factor(id).await?.expect(204)?;
    Ok(())
}

#[tokio::test]
async fn a_query_changes_nothing() -> Result<()> {
    let backend = Backend::start().await?;
    let session = backend.actor().log_in(&backend.account().await?).await?;
    session.ask("GET", "/api/v1/mfa/factors?access_token=x&admin=true").send().await?.expect(200)?;
    let token = &session.access_token;
    let by_query = backend.actor().get(&format!("/api/v1/mfa/factors?access_token={token}")).await?;
    assert_eq!(by_query.outcome(), outcome(401, "invalid_token"), "RFC 6750 2.3 is not taken up");
    Ok(())
}

#[tokio::test]
async fn headers_that_name_another_method_or_path_are_not_looked_at() -> Result<()> {
    let backend = Backend::start().await?;
    for (name, value) in [
        ("x-http-method-override", "GET"),
        ("x-original-url", "/health/live"),
        ("x-rewrite-url", "/health/live"),
        ("x-forwarded-prefix", "/health"),
    ] {
        let answer = backend.actor().ask("POST", "/.well-known/jwks.json").header(name, value).send().await?;
        assert_eq!(answer.status, 405, "{name}");
    }
    Ok(())
}
