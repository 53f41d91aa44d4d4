//! What each use case costs in DynamoDB requests, round trips and capacity units. A number that grows fails the test: it
//! is money and latency of everybody who runs this.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails a test, and should say where"
)]

use anyhow::Result;
use sallyport_testkit::Backend;
use serde_json::{Value, json};

/// The database waits this long before each answer, so that calls side by side are seen to overlap.
const LATENCY_MS: u64 = 150;

#[derive(Debug, Clone, Copy, PartialEq)]
struct Usage {
    requests: usize,
    /// Requests one after the other; those side by side count as one.
    round_trips: usize,
    read_units: f64,
    write_units: f64,
}

struct Meter<'a>(&'a Backend);

impl Meter<'_> {
    /// What `action` used.
    async fn of<T>(&self, action: impl Future<Output = Result<T>>) -> Result<(T, Usage)> {
        self.0.forget_calls().await?;
        let output = action.await?;
        let calls = self.0.calls().await?;
        Ok((output, usage(&calls)))
    }
}

fn usage(calls: &[Value]) -> Usage {
    let calls: Vec<_> = calls.iter().filter(|call| call["service"] == "dynamodb").collect();
    let (mut read_units, mut write_units) = (0.0, 0.0);
    let mut spans = Vec::new();
    for call in &calls {
        let mut units: f64 =
            call["capacity"].as_array().into_iter().flatten().filter_map(|part| part["units"].as_f64()).sum();
        // A write whose condition did not hold is billed all the same; the embedded database does not state it.
        if call["error"] == "ConditionalCheckFailedException" {
            units += 1.0;
        }
        let reads = matches!(call["operation"].as_str(), Some("GetItem" | "Query"));
        *(if reads { &mut read_units } else { &mut write_units }) += units;
        let ended = call["at"].as_f64().unwrap();
        spans.push((ended, ended + call["duration_us"].as_f64().unwrap() / 1000.0));
    }
    spans.sort_by(|left, right| left.0.total_cmp(&right.0));
    let (mut round_trips, mut until) = (0, f64::MIN);
    for (start, end) in spans {
        // Calls of one round trip start within a fraction of the latency of each other.
        if start > until {
            round_trips += 1;
            until = start + LATENCY_MS as f64 / 2.0;
        }
        until = until.max(start).min(end);
    }
    Usage { requests: calls.len(), round_trips, read_units, write_units }
}

async fn start() -> Result<Backend> {
    let options =
        local::Options { latency: std::time::Duration::from_millis(LATENCY_MS), ..local::Options::default() };
    Backend::start_as(options).await
}

#[track_caller]
fn within(what: &str, used: Usage, bound: (usize, usize, f64, f64)) {
    let (requests, round_trips, read_units, write_units) = bound;
    assert!(
        used.requests <= requests
            && used.round_trips <= round_trips
            && used.read_units <= read_units
            && used.write_units <= write_units,
        "{what}: {used:?} is more than {bound:?} (requests, round trips, read units, write units)"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_takes_two_round_trips_whoever_asks() -> Result<()> {
    let backend = start().await?;
    let meter = Meter(&backend);
    let account = backend.account().await?;
    let stranger = backend.actor();
    let (_, unknown) = meter.of(stranger.try_log_in("nobody@example.com", "wrong password")).await?;
    let (_, wrong) = meter.of(stranger.try_log_in(&account.email, "wrong password")).await?;
    // The same work: neither the number of requests nor their units tells whether there is an account.
    assert_eq!(unknown.requests, wrong.requests);
    assert_eq!(unknown.write_units, wrong.write_units);
    within("login refused", wrong, (5, 2, 1.0, 4.0));

    let owner = backend.actor();
    let (_, first) = meter.of(owner.log_in(&account)).await?;
    within("login", first, (6, 2, 1.0, 5.0));
    // A known device reads the strangers' pool beside the record.
    let (_, known) = meter.of(owner.log_in(&account)).await?;
    within("login from a known device", known, (7, 2, 2.0, 5.0));
    for _ in 0..8 {
        backend.actor().log_in(&account).await?;
    }
    let (_, eleventh) = meter.of(backend.actor().log_in(&account)).await?;
    within("login that displaces a session", eleventh, (7, 3, 1.0, 12.0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_account_costs_no_more_than_an_open_one() -> Result<()> {
    let backend = start().await?;
    let meter = Meter(&backend);
    let account = backend.account().await?;
    let stranger = backend.actor();
    for _ in 0..4 {
        stranger.try_log_in(&account.email, "wrong password").await?.expect(401)?;
    }
    let (_, locking) = meter.of(stranger.try_log_in(&account.email, "wrong password")).await?;
    within("login that locks", locking, (6, 3, 1.0, 5.0));
    let (answer, locked) = meter.of(stranger.try_log_in(&account.email, "wrong password")).await?;
    answer.expect(429)?;
    within("login while locked", locked, (3, 1, 1.0, 2.0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_is_one_request_and_two_write_units_at_ten_sessions() -> Result<()> {
    let backend = start().await?;
    let meter = Meter(&backend);
    let account = backend.account().await?;
    let mut session = backend.actor().log_in(&account).await?;
    let ((), one) = meter.of(session.refresh()).await?;
    within("refresh", one, (1, 1, 0.0, 1.0));
    for _ in 0..9 {
        backend.actor().log_in(&account).await?;
    }
    let ((), ten) = meter.of(session.refresh()).await?;
    within("refresh at ten sessions", ten, (1, 1, 0.0, 2.0));
    let (answer, forged) = meter.of(backend.actor().try_refresh("spr_forged")).await?;
    answer.expect(401)?;
    within("refresh with a forged token", forged, (0, 0, 0.0, 0.0));

    let client = backend.client().await?;
    let actor = backend.actor();
    let (answer, introspected) = meter.of(actor.introspect(&client, &session.refresh_token)).await?;
    answer.expect(200)?;
    within("introspect", introspected, (2, 2, 2.0, 0.0));
    let (_, ended) = meter.of(session.log_out("local")).await?;
    within("logout", ended, (1, 1, 0.0, 6.0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_takes_four_round_trips_at_most() -> Result<()> {
    let backend = start().await?;
    let meter = Meter(&backend);
    let account = backend.account_with_totp().await?;
    let actor = backend.actor();
    let (pending, password) = meter.of(actor.begin_log_in(&account)).await?;
    within("login with a factor", password, (5, 2, 1.0, 4.0));
    let (mut session, verified) = meter.of(pending.verify_with_totp(&backend, &account)).await?;
    within("verify", verified, (6, 4, 2.0, 11.0));
    let pending = actor.begin_log_in(&account).await?;
    let wrong = account.factor().wrong_code_at(backend.now());
    let (answer, refused) = meter.of(pending.try_verify(&account.factor().id, &wrong)).await?;
    answer.expect(401)?;
    within("verify refused", refused, (7, 3, 3.0, 4.0));
    backend.advance(60).await?;
    let (_, stepped) = meter.of(session.step_up(&backend, &account)).await?;
    within("reauthenticate with a code", stepped, (8, 6, 2.0, 7.0));
    let (_, again) = meter.of(session.reauthenticate(&json!({"password": account.password}))).await?;
    within("reauthenticate with the password", again, (8, 6, 3.0, 5.0));
    let (_, enrolled) = meter.of(session.enrol_totp("Phone")).await?;
    within("enrol", enrolled, (4, 2, 3.0, 4.0));
    let (_, listed) = meter.of(session.list_factors()).await?;
    within("list factors", listed, (4, 1, 4.0, 0.0));
    Ok(())
}
