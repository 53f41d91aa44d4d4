//! `sallyport setup`: one command for a new deployment, again and again.

use serde_json::{Value, json};

use crate::{
    stack::{answering, bare, described},
    support::{Empty, PASSWORD, World},
};

/// Outcomes by step.
fn outcomes(report: &Value) -> Vec<(&str, &str)> {
    let steps = report["steps"].as_array().unwrap().iter();
    steps.map(|step| (step["step"].as_str().unwrap(), step["outcome"].as_str().unwrap())).collect()
}

fn outcome<'a>(report: &'a Value, name: &str) -> &'a str {
    outcomes(report).into_iter().find(|(step, _)| *step == name).map_or("", |(_, outcome)| outcome)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_is_set_up_by_one_command_and_a_second_one_finds_all_of_it_done() -> anyhow::Result<()> {
    let world = World::empty().await?;
    let line = "setup --email ada@example.com --password-stdin --json";
    let first = world.shell.run_with(line, PASSWORD)?.json(0)?;
    assert_eq!(first["ok"], true, "{first:#}");
    assert_eq!((outcome(&first, "account"), outcome(&first, "api")), ("done", "done"));
    assert_eq!(outcome(&first, "subscriptions"), "skipped");
    assert_eq!(first["url"], world.url());
    assert_eq!(first.get("password"), None, "one that was typed is shown nowhere");
    assert_eq!(world.sign_in(PASSWORD).await?.0, 200);

    let second = world.shell.run_with(line, "another password")?.json(0)?;
    for step in ["keyring", "item formats", "account"] {
        assert_eq!(outcome(&second, step), "already", "{second:#}");
    }
    assert_eq!(world.sign_in(PASSWORD).await?.0, 200);
    Ok(())
}

/// What a shell answers to a line that asks for the password; `None` where it is not installed.
#[expect(clippy::print_stderr, reason = "what was not checked is said")]
fn typed(shell: &str, line: &str, password: &str) -> anyhow::Result<Option<Value>> {
    use std::{io::Write as _, process::Stdio};
    let mut command = std::process::Command::new(shell);
    command.args(["-c", line]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        eprintln!("{shell} is not installed: the printed call was not run in it");
        return Ok(None);
    };
    child.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes())?;
    let output = child.wait_with_output()?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("Password: ") && !told.contains("syntax"), "{shell}: {told}");
    let answer = serde_json::from_slice(&output.stdout)
        .map_err(|error| anyhow::anyhow!("{shell}: {error}: {told}"))?;
    sallyport_testkit::secrets::note(&answer);
    Ok(Some(answer))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_call_that_it_prints_signs_in() -> anyhow::Result<()> {
    let world = World::empty().await?;
    let report = world.shell.run("setup --email ada@example.com --generate --json")?.json(0)?;
    let password = report["password"].as_str().unwrap();
    sallyport_testkit::secrets::password(password);
    let curl = report["curl"].as_str().unwrap();
    assert!(curl.contains(password));
    let output = std::process::Command::new("sh").args(["-c", curl]).output()?;
    let answer: Value = serde_json::from_slice(&output.stdout)?;
    sallyport_testkit::secrets::note(&answer);
    assert_eq!(answer["status"], "authenticated");
    // The second time nobody knows it any more, and the line asks for it.
    let report = world.shell.run("setup --email ada@example.com --generate --json")?.json(0)?;
    assert_eq!(report.get("password"), None);
    let asks = report["curl"].as_str().unwrap();
    for shell in ["sh", "dash", "bash", "zsh"] {
        let Some(answer) = typed(shell, asks, password)? else { continue };
        assert_eq!(answer["status"], "authenticated", "{shell}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_changes_nothing_and_says_what_would_be_done() -> anyhow::Result<()> {
    let world = World::empty().await?;
    let report = world.shell.run("setup --email ada@example.com --generate --dry-run --json")?.json(0)?;
    let would: Vec<_> = outcomes(&report).into_iter().filter(|(_, outcome)| *outcome == "would_do").collect();
    assert!(would.contains(&("account", "would_do")) && would.contains(&("api", "would_do")), "{report:#}");
    assert_eq!(report.get("password"), None);
    assert_eq!(world.shell.run("user show ada@example.com --json")?.error(3)?.0, "account_not_found");
    Ok(())
}

/// What was done before it is shown, with a password that nobody could see again; the next run goes on from there.
#[tokio::test(flavor = "multi_thread")]
async fn a_setup_that_fails_half_way_shows_what_was_done_and_goes_on_when_it_is_repeated()
-> anyhow::Result<()> {
    let world = World::empty().await?;
    let nowhere = world.shell.environment["SALLYPORT_ISSUER"].clone();
    let broken = "setup --email ada@example.com --generate --url http://127.0.0.1:1 --json";
    let report = world.shell.run(broken)?.json(1)?;
    assert_eq!((outcome(&report, "account"), outcome(&report, "api")), ("done", "failed"), "{report:#}");
    let password = report["password"].as_str().unwrap().to_owned();
    assert_eq!(world.sign_in(&password).await?.0, 200);
    let report =
        world.shell.run(&format!("setup --email ada@example.com --generate --url {nowhere} --json"))?;
    let report = report.json(0)?;
    assert_eq!((outcome(&report, "account"), outcome(&report, "api")), ("already", "done"));

    // The tables do not answer in the middle of it.
    let world = World::empty().await?;
    world.fault(&json!({"kind": "refuse", "table": "users"})).await?;
    let run = world.shell.run("setup --email ada@example.com --generate --json")?;
    assert_ne!(run.code, 0);
    let report: Value = serde_json::from_str(&run.stdout)?;
    let steps = outcomes(&report);
    assert_eq!(steps.last(), Some(&("item formats", "failed")), "{report:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_a_password_comes_from_an_option_or_nothing_is_begun() -> anyhow::Result<()> {
    let world = World::empty().await?;
    let (code, message) = world.shell.run("setup --email ada@example.com --json")?.error(2)?;
    assert_eq!(code, "usage");
    assert!(message.contains("--password-stdin or --generate"), "{message}");
    // Where nothing would be asked, nobody has to be at a terminal.
    let report = world.shell.run("setup --email ada@example.com --dry-run --json")?.json(0)?;
    assert_eq!(outcome(&report, "account"), "would_do");
    world.shell.run_with("user create eve@example.com --password-stdin --json", PASSWORD)?.json(0)?;
    let report = world.shell.run("setup --email eve@example.com --json")?.json(0)?;
    assert_eq!(outcome(&report, "account"), "already");
    // Nobody is named: the rest is done.
    let report = world.shell.run("setup --json")?.json(0)?;
    assert_eq!(outcome(&report, "account"), "skipped");
    assert!(report["curl"].as_str().unwrap().ends_with("/.well-known/jwks.json"), "{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_configuration_ends_with_5_and_its_fix() -> anyhow::Result<()> {
    let world = World::empty().await?;
    let shell = world.shell_with("SALLYPORT_REFRESH_GRACE_SECONDS", "600")?;
    let run = shell.run("setup")?;
    assert_eq!(run.code, 5, "{run:?}");
    assert!(run.stdout.contains("Fix: set it to 0 to 60."), "{run:?}");
    assert!(run.stdout.contains("Mend what failed, and run it again"), "{run:?}");
    Ok(())
}

/// A stack's topics, with an SNS that answers every question alike.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_confirmed_a_subscription_is_told() -> anyhow::Result<()> {
    for (confirmed, pending, outcome, said) in [
        (0, 0, "waits", "pass --subscribe EMAIL"),
        (0, 1, "waits", "1 subscription of IncidentTopic"),
        (2, 0, "already", "2 subscribers of incidents"),
    ] {
        let Empty { shell, _running } = Empty::start().await?;
        let mut outputs = crate::stack::OUTPUTS.to_vec();
        outputs.push(("IncidentTopic", "arn:aws:sns:us-east-1:000000000000:prod-incidents"));
        let entry = |key: &str, value: u8| format!("<entry><key>{key}</key><value>{value}</value></entry>");
        let attributes = format!(
            "<GetTopicAttributesResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><GetTopicAttributesResult><Attributes>\
             {}{}</Attributes></GetTopicAttributesResult></GetTopicAttributesResponse>",
            entry("SubscriptionsConfirmed", confirmed),
            entry("SubscriptionsPending", pending)
        );
        let shell = bare(shell, &answering(200, "text/xml", &described(&outputs))?)
            .with("AWS_ENDPOINT_URL_SNS", &answering(200, "text/xml", &attributes)?);
        let report = shell.run("--stack prod setup --json")?.json(0)?;
        let steps = report["steps"].as_array().unwrap();
        let step = steps.iter().find(|step| step["step"] == "subscriptions").unwrap();
        assert_eq!(step["outcome"], outcome, "{step}");
        assert!(step["what"].as_str().unwrap().contains(said), "{step}");
    }
    Ok(())
}
