use serde_json::json;

use crate::support::{Empty, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_added_once_listed_and_removed() -> anyhow::Result<()> {
    let empty = Empty::start().await?;
    let shell = &empty.shell;
    assert_eq!(shell.run("client list")?.stdout, "No clients.\n");
    assert_eq!(
        shell.run("client add billing --dry-run --json")?.json(0)?,
        json!({"client_id": "billing", "dry_run": true})
    );
    assert_eq!(shell.run("client list --json")?.json(0)?["clients"], json!([]));

    let added = shell.run("client add billing --json")?.json(0)?;
    let secret = added["client_secret"].as_str().unwrap_or_default().to_owned();
    assert!(secret.starts_with("sps_") && secret.len() == 47, "{secret}");
    assert_eq!(shell.run("client add billing --json")?.error(4)?.0, "client_exists");
    assert_eq!(shell.run("client add billing --dry-run --json")?.error(4)?.0, "client_exists");

    let listed = shell.run("client list --json")?;
    assert_eq!(listed.json(0)?["clients"][0]["client_id"], "billing");
    assert!(!listed.stdout.contains(&secret));

    shell.run("client remove billing --dry-run --json")?.json(0)?;
    assert_eq!(shell.run("client remove billing")?.stdout, "removed client billing\n");
    assert_eq!(shell.run("client remove billing --json")?.error(3)?.0, "client_not_found");
    assert_eq!(shell.run("client remove billing --dry-run --json")?.error(3)?.0, "client_not_found");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_adds_one_client_whose_secret_is_the_one_shown() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.fault(&json!({"kind": "drop_after", "operation": "TransactWriteItems", "table": "ops"})).await?;
    let added = world.shell.run("client add billing --json")?.json(0)?;
    assert!(added["client_secret"].is_string());
    assert_eq!(world.shell.run("client list --json")?.json(0)?["clients"].as_array().map(Vec::len), Some(1));
    Ok(())
}
