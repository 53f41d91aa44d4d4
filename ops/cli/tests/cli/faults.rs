//! Calls of the command that fail once, or whose reply is lost: it is done once all the same, and recorded once. Calls that
//! fail for good: the command says so, in one line, and can be repeated.

use std::{collections::BTreeMap, ops::RangeFrom};

use anyhow::ensure;
use local::Options;
use sallyport_testkit::Watched;
use serde_json::{Value, json};

use crate::support::{PASSWORD, Run, Shell};

const KINDS: [&str; 5] = ["drop_before", "drop_after", "error_500", "throttle", "conflict"];

struct Scene {
    backend: Watched,
    shell: Shell,
    http: reqwest::Client,
}

impl Scene {
    async fn start(faults: Vec<String>) -> anyhow::Result<Self> {
        let backend = Watched::start(Options { quiet: true, faults, ..Options::default() }).await?;
        let shell = Shell::new(backend.environment().clone())?;
        Ok(Self { backend, shell, http: reqwest::Client::new() })
    }

    fn url(&self, path: &str) -> String {
        format!("{}/_local/{path}", self.backend.url())
    }

    async fn fault(&self, path: &str, rule: &Value) -> anyhow::Result<()> {
        self.http.post(self.url(path)).json(rule).send().await?.error_for_status()?;
        Ok(())
    }

    /// How often the faults that stand have struck; lifts them.
    async fn struck(&self, path: &str) -> anyhow::Result<u64> {
        let rules: Value = self.http.get(self.url(path)).send().await?.json().await?;
        self.http.delete(self.url(path)).send().await?.error_for_status()?;
        Ok(rules["faults"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|rule| rule["injected"].as_u64())
            .sum())
    }

    async fn events(&self, kind: &str) -> anyhow::Result<usize> {
        let answer: Value = self.http.get(self.url("tables/Audit")).send().await?.json().await?;
        Ok(answer["items"].as_array().into_iter().flatten().filter(|item| item["kind"] == kind).count())
    }

    fn state(&self) -> anyhow::Result<Value> {
        Ok(self.shell.run("migrate status --json")?.json(0)?["migrations"][0]["state"].clone())
    }
}

/// Nothing but one line that says what failed.
fn is_one_line(run: &Run) -> bool {
    run.stdout.is_empty() && run.stderr.starts_with("error: ") && run.stderr.lines().count() == 1
}

fn done(run: &Run) -> usize {
    let report: Value = serde_json::from_str(&run.stdout).unwrap_or_default();
    report["migrations"].as_array().map_or(0, Vec::len)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_is_applied_and_reverted_once_whatever_fails_once() -> anyhow::Result<()> {
    let scene = Scene::start(Vec::new()).await?;
    let mut times = 0;
    for kind in KINDS {
        for (up, down) in [("PutItem", "UpdateItem"), ("TransactWriteItems", "TransactWriteItems")] {
            times += 1;
            for (line, operation, state, event) in [
                ("migrate up --json", up, "applied", "migration.applied"),
                ("migrate down --json", down, "not needed", "migration.reverted"),
            ] {
                scene.fault("faults", &json!({"kind": kind, "operation": operation, "table": "ops"})).await?;
                let run = scene.shell.run(line)?;
                let case = format!("{line}, {kind} at {operation}: {run:?}");
                assert_eq!((run.code, done(&run)), (0, 1), "{case}");
                assert_eq!(scene.struck("faults").await?, 1, "{case}");
                assert_eq!(scene.state()?, state, "{case}");
                assert_eq!(scene.events(event).await?, times, "{case}");
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_fails_for_good_says_so_and_leaves_no_event() -> anyhow::Result<()> {
    for (line, operation, event, before, begun, done) in [
        ("migrate up", "PutItem", "migration.applied", "not needed", "applying", "applying"),
        ("migrate up", "TransactWriteItems", "migration.applied", "applying", "applying", "applied"),
        ("migrate down", "UpdateItem", "migration.reverted", "applied", "reverting", "reverting"),
        ("migrate down", "TransactWriteItems", "migration.reverted", "reverting", "reverting", "not needed"),
    ] {
        for kind in KINDS {
            let scene = Scene::start(Vec::new()).await?;
            if line == "migrate down" {
                scene.shell.run("migrate up --json")?.json(0)?;
            }
            let rule = json!({"kind": kind, "operation": operation, "table": "ops", "count": 1_000_000});
            scene.fault("faults", &rule).await?;
            let run = scene.shell.run(line)?;
            let case = format!("{line}, {kind} at {operation}: {run:?}");
            assert_eq!(run.code, 1, "{case}");
            assert!(is_one_line(&run), "{case}");
            assert!(scene.struck("faults").await? > 1, "it was not tried again: {case}");
            let applied = kind == "drop_after";
            let ended = applied && operation == "TransactWriteItems";
            let state = if ended {
                done
            } else if applied {
                begun
            } else {
                before
            };
            assert_eq!(scene.state()?, state, "{case}");
            assert_eq!(scene.events(event).await?, usize::from(ended), "{case}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyring_is_filled_and_recorded_once_whatever_fails_once() -> anyhow::Result<()> {
    for kind in ["drop_before", "drop_after", "error_500", "throttle"] {
        for (path, operation) in [("keyring/faults", "PutSecretValue"), ("faults", "PutItem")] {
            // Away while the backend starts, so that it does not fill it.
            let away = json!({"kind": "refuse", "service": "secretsmanager"}).to_string();
            let scene = Scene::start(vec![away]).await?;
            scene.struck("faults").await?;
            scene.struck("keyring/faults").await?;
            assert_eq!(scene.shell.run("keys list --json")?.json(0)?["filled"], false);

            scene.fault(path, &json!({"kind": kind, "operation": operation})).await?;
            let filled = scene.shell.run("keys init --json")?.json(0)?;
            let case = format!("{kind} at {operation}: {filled}");
            assert_eq!(scene.struck(path).await?, 1, "{case}");
            assert_eq!(filled["created"], true, "{case}");
            let listed = scene.shell.run("keys list --json")?.json(0)?;
            assert_eq!(listed["keys"][0]["id"], filled["kid"], "{case}");
            assert_eq!(scene.events("keyring.created").await?, 1, "{case}");
        }
    }
    Ok(())
}

/// A command that changes something: what comes before it, the event that it leaves, and with what a repetition ends that
/// finds it done. `#` is another number each time, `{incident}` an incident that rings, `{kid}` the key that signs.
struct Changing {
    before: &'static [&'static str],
    line: &'static str,
    event: &'static str,
    repeated: i32,
    /// Whether a repetition does it anew, and so leaves an event of its own.
    anew: bool,
}

const fn changing(
    before: &'static [&'static str],
    line: &'static str,
    event: &'static str,
    repeated: i32,
) -> Changing {
    Changing { before, line, event, repeated, anew: false }
}

const CREATE: &str = "user create user#@example.com --password-stdin";

const CHANGING: [Changing; 18] = [
    changing(&[], CREATE, "account.created", 4),
    changing(&[CREATE], "user disable user#@example.com", "account.disabled", 0),
    changing(
        &[CREATE, "user disable user#@example.com"],
        "user enable user#@example.com",
        "account.enabled",
        0,
    ),
    Changing {
        anew: true,
        ..changing(
            &[CREATE],
            "user set-password user#@example.com --password-stdin",
            "account.password_set",
            0,
        )
    },
    Changing {
        anew: true,
        ..changing(&[CREATE], "user revoke-sessions user#@example.com", "account.sessions_revoked", 0)
    },
    changing(&[CREATE], "reset force user#@example.com", "password.reset_forced", 0),
    changing(&[], "client add client-#", "client.added", 4),
    changing(&["client add client-#"], "client remove client-#", "client.removed", 3),
    changing(&[], "block add 203.0.113.# --for 1h --reason test", "block.added", 0),
    changing(
        &["block add 203.0.113.# --for 1h --reason test"],
        "block remove 203.0.113.#",
        "block.removed",
        3,
    ),
    Changing {
        anew: true,
        ..changing(&[], "mode set degraded throttle --for 1h --reason test --replace", "mode.set", 0)
    },
    changing(
        &["mode set maintenance --for 1h --reason test --replace"],
        "mode clear maintenance",
        "mode.cleared",
        3,
    ),
    changing(&[], "incident ack {incident}", "incident.acknowledged", 0),
    changing(&[], "incident note {incident} restarting", "", 0),
    changing(&[], "incident escalate {incident}", "incident.escalated", 0),
    changing(&[], "incident resolve {incident} --summary over --force", "incident.resolved", 0),
    changing(&[], "keys rotate --emergency {kid}", "keyring.revoked", 0),
    changing(&[], "keys rotate --emergency refresh:{refresh}", "keyring.revoked", 0),
];

impl Scene {
    /// The command of this number, with everything before it done.
    async fn ready(&self, changing: &Changing, number: usize) -> anyhow::Result<String> {
        let numbered = |line: &str| line.replace('#', &number.to_string());
        for line in changing.before {
            let run = self.shell.run_with(&numbered(line), PASSWORD)?;
            ensure!(run.code == 0, "{line}: {run:?}");
        }
        let mut line = numbered(changing.line);
        if line.contains("{incident}") {
            let alarm = json!({
                "AlarmName": format!("alarm-{number}"), "NewStateValue": "ALARM",
                "StateChangeTime": "2026-01-01T12:00:00.000+0000", "NewStateReason": "Threshold Crossed",
            });
            let rung: Value =
                self.http.post(self.url("invoke/responder")).json(&alarm).send().await?.json().await?;
            let incident = rung["result"]["alarms"][0]["incident"].as_str().unwrap_or_default();
            line = line.replace("{incident}", incident);
        }
        if line.contains("keys ") {
            let listed = self.shell.run("keys list --json")?.json(0)?;
            let current = |kind: &str| {
                let keys = listed["keys"].as_array().into_iter().flatten();
                let mut current = keys.filter(|key| key["kind"] == kind && key["state"] == "current");
                current
                    .next()
                    .map(|key| key["id"].as_str().map_or_else(|| key["id"].to_string(), str::to_owned))
            };
            line = line.replace("{kid}", &current("signing").unwrap_or_default());
            line = line.replace("{refresh}", &current("refresh").unwrap_or_default());
        }
        Ok(line)
    }

    /// The writes of the calls since the last look, each as the rule that describes it.
    async fn writes(&self) -> anyhow::Result<Vec<Value>> {
        let answer: Value = self.http.get(self.url("calls")).send().await?.json().await?;
        let mut counts = BTreeMap::<String, u64>::new();
        let mut found = Vec::new();
        for call in answer["calls"].as_array().into_iter().flatten() {
            let writes = ["PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"];
            if call["function"] != "sallyport"
                || !writes.iter().any(|operation| call["operation"] == *operation)
            {
                continue;
            }
            let count = counts.entry(call["operation"].to_string()).or_default();
            *count += 1;
            found.push(json!({"function": "sallyport", "operation": call["operation"], "nth": count}));
        }
        Ok(found)
    }

    async fn plays(&self, changing: &Changing, numbers: &mut RangeFrom<usize>) -> anyhow::Result<()> {
        let mut next = || numbers.next().unwrap_or_default();
        let line = self.ready(changing, next()).await?;
        self.http.delete(self.url("calls")).send().await?.error_for_status()?;
        let run = self.shell.run_with(&line, PASSWORD)?;
        ensure!(run.code == 0, "{line}: {run:?}");
        let writes = self.writes().await?;
        ensure!(!writes.is_empty(), "{line} writes nothing");
        for site in &writes {
            for (kind, lasts) in [
                ("drop_after", false),
                ("conflict", false),
                ("drop_before", true),
                ("drop_after", true),
                ("conflict", true),
            ] {
                let line = self.ready(changing, next()).await?;
                let events = self.events(changing.event).await?;
                let mut rule = site.clone();
                rule["kind"] = json!(kind);
                rule["count"] = json!(if lasts { 1_000_000 } else { 1 });
                self.fault("faults", &rule).await?;
                let run = self.shell.run_with(&line, PASSWORD)?;
                let struck = self.struck("faults").await?;
                let case = format!("{line}, {kind} at {site}: {run:?}");
                ensure!(struck > u64::from(lasts), "it struck {struck} times: {case}");
                if lasts {
                    // Others in the way are no outage.
                    let expected = if kind == "conflict" { [1, 4].as_slice() } else { &[1] };
                    ensure!(expected.contains(&run.code) && is_one_line(&run), "{case}");
                } else {
                    ensure!(run.code == 0, "{case}");
                }
                // Whoever was told that it failed asks again.
                let again = self.shell.run_with(&line, PASSWORD)?;
                ensure!(
                    [0, changing.repeated].contains(&again.code) || changing.anew,
                    "{case}, then {again:?}"
                );
                let made = self.events(changing.event).await? - events;
                let most = if changing.anew { 2 } else { 1 };
                let least = usize::from(!changing.event.is_empty());
                ensure!((least..=most).contains(&made), "{made} events: {case}, then {again:?}");
            }
        }
        Ok(())
    }
}

/// So many at a time: what fails for good is mostly waited for.
const WORKERS: usize = 6;

/// A worker's thread waits for the command, while the backend that it calls is in this process too.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn every_change_is_made_once_whatever_fails_and_told_in_one_line_where_it_fails_for_good()
-> anyhow::Result<()> {
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            tokio::spawn(async move {
                let (scene, mut numbers) = (Scene::start(Vec::new()).await?, 1..);
                scene.shell.run("keys init --json")?.json(0)?;
                for changing in CHANGING.iter().skip(worker).step_by(WORKERS) {
                    scene.plays(changing, &mut numbers).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for worker in workers {
        worker.await??;
    }
    Ok(())
}
