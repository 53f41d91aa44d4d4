//! What limits need of storage.

use super::{AddressLimit, BucketState, Clearing, Pool, PoolKey, PoolPolicy, WaitKey};
use crate::{
    address::ClientAddress, audit::SecurityEvent, clock::Timestamp, ids::OperationId, store::StoreResult,
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
