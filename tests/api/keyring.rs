//! What the functions do without their keys.

use crate::prelude::*;

#[tokio::test]
async fn without_a_keyring_every_route_that_needs_it_says_so() -> Result<()> {
    let options = local::Options {
        faults: vec![json!({"kind": "refuse", "service": "secretsmanager"}).to_string()],
        ..local::Options::default()
    };
    let backend = Backend::start_as(options).await?;
    let actor = backend.actor();
    for route in JSON_ROUTES {
        let answer = actor.ask("POST", route.path).bearer("a.b.c").json(&route.body()).send().await?;
        if route.path == "/api/v1/auth/refresh" {
            // Nothing was presented: there is nothing to check.
            assert_eq!(answer.outcome(), outcome(401, "invalid_refresh_token"));
            continue;
        }
        assert_eq!(answer.outcome(), outcome(503, "keyring_unavailable"), "{}", route.path);
        assert!(answer.has_header("retry-after"), "{}", route.path);
        assert!(!answer.text().contains("secretsmanager"));
    }
    for path in ["/.well-known/jwks.json", "/api/v1/mfa/factors"] {
        let answer = actor.ask("GET", path).bearer("a.b.c").send().await?;
        assert_eq!(answer.outcome(), outcome(503, "keyring_unavailable"), "{path}");
    }
    let remove = actor.ask("DELETE", "/api/v1/mfa/factors/fac_AAAAAAAAAAAAAAAAAAAAAA").bearer("a.b.c");
    assert_eq!(remove.send().await?.outcome(), outcome(503, "keyring_unavailable"));
    let refused = actor.try_refresh("spr_AAAA").await?;
    assert_eq!(refused.outcome(), outcome(503, "keyring_unavailable"));
    for path in [
        "/health/live",
        "/openapi.json",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    ] {
        actor.get(path).await?.expect(200)?;
    }
    Ok(())
}

#[tokio::test]
async fn without_a_keyring_services_are_told_so_and_not_that_a_token_is_inactive() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let start = |faults: Vec<String>| {
        let data = Some(directory.path().to_owned());
        Backend::start_as(local::Options { data, faults, ..local::Options::default() })
    };
    let backend = start(Vec::new()).await?;
    let client = backend.client().await?;
    backend.stop().await;

    let backend = start(vec![json!({"kind": "refuse", "service": "secretsmanager"}).to_string()]).await?;
    let actor = backend.actor();
    for answer in [actor.introspect(&client, "a.b.c").await?, actor.revoke(&client, "a.b.c").await?] {
        assert_eq!(answer.outcome(), outcome(503, "keyring_unavailable"));
    }
    Ok(())
}

#[tokio::test]
async fn the_last_good_keyring_survives_an_outage() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    backend.keyring_fault(json!({"kind": "refuse"})).await?;
    let mut session = backend.actor().log_in(&account).await?;
    for _ in 0..3 {
        backend.advance(600).await?;
        session.refresh().await?;
        backend.actor().log_in(&account).await?;
        backend.actor().get("/.well-known/jwks.json").await?.expect(200)?;
    }
    Ok(())
}

#[tokio::test]
async fn tokens_outlive_a_restart_of_all_functions() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let start = || {
        let options = local::Options {
            data: Some(directory.path().to_owned()),
            environment: [("SALLYPORT_ISSUER".to_owned(), "https://auth.example.com".to_owned())].into(),
            ..local::Options::default()
        };
        Backend::start_as(options)
    };
    let first = start().await?;
    let session = first.actor().log_in(&first.account().await?).await?;
    first.stop().await;
    let second = start().await?;
    second
        .actor()
        .ask("GET", "/api/v1/mfa/factors")
        .bearer(&session.access_token)
        .send()
        .await?
        .expect(200)?;
    second.actor().try_refresh(&session.refresh_token).await?.expect(200)?;
    Ok(())
}
