//! The embedded Secrets Manager: its JSON protocol, its versions and stages, and no more calls than are needed here.

mod file;
mod store;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::anyhow;
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    middleware,
    response::{IntoResponse as _, Response},
    routing::post,
};
use sallyport_aws::system::SystemClock;
use sallyport_core::clock::Clock as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use self::store::{Move, Put, Refusal, Secret, Store};
use crate::{guard, identifier, stop::Stop, template::Template};

/// The secret that template.yaml has a rotation schedule for.
const ROTATED: &str = "Keyring";

/// The secrets of the stack.
#[derive(Debug, Clone)]
pub(crate) struct Secrets(Arc<Mutex<Store>>);

impl Secrets {
    /// Opens `directory`/secrets.json, or secrets that are gone with the process, and creates those that are missing.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub(crate) fn open(
        directory: Option<&Path>,
        template: &Template,
        providers: &BTreeMap<String, String>,
    ) -> anyhow::Result<Self> {
        let mut store = Store::open(directory.map(|directory| directory.join("secrets.json")))?;
        for secret in &template.secrets {
            // What an operator enters in the cloud is given at the start here.
            let given = (secret.logical == "Providers").then(|| json!(providers).to_string());
            let initial = given.as_deref().unwrap_or(&secret.initial);
            let created = store.create(&secret.name, initial, now());
            created.map_err(|refusal| anyhow!(refusal.message))?;
            if secret.logical == ROTATED {
                store.enable_rotation(&secret.name).map_err(|refusal| anyhow!(refusal.message))?;
            }
        }
        Ok(Self(Arc::new(Mutex::new(store))))
    }

    /// Answers until it is stopped.
    pub(crate) async fn serve(self, listener: TcpListener, stop: Stop) {
        let shutdown = async move { stop.requested().await };
        let router = Router::new().route("/", post(answer)).with_state(self);
        let router = router.layer(middleware::from_fn(guard::this_machine));
        drop(axum::serve(listener, router).with_graceful_shutdown(shutdown).await);
    }

    /// Begins a rotation: the ARN of the secret, and the version that the rotation function is to fill.
    ///
    /// # Errors
    /// What RotateSecret would answer.
    pub(crate) fn begin_rotation(&self, name: &str) -> anyhow::Result<(String, String)> {
        let token = identifier::uuid()?;
        let mut store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let arn = store.reserve(name, &token, now()).map_err(|refusal| anyhow!(refusal.message))?;
        Ok((arn, token))
    }

    /// Ends a test of the configuration: the version that was reserved for it is pending no more.
    pub(crate) fn end_test(&self, secret: &str, token: &str) {
        let mut store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let order = Move {
            secret: secret.to_owned(),
            stage: "AWSPENDING".to_owned(),
            to: None,
            from: Some(token.to_owned()),
        };
        // The function may have taken it away itself.
        drop(store.move_stage(&order, now()));
    }

    fn call(&self, operation: &str, request: Request) -> Result<Value, Refusal> {
        let mut store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = request.secret_id.ok_or_else(|| invalid("SecretId is missing."))?;
        match operation {
            "GetSecretValue" => {
                let (secret, version_id, version) =
                    store.get(&id, request.version_id.as_deref(), request.version_stage.as_deref())?;
                Ok(json!({
                    "ARN": secret.arn, "Name": secret.name, "VersionId": version_id,
                    "SecretString": version.value, "VersionStages": version.stages, "CreatedDate": version.created,
                }))
            }
            "PutSecretValue" => {
                let token = match request.client_request_token {
                    Some(token) => token,
                    None => identifier::uuid().map_err(|_| invalid("ClientRequestToken is missing."))?,
                };
                let value = request.secret_string.ok_or_else(|| invalid("SecretString is missing."))?;
                let put = Put { secret: id, token: token.clone(), value, stages: request.version_stages };
                let (secret, stages) = store.put(put, now())?;
                Ok(
                    json!({"ARN": secret.arn, "Name": secret.name, "VersionId": token, "VersionStages": stages}),
                )
            }
            "DescribeSecret" => store.describe(&id).map(description),
            "UpdateSecretVersionStage" => {
                let stage = request.version_stage.ok_or_else(|| invalid("VersionStage is missing."))?;
                let order = Move {
                    secret: id,
                    stage,
                    to: request.move_to_version_id,
                    from: request.remove_from_version_id,
                };
                let secret = store.move_stage(&order, now())?;
                Ok(json!({"ARN": secret.arn, "Name": secret.name}))
            }
            other => Err(Refusal {
                kind: "UnknownOperationException",
                message: format!("{other} is not part of the local Secrets Manager."),
            }),
        }
    }
}

fn description(secret: &Secret) -> Value {
    let stages: serde_json::Map<_, _> = secret
        .versions
        .iter()
        .filter(|(_, version)| !version.stages.is_empty())
        .map(|(id, version)| (id.clone(), json!(version.stages)))
        .collect();
    json!({
        "ARN": secret.arn, "Name": secret.name, "CreatedDate": secret.created, "LastChangedDate": secret.changed,
        "VersionIdsToStages": stages, "RotationEnabled": secret.rotation_enabled,
    })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    secret_id: Option<String>,
    version_id: Option<String>,
    version_stage: Option<String>,
    client_request_token: Option<String>,
    secret_string: Option<String>,
    #[serde(default)]
    version_stages: Vec<String>,
    move_to_version_id: Option<String>,
    remove_from_version_id: Option<String>,
}

async fn answer(State(secrets): State<Secrets>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let operation = target.strip_prefix("secretsmanager.").unwrap_or_default();
    let outcome = match serde_json::from_slice(&body) {
        Ok(request) => secrets.call(operation, request),
        Err(error) => Err(Refusal { kind: "SerializationException", message: error.to_string() }),
    };
    let (status, body) = match outcome {
        Ok(body) => (StatusCode::OK, body),
        Err(Refusal { kind, message }) => {
            let status = match kind {
                "InternalServiceError" => StatusCode::INTERNAL_SERVER_ERROR,
                _ => StatusCode::BAD_REQUEST,
            };
            (status, json!({"__type": kind, "message": message}))
        }
    };
    (status, [(CONTENT_TYPE, "application/x-amz-json-1.1")], body.to_string()).into_response()
}

fn invalid(message: &str) -> Refusal {
    Refusal { kind: "InvalidParameterException", message: message.to_owned() }
}

fn now() -> u64 {
    SystemClock.now().seconds()
}
