//! What ends sessions, racing with what begins and prolongs them. Once it is acknowledged, nothing lives (promise 5).

use anyhow::{Context as _, bail, ensure};
use sallyport_testkit::{Account, Backend, Session};
use serde_json::json;

use crate::{
    cluster::{Cluster, Outcome, Shot, rounds, tally},
    state::State,
};

/// All refresh tokens that anybody was given.
fn given<'a>(sessions: &'a [Session], outcomes: &'a [Outcome]) -> Vec<&'a str> {
    let before = sessions.iter().map(|session| session.refresh_token.as_str());
    before.chain(outcomes.iter().filter_map(|outcome| outcome.text("refresh_token"))).collect()
}

async fn none_failed(cluster: &Cluster, outcomes: &[Outcome]) -> anyhow::Result<()> {
    let known = |outcome: &Outcome| [200, 204, 401, 429].contains(&outcome.status);
    if !outcomes.iter().all(known) {
        bail!("{}, of which the servers say {:#?}", tally(outcomes), cluster.faults().await?);
    }
    Ok(())
}

/// Keycloak #51312: a refresh that meets a revocation mints nothing that lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_lives_after_a_logout_that_met_refreshes() -> anyhow::Result<()> {
    let mut cluster = Cluster::start().await?;
    let rounds = rounds(100);
    let mut minted = 0;
    for round in 0..rounds {
        let account = cluster.backend.account().await?;
        let session = cluster.backend.actor().log_in(&account).await?;
        let logout = match round % 3 {
            0 => Shot::post("/api/v1/auth/logout", json!({"refresh_token": session.refresh_token})),
            1 => Shot::post("/api/v1/auth/logout", json!({})).bearer(&session.access_token),
            _ => Shot::post("/api/v1/auth/logout", json!({"scope": "global"})).bearer(&session.access_token),
        };
        let reauthenticate = Shot::post("/api/v1/auth/reauthenticate", json!({"password": account.password}))
            .bearer(&session.access_token)
            .chain(2);
        let mut shots = vec![Shot::refresh(&session.refresh_token).chain(6); 3];
        shots.push(reauthenticate);
        shots.insert(round % 5, logout);
        let outcomes = cluster.fire(&shots).await?;
        let acknowledged = &outcomes[round % 5][0];
        ensure!(acknowledged.status == 204, "round {round}: {acknowledged:?}");
        let outcomes: Vec<_> = outcomes.into_iter().flatten().collect();
        none_failed(&cluster, &outcomes).await.with_context(|| format!("round {round}"))?;
        let tokens = given(std::slice::from_ref(&session), &outcomes);
        minted += tokens.len() - 1;
        let living = cluster.living(tokens).await?;
        ensure!(living.is_empty(), "round {round}: {} tokens outlive the logout", living.len());
        let held = State::of(&cluster.backend, &account).await?.of_kind("session");
        ensure!(held == 0, "round {round}: {held} sessions");
    }
    println!(
        "{rounds} rounds of refreshes against a logout: {minted} tokens were minted meanwhile, none lives"
    );
    Ok(())
}

/// CVE-2026-43911 (Vaultwarden), GHSA-x4vh-j75g-268g (NocoDB): sessions that survive a lock or a new password.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_lives_after_a_disabling_that_met_logins_and_refreshes() -> anyhow::Result<()> {
    let mut cluster = Cluster::start().await?;
    let rounds = rounds(100);
    let (mut minted, mut begun) = (0, 0);
    for round in 0..rounds {
        let account = cluster.backend.account().await?;
        let actor = cluster.backend.actor();
        let session = actor.log_in(&account).await?;
        let what = [Ending::Disable, Ending::SetPassword, Ending::Revoke][round % 3];
        let mut shots = vec![Shot::refresh(&session.refresh_token).chain(6); 2];
        let body = json!({"password": account.password});
        shots.push(Shot::post("/api/v1/auth/reauthenticate", body).bearer(&session.access_token).chain(3));
        // What signs in after all sessions were revoked may stay; after the others nothing may.
        if what != Ending::Revoke {
            shots.extend(vec![Shot::login(&account, &account.password).chain(3); 2]);
            let known = json!({
                "email": account.email, "password": account.password, "device_token": actor.device_token(),
            });
            shots.extend(vec![Shot::post("/api/v1/auth/login", known).chain(3); 2]);
        }
        let operate = async |backend: &Backend| {
            // Sooner or later, by so much work.
            for _ in 0..round % 7 {
                backend.items("Ops").await?;
            }
            what.to(backend, &account).await
        };
        let outcomes: Vec<_> = cluster.fire_while(&shots, operate).await?.into_iter().flatten().collect();
        none_failed(&cluster, &outcomes).await.with_context(|| format!("round {round}"))?;
        let tokens = given(std::slice::from_ref(&session), &outcomes);
        minted += tokens.len() - 1;
        begun += outcomes.iter().filter(|outcome| outcome.text("device_token").is_some()).count();
        let living = cluster.living(tokens).await?;
        ensure!(living.is_empty(), "round {round}: {} tokens outlive {what:?}", living.len());
        let held = State::of(&cluster.backend, &account).await?.of_kind("session");
        ensure!(held == 0, "round {round}: {held} sessions outlive {what:?}");
        if what != Ending::Revoke {
            let after = cluster.ask(Shot::login(&account, &account.password)).await?;
            ensure!(after.status == 401 || after.status == 429, "round {round}: {after:?}");
        }
    }
    println!(
        "{rounds} rounds of logins and refreshes against a disabling: {begun} sessions and {minted} tokens meanwhile, none lives"
    );
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Disable,
    SetPassword,
    Revoke,
}

impl Ending {
    async fn to(self, backend: &Backend, account: &Account) -> anyhow::Result<()> {
        match self {
            Self::Disable => backend.disable(account).await,
            Self::SetPassword => backend.set_password(&mut account.clone(), "Another horse").await,
            Self::Revoke => backend.revoke_sessions(account).await,
        }
    }
}

/// A sign-in that waits for its second factor ends with the password that began it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_lives_after_a_disabling_that_met_second_factors() -> anyhow::Result<()> {
    let mut cluster = Cluster::start().await?;
    let rounds = rounds(25);
    let mut begun = 0;
    for round in 0..rounds {
        let account = cluster.backend.account_with_totp().await?;
        let mut shots = Vec::new();
        for code in account.recovery_codes.iter().take(4) {
            let pending = cluster.backend.actor().begin_log_in(&account).await?;
            shots.push(Shot::verify(&pending.mfa_token, "recovery", code).chain(2));
        }
        let what = [Ending::Disable, Ending::SetPassword, Ending::Revoke][round % 3];
        let operate = async |backend: &Backend| {
            for _ in 0..round % 5 {
                backend.items("Ops").await?;
            }
            what.to(backend, &account).await
        };
        let outcomes: Vec<_> = cluster.fire_while(&shots, operate).await?.into_iter().flatten().collect();
        none_failed(&cluster, &outcomes).await.with_context(|| format!("round {round}"))?;
        let tokens = given(&[], &outcomes);
        begun += tokens.len();
        let living = cluster.living(tokens).await?;
        ensure!(living.is_empty(), "round {round}: {} tokens outlive {what:?}", living.len());
        let held = State::of(&cluster.backend, &account).await?.of_kind("session");
        ensure!(held == 0, "round {round}: {held} sessions outlive {what:?}");
    }
    println!("{rounds} rounds of second factors against a disabling: {begun} tokens meanwhile, none lives");
    Ok(())
}
