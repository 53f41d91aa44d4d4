//! What the hook of a deployment calls: Lambda's API, by which it asks versions of functions, and CodeDeploy, which it tells.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use sallyport_core::clock::Timestamp;
use sallyport_operations::metrics::FUNCTIONS;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    gateway::Function,
    lambda::{Lambda, Lost},
    published::DEPLOYMENT,
};

/// The one version of every function here.
const VERSION: &str = "1";

/// The one version of a function, by which others invoke it.
pub(crate) fn version_of(function: &str) -> String {
    format!("{DEPLOYMENT}-{function}:{VERSION}")
}

/// Their names.
pub(crate) fn names() -> String {
    FUNCTIONS.map(|function| format!("{DEPLOYMENT}-{function}")).join(",")
}

/// A step of a deployment that was told of.
#[derive(Debug, Clone, Serialize)]
struct Execution {
    deployment: String,
    status: String,
}

/// The deployments that are under way: whichever a hook names.
#[derive(Debug, Default)]
pub(crate) struct Deployments(Mutex<BTreeMap<String, Execution>>);

impl Deployments {
    /// What was told, by the id of the step.
    pub(crate) fn told(&self) -> Value {
        json!(*self.locked())
    }

    /// The deployment of an id such as `d-login` or `d-login-2`: of that function, to that version, without a number to the
    /// one that there is.
    ///
    /// # Errors
    /// Name and message of CodeDeploy's exception.
    fn get(request: &Value) -> Result<Value, (&'static str, &'static str)> {
        let id = request.get("deploymentId").and_then(Value::as_str).unwrap_or_default();
        let mut parts = id.splitn(3, '-');
        let (Some("d"), Some(function)) = (parts.next(), parts.next()) else {
            return Err(("DeploymentDoesNotExistException", "The deployment does not exist"));
        };
        let specification = json!({"version": 0.0, "Resources": [{"Alias": {
            "Type": "AWS::Lambda::Function", "Properties": {
                "Name": format!("{DEPLOYMENT}-{function}"), "Alias": "live", "CurrentVersion": "0",
                "TargetVersion": parts.next().unwrap_or(VERSION),
            },
        }}]});
        let content = json!({"content": specification.to_string()});
        Ok(json!({"deploymentInfo": {
            "deploymentId": id, "status": "InProgress",
            "revision": {"revisionType": "AppSpecContent", "appSpecContent": content},
        }}))
    }

    /// # Errors
    /// Name and message of CodeDeploy's exception.
    fn tell(&self, request: &Value) -> Result<String, (&'static str, &'static str)> {
        let text = |name| request.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (deployment, execution) = (text("deploymentId"), text("lifecycleEventHookExecutionId"));
        if deployment.is_empty() {
            return Err(("DeploymentIdRequiredException", "The deployment ID is required"));
        }
        if execution.is_empty() {
            return Err((
                "InvalidLifecycleEventHookExecutionIdException",
                "The hook's execution ID is required",
            ));
        }
        let status = text("status");
        if !["Succeeded", "Failed"].contains(&status.as_str()) {
            return Err(("InvalidLifecycleEventHookExecutionStatusException", "The status is none"));
        }
        let mut executions = self.locked();
        if executions.contains_key(&execution) {
            return Err((
                "LifecycleEventAlreadyCompletedException",
                "The lifecycle event is already completed",
            ));
        }
        executions.insert(execution.clone(), Execution { deployment, status });
        Ok(execution)
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Execution>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What stands behind both services.
pub(crate) struct Hook {
    pub(crate) handlers: Vec<Arc<dyn Function>>,
    pub(crate) lambda: Arc<Lambda>,
    pub(crate) deployments: Arc<Deployments>,
    /// When this backend was started: its functions are as old.
    pub(crate) deployed_at: Timestamp,
}

/// The routes of both services.
pub(crate) fn router(hook: Hook) -> Router {
    Router::new()
        .route("/2015-03-31/functions/{name}/invocations", post(invoke))
        .route("/2015-03-31/functions/{name}/configuration", get(configuration))
        .route("/", post(report))
        .with_state(Arc::new(hook))
}

async fn invoke(State(hook): State<Arc<Hook>>, Path(name): Path<String>, event: String) -> Response {
    let named = |handler: &&Arc<dyn Function>| name == version_of(handler.name());
    let Some(handler) = hook.handlers.iter().find(named).cloned() else {
        let body = json!({"Type": "User", "Message": format!("Function not found: {name}")});
        return refused(StatusCode::NOT_FOUND, "ResourceNotFoundException", body);
    };
    let function = handler.name();
    let call = async move {
        let event = serde_json::from_str(&event).map_err(|error| error.to_string())?;
        handler.invoke(event).await
    };
    match hook.lambda.invoke(function, call, Result::is_err).await {
        Ok(Ok(returned)) => Json(returned).into_response(),
        Ok(Err(fault)) => broken("unknown_event", &fault),
        Err(Lost::Failed) => broken("Runtime.ExitError", "Runtime exited with error: exit status 1"),
        Err(Lost::Throttled) => {
            let body =
                json!({"Type": "User", "message": "Rate Exceeded.", "Reason": "CallerRateLimitExceeded"});
            refused(StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException", body)
        }
    }
}

/// What of it is asked for: since when a function is as it is.
async fn configuration(State(hook): State<Arc<Hook>>, Path(name): Path<String>) -> Response {
    if !names().split(',').any(|known| known == name) {
        let body = json!({"Type": "User", "Message": format!("Function not found: {name}")});
        return refused(StatusCode::NOT_FOUND, "ResourceNotFoundException", body);
    }
    let at = i64::try_from(hook.deployed_at.millis())
        .ok()
        .and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    let at = at.map(|at| at.strftime("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string());
    Json(json!({"FunctionName": name, "Version": "$LATEST", "LastModified": at})).into_response()
}

/// A function that ended in the middle of the call: to whoever called it, that is an answer.
fn broken(kind: &str, message: &str) -> Response {
    let body = json!({"errorType": kind, "errorMessage": message});
    ([("x-amz-function-error", "Unhandled")], Json(body)).into_response()
}

fn refused(status: StatusCode, kind: &'static str, body: Value) -> Response {
    (status, [("x-amzn-errortype", kind)], Json(body)).into_response()
}

async fn report(State(hook): State<Arc<Hook>>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let request = serde_json::from_slice(&body).unwrap_or_default();
    let answer = match target {
        "CodeDeploy_20141006.GetDeployment" => Deployments::get(&request),
        "CodeDeploy_20141006.PutLifecycleEventHookExecutionStatus" => {
            let told = hook.deployments.tell(&request);
            told.map(|execution| json!({"lifecycleEventHookExecutionId": execution}))
        }
        _ => Err(("UnknownOperationException", "There is no such operation here")),
    };
    match answer {
        Ok(answer) => Json(answer).into_response(),
        Err((kind, message)) => {
            (StatusCode::BAD_REQUEST, Json(json!({"__type": kind, "message": message}))).into_response()
        }
    }
}
