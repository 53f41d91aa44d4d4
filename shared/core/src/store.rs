//! How storage fails. Absence is not among it: what may be absent is an `Option`.

/// A storage error, in the operator's words. The caller is told no more than that a dependency is unavailable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The call failed, or its answer did not come in time: it may have been applied.
    #[error("{operation} failed: {reason}")]
    Unavailable { operation: &'static str, reason: String },
    /// Others changed the same items all the while, and nothing was written. Nothing is down.
    #[error("{operation} failed: others changed the same at the same time, again and again")]
    Contended { operation: &'static str },
    /// The item is there and does not read as what it should be.
    #[error("corrupt item in {table}, key {key}: {problem}")]
    Corrupt { table: &'static str, key: String, problem: String },
}

pub type StoreResult<T> = Result<T, StoreError>;

/// Without randomness nothing is written: to the use case it is one more thing that does not answer.
impl From<crate::random::RandomUnavailable> for StoreError {
    fn from(error: crate::random::RandomUnavailable) -> Self {
        Self::Unavailable { operation: "draw random bytes", reason: error.to_string() }
    }
}
