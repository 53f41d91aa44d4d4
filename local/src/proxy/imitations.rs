//! What the embedded services do not have: a table's backups, and the topics that alarms are sent to. They can be looked at
//! and switched, which is what a drill needs; nothing is backed up and nobody is told.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sallyport_core::clock::Clock as _;
use serde_json::{Value, json};

use super::call::{Call, Service};
use crate::{clock::ShiftingClock, identifier, template::Template, wire::Message};

/// The topics that `infra/alarms.yaml` makes.
pub(crate) const TOPICS: [&str; 3] = ["critical", "warning", "info"];

/// The topic that people are told of incidents by: nobody has subscribed yet.
const INCIDENTS: &str = "incidents";

/// How far back a table can be restored.
const WINDOW: Duration = Duration::from_secs(35 * 24 * 60 * 60);

/// The ARN of a topic here.
pub(crate) fn topic(name: &str) -> String {
    format!("arn:aws:sns:us-east-1:000000000000:sallyport-local-{name}")
}

/// Backups and topics.
#[derive(Debug, Default)]
pub(crate) struct Imitations {
    /// Whether point-in-time recovery of a table is on.
    recovery: Mutex<BTreeMap<String, bool>>,
    /// How many subscriptions of a topic are confirmed.
    topics: Mutex<BTreeMap<String, u64>>,
    clock: Arc<ShiftingClock>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Imitations {
    /// As the stack's template has it: the responder listens to every topic of alarms.
    pub(crate) fn of(template: &Template, clock: Arc<ShiftingClock>) -> Self {
        Self {
            recovery: Mutex::new(
                template.tables.iter().map(|table| (table.name.clone(), table.recovery)).collect(),
            ),
            topics: Mutex::new(
                TOPICS.iter().map(|name| (topic(name), 1)).chain([(topic(INCIDENTS), 0)]).collect(),
            ),
            clock,
        }
    }

    /// The answer, when the call is one of those that are imitated.
    pub(super) fn answer(&self, call: &Call, request: &Message) -> Option<Message> {
        match call.service {
            Service::DynamoDb => self.backups(&call.operation, &request.body),
            Service::Sns => Some(self.topics(&call.operation, &request.body)),
            Service::SecretsManager | Service::Lambda | Service::CodeDeploy => None,
        }
    }

    fn backups(&self, operation: &str, body: &[u8]) -> Option<Message> {
        let request: Value = serde_json::from_slice(body).unwrap_or_default();
        let table = request.get("TableName").and_then(Value::as_str).unwrap_or_default();
        let mut recovery = locked(&self.recovery);
        let on = match operation {
            "DescribeContinuousBackups" => recovery.get(table).copied(),
            "UpdateContinuousBackups" => {
                let on = request.pointer("/PointInTimeRecoverySpecification/PointInTimeRecoveryEnabled");
                recovery.get_mut(table).map(|held| {
                    *held = on.and_then(Value::as_bool).unwrap_or_default();
                    *held
                })
            }
            "ListBackups" => return Some(json_reply("200 OK", &json!({"BackupSummaries": []}))),
            _ => return None,
        };
        let Some(on) = on else {
            let kind = "com.amazonaws.dynamodb.v20120810#TableNotFoundException";
            return Some(json_reply("400 Bad Request", &json!({"__type": kind, "message": table})));
        };
        // DynamoDB is five minutes behind; here nobody has to wait.
        let now = self.clock.now() + Duration::from_secs(1);
        let description = if on {
            json!({
                "PointInTimeRecoveryStatus": "ENABLED",
                "EarliestRestorableDateTime": now.minus(WINDOW).seconds(),
                "LatestRestorableDateTime": now.seconds(),
            })
        } else {
            json!({"PointInTimeRecoveryStatus": "DISABLED"})
        };
        Some(json_reply(
            "200 OK",
            &json!({"ContinuousBackupsDescription": {
                "ContinuousBackupsStatus": "ENABLED",
                "PointInTimeRecoveryDescription": description,
            }}),
        ))
    }

    fn topics(&self, action: &str, body: &[u8]) -> Message {
        let field = |wanted: &str| {
            form_urlencoded::parse(body)
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.into_owned())
                .unwrap_or_default()
        };
        // An unsubscription names the subscription, whose ARN begins with the topic's.
        let named = match action {
            "Unsubscribe" => field("SubscriptionArn").rsplit_once(':').map(|(topic, _)| topic.to_owned()),
            _ => Some(field("TopicArn")),
        };
        if action == "Publish" {
            let id = identifier::uuid().unwrap_or_default();
            return succeeded(action, &format!("<MessageId>{id}</MessageId>"));
        }
        let mut topics = locked(&self.topics);
        let Some((arn, confirmed)) =
            named.and_then(|arn| topics.get_mut(&arn).map(|confirmed| (arn, confirmed)))
        else {
            return xml_reply(
                "404 Not Found",
                "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error><Type>Sender</Type>\
                 <Code>NotFound</Code><Message>Topic does not exist</Message></Error></ErrorResponse>",
            );
        };
        let result = match action {
            "Subscribe" => {
                *confirmed += 1;
                format!("<SubscriptionArn>{arn}:1</SubscriptionArn>")
            }
            "Unsubscribe" => {
                *confirmed = confirmed.saturating_sub(1);
                String::new()
            }
            _ => format!(
                "<Attributes><entry><key>TopicArn</key><value>{arn}</value></entry><entry>\
                 <key>SubscriptionsConfirmed</key><value>{confirmed}</value></entry></Attributes>"
            ),
        };
        succeeded(action, &result)
    }
}

fn succeeded(action: &str, result: &str) -> Message {
    xml_reply(
        "200 OK",
        &format!(
            "<{action}Response xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><{action}Result>{result}\
             </{action}Result><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></{action}Response>"
        ),
    )
}

fn json_reply(status: &str, body: &Value) -> Message {
    let request_id = identifier::uuid().unwrap_or_default();
    Message::reply(status, "application/x-amz-json-1.0", &request_id, body.to_string().into_bytes())
}

fn xml_reply(status: &str, body: &str) -> Message {
    let request_id = identifier::uuid().unwrap_or_default();
    Message::reply(status, "text/xml", &request_id, body.as_bytes().to_vec())
}
