//! `POST /api/v1/auth/refresh` and `POST /api/v1/auth/logout`

use crate::prelude::*;

const INVALID: &str = "invalid_refresh_token";
const REUSED: &str = "refresh_token_reused";

#[tokio::test]
async fn a_refresh_gives_the_next_tokens_and_no_new_device_token() -> Result<()> {
    let backend = Backend::start().await?;
    let session = backend.actor().log_in(&backend.account().await?).await?;
    let answer = session.try_refresh().await?.expect(200)?;
    let names: Vec<_> = answer.json().as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        names,
        [
            "access_token",
            "expires_in",
            "refresh_expires_in",
            "refresh_token",
            "session_id",
            "status",
            "token_type"
        ]
    );
    assert_eq!(answer.field("session_id"), session.session_id);
    assert_ne!(answer.field("refresh_token"), session.refresh_token);
    assert_ne!(answer.field("access_token"), session.access_token);
    assert_eq!(answer.header("cache-control"), "no-store");
    Ok(())
}

#[tokio::test]
async fn within_the_grace_the_token_before_gets_the_current_token_again() -> Result<()> {
    let backend = Backend::start().await?;
    let mut session = backend.actor().log_in(&backend.account().await?).await?;
    let spent = session.clone();
    session.refresh().await?;
    backend.advance(8).await?;
    let again = spent.try_refresh().await?.expect(200)?;
    assert_eq!(again.field("refresh_token"), session.refresh_token);
    assert!(session.is_alive().await?);
    Ok(())
}

#[tokio::test]
async fn after_the_grace_a_spent_token_ends_the_session_and_says_so_to_owner_and_operator() -> Result<()> {
    let backend = Backend::start().await?;
    let mut session = backend.actor().log_in(&backend.account().await?).await?;
    let spent = session.clone();
    session.refresh().await?;
    backend.advance(11).await?;
    let stranger = backend.actor();
    assert_eq!(stranger.try_refresh(&spent.refresh_token).await?.outcome(), outcome(401, REUSED));
    assert_eq!(session.try_refresh().await?.outcome(), outcome(401, INVALID));
    assert_eq!(audit_kinds(&backend).await?.last().unwrap(), "session.refresh_token_reused");
    let messages = backend.outbox().await?;
    assert_eq!(messages.len(), 1);
    assert!(messages[0]["template"].as_str().unwrap().contains("reuse"), "{messages:?}");
    Ok(())
}

#[tokio::test]
async fn the_device_of_the_session_may_repeat_a_lost_reply_after_the_grace_once() -> Result<()> {
    let backend = Backend::start().await?;
    let mut session = backend.actor().log_in(&backend.account().await?).await?;
    let spent = session.refresh_token.clone();
    session.refresh().await?;
    backend.advance(3600).await?;
    let body = json!({"refresh_token": spent, "device_token": session.actor.device_token()});
    let again = session.actor.post("/api/v1/auth/refresh", &body).await?.expect(200)?;
    assert_ne!(again.field("refresh_token"), session.refresh_token, "it is a rotation");
    assert_ne!(again.field("device_token"), body["device_token"], "with a device token of its own");
    // Its reply was lost, too.
    let repeated = session.actor.post("/api/v1/auth/refresh", &body).await?.expect(200)?;
    for token in ["refresh_token", "device_token"] {
        assert_eq!(again.field(token), repeated.field(token));
    }
    // Whoever got the reply that was missed is somebody else now.
    backend.advance(11).await?;
    assert_eq!(session.try_refresh().await?.outcome(), outcome(401, REUSED));
    Ok(())
}

#[tokio::test]
async fn the_device_of_another_account_may_not() -> Result<()> {
    let backend = Backend::start().await?;
    let mut session = backend.actor().log_in(&backend.account().await?).await?;
    let other = backend.actor();
    other.log_in(&backend.account().await?).await?;
    let spent = session.refresh_token.clone();
    session.refresh().await?;
    backend.advance(3600).await?;
    let body = json!({"refresh_token": spent, "device_token": other.device_token()});
    let refused = session.actor.post("/api/v1/auth/refresh", &body).await?;
    assert_eq!(refused.outcome(), outcome(401, REUSED));
    Ok(())
}

#[tokio::test]
async fn a_token_two_behind_is_reuse_even_within_the_grace() -> Result<()> {
    let backend = Backend::start().await?;
    let mut session = backend.actor().log_in(&backend.account().await?).await?;
    let spent = session.clone();
    session.refresh().await?;
    session.refresh().await?;
    assert_eq!(spent.try_refresh().await?.outcome(), outcome(401, REUSED));
    assert_eq!(session.try_refresh().await?.outcome(), outcome(401, INVALID));
    Ok(())
}

#[tokio::test]
async fn without_a_grace_the_first_repetition_is_reuse() -> Result<()> {
    let backend = Backend::with(&[("SALLYPORT_REFRESH_GRACE_SECONDS", "0")]).await?;
    let mut session = backend.actor().log_in(&backend.account().await?).await?;
    let spent = session.clone();
    session.refresh().await?;
    assert_eq!(spent.try_refresh().await?.outcome(), outcome(401, REUSED));
    Ok(())
}

#[tokio::test]
async fn a_session_that_is_not_refreshed_for_fourteen_days_is_over() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let mut used = backend.actor().log_in(&account).await?;
    let mut idle = backend.actor().log_in(&account).await?;
    backend.advance_days(13).await?;
    used.refresh().await?;
    backend.advance_days(1).await?;
    assert!(used.is_alive().await?);
    assert_eq!(idle.try_refresh().await?.outcome(), outcome(401, INVALID));
    assert!(!idle.is_alive().await?);
    Ok(())
}

#[tokio::test]
async fn a_session_is_over_after_ninety_days_however_much_it_is_used() -> Result<()> {
    let backend = Backend::start().await?;
    let mut session = backend.actor().log_in(&backend.account().await?).await?;
    for _ in 0..6 {
        backend.advance_days(13).await?;
        session.refresh().await?;
    }
    // 78 days in, twelve are left: less than the idle end.
    let answer = session.try_refresh().await?.expect(200)?;
    let left = answer.field("refresh_expires_in").as_u64().unwrap();
    assert!((12 * 86_400 - 60..=12 * 86_400).contains(&left), "{left}");
    session = Session::of(&session.actor, &answer)?;
    backend.advance_days(11).await?;
    session.refresh().await?;
    backend.advance_days(1).await?;
    assert_eq!(session.try_refresh().await?.outcome(), outcome(401, INVALID));
    Ok(())
}

#[tokio::test]
async fn a_refresh_does_not_renew_the_authentication_time() -> Result<()> {
    let backend = Backend::start().await?;
    let mut session = backend.actor().log_in(&backend.account().await?).await?;
    let signed_in = session.claims()["auth_time"].clone();
    backend.advance(3600).await?;
    session.refresh().await?;
    assert_eq!(session.claims()["auth_time"], signed_in);
    assert!(session.claims()["iat"].as_u64() >= signed_in.as_u64().map(|at| at + 3600));
    Ok(())
}

#[tokio::test]
async fn a_refresh_without_a_token_or_with_one_that_was_not_issued_here_is_refused() -> Result<()> {
    let backend = Backend::start().await?;
    let other = Backend::start().await?;
    let foreign = other.actor().log_in(&other.account().await?).await?;
    let session = backend.actor().log_in(&backend.account().await?).await?;
    let actor = backend.actor();
    let refused = actor.ask("POST", "/api/v1/auth/refresh").send().await?;
    assert_eq!(refused.outcome(), outcome(401, INVALID), "no body");
    let refused = actor.post("/api/v1/auth/refresh", &json!({})).await?;
    assert_eq!(refused.outcome(), outcome(401, INVALID), "an empty body");
    assert_eq!(actor.try_refresh(&foreign.refresh_token).await?.outcome(), outcome(401, INVALID), "foreign");
    let mut bent = session.refresh_token.clone();
    let last = if bent.pop() == Some('A') { 'B' } else { 'A' };
    bent.push(last);
    assert_eq!(actor.try_refresh(&bent).await?.outcome(), outcome(401, INVALID), "bent");
    session.try_refresh().await?.expect(200)?;
    Ok(())
}

// Logout

async fn four(backend: &Backend, account: &Account) -> Result<Vec<Session>> {
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(backend.actor().log_in(account).await?);
    }
    Ok(sessions)
}

async fn alive(sessions: &mut [Session]) -> Result<Vec<bool>> {
    let mut alive = Vec::new();
    for session in sessions {
        alive.push(session.is_alive().await?);
    }
    Ok(alive)
}

#[tokio::test]
async fn a_logout_ends_this_session_the_others_or_all() -> Result<()> {
    let backend = Backend::start().await?;
    let bystander = backend.account().await?;
    let mut untouched = backend.actor().log_in(&bystander).await?;
    for (scope, expected) in [
        ("local", [false, true, true, true]),
        ("others", [true, false, false, false]),
        ("global", [false, false, false, false]),
    ] {
        let account = backend.account().await?;
        let mut sessions = four(&backend, &account).await?;
        let answer = sessions[0].log_out(scope).await?.expect(204)?;
        assert!(answer.body.is_empty());
        assert_eq!(alive(&mut sessions).await?, expected, "{scope}");
    }
    assert!(untouched.is_alive().await?, "another account's session");
    Ok(())
}

#[tokio::test]
async fn a_logout_takes_an_access_token_or_a_refresh_token_and_this_session_is_meant_by_default() -> Result<()>
{
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let mut sessions = four(&backend, &account).await?;
    sessions[0].ask("POST", "/api/v1/auth/logout").send().await?.expect(204)?;
    let by_refresh = json!({"refresh_token": sessions[1].refresh_token});
    backend.actor().post("/api/v1/auth/logout", &by_refresh).await?.expect(204)?;
    assert_eq!(alive(&mut sessions).await?, [false, false, true, true]);
    let by_refresh = json!({"refresh_token": sessions[2].refresh_token, "scope": "global"});
    backend.actor().post("/api/v1/auth/logout", &by_refresh).await?.expect(204)?;
    assert_eq!(alive(&mut sessions).await?, [false, false, false, false]);
    Ok(())
}

#[tokio::test]
async fn a_spent_refresh_token_still_logs_out() -> Result<()> {
    let backend = Backend::start().await?;
    let mut session = backend.actor().log_in(&backend.account().await?).await?;
    let spent = session.refresh_token.clone();
    session.refresh().await?;
    backend.actor().post("/api/v1/auth/logout", &json!({"refresh_token": spent})).await?.expect(204)?;
    assert!(!session.is_alive().await?);
    Ok(())
}

#[tokio::test]
async fn a_logout_may_be_repeated() -> Result<()> {
    let backend = Backend::start().await?;
    let session = backend.actor().log_in(&backend.account().await?).await?;
    for scope in ["local", "local", "global", "others"] {
        session.log_out(scope).await?.expect(204)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_logout_that_names_no_session_is_refused() -> Result<()> {
    let backend = Backend::start().await?;
    let actor = backend.actor();
    let nothing = actor.ask("POST", "/api/v1/auth/logout").send().await?;
    assert_eq!(nothing.outcome(), outcome(401, "invalid_token"));
    assert_eq!(nothing.header("www-authenticate"), "Bearer");
    let bad = actor.ask("POST", "/api/v1/auth/logout").bearer("bad").send().await?;
    assert_eq!(bad.outcome(), outcome(401, "invalid_token"));
    assert!(bad.header("www-authenticate").contains("error=\"invalid_token\""));
    let bad = actor.post("/api/v1/auth/logout", &json!({"refresh_token": "spr_AAAA"})).await?;
    assert_eq!(bad.outcome(), outcome(401, INVALID));
    Ok(())
}

#[tokio::test]
async fn an_ended_session_s_access_token_opens_no_route_that_changes_something() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let session = backend.actor().log_in(&account).await?;
    session.log_out("local").await?.expect(204)?;
    assert_eq!(session.list_factors().await?.outcome(), outcome(401, "invalid_token"));
    assert_eq!(session.try_enrol_totp("Phone").await?.outcome(), outcome(401, "invalid_token"));
    let again = session.try_reauthenticate(&json!({"password": account.password})).await?;
    assert_eq!(again.outcome(), outcome(401, "invalid_token"));
    Ok(())
}

#[tokio::test]
async fn an_access_token_is_good_for_three_hundred_seconds() -> Result<()> {
    let backend = Backend::start().await?;
    let session = backend.actor().log_in(&backend.account().await?).await?;
    backend.advance(295).await?;
    session.list_factors().await?.expect(200)?;
    backend.advance(5).await?;
    assert_eq!(session.list_factors().await?.outcome(), outcome(401, "invalid_token"));
    Ok(())
}
