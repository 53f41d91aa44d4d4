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

/// Everything that people read of this repository.
fn documents() -> anyhow::Result<Vec<(String, String)>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = vec![("README.md".to_owned(), fs::read_to_string(root.join("README.md"))?)];
    for directory in ["docs", "ops/runbooks"] {
        for entry in fs::read_dir(root.join(directory))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push((path.display().to_string(), fs::read_to_string(&path)?));
            }
        }
    }
    Ok(found)
}

/// Without `--config-env` it is dev that is deployed, whatever the page is about; and parameters on the command line take the
/// place of those of samconfig.toml, the stage among them.
#[test]
fn every_deployment_that_is_told_says_of_what_and_loses_no_parameter() -> anyhow::Result<()> {
    let mut deployments = 0;
    for (name, text) in documents()? {
        // A command may go on in the next line.
        let text = text.replace("\\\n", " ");
        assert!(!text.contains("sam deploy --parameter-overrides"), "{name}");
        for block in text.split("```sh").skip(1) {
            let block = block.split("```").next().unwrap_or_default();
            for line in block.lines().filter(|line| line.contains("sam deploy")) {
                deployments += 1;
                let says = line.contains("--config-env") || line.contains("dev");
                assert!(says && !line.contains("--parameter-overrides"), "{name}: {line}");
            }
        }
    }
    assert!(deployments > 4, "{deployments}");
    Ok(())
}
