//! What is applied: an item per migration in the Ops table, and the claim by which one operator at a time works on it.

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::{
    error::{BuildError, SdkError},
    operation::transact_write_items::TransactWriteItemsError,
    types::{AttributeValue, Delete, TransactWriteItem, Update},
};
use sallyport_aws::ITEM_FORMAT;
use sallyport_core::{audit::EventKind, clock::Timestamp, ids::OperationId};

use crate::{
    aws_fault,
    deployment::{Deployment, operator},
    failure::Failure,
};

const PARTITION: &str = "MIGRATION";

/// Whoever has not finished by then is gone, and may be taken over from: steps can be repeated.
const ABANDONED: Duration = Duration::from_secs(15 * 60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Applying,
    Applied,
    Reverting,
}

impl State {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Applying => "applying",
            Self::Applied => "applied",
            Self::Reverting => "reverting",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Applying, Self::Applied, Self::Reverting].into_iter().find(|state| state.as_str() == text)
    }
}

/// A migration that is applied, or being worked on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) state: State,
    /// When it was applied, or when the work on it began.
    pub(super) at: Timestamp,
    pub(super) by: String,
}

impl Record {
    fn read(item: &HashMap<String, AttributeValue>) -> Option<Self> {
        let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
        let millis = item.get("applied_at").and_then(|value| value.as_n().ok())?.parse().ok()?;
        Some(Self {
            id: text("sk")?.clone(),
            state: State::parse(text("state")?)?,
            at: Timestamp::from_millis(millis),
            by: text("by")?.clone(),
        })
    }
}

/// The right to work on one migration.
pub(super) struct Claim {
    id: &'static str,
    token: String,
}

/// What became of a claim.
pub(super) enum Claimed {
    Mine(Claim),
    /// It stands otherwise; the caller looks again.
    Not,
}

/// Reads all records, sorted by id.
///
/// # Errors
/// A record does not read; AWS.
pub(super) async fn all(deployment: &Deployment) -> Result<Vec<Record>, Failure> {
    let mut records = Vec::new();
    let mut pages = deployment
        .connection
        .dynamodb
        .query()
        .table_name(&deployment.tables.ops)
        .key_condition_expression("pk = :pk")
        .expression_attribute_values(":pk", text(PARTITION))
        .consistent_read(true)
        .into_paginator()
        .items()
        .send();
    while let Some(item) = pages.next().await {
        let item = item.map_err(|error| aws_fault::from_sdk("read the migrations", &error))?;
        records.push(Record::read(&item).ok_or_else(|| {
            Failure::dependency("corrupt_item", "a record of a migration in the ops table does not read")
        })?);
    }
    Ok(records)
}

/// Pages of a table that are read to find an item of an older format, before it is taken for granted that there is one.
const LOOKED_AT: usize = 8;

/// Whether the deployment was made by this release or by one that writes the same format: then there is nothing to migrate, and
/// nothing has to be recorded. Of one that has no record no item may be older; where there is too much to look at, that is not
/// known, and `migrate up` settles it.
pub(super) async fn begins_at_newest(deployment: &Deployment, records: &[Record]) -> Result<bool, Failure> {
    if !records.is_empty() {
        return Ok(false);
    }
    let tables = &deployment.tables;
    for table in
        [&tables.users, &tables.sessions, &tables.throttle, &tables.outbox, &tables.audit, &tables.ops]
    {
        let mut pages = deployment
            .connection
            .dynamodb
            .scan()
            .table_name(table)
            .filter_expression("v < :newest")
            .expression_attribute_values(":newest", number(ITEM_FORMAT))
            .projection_expression("v")
            .into_paginator()
            .send();
        let mut looked_at = 0;
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| aws_fault::from_sdk("look for older formats", &error))?;
            looked_at += 1;
            if !page.items().is_empty() || (looked_at >= LOOKED_AT && page.last_evaluated_key().is_some()) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Claims a migration that is not applied.
pub(super) async fn claim_up(
    deployment: &Deployment,
    id: &'static str,
    name: &str,
) -> Result<Claimed, Failure> {
    let claim = Claim::new(deployment, id)?;
    let sent = deployment
        .connection
        .dynamodb
        .put_item()
        .table_name(&deployment.tables.ops)
        .set_item(Some(key(id)))
        .item("v", number(ITEM_FORMAT))
        .item("name", text(name))
        .item("state", text(State::Applying.as_str()))
        .item("applied_at", number(deployment.now().millis()))
        .item("by", text(operator()?))
        .item("claim", text(&claim.token))
        // One's own claim holds: the reply to it may have been lost.
        .condition_expression(
            "attribute_not_exists(pk) OR claim = :claim OR (#state = :working AND applied_at < :abandoned)",
        )
        .expression_attribute_names("#state", "state")
        .expression_attribute_values(":claim", text(&claim.token))
        .expression_attribute_values(":working", text(State::Applying.as_str()))
        .expression_attribute_values(":abandoned", number(deployment.now().minus(ABANDONED).millis()))
        .send()
        .await;
    match sent {
        Ok(_) => Ok(Claimed::Mine(claim)),
        Err(error) if refused(&error) => Ok(Claimed::Not),
        Err(error) => Err(aws_fault::from_sdk("claim the migration", &error)),
    }
}

/// Claims a migration that is applied.
pub(super) async fn claim_down(deployment: &Deployment, id: &'static str) -> Result<Claimed, Failure> {
    let claim = Claim::new(deployment, id)?;
    let sent = deployment
        .connection
        .dynamodb
        .update_item()
        .table_name(&deployment.tables.ops)
        .set_key(Some(key(id)))
        .update_expression("SET #state = :reverting, applied_at = :now, #by = :by, claim = :claim")
        .condition_expression(
            "#state = :applied OR claim = :claim OR (#state = :reverting AND applied_at < :abandoned)",
        )
        .expression_attribute_names("#state", "state")
        .expression_attribute_names("#by", "by")
        .expression_attribute_values(":reverting", text(State::Reverting.as_str()))
        .expression_attribute_values(":applied", text(State::Applied.as_str()))
        .expression_attribute_values(":now", number(deployment.now().millis()))
        .expression_attribute_values(":by", text(operator()?))
        .expression_attribute_values(":claim", text(&claim.token))
        .expression_attribute_values(":abandoned", number(deployment.now().minus(ABANDONED).millis()))
        .send()
        .await;
    match sent {
        Ok(_) => Ok(Claimed::Mine(claim)),
        Err(error) if refused(&error) => Ok(Claimed::Not),
        Err(error) => Err(aws_fault::from_sdk("claim the migration", &error)),
    }
}

impl Claim {
    fn new(deployment: &Deployment, id: &'static str) -> Result<Self, Failure> {
        Ok(Self { id, token: OperationId::generate(deployment.random())?.to_string() })
    }

    /// Records that it is applied, with the event of it.
    ///
    /// # Errors
    /// The claim was taken over; AWS.
    pub(super) async fn applied(self, deployment: &Deployment) -> Result<(), Failure> {
        let update = Update::builder()
            .table_name(&deployment.tables.ops)
            .set_key(Some(key(self.id)))
            .update_expression("SET #state = :applied, applied_at = :now")
            .condition_expression("claim = :claim")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":applied", text(State::Applied.as_str()))
            .expression_attribute_values(":now", number(deployment.now().millis()))
            .expression_attribute_values(":claim", text(&self.token))
            .build()
            .map_err(unbuildable)?;
        let part = TransactWriteItem::builder().update(update).build();
        self.end(deployment, part, EventKind::MigrationApplied).await
    }

    /// Forgets it, and keeps the event of that.
    ///
    /// # Errors
    /// The claim was taken over; AWS.
    pub(super) async fn reverted(self, deployment: &Deployment) -> Result<(), Failure> {
        let delete = Delete::builder()
            .table_name(&deployment.tables.ops)
            .set_key(Some(key(self.id)))
            .condition_expression("claim = :claim")
            .expression_attribute_values(":claim", text(&self.token))
            .build()
            .map_err(unbuildable)?;
        let part = TransactWriteItem::builder().delete(delete).build();
        self.end(deployment, part, EventKind::MigrationReverted).await
    }

    /// A transaction: its idempotency token tells a repeated write, whose reply was lost, from somebody else's.
    async fn end(
        &self,
        deployment: &Deployment,
        part: TransactWriteItem,
        kind: EventKind,
    ) -> Result<(), Failure> {
        let event = deployment.store.event_put(&deployment.event(kind, self.id)?)?;
        let sent = deployment
            .connection
            .dynamodb
            .transact_write_items()
            .transact_items(part)
            .transact_items(TransactWriteItem::builder().put(event).build())
            .send()
            .await;
        sent.map(drop).map_err(|error| self.lost(&error))
    }

    fn lost(&self, error: &SdkError<TransactWriteItemsError>) -> Failure {
        let taken_over = match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => cancelled
                .cancellation_reasons()
                .iter()
                .any(|reason| reason.code() == Some("ConditionalCheckFailed")),
            _ => false,
        };
        if taken_over {
            Failure::conflict(
                "migration_taken_over",
                format!("somebody else took over migration {}", self.id),
            )
        } else {
            aws_fault::from_sdk("record the migration", error)
        }
    }
}

fn refused<E: aws_sdk_dynamodb::error::ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    error.as_service_error().and_then(aws_sdk_dynamodb::error::ProvideErrorMetadata::code)
        == Some("ConditionalCheckFailedException")
}

/// A fault of this release's own.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unbuildable(error: BuildError) -> Failure {
    Failure::dependency("aws_error", format!("record the migration: {error}"))
}

fn key(id: &str) -> HashMap<String, AttributeValue> {
    HashMap::from([("pk".to_owned(), text(PARTITION)), ("sk".to_owned(), text(id))])
}

fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

fn number(number: impl Into<u64>) -> AttributeValue {
    AttributeValue::N(number.into().to_string())
}
