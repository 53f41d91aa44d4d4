//! Limits: pools of attempts per account and per factor, budgets per address.

mod bucket;
mod pool;
mod ports;
mod reserve;

pub use bucket::{AddressLimit, BucketState};
pub use pool::{Decision, Pool, PoolKey, PoolPolicy};
pub use ports::{Attempts, CountAddress, ReopenPool, Reserved, ShowLimits};
pub use reserve::{Clearing, Reservation, ReserveError, release, reserve, settle_failure, settle_success};

#[cfg(test)]
mod tests;
