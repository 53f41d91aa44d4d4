//! The drill: every alarm that ships fires when what it is about really happens, and clears when it is over.
//!
//! A drill runs the whole backend, breaks it or attacks it, moves its clock minute by minute, and hands what its functions
//! wrote and what AWS would have published to `sallyport-alarms`, which evaluates all of `infra/alarms.yaml`. It asserts
//! when the alarm fires, that no other does but those that are named, that exactly one message goes out, and when all is
//! quiet again: because the cause is gone, and where a page has commands against the harm, because somebody ran them while
//! the cause went on (`mitigations`). Then it breaks the alarm itself, its dimensions and its threshold, and asserts that it
//! would have noticed.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic, and should say where"
)]

mod attacks;
mod availability;
mod coverage;
mod drill;
mod first_day;
mod mitigations;
mod page;
mod performance;
mod platform;
mod upkeep;
mod world;
