//! The command as a person and as a parent process see it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

fn start(arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_local"));
    command.args(["--port", "0", "--dynamodb-port", "0", "--quiet"]).args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn lines_until(child: &mut Child, last: &str) -> Vec<String> {
    let mut lines = Vec::new();
    // The pipe stays open: the program may have more to say.
    for line in BufReader::new(child.stdout.as_mut().unwrap()).lines() {
        lines.push(line.unwrap());
        if lines.last().unwrap().starts_with(last) {
            return lines;
        }
    }
    panic!("no line starts with {last}: {lines:?}");
}

#[cfg(unix)]
fn terminate(mut child: Child) {
    let killed = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(killed.success());
    assert!(child.wait().unwrap().success(), "SIGTERM ends it cleanly");
}

#[cfg(unix)]
#[test]
fn the_guides_commands_work_when_pasted() {
    let mut child = start(&[]);
    let lines = lines_until(&mut child, "listening on http://localhost:");
    let script: String = lines
        .iter()
        .filter(|line| {
            ["SIGNED_IN=", "REFRESHED=", "MFA_TOKEN=", "curl ", "echo "].iter().any(|s| line.starts_with(s))
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.matches(r#""status":"authenticated""#).count(), 3, "{script}\n{text}");
    assert_eq!(text.matches("HTTP/1.1 204").count(), 1, "{script}\n{text}");

    // Nothing of what the guide says, nor of what was answered, is in the log.
    let after = |start: &str| lines.iter().find_map(|line| Some(line.split_once(start)?.1)).unwrap();
    let mut secrets = vec![after("both with the password "), after("authenticator app with the secret ")];
    secrets.extend(after("and the recovery codes ").split(' '));
    let tokens = text.split('"').filter(|word| ["eyJ", "spr_", "spd_"].iter().any(|s| word.starts_with(s)));
    secrets.extend(tokens);
    assert!(secrets.len() > 12 + 6, "{secrets:?}");
    let logs = format!("{}/_local/logs", after("listening on "));
    let logs = Command::new("curl").args(["-s", "--fail", &logs]).output().unwrap();
    let logs = String::from_utf8(logs.stdout).unwrap();
    assert!(logs.contains("security event"), "{logs}");
    for secret in secrets {
        assert!(!logs.contains(secret), "{secret} is in {logs}");
    }
    terminate(child);
}

#[cfg(unix)]
#[test]
fn deps_prints_an_environment_for_the_shell() {
    let mut child = start(&["deps"]);
    let lines = lines_until(&mut child, "export SALLYPORT_USERS_TABLE='sallyport-local-users'");
    assert!(lines.iter().all(|line| line.starts_with("export ")), "{lines:?}");
    assert!(
        lines.iter().any(|line| line.starts_with("export AWS_ENDPOINT_URL='http://127.0.0.1:")),
        "{lines:?}"
    );
    terminate(child);
}

#[cfg(unix)]
#[test]
fn env_names_the_ports_that_are_given() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_local"));
    let output = command.args(["env", "--port", "3010", "--dynamodb-port", "8010"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("export AWS_ENDPOINT_URL='http://127.0.0.1:8010'\n"), "{text}");
    assert!(text.contains("export SALLYPORT_ISSUER='http://localhost:3010'\n"), "{text}");
}

#[test]
fn what_no_backend_could_have_is_refused_at_the_start() {
    for (arguments, words) in [
        (["env", "--port", "0"], "name the ports that it has printed"),
        (["env", "--dynamodb-port", "0"], "name the ports that it has printed"),
        (["--quiet", "--metrics-token", "short"], "--metrics-token: "),
        (["--quiet", "--metrics-token", "aaaaaaaaaaaaaaaaaaaa"], "--metrics-token: "),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_local")).args(arguments).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}");
        assert!(told.lines().count() == 1 && told.contains(words), "{arguments:?}: {told}");
        assert!(!told.contains("short") && !told.contains("aaaa"), "{told}");
    }
}

#[test]
fn a_taken_port_is_one_line_on_stderr() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_local"));
    let output = command.args(["--port", &port, "--dynamodb-port", "0"]).output().unwrap();
    assert!(!output.status.success());
    let expected = format!("local: port {port} is in use: choose another with --port (0 takes a free one)\n");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
}

#[test]
fn routes_are_listed_with_their_functions() {
    let output = Command::new(env!("CARGO_BIN_EXE_local")).args(["routes", "--json"]).output().unwrap();
    let routes: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let login = serde_json::json!({"method": "POST", "path": "/api/v1/auth/login", "function": "login"});
    assert!(routes.contains(&login), "{routes:?}");
}
