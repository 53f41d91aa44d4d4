//! What unit tests stand on. `sallyport-operations` compiles the same files into its own tests: a crate's test code cannot be
//! imported from another, and a feature would put it into what ships.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

pub(crate) mod interleaving;
pub(crate) mod keyring;
pub(crate) mod random;
