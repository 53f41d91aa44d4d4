use serde_json::{Value, json};

use crate::{
    logs::{cloudwatch, insights, queries},
    stack::{OUTPUTS, answering, bare, described},
    support::{Empty, PASSWORD, Shell, World},
};

/// What the logs are asked for.
const COUNTED: [&str; 7] = [
    "requests",
    "errors",
    "authentication failures",
    "lockouts",
    "limiter triggers",
    "suspicious events",
    "sign-ins after failures",
];
/// And what differs from run to run.
const MEASURED: [&str; 2] = ["response time", "cold starts"];

fn figure<'a>(review: &'a Value, name: &str) -> &'a Value {
    review["figures"].as_array().unwrap().iter().find(|figure| figure["name"] == name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_has_the_tasks_of_its_period_and_live_figures() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    for (period, tasks) in [("daily", 18), ("weekly", 18), ("monthly", 12)] {
        let review = world.shell.run(&format!("review {period} --json"))?.json(0)?;
        assert_eq!(review["tasks"].as_array().unwrap().len(), tasks, "{period}");
        let users = figure(&review, "users");
        assert_eq!(users["value"]["state"], "ACTIVE");
        assert!(users["value"]["items"].as_i64().unwrap() > 0, "{users}");
        assert!(figure(&review, "signing key")["value"]["age_seconds"].is_u64());
        assert_eq!(figure(&review, "incidents")["value"]["open"], Value::Array(Vec::new()));
    }
    let shown = world.shell.run("review daily")?.stdout;
    assert!(shown.starts_with("daily review of the environment, "), "{shown}");
    assert!(shown.contains("maintenance") && shown.contains("sallyport backup verify"), "{shown}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_figure_that_cannot_be_had_says_so_and_leaves_the_others() -> anyhow::Result<()> {
    let Empty { shell, _running } = Empty::start().await?;
    let shell = shell.with("SALLYPORT_SESSIONS_TABLE", "of-another-stack");
    let review = shell.run("review weekly --json")?.json(0)?;
    let sessions = figure(&review, "sessions");
    assert_eq!((&sessions["value"], &sessions["attention"]), (&Value::Null, &Value::from(true)));
    assert!(figure(&review, "keyring")["problem"].as_str().unwrap().contains("sallyport keys init"));
    assert_eq!(figure(&review, "users")["value"]["state"], "ACTIVE");
    for name in COUNTED.into_iter().chain(MEASURED).chain(["health"]) {
        let figure = figure(&review, name);
        assert_eq!((&figure["value"], &figure["attention"]), (&Value::Null, &Value::from(true)), "{name}");
        assert!(figure["problem"].is_string(), "{figure}");
    }
    let shown = shell.run("review weekly")?.stdout;
    assert!(row(&shown, "lockouts").starts_with("security lockouts not available: http"), "{shown}");
    Ok(())
}

/// The line of a figure, its columns a space apart.
fn row(shown: &str, name: &str) -> String {
    let line =
        shown.lines().find(|line| line.split("  ").any(|cell| cell.trim() == name)).unwrap_or_default();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The values of what the logs are asked for, a line each.
fn counted(review: &Value) -> String {
    let of = |name: &&str| {
        let mut value = figure(review, name)["value"].clone();
        if let Some(at) = value.get_mut("first_at").filter(|at| at.is_u64()) {
            *at = "[epoch]".into();
        }
        format!("{name}: {value}")
    };
    COUNTED.iter().map(of).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_counts_by_the_backends_own_clock_who_was_refused() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    let tokens = world.sign_in(PASSWORD).await?.1;
    for _ in 0..5 {
        assert_eq!(world.sign_in("not it").await?.0, 401);
    }
    assert_eq!(world.sign_in(PASSWORD).await?.0, 429);
    assert_eq!(world.refresh(&tokens).await?, 200);
    world.post("/_local/clock", None, &json!({"advance_seconds": 3 * 60 * 60})).await?;
    assert_eq!(world.refresh(&tokens).await?, 401);
    world.fault(&json!({"kind": "refuse", "function": "login"})).await?;
    assert_eq!(world.sign_in(PASSWORD).await?.0, 503);

    let review = world.shell.run("review daily --json")?.json(0)?;
    insta::assert_snapshot!(counted(&review), @r#"
    requests: {"first_at":"[epoch]","requests":10}
    errors: {"errors":1,"rate":0.1,"requests":10}
    authentication failures: {"codes":0,"reauthentications":0,"sign_ins":5}
    lockouts: {"factors":0,"sign_ins":1}
    limiter triggers: 1
    suspicious events: 1
    sign-ins after failures: 1
    "#);
    let p95 = figure(&review, "response time")["value"]["p95_ms"].as_u64();
    assert!(p95.is_some_and(|p95| (1..60_000).contains(&p95)), "{p95:?}");
    let starts = figure(&review, "cold starts")["value"]["starts"].as_u64();
    assert!(starts.is_some_and(|starts| starts <= 10), "{starts:?}");
    let shown = world.shell.run("review daily")?.stdout;
    assert!(
        row(&shown, "response time")
            .starts_with("application response time 95 % of the requests in 24h within "),
        "{shown}"
    );
    assert!(row(&shown, "cold starts").contains(" of 11 requests in 24h, "), "{shown}");
    let rows = COUNTED.map(|name| row(&shown, name)).join("\n");
    // The first review has asked for the health, too.
    insta::assert_snapshot!(rows, @r"
    application requests 11 in 24h, the first 3 h ago
    application errors 1 of 11 requests in 24h, 9.09 %
    security authentication failures 5 in 24h: 5 of sign-ins, 0 of codes, 0 of reauthentications
    security lockouts 1 in 24h: 1 of sign-ins, 0 of factors
    security limiter triggers 1 in 24h
    security suspicious events 1 in 24h look at this
    security sign-ins after failures 1 in 24h from where many failed: sallyport top entered --since 24h look at this
    ");

    world.post("/_local/clock", None, &json!({"advance_seconds": 2 * 86_400})).await?;
    let later = world.shell.run("review daily --json")?.json(0)?;
    assert_eq!(figure(&later, "errors")["value"]["errors"], 0, "they are of another day");
    let week = world.shell.run("review weekly --json")?.json(0)?;
    assert_eq!(figure(&week, "errors")["value"]["errors"], 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_says_whether_the_service_answers() -> anyhow::Result<()> {
    let world = World::start().await?;
    let health = || anyhow::Ok(figure(&world.shell.run("review daily --json")?.json(0)?, "health").clone());
    let up = health()?;
    assert_eq!((&up["value"]["ready"], &up["attention"]), (&Value::from(true), &Value::from(false)));
    world.fault(&json!({"kind": "refuse", "table": "sessions", "function": "health"})).await?;
    let down = health()?;
    assert_eq!((&down["value"]["ready"], &down["attention"]), (&Value::from(false), &Value::from(true)));
    let shown = world.shell.run("review daily")?.stdout;
    let health = row(&shown, "health");
    assert!(health.starts_with("application health down: ") && health.contains("sessions"), "{shown}");
    Ok(())
}

/// A shell that knows the stack `prod` alone, whose logs are at `logs`.
fn cloud(shell: Shell, logs: &str) -> anyhow::Result<Shell> {
    let api = answering(200, "application/json", r#"{"status":"ready"}"#)?;
    let outputs: Vec<_> = OUTPUTS.into_iter().chain([("Issuer", api.as_str())]).collect();
    let shell = bare(shell, &answering(200, "text/xml", &described(&outputs))?);
    Ok(shell.with("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", logs))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_review_of_a_stack_asks_logs_insights_with_the_saved_queries() -> anyhow::Result<()> {
    let Empty { shell, _running } = Empty::filled().await?;
    let (url, asked) = insights(&[
        ("answered", "1.2E7"),
        ("failed", "240000"),
        ("p95_ms", "87.4321"),
        ("starts", "6000"),
        ("sign_ins_refused", "120"),
        ("sign_ins_locked", "3"),
        ("limited", "many"),
        ("suspicious", "0"),
        ("first_seen", "2026-07-31 14:03:11.123"),
    ])?;
    let review = cloud(shell, &url)?.run("--stack prod review weekly --json")?.json(0)?;
    insta::assert_snapshot!(counted(&review), @r#"
    requests: {"first_at":"[epoch]","requests":12000000}
    errors: {"errors":240000,"rate":0.02,"requests":12000000}
    authentication failures: {"codes":0,"reauthentications":0,"sign_ins":120}
    lockouts: {"factors":0,"sign_ins":3}
    limiter triggers: null
    suspicious events: 0
    sign-ins after failures: 0
    "#);
    assert_eq!(figure(&review, "requests")["value"]["first_at"], 1_785_506_591);
    assert_eq!(figure(&review, "errors")["attention"], true, "a rate of 2 %");
    assert_eq!(figure(&review, "response time")["value"], json!({"p95_ms": 87}));
    assert_eq!(figure(&review, "cold starts")["value"], json!({"starts": 6000, "rate": 0.0005}));
    let limited = &figure(&review, "limiter triggers")["problem"];
    assert_eq!(limited, "the logs answer many where a number should be");
    let asked_with = [
        include_str!("../../../../infra/queries/review.logs").to_owned(),
        include_str!("../../../../infra/queries/failures-by-address.logs").replace("limit 25", "limit 10000"),
        include_str!("../../../../infra/queries/failures-by-device.logs").replace("limit 25", "limit 10000"),
    ];
    assert_eq!(queries(&asked), asked_with);
    let asked = asked.lock().unwrap();
    let (_, query) = asked.iter().find(|(operation, _)| operation == "StartQuery").unwrap();
    assert_eq!(query["endTime"].as_i64().unwrap() - query["startTime"].as_i64().unwrap(), 7 * 86_400);
    Ok(())
}

/// A day of an attack looks like one, and who got in stands out.
#[tokio::test(flavor = "multi_thread")]
async fn a_review_after_an_attack_marks_what_it_left() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    for number in 0..60 {
        let victim = format!("victim{}@example.com", number % 12);
        world.sign_in_from("127.66.0.7", &victim, "stolen").await?;
    }
    assert_eq!(world.sign_in_from("127.66.0.9", "ada@example.com", PASSWORD).await?, 200);
    let review = world.shell.run("review daily --json")?.json(0)?;
    for name in ["authentication failures", "lockouts", "sign-ins after failures"] {
        assert_eq!(figure(&review, name)["attention"], true, "{name}: {review}");
    }
    assert_eq!(figure(&review, "sign-ins after failures")["value"], 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_stack_has_counted_nothing_and_one_whose_logs_are_away_has_no_counts() -> anyhow::Result<()> {
    let Empty { shell, _running } = Empty::filled().await?;
    let groups = json!({"logGroups": [{"logGroupName": "/sallyport/prod/login"}]});
    let answers = |end: Value| {
        cloudwatch(&[
            ("DescribeLogGroups", std::slice::from_ref(&groups)),
            ("StartQuery", &[json!({"queryId": "q-1"})]),
            ("GetQueryResults", &[end]),
        ])
    };
    let (quiet, _) = answers(json!({"status": "Complete", "results": []}))?;
    let shell = cloud(shell, &quiet)?;
    let review = shell.run("--stack prod review daily --json")?.json(0)?;
    assert_eq!(figure(&review, "errors")["value"], json!({"errors": 0, "requests": 0, "rate": null}));
    assert_eq!(figure(&review, "response time")["value"], json!({"p95_ms": null}));
    assert_eq!(figure(&review, "cold starts")["value"], json!({"starts": 0, "rate": null}));

    let (away, _) = answers(json!({"status": "Failed"}))?;
    let shell = shell.with("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", &away);
    let review = shell.run("--stack prod review daily --json")?.json(0)?;
    for name in COUNTED.into_iter().chain(MEASURED) {
        assert_eq!(figure(&review, name)["problem"], "the query of the logs ended as Failed", "{name}");
    }
    assert_eq!(figure(&review, "users")["value"]["state"], "ACTIVE");
    assert_eq!(figure(&review, "health")["value"]["ready"], true);
    Ok(())
}
