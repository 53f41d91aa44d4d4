//! What signing in needs of storage.

use crate::{
    accounts::{Epoch, LoginRecords, RenewHash},
    audit::RecordEvent,
    mfa::FactorPorts,
    sessions::{AddSession, DeviceAttempts, GiveWay, ReadSessions, Rotation, RotationRequest, Session},
    store::StoreResult,
    throttle::{Attempts, ClaimWait, CountAddress, ReopenPool},
};

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
