//! Faults at every call that writes, and of the keyring: nothing is told that is not so, nothing happens twice, and
//! whoever was refused can go on.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may panic, and says what it ran"
)]

mod calls;
mod deployment;
mod keyring;
#[allow(dead_code, reason = "what comes again and finds nothing to do is counted, in tests/usage")]
mod scenario;
mod state;
