//! Developer-only routes under `/_local`: what was sent, logged and called, and what is to go wrong.
//!
//! | route | what it does |
//! |---|---|
//! | `GET outbox` | messages that would have been sent: a page for browsers, JSON otherwise |
//! | `GET tables/{name}` | all items of a table, by its name in `infra/data.yaml` |
//! | `GET`, `DELETE logs` | lines of logs and events since `?since=` |
//! | `GET access` | lines of the gateway's access log since `?since=` |
//! | `GET`, `POST clock` | the functions' clock; `{"advance_seconds": n}` puts it forward |
//! | `GET totp?secret=` | the code that an authenticator app would show now, by that clock |
//! | `GET`, `DELETE calls` | calls of the database and the keyring since `?since=` |
//! | `GET`, `POST`, `DELETE faults` | faults of the database, or of another service that the rule names ([`Rule`]) |
//! | `GET`, `POST`, `DELETE keyring/faults` | the same of the keyring |
//! | `GET metrics` | values that AWS would publish of gateway, functions, tables and log groups since `?since=` |
//! | `GET`, `POST`, `DELETE functions/faults` | functions that are throttled, crash, time out, or garble their metrics |
//! | `GET deployments` | what the hook of a deployment has reported, by the step that waited for it |
//! | `POST rotate` | plays a rotation of the keyring as Secrets Manager does: its four steps, or those of `steps`; with `"immediately": false` its test of the configuration |
//! | `POST invoke/{name}` | hands an event to a function, as a schedule does, and shows what it returned |

mod logs;
mod outbox;

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    middleware,
    response::{Html, IntoResponse as _, Response},
    routing::{get, post},
};
use sallyport_core::clock::Clock as _;
use sallyport_lambda::Trigger;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

pub(crate) use self::logs::Logs;
use crate::{
    clock::ShiftingClock,
    database::Database,
    functions::Unprepared,
    gateway::Function,
    guard,
    hook::Deployments,
    lambda::{FunctionFault, Lambda, Lost},
    proxy::{Faults, Recorder, Rule, Service},
    published::Ending,
    secrets::Secrets,
    stream::Mapping,
    template::Template,
    totp,
};

/// What the console shows and changes.
pub(crate) struct Console {
    pub(crate) template: Template,
    pub(crate) database: Database,
    pub(crate) clock: Arc<ShiftingClock>,
    pub(crate) logs: Arc<Logs>,
    pub(crate) access: Arc<Logs>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) lambda: Arc<Lambda>,
    pub(crate) deployments: Arc<Deployments>,
    /// Held while a function starts: a second call waits for it.
    pub(crate) cold: Mutex<Unprepared>,
    pub(crate) handlers: Vec<Arc<dyn Function>>,
    pub(crate) secrets: Secrets,
    pub(crate) sessions: Arc<Mapping>,
    pub(crate) triggers: Vec<Arc<Trigger>>,
}

type Shared = State<Arc<Console>>;

/// The routes, to be nested under `/_local` of the server at `port`.
pub(crate) fn router(console: Arc<Console>, port: u16) -> Router {
    Router::new()
        .route("/outbox", get(show_outbox))
        .route("/tables/{name}", get(show_table))
        .route("/logs", get(show_logs).delete(clear_logs))
        .route("/access", get(show_access))
        .route("/clock", get(show_clock).post(advance_clock))
        .route("/totp", get(show_code))
        .route("/calls", get(show_calls).delete(clear_calls))
        .route("/faults", get(show_faults).post(add_fault).delete(clear_faults))
        .route("/keyring/faults", get(show_faults).post(add_keyring_fault).delete(clear_keyring_faults))
        .route("/metrics", get(show_metrics))
        .route(
            "/functions/faults",
            get(show_function_faults).post(add_function_fault).delete(clear_function_faults),
        )
        .route("/deployments", get(show_deployments))
        .route("/rotate", post(rotate))
        .route("/invoke/{name}", post(invoke))
        .layer(middleware::from_fn_with_state(port, guard::no_other_page))
        .with_state(console)
}

#[derive(Debug, Deserialize)]
struct Since {
    #[serde(default)]
    since: u64,
}

async fn show_outbox(State(console): Shared, headers: HeaderMap) -> Response {
    let mut messages = match console.items("Outbox") {
        Ok(messages) => messages,
        Err(error) => return refuse(&error),
    };
    outbox::newest_first(&mut messages);
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.contains("text/html") {
        let policy = "default-src 'none'; style-src 'unsafe-inline'";
        ([(header::CONTENT_SECURITY_POLICY, policy)], Html(outbox::page(&messages))).into_response()
    } else {
        Json(json!({"messages": messages})).into_response()
    }
}

async fn show_table(State(console): Shared, Path(name): Path<String>) -> Response {
    match console.items(&name) {
        Ok(items) => Json(json!({"items": items})).into_response(),
        Err(error) => refuse(&error),
    }
}

impl Console {
    fn items(&self, table: &str) -> anyhow::Result<Vec<Value>> {
        self.database.items(self.template.table_name(table)?)
    }
}

fn refuse(error: &anyhow::Error) -> Response {
    (StatusCode::NOT_FOUND, Json(json!({"error": format!("{error:#}")}))).into_response()
}

async fn show_logs(State(console): Shared, Query(Since { since }): Query<Since>) -> Response {
    Json(json!({"lines": console.logs.since(since)})).into_response()
}

async fn show_access(State(console): Shared, Query(Since { since }): Query<Since>) -> Response {
    Json(json!({"lines": console.access.since(since)})).into_response()
}

async fn clear_logs(State(console): Shared) -> StatusCode {
    console.logs.clear();
    StatusCode::NO_CONTENT
}

async fn show_clock(State(console): Shared) -> Response {
    let (offset, now) = (console.clock.offset(), console.clock.now());
    Json(json!({"offset_seconds": offset.as_secs(), "now": now.seconds(), "now_ms": now.millis()}))
        .into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_seconds: u64,
}

async fn advance_clock(State(console): Shared, Json(advance): Json<Advance>) -> Response {
    console.clock.advance(Duration::from_secs(advance.advance_seconds));
    show_clock(State(console)).await
}

#[derive(Debug, Deserialize)]
struct OfSecret {
    secret: String,
}

async fn show_code(State(console): Shared, Query(OfSecret { secret }): Query<OfSecret>) -> Response {
    match totp::code(&secret, console.clock.now()) {
        Ok(code) => code.into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error:#}\n")).into_response(),
    }
}

async fn show_calls(State(console): Shared, Query(Since { since }): Query<Since>) -> Response {
    Json(json!({"calls": console.recorder.since(since)})).into_response()
}

async fn clear_calls(State(console): Shared) -> StatusCode {
    console.recorder.clear();
    StatusCode::NO_CONTENT
}

async fn show_faults(State(console): Shared) -> Response {
    Json(json!({"faults": console.faults.list()})).into_response()
}

async fn show_metrics(State(console): Shared, Query(Since { since }): Query<Since>) -> Response {
    Json(json!({"data": console.lambda.metrics.since(since)})).into_response()
}

async fn show_deployments(State(console): Shared) -> Response {
    Json(json!({"deployments": console.deployments.told()})).into_response()
}

async fn show_function_faults(State(console): Shared) -> Response {
    Json(json!({"faults": console.lambda.list()})).into_response()
}

async fn add_function_fault(State(console): Shared, Json(fault): Json<FunctionFault>) -> Response {
    if let Some(name) = fault.function.as_deref().filter(|name| !console.names().any(|known| known == *name))
    {
        return refuse(&anyhow::anyhow!("there is no function {name}"));
    }
    console.lambda.add(fault);
    StatusCode::CREATED.into_response()
}

async fn clear_function_faults(State(console): Shared) -> StatusCode {
    console.lambda.clear();
    StatusCode::NO_CONTENT
}

impl Console {
    fn names(&self) -> impl Iterator<Item = &'static str> {
        let handlers = self.handlers.iter().map(|handler| handler.name());
        handlers.chain(self.triggers.iter().map(|trigger| trigger.name()))
    }
}

async fn invoke(State(console): Shared, Path(name): Path<String>, Json(event): Json<Value>) -> Response {
    match console.hand(&name, event).await {
        Ok(result) => Json(json!({"result": result})).into_response(),
        Err(Refused::Unknown) => refuse(&anyhow::anyhow!("there is no function {name}")),
        Err(Refused::Failed(code, message)) => failed(code, &message),
    }
}

/// Why an event came to nothing.
pub(crate) enum Refused {
    /// There is no such function.
    Unknown,
    /// A code, and a message.
    Failed(&'static str, String),
}

impl From<Lost> for Refused {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Throttled => Self::Failed("throttled", "Rate exceeded".to_owned()),
            Lost::Failed => Self::Failed("function_failed", "the call crashed or ran out of time".to_owned()),
        }
    }
}

impl Console {
    /// Hands an event to a function, as a schedule, a topic or somebody at the console does.
    pub(crate) async fn hand(&self, name: &str, event: Value) -> Result<Value, Refused> {
        if let Some(trigger) = self.triggers.iter().find(|trigger| trigger.name() == name) {
            let trigger = Arc::clone(trigger);
            if let Err(error) = self.sessions.deliver_to(trigger.name()).await {
                // A batch is an invocation as well.
                self.lambda.metrics.began(trigger.name());
                self.lambda.metrics.ended(trigger.name(), Ending::Failed, Duration::ZERO);
                return Err(Refused::Failed("stream", format!("{error:#}")));
            }
            let call =
                async move { trigger.handle(event).await.map_err(|error| (error.code(), error.to_string())) };
            let name = self.names().find(|known| *known == name).unwrap_or_default();
            let done = self.lambda.invoke(name, call, Result::is_err).await?;
            return done.map_err(|(code, message)| Refused::Failed(code, message));
        }
        let handler = self.handlers.iter().find(|handler| handler.name() == name).cloned();
        let handler = handler.ok_or(Refused::Unknown)?;
        let name = handler.name();
        {
            let mut cold = self.cold.lock().await;
            if let Some((platform, prepare)) = cold.remove(name) {
                prepare(platform).await;
            }
        }
        let done =
            self.lambda.invoke(name, async move { handler.invoke(event).await }, Result::is_err).await?;
        done.map_err(|message| Refused::Failed("unknown_event", message))
    }
}

fn failed(code: &str, message: &str) -> Response {
    let body = json!({"error": {"code": code, "message": message}});
    (StatusCode::INTERNAL_SERVER_ERROR, Json(body)).into_response()
}

/// What a rotation is asked.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotation {
    /// Of a rotation that has begun.
    token: Option<String>,
    /// Which steps to take: Secrets Manager leaves seconds between them, in which the functions answer.
    steps: Option<Vec<String>>,
    /// `false` is what a rotation schedule asks for that is made or changed: the configuration is tested, and nothing rotates.
    immediately: Option<bool>,
}

const ROTATION_STEPS: [&str; 4] = ["createSecret", "setSecret", "testSecret", "finishSecret"];

/// What RotateSecret does: a version is reserved, and the function takes one step after the other. One that fails is repeated
/// by Secrets Manager; here by whoever asks again with the same token.
async fn rotate(State(console): Shared, body: Bytes) -> Response {
    let Some(trigger) = console.triggers.iter().find(|trigger| trigger.name() == "rotation") else {
        return refuse(&anyhow::anyhow!("there is no rotation function"));
    };
    let asked = if body.is_empty() { Ok(Rotation::default()) } else { serde_json::from_slice(&body) };
    let Rotation { token, steps, immediately } = match asked {
        Ok(asked) => asked,
        Err(error) => return (StatusCode::UNPROCESSABLE_ENTITY, format!("{error}\n")).into_response(),
    };
    let only_tested = immediately == Some(false);
    let all = if only_tested { &["testSecret"][..] } else { &ROTATION_STEPS };
    let steps = steps.unwrap_or_else(|| all.iter().map(|step| (*step).to_owned()).collect());
    let name = console.template.secrets.iter().find(|secret| secret.logical == "Keyring");
    let name = name.map(|secret| secret.name.clone()).unwrap_or_default();
    let begun = match token {
        Some(token) => Ok((name, token)),
        None => console.secrets.begin_rotation(&name),
    };
    let (secret, token) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            let body = json!({"error": {"code": "InvalidRequestException", "message": format!("{error:#}")}});
            return (StatusCode::CONFLICT, Json(body)).into_response();
        }
    };
    let mut done = Value::Null;
    for step in steps {
        let event = json!({"Step": step, "SecretId": secret, "ClientRequestToken": token});
        match trigger.handle(event).await {
            Ok(result) => done = result,
            Err(error) => {
                let body = json!({
                    "token": token,
                    "error": {"step": step, "code": error.code(), "message": error.to_string()},
                });
                return (StatusCode::INTERNAL_SERVER_ERROR, Json(body)).into_response();
            }
        }
    }
    if only_tested {
        console.secrets.end_test(&secret, &token);
    }
    Json(json!({"token": token, "result": done})).into_response()
}

async fn add_fault(State(console): Shared, Json(rule): Json<Rule>) -> Response {
    let id = console.faults.add(rule);
    (StatusCode::CREATED, Json(json!({"id": id}))).into_response()
}

async fn add_keyring_fault(State(console): Shared, Json(rule): Json<Rule>) -> Response {
    let rule = Rule { service: Service::SecretsManager, ..rule };
    add_fault(State(console), Json(rule)).await
}

async fn clear_faults(State(console): Shared) -> StatusCode {
    for service in [Service::DynamoDb, Service::Sns, Service::Lambda, Service::CodeDeploy] {
        console.faults.clear(Some(service));
    }
    StatusCode::NO_CONTENT
}

async fn clear_keyring_faults(State(console): Shared) -> StatusCode {
    console.faults.clear(Some(Service::SecretsManager));
    StatusCode::NO_CONTENT
}
