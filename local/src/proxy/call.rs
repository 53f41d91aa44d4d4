//! What a call is: read from the request, completed by the answer.

use std::borrow::Cow;
use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use crate::wire::Message;

/// The services behind the proxy, told apart by `X-Amz-Target` where nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Service {
    DynamoDb,
    SecretsManager,
    /// Told apart by the form that it is spoken to in.
    Sns,
    /// Told apart by the path.
    Lambda,
    CodeDeploy,
}

/// One item-level action: what the policy of the calling function must allow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Part {
    /// The action of the IAM statement, such as `PutItem` or `ConditionCheckItem`.
    pub(crate) action: String,
    pub(crate) table: String,
    /// What kind of item, where the partition key says so: what stands before its first `#`, or a key in capitals.
    pub(crate) kind: Option<String>,
}

/// Capacity units of one table, as the answer states them. Whether they are read or write units, the operation says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Capacity {
    #[serde(rename(deserialize = "TableName"))]
    pub(crate) table: String,
    #[serde(rename(deserialize = "CapacityUnits"))]
    pub(crate) units: f64,
}

/// One call of a service, as the proxy saw it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Call {
    /// Counts up from 1, never reused.
    pub(crate) sequence: u64,
    /// Milliseconds since the Unix epoch, real time.
    pub(crate) at: u64,
    pub(crate) service: Service,
    /// The function that called, from the SDK's application name.
    pub(crate) function: Option<String>,
    pub(crate) operation: String,
    /// The tables of the request, each once, sorted.
    pub(crate) tables: Vec<String>,
    /// The item-level actions of the request; for a transaction those of its parts, in their order.
    pub(crate) parts: Vec<Part>,
    /// The secret of the request.
    pub(crate) secret: Option<String>,
    /// The function that is invoked, with its version.
    pub(crate) invoked: Option<String>,
    /// The SDK's identifier of the call, the same for all its attempts.
    pub(crate) invocation: Option<String>,
    /// 1 for the first attempt of the SDK, 2 for its first repetition.
    pub(crate) attempt: Option<u32>,
    /// None when no answer reached the caller.
    pub(crate) status: Option<u16>,
    /// The error's name without its namespace.
    pub(crate) error: Option<String>,
    pub(crate) capacity: Vec<Capacity>,
    /// The kind of fault that was injected.
    pub(crate) fault: Option<String>,
    /// From the complete request to the complete answer, added latency included.
    pub(crate) duration_us: u64,
}

impl Call {
    /// What the request says. A request of another protocol is a call with an empty operation.
    pub(crate) fn describe(request: &Message) -> Self {
        let target = request.header("x-amz-target").unwrap_or_default();
        let action = action(request);
        let of_lambda = of_lambda(&request.start);
        let (prefix, operation) = match (&action, &of_lambda) {
            (Some(action), _) => ("sns", action.as_str()),
            (None, Some((operation, _))) => ("lambda", *operation),
            (None, None) => target.split_once('.').unwrap_or_default(),
        };
        let body: RequestBody<'_> = serde_json::from_slice(&request.body).unwrap_or_default();
        let parts = body.parts(operation);
        let secret = body.secret_id.map(Cow::into_owned);
        let named = body.table_name.as_deref().or(body.source_table_name.as_deref());
        let mut tables: Vec<_> =
            parts.iter().map(|part| part.table.clone()).chain(named.map(str::to_owned)).collect();
        tables.sort_unstable();
        tables.dedup();
        Self {
            sequence: 0,
            at: 0,
            service: match prefix {
                "secretsmanager" => Service::SecretsManager,
                "sns" => Service::Sns,
                "lambda" => Service::Lambda,
                "CodeDeploy_20141006" => Service::CodeDeploy,
                _ => Service::DynamoDb,
            },
            function: function(request),
            operation: operation.to_owned(),
            tables,
            parts,
            secret,
            invoked: of_lambda.map(|(_, function)| function),
            invocation: request.header("amz-sdk-invocation-id").map(str::to_owned),
            attempt: request.header("amz-sdk-request").and_then(attempt),
            status: None,
            error: None,
            capacity: Vec::new(),
            fault: None,
            duration_us: 0,
        }
    }

    /// What the answer says.
    pub(crate) fn complete(&mut self, reply: &Message) {
        self.status = reply.status();
        let Ok(body) = serde_json::from_slice::<ReplyBody>(&reply.body) else { return };
        self.error = body.kind.map(|kind| kind.rsplit('#').next().unwrap_or_default().to_owned());
        self.capacity = match body.consumed_capacity {
            Some(ConsumedCapacity::One(one)) => vec![one],
            Some(ConsumedCapacity::Many(many)) => many,
            None => Vec::new(),
        };
    }

    /// Whether DynamoDB would report the units if it were asked.
    pub(super) fn is_metered(&self) -> bool {
        self.service == Service::DynamoDb && !self.parts.is_empty()
    }

    /// Whether the call writes items: the only ones that can conflict with another write.
    pub(crate) fn writes(&self) -> bool {
        matches!(
            self.operation.as_str(),
            "PutItem" | "UpdateItem" | "DeleteItem" | "TransactWriteItems" | "BatchWriteItem"
        )
    }
}

/// The functions put their name into the SDK's application name.
fn function(request: &Message) -> Option<String> {
    ["x-amz-user-agent", "user-agent"].into_iter().find_map(|header| {
        request
            .header(header)?
            .split_whitespace()
            .find_map(|word| word.strip_prefix("app/"))
            .map(str::to_owned)
    })
}

/// The action of a call that is a form, as SNS takes it.
fn action(request: &Message) -> Option<String> {
    let kind = request.header("content-type").unwrap_or_default();
    let fields = kind.starts_with("application/x-www-form-urlencoded").then_some(&request.body)?;
    form_urlencoded::parse(fields).find(|(name, _)| name == "Action").map(|(_, action)| action.into_owned())
}

/// Operation and function of a call of Lambda, which is spoken to by method and path.
fn of_lambda(start: &str) -> Option<(&'static str, String)> {
    let (method, rest) = start.split_once(" /2015-03-31/functions/")?;
    let (name, what) = rest.split(' ').next()?.rsplit_once('/')?;
    let operation = match (method, what) {
        ("POST", "invocations") => "Invoke",
        ("GET", "configuration") => "GetFunctionConfiguration",
        _ => return None,
    };
    Some((operation, percent_decode_str(name).decode_utf8_lossy().into_owned()))
}

/// `attempt=2; max=3`
fn attempt(header: &str) -> Option<u32> {
    header
        .split(';')
        .find_map(|pair| pair.trim().strip_prefix("attempt="))
        .and_then(|value| value.parse().ok())
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RequestBody<'a> {
    #[serde(borrow)]
    table_name: Option<Cow<'a, str>>,
    /// Of a restore.
    #[serde(borrow)]
    source_table_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    secret_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    key: Option<Key<'a>>,
    #[serde(borrow)]
    item: Option<Key<'a>>,
    /// Of a query.
    #[serde(borrow)]
    expression_attribute_values: Option<Values<'a>>,
    #[serde(borrow, default)]
    transact_items: Vec<BTreeMap<Cow<'a, str>, TableOf<'a>>>,
    #[serde(borrow, default)]
    request_items: BTreeMap<Cow<'a, str>, &'a serde_json::value::RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TableOf<'a> {
    #[serde(borrow)]
    table_name: Cow<'a, str>,
    #[serde(borrow)]
    key: Option<Key<'a>>,
    #[serde(borrow)]
    item: Option<Key<'a>>,
}

/// The partition key of a key or of a whole item, by the names that the tables give it.
#[derive(Deserialize)]
struct Key<'a> {
    #[serde(alias = "key", borrow)]
    pk: Option<Text<'a>>,
}

/// The values of a query: every one of ours names its partition so.
#[derive(Deserialize)]
struct Values<'a> {
    #[serde(rename = ":pk", borrow)]
    pk: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Text<'a> {
    #[serde(rename = "S", borrow)]
    text: Option<Cow<'a, str>>,
}

impl Text<'_> {
    fn kind(&self) -> Option<String> {
        let key = self.text.as_ref()?;
        match key.split_once('#') {
            Some((kind, _)) => Some(kind.to_owned()),
            // A key without an id, such as FLAGS: the kind alone.
            None => key
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
                .then(|| key.clone().into_owned()),
        }
    }
}

impl RequestBody<'_> {
    fn parts(&self, operation: &str) -> Vec<Part> {
        let part = |action: &str, table: &str, key: Option<&Text<'_>>| Part {
            action: action.to_owned(),
            table: table.to_owned(),
            kind: key.and_then(Text::kind),
        };
        let own = self.key.as_ref().or(self.item.as_ref()).and_then(|key| key.pk.as_ref());
        let queried = self.expression_attribute_values.as_ref().and_then(|values| values.pk.as_ref());
        if let Some(table) = &self.table_name {
            return match operation {
                "GetItem" | "PutItem" | "UpdateItem" | "DeleteItem" => vec![part(operation, table, own)],
                "Query" => vec![part(operation, table, queried)],
                "Scan" => vec![part(operation, table, None)],
                _ => Vec::new(),
            };
        }
        let transaction = self.transact_items.iter().flatten().map(|(kind, item)| {
            let action = match kind.as_ref() {
                "Get" => "GetItem",
                "Put" => "PutItem",
                "Update" => "UpdateItem",
                "Delete" => "DeleteItem",
                "ConditionCheck" => "ConditionCheckItem",
                other => other,
            };
            let key = item.key.as_ref().or(item.item.as_ref());
            part(action, &item.table_name, key.and_then(|key| key.pk.as_ref()))
        });
        transaction.chain(self.request_items.keys().map(|table| part(operation, table, None))).collect()
    }
}

#[derive(Deserialize)]
struct ReplyBody {
    #[serde(rename = "__type")]
    kind: Option<String>,
    #[serde(rename = "ConsumedCapacity")]
    consumed_capacity: Option<ConsumedCapacity>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ConsumedCapacity {
    One(Capacity),
    Many(Vec<Capacity>),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &str, body: &str) -> Message {
        Message {
            start: "POST / HTTP/1.1".to_owned(),
            headers: [
                ("X-Amz-Target", target),
                (
                    "x-amz-user-agent",
                    "aws-sdk-rust/1.3.3 ua/2.1 api/dynamodb/1.136.0 os/linux app/refresh m/E",
                ),
                ("amz-sdk-invocation-id", "b3a0"),
                ("amz-sdk-request", "attempt=2; max=3"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
            body: body.as_bytes().to_vec(),
        }
    }

    fn part(action: &str, table: &str) -> Part {
        Part { action: action.to_owned(), table: table.to_owned(), kind: None }
    }

    #[test]
    fn a_single_write() {
        let request = request(
            "DynamoDB_20120810.UpdateItem",
            r#"{"TableName":"Sessions","Key":{"user_id":{"S":"u"}}}"#,
        );
        let mut call = Call::describe(&request);
        assert_eq!(call.service, Service::DynamoDb);
        assert_eq!(call.operation, "UpdateItem");
        assert_eq!(call.function.as_deref(), Some("refresh"));
        assert_eq!((call.invocation.as_deref(), call.attempt), (Some("b3a0"), Some(2)));
        assert_eq!(call.parts, [part("UpdateItem", "Sessions")]);
        call.complete(&Message::reply(
            "200 OK",
            "application/x-amz-json-1.0",
            "id",
            br#"{"ConsumedCapacity":{"TableName":"Sessions","CapacityUnits":2.0}}"#.to_vec(),
        ));
        assert_eq!(call.status, Some(200));
        assert_eq!(call.capacity, [Capacity { table: "Sessions".to_owned(), units: 2.0 }]);
    }

    #[test]
    fn a_part_tells_the_kind_of_its_item() {
        for body in [
            r#"{"TableName":"Throttle","Key":{"key":{"S":"login#3f"}}}"#,
            r#"{"TableName":"Throttle","Item":{"v":{"N":"1"},"key":{"S":"login#3f"}}}"#,
            r#"{"TransactItems":[{"Put":{"TableName":"Throttle","Item":{"pk":{"S":"login#3f"}}}}]}"#,
        ] {
            let target = if body.contains("TransactItems") { "X.TransactWriteItems" } else { "X.UpdateItem" };
            assert_eq!(
                Call::describe(&request(target, body)).parts[0].kind.as_deref(),
                Some("login"),
                "{body}"
            );
        }
    }

    #[test]
    fn a_key_in_capitals_is_the_kind_itself_and_an_id_is_none() {
        let kind = |key: &str| {
            let body = format!(r#"{{"TableName":"Ops","Key":{{"pk":{{"S":"{key}"}}}}}}"#);
            Call::describe(&request("X.GetItem", &body)).parts[0].kind.clone()
        };
        assert_eq!(kind("FLAGS").as_deref(), Some("FLAGS"));
        assert_eq!(kind("INCIDENT_CAUSE").as_deref(), Some("INCIDENT_CAUSE"));
        assert_eq!(kind("usr_AAAA"), None);
    }

    #[test]
    fn a_query_tells_the_kind_of_its_partition() {
        let body = r#"{"TableName":"Users","KeyConditionExpression":"pk = :pk","ExpressionAttributeValues":{":pk":{"S":"USER#usr_x"}}}"#;
        assert_eq!(Call::describe(&request("X.Query", body)).parts[0].kind.as_deref(), Some("USER"));
    }

    #[test]
    fn a_transaction_lists_its_parts_and_each_table_once() {
        let call = Call::describe(&request(
            "DynamoDB_20120810.TransactWriteItems",
            r#"{"TransactItems":[
                {"ConditionCheck":{"TableName":"Users","Key":{}}},
                {"Put":{"TableName":"Audit","Item":{}}},
                {"Put":{"TableName":"Audit","Item":{"a":{"S":"\u00e9"}}}}],"ClientRequestToken":"t"}"#,
        ));
        let put = part("PutItem", "Audit");
        assert_eq!(call.parts, [part("ConditionCheckItem", "Users"), put.clone(), put]);
        assert_eq!(call.tables, ["Audit", "Users"]);
        assert!(call.is_metered() && call.writes());
    }

    #[test]
    fn an_error_is_named_without_its_namespace() {
        let mut call = Call::describe(&request(
            "secretsmanager.GetSecretValue",
            r#"{"SecretId":"sallyport-local/keyring"}"#,
        ));
        assert_eq!(call.service, Service::SecretsManager);
        assert_eq!(call.secret.as_deref(), Some("sallyport-local/keyring"));
        assert!(!call.is_metered() && !call.writes());
        let body = br#"{"__type":"com.amazonaws.x#ThrottlingException","message":"m"}"#;
        call.complete(&Message::reply("400 Bad Request", "application/x-amz-json-1.1", "id", body.to_vec()));
        assert_eq!((call.status, call.error.as_deref()), (Some(400), Some("ThrottlingException")));
    }

    #[test]
    fn an_invocation_names_the_function_and_its_version() {
        let path = "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Al%3A1/invocations";
        let request =
            Message { start: format!("POST {path} HTTP/1.1"), headers: Vec::new(), body: b"{}".to_vec() };
        let call = Call::describe(&request);
        assert_eq!((call.service, call.operation.as_str()), (Service::Lambda, "Invoke"));
        assert_eq!(call.invoked.as_deref(), Some("arn:aws:lambda:us-east-1:000000000000:function:l:1"));
    }

    #[test]
    fn what_is_no_call_of_ours_is_described_as_nothing() {
        let request =
            Message { start: "GET / HTTP/1.1".to_owned(), headers: Vec::new(), body: b"x".to_vec() };
        let call = Call::describe(&request);
        assert_eq!((call.operation.as_str(), call.tables.len()), ("", 0));
    }
}
