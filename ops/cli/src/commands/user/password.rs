//! Passwords on their way in. They never stand on the command line, where the whole machine can read them.

use std::io::{self, IsTerminal as _, Read as _};

use clap::Args;
use data_encoding::BASE32_NOPAD;
use sallyport_core::{accounts::Password, random::Random, secret::Secret};

use super::typed::text;
use crate::{failure::Failure, terminal};

/// NIST SP 800-63B 3.1.1.2: at least 8 characters where a second factor may stand beside it.
const FEWEST_CHARACTERS: usize = 8;

/// 15 random bytes are 24 base32 letters.
const GENERATED: usize = 15;

/// Where the password of a new account comes from.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct NewPassword {
    /// Read the password from stdin; at a terminal, ask for it twice.
    #[arg(long)]
    password_stdin: bool,
    /// Make up a password and show it once.
    #[arg(long)]
    generate: bool,
}

/// Where the password of an account that exists comes from.
#[derive(Debug, Args)]
pub(crate) struct GivenPassword {
    /// Read the password from stdin; at a terminal, ask for it twice.
    #[arg(long, required = true)]
    password_stdin: bool,
}

/// A password, and what of it is to be shown.
pub(crate) struct Chosen {
    pub(crate) password: Password,
    pub(crate) generated: Option<Secret<String>>,
}

impl NewPassword {
    /// Made up, or read.
    pub(crate) const fn of(generate: bool) -> Self {
        Self { password_stdin: !generate, generate }
    }

    /// # Errors
    /// The password is too short or too long; stdin; no randomness.
    pub(crate) fn choose(&self, random: &dyn Random) -> Result<Chosen, Failure> {
        if !self.generate {
            return Ok(Chosen { password: read()?, generated: None });
        }
        let letters = BASE32_NOPAD.encode(&random.bytes::<GENERATED>()?).to_lowercase();
        let groups: Vec<_> = letters.as_bytes().chunks(6).map(String::from_utf8_lossy).collect();
        let text = Secret::new(groups.join("-"));
        Ok(Chosen { password: accept(text.expose())?, generated: Some(text) })
    }
}

impl GivenPassword {
    /// # Errors
    /// The password is too short or too long; stdin.
    #[expect(clippy::unused_self, reason = "the option stands for the one way that there is")]
    pub(crate) fn read(&self) -> Result<Password, Failure> {
        read()
    }
}

fn read() -> Result<Password, Failure> {
    let failed = |error: io::Error| {
        Failure::dependency("stdin_failed", format!("the password could not be read: {error}"))
    };
    if io::stdin().is_terminal() {
        let first = typed(terminal::hidden_line("Password: ").map_err(failed)?.expose())?;
        let second = typed(terminal::hidden_line("Once more: ").map_err(failed)?.expose())?;
        if first.expose() != second.expose() {
            return Err(Failure::usage("passwords_differ", "the two passwords differ: nothing was changed"));
        }
        return accept(first.expose());
    }
    // One byte more than a password with a byte order mark and its line end: what is longer is seen to be.
    let limit = u64::try_from(Password::MAX_BYTES + 6).unwrap_or(u64::MAX);
    let mut given = Vec::new();
    io::stdin().lock().take(limit).read_to_end(&mut given).map_err(failed)?;
    let bytes = Secret::new(given);
    accept(typed(bytes.expose())?.expose())
}

fn typed(bytes: &[u8]) -> Result<Secret<String>, Failure> {
    text(bytes).map_err(|error| Failure::usage("invalid_password", error.to_string()))
}

fn accept(text: &str) -> Result<Password, Failure> {
    let password =
        Password::new(text).map_err(|error| Failure::usage("invalid_password", error.to_string()))?;
    if text.chars().count() < FEWEST_CHARACTERS {
        let message = format!("a password has at least {FEWEST_CHARACTERS} characters: nothing was changed");
        return Err(Failure::usage("invalid_password", message));
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_8_characters_whatever_their_bytes() {
        assert!(accept("1234567").is_err());
        assert!(accept("12345678").is_ok());
        assert!(accept("\u{e9}\u{e9}\u{e9}\u{e9}").is_err());
        assert!(accept(&"a".repeat(1025)).is_err());
    }

    #[test]
    fn generated_passwords_differ_and_are_four_groups() {
        let choose = || {
            let options = NewPassword { password_stdin: false, generate: true };
            options.choose(&sallyport_aws::system::OsRandom).ok().and_then(|chosen| chosen.generated)
        };
        let (first, second) = (choose().unwrap(), choose().unwrap());
        assert_ne!(first.expose(), second.expose());
        assert_eq!(first.expose().split('-').map(str::len).collect::<Vec<_>>(), [6, 6, 6, 6]);
    }
}
