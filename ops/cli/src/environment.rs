//! The process's environment, read by name.

/// A variable that is set, in text.
#[expect(
    clippy::disallowed_methods,
    reason = "the command's one door to the environment; clap reads options only"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
