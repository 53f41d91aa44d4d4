//! Enrolling, confirming, removing and regenerating, racing with one another and with sign-ins.

use anyhow::{Context as _, ensure};
use sallyport_testkit::{Account, Session};
use serde_json::json;

use crate::{
    cluster::{Cluster, Outcome, Shot, rounds, tally},
    state::State,
};

fn enrol() -> Shot {
    Shot::post("/api/v1/mfa/totp", json!({}))
}

fn regenerate() -> Shot {
    Shot::post("/api/v1/mfa/recovery-codes", json!({}))
}

fn remove(id: &str) -> Shot {
    Shot::delete(&format!("/api/v1/mfa/factors/{id}"))
}

/// A session that may change factors.
async fn strong_session(cluster: &Cluster, account: &Account) -> anyhow::Result<Session> {
    let pending = cluster.backend.actor().begin_log_in(account).await?;
    pending.verify_with_totp(&cluster.backend, account).await
}

fn none_failed(outcomes: &[Outcome]) -> anyhow::Result<()> {
    let known = |outcome: &Outcome| (200..500).contains(&outcome.status);
    ensure!(outcomes.iter().all(known), "{}", tally(outcomes));
    Ok(())
}

/// What is offered at login, what is stored, and what was answered agree afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_factors_at_once_leave_no_contradiction() -> anyhow::Result<()> {
    let mut cluster = Cluster::start().await?;
    let rounds = rounds(40);
    for round in 0..rounds {
        let mut account = cluster.backend.account_with_totp().await?;
        let mut session = strong_session(&cluster, &account).await?;
        if round % 2 == 0 {
            session.add_totp(&cluster.backend, &mut account).await?;
            session = strong_session(&cluster, &account).await?;
        }
        let token = session.access_token.as_str();
        let removals = account.factors.iter().flat_map(|factor| [remove(&factor.id), remove(&factor.id)]);
        let mut shots: Vec<_> = removals.collect();
        // Between what each reads and what it writes the others have time to read.
        cluster
            .backend
            .fault(json!({"kind": "slow", "operation": "TransactWriteItems", "delay_ms": 60}))
            .await?;
        match round % 4 {
            0 => {}
            1 => shots.push(enrol()),
            2 => shots.extend([regenerate(), enrol()]),
            _ => shots.push(regenerate()),
        }
        let mut shots: Vec<_> = shots.into_iter().map(|shot| shot.bearer(token)).collect();
        shots.push(Shot::login(&account, &account.password));
        let outcomes = cluster.fire_each(&shots).await?;
        cluster.backend.heal().await?;
        none_failed(&outcomes).with_context(|| format!("round {round}"))?;
        let state = State::of(&cluster.backend, &account).await?;
        let contradictions = state.contradictions();
        ensure!(contradictions.is_empty(), "round {round}: {contradictions:?} after {}", tally(&outcomes));
        let login = cluster.ask(Shot::login(&account, &account.password)).await?;
        let offered = login.body["factors"].as_array().map_or(0, Vec::len);
        let expected = state.of_kind("offered factor") + usize::from(state.of_kind("recovery code") > 0);
        ensure!(login.status == 200 && offered == expected, "round {round}: {login:?}");
    }
    println!("{rounds} rounds of changes of factors at once");
    Ok(())
}

/// Of several regenerations one is the last: its codes work, all of them, and no others do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn regenerations_at_once_leave_one_set_of_codes() -> anyhow::Result<()> {
    let mut cluster = Cluster::start().await?;
    let rounds = rounds(15);
    for round in 0..rounds {
        let account = cluster.backend.account_with_totp().await?;
        let session = strong_session(&cluster, &account).await?;
        let outcomes = cluster.fire_each(&vec![regenerate().bearer(&session.access_token); 4]).await?;
        none_failed(&outcomes).with_context(|| format!("round {round}"))?;
        ensure!(outcomes.iter().all(|outcome| outcome.status == 200), "round {round}: {}", tally(&outcomes));
        let held = State::of(&cluster.backend, &account).await?.of_kind("recovery code");
        ensure!(held == 10, "round {round}: {held} codes");
        let mut working = 0;
        for outcome in &outcomes {
            let code = outcome.body["recovery_codes"][0].as_str().context("no code")?;
            let pending = cluster.backend.actor().begin_log_in(&account).await?;
            working += usize::from(pending.try_verify("recovery", code).await?.status == 200);
        }
        ensure!(working == 1, "round {round}: {working} sets of codes work");
    }
    println!("{rounds} rounds of 4 regenerations at once");
    Ok(())
}

/// Two apps confirmed at once: who is told so has it, and the codes that were shown are the account's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confirmations_at_once_are_what_they_are_told() -> anyhow::Result<()> {
    let mut cluster = Cluster::start().await?;
    let rounds = rounds(25);
    for round in 0..rounds {
        let account = cluster.backend.account().await?;
        let session = cluster.backend.actor().log_in(&account).await?;
        let token = session.access_token.as_str();
        let enrolled = cluster.fire_each(&vec![enrol().bearer(token); 3]).await?;
        none_failed(&enrolled).with_context(|| format!("round {round}"))?;
        let mut shots = Vec::new();
        for outcome in enrolled.iter().filter(|outcome| outcome.status == 201) {
            let (id, secret) = (outcome.text("factor_id"), outcome.text("secret"));
            let factor = sallyport_testkit::Factor::new(id.context("no id")?, secret.context("no secret")?);
            let body = json!({"factor_id": factor.id, "code": factor.code_at(cluster.backend.now())});
            let confirm = Shot::post("/api/v1/mfa/totp/confirm", body).bearer(token);
            shots.extend([confirm.clone(), confirm]);
        }
        let outcomes = cluster.fire_each(&shots).await?;
        none_failed(&outcomes).with_context(|| format!("round {round}"))?;
        let state = State::of(&cluster.backend, &account).await?;
        let contradictions = state.contradictions();
        ensure!(contradictions.is_empty(), "round {round}: {contradictions:?}");
        let confirmed: Vec<_> = outcomes.iter().filter(|outcome| outcome.status == 200).collect();
        let offered = state.of_kind("offered factor");
        ensure!(
            confirmed.len() == offered && offered > 0,
            "round {round}: {offered} factors, {}",
            tally(&outcomes)
        );
        // Whoever is told that it was confirmed before must find it so.
        for (shot, outcome) in outcomes.chunks(2).enumerate() {
            let told = outcome.iter().any(|outcome| outcome.is(409, "factor_already_confirmed"));
            let so = outcome.iter().any(|outcome| outcome.status == 200);
            ensure!(so || !told, "round {round}: app {shot} is not confirmed: {}", tally(outcome));
        }
        let shown: Vec<_> = confirmed
            .iter()
            .filter_map(|outcome| outcome.body["recovery_codes"].as_array())
            .filter(|codes| !codes.is_empty())
            .collect();
        ensure!(shown.len() == 1, "round {round}: codes were shown {} times", shown.len());
        let pending = cluster.backend.actor().begin_log_in(&account).await?;
        pending.verify_with_recovery_code(shown[0][0].as_str().context("no code")?).await?;
    }
    println!("{rounds} rounds of confirmations at once");
    Ok(())
}

/// However many enrolments begin at once, one factor waits for its first code; who is refused may come again, and is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn enrolments_at_once_leave_one_factor_that_waits() -> anyhow::Result<()> {
    let mut cluster = Cluster::start().await?;
    let rounds = rounds(4);
    for round in 0..rounds {
        let account = cluster.backend.account().await?;
        let session = cluster.backend.actor().log_in(&account).await?;
        // Time for all of them to read what none of them has written yet.
        let slow = json!({"kind": "slow", "operation": "TransactWriteItems", "delay_ms": 200});
        cluster.backend.fault(slow).await?;
        let outcomes = cluster.fire_each(&vec![enrol().bearer(&session.access_token); 60]).await?;
        cluster.backend.heal().await?;
        let enrolled = outcomes.iter().filter(|outcome| outcome.status == 201).count();
        let told = |outcome: &Outcome| outcome.status == 201 || outcome.is(429, "too_many_changes");
        ensure!(enrolled > 0 && outcomes.iter().all(told), "round {round}: {}", tally(&outcomes));
        let state = State::of(&cluster.backend, &account).await?;
        ensure!(state.of_kind("factor") == 1, "round {round}: {} factors wait", state.of_kind("factor"));
        let enrolment = session.enrol_totp("Phone").await?;
        session.confirm(&cluster.backend, &enrolment).await?;
        let state = State::of(&cluster.backend, &account).await?;
        ensure!(state.of_kind("factor") == 1, "round {round}: not in place of the other");
    }
    println!("{rounds} rounds of 60 enrolments at once");
    Ok(())
}
