//! Access tokens: JWTs after RFC 9068.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::{ACCESS_LIFETIME, TokenError, jwt};
use crate::{
    clock::Timestamp,
    ids::UserId,
    keyring::Keyring,
    random::Random,
    secret::Secret,
    sessions::{Proofs, Session},
};

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

impl From<Proofs> for ProofClaims {
    fn from(proofs: Proofs) -> Self {
        Self {
            pwd: proofs.password.map(Timestamp::seconds),
            otp: proofs.otp.map(Timestamp::seconds),
            recovery: proofs.recovery_code.map(Timestamp::seconds),
        }
    }
}

impl From<ProofClaims> for Proofs {
    fn from(claims: ProofClaims) -> Self {
        Self {
            password: claims.pwd.map(Timestamp::from_seconds),
            otp: claims.otp.map(Timestamp::from_seconds),
            recovery_code: claims.recovery.map(Timestamp::from_seconds),
        }
    }
}

/// Issues an access token for a session.
///
/// # Errors
/// [`TokenError::Signing`].
pub fn issue_access_token(
    keyring: &Keyring,
    random: &dyn Random,
    audience: &Audience,
    user: UserId,
    session: &Session,
    now: Timestamp,
) -> Result<Secret<String>, TokenError> {
    let jti = random.bytes::<16>().map_err(|error| TokenError::Signing(error.to_string()))?;
    let claims = AccessClaims {
        iss: audience.issuer.clone(),
        aud: audience.audience.clone(),
        sub: user.to_string(),
        client_id: CLIENT_ID.to_owned(),
        sid: session.id.to_string(),
        aal: session.proofs.assurance_level(),
        amr: session.proofs.references().map(str::to_owned).collect(),
        auth_time: session.authenticated_at().seconds(),
        iat: now.seconds(),
        exp: (now + ACCESS_LIFETIME).seconds(),
        jti: URL_SAFE_NO_PAD.encode(jti),
        scope: "account".to_owned(),
        proofs: Some(session.proofs.into()),
    };
    jwt::sign(keyring, TYP, &claims)
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
