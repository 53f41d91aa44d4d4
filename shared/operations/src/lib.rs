//! What keeps a deployment running, above the domain: incidents, restore drills, rotation of keys, gauges, retention, metrics.
//!
//! As in `sallyport-core`, nothing here knows AWS, HTTP, a clock or a source of randomness, and the modules stand in the order
//! of their levels (`tests/levels.py`).

// Level 1: each about one thing.
pub mod gauge;
pub mod incidents;
pub mod metrics;
pub mod rotation;
pub mod smoke;

// Level 2: what acts on them.
pub mod recovery;
pub mod retention;
pub mod rotate;

// The same test code as in the core: its paths begin with the crate's.
#[cfg(test)]
use sallyport_core::{clock, keyring, random, secret};
#[cfg(test)]
#[allow(dead_code, reason = "the core uses what is unused here")]
#[path = "../../core/src/testing/mod.rs"]
mod testing;
