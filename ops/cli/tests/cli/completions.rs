//! The documented lines for completions, in the shells that are installed.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Context as _;

/// The line of docs/OPERATIONS.md for a shell.
fn documented(shell: &str) -> anyhow::Result<String> {
    let document =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/OPERATIONS.md"))?;
    let section = document.split("\n## Completions\n").nth(1).context("no section")?;
    let block =
        section.split(&format!("```{shell}\n")).nth(1).with_context(|| format!("no line for {shell}"))?;
    Ok(block.split("\n```").next().unwrap_or_default().to_owned())
}

/// What a shell that has read nothing but the documented line says; `None` where it is not installed.
#[expect(clippy::print_stderr, reason = "what was not checked is said")]
fn said(shell: &str, options: &[&str], rest: &str) -> anyhow::Result<Option<String>> {
    let there = Command::new(shell).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if there.is_err() {
        eprintln!("{shell} is not installed: its line of docs/OPERATIONS.md was not run");
        return Ok(None);
    }
    let home = tempfile::tempdir()?;
    let directory = Path::new(env!("CARGO_BIN_EXE_sallyport")).parent().context("no directory")?;
    let output = Command::new(shell)
        .args(options)
        .arg(format!("{}\n{rest}", documented(shell)?))
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", directory.display()))
        .stdin(Stdio::null())
        .output()?;
    let told = String::from_utf8(output.stderr)?;
    assert!(output.status.success() && told.is_empty(), "{shell}: {} {told}", output.status);
    Ok(Some(String::from_utf8(output.stdout)?))
}

#[test]
fn in_bash_the_documented_line_completes_commands() -> anyhow::Result<()> {
    let ask = "COMP_WORDS=(sallyport user set); COMP_CWORD=2; _sallyport sallyport set user; echo \"${COMPREPLY[@]}\"; \
               complete -p sallyport >/dev/null";
    if let Some(said) = said("bash", &["--norc", "-c"], ask)? {
        assert_eq!(said.trim(), "set-password");
    }
    Ok(())
}

#[test]
fn in_zsh_the_documented_line_completes_commands_with_and_without_compinit() -> anyhow::Result<()> {
    let ask = "print -r -- $_comps[sallyport]; whence -w _sallyport";
    if let Some(said) = said("zsh", &["-f", "-c"], ask)? {
        assert_eq!(said, "_sallyport\n_sallyport: function\n");
    }
    let twice = format!("autoload -Uz compinit && compinit -i\n{}\n{ask}", documented("zsh")?);
    if let Some(said) = said("zsh", &["-f", "-c"], &twice)? {
        assert_eq!(said, "_sallyport\n_sallyport: function\n");
    }
    Ok(())
}

#[test]
fn in_fish_the_documented_line_completes_commands() -> anyhow::Result<()> {
    if let Some(said) = said("fish", &["--no-config", "-c"], "complete -C 'sallyport user set'")? {
        assert!(said.starts_with("set-password\t"), "{said}");
    }
    if let Some(said) = said("fish", &["--no-config", "-c"], "complete -C 'sallyport mode set e'")? {
        assert!(said.starts_with("emergency"), "{said}");
    }
    Ok(())
}

/// Where fish is not installed, too.
#[test]
fn the_modes_and_shells_are_among_the_words_for_fish() -> anyhow::Result<()> {
    let shell = crate::support::Shell::new(std::collections::BTreeMap::new())?;
    let script = shell.run("completions fish")?.stdout;
    for verb in ["set", "clear"] {
        let line = format!(
            "complete -c sallyport -n \"__fish_sallyport_using_subcommand mode; and __fish_seen_subcommand_from {verb}\" \
             -f -a \"emergency maintenance degraded\"\n"
        );
        assert!(script.contains(&line), "{verb}");
    }
    assert!(script.contains("using_subcommand completions\" -f -a \"bash zsh fish\"\n"));
    Ok(())
}
