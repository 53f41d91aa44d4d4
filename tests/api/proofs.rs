//! What was proven, and when: what needs a recent proof gets one of what the account demands.

use crate::prelude::*;

const REQUIRED: &str = "reauthentication_required";
const UNKNOWN: &str = "fac_AAAAAAAAAAAAAAAAAAAAAA";

/// The routes that need a recent proof, each with a request that gets no further than that.
const ROUTES: [(&str, &str, Option<&str>); 5] = [
    ("GET", "/api/v1/mfa/factors", None),
    ("DELETE", "/api/v1/mfa/factors/{id}", None),
    ("POST", "/api/v1/mfa/totp", Some(r#"{"label":"Phone"}"#)),
    (
        "POST",
        "/api/v1/mfa/totp/confirm",
        Some(r#"{"factor_id":"fac_AAAAAAAAAAAAAAAAAAAAAA","code":"123456"}"#),
    ),
    ("POST", "/api/v1/mfa/recovery-codes", None),
];

/// Those whose answers the OpenAPI document says so of: a new route has to be added above.
#[test]
fn every_route_that_needs_a_recent_proof_is_tried() {
    let document: Value = serde_json::from_str(include_str!("../../functions/keys/openapi.json")).unwrap();
    let mut documented = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let Some(reference) = operation["responses"]["401"]["$ref"].as_str() else { continue };
            let response = document.pointer(reference.trim_start_matches('#')).unwrap();
            if response.to_string().contains(REQUIRED) {
                documented.push((method.to_uppercase(), path.clone()));
            }
        }
    }
    let mut tried: Vec<_> =
        ROUTES.map(|(method, path, _)| (method.to_owned(), path.to_owned())).into_iter().collect();
    documented.sort();
    tried.sort();
    assert_eq!(documented, tried);
}

async fn refused(session: &Session) -> Result<Vec<&'static str>> {
    let mut refused = Vec::new();
    for (method, path, body) in ROUTES {
        let mut ask = session.ask(method, &path.replace("{id}", UNKNOWN));
        if let Some(body) = body {
            ask = ask.body("application/json", body);
        }
        let answer = ask.send().await?;
        let (status, code) = answer.outcome();
        ensure!(status < 500 && code != "invalid_token", "{method} {path}: {}", answer.text());
        if code == REQUIRED {
            assert_eq!(status, 401, "{path}");
            refused.push(path);
        }
    }
    Ok(refused)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Proof {
    Password,
    Code,
    Recovery,
}

/// Every subset of proofs, given in the last minutes to a session whose sign-in was long ago.
#[tokio::test]
async fn what_needs_a_recent_proof_takes_one_of_what_the_account_demands() -> Result<()> {
    use Proof::{Code, Password, Recovery};
    let backend = Backend::start().await?;
    let cases: [(bool, &[Proof]); 10] = [
        (false, &[]),
        (false, &[Password]),
        (true, &[]),
        (true, &[Password]),
        (true, &[Code]),
        (true, &[Recovery]),
        (true, &[Password, Code]),
        (true, &[Recovery, Password]),
        (true, &[Code, Recovery]),
        (true, &[Code, Password, Recovery]),
    ];
    let mut sessions = Vec::new();
    for (with_factor, _) in cases {
        let (account, session) = if with_factor {
            let account = backend.account_with_totp().await?;
            let pending = backend.actor().begin_log_in(&account).await?;
            let session = pending.verify_with_totp(&backend, &account).await?;
            (account, session)
        } else {
            let account = backend.account().await?;
            let session = backend.actor().log_in(&account).await?;
            (account, session)
        };
        sessions.push((account, session));
    }
    backend.advance(2000).await?;
    let routes: Vec<_> = ROUTES.iter().map(|(_, path, _)| *path).collect();
    for ((with_factor, proofs), (account, mut session)) in cases.into_iter().zip(sessions) {
        let what = format!("{with_factor} {proofs:?}");
        session.refresh().await?;
        let claim = |session: &Session, name: &str| session.claims()[name].as_u64().unwrap();
        let signed_in = claim(&session, "auth_time");
        assert_eq!(refused(&session).await?, routes, "{what}: nothing is recent");
        let before = session.clone();
        for proof in proofs {
            match proof {
                Password => session.reauthenticate(&json!({"password": account.password})).await?,
                Code => session.step_up(&backend, &account).await?,
                Recovery => {
                    let code = &account.recovery_codes[0];
                    session.reauthenticate(&json!({"factor_id": "recovery", "code": code})).await?;
                }
            }
        }
        let second = proofs.contains(&Code) || proofs.contains(&Recovery);
        let enough = if with_factor { second } else { !proofs.is_empty() };
        assert_eq!(refused(&session).await?, if enough { vec![] } else { routes.clone() }, "{what}");
        assert_eq!(refused(&before).await?, routes, "{what}: the token of before");

        // What a service reads that asks for a step-up after RFC 9470.
        let claims = session.claims();
        assert_eq!(claims["aal"], if with_factor { 2 } else { 1 }, "{what}");
        let in_full = proofs.contains(&Password) && (second || !with_factor);
        let auth_time = claim(&session, "auth_time");
        assert_eq!(auth_time >= signed_in + 1900, in_full, "{what}: {claims}");
        if !in_full {
            assert_eq!(auth_time, signed_in, "{what}");
        }
        let named = |name: &str| claims["amr"].as_array().unwrap().contains(&json!(name));
        assert_eq!((named("pwd"), named("mfa")), (true, with_factor), "{what}: {claims}");
        // Where a recovery code came after it, `auth_time` may have passed the code of the app.
        let overtaken = in_full && proofs.contains(&Code) && proofs.contains(&Recovery);
        let otp = with_factor && (proofs.contains(&Code) || !in_full);
        assert!(overtaken || named("otp") == otp, "{what}: {claims}");
        // It stays like that.
        session.refresh().await?;
        assert_eq!(claim(&session, "auth_time"), auth_time, "{what}");
        assert_eq!(refused(&session).await?, if enough { vec![] } else { routes.clone() }, "{what}");
    }
    Ok(())
}

/// Somebody with an access token of five minutes and the password is no owner of the second factor.
#[tokio::test]
async fn a_password_and_a_stolen_access_token_remove_no_factor() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let mut owner =
        backend.actor().begin_log_in(&account).await?.verify_with_totp(&backend, &account).await?;
    backend.advance_days(6).await?;
    owner.refresh().await?;
    let mut thief = Session { actor: backend.actor(), refresh_token: String::new(), ..owner.clone() };
    thief.reauthenticate(&json!({"password": account.password})).await?;
    assert_eq!(thief.remove_factor(&account.factor().id).await?.outcome(), outcome(401, REQUIRED));
    assert_eq!(thief.new_recovery_codes().await?.outcome(), outcome(401, REQUIRED));
    backend.actor().begin_log_in(&account).await?;
    Ok(())
}
