//! Runs a step through the shell, and keeps what it said.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::{environment::variable, failure::Failure, output::Format};

/// Kept of a step's output. What is longer is shown and not kept: a note of an incident is an item of a table.
const KEPT: usize = 16 * 1024;

/// The exit code of a shell that a signal ended.
const KILLED: i32 = 137;

/// What a step left.
pub(super) struct Ended {
    pub(super) exit: i32,
    pub(super) output: String,
}

/// Runs `commands`, shows each line as it comes, and keeps the first of them.
///
/// # Errors
/// There is no shell.
pub(super) fn run(
    commands: &str,
    variables: &BTreeMap<String, String>,
    format: Format,
    at_terminal: bool,
) -> Result<Ended, Failure> {
    let failed = |error: std::io::Error| Failure::dependency("shell_failed", format!("sh: {error}"));
    let mut child = Command::new("sh")
        // The first command that fails ends the step, and a variable that nobody set is no empty argument.
        .args(["-euc", &format!("exec 2>&1\n{commands}")])
        .envs(variables)
        .env("PATH", path())
        .stdin(if at_terminal { Stdio::inherit() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut output = String::new();
    if let Some(stdout) = child.stdout.take() {
        let mut lines = BufReader::new(stdout);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).map_err(failed)? > 0 {
            let text = String::from_utf8_lossy(&line);
            format.progress(&format!("  {}", text.trim_end_matches('\n')));
            if output.len() + text.len() <= KEPT {
                output.push_str(&text);
            } else if !output.ends_with("[…]\n") {
                output.push_str("[…]\n");
            }
            line.clear();
        }
    }
    let status = child.wait().map_err(failed)?;
    Ok(Ended { exit: status.code().unwrap_or(KILLED), output })
}

/// The pages' `sallyport` is this one, wherever it was started from.
fn path() -> OsString {
    let path = variable("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".to_owned());
    let own = std::env::current_exe().ok().and_then(|exe| exe.parent().map(PathBuf::from));
    let directories = own.into_iter().chain(std::env::split_paths(&path));
    std::env::join_paths(directories).unwrap_or_else(|_| OsString::from(path))
}
