//! Many passwords at once.

use anyhow::{Context as _, ensure};
use sallyport_testkit::Account;

use crate::{
    cluster::{Cluster, Shot, rounds, tally},
    state::State,
};

/// The attempts of a pool before it locks.
const LIMIT: usize = 5;

/// CVE-2024-4629 (Keycloak), CVE-2023-47111 (Zitadel), CVE-2019-5421 (Devise), CVE-2026-93346 (Wazuh). Promise 1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_200_wrong_passwords_at_once_at_most_five_are_checked() -> anyhow::Result<()> {
    let mut cluster = Cluster::start().await?;
    let rounds = rounds(100);
    let mut checked = Vec::new();
    for round in 0..rounds {
        let mut account = cluster.backend.account().await?;
        // Every tenth account is nobody's: strangers must not see a difference, here as elsewhere.
        if round % 10 == 9 {
            account.email = account.email.replace("user", "nobody");
        }
        let shots: Vec<_> =
            (0..200).map(|number| Shot::login(&account, &format!("Wrong horse {number}"))).collect();
        let outcomes = cluster.fire_each(&shots).await?;
        let refused = outcomes.iter().filter(|outcome| outcome.is(401, "invalid_credentials")).count();
        let limited = outcomes.iter().filter(|outcome| outcome.is(429, "too_many_attempts")).count();
        ensure!(refused + limited == 200, "round {round}: {}", tally(&outcomes));
        ensure!((1..=LIMIT).contains(&refused), "round {round}: {refused} were checked");
        let counted = cluster.metric("password_checks").await?;
        ensure!(
            counted == u64::try_from(refused)?,
            "round {round}: {counted} checks, {refused} answers of 401"
        );
        let right = cluster.ask(Shot::login(&account, &account.password)).await?;
        ensure!(
            right.is(429, "too_many_attempts"),
            "round {round}: the right password while locked: {right:?}"
        );
        checked.push(refused);
    }
    println!(
        "{rounds} rounds of 200 wrong passwords: {} to {} checked",
        checked.iter().min().unwrap(),
        checked.iter().max().unwrap()
    );
    Ok(())
}

/// Keycloak #48272, #33527, #52428: the limit refuses nobody who knows the password.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_right_passwords_at_once_all_sign_in() -> anyhow::Result<()> {
    let mut cluster = Cluster::start().await?;
    let rounds = rounds(10);
    for round in 0..rounds {
        let account = cluster.backend.account().await?;
        let shots = vec![Shot::login(&account, &account.password); 50];
        let outcomes = cluster.fire_each(&shots).await?;
        ensure!(outcomes.iter().all(|outcome| outcome.status == 200), "round {round}: {}", tally(&outcomes));
        let mut sessions: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.text("session_id")).collect();
        sessions.sort_unstable();
        sessions.dedup();
        ensure!(sessions.len() == 50, "round {round}: {} sessions were answered", sessions.len());

        let held = State::of(&cluster.backend, &account).await?.of_kind("session");
        ensure!((1..=10).contains(&held), "round {round}: {held} sessions remain");
        let displaced = displaced(&cluster, &account).await?;
        ensure!(displaced.len() == 50 - held, "round {round}: {} of {} are told", displaced.len(), 50 - held);
        let tokens = outcomes.iter().filter_map(|outcome| outcome.text("refresh_token"));
        let living = cluster.living(tokens).await?.len();
        ensure!(living == held, "round {round}: {living} tokens work, {held} sessions remain");
    }
    println!("{rounds} rounds of 50 right passwords");
    Ok(())
}

/// The sessions that the audit says were displaced, each once.
async fn displaced(cluster: &Cluster, account: &Account) -> anyhow::Result<Vec<String>> {
    let partition = format!("USER#{}", account.user_id);
    let mut all = Vec::new();
    for item in cluster.backend.items("Audit").await? {
        if item["pk"] == partition.as_str() && item["kind"] == "session.displaced" {
            let detail = item["detail"].as_str().context("no detail")?;
            all.extend(detail.split(' ').map(str::to_owned));
        }
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// Among wrong ones a right password may be refused, and is never taken for wrong; none of the wrong ones gets in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn right_and_wrong_passwords_at_once_are_told_apart() -> anyhow::Result<()> {
    let mut cluster = Cluster::start().await?;
    let rounds = rounds(15);
    let mut passed = 0;
    for round in 0..rounds {
        let account = cluster.backend.account().await?;
        let shots: Vec<_> = (0..50)
            .map(|number| {
                Shot::login(&account, if number % 2 == 0 { &account.password } else { "Wrong horse" })
            })
            .collect();
        let outcomes = cluster.fire_each(&shots).await?;
        let (right, wrong): (Vec<_>, Vec<_>) =
            outcomes.iter().enumerate().partition(|(index, _)| index % 2 == 0);
        let successes = right.iter().filter(|(_, outcome)| outcome.status == 200).count();
        ensure!(
            right.iter().all(|(_, outcome)| outcome.status == 200 || outcome.is(429, "too_many_attempts")),
            "round {round}: {}",
            tally(&outcomes)
        );
        ensure!(
            wrong
                .iter()
                .all(|(_, outcome)| outcome.is(401, "invalid_credentials")
                    || outcome.is(429, "too_many_attempts")),
            "round {round}: {}",
            tally(&outcomes)
        );
        let checked = wrong.iter().filter(|(_, outcome)| outcome.status == 401).count();
        // A success clears what failed before it.
        ensure!(
            checked <= LIMIT * (successes + 1),
            "round {round}: {checked} checked among {successes} successes"
        );
        let held = State::of(&cluster.backend, &account).await?.of_kind("session");
        ensure!(
            held == successes.min(10) || (held <= 10 && successes > 10),
            "round {round}: {held} sessions of {successes}"
        );
        passed += successes;
    }
    println!(
        "{rounds} rounds of 25 right and 25 wrong passwords: {passed} of {} right ones passed",
        rounds * 25
    );
    Ok(())
}

/// CVE-2024-1722 (Keycloak): a stranger locks nobody out of a device that the account knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_device_signs_in_25_times_among_25_wrong_guesses_of_strangers() -> anyhow::Result<()> {
    let mut cluster = Cluster::start().await?;
    let rounds = rounds(10);
    for round in 0..rounds {
        let account = cluster.backend.account().await?;
        let actor = cluster.backend.actor();
        actor.log_in(&account).await?;
        let known = serde_json::json!({
            "email": account.email, "password": account.password, "device_token": actor.device_token(),
        });
        let shots: Vec<_> = (0..50)
            .map(|number| match number % 2 {
                0 => Shot::post("/api/v1/auth/login", known.clone()),
                _ => Shot::login(&account, "Wrong horse"),
            })
            .collect();
        let outcomes = cluster.fire_each(&shots).await?;
        let passed = outcomes.iter().step_by(2).filter(|outcome| outcome.status == 200).count();
        let checked = outcomes.iter().skip(1).step_by(2).filter(|outcome| outcome.status == 401).count();
        ensure!(passed == 25 && checked <= LIMIT, "round {round}: {}", tally(&outcomes));
    }
    println!("{rounds} rounds of a known device among strangers");
    Ok(())
}

/// Whoever minted device tokens while they knew the password has the pools of twelve devices and the strangers', exactly.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_300_wrong_passwords_by_15_device_tokens_at_once_65_are_checked() -> anyhow::Result<()> {
    let mut cluster = Cluster::start().await?;
    let rounds = rounds(10);
    for round in 0..rounds {
        let account = cluster.backend.account().await?;
        let mut tokens = Vec::new();
        for _ in 0..15 {
            let actor = cluster.backend.actor();
            let session = actor.log_in(&account).await?;
            session.log_out("local").await?.expect(204)?;
            tokens.push(actor.device_token());
        }
        let shots: Vec<_> = (0..300)
            .map(|number| {
                let guess = serde_json::json!({
                    "email": account.email, "password": format!("Wrong horse {number}"),
                    "device_token": tokens[number % 15],
                });
                Shot::post("/api/v1/auth/login", guess)
            })
            .collect();
        cluster.metric("password_checks").await?;
        let outcomes = cluster.fire_each(&shots).await?;
        let refused = outcomes.iter().filter(|outcome| outcome.is(401, "invalid_credentials")).count();
        let limited = outcomes.iter().filter(|outcome| outcome.is(429, "too_many_attempts")).count();
        ensure!(refused + limited == 300, "round {round}: {}", tally(&outcomes));
        ensure!(refused == (12 + 1) * LIMIT, "round {round}: {refused} were checked");
        let counted = cluster.metric("password_checks").await?;
        ensure!(
            counted == u64::try_from(refused)?,
            "round {round}: {counted} checks, {refused} answers of 401"
        );
    }
    println!("{rounds} rounds of 300 wrong passwords by 15 device tokens: 65 checked in each");
    Ok(())
}
