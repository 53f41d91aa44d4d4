//! Calls of the command that fail once, or whose reply is lost: it is done once all the same, and recorded once.

use local::{Backend, Options};
use serde_json::{Value, json};

use crate::support::{Run, Shell};

const KINDS: [&str; 5] = ["drop_before", "drop_after", "error_500", "throttle", "conflict"];

struct Scene {
    backend: Backend,
    shell: Shell,
    http: reqwest::Client,
}

impl Scene {
    async fn start(faults: Vec<String>) -> anyhow::Result<Self> {
        let backend = Backend::start(Options { quiet: true, faults, ..Options::default() }).await?;
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
                ("migrate down --json", down, "pending", "migration.reverted"),
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
    for kind in ["error_500", "throttle", "drop_before"] {
        let scene = Scene::start(Vec::new()).await?;
        let rule =
            json!({"kind": kind, "operation": "TransactWriteItems", "table": "ops", "count": 1_000_000});
        scene.fault("faults", &rule).await?;
        scene.shell.run("migrate up --json")?.error(1)?;
        assert!(scene.struck("faults").await? > 1, "{kind}: it was not tried again");
        assert_eq!(scene.state()?, "applying", "{kind}");
        assert_eq!(scene.events("migration.applied").await?, 0, "{kind}");
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
