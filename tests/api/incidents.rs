//! From an alarm's notification to the people who are told, by the responder's own events.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use sallyport_core::{clock::Timestamp, secret::EnteredSecret};
use sallyport_operations::incidents::sign;
use sallyport_testkit::Receiver;

use crate::prelude::*;

const SECRET: &str = "webhook-signing-secret";

/// A notification as CloudWatch words it and SNS wraps it.
pub(crate) fn sns(backend: &Backend, alarm: &str, state: &str) -> Value {
    let message = json!({
        "AlarmName": format!("sallyport-prod-{alarm}"),
        "AlarmDescription": "What it means for users.",
        "AWSAccountId": "123456789012",
        "AlarmConfigurationUpdatedTimestamp": "2026-01-01T00:00:00.000+0000",
        "NewStateValue": state,
        "NewStateReason": "Threshold Crossed: 1 out of the last 1 datapoints was greater than the threshold (10.0).",
        "StateChangeTime": moment(backend.now()),
        "Region": "EU (Frankfurt)",
        "AlarmArn": format!("arn:aws:cloudwatch:eu-central-1:123456789012:alarm:sallyport-prod-{alarm}"),
        "OldStateValue": if state == "ALARM" { "OK" } else { "ALARM" },
        "OKActions": [], "AlarmActions": [], "InsufficientDataActions": [],
        "Trigger": {
            "MetricName": "login_failures", "Namespace": "Sallyport", "StatisticType": "Statistic",
            "Statistic": "SUM", "Unit": null, "Dimensions": [{"value": "sallyport-prod", "name": "deployment"}], "Period": 60,
            "EvaluationPeriods": 1, "DatapointsToAlarm": 1, "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": 10.0, "TreatMissingData": "notBreaching", "EvaluateLowSampleCountPercentile": "",
        },
    });
    json!({"Records": [{
        "EventSource": "aws:sns", "EventVersion": "1.0",
        "EventSubscriptionArn": "arn:aws:sns:eu-central-1:123456789012:critical:1",
        "Sns": {
            "Type": "Notification", "MessageId": "1", "Subject": "ALARM", "Timestamp": "2026-01-01T00:00:00.000Z",
            "TopicArn": "arn:aws:sns:eu-central-1:123456789012:sallyport-prod-Alarms-1A-CriticalTopic-1B",
            "Message": message.to_string(), "SignatureVersion": "1", "Signature": "x", "MessageAttributes": {},
        },
    }]})
}

/// CloudWatch's own way to write a time.
fn moment(seconds: u64) -> String {
    let days = seconds / 86_400;
    // Days since the epoch to a date, after Howard Hinnant.
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z % 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + u64::from(month <= 2);
    let (h, m, s) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.000+0000")
}

pub(crate) async fn invoke(backend: &Backend, event: &Value) -> Result<Answer> {
    backend.console("POST", "invoke/responder", Some(event.clone())).await
}

/// Hears an alarm; its outcome and its incident.
pub(crate) async fn hear(backend: &Backend, alarm: &str, state: &str) -> Result<(String, String)> {
    let answer = invoke(backend, &sns(backend, alarm, state)).await?.expect(200)?.json();
    let text = |name: &str| answer["result"]["alarms"][0][name].as_str().unwrap_or_default().to_owned();
    Ok((text("outcome"), text("incident")))
}

pub(crate) async fn tick(backend: &Backend) -> Result<Value> {
    Ok(invoke(backend, &json!({"task": "tick"})).await?.expect(200)?.field("result"))
}

async fn kept(backend: &Backend, kind: &str) -> Result<Vec<Value>> {
    let items = backend.items("Ops").await?;
    Ok(items.into_iter().filter(|item| item["pk"] == kind).collect())
}

async fn timeline(backend: &Backend, id: &str) -> Result<Vec<String>> {
    let mut entries = kept(backend, &format!("INCIDENT#{id}")).await?;
    entries.sort_by_key(|entry| entry["sk"].as_str().unwrap_or_default().to_owned());
    Ok(entries.iter().map(|entry| entry["kind"].as_str().unwrap_or_default().to_owned()).collect())
}

/// Fills the providers' secret as an operator would.
pub(crate) async fn set_webhook(backend: &Backend, url: &str, format: &str) -> Result<()> {
    let document = json!({"incident_webhook": {"url": url, "format": format, "secret": SECRET}});
    backend.write_secret_past_everything("SALLYPORT_PROVIDERS_SECRET", &document.to_string()).await
}

async fn with_webhook(format: &str) -> Result<(Backend, Receiver)> {
    let (backend, receiver) = (Backend::start().await?, Receiver::start().await?);
    set_webhook(&backend, &format!("{}/hook", receiver.url), format).await?;
    Ok((backend, receiver))
}

#[tokio::test]
async fn an_alarm_opens_an_incident_and_delivered_again_changes_nothing() -> Result<()> {
    let backend = Backend::start().await?;
    let event = sns(&backend, "service-down", "ALARM");
    let first = invoke(&backend, &event).await?.expect(200)?.field("result");
    assert_eq!(first["alarms"][0]["outcome"], "opened");
    let before = kept(&backend, "INCIDENT").await?;
    for _ in 0..3 {
        let again = invoke(&backend, &event).await?.expect(200)?.field("result");
        assert_eq!(again["alarms"][0]["outcome"], "unchanged");
        assert_eq!(again["alarms"][0]["incident"], first["alarms"][0]["incident"]);
    }
    assert_eq!(kept(&backend, "INCIDENT").await?, before);
    let incident = &before[0];
    assert_eq!((&incident["severity"], &incident["cause"]), (&json!("SEV1"), &json!("availability")));
    let id = incident["sk"].as_str().unwrap();
    assert_eq!(timeline(&backend, id).await?, ["opened", "diagnosed"]);
    assert_eq!(audit_kinds(&backend).await?, ["keyring.created", "incident.opened"]);
    Ok(())
}

#[tokio::test]
async fn twenty_deliveries_at_once_open_one_incident_and_page_once() -> Result<()> {
    let (backend, receiver) = with_webhook("generic").await?;
    let event = sns(&backend, "failure-spike", "ALARM");
    let answers = join_all((0..20).map(|_| invoke(&backend, &event))).await;
    let mut opened = 0;
    for answer in answers {
        // Lambda delivers again what could not be taken.
        let answer = answer?;
        ensure!(answer.status == 200 || answer.status == 500, "{answer:?}");
        opened += usize::from(answer.json()["result"]["alarms"][0]["outcome"] == "opened");
    }
    invoke(&backend, &event).await?.expect(200)?;
    assert_eq!(opened, 1);
    assert_eq!(kept(&backend, "INCIDENT").await?.len(), 1);
    assert_eq!(kept(&backend, "INCIDENT_CAUSE").await?.len(), 1);
    tick(&backend).await?;
    let pages = receiver.calls().into_iter().filter(|call| call.json()["type"] == "incident.opened").count();
    assert_eq!(pages, 1);
    assert_eq!(audit_kinds(&backend).await?, ["keyring.created", "incident.opened"]);
    Ok(())
}

#[tokio::test]
async fn ten_ticks_at_once_remind_and_escalate_once() -> Result<()> {
    let (backend, receiver) = with_webhook("generic").await?;
    let (_, id) = hear(&backend, "service-down", "ALARM").await?;
    receiver.calls();
    backend.advance(15 * 60).await?;
    let event = json!({"task": "tick"});
    let answers = join_all((0..10).map(|_| invoke(&backend, &event))).await;
    let (mut escalations, mut reminders) = (0, 0);
    for answer in answers {
        let result = answer?.expect(200)?.field("result");
        escalations += result["escalations"].as_u64().unwrap();
        reminders += result["reminders"].as_u64().unwrap();
    }
    tick(&backend).await?;
    assert_eq!((escalations, reminders), (1, 1));
    let mut kinds: Vec<_> = receiver
        .calls()
        .iter()
        .map(|call| call.json()["type"].as_str().unwrap_or_default().to_owned())
        .collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["incident.escalated", "incident.status_due"]);
    assert_eq!(timeline(&backend, &id).await?, ["opened", "diagnosed", "escalated", "reminded"]);
    Ok(())
}

#[tokio::test]
async fn the_webhook_is_signed_over_time_and_body() -> Result<()> {
    let (backend, receiver) = with_webhook("generic").await?;
    let (_, id) = hear(&backend, "service-down", "ALARM").await?;
    let calls = receiver.calls();
    let call = &calls[0];
    assert_eq!(call.path, "/hook");
    assert_eq!(call.header("content-type"), "application/json");
    let signature = call.header("x-sallyport-signature");
    let seconds: u64 = signature[2..].split(',').next().unwrap().parse()?;
    assert!(backend.now().abs_diff(seconds) < 30);
    let secret = EnteredSecret::parse(SECRET)?;
    assert_eq!(signature, sign(&secret, Timestamp::from_seconds(seconds), call.body.as_bytes()));
    assert_eq!(call.header("x-sallyport-delivery"), format!("{id}-1"));

    let body = call.json();
    assert_eq!((&body["type"], &body["delivery"]), (&json!("incident.opened"), &json!(format!("{id}-1"))));
    assert_eq!(body["title"], "[SEV1 sallyport-local] availability: opened");
    let incident = &body["incident"];
    assert_eq!((&incident["id"], &incident["state"]), (&json!(id), &json!("open")));
    assert_eq!(incident["alarms"][0]["name"], "service-down");
    assert_eq!(
        incident["runbook"],
        "https://github.com/sallyport/sallyport/blob/main/ops/runbooks/service-down.md"
    );
    assert_eq!(calls[1].json()["type"], "incident.diagnosed");
    Ok(())
}

#[tokio::test]
async fn slack_is_told_in_blocks_whose_text_nobody_can_forge() -> Result<()> {
    let (backend, receiver) = with_webhook("slack").await?;
    let mut event = sns(&backend, "service-down", "ALARM");
    let message =
        event["Records"][0]["Sns"]["Message"].as_str().unwrap().replace("Threshold", "<!channel> & ");
    event["Records"][0]["Sns"]["Message"] = json!(message);
    invoke(&backend, &event).await?.expect(200)?;
    let body = receiver.calls()[0].json();
    assert_eq!(body["text"], "[SEV1 sallyport-local] availability: opened");
    let kinds: Vec<_> = body["blocks"].as_array().unwrap().iter().map(|block| &block["type"]).collect();
    assert_eq!(kinds, ["header", "section", "context", "section"]);
    let text = body["blocks"][1]["text"]["text"].as_str().unwrap();
    assert!(text.contains("&lt;!channel&gt; &amp;") && !text.contains("<!channel>"), "{text}");
    Ok(())
}

#[tokio::test]
async fn pagerduty_has_one_alert_an_incident() -> Result<()> {
    let (backend, receiver) = with_webhook("pagerduty").await?;
    let (_, id) = hear(&backend, "high-error-rate", "ALARM").await?;
    let calls = receiver.calls();
    assert_eq!(calls.len(), 1, "a diagnosis is none of its events");
    let body = calls[0].json();
    assert_eq!(body["routing_key"], SECRET);
    assert_eq!((&body["event_action"], &body["dedup_key"]), (&json!("trigger"), &json!(id)));
    let payload = &body["payload"];
    assert_eq!((&payload["severity"], &payload["source"]), (&json!("error"), &json!("sallyport-local")));
    assert!(payload["summary"].as_str().unwrap().len() <= 1024);
    assert!(payload["timestamp"].as_str().unwrap().ends_with('Z'));
    backend.advance(300).await?;
    tick(&backend).await?;
    let escalated = receiver.calls()[0].json();
    assert_eq!((&escalated["event_action"], &escalated["dedup_key"]), (&json!("trigger"), &json!(id)));
    // What the operator's command has written, the next tick tells.
    backend.acknowledge_incident(&id).await?;
    tick(&backend).await?;
    assert_eq!(receiver.calls()[0].json()["event_action"], "acknowledge");
    hear(&backend, "high-error-rate", "OK").await?;
    backend.resolve_incident(&id).await?;
    tick(&backend).await?;
    let calls = receiver.calls();
    assert_eq!((calls.len(), &calls[0].json()["event_action"]), (1, &json!("resolve")));
    Ok(())
}

#[tokio::test]
async fn a_notification_that_fails_is_tried_again_by_the_tick_until_it_is_taken() -> Result<()> {
    let (backend, receiver) = with_webhook("generic").await?;
    receiver.answer("500 Internal Server Error", "", "");
    let (outcome, _) = hear(&backend, "service-down", "ALARM").await?;
    assert_eq!(outcome, "opened", "the incident does not depend on it");
    // Each of the two notices is tried twice at once.
    assert_eq!(receiver.calls().len(), 4);
    assert_eq!(kept(&backend, "INCIDENT_NOTICE").await?.len(), 2);
    tick(&backend).await?;
    assert_eq!(receiver.calls().len(), 0, "not before a minute has passed");
    backend.advance(60).await?;
    tick(&backend).await?;
    assert_eq!(receiver.calls().len(), 4);
    receiver.answer("204 No Content", "", "");
    backend.advance(120).await?;
    tick(&backend).await?;
    let kinds: BTreeSet<_> = receiver.calls().iter().map(|call| call.json()["type"].to_string()).collect();
    assert_eq!(
        kinds,
        BTreeSet::from(["\"incident.diagnosed\"".to_owned(), "\"incident.opened\"".to_owned()])
    );
    assert!(kept(&backend, "INCIDENT_NOTICE").await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn redirects_are_not_followed_and_plain_http_is_only_for_this_machine() -> Result<()> {
    let (backend, receiver) = with_webhook("generic").await?;
    let elsewhere = Receiver::start().await?;
    receiver.answer("307 Temporary Redirect", &format!("location: {}/stolen\r\n", elsewhere.url), "");
    hear(&backend, "key-age", "ALARM").await?;
    assert!(!receiver.calls().is_empty());
    assert!(elsewhere.calls().is_empty());
    set_webhook(&backend, "http://192.0.2.1/hook", "generic").await?;
    backend.advance(120).await?;
    tick(&backend).await?;
    assert_eq!(kept(&backend, "INCIDENT_NOTICE").await?.len(), 2, "kept until the address is put right");
    let lines = backend.logs().await?;
    let faults: Vec<_> = lines
        .iter()
        .filter(|line| line["line"]["message"] == "not notified")
        .map(|line| line["line"]["fault"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert!(faults.iter().any(|fault| fault.contains("redirects are not followed")), "{faults:?}");
    assert!(faults.iter().any(|fault| fault.contains("https URL")), "{faults:?}");
    Ok(())
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_loses_no_page() -> Result<()> {
    let (backend, receiver) = with_webhook("generic").await?;
    backend.keyring_fault(json!({"kind": "refuse"})).await?;
    assert_eq!(hear(&backend, "service-down", "ALARM").await?.0, "opened");
    assert!(receiver.calls().is_empty());
    backend.heal().await?;
    backend.advance(60).await?;
    tick(&backend).await?;
    assert_eq!(receiver.calls().len(), 2);
    Ok(())
}

#[tokio::test]
async fn the_topic_is_told_in_words() -> Result<()> {
    let topic = Receiver::start().await?;
    let published = "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishResult>\
        <MessageId>1</MessageId></PublishResult></PublishResponse>";
    topic.answer("200 OK", "content-type: text/xml\r\n", published);
    let backend = Backend::with(&[
        ("SALLYPORT_INCIDENT_TOPIC", "arn:aws:sns:us-east-1:123456789012:incidents"),
        ("AWS_ENDPOINT_URL_SNS", &topic.url),
    ])
    .await?;
    let (_, id) = hear(&backend, "service-down", "ALARM").await?;
    let calls = topic.calls();
    assert_eq!(calls.len(), 2);
    let body = &calls[0].body;
    assert!(body.contains("Action=Publish") && body.contains("incidents"), "{body}");
    let subject = "Subject=%5BSEV1%20sallyport-local%5D%20availability%3A%20opened";
    assert!(body.contains(subject), "{body}");
    assert!(body.contains(&format!("sallyport%20incident%20ack%20{id}")), "{body}");
    assert!(kept(&backend, "INCIDENT_NOTICE").await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn an_incident_is_diagnosed_by_the_errors_before_it() -> Result<()> {
    let backend = Backend::start().await?;
    // The alarm's own minute, and a fourteenth that half is gone: the test itself takes time.
    backend.advance(15 * 60 + 30).await?;
    let stranger = backend.actor();
    for _ in 0..3 {
        stranger.try_log_in("nobody@example.com", "wrong").await?.expect(401)?;
    }
    let (_, id) = hear(&backend, "failure-spike", "ALARM").await?;
    let entries = kept(&backend, &format!("INCIDENT#{id}")).await?;
    let diagnosed = entries.iter().find(|entry| entry["kind"] == "diagnosed").context("no diagnosis")?;
    let text = diagnosed["text"].as_str().unwrap_or_default();
    let deployed = "health, keys, login, mfa, refresh changed 14 min before";
    for part in ["invalid_credentials 3", "127.1.", "modes and blocks: ", "deployment: release ", deployed] {
        assert!(text.contains(part), "{part}: {text}");
    }
    Ok(())
}

#[tokio::test]
async fn an_alarm_that_clears_ends_nothing() -> Result<()> {
    let (backend, receiver) = with_webhook("generic").await?;
    let (_, id) = hear(&backend, "service-down", "ALARM").await?;
    receiver.calls();
    backend.advance(300).await?;
    assert_eq!(hear(&backend, "service-down", "OK").await?, ("updated".to_owned(), id.clone()));
    assert_eq!(receiver.calls()[0].json()["type"], "incident.all_clear");
    let incident = &kept(&backend, "INCIDENT").await?[0];
    assert!(incident.get("resolved").is_none());
    assert_eq!(timeline(&backend, &id).await?, ["opened", "diagnosed", "alarm_cleared"]);
    Ok(())
}

#[tokio::test]
async fn what_is_no_alarm_fails_and_says_why() -> Result<()> {
    let backend = Backend::start().await?;
    for event in [
        json!({}),
        json!({"task": "dance"}),
        json!({"Records": [{"Sns": {"TopicArn": "t", "Message": "hi"}}]}),
    ] {
        let answer = invoke(&backend, &event).await?.expect(500)?;
        assert_eq!(answer.json()["error"]["code"], "unknown_event", "{event}");
    }
    assert!(kept(&backend, "INCIDENT").await?.is_empty());
    Ok(())
}

/// The writes of an event, each failing in each way; then the event comes again, as Lambda would have it.
#[tokio::test]
async fn whatever_write_fails_the_event_comes_again_and_takes_effect_once() -> Result<()> {
    let (backend, receiver) = with_webhook("generic").await?;
    let alarms =
        ["service-down", "failure-spike", "slow-responses", "key-age", "rotation-failed", "recovery-off"];
    let mut alarms = alarms.into_iter();
    for kind in ["drop_after", "drop_before", "error_500"] {
        for nth in [1, 2] {
            // The SDK tries four times; a lost reply is lost once.
            let count = if kind == "drop_after" { 1 } else { 4 };
            let alarm = alarms.next().context("an alarm for each")?;
            let event = sns(&backend, alarm, "ALARM");
            let rule = json!({
                "kind": kind, "operation": "TransactWriteItems", "table": "ops", "nth": nth, "count": count,
            });
            backend.fault(rule).await?;
            let answer = invoke(&backend, &event).await?;
            assert_eq!(answer.status == 200, kind == "drop_after", "{kind} {nth}: {answer:?}");
            backend.heal().await?;
            invoke(&backend, &event).await?.expect(200)?;
            backend.advance(180).await?;
            tick(&backend).await?;
            let calls = receiver.calls();
            let told = |what: &str| calls.iter().filter(|call| call.json()["type"] == what).count();
            assert_eq!((told("incident.opened"), told("incident.diagnosed")), (1, 1), "{kind} {nth} {alarm}");
        }
    }
    let opened = audit_kinds(&backend).await?.iter().filter(|kind| *kind == "incident.opened").count();
    assert_eq!((opened, kept(&backend, "INCIDENT").await?.len()), (6, 6));
    Ok(())
}

#[tokio::test]
async fn a_claim_whose_reply_is_lost_still_sends_once() -> Result<()> {
    let (backend, receiver) = with_webhook("generic").await?;
    backend.fault(json!({"kind": "drop_after", "operation": "UpdateItem", "table": "ops"})).await?;
    hear(&backend, "key-age", "ALARM").await?;
    backend.fault(json!({"kind": "drop_after", "operation": "DeleteItem", "table": "ops"})).await?;
    backend.advance(180).await?;
    tick(&backend).await?;
    assert_eq!(receiver.calls().len(), 2);
    assert!(kept(&backend, "INCIDENT_NOTICE").await?.is_empty());
    Ok(())
}

async fn modes(backend: &Backend) -> Result<Value> {
    Ok(kept(backend, "FLAGS").await?.first().map(|item| item["modes"].clone()).unwrap_or_default())
}

#[tokio::test]
async fn a_spike_of_failures_turns_emergency_mode_on_where_the_deployment_allows_it() -> Result<()> {
    let careful = Backend::start().await?;
    hear(&careful, "failure-spike", "ALARM").await?;
    assert_eq!(modes(&careful).await?, Value::Null);

    let backend = Backend::with(&[("SALLYPORT_AUTO_MITIGATION", "emergency")]).await?;
    hear(&backend, "service-down", "ALARM").await?;
    assert_eq!(modes(&backend).await?, Value::Null, "it is no answer to anything else");
    let event = sns(&backend, "failure-spike", "ALARM");
    let answer = invoke(&backend, &event).await?.expect(200)?.json();
    let id = answer["result"]["alarms"][0]["incident"].as_str().unwrap_or_default().to_owned();
    let emergency = modes(&backend).await?["emergency"].clone();
    let lasts = emergency["expires_at"].as_u64().unwrap() - emergency["set_at"].as_u64().unwrap();
    assert_eq!(lasts, 30 * 60 * 1000);
    assert_eq!(timeline(&backend, &id).await?, ["opened", "mitigated", "diagnosed"]);
    invoke(&backend, &event).await?.expect(200)?;
    tick(&backend).await?;
    let set = audit_kinds(&backend).await?.iter().filter(|kind| *kind == "mode.set").count();
    assert_eq!(set, 1);
    Ok(())
}

#[tokio::test]
async fn a_mitigation_whose_write_fails_is_made_by_the_repetition() -> Result<()> {
    let backend = Backend::with(&[("SALLYPORT_AUTO_MITIGATION", "emergency")]).await?;
    let event = sns(&backend, "failure-spike", "ALARM");
    for (kind, count) in [("error_500", 4), ("drop_after", 1)] {
        // The second transaction is the mode's, then it is the first.
        let nth = if kind == "error_500" { 2 } else { 1 };
        let rule = json!({"kind": kind, "operation": "TransactWriteItems", "nth": nth, "count": count});
        backend.fault(rule).await?;
        let status = invoke(&backend, &event).await?.status;
        assert_eq!(status == 200, kind == "drop_after");
        backend.heal().await?;
    }
    tick(&backend).await?;
    assert!(modes(&backend).await?["emergency"].is_object());
    let set = audit_kinds(&backend).await?.iter().filter(|kind| *kind == "mode.set").count();
    assert_eq!(set, 1);
    Ok(())
}
