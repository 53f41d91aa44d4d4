//! What every use case is given besides its command and its ports.

use crate::{
    clock::{Clock, Timestamp},
    ids::OperationId,
    keyring::Keyring,
    random::{Random, RandomUnavailable},
};

/// Clock, randomness and keys, as arguments of a use case.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    pub clock: &'a dyn Clock,
    pub random: &'a dyn Random,
    pub keyring: &'a Keyring,
}

impl Env<'_> {
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// # Errors
    /// [`RandomUnavailable`].
    pub fn operation(&self) -> Result<OperationId, RandomUnavailable> {
        OperationId::generate(self.random)
    }
}

impl std::fmt::Debug for Env<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Env").field("now", &self.now()).finish_non_exhaustive()
    }
}
