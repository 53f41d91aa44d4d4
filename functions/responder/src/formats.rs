//! Bodies of the webhook.

use sallyport_aws::responder::WebhookFormat;
use sallyport_core::{
    incidents::{NoticeKind, Severity},
    secret::Secret,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::words::{Told, moment};

/// The body of a notice; `None` where the format has nothing to say of it.
pub(crate) fn body(format: WebhookFormat, told: &Told<'_>, secret: &Secret<String>) -> Option<Value> {
    match format {
        WebhookFormat::Generic => Some(generic(told)),
        WebhookFormat::Slack => Some(slack(told)),
        WebhookFormat::PagerDuty => pagerduty(told, secret),
    }
}

#[derive(Serialize)]
struct Generic<'a> {
    r#type: String,
    /// The same for every attempt.
    delivery: String,
    at: u64,
    title: String,
    text: &'a str,
    incident: GenericIncident<'a>,
}

#[derive(Serialize)]
struct GenericIncident<'a> {
    id: String,
    cause: &'a str,
    severity: &'static str,
    state: &'static str,
    stage: &'a str,
    began_at: u64,
    opened_at: u64,
    acknowledged_by: Option<&'a str>,
    resolved_at: Option<u64>,
    escalation_level: u32,
    alarms: Vec<GenericAlarm<'a>>,
    runbook: Option<&'a str>,
}

#[derive(Serialize)]
struct GenericAlarm<'a> {
    name: &'a str,
    state: &'static str,
    changed_at: u64,
}

fn generic(told: &Told<'_>) -> Value {
    let incident = told.incident;
    let alarms = incident.alarms.iter().map(|(name, alarm)| GenericAlarm {
        name,
        state: alarm.state.as_str(),
        changed_at: alarm.changed_at.seconds(),
    });
    let body = Generic {
        r#type: format!("incident.{}", told.notice.kind.as_str()),
        delivery: told.delivery(),
        at: told.notice.at.seconds(),
        title: told.title(),
        text: &told.notice.text,
        incident: GenericIncident {
            id: incident.id.to_string(),
            cause: incident.cause.as_str(),
            severity: incident.severity.as_str(),
            state: incident.state().as_str(),
            stage: told.stage,
            began_at: incident.began_at.seconds(),
            opened_at: incident.opened_at.seconds(),
            acknowledged_by: incident.acknowledged.as_ref().map(|by| by.by.as_str()),
            resolved_at: incident.resolved.as_ref().map(|resolution| resolution.at.seconds()),
            escalation_level: incident.escalation_level,
            alarms: alarms.collect(),
            runbook: told.runbook.as_deref(),
        },
    };
    serde_json::to_value(body).unwrap_or_default()
}

/// Slack's limits, in characters.
const HEADER: usize = 150;
const SECTION: usize = 2900;

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        text.to_owned()
    } else {
        text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
    }
}

/// Slack's three characters: what would otherwise mention people or make links.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn slack(told: &Told<'_>) -> Value {
    let incident = told.incident;
    let title = told.title();
    let mut facts = vec![format!("`{}`", incident.id), incident.state().as_str().to_owned(), told.alarms()];
    facts.extend(told.runbook.as_ref().map(|runbook| format!("<{runbook}|runbook>")));
    let mut blocks = vec![
        json!({"type": "header", "text": {"type": "plain_text", "text": cut(&title, HEADER)}}),
        json!({"type": "section", "text": {"type": "mrkdwn", "text": cut(&escaped(&told.notice.text), SECTION)}}),
        json!({"type": "context", "elements": [{"type": "mrkdwn", "text": cut(&facts.join(" · "), SECTION)}]}),
    ];
    if let Some(next) = told.next() {
        blocks.push(json!({"type": "section", "text": {"type": "mrkdwn", "text": format!("```{next}```")}}));
    }
    json!({ "text": escaped(&title), "blocks": blocks })
}

/// Events v2: one alert an incident. What neither rings, nor is taken on, nor ends is none of its business; nor is a page
/// that was held up until the incident was over.
fn pagerduty(told: &Told<'_>, routing_key: &Secret<String>) -> Option<Value> {
    let (notice, incident) = (told.notice, told.incident);
    let action = match notice.kind {
        NoticeKind::Opened
        | NoticeKind::Reopened
        | NoticeKind::SeverityRaised
        | NoticeKind::Escalated
        | NoticeKind::StatusDue => "trigger",
        NoticeKind::Acknowledged => "acknowledge",
        NoticeKind::Resolved => "resolve",
        NoticeKind::AllClear | NoticeKind::Mitigated | NoticeKind::Diagnosed => return None,
    };
    if action != "resolve" && !incident.is_open() {
        return None;
    }
    let severity = match incident.severity {
        Severity::Sev1 => "critical",
        Severity::Sev2 => "error",
        Severity::Sev3 => "warning",
        Severity::Sev4 => "info",
    };
    let links = told.runbook.as_ref().map(|runbook| json!([{"href": runbook, "text": "Runbook"}]));
    let mut body = json!({
        "routing_key": routing_key.expose(),
        "event_action": action,
        "dedup_key": incident.id.to_string(),
        "client": "Sallyport",
        "payload": {
            "summary": cut(&told.title(), 1024),
            "source": format!("sallyport-{}", told.stage),
            "severity": severity,
            "timestamp": moment(notice.at),
            "component": incident.cause.as_str(),
            "custom_details": {"text": notice.text, "alarms": told.alarms(), "next": told.next()},
        },
    });
    if let (Some(links), Some(object)) = (links, body.as_object_mut()) {
        object.insert("links".to_owned(), links);
    }
    Some(body)
}
