//! Recovery codes: 120 random bits each, shown once, stored hashed, good once.

use std::fmt;

use aws_lc_rs::digest;
use data_encoding::BASE32_NOPAD;

use crate::{
    ids::UserId,
    random::{Random, RandomUnavailable},
    secret::Secret,
};

const BYTES: usize = 15;
const GROUP: usize = 6;

/// A code in the clear: four groups of six base32 letters, lower case.
#[derive(Debug, Clone)]
pub struct RecoveryCode(Secret<String>);

/// SHA-256 of a code and its user. From 112 bits on a plain hash is enough (ASVS 6.5.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CodeHash([u8; 32]);

impl RecoveryCode {
    /// How many are issued at a time.
    pub const COUNT: usize = 10;

    /// # Errors
    /// [`RandomUnavailable`].
    pub fn generate(random: &dyn Random) -> Result<Self, RandomUnavailable> {
        let letters = BASE32_NOPAD.encode(&random.bytes::<BYTES>()?).to_lowercase();
        let mut code = String::with_capacity(letters.len() + 3);
        for (index, letter) in letters.chars().enumerate() {
            if index > 0 && index % GROUP == 0 {
                code.push('-');
            }
            code.push(letter);
        }
        Ok(Self(Secret::new(code)))
    }

    /// Reads a code exactly as it was shown.
    pub fn parse(text: &str) -> Option<Self> {
        let groups: Vec<_> = text.split('-').collect();
        let well_formed = groups.len() == 4
            && groups.iter().all(|group| {
                group.len() == GROUP && group.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'))
            });
        well_formed.then(|| Self(Secret::new(text.to_owned())))
    }

    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    pub fn hash(&self, user: UserId) -> CodeHash {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"recovery");
        context.update(user.as_bytes());
        context.update(self.0.expose().as_bytes());
        let mut hash = [0; 32];
        for (to, from) in hash.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        CodeHash(hash)
    }
}

impl CodeHash {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for CodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
