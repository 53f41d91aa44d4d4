//! Whatever somebody wrote that is stored: no command sends a terminal what it would obey.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use sallyport_core::audit::steering;
use serde_json::{Value, json};

use crate::support::{PASSWORD, Run, World};

/// An escape sequence in both codings, a turn of the direction, ends of lines, what is not seen, HTML and Markdown.
const NASTY: &str = "x\u{1b}[31m\u{9b}2J\u{202e}\u{2066}\r\ny\u{7}\u{feff}\u{200b}<b>`|[z](w)";

/// Commands that show something. `{id}` is the incident's, `{request}` a request's.
const SHOWING: [&str; 22] = [
    "incident list",
    "incident list --days 7",
    "incident show {id}",
    "incident postmortem {id}",
    "mode status",
    "block list",
    "user show ada@example.com --events 50",
    "explain user ada@example.com",
    "explain address 127.0.0.1",
    "explain request {request}",
    "logs events",
    "logs errors",
    "logs request {request}",
    "top errors",
    "top entered",
    "top accounts",
    "top addresses",
    "client list",
    "keys list",
    "review daily",
    "sessions count",
    "runbook list",
];

/// Commands that repeat what was typed.
const REPEATING: [&str; 7] = [
    "mode set emergency --for 1h --reason {nasty}",
    "block add 198.51.100.7 --for 1h --reason {nasty}",
    "incident open --severity SEV1 --cause {nasty} x",
    "incident show {nasty}",
    "incident note {id} {nasty}",
    "user show {nasty}",
    "{nasty}",
];

/// What a terminal would obey, but for the ends of lines.
fn obeyed(run: &Run) -> BTreeSet<char> {
    let texts = [&run.stdout, &run.stderr];
    let lines = texts.iter().flat_map(|text| text.split(['\n', '\t']));
    let found = lines.flat_map(|line| line.chars().zip(steering(line)).filter(|(_, steers)| *steers));
    // What stands for it.
    found.map(|(character, _)| character).filter(|character| *character != '\u{fffd}').collect()
}

impl World {
    /// Past everything, as somebody with the console of AWS could, or a release that let more through.
    async fn update(&self, table: &str, key: &Value, change: &str, names: &Value) -> anyhow::Result<()> {
        let environment = &self.shell.environment;
        let values = json!({":nasty": {"S": NASTY}, ":operator": {"S": format!("operator {NASTY}")}});
        let used = values
            .as_object()
            .context("no values")?
            .iter()
            .filter(|(name, _)| change.contains(name.as_str()));
        let mut request = json!({
            "TableName": environment.get(table).context("no table")?, "Key": key, "UpdateExpression": change,
            "ExpressionAttributeValues": used.map(|(name, value)| (name.clone(), value.clone())).collect::<serde_json::Map<_, _>>(),
        });
        if !names.is_null() {
            request["ExpressionAttributeNames"] = names.clone();
        }
        let answer = reqwest::Client::new()
            .post(environment.get("AWS_ENDPOINT_URL").context("no database")?)
            .header("x-amz-target", "DynamoDB_20120810.UpdateItem")
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-date", "20260101T000000Z")
            .header(
                "authorization",
                "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, \
                 SignedHeaders=host;x-amz-date, Signature=00",
            )
            .body(request.to_string())
            .send()
            .await?;
        ensure!(answer.status().is_success(), "{request}: {}", answer.text().await?);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_shows_what_a_terminal_would_obey() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    let shell = &world.shell;
    // An alarm by that name, and what operators say of its incident.
    let event = json!({
        "AlarmName": format!("sallyport-prod-{NASTY}"), "NewStateValue": "ALARM", "StateChangeTime": "2026-01-01T12:00:00.000+0000",
        "NewStateReason": NASTY, "Trigger": {"Period": 60, "EvaluationPeriods": 2},
    });
    let (status, answer) = world.post("/_local/invoke/responder", None, &event).await?;
    ensure!(status == 200, "{answer}");
    let id = answer["result"]["alarms"][0]["incident"].as_str().context("no incident")?.to_owned();
    shell.run(&format!("incident note {id} {NASTY}"))?;
    // What an account's owner calls a factor.
    let (_, tokens) = world.sign_in(PASSWORD).await?;
    let bearer = tokens["access_token"].as_str().context("no token")?;
    let label = json!({"label": "\u{202e}\u{2066}<b>`|"});
    ensure!(world.post("/api/v1/mfa/totp", Some(bearer), &label).await?.0 == 201);
    let (_, refused) = world.sign_in("not it").await?;
    let request = refused["request_id"].as_str().context("no request")?;
    // Reasons that an earlier release let through, and events of one that lets more through.
    shell.run("mode set maintenance --for 2h --reason plain --json")?.json(0)?;
    shell.run("block add 198.51.100.9 --for 2h --reason plain --json")?.json(0)?;
    let flags = json!({"pk": {"S": "FLAGS"}, "sk": {"S": "CURRENT"}});
    let names = json!({"#entry": "maintenance", "#by": "by"});
    world
        .update(
            "SALLYPORT_OPS_TABLE",
            &flags,
            "SET modes.#entry.reason = :nasty, modes.#entry.#by = :operator",
            &names,
        )
        .await?;
    let names = json!({"#entry": "network#198.51.100.9/32", "#by": "by"});
    world
        .update(
            "SALLYPORT_OPS_TABLE",
            &flags,
            "SET blocks.#entry.reason = :nasty, blocks.#entry.#by = :operator",
            &names,
        )
        .await?;
    for item in world.audit().await? {
        let key = json!({"pk": {"S": item["pk"]}, "sk": {"S": item["sk"]}});
        let change = "SET #detail = :nasty, #actor = :operator, #agent = :nasty";
        let names = json!({"#detail": "detail", "#actor": "actor", "#agent": "agent"});
        world.update("SALLYPORT_AUDIT_TABLE", &key, change, &names).await?;
    }
    let mut seen = 0;
    for line in SHOWING.into_iter().chain(REPEATING) {
        let line = line.replace("{id}", &id).replace("{request}", request).replace("{nasty}", NASTY);
        let run = shell.run(&line)?;
        let found = obeyed(&run);
        ensure!(found.is_empty(), "{line:?}: {found:?} in {run:?}");
        ensure!(!run.stdout.is_empty() || !run.stderr.is_empty(), "{line:?} says nothing");
        seen += usize::from(run.stdout.contains('\u{fffd}'));
    }
    ensure!(seen >= 6, "only {seen} commands have shown it at all");
    // Of a draft that is pasted somewhere: no HTML, no code, no link, no further row.
    let draft = shell.run(&format!("incident postmortem {id}"))?.stdout;
    for obeyed in ["<b>", "x`", "[z](", "`|"] {
        ensure!(
            !draft.replace("\\<", "").replace("\\`", "").replace("\\[", "").contains(obeyed),
            "{obeyed} in {draft}"
        );
    }
    Ok(())
}
