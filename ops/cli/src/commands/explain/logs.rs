//! What the logs say of requests that were refused. They are asked besides: without them the rest is told all the same.

use std::time::Duration;

use sallyport_aws::logs::{Query, Question, Row, instant};
use sallyport_core::clock::Timestamp;
use serde::Serialize;

use crate::{
    address::AddressOrNetwork,
    cli::Target,
    commands::user::events::EventReport,
    failure::Failure,
    logs::{Logs, request_id},
    output::moment,
};

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
    /// `None` when the line is not of an answer.
    fn read(row: &Row) -> Option<Self> {
        let text = |name: &str| row.get(name).cloned();
        let at = text("@timestamp").unwrap_or_default();
        Some(Self {
            at: instant(&at).map_or(at, moment),
            method: text("method")?,
            route: text("route")?,
            status: row.get("status")?.parse().ok()?,
            code: text("code"),
            fault: text("fault"),
            address: text("address")?,
            request_id: text("request_id")?,
        })
    }
}

/// What was found of a span, newest first, or why the logs could not be asked.
pub(super) type Requests = Result<Vec<RequestReport>, Failure>;

/// A request by its id, which must be well-formed.
pub(super) async fn of_request(target: &Target, id: &str, from: Timestamp, now: Timestamp) -> Requests {
    let mut found = ask(target, &Question::REQUEST.query().of_request(id), from, now).await?;
    found.reverse();
    Ok(found)
}

/// What was refused to an address or a prefix.
pub(super) async fn of_source(
    target: &Target,
    source: AddressOrNetwork,
    most: u16,
    from: Timestamp,
    now: Timestamp,
) -> Requests {
    let query = Question::REFUSALS.query();
    let query = match source {
        AddressOrNetwork::Address(address) => query.only("address", &[&address.to_string()]),
        AddressOrNetwork::Network(network) => query.within("address", network),
    };
    ask(target, &query.limit(most), from, now).await
}

/// The requests that events came of, as far as they were refused.
pub(super) async fn of_events(
    target: &Target,
    events: &[EventReport],
    within: Duration,
    now: Timestamp,
) -> Requests {
    let from = now.minus(within);
    let recent = events.iter().filter(|event| event.time >= from);
    let ids: Vec<_> = recent
        .filter_map(|event| event.request_id.as_deref())
        // An item of the table may hold anything; in a query it must end no text.
        .filter(|id| request_id(id).is_ok())
        .collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    ask(target, &Question::REFUSALS.query().only("request_id", &ids), from, now).await
}

async fn ask(target: &Target, query: &Query, from: Timestamp, now: Timestamp) -> Requests {
    let rows = Logs::find(target).await?.ask(query, from, now).await?;
    Ok(rows.iter().filter_map(RequestReport::read).collect())
}
