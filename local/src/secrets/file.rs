//! The secrets on disk, readable by their owner only.

use std::{collections::BTreeMap, fs, io::Write as _, path::Path};

use anyhow::Context as _;

use super::store::Secret;

/// # Errors
/// When the file cannot be read or is not ours.
pub(super) fn read(file: &Path) -> anyhow::Result<BTreeMap<String, Secret>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not a file of secrets", file.display()))
}

/// Replaces the file as a whole: a crash leaves the old or the new one.
///
/// # Errors
/// When the directory cannot be written.
pub(super) fn write(file: &Path, secrets: &BTreeMap<String, Secret>) -> anyhow::Result<()> {
    let fresh = file.with_extension("json.new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut output = options.open(&fresh)?;
    output.write_all(serde_json::to_string_pretty(secrets)?.as_bytes())?;
    output.sync_all()?;
    fs::rename(&fresh, file)?;
    Ok(())
}
