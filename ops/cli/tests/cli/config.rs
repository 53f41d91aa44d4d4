use sallyport_testkit::Watched;
use serde_json::Value;

use crate::support::{Empty, Run, Shell};

fn subjects(run: &Run) -> anyhow::Result<Vec<String>> {
    let report: Value = serde_json::from_str(&run.stdout)?;
    let findings = report["findings"].as_array().into_iter().flatten();
    Ok(findings
        .map(|finding| format!("{}: {}: {}", finding["severity"], finding["subject"], finding["problem"]))
        .collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_deployment_has_no_findings() -> anyhow::Result<()> {
    let filled = Empty::filled().await?;
    let run = filled.shell.run("config validate --json")?;
    assert_eq!(subjects(&run)?, [""; 0]);
    assert_eq!(run.json(0)?["ok"], true);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_keyring_is_a_warning() -> anyhow::Result<()> {
    let empty = Empty::start().await?;
    let run = empty.shell.run("config validate --json")?;
    assert_eq!(run.code, 0);
    assert_eq!(subjects(&run)?, [r#""warning": "keyring sallyport-local-keyring": "is empty""#]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_could_be_guessed_or_is_not_what_was_typed_is_named_and_not_shown() -> anyhow::Result<()>
{
    for (token, problem) in [
        ("hunter2", "metrics_token has fewer than 16 characters, and is refused"),
        (
            "hunter2-of-the-scraper\n",
            "metrics_token begins or ends with white space, such as the end of a line, and is refused",
        ),
    ] {
        let providers = [("metrics_token".to_owned(), token.to_owned())].into();
        let options = local::Options { quiet: true, providers, ..local::Options::default() };
        let backend = Watched::start(options).await?;
        let shell = Shell::new(backend.environment().clone())?;
        let run = shell.run("config validate --json")?;
        assert_eq!(run.code, 5);
        let expected = format!(r#""error": "providers sallyport-local-providers": "{problem}""#);
        assert_eq!(subjects(&run)?, [expected]);
        let doctor = shell.run("doctor")?;
        for told in [&run.stdout, &doctor.stdout] {
            assert!(told.contains(problem) && !told.contains("hunter2"), "{told}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_a_line_with_its_fix() -> anyhow::Result<()> {
    let Empty { shell, _running } = Empty::filled().await?;
    let shell = shell
        .with("SALLYPORT_USERS_TABLE", "sallyport-prod-users")
        .with("SALLYPORT_SESSIONS_TABLE", "sallyport-local-ops")
        .with("SALLYPORT_REFRESH_GRACE_SECONDS", "600")
        .with("SALLYPORT_KEYRING_SECRET", "sallyport-prod-keyring")
        .without("SALLYPORT_AUDIT_TABLE");
    let run = shell.run("config validate")?;
    assert_eq!(run.code, 5);
    insta::assert_snapshot!(run.stdout, @r"
    error: SALLYPORT_AUDIT_TABLE: is not set. Fix: pass --stack NAME, or set it as the functions have it.
    error: SALLYPORT_REFRESH_GRACE_SECONDS: 600 is out of range. Fix: set it to 0 to 60.
    error: users table sallyport-prod-users: does not exist. Fix: name the right table, region (us-east-1) and account, or deploy the stack.
    error: sessions table sallyport-local-ops: its key is (pk, sk), not (user_id). Fix: a key can't be changed: name the right table, or deploy a new one.
    error: keyring sallyport-prod-keyring: does not exist. Fix: name the right secret, region (us-east-1) and account, or deploy the stack.
    SALLYPORT_ALLOWED_HEADERS: none
    SALLYPORT_ALLOWED_ORIGINS: http://localhost:9000
    37 checks of the environment in us-east-1: 5 errors, 0 warnings
    ");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_in_the_cloud_must_be_backed_up_and_encrypted() -> anyhow::Result<()> {
    let Empty { shell, _running } = Empty::filled().await?;
    let shell = shell.with("SALLYPORT_STAGE", "prod").with("SALLYPORT_ISSUER", "https://id.example.com");
    let run = shell.run("config validate --json")?;
    assert_eq!(run.code, 5);
    let found = subjects(&run)?;
    assert!(found.iter().any(|line| line.contains("users") && line.contains("can be deleted")), "{found:?}");
    assert!(found.iter().any(|line| line.contains("users") && line.contains("not encrypted")), "{found:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_region_is_a_finding() -> anyhow::Result<()> {
    let Empty { shell, _running } = Empty::filled().await?;
    let shell = shell.without("AWS_REGION").without("AWS_ENDPOINT_URL");
    let run = shell.run("config validate --json")?;
    assert_eq!(run.code, 5);
    assert!(subjects(&run)?.contains(&r#""error": "AWS_REGION": "no region is set""#.to_owned()), "{run:?}");
    Ok(())
}
