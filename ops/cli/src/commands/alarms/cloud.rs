//! In the cloud, and in emulators of it.

use std::collections::BTreeSet;

use aws_sdk_cloudwatch::{
    Client,
    primitives::DateTime,
    types::{AlarmType, HistoryItemType, StateValue},
};
use sallyport_alarms::{Parameters, Rule, Template};

use super::{Changed, Entry, Standing, Tested, Watch, reason, unknown};
use crate::{aws_fault, cli::Change, failure::Failure, output::Answer};

pub(super) struct Alarms {
    client: Client,
    /// What the names of a deployment's alarms begin with.
    prefix: String,
    /// What the alarms are called that every deployment has, without the deployment's name.
    shipped: BTreeSet<String>,
}

/// What an alarm of either kind says.
struct Known {
    entry: Entry,
    actions: Vec<String>,
    enabled: bool,
    /// Of a composite.
    rule: Option<String>,
    /// CloudWatch's own words for why it is in this state: values and threshold.
    reason: Option<String>,
}

/// The two kinds have the same members, and no type in common.
macro_rules! known {
    ($alarms:expr, $alarm:expr, rule: $rule:expr) => {
        Known {
            entry: $alarms.entry(
                $alarm.alarm_name(),
                $alarm.alarm_description(),
                $alarm.state_value(),
                $alarm.state_updated_timestamp().map(DateTime::secs),
            ),
            actions: $alarm.alarm_actions().to_vec(),
            enabled: $alarm.actions_enabled().unwrap_or_default(),
            rule: $rule,
            reason: $alarm.state_reason().map(str::to_owned),
        }
    };
}

/// Whether a composite's rule asks about an alarm, which it names as it is called or by its ARN.
fn asks(rule: &str, alarm: &str) -> bool {
    let named = |name: &str| name.split_once(":alarm:").map_or(name, |(_, name)| name) == alarm;
    match Rule::parse(rule) {
        Ok(rule) => rule.alarms().into_iter().any(named),
        // A composite of the operator's own may use what ours do not.
        Err(_) => rule.contains(alarm),
    }
}

impl Alarms {
    /// # Errors
    /// The alarms of this release do not read.
    pub(super) fn new(client: Client, stack: &str) -> Result<Self, Failure> {
        let template = Template::of_the_stack(&Parameters::new())
            .map_err(|error| Failure::dependency("alarms_unreadable", error.to_string()))?;
        let shipped = template.alarms.into_iter().map(|alarm| alarm.short).collect();
        Ok(Self { client, prefix: format!("{stack}-"), shipped })
    }

    /// Whether an alarm is this deployment's. The alarms of a stack `shop-eu` begin as those of a stack `shop` do: `eu-key-age` is
    /// `key-age` of such a one, and none that an operator of `shop` has put beside ours.
    fn is_ours(&self, name: &str) -> bool {
        let Some(short) = name.strip_prefix(&self.prefix) else { return false };
        let of_another =
            |known: &String| short.strip_suffix(known.as_str()).is_some_and(|rest| rest.ends_with('-'));
        self.shipped.contains(short) || !self.shipped.iter().any(of_another)
    }

    fn full(&self, name: &str) -> String {
        if name.starts_with(&self.prefix) { name.to_owned() } else { format!("{}{name}", self.prefix) }
    }

    fn short<'a>(&self, name: &'a str) -> &'a str {
        name.strip_prefix(&self.prefix).unwrap_or(name)
    }

    async fn known(&self, name: Option<&str>) -> Result<Vec<Known>, Failure> {
        let mut known = Vec::new();
        let mut token = None;
        loop {
            let ask = self.client.describe_alarms().set_next_token(token);
            let ask = ask.alarm_types(AlarmType::MetricAlarm).alarm_types(AlarmType::CompositeAlarm);
            let ask = match name {
                Some(name) => ask.alarm_names(self.full(name)),
                None => ask.alarm_name_prefix(&self.prefix),
            };
            let answer = ask.send().await.map_err(|error| aws_fault::from_sdk("list the alarms", &error))?;
            known.extend(answer.metric_alarms().iter().map(|alarm| known!(self, alarm, rule: None)));
            known.extend(answer.composite_alarms().iter().map(
                |alarm| known!(self, alarm, rule: Some(alarm.alarm_rule().unwrap_or_default().to_owned())),
            ));
            token = answer.next_token().map(str::to_owned);
            if token.is_none() {
                known.retain(|alarm| self.is_ours(&self.full(&alarm.entry.name)));
                return Ok(known);
            }
        }
    }

    fn entry(
        &self,
        name: Option<&str>,
        description: Option<&str>,
        state: Option<&StateValue>,
        changed: Option<i64>,
    ) -> Entry {
        let description = description.unwrap_or_default();
        let line = |label: &str| {
            let found = description.lines().find_map(|line| line.trim().strip_prefix(label));
            found.unwrap_or_default().trim().to_owned()
        };
        Entry {
            name: self.short(name.unwrap_or_default()).to_owned(),
            severity: line("Severity:"),
            state: state.map_or("INSUFFICIENT_DATA", StateValue::as_str).to_owned(),
            since: changed.and_then(|seconds| u64::try_from(seconds).ok()),
            meaning: description.lines().next().unwrap_or_default().trim().to_owned(),
            runbook: line("Runbook:"),
            first: line("First:"),
        }
    }

    pub(super) async fn list(&self) -> Result<Vec<Entry>, Failure> {
        Ok(self.known(None).await?.into_iter().map(|known| known.entry).collect())
    }

    /// # Errors
    /// There is no such alarm; AWS.
    pub(super) async fn state(&self, name: &str) -> Result<Standing, Failure> {
        let known = self.known(Some(name)).await?.into_iter().next().ok_or_else(|| unknown(name))?;
        let Entry { name, state, since, .. } = known.entry;
        Ok(Standing { name, state, since, measured: known.reason })
    }

    /// Which fire, and which would tell nobody if they did.
    pub(super) async fn watch(&self) -> Result<Watch, Failure> {
        let known = self.known(None).await?;
        let rules: Vec<_> = known.iter().filter_map(|alarm| alarm.rule.as_deref()).collect();
        let children: BTreeSet<_> = known
            .iter()
            .filter(|alarm| rules.iter().any(|rule| asks(rule, &self.full(&alarm.entry.name))))
            .map(|alarm| alarm.entry.name.clone())
            .collect();
        let mut watch = Watch::default();
        for Known { entry: Entry { name, state, .. }, actions, enabled, rule, .. } in known {
            if state == StateValue::Alarm.as_str() {
                watch.firing.push(name.clone());
            }
            if !enabled {
                watch.muted.push(name.clone());
            }
            // A composite may stand in another's rule, and is what pages all the same.
            if actions.is_empty() && (rule.is_some() || !children.contains(&name)) {
                watch.silent.push(name.clone());
            }
            watch.names.push(name);
        }
        Ok(watch)
    }

    /// # Errors
    /// There is no such alarm; AWS.
    pub(super) async fn test(&self, name: &str, change: Change) -> Result<Answer, Failure> {
        let known = self.known(Some(name)).await?.into_iter().next().ok_or_else(|| unknown(name))?;
        let returns = if known.rule.is_some() {
            "CloudWatch returns it when one of its alarms changes"
        } else {
            "CloudWatch returns it at its next evaluation, within a minute or two"
        };
        if change.dry_run {
            return Answer::of(&Tested {
                name: known.entry.name,
                state: known.entry.state,
                detail: format!("would be set to ALARM; {returns}; nothing was changed"),
                tells: known.actions,
                dry_run: true,
            });
        }
        let set = self.client.set_alarm_state().alarm_name(self.full(name));
        let set = set.state_value(StateValue::Alarm).state_reason(reason()?);
        set.send().await.map_err(|error| aws_fault::from_sdk("set the alarm", &error))?;
        Answer::of(&Tested {
            name: known.entry.name,
            state: StateValue::Alarm.as_str().to_owned(),
            detail: format!("set to ALARM; {returns}"),
            tells: known.actions,
            dry_run: false,
        })
    }

    /// # Errors
    /// There is no such alarm; AWS.
    pub(super) async fn history(&self, name: Option<&str>, limit: u16) -> Result<Vec<Changed>, Failure> {
        if let Some(name) = name
            && self.known(Some(name)).await?.is_empty()
        {
            return Err(unknown(name));
        }
        let mut changes = Vec::new();
        let mut token = None;
        loop {
            let ask = self.client.describe_alarm_history().set_alarm_name(name.map(|name| self.full(name)));
            let ask = ask.alarm_types(AlarmType::MetricAlarm).alarm_types(AlarmType::CompositeAlarm);
            let ask = ask.history_item_type(HistoryItemType::StateUpdate).set_next_token(token);
            let answer = ask.send().await.map_err(|error| aws_fault::from_sdk("read the history", &error))?;
            for item in answer.alarm_history_items() {
                // Without a name the history is the account's.
                let Some(name) = item.alarm_name().filter(|name| self.is_ours(name)) else {
                    continue;
                };
                changes.push(Changed {
                    at: item.timestamp().and_then(|at| u64::try_from(at.secs()).ok()).unwrap_or_default(),
                    name: self.short(name).to_owned(),
                    what: item.history_summary().unwrap_or_default().to_owned(),
                });
            }
            token = answer.next_token().map(str::to_owned);
            if token.is_none() || changes.len() >= usize::from(limit) {
                changes.truncate(usize::from(limit));
                return Ok(changes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn alarms_of_a_stack_whose_name_begins_alike_are_not_ours() {
        let client = Client::from_conf(
            aws_sdk_cloudwatch::Config::builder()
                .behavior_version(aws_sdk_cloudwatch::config::BehaviorVersion::latest())
                .build(),
        );
        let alarms = Alarms::new(client, "shop").unwrap();
        for ours in ["shop-key-age", "shop-page-availability", "shop-queue-is-long"] {
            assert!(alarms.is_ours(ours), "{ours}");
        }
        for theirs in ["shop-eu-key-age", "shop-eu-page-availability", "shopper-key-age", "key-age"] {
            assert!(!alarms.is_ours(theirs), "{theirs}");
        }
    }

    #[test]
    fn a_rule_asks_about_alarms_by_name_or_arn() {
        let arn = r#"OK("arn:aws:cloudwatch:eu-central-1:1:alarm:shop-b")"#;
        let rule = format!(r#"ALARM("shop-a") OR {arn}"#);
        assert!(asks(&rule, "shop-a"));
        assert!(asks(&rule, "shop-b"));
        assert!(!asks(&rule, "shop"));
        assert!(asks("AT_LEAST(1, ALARM, (shop-a, shop-b))", "shop-b"));
    }
}
