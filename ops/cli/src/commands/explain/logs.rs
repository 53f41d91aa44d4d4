//! Log lines of a backend that runs on this machine.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use serde::Serialize;
use serde_json::Value;

use crate::deployment::{Deployment, name};

/// A request, as the log tells of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RequestReport {
    pub(super) at: String,
    pub(super) method: String,
    pub(super) route: String,
    pub(super) status: u64,
    pub(super) code: Option<String>,
    /// The operator's message.
    pub(super) fault: Option<String>,
    pub(super) address: String,
    pub(super) request_id: String,
}

impl RequestReport {
    /// `None` when the line is not of a request.
    fn read(line: &Value) -> Option<Self> {
        let text = |name: &str| line.get(name).and_then(Value::as_str).map(str::to_owned);
        if line.get("_aws").is_some() {
            return None;
        }
        Some(Self {
            at: text("timestamp").unwrap_or_default(),
            method: text("method")?,
            route: text("route")?,
            status: line.get("status")?.as_u64()?,
            code: text("code"),
            fault: text("fault"),
            address: text("address")?,
            request_id: text("request_id")?,
        })
    }
}

/// The requests of a local backend, newest first. `None` for a deployment elsewhere, and when nothing answers.
pub(super) fn requests(
    deployment: &Deployment,
    wanted: impl Fn(&RequestReport) -> bool,
) -> Option<Vec<RequestReport>> {
    let authority = deployment.settings.get(name::ISSUER)?.strip_prefix("http://")?;
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    if !["localhost", "127.0.0.1", "[::1]"].contains(&host) {
        return None;
    }
    let body: Value = serde_json::from_slice(&get(authority, "/_local/logs")?).ok()?;
    let lines = body.get("lines")?.as_array()?;
    let mut requests: Vec<_> = lines
        .iter()
        .filter_map(|numbered| RequestReport::read(numbered.get("line")?))
        .filter(wanted)
        .collect();
    requests.reverse();
    Some(requests)
}

const PATIENCE: Duration = Duration::from_secs(3);

/// By HTTP/1.0, so that the body ends where the connection does.
fn get(authority: &str, path: &str) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(authority).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {authority}\r\nAccept: application/json\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(answer.get(..end)?).into_owned();
    let succeeded = head.split(' ').nth(1) == Some("200");
    succeeded.then(|| answer.split_off(end.saturating_add(4)))
}
