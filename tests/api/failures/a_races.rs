//! A. Races. Quick versions: the full ones, from several processes, stand in tests/races.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
};

use futures_util::future::try_join_all;

use crate::prelude::*;

/// Cheap hashes and long timeouts: many requests share this machine, where each would have an instance of Lambda to itself.
async fn start() -> Result<Backend> {
    Backend::with(&[("SALLYPORT_PASSWORD_MEMORY_KIB", "7168"), ("SALLYPORT_CALL_TIMEOUT_MS", "20000")]).await
}

/// All at once.
async fn burst<F>(count: usize, ask: impl Fn(usize) -> F) -> Result<Vec<Answer>>
where
    F: Future<Output = Result<Answer>>,
{
    try_join_all((0..count).map(ask)).await
}

/// Five were checked and the rest was refused unseen.
fn assert_limited(answers: &[Answer], code: &str) {
    let expected = [(outcome(401, code), 5), (outcome(429, "too_many_attempts"), answers.len() - 5)];
    assert_eq!(tally(answers), BTreeMap::from(expected));
}

/// How often each outcome came.
fn tally(answers: &[Answer]) -> BTreeMap<(u16, String), usize> {
    let mut tally = BTreeMap::new();
    for answer in answers {
        *tally.entry(answer.outcome()).or_default() += 1;
    }
    tally
}

fn count(answers: &[Answer], status: u16, code: &str) -> usize {
    tally(answers).get(&outcome(status, code)).copied().unwrap_or_default()
}

#[tokio::test]
async fn a01_parallel_logins_do_not_outrun_the_limit_cve_2024_4629() -> Result<()> {
    let backend = start().await?;
    let account = backend.account().await?;
    let actor = backend.actor();
    let answers = burst(25, |_| actor.try_log_in(&account.email, "wrong")).await?;
    assert_limited(&answers, "invalid_credentials");
    let right = actor.try_log_in(&account.email, &account.password).await?;
    assert_eq!(right.outcome(), outcome(429, "too_many_attempts"));
    Ok(())
}

#[tokio::test]
async fn a02_parallel_guesses_do_not_outrun_the_limit_on_any_pathway_cve_2023_47111() -> Result<()> {
    let backend = start().await?;
    let account = backend.account_with_totp().await?;
    let pending = backend.actor().begin_log_in(&account).await?;
    let session = pending.verify_with_totp(&backend, &account).await?;
    let wrong = json!({"password": "wrong"});
    let answers = burst(25, |_| session.try_reauthenticate(&wrong)).await?;
    assert_limited(&answers, "invalid_credentials");
    let pending = backend.actor().begin_log_in(&account).await?;
    let wrong = account.factor().wrong_code_at(backend.now());
    let answers = burst(25, |_| pending.try_verify(&account.factor().id, &wrong)).await?;
    assert_limited(&answers, "invalid_code");
    Ok(())
}

#[tokio::test]
async fn a03_the_count_is_the_number_of_failures_exactly_cve_2019_5421() -> Result<()> {
    let backend = start().await?;
    for failures in 1..=4_usize {
        let email = format!("nobody{failures}@example.com");
        let actor = backend.actor();
        burst(failures, |_| actor.try_log_in(&email, "wrong")).await?;
        for _ in failures..5 {
            actor.try_log_in(&email, "wrong").await?.expect(401)?;
        }
        actor.try_log_in(&email, "wrong").await?.expect(429)?;
    }
    Ok(())
}

#[tokio::test]
async fn a04_many_connections_are_counted_as_one_cve_2026_93346() -> Result<()> {
    let backend = start().await?;
    let account = backend.account().await?;
    let actors: Vec<_> = (0..25).map(|_| backend.actor()).collect();
    let answers = burst(25, |number| actors[number].try_log_in(&account.email, "wrong")).await?;
    assert_limited(&answers, "invalid_credentials");
    Ok(())
}

#[tokio::test]
async fn a05_a_burst_of_valid_logins_passes_keycloak_48272() -> Result<()> {
    let backend = start().await?;
    let account = backend.account().await?;
    let actors: Vec<_> = (0..25).map(|_| backend.actor()).collect();
    let answers = burst(25, |number| actors[number].try_log_in(&account.email, &account.password)).await?;
    assert_eq!(tally(&answers), BTreeMap::from([(outcome(200, ""), 25)]));
    let sessions: BTreeSet<_> = answers.iter().map(|answer| answer.string("session_id").unwrap()).collect();
    assert_eq!(sessions.len(), 25);
    let alive = try_join_all(answers.iter().map(|answer| async {
        let token = answer.string("refresh_token")?;
        anyhow::Ok(backend.actor().try_refresh(&token).await?.status == 200)
    }))
    .await?;
    assert_eq!(
        alive.iter().filter(|alive| **alive).count(),
        10,
        "the limit of sessions holds in a burst as well"
    );
    Ok(())
}

#[tokio::test]
async fn a06_one_refresh_token_used_at_once_has_one_successor_cve_2026_1035() -> Result<()> {
    let backend = start().await?;
    let session = backend.actor().log_in(&backend.account().await?).await?;
    let answers = burst(40, |_| session.try_refresh()).await?;
    assert_eq!(tally(&answers), BTreeMap::from([(outcome(200, ""), 40)]));
    let successors: BTreeSet<_> =
        answers.iter().map(|answer| answer.string("refresh_token").unwrap()).collect();
    assert_eq!(successors.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a07_twenty_rotations_in_a_second_leave_one_token_keycloak_50999() -> Result<()> {
    for replayed in [0, 10, 18] {
        let backend = start().await?;
        let mut session = backend.actor().log_in(&backend.account().await?).await?;
        let mut spent = Vec::new();
        for _ in 0..20 {
            spent.push(session.refresh_token.clone());
            session.refresh().await?;
        }
        let replay = backend.actor().try_refresh(&spent[replayed]).await?;
        assert_eq!(replay.outcome(), outcome(401, "refresh_token_reused"), "token {replayed}");
        assert!(!session.is_alive().await?, "token {replayed}");
    }
    Ok(())
}

#[tokio::test]
async fn a08_a_restart_forgets_no_rotation_cve_2026_9802() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let restart = || {
        Backend::start_as(local::Options {
            data: Some(directory.path().to_owned()),
            ..local::Options::default()
        })
    };
    let backend = restart().await?;
    let mut session = backend.actor().log_in(&backend.account().await?).await?;
    let spent = session.refresh_token.clone();
    session.refresh().await?;
    session.refresh().await?;
    backend.stop().await;
    let backend = restart().await?;
    let replay = backend.actor().try_refresh(&spent).await?;
    assert_eq!(replay.outcome(), outcome(401, "refresh_token_reused"));
    let successor = backend.actor().try_refresh(&session.refresh_token).await?;
    assert_eq!(successor.outcome(), outcome(401, "invalid_refresh_token"));
    Ok(())
}

#[tokio::test]
async fn a09_a_refresh_that_meets_a_logout_leaves_no_token_alive_keycloak_51312() -> Result<()> {
    let backend = start().await?;
    let client = backend.client().await?;
    let account = backend.account().await?;
    for round in 0..30 {
        let session = backend.actor().log_in(&account).await?;
        let end = || async {
            match round % 3 {
                0 => session.log_out("local").await,
                1 => session.log_out("global").await,
                _ => session.actor.revoke(&client, &session.refresh_token).await,
            }
        };
        let ending = async {
            anyhow::ensure!([200, 204].contains(&end().await?.status));
            Ok(())
        };
        let (refreshed, ended) = tokio::join!(session.try_refresh(), ending);
        ended?;
        for token in [Some(session.refresh_token.clone()), refreshed?.string("refresh_token").ok()] {
            let Some(token) = token else { continue };
            let after = backend.actor().try_refresh(&token).await?;
            assert_eq!(after.outcome(), outcome(401, "invalid_refresh_token"), "round {round}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a10_one_mfa_token_makes_one_session_ghsa_392p_2q2v_4372() -> Result<()> {
    let backend = start().await?;
    let account = backend.account_with_totp().await?;
    let pending = backend.actor().begin_log_in(&account).await?;
    // Each with a code of its own, all of them good: the token alone is the bottleneck.
    let answers = burst(10, |number| pending.try_verify("recovery", &account.recovery_codes[number])).await?;
    let taken = count(&answers, 200, "");
    assert!(taken == 1, "{:?}", tally(&answers));
    let mut others = tally(&answers).into_keys().filter(|(status, _)| *status != 200);
    assert!(
        others.all(|(status, code)| status == 429 || code == "invalid_mfa_token"),
        "{:?}",
        tally(&answers)
    );
    Ok(())
}

#[tokio::test]
async fn a11_one_code_is_taken_once_hackerone_3692149() -> Result<()> {
    let backend = start().await?;
    let account = backend.account_with_totp().await?;
    let factor = account.factor();
    let begin = || async { backend.actor().begin_log_in(&account).await };
    for (id, code) in
        [("recovery", account.recovery_codes[0].clone()), (&factor.id, backend.code(factor).await?)]
    {
        let mut pendings = Vec::new();
        for _ in 0..20 {
            pendings.push(begin().await?);
        }
        let answers = burst(20, |number| pendings[number].try_verify(id, &code)).await?;
        let taken = count(&answers, 200, "");
        assert!(taken == 1, "{id}: {:?}", tally(&answers));
        assert!(count(&answers, 401, "invalid_code") <= 5, "{id}: {:?}", tally(&answers));
        backend.unlock(&account).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a12_a_burst_of_codes_stays_within_the_budget_and_makes_one_session_better_auth() -> Result<()> {
    let backend = start().await?;
    let account = backend.account_with_totp().await?;
    let pending = backend.actor().begin_log_in(&account).await?;
    let wrong = account.factor().wrong_code_at(backend.now());
    let right = backend.code(account.factor()).await?;
    let answers = burst(20, |number| {
        let code = if number % 4 == 0 { &right } else { &wrong };
        pending.try_verify(&account.factor().id, code)
    })
    .await?;
    assert!(count(&answers, 200, "") <= 1, "{:?}", tally(&answers));
    assert!(
        count(&answers, 401, "invalid_code") <= 5 + 5,
        "at most a budget before and one after the success"
    );
    Ok(())
}
