//! The keys of a deployment: one document, kept in one secret.

mod document;
mod ring;
mod source;

pub use document::{KeyState, KeyringDocument, SecretKeyEntry, SigningAlgorithm, SigningKeyEntry};
pub use ring::{Keyring, KeyringError, PublicKey, SecretKey, Signer};
pub use source::{FillKeyring, KeyringSource, Stored};

/// Names a symmetric key within its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub u16);

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests;
