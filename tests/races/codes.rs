//! One code, many uses.

use anyhow::{Context as _, ensure};
use sallyport_testkit::{Account, Pending};
use serde_json::Value;

use crate::{
    cluster::{Cluster, Outcome, Shot, rounds, tally},
    state::State,
};

/// Sign-ins that wait for a second factor, so that uses of one code differ in their MFA token.
async fn pending(cluster: &Cluster, account: &Account, count: usize) -> anyhow::Result<Vec<Pending>> {
    let mut waiting = Vec::new();
    for _ in 0..count {
        waiting.push(cluster.backend.actor().begin_log_in(account).await?);
    }
    Ok(waiting)
}

/// One got in, and its session lives; all others were refused for what they are.
async fn one_won(cluster: &mut Cluster, account: &Account, outcomes: &[Outcome]) -> anyhow::Result<()> {
    let winners: Vec<_> = outcomes.iter().filter(|outcome| outcome.status == 200).collect();
    ensure!(winners.len() == 1, "{}", tally(outcomes));
    let expected = |outcome: &Outcome| {
        outcome.status == 200
            || outcome.is(401, "invalid_code")
            || outcome.is(401, "invalid_mfa_token")
            || outcome.is(429, "too_many_attempts")
    };
    ensure!(outcomes.iter().all(expected), "{}", tally(outcomes));
    let held = State::of(&cluster.backend, account).await?.of_kind("session");
    ensure!(held == 1, "{held} sessions");
    let tokens = winners.iter().filter_map(|outcome| outcome.text("refresh_token"));
    ensure!(cluster.living(tokens).await?.len() == 1, "the winner's session is dead");
    Ok(())
}

/// HackerOne #3692149 (Ory Kratos), GHSA-392p-2q2v-4372 (better-auth): codes consumed twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_100_uses_of_one_recovery_code_one_succeeds() -> anyhow::Result<()> {
    let mut cluster = Cluster::start().await?;
    let rounds = rounds(8);
    for round in 0..rounds {
        let account = cluster.backend.account_with_totp().await?;
        let waiting = pending(&cluster, &account, 20).await?;
        let code = &account.recovery_codes[round % 10];
        let shots: Vec<_> =
            (0..100).map(|number| Shot::verify(&waiting[number % 20].mfa_token, "recovery", code)).collect();
        let outcomes = cluster.fire_each(&shots).await?;
        one_won(&mut cluster, &account, &outcomes).await.with_context(|| format!("round {round}"))?;
        let left = State::of(&cluster.backend, &account).await?.of_kind("recovery code");
        ensure!(left == 9, "round {round}: {left} codes are left");
    }
    println!("{rounds} rounds of 100 uses of one recovery code");
    Ok(())
}

/// CVE-2025-6014 (Vault), CVE-2026-82470 (Rodauth): one TOTP code used more than once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_100_uses_of_one_totp_code_one_succeeds() -> anyhow::Result<()> {
    let mut cluster = Cluster::start().await?;
    let rounds = rounds(8);
    for round in 0..rounds {
        let account = cluster.backend.account_with_totp().await?;
        let waiting = pending(&cluster, &account, 20).await?;
        let factor = account.factor();
        // The code of the step after the one that confirmed the factor: the tolerance is one step.
        let code = factor.code_at(cluster.backend.now() + 30);
        let shots: Vec<_> =
            (0..100).map(|number| Shot::verify(&waiting[number % 20].mfa_token, &factor.id, &code)).collect();
        let outcomes = cluster.fire_each(&shots).await?;
        one_won(&mut cluster, &account, &outcomes).await.with_context(|| format!("round {round}"))?;
    }
    println!("{rounds} rounds of 100 uses of one TOTP code");
    Ok(())
}

/// One right password is one sign-in, however many right codes follow it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_100_uses_of_one_mfa_token_one_succeeds() -> anyhow::Result<()> {
    let mut cluster = Cluster::start().await?;
    let rounds = rounds(8);
    for round in 0..rounds {
        let account = cluster.backend.account_with_totp().await?;
        let token = pending(&cluster, &account, 1).await?.remove(0).mfa_token;
        let factor = account.factor();
        let totp = factor.code_at(cluster.backend.now() + 30);
        let shots: Vec<_> = (0..100)
            .map(|number| match number % 4 {
                0 => Shot::verify(&token, &factor.id, &totp),
                _ => Shot::verify(&token, "recovery", &account.recovery_codes[number % 10]),
            })
            .collect();
        let outcomes = cluster.fire_each(&shots).await?;
        one_won(&mut cluster, &account, &outcomes).await.with_context(|| format!("round {round}"))?;
        let left = State::of(&cluster.backend, &account).await?.of_kind("recovery code");
        ensure!(left >= 9, "round {round}: only {left} codes are left of one use");
    }
    println!("{rounds} rounds of 100 uses of one MFA token");
    Ok(())
}

/// CVE-2018-14657 (Keycloak), better-auth's burst of four times the budget: codes are as limited as passwords, in all
/// ways that lead to one factor.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_100_wrong_codes_at_once_at_most_five_are_checked() -> anyhow::Result<()> {
    let mut cluster = Cluster::start().await?;
    let rounds = rounds(8);
    for round in 0..rounds {
        let account = cluster.backend.account_with_totp().await?;
        let waiting = pending(&cluster, &account, 10).await?;
        let factor = account.factor();
        let wrong = factor.wrong_code_at(cluster.backend.now());
        let shots: Vec<_> = (0..100)
            .map(|number| Shot::verify(&waiting[number % 10].mfa_token, &factor.id, &wrong))
            .collect();
        let outcomes = cluster.fire_each(&shots).await?;
        let checked = outcomes.iter().filter(|outcome| outcome.is(401, "invalid_code")).count();
        let limited = outcomes.iter().filter(|outcome| outcome.is(429, "too_many_attempts")).count();
        ensure!(checked + limited == 100 && checked <= 5, "round {round}: {}", tally(&outcomes));
        let events = cluster.backend.items("Audit").await?;
        let partition = format!("USER#{}", account.user_id);
        let refused = |item: &&Value| item["pk"] == partition.as_str() && item["kind"] == "mfa.refused";
        let refused = events.iter().filter(refused).count();
        ensure!(refused == checked, "round {round}: {refused} events of {checked} refusals");
        let code = factor.code_at(cluster.backend.now() + 30);
        let right = cluster.ask(Shot::verify(&waiting[0].mfa_token, &factor.id, &code)).await?;
        ensure!(right.is(429, "too_many_attempts"), "round {round}: the right code while locked: {right:?}");
    }
    println!("{rounds} rounds of 100 wrong codes");
    Ok(())
}
