//! Ops table: incidents, what a cause leads to, timelines, and the notices that are still to be sent.
//!
//! | pk | sk | item |
//! |---|---|---|
//! | `INCIDENT` | id | an incident |
//! | `INCIDENT_CAUSE` | cause | the latest incident of the cause, and whether it is open |
//! | `INCIDENT#<id>` | version and index | an entry of its timeline |
//! | `INCIDENT_NOTICE` | id and version | a notice that is not sent yet |

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_dynamodb::{
    operation::update_item::UpdateItemError,
    types::{AttributeValue, Delete, Put, ReturnValuesOnConditionCheckFailure, Update},
};
use sallyport_core::{clock::Timestamp, ids::OperationId, store::StoreResult};
use sallyport_operations::incidents::{
    Acknowledgement, AlarmRecord, Cause, ChangeIncident, Entry, FindIncident, Incident, IncidentChange,
    IncidentId, ListIncidents, Notice, Notices, Pointer, ReadTimeline, Resolution,
};

use crate::platform::{
    item::{ITEM_FORMAT, Item, Reader, b, millis, n, s},
    store::{Committed, Store, Transaction, if_held, unavailable, unbuildable},
};

const TABLE: &str = "ops";
pub(crate) const INCIDENTS: &str = "INCIDENT";
pub(crate) const CAUSES: &str = "INCIDENT_CAUSE";
pub(crate) const NOTICES: &str = "INCIDENT_NOTICE";
pub(crate) const TIMELINE: &str = "INCIDENT#";

pub(crate) fn key(pk: &str, sk: &str) -> Item {
    HashMap::from([("pk".to_owned(), s(pk)), ("sk".to_owned(), s(sk))])
}

pub(crate) fn item(pk: &str, sk: &str) -> Item {
    let mut item = key(pk, sk);
    item.insert("v".to_owned(), n(ITEM_FORMAT));
    item
}

fn map<const N: usize>(attributes: [(&str, AttributeValue); N]) -> AttributeValue {
    AttributeValue::M(attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn list(texts: &[String]) -> AttributeValue {
    AttributeValue::L(texts.iter().map(s).collect())
}

pub(crate) fn write_incident(incident: &Incident) -> Item {
    let mut item = item(INCIDENTS, &incident.id.to_string());
    let mut set = |name: &str, value| item.insert(name.to_owned(), value);
    set("cause", s(&incident.cause));
    set("severity", s(incident.severity));
    set("began_at", millis(incident.began_at));
    set("opened_at", millis(incident.opened_at));
    set("waiting_since", millis(incident.waiting_since));
    set("status_at", millis(incident.status_at));
    set("escalation_level", n(incident.escalation_level));
    set("ver", n(incident.version));
    set("operation", b(*incident.operation.as_bytes()));
    if let Some(Acknowledgement { at, by }) = &incident.acknowledged {
        set("acknowledged", map([("at", millis(*at)), ("by", s(by))]));
    }
    if let Some(Resolution { at, by, summary }) = &incident.resolved {
        set("resolved", map([("at", millis(*at)), ("by", s(by)), ("summary", s(summary))]));
    }
    for (name, at) in [
        ("reminded_at", incident.reminded_at),
        ("escalated_at", incident.escalated_at),
        ("diagnosis_from", incident.diagnosis_from),
        ("mitigated_for", incident.mitigated_for),
    ] {
        if let Some(at) = at {
            set(name, millis(at));
        }
    }
    let alarms = incident.alarms.iter().map(|(name, alarm)| {
        let written = map([
            ("state", s(alarm.state.as_str())),
            ("changed_at", millis(alarm.changed_at)),
            ("children", list(&alarm.children)),
        ]);
        (name.clone(), written)
    });
    set("alarms", AttributeValue::M(alarms.collect()));
    item
}

pub(crate) fn read_incident(item: &Item) -> StoreResult<Incident> {
    let reader = Reader::new(TABLE, INCIDENTS, item);
    reader.format()?;
    let optional = |name: &str| -> StoreResult<Option<Timestamp>> {
        Ok(reader.optional_number(name)?.map(Timestamp::from_millis))
    };
    let acknowledged = if reader.has("acknowledged") {
        let map = reader.map("acknowledged")?;
        Some(Acknowledgement { at: map.instant("at")?, by: map.text("by")?.to_owned() })
    } else {
        None
    };
    let resolved = if reader.has("resolved") {
        let map = reader.map("resolved")?;
        let (by, summary) = (map.text("by")?.to_owned(), map.text("summary")?.to_owned());
        Some(Resolution { at: map.instant("at")?, by, summary })
    } else {
        None
    };
    let all = reader.map("alarms")?;
    let mut alarms = BTreeMap::new();
    for (name, _) in all.named("") {
        let alarm = all.map(name)?;
        let record = AlarmRecord {
            state: alarm.parsed("state")?,
            changed_at: alarm.instant("changed_at")?,
            children: alarm.list("children")?,
        };
        alarms.insert(name.to_owned(), record);
    }
    Ok(Incident {
        id: reader.parsed("sk")?,
        cause: Cause::new(reader.text("cause")?),
        severity: reader.parsed("severity")?,
        began_at: reader.instant("began_at")?,
        opened_at: reader.instant("opened_at")?,
        waiting_since: reader.instant("waiting_since")?,
        acknowledged,
        resolved,
        status_at: reader.instant("status_at")?,
        reminded_at: optional("reminded_at")?,
        escalation_level: reader.number("escalation_level")?,
        escalated_at: optional("escalated_at")?,
        alarms,
        diagnosis_from: optional("diagnosis_from")?,
        mitigated_for: optional("mitigated_for")?,
        version: reader.number("ver")?,
        operation: OperationId::from_bytes(reader.id("operation")?),
    })
}

/// The latest incident of a cause.
fn write_pointer(incident: &Incident) -> Item {
    let mut item = item(CAUSES, incident.cause.as_str());
    item.insert("incident".to_owned(), s(incident.id));
    item.insert("open".to_owned(), AttributeValue::Bool(incident.is_open()));
    item
}

/// Where a cause leads to, and whether it is open.
pub(crate) fn read_pointer(item: &Item) -> StoreResult<(IncidentId, bool)> {
    let reader = Reader::new(TABLE, CAUSES, item);
    reader.format()?;
    Ok((reader.parsed("incident")?, reader.flag("open")?))
}

pub(crate) fn write_entry(entry: &Entry) -> Item {
    let (pk, sk) = (format!("{TIMELINE}{}", entry.incident), format!("{:08}#{}", entry.version, entry.index));
    let mut item = item(&pk, &sk);
    item.insert("at".to_owned(), millis(entry.at));
    item.insert("kind".to_owned(), s(entry.kind.as_str()));
    item.insert("by".to_owned(), s(&entry.by));
    item.insert("text".to_owned(), s(&entry.text));
    item
}

pub(crate) fn read_entry(item: &Item) -> StoreResult<Entry> {
    let reader = Reader::new(TABLE, TIMELINE, item);
    reader.format()?;
    let place = reader.text("sk")?.split_once('#');
    let place = place.and_then(|(version, index)| Some((version.parse().ok()?, index.parse().ok()?)));
    let (version, index) = place.ok_or_else(|| reader.corrupt("sk", "not a place in a timeline"))?;
    let incident = reader.text("pk")?.strip_prefix(TIMELINE).and_then(|id| id.parse().ok());
    Ok(Entry {
        incident: incident.ok_or_else(|| reader.corrupt("pk", "not an incident's id"))?,
        version,
        index,
        at: reader.instant("at")?,
        kind: reader.parsed("kind")?,
        by: reader.text("by")?.to_owned(),
        text: reader.text("text")?.to_owned(),
    })
}

fn notice_key(notice: &Notice) -> String {
    format!("{}#{:08}", notice.incident, notice.version)
}

pub(crate) fn write_notice(notice: &Notice) -> Item {
    let mut item = item(NOTICES, &notice_key(notice));
    let mut set = |name: &str, value| item.insert(name.to_owned(), value);
    set("kind", s(notice.kind.as_str()));
    set("at", millis(notice.at));
    set("text", s(&notice.text));
    set("due_at", millis(notice.due_at));
    set("attempts", n(notice.attempts));
    if let Some(claim) = notice.claim {
        set("claim", b(*claim.as_bytes()));
    }
    if !notice.sent.is_empty() {
        set("sent", AttributeValue::Ss(notice.sent.iter().cloned().collect()));
    }
    item
}

pub(crate) fn read_notice(item: &Item) -> StoreResult<Notice> {
    let reader = Reader::new(TABLE, NOTICES, item);
    reader.format()?;
    let place = reader.text("sk")?.split_once('#');
    let place = place.and_then(|(id, version)| Some((id.parse().ok()?, version.parse().ok()?)));
    let (incident, version) = place.ok_or_else(|| reader.corrupt("sk", "not a notice's key"))?;
    Ok(Notice {
        incident,
        version,
        kind: reader.parsed("kind")?,
        at: reader.instant("at")?,
        text: reader.text("text")?.to_owned(),
        due_at: reader.instant("due_at")?,
        attempts: reader.number("attempts")?,
        claim: if reader.has("claim") { Some(OperationId::from_bytes(reader.id("claim")?)) } else { None },
        sent: if reader.has("sent") {
            reader.texts("sent")?.iter().cloned().collect()
        } else {
            BTreeSet::new()
        },
    })
}

impl Store {
    pub(crate) async fn ops_items(
        &self,
        pk: &str,
        from: Option<&str>,
        operation: &'static str,
    ) -> StoreResult<Vec<Item>> {
        let mut query = self
            .client
            .query()
            .table_name(&self.tables.ops)
            .expression_attribute_values(":pk", s(pk))
            .consistent_read(true);
        query = match from {
            None => query.key_condition_expression("pk = :pk"),
            Some(from) => query
                .key_condition_expression("pk = :pk AND sk >= :from")
                .expression_attribute_values(":from", s(from)),
        };
        let mut pages = query.into_paginator().items().send();
        let mut items = Vec::new();
        while let Some(item) = pages.next().await {
            items.push(item.map_err(unavailable(operation))?);
        }
        Ok(items)
    }
}

impl FindIncident for Store {
    async fn incident(&self, id: IncidentId) -> StoreResult<Option<Incident>> {
        let item = self.ops_item(key(INCIDENTS, &id.to_string()), "read incident").await?;
        item.map(|item| read_incident(&item)).transpose()
    }

    async fn latest_of(&self, cause: &Cause) -> StoreResult<Option<Incident>> {
        let Some(item) = self.ops_item(key(CAUSES, cause.as_str()), "read cause").await? else {
            return Ok(None);
        };
        let (id, _) = read_pointer(&item)?;
        self.incident(id).await
    }
}

impl ListIncidents for Store {
    /// By the causes, of which there are as many as alarms: incidents are kept for more than a year.
    async fn open_incidents(&self) -> StoreResult<Vec<Incident>> {
        let mut open = Vec::new();
        for item in self.ops_items(CAUSES, None, "list causes").await? {
            let (id, is_open) = read_pointer(&item)?;
            if is_open {
                // It may have been resolved since.
                open.extend(self.incident(id).await?.filter(Incident::is_open));
            }
        }
        open.sort_by_key(|incident| incident.id);
        Ok(open)
    }

    async fn incidents_since(&self, since: Timestamp) -> StoreResult<Vec<Incident>> {
        let from = IncidentId::first_of(since).to_string();
        let items = self.ops_items(INCIDENTS, Some(&from), "list incidents").await?;
        items.iter().map(read_incident).collect()
    }
}

impl ReadTimeline for Store {
    async fn timeline(&self, id: IncidentId) -> StoreResult<Vec<Entry>> {
        let items = self.ops_items(&format!("{TIMELINE}{id}"), None, "read timeline").await?;
        items.iter().map(read_entry).collect()
    }
}

impl ChangeIncident for Store {
    async fn change_incident(&self, change: &IncidentChange) -> StoreResult<bool> {
        let operation = "change incident";
        let incident = &change.incident;
        let put = |item| Put::builder().table_name(&self.tables.ops).set_item(Some(item));
        let build =
            |put: aws_sdk_dynamodb::types::builders::PutBuilder| put.build().map_err(unbuildable(operation));
        let own = put(write_incident(incident));
        let own = if incident.version == 1 {
            own.condition_expression("attribute_not_exists(pk)")
        } else {
            own.condition_expression("ver = :seen")
                .expression_attribute_values(":seen", n(incident.version.saturating_sub(1)))
        };
        let mut transaction = Transaction::default().put(build(own)?);
        match change.pointer {
            Pointer::Stays => {}
            Pointer::Moves(None) => {
                let pointer = put(write_pointer(incident)).condition_expression("attribute_not_exists(pk)");
                transaction = transaction.put(build(pointer)?);
            }
            Pointer::Moves(Some(before)) => {
                let pointer = put(write_pointer(incident))
                    .condition_expression("incident = :before AND #open = :no")
                    .expression_attribute_names("#open", "open")
                    .expression_attribute_values(":before", s(before))
                    .expression_attribute_values(":no", AttributeValue::Bool(false));
                transaction = transaction.put(build(pointer)?);
            }
            Pointer::Marks => {
                let update = Update::builder()
                    .table_name(&self.tables.ops)
                    .set_key(Some(key(CAUSES, incident.cause.as_str())))
                    .update_expression("SET #open = :open")
                    .condition_expression("incident = :incident")
                    .expression_attribute_names("#open", "open")
                    .expression_attribute_values(":open", AttributeValue::Bool(incident.is_open()))
                    .expression_attribute_values(":incident", s(incident.id))
                    .build()
                    .map_err(unbuildable(operation))?;
                transaction = transaction.update(update);
            }
        }
        for entry in &change.entries {
            transaction = transaction.put(build(put(write_entry(entry)))?);
        }
        if let Some(notice) = &change.notice {
            transaction = transaction.put(build(put(write_notice(notice)))?);
        }
        if let Some(notice) = &change.given_up {
            let delete = Delete::builder()
                .table_name(&self.tables.ops)
                .set_key(Some(key(NOTICES, &notice_key(notice))))
                .condition_expression("attribute_exists(pk)")
                .build()
                .map_err(unbuildable(operation))?;
            transaction = transaction.delete(delete);
        }
        if let Some(event) = &change.event {
            transaction = transaction.put(self.event_put(event)?);
        }
        let committed = transaction.commit(&self.client, operation).await? == Committed::Yes;
        self.announce_if(committed, &change.event);
        Ok(committed)
    }
}

impl Notices for Store {
    async fn pending_notices(&self) -> StoreResult<Vec<Notice>> {
        let items = self.ops_items(NOTICES, None, "list notices").await?;
        items.iter().map(read_notice).collect()
    }

    async fn claim_notice(
        &self,
        notice: &Notice,
        operation: OperationId,
        until: Timestamp,
    ) -> StoreResult<bool> {
        let sent = self
            .client
            .update_item()
            .table_name(&self.tables.ops)
            .set_key(Some(key(NOTICES, &notice_key(notice))))
            .update_expression("SET due_at = :until, attempts = :next, claim = :claim")
            .condition_expression("attempts = :seen")
            .expression_attribute_values(":until", millis(until))
            .expression_attribute_values(":seen", n(notice.attempts))
            .expression_attribute_values(":next", n(notice.attempts.saturating_add(1)))
            .expression_attribute_values(":claim", b(*operation.as_bytes()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let Err(error) = sent else { return Ok(true) };
        match error.as_service_error() {
            // Its own claim, when only the reply was lost.
            Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                let stored = failed.item.as_ref().filter(|item| !item.is_empty());
                let stored = stored.map(read_notice).transpose()?;
                Ok(stored.is_some_and(|stored| stored.claim == Some(operation)))
            }
            _ => Err(unavailable("claim notice")(error)),
        }
    }

    async fn mark_sent(&self, notice: &Notice, channel: &str) -> StoreResult<()> {
        let sent = self
            .client
            .update_item()
            .table_name(&self.tables.ops)
            .set_key(Some(key(NOTICES, &notice_key(notice))))
            .update_expression("ADD sent :channel")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_values(":channel", AttributeValue::Ss(vec![channel.to_owned()]))
            .send()
            .await;
        if_held(sent, "mark notice").map(drop)
    }

    async fn forget_notice(&self, notice: &Notice) -> StoreResult<()> {
        self.client
            .delete_item()
            .table_name(&self.tables.ops)
            .set_key(Some(key(NOTICES, &notice_key(notice))))
            .send()
            .await
            .map(drop)
            .map_err(unavailable("forget notice"))
    }
}
