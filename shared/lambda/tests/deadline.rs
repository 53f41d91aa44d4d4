//! A dependency that never answers, within the time that a function has.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic, and should say where")]

use std::{
    future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Method, StatusCode};
use sallyport_aws::Clients;
use sallyport_lambda::{
    App, Call, Config, Inbound, Platform, Problem, Reply,
    telemetry::{self, Sink},
};
use serde_json::Value;

#[derive(Default)]
struct Lines(Mutex<Vec<Value>>);

impl Sink for Lines {
    fn line(&self, line: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(serde_json::from_str(line).unwrap());
    }
}

async fn never(_: Arc<()>, call: Call) -> Result<Reply, Problem> {
    call.facts.count("login_attempts", 1);
    future::pending().await
}

fn app(lines: Arc<Lines>) -> App {
    let lookup = |name: &str| match name {
        "AWS_REGION" => Some("us-east-1".to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" | "SALLYPORT_STAGE" | "SALLYPORT_DEPLOYMENT" => {
            Some("test".to_owned())
        }
        name => (name.ends_with("_TABLE") || name.ends_with("_SECRET")).then(|| name.to_lowercase()),
    };
    let config = Config::from_lookup(&lookup).unwrap();
    let clients = Clients::connect(&config.endpoints, "test", &lookup).unwrap();
    let platform = Platform::builder(config, clients).sink(lines).build();
    App::new("test", &platform).route(Method::POST, "/never/{id}", &Arc::new(()), never)
}

#[tokio::test]
async fn a_request_that_hangs_is_answered_and_reported_before_the_function_is_killed() {
    let lines = Arc::new(Lines::default());
    telemetry::install(Arc::clone(&lines) as Arc<dyn Sink>);
    let app = app(Arc::clone(&lines)).deadline(Duration::from_millis(20));
    let response = app.handle(Inbound::new(Method::POST, "/never/1")).await;

    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    let body: Value = serde_json::from_str(response.body()).unwrap();
    assert_eq!(body["code"], "dependency_unavailable");
    assert!(!body.to_string().contains("20ms"), "{body}");

    let lines = lines.0.lock().unwrap().clone();
    let (events, logged): (Vec<_>, Vec<_>) = lines.iter().partition(|line| !line["_aws"].is_null());
    assert_eq!((events.len(), logged.len()), (1, 1), "{lines:?}");
    assert_eq!((&logged[0]["message"], &logged[0]["level"]), (&"request failed".into(), &"ERROR".into()));
    assert_eq!(logged[0]["fault"], "no answer within 20ms");
    for line in [events[0], logged[0]] {
        assert_eq!((&line["route"], &line["status"]), (&"/never/{id}".into(), &503.into()), "{line}");
        assert_eq!(line["code"], "dependency_unavailable", "{line}");
    }
    assert_eq!((&events[0]["errors"], &events[0]["login_attempts"]), (&1.into(), &1.into()));
}

/// Eight seconds of the function's ten, unless calls may take longer than they may in Lambda.
#[tokio::test(start_paused = true)]
async fn the_deadline_is_eight_seconds() {
    let app = app(Arc::default());
    #[expect(clippy::disallowed_methods, reason = "the time that the test moves is the runtime's own")]
    let started = tokio::time::Instant::now();
    let response = app.handle(Inbound::new(Method::POST, "/never/1")).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(started.elapsed().as_secs(), 8);
}
