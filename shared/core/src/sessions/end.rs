//! Ending sessions: logout and RFC 7009 revocation.
//!
//! That a token is authentic does not say that it is alive: refresh tokens carry no time, and an access token outlives its
//! session. So the session is looked up first. With a token of an ended one nothing is written, not even an event: whoever
//! found it in a log or a backup can do nothing with it.

use super::{EndAll, EndAllSessions, EndSessions, ReadSessions, Session, SessionPolicy, refresh::is_taken};
use crate::{
    accounts::LoginRecords,
    audit::{EventKind, Origin, SecurityEvent, Subject},
    env::Env,
    ids::{SessionId, UserId},
    store::{StoreError, StoreResult},
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

/// What names the session. Its signature or MAC was checked, and no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presented {
    AccessToken,
    /// With the counter that it carries.
    RefreshToken(u32),
}

impl Presented {
    /// Whether it may end other sessions than its own. What refresh would not take any more may be in anybody's hands.
    fn reaches_others(self, own: &Session, policy: &SessionPolicy, env: Env<'_>) -> bool {
        match self {
            Self::AccessToken => true,
            Self::RefreshToken(counter) => is_taken(own, counter, policy, env.now()),
        }
    }
}

#[derive(Debug)]
pub struct EndCommand<'a> {
    pub user: UserId,
    pub session: SessionId,
    pub presented: Presented,
    pub scope: EndScope,
    pub origin: &'a Origin,
}

/// How often ending all sessions is tried anew when something else changes them.
const TRIES: usize = 5;

/// Ends sessions of a user. Once this returns, no refresh token of them works, whatever was in flight; after
/// [`EndScope::Global`] no sign-in begins a session either that was under way. Where the session of the token has ended, nothing
/// is written. Tells whether the session of the token lives on.
///
/// # Errors
/// Storage; the sessions may or may not have ended then, and the caller is told to try again.
pub async fn end_sessions<P>(
    ports: &P,
    env: Env<'_>,
    policy: &SessionPolicy,
    command: EndCommand<'_>,
) -> StoreResult<bool>
where
    P: EndSessions + EndAllSessions + ReadSessions + LoginRecords,
{
    let EndCommand { user, session, presented, scope, origin } = command;
    for _ in 0..TRIES {
        let held = ports.sessions(user).await?;
        let Some(own) = held.live(session, env.now()) else {
            return Ok(false);
        };
        let scope = if presented.reaches_others(own, policy, env) { scope } else { EndScope::Local };
        let event = ended(env, user, session, scope, origin)?;
        let ending = match scope {
            EndScope::Local => vec![session],
            EndScope::Others => {
                held.sessions.iter().map(|held| held.id).filter(|id| *id != session).collect()
            }
            EndScope::Global => match ports.profile(user).await? {
                Some(profile) => {
                    let email = &profile.email;
                    let all = EndAll { user, email, epoch: held.epoch, session, event: &event };
                    if ports.end_all(&all).await? {
                        return Ok(false);
                    }
                    continue;
                }
                // Nobody can sign in to an account without one: these are all that there will be.
                None => held.sessions.iter().map(|held| held.id).collect(),
            },
        };
        if !ending.is_empty() {
            ports.end(user, &ending, &event, None).await?;
        }
        return Ok(matches!(scope, EndScope::Others));
    }
    Err(StoreError::Contended { operation: "end all sessions" })
}

/// Ends the session that a token belongs to (RFC 7009 2.1). Where it has ended, nothing is written.
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
    if ports.sessions(user).await?.live(session, env.now()).is_some() {
        let event = ended(env, user, session, EndScope::Local, origin)?;
        ports.end(user, &[session], &event, None).await?;
    }
    Ok(())
}

fn ended(
    env: Env<'_>,
    user: UserId,
    session: SessionId,
    scope: EndScope,
    origin: &Origin,
) -> StoreResult<SecurityEvent> {
    let id = env.operation()?;
    Ok(SecurityEvent::new(id, env.now(), EventKind::SessionEnded, Subject::User(user), origin)
        .session(session)
        .detail(scope.as_str()))
}
