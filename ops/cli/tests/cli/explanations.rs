//! `sallyport explain`: causes from what holds, from the logs of either kind, and from security events.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::{
    logs::{Asked, insights, queries},
    stack::{OUTPUTS, answering, bare, described},
    support::{Empty, PASSWORD, Shell, World},
};

fn codes(explanation: &Value) -> Vec<&str> {
    let causes = explanation["causes"].as_array();
    causes.into_iter().flatten().filter_map(|cause| cause["code"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_user_is_refused_is_told_from_what_holds() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    let explain = || world.shell.run("explain user ada@example.com --json")?.json(0);
    assert_eq!(codes(&explain()?), [""; 0]);
    for _ in 0..5 {
        assert_eq!(world.sign_in("wrong").await?.0, 401);
    }
    let locked = explain()?;
    assert_eq!(codes(&locked), ["locked"]);
    assert_eq!(locked["causes"][0]["page"], "lockouts-rising");
    assert_eq!(locked["causes"][0]["commands"], json!(["sallyport user unlock ada@example.com"]));
    assert!(locked["events"].as_array().is_some_and(|events| events.len() >= 5));
    // What the log says of the requests that the events came of.
    let requests = locked["requests"].as_array().context("the log is at hand")?;
    assert_eq!(requests.len(), 5, "{locked}");
    assert!(requests.iter().all(|request| request["code"] == "invalid_credentials"), "{locked}");

    world.shell.run("user disable ada@example.com --json")?.json(0)?;
    world.shell.run("block add ada@example.com --for 1h --reason sold --json")?.json(0)?;
    world.shell.run("mode set maintenance --for 1h --reason window --json")?.json(0)?;
    assert_eq!(codes(&explain()?), ["account_blocked", "account_disabled", "locked", "maintenance"]);
    let text = world.shell.run("explain user ada@example.com")?.stdout;
    for expected in
        ["sallyport block remove ada@example.com", "sallyport mode clear maintenance", "users-cannot-log-in"]
    {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    let nobody = world.shell.run("explain user nobody@example.com --json")?.json(0)?;
    assert_eq!(codes(&nobody), ["no_account", "maintenance"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_why_nobody_signs_in() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    // As the functions see it, and the operator does not.
    for function in ["login", "health"] {
        world.fault(&json!({"kind": "refuse", "table": "sessions", "function": function})).await?;
    }
    assert_eq!(world.sign_in(PASSWORD).await?.0, 503);
    let explained = world.shell.run("explain user ada@example.com --json")?.json(0)?;
    assert_eq!(codes(&explained), ["dependency_unavailable"]);
    assert_eq!(explained["causes"][0]["page"], "service-down");
    let words = explained["causes"][0]["explanation"].as_str().unwrap_or_default();
    assert!(words.ends_with("can't reach sessions"), "{words}");
    // As everybody sees it.
    world.fault(&json!({"kind": "refuse", "table": "users"})).await?;
    let explained = world.shell.run("explain user ada@example.com")?;
    assert_eq!(explained.code, 0, "{explained:?}");
    assert!(
        explained.stdout.contains("dependency_unavailable") && explained.stdout.contains("service-down"),
        "{explained:?}"
    );
    assert!(explained.stdout.contains("from here, too: read login record"), "{explained:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_request_was_refused_is_told_from_log_and_events() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    let (_, refused) = world.sign_in("wrong").await?;
    let id = refused["request_id"].as_str().unwrap_or_default();
    let explained = world.shell.run(&format!("explain request {id} --json"))?.json(0)?;
    assert_eq!(codes(&explained), ["invalid_credentials"]);
    assert_eq!(explained["causes"][0]["page"], "users-cannot-log-in");
    let requests = explained["requests"].as_array().context("the log is at hand")?;
    assert_eq!(requests.len(), world.logged(id).await?);
    assert!(requests.iter().all(|request| request["route"] == "/api/v1/auth/login"), "{requests:?}");
    assert_eq!(explained["events"][0]["kind"], "login.refused");

    // Where no log can be read the events say it.
    let shell = Shell::new(world.shell.environment.clone())?.without("SALLYPORT_ISSUER");
    let explained = shell.run(&format!("explain request {id} --json"))?.json(0)?;
    assert_eq!((codes(&explained), &explained["requests"]), (vec!["invalid_credentials"], &Value::Null));
    let problem = explained["log_problem"].as_str().unwrap_or_default();
    assert!(problem.starts_with("which deployment? "), "{explained}");
    let shown = shell.run(&format!("explain request {id}"))?.stdout;
    assert!(shown.contains(&format!("\nThe log is not available: {problem}\n")), "{shown}");
    let (code, message) = shell.run("explain request 1-nothing --json")?.error(3)?;
    assert_eq!((code.as_str(), message.contains(problem)), ("request_not_found", true), "{message}");
    assert_eq!(world.shell.run("explain request 1-nothing --json")?.error(3)?.0, "request_not_found");
    assert_eq!(shell.run("explain request it's")?.code, 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn why_an_address_is_refused_is_told_from_blocks_budget_and_log() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    assert_eq!(world.sign_in("wrong").await?.0, 401);
    // The name of this machine has two addresses; the event knows by which of them the client came.
    let events = world.audit().await?;
    let refused = events.iter().find(|event| event["kind"] == "login.refused").context("no event")?;
    let address = refused["address"].as_str().context("no address")?;
    let explain = |more: &str| world.shell.run(&format!("explain address {address} --json{more}"))?.json(0);
    let free = explain("")?;
    assert_eq!((codes(&free), &free["events"]), (vec![], &json!([])));
    let requests = free["requests"].as_array().context("the log is at hand")?;
    assert_eq!(requests.len(), 1, "the refused one: {free}");
    assert_eq!((&requests[0]["status"], &requests[0]["address"]), (&json!(401), &json!(address)));
    assert_eq!(explain(" --since 1h")?["events"][0]["kind"], "login.refused");

    let line = format!("block add {address} --for 1h --reason stuffing --json");
    let subject = world.shell.run(&line)?.json(0)?["subject"].as_str().unwrap_or_default().to_owned();
    let blocked = explain("")?;
    assert_eq!(codes(&blocked), ["blocked"]);
    assert_eq!(blocked["causes"][0]["commands"], json!([format!("sallyport block remove {subject}")]));
    world.shell.run(&format!("block remove {subject} --json"))?.json(0)?;

    // The minute may have ended since.
    let shell = Shell::new(world.shell.environment.clone())?.with("SALLYPORT_ADDRESS_LIMIT", "1");
    let exhausted = shell.run(&format!("explain address {address} --json"))?.json(0)?;
    ensure!(codes(&exhausted) == ["rate_limited"] || codes(&exhausted).is_empty(), "{exhausted}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_sign_ins_succeeded_from_an_address_is_told_however_many_failed() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    let shown = world.shell.run("user show ada@example.com --json")?.json(0)?;
    let subject = format!("USER#{}", shown["user_id"].as_str().context("no id")?);
    assert_eq!(world.sign_in_from("127.66.0.7", "ada@example.com", PASSWORD).await?, 200);
    for number in 0..25 {
        let victim = format!("victim{number}@example.com");
        assert_eq!(world.sign_in_from("127.66.0.7", &victim, "stolen").await?, 401);
    }
    let explained = world.shell.run("explain address 127.66.0.7 --since 1h --json")?.json(0)?;
    let events = explained["events"].as_array().context("no events")?;
    assert_eq!(events.len(), 20, "{explained}");
    let succeeded: Vec<_> = events.iter().filter(|event| event["kind"] == "login.succeeded").collect();
    assert_eq!(succeeded.len(), 1, "{explained}");
    assert_eq!(
        (&succeeded[0]["email"], &succeeded[0]["subject"]),
        (&json!("ada@example.com"), &json!(subject))
    );
    assert!(
        events[0]["subject"].as_str().is_some_and(|subject| subject.starts_with("ACCOUNT#")),
        "{explained}"
    );
    let text = world.shell.run("explain address 127.66.0.7 --since 1h")?.stdout;
    let line = text.lines().find(|line| line.contains("login.succeeded")).context("no line")?;
    assert!(line.contains("ada@example.com"), "{text}");
    Ok(())
}

/// A shell that knows the stack `prod` alone, whose logs answer with this row, and what they are asked.
fn cloud(shell: Shell, row: &[(&str, &str)]) -> anyhow::Result<(Shell, Asked)> {
    let (url, asked) = insights(row)?;
    let shell = bare(shell, &answering(200, "text/xml", &described(&OUTPUTS))?);
    Ok((shell.with("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", &url), asked))
}

const LIMITED: [(&str, &str); 7] = [
    ("@timestamp", "2026-07-31 14:03:11.123"),
    ("method", "POST"),
    ("route", "/api/v1/auth/login"),
    ("status", "429"),
    ("code", "rate_limited"),
    ("address", "192.0.2.7"),
    ("request_id", "1-2-3"),
];

#[tokio::test(flavor = "multi_thread")]
async fn why_a_request_was_refused_is_asked_of_logs_insights_for_a_stack() -> anyhow::Result<()> {
    let Empty { shell, _running } = Empty::filled().await?;
    let (shell, asked) = cloud(shell, &LIMITED)?;
    let explained = shell.run("--stack prod explain request 1-2-3 --json")?.json(0)?;
    assert_eq!(codes(&explained), ["rate_limited"]);
    insta::assert_json_snapshot!(explained["requests"], @r#"
    [
      {
        "address": "192.0.2.7",
        "at": "2026-07-31 14:03:11Z",
        "code": "rate_limited",
        "fault": null,
        "method": "POST",
        "request_id": "1-2-3",
        "route": "/api/v1/auth/login",
        "status": 429
      }
    ]
    "#);
    let saved = include_str!("../../../../infra/queries/request.logs");
    assert_eq!(queries(&asked), [saved.replace("REQUEST_ID", "1-2-3")]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_to_an_address_is_asked_of_logs_insights_for_a_stack() -> anyhow::Result<()> {
    let Empty { shell, _running } = Empty::filled().await?;
    let (shell, asked) = cloud(shell, &LIMITED)?;
    let explained = shell.run("--stack prod explain address 192.0.2.7 --json")?.json(0)?;
    assert_eq!(explained["requests"][0]["code"], "rate_limited");
    let [query]: [String; 1] = queries(&asked).try_into().map_err(|all| anyhow::anyhow!("{all:?}"))?;
    assert!(query.contains("\n| filter address in [\"192.0.2.7\"]\n"), "{query}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_requests_behind_a_users_events_are_asked_of_logs_insights_for_a_stack() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    let (_, refused) = world.sign_in("wrong").await?;
    let (shell, asked) = cloud(Shell::new(world.shell.environment.clone())?, &LIMITED)?;
    let explained = shell.run("--stack prod explain user ada@example.com --json")?.json(0)?;
    assert_eq!(explained["requests"][0]["code"], "rate_limited");
    let [query]: [String; 1] = queries(&asked).try_into().map_err(|all| anyhow::anyhow!("{all:?}"))?;
    let id = refused["request_id"].as_str().context("no id")?;
    assert!(query.contains(&format!("\n| filter request_id in [\"{id}\"]\n")), "{query}");

    // Nothing to ask for costs nothing.
    let nobody = shell.run("--stack prod explain user nobody@example.com --json")?.json(0)?;
    assert_eq!((&nobody["requests"], queries(&asked).len()), (&json!([]), 1));
    Ok(())
}
