//! What limits need of storage.

use super::{AddressLimit, BucketState, Clearing, DeviceAttempt, KnownDevice, Pool, PoolKey, PoolPolicy};
use crate::{
    address::ClientAddress,
    audit::SecurityEvent,
    clock::Timestamp,
    flags::WaitKey,
    ids::{DeviceKey, OperationId, UserId},
    sessions::{Added, Session, UserSessions},
    store::StoreResult,
};

/// What became of a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserved {
    /// It stands; the pool after it.
    Yes(Pool),
    /// The condition did not hold; the pool as it is.
    No(Pool),
}

/// Pools of attempts. Each call is one conditional write.
pub trait Attempts: Send + Sync {
    /// Reserves an attempt unless the pool is full, shut or past its window: without reading it first.
    ///
    /// An operation that holds a reservation already is answered [`Reserved::Yes`] or shows in the pool.
    fn reserve(
        &self,
        key: &PoolKey,
        operation: OperationId,
        policy: &PoolPolicy,
        now: Timestamp,
    ) -> impl Future<Output = StoreResult<Reserved>> + Send;

    /// Writes `next` where the pool is still at version `seen`.
    fn replace(
        &self,
        key: &PoolKey,
        seen: u64,
        next: &Pool,
        policy: &PoolPolicy,
    ) -> impl Future<Output = StoreResult<Reserved>> + Send;

    /// The reserved attempt failed: it keeps its place in the count. The pool after it, `None` when it was
    /// forgotten.
    fn settle_failure(
        &self,
        key: &PoolKey,
        operation: OperationId,
        now: Timestamp,
    ) -> impl Future<Output = StoreResult<Option<Pool>>> + Send;

    /// The reserved attempt leaves the count, and takes `clearing` with it, provided that no other success has taken it
    /// since ([`Pool::cleared`]) and that every reservation of [`Clearing::expired`] still stands: a straggler that settled
    /// after it had expired has left the count already. An attempt that was settled before changes nothing.
    fn settle_success(
        &self,
        key: &PoolKey,
        operation: OperationId,
        clearing: &Clearing,
    ) -> impl Future<Output = StoreResult<()>> + Send;

    /// A consistent read.
    fn pool(&self, key: &PoolKey) -> impl Future<Output = StoreResult<Option<Pool>>> + Send;

    /// Forgets a pool.
    fn forget(&self, key: &PoolKey) -> impl Future<Output = StoreResult<()>> + Send;
}

/// What became of a reservation in a device's pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceReserved {
    /// It stands; the item after it.
    Yes(UserSessions),
    /// The condition did not hold; the item as it is, `None` when there is none.
    No(Option<UserSessions>),
}

/// The success of an attempt of a known device, and the session that begins with it, if one does.
#[derive(Debug)]
pub struct DeviceSuccess<'a> {
    pub of: KnownDevice,
    pub operation: OperationId,
    /// The item as the reservation showed it.
    pub seen: &'a UserSessions,
    pub clearing: &'a Clearing,
    /// Whether it counts as a use of the device: an attempt that is given back does not.
    pub counts: bool,
    pub session: Option<&'a Session>,
    pub now: Timestamp,
}

/// Attempts of known devices, in the item of the user's sessions. Each call is one conditional write, but where said
/// otherwise.
pub trait DeviceAttempts: Send + Sync {
    /// Reserves an attempt where the epoch is the device's, the account knows the device, and its pool and its budget have
    /// room: without reading the item first.
    fn reserve_device(
        &self,
        attempt: &DeviceAttempt,
        now: Timestamp,
    ) -> impl Future<Output = StoreResult<DeviceReserved>> + Send;

    /// Writes `next` in place of `seen` where the pool is still at that version, the epoch the device's, and the device known.
    fn replace_device(
        &self,
        attempt: &DeviceAttempt,
        seen: &Pool,
        next: &Pool,
    ) -> impl Future<Output = StoreResult<DeviceReserved>> + Send;

    /// As [`Attempts::settle_failure`].
    fn settle_device_failure(
        &self,
        of: KnownDevice,
        operation: OperationId,
        now: Timestamp,
    ) -> impl Future<Output = StoreResult<Option<Pool>>> + Send;

    /// As [`Attempts::settle_success`] and [`crate::sessions::AddSession::add_session`] in one. Where others came in between
    /// it takes up to three writes more; whatever became of the reservation, the session is added under its epoch.
    fn settle_device_success(
        &self,
        success: &DeviceSuccess<'_>,
    ) -> impl Future<Output = StoreResult<Added>> + Send;

    /// Forgets the failures of these devices' pools.
    fn clear_devices(
        &self,
        user: UserId,
        devices: &[(DeviceKey, Pool)],
    ) -> impl Future<Output = StoreResult<()>> + Send;

    /// Notes that the strangers' pool is shut, for the next sign-in of a known device, which reads this item and not that
    /// pool. A user who never signed in has no known device, and nothing is noted.
    fn note_strangers_shut(&self, user: UserId, shut: bool) -> impl Future<Output = StoreResult<()>> + Send;
}

pub trait ReopenPool: Send + Sync {
    /// Forgets a pool where it is still at version `seen`, in one transaction with the event of it. Nothing happens where
    /// it is not.
    fn reopen(
        &self,
        key: &PoolKey,
        seen: u64,
        event: &SecurityEvent,
    ) -> impl Future<Output = StoreResult<()>> + Send;
}

pub trait CountAddress: Send + Sync {
    /// Counts one request of this address. A count whose reply was lost may be counted twice: the safe side.
    fn count(
        &self,
        address: ClientAddress,
        limit: &AddressLimit,
        now: Timestamp,
    ) -> impl Future<Output = StoreResult<BucketState>> + Send;

    /// Whether this process has heard that the budget of the window of `now` is scarce ([`BucketState::is_scarce`]): asks
    /// nobody, and counts nothing.
    fn is_known_scarce(&self, address: ClientAddress, limit: &AddressLimit, now: Timestamp) -> bool;
}

/// For whoever asks why something was refused. Consistent reads, which count nothing.
pub trait ShowLimits: Send + Sync {
    /// The budget of an address in the window of `now`.
    fn counted(
        &self,
        address: ClientAddress,
        limit: &AddressLimit,
        now: Timestamp,
    ) -> impl Future<Output = StoreResult<BucketState>> + Send;

    /// When the first attempt of those who wait was made.
    fn waiting(&self, key: &WaitKey) -> impl Future<Output = StoreResult<Option<Timestamp>>> + Send;
}
