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

/// Why a secret that somebody has entered is none. The texts tell what kind of character is in the way, and never which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakSecret {
    #[error("is empty")]
    Empty,
    #[error("begins or ends with white space, such as the end of a line")]
    Padded,
    #[error("holds a control character, such as a tab or the end of a line")]
    Control,
    #[error(
        "holds a character that is not ASCII, such as a byte order mark, a space that does not break, or an umlaut"
    )]
    Foreign,
    #[error("has fewer than {LEAST_SECRET} characters")]
    Short,
    #[error("has fewer than {LEAST_DIFFERENT} different characters")]
    Monotonous,
}

/// A secret that somebody has entered and that was not generated here: a token that is presented, a key that signs, a credential
/// of others. What was judged is what is compared and signed with, to the byte.
#[derive(Debug, Clone)]
pub struct EnteredSecret(Secret<String>);

impl EnteredSecret {
    /// The one rule for all of them. Whoever sends a signature or a guess to be tried must not find it in a list; and what an
    /// editor or a clipboard adds unseen is refused by name and not taken off: the other side would keep it.
    ///
    /// # Errors
    /// [`WeakSecret`].
    pub fn parse(text: &str) -> Result<Self, WeakSecret> {
        let different: BTreeSet<_> = text.chars().collect();
        if text.trim().is_empty() {
            Err(WeakSecret::Empty)
        } else if text.trim() != text {
            Err(WeakSecret::Padded)
        } else if text.chars().any(char::is_control) {
            Err(WeakSecret::Control)
        } else if !text.is_ascii() {
            Err(WeakSecret::Foreign)
        } else if text.len() < LEAST_SECRET {
            Err(WeakSecret::Short)
        } else if different.len() < LEAST_DIFFERENT {
            Err(WeakSecret::Monotonous)
        } else {
            Ok(Self(Secret::new(text.to_owned())))
        }
    }

    /// As [`Secret::expose`].
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> Option<WeakSecret> {
        EnteredSecret::parse(text).err()
    }

    #[test]
    fn a_secret_that_is_entered_is_long_and_no_row_of_one_letter() {
        for (text, expected) in [
            ("", WeakSecret::Empty),
            (" \t\n ", WeakSecret::Empty),
            ("x", WeakSecret::Short),
            ("fifteen letters", WeakSecret::Short),
            ("aaaaaaaaaaaaaaaaaaaaaaaa", WeakSecret::Monotonous),
            ("0101010101010101", WeakSecret::Monotonous),
        ] {
            assert_eq!(problem(text), Some(expected), "{text:?}");
        }
        for text in ["webhook-signing-secret", "0123456789abcdef", "abcd efgh ijkl mnop"] {
            assert_eq!(problem(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_added_unseen_is_refused_by_name_and_the_rest_is_as_it_was_typed() {
        let typed = "0123456789abcdef";
        assert_eq!(
            EnteredSecret::parse(typed).map(|secret| secret.expose().to_owned()),
            Ok(typed.to_owned())
        );
        for (spoilt, expected) in [
            (format!("{typed}\n"), WeakSecret::Padded),
            (format!("{typed}\r\n"), WeakSecret::Padded),
            (format!(" {typed}"), WeakSecret::Padded),
            (format!("{typed}\u{a0}"), WeakSecret::Padded),
            (format!("{typed}\u{0}"), WeakSecret::Control),
            (typed.replace('8', "\t"), WeakSecret::Control),
            (typed.replace('8', "\n"), WeakSecret::Control),
            (format!("\u{feff}{typed}"), WeakSecret::Foreign),
            (format!("{typed}\u{200b}"), WeakSecret::Foreign),
            (typed.replace('8', "\u{a0}"), WeakSecret::Foreign),
            (format!("{typed}é"), WeakSecret::Foreign),
        ] {
            assert_eq!(problem(&spoilt), Some(expected), "{spoilt:?}");
            assert!(!expected.to_string().contains(typed));
        }
    }
}
