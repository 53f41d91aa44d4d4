//! Requests and capacity units of each use case, as the embedded database states them.

use std::{collections::BTreeMap, time::Duration};

use sallyport_operations::metrics::TRIGGERS;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use crate::{
    Options,
    accounts::{Kind, Operator, PASSWORD},
    client::Client,
    event::text,
    process::Local,
    report::Table,
};

#[derive(Deserialize)]
struct Recorded {
    calls: Vec<Call>,
}

#[derive(Deserialize)]
struct Call {
    function: String,
    service: String,
    operation: String,
    tables: Vec<String>,
    error: Option<String>,
    capacity: Vec<Capacity>,
}

#[derive(Deserialize)]
struct Capacity {
    units: f64,
}

#[derive(Deserialize)]
struct Logged {
    lines: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    line: Box<RawValue>,
}

#[derive(Deserialize)]
struct Source {
    function: Option<String>,
}

impl Line {
    fn is_by(&self, caller: Option<&str>) -> bool {
        let source: Result<Source, _> = serde_json::from_str(self.line.get());
        source.is_ok_and(|source| match source.function {
            Some(function) => is_by(&function, caller),
            None => caller.is_none(),
        })
    }
}

/// Whether it is of the caller; without one, of a request, and not of what the stream of sessions triggered meanwhile.
fn is_by(function: &str, caller: Option<&str>) -> bool {
    caller.map_or_else(|| !TRIGGERS.contains(&function), |caller| function == caller)
}

/// What CloudWatch Logs bills beside the text of an event.
const OVERHEAD: usize = 26;

struct Meter {
    client: Client,
    table: Table,
}

impl Meter {
    async fn post(&mut self, path: &str, bearer: Option<&str>, body: &Value) -> anyhow::Result<Value> {
        let (_, answer) =
            self.client.send(http::Method::POST, path, bearer, body.to_string().into_bytes()).await?;
        Ok(serde_json::from_slice(&answer).unwrap_or(Value::Null))
    }

    async fn login(&mut self, email: &str, password: &str) -> anyhow::Result<Value> {
        self.post("/api/v1/auth/login", None, &json!({"email": email, "password": password})).await
    }

    async fn clear(&mut self) -> anyhow::Result<()> {
        for path in ["/_local/calls", "/_local/logs"] {
            self.client.send(http::Method::DELETE, path, None, Vec::new()).await?;
        }
        Ok(())
    }

    /// A row with the calls of a request since [`Meter::clear`].
    async fn row(&mut self, what: &str) -> anyhow::Result<()> {
        self.row_of(what, None).await
    }

    /// A row with the calls of an operator, or of a function that nobody calls over HTTP.
    async fn row_of(&mut self, what: &str, caller: Option<&str>) -> anyhow::Result<()> {
        let recorded: Recorded = serde_json::from_slice(&self.client.get("/_local/calls").await?)?;
        let (mut reads, mut writes) = (0.0, 0.0);
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        let calls: Vec<_> = recorded
            .calls
            .iter()
            .filter(|call| call.service == "dynamodb" && is_by(&call.function, caller))
            .collect();
        for call in &calls {
            let mut units: f64 = call.capacity.iter().map(|capacity| capacity.units).sum();
            // DynamoDB bills a write whose condition did not hold; the embedded database reports none.
            if call.error.as_deref() == Some("ConditionalCheckFailedException") {
                units += 1.0;
            }
            let is_read = matches!(call.operation.as_str(), "GetItem" | "Query");
            *(if is_read { &mut reads } else { &mut writes }) += units;
            let tables: Vec<_> = call.tables.iter().filter_map(|table| table.rsplit('-').next()).collect();
            *kinds.entry(format!("{} {}", call.operation, tables.join("+"))).or_default() += 1;
        }
        let kinds: Vec<_> = kinds
            .into_iter()
            .map(|(kind, count)| if count == 1 { kind } else { format!("{count} × {kind}") })
            .collect();
        let logged: Logged = serde_json::from_slice(&self.client.get("/_local/logs").await?)?;
        let bytes: usize = logged
            .lines
            .iter()
            .filter(|line| line.is_by(caller))
            .map(|line| line.line.get().len() + OVERHEAD)
            .sum();
        self.table.row(&[
            what.to_owned(),
            calls.len().to_string(),
            format!("{reads}"),
            format!("{writes}"),
            bytes.to_string(),
            kinds.join(", "),
        ]);
        Ok(())
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(options))
}

async fn measure(options: &Options) -> anyhow::Result<String> {
    let local = Local::backend(&options.binaries.join("local"), Duration::ZERO, &[])?;
    let operator = Operator::connect(&local.environment).await?;
    let table = Table::new(&["use case", "requests", "read units", "write units", "log bytes", "calls"]);
    let mut meter = Meter { client: Client::connect(&local.api).await?, table };
    for name in ["few", "ten", "wrong", "mfa"] {
        operator.create(&format!("{name}@example.com"), Kind::Plain).await?;
    }
    let (few, ten) = ("few@example.com", "ten@example.com");

    meter.login(few, PASSWORD).await?;
    meter.login(few, PASSWORD).await?;
    meter.clear().await?;
    let session = meter.login(few, PASSWORD).await?;
    meter.row("login, the third session").await?;
    for _ in 0..10 {
        meter.login(ten, PASSWORD).await?;
    }
    meter.clear().await?;
    let full = meter.login(ten, PASSWORD).await?;
    meter.row("login, an eleventh session").await?;
    meter.clear().await?;
    let body = json!({"email": few, "password": PASSWORD, "device_token": text(&session, "device_token")?});
    let session = meter.post("/api/v1/auth/login", None, &body).await?;
    meter.row("login from a known device").await?;

    for (what, start) in [("refresh, a few sessions", &session), ("refresh, ten sessions", &full)] {
        meter.clear().await?;
        let body = json!({"refresh_token": text(start, "refresh_token")?});
        meter.post("/api/v1/auth/refresh", None, &body).await?;
        meter.row(what).await?;
        meter.clear().await?;
        meter.post("/api/v1/auth/refresh", None, &body).await?;
        meter.row(&format!("{what}, repeated within the grace")).await?;
    }
    meter.post("/_local/clock", None, &json!({"advance_seconds": 60})).await?;
    meter.clear().await?;
    let stale = json!({"refresh_token": text(&full, "refresh_token")?});
    meter.post("/api/v1/auth/refresh", None, &stale).await?;
    meter.row("refresh token used again: the session ends").await?;
    let fresh = meter.login(few, PASSWORD).await?;
    meter.clear().await?;
    let body = json!({"refresh_token": text(&fresh, "refresh_token")?});
    meter.post("/api/v1/auth/logout", None, &body).await?;
    meter.row("logout").await?;

    let factor = enrol(&mut meter).await?;
    meter.post("/_local/clock", None, &json!({"advance_seconds": 30})).await?;
    meter.clear().await?;
    let pending = meter.login("mfa@example.com", PASSWORD).await?;
    meter.row("login that asks for a second factor").await?;
    let code = meter.client.get(&format!("/_local/totp?secret={}", factor.secret)).await?;
    let code = String::from_utf8(code.to_vec())?;
    meter.clear().await?;
    let body =
        json!({"mfa_token": text(&pending, "mfa_token")?, "factor_id": factor.id, "code": code.trim()});
    meter.post("/api/v1/auth/mfa/verify", None, &body).await?;
    meter.row("MFA verify by TOTP").await?;
    let pending = meter.login("mfa@example.com", PASSWORD).await?;
    let token = text(&pending, "mfa_token")?;
    meter.clear().await?;
    let body = json!({"mfa_token": token, "factor_id": factor.id, "code": "000000"});
    meter.post("/api/v1/auth/mfa/verify", None, &body).await?;
    meter.row("MFA verify, wrong code").await?;
    meter.clear().await?;
    let body = json!({"mfa_token": token, "factor_id": "recovery", "code": factor.recovery});
    meter.post("/api/v1/auth/mfa/verify", None, &body).await?;
    meter.row("MFA verify by recovery code").await?;

    for (what, email) in [("wrong password", "wrong@example.com"), ("unknown account", "nobody@example.com")]
    {
        for attempt in 1..=6 {
            meter.clear().await?;
            meter.login(email, "wrong").await?;
            match attempt {
                1 => meter.row(&format!("login, {what}")).await?,
                5 => meter.row(&format!("login, {what}, the fifth: it locks")).await?,
                6 => meter.row(&format!("login, {what}, locked")).await?,
                _ => {}
            }
        }
        // The attempt at the end of a lock.
        meter.post("/_local/clock", None, &json!({"advance_seconds": 31})).await?;
        meter.clear().await?;
        meter.login(email, "wrong").await?;
        meter.row(&format!("login, {what}, at the end of a lock")).await?;
    }
    upkeep(&mut meter, &operator).await?;
    Ok(meter.table.text().to_owned())
}

/// What operators and the responder do. An incident goes from its alarm to its end.
async fn upkeep(meter: &mut Meter, operator: &Operator) -> anyhow::Result<()> {
    const OPERATOR: Option<&str> = Some("operator");
    const RESPONDER: Option<&str> = Some("responder");
    meter.clear().await?;
    operator.set_mode().await?;
    meter.row_of("operator: set a mode", OPERATOR).await?;
    meter.clear().await?;
    operator.block().await?;
    meter.row_of("operator: block a network", OPERATOR).await?;

    let alarm = |state: &str, at: &str| {
        json!({
            "AlarmName": "sallyport-prod-key-age", "NewStateValue": state, "StateChangeTime": at,
            "NewStateReason": "Threshold Crossed",
        })
    };
    let (rings, tick) = (alarm("ALARM", "2026-01-01T12:00:00.000+0000"), json!({"task": "tick"}));
    let path = "/_local/invoke/responder";
    meter.clear().await?;
    let heard = meter.post(path, None, &rings).await?;
    meter.row_of("responder: an alarm opens an incident", RESPONDER).await?;
    let incident = heard.pointer("/result/alarms/0/incident").and_then(Value::as_str).unwrap_or_default();
    meter.clear().await?;
    meter.post(path, None, &rings).await?;
    meter.row_of("responder: the same alarm again", RESPONDER).await?;
    meter.clear().await?;
    meter.post(path, None, &tick).await?;
    meter.row_of("responder: a minute with an open incident", RESPONDER).await?;
    meter.clear().await?;
    operator.acknowledge(incident).await?;
    meter.row_of("operator: acknowledge an incident", OPERATOR).await?;
    meter.clear().await?;
    meter.post(path, None, &tick).await?;
    meter.row_of("responder: tell what an operator did", RESPONDER).await?;
    meter.clear().await?;
    meter.post(path, None, &alarm("OK", "2026-01-01T12:20:00.000+0000")).await?;
    meter.row_of("responder: the last alarm clears", RESPONDER).await?;
    meter.clear().await?;
    operator.resolve(incident).await?;
    meter.row_of("operator: resolve an incident", OPERATOR).await?;
    meter.post(path, None, &tick).await?;
    meter.clear().await?;
    meter.post(path, None, &tick).await?;
    meter.row_of("responder: a minute without one", RESPONDER).await
}

struct Factor {
    id: String,
    secret: String,
    recovery: String,
}

async fn enrol(meter: &mut Meter) -> anyhow::Result<Factor> {
    let access = text(&meter.login("mfa@example.com", PASSWORD).await?, "access_token")?;
    let enrolled = meter.post("/api/v1/mfa/totp", Some(&access), &json!({})).await?;
    let (id, secret) = (text(&enrolled, "factor_id")?, text(&enrolled, "secret")?);
    let code = String::from_utf8(meter.client.get(&format!("/_local/totp?secret={secret}")).await?.to_vec())?;
    let confirm = json!({"factor_id": id, "code": code.trim()});
    let confirmed = meter.post("/api/v1/mfa/totp/confirm", Some(&access), &confirm).await?;
    let codes = confirmed.get("recovery_codes").and_then(Value::as_array);
    let recovery = codes.and_then(|codes| codes.first()?.as_str()).unwrap_or_default().to_owned();
    Ok(Factor { id, secret, recovery })
}
