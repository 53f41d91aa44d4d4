//! E-mail addresses and their canonical form.

use std::{fmt, str::FromStr};

use aws_lc_rs::digest;
use unicode_normalization::UnicodeNormalization as _;

use crate::ids::AccountKey;

/// An address in canonical form: one account has one, whatever case, width or encoding the caller typed.
///
/// NFKC and lower case over the whole; the domain as IDNA A-labels. It is normalised first and checked after, so that no
/// look-alike `@` appears behind the check.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Email(String);

/// Not an address that mail could reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an e-mail address")]
pub struct InvalidEmail;

/// RFC 5321 4.5.3.1: 64 octets before the `@`, 254 in all (erratum 1690 to RFC 3696).
const MAX_LOCAL: usize = 64;
const MAX_TOTAL: usize = 254;

impl Email {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn account_key(&self) -> AccountKey {
        let hash = digest::digest(&digest::SHA256, self.0.as_bytes());
        let mut key = [0; 16];
        for (to, from) in key.iter_mut().zip(hash.as_ref()) {
            *to = *from;
        }
        AccountKey::from_bytes(key)
    }
}

impl FromStr for Email {
    type Err = InvalidEmail;

    fn from_str(text: &str) -> Result<Self, InvalidEmail> {
        // Before the normalisation, whose output can be 18 times as long as its input.
        if text.len() > 2 * MAX_TOTAL {
            return Err(InvalidEmail);
        }
        let folded: String = text.nfkc().collect::<String>().to_lowercase().nfkc().collect();
        let (local, domain) = folded.rsplit_once('@').ok_or(InvalidEmail)?;
        if local.is_empty() || local.len() > MAX_LOCAL || !local.chars().all(allowed_in_local_part) {
            return Err(InvalidEmail);
        }
        if local.starts_with('.') || local.ends_with('.') || local.contains("..") {
            return Err(InvalidEmail);
        }
        let domain = idna::domain_to_ascii_strict(domain).map_err(|_| InvalidEmail)?;
        if !domain.contains('.') || domain.ends_with('.') || local.len() + 1 + domain.len() > MAX_TOTAL {
            return Err(InvalidEmail);
        }
        Ok(Self(format!("{local}@{domain}")))
    }
}

/// RFC 5322 `atext` and the dot, or a letter or digit beyond ASCII (RFC 6531).
fn allowed_in_local_part(character: char) -> bool {
    if character.is_ascii() {
        character.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(character)
    } else {
        character.is_alphanumeric()
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Personal data stays out of logs: the key shows instead.
impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Email({})", self.account_key())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> Option<String> {
        text.parse::<Email>().ok().map(|email| email.to_string())
    }

    #[test]
    fn spellings_of_one_address_are_one_account() {
        for text in [
            "Ada@Example.COM",
            "ada@example.com",
            "\u{ff41}da@example.com",
            "ada\u{ff20}example.com",
            "ada@EXAMPLE\u{ff0e}com",
        ] {
            assert_eq!(canonical(text).as_deref(), Some("ada@example.com"), "{text}");
        }
        assert_eq!(canonical("ada@b\u{fc}cher.example").as_deref(), Some("ada@xn--bcher-kva.example"));
    }

    #[test]
    fn what_mail_could_not_reach_is_refused() {
        for text in [
            "",
            "@",
            "a@",
            "@example.com",
            "a@b",
            "a b@example.com",
            " a@example.com",
            "a@example.com ",
            "a@exa mple.com",
            "a@example..com",
            ".a@example.com",
            "a.@example.com",
            "a..b@example.com",
            "a\u{0}@example.com",
            "a\n@example.com",
            "a@example.com,b@example.com",
            "\"a\"@example.com",
            "a@[127.0.0.1]",
            "a@example.com.",
            "\u{200b}a@example.com",
        ] {
            assert_eq!(canonical(text), None, "{text:?}");
        }
        assert_eq!(canonical(&format!("{}@example.com", "a".repeat(65))), None);
        assert_eq!(canonical(&format!("a@{}.example", "b".repeat(64))), None);
    }

    #[test]
    fn letters_that_only_look_alike_stay_apart() {
        // CVE-2019-19844: a dotless i upper-cases to the I that i does.
        assert_ne!(canonical("m\u{131}ke@example.org"), canonical("mike@example.org"));
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_its_own_canonical_form(text in "\\PC{0,40}@[a-zA-Z\u{e0}-\u{f6}]{1,10}\\.[a-z]{2,5}") {
            if let Ok(email) = text.parse::<Email>() {
                prop_assert_eq!(email.as_str().parse::<Email>(), Ok(email.clone()));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            let _parsed = text.parse::<Email>();
        }
    }
}
