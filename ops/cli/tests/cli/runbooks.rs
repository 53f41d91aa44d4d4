use std::fs;

use serde_json::Value;

use crate::support::{Shell, World};

/// A page whose commands need no more than a backend.
const PAGE: &str = "users-cannot-log-in";

#[test]
fn pages_are_listed_and_shown_without_a_deployment() -> anyhow::Result<()> {
    let shell = Shell::new(Default::default())?;
    let listed = shell.run("runbook list --json")?.json(0)?;
    let pages = listed["runbooks"].as_array().unwrap();
    assert!(pages.len() > 40);
    assert_eq!((&pages[0]["kind"], &pages[0]["severity"]), (&Value::from("alarm"), &Value::from("critical")));
    for page in pages {
        let name = page["name"].as_str().unwrap();
        let shown = shell.run(&format!("runbook show {name}"))?;
        assert_eq!(shown.code, 0, "{shown:?}");
        assert!(shown.stdout.contains("\n## First five minutes\n"), "{}", shown.stdout);
    }
    let (code, message) = shell.run("runbook show no-such-page --json")?.error(3)?;
    assert_eq!(code, "runbook_not_found");
    assert!(message.contains("sallyport runbook list"), "{message}");
    Ok(())
}

#[test]
fn without_somebody_to_confirm_nothing_is_run() -> anyhow::Result<()> {
    let shell = Shell::new(Default::default())?.with("SALLYPORT_URL", "http://127.0.0.1:9");
    let (code, _) = shell.run(&format!("runbook run {PAGE} --json"))?.error(2)?;
    assert_eq!(code, "nobody_confirms");
    let (code, message) = shell.run(&format!("runbook run {PAGE} --yes --json"))?.error(2)?;
    assert_eq!(code, "variable_missing");
    assert!(message.starts_with("set ADDRESS, EMAIL, REQUEST_ID in the environment"), "{message}");
    let (code, _) = shell.run(&format!("runbook run {PAGE} --yes --from 99 --json"))?.error(3)?;
    assert_eq!(code, "step_not_found");
    Ok(())
}

#[test]
fn a_dry_run_shows_every_step_and_runs_none() -> anyhow::Result<()> {
    let shell = Shell::new(Default::default())?;
    let report = shell.run(&format!("runbook run {PAGE} --dry-run --json"))?.json(0)?;
    let steps = report["steps"].as_array().unwrap();
    assert!(steps.len() > 5 && steps.iter().all(|step| step["outcome"] == "not_run"), "{report}");
    let shown = shell.run(&format!("runbook run {PAGE} --dry-run"))?.stdout;
    assert!(
        shown.contains("$ sallyport user unlock \"$EMAIL\"") && shown.ends_with("nothing was run\n"),
        "{shown}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_stops_at_the_first_failure_and_its_transcript_with_it() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("transcript.md");
    // The page's rollback shows the account: once as it is, once of somebody who is not there.
    let run = |email: &str| {
        world.shell.run(&format!(
            "runbook run {PAGE} --yes --json --section rollback --set EMAIL={email} --transcript {}",
            file.display()
        ))
    };
    let report = run("ada@example.com")?.json(0)?;
    assert_eq!((&report["ok"], &report["steps"][0]["outcome"]), (&Value::from(true), &Value::from("done")));
    let transcript = fs::read_to_string(&file)?;
    assert!(transcript.contains("By grace@desk, ") && transcript.contains("ada@example.com"), "{transcript}");

    let report = run("nobody@example.com")?.json(1)?;
    assert_eq!(
        (&report["steps"][0]["outcome"], &report["steps"][0]["exit"]),
        (&Value::from("failed"), &Value::from(3))
    );
    assert!(fs::read_to_string(&file)?.contains("failed with 3"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_variables_of_a_deployment_are_printed_for_a_shell() -> anyhow::Result<()> {
    let world = World::start().await?;
    let run = world.shell.run("runbook env")?;
    assert!(run.stdout.contains("export SALLYPORT_URL='http://localhost:"), "{run:?}");
    assert!(run.stdout.contains("export SALLYPORT_KEYRING_SECRET='sallyport-local-keyring'\n"), "{run:?}");
    Ok(())
}
