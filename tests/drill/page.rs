//! What an operator does who follows a page of `ops/runbooks`, by the command that ships.

use std::process::Stdio;

use anyhow::{Result, ensure};
use tokio::process::Command;

use crate::world::World;

/// Runs a page's Mitigation, all that it offers, with these variables of its commands.
pub(crate) async fn mitigate(world: &World, page: &str, variables: &[(&str, &str)]) -> Result<()> {
    let home = tempfile::tempdir()?;
    #[expect(clippy::disallowed_methods, reason = "where the shell of a page finds its programs")]
    let path = std::env::var_os("PATH").unwrap_or_default();
    let output = Command::new(env!("CARGO_BIN_EXE_sallyport"))
        .args(["runbook", "run", page, "--section", "mitigation", "--yes"])
        .env_clear()
        .env("PATH", path)
        .env("HOME", home.path())
        .env("SALLYPORT_OPERATOR", "drill@tests")
        .envs(world.backend.environment())
        .envs(variables.iter().copied())
        .current_dir(home.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    ensure!(output.status.success(), "{page}: {}\n{}", output.status, said.concat());
    Ok(())
}
