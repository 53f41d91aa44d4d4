//! What the demo has to remember when the data is kept: passwords are stored as hashes only, secrets sealed.

use std::{fs, io::Write as _, path::Path};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// The second account's factor.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Factor {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) otpauth_uri: String,
    pub(super) recovery_codes: Vec<String>,
}

/// Both accounts' password, and the factor once it is enrolled.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Keepsake {
    pub(super) password: String,
    pub(super) factor: Option<Factor>,
}

impl Keepsake {
    /// # Errors
    /// When the file is there and cannot be read.
    pub(super) fn read(directory: Option<&Path>) -> anyhow::Result<Option<Self>> {
        let Some(file) = directory.map(|directory| directory.join("demo.json")).filter(|file| file.exists())
        else {
            return Ok(None);
        };
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Some(serde_json::from_str(&text).with_context(|| file.display().to_string())?))
    }

    /// # Errors
    /// When the directory cannot be written.
    pub(super) fn write(&self, directory: Option<&Path>) -> anyhow::Result<()> {
        let Some(file) = directory.map(|directory| directory.join("demo.json")) else { return Ok(()) };
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&file)?.write_all(serde_json::to_string_pretty(self)?.as_bytes())?;
        Ok(())
    }
}
