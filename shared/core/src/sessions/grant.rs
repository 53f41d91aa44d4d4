//! Tokens for a session.

use super::Session;
use crate::{
    clock::Timestamp,
    env::Env,
    ids::UserId,
    secret::Secret,
    tokens::{Audience, RefreshToken, TokenError, issue_access_token, issue_refresh_token},
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
