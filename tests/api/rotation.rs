//! The keyring rotates while people use the service: nobody is signed out, and nothing that lives is refused.

use crate::prelude::*;

const DAY: u64 = 24 * 60 * 60;

async fn rotate(backend: &Backend) -> Result<Value> {
    Ok(backend.console("POST", "rotate", None).await?.expect(200)?.json())
}

async fn kids(backend: &Backend) -> Result<Vec<String>> {
    let jwks = backend.actor().get("/.well-known/jwks.json").await?.expect(200)?.json();
    let keys = jwks["keys"].as_array().cloned().unwrap_or_default();
    Ok(keys.iter().filter_map(|key| key["kid"].as_str().map(str::to_owned)).collect())
}

fn kid_of(token: &str) -> Result<String> {
    jsonwebtoken::decode_header(token)?.kid.context("no kid")
}

/// The route wants a recent sign-in, too, which it asks for only once it has accepted the token.
async fn accept(backend: &Backend, token: &str) -> Result<()> {
    let answer = backend.actor().ask("GET", "/api/v1/mfa/factors").bearer(token).send().await?;
    let accepted = answer.status == 200 || answer.outcome() == outcome(401, "reauthentication_required");
    ensure!(accepted, "{}", answer.text());
    Ok(())
}

/// Uses a session: its access token is good for as long as it says, at once and right before it ends, and it refreshes.
async fn use_session(backend: &Backend, session: &mut Session) -> Result<()> {
    session.refresh().await?;
    let token = session.access_token.clone();
    for wait in [0, 280] {
        backend.advance(wait).await?;
        accept(backend, &token).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_whole_rotation_signs_nobody_out() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let mut session = backend.actor().log_in(&account).await?;
    let first = kid_of(&session.access_token)?;
    let mut signed = std::collections::BTreeSet::new();
    for day in 0..9 {
        let rotated = rotate(&backend).await?;
        let phase = rotated["result"]["phase"].as_str().unwrap_or_default().to_owned();
        assert_eq!(phase, ["publish", "promote", "retire"][day % 3], "{rotated}");
        // Some functions have read the keyring just now, others will in minutes: the hours around a step are the hard ones.
        for _ in 0..4 {
            use_session(&backend, &mut session).await?;
            signed.insert(kid_of(&session.access_token)?);
        }
        backend.advance(DAY - 4 * 280).await?;
    }
    assert_eq!(signed.len(), 4, "three rotations are three new keys: {signed:?}");
    assert!(!kids(&backend).await?.contains(&first));
    let events = backend.items("Audit").await?;
    let rotations = events.iter().filter(|event| event["kind"] == "keyring.rotated").count();
    assert_eq!(rotations, 9);
    Ok(())
}

#[tokio::test]
async fn a_step_that_comes_too_early_is_refused_told_and_leaves_nothing_behind() -> Result<()> {
    let backend = Backend::start().await?;
    rotate(&backend).await?;
    backend.advance(3600).await?;
    for _ in 0..2 {
        let refused = backend.console("POST", "rotate", None).await?.expect(500)?.json();
        assert_eq!(refused["error"]["code"], "refused", "{refused}");
        let message = refused["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains("may be used in"), "{message}");
    }
    let failures: Vec<_> =
        backend.logs().await?.into_iter().filter(|line| line["line"]["rotation_failures"] == 1).collect();
    assert_eq!(failures.len(), 2);
    backend.advance(DAY).await?;
    assert_eq!(rotate(&backend).await?["result"]["phase"], "promote");
    Ok(())
}

#[tokio::test]
async fn a_rotation_survives_a_fault_at_every_call() -> Result<()> {
    for kind in ["drop_after", "drop_before", "error_500", "throttle"] {
        for operation in
            ["DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage", "PutItem"]
        {
            let backend = Backend::start().await?;
            // Longer than the SDK repeats: the step fails, and Secrets Manager asks again.
            let fault = json!({"kind": kind, "operation": operation, "count": 4});
            if operation == "PutItem" {
                backend.fault(fault).await?;
            } else {
                backend.keyring_fault(fault).await?;
            }
            let mut answer = backend.console("POST", "rotate", None).await?;
            let token = answer.json()["token"].clone();
            for _ in 0..3 {
                if answer.status == 200 {
                    break;
                }
                answer = backend.console("POST", "rotate", Some(json!({"token": token}))).await?;
            }
            let done = answer.expect(200)?.json();
            assert_eq!(done["token"], token, "{kind} {operation}");
            backend.heal().await?;
            backend.advance(400).await?;
            assert_eq!(kids(&backend).await?.len(), 2, "{kind} {operation}");
            let events = backend.items("Audit").await?;
            let rotations = events.iter().filter(|event| event["kind"] == "keyring.rotated").count();
            assert_eq!(rotations, 1, "{kind} {operation}");
            backend.advance(DAY).await?;
            assert_eq!(rotate(&backend).await?["result"]["phase"], "promote", "{kind} {operation}");
        }
    }
    Ok(())
}

/// What mode would hold the revocation up, and what outage.
#[tokio::test]
async fn a_revoked_key_is_neither_used_nor_published_whatever_mode_holds() -> Result<()> {
    for mode in ["", "degraded.keyring", "emergency"] {
        let backend = Backend::start().await?;
        let account = backend.account().await?;
        let device = backend.actor();
        let session = device.log_in(&account).await?;
        let old = kid_of(&session.access_token)?;
        assert_eq!(kids(&backend).await?, std::slice::from_ref(&old));
        if !mode.is_empty() {
            backend.set_mode(mode, 86_400).await?;
            backend.advance(10).await?;
            accept(&backend, &session.access_token).await?;
        }
        backend.revoke_key(&old).await?;
        backend.advance(10).await?;
        let refused = session.list_factors().await?;
        assert_eq!(refused.outcome(), outcome(401, "invalid_token"), "{mode}");
        let new = kid_of(&device.log_in(&account).await?.access_token)?;
        let published = backend.actor().get("/.well-known/jwks.json").await?.expect(200)?;
        assert_eq!(published.header("cache-control"), "public, max-age=30", "{mode}");
        assert_eq!(kids(&backend).await?, std::slice::from_ref(&new), "{mode}");
        assert_ne!(new, old);
        backend.advance(3600).await?;
        let published = backend.actor().get("/.well-known/jwks.json").await?.expect(200)?;
        assert_eq!(published.header("cache-control"), "public, max-age=300", "{mode}");
    }
    Ok(())
}

#[tokio::test]
async fn a_copy_from_before_a_revocation_does_not_serve_through_an_outage() -> Result<()> {
    for mode in ["", "degraded.keyring"] {
        let backend = Backend::start().await?;
        let account = backend.account().await?;
        let session = backend.actor().log_in(&account).await?;
        let old = kid_of(&session.access_token)?;
        kids(&backend).await?;
        if !mode.is_empty() {
            backend.set_mode(mode, 86_400).await?;
        }
        backend.revoke_key(&old).await?;
        backend.keyring_fault(json!({"kind": "refuse"})).await?;
        for wait in [10, 10, 600] {
            backend.advance(wait).await?;
            for answer in [
                session.list_factors().await?,
                backend.actor().try_log_in(&account.email, &account.password).await?,
                backend.actor().get("/.well-known/jwks.json").await?,
            ] {
                assert_eq!(answer.outcome(), outcome(503, "keyring_unavailable"), "{mode}");
                assert!(answer.has_header("retry-after"));
            }
        }
        backend.heal().await?;
        backend.advance(5).await?;
        assert_eq!(session.list_factors().await?.outcome(), outcome(401, "invalid_token"), "{mode}");
        assert_ne!(kids(&backend).await?, [old], "{mode}");
    }
    Ok(())
}
