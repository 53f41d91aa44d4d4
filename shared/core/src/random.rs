//! Randomness as an argument.

/// The generator gave no bytes. Nothing that needs a secret may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the random generator failed")]
pub struct RandomUnavailable;

/// A cryptographically secure generator.
pub trait Random: Send + Sync {
    /// # Errors
    /// [`RandomUnavailable`] when the bytes could not be drawn; `bytes` is then undefined.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomUnavailable>;
}

impl dyn Random + '_ {
    /// `N` fresh bytes.
    ///
    /// # Errors
    /// See [`Random::fill`].
    pub fn bytes<const N: usize>(&self) -> Result<[u8; N], RandomUnavailable> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Mutex;

    use rand_chacha::{
        ChaCha8Rng,
        rand_core::{RngCore as _, SeedableRng as _},
    };

    use super::*;

    /// The same bytes at every run.
    pub(crate) struct SeededRandom(Mutex<ChaCha8Rng>);

    impl SeededRandom {
        pub(crate) fn new(seed: u64) -> Self {
            Self(Mutex::new(ChaCha8Rng::seed_from_u64(seed)))
        }
    }

    impl Random for SeededRandom {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomUnavailable> {
            self.0.lock().map_err(|_| RandomUnavailable)?.fill_bytes(bytes);
            Ok(())
        }
    }
}
