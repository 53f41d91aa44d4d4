//! Limits: pools of attempts per account and per factor, budgets per address.

mod bucket;
mod device;
mod pool;
mod ports;
mod reserve;

pub use bucket::{AddressLimit, BucketState};
pub(crate) use device::policy_of_devices;
pub use device::{
    DEVICE_SHUT_AFTER, Device, DeviceAttempt, DeviceUse, Generation, KnownDevice, MOST_DEVICES, Stranger,
};
pub use pool::{Decision, Pool, PoolKey, PoolPolicy};
pub use ports::{
    Attempts, CountAddress, DeviceAttempts, DeviceReserved, DeviceSuccess, ReopenPool, Reserved, ShowLimits,
};
pub use reserve::{
    Clearing, DeviceReservation, PasswordAttempt, Reservation, ReserveError, Settled, release, reserve,
    reserve_for_device, settle_failure, settle_success,
};

#[cfg(test)]
mod tests;
