//! One data directory has one owner: two processes that write the same files undo each other's work.

use std::{
    fs::{self, File, TryLockError},
    path::Path,
};

use anyhow::{Context as _, bail};

/// Holds a data directory until it is dropped, or its process ends in whatever way.
#[derive(Debug)]
pub(crate) struct Owner {
    _lock: File,
}

impl Owner {
    /// Takes the directory, which is made where it is not there, and closes its files to everybody else on the machine.
    ///
    /// # Errors
    /// Another process has it; it cannot be made or written.
    pub(crate) fn of(directory: &Path) -> anyhow::Result<Self> {
        let shown = directory.display();
        fs::create_dir_all(directory).with_context(|| format!("cannot create {shown}"))?;
        let lock = open(&directory.join("lock")).with_context(|| format!("cannot write to {shown}"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "{shown} is in use by another local backend: end that one, or choose another directory with --data"
                )
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {shown}"));
            }
        }
        // The database's file is made here, since what makes it later leaves it open to all; its companions take after it.
        open(&directory.join("dynamodb.sqlite")).with_context(|| format!("cannot write to {shown}"))?;
        for entry in fs::read_dir(directory).with_context(|| format!("cannot read {shown}"))? {
            close_to_others(&entry?.path())?;
        }
        Ok(Self { _lock: lock })
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Files of a release that left them open as well.
fn close_to_others(path: &Path) -> anyhow::Result<()> {
    #[cfg(unix)]
    if path.is_file() {
        let only_owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(path, only_owner).with_context(|| format!("cannot close {}", path.display()))?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}
