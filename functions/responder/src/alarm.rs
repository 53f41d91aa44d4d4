//! Notifications of CloudWatch, as SNS brings them.

use std::time::Duration;

use jiff::fmt::strtime;
use sallyport_core::clock::Timestamp;
use sallyport_operations::incidents::{AlarmChange, AlarmLevel, AlarmState};
use serde::Deserialize;
use serde_json::Value;

/// An event of SNS. What else is in it is none of ours.
#[derive(Deserialize)]
struct SnsEvent {
    #[serde(rename = "Records")]
    records: Vec<SnsRecord>,
}

#[derive(Deserialize)]
struct SnsRecord {
    #[serde(rename = "Sns")]
    sns: SnsMessage,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SnsMessage {
    topic_arn: String,
    message: String,
}

/// Of a metric alarm or a composite one.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Notification {
    alarm_name: String,
    #[serde(default)]
    alarm_description: Option<String>,
    new_state_value: String,
    #[serde(default)]
    new_state_reason: String,
    state_change_time: String,
    #[serde(default)]
    trigger: Option<Trigger>,
    #[serde(default)]
    triggering_children: Vec<Child>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Trigger {
    #[serde(default)]
    period: Option<u64>,
    #[serde(default)]
    evaluation_periods: Option<u64>,
    /// Of an alarm over metric math, whose own period is none.
    #[serde(default)]
    metrics: Vec<Metric>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metric {
    #[serde(default)]
    metric_stat: Option<MetricStat>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MetricStat {
    #[serde(default)]
    period: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Child {
    arn: String,
}

/// The alarms of an event: of SNS, or a notification by itself, as the tests and `aws lambda invoke` hand it over.
pub(crate) fn read(payload: &Value) -> Vec<Result<AlarmChange, String>> {
    if payload.get("AlarmName").is_some() {
        return vec![parse(&payload.to_string(), None)];
    }
    match SnsEvent::deserialize(payload) {
        Ok(event) => event
            .records
            .iter()
            .map(|record| parse(&record.sns.message, level(&record.sns.topic_arn)))
            .collect(),
        Err(error) => vec![Err(format!("neither a task nor an event of SNS: {error}"))],
    }
}

fn parse(message: &str, level: Option<AlarmLevel>) -> Result<AlarmChange, String> {
    let notification: Notification =
        serde_json::from_str(message).map_err(|error| format!("no notification of an alarm: {error}"))?;
    let state = notification.new_state_value;
    let state = match state.parse::<AlarmState>().map_err(|()| format!("no state of an alarm: {state:?}"))? {
        // An alarm tells it only where it was told to, because silence is the worst answer.
        AlarmState::InsufficientData => AlarmState::Alarm,
        state => state,
    };
    let changed_at = moment(&notification.state_change_time)
        .ok_or_else(|| format!("no time: {:?}", notification.state_change_time))?;
    Ok(AlarmChange {
        name: notification.alarm_name,
        state,
        changed_at,
        began_at: changed_at.minus(notification.trigger.as_ref().map_or(Duration::ZERO, Trigger::span)),
        reason: notification.new_state_reason,
        level: notification.alarm_description.as_deref().and_then(stated).or(level),
        children: notification
            .triggering_children
            .iter()
            .filter_map(|child| child.arn.rsplit_once(":alarm:"))
            .map(|(_, name)| name.to_owned())
            .collect(),
    })
}

impl Trigger {
    /// How long the metric must have been wrong.
    fn span(&self) -> Duration {
        let of_metrics = self.metrics.iter().filter_map(|metric| metric.metric_stat.as_ref()?.period).max();
        let period = self.period.filter(|period| *period > 0).or(of_metrics).unwrap_or_default();
        Duration::from_secs(period.saturating_mul(self.evaluation_periods.unwrap_or(1)).min(24 * 60 * 60))
    }
}

/// `2026-07-31T14:02:11.123+0000`: the zones of CloudWatch and Lambda have no colon.
pub(crate) fn moment(text: &str) -> Option<Timestamp> {
    let read = |format| strtime::parse(format, text).and_then(|parsed| parsed.to_timestamp()).ok();
    let at = read("%Y-%m-%dT%H:%M:%S%.f%z").or_else(|| text.parse::<jiff::Timestamp>().ok())?;
    u64::try_from(at.as_millisecond()).ok().map(Timestamp::from_millis)
}

/// What the alarm's own description says, as those of infra/alarms.yaml do: `Severity: critical`.
fn stated(description: &str) -> Option<AlarmLevel> {
    description.lines().find_map(|line| line.trim().strip_prefix("Severity: ")).and_then(named)
}

/// The topics are named after their levels, whatever CloudFormation puts around the name.
fn level(topic: &str) -> Option<AlarmLevel> {
    named(topic.rsplit(':').next().unwrap_or_default())
}

fn named(text: &str) -> Option<AlarmLevel> {
    let text = text.to_ascii_lowercase();
    [("critical", AlarmLevel::Critical), ("warning", AlarmLevel::Warning), ("info", AlarmLevel::Info)]
        .into_iter()
        .find(|(word, _)| text.contains(word))
        .map(|(_, level)| level)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    fn one(payload: &Value) -> Result<AlarmChange, String> {
        let mut read = read(payload);
        assert_eq!(read.len(), 1);
        read.remove(0)
    }

    #[test]
    fn a_metric_alarm_began_its_periods_before() {
        let message = json!({
            "AlarmName": "sallyport-prod-failure-spike", "NewStateValue": "ALARM", "AlarmDescription": null,
            "NewStateReason": "Threshold Crossed", "StateChangeTime": "2026-07-31T14:02:11.500+0000",
            "Trigger": {"Period": 60, "EvaluationPeriods": 3},
        });
        let topic = "arn:aws:sns:eu-central-1:1:sallyport-prod-Alarms-1-CriticalTopic-A1";
        let event = json!({"Records": [{"EventSource": "aws:sns", "Sns": {
            "TopicArn": topic, "Message": message.to_string(),
        }}]});
        let change = one(&event).unwrap();
        assert_eq!(change.level, Some(AlarmLevel::Critical));
        assert_eq!(change.changed_at, Timestamp::from_millis(1_785_506_531_500));
        assert_eq!(change.changed_at.since(change.began_at), Duration::from_secs(180));
    }

    #[test]
    fn a_composite_alarm_names_what_made_it_ring() {
        let change = one(&json!({
            "AlarmName": "sallyport-prod-page-availability", "NewStateValue": "ALARM",
            "StateChangeTime": "2026-07-31T14:02:11Z",
            "TriggeringChildren": [{"Arn": "arn:aws:cloudwatch:eu-central-1:1:alarm:sallyport-prod-service-down"}],
        }))
        .unwrap();
        assert_eq!(change.children, ["sallyport-prod-service-down"]);
        assert_eq!(change.began_at, change.changed_at);
    }

    #[test]
    fn an_alarm_over_metric_math_has_the_period_of_its_metrics() {
        let change = one(&json!({
            "AlarmName": "x", "NewStateValue": "OK", "StateChangeTime": "2026-07-31T14:02:11.000+0000",
            "Trigger": {"EvaluationPeriods": 2, "Metrics": [
                {"Id": "rate", "Expression": "a/b"}, {"Id": "a", "MetricStat": {"Period": 60, "Stat": "Sum"}},
            ]},
        }))
        .unwrap();
        assert_eq!(change.changed_at.since(change.began_at), Duration::from_secs(120));
    }

    #[test]
    fn an_alarm_is_as_grave_as_its_description_says() {
        let change = one(&json!({
            "AlarmName": "ours", "NewStateValue": "ALARM", "StateChangeTime": "2026-07-31T14:02:11Z",
            "AlarmDescription": "Mail is late.\nSeverity: warning\nRunbook: https://example.com/critical",
        }));
        assert_eq!(change.unwrap().level, Some(AlarmLevel::Warning));
    }

    #[test]
    fn what_is_no_alarm_is_said_to_be_none() {
        assert!(one(&json!({"hello": 1})).unwrap_err().contains("neither a task nor an event of SNS"));
        let event = json!({"Records": [{"Sns": {"TopicArn": "t", "Message": "hello"}}]});
        assert!(one(&event).unwrap_err().contains("no notification of an alarm"));
        let odd =
            json!({"AlarmName": "x", "NewStateValue": "BAD", "StateChangeTime": "2026-07-31T14:02:11Z"});
        assert!(one(&odd).unwrap_err().contains("no state of an alarm"));
    }
}
