use std::net::TcpListener;

use crate::{stack::answering, support::Empty};

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_nobody_listens_on_is_one_line() -> anyhow::Result<()> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let Empty { shell, _running } = Empty::start().await?;
    let run = shell.run(&format!("user show ada@example.com --endpoint http://127.0.0.1:{port}"))?;
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    let expected =
        format!("error: read login record: can't reach http://127.0.0.1:{port}: Connection refused");
    assert!(run.stderr.starts_with(&expected) && run.stderr.lines().count() == 1, "{}", run.stderr);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_whom_nobody_answers_names_the_address_and_asks_whether_the_backend_runs()
-> anyhow::Result<()> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let Empty { shell, _running } = Empty::start().await?;
    let run = shell.run(&format!("doctor --endpoint http://127.0.0.1:{port} --json"))?;
    let report = run.json(5)?;
    let lost =
        |check: &&serde_json::Value| check["what"].as_str().is_some_and(|what| what.contains("can't reach"));
    let checks: Vec<_> = report["checks"].as_array().into_iter().flatten().filter(lost).collect();
    assert!(checks.len() >= 2, "{report:#}");
    for check in checks {
        assert!(
            check["what"].as_str().unwrap().contains(&format!("http://127.0.0.1:{port}: Connection refused")),
            "{check}"
        );
        assert!(check["fix"].as_str().unwrap().contains("cargo run -p local"), "{check}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_one_line() -> anyhow::Result<()> {
    let body = r#"{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"User: arn:aws:iam::1:user/eve is not authorized to perform: dynamodb:GetItem"}"#;
    let url = answering(400, "application/x-amz-json-1.0", body)?;
    let Empty { shell, _running } = Empty::start().await?;
    let run = shell.run(&format!("user disable ada@example.com --endpoint-dynamodb {url}"))?;
    assert_eq!(run.code, 1);
    assert_eq!(
        run.stderr,
        "error: read login record: no right to do this: User: arn:aws:iam::1:user/eve is not authorized to perform: dynamodb:GetItem\n"
    );
    let (code, _) = shell.run(&format!("client list --json --endpoint-dynamodb {url}"))?.error(1)?;
    assert_eq!(code, "access_denied");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wrong_tables_are_one_line() -> anyhow::Result<()> {
    let Empty { shell, _running } = Empty::start().await?;
    let shell = shell.with("SALLYPORT_USERS_TABLE", "of-another-stack");
    let (code, message) = shell.run("user show ada@example.com --json")?.error(3)?;
    assert_eq!(code, "resource_not_found");
    assert!(message.contains("is it the right stack, region and account?"), "{message}");
    Ok(())
}
