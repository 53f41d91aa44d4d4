//! The budget of an address.

use crate::prelude::*;

fn left(answer: &Answer) -> Option<u64> {
    let state = answer.header("ratelimit").strip_prefix("\"address\";r=")?;
    let (left, resets) = state.split_once(";t=")?;
    assert!((1..=60).contains(&resets.parse::<u64>().unwrap()), "{state}");
    left.parse().ok()
}

#[tokio::test]
async fn the_limited_routes_say_what_is_left_and_share_one_budget() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let actor = backend.actor();
    let refused = actor.try_log_in(&account.email, "wrong").await?.expect(401)?;
    assert_eq!(refused.header("ratelimit-policy"), "\"address\";q=100;w=60");
    assert_eq!(left(&refused), Some(99));
    let login = actor.try_log_in(&account.email, &account.password).await?.expect(200)?;
    assert_eq!(left(&login), Some(98));
    let body = json!({
        "mfa_token": login.field("mfa_token"), "factor_id": "recovery", "code": account.recovery_codes[0],
    });
    let verify = actor.post("/api/v1/auth/mfa/verify", &body).await?.expect(200)?;
    assert_eq!(left(&verify), Some(97));
    let session = Session::of(&actor, &verify)?;
    let again = session.try_reauthenticate(&json!({"password": account.password})).await?.expect(200)?;
    assert_eq!(left(&again), Some(96));
    let elsewhere = backend.actor().try_log_in(&account.email, "wrong").await?;
    assert_eq!(left(&elsewhere), Some(99));
    let unlimited = session.list_factors().await?;
    assert!(!unlimited.has_header("ratelimit"));
    Ok(())
}

#[tokio::test]
async fn beyond_the_budget_comes_rate_limited_until_the_window_ends() -> Result<()> {
    let backend = Backend::with(&[("SALLYPORT_ADDRESS_LIMIT", "3")]).await?;
    let account = backend.account_with_totp().await?;
    let other = backend.account().await?;
    let session = backend.actor().log_in(&other).await?;
    let pending = backend.actor().begin_log_in(&account).await?;
    let actor = backend.actor();
    // The windows of an address begin at a time of its own: begin with a fresh one.
    let first = actor.try_log_in("nobody0@example.com", "x").await?;
    let (_, resets) = first.header("ratelimit").rsplit_once('=').context("no limit")?;
    backend.advance(resets.parse::<u64>()? + 1).await?;
    for name in 1..=3 {
        actor.try_log_in(&format!("nobody{name}@example.com"), "x").await?.expect(401)?;
    }
    let login = actor.try_log_in(&other.email, &other.password).await?;
    let body =
        json!({"mfa_token": pending.mfa_token, "factor_id": "recovery", "code": account.recovery_codes[0]});
    let verify = actor.post("/api/v1/auth/mfa/verify", &body).await?;
    let ask = actor.ask("POST", "/api/v1/auth/reauthenticate").bearer(&session.access_token);
    let again = ask.json(&json!({"password": other.password})).send().await?;
    for (what, refused) in [("login", &login), ("verify", &verify), ("reauthenticate", &again)] {
        assert_eq!(refused.outcome(), outcome(429, "rate_limited"), "{what}");
        let wait: u64 = refused.header("retry-after").parse()?;
        assert!((1..=60).contains(&wait), "{what}");
        assert_eq!(refused.field("retry_after"), wait);
        assert_eq!(left(refused), Some(0), "{what}");
    }
    // Nothing was charged to the account: a whole pool of guesses is left.
    for _ in 0..5 {
        backend.actor().try_log_in(&other.email, "wrong").await?.expect(401)?;
    }
    backend.advance(61).await?;
    actor.try_log_in(&other.email, &other.password).await?.expect(200)?;
    Ok(())
}

/// Whoever is over the budget is counted and no more: from the first request beyond it, in every mode. So nobody's pool has a
/// place less for it. A device that the account knows has a budget of its own.
#[tokio::test]
async fn beyond_the_budget_a_login_costs_its_count_and_takes_no_place_in_a_pool() -> Result<()> {
    const BUDGET: usize = 8;
    for emergency in [false, true] {
        let limit = BUDGET * if emergency { 4 } else { 1 };
        let backend = Backend::with(&[("SALLYPORT_ADDRESS_LIMIT", &limit.to_string())]).await?;
        let account = backend.account().await?;
        let (actor, owner) = (backend.actor(), backend.actor());
        owner.log_in(&account).await?;
        if emergency {
            backend.set_mode("emergency", 600).await?;
        }
        // A fresh window, in which the whole budget is left.
        backend.advance(61).await?;
        let probe = actor.try_log_in("nobody@example.com", "x").await?;
        let (_, resets) = probe.header("ratelimit").rsplit_once('=').context("no limit")?;
        backend.advance(resets.parse::<u64>()? + 1).await?;
        for number in 0..BUDGET {
            let answer = actor.try_log_in(&format!("nobody{number}@example.com"), "x").await?;
            ensure!(answer.outcome() != outcome(429, "rate_limited"), "{number}: {}", answer.text());
        }
        backend.forget_calls().await?;
        let beyond = (0..10).map(|_| actor.try_log_in(&account.email, "not it"));
        for answer in futures_util::future::try_join_all(beyond).await? {
            assert_eq!(answer.outcome(), outcome(429, "rate_limited"), "emergency {emergency}");
        }
        let calls: Vec<_> = backend
            .calls()
            .await?
            .iter()
            .filter(|call| call["service"] == "dynamodb" && call["parts"][0]["kind"] != "FLAGS")
            .map(|call| format!("{} {}", call["operation"], call["parts"][0]["kind"]))
            .collect();
        assert_eq!(calls, vec!["\"UpdateItem\" \"address\""; 10], "emergency {emergency}");
        owner.log_in(&account).await?;
    }
    Ok(())
}
