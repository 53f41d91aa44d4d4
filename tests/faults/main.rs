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
mod keyring;
mod scenario;
mod state;
