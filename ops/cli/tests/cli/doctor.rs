use serde_json::{Value, json};

use crate::support::{Empty, Run, World};

/// Outcome and words of a check.
fn check(report: &Value, name: &str) -> (String, String) {
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"].as_str().unwrap().starts_with(name)).unwrap();
    (check["outcome"].as_str().unwrap().to_owned(), check["what"].as_str().unwrap().to_owned())
}

fn faults(run: &Run) -> Vec<String> {
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let bad = checks.iter().filter(|check| check["outcome"] == "fault");
    bad.map(|check| check["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_backend_passes_and_what_only_the_cloud_has_is_said_to_be_skipped() -> anyhow::Result<()> {
    let world = World::start().await?;
    let report = world.shell.run("doctor --json")?.json(0)?;
    assert_eq!(report["ok"], true);
    for name in [
        "settings",
        "tables",
        "keyring",
        "key age",
        "clock",
        "readiness",
        "jwks",
        "discovery",
        "modes",
        "incidents",
    ] {
        assert_eq!(check(&report, name).0, "ok", "{name}: {report:#}");
    }
    for name in ["stack", "parameters", "recovery", "alarm topics", "log retention"] {
        assert_eq!(check(&report, name).0, "skipped", "{name}: {report:#}");
    }
    assert!(check(&report, "recovery").1.ends_with("not on this machine"), "{report:#}");
    for finding in report["checks"].as_array().unwrap().iter().filter(|check| check["outcome"] == "warning") {
        assert!(finding["fix"].is_string(), "{finding}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dependency_that_is_down_is_a_fault_with_its_name() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.fault(&json!({"kind": "refuse", "table": "sessions", "function": "health"})).await?;
    let run = world.shell.run("doctor --json")?;
    let report = run.json(5)?;
    assert_eq!(report["ok"], false);
    let (outcome, what) = check(&report, "readiness");
    assert_eq!(outcome, "fault");
    assert!(what.contains("sessions"), "{what}");
    let text = world.shell.run("doctor")?;
    assert!(text.stdout.contains("fix: sallyport runbook show service-down"), "{}", text.stdout);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_keyring_and_a_backend_that_is_not_there_are_found_out_together() -> anyhow::Result<()> {
    let empty = Empty::start().await?;
    let shell = empty.shell.with("SALLYPORT_ISSUER", "http://localhost:1");
    let run = shell.run("doctor --json")?;
    assert!(faults(&run).contains(&"api".to_owned()), "{run:?}");
    let report = run.json(5)?;
    assert_eq!(check(&report, "keyring").1, "is empty");
    assert_eq!(check(&report, "key age").0, "skipped");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_another_one_is_a_fault() -> anyhow::Result<()> {
    let world = World::start().await?;
    let shell = world.shell.run("doctor --json")?.json(0).map(drop);
    shell?;
    let Empty { shell, _running } = Empty::filled().await?;
    let shell = shell.with("SALLYPORT_SESSIONS_TABLE", "sallyport-local-ops");
    let run = shell.run("doctor --json")?;
    assert_eq!(run.code, 5, "{run:?}");
    assert!(faults(&run).iter().any(|name| name.starts_with("sessions table")), "{run:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_past_its_time_is_a_warning_by_the_backends_own_clock() -> anyhow::Result<()> {
    let world = World::start().await?;
    let advance = json!({"advance_seconds": 91 * 86_400});
    let (status, _) = world.post("/_local/clock", None, &advance).await?;
    assert_eq!(status, 200);
    let report = world.shell.run("doctor --json")?.json(0)?;
    let (outcome, what) = check(&report, "key age");
    assert_eq!((outcome.as_str(), what.contains("91 days old")), ("warning", true), "{what}");
    for name in ["refresh key age", "device key age"] {
        let (outcome, what) = check(&report, name);
        assert_eq!((outcome.as_str(), what.contains("91 days old")), ("warning", true), "{what}");
    }
    assert_eq!(world.shell.run("doctor --strict --json")?.code, 5);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mode_that_holds_is_a_warning_with_the_command_that_clears_it() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.shell.run("mode set degraded throttle --for 1h --reason slow --json")?.json(0)?;
    let run = world.shell.run("doctor")?;
    assert!(run.stdout.contains("fix: sallyport mode clear degraded throttle"), "{}", run.stdout);
    Ok(())
}

/// A planned rotation is no fault: neither while the next key is in no copy of the keyring yet, nor at any later step.
#[tokio::test(flavor = "multi_thread")]
async fn a_planned_rotation_is_clean_after_every_step() -> anyhow::Result<()> {
    let world = World::start().await?;
    let clean = async |command: &str, when: &str| {
        let run = world.shell.run(&format!("{command} --json"))?;
        anyhow::ensure!(faults(&run).is_empty(), "{command} {when}: {:?} {run:?}", faults(&run));
        anyhow::Ok(())
    };
    // The published keys are asked for, and kept, before each step.
    clean("doctor", "before").await?;
    for step in ["publish", "promote", ""] {
        // The step after these two depends on what the old keys made.
        let taken = world.shell.run("keys rotate --json")?;
        if !step.is_empty() {
            assert_eq!(taken.json(0)?["step"], step);
        }
        for command in ["doctor", "deploy preflight"] {
            clean(command, &format!("at once after {step}")).await?;
        }
        for seconds in [240, 60, 86_400] {
            world.post("/_local/clock", None, &json!({"advance_seconds": seconds})).await?;
            clean("doctor", &format!("{seconds} s later, after {step}")).await?;
        }
    }
    Ok(())
}

#[test]
fn without_a_deployment_it_says_what_to_pass() -> anyhow::Result<()> {
    let shell =
        crate::support::Shell::new(std::collections::BTreeMap::new())?.with("AWS_REGION", "us-east-1");
    assert_eq!(shell.run("doctor --json")?.error(2)?.0, "no_deployment");
    Ok(())
}
