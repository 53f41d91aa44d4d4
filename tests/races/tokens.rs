//! One refresh token, many uses.

use anyhow::{Context as _, ensure};

use crate::{
    cluster::{Cluster, Shot, rounds, tally},
    state::State,
};

/// CVE-2026-1035 (Keycloak), GHSA-7w99-5wm4-3g79 (better-auth): the check and the rotation are one step.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_refreshes_of_one_token_make_one_lineage() -> anyhow::Result<()> {
    let mut cluster = Cluster::start().await?;
    let rounds = rounds(20);
    for round in 0..rounds {
        let account = cluster.backend.account().await?;
        let session = cluster.backend.actor().log_in(&account).await?;
        let outcomes = cluster.fire_each(&vec![Shot::refresh(&session.refresh_token); 100]).await?;
        ensure!(outcomes.iter().all(|outcome| outcome.status == 200), "round {round}: {}", tally(&outcomes));
        let mut children: Vec<_> =
            outcomes.iter().filter_map(|outcome| outcome.text("refresh_token")).map(str::to_owned).collect();
        children.sort_unstable();
        children.dedup();
        ensure!(children.len() == 1, "round {round}: {} children of one token", children.len());
        let held = State::of(&cluster.backend, &account).await?;
        ensure!(held.of_kind("session") == 1, "round {round}: {} sessions", held.of_kind("session"));

        let next = cluster.ask(Shot::refresh(&children[0])).await?;
        let grandchild = next.text("refresh_token").context("the child does not work")?.to_owned();
        // Two behind, and later than any grace: the whole lineage ends, on every server.
        cluster.backend.advance(11).await?;
        let reuse = cluster.ask(Shot::refresh(&session.refresh_token)).await?;
        ensure!(reuse.is(401, "refresh_token_reused"), "round {round}: {reuse:?}");
        let living = cluster.living([children[0].as_str(), grandchild.as_str()]).await?;
        ensure!(living.is_empty(), "round {round}: {} tokens outlive the reuse", living.len());
    }
    println!("{rounds} rounds of 100 refreshes of one token");
    Ok(())
}

/// Whoever uses an old token ends the session, whatever the owner is doing with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reuse_among_refreshes_ends_the_session_for_all() -> anyhow::Result<()> {
    let mut cluster = Cluster::start().await?;
    let rounds = rounds(50);
    for round in 0..rounds {
        let account = cluster.backend.account().await?;
        let mut session = cluster.backend.actor().log_in(&account).await?;
        let stolen = session.refresh_token.clone();
        session.refresh().await?;
        session.refresh().await?;
        let mut shots = vec![Shot::refresh(&session.refresh_token).chain(4); 3];
        shots.insert(round % 4, Shot::refresh(&stolen));
        let outcomes: Vec<_> = cluster.fire(&shots).await?.into_iter().flatten().collect();
        let told = outcomes.iter().filter(|outcome| outcome.is(401, "refresh_token_reused")).count();
        ensure!(told >= 1, "round {round}: {}", tally(&outcomes));
        let tokens = outcomes.iter().filter_map(|outcome| outcome.text("refresh_token"));
        let tokens: Vec<_> = tokens.chain([stolen.as_str(), session.refresh_token.as_str()]).collect();
        let living = cluster.living(tokens).await?;
        ensure!(living.is_empty(), "round {round}: {} tokens outlive the reuse", living.len());
        let events = cluster.backend.outbox().await?;
        let partition = format!("USER#{}", account.user_id);
        let mails = events.iter().filter(|message| message["pk"] == partition.as_str()).count();
        ensure!(mails >= 1, "round {round}: the owner is not told");
    }
    println!("{rounds} rounds of a reuse among refreshes");
    Ok(())
}
