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
