//! C. Enumeration (see also enumeration.rs), keys of lockouts, denial of service.

use std::time::Duration;

use futures_util::future::try_join_all;

use crate::prelude::*;

#[tokio::test]
async fn c26_aliases_of_one_account_share_one_budget_cve_2025_24806() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_as("ada@b\u{fc}cher.example", "the right password").await?;
    let aliases = ["ada@b\u{fc}cher.example", "ada@xn--bcher-kva.example"];
    for alias in aliases {
        backend.actor().log_in(&Account { email: alias.to_owned(), ..account.clone() }).await?;
    }
    for alias in aliases.iter().cycle().take(5) {
        let refused = backend.actor().try_log_in(alias, "wrong").await?;
        assert_eq!(refused.outcome(), outcome(401, "invalid_credentials"), "{alias}");
    }
    for alias in aliases {
        let refused = backend.actor().try_log_in(alias, &account.password).await?;
        assert_eq!(refused.outcome(), outcome(429, "too_many_attempts"), "{alias}");
    }
    Ok(())
}

#[tokio::test]
async fn c27_no_unicode_case_or_space_variant_is_a_new_budget_cve_2025_6004() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_as("ada@example.com", "the right password").await?;
    for spelling in [
        "ADA@example.com",
        "ada@EXAMPLE.COM",
        "\u{ff41}da@example.com",
        "ada\u{ff20}example.com",
        "Ada@Example.Com",
    ] {
        let refused = backend.actor().try_log_in(spelling, "wrong").await?;
        assert_eq!(refused.outcome(), outcome(401, "invalid_credentials"), "{spelling}");
    }
    for spelling in ["ada@example.com", "aDa@example.com", "ada@example\u{ff0e}com", "\u{ff21}DA@example.com"]
    {
        let refused = backend.actor().try_log_in(spelling, &account.password).await?;
        assert_eq!(refused.outcome(), outcome(429, "too_many_attempts"), "{spelling}");
    }
    for other in [
        " ada@example.com",
        "ada@example.com ",
        "ada@example.com.",
        "ada@example.com\0",
        "\"ada\"@example.com",
    ] {
        let refused = backend.actor().try_log_in(other, "wrong").await?;
        assert_eq!(refused.outcome(), outcome(422, "validation_failed"), "{other:?}: no spelling at all");
    }
    Ok(())
}

#[tokio::test]
async fn c28_a_stranger_cannot_lock_the_owner_out_cve_2024_1722() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let owner = backend.actor();
    owner.log_in(&account).await?;
    lock(&backend, &account.email).await?;
    backend.actor().try_log_in(&account.email, &account.password).await?.expect(429)?;
    for _ in 0..3 {
        owner.log_in(&account).await?;
    }
    // The owner's success is no stranger's new budget.
    backend.actor().try_log_in(&account.email, "wrong").await?.expect(429)?;
    // A device token of somebody else's account does not help the stranger.
    let other = backend.account().await?;
    let stranger = backend.actor();
    stranger.log_in(&other).await?;
    stranger.try_log_in(&account.email, &account.password).await?.expect(429)?;
    // Nor is the owner's device without a limit.
    for _ in 0..5 {
        owner.try_log_in(&account.email, "wrong").await?.expect(401)?;
    }
    owner.try_log_in(&account.email, &account.password).await?.expect(429)?;
    // After the documented wait anybody with the password gets in.
    backend.advance(31).await?;
    backend.actor().log_in(&account).await?;
    Ok(())
}

#[tokio::test]
async fn c28_a_device_is_forgotten_after_a_hundred_and_eighty_days() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let owner = backend.actor();
    owner.log_in(&account).await?;
    backend.advance_days(179).await?;
    lock(&backend, &account.email).await?;
    let token = owner.device_token().unwrap();
    owner.log_in(&account).await?;
    backend.advance_days(2).await?;
    lock(&backend, &account.email).await?;
    let body = json!({"email": account.email, "password": account.password, "device_token": token});
    backend.actor().post("/api/v1/auth/login", &body).await?.expect(429)?;
    owner.log_in(&account).await?;
    Ok(())
}

#[tokio::test]
async fn c32_a_long_password_is_refused_before_it_is_hashed_cve_2013_1443() -> Result<()> {
    let backend = Backend::start().await?;
    let actor = backend.actor();
    let session = backend.actor().log_in(&backend.account().await?).await?;
    for (length, status) in [(1_025, 422), (16_000, 422), (1_000_000, 413)] {
        let long = "x".repeat(length);
        for _ in 0..6 {
            assert_eq!(actor.try_log_in("nobody@example.com", &long).await?.status, status);
            assert_eq!(session.try_reauthenticate(&json!({"password": long})).await?.status, status);
        }
    }
    // None of them was an attempt.
    for _ in 0..5 {
        actor.try_log_in("nobody@example.com", "wrong").await?.expect(401)?;
    }
    Ok(())
}

#[tokio::test]
async fn c33_more_hashes_than_there_is_memory_for_wait_their_turn() -> Result<()> {
    let variables = [("SALLYPORT_PASSWORD_MEMORY_KIB", "65536"), ("SALLYPORT_ADDRESS_LIMIT", "100000")];
    let backend = Backend::with(&variables).await?;
    let account = backend.account().await?;
    let actor = backend.actor();
    let guesses = (0..60).map(|number| {
        let (actor, email) = (actor.clone(), format!("nobody{number}@example.com"));
        async move { actor.try_log_in(&email, "wrong").await }
    });
    for answer in try_join_all(guesses).await? {
        assert!([401, 429, 503].contains(&answer.status), "{}", answer.text());
        assert_eq!(answer.has_header("retry-after"), answer.status != 401);
    }
    backend.actor().log_in(&account).await?;
    Ok(())
}

#[tokio::test]
async fn c34_no_malformed_header_breaks_a_route_rauthy_006_ghsa_xmf8_cvqr_rfgj() -> Result<()> {
    let backend = Backend::start().await?;
    let actor = backend.actor();
    let long = format!("Bearer {}", "a".repeat(20_000));
    for authorization in [
        "",
        " ",
        "Bearer",
        "Bearer ",
        "Bearer  a",
        "bearer a.b.c",
        "Bearer a.b.c.d",
        "Bearer ..",
        "Bearer .",
        "Bearer a b",
        "Bearer eyJ.eyJ.x",
        "Bearer e30.e30.",
        "Bearer e30.e30.e30",
        "Bearer bnVsbA.bnVsbA.bnVsbA",
        "Basic",
        "Basic Og==",
        "Bearer,Bearer",
        "Token a",
        "\"",
        "=",
        "Bearer \t",
        &long,
    ] {
        for route in local::routes()? {
            let path = route.path.replace("{id}", "fac_AAAAAAAAAAAAAAAAAAAAAA");
            let ask = actor.ask(&route.method, &path).header("authorization", authorization);
            let Ok(answer) = tokio::time::timeout(Duration::from_secs(20), ask.send()).await? else {
                // The HTTP client or server may refuse the header itself.
                continue;
            };
            if path.starts_with("/health") {
                // Dependencies may well be slow under the load of a whole suite.
                assert!(answer.field("status").is_string(), "{authorization:?} {path}");
                continue;
            }
            let healthy =
                path.starts_with("/.well-known") || ["/openapi.json", "/status"].contains(&path.as_str());
            let expected = if healthy { 200..=200 } else { 400..=499 };
            assert!(expected.contains(&answer.status), "{authorization:?} {path}: {}", answer.text());
        }
    }
    let session = backend.actor().log_in(&backend.account().await?).await?;
    // API Gateway hands on the last of two: it is not helped by a good one before it.
    let twice = format!(
        "GET /api/v1/mfa/factors HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
         Authorization: Bearer a.b.c\r\nConnection: close\r\n\r\n",
        backend.host(),
        session.access_token,
    );
    let answer = raw(backend.host(), twice.as_bytes()).await?;
    assert_eq!(answer.outcome(), outcome(401, "invalid_token"));
    Ok(())
}
