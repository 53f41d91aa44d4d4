//! Races: real parallel requests of several client processes at several server processes over one database.
//!
//! `SALLYPORT_RACE_ROUNDS` raises the number of rounds of every race.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may panic, and says what it ran"
)]

mod cluster;
mod codes;
mod factors;
mod passwords;
mod revocation;
mod rotation;
mod start;
#[path = "../faults/state.rs"]
#[allow(dead_code, reason = "shared with the faults, which look at all of it")]
mod state;
mod tokens;
