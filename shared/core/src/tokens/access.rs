//! Access tokens: JWTs after RFC 9068.

use serde::{Deserialize, Serialize};

use super::{ACCESS_LIFETIME, TokenError, jwt};
use crate::{clock::Timestamp, keyring::Keyring, secret::Secret};

const TYP: &str = "at+jwt";

/// The client that these tokens are issued to: the deployment's own front ends.
pub const CLIENT_ID: &str = "first-party";

/// Who issues, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audience {
    pub issuer: String,
    pub audience: String,
}

/// The claims, all required, all typed: a `"exp": "…"` is no time (CVE-2026-25537).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessClaims {
    pub iss: String,
    pub aud: String,
    pub sub: String,
    pub client_id: String,
    pub sid: String,
    pub aal: u8,
    pub amr: Vec<String>,
    pub auth_time: u64,
    pub iat: u64,
    pub exp: u64,
    pub jti: String,
    pub scope: String,
    /// What the routes ask that want a recent proof of one method in particular. The release before does not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proofs: Option<ProofClaims>,
}

/// When each method was last proven, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProofClaims {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pwd: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otp: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<u64>,
}

/// # Errors
/// [`TokenError::Signing`].
pub(crate) fn sign_access_token(
    keyring: &Keyring,
    claims: &AccessClaims,
) -> Result<Secret<String>, TokenError> {
    jwt::sign(keyring, TYP, claims)
}

/// Checks an access token: everything that can be checked without storage.
///
/// # Errors
/// [`TokenError::Invalid`], [`TokenError::Expired`].
pub fn verify_access_token(
    keyring: &Keyring,
    audience: &Audience,
    token: &str,
    now: Timestamp,
) -> Result<AccessClaims, TokenError> {
    let claims: AccessClaims = jwt::verify(keyring, TYP, token, now)?;
    if claims.iss != audience.issuer {
        return Err(TokenError::Invalid("iss"));
    }
    if claims.aud != audience.audience {
        return Err(TokenError::Invalid("aud"));
    }
    jwt::check_times(claims.iat, claims.exp, ACCESS_LIFETIME, now)?;
    Ok(claims)
}
