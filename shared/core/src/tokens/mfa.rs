//! The token that stands between a right password and a session.

use serde::{Deserialize, Serialize};

use super::{Audience, Delivery, MFA_LIFETIME, TokenError, jwt};
use crate::{
    accounts::Epoch,
    clock::Timestamp,
    ids::{DeviceId, OperationId, UserId},
    keyring::Keyring,
    secret::Secret,
};

const TYP: &str = "mfa+jwt";

/// A sign-in that waits for its second factor. Attempts are counted on the factor, never in here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MfaClaims {
    pub user: UserId,
    /// The epoch that the password check read: a password change ends this sign-in.
    pub epoch: Epoch,
    pub device: DeviceId,
    /// Whether the device had proved itself known before.
    pub known_device: bool,
    /// The account's key, for the device token to come.
    pub account: crate::ids::AccountKey,
    /// What the sign-in asked for.
    pub delivery: Delivery,
    /// Names the token: it can be spent once.
    pub id: OperationId,
    pub issued_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    iss: String,
    aud: String,
    sub: String,
    jti: String,
    iat: u64,
    exp: u64,
    epoch: u64,
    device: String,
    known: bool,
    account: String,
    cookie: bool,
}

/// # Errors
/// [`TokenError::Signing`].
pub fn issue_mfa_token(
    keyring: &Keyring,
    audience: &Audience,
    claims: &MfaClaims,
) -> Result<Secret<String>, TokenError> {
    let wire = Wire {
        iss: audience.issuer.clone(),
        // Spent at the issuer itself and nowhere else.
        aud: audience.issuer.clone(),
        sub: claims.user.to_string(),
        jti: claims.id.to_string(),
        iat: claims.issued_at.seconds(),
        exp: (claims.issued_at + MFA_LIFETIME).seconds(),
        epoch: claims.epoch.0,
        device: claims.device.to_string(),
        known: claims.known_device,
        account: claims.account.to_string(),
        cookie: claims.delivery == Delivery::Cookie,
    };
    jwt::sign(keyring, TYP, &wire)
}

/// # Errors
/// [`TokenError::Invalid`], [`TokenError::Expired`].
pub fn verify_mfa_token(
    keyring: &Keyring,
    audience: &Audience,
    token: &str,
    now: Timestamp,
) -> Result<MfaClaims, TokenError> {
    let wire: Wire = jwt::verify(keyring, TYP, token, now)?;
    if wire.iss != audience.issuer || wire.aud != audience.issuer {
        return Err(TokenError::Invalid("iss or aud"));
    }
    jwt::check_times(wire.iat, wire.exp, MFA_LIFETIME, now)?;
    Ok(MfaClaims {
        user: wire.sub.parse().map_err(|_| TokenError::Invalid("sub"))?,
        epoch: Epoch(wire.epoch),
        device: wire.device.parse().map_err(|_| TokenError::Invalid("device"))?,
        known_device: wire.known,
        account: wire.account.parse().map_err(|_| TokenError::Invalid("account"))?,
        delivery: if wire.cookie { Delivery::Cookie } else { Delivery::Body },
        id: wire.jti.parse().map_err(|_| TokenError::Invalid("jti"))?,
        issued_at: Timestamp::from_seconds(wire.iat),
    })
}
