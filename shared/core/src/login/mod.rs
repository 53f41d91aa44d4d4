//! Signing in with a password, and proving oneself again.

mod ports;
mod reauthenticate;
mod sign_in;

pub use ports::{ReauthenticationPorts, Restamp, SignInPorts};
pub use reauthenticate::{
    Proof, ReauthenticateAnswer, ReauthenticateCommand, ReauthenticateError, reauthenticate,
};
pub use sign_in::{MfaChallenge, OfferedFactor, SignInAnswer, SignInCommand, SignInError, SignedIn, sign_in};
