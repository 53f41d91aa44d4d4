//! What every adapter stands on: clients and their transport, the store, items, caches, figures of calls.

pub(crate) mod cache;
pub(crate) mod cause;
pub(crate) mod connection;
pub(crate) mod item;
pub mod meter;
#[cfg(feature = "profile")]
pub(crate) mod profile;
pub(crate) mod retries;
pub(crate) mod scarce;
pub(crate) mod store;
pub mod system;
pub(crate) mod transport;
