#![expect(clippy::disallowed_methods, reason = "how long a call takes is what is tested")]

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::{loopback, stop};

/// A service that counts what reaches it.
struct Harness {
    proxy: SocketAddr,
    applied: Arc<AtomicU64>,
    faults: Arc<Faults>,
    recorder: Arc<Recorder>,
    stop: stop::Stopper,
}

impl Harness {
    async fn start(latency: Duration) -> Self {
        let upstream = loopback::listen(loopback::ADDRESS, 0, "").await.unwrap();
        let address = upstream.local_addr().unwrap();
        let applied = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&applied);
        tokio::spawn(async move {
            while let Ok((stream, _)) = upstream.accept().await {
                let count = Arc::clone(&count);
                tokio::spawn(async move {
                    let mut connection = Connection::new(stream).unwrap();
                    while let Ok(Some(request)) = connection.read().await {
                        count.fetch_add(1, Ordering::SeqCst);
                        let reply =
                            Message::reply("200 OK", "application/x-amz-json-1.0", "id", request.body);
                        connection.write(&reply).await.unwrap();
                    }
                });
            }
        });
        let (faults, recorder) = (Arc::new(Faults::default()), Arc::new(Recorder::default()));
        let listener = loopback::listen(loopback::ADDRESS, 0, "").await.unwrap();
        let (stop, stopped) = stop::channel();
        let proxy = listener.local_addr().unwrap();
        let server = Proxy {
            port: proxy.port(),
            dynamodb: address,
            secretsmanager: address,
            hook: address,
            latency,
            faults: Arc::clone(&faults),
            recorder: Arc::clone(&recorder),
            metrics: Arc::default(),
            imitations: Imitations::default(),
        };
        tokio::spawn(Arc::new(server).serve(listener, stopped));
        Self { proxy, applied, faults, recorder, stop }
    }

    async fn connect(&self) -> Connection {
        Connection::new(TcpStream::connect(self.proxy).await.unwrap()).unwrap()
    }

    /// The status and body of the answer, or none when the connection broke.
    async fn call(&self, target: &str, body: &str) -> Option<(u16, String)> {
        let mut connection = self.connect().await;
        let mut request = Message {
            start: "POST / HTTP/1.1".to_owned(),
            headers: vec![
                ("host".to_owned(), self.proxy.to_string()),
                ("x-amz-target".to_owned(), target.to_owned()),
            ],
            body: Vec::new(),
        };
        request.set_body(body.as_bytes().to_vec());
        connection.write(&request).await.ok()?;
        let reply = connection.read().await.ok()??;
        Some((reply.status().unwrap(), String::from_utf8(reply.body).unwrap()))
    }

    async fn update(&self) -> Option<(u16, String)> {
        self.call("DynamoDB_20120810.UpdateItem", r#"{"TableName":"t-users"}"#).await
    }

    fn fault(&self, json: &str) {
        self.faults.add(serde_json::from_str(json).unwrap());
    }

    fn applied(&self) -> u64 {
        self.applied.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_call_passes_and_is_metered_and_recorded() {
    let harness = Harness::start(Duration::ZERO).await;
    let echo = r#"{"ReturnConsumedCapacity":"TOTAL","TableName":"t-users"}"#;
    assert_eq!(harness.update().await, Some((200, echo.to_owned())));
    let own = r#"{"TableName":"t-users","ReturnConsumedCapacity":"NONE"}"#;
    assert_eq!(harness.call("DynamoDB_20120810.GetItem", own).await, Some((200, own.to_owned())));
    assert_eq!(harness.call("DynamoDB_20120810.ListTables", "{}").await, Some((200, "{}".to_owned())));
    let calls = harness.recorder.since(0);
    assert_eq!(
        calls.iter().map(|c| c.operation.as_str()).collect::<Vec<_>>(),
        ["UpdateItem", "GetItem", "ListTables"]
    );
    assert_eq!(harness.recorder.since(2).len(), 1);
    harness.recorder.clear();
    assert_eq!(harness.recorder.since(0).len(), 0);
}

#[tokio::test]
async fn dropped_before_is_not_applied_and_dropped_after_is() {
    let harness = Harness::start(Duration::ZERO).await;
    harness.fault(r#"{"kind":"drop_before"}"#);
    assert_eq!(harness.update().await, None);
    assert_eq!(harness.applied(), 0);
    harness.fault(r#"{"kind":"drop_after"}"#);
    assert_eq!(harness.update().await, None);
    assert_eq!(harness.applied(), 1);
    assert_eq!(harness.update().await.unwrap().0, 200);
    let faults: Vec<_> = harness.recorder.since(0).into_iter().map(|c| (c.fault, c.status)).collect();
    assert_eq!(
        faults,
        [(Some("drop_before".to_owned()), None), (Some("drop_after".to_owned()), None), (None, Some(200))]
    );
}

#[tokio::test]
async fn errors_come_in_the_words_of_the_service_and_apply_nothing() {
    let harness = Harness::start(Duration::ZERO).await;
    harness.fault(r#"{"kind":"error_500"}"#);
    harness.fault(r#"{"kind":"throttle","nth":2}"#);
    harness.fault(r#"{"kind":"conflict","nth":3}"#);
    let name = |kind: &str| format!("com.amazonaws.dynamodb.v20120810#{kind}");
    for (status, kind) in [
        (500, "InternalServerError"),
        (400, "ProvisionedThroughputExceededException"),
        (400, "TransactionConflictException"),
    ] {
        let (answered, body) = harness.update().await.unwrap();
        assert_eq!(answered, status);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&body).unwrap()["__type"], name(kind));
    }
    harness.fault(r#"{"kind":"throttle","service":"secretsmanager"}"#);
    let (_, body) = harness.call("secretsmanager.GetSecretValue", r#"{"SecretId":"k"}"#).await.unwrap();
    assert_eq!(body, r#"{"__type":"ThrottlingException","message":"Rate exceeded."}"#);
    assert_eq!(harness.applied(), 0);
}

#[tokio::test]
async fn a_conflict_of_a_transaction_lies_on_the_part_of_its_table() {
    let harness = Harness::start(Duration::ZERO).await;
    harness.fault(r#"{"kind":"conflict","table":"audit"}"#);
    let body = r#"{"TransactItems":[{"Update":{"TableName":"t-users"}},{"Put":{"TableName":"t-audit"}}]}"#;
    let (status, body) = harness.call("DynamoDB_20120810.TransactWriteItems", body).await.unwrap();
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 400);
    assert_eq!(body["__type"], "com.amazonaws.dynamodb.v20120810#TransactionCanceledException");
    assert_eq!(body["CancellationReasons"][0]["Code"], "None");
    assert_eq!(body["CancellationReasons"][1]["Code"], "TransactionConflict");
    assert_eq!(harness.recorder.since(0)[0].error.as_deref(), Some("TransactionCanceledException"));
}

#[tokio::test]
async fn an_outage_of_one_service_leaves_the_other_alone() {
    let harness = Harness::start(Duration::ZERO).await;
    harness.fault(r#"{"kind":"refuse","service":"secretsmanager"}"#);
    for _ in 0..3 {
        assert_eq!(harness.call("secretsmanager.GetSecretValue", r#"{"SecretId":"k"}"#).await, None);
        assert_eq!(harness.update().await.unwrap().0, 200);
    }
    harness.faults.clear(None);
    assert_eq!(harness.call("secretsmanager.GetSecretValue", r#"{"SecretId":"k"}"#).await.unwrap().0, 200);
}

#[tokio::test]
async fn latency_is_the_databases_and_slowness_the_rules() {
    let harness = Harness::start(Duration::from_millis(30)).await;
    let started = Instant::now();
    harness.update().await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(30));
    harness.fault(r#"{"kind":"slow","delay_ms":40}"#);
    let started = Instant::now();
    harness.update().await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(70));
    assert!(harness.recorder.since(1)[0].duration_us >= 70_000);
}

#[tokio::test]
async fn stopping_ends_idle_connections() {
    let harness = Harness::start(Duration::ZERO).await;
    let mut idle = harness.connect().await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    harness.stop.stop();
    assert_eq!(idle.read().await.unwrap(), None);
}
