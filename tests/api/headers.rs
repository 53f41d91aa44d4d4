//! Headers that every answer carries, and those that none does.

use std::collections::BTreeSet;

use crate::prelude::*;

/// One answer of every kind: successes, refusals of the functions, refusals of the gateway, preflights, documents.
async fn answers(backend: &Backend) -> Result<Vec<(&'static str, Answer)>> {
    let account = backend.account_with_totp().await?;
    let actor = backend.actor();
    let pending = actor.begin_log_in(&account).await?;
    let session = pending.verify_with_totp(backend, &account).await?;
    let plain = backend.account().await?;
    let client = backend.client().await?;
    Ok(vec![
        ("tokens", actor.try_log_in(&plain.email, &plain.password).await?.expect(200)?),
        ("mfa required", actor.try_log_in(&account.email, &account.password).await?.expect(200)?),
        ("invalid credentials", actor.try_log_in(&plain.email, "wrong").await?.expect(401)?),
        ("refresh", session.try_refresh().await?.expect(200)?),
        ("factors", session.list_factors().await?.expect(200)?),
        ("enrolment", session.try_enrol_totp("Tablet").await?.expect(201)?),
        ("recovery codes", session.new_recovery_codes().await?.expect(200)?),
        (
            "reauthentication",
            session.try_reauthenticate(&json!({"password": account.password})).await?.expect(200)?,
        ),
        ("introspection", actor.introspect(&client, &session.access_token).await?.expect(200)?),
        ("revocation", actor.revoke(&client, "unknown").await?.expect(200)?),
        (
            "invalid client",
            actor.ask("POST", "/oauth/revoke").form(&[("token", "x")]).send().await?.expect(401)?,
        ),
        ("logout", session.log_out("local").await?.expect(204)?),
        ("invalid token", actor.get("/api/v1/mfa/factors").await?.expect(401)?),
        ("validation", actor.post("/api/v1/auth/login", &json!({})).await?.expect(422)?),
        ("media type", actor.ask("POST", "/api/v1/auth/login").send().await?.expect(415)?),
        ("method", actor.get("/api/v1/auth/login").await?.expect(405)?),
        ("preflight", actor.ask("OPTIONS", "/api/v1/auth/login").header("origin", APP_ORIGIN).send().await?),
        ("unknown path", actor.get("/nowhere").await?.expect(404)?),
        ("live", actor.get("/health/live").await?.expect(200)?),
        ("ready", actor.get("/health/ready").await?.expect(200)?),
        ("head", actor.ask("HEAD", "/health/live").send().await?.expect(200)?),
        ("jwks", actor.get("/.well-known/jwks.json").await?.expect(200)?),
        ("openapi", actor.get("/openapi.json").await?.expect(200)?),
    ])
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() -> Result<()> {
    let backend = Backend::start().await?;
    for (what, answer) in answers(&backend).await? {
        let transport = answer.header("strict-transport-security");
        assert_eq!(transport, "max-age=63072000; includeSubDomains", "{what}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{what}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{what}");
        let policy = answer.header("content-security-policy");
        assert_eq!(policy, "default-src 'none'; frame-ancestors 'none'", "{what}");
        for header in ["server", "x-powered-by", "via", "x-aspnet-version"] {
            assert!(!answer.has_header(header), "{what}: {header}");
        }
        if !answer.body.is_empty() {
            let expected = if answer.status >= 400 && answer.field("code").is_string() {
                "application/problem+json"
            } else {
                "application/json"
            };
            assert_eq!(answer.header("content-type"), expected, "{what}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn only_the_public_documents_may_be_kept() -> Result<()> {
    let backend = Backend::start().await?;
    for (what, answer) in answers(&backend).await? {
        let public = ["jwks", "openapi"].contains(&what);
        let expected = if public { "public, max-age=300" } else { "no-store" };
        assert_eq!(answer.header("cache-control"), expected, "{what}");
    }
    Ok(())
}

#[tokio::test]
async fn every_answer_has_a_request_id_of_its_own_and_a_problem_repeats_it() -> Result<()> {
    let backend = Backend::start().await?;
    let mut seen = BTreeSet::new();
    for (what, answer) in answers(&backend).await? {
        let id = answer.header("x-request-id").to_owned();
        assert_eq!(id.len(), 36, "{what}");
        if answer.field("code").is_string() {
            assert_eq!(answer.field("request_id"), id, "{what}");
        }
        assert!(seen.insert(id), "{what}");
    }
    let claimed = backend.actor().ask("GET", "/health/live").header("x-request-id", "mine").send().await?;
    assert_ne!(claimed.header("x-request-id"), "mine");
    Ok(())
}

#[tokio::test]
async fn a_problem_points_to_the_page_of_its_code_and_repeats_its_status() -> Result<()> {
    let backend = Backend::with(&[("SALLYPORT_DOCS_URL", "https://docs.example.com/errors")]).await?;
    for (what, answer) in answers(&backend).await? {
        if answer.header("content-type") != "application/problem+json" {
            continue;
        }
        let problem = answer.json();
        assert_eq!(
            problem["type"],
            format!("https://docs.example.com/errors/{}.md", answer.code()),
            "{what}"
        );
        assert_eq!(problem["status"], answer.status, "{what}");
        for text in ["title", "detail", "request_id"] {
            assert!(!problem[text].as_str().unwrap().is_empty(), "{what}: {text}");
        }
    }
    Ok(())
}
