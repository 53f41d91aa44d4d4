//! Who calls, by access token.

use std::time::Duration;

use super::{Methods, Proofs, ReadSessions, Session};
use crate::{
    clock::Timestamp,
    env::Env,
    ids::{SessionId, UserId},
    store::{StoreError, StoreResult},
    tokens::{Audience, TokenError, verify_access_token},
};

/// How recent an authentication must be for what changes credentials.
const RECENT: Duration = Duration::from_secs(10 * 60);

/// The bearer of a valid access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    pub user: UserId,
    pub session: SessionId,
    /// What the token says, not what the session has become since: a step-up counts for the tokens it was answered with.
    pub proofs: Proofs,
}

#[derive(Debug, thiserror::Error)]
pub enum CallerError {
    #[error("the access token is not valid")]
    InvalidToken,
    #[error("a recent authentication is needed")]
    ReauthenticationRequired,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Caller {
    /// # Errors
    /// [`TokenError`]; what it says in particular is for metrics, not for the caller.
    pub fn identify(env: Env<'_>, audience: &Audience, token: &str) -> Result<Self, TokenError> {
        let claims = verify_access_token(env.keyring, audience, token, env.now())?;
        Ok(Self {
            user: claims.sub.parse().map_err(|_| TokenError::Invalid("sub"))?,
            session: claims.sid.parse().map_err(|_| TokenError::Invalid("sid"))?,
            // The release before put one time into its tokens, which a password alone may have renewed.
            proofs: claims.proofs.map_or_else(
                || Proofs::at(Methods::PASSWORD, Timestamp::from_seconds(claims.auth_time)),
                Proofs::from,
            ),
        })
    }

    /// Whether the session behind the token is still alive: a consistent read. Without it the token counts until it
    /// expires.
    ///
    /// # Errors
    /// [`CallerError::InvalidToken`] when the session has ended; storage.
    pub async fn check_session<P: ReadSessions>(
        &self,
        ports: &P,
        env: Env<'_>,
    ) -> Result<Session, CallerError> {
        let held = ports.sessions(self.user).await?;
        held.live(self.session, env.now()).cloned().ok_or(CallerError::InvalidToken)
    }

    /// Whether what the account demands was proven recently: a second factor where it has one, anything where it has none.
    /// A proof of the one is none of the other.
    ///
    /// # Errors
    /// [`CallerError::ReauthenticationRequired`].
    pub fn require_recent(&self, now: Timestamp, account_has_factor: bool) -> Result<(), CallerError> {
        let proven = if account_has_factor { self.proofs.second_factor() } else { self.proofs.latest() };
        match proven {
            Some(at) if now.since(at) <= RECENT => Ok(()),
            _ => Err(CallerError::ReauthenticationRequired),
        }
    }
}

/// Whether the session behind a token is alive and the token is its current one, for introspection.
pub async fn is_current<P: ReadSessions>(
    ports: &P,
    env: Env<'_>,
    user: UserId,
    session: SessionId,
    counter: Option<u32>,
) -> StoreResult<Option<super::Session>> {
    let held = ports.sessions(user).await?;
    Ok(held
        .live(session, env.now())
        .filter(|session| counter.is_none_or(|counter| counter == session.counter))
        .cloned())
}
