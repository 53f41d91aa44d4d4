//! Tokens: each kind has its own form, its own verifier and its own key.

mod access;
mod device;
mod jwt;
mod mfa;
mod opaque;
mod refresh;

pub(crate) use access::sign_access_token;
pub use access::{AccessClaims, Audience, CLIENT_ID, ProofClaims, verify_access_token};
pub use device::{DeviceBound, DeviceToken, issue_device_token, open_device_token};
pub use jwt::TokenError;
pub use mfa::{MfaClaims, issue_mfa_token, verify_mfa_token};
pub use refresh::{RefreshToken, is_forged_refresh_token, issue_refresh_token, open_refresh_token};

use std::time::Duration;

/// How long an access token is good for: the bound of every revocation that is not checked per request.
pub const ACCESS_LIFETIME: Duration = Duration::from_secs(300);

/// How long a sign-in waits for its second factor.
pub const MFA_LIFETIME: Duration = Duration::from_secs(300);

/// How long a device stays known after its last sign-in.
pub const DEVICE_LIFETIME: Duration = Duration::from_secs(180 * 24 * 60 * 60);

/// How a session's refresh token reaches its client. What was asked for at the sign-in holds for as long as the session: a
/// script that may not read the cookie must not be told its content by another route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    #[default]
    Body,
    Cookie,
}

#[cfg(test)]
mod tests;
