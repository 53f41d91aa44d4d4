//! How a command fails: one line, a stable code, an exit code.

use std::process::ExitCode;

use sallyport_core::{
    accounts::PasswordError, administration::AdministrationError, flags::FlagsError, keyring::KeyringError,
    mfa::SeedError, random::RandomUnavailable, store::StoreError,
};

use crate::{
    aws_fault,
    output::{mode_words, moment, subject_words},
};

/// What the process says to the shell. docs/OPERATIONS.md, "Exit codes".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    /// Something that the command needs failed: AWS, the network, the keyring.
    Dependency,
    /// The command was not understood, or the environment does not say where to go.
    Usage,
    NotFound,
    /// It exists already, or somebody else changed it.
    Conflict,
    /// A check was made and found faults.
    Findings,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Dependency => 1,
            Exit::Usage => 2,
            Exit::NotFound => 3,
            Exit::Conflict => 4,
            Exit::Findings => 5,
        })
    }
}

/// Why a command came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Stable, snake_case: what scripts compare.
    pub(crate) code: &'static str,
    /// One line for people.
    pub(crate) message: String,
    pub(crate) exit: Exit,
}

impl Failure {
    pub(crate) fn dependency(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), exit: Exit::Dependency }
    }

    pub(crate) fn usage(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), exit: Exit::Usage }
    }

    pub(crate) fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), exit: Exit::NotFound }
    }

    pub(crate) fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), exit: Exit::Conflict }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { operation, reason } => aws_fault::from_text(operation, &reason),
            contended @ StoreError::Contended { .. } => Self::conflict("contended", contended.to_string()),
            corrupt @ StoreError::Corrupt { .. } => Self::dependency("corrupt_item", corrupt.to_string()),
        }
    }
}

impl From<AdministrationError> for Failure {
    fn from(error: AdministrationError) -> Self {
        let message = error.to_string();
        match error {
            AdministrationError::Exists => Self::conflict("account_exists", message),
            AdministrationError::NotFound => Self::not_found("account_not_found", message),
            AdministrationError::Store(error) => error.into(),
            AdministrationError::Password(error) => error.into(),
            AdministrationError::Random(error) => error.into(),
        }
    }
}

impl From<FlagsError> for Failure {
    fn from(error: FlagsError) -> Self {
        let message = error.to_string();
        match error {
            FlagsError::ModeSet(name, mode) => Self::conflict(
                "mode_set",
                format!(
                    "the mode {} is set already, until {} by {}: clear it first, or pass --replace",
                    mode_words(name),
                    moment(mode.expires_at),
                    mode.by
                ),
            ),
            FlagsError::BlockSet(subject, block) => Self::conflict(
                "block_exists",
                format!(
                    "{} is blocked already, until {} by {}: remove it first, or pass --replace",
                    subject_words(subject),
                    moment(block.expires_at),
                    block.by
                ),
            ),
            FlagsError::ModeNotSet(name) => {
                Self::not_found("mode_not_set", format!("the mode {} is not set", mode_words(name)))
            }
            FlagsError::BlockNotSet(subject) => {
                Self::not_found("block_not_found", format!("{} is not blocked", subject_words(subject)))
            }
            FlagsError::TooManyBlocks => Self::conflict("too_many_blocks", message),
            FlagsError::InvalidEnd { .. } => Self::usage("invalid_duration", format!("--for: {message}")),
            FlagsError::InvalidFactor => Self::usage("invalid_factor", format!("--factor: {message}")),
            FlagsError::Store(error) => error.into(),
        }
    }
}

impl From<PasswordError> for Failure {
    fn from(error: PasswordError) -> Self {
        Self::dependency("password_hash_failed", error.to_string())
    }
}

impl From<RandomUnavailable> for Failure {
    fn from(error: RandomUnavailable) -> Self {
        Self::dependency("random_unavailable", error.to_string())
    }
}

impl From<KeyringError> for Failure {
    fn from(error: KeyringError) -> Self {
        // What a parser says of a text that does not parse may quote it; this text is keys.
        let message = match error {
            KeyringError::Malformed(_) => "the keyring does not read".to_owned(),
            other => other.to_string(),
        };
        Self::dependency("keyring_unusable", message)
    }
}

impl From<SeedError> for Failure {
    fn from(error: SeedError) -> Self {
        Self::dependency("seed_unreadable", error.to_string())
    }
}
