//! What signing in needs of storage.

use crate::{
    accounts::{Email, Epoch, LoginRecord, Profile, StoredHash},
    audit::{RecordEvent, SecurityEvent},
    flags::ClaimWait,
    ids::UserId,
    mfa::FactorPorts,
    sessions::{AddSession, GiveWay, ReadSessions, Rotation, RotationRequest, Session},
    store::StoreResult,
    throttle::{Attempts, CountAddress, DeviceAttempts, ReopenPool},
};

pub trait LoginRecords: Send + Sync {
    /// A consistent read.
    fn login_record(&self, email: &Email) -> impl Future<Output = StoreResult<Option<LoginRecord>>> + Send;

    /// A consistent read.
    fn profile(&self, user: UserId) -> impl Future<Output = StoreResult<Option<Profile>>> + Send;
}

pub trait RenewHash: Send + Sync {
    /// Replaces a hash with one of the same password, provided that it is still the one that was checked: in one
    /// transaction with its event. Whoever meets somebody else at it leaves it to them.
    fn renew_hash(
        &self,
        email: &Email,
        checked: &StoredHash,
        renewed: &StoredHash,
        event: &SecurityEvent,
    ) -> impl Future<Output = StoreResult<()>> + Send;
}

pub trait Restamp: Send + Sync {
    /// Rotates a session and gives it the proofs and the delivery of `stamped`, under the epoch that the check read. The rest
    /// of `stamped` is not written.
    fn restamp(
        &self,
        request: RotationRequest,
        epoch: Epoch,
        stamped: &Session,
    ) -> impl Future<Output = StoreResult<Rotation>> + Send;
}

/// All that signing in may touch.
pub trait SignInPorts:
    LoginRecords
    + RenewHash
    + Attempts
    + DeviceAttempts
    + ReopenPool
    + CountAddress
    + ClaimWait
    + AddSession
    + GiveWay
    + RecordEvent
{
}

impl<P> SignInPorts for P where
    P: LoginRecords
        + RenewHash
        + Attempts
        + DeviceAttempts
        + ReopenPool
        + CountAddress
        + ClaimWait
        + AddSession
        + GiveWay
        + RecordEvent
{
}

/// All that proving oneself again may touch.
pub trait ReauthenticationPorts:
    LoginRecords + Attempts + DeviceAttempts + CountAddress + ReadSessions + Restamp + RecordEvent + FactorPorts
{
}

impl<P> ReauthenticationPorts for P where
    P: LoginRecords
        + Attempts
        + DeviceAttempts
        + CountAddress
        + ReadSessions
        + Restamp
        + RecordEvent
        + FactorPorts
{
}
