//! Ops table: incidents that are past their time, and what remains of them meanwhile.
//!
//! | pk | sk | item |
//! |---|---|---|
//! | `INCIDENT_REMAINS` | id | of an incident that was forgotten, until its timeline is gone, too |

use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put};
use sallyport_core::{audit::SecurityEvent, clock::Timestamp, store::StoreResult};
use sallyport_operations::{
    incidents::{Incident, IncidentId},
    retention::ForgetIncidents,
};

use crate::{
    operations::incidents::{CAUSES, INCIDENTS, TIMELINE, item, key, read_incident, read_pointer},
    platform::{
        item::{Item, Reader, n, s},
        store::{Committed, Store, Transaction, unavailable, unbuildable},
    },
};

const TABLE: &str = "ops";
const REMAINS: &str = "INCIDENT_REMAINS";

impl ForgetIncidents for Store {
    async fn incidents_before(&self, before: Timestamp) -> StoreResult<Vec<StoreResult<Incident>>> {
        let first = IncidentId::first_of(before).to_string();
        let mut incidents = Vec::new();
        let mut items = self
            .client
            .query()
            .table_name(&self.tables.ops)
            .key_condition_expression("pk = :pk AND sk < :first")
            .expression_attribute_values(":pk", s(INCIDENTS))
            .expression_attribute_values(":first", s(first))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        while let Some(item) = items.next().await {
            incidents.push(read_incident(&item.map_err(unavailable("list incidents"))?));
        }
        Ok(incidents)
    }

    async fn forget_incident(&self, incident: &Incident, event: &SecurityEvent) -> StoreResult<bool> {
        let operation = "forget incident";
        let (id, cause) = (incident.id.to_string(), incident.cause.as_str());
        let pointer = self.ops_item(key(CAUSES, cause), "read cause").await?;
        let pointer = pointer.map(|item| read_pointer(&item)).transpose()?;
        let delete = |key| Delete::builder().table_name(&self.tables.ops).set_key(Some(key));
        let own = delete(key(INCIDENTS, &id))
            .condition_expression("ver = :seen")
            .expression_attribute_values(":seen", n(incident.version))
            .build()
            .map_err(unbuildable(operation))?;
        let mark = Put::builder()
            .table_name(&self.tables.ops)
            .set_item(Some(item(REMAINS, &id)))
            .build()
            .map_err(unbuildable(operation))?;
        let mut transaction = Transaction::default().delete(own).put(mark).put(self.event_put(event)?);
        if pointer.is_some_and(|(led_to, _)| led_to == incident.id) {
            let pointer = delete(key(CAUSES, cause))
                .condition_expression("incident = :id AND #open = :no")
                .expression_attribute_names("#open", "open")
                .expression_attribute_values(":id", s(&id))
                .expression_attribute_values(":no", AttributeValue::Bool(false))
                .build()
                .map_err(unbuildable(operation))?;
            transaction = transaction.delete(pointer);
        }
        let committed = transaction.commit(&self.client, operation).await? == Committed::Yes;
        self.announce_if(committed, [event]);
        Ok(committed)
    }

    async fn remains(&self) -> StoreResult<Vec<IncidentId>> {
        let marks = self.ops_items(REMAINS, None, "list remains").await?;
        marks.iter().map(|item| Reader::new(TABLE, REMAINS, item).parsed("sk")).collect()
    }

    async fn clear_remains(&self, id: IncidentId) -> StoreResult<()> {
        let entries = self.ops_items(&format!("{TIMELINE}{id}"), None, "read timeline").await?;
        let timeline = entries.iter().map(|item| {
            let reader = Reader::new(TABLE, TIMELINE, item);
            Ok(key(reader.text("pk")?, reader.text("sk")?))
        });
        let keys: Vec<Item> =
            timeline.chain([Ok(key(REMAINS, &id.to_string()))]).collect::<StoreResult<_>>()?;
        for key in keys {
            let delete = self.client.delete_item().table_name(&self.tables.ops).set_key(Some(key));
            delete.send().await.map_err(unavailable("clear remains"))?;
        }
        Ok(())
    }
}
