//! The tables, and how their calls fail.

use std::sync::Arc;

use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::transact_write_items::TransactWriteItemsError,
    types::{Delete, Put, TransactWriteItem, Update},
};
use sallyport_core::store::{StoreError, StoreResult};

use crate::platform::{cause::cause, item::Item, retries::conflicted, scarce::ScarceBudgets};

/// Names of the tables of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tables {
    pub users: String,
    pub sessions: String,
    pub throttle: String,
    pub outbox: String,
    pub audit: String,
    pub ops: String,
}

/// All storage ports, over DynamoDB.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) client: Client,
    pub(crate) tables: Tables,
    /// What this process has heard of addresses.
    pub(crate) scarce: Arc<ScarceBudgets>,
}

impl Store {
    pub fn new(client: Client, tables: Tables) -> Self {
        Self { client, tables, scarce: Arc::default() }
    }

    /// Opens so many connections, by as many calls at once, so that the first request does not wait for handshakes: over
    /// HTTP/1.1 calls side by side need one each. It asks for the item of the probes, which every function may read that
    /// reads sessions at all. Failing is no fault.
    pub async fn warm_up(&self, connections: usize) {
        let calls = (0..connections).map(|_| {
            self.client
                .get_item()
                .table_name(&self.tables.sessions)
                .key("user_id", crate::platform::item::s("HEALTH"))
                .send()
        });
        let _unused = futures_util::future::join_all(calls).await;
    }

    /// An item of the Ops table, as the last acknowledged write left it.
    pub(crate) async fn ops_item(&self, key: Item, operation: &'static str) -> StoreResult<Option<Item>> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.tables.ops)
            .set_key(Some(key))
            .consistent_read(true)
            .send()
            .await
            .map_err(unavailable(operation))?;
        Ok(answer.item)
    }
}

/// A failed call, for the log.
pub(crate) fn unavailable<E>(operation: &'static str) -> impl FnOnce(SdkError<E>) -> StoreError
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    move |error| match error.code() {
        Some("TransactionConflictException") => StoreError::Contended { operation },
        _ => StoreError::Unavailable { operation, reason: cause(&error) },
    }
}

/// What a write under a condition answered; `None` when the condition did not hold.
pub(crate) fn if_held<T, E>(sent: Result<T, SdkError<E>>, operation: &'static str) -> StoreResult<Option<T>>
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    match sent {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.code() == Some("ConditionalCheckFailedException") => Ok(None),
        Err(error) => Err(unavailable(operation)(error)),
    }
}

/// A request that the SDK refuses to build: a fault of ours, which shows in no state of the data.
pub(crate) fn unbuildable(
    operation: &'static str,
) -> impl Fn(aws_sdk_dynamodb::error::BuildError) -> StoreError {
    move |error| StoreError::Unavailable { operation, reason: error.to_string() }
}

/// The parts of a transaction.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    items: Vec<TransactWriteItem>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Committed {
    Yes,
    /// The conditions of these parts, counted from 0, did not hold. Nothing was written.
    Refused(Vec<usize>),
}

impl Transaction {
    pub(crate) fn put(mut self, put: Put) -> Self {
        self.items.push(TransactWriteItem::builder().put(put).build());
        self
    }

    pub(crate) fn update(mut self, update: Update) -> Self {
        self.items.push(TransactWriteItem::builder().update(update).build());
        self
    }

    pub(crate) fn delete(mut self, delete: Delete) -> Self {
        self.items.push(TransactWriteItem::builder().delete(delete).build());
        self
    }

    /// Commits. The SDK sends one idempotency token with every try, so that a commit whose reply was lost is not refused.
    pub(crate) async fn commit(self, client: &Client, operation: &'static str) -> StoreResult<Committed> {
        self.send(client).await.or_else(|error| refused(error, operation))
    }

    /// As [`Transaction::commit`]; `None` when every try met another transaction on the same items.
    pub(crate) async fn commit_unless_contended(
        self,
        client: &Client,
        operation: &'static str,
    ) -> StoreResult<Option<Committed>> {
        match self.send(client).await {
            Err(error) if error.as_service_error().is_some_and(conflicted) => Ok(None),
            sent => sent.or_else(|error| refused(error, operation)).map(Some),
        }
    }

    async fn send(self, client: &Client) -> Result<Committed, SdkError<TransactWriteItemsError>> {
        client
            .transact_write_items()
            .set_transact_items(Some(self.items))
            .send()
            .await
            .map(|_| Committed::Yes)
    }
}

/// Whether the transaction failed by its conditions.
fn refused(error: SdkError<TransactWriteItemsError>, operation: &'static str) -> StoreResult<Committed> {
    if let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error() {
        let refused: Vec<_> = cancelled
            .cancellation_reasons()
            .iter()
            .enumerate()
            .filter(|(_, reason)| reason.code() == Some("ConditionalCheckFailed"))
            .map(|(index, _)| index)
            .collect();
        if !refused.is_empty() {
            return Ok(Committed::Refused(refused));
        }
        if error.as_service_error().is_some_and(conflicted) {
            return Err(StoreError::Contended { operation });
        }
    }
    Err(unavailable(operation)(error))
}
