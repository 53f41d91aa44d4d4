//! `sallyport logs` and `sallyport top`: a backend here, and Logs Insights as it answers.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::support::{PASSWORD, Shell, World};

fn rows(answer: &Value) -> anyhow::Result<&Vec<Value>> {
    answer["rows"].as_array().with_context(|| answer.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_listed_with_the_request_it_failed_in() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    assert_eq!(world.shell.run("logs errors")?.stdout.split(" since ").next(), Some("Nothing"));
    world.fault(&json!({"kind": "refuse"})).await?;
    let (status, answer) = world.sign_in("not it").await?;
    assert_eq!(status, 503);
    let found = world.shell.run("logs errors --since 15m --json")?.json(0)?;
    let line = rows(&found)?.first().context("no line")?;
    assert_eq!(
        (&line["message"], &line["code"]),
        (&json!("request failed"), &json!("dependency_unavailable"))
    );
    assert_eq!(line["request_id"], answer["request_id"]);
    // Its causes, and no dump of the library's.
    let fault = line["fault"].as_str().context("no fault")?;
    assert!(fault.contains(" failed: dispatch failure: "), "{fault}");
    assert!(!fault.contains("DispatchFailure") && !fault.contains('{'), "{fault}");

    let id = answer["request_id"].as_str().context("no id")?;
    let all = world.shell.run(&format!("logs request {id} --json"))?.json(0)?;
    assert!(rows(&all)?.iter().any(|line| line["status"] == "503"), "{all}");
    let shown = world.shell.run(&format!("logs request {id}"))?;
    assert_eq!(shown.code, 0);
    assert!(
        shown.stdout.contains("request failed") && shown.stdout.contains("/api/v1/auth/login"),
        "{shown:?}"
    );
    let errors = world.shell.run("logs errors")?.stdout;
    assert!(errors.contains(id) && errors.lines().all(|line| line.chars().count() < 400), "{errors}");
    // Its clock is not that of its lines.
    world.post("/_local/clock", None, &json!({"advance_seconds": 7 * 86_400})).await?;
    assert!(world.shell.run("logs errors --since 15m")?.stdout.contains(id));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lambda_ended_is_listed_and_what_the_gateway_answered_in_its_place() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    assert_eq!(world.shell.run("logs killed")?.stdout.split(" since ").next(), Some("Nothing"));
    assert_eq!(world.shell.run("top gateway")?.stdout.split(" since ").next(), Some("Nothing"));
    for (kind, count) in [("crash", 2), ("timeout", 1), ("throttle", 1)] {
        let fault = json!({"kind": kind, "function": "login", "count": count});
        world.post("/_local/functions/faults", None, &fault).await?;
    }
    let mut given = Vec::new();
    for _ in 0..4 {
        given.push(world.sign_in(crate::support::PASSWORD).await?.0);
    }
    given.sort_unstable();
    // Lambda's refusal is another status than a function that broke.
    assert_eq!(given, [500, 502, 502, 502]);
    assert_eq!(world.sign_in(crate::support::PASSWORD).await?.0, 200);

    let killed = world.shell.run("logs killed --since 15m --json")?.json(0)?;
    let told: Vec<_> = rows(&killed)?
        .iter()
        .map(|line| {
            [&line["function"], &line["what"], &line["status"], &line["error_type"], &line["duration_ms"]]
        })
        .map(|fields| fields.map(|field| field.as_str().unwrap_or_default().to_owned()).join(" "))
        .collect();
    let crashed = "login call error Runtime.ExitError 0.0";
    assert_eq!(told, ["login call timeout  10000.0", crashed, crashed]);
    let shown = world.shell.run("logs killed --limit 1")?.stdout;
    assert!(
        shown.starts_with("TIME")
            && shown.contains("INVOCATION")
            && shown.contains("The newest 1 line, back to "),
        "{shown}"
    );
    // No function has a word on them.
    assert_eq!(world.shell.run("logs errors")?.stdout.split(" since ").next(), Some("Nothing"));
    assert_eq!(world.shell.run("top errors")?.stdout.split(" since ").next(), Some("Nothing"));

    let gateway = world.shell.run("top gateway --since 15m --json")?.json(0)?;
    let told: Vec<_> = rows(&gateway)?
        .iter()
        .map(|line| {
            [
                &line["status"],
                &line["gateway_error"],
                &line["lambda_status"],
                &line["route"],
                &line["answers"],
            ]
        })
        .map(|fields| fields.map(|field| field.as_str().unwrap_or_default().to_owned()).join(" "))
        .collect();
    let route = "/api/v1/auth/login";
    assert_eq!(told, [format!("502 DEFAULT_5XX 200 {route} 3"), format!("500 DEFAULT_5XX 429 {route} 1")]);

    // What a function answers itself has its code elsewhere.
    world.fault(&json!({"kind": "refuse"})).await?;
    assert_eq!(world.sign_in("not it").await?.0, 503);
    let shown = world.shell.run("top gateway")?.stdout;
    assert!(shown.starts_with("STATUS") && shown.contains("3 lines since"), "{shown}");
    let of_the_function = shown.lines().find(|line| line.starts_with("503")).context(shown.clone())?;
    assert!(of_the_function.split_whitespace().take(3).eq(["503", "-", "200"]), "{shown}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn security_events_are_listed_by_severity_and_kind() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    for _ in 0..5 {
        world.sign_in("not it").await?;
    }
    world.sign_in(crate::support::PASSWORD).await?;
    let all = world.shell.run("logs events --json")?.json(0)?;
    let kinds: Vec<_> = rows(&all)?.iter().map(|line| line["event"].as_str().unwrap_or_default()).collect();
    assert!(kinds.contains(&"login.locked_out") && kinds.contains(&"login.refused"), "{kinds:?}");
    let locked = world.shell.run("logs events --kind login.locked_out --json")?.json(0)?;
    assert_eq!(rows(&locked)?.len(), 1, "{locked}");
    let critical = world.shell.run("logs events --severity critical --json")?.json(0)?;
    assert_eq!(rows(&critical)?.len(), 0, "{critical}");
    let two = world.shell.run("logs events --kind login.refused --limit 2 --json")?.json(0)?;
    assert_eq!(rows(&two)?.len(), 2);
    let times: Vec<_> = rows(&all)?.iter().map(|line| line["time"].to_string()).collect();
    assert!(times.is_sorted_by(|left, right| left >= right), "newest first: {times:?}");
    Ok(())
}

/// Somebody holds a copy of Ada's device token and guesses from five addresses of five networks, then guesses right from a sixth.
#[tokio::test(flavor = "multi_thread")]
async fn who_got_in_from_a_device_that_failed_often_is_found_by_the_device() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    let (_, signed_in) = world.sign_in(PASSWORD).await?;
    let token = signed_in["device_token"].as_str().context("no device token")?;
    let from = async |network: usize, password| {
        let address = format!("127.{network}.0.1");
        let body = json!({"email": "ada@example.com", "password": password, "device_token": token});
        world.sign_in_with(&address, &body).await
    };
    for network in 70..75 {
        assert_eq!(from(network, "not it").await?, 401);
    }
    assert_eq!(world.shell.run("user unlock ada@example.com")?.code, 0);
    assert_eq!(from(75, PASSWORD).await?, 200);

    let found = world.shell.run("top entered --since 1h --json")?.json(0)?;
    let newest = &found["entered"][0];
    assert_eq!(
        [&newest["event"], &newest["address"], &newest["source"], &newest["failures"]],
        [&json!("login.succeeded"), &json!("127.75.0.1"), &json!("device"), &json!(5)]
    );
    // The events of the account name the device as its sessions do.
    let shown = world.shell.run("user show ada@example.com --json")?.json(0)?;
    let session = shown["sessions"][0]["device"].as_str().context("no device")?;
    let refused = shown["events"].as_array().context("no events")?;
    let refused = refused.iter().find(|event| event["kind"] == "login.refused").context("none refused")?;
    let device = refused["device"].as_str().context("refused without its device")?;
    assert!(device.starts_with("dev_") && session.starts_with(device), "{device} is no {session}");
    Ok(())
}

/// The attack of a night: twelve addresses of one network guess, one password is right, and so is one that waits for a code.
/// Whoever signs in from elsewhere is not suspected.
#[tokio::test(flavor = "multi_thread")]
async fn who_got_in_during_an_attack_is_found_whatever_else_there_is() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    let none = world.shell.run("top entered")?.stdout;
    assert!(none.starts_with("No sign-in since "), "{none}");
    assert_eq!(world.sign_in_from("127.66.0.5", "ada@example.com", PASSWORD).await?, 200);
    assert_eq!(world.sign_in_from("127.77.0.1", "ada@example.com", PASSWORD).await?, 200);
    for number in 0..72 {
        let (address, victim) =
            (format!("127.66.0.{}", 1 + number % 12), format!("victim{number}@example.com"));
        assert_eq!(world.sign_in_from(&address, &victim, "stolen").await?, 401);
    }
    let found = world.shell.run("top entered --since 1h --json")?.json(0)?;
    let entered = found["entered"].as_array().context("none")?;
    let told: Vec<_> = entered
        .iter()
        .map(|row| [&row["event"], &row["email"], &row["address"], &row["source"], &row["failures"]])
        .collect();
    let (ada, address) = (json!("ada@example.com"), json!("127.66.0.5"));
    assert_eq!(told, [[&json!("login.succeeded"), &ada, &address, &json!("address"), &json!(6)]]);
    let shown = world.shell.run("top entered")?.stdout;
    let command = "  sallyport reset force ada@example.com --reason \"signed in from 127.66.0.5\"";
    assert!(shown.contains("ada@example.com") && shown.contains(command), "{shown}");
    // What it says can be run as it stands.
    let run = world.shell.run("reset force ada@example.com --reason entered")?;
    assert_eq!(run.code, 0, "{run:?}");

    let networks = world.shell.run("top addresses --since 15m --json")?.json(0)?;
    let first = &networks["networks"][0];
    assert_eq!(
        [&first["network"], &first["failures"], &first["addresses"], &first["share"]],
        [&json!("127.66.0.0/24"), &json!(72), &json!(12), &json!(100)]
    );
    let block = "sallyport block add 127.66.0.0/24 --for 24h --reason attack --replace";
    assert_eq!(networks["commands"], json!([block]));
    let shown = world.shell.run("top addresses --since 15m")?.stdout;
    assert!(
        shown.contains("127.66.0.0/24 makes 100 % of the failures. Block it:") && shown.contains(block),
        "{shown}"
    );
    // And the prefix works wherever an address does.
    let explained = world.shell.run("explain address 127.66.0.0/24 --since 1h --json")?.json(0)?;
    assert_eq!(explained["requests"].as_array().map(Vec::len), Some(20), "{explained}");
    assert_eq!(world.shell.run(block.trim_start_matches("sallyport "))?.code, 0);
    let explained = world.shell.run("explain address 127.66.0.0/24 --json")?.json(0)?;
    assert_eq!(explained["causes"][0]["commands"], json!(["sallyport block remove 127.66.0.0/24"]));
    // A function sees a block within five seconds.
    world.post("/_local/clock", None, &json!({"advance_seconds": 10})).await?;
    assert_eq!(world.sign_in_from("127.66.0.200", "ada@example.com", PASSWORD).await?, 403);
    for line in ["block remove 127.66.0.0/24", "block add --address 127.66.0.0/24 --for 1h --reason x"] {
        assert_eq!(world.shell.run(line)?.code, 0, "{line}");
    }
    Ok(())
}

/// An attack from everywhere has no network to block.
#[tokio::test(flavor = "multi_thread")]
async fn an_attack_from_everywhere_is_answered_by_emergency_mode() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    for number in 0..20 {
        let (address, victim) = (format!("127.70.{number}.1"), format!("victim{number}@example.com"));
        assert_eq!(world.sign_in_from(&address, &victim, "stolen").await?, 401);
    }
    let found = world.shell.run("top addresses --json")?.json(0)?;
    assert_eq!(found["commands"], json!(["sallyport mode set emergency --for 1h --reason attack --replace"]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_accounts_and_codes_are_ranked() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    let tokens = world.sign_in(crate::support::PASSWORD).await?.1;
    for _ in 0..3 {
        world.sign_in("not it").await?;
    }
    let stranger = json!({"email": "nobody@example.com", "password": "not it"});
    world.post("/api/v1/auth/login", None, &stranger).await?;
    assert_eq!(world.refresh(&tokens).await?, 200);

    let addresses = world.shell.run("top addresses --json")?.json(0)?;
    let first = rows(&addresses)?.first().context("no address")?;
    assert_eq!((&first["failures"], &first["accounts"]), (&json!("4"), &json!("2")));
    let requests = world.shell.run("top addresses --all --json")?.json(0)?;
    assert_eq!(rows(&requests)?.first().context("no address")?["requests"], "6");

    let accounts = world.shell.run("top accounts --json")?.json(0)?;
    let [ada, nobody] = rows(&accounts)?.as_slice() else { anyhow::bail!("{accounts}") };
    assert_eq!((&ada["failures"], &ada["email"]), (&json!("3"), &json!("ada@example.com")));
    assert!(ada["subject"].as_str().is_some_and(|subject| subject.starts_with("USER#usr_")), "{ada}");
    assert!(nobody["subject"].as_str().is_some_and(|subject| subject.starts_with("ACCOUNT#")), "{nobody}");
    assert!(nobody.get("email").is_none(), "nobody knows whose it is");

    let codes = world.shell.run("top errors --json")?.json(0)?;
    let first = rows(&codes)?.first().context("no code")?;
    assert_eq!(
        (&first["code"], &first["route"], &first["answers"]),
        (&json!("invalid_credentials"), &json!("/api/v1/auth/login"), &json!("4"))
    );
    let shown = world.shell.run("top errors --since 5m")?;
    assert!(shown.stdout.starts_with("CODE"), "{shown:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_errors_are_one_line() -> anyhow::Result<()> {
    let world = World::start().await?;
    let (code, _) = world.shell.run("logs request 00000000-0000-0000-0000-000000000000 --json")?.error(3)?;
    assert_eq!(code, "request_not_found");
    for line in [
        "logs request it's",
        "logs events --kind login.succeded",
        "logs events --severity high",
        "logs errors --since yesterday",
        "top errors --limit 3",
    ] {
        assert_eq!(world.shell.run(line)?.code, 2, "{line}");
    }
    let nowhere = world.shell.without("SALLYPORT_ISSUER");
    assert_eq!(nowhere.run("top errors --json")?.error(2)?.0, "no_deployment");
    let gone = nowhere.with("SALLYPORT_ISSUER", "http://localhost:9");
    assert_eq!(gone.run("top errors --json")?.error(1)?.0, "unreachable");
    Ok(())
}

/// What was asked of CloudWatch Logs: the operation and its request.
pub(crate) type Asked = Arc<Mutex<Vec<(String, Value)>>>;

/// A CloudWatch Logs that gives these answers by operation, the last one for ever.
pub(crate) fn cloudwatch(answers: &[(&'static str, &[Value])]) -> anyhow::Result<(String, Asked)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let mut answers: Vec<_> = answers.iter().map(|(name, answers)| (*name, answers.to_vec())).collect();
    let asked = Asked::default();
    let noted = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream);
            let (mut length, mut operation) = (0, String::new());
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or_default() <= 2 {
                    break;
                }
                if let Some((name, value)) = line.split_once(':') {
                    match name.to_lowercase().as_str() {
                        "content-length" => length = value.trim().parse().unwrap_or_default(),
                        "x-amz-target" => {
                            operation = value.trim().rsplit('.').next().unwrap_or_default().to_owned();
                        }
                        _ => {}
                    }
                }
            }
            let mut body = vec![0; length];
            drop(reader.read_exact(&mut body));
            let request = serde_json::from_slice(&body).unwrap_or_default();
            let Some((_, queue)) = answers.iter_mut().find(|(name, _)| *name == operation) else { continue };
            let answer =
                if queue.len() > 1 { queue.remove(0) } else { queue.first().cloned().unwrap_or_default() };
            noted.lock().unwrap().push((operation, request));
            let text = answer.to_string();
            let status = if answer.get("__type").is_some() { 400 } else { 200 };
            let head = "content-type: application/x-amz-json-1.1\r\nconnection: close";
            drop(write!(
                reader.get_mut(),
                "HTTP/1.1 {status} -\r\n{head}\r\ncontent-length: {}\r\n\r\n{text}",
                text.len()
            ));
        }
    });
    Ok((url, asked))
}

/// A Logs Insights whose one answer has this row.
pub(crate) fn insights(row: &[(&str, &str)]) -> anyhow::Result<(String, Asked)> {
    let fields: Vec<_> = row.iter().map(|(name, value)| json!({"field": name, "value": value})).collect();
    cloudwatch(&[
        ("DescribeLogGroups", &[json!({"logGroups": [{"logGroupName": "/sallyport/prod/login"}]})]),
        ("StartQuery", &[json!({"queryId": "q-1"})]),
        ("GetQueryResults", &[json!({"status": "Complete", "results": [fields]})]),
    ])
}

/// The texts of the queries that were asked.
pub(crate) fn queries(asked: &Asked) -> Vec<String> {
    let asked = asked.lock().unwrap();
    let started = asked.iter().filter(|(operation, _)| operation == "StartQuery");
    started.filter_map(|(_, request)| request["queryString"].as_str().map(str::to_owned)).collect()
}

fn shell(logs: &str) -> anyhow::Result<Shell> {
    let environment = [
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", logs),
    ];
    Shell::new(environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_is_asked_by_logs_insights_with_the_saved_query() -> anyhow::Result<()> {
    let groups = json!({"logGroups": [
        {"logGroupName": "/sallyport/prod/api"}, {"logGroupName": "/sallyport/prod/login"},
        {"logGroupName": "/sallyport/prod/mfa"},
    ]});
    let field = |name: &str, value: &str| json!({"field": name, "value": value});
    let (url, asked) = cloudwatch(&[
        ("DescribeLogGroups", &[groups]),
        ("StartQuery", &[json!({"queryId": "q-1"})]),
        (
            "GetQueryResults",
            &[
                json!({"status": "Running", "results": []}),
                json!({"status": "Complete", "results": [[
                    field("code", "invalid_credentials"), field("status", "401"), field("route", "/api/v1/auth/login"),
                    field("answers", "42"), field("first_seen", "1785506531000"),
                    field("last_seen", "2026-07-31 14:03:11.123"), field("@ptr", "x"),
                ]]}),
            ],
        ),
    ])?;
    let found = shell(&url)?.run("--stack prod top errors --since 15m --json")?.json(0)?;
    assert_eq!(
        found["rows"],
        json!([{
            "code": "invalid_credentials", "status": "401", "route": "/api/v1/auth/login", "answers": "42",
            "first_seen": "2026-07-31 14:02:11Z", "last_seen": "2026-07-31 14:03:11Z",
        }])
    );
    let asked = asked.lock().unwrap();
    let operations: Vec<_> = asked.iter().map(|(operation, _)| operation.as_str()).collect();
    assert_eq!(operations, ["DescribeLogGroups", "StartQuery", "GetQueryResults", "GetQueryResults"]);
    assert_eq!(asked[0].1["logGroupNamePrefix"], "/sallyport/prod/");
    let query = &asked[1].1;
    assert_eq!(query["logGroupNames"], json!(["/sallyport/prod/login", "/sallyport/prod/mfa"]));
    let saved = include_str!("../../../../infra/queries/errors-by-code.logs");
    assert_eq!(query["queryString"], saved);
    assert_eq!(query["endTime"].as_i64().unwrap() - query["startTime"].as_i64().unwrap(), 900);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lambda_and_the_gateway_log_is_asked_where_it_stands() -> anyhow::Result<()> {
    let field = |name: &str, value: &str| json!({"field": name, "value": value});
    let groups = |names: &[&str]| {
        let groups: Vec<_> =
            names.iter().map(|name| json!({"logGroupName": format!("/sallyport/prod/{name}")})).collect();
        json!({"logGroups": groups})
    };
    let answers = |groups: Value, fields: Vec<Value>| {
        cloudwatch(&[
            ("DescribeLogGroups", &[groups]),
            ("StartQuery", &[json!({"queryId": "q-1"})]),
            ("GetQueryResults", &[json!({"status": "Complete", "results": [fields]})]),
        ])
    };
    let asked_of = |asked: &Asked| {
        let asked = asked.lock().unwrap();
        let started = asked.iter().find(|(operation, _)| operation == "StartQuery");
        started.map(|(_, request)| request["logGroupNames"].clone()).unwrap_or_default()
    };

    let out_of_memory = vec![
        field("@timestamp", "2026-07-31 14:03:02.500"),
        field("what", "platform.report"),
        field("status", "error"),
        field("error_type", "Runtime.OutOfMemory"),
        field("duration_ms", "812.25"),
        field("used_mb", "1769"),
        field("size_mb", "1769"),
        field("invocation", "8286a188"),
        field("@log", "123456789012:/sallyport/prod/login"),
    ];
    let (url, asked) = answers(groups(&["api", "login"]), out_of_memory)?;
    let shown = shell(&url)?.run("--stack prod logs killed")?.stdout;
    let [heading, line, ..] = shown.lines().collect::<Vec<_>>()[..] else { anyhow::bail!("{shown}") };
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
    assert_eq!(words(heading), "TIME FUNCTION WHAT STATUS ERROR MS USED MB OF MB INVOCATION");
    assert_eq!(
        words(line),
        "2026-07-31 14:03:02Z login call error Runtime.OutOfMemory 812.25 1769 1769 8286a188"
    );
    assert_eq!(asked_of(&asked), json!(["/sallyport/prod/login"]));
    assert_eq!(
        queries(&asked),
        [include_str!("../../../../infra/queries/killed.logs").replace("limit 100", "limit 51")]
    );

    let throttled = vec![
        field("status", "500"),
        field("gateway_error", "DEFAULT_5XX"),
        field("lambda_status", "429"),
        field("route", "/api/v1/auth/login"),
        field("answers", "12"),
        field("addresses", "3"),
    ];
    let (url, asked) = answers(groups(&["api", "login"]), throttled)?;
    let found = shell(&url)?.run("--stack prod top gateway --json")?.json(0)?;
    assert_eq!(rows(&found)?.first().context("no line")?["lambda_status"], "429");
    assert_eq!(asked_of(&asked), json!(["/sallyport/prod/api"]));
    assert_eq!(queries(&asked), [include_str!("../../../../infra/queries/gateway-errors.logs")]);

    let (url, _) = answers(groups(&["login"]), Vec::new())?;
    let (code, message) = shell(&url)?.run("--stack prod top gateway --json")?.error(3)?;
    assert_eq!(code, "no_access_log");
    assert!(message.contains("ApiAccessLogs=on"), "{message}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_fails_and_a_stack_that_does_not_exist_are_one_line() -> anyhow::Result<()> {
    let (url, _) = cloudwatch(&[("DescribeLogGroups", &[json!({"logGroups": []})])])?;
    let (code, message) = shell(&url)?.run("--stack prd logs errors --json")?.error(3)?;
    assert_eq!(code, "stack_not_found");
    assert!(message.contains("prd in us-east-1"), "{message}");
    let (url, _) = cloudwatch(&[
        ("DescribeLogGroups", &[json!({"logGroups": [{"logGroupName": "/sallyport/prod/login"}]})]),
        ("StartQuery", &[json!({"queryId": "q-1"})]),
        ("GetQueryResults", &[json!({"status": "Failed"})]),
    ])?;
    assert_eq!(shell(&url)?.run("--stack prod logs events --json")?.error(1)?.0, "query_failed");
    let (url, _) = cloudwatch(&[
        ("DescribeLogGroups", &[json!({"logGroups": [{"logGroupName": "/sallyport/prod/login"}]})]),
        ("StartQuery", &[json!({"__type": "AccessDeniedException", "message": "not you"})]),
    ])?;
    let (code, message) = shell(&url)?.run("--stack prod logs events --json")?.error(1)?;
    assert_eq!(code, "access_denied");
    assert!(message.starts_with("ask the logs: no right") && message.ends_with("not you"), "{message}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dependency_answered_is_told_by_its_code_and_without_a_dump() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    world.fault(&json!({"kind": "throttle", "count": 1_000})).await?;
    let (status, answer) = world.sign_in("not it").await?;
    assert_eq!(status, 503);
    let id = answer["request_id"].as_str().context("no id")?;
    let explained = world.shell.run(&format!("logs request {id} --json"))?.json(0)?;
    let fault = rows(&explained)?.iter().find_map(|line| line["fault"].as_str()).context("no fault")?;
    assert!(fault.contains(" failed: service error (ProvisionedThroughputExceededException): "), "{fault}");
    assert!(!fault.contains('{'), "{fault}");
    Ok(())
}

/// Under a flood of one kind the newest fifty lines are of that kind alone: that says so, and a command a kind finds the rare one.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_cut_says_so_and_a_rare_kind_is_found_by_itself() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    // The rare one, and then the flood.
    assert_eq!(world.sign_in(PASSWORD).await?.0, 200);
    for _ in 0..4 {
        assert_eq!(world.sign_in("not it").await?.0, 401);
    }
    let line = "logs events --since 1h --kind login.succeeded --kind login.refused --limit";
    let mixed = world.shell.run(&format!("{line} 3"))?.stdout;
    assert!(!mixed.contains("login.succeeded"), "{mixed}");
    let last = mixed.lines().last().context("no line")?;
    assert!(last.starts_with("The newest 3 lines, back to ") && last.contains("older ones since"), "{last}");
    let told = world.shell.run(&format!("{line} 3 --json"))?.json(0)?;
    assert_eq!((rows(&told)?.len(), &told["more"]), (3, &json!(true)));
    let rare = world.shell.run("logs events --since 1h --kind login.succeeded --limit 3")?.stdout;
    assert!(rare.contains("login.succeeded") && rare.contains("\n1 line since "), "{rare}");
    let all = world.shell.run(&format!("{line} 5 --json"))?.json(0)?;
    assert_eq!((rows(&all)?.len(), &all["more"]), (5, &json!(false)));
    Ok(())
}
