//! Runs a step through the shell, and keeps what it said.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use sallyport_runbooks::shell::statements;

use crate::{environment::variable, failure::Failure, output::Format};

/// Kept of a step's output. What is longer is shown and not kept: a note of an incident is an item of a table.
const KEPT: usize = 16 * 1024;

/// Written between the commands of a step: an output that ends within a line must not run into the next one.
const BETWEEN: char = '\u{1e}';

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
        .args(["-euc", &script(commands)])
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
            if let Some(text) = shown(&line) {
                format.progress(&format!("  {text}"));
                if output.len() + text.len() < KEPT {
                    output.push_str(&text);
                    output.push('\n');
                } else if !output.ends_with("[…]\n") {
                    output.push_str("[…]\n");
                }
            }
            line.clear();
        }
    }
    let status = child.wait().map_err(failed)?;
    Ok(Ended { exit: status.code().unwrap_or(KILLED), output })
}

/// The commands, with a mark between each two.
fn script(commands: &str) -> String {
    let mark = format!("\nprintf '{BETWEEN}\\n'\n");
    format!("exec 2>&1\n{}", statements(commands).join(&mark))
}

/// A line as it is shown: without its end, which is CRLF in the heads of HTTP answers. `None` for a mark alone.
fn shown(line: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(line);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let (text, marked) = text.strip_suffix(BETWEEN).map_or((text, false), |text| (text, true));
    let text = text.strip_suffix('\r').unwrap_or(text);
    (!marked || !text.is_empty()).then(|| text.to_owned())
}

/// The pages' `sallyport` is this one, wherever it was started from.
fn path() -> OsString {
    let path = variable("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".to_owned());
    let own = std::env::current_exe().ok().and_then(|exe| exe.parent().map(PathBuf::from));
    let directories = own.into_iter().chain(std::env::split_paths(&path));
    std::env::join_paths(directories).unwrap_or_else(|_| OsString::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(commands: &str) -> Vec<String> {
        let ended = run(commands, &BTreeMap::new(), Format::Json, false);
        ended.map(|ended| ended.output.lines().map(str::to_owned).collect()).unwrap_or_default()
    }

    #[test]
    fn the_end_of_a_line_is_no_part_of_it_whatever_it_is() {
        assert_eq!(
            played("printf 'HTTP/1.1 200 OK\\r\\nA: b\\r\\n\\r\\n{}'\necho next"),
            ["HTTP/1.1 200 OK", "A: b", "", "{}", "next"]
        );
        assert_eq!(played("printf one\nprintf two\nprintf three"), ["one", "two", "three"]);
        assert_eq!(played("printf 'a\\n'\ntrue\nprintf b"), ["a", "b"]);
    }

    #[test]
    fn the_first_command_that_fails_ends_the_step() {
        let ended = run("printf one\nfalse\necho never", &BTreeMap::new(), Format::Json, false);
        assert!(ended.is_ok_and(|ended| (ended.exit, ended.output.as_str()) == (1, "one\n")));
    }
}
