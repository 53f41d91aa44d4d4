//! Values that can't be printed.

use std::{collections::BTreeSet, fmt};

use zeroize::{Zeroize, Zeroizing};

/// A value that shows as `[redacted]` and is wiped when dropped.
#[derive(Clone)]
pub struct Secret<T: Zeroize>(Zeroizing<T>);

impl<T: Zeroize> Secret<T> {
    pub fn new(value: T) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value itself. Each call is a place to look at in a review.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

/// How many characters a secret has at least that somebody enters, and how many different ones.
pub const LEAST_SECRET: usize = 16;
const LEAST_DIFFERENT: usize = 6;

/// Why a secret that somebody has entered is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakSecret {
    #[error("is empty")]
    Empty,
    #[error("has fewer than {LEAST_SECRET} characters")]
    Short,
    #[error("has fewer than {LEAST_DIFFERENT} different characters")]
    Monotonous,
}

/// The one rule for all secrets that are entered and not generated here: tokens that are presented, keys that sign,
/// credentials of others. Whoever sends a signature or a guess to be tried must not find it in a list.
///
/// # Errors
/// [`WeakSecret`].
pub fn check_entered(text: &str) -> Result<(), WeakSecret> {
    let text = text.trim();
    let different: BTreeSet<_> = text.chars().collect();
    match text.chars().count() {
        0 => Err(WeakSecret::Empty),
        count if count < LEAST_SECRET => Err(WeakSecret::Short),
        _ if different.len() < LEAST_DIFFERENT => Err(WeakSecret::Monotonous),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_is_entered_is_long_and_no_row_of_one_letter() {
        for (text, problem) in [
            ("", WeakSecret::Empty),
            (" \t\n ", WeakSecret::Empty),
            ("x", WeakSecret::Short),
            ("fifteen letters", WeakSecret::Short),
            ("   padded to sixteen   ".get(..16).unwrap_or_default(), WeakSecret::Short),
            ("aaaaaaaaaaaaaaaaaaaaaaaa", WeakSecret::Monotonous),
            ("0101010101010101", WeakSecret::Monotonous),
        ] {
            assert_eq!(check_entered(text), Err(problem), "{text:?}");
        }
        for text in ["webhook-signing-secret", "0123456789abcdef", "local-metrics-token"] {
            assert_eq!(check_entered(text), Ok(()), "{text:?}");
        }
    }
}
