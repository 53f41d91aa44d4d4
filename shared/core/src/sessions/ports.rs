//! What sessions need of storage. Each call is one write or one read of the user's one item.

use super::{Session, Surplus, UserSessions};
use crate::{
    accounts::{Email, Epoch},
    audit::SecurityEvent,
    clock::Timestamp,
    ids::{DeviceKey, OperationId, SessionId, UserId},
    messages::Message,
    store::StoreResult,
};

/// What became of a new session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Added {
    /// It stands, among these.
    Among(UserSessions),
    /// A password change, a reset or a disabling came between the check and this.
    EpochPassed,
}

pub trait AddSession: Send + Sync {
    /// Adds `session`, provided that the user's epoch is still `epoch`. Its device is known from then on. Adding the same
    /// session again changes nothing.
    fn add_session(
        &self,
        user: UserId,
        epoch: Epoch,
        session: &Session,
    ) -> impl Future<Output = StoreResult<Added>> + Send;
}

/// A rotation to try.
#[derive(Debug, Clone, Copy)]
pub struct RotationRequest {
    pub user: UserId,
    pub session: SessionId,
    /// The counter that the caller's token carries.
    pub presented: u32,
    pub now: Timestamp,
    pub idle_until: Timestamp,
    pub operation: OperationId,
    /// The token came as a cookie: a session of which the release before noted no delivery is one of cookies.
    pub by_cookie: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    Rotated(Session),
    /// The condition did not hold; this is what the item held, `None` when there is no item.
    Refused(Option<UserSessions>),
}

pub trait RotateSession: Send + Sync {
    /// Puts the counter up by one where it equals `presented` and the session is alive: one conditional write.
    fn rotate(&self, request: RotationRequest) -> impl Future<Output = StoreResult<Rotation>> + Send;

    /// As [`RotateSession::rotate`], for a repeat by device token: provided that the device's generation is still
    /// `generation`, which goes up too. The account knows the device from then on.
    fn repeat(
        &self,
        request: RotationRequest,
        device: DeviceKey,
        generation: u32,
    ) -> impl Future<Output = StoreResult<Rotation>> + Send;
}

pub trait ReadSessions: Send + Sync {
    /// A consistent read. A user who never signed in has no item and no sessions.
    fn sessions(&self, user: UserId) -> impl Future<Output = StoreResult<UserSessions>> + Send;
}

pub trait EndSessions: Send + Sync {
    /// Ends these sessions, writes the event and the message: all or nothing. `false`, and nothing is written, when none of
    /// them is there any more.
    fn end(
        &self,
        user: UserId,
        sessions: &[SessionId],
        event: &SecurityEvent,
        message: Option<&Message>,
    ) -> impl Future<Output = StoreResult<bool>> + Send;
}

/// All sessions of a user, to be ended by one of them.
#[derive(Debug, Clone, Copy)]
pub struct EndAll<'a> {
    pub user: UserId,
    pub email: &'a Email,
    /// As it was read beside the session.
    pub epoch: Epoch,
    /// The session that asks for it.
    pub session: SessionId,
    pub event: &'a SecurityEvent,
}

pub trait EndAllSessions: Send + Sync {
    /// Ends all sessions under the next epoch, which the login record gets too, and writes the event: one transaction. So a
    /// sign-in that read the record before begins no session after. `false`, and nothing is written, when the session has ended
    /// or the epoch has passed since they were read.
    fn end_all(&self, all: &EndAll<'_>) -> impl Future<Output = StoreResult<bool>> + Send;
}

pub trait GiveWay: Send + Sync {
    /// Ends the sessions and forgets the devices of `surplus`: in one transaction with the event, where there is one, and in
    /// one write otherwise.
    fn give_way(
        &self,
        user: UserId,
        surplus: &Surplus,
        event: Option<&SecurityEvent>,
    ) -> impl Future<Output = StoreResult<()>> + Send;
}
