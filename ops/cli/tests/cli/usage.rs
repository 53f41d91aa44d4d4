use std::process::{Command, Stdio};

use crate::support::{Run, Shell};

fn run(line: &str) -> anyhow::Result<Run> {
    Shell::new(std::collections::BTreeMap::new())?.run(line)
}

#[test]
fn completions_are_printed_for_each_shell() -> anyhow::Result<()> {
    for (shell, sign) in
        [("bash", "complete -F"), ("zsh", "#compdef sallyport"), ("fish", "complete -c sallyport")]
    {
        let run = run(&format!("completions {shell}"))?;
        assert_eq!(run.code, 0);
        assert!(run.stdout.contains(sign), "{shell}");
        assert!(run.stdout.contains("revoke-sessions"), "{shell}");
    }
    Ok(())
}

#[test]
fn help_and_version_are_no_errors() -> anyhow::Result<()> {
    let help = run("--help")?;
    assert_eq!(help.code, 0);
    assert!(help.stdout.contains("Exit codes: 0 done"), "{}", help.stdout);
    assert_eq!(run("--version")?.stdout, format!("sallyport {}\n", env!("CARGO_PKG_VERSION")));
    Ok(())
}

#[test]
fn what_is_not_understood_is_code_2_in_text_and_in_json() -> anyhow::Result<()> {
    let told = run("user show nobody")?;
    assert_eq!(
        (told.code, told.stderr.as_str()),
        (2, "error: invalid value 'nobody' for '<EMAIL>': not an e-mail address\n")
    );
    assert_eq!(run("mode set degraded disk --for 1h --reason x")?.stderr.lines().count(), 1);
    let (code, message) = run("user show nobody --json")?.error(2)?;
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("usage", "invalid value 'nobody' for '<EMAIL>': not an e-mail address")
    );
    Ok(())
}

#[test]
fn without_region_or_deployment_one_line_says_what_to_pass() -> anyhow::Result<()> {
    for line in
        ["keys list --json", "user show ada@example.com --json", "keys list --region eu-central-1 --json"]
    {
        let (code, message) = run(line)?.error(2)?;
        assert_eq!(code, "no_deployment", "{line}");
        for way in ["pass --stack NAME", "eval \"$(cargo run -q -p local -- env)\""] {
            assert!(message.contains(way), "{line}: {message}");
        }
    }
    assert_eq!(
        run("keys list --stack prod")?.stderr,
        "error: no AWS region: pass --region, or set AWS_REGION or a profile\n"
    );
    let half = Shell::new([("SALLYPORT_OPS_TABLE".to_owned(), "o".to_owned())].into())?;
    let (code, message) = half.run("keys list --region eu-central-1 --json")?.error(2)?;
    assert_eq!(code, "no_deployment");
    assert!(
        message.starts_with("which deployment? Pass --stack NAME, or set SALLYPORT_USERS_TABLE,"),
        "{message}"
    );
    Ok(())
}

#[test]
fn calibration_measures_and_advises() -> anyhow::Result<()> {
    let report =
        run("calibrate --memory 64,19456 --iterations 2 --samples 3 --target-ms 60000 --json")?.json(0)?;
    assert_eq!(report["measurements"].as_array().map(Vec::len), Some(2));
    assert_eq!(report["measurements"][0]["meets_owasp_floor"], false);
    assert_eq!(report["advice"]["memory_kib"], 19_456);
    assert_eq!(report["advice"]["lambda_memory_mb"], 1_769);
    let none = run("calibrate --memory 64 --iterations 1 --samples 1")?;
    assert!(none.stdout.contains("raise --target-ms"), "{}", none.stdout);
    Ok(())
}

#[test]
fn a_reader_that_has_read_enough_is_no_error() -> anyhow::Result<()> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sallyport"))
        .args(["runbook", "show", "service-down"])
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    drop(child.stdout.take());
    let ended = child.wait_with_output()?;
    assert_eq!((ended.status.code(), String::from_utf8(ended.stderr)?.as_str()), (Some(0), ""));
    Ok(())
}
