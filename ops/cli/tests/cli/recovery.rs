//! Backups, restore drills, the count of sessions.

use serde_json::json;

use crate::support::{Empty, PASSWORD, World};

#[tokio::test(flavor = "multi_thread")]
async fn backups_are_verified_and_a_table_without_them_is_a_finding() -> anyhow::Result<()> {
    let world = World::start().await?;
    let verified = world.shell.run("backup verify --json")?.json(0)?;
    assert_eq!(verified["ok"], true, "{verified}");
    assert_eq!(verified["restore_proven_at"], json!(null));
    let told = world.shell.run("backup verify")?.stdout;
    assert!(told.contains("no restore has been proven yet"), "{told}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_was_proven_long_ago_is_a_finding_and_in_prod_one_that_never_was() -> anyhow::Result<()>
{
    let world = World::with_ada().await?;
    assert_eq!(world.shell.run("restore drill")?.code, 0);
    world.post("/_local/clock", None, &json!({"advance_seconds": 8 * 86_400 + 60})).await?;
    let verified = world.shell.run("backup verify --json")?.json(5)?;
    assert_eq!(verified["problems"].as_array().map(Vec::len), Some(1), "{verified}");
    let told = world.shell.run("backup verify")?.stdout;
    assert!(told.contains("the last restore was proven 8 days ago: run `sallyport restore drill`"), "{told}");

    let world = World::start().await?;
    let prod = world.shell.with("SALLYPORT_STAGE", "prod");
    let told = prod.run("backup verify")?;
    assert_eq!(told.code, 5, "{told:?}");
    assert!(told.stdout.contains("problem: no restore was ever proven"), "{told:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_drill_proves_the_restore_and_says_how() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    let rehearsed = world.shell.run("restore drill --dry-run --json")?.json(0)?;
    assert_eq!(rehearsed, json!({"dry_run": true}));
    let drilled = world.shell.run("restore drill")?;
    assert_eq!(drilled.code, 0, "{drilled:?}");
    assert!(drilled.stdout.contains("the canary account signs in"), "{drilled:?}");
    assert!(drilled.stdout.contains("the restore is proven (by copy"), "{drilled:?}");
    let again = world.shell.run("restore drill --json")?.json(0)?;
    assert_eq!((&again["ok"], &again["canary_signed_in"]), (&json!(true), &json!(true)));
    let verified = world.shell.run("backup verify --json")?.json(0)?;
    assert!(verified["restore_proven_at"].is_number(), "{verified}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_without_a_keyring_is_refused() -> anyhow::Result<()> {
    let empty = Empty::start().await?;
    assert_eq!(empty.shell.run("restore drill --json")?.error(1)?.0, "keyring_empty");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_counted_as_by_reading_them_all() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    for _ in 0..3 {
        assert_eq!(world.sign_in(PASSWORD).await?.0, 200);
    }
    world.post("/_local/invoke/maintenance", None, &json!({"task": "session_gauge"})).await?;
    let counted = world.shell.run("sessions count --scan --json")?.json(0)?;
    assert_eq!(counted, json!({"active_sessions": 3, "scanned": 3}));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_past_its_time_is_counted_then_named_then_gone() -> anyhow::Result<()> {
    let world = World::start().await?;
    let opened = world.shell.run("incident open --severity SEV3 --cause security report --json")?.json(0)?;
    let incident = opened["incident"].as_str().unwrap_or_default().to_owned();
    let resolve = format!("incident resolve {incident} --summary over");
    assert_eq!(world.shell.run(&resolve)?.code, 0);
    let checked = world.shell.run("retention check --json")?.json(0)?;
    let here = |overdue: u64| json!({"ok": true, "log_retention_days": null, "log_groups": [], "incidents_overdue": overdue, "problems": []});
    assert_eq!(checked, here(0));
    world.post("/_local/clock", None, &json!({"advance_seconds": 400 * 86_400 + 60})).await?;
    assert_eq!(world.shell.run("retention check --json")?.json(0)?, here(1));
    let said = world.shell.run("retention check")?.stdout;
    assert_eq!(said, "log groups: none on this machine\n1 incident for the next sweep\n");
    let rehearsed = world.shell.run("retention sweep --dry-run")?;
    assert_eq!(rehearsed.stdout, "would forget 1 incident; nothing was changed\n");
    assert_eq!(rehearsed.stderr, format!("{incident} security, resolved 400 days ago\n"));
    let swept = world.shell.run("retention sweep --json")?.json(0)?;
    assert_eq!(swept, json!({"dry_run": false, "forgotten": [incident], "problems": []}));
    let audit = world.audit().await?;
    let forgotten: Vec<_> = audit.iter().filter(|event| event["kind"] == "incident.forgotten").collect();
    assert_eq!(forgotten.len(), 1, "{audit:?}");
    assert_eq!(forgotten[0]["detail"], incident);
    assert_eq!(forgotten[0]["actor"], "operator grace@desk");
    assert_eq!(world.shell.run("retention sweep")?.stdout, "forgot 0 incidents\n");
    assert_eq!(
        world.shell.run(&format!("incident show {incident} --json"))?.error(3)?.0,
        "incident_not_found"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_its_time_says_how_far_it_is_to_people_and_not_to_scripts() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    for (line, told) in
        [("sessions count --scan", "sessions of 1 user read, 1 live"), ("migrate validate", "users: ")]
    {
        assert_eq!(world.sign_in(PASSWORD).await?.0, 200);
        let run = world.shell.run(line)?;
        assert!(run.code == 0 && run.stderr.contains(told), "{line}: {run:?}");
        assert_eq!(world.shell.run(&format!("{line} --json"))?.stderr, "");
    }
    Ok(())
}
