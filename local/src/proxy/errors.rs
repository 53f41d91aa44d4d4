//! The answers of a service in trouble, in its own words.

use serde_json::{Value, json};

use super::{
    call::{Call, Service},
    faults::{Fault, Kind, same_table},
};
use crate::wire::Message;

/// The answer that replaces the call, or none for the kinds that answer nothing or the truth.
pub(super) fn reply(fault: &Fault, call: &Call, request_id: &str) -> Option<Message> {
    let (status, body) = match (fault.kind, call.service) {
        (Kind::Error500, Service::DynamoDb) => {
            ("500 Internal Server Error", error("InternalServerError", "The request could not be completed."))
        }
        (Kind::Error500, Service::SecretsManager) => (
            "500 Internal Server Error",
            error("InternalServiceError", "An error occurred on the server side."),
        ),
        (Kind::Error500, Service::Sns) => {
            ("500 Internal Server Error", error("InternalFailure", "The request could not be completed."))
        }
        (Kind::Error500, Service::Lambda) => (
            "500 Internal Server Error",
            error("ServiceException", "An error occurred and the request cannot be processed."),
        ),
        (Kind::Error500, Service::CodeDeploy) => {
            ("500 Internal Server Error", error("InternalFailure", "The request could not be completed."))
        }
        (Kind::Throttle, service) => {
            let name = match service {
                Service::DynamoDb => "ProvisionedThroughputExceededException",
                Service::SecretsManager | Service::Sns | Service::CodeDeploy => "ThrottlingException",
                Service::Lambda => "TooManyRequestsException",
            };
            ("400 Bad Request", error(fault.error.as_deref().unwrap_or(name), "Rate exceeded."))
        }
        (Kind::Conflict, _) if call.operation == "TransactWriteItems" => {
            ("400 Bad Request", cancelled(call, fault.table.as_deref()))
        }
        (Kind::Conflict, _) => {
            ("400 Bad Request", error("TransactionConflictException", "Transaction is ongoing for the item"))
        }
        (Kind::DropBefore | Kind::DropAfter | Kind::Refuse | Kind::Slow, _) => return None,
    };
    let (namespace, content_type) = match call.service {
        Service::DynamoDb => ("com.amazonaws.dynamodb.v20120810#", "application/x-amz-json-1.0"),
        Service::SecretsManager | Service::Sns | Service::CodeDeploy => ("", "application/x-amz-json-1.1"),
        Service::Lambda => ("", "application/json"),
    };
    let mut body = body;
    if let Some(Value::String(name)) = body.get_mut("__type") {
        name.insert_str(0, namespace);
    }
    Some(Message::reply(status, content_type, request_id, body.to_string().into_bytes()))
}

fn error(name: &str, message: &str) -> Value {
    json!({"__type": name, "message": message})
}

/// One reason a part, in the order of the parts; the conflict lies on the part of the rule's table, or on the first.
fn cancelled(call: &Call, table: Option<&str>) -> Value {
    let at = table
        .and_then(|wanted| call.parts.iter().position(|part| same_table(wanted, &part.table)))
        .unwrap_or_default();
    let codes: Vec<_> = (0..call.parts.len().max(1))
        .map(|index| if index == at { "TransactionConflict" } else { "None" })
        .collect();
    let reasons: Vec<_> = codes
        .iter()
        .map(|code| match *code {
            "None" => json!({"Code": code}),
            _ => json!({"Code": code, "Message": "Transaction is ongoing for the item"}),
        })
        .collect();
    let message = format!(
        "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
        codes.join(", ")
    );
    json!({"__type": "TransactionCanceledException", "Message": message, "CancellationReasons": reasons})
}
