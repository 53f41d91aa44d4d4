//! The process's environment, read by name.

/// A variable that is set, in text.
#[expect(
    clippy::disallowed_methods,
    reason = "the command's one door to the environment; clap reads options only"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A variable that is set to something else than text.
pub(crate) struct NotText;

/// As [`variable`], where a value that is no text must not pass for none.
///
/// # Errors
/// [`NotText`].
#[expect(clippy::disallowed_methods, reason = "as above")]
pub(crate) fn text_variable(name: &str) -> Result<Option<String>, NotText> {
    std::env::var_os(name).map(|value| value.into_string().map_err(|_| NotText)).transpose()
}
