//! Recent security events of one account, from the Audit table.

use std::{collections::HashMap, fmt};

use aws_sdk_dynamodb::types::AttributeValue;
use sallyport_aws::{Who, who};
use sallyport_core::{
    accounts::{Email, LoginRecord, LoginRecords as _},
    audit::EventKind,
    clock::Timestamp,
    ids::UserId,
};
use serde::Serialize;

use crate::{
    audit::Item,
    aws_fault,
    deployment::Deployment,
    failure::Failure,
    output::{Table, moment},
};

/// An event, as far as it reads: what an investigator looks at must not vanish because one attribute is odd.
#[derive(Debug, Serialize)]
pub(crate) struct EventReport {
    /// Epoch seconds.
    pub(crate) at: u64,
    pub(crate) kind: String,
    pub(crate) severity: String,
    pub(crate) session_id: Option<String>,
    /// The device it came from, as `user show` names it.
    pub(crate) device: Option<String>,
    pub(crate) address: String,
    /// Who acted, in the backend's words: `caller`, `operator NAME`, `function NAME`.
    pub(crate) actor: String,
    /// What a caller's client calls itself: its own word, which proves nothing.
    pub(crate) agent: Option<String>,
    pub(crate) detail: Option<String>,
    pub(crate) request_id: Option<String>,
    /// Whom it is about, where that is not the question itself.
    #[serde(flatten)]
    pub(crate) whose: Option<Whose>,
    #[serde(skip)]
    pub(crate) time: Timestamp,
}

/// Whom an event is about.
#[derive(Debug, Serialize)]
pub(crate) struct Whose {
    /// `USER#` and an id, `ACCOUNT#` and a hash where there may be no user, or `DEPLOYMENT`: as in the log.
    pub(crate) subject: String,
    /// Absent where no account is known, and where the operator may not read Users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) email: Option<String>,
}

impl Whose {
    fn shown(&self) -> String {
        self.email.as_ref().unwrap_or(&self.subject).clone()
    }
}

impl EventReport {
    /// When, by whom and why, of what an operator did.
    pub(crate) fn told(&self) -> String {
        let reason = self.detail.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        format!("{} by {}{reason}", moment(self.time), self.actor)
    }

    pub(crate) fn read(item: &Item) -> Self {
        let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
        let millis =
            item.get("at").and_then(|value| value.as_n().ok()).and_then(|number| number.parse().ok());
        let time = Timestamp::from_millis(millis.unwrap_or_default());
        let Who { actor, agent } = who(item);
        Self {
            at: time.seconds(),
            kind: text("kind").unwrap_or_else(|| "(unreadable)".to_owned()),
            severity: text("severity").unwrap_or_default(),
            session_id: text("session_id"),
            device: text("device"),
            address: text("address").unwrap_or_default(),
            actor,
            agent,
            detail: text("detail"),
            request_id: text("request_id").filter(|id| !id.is_empty()),
            whose: None,
            time,
        }
    }
}

/// A table of events for people, after an empty line. Nothing where there are none.
pub(crate) fn show(events: &[EventReport], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if events.is_empty() {
        return Ok(());
    }
    let of_several = events.iter().any(|event| event.whose.is_some());
    let account = of_several.then_some("account");
    let heading = ["at", "event"].into_iter().chain(account);
    let mut table = Table::with(heading.chain(["severity", "address", "device", "actor", "detail", "agent"]));
    for event in events {
        let account = of_several.then(|| event.whose.as_ref().map(Whose::shown).unwrap_or_default());
        // What stands for "nobody saw an address", as with operators.
        let address = if event.address == "0.0.0.0" { String::new() } else { event.address.clone() };
        table.add([moment(event.time), event.kind.clone()].into_iter().chain(account).chain([
            event.severity.clone(),
            address,
            event.device.clone().unwrap_or_default(),
            event.actor.clone(),
            event.detail.clone().unwrap_or_default(),
            event.agent.clone().unwrap_or_default(),
        ]));
    }
    write!(f, "\n{table}")
}

/// The event by which an operator last made the password unusable.
pub(crate) async fn last_reset(
    deployment: &Deployment,
    user: UserId,
) -> Result<Option<EventReport>, Failure> {
    let mut pages = deployment
        .connection
        .dynamodb
        .query()
        .table_name(&deployment.tables.audit)
        .key_condition_expression("pk = :pk")
        .filter_expression("kind = :kind")
        .expression_attribute_values(":pk", AttributeValue::S(format!("USER#{user}")))
        .expression_attribute_values(
            ":kind",
            AttributeValue::S(EventKind::PasswordResetForced.as_str().to_owned()),
        )
        .scan_index_forward(false)
        .into_paginator()
        .items()
        .send();
    match pages.next().await {
        Some(Ok(item)) => Ok(Some(EventReport::read(&item))),
        Some(Err(error)) => Err(aws_fault::from_sdk("read security events", &error)),
        None => Ok(None),
    }
}

/// Events of several accounts, each with whose it is. An address of mail that can't be found out stays an id: the answer is
/// of the events.
pub(crate) async fn with_accounts(deployment: &Deployment, items: &[Item]) -> Vec<EventReport> {
    let mut known: HashMap<String, Option<String>> = HashMap::new();
    let mut events = Vec::new();
    for item in items {
        let mut event = EventReport::read(item);
        if let Some(subject) = item.get("pk").and_then(|subject| subject.as_s().ok()) {
            let email = match known.get(subject) {
                Some(email) => email.clone(),
                None => email_of(deployment, subject).await,
            };
            known.insert(subject.clone(), email.clone());
            event.whose = Some(Whose { subject: subject.clone(), email });
        }
        events.push(event);
    }
    events
}

async fn email_of(deployment: &Deployment, subject: &str) -> Option<String> {
    let user: UserId = subject.strip_prefix("USER#")?.parse().ok()?;
    let profile = deployment.store.profile(user).await.ok()??;
    Some(profile.email.to_string())
}

/// The newest events: those of the user, and those of attempts at the address that led to nobody.
pub(crate) async fn recent(
    deployment: &Deployment,
    record: &LoginRecord,
    limit: u8,
) -> Result<Vec<EventReport>, Failure> {
    recent_at(deployment, &record.email, Some(record.user), limit).await
}

/// As [`recent`], of an address that may have no account.
pub(crate) async fn recent_at(
    deployment: &Deployment,
    email: &Email,
    user: Option<UserId>,
    limit: u8,
) -> Result<Vec<EventReport>, Failure> {
    let mut events = Vec::new();
    if limit == 0 {
        return Ok(events);
    }
    let of_user = user.map(|user| format!("USER#{user}"));
    for partition in of_user.into_iter().chain([format!("ACCOUNT#{}", email.account_key())]) {
        let answer = deployment
            .connection
            .dynamodb
            .query()
            .table_name(&deployment.tables.audit)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", AttributeValue::S(partition))
            .scan_index_forward(false)
            .limit(i32::from(limit))
            .send()
            .await
            .map_err(|error| aws_fault::from_sdk("read security events", &error))?;
        events.extend(answer.items().iter().map(EventReport::read));
    }
    events.sort_by_key(|event| std::cmp::Reverse(event.time));
    events.truncate(usize::from(limit));
    Ok(events)
}
