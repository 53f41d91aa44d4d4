//! The backend as a library: started, asked, stopped.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use local::{Backend, Options};
use serde_json::{Value, json};

async fn get(url: String) -> (u16, Value) {
    let response = reqwest::get(url).await.unwrap();
    (response.status().as_u16(), serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default())
}

async fn send(method: &str, url: String, body: Value) -> (u16, Value) {
    let request = reqwest::Client::new().request(method.parse().unwrap(), url).json(&body);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default())
}

/// A current-thread runtime on purpose: the backend brings its own threads.
#[tokio::test]
async fn it_answers_until_it_is_stopped() {
    let backend = Backend::start(Options { quiet: true, ..Options::default() }).await.unwrap();
    let url = backend.url().to_owned();
    let (status, problem) = get(format!("{url}/nowhere")).await;
    assert_eq!((status, &problem["code"]), (404, &json!("not_found")));
    let (status, keys) = get(format!("{url}/.well-known/jwks.json")).await;
    assert_eq!(status, 200, "{keys}");
    backend.stop().await;
    assert!(reqwest::get(format!("{url}/nowhere")).await.is_err());
}

#[tokio::test]
async fn dropping_it_ends_it() {
    let backend = Backend::start(Options { quiet: true, ..Options::default() }).await.unwrap();
    let url = backend.url().to_owned();
    assert_eq!(get(format!("{url}/_local/clock")).await.0, 200);
    drop(backend);
    // It ends by itself, in its own time.
    let refused = async { while reqwest::get(format!("{url}/_local/clock")).await.is_ok() {} };
    tokio::time::timeout(std::time::Duration::from_secs(10), refused).await.unwrap();
}

#[tokio::test]
async fn a_taken_port_names_its_flag() {
    let backend = Backend::start(Options { quiet: true, ..Options::default() }).await.unwrap();
    let port = |url: &str| url.rsplit(':').next().unwrap().parse().unwrap();
    let taken = Options { port: port(backend.url()), quiet: true, ..Options::default() };
    let error = Backend::start(taken).await.unwrap_err().to_string();
    assert!(error.ends_with("is in use: choose another with --port (0 takes a free one)"), "{error}");
    let taken = Options { dynamodb_port: port(backend.dynamodb_url()), quiet: true, ..Options::default() };
    let error = Backend::start(taken).await.unwrap_err().to_string();
    assert!(
        error.ends_with("is in use: choose another with --dynamodb-port (0 takes a free one)"),
        "{error}"
    );
}

#[tokio::test]
async fn the_console_shows_calls_logs_and_clock_and_sets_faults() {
    let backend = Backend::start(Options { quiet: true, ..Options::default() }).await.unwrap();
    let console = format!("{}/_local", backend.url());
    let ready = format!("{}/health/ready", backend.url());
    assert_eq!(get(ready.clone()).await.0, 200);
    let calls = get(format!("{console}/calls")).await.1;
    let called = calls["calls"].as_array().unwrap();
    assert!(
        called.iter().any(|call| call["function"] == "health" && call["operation"] == "GetItem"),
        "{calls}"
    );
    assert_eq!(send("DELETE", format!("{console}/calls"), json!({})).await.0, 204);
    assert_eq!(get(format!("{console}/calls")).await.1, json!({"calls": []}));

    let rule = json!({"kind": "refuse", "table": "users"});
    assert_eq!(send("POST", format!("{console}/faults"), rule).await, (201, json!({"id": 1})));
    assert_eq!(get(ready.clone()).await.0, 503);
    assert!(get(format!("{console}/faults")).await.1["faults"][0]["injected"].as_u64().unwrap() > 0);
    assert_eq!(send("DELETE", format!("{console}/faults"), json!({})).await.0, 204);
    assert_eq!(get(ready).await.0, 200);
    assert_eq!(send("POST", format!("{console}/faults"), json!({"kind": "explode"})).await.0, 422);

    let (_, clock) = send("POST", format!("{console}/clock"), json!({"advance_seconds": 86_400})).await;
    assert_eq!(clock["offset_seconds"], 86_400);
    assert_eq!(get(format!("{console}/tables/Users")).await, (200, json!({"items": []})));
    assert_eq!(get(format!("{console}/tables/Orders")).await.0, 404);
    assert_eq!(get(format!("{console}/outbox")).await, (200, json!({"messages": []})));
    let lines = get(format!("{console}/logs")).await.1;
    assert!(lines["lines"].as_array().unwrap().iter().any(|l| l["line"]["function"] == "health"), "{lines}");
}

#[tokio::test]
async fn a_fault_may_stand_from_the_start() {
    let faults = vec![json!({"kind": "refuse", "service": "secretsmanager"}).to_string()];
    let backend = Backend::start(Options { quiet: true, faults, ..Options::default() }).await.unwrap();
    let (status, problem) = get(format!("{}/.well-known/jwks.json", backend.url())).await;
    assert_eq!((status, &problem["code"]), (503, &json!("keyring_unavailable")));
    let options = Options { faults: vec!["{}".to_owned()], quiet: true, ..Options::default() };
    assert!(Backend::start(options).await.unwrap_err().to_string().contains("fault {}"));
}

#[tokio::test]
async fn kept_data_and_demo_accounts_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let options =
        Options { data: Some(directory.path().to_owned()), demo: true, quiet: true, ..Options::default() };
    let backend = Backend::start(options.clone()).await.unwrap();
    let keys = get(format!("{}/.well-known/jwks.json", backend.url())).await;
    let guide = backend.guide().unwrap().replace(backend.url(), "URL");
    backend.stop().await;

    let backend = Backend::start(options.clone()).await.unwrap();
    assert_eq!(get(format!("{}/.well-known/jwks.json", backend.url())).await, keys);
    assert_eq!(backend.guide().unwrap().replace(backend.url(), "URL"), guide);
    backend.stop().await;

    let password = "another, chosen by hand".to_owned();
    let backend = Backend::start(Options { demo_password: Some(password.clone()), ..options }).await.unwrap();
    let login = json!({"email": "test@example.com", "password": password});
    let (status, tokens) = send("POST", format!("{}/api/v1/auth/login", backend.url()), login).await;
    assert_eq!((status, &tokens["status"]), (200, &json!("authenticated")), "{tokens}");
    let logs = get(format!("{}/_local/logs", backend.url())).await.1.to_string();
    for secret in
        [&password, tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap()]
    {
        assert!(logs.contains("/api/v1/auth/login") && !logs.contains(secret), "{secret} is in {logs}");
    }
}
