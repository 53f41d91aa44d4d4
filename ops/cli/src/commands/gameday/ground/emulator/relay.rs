//! What stands between functions and the emulator: it throttles, delays and refuses, and publishes what DynamoDB would of it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use sallyport_alarms::Datum;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::failure::Failure;

/// Calls of functions are far smaller.
const LARGEST: usize = 4 * 1024 * 1024;

/// What happens to calls.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// DynamoDB refuses each call of the table.
    Throttled { table: String },
    /// Each call of the table takes so much longer.
    Slow { table: String, delay: Duration },
    /// Secrets Manager answers nothing of use.
    NoSecrets,
}

/// A relay that serves until it is dropped.
pub(super) struct Relay {
    shared: Arc<Shared>,
    url: String,
    serving: JoinHandle<()>,
}

struct Shared {
    upstream: String,
    client: reqwest::Client,
    fault: Mutex<Option<Fault>>,
    published: Mutex<Vec<Datum>>,
}

impl Relay {
    /// # Errors
    /// There is no free port.
    pub(super) async fn start(upstream: &str) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::dependency("relay_failed", error.to_string());
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            client: super::http(reqwest::Client::builder())?,
            fault: Mutex::default(),
            published: Mutex::default(),
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
        let url = format!("http://{}", listener.local_addr().map_err(failed)?);
        let router = Router::new().fallback(relay).with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move {
            // It ends with the game, and says then that it was ended.
            drop(axum::serve(listener, router).await);
        });
        Ok(Self { shared, url, serving })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn fail(&self, fault: Fault) {
        *locked(&self.shared.fault) = Some(fault);
    }

    pub(super) fn heal(&self) {
        *locked(&self.shared.fault) = None;
    }

    /// What DynamoDB would have published since it was asked last. When is for the caller to say.
    pub(super) fn published(&self) -> Vec<Datum> {
        std::mem::take(&mut *locked(&self.shared.published))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn relay(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let call = Call::read(&parts.headers, &body);
    let fault = locked(&shared.fault).clone();
    match fault {
        Some(Fault::Throttled { table }) if call.tables.contains(&table) => {
            // A transaction over several tables is refused with this all the same: functions take both alike.
            locked(&shared.published).push(call.throttled(&table));
            return refused(
                "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
                StatusCode::BAD_REQUEST,
            );
        }
        Some(Fault::Slow { table, delay }) if call.tables.contains(&table) => tokio::time::sleep(delay).await,
        Some(Fault::NoSecrets) if call.service == "secretsmanager" => {
            return refused("InternalServiceError", StatusCode::INTERNAL_SERVER_ERROR);
        }
        _ => {}
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let forwarded = shared
        .client
        .request(parts.method, format!("{}{path}", shared.upstream))
        // The caller's own `Host` among them, which its signature is over.
        .headers(parts.headers)
        .body(body);
    let answer = async {
        let answer = forwarded.send().await?;
        let (status, kind) = (answer.status(), answer.headers().get(header::CONTENT_TYPE).cloned());
        let checksum = answer.headers().get("x-amz-crc32").cloned();
        Ok::<_, reqwest::Error>((status, kind, checksum, answer.bytes().await?))
    };
    match answer.await {
        Ok((status, kind, checksum, body)) => {
            let mut response = (status, body).into_response();
            response.headers_mut().remove(header::CONTENT_TYPE);
            response.headers_mut().extend(kind.map(|kind| (header::CONTENT_TYPE, kind)));
            response
                .headers_mut()
                .extend(checksum.map(|sum| (header::HeaderName::from_static("x-amz-crc32"), sum)));
            response
        }
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

fn refused(kind: &str, status: StatusCode) -> Response {
    let body = json!({"__type": kind, "message": "A game day."}).to_string();
    (status, [(header::CONTENT_TYPE, "application/x-amz-json-1.0")], body).into_response()
}

/// What is called, as the JSON protocols of AWS say it.
struct Call {
    service: String,
    operation: String,
    /// Of DynamoDB: the tables that it is about.
    tables: BTreeSet<String>,
}

impl Call {
    fn read(headers: &HeaderMap, body: &Bytes) -> Self {
        let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
        let (service, operation) = target.split_once('.').unwrap_or_default();
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let mut tables = BTreeSet::new();
        if service.starts_with("DynamoDB") {
            collect_tables(&body, &mut tables);
        }
        Self { service: service.to_owned(), operation: operation.to_owned(), tables }
    }

    fn throttled(&self, table: &str) -> Datum {
        let reads = ["GetItem", "BatchGetItem", "TransactGetItems", "Query", "Scan"];
        let metric = if reads.contains(&self.operation.as_str()) {
            "ReadThrottleEvents"
        } else {
            "WriteThrottleEvents"
        };
        Datum {
            namespace: "AWS/DynamoDB".to_owned(),
            metric: metric.to_owned(),
            dimensions: [("TableName".to_owned(), table.to_owned())].into(),
            at: 0,
            value: 1.0,
            unit: Some("Count".to_owned()),
        }
    }
}

/// `TableName` of the call or of each write of a transaction; the keys of a batch.
fn collect_tables(body: &Value, tables: &mut BTreeSet<String>) {
    let Some(members) = body.as_object() else { return };
    tables.extend(members.get("TableName").and_then(Value::as_str).map(str::to_owned));
    let batch = members.get("RequestItems").and_then(Value::as_object);
    tables.extend(batch.into_iter().flat_map(|items| items.keys().cloned()));
    let writes = members.get("TransactItems").and_then(Value::as_array).into_iter().flatten();
    for write in writes.filter_map(Value::as_object).flat_map(|write| write.values()) {
        tables.extend(write.get("TableName").and_then(Value::as_str).map(str::to_owned));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn call(target: &'static str, body: &Value) -> Call {
        let headers = HeaderMap::from_iter([(
            header::HeaderName::from_static("x-amz-target"),
            header::HeaderValue::from_static(target),
        )]);
        Call::read(&headers, &Bytes::from(body.to_string()))
    }

    #[test]
    fn the_tables_of_a_call_are_found_wherever_they_stand() {
        let tables = |call: Call| call.tables.into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!(tables(call("DynamoDB_20120810.GetItem", &json!({"TableName": "users"}))), "users");
        let batch = json!({"RequestItems": {"users": {}, "ops": {}}});
        assert_eq!(tables(call("DynamoDB_20120810.BatchGetItem", &batch)), "ops users");
        let transaction =
            json!({"TransactItems": [{"Put": {"TableName": "audit"}}, {"Update": {"TableName": "users"}}]});
        assert_eq!(tables(call("DynamoDB_20120810.TransactWriteItems", &transaction)), "audit users");
        assert_eq!(tables(call("secretsmanager.GetSecretValue", &json!({"TableName": "x"}))), "");
    }

    #[test]
    fn a_throttled_read_is_published_as_one() {
        let read = call("DynamoDB_20120810.Query", &json!({"TableName": "users"}));
        assert_eq!(read.throttled("users").metric, "ReadThrottleEvents");
        let write = call("DynamoDB_20120810.UpdateItem", &json!({"TableName": "users"}));
        assert_eq!(
            write.throttled("users").series().to_string(),
            r#"AWS/DynamoDB/WriteThrottleEvents{"TableName": "users"}"#
        );
    }
}
