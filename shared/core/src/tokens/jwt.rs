//! What all JWTs of this service share (RFC 7519, RFC 8725).

use std::{collections::HashSet, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, Header, TokenData, Validation, errors::ErrorKind};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

use crate::{clock::Timestamp, keyring::Keyring, secret::Secret};

/// Longer than any token that is issued here; the whole header section of a request may have 10,240 bytes.
const MAX_LENGTH: usize = 4096;

/// Clocks of two hosts may differ by this much, in seconds.
const SKEW: u64 = 30;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// For the log; the caller learns that the token is not valid and no more.
    #[error("the token is not valid: {0}")]
    Invalid(&'static str),
    /// Of the right kind, under the name of a key of ours, and not signed with it: nobody makes one by mistake.
    #[error("the token is forged")]
    Forged,
    #[error("the token has expired")]
    Expired,
    #[error("signing failed: {0}")]
    Signing(String),
}

pub(super) fn sign<C: Serialize>(
    keyring: &Keyring,
    typ: &str,
    claims: &C,
) -> Result<Secret<String>, TokenError> {
    let signer = keyring.signer();
    let mut header = Header::new(signer.algorithm);
    header.typ = Some(typ.to_owned());
    header.kid = Some(signer.kid.clone());
    jsonwebtoken::encode(&header, claims, &signer.key)
        .map(Secret::new)
        .map_err(|error| TokenError::Signing(error.to_string()))
}

/// Checks everything but the claims of its kind: form, `typ`, key, algorithm, signature, and `nbf`, which no kind has but a
/// reader must honour (RFC 7519 4.1.5). Keys come from the keyring only; `jwk`, `jku` and `x5u` are not looked at (RFC 8725
/// 3.10). The other times are the caller's to check: see [`check_times`].
pub(super) fn verify<C: DeserializeOwned>(
    keyring: &Keyring,
    typ: &str,
    token: &str,
    now: Timestamp,
) -> Result<C, TokenError> {
    if token.len() > MAX_LENGTH {
        return Err(TokenError::Invalid("too long"));
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid("header"))?;
    if header.typ.as_deref() != Some(typ) {
        return Err(TokenError::Invalid("typ"));
    }
    if header.crit.is_some() {
        return Err(TokenError::Invalid("crit"));
    }
    let kid = header.kid.as_deref().ok_or(TokenError::Invalid("no kid"))?;
    let key = keyring.public_key(kid).ok_or(TokenError::Invalid("unknown kid"))?;
    if header.alg != key.algorithm {
        return Err(TokenError::Invalid("alg"));
    }
    let data = decode::<C>(key.algorithm, &key.key, token).map_err(|error| match error.kind() {
        ErrorKind::InvalidSignature => TokenError::Forged,
        _ => TokenError::Invalid("claims"),
    })?;
    match not_before(token)? {
        Some(not_before) if not_before > now.seconds().saturating_add(SKEW) => {
            Err(TokenError::Invalid("not good yet"))
        }
        _ => Ok(data.claims),
    }
}

/// `nbf` of a token whose signature holds. The library would take one that is no number for none, and compare with the
/// system's clock.
fn not_before(token: &str) -> Result<Option<u64>, TokenError> {
    #[derive(Deserialize)]
    struct Claims {
        #[serde(default, deserialize_with = "present")]
        nbf: Option<u64>,
    }
    /// A claim that is there has a value: null is none.
    fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        u64::deserialize(deserializer).map(Some)
    }
    let payload = token.split('.').nth(1).unwrap_or_default();
    let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| TokenError::Invalid("payload"))?;
    let claims: Claims = serde_json::from_slice(&payload).map_err(|_| TokenError::Invalid("nbf"))?;
    Ok(claims.nbf)
}

/// The one call that checks a signature: the algorithm is the key's, whatever the header says.
pub(super) fn decode<C: DeserializeOwned>(
    algorithm: Algorithm,
    key: &DecodingKey,
    token: &str,
) -> jsonwebtoken::errors::Result<TokenData<C>> {
    let mut validation = Validation::new(algorithm);
    // The library reads the system's clock; here the clock is an argument and the claims are typed.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims = HashSet::new();
    jsonwebtoken::decode::<C>(token, key, &validation)
}

/// `iat` and `exp` in epoch seconds. A token is good until the second before `exp` is over, and never longer than its kind
/// lives: no claim, however large, makes one for ever.
pub(super) fn check_times(
    issued_at: u64,
    expires_at: u64,
    lifetime: Duration,
    now: Timestamp,
) -> Result<(), TokenError> {
    if issued_at > now.seconds().saturating_add(SKEW) {
        return Err(TokenError::Invalid("issued in the future"));
    }
    if expires_at.saturating_sub(issued_at) > lifetime.as_secs() {
        return Err(TokenError::Invalid("lives too long"));
    }
    if now.seconds() >= expires_at {
        return Err(TokenError::Expired);
    }
    Ok(())
}
