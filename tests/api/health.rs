//! `GET /health/…`

use std::time::Duration;

use crate::prelude::*;

/// How long the word about the keyring serves.
const FRESH: u64 = 5;

/// Status code and the state of each component, after a look at the form of the answer: names, states, latencies, no more.
async fn states(backend: &Backend, check: &str) -> Result<(u16, Vec<(String, String)>)> {
    let answer = backend.actor().get(&format!("/health/{check}")).await?;
    let body = answer.json();
    let word = if answer.status == 200 { "ready" } else { "unavailable" };
    assert_eq!(body["status"], word);
    assert_eq!(answer.has_header("retry-after"), answer.status == 503);
    assert_eq!(answer.header("cache-control"), "no-store");
    let names: Vec<_> = body.as_object().unwrap().keys().collect();
    assert_eq!(names, ["checks", "status"]);
    let mut states = Vec::new();
    for (component, check) in body["checks"].as_object().unwrap() {
        let members: Vec<_> = check.as_object().unwrap().keys().collect();
        assert_eq!(members, ["latency_ms", "status"]);
        assert!(check["latency_ms"].as_u64().unwrap() < 1000, "{check}");
        states.push((component.clone(), check["status"].as_str().unwrap().to_owned()));
    }
    Ok((answer.status, states))
}

fn all(components: &[(&str, &str)]) -> Vec<(String, String)> {
    components.iter().map(|(name, state)| ((*name).to_owned(), (*state).to_owned())).collect()
}

#[tokio::test]
async fn each_check_names_its_components() -> Result<()> {
    let backend = Backend::start().await?;
    let live = backend.actor().get("/health/live").await?.expect(200)?;
    assert_eq!(live.json(), json!({"status": "ok"}));
    for (check, components) in [
        ("ready", &[("keyring", "up"), ("sessions", "up"), ("throttle", "up"), ("users", "up")][..]),
        ("db", &[("throttle", "up"), ("users", "up")]),
        ("sessions", &[("sessions", "up")]),
        ("secrets", &[("keyring", "up")]),
    ] {
        assert_eq!(states(&backend, check).await?, (200, all(components)), "{check}");
    }
    Ok(())
}

#[tokio::test]
async fn a_component_that_is_down_is_named_and_the_others_are_up() -> Result<()> {
    let backend = Backend::start().await?;
    for down in ["users", "sessions", "throttle", "keyring"] {
        if down == "keyring" {
            backend.keyring_fault(json!({"kind": "refuse"})).await?;
        } else {
            backend.fault(json!({"kind": "refuse", "table": down})).await?;
        }
        backend.advance(FRESH).await?;
        for (check, components) in [
            ("ready", &["keyring", "sessions", "throttle", "users"][..]),
            ("db", &["throttle", "users"]),
            ("sessions", &["sessions"]),
            ("secrets", &["keyring"]),
        ] {
            let expected: Vec<_> =
                components.iter().map(|name| (*name, if *name == down { "down" } else { "up" })).collect();
            let status = if components.contains(&down) { 503 } else { 200 };
            assert_eq!(states(&backend, check).await?, (status, all(&expected)), "{check} without {down}");
        }
        backend.actor().get("/health/live").await?.expect(200)?;
        backend.heal().await?;
        backend.advance(FRESH).await?;
        assert_eq!(states(&backend, "ready").await?.0, 200, "it recovers");
    }
    Ok(())
}

#[tokio::test]
async fn errors_and_throttling_of_a_component_are_down_too_and_say_nothing_of_themselves() -> Result<()> {
    let backend = Backend::start().await?;
    for kind in ["error_500", "throttle", "drop_before"] {
        backend.fault(json!({"kind": kind, "table": "sessions", "count": 1000})).await?;
        let answer = backend.actor().get("/health/ready").await?;
        assert_eq!(answer.status, 503, "{kind}");
        for inner in ["sallyport-local", "Exception", "Error", "arn", "127.0.0.1", "HEALTH"] {
            assert!(!answer.text().contains(inner), "{kind}: {}", answer.text());
        }
        backend.heal().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_component_that_hangs_is_down_after_three_hundred_milliseconds_and_delays_no_other() -> Result<()> {
    let backend = Backend::start().await?;
    for table in ["users", "sessions", "throttle"] {
        backend.fault(json!({"kind": "slow", "delay_ms": 5000, "table": table})).await?;
    }
    backend.keyring_fault(json!({"kind": "slow", "delay_ms": 5000})).await?;
    let actor = backend.actor();
    let asked = tokio::time::timeout(Duration::from_millis(1500), actor.get("/health/ready"));
    let answer = asked.await.context("four checks of 300 ms side by side take no 1.5 s")??;
    assert_eq!(answer.status, 503);
    for (component, check) in answer.field("checks").as_object().unwrap() {
        assert_eq!(check["status"], "down", "{component}");
        let latency = check["latency_ms"].as_u64().unwrap();
        assert!((295..700).contains(&latency), "{component} {latency}");
    }
    Ok(())
}

/// Anonymous callers come by here as often as they like, blocked ones as well.
#[tokio::test]
async fn the_keyring_is_asked_for_once_in_five_seconds_and_never_by_the_function_that_is_asked() -> Result<()>
{
    let backend = Backend::start().await?;
    let actor = backend.actor();
    backend.block_prefix(&format!("{}/32", actor.address()), 3600).await?;
    let ask = async |count: usize| -> Result<Vec<Value>> {
        backend.forget_calls().await?;
        for number in 0..count {
            let path =
                ["/health/ready", "/health/secrets", "/health/db", "/health/sessions", "/status"][number % 5];
            let method = if number % 2 == 0 { "GET" } else { "HEAD" };
            actor.ask(method, path).send().await?.expect(200)?;
        }
        let of_secrets = |call: &Value| call["service"] == "secretsmanager";
        Ok(backend.calls().await?.into_iter().filter(of_secrets).collect())
    };
    backend.advance(10).await?;
    for _ in 0..3 {
        let calls = ask(50).await?;
        let callers: Vec<_> =
            calls.iter().map(|call| call["function"].as_str().unwrap_or_default()).collect();
        assert!(callers.len() <= 2 && callers.iter().all(|caller| *caller == "keys"), "{callers:?}");
        backend.advance(FRESH).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_keyring_that_is_empty_or_does_not_read_is_told_whoever_holds_a_copy() -> Result<()> {
    let backend = Backend::start().await?;
    let account = backend.account().await?;
    assert_eq!(states(&backend, "secrets").await?, (200, all(&[("keyring", "up")])));
    for damaged in ["{}", "", "null", "{\"version\":", "{\"version\": 1}"] {
        backend.write_secret_past_everything("SALLYPORT_KEYRING_SECRET", damaged).await?;
        backend.advance(FRESH).await?;
        // As a deployment begins: nobody has filled it.
        let state = if damaged.is_empty() || damaged == "{}" { "empty" } else { "down" };
        assert_eq!(states(&backend, "secrets").await?, (503, all(&[("keyring", state)])), "{damaged}");
        assert_eq!(states(&backend, "ready").await?.0, 503, "{damaged}");
        // The last good copy serves all the while.
        backend.actor().log_in(&account).await?;
    }
    let good = backend.keyring().to_string();
    backend.write_secret_past_everything("SALLYPORT_KEYRING_SECRET", &good).await?;
    backend.advance(FRESH).await?;
    assert_eq!(states(&backend, "ready").await?.0, 200);
    Ok(())
}

/// What `health` asks `keys` is no path of the API.
#[tokio::test]
async fn what_functions_ask_one_another_is_asked_by_nobody_else() -> Result<()> {
    let backend = Backend::start().await?;
    for path in ["/internal/keyring", "/internal", "/internal/keyring/"] {
        for method in ["GET", "HEAD", "OPTIONS", "POST"] {
            let answer = backend.actor().ask(method, path).send().await?;
            assert_ne!(answer.status, 200, "{method} {path}");
            assert!(!answer.text().contains("fault"), "{}", answer.text());
        }
    }
    Ok(())
}
