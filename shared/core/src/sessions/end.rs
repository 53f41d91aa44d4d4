//! Ending sessions: logout and RFC 7009 revocation.

use super::{EndSessions, ReadSessions};
use crate::{
    audit::{EventKind, Origin, SecurityEvent, Subject},
    env::Env,
    ids::{SessionId, UserId},
    store::StoreResult,
};

/// Which sessions a logout ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EndScope {
    #[default]
    Local,
    Others,
    Global,
}

impl EndScope {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Others => "others",
            Self::Global => "global",
        }
    }
}

/// Ends sessions of a user. Once this returns, no refresh token of them works, whatever was in flight.
///
/// # Errors
/// Storage; the sessions may or may not have ended then, and the caller is told to try again.
pub async fn end_sessions<P>(
    ports: &P,
    env: Env<'_>,
    user: UserId,
    session: SessionId,
    scope: EndScope,
    origin: &Origin,
) -> StoreResult<()>
where
    P: EndSessions + ReadSessions,
{
    let ending = match scope {
        EndScope::Local => vec![session],
        EndScope::Others | EndScope::Global => ports
            .sessions(user)
            .await?
            .sessions
            .iter()
            .map(|held| held.id)
            .filter(|id| scope == EndScope::Global || *id != session)
            .collect(),
    };
    if ending.is_empty() {
        return Ok(());
    }
    let id = env.operation()?;
    let event = SecurityEvent::new(id, env.now(), EventKind::SessionEnded, Subject::User(user), origin)
        .session(session)
        .detail(scope.as_str());
    ports.end(user, &ending, &event, None).await
}

/// Ends the session that a token belongs to (RFC 7009 2.1).
///
/// # Errors
/// As [`end_sessions`].
pub async fn revoke_token<P>(
    ports: &P,
    env: Env<'_>,
    user: UserId,
    session: SessionId,
    origin: &Origin,
) -> StoreResult<()>
where
    P: EndSessions + ReadSessions,
{
    end_sessions(ports, env, user, session, EndScope::Local, origin).await
}
