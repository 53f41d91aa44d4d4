//! Conflicts between transactions, which the SDK does not retry by itself.

use aws_sdk_dynamodb::{
    error::ProvideErrorMetadata as _, operation::transact_write_items::TransactWriteItemsError,
};
use aws_smithy_runtime_api::client::{
    interceptors::context::InterceptorContext,
    retries::classifiers::{ClassifyRetry, RetryAction},
};

/// A transaction that met another on the same item was not applied; nor was a single write that met a transaction.
/// Both are worth another try, with the same idempotency token.
#[derive(Debug)]
pub struct TransactionConflicts;

impl ClassifyRetry for TransactionConflicts {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(Err(error)) = context.output_or_error() else {
            return RetryAction::NoActionIndicated;
        };
        let Some(error) = error.as_operation_error() else {
            return RetryAction::NoActionIndicated;
        };
        if let Some(error) = error.downcast_ref::<TransactWriteItemsError>() {
            if conflicted(error) {
                return RetryAction::throttling_error();
            }
            return RetryAction::NoActionIndicated;
        }
        let code = error
            .downcast_ref::<aws_sdk_dynamodb::operation::update_item::UpdateItemError>()
            .and_then(|error| error.code())
            .or_else(|| {
                error
                    .downcast_ref::<aws_sdk_dynamodb::operation::put_item::PutItemError>()
                    .and_then(|error| error.code())
            })
            .or_else(|| {
                error
                    .downcast_ref::<aws_sdk_dynamodb::operation::delete_item::DeleteItemError>()
                    .and_then(|error| error.code())
            });
        if code == Some("TransactionConflictException") {
            RetryAction::throttling_error()
        } else {
            RetryAction::NoActionIndicated
        }
    }

    fn name(&self) -> &'static str {
        "DynamoDB transaction conflicts"
    }
}

/// Whether a conflict, and nothing but conflicts, cancelled the transaction.
pub(crate) fn conflicted(error: &TransactWriteItemsError) -> bool {
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = error else {
        return false;
    };
    let codes = || cancelled.cancellation_reasons().iter().filter_map(|reason| reason.code());
    codes().any(|code| code == "TransactionConflict")
        && !codes().any(|code| code != "TransactionConflict" && code != "None")
}
