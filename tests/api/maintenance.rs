//! The tasks of the maintenance function, and the gauges that alarms read.

use std::collections::BTreeSet;

use crate::{
    incidents::{hear, set_webhook},
    prelude::*,
};

async fn task(backend: &Backend, task: &str) -> Result<Value> {
    let answer = backend.console("POST", "invoke/maintenance", Some(json!({"task": task}))).await?;
    Ok(answer.expect(200)?.json()["result"].clone())
}

/// The last value that the functions told CloudWatch.
async fn metric(backend: &Backend, name: &str) -> Result<f64> {
    let lines = backend.logs().await?;
    let line = lines.iter().rev().map(|line| &line["line"]).find(|line| line[name].is_number());
    let line = line.with_context(|| format!("nobody tells {name}"))?;
    let by_deployment = line["_aws"]["CloudWatchMetrics"].as_array().into_iter().flatten().any(|directive| {
        directive["Dimensions"] == json!([["deployment"]])
            && directive["Metrics"].as_array().into_iter().flatten().any(|metric| metric["Name"] == name)
    });
    anyhow::ensure!(by_deployment, "{name} is not told by deployment: {line}");
    line[name].as_f64().context("no number")
}

#[tokio::test]
async fn the_age_of_the_signing_key_is_told() -> Result<()> {
    let backend = Backend::start().await?;
    task(&backend, "key_age").await?;
    assert!(metric(&backend, "signing_key_age_days").await? < 0.1);
    backend.advance_days(100).await?;
    task(&backend, "key_age").await?;
    assert!((metric(&backend, "signing_key_age_days").await? - 100.0).abs() < 0.1);
    Ok(())
}

#[tokio::test]
async fn a_table_without_recovery_is_told_until_it_is_switched_on_again() -> Result<()> {
    let backend = Backend::start().await?;
    let switch = |on: bool| {
        let request = json!({
            "TableName": "sallyport-local-users",
            "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": on},
        });
        let backend = &backend;
        async move { backend.write_past_everything("UpdateContinuousBackups", &request).await }
    };
    for (on, expected) in [(true, 0.0), (false, 1.0), (true, 0.0)] {
        switch(on).await?;
        task(&backend, "recovery_check").await?;
        assert!(metric(&backend, "tables_without_recovery").await?.total_cmp(&expected).is_eq());
        let verified = task(&backend, "backup_verify").await?;
        assert_eq!(verified["ok"], on, "{verified}");
    }
    let proofs = backend.items("Ops").await?;
    assert!(proofs.iter().any(|item| item["pk"] == "PROOF" && item["sk"] == "backup_verify"));
    Ok(())
}

#[tokio::test]
async fn a_topic_that_nobody_listens_to_is_told() -> Result<()> {
    let backend = Backend::start().await?;
    task(&backend, "topic_check").await?;
    assert!(metric(&backend, "unheard_alarm_topics").await?.total_cmp(&0.0).is_eq());
    let topic = "arn:aws:sns:us-east-1:000000000000:sallyport-local-critical";
    let unsubscribe = format!("Action=Unsubscribe&Version=2010-03-31&SubscriptionArn={topic}:1");
    reqwest::Client::new()
        .post(backend.dynamodb_url())
        .header("content-type", "application/x-www-form-urlencoded")
        .body(unsubscribe)
        .send()
        .await?
        .error_for_status()?;
    let checked = task(&backend, "topic_check").await?;
    assert_eq!(checked["topics"], json!([topic]));
    assert!(metric(&backend, "unheard_alarm_topics").await?.total_cmp(&1.0).is_eq());
    Ok(())
}

#[tokio::test]
async fn a_topic_that_only_the_responder_hears_is_unheard_until_the_responder_has_whom_to_tell() -> Result<()>
{
    let incidents = "arn:aws:sns:us-east-1:000000000000:sallyport-local-incidents";
    let start = || {
        let environment = [("SALLYPORT_INCIDENT_TOPIC".to_owned(), incidents.to_owned())].into();
        Backend::start_as(local::Options { environment, ..local::Options::default() })
    };
    let unheard = async |backend: &Backend| -> Result<Value> {
        Ok(task(backend, "topic_check").await?["unheard_alarm_topics"].clone())
    };
    let backend = start().await?;
    assert_eq!(unheard(&backend).await?, 3);
    set_webhook(&backend, "https://hooks.example.com/1", "slack").await?;
    assert_eq!(unheard(&backend).await?, 0);

    let backend = start().await?;
    let subscribe = format!(
        "Action=Subscribe&Version=2010-03-31&TopicArn={incidents}&Protocol=email&Endpoint=ops@example.com"
    );
    reqwest::Client::new()
        .post(backend.dynamodb_url())
        .header("content-type", "application/x-www-form-urlencoded")
        .body(subscribe)
        .send()
        .await?
        .error_for_status()?;
    assert_eq!(unheard(&backend).await?, 0);
    Ok(())
}

#[tokio::test]
async fn sessions_are_counted_as_they_begin_refresh_and_end() -> Result<()> {
    let backend = Backend::start().await?;
    let count = async || -> Result<f64> {
        task(&backend, "session_gauge").await?;
        metric(&backend, "active_sessions").await
    };
    assert!(count().await?.total_cmp(&0.0).is_eq());
    let (one, two) = (backend.account().await?, backend.account().await?);
    let mut first = backend.actor().log_in(&one).await?;
    backend.actor().log_in(&one).await?;
    let mut third = backend.actor().log_in(&two).await?;
    assert!(count().await?.total_cmp(&3.0).is_eq());
    for _ in 0..3 {
        backend.advance(600).await?;
        first.refresh().await?;
    }
    assert!(count().await?.total_cmp(&3.0).is_eq(), "a refresh is the same session");
    third.refresh().await?;
    third.log_out("local").await?.expect(204)?;
    assert!(count().await?.total_cmp(&2.0).is_eq());
    backend.revoke_sessions(&one).await?;
    assert!(count().await?.total_cmp(&0.0).is_eq());
    // Sessions that end by themselves are counted out without a write.
    let mut last = backend.actor().log_in(&two).await?;
    backend.advance_days(13).await?;
    assert!(count().await?.total_cmp(&1.0).is_eq());
    last.refresh().await?;
    backend.advance_days(13).await?;
    assert!(count().await?.total_cmp(&1.0).is_eq());
    backend.advance_days(2).await?;
    assert!(count().await?.total_cmp(&0.0).is_eq());
    Ok(())
}

#[tokio::test]
async fn a_batch_that_comes_again_counts_once_whatever_failed() -> Result<()> {
    for kind in ["drop_after", "drop_before", "error_500", "throttle"] {
        let backend = Backend::start().await?;
        let account = backend.account().await?;
        backend.actor().log_in(&account).await?;
        backend.fault(json!({"kind": kind, "operation": "TransactWriteItems", "count": 4})).await?;
        let mut counted = None;
        for _ in 0..3 {
            let event = json!({"task": "session_gauge"});
            let answer = backend.console("POST", "invoke/maintenance", Some(event)).await?;
            if answer.status == 200 {
                counted = answer.json()["result"]["active_sessions"].as_u64();
                break;
            }
        }
        assert_eq!(counted, Some(1), "{kind}");
    }
    Ok(())
}

/// A batch of the sessions' stream, of a shard.
fn batch(shard: &str, sequence: &str, ends: u64) -> Value {
    let millis = json!({"N": (ends * 1000).to_string()});
    let image = json!({"user_id": {"S": "usr_1"}, "s_1": {"M": {"i": millis, "a": millis}}});
    let record =
        json!({"eventSourceARN": "arn:local", "dynamodb": {"SequenceNumber": sequence, "NewImage": image}});
    json!({"Records": [record], "shardId": shard})
}

/// A stream replaces its shards every few hours, for ever.
#[tokio::test]
async fn shards_that_the_stream_has_replaced_are_forgotten_and_those_in_use_are_not() -> Result<()> {
    let backend = Backend::start().await?;
    let shards = async || -> Result<Vec<String>> {
        task(&backend, "session_gauge").await?;
        let items = backend.items("Ops").await?;
        let names = items.iter().filter_map(|item| item["sk"].as_str()?.strip_prefix("SHARD#"));
        Ok(names.filter(|name| name.starts_with("shard-")).map(str::to_owned).collect())
    };
    // As the release before this one wrote them: nothing says when.
    let table = &backend.environment()["SALLYPORT_OPS_TABLE"];
    for number in 0..150 {
        let sort = format!("SHARD#shard-old-{number:03}");
        let item = json!({"pk": {"S": "GAUGE"}, "sk": {"S": sort}, "v": {"N": "1"}, "last": {"S": "100"}});
        backend.write_past_everything("PutItem", &json!({"TableName": table, "Item": item})).await?;
    }
    let ends = backend.now() + 13 * 24 * 60 * 60;
    for number in 0..150 {
        let event = batch(&format!("shard-new-{number:03}"), "100", ends);
        backend.invoke("maintenance", &event).await?.expect(200)?;
    }
    assert_eq!(shards().await?.len(), 300);
    backend.advance_days(2).await?;
    // Within the time in which a batch may come again, none counts twice.
    backend.invoke("maintenance", &batch("shard-new-007", "100", ends)).await?.expect(200)?;
    assert_eq!(shards().await?.len(), 300);
    assert!(metric(&backend, "active_sessions").await?.total_cmp(&150.0).is_eq());
    backend.invoke("maintenance", &batch("shard-new-007", "200", ends)).await?.expect(200)?;
    backend.advance_days(1).await?;
    assert_eq!(shards().await?, ["shard-new-007"]);
    assert!(metric(&backend, "active_sessions").await?.total_cmp(&151.0).is_eq(), "what they counted stays");
    Ok(())
}

async fn scratch_tables(backend: &Backend) -> Result<Vec<Value>> {
    let listed = backend.write_past_everything("ListTables", &json!({})).await?;
    let names = listed["TableNames"].as_array().cloned().unwrap_or_default();
    Ok(names.into_iter().filter(|name| name.as_str().is_some_and(|name| name.contains("-drill-"))).collect())
}

#[tokio::test]
async fn a_restore_drill_signs_in_out_of_the_copy_and_leaves_a_proof_and_no_tables() -> Result<()> {
    let backend = Backend::start().await?;
    backend.account_with_totp().await?;
    let done = task(&backend, "restore_drill").await?;
    assert_eq!(done["standing"], "proven", "{done}");
    let report = &done["report"];
    assert_eq!((&report["method"], &report["canary_signed_in"]), (&json!("copy"), &json!(true)));
    // Two accounts with two items each, a factor and its recovery codes.
    assert_eq!(report["items"]["users"], 6, "{report}");
    assert_eq!(report["keys_in_use"], json!(["aead:1", "pepper:1"]));
    assert_eq!(scratch_tables(&backend).await?, Vec::<Value>::new());
    assert!(metric(&backend, "restore_proof_age_hours").await? < 0.1);
    assert_eq!(task(&backend, "restore_drill").await?["standing"], "not_due");
    backend.advance_days(6).await?;
    task(&backend, "restore_drill").await?;
    assert!((metric(&backend, "restore_proof_age_hours").await? - 144.0).abs() < 0.5);
    backend.advance_days(2).await?;
    assert_eq!(task(&backend, "restore_drill").await?["standing"], "proven");
    let events = backend.items("Audit").await?;
    assert_eq!(events.iter().filter(|event| event["kind"] == "restore.proven").count(), 2);
    Ok(())
}

#[tokio::test]
async fn a_damaged_item_fails_the_drill_and_the_tables_go_all_the_same() -> Result<()> {
    let backend = Backend::start().await?;
    backend.account().await?;
    let item = json!({"pk": {"S": "EMAIL#damaged@example.com"}, "sk": {"S": "LOGIN"}, "v": {"N": "1"}});
    backend
        .write_past_everything("PutItem", &json!({"TableName": "sallyport-local-users", "Item": item}))
        .await?;
    let done = task(&backend, "restore_drill").await?;
    assert_eq!(done["standing"], "failed", "{done}");
    assert_eq!(done["report"]["findings"], json!(["1 items do not read"]));
    assert_eq!(scratch_tables(&backend).await?, Vec::<Value>::new());
    let proofs = backend.items("Ops").await?;
    assert!(proofs.iter().any(|item| item["sk"] == "restore_drill_failed"));
    assert!(!proofs.iter().any(|item| item["sk"] == "restore_drill"));
    Ok(())
}

#[tokio::test]
async fn a_drill_that_is_interrupted_anywhere_goes_on_and_leaves_no_tables() -> Result<()> {
    for kind in ["drop_after", "drop_before", "error_500"] {
        for operation in [
            "PutItem",
            "TransactWriteItems",
            "CreateTable",
            "Scan",
            "BatchWriteItem",
            "DescribeTable",
            "DeleteTable",
        ] {
            let backend = Backend::start().await?;
            backend.fault(json!({"kind": kind, "operation": operation, "count": 4})).await?;
            let mut standing = Value::Null;
            for _ in 0..4 {
                let event = json!({"task": "restore_drill"});
                let answer = backend.console("POST", "invoke/maintenance", Some(event)).await?;
                standing = answer.json()["result"]["standing"].clone();
                if standing == "proven" || standing == "failed" {
                    break;
                }
                // Whoever was interrupted may have died with the lease.
                backend.advance(17 * 60).await?;
            }
            assert!(standing == "proven" || standing == "failed", "{kind} {operation}: {standing}");
            assert_eq!(scratch_tables(&backend).await?, Vec::<Value>::new(), "{kind} {operation}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_old_incident_that_does_not_read_stays_and_is_told_and_keeps_no_other() -> Result<()> {
    let backend = Backend::start().await?;
    let damaged = json!({
        "TableName": backend.environment()["SALLYPORT_OPS_TABLE"],
        "Item": {"pk": {"S": "INCIDENT"}, "sk": {"S": "inc_0000000000000000"}, "v": {"N": "1"}},
    });
    backend.write_past_everything("PutItem", &damaged).await?;
    let (_, over) = hear(&backend, "key-age", "ALARM").await?;
    backend.advance(60).await?;
    hear(&backend, "key-age", "OK").await?;
    backend.resolve_incident(&over).await?;
    backend.advance_days(401).await?;
    // Its cause, too, leads nobody knows where: first it stays as well, then that is mended.
    let pointer = |open: Value| {
        json!({
            "TableName": backend.environment()["SALLYPORT_OPS_TABLE"],
            "Item": {
                "pk": {"S": "INCIDENT_CAUSE"}, "sk": {"S": "key-age"}, "v": {"N": "1"},
                "incident": {"S": over.as_str()}, "open": open,
            },
        })
    };
    backend.write_past_everything("PutItem", &pointer(json!({"S": "no"}))).await?;
    let report = task(&backend, "retention").await?;
    assert_eq!(report["incidents_forgotten"], json!([]), "{report}");
    assert_eq!(report["problems"].as_array().map(Vec::len), Some(2), "{report}");
    backend.write_past_everything("PutItem", &pointer(json!({"BOOL": false}))).await?;
    for forgotten in [json!([over]), json!([])] {
        let report = task(&backend, "retention").await?;
        assert_eq!((&report["ok"], &report["incidents_forgotten"]), (&json!(false), &forgotten));
        let problems = report["problems"].as_array().cloned().unwrap_or_default();
        assert!(problems.len() == 1 && problems[0].to_string().contains("INCIDENT"), "{report}");
    }
    Ok(())
}

/// Who leads to what: incidents, causes and timelines by their keys.
async fn incidents_kept(backend: &Backend) -> Result<BTreeSet<(String, String)>> {
    let text = |item: &Value, name: &str| item[name].as_str().unwrap_or_default().to_owned();
    let items = backend.items("Ops").await?;
    let keys = items.iter().map(|item| (text(item, "pk"), text(item, "sk")));
    Ok(keys.filter(|(kind, _)| kind.starts_with("INCIDENT")).collect())
}

#[tokio::test]
async fn an_incident_is_forgotten_400_days_after_it_was_over_and_one_that_is_open_never() -> Result<()> {
    let backend = Backend::start().await?;
    let (_, open) = hear(&backend, "slow-responses", "ALARM").await?;
    let before = incidents_kept(&backend).await?;
    let (_, over) = hear(&backend, "key-age", "ALARM").await?;
    backend.advance(60).await?;
    hear(&backend, "key-age", "OK").await?;
    backend.advance_days(1).await?;
    backend.resolve_incident(&over).await?;

    backend.advance(400 * 86_400 - 3600).await?;
    assert_eq!(task(&backend, "retention").await?["incidents_forgotten"], json!([]));
    let all = incidents_kept(&backend).await?;
    backend.advance(3600).await?;
    // Two at once, and each once more: it is told once.
    let (one, other) = tokio::join!(task(&backend, "retention"), task(&backend, "retention"));
    let told: Vec<_> = [one?, other?]
        .iter()
        .flat_map(|report| report["incidents_forgotten"].as_array().cloned().unwrap_or_default())
        .collect();
    assert_eq!(told, [json!(over)]);
    assert_eq!(task(&backend, "retention").await?["incidents_forgotten"], json!([]));
    let kept = incidents_kept(&backend).await?;
    let gone: BTreeSet<_> = all.difference(&kept).map(|(kind, sort)| format!("{kind} {sort}")).collect();
    assert!(gone.iter().all(|key| key.contains(&over) || key == "INCIDENT_CAUSE key-age"), "{gone:?}");
    assert!(gone.len() > 3, "{gone:?}");
    assert!(before.is_subset(&kept) && kept.iter().any(|(_, sort)| *sort == open), "{kept:?}");

    let forgotten = backend.items("Audit").await?;
    let forgotten: Vec<_> = forgotten.iter().filter(|event| event["kind"] == "incident.forgotten").collect();
    assert_eq!(forgotten.len(), 1, "{forgotten:?}");
    assert_eq!(
        (&forgotten[0]["detail"], &forgotten[0]["actor"]),
        (&json!(over), &json!("function maintenance"))
    );

    // The cause that leads nowhere now leads to the next incident.
    let (outcome, again) = hear(&backend, "key-age", "ALARM").await?;
    assert_eq!(outcome, "opened");
    assert_ne!(again, over);
    let proofs = backend.items("Ops").await?;
    assert!(proofs.iter().any(|item| item["pk"] == "PROOF" && item["sk"] == "retention"));
    Ok(())
}
