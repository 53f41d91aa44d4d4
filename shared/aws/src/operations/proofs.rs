//! Ops table: proofs, the restore drill that is under way, its canary.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    operation::put_item::PutItemError,
    types::{Put, ReturnValuesOnConditionCheckFailure},
};
use sallyport_core::{audit::SecurityEvent, keyring::KeyId, store::StoreResult};
use sallyport_operations::recovery::{
    Proof, Proofs,
    drill::{Canary, Run, Runs},
};

use crate::platform::{
    item::{ITEM_FORMAT, Item, Reader, millis, n, s},
    store::{Committed, Store, Transaction, if_held, unavailable, unbuildable},
};

const TABLE: &str = "ops";
pub(crate) const PARTITION: &str = "PROOF";
const RUN: &str = "restore_drill_run";
const CANARY: &str = "canary";
const READ: &str = "read proof";

fn key(name: &str) -> Item {
    HashMap::from([("pk".to_owned(), s(PARTITION)), ("sk".to_owned(), s(name))])
}

fn write_proof(proof: &Proof) -> Item {
    let mut item = key(&proof.name);
    item.insert("v".to_owned(), n(ITEM_FORMAT));
    item.insert("at".to_owned(), millis(proof.at));
    item.insert("ok".to_owned(), aws_sdk_dynamodb::types::AttributeValue::Bool(proof.ok));
    item.insert("report".to_owned(), s(&proof.report));
    item
}

fn read_proof(item: &Item) -> StoreResult<Proof> {
    let reader = Reader::new(TABLE, PARTITION, item);
    reader.format()?;
    Ok(Proof {
        name: reader.text("sk")?.to_owned(),
        at: reader.instant("at")?,
        ok: reader.flag("ok")?,
        report: reader.text("report")?.to_owned(),
    })
}

fn write_run(run: &Run) -> StoreResult<Item> {
    let stage = serde_json::to_string(&run.stage).map_err(|error| {
        sallyport_core::store::StoreError::Unavailable { operation: "keep run", reason: error.to_string() }
    })?;
    let mut item = key(RUN);
    item.insert("v".to_owned(), n(ITEM_FORMAT));
    item.insert("rev".to_owned(), n(run.revision));
    item.insert("lease".to_owned(), n(run.lease));
    item.insert("asked_at".to_owned(), n(run.asked_at));
    item.insert("stage".to_owned(), s(stage));
    Ok(item)
}

fn read_run(item: &Item) -> StoreResult<Run> {
    let reader = Reader::new(TABLE, RUN, item);
    reader.format()?;
    Ok(Run {
        revision: reader.number("rev")?,
        lease: reader.number("lease")?,
        asked_at: reader.number("asked_at")?,
        stage: serde_json::from_str(reader.text("stage")?)
            .map_err(|_| reader.corrupt("stage", "does not read"))?,
    })
}

fn read_canary(item: &Item) -> StoreResult<Canary> {
    let reader = Reader::new(TABLE, CANARY, item);
    reader.format()?;
    Ok(Canary { created_at: reader.instant("created_at")?, key: KeyId(reader.number("key")?) })
}

/// Decodes an item of the partition.
pub(crate) fn validate(item: &Item) -> StoreResult<()> {
    match Reader::new(TABLE, PARTITION, item).text("sk")? {
        RUN => read_run(item).map(drop),
        CANARY => read_canary(item).map(drop),
        _ => read_proof(item).map(drop),
    }
}

impl Proofs for Store {
    async fn proof(&self, name: &str) -> StoreResult<Option<Proof>> {
        self.ops_item(key(name), READ).await?.map(|item| read_proof(&item)).transpose()
    }

    async fn keep_proof(&self, proof: &Proof) -> StoreResult<()> {
        let sent = self
            .client
            .put_item()
            .table_name(&self.tables.ops)
            .set_item(Some(write_proof(proof)))
            .condition_expression("attribute_not_exists(pk) OR #at <= :at")
            .expression_attribute_names("#at", "at")
            .expression_attribute_values(":at", millis(proof.at))
            .send()
            .await;
        // If it does not hold, a newer one is there.
        if_held(sent, "keep proof").map(drop)
    }
}

const REVISION_HOLDS: &str = "rev = :before";
const NO_RUN: &str = "attribute_not_exists(pk)";

impl Runs for Store {
    async fn run(&self) -> StoreResult<Option<Run>> {
        self.ops_item(key(RUN), READ).await?.map(|item| read_run(&item)).transpose()
    }

    async fn keep_run(&self, run: &Run, event: Option<&SecurityEvent>) -> StoreResult<bool> {
        let operation = "keep run";
        let item = write_run(run)?;
        // The first revision is 1; every later one replaces the one before it.
        let first = run.revision <= 1;
        let condition = if first { NO_RUN } else { REVISION_HOLDS };
        let before = (!first).then(|| n(run.revision - 1));
        if let Some(event) = event {
            let mut put = Put::builder()
                .table_name(&self.tables.ops)
                .set_item(Some(item))
                .condition_expression(condition);
            if let Some(before) = before {
                put = put.expression_attribute_values(":before", before);
            }
            let put = put.build().map_err(unbuildable(operation))?;
            let transaction = Transaction::default().put(put).put(self.event_put(event)?);
            let committed = transaction.commit(&self.client, operation).await?;
            self.announce_if(committed == Committed::Yes, [event]);
            return Ok(committed == Committed::Yes);
        }
        let mut put = self
            .client
            .put_item()
            .table_name(&self.tables.ops)
            .set_item(Some(item.clone()))
            .condition_expression(condition)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        if let Some(before) = before {
            put = put.expression_attribute_values(":before", before);
        }
        match put.send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                // What is there may be this very write, repeated because its reply was lost.
                Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(failed.item() == Some(&item))
                }
                _ => Err(unavailable(operation)(error)),
            },
        }
    }

    async fn canary(&self) -> StoreResult<Option<Canary>> {
        self.ops_item(key(CANARY), READ).await?.map(|item| read_canary(&item)).transpose()
    }

    async fn keep_canary(&self, canary: &Canary) -> StoreResult<bool> {
        let mut item = key(CANARY);
        item.insert("v".to_owned(), n(ITEM_FORMAT));
        item.insert("created_at".to_owned(), millis(canary.created_at));
        item.insert("key".to_owned(), n(canary.key.0));
        let sent = self
            .client
            .put_item()
            .table_name(&self.tables.ops)
            .set_item(Some(item))
            .condition_expression(NO_RUN)
            .send()
            .await;
        Ok(if_held(sent, "keep canary")?.is_some())
    }
}
