//! Limits: pools of attempts per account and per factor, budgets per address.

mod bucket;
mod device;
mod pool;
mod ports;
mod reserve;
mod wait;

pub use bucket::{AddressLimit, BucketState};
pub(crate) use device::policy_of_devices;
pub use device::{
    DEVICE_SHUT_AFTER, Device, DeviceAttempt, DeviceUse, Generation, KnownDevice, MOST_DEVICES, Stranger,
};
pub use pool::{Decision, Pool, PoolKey, PoolPolicy};
pub use ports::{Attempts, CountAddress, ReopenPool, Reserved, ShowLimits};
pub use reserve::{
    Clearing, Reservation, ReserveError, Settled, release, reserve, settle_failure, settle_success,
};
pub(crate) use reserve::{Place, Tried, claim};
pub use wait::{ClaimWait, WAIT, WAIT_WINDOW, WaitKey, Waiting};

#[cfg(test)]
mod tests;
