//! The keyring is not there at start, goes away later, is damaged.

use std::collections::BTreeMap;

use anyhow::ensure;
use sallyport_testkit::{Answer, Backend};
use serde_json::{Value, json};

/// Promise 7, for the keyring.
fn is_unavailable(answer: &Answer) -> anyhow::Result<()> {
    ensure!(answer.outcome() == (503, "keyring_unavailable".to_owned()), "{}", answer.text());
    ensure!(answer.header("retry-after") == "1", "{answer:?}");
    ensure!(answer.header("content-type") == "application/problem+json", "{answer:?}");
    Ok(())
}

/// Writes a secret as somebody with the console of AWS could, and answers what was there before.
async fn overwrite(backend: &Backend, text: &str) -> anyhow::Result<String> {
    let lookup = |name: &str| backend.environment().get(name).cloned();
    let endpoints = sallyport_aws::Endpoints::from_lookup(&lookup);
    let secrets = sallyport_aws::Clients::connect(&endpoints, "operator", &lookup)?.secrets;
    let name = &backend.environment()["SALLYPORT_KEYRING_SECRET"];
    let before = secrets.get_secret_value().secret_id(name).send().await?.secret_string.unwrap_or_default();
    secrets.put_secret_value().secret_id(name).secret_string(text).send().await?;
    Ok(before)
}

/// A second server over the same database and keyring: a cold start.
struct Cold {
    running: local::Backend,
}

impl Cold {
    async fn start(backend: &Backend) -> anyhow::Result<Self> {
        let environment = BTreeMap::from([
            ("AWS_ENDPOINT_URL".to_owned(), backend.dynamodb_url().to_owned()),
            ("SALLYPORT_ISSUER".to_owned(), backend.issuer().to_owned()),
        ]);
        let options = local::Options { environment, quiet: true, ..local::Options::default() };
        Ok(Self { running: local::Backend::start(options).await? })
    }

    /// Status and code of an answer.
    async fn ask(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<(u16, String)> {
        let url = format!("{}{path}", self.running.url());
        let answer = reqwest::Client::new().request(method.parse()?, url).json(body).send().await?;
        let status = answer.status().as_u16();
        let body: Value = answer.json().await?;
        Ok((status, body["code"].as_str().unwrap_or_default().to_owned()))
    }

    async fn keys(&self) -> anyhow::Result<(u16, String)> {
        self.ask("GET", "/.well-known/jwks.json", &json!({})).await
    }

    async fn refresh(&self, token: &str) -> anyhow::Result<(u16, String)> {
        self.ask("POST", "/api/v1/auth/refresh", &json!({"refresh_token": token})).await
    }
}

fn unavailable() -> (u16, String) {
    (503, "keyring_unavailable".to_owned())
}

/// The sum of a metric of the wide events.
fn total(lines: &[Value], metric: &str) -> u64 {
    lines.iter().filter_map(|line| line["line"][metric].as_u64()).sum()
}

#[tokio::test]
async fn a_keyring_that_is_away_at_start_is_said_so_and_found_later() -> anyhow::Result<()> {
    let away = json!({"kind": "refuse", "service": "secretsmanager"}).to_string();
    let options = local::Options { faults: vec![away], ..local::Options::default() };
    let backend = Backend::start_as(options).await?;
    let actor = backend.actor();
    is_unavailable(&actor.try_log_in("somebody@example.com", "Correct horse").await?)?;
    is_unavailable(&actor.try_refresh("spr_AAAA").await?)?;
    is_unavailable(&actor.get("/.well-known/jwks.json").await?)?;
    actor.get("/health/live").await?.expect(200)?;
    actor.get("/health/secrets").await?.expect(503)?;
    backend.heal().await?;
    backend.advance(5).await?;
    // Nobody was there to fill it: the next cold start does.
    is_unavailable(&actor.get("/.well-known/jwks.json").await?)?;
    let second = Cold::start(&backend).await?;
    ensure!(second.keys().await?.0 == 200, "a cold start finds no keyring and makes none");
    actor.get("/.well-known/jwks.json").await?.expect(200)?;
    actor.get("/health/secrets").await?.expect(200)?;
    actor.try_log_in("somebody@example.com", "Correct horse").await?.expect(401).map(drop)
}

/// Promise 2, for the start that fills it. A kind a test: starts without a keyring use up the retries of a process.
async fn is_filled_once_despite(kind: &str) -> anyhow::Result<()> {
    for (keyring, operation) in [(true, "PutSecretValue"), (false, "PutItem")] {
        let away = json!({"kind": "refuse", "service": "secretsmanager"}).to_string();
        let options = local::Options { faults: vec![away], ..local::Options::default() };
        let backend = Backend::start_as(options).await?;
        backend.heal().await?;
        let rule = json!({"kind": kind, "operation": operation});
        if keyring {
            backend.keyring_fault(rule).await?;
        } else {
            backend.fault(rule).await?;
        }
        let keys = Cold::start(&backend).await?.keys().await?;
        let events = backend.items("Audit").await?;
        let created = events.iter().filter(|item| item["kind"] == "keyring.created").count();
        ensure!(keys.0 == 200 && created == 1, "{kind} at {operation}: {keys:?}, {created} events");
    }
    Ok(())
}

#[tokio::test]
async fn a_keyring_is_filled_and_recorded_once_when_a_call_is_lost() -> anyhow::Result<()> {
    is_filled_once_despite("drop_before").await
}

#[tokio::test]
async fn a_keyring_is_filled_and_recorded_once_when_a_reply_is_lost() -> anyhow::Result<()> {
    is_filled_once_despite("drop_after").await
}

#[tokio::test]
async fn a_keyring_is_filled_and_recorded_once_when_a_call_fails() -> anyhow::Result<()> {
    is_filled_once_despite("error_500").await
}

#[tokio::test]
async fn a_keyring_is_filled_and_recorded_once_when_a_call_is_throttled() -> anyhow::Result<()> {
    is_filled_once_despite("throttle").await
}

#[tokio::test]
async fn the_last_good_keyring_serves_through_an_outage() -> anyhow::Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let mut session = backend.actor().log_in(&account).await?;
    backend.keyring_fault(json!({"kind": "refuse"})).await?;
    // Long past the age at which it is fetched anew, again and again.
    for _ in 0..3 {
        backend.advance(3600).await?;
        session.refresh().await?;
        backend.actor().log_in(&account).await?;
    }
    let down = backend.actor().get("/health/secrets").await?.expect(503)?;
    ensure!(down.field("checks")["keyring"]["status"] == "down", "{}", down.text());
    ensure!(total(&backend.logs().await?, "cache_misses") >= 6, "the outage does not show");
    let cold = Cold::start(&backend).await?.keys().await?;
    ensure!(cold == unavailable(), "{cold:?}");

    backend.heal().await?;
    backend.advance(3600).await?;
    session.refresh().await?;
    backend.actor().get("/health/secrets").await?.expect(200).map(drop)
}

#[tokio::test]
async fn a_slow_keyring_delays_nobody_who_holds_a_copy_for_long() -> anyhow::Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let mut session = backend.actor().log_in(&account).await?;
    backend.keyring_fault(json!({"kind": "slow", "delay_ms": 60_000})).await?;
    backend.advance(3600).await?;
    // The calls' own timeout ends the wait; well within the function's ten seconds.
    tokio::time::timeout(std::time::Duration::from_secs(5), session.refresh()).await??;
    Ok(())
}

#[tokio::test]
async fn a_damaged_keyring_replaces_no_good_one() -> anyhow::Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let mut session = backend.actor().log_in(&account).await?;
    let mut keyless: Value = serde_json::from_str(&overwrite(&backend, "{\"version\":").await?)?;
    let good = keyless.to_string();
    keyless["signing"][0]["private_key"] = json!("AAAA");
    let versions = json!({"version": 2}).to_string();
    for damaged in ["{\"version\":", "null", "[]", versions.as_str(), &keyless.to_string()] {
        overwrite(&backend, damaged).await?;
        backend.advance(3600).await?;
        session.refresh().await?;
        backend.actor().get("/health/secrets").await?.expect(503)?;
        let cold = Cold::start(&backend).await?;
        let answers = [cold.keys().await?, cold.refresh(&session.refresh_token).await?];
        ensure!(answers == [unavailable(), unavailable()], "{damaged}: {answers:?}");
    }
    overwrite(&backend, &good).await?;
    backend.advance(3600).await?;
    session.refresh().await?;
    let cold = Cold::start(&backend).await?.refresh(&session.refresh_token).await?;
    ensure!(cold.0 == 200, "{cold:?}");
    Ok(())
}

/// An emptied secret (`{}`) is as bad as a damaged one to those who hold a copy: they serve on, and so must they.
#[tokio::test]
async fn an_emptied_keyring_replaces_no_good_one() -> anyhow::Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    let mut session = backend.actor().log_in(&account).await?;
    let good = overwrite(&backend, "{}").await?;
    backend.advance(3600).await?;
    session.refresh().await?;
    backend.actor().log_in(&account).await?;
    overwrite(&backend, &good).await?;
    backend.advance(3600).await?;
    session.refresh().await
}
