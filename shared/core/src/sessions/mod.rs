//! Sessions: one item per user holds them all.

mod attempts;
mod begin;
mod caller;
mod end;
mod grant;
mod model;
mod ports;
mod refresh;

pub(crate) use attempts::reopen;
pub use attempts::{
    DeviceAttempts, DeviceReservation, DeviceReserved, DeviceSuccess, PasswordAttempt, reserve_for_device,
};
pub use begin::{NewSession, begin};
pub(crate) use begin::{displaced_event, make_room};
pub use caller::{Caller, CallerError, is_current};
pub use end::{EndCommand, EndScope, Presented, end_sessions, revoke_token};
pub use grant::{Grant, grant, issue_access_token};
pub use model::{Methods, Proofs, Session, SessionPolicy, Surplus, UserSessions};
pub use ports::{
    AddSession, Added, EndAll, EndAllSessions, EndSessions, GiveWay, ReadSessions, RotateSession, Rotation,
    RotationRequest,
};
pub use refresh::{RefreshCommand, RefreshError, refresh};

#[cfg(test)]
mod tests;
