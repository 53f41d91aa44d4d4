//! Tokens for a session.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{Proofs, Session};
use crate::{
    clock::Timestamp,
    env::Env,
    ids::UserId,
    keyring::Keyring,
    random::Random,
    secret::Secret,
    tokens::{
        ACCESS_LIFETIME, AccessClaims, Audience, CLIENT_ID, ProofClaims, RefreshToken, TokenError,
        issue_refresh_token, sign_access_token,
    },
};

/// What a caller is given for a session.
#[derive(Debug, Clone)]
pub struct Grant {
    pub user: UserId,
    pub session: Session,
    pub access_token: Secret<String>,
    pub refresh_token: Secret<String>,
    /// Only where one was just issued.
    pub device_token: Option<Secret<String>>,
    pub granted_at: Timestamp,
}

/// Issues the tokens of a session as it stands.
///
/// # Errors
/// [`TokenError::Signing`].
pub fn grant(env: Env<'_>, audience: &Audience, user: UserId, session: Session) -> Result<Grant, TokenError> {
    let now = env.now();
    let access_token = issue_access_token(env.keyring, env.random, audience, user, &session, now)?;
    let refresh = RefreshToken { user, session: session.id, counter: session.counter };
    Ok(Grant {
        user,
        access_token,
        refresh_token: issue_refresh_token(env.keyring, &refresh),
        session,
        device_token: None,
        granted_at: now,
    })
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
    sign_access_token(keyring, &claims)
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
