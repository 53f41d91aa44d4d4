//! Modes and blocks, as callers meet them.

use crate::{enumeration::face, prelude::*};

/// How old a function's copy of the flags gets.
const SEEN: u64 = 5;

/// One request to each function that obeys modes and blocks, each refused for itself where nothing is set.
async fn probe(backend: &Backend) -> Result<Vec<(u16, String)>> {
    probe_as(&backend.actor()).await
}

async fn probe_as(actor: &sallyport_testkit::Actor) -> Result<Vec<(u16, String)>> {
    let login = actor.try_log_in("nobody@example.com", "wrong").await?;
    let refresh = actor.try_refresh("spr_forged").await?;
    let factors = actor.get("/api/v1/mfa/factors").await?;
    Ok(vec![login.outcome(), refresh.outcome(), factors.outcome()])
}

fn open() -> Vec<(u16, String)> {
    vec![
        outcome(401, "invalid_credentials"),
        outcome(401, "invalid_refresh_token"),
        outcome(401, "invalid_token"),
    ]
}

fn all(status: u16, code: &str) -> Vec<(u16, String)> {
    vec![outcome(status, code); 3]
}

#[tokio::test]
async fn maintenance_closes_every_function_within_ten_seconds_and_opens_as_fast() -> Result<()> {
    let backend = Backend::start().await?;
    assert_eq!(probe(&backend).await?, open());
    backend.set_mode("maintenance", 3600).await?;
    backend.advance(SEEN).await?;
    assert_eq!(probe(&backend).await?, all(503, "maintenance"));
    let refused = backend.actor().try_refresh("spr_forged").await?;
    assert_eq!((refused.header("retry-after"), refused.field("retry_after")), ("300", json!(300)));
    assert_eq!(refused.header("cache-control"), "no-store");

    // The public keys, the documents and health answer on, and browsers learn that they may read the refusal.
    for path in ["/.well-known/jwks.json", "/openapi.json", "/health/live", "/health/ready"] {
        backend.actor().get(path).await?.expect(200)?;
    }
    let browser = backend.browser(APP_ORIGIN);
    browser.ask("OPTIONS", "/api/v1/auth/login").send().await?.expect(204)?;
    let seen = browser.try_log_in("nobody@example.com", "wrong").await?.expect(503)?;
    assert_eq!(seen.header("access-control-allow-origin"), APP_ORIGIN);

    backend.clear_mode("maintenance").await?;
    backend.advance(SEEN).await?;
    assert_eq!(probe(&backend).await?, open());
    let kinds = audit_kinds(&backend).await?;
    assert!(kinds.iter().any(|kind| kind == "mode.set") && kinds.iter().any(|kind| kind == "mode.cleared"));
    Ok(())
}

#[tokio::test]
async fn a_mode_ends_by_the_clock_whether_or_not_anybody_clears_it() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let mut session = backend.actor().log_in(&account).await?;
    backend.set_mode("maintenance", 60).await?;
    backend.advance(30).await?;
    assert_eq!(probe(&backend).await?, all(503, "maintenance"));
    let left: u64 = backend.actor().try_refresh("spr_forged").await?.header("retry-after").parse()?;
    assert!((20..=30).contains(&left), "{left}");
    // The copy is a second old, and knows the end itself.
    backend.advance(left).await?;
    assert_eq!(probe(&backend).await?, open());
    // What was issued before works on.
    session.refresh().await
}

#[tokio::test]
async fn being_closed_is_no_failure_of_the_service() -> Result<()> {
    let backend = Backend::start().await?;
    backend.set_mode("maintenance", 60).await?;
    backend.advance(SEEN).await?;
    backend.actor().try_refresh("spr_forged").await?.expect(503)?;
    let lines: Vec<_> = backend.logs().await?.into_iter().map(|mut line| line["line"].take()).collect();
    let of = |line: &&Value| line["code"] == "maintenance";
    let metric = lines.iter().filter(of).find(|line| line.get("_aws").is_some()).context("no wide event")?;
    assert_eq!((&metric["status"], &metric["errors"]), (&json!(503), &json!(0)));
    Ok(())
}

#[tokio::test]
async fn an_address_is_blocked_on_every_function_and_its_neighbours_are_not() -> Result<()> {
    let backend = Backend::start().await?;
    let (blocked, neighbour) = (backend.actor(), backend.actor());
    let account = backend.account().await?;
    let prefix = format!("{}/32", blocked.address());
    backend.block_prefix(&prefix, 3600).await?;
    backend.advance(SEEN).await?;
    assert_eq!(probe_as(&blocked).await?, all(403, "blocked"));
    assert_eq!(probe_as(&neighbour).await?, open());
    // Nothing of the request is looked at: neither its size nor its form, and nothing is counted.
    let huge =
        blocked.ask("POST", "/api/v1/auth/login").body("text/plain", vec![b'x'; 20_000]).send().await?;
    assert_eq!(huge.outcome(), outcome(403, "blocked"));
    assert!(!huge.has_header("ratelimit") && !huge.has_header("retry-after"));
    // A header names no other address.
    let ask = blocked.ask("POST", "/api/v1/auth/refresh").header("x-forwarded-for", "192.0.2.1");
    assert_eq!(
        ask.json(&json!({"refresh_token": "spr_forged"})).send().await?.outcome(),
        outcome(403, "blocked")
    );
    blocked.get("/.well-known/jwks.json").await?.expect(200)?;

    backend.unblock_prefix(&prefix).await?;
    backend.advance(SEEN).await?;
    assert_eq!(probe_as(&blocked).await?, open());
    backend.block_prefix("127.0.0.0/8", 60).await?;
    backend.advance(SEEN).await?;
    assert_eq!(probe_as(&neighbour).await?, all(403, "blocked"));
    backend.advance(60).await?;
    neighbour.log_in(&account).await?;
    Ok(())
}

/// An answer to a login at an account that is refused for long, and the seconds that it is to wait.
async fn refusal(backend: &Backend, email: &str, password: &str) -> Result<(u64, String)> {
    let answer = backend.actor().try_log_in(email, password).await?;
    let wait: u64 = answer.header("retry-after").parse().context("no wait")?;
    // The wait alone: its digits may stand elsewhere too.
    let face = face(&answer)
        .replace(&format!("retry-after: {wait}"), "retry-after: the wait")
        .replace(&format!("\"retry_after\":{wait}"), "\"retry_after\":the wait");
    Ok((wait, face))
}

#[tokio::test]
async fn a_blocked_account_answers_as_a_locked_one_and_as_one_that_does_not_exist() -> Result<()> {
    let backend = Backend::start().await?;
    let (locked, blocked) = (backend.account().await?, backend.account().await?);
    let device = backend.actor();
    let mut session = device.log_in(&blocked).await?;
    lock(&backend, &locked.email).await?;
    backend.block_account(&blocked.email, 30).await?;
    backend.block_account("nobody@example.com", 30).await?;
    backend.advance(SEEN).await?;
    // Back to a fresh lock: a failure at its end prolongs it.
    let (_, expected) = refusal(&backend, &locked.email, &locked.password).await?;
    assert!(expected.contains("429") && expected.contains("too_many_attempts"), "{expected}");
    for (email, password) in [
        (&*blocked.email, &*blocked.password),
        (&*blocked.email, "wrong"),
        ("nobody@example.com", "wrong"),
        // However it is spelled.
        ("NoBody@Example.com", "wrong"),
    ] {
        let (wait, face) = refusal(&backend, email, password).await?;
        assert!((10..=30).contains(&wait), "{wait}");
        assert_eq!(face, expected, "{email}");
    }
    // A device that the account knows is no exception; a session that there is goes on.
    device.try_log_in(&blocked.email, &blocked.password).await?.expect(429)?;
    session.refresh().await?;
    backend.advance(30).await?;
    device.log_in(&blocked).await?;
    Ok(())
}

#[tokio::test]
async fn a_block_of_an_account_is_told_to_last_no_longer_than_a_lock_can() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    backend.block_account(&account.email, 86_400).await?;
    backend.advance(SEEN).await?;
    assert_eq!(refusal(&backend, &account.email, "wrong").await?.0, 900);
    Ok(())
}

#[tokio::test]
async fn nothing_of_a_blocked_account_is_checked_but_its_address_is_counted() -> Result<()> {
    let backend = Backend::with(&[("SALLYPORT_ADDRESS_LIMIT", "3")]).await?;
    let account = backend.account().await?;
    backend.block_account(&account.email, 600).await?;
    backend.advance(SEEN).await?;
    backend.forget_calls().await?;
    let actor = backend.actor();
    for _ in 0..3 {
        actor.try_log_in(&account.email, &account.password).await?.expect(429)?;
    }
    let calls = backend.calls().await?;
    let tables: Vec<_> = calls
        .iter()
        .filter(|call| call["service"] == "dynamodb" && call["parts"][0]["kind"] != "FLAGS")
        .map(|call| (call["operation"].as_str().unwrap(), call["parts"][0]["kind"].as_str().unwrap()))
        .collect();
    assert_eq!(tables, [("UpdateItem", "address"); 3]);
    let other = actor.try_log_in("nobody@example.com", "wrong").await?;
    assert_eq!(other.outcome(), outcome(429, "rate_limited"));
    Ok(())
}

#[tokio::test]
async fn a_blocked_account_finishes_no_sign_in_that_was_under_way() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account_with_totp().await?;
    let pending = backend.actor().begin_log_in(&account).await?;
    backend.block_account(&account.email, 120).await?;
    backend.advance(SEEN).await?;
    let code = backend.code(account.factor()).await?;
    let refused = pending.try_verify(&account.factor().id, &code).await?;
    assert_eq!(refused.outcome(), outcome(429, "too_many_attempts"));
    // The code was not taken.
    backend.advance(120).await?;
    pending.verify_with_totp(&backend, &account).await?;
    Ok(())
}

#[tokio::test]
async fn a_dependency_that_is_known_to_be_down_is_not_waited_for() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let mut session = backend.actor().log_in(&account).await?;
    backend.set_mode("degraded.users", 600).await?;
    backend.advance(SEEN).await?;
    backend.fault(json!({"kind": "refuse", "table": "users"})).await?;
    backend.forget_calls().await?;
    let refused = backend.actor().try_log_in(&account.email, &account.password).await?;
    assert_eq!(refused.outcome(), outcome(503, "dependency_unavailable"));
    assert_eq!(refused.header("retry-after"), "30");
    let users =
        |calls: &[Value]| calls.iter().filter(|call| call["tables"].to_string().contains("users")).count();
    assert_eq!(users(&backend.calls().await?), 0);
    // A refresh needs no users, and is served.
    session.refresh().await?;
    let by: Vec<_> = probe(&backend).await?.into_iter().map(|(status, _)| status).collect();
    assert_eq!(by, [503, 401, 503]);
    Ok(())
}

#[tokio::test]
async fn a_keyring_that_is_known_to_be_away_is_served_from_the_last_good_copy() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    backend.actor().log_in(&account).await?;
    backend.fault(json!({"kind": "refuse", "service": "secretsmanager"})).await?;
    backend.set_mode("degraded.keyring", 86_400).await?;
    // Past the age of the copy.
    backend.advance(3600).await?;
    backend.actor().try_refresh("spr_forged").await?.expect(401)?;
    backend.forget_calls().await?;
    let mut session = backend.actor().log_in(&account).await?;
    session.refresh().await?;
    let asked = |calls: &[Value]| calls.iter().filter(|call| call["service"] == "secretsmanager").count();
    assert_eq!(asked(&backend.calls().await?), 0);
    backend.heal().await?;
    backend.clear_mode("degraded.keyring").await?;
    backend.advance(3600).await?;
    backend.actor().log_in(&account).await?;
    assert!(asked(&backend.calls().await?) > 0);
    Ok(())
}

#[tokio::test]
async fn while_the_flags_cannot_be_read_the_last_ones_hold_until_they_expire() -> Result<()> {
    let backend = Backend::start().await?;
    let blocked = backend.actor();
    backend.block_prefix(&format!("{}/32", blocked.address()), 600).await?;
    backend.advance(SEEN).await?;
    assert_eq!(probe_as(&blocked).await?, all(403, "blocked"));
    backend.fault(json!({"kind": "refuse", "table": "ops"})).await?;
    backend.advance(300).await?;
    assert_eq!(probe_as(&blocked).await?, all(403, "blocked"));
    assert_eq!(probe(&backend).await?, open());
    backend.advance(301).await?;
    assert_eq!(probe_as(&blocked).await?, open());
    backend.heal().await?;
    // A change made meanwhile is seen as soon as the table answers and the copy is old enough.
    backend.set_mode("maintenance", 600).await?;
    backend.advance(SEEN).await?;
    assert_eq!(probe(&backend).await?, all(503, "maintenance"));
    Ok(())
}

#[tokio::test]
async fn an_instance_that_never_read_the_flags_lets_nobody_in() -> Result<()> {
    let options = local::Options {
        faults: vec![json!({"kind": "refuse", "table": "ops"}).to_string()],
        ..local::Options::default()
    };
    let backend = Backend::start_as(options).await?;
    assert_eq!(probe(&backend).await?, all(503, "dependency_unavailable"));
    backend.actor().get("/.well-known/jwks.json").await?.expect(200)?;
    backend.heal().await?;
    assert_eq!(probe(&backend).await?, open());
    Ok(())
}

#[tokio::test]
async fn an_emergency_divides_the_limits() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let device = backend.actor();
    device.log_in(&account).await?;
    backend.set_mode("emergency", 3600).await?;
    backend.advance(60 + SEEN).await?;
    // Five failures lock otherwise; a quarter of them is one. The budget of an address is a quarter too.
    let wrong = device.try_log_in(&account.email, "wrong").await?.expect(401)?;
    assert_eq!(wrong.header("ratelimit-policy"), "\"address\";q=25;w=60");
    device.try_log_in(&account.email, &account.password).await?.expect(429)?;
    backend.clear_mode("emergency").await?;
    backend.advance(SEEN).await?;
    let right = device.try_log_in(&account.email, &account.password).await?.expect(200)?;
    assert_eq!(right.header("ratelimit-policy"), "\"address\";q=100;w=60");
    Ok(())
}

#[tokio::test]
async fn in_an_emergency_unknown_devices_wait_and_known_ones_do_not() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let known = backend.actor();
    known.log_in(&account).await?;
    backend.set_mode("emergency", 3600).await?;
    backend.advance(SEEN).await?;
    known.log_in(&account).await?;

    let stranger = backend.actor();
    let first = stranger.try_log_in(&account.email, &account.password).await?;
    assert_eq!(first.outcome(), outcome(429, "too_many_attempts"));
    assert_eq!(first.header("retry-after"), "10");
    backend.advance(5).await?;
    let early = stranger.try_log_in(&account.email, &account.password).await?.expect(429)?;
    assert!((1..=5).contains(&early.header("retry-after").parse::<u64>()?), "{early:?}");
    // Neither another address nor another account has waited.
    backend.actor().try_log_in(&account.email, &account.password).await?.expect(429)?;
    stranger.try_log_in("nobody@example.com", "wrong").await?.expect(429)?;
    backend.advance(5).await?;
    stranger.log_in(&account).await?;
    // It is known from now on. One that comes back too late begins anew.
    let late = backend.actor();
    late.try_log_in(&account.email, &account.password).await?.expect(429)?;
    backend.advance(311).await?;
    late.try_log_in(&account.email, &account.password).await?.expect(429)?;
    backend.advance(10).await?;
    late.log_in(&account).await?;
    Ok(())
}

#[tokio::test]
async fn waiting_tells_nobody_whether_there_is_such_an_account() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let without = backend.account().await?;
    backend.force_reset(&without).await?;
    backend.set_mode("emergency", 3600).await?;
    backend.advance(SEEN).await?;
    // Both attempts of each in one window of its address.
    backend.advance(61 - backend.now() % 60).await?;
    let strangers = [
        (backend.actor(), account.email.as_str(), account.password.as_str()),
        (backend.actor(), account.email.as_str(), "wrong"),
        (backend.actor(), without.email.as_str(), without.password.as_str()),
        (backend.actor(), "nobody@example.com", "wrong"),
    ];
    let mut faces = Vec::new();
    for (stranger, email, password) in &strangers {
        faces.push(face(&stranger.try_log_in(email, password).await?.expect(429)?));
    }
    backend.advance(10).await?;
    assert!(faces.iter().all(|face| *face == faces[0]), "{faces:#?}");
    let mut faces = Vec::new();
    for (stranger, email, password) in &strangers[2..] {
        faces.push(face(&stranger.try_log_in(email, password).await?.expect(401)?));
    }
    assert_eq!(faces[0], faces[1]);
    Ok(())
}

#[tokio::test]
async fn of_first_attempts_at_once_none_is_checked() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    backend.set_mode("emergency", 3600).await?;
    backend.advance(SEEN).await?;
    let stranger = backend.actor();
    let burst = || async {
        let attempts = (0..20).map(|_| {
            let (stranger, account) = (stranger.clone(), account.clone());
            tokio::spawn(async move { stranger.try_log_in(&account.email, &account.password).await })
        });
        let mut statuses = Vec::new();
        for attempt in attempts.collect::<Vec<_>>() {
            statuses.push(attempt.await??.status);
        }
        anyhow::Ok(statuses)
    };
    assert_eq!(burst().await?, [429; 20]);
    let pools: Vec<_> = backend.items("Throttle").await?;
    let keys = |prefix: &str| {
        pools.iter().filter(|item| item["key"].as_str().is_some_and(|key| key.starts_with(prefix))).count()
    };
    // One claim, and nothing was reserved for a check.
    assert_eq!((keys("wait#"), keys("login#")), (1, 0));
    backend.advance(61).await?;
    stranger.log_in(&account).await?;
    Ok(())
}

#[tokio::test]
async fn a_claim_whose_reply_was_lost_waits_no_longer_and_no_shorter() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    backend.set_mode("emergency", 3600).await?;
    backend.advance(SEEN).await?;
    for kind in ["drop_after", "drop_before", "error_500"] {
        let stranger = backend.actor();
        backend.fault(json!({"kind": kind, "operation": "UpdateItem", "item": "wait", "count": 1})).await?;
        let first = stranger.try_log_in(&account.email, &account.password).await?;
        assert_eq!(first.outcome(), outcome(429, "too_many_attempts"), "{kind}");
        assert_eq!(first.header("retry-after"), "10", "{kind}");
        backend.heal().await?;
        backend.advance(10).await?;
        stranger.log_in(&account).await?;
    }
    Ok(())
}

#[tokio::test]
async fn in_an_emergency_a_refused_stranger_costs_two_writes() -> Result<()> {
    let backend = Backend::start().await?;
    backend.set_mode("emergency", 3600).await?;
    backend.advance(SEEN).await?;
    let stranger = backend.actor();
    for expected in [429, 429] {
        backend.forget_calls().await?;
        stranger.try_log_in("nobody@example.com", "wrong").await?.expect(expected)?;
        let calls = backend.calls().await?;
        let mut kinds: Vec<_> = calls
            .iter()
            .filter_map(|call| call["parts"][0]["kind"].as_str())
            .filter(|kind| *kind != "FLAGS")
            .collect();
        kinds.sort_unstable();
        assert_eq!(kinds, ["address", "wait"]);
    }
    Ok(())
}

#[tokio::test]
async fn a_forced_reset_ends_sessions_and_lets_the_password_in_no_more() -> Result<()> {
    let backend = Backend::start().await?;
    let mut account = backend.account_with_totp().await?;
    let device = backend.actor();
    let pending = device.begin_log_in(&account).await?;
    let session = device.begin_log_in(&account).await?.verify_with_totp(&backend, &account).await?;
    assert!(backend.force_reset(&account).await?);
    assert!(!backend.force_reset(&account).await?, "twice the same");
    assert_eq!(session.try_refresh().await?.outcome(), outcome(401, "invalid_refresh_token"));
    let code = backend.code(account.factor()).await?;
    let overtaken = pending.try_verify(&account.factor().id, &code).await?;
    assert_eq!(overtaken.outcome(), outcome(401, "invalid_mfa_token"));
    let refused = device.try_log_in(&account.email, &account.password).await?;
    let unknown = backend.actor().try_log_in("nobody@example.com", "wrong").await?;
    assert_eq!(refused.outcome(), outcome(401, "invalid_credentials"));
    assert_eq!(refused.body.len(), unknown.body.len());
    let kinds = audit_kinds(&backend).await?;
    assert_eq!(kinds.iter().filter(|kind| *kind == "password.reset_forced").count(), 1);
    backend.set_password(&mut account, "another one, chosen anew").await?;
    device.begin_log_in(&account).await?.verify_with_totp(&backend, &account).await?;
    Ok(())
}

/// Whom modes and blocks leave alone: keys, documents, health.
fn is_open(path: &str) -> bool {
    ["/.well-known/", "/openapi.json", "/health/", "/status", "/metrics"]
        .iter()
        .any(|open| path.starts_with(open))
}

#[tokio::test]
async fn every_other_route_is_closed_in_maintenance_and_to_blocked_addresses() -> Result<()> {
    let backend = Backend::start().await?;
    let actor = backend.actor();
    let meets = async |expected: (u16, String)| -> Result<()> {
        for route in local::routes()?.iter().filter(|route| !is_open(&route.path)) {
            let path = route.path.replace("{id}", "fac_AAAAAAAAAAAAAAAAAAAAAA");
            let answer = actor.ask(&route.method, &path).send().await?;
            assert_eq!(answer.outcome(), expected, "{} {path}", route.method);
        }
        Ok(())
    };
    backend.set_mode("maintenance", 600).await?;
    backend.advance(SEEN).await?;
    meets(outcome(503, "maintenance")).await?;
    backend.clear_mode("maintenance").await?;
    backend.block_prefix("127.0.0.0/8", 600).await?;
    backend.advance(SEEN).await?;
    meets(outcome(403, "blocked")).await
}
