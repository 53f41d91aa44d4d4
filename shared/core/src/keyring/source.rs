//! Where the keyring comes from.

use super::KeyringDocument;
use crate::store::StoreResult;

/// What the secret holds.
#[derive(Debug)]
pub enum Stored {
    /// The stack created the secret and nobody has filled it yet.
    Empty,
    /// The document, unparsed.
    Filled(crate::secret::Secret<String>),
}

/// Reads the current version of the secret.
pub trait KeyringSource: Send + Sync {
    fn read(&self) -> impl Future<Output = StoreResult<Stored>> + Send;
}

/// Fills an empty secret, once: of two that fill it at the same time one wins, and both see the winner's keys after.
pub trait FillKeyring: Send + Sync {
    /// `true` when this call's document became the keyring.
    fn fill(&self, document: &KeyringDocument) -> impl Future<Output = StoreResult<bool>> + Send;
}
