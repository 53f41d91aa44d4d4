//! Command lines that people are told to run. They paste them into a shell, and an address may hold what a shell obeys:
//! `a|b`, `$(c)`, `-d` are all letters of RFC 5322's local part, and whoever signs up chooses them.

use std::borrow::Cow;

use sallyport_core::accounts::Email;

/// A text as one word of a shell.
pub(crate) fn word(text: &str) -> Cow<'_, str> {
    // No shell has a word with a zero byte, and neither has JSON or an address.
    shlex::try_quote(text).unwrap_or_default()
}

/// A command about an account. `options` begin with a space.
pub(crate) fn on_account(command: &str, email: &Email, options: &str) -> String {
    let word = word(email.as_str());
    if email.as_str().starts_with('-') {
        return format!("sallyport {command}{options} -- {word}");
    }
    format!("sallyport {command} {word}{options}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_that_a_shell_would_obey_is_quoted() {
        let told = |email: &str| on_account("reset force", &email.parse().unwrap(), " --reason x");
        assert_eq!(told("ada@example.com"), "sallyport reset force ada@example.com --reason x");
        assert_eq!(told("a&reboot@example.com"), "sallyport reset force 'a&reboot@example.com' --reason x");
        assert_eq!(told("o'neil@example.com"), "sallyport reset force \"o'neil@example.com\" --reason x");
        assert_eq!(told("--all@example.com"), "sallyport reset force --reason x -- --all@example.com");
    }

    proptest! {
        #[test]
        fn a_shell_reads_back_the_address_that_was_meant(local in "[a-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}") {
            let email = format!("{local}@example.com").parse().unwrap();
            let words = shlex::split(&on_account("user unlock", &email, " --dry-run")).unwrap();
            prop_assert!(words.contains(&email.to_string()), "{:?}", words);
            prop_assert!(words.len() == if local.starts_with('-') { 6 } else { 5 }, "{:?}", words);
        }
    }
}
