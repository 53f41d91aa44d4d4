//! Every command that changes something, with `--dry-run`: nothing is changed.

use std::collections::BTreeMap;

use local::Options;
use sallyport_aws::{Clients, Endpoints};
use sallyport_testkit::Watched;
use serde_json::{Value, json};

use crate::support::{PASSWORD, Shell};

/// A line for every command that takes `--dry-run`. Where something is there to be changed, it would be.
const LINES: &[(&str, &str)] = &[
    ("user create", "grace@example.com --password-stdin"),
    ("user disable", "ada@example.com"),
    ("user enable", "eve@example.com"),
    ("user unlock", "ada@example.com"),
    ("user set-password", "ada@example.com --password-stdin"),
    ("user reset-mfa", "ada@example.com"),
    ("user revoke-sessions", "ada@example.com"),
    ("client add", "reports"),
    ("client remove", "billing"),
    ("keys init", ""),
    ("setup", "--email setup@example.com --generate"),
    ("migrate up", ""),
    ("migrate down", ""),
    ("runbook run", "api-server-errors"),
    ("mode set", "emergency --for 30m --reason test"),
    ("mode clear", "maintenance"),
    ("block add", "192.0.2.1 --for 1h --reason test"),
    ("block remove", "198.51.100.7"),
    ("reset force", "ada@example.com"),
    ("alarms test", "slow-responses"),
    ("incident open", "--severity SEV2 --cause security report"),
    ("incident ack", "{incident}"),
    ("incident note", "{incident} restarting"),
    ("incident escalate", "{incident}"),
    ("incident resolve", "{incident} --summary done"),
    ("keys rotate", ""),
    ("keys revoke", "signing:none"),
    ("restore drill", ""),
    ("retention sweep", ""),
    ("deploy prune", ""),
    ("deploy rollback", ""),
    ("deploy settle", ""),
    ("deploy template", ""),
    ("gameday run", "expired-key"),
];

/// What has nothing here that it could change says so.
const NOTHING_TO_CHANGE: [&str; 5] =
    ["keys revoke", "deploy prune", "deploy rollback", "deploy settle", "deploy template"];

const TABLES: [&str; 6] = ["Users", "Sessions", "Throttle", "Outbox", "Audit", "Ops"];

/// All commands that take `--dry-run`, by their help.
fn changing(shell: &Shell, path: &str, found: &mut Vec<String>) -> anyhow::Result<()> {
    let help = shell.run(&format!("{path} --help"))?.stdout;
    if let Some((_, list)) = help.split_once("\nCommands:\n") {
        for line in list.lines().take_while(|line| line.starts_with("  ")) {
            let name = line.split_whitespace().next().unwrap_or_default();
            if name != "help" {
                changing(shell, format!("{path} {name}").trim(), found)?;
            }
        }
    } else if help.contains("--dry-run") {
        found.push(path.to_owned());
    }
    Ok(())
}

/// All that is stored: the items of every table, the keyring with its versions.
async fn everything(backend: &Watched) -> anyhow::Result<BTreeMap<String, Value>> {
    let mut stored = BTreeMap::new();
    for table in TABLES {
        let url = format!("{}/_local/tables/{table}", backend.url());
        let mut items = reqwest::get(url).await?.json::<Value>().await?["items"].take();
        let items_of = items.as_array_mut().unwrap();
        // What an address has asked for is forgotten a minute later, whoever does what.
        items_of.retain(|item| !item["key"].as_str().is_some_and(|key| key.starts_with("address#")));
        items_of.sort_by_key(Value::to_string);
        stored.insert(table.to_owned(), items);
    }
    let lookup = |name: &str| backend.environment().get(name).cloned();
    let secrets = Clients::connect(&Endpoints::from_lookup(&lookup), "test", &lookup)?.secrets;
    let name = &backend.environment()["SALLYPORT_KEYRING_SECRET"];
    let secret = secrets.get_secret_value().secret_id(name).send().await?;
    stored.insert("keyring".to_owned(), json!([secret.version_id, secret.secret_string]));
    Ok(stored)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_of_any_command_changes_nothing() -> anyhow::Result<()> {
    let backend = Watched::start(Options { quiet: true, ..Options::default() }).await?;
    let shell = Shell::new(backend.environment().clone())?;
    let mut found = Vec::new();
    changing(&shell, "", &mut found)?;
    found.sort();
    let mut listed: Vec<_> = LINES.iter().map(|(command, _)| (*command).to_owned()).collect();
    listed.sort();
    assert_eq!(found, listed, "every command that takes --dry-run has a line here, and no other");

    for email in ["ada@example.com", "eve@example.com"] {
        shell.run_with(&format!("user create {email} --password-stdin --json"), PASSWORD)?.json(0)?;
    }
    shell.run("user disable eve@example.com --json")?.json(0)?;
    shell.run("client add billing --json")?.json(0)?;
    let http = reqwest::Client::new();
    for (password, status) in [(PASSWORD, 200), ("wrong", 401)] {
        let login = http.post(format!("{}/api/v1/auth/login", backend.url()));
        let answer = login.json(&json!({"email": "ada@example.com", "password": password})).send().await?;
        assert_eq!(answer.status(), status);
    }
    let mut incident = String::new();
    for (state, at) in [("ALARM", "2026-01-01T12:00:00.000+0000"), ("OK", "2026-01-01T12:20:00.000+0000")] {
        let alarm = json!({
            "AlarmName": "sallyport-prod-slow-responses", "NewStateValue": state, "StateChangeTime": at,
            "NewStateReason": "Threshold Crossed", "Trigger": {"Period": 60, "EvaluationPeriods": 2},
        });
        let ring = http.post(format!("{}/_local/invoke/responder", backend.url())).json(&alarm);
        let answer: Value = ring.send().await?.json().await?;
        let rung = answer["result"]["alarms"][0]["incident"].as_str().unwrap_or_default();
        assert!(incident.is_empty() || incident == rung, "{answer}");
        rung.clone_into(&mut incident);
    }
    assert!(incident.starts_with("inc_"), "{incident}");
    for line in
        ["mode set maintenance --for 1h --reason test", "block add 198.51.100.7 --for 1h --reason test"]
    {
        assert_eq!(shell.run(line)?.code, 0, "{line}");
    }
    // With nothing applied, and with everything.
    for _ in 0..2 {
        let before = everything(&backend).await?;
        assert!(before["Throttle"].as_array().is_some_and(|items| !items.is_empty()));
        for (command, arguments) in LINES {
            for json in ["", "--json"] {
                let arguments = arguments.replace("{incident}", &incident);
                let run =
                    shell.run_with(&format!("{command} {arguments} --dry-run {json}"), "another password")?;
                let refused = NOTHING_TO_CHANGE.contains(command) && matches!(run.code, 2..=4);
                assert!(run.code == 0 || refused, "{command}: {run:?}");
                assert_eq!(everything(&backend).await?, before, "{command} {json}");
            }
        }
        shell.run("migrate up --json")?.json(0)?;
    }
    Ok(())
}
