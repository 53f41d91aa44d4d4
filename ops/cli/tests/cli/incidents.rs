use serde_json::{Value, json};

use crate::support::World;

/// Rings an alarm at the responder, and returns the incident.
async fn ring(world: &World, alarm: &str, state: &str, at: &str) -> anyhow::Result<String> {
    let event = json!({
        "AlarmName": format!("sallyport-prod-{alarm}"), "NewStateValue": state, "StateChangeTime": at,
        "NewStateReason": "Threshold Crossed", "Trigger": {"Period": 60, "EvaluationPeriods": 2},
    });
    let (status, answer) = world.post("/_local/invoke/responder", None, &event).await?;
    assert_eq!(status, 200, "{answer}");
    Ok(answer["result"]["alarms"][0]["incident"].as_str().unwrap_or_default().to_owned())
}

const RANG: &str = "2026-01-01T12:00:00.000+0000";
const CLEARED: &str = "2026-01-01T12:20:00.000+0000";

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_is_listed_taken_on_noted_and_resolved() -> anyhow::Result<()> {
    let world = World::start().await?;
    let shell = &world.shell;
    assert_eq!(shell.run("incident list")?.stdout, "No open incident.\n");
    assert_eq!(shell.run("incident list --days 7")?.stdout, "No open incident, and none in 7 days.\n");
    let id = ring(&world, "service-down", "ALARM", RANG).await?;

    let listed = shell.run("incident list --json")?.json(0)?;
    assert_eq!(
        (&listed["incidents"][0]["id"], &listed["incidents"][0]["state"]),
        (&json!(id), &json!("open"))
    );
    let table = shell.run("incident list")?.stdout;
    assert!(table.contains("SEV1") && table.contains("service-down ALARM"), "{table}");

    let dry = shell.run(&format!("incident ack {id} --dry-run --json"))?.json(0)?;
    assert_eq!((&dry["changed"], &dry["state"]), (&json!(false), &json!("acknowledged")));
    let acked = shell.run(&format!("incident ack {id} --note looking"))?;
    assert_eq!((acked.code, acked.stdout.as_str()), (0, format!("acknowledged {id}\n").as_str()));
    shell.run(&format!("incident note {id} restarting --json"))?.json(0)?;

    let ringing = shell.run(&format!("incident resolve {id} --summary done --json"))?.error(4)?;
    assert_eq!(ringing.0, "alarms_ringing");
    assert!(ringing.1.contains("service-down"), "{}", ringing.1);
    ring(&world, "service-down", "OK", CLEARED).await?;
    shell.run(&format!("incident resolve {id} --summary done --dry-run --json"))?.json(0)?;
    let resolved = shell.run(&format!("incident resolve {id} --json"))?.json(0)?;
    assert_eq!((&resolved["state"], &resolved["changed"]), (&json!("resolved"), &json!(true)));

    assert_eq!(shell.run("incident list --json")?.json(0)?["incidents"], json!([]));
    let all = shell.run("incident list --days 7 --json")?.json(0)?;
    assert_eq!(all["incidents"][0]["resolved_by"], "grace@desk");
    assert_eq!(all["incidents"][0]["summary"], "restarting", "the last note, where no summary is given");
    let shown = shell.run(&format!("incident show {id} --json"))?.json(0)?;
    let kinds: Vec<_> = shown["timeline"].as_array().into_iter().flatten().map(|e| &e["kind"]).collect();
    assert_eq!(kinds, ["opened", "diagnosed", "acknowledged", "note", "alarm_cleared", "resolved"]);
    let text = shell.run(&format!("incident show {id}"))?.stdout;
    for part in ["severity", "SEV1", "acknowledged after", "by grace@desk", "restarting", "top error codes"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_opens_an_incident_that_no_alarm_knows_of() -> anyhow::Result<()> {
    let world = World::start().await?;
    let shell = &world.shell;
    let dry = shell.run("incident open --severity SEV1 --cause security leak --dry-run --json")?.json(0)?;
    assert_eq!((&dry["incident"], &dry["dry_run"]), (&Value::Null, &json!(true)));
    let opened = shell.run("incident open --severity sev1 --cause security leak --json")?.json(0)?;
    let id = opened["incident"].as_str().unwrap_or_default().to_owned();
    for line in [
        "incident open --severity SEV2 --cause security again",
        "incident open --severity SEV2 --cause security again --dry-run",
    ] {
        let (code, message) = shell.run(&format!("{line} --json"))?.error(4)?;
        assert_eq!(code, "incident_open");
        assert!(message.starts_with(&format!("{id} of this cause is open already")), "{message}");
    }
    assert_eq!(
        shell.run("incident open --severity SEV2 --cause Not-One! x --json")?.error(2)?.0,
        "invalid_cause"
    );
    assert_eq!(shell.run("incident open --severity SEV9 --cause security x --json")?.error(2)?.0, "usage");

    // Nobody but the operators is told, who are told like of any other.
    let (_, status) = world.post("/_local/invoke/responder", None, &json!({"task": "tick"})).await?;
    assert_eq!(status["result"]["open"], 1, "{status}");
    let public = reqwest::get(format!("{}/status", world.url())).await?.text().await?;
    assert!(!public.contains("security"), "{public}");
    assert_eq!(shell.run(&format!("incident ack {id}"))?.code, 0);
    assert_eq!(shell.run(&format!("incident resolve {id} --summary rotated"))?.code, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_operators_change_meanwhile_stands_in_the_timeline_and_counts_as_mitigation()
-> anyhow::Result<()> {
    let world = World::start().await?;
    let shell = &world.shell;
    let opened = shell.run("incident open --severity SEV1 --cause attack leak --json")?.json(0)?;
    let id = opened["incident"].as_str().unwrap_or_default().to_owned();
    let figures = shell.run(&format!("incident show {id} --json"))?.json(0)?["figures"].take();
    assert_eq!(figures["mitigated"], Value::Null);
    world.post("/_local/clock", None, &json!({"advance_seconds": 120})).await?;
    shell.run("mode set emergency --for 1h --reason attack")?;
    shell.run("block add 192.0.2.0/24 --for 1h --reason attack")?;
    shell.run("mode clear emergency")?;
    world.post("/_local/clock", None, &json!({"advance_seconds": 60})).await?;
    shell.run(&format!("incident resolve {id} --summary blocked"))?;
    shell.run("block remove 192.0.2.0/24")?;

    let shown = shell.run(&format!("incident show {id} --json"))?.json(0)?;
    let kinds: Vec<_> = shown["timeline"].as_array().into_iter().flatten().map(|e| &e["kind"]).collect();
    assert_eq!(kinds, ["opened", "mode.set", "block.added", "mode.cleared", "resolved"]);
    let mitigated = shown["figures"]["mitigated"].as_u64().unwrap_or_default();
    assert!((120..180).contains(&mitigated), "{shown}");
    let draft = shell.run(&format!("incident postmortem {id}"))?.stdout;
    assert!(draft.contains("| block.added | grace@desk | network#192.0.2.0/24, 3600 s: attack |"), "{draft}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn twice_the_same_is_one_line_and_changes_nothing() -> anyhow::Result<()> {
    let world = World::start().await?;
    let shell = &world.shell;
    let id = ring(&world, "slow-responses", "ALARM", RANG).await?;
    shell.run(&format!("incident ack {id}"))?;
    shell.run(&format!("incident note {id} looking"))?;
    shell.run(&format!("incident escalate {id}"))?;
    let before = shell.run(&format!("incident show {id} --json"))?.json(0)?;
    for (line, said) in [
        ("ack ID", "was acknowledged already, by grace@desk at "),
        ("note ID looking", "has this very note already; nothing was changed"),
        ("escalate ID", "was escalated already, to level 1 at "),
        ("ack ID --dry-run", "was acknowledged already, by grace@desk at "),
    ] {
        let line = line.replace("ID", &id);
        let run = shell.run(&format!("incident {line}"))?;
        assert_eq!((run.code, run.stdout.lines().count(), run.stderr.as_str()), (0, 1, ""), "{line}");
        assert!(run.stdout.starts_with(&format!("{id} {said}")), "{line}: {run:?}");
        let told = shell.run(&format!("incident {line} --json"))?.json(0)?;
        assert_eq!(told["changed"], false, "{line}");
    }
    assert_eq!(shell.run(&format!("incident show {id} --json"))?.json(0)?, before);

    ring(&world, "slow-responses", "OK", CLEARED).await?;
    shell.run(&format!("incident resolve {id} --summary over"))?;
    let resolved = format!("{id} was resolved already, by grace@desk at ");
    for line in ["resolve ID --summary over", "resolve ID", "resolve ID --dry-run"] {
        let run = shell.run(&format!("incident {}", line.replace("ID", &id)))?;
        assert!(run.code == 0 && run.stdout.starts_with(&resolved), "{line}: {run:?}");
        assert!(run.stdout.ends_with("; nothing was changed\n"), "{line}: {run:?}");
    }
    for line in ["ack ID", "escalate ID", "resolve ID --summary another"] {
        let run = shell.run(&format!("incident {}", line.replace("ID", &id)))?;
        assert_eq!((run.code, run.stdout.as_str()), (4, ""));
        let is_one_line = run.stderr.lines().count() == 1;
        assert!(is_one_line && run.stderr.starts_with(&format!("error: {resolved}")), "{}", run.stderr);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_did_or_in_other_words_is_a_conflict() -> anyhow::Result<()> {
    let world = World::start().await?;
    let id = ring(&world, "slow-responses", "ALARM", RANG).await?;
    let ada = world.shell_with("SALLYPORT_OPERATOR", "ada@desk")?;
    let shell = &world.shell;
    shell.run(&format!("incident ack {id} --note looking --json"))?.json(0)?;
    shell.run(&format!("incident note {id} restarted --json"))?.json(0)?;
    let again = shell.run(&format!("incident ack {id} --note looking --json"))?.json(0)?;
    assert_eq!(again["changed"], false);
    for (who, line, words) in [
        (&ada, "ack ID", "by grace@desk at "),
        (shell, "ack ID --note other", ", with other words: `sallyport incident note` adds to them"),
    ] {
        let (code, message) = who.run(&format!("incident {} --json", line.replace("ID", &id)))?.error(4)?;
        assert!(code == "incident_acknowledged" && message.contains(words), "{line}: {code} {message}");
    }
    // The same words of somebody else are another note.
    assert_eq!(ada.run(&format!("incident note {id} restarted --json"))?.json(0)?["changed"], true);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_that_is_not_there_is_one_line_for_every_command() -> anyhow::Result<()> {
    let world = World::start().await?;
    let id = "inc_0000000000000000";
    for line in ["show ID", "ack ID", "note ID x", "escalate ID", "resolve ID --summary x", "postmortem ID"] {
        let run = world.shell.run(&format!("incident {}", line.replace("ID", id)))?;
        assert_eq!((run.code, run.stdout.as_str()), (3, ""), "{line}");
        assert_eq!(run.stderr, format!("error: there is no incident {id}\n"));
    }
    assert_eq!(world.shell.run("incident show inc_1 --json")?.error(2)?.0, "usage");
    let id = ring(&world, "key-age", "ALARM", RANG).await?;
    let wordless = world.shell.run(&format!("incident resolve {id} --force --json"))?.error(2)?;
    assert_eq!(wordless.0, "invalid_text");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postmortem_is_filled_with_timeline_and_figures() -> anyhow::Result<()> {
    let world = World::start().await?;
    let shell = &world.shell;
    let id = ring(&world, "failure-spike", "ALARM", RANG).await?;
    shell.run(&format!("incident ack {id} --note a|b"))?;
    ring(&world, "failure-spike", "OK", CLEARED).await?;
    shell.run(&format!("incident resolve {id} --summary blocked"))?;
    let draft = shell.run(&format!("incident postmortem {id}"))?;
    assert_eq!(draft.code, 0, "{draft:?}");
    for part in [
        "# Post-mortem: attack, ",
        &format!("| incident | `{id}` |"),
        "| severity | SEV1 |",
        "## Summary\n\nblocked\n",
        "| to acknowledge | ",
        "in time: the target is 5 min |",
        "| acknowledged | grace@desk | a\\|b |",
        "## Actions",
        "| action | kind | owner | due | ticket |",
    ] {
        assert!(draft.stdout.contains(part), "{part}:\n{}", draft.stdout);
    }
    let json: Value = shell.run(&format!("incident postmortem {id} --json"))?.json(0)?;
    assert_eq!(json["markdown"].as_str().map(str::trim_end), Some(draft.stdout.trim_end()));
    assert!(json["figures"]["resolved"].is_number());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_acknowledges_once_and_says_so() -> anyhow::Result<()> {
    let world = World::start().await?;
    let id = ring(&world, "key-age", "ALARM", RANG).await?;
    world.fault(&json!({"kind": "drop_after", "operation": "TransactWriteItems"})).await?;
    assert_eq!(world.shell.run(&format!("incident ack {id} --json"))?.json(0)?["changed"], true);
    let shown = world.shell.run(&format!("incident show {id} --json"))?.json(0)?;
    let acks = shown["timeline"].as_array().into_iter().flatten().filter(|e| e["kind"] == "acknowledged");
    assert_eq!(acks.count(), 1);
    Ok(())
}
