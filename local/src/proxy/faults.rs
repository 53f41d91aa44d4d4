//! Which call fails, and how.

use std::{sync::Mutex, time::Duration};

use serde::{Deserialize, Serialize};

use super::call::{Call, Service};

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The connection breaks and nothing was applied.
    DropBefore,
    /// The call is applied and the answer is lost.
    DropAfter,
    /// Not applied: InternalServerError.
    #[serde(rename = "error_500")]
    Error500,
    /// Not applied: the table or the account is throttled.
    Throttle,
    /// Not applied: another write holds the item. Reads are left alone.
    Conflict,
    /// The service is down: every connection breaks, for as long as the rule stands.
    Refuse,
    /// The call takes longer, for as long as the rule stands.
    Slow,
}

impl Kind {
    /// The name on the wire.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::DropBefore => "drop_before",
            Self::DropAfter => "drop_after",
            Self::Error500 => "error_500",
            Self::Throttle => "throttle",
            Self::Conflict => "conflict",
            Self::Refuse => "refuse",
            Self::Slow => "slow",
        }
    }

    /// An outage lasts until it is lifted; everything else happens once.
    const fn lasts(self) -> bool {
        matches!(self, Self::Refuse | Self::Slow)
    }
}

/// A rule as it is posted: what is absent matches every call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) kind: Kind,
    #[serde(default = "dynamodb")]
    pub(crate) service: Service,
    /// `UpdateItem`, `TransactWriteItems`, `GetSecretValue` …
    #[serde(default)]
    pub(crate) operation: Option<String>,
    /// A table's full name or its logical one, such as `sessions`.
    #[serde(default)]
    pub(crate) table: Option<String>,
    /// The kind of an item, such as `login` or `address` of the throttle table (`kind` of a call's parts).
    #[serde(default)]
    pub(crate) item: Option<String>,
    /// The calling function.
    #[serde(default)]
    pub(crate) function: Option<String>,
    /// The first matching call that fails, counted from 1.
    #[serde(default = "first")]
    pub(crate) nth: u64,
    /// How many matching calls fail from then on. Absent: one, and for `refuse` and `slow` all.
    #[serde(default)]
    pub(crate) count: Option<u64>,
    /// For `slow`: by how many milliseconds.
    #[serde(default)]
    pub(crate) delay_ms: u64,
    /// For `throttle`: another name of the exception, such as `ThrottlingException` or `RequestLimitExceeded`.
    #[serde(default)]
    pub(crate) error: Option<String>,
}

const fn dynamodb() -> Service {
    Service::DynamoDb
}

const fn first() -> u64 {
    1
}

impl Rule {
    fn matches(&self, call: &Call) -> bool {
        let is =
            |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        self.service == call.service
            && is(&self.operation, &call.operation)
            && is(&self.function, call.function.as_deref().unwrap_or_default())
            && self
                .table
                .as_deref()
                .is_none_or(|wanted| call.tables.iter().any(|table| same_table(wanted, table)))
            && self
                .item
                .as_ref()
                .is_none_or(|wanted| call.parts.iter().any(|part| part.kind.as_ref() == Some(wanted)))
            && (self.kind != Kind::Conflict || call.writes())
    }

    fn hits(&self, matched: u64) -> bool {
        let count = self.count.unwrap_or(if self.kind.lasts() { u64::MAX } else { 1 });
        matched >= self.nth && matched - self.nth < count
    }
}

/// `sessions` names `sallyport-local-sessions` too.
pub(super) fn same_table(wanted: &str, table: &str) -> bool {
    table.eq_ignore_ascii_case(wanted)
        || table.rsplit_once('-').is_some_and(|(_, logical)| logical.eq_ignore_ascii_case(wanted))
}

/// A rule with its count of calls.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Standing {
    pub(crate) id: u64,
    #[serde(flatten)]
    pub(crate) rule: Rule,
    /// Calls that the rule describes.
    pub(crate) matched: u64,
    /// Calls that failed by it.
    pub(crate) injected: u64,
}

/// What happens to a call.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    pub(super) delay: Duration,
    pub(super) error: Option<String>,
    pub(super) table: Option<String>,
}

/// The rules that stand.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Rules>);

#[derive(Debug, Default)]
struct Rules {
    last: u64,
    standing: Vec<Standing>,
}

impl Faults {
    /// Adds a rule and returns its number.
    pub(crate) fn add(&self, rule: Rule) -> u64 {
        let mut rules = self.locked();
        rules.last += 1;
        let id = rules.last;
        rules.standing.push(Standing { id, rule, matched: 0, injected: 0 });
        id
    }

    /// The rules with their counts, oldest first.
    pub(crate) fn list(&self) -> Vec<Standing> {
        self.locked().standing.clone()
    }

    /// Lifts all rules of a service, or of all.
    pub(crate) fn clear(&self, service: Option<Service>) {
        self.locked()
            .standing
            .retain(|standing| service.is_some_and(|service| standing.rule.service != service));
    }

    /// Counts the call in every rule that describes it; the oldest rule that hits decides.
    pub(super) fn strike(&self, call: &Call) -> Option<Fault> {
        let mut struck = None;
        for standing in self.locked().standing.iter_mut().filter(|standing| standing.rule.matches(call)) {
            standing.matched += 1;
            if struck.is_none() && standing.rule.hits(standing.matched) {
                standing.injected += 1;
                struck = Some(Fault {
                    kind: standing.rule.kind,
                    delay: Duration::from_millis(standing.rule.delay_ms),
                    error: standing.rule.error.clone(),
                    table: standing.rule.table.clone(),
                });
            }
        }
        struck
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Rules> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Message;

    fn call(operation: &str, table: &str) -> Call {
        Call::describe(&Message {
            start: "POST / HTTP/1.1".to_owned(),
            headers: vec![
                ("x-amz-target".to_owned(), format!("DynamoDB_20120810.{operation}")),
                ("user-agent".to_owned(), "aws-sdk-rust app/login".to_owned()),
            ],
            body: format!(r#"{{"TableName":"{table}"}}"#).into_bytes(),
        })
    }

    fn rule(json: &str) -> Rule {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_nth_call_and_as_many_as_counted() {
        let faults = Faults::default();
        faults.add(rule(
            r#"{"kind":"drop_after","operation":"UpdateItem","table":"sessions","nth":2,"count":2}"#,
        ));
        let update = call("UpdateItem", "sallyport-local-sessions");
        let hits: Vec<_> = (0..5).map(|_| faults.strike(&update).map(|f| f.kind)).collect();
        assert_eq!(hits, [None, Some(Kind::DropAfter), Some(Kind::DropAfter), None, None]);
        assert!(faults.strike(&call("GetItem", "sallyport-local-sessions")).is_none());
        assert!(faults.strike(&call("UpdateItem", "sallyport-local-users")).is_none());
        let standing = faults.list();
        assert_eq!((standing[0].matched, standing[0].injected), (5, 2));
    }

    #[test]
    fn a_rule_of_another_function_or_service_leaves_the_call_alone() {
        let faults = Faults::default();
        faults.add(rule(r#"{"kind":"drop_before","function":"refresh"}"#));
        faults.add(rule(r#"{"kind":"drop_before","service":"secretsmanager"}"#));
        assert!(faults.strike(&call("GetItem", "t")).is_none());
        faults.add(rule(r#"{"kind":"throttle","function":"login"}"#));
        assert_eq!(faults.strike(&call("GetItem", "t")).unwrap().kind, Kind::Throttle);
    }

    #[test]
    fn an_outage_lasts_until_it_is_lifted() {
        let faults = Faults::default();
        faults.add(rule(r#"{"kind":"refuse"}"#));
        for _ in 0..100 {
            assert_eq!(faults.strike(&call("GetItem", "t")).unwrap().kind, Kind::Refuse);
        }
        faults.clear(Some(Service::SecretsManager));
        assert!(faults.strike(&call("GetItem", "t")).is_some());
        faults.clear(Some(Service::DynamoDb));
        assert!(faults.strike(&call("GetItem", "t")).is_none());
    }

    #[test]
    fn a_read_does_not_conflict() {
        let faults = Faults::default();
        faults.add(rule(r#"{"kind":"conflict"}"#));
        assert!(faults.strike(&call("GetItem", "t")).is_none());
        assert!(faults.strike(&call("PutItem", "t")).is_some());
    }

    #[test]
    fn a_misspelt_rule_is_refused() {
        assert!(serde_json::from_str::<Rule>(r#"{"kind":"drop_before","tabel":"users"}"#).is_err());
        assert!(serde_json::from_str::<Rule>(r#"{"kind":"explode"}"#).is_err());
    }
}
