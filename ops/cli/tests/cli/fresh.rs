//! A backend that somebody has just started: nothing is wrong with it, and nothing says that something is.

use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};

use crate::support::World;

/// What the operator's commands find fault with.
fn found(world: &World) -> anyhow::Result<Vec<String>> {
    let firing = world.shell.run("alarms list --firing --json")?.json(0)?;
    let names =
        firing["alarms"].as_array().into_iter().flatten().map(|alarm| format!("fires: {}", alarm["name"]));
    let mut found: Vec<_> = names.collect();
    for line in ["doctor --json", "deploy preflight --json"] {
        let run = world.shell.run(line)?;
        let report: Value = serde_json::from_str(&run.stdout)?;
        let checks = report["checks"].as_array().into_iter().flatten();
        let bad = checks
            .filter(|check| ["warning", "fault"].contains(&check["outcome"].as_str().unwrap_or_default()));
        found.extend(bad.map(|check| format!("{line}: {}: {}", check["name"], check["what"])));
        ensure!(run.code == 0 || !found.is_empty(), "{run:?}");
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_backend_is_clean_at_once_and_after_minutes_that_nobody_uses_it() -> anyhow::Result<()> {
    let world = World::scheduled().await?;
    assert_eq!(found(&world)?, Vec::<String>::new(), "at once");
    for _ in 0..8 {
        let before = world.lines_with("/health/ready").await?;
        world.post("/_local/clock", None, &json!({"advance_seconds": 60})).await?;
        // The schedules look at the clock once a second.
        let probed = async || anyhow::Ok(world.lines_with("/health/ready").await? > before);
        tokio::time::timeout(Duration::from_secs(60), async {
            while !probed().await? {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            anyhow::Ok(())
        })
        .await??;
    }
    assert_eq!(found(&world)?, Vec::<String>::new(), "after eight minutes");
    Ok(())
}
