use std::fs;

use local::Options;
use sallyport_testkit::Watched;
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
    let (code, message) =
        shell.run(&format!("runbook run {PAGE} --yes --section rollback --json"))?.error(2)?;
    assert_eq!(code, "variable_missing");
    assert!(
        message
            .ends_with("needs EMAIL, and nothing was run: set it in the environment, or pass --set EMAIL=…"),
        "{message}"
    );
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

#[tokio::test(flavor = "multi_thread")]
async fn the_scrape_token_of_a_backend_here_is_printed_and_where_another_is() -> anyhow::Result<()> {
    let providers = [("metrics_token".to_owned(), "scrape-token-of-the-suite".to_owned())].into();
    let backend = Watched::start(Options { quiet: true, providers, ..Options::default() }).await?;
    let shell = Shell::new(backend.environment().clone())?;
    let printed = shell.run("runbook env")?.stdout;
    assert!(printed.contains("export METRICS_TOKEN='scrape-token-of-the-suite'\n"), "{printed}");
    let without = World::start().await?;
    let printed = without.shell.run("runbook env")?.stdout;
    assert!(
        printed.contains("\n# METRICS_TOKEN is the member metrics_token of the providers' secret:\n"),
        "{printed}"
    );
    Ok(())
}

#[test]
fn without_a_deployment_there_are_no_variables_to_print() -> anyhow::Result<()> {
    let shell = Shell::new(Default::default())?;
    let (code, message) = shell.run("runbook env --json")?.error(2)?;
    assert_eq!(code, "no_deployment");
    assert!(message.starts_with("no deployment chosen: pass --stack NAME"), "{message}");
    Ok(())
}

/// Types lines at a terminal that the command believes to be one, and returns what it showed.
fn at_terminal(shell: &Shell, line: &str, typed: &str) -> anyhow::Result<(i32, String)> {
    const PTY: &str = "\
import os, pty, sys
typed, command = sys.argv[1], sys.argv[2:]
child, terminal = pty.fork()
if child == 0:
    os.execv(command[0], command)
os.write(terminal, typed.encode())
while True:
    try:
        shown = os.read(terminal, 65536)
    except OSError:
        break
    if not shown:
        break
    sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
";
    let output = std::process::Command::new("python3")
        .args(["-c", PTY, typed, env!("CARGO_BIN_EXE_sallyport")])
        .args(line.split(' '))
        .envs(&shell.environment)
        .output()?;
    let shown = String::from_utf8(output.stdout)?.replace("\r\n", "\n");
    Ok((output.status.code().unwrap_or(-1), shown))
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_terminal_a_variable_is_asked_for_at_the_step_that_needs_it() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    let run = format!("runbook run {PAGE} --section rollback");
    let (code, shown) = at_terminal(&world.shell, &run, "ada@example.com\ny\n")?;
    assert!(code == 0 && shown.contains("EMAIL is not set: its value, or [n]o, [q]uit: "), "{shown}");
    assert!(shown.contains(": 1 step done"), "{shown}");
    for passed_over in ["\n", "n\n"] {
        let (code, shown) = at_terminal(&world.shell, &run, passed_over)?;
        assert!(code == 0 && shown.contains(": 0 steps done, 1 passed over"), "{shown}");
    }
    let (code, shown) = at_terminal(&world.shell, &run, "q\n")?;
    assert!(code == 0 && shown.contains("stopped before step "), "{shown}");
    // The steps before go on without it.
    let (_, shown) = at_terminal(&world.shell, "runbook run credential-stuffing", "y\ny\ny\n\nq\n")?;
    assert!(shown.contains("ADDRESS is not set"), "{shown}");
    assert!(
        shown.contains(": 3 steps done, 1 passed over\nstopped before step 5; go on with --from 5"),
        "{shown}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_is_asked_a_run_stops_at_the_step_that_lacks_a_variable() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    let run = world.shell.run("runbook run credential-stuffing --yes")?;
    assert_eq!(run.code, 2, "{run:?}");
    assert!(
        run.stdout.ends_with(
            "credential-stuffing: 3 steps done\nstopped before step 4, which needs ADDRESS; go on with --from 4 --set ADDRESS=…\n"
        ),
        "{run:?}"
    );
    let report = world.shell.run("runbook run credential-stuffing --yes --from 2 --json")?.json(2)?;
    assert_eq!((&report["stopped"], &report["missing"]), (&Value::from(4), &Value::from(vec!["ADDRESS"])));
    assert_eq!(report["steps"].as_array().map(Vec::len), Some(2));
    Ok(())
}

/// A page that stops at a slip of the finger is closed at three in the morning.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_failed_is_tried_again_with_another_value() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    let run = "runbook run lockouts-rising --section diagnosis --set EMAIL=ada@example.com --set ADDRESS=127.66.0.0/24x";
    // Run it; it fails; another value for ADDRESS, the same for EMAIL.
    let (code, shown) = at_terminal(&world.shell, run, "y\nc\n127.66.0.0/24\n\n")?;
    assert!(shown.contains("failed with 2: [r]etry, [c]hange its values, [n]ext step, [q]uit: "), "{shown}");
    assert!(
        shown.contains("ADDRESS [127.66.0.0/24x]: ") && shown.contains("EMAIL [ada@example.com]: "),
        "{shown}"
    );
    assert!(code == 0 && shown.contains("127.66.0.0/24: nothing refuses"), "{shown}");
    assert!(shown.contains("lockouts-rising: 1 step done"), "{shown}");
    let (code, shown) = at_terminal(&world.shell, run, "y\nn\n")?;
    assert!(code == 1 && shown.contains("step 4 failed with 2"), "{shown}");
    Ok(())
}
