//! `--stack`, against a CloudFormation that answers what the test says.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    thread,
};

use crate::support::{Empty, Shell, World};

/// A server that answers everything alike. It ends with the test process.
pub(crate) fn answering(status: u16, content_type: &'static str, body: &str) -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let answer = format!(
        "HTTP/1.1 {status} -\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream);
            let mut length = 0;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or_default() <= 2 {
                    break;
                }
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap_or_default();
                }
            }
            drop(reader.read_exact(&mut vec![0; length]));
            drop(reader.get_mut().write_all(answer.as_bytes()));
        }
    });
    Ok(url)
}

/// What a stack would name if the embedded tables were its own.
pub(crate) const OUTPUTS: [(&str, &str); 8] = [
    ("Stage", "local"),
    ("UsersTable", "sallyport-local-users"),
    ("SessionsTable", "sallyport-local-sessions"),
    ("ThrottleTable", "sallyport-local-throttle"),
    ("OutboxTable", "sallyport-local-outbox"),
    ("AuditTable", "sallyport-local-audit"),
    ("OpsTable", "sallyport-local-ops"),
    ("KeyringSecret", "sallyport-local-keyring"),
];

/// The answer of DescribeStacks with these outputs.
pub(crate) fn described(outputs: &[(&str, &str)]) -> String {
    let mut members = String::new();
    for (key, value) in outputs {
        let _infallible = write!(
            members,
            "<member><OutputKey>{key}</OutputKey><OutputValue>{value}</OutputValue></member>"
        );
    }
    format!(
        "<DescribeStacksResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\"><DescribeStacksResult><Stacks><member>\
         <StackName>prod</StackName><CreationTime>2026-01-01T00:00:00Z</CreationTime><StackStatus>CREATE_COMPLETE</StackStatus>\
         <Outputs>{members}</Outputs></member></Stacks></DescribeStacksResult></DescribeStacksResponse>"
    )
}

/// A shell that knows where the services are, and no table.
pub(crate) fn bare(shell: Shell, cloudformation: &str) -> Shell {
    let mut shell = shell.with("AWS_ENDPOINT_URL_CLOUDFORMATION", cloudformation);
    shell.environment.retain(|name, _| !name.starts_with("SALLYPORT_"));
    shell
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_secret_are_taken_from_the_outputs_of_the_stack() -> anyhow::Result<()> {
    let Empty { shell, _running } = Empty::start().await?;
    let url = answering(200, "text/xml", &described(&OUTPUTS))?;
    let shell = bare(shell, &url);
    assert_eq!(shell.run("--stack prod keys init --json")?.json(0)?["created"], true);
    let report = shell.run("config validate --stack prod --json")?.json(0)?;
    assert_eq!((&report["source"], &report["ok"]), (&"stack prod".into(), &true.into()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_of_something_else_is_not_mistaken_for_a_deployment() -> anyhow::Result<()> {
    let Empty { shell, _running } = Empty::start().await?;
    let url = answering(200, "text/xml", &described(&[("BucketName", "pictures")]))?;
    // What the environment says does not fill the gaps: half of each would be neither.
    let shell = shell.with("AWS_ENDPOINT_URL_CLOUDFORMATION", &url);
    let (code, message) = shell.run("--stack pictures user show ada@example.com --json")?.error(2)?;
    assert_eq!(code, "no_deployment");
    assert!(message.ends_with("is it a Sallyport stack?"), "{message}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_that_does_not_exist_is_one_line() -> anyhow::Result<()> {
    let Empty { shell, _running } = Empty::start().await?;
    let body = "<ErrorResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\"><Error><Type>Sender</Type>\
                <Code>ValidationError</Code><Message>Stack with id prod does not exist</Message></Error></ErrorResponse>";
    let shell = bare(shell, &answering(400, "text/xml", body)?);
    let run = shell.run("--stack prod keys list")?;
    assert_eq!(run.code, 3);
    assert_eq!(
        run.stderr,
        "error: there is no stack prod in us-east-1: is it the right name, region and account?\n"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_on_this_machine_is_not_asked_for_a_stack() -> anyhow::Result<()> {
    const TOLD: &str = "error: the endpoint is a backend on this machine, which has no stacks: leave out --stack, and unset \
                        SALLYPORT_STACK\n";
    let world = World::start().await?;
    for line in [
        "--stack prod user show ada@example.com",
        "--stack prod alarms list",
        "--stack prod logs errors",
        "--stack prod explain address 192.0.2.1",
        "--stack prod runbook env",
    ] {
        let run = world.shell.run(line)?;
        assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (2, "", TOLD), "{line}");
    }
    // Without the backend's variables, too.
    let endpoint = world.shell.environment.get("AWS_ENDPOINT_URL").cloned().unwrap_or_default();
    let shell = Shell::new(Default::default())?;
    let run = shell.run(&format!("--stack prod user show ada@example.com --endpoint {endpoint}"))?;
    assert_eq!((run.code, run.stderr.as_str()), (2, TOLD));
    Ok(())
}

#[test]
fn a_stack_without_a_name_is_not_another_deployment() -> anyhow::Result<()> {
    let shell = Shell::new(Default::default())?.with("AWS_REGION", "us-east-1");
    let run = shell.run("user show ada@example.com --stack=")?;
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("the name is empty: is the shell's variable set?"), "{run:?}");
    assert_eq!(shell.with("SALLYPORT_STACK", "").run("keys list --json")?.error(2)?.0, "usage");
    Ok(())
}
