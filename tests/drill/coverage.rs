//! Every alarm has a drill and a page, and every metric that an alarm reads is one that somebody writes.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Result, ensure};
use sallyport_alarms::{Dimensions, Parameters, Series, Template, schedules};
use sallyport_operations::metrics::is_rare;
use serde_json::json;

use crate::drill::{Drill, TEMPLATE};

const DRILLS: [&str; 7] = [
    include_str!("attacks.rs"),
    include_str!("availability.rs"),
    include_str!("first_day.rs"),
    include_str!("mitigations.rs"),
    include_str!("performance.rs"),
    include_str!("platform.rs"),
    include_str!("upkeep.rs"),
];

fn template() -> Template {
    Template::of_the_stack(&Parameters::new()).unwrap()
}

/// The alarms that the drills are about, and those that they say tell somebody.
fn drilled() -> BTreeSet<String> {
    let marks = [
        "alarm: \"",
        "tells: \"",
        "alone(\"",
        "degrading(\"",
        "hourly(\"",
        "\"}), \"",
        "DEGRADED: &str = \"",
    ];
    let mut found = BTreeSet::new();
    for text in DRILLS {
        for mark in marks {
            for rest in text.split(mark).skip(1) {
                found.insert(rest.split('"').next().unwrap_or_default().to_owned());
            }
        }
    }
    // Whom the test harness names in general.
    found.extend(["database-throttles", "database-system-errors"].map(str::to_owned));
    found
}

#[test]
fn every_alarm_has_a_drill() {
    let drilled = drilled();
    let missing: Vec<_> = template()
        .alarms
        .into_iter()
        .map(|alarm| alarm.short)
        .filter(|name| !drilled.contains(name))
        .collect();
    assert!(missing.is_empty(), "no drill makes these fire: {missing:?}");
}

/// Alarms that the commands of their page silence while the cause goes on, with where that is drilled.
const MITIGATED: [(&str, &str); 10] = [
    ("failure-spike", "mitigations.rs"),
    ("mfa-bypass-attempts", "mitigations.rs"),
    ("lockouts-rising", "mitigations.rs"),
    ("limiter-triggers", "mitigations.rs"),
    ("database-throttles", "mitigations.rs"),
    ("database-system-errors", "mitigations.rs"),
    // Beside failure-spike.
    ("low-success-rate", "mitigations.rs"),
    ("restore-proof-old", "upkeep.rs"),
    ("key-age", "upkeep.rs"),
    ("slow-responses", "`sallyport gameday run slow-database`"),
];

/// Alarms that end with their cause alone, with why no command of ours ends them before.
const REPAIRED: [(&str, &str); 19] = [
    ("service-down", "the probe asks whether the dependency is back"),
    ("high-error-rate", "what is refused at once, in a mode, is an error all the same"),
    ("api-server-errors", "as high-error-rate"),
    ("elevated-error-rate", "as high-error-rate"),
    ("function-errors", "a release or a setting must change"),
    ("upkeep-errors", "what the tasks call must be back, or a release must change"),
    ("function-throttles", "a quota or a reservation must change"),
    ("function-timeouts", "Lambda cuts off what hangs; a mode spares callers the wait"),
    ("concurrency-high", "a quota must change, or failure-spike's page ends the attack"),
    ("telemetry-broken", "a release must change"),
    ("low-cache-hit-ratio", "the copies serve on until Secrets Manager is back"),
    ("refresh-token-reuse", "the first reuse has ended the session already"),
    ("suspicious-activity", "tokens that were made up get nobody anywhere"),
    ("rotation-failed", "Secrets Manager repeats the step"),
    ("recovery-off", "its drill makes the call of its page's `aws` command"),
    ("alarm-topic-unheard", "its drill makes the call of its page's `aws` command"),
    ("page-availability", "follows its children"),
    ("page-attack", "follows its children"),
    ("degraded-performance", "follows its children"),
];

#[test]
fn every_alarm_is_silenced_by_its_page_or_is_known_to_end_with_its_cause_alone() {
    let known: Vec<_> = MITIGATED.iter().chain(&REPAIRED).map(|(name, _)| (*name).to_owned()).collect();
    let (mut sorted, mut alarms) =
        (known, template().alarms.into_iter().map(|alarm| alarm.short).collect::<Vec<_>>());
    sorted.sort();
    alarms.sort();
    assert_eq!(sorted, alarms);
}

#[test]
fn every_alarm_has_a_page() {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runbooks");
    let missing: Vec<_> = template()
        .alarms
        .into_iter()
        .map(|alarm| alarm.short)
        .filter(|name| !pages.join(format!("{name}.md")).is_file())
        .collect();
    assert!(missing.is_empty(), "without a page in ops/runbooks: {missing:?}");
}

/// The functions of the template, and whether callers of the API wait for them.
fn functions() -> Vec<(String, bool)> {
    let mut found = Vec::new();
    for part in TEMPLATE.split("BuildProperties: {Binary: ").skip(1) {
        let name = part.split('}').next().unwrap().to_owned();
        let its_own = part.split("Type: AWS::Logs::LogGroup").next().unwrap();
        found.push((name, its_own.contains("{Type: Api,")));
    }
    found
}

/// A function that is added to the stack is watched.
#[test]
fn every_function_stands_in_the_alarms_on_functions() {
    let functions = functions();
    assert!(functions.len() >= 6 && functions.iter().filter(|(_, api)| *api).count() >= 5, "{functions:?}");
    for (names, watches) in [
        // A crash of what callers wait for is an outage, one of what nobody waits for is not.
        (&["function-errors"][..], &[true][..]),
        (&["upkeep-errors"], &[false]),
        (&["function-throttles"], &[true, false]),
        (&["function-timeouts"], &[true]),
        (&["concurrency-high"], &[true]),
    ] {
        let template = template();
        let watched: BTreeSet<_> = names
            .iter()
            .flat_map(|name| template.alarm(name).unwrap().metric().unwrap().metrics())
            .map(|metric| metric.series.dimensions["FunctionName"].clone())
            .collect();
        let wanted = functions.iter().filter(|(_, api)| watches.contains(api));
        let wanted: BTreeSet<_> = wanted.map(|(function, _)| format!("sallyport-local-{function}")).collect();
        assert_eq!(watched, wanted, "{names:?}");
    }
}

/// What AWS publishes by itself: the names of the dimensions of each metric.
const PLATFORM: [(&str, &str, &[&str]); 12] = [
    ("AWS/ApiGateway", "Count", &["ApiName", "Stage"]),
    ("AWS/ApiGateway", "4XXError", &["ApiName", "Stage"]),
    ("AWS/ApiGateway", "5XXError", &["ApiName", "Stage"]),
    ("AWS/Lambda", "Errors", &["FunctionName"]),
    ("AWS/Lambda", "Throttles", &["FunctionName"]),
    ("AWS/Lambda", "Duration", &["FunctionName"]),
    ("AWS/Lambda", "ConcurrentExecutions", &["FunctionName"]),
    ("AWS/DynamoDB", "ReadThrottleEvents", &["TableName"]),
    ("AWS/DynamoDB", "WriteThrottleEvents", &["TableName"]),
    ("AWS/DynamoDB", "SystemErrors", &["Operation", "TableName"]),
    ("AWS/Logs", "EMFParsingErrors", &["LogGroupName"]),
    ("AWS/Logs", "EMFValidationErrors", &["LogGroupName"]),
];

const LOG_GROUPS: &str = include_str!("../../infra/logs.yaml");

fn is_published(series: &Series) -> bool {
    let names: Vec<&str> = series.dimensions.keys().map(String::as_str).collect();
    let known = PLATFORM.iter().any(|(namespace, metric, dimensions)| {
        *namespace == series.namespace && *metric == series.metric && *dimensions == names
    });
    let exists = |(name, value): (&String, &String)| match name.as_str() {
        "ApiName" => value == "sallyport-local",
        "Stage" => value == "local",
        "FunctionName" => {
            let function = value.strip_prefix("sallyport-local-").unwrap_or_default();
            functions().iter().any(|(known, _)| known == function)
        }
        "LogGroupName" => {
            let function = value.strip_prefix("/sallyport/sallyport-local/").unwrap_or_default();
            LOG_GROUPS.contains(&format!("LogGroupName: !Sub \"/sallyport/${{Deployment}}/{function}\""))
        }
        "TableName" => {
            let table = value.strip_prefix("sallyport-local-").unwrap_or_default();
            ["users", "sessions", "throttle", "outbox", "audit", "ops"].contains(&table)
        }
        "Operation" => ["GetItem", "PutItem", "UpdateItem", "TransactWriteItems"].contains(&value.as_str()),
        _ => false,
    };
    known && series.dimensions.iter().all(exists)
}

/// A wrong dimension is no error in CloudWatch: the alarm just never fires.
#[tokio::test]
async fn every_metric_that_an_alarm_reads_is_written_with_those_dimensions() -> Result<()> {
    let mut drill = Drill::start().await?;
    let account = drill.world.backend.account_with_totp().await?;
    drill
        .minutes(1, async |world| {
            let actor = world.backend.actor();
            let session =
                actor.begin_log_in(&account).await?.verify_with_totp(&world.backend, &account).await?;
            world.backend.console("POST", "rotate", None).await?.expect(200)?;
            session.try_reauthenticate(&json!({"password": account.password})).await?.expect(200)?;
            world.get("/.well-known/jwks.json", 1, 1).await.map(drop)
        })
        .await?;
    drill.world.backend.fault(json!({"kind": "refuse", "table": "throttle"})).await?;
    drill
        .minutes(1, async |world| {
            let account = &world.account;
            world.actor.try_log_in(&account.email, &account.password).await?.expect(503).map(drop)
        })
        .await?;
    drill.world.backend.heal().await?;
    drill.world.backend.set_mode("maintenance", 3600).await?;
    drill.minutes(1, async |world| world.actor.try_refresh("spr_AAAA").await?.expect(503).map(drop)).await?;
    let mut unwritten = BTreeSet::new();
    for alarm in template().alarms {
        for metric in alarm.metric().into_iter().flat_map(|alarm| alarm.metrics()) {
            let series = &metric.series;
            if !drill.evaluator().has_data(series) && !is_published(series) {
                unwritten.insert(format!("{} reads {series}", alarm.short));
            }
        }
    }
    ensure!(unwritten.is_empty(), "nobody writes this: {unwritten:#?}");
    Ok(())
}

/// A count of which 0 is not written has gaps, and an alarm on it would look back past them and clear late.
#[test]
fn no_alarm_reads_a_count_that_is_not_written_where_it_is_nothing() {
    for alarm in template().alarms {
        for metric in alarm.metric().into_iter().flat_map(|alarm| alarm.metrics()) {
            let rare = metric.series.namespace == "Sallyport" && is_rare(&metric.series.metric);
            assert!(!rare, "{} reads {}", alarm.short, metric.series);
        }
    }
}

#[test]
fn a_metric_under_other_dimensions_is_not_published() {
    let series = |dimensions: &[(&str, &str)]| Series {
        namespace: "AWS/Lambda".to_owned(),
        metric: "Errors".to_owned(),
        dimensions: dimensions
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<Dimensions>(),
    };
    assert!(is_published(&series(&[("FunctionName", "sallyport-local-login")])));
    assert!(!is_published(&series(&[("FunctionName", "login")])));
    assert!(!is_published(&series(&[("Function", "sallyport-local-login")])));
    assert!(!is_published(&series(&[])));
}

/// The probe that service-down listens to is an event that the function understands.
#[tokio::test]
async fn the_schedule_of_the_probe_asks_whether_the_service_is_ready() -> Result<()> {
    let probe = schedules(TEMPLATE)?.into_iter().find(|schedule| schedule.function == "health");
    let probe = probe.unwrap();
    assert_eq!(probe.every, 60);
    let drill = Drill::start().await?;
    let answer = drill.world.backend.invoke("health", &probe.input).await?.expect(200)?;
    ensure!(answer.field("result")["statusCode"] == 200, "{}", answer.text());
    ensure!(answer.text().contains("ready"), "{}", answer.text());
    Ok(())
}
