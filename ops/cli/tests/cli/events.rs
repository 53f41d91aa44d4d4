use local::Options;
use sallyport_testkit::Watched;
use serde_json::{Value, json};

use crate::support::{PASSWORD, Shell};

/// Kinds, authors and details of the events that are stored, in the order of their times.
async fn events(url: &str) -> anyhow::Result<Vec<(String, String, String)>> {
    let answer: Value = reqwest::get(format!("{url}/_local/tables/Audit")).await?.json().await?;
    let mut items = answer["items"].as_array().cloned().unwrap_or_default();
    items.sort_by_key(|item| item["sk"].as_str().map(str::to_owned));
    let text = |item: &Value, name: &str| item[name].as_str().unwrap_or_default().to_owned();
    Ok(items.iter().map(|item| (text(item, "kind"), text(item, "agent"), text(item, "detail"))).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_leaves_one_event_with_the_operators_name() -> anyhow::Result<()> {
    let backend = Watched::start(Options { quiet: true, ..Options::default() }).await?;
    let shell = Shell::new(backend.environment().clone())?;
    for (line, kind, detail) in [
        ("user create ada@example.com --password-stdin", "account.created", ""),
        ("user disable ada@example.com", "account.disabled", ""),
        ("user enable ada@example.com", "account.enabled", ""),
        ("user unlock ada@example.com", "account.unlocked", ""),
        ("user set-password ada@example.com --password-stdin", "account.password_set", ""),
        ("user revoke-sessions ada@example.com", "account.sessions_revoked", ""),
        ("client add billing", "client.added", "billing"),
        ("client remove billing", "client.removed", "billing"),
        ("migrate up", "migration.applied", "0001"),
        ("migrate down", "migration.reverted", "0001"),
    ] {
        if line.starts_with("user unlock") {
            // An attempt that failed: else there is nothing to unlock.
            let wrong = json!({"email": "ada@example.com", "password": "wrong"});
            let login = format!("{}/api/v1/auth/login", backend.url());
            assert_eq!(reqwest::Client::new().post(login).json(&wrong).send().await?.status(), 401);
        }
        let before = events(backend.url()).await?;
        let run = shell.run_with(line, PASSWORD)?;
        assert_eq!(run.code, 0, "{run:?}");
        let mut added = events(backend.url()).await?;
        added.retain(|event| !before.contains(event));
        let expected = (kind.to_owned(), "operator grace@desk".to_owned(), detail.to_owned());
        assert_eq!(added, [expected], "{line}");
    }
    // What is done already changes nothing, and leaves nothing.
    let before = events(backend.url()).await?;
    for line in ["migrate down", "keys init"] {
        assert_eq!(shell.run(line)?.code, 0, "{line}");
    }
    assert_eq!(events(backend.url()).await?, before);
    Ok(())
}
