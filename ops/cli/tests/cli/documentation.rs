//! docs/OPERATIONS.md against the command itself.

use std::{collections::BTreeMap, fs, path::Path};

use crate::support::Shell;

const DOCUMENT: &str = include_str!("../../../../docs/OPERATIONS.md");

/// All commands, as their help lists them.
fn commands(shell: &Shell, path: &str, found: &mut Vec<String>) -> anyhow::Result<()> {
    let help = shell.run(&format!("{path} --help"))?.stdout;
    let Some((_, list)) = help.split_once("\nCommands:\n") else {
        found.push(path.to_owned());
        return Ok(());
    };
    for line in list.lines().take_while(|line| line.starts_with("  ")) {
        let name = line.split_whitespace().next().unwrap_or_default();
        if name != "help" {
            commands(shell, format!("{path} {name}").trim(), found)?;
        }
    }
    Ok(())
}

#[test]
fn every_command_is_documented() -> anyhow::Result<()> {
    let shell = Shell::new(BTreeMap::new())?;
    let mut found = Vec::new();
    commands(&shell, "", &mut found)?;
    assert!(found.len() > 15, "{found:?}");
    found.retain(|command| !DOCUMENT.contains(&format!("sallyport {command}")));
    assert!(found.is_empty(), "not in docs/OPERATIONS.md: {found:?}");
    Ok(())
}

/// The first string literal of every call that makes a failure.
fn codes(directory: &Path, found: &mut Vec<String>) -> anyhow::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            codes(&path, found)?;
            continue;
        }
        let text = fs::read_to_string(&path)?;
        for constructor in ["::usage(", "::dependency(", "::conflict(", "::not_found(", "absent = |"] {
            for call in text.split(constructor).skip(1) {
                let literal = call.split('"').nth(1).unwrap_or_default();
                if !literal.is_empty()
                    && literal.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
                {
                    found.push(literal.to_owned());
                }
            }
        }
    }
    Ok(())
}

#[test]
fn every_error_code_is_documented() -> anyhow::Result<()> {
    let mut found = Vec::new();
    codes(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found)?;
    assert!(found.len() > 40, "{found:?}");
    found.retain(|code| !DOCUMENT.contains(&format!("`{code}`")));
    assert!(found.is_empty(), "not in docs/OPERATIONS.md: {found:?}");
    Ok(())
}
