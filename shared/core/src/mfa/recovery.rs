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
const LETTERS: usize = 4 * GROUP;

/// A code with more characters is nobody's typing.
const LONGEST: usize = 64;

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
        Ok(Self(Secret::new(grouped(&letters))))
    }

    /// Reads a code as people type it: in capitals, without hyphens or with other dashes, with spaces, with a `0` or `8` for the
    /// letter that it is taken for. All spellings are one code. (A `1` could be two letters, and is refused.)
    pub fn parse(text: &str) -> Option<Self> {
        let letters: String = without_separators(text)?.chars().map(meant).collect();
        let well_formed =
            letters.len() == LETTERS && letters.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'));
        well_formed.then(|| Self(Secret::new(grouped(&letters))))
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

/// What was typed, without the spaces, line ends and dashes that people, keyboards and clipboards put between. `None`: it is
/// longer than a code can be.
pub fn without_separators(text: &str) -> Option<String> {
    let separates = |character: char| {
        matches!(character, ' ' | '\t' | '\r' | '\n' | '\u{a0}' | '-' | '\u{2010}'..='\u{2015}' | '\u{2212}')
    };
    (text.chars().count() <= LONGEST)
        .then(|| text.chars().filter(|character| !separates(*character)).collect())
}

/// The letter that a character is typed for. Base32 has neither 0 nor 8.
fn meant(character: char) -> char {
    match character.to_ascii_lowercase() {
        '0' => 'o',
        '8' => 'b',
        letter => letter,
    }
}

fn grouped(letters: &str) -> String {
    let mut code = String::with_capacity(letters.len() + 3);
    for (index, letter) in letters.chars().enumerate() {
        if index > 0 && index % GROUP == 0 {
            code.push('-');
        }
        code.push(letter);
    }
    code
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
