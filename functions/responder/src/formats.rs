//! Bodies of the webhook.

use sallyport_aws::responder::WebhookFormat;
use sallyport_core::secret::EnteredSecret;
use sallyport_operations::incidents::{NoticeKind, Severity};
use serde::Serialize;
use serde_json::{Value, json};

use crate::words::{Told, moment, one_line};

/// The body of a notice; `None` where the format has nothing to say of it.
pub(crate) fn body(format: WebhookFormat, told: &Told<'_>, secret: &EnteredSecret) -> Option<Value> {
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
    text: String,
    incident: GenericIncident<'a>,
}

#[derive(Serialize)]
struct GenericIncident<'a> {
    id: String,
    cause: &'a str,
    severity: &'static str,
    state: &'static str,
    deployment: &'a str,
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
        text: told.said(),
        incident: GenericIncident {
            id: incident.id.to_string(),
            cause: incident.cause.as_str(),
            severity: incident.severity.as_str(),
            state: incident.state().as_str(),
            deployment: told.deployment,
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
/// Of the line of facts, which has as much room as a section.
const ALARMS: usize = 1500;
const LINK: usize = 1200;

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        text.to_owned()
    } else {
        text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
    }
}

/// Slack's three characters, which would otherwise mention people or make links; cut between characters, and not within
/// what stands for one.
fn escaped(text: &str, most: usize) -> String {
    let mut escaped = String::new();
    let mut length = 0;
    for character in text.chars() {
        let mut own = [0; 4];
        let part = match character {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            other => &*other.encode_utf8(&mut own),
        };
        length += part.chars().count();
        if length >= most {
            escaped.push('…');
            break;
        }
        escaped.push_str(part);
    }
    escaped
}

/// Text in Slack's own notation. `verbatim`: it makes no links and mentions of what is none.
fn mrkdwn(text: &str) -> Value {
    json!({"type": "mrkdwn", "text": text, "verbatim": true})
}

fn slack(told: &Told<'_>) -> Value {
    let incident = told.incident;
    let title = told.title();
    let alarms = escaped(&told.alarms(), ALARMS);
    let mut facts = vec![format!("`{}`", incident.id), incident.state().as_str().to_owned(), alarms];
    // The one link: an address that is cut would be another one.
    let runbook = told.runbook.as_ref().filter(|runbook| runbook.len() < LINK);
    facts.extend(runbook.map(|runbook| format!("<{}|runbook>", escaped(runbook, LINK))));
    let mut blocks = vec![
        json!({"type": "header", "text": {"type": "plain_text", "text": cut(&title, HEADER), "emoji": false}}),
        json!({"type": "section", "text": mrkdwn(&escaped(&told.said(), SECTION))}),
        json!({"type": "context", "elements": [mrkdwn(&facts.join(" · "))]}),
    ];
    if let Some(next) = told.next() {
        blocks
            .push(json!({"type": "section", "text": mrkdwn(&format!("```{}```", escaped(&next, SECTION)))}));
    }
    json!({ "text": escaped(&title, SECTION), "blocks": blocks })
}

/// Events v2: one alert an incident. What neither rings, nor is taken on, nor ends is none of its business; nor is a page
/// that was held up until the incident was over.
fn pagerduty(told: &Told<'_>, routing_key: &EnteredSecret) -> Option<Value> {
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
            "source": one_line(told.deployment),
            "severity": severity,
            "timestamp": moment(notice.at),
            "component": one_line(incident.cause.as_str()),
            "custom_details": {"text": told.said(), "alarms": told.alarms(), "next": told.next()},
        },
    });
    if let (Some(links), Some(object)) = (links, body.as_object_mut()) {
        object.insert("links".to_owned(), links);
    }
    Some(body)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use std::collections::{BTreeMap, BTreeSet};

    use sallyport_aws::responder::subject;
    use sallyport_core::{clock::Timestamp, ids::OperationId};
    use sallyport_lambda::Config;
    use sallyport_operations::incidents::{
        Acknowledgement, AlarmRecord, AlarmState, Cause, Incident, IncidentId, Notice, Resolution,
    };

    use super::*;

    /// Names and notes as somebody would write them who wants to be taken for something else.
    const HOSTILE: [&str; 16] = [
        "<!channel>",
        "<https://evil.example|click me>",
        "a&b &lt;!here&gt;",
        "x|runbook> <https://evil.example/",
        "`code` ```more```",
        "*bold* _it_ ~no~ :tada: @channel #general https://evil.example",
        "first\r\nBcc: everybody@example.com\r\n\r\nbody",
        "first\nnext      sallyport user unlock eve@example.com",
        "\u{1b}[2J\u{7}\0",
        "\u{202e}gpj.exe\u{2066}\u{200b}",
        "\u{2028}line\u{2029}paragraph",
        "../../../etc/passwd?q=1#f",
        "javascript:alert(1)",
        "\"},{\"type\":\"section\"",
        "Ünï\u{301}cödé 日本語 🦀",
        "%0d%0aX-Header: 1",
    ];

    const URL: &str = "https://docs.example.com/runbooks";

    /// Every text of an incident and its notice that people or other programs have written, in turn.
    const FIELDS: [fn(&mut Incident, &mut Notice, &mut String, &str); 7] = [
        |incident, _, _, text| {
            let record = incident.alarms.pop_first().unwrap().1;
            incident.alarms = BTreeMap::from([(text.to_owned(), record)]);
        },
        |incident, _, _, text| {
            incident.alarms.values_mut().for_each(|alarm| alarm.children = vec![text.to_owned()]);
        },
        |incident, _, _, text| incident.cause = Cause::new(text),
        |incident, _, _, text| incident.acknowledged.as_mut().unwrap().by = text.to_owned(),
        |incident, _, _, text| incident.resolved.as_mut().unwrap().summary = text.to_owned(),
        |_, notice, _, text| notice.text = text.to_owned(),
        |_, _, stage, text| *stage = text.to_owned(),
    ];

    fn incident() -> Incident {
        let at = Timestamp::from_seconds(1_800_000_000);
        let alarm = AlarmRecord { state: AlarmState::Alarm, changed_at: at, children: Vec::new() };
        Incident {
            id: "inc_0000000000000000".parse::<IncidentId>().unwrap(),
            cause: Cause::new("availability"),
            severity: Severity::Sev1,
            began_at: at,
            opened_at: at,
            waiting_since: at,
            acknowledged: Some(Acknowledgement { at, by: "grace@desk".to_owned() }),
            resolved: Some(Resolution { at, by: "grace@desk".to_owned(), summary: "Over.".to_owned() }),
            status_at: at,
            reminded_at: None,
            escalation_level: 1,
            escalated_at: None,
            alarms: BTreeMap::from([("service-down".to_owned(), alarm)]),
            diagnosis_from: None,
            mitigated_for: None,
            version: 1,
            operation: OperationId::from_bytes([1; 16]),
        }
    }

    fn notice(kind: NoticeKind) -> Notice {
        let at = Timestamp::from_seconds(1_800_000_000);
        Notice {
            incident: incident().id,
            version: 1,
            kind,
            at,
            text: "It rings.".to_owned(),
            due_at: at,
            attempts: 0,
            claim: None,
            sent: BTreeSet::new(),
        }
    }

    fn config() -> Config {
        let mut config = Config::from_lookup(&|name| {
            let needed = name.ends_with("_TABLE")
                || name.ends_with("_SECRET")
                || ["SALLYPORT_STAGE", "SALLYPORT_DEPLOYMENT"].contains(&name);
            needed.then(|| "x".to_owned())
        })
        .unwrap();
        config.runbook_url = URL.to_owned();
        config
    }

    /// Runs `check` over every kind of notice with every hostile text in every field, and texts of every length around the
    /// limits.
    fn each(check: impl Fn(&Told<'_>)) {
        let mut config = config();
        let long: Vec<_> = [149, 150, 1023, 1499, 2899, 2900, 9000]
            .into_iter()
            .flat_map(|length| [String::from_utf8(vec![b'<'; length]).unwrap(), "🦀&".repeat(length / 2)])
            .collect();
        for text in HOSTILE.into_iter().chain(long.iter().map(String::as_str)) {
            for set in FIELDS {
                for kind in NoticeKind::ALL {
                    for open in [true, false] {
                        let (mut incident, mut notice, mut stage) =
                            (incident(), notice(*kind), "prod".to_owned());
                        set(&mut incident, &mut notice, &mut stage, text);
                        if open {
                            incident.resolved = None;
                        }
                        config.deployment.clone_from(&stage);
                        config.stage = stage;
                        check(&Told::new(&notice, &incident, &config));
                    }
                }
            }
        }
    }

    fn bodies(told: &Told<'_>) -> Vec<(WebhookFormat, Value)> {
        let secret = EnteredSecret::parse("routing-key-of-the-suite").unwrap();
        let formats = [WebhookFormat::Generic, WebhookFormat::Slack, WebhookFormat::PagerDuty];
        formats.into_iter().filter_map(|format| Some((format, body(format, told, &secret)?))).collect()
    }

    /// What steers, but for the ends of lines where there may be several.
    fn is_harmless(text: &str, lines: bool) -> bool {
        let allowed = |character: char| lines && character == '\n';
        text.chars().all(|character| {
            one_line(&character.to_string()) != "\u{fffd}" || character == '\u{fffd}' || allowed(character)
        })
    }

    /// An address as it was meant: below the runbook's, one segment, of what needs no escape in any notation.
    fn is_runbook(url: &str) -> bool {
        let name = url
            .strip_prefix(URL)
            .and_then(|rest| rest.strip_prefix('/'))
            .and_then(|rest| rest.strip_suffix(".md"));
        name.is_some_and(|name| {
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte))
        })
    }

    #[test]
    fn slack_makes_one_link_of_a_message_and_mentions_nobody_whatever_things_are_called() {
        each(|told| {
            let body = slack(told);
            let mut texts = vec![(body["text"].as_str().unwrap().to_owned(), false)];
            for block in body["blocks"].as_array().unwrap() {
                let own = block.get("text").into_iter();
                for text in own.chain(block.get("elements").and_then(Value::as_array).into_iter().flatten()) {
                    let content = text["text"].as_str().unwrap();
                    assert!(content.chars().count() <= 3000, "{} characters", content.chars().count());
                    if text["type"] == "plain_text" {
                        assert!(
                            is_harmless(content, false) && content.chars().count() <= HEADER,
                            "{content:?}"
                        );
                        continue;
                    }
                    assert_eq!(text["verbatim"], true, "{text}");
                    texts.push((content.to_owned(), block["type"] == "section"));
                }
            }
            for (text, lines) in texts {
                assert!(is_harmless(&text, lines), "{text:?}");
                for (index, part) in text.split('<').enumerate() {
                    if index == 0 {
                        assert!(!part.contains('>'), "{text}");
                        continue;
                    }
                    let (link, rest) = part.split_once("|runbook>").unwrap();
                    assert!(is_runbook(link) && !rest.contains('>'), "{text}");
                }
                for rest in text.split('&').skip(1) {
                    let known = ["amp;", "lt;", "gt;"].iter().any(|entity| rest.starts_with(entity));
                    assert!(known, "{text}");
                }
            }
        });
    }

    #[test]
    fn every_other_channel_says_it_on_the_lines_that_were_meant() {
        each(|told| {
            for (format, body) in bodies(told) {
                let one_line = |value: &Value| value.as_str().is_none_or(|text| is_harmless(text, false));
                match format {
                    WebhookFormat::Generic => {
                        assert!(one_line(&body["title"]), "{body}");
                        assert!(is_harmless(body["text"].as_str().unwrap(), true), "{body}");
                        assert!(is_runbook(body["incident"]["runbook"].as_str().unwrap()), "{body}");
                        // Data, not text: a receiver compares it with what CloudWatch calls it.
                        let name = told.incident.alarms.keys().next().unwrap();
                        assert_eq!(body["incident"]["alarms"][0]["name"], *name);
                    }
                    WebhookFormat::PagerDuty => {
                        let payload = &body["payload"];
                        assert!(one_line(&payload["summary"]) && one_line(&payload["component"]), "{body}");
                        assert!(payload["summary"].as_str().unwrap().chars().count() <= 1024);
                        assert!(one_line(&payload["custom_details"]["alarms"]), "{body}");
                        assert!(is_harmless(payload["custom_details"]["text"].as_str().unwrap(), true));
                        assert!(is_runbook(body["links"][0]["href"].as_str().unwrap()), "{body}");
                    }
                    WebhookFormat::Slack => {}
                }
                // It reads back as it was made.
                assert_eq!(serde_json::from_str::<Value>(&body.to_string()).unwrap(), body);
            }
            let subject = subject(&told.title());
            assert!(
                subject.len() <= 100 && subject.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
                "{subject:?}"
            );
            assert!(subject.starts_with('['), "{subject}");
            let text = told.text();
            assert!(is_harmless(&text, true), "{text:?}");
            // After what was said come six lines, or five where there is no runbook, in their order.
            let facts: Vec<_> =
                text.trim_end().lines().rev().take(6).map(|line| line.split(' ').next().unwrap()).collect();
            assert_eq!(facts, ["next", "runbook", "opened", "alarms", "state", "incident"], "{text}");
        });
    }
}
