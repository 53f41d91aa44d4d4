//! Cold starts at once.

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use sallyport_testkit::Backend;
use serde_json::{Value, json};

use crate::cluster::{Instance, rounds};

/// Two that fill an empty keyring at once end with one keyring: each trusts what the other signs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cold_starts_at_once_end_with_one_keyring() -> anyhow::Result<()> {
    let rounds = rounds(5);
    let mut puts = 0;
    for round in 0..rounds {
        // This one may not fill it, so that those that follow find it empty.
        let away = json!({"kind": "refuse", "service": "secretsmanager", "operation": "PutSecretValue"});
        let options = local::Options { faults: vec![away.to_string()], ..local::Options::default() };
        let backend = Backend::start_as(options).await?;
        backend.actor().get("/.well-known/jwks.json").await?.expect(503)?;
        backend.heal().await?;
        let instances = try_join_all((0..4).map(|_| Instance::start(&backend))).await?;
        let mut keyrings = Vec::new();
        for instance in &instances {
            let answer = reqwest::get(format!("{}/.well-known/jwks.json", instance.url)).await?;
            ensure!(answer.status() == 200, "round {round}: {}", answer.status());
            keyrings.push(answer.json::<Value>().await?);
        }
        keyrings.push(backend.actor().get("/.well-known/jwks.json").await?.expect(200)?.json());
        let first = keyrings.first().context("no keyring")?;
        ensure!(keyrings.iter().all(|keyring| keyring == first), "round {round}: {keyrings:?}");
        let calls = backend.calls().await?;
        puts += calls.iter().filter(|call| call["operation"] == "PutSecretValue").count();
    }
    println!("{rounds} rounds of 4 cold starts at once: {puts} tried to fill the keyring, {rounds} did");
    Ok(())
}
