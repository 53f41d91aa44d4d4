//! Audit table: security events.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    operation::put_item::PutItemError,
    types::{AttributeValue, Put, ReturnValuesOnConditionCheckFailure},
};
use sallyport_core::{
    audit::{Actor, EventKind, RecordEvent, SecurityEvent, Severity, Subject},
    clock::Timestamp,
    store::StoreResult,
};
use sallyport_operations::{
    incidents::{Measure, ReadMeasures},
    retention,
};

use crate::platform::{
    item::{ITEM_FORMAT, Item, Reader, millis, n, s},
    meter,
    store::{Store, unavailable, unbuildable},
};

pub(crate) fn write_event(event: &SecurityEvent) -> Item {
    let actor = event.origin.actor.to_string();
    // The release before looks here for who acted, and has no other place. Readers of today ask only where a caller acted.
    let agent = if event.origin.actor == Actor::Caller { &event.origin.agent } else { &actor };
    let mut item = HashMap::from([
        ("pk".to_owned(), s(partition(event.subject))),
        // Sorted by time, and the same key when the same event is written again.
        ("sk".to_owned(), s(format!("{:013}#{}", event.at.millis(), event.id))),
        ("v".to_owned(), n(ITEM_FORMAT)),
        ("kind".to_owned(), s(event.kind.as_str())),
        ("severity".to_owned(), s(event.kind.severity().as_str())),
        ("at".to_owned(), millis(event.at)),
        ("address".to_owned(), s(event.origin.address)),
        ("actor".to_owned(), s(&actor)),
        ("agent".to_owned(), s(agent)),
        ("request_id".to_owned(), s(&event.origin.request_id)),
        ("expires_at".to_owned(), n((event.at + retention::kept(event.kind)).seconds())),
    ]);
    if let Some(session) = event.session {
        item.insert("session_id".to_owned(), s(session));
    }
    if let Some(device) = event.device {
        item.insert("device".to_owned(), s(device));
    }
    if let Some(detail) = &event.detail {
        item.insert("detail".to_owned(), s(detail));
    }
    item
}

/// Who acted, and what a caller's client calls itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// `caller`, `client ID`, `operator NAME`, `function NAME`, or what a later release writes.
    pub actor: String,
    /// Of a caller alone.
    pub agent: Option<String>,
}

/// Reads who acted from an event as it is stored, as far as it can be believed.
///
/// An item without `actor` is of a release that kept who acted and the client's name in one attribute. What a caller sends comes
/// with the gateway's identifier of the request, always; our own events have neither that nor an address. So `agent` names
/// an operator or a function in those alone, and is a client's word in all others, whatever it looks like.
pub fn who(item: &HashMap<String, AttributeValue>) -> Who {
    let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).map(String::as_str);
    let agent = || text("agent").unwrap_or_default().to_owned();
    let caller =
        |actor: &str| Who { actor: actor.to_owned(), agent: Some(agent()).filter(|agent| !agent.is_empty()) };
    match text("actor") {
        Some("caller") => caller("caller"),
        Some(actor) => Who { actor: actor.to_owned(), agent: None },
        None if text("request_id") == Some("") && text("address") == Some("0.0.0.0") => {
            let ours = text("agent").unwrap_or_default();
            let actor = match ours {
                "responder" => "function responder",
                named if named.starts_with("operator ") || named.starts_with("function ") => named,
                _ => "unknown",
            };
            Who { actor: actor.to_owned(), agent: None }
        }
        None => caller("caller"),
    }
}

/// Reads what those who show events need. A kind that a later release writes is no fault.
pub(crate) fn validate(item: &Item) -> StoreResult<()> {
    let reader = Reader::new("audit", "event", item);
    reader.format()?;
    for attribute in ["pk", "sk", "kind", "severity", "address", "agent", "request_id"] {
        reader.text(attribute)?;
    }
    for attribute in ["actor", "device"] {
        if reader.has(attribute) {
            reader.text(attribute)?;
        }
    }
    reader.instant("at")?;
    reader.number::<u64>("expires_at").map(drop)
}

fn partition(subject: Subject) -> String {
    match subject {
        Subject::User(user) => format!("USER#{user}"),
        Subject::Account(account) => format!("ACCOUNT#{account}"),
        Subject::Deployment => "DEPLOYMENT".to_owned(),
    }
}

impl Store {
    /// An event as a part of a transaction.
    ///
    /// # Errors
    /// The SDK does not build it.
    pub fn event_put(&self, event: &SecurityEvent) -> StoreResult<Put> {
        Put::builder()
            .table_name(&self.tables.audit)
            .set_item(Some(write_event(event)))
            .build()
            .map_err(unbuildable("record event"))
    }

    /// Tells the log of events once they are stored.
    pub(crate) fn announce_if<'a>(&self, stored: bool, events: impl IntoIterator<Item = &'a SecurityEvent>) {
        if stored {
            for event in events {
                announce(event);
            }
        }
    }
}

impl ReadMeasures for Store {
    async fn measures(&self, from: Timestamp, to: Timestamp) -> StoreResult<Vec<Measure>> {
        let query = self
            .client
            .query()
            .table_name(&self.tables.audit)
            .consistent_read(true)
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", s(partition(Subject::Deployment)))
            .expression_attribute_values(":from", s(format!("{:013}", from.millis())))
            // After every event of that moment.
            .expression_attribute_values(":to", s(format!("{:013}~", to.millis())));
        let mut pages = query.into_paginator().items().send();
        let mut measures = Vec::new();
        while let Some(item) = pages.next().await {
            measures.extend(read_measure(&item.map_err(unavailable("read measures"))?)?);
        }
        Ok(measures)
    }
}

/// `None` for an event that is no measure, or that a newer release knows.
fn read_measure(item: &Item) -> StoreResult<Option<Measure>> {
    let reader = Reader::new("audit", "DEPLOYMENT", item);
    let name = reader.text("kind")?;
    let kind = EventKind::ALL.iter().copied().find(|kind| kind.as_str() == name);
    let Some(kind) = kind.filter(|kind| Measure::mitigates(*kind).is_some()) else { return Ok(None) };
    let actor = who(item).actor;
    Ok(Some(Measure {
        at: reader.instant("at")?,
        kind,
        by: actor.strip_prefix("operator ").unwrap_or(&actor).to_owned(),
        detail: if reader.has("detail") { reader.text("detail")?.to_owned() } else { String::new() },
    }))
}

fn announce(event: &SecurityEvent) {
    meter::note_event(event.kind);
    let kind = event.kind.as_str();
    let severity = event.kind.severity().as_str();
    let subject = partition(event.subject);
    let session = event.session.map(|session| session.to_string());
    let device = event.device.map(|device| device.to_string());
    let (session, device, detail) = (session.as_deref(), device.as_deref(), event.detail.as_deref());
    let (actor, address) = (event.origin.actor.to_string(), event.origin.address.to_string());
    let request_id = Some(event.origin.request_id.as_str()).filter(|id| !id.is_empty());
    macro_rules! tell {
        ($level:ident) => {
            tracing::$level!(
                target: "security",
                event = kind, severity, actor, subject, session, device, address, request_id, detail,
                "security event"
            )
        };
    }
    match event.kind.severity() {
        Severity::Info => tell!(info),
        Severity::Warning => tell!(warn),
        Severity::Critical => tell!(error),
    }
}

impl RecordEvent for Store {
    async fn record(&self, event: &SecurityEvent) -> StoreResult<()> {
        let item = write_event(event);
        let sent = self
            .client
            .put_item()
            .table_name(&self.tables.audit)
            .set_item(Some(item.clone()))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        if let Err(error) = sent {
            match error.as_service_error() {
                // This very write, repeated because its reply was lost, is yet to be told; another's was told by him.
                Some(PutItemError::ConditionalCheckFailedException(stands)) => {
                    if stands.item() != Some(&item) {
                        return Ok(());
                    }
                }
                _ => return Err(unavailable("record event")(error)),
            }
        }
        announce(event);
        Ok(())
    }
}
