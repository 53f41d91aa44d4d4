//! Health: whether this process lives, whether what it depends on answers, and the figures of the deployment.

mod exposition;
mod metrics;
mod probes;
mod status;

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Method, StatusCode, header};
use sallyport_core::checks::{Component, Finding, check};
use sallyport_lambda::{App, Call, Platform, Problem, Reply};
use serde::Serialize;
use serde_json::{Map, Value, json};

use probes::Probes;
use status::Statuses;

/// How long a dependency has to answer.
const LIMIT: Duration = Duration::from_millis(300);

/// What the checks share.
struct State {
    platform: Platform,
    probes: Arc<Probes>,
}

/// The routes of this function.
pub fn app(platform: &Platform) -> App {
    let state = Arc::new(State { platform: platform.clone(), probes: Arc::new(Probes::new(platform)) });
    let scraped = Arc::new(metrics::State::new(platform));
    App::new("health", platform)
        .route(Method::GET, "/health/live", &state, live)
        .route(Method::GET, "/health/ready", &state, ready)
        .route(Method::GET, "/health/db", &state, database)
        .route(Method::GET, "/health/sessions", &state, sessions)
        .route(Method::GET, "/health/secrets", &state, secrets)
        .route(
            Method::GET,
            "/status",
            &Arc::new(Statuses::new(platform, Arc::clone(&state.probes))),
            status::status,
        )
        .route(Method::GET, "/metrics", &scraped, metrics::handle)
        .public(&["/status"])
}

/// Fetches what the first request would otherwise wait for.
pub async fn prepare(platform: Platform) {
    platform.store().warm_up(1).await;
}

#[derive(Serialize)]
struct Live {
    status: &'static str,
}

async fn live(_state: Arc<State>, _call: Call) -> Result<Reply, Problem> {
    Reply::json(StatusCode::OK, &Live { status: "ok" })
}

async fn ready(state: Arc<State>, call: Call) -> Result<Reply, Problem> {
    call.facts.count("ready", 0);
    let findings = probe(&state, &call, &Component::ALL).await;
    let missing: Vec<_> = findings.iter().filter(|finding| finding.fault.is_some()).collect();
    if !missing.is_empty() && missing.iter().all(|finding| finding.empty) {
        // Not ready, and no failure either: the deployment begins, and the alarm waits for the first answer. Of one that has
        // been ready before, it takes the silence for what it is.
        call.facts.forget("ready");
    } else {
        call.facts.count("ready", u64::from(missing.is_empty()));
    }
    report(&findings)
}

async fn database(state: Arc<State>, call: Call) -> Result<Reply, Problem> {
    report(&probe(&state, &call, &[Component::Users, Component::Throttle]).await)
}

async fn sessions(state: Arc<State>, call: Call) -> Result<Reply, Problem> {
    report(&probe(&state, &call, &[Component::Sessions]).await)
}

async fn secrets(state: Arc<State>, call: Call) -> Result<Reply, Problem> {
    report(&probe(&state, &call, &[Component::Keyring]).await)
}

async fn probe(state: &State, call: &Call, components: &[Component]) -> Vec<Finding> {
    let findings = check(&*state.probes, state.platform.clock(), components, LIMIT).await;
    let mut down = 0;
    for finding in findings.iter().filter(|finding| !finding.empty) {
        if let Some(fault) = &finding.fault {
            down += 1;
            tracing::error!(target: "request", component = finding.component.as_str(), fault, "a dependency is down");
        }
    }
    call.facts.count("dependencies_down", down);
    findings
}

fn report(findings: &[Finding]) -> Result<Reply, Problem> {
    let faults = findings.iter().filter(|finding| finding.fault.is_some()).count();
    let (status, word) = if faults == 0 {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    };
    let checks: Map<String, Value> = findings.iter().map(shown).collect();
    let reply = Reply::json(status, &json!({ "status": word, "checks": checks }))?;
    Ok(if faults == 0 { reply } else { reply.header(header::RETRY_AFTER, HeaderValue::from_static("5")) })
}

/// Names and states, and how long it took: what went wrong is in the log.
fn shown(finding: &Finding) -> (String, Value) {
    let state = match finding.fault {
        None => "up",
        Some(_) if finding.empty => "empty",
        Some(_) => "down",
    };
    let latency = u64::try_from(finding.latency.as_millis()).unwrap_or(u64::MAX);
    (finding.component.as_str().to_owned(), json!({ "status": state, "latency_ms": latency }))
}
