//! Signing in with a password, and proving oneself again.

mod ports;
mod reauthenticate;
mod sign_in;

pub use ports::{LoginRecords, ReauthenticationPorts, RenewHash, Restamp, SignInPorts};
pub use reauthenticate::{Proof, ReauthenticateCommand, ReauthenticateError, reauthenticate};
pub(crate) use sign_in::reopen;
pub use sign_in::{MfaChallenge, OfferedFactor, SignInAnswer, SignInCommand, SignInError, SignedIn, sign_in};

use crate::{
    sessions::SessionPolicy,
    throttle::{AddressLimit, PoolPolicy},
    tokens::Audience,
};

/// The rules of a deployment that signing in obeys.
#[derive(Debug, Clone)]
pub struct Rules {
    pub audience: Audience,
    pub sessions: SessionPolicy,
    pub pool: PoolPolicy,
    pub address: AddressLimit,
}
