//! Rotation of refresh tokens (RFC 9700 4.14.2), safe against lost replies and parallel use.

use super::{
    Delivery, EndSessions, Grant, RotateSession, Rotation, RotationRequest, Session, SessionPolicy,
    UserSessions, grant,
};
use crate::{
    audit::{EventKind, Origin, SecurityEvent, Subject},
    clock::Timestamp,
    env::Env,
    ids::OperationId,
    messages::{Message, Template},
    random::RandomUnavailable,
    store::StoreError,
    tokens::{
        Audience, RefreshToken, TokenError, is_forged_refresh_token, open_device_token, open_refresh_token,
    },
};

#[derive(Debug)]
pub struct RefreshCommand<'a> {
    pub refresh_token: &'a str,
    pub device_token: Option<&'a str>,
    /// Whether the refresh token came as a cookie.
    pub by_cookie: bool,
    pub origin: &'a Origin,
}

#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// Not issued here, or its session has ended.
    #[error("the refresh token is not valid")]
    Invalid,
    /// Made up by somebody; for the caller it is not valid, like any other.
    #[error("the refresh token is forged")]
    Forged,
    /// An older token than the one that is good: the session has been ended.
    #[error("the refresh token was used before")]
    Reused,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Random(#[from] RandomUnavailable),
}

/// What a refused rotation means.
#[derive(Debug, PartialEq, Eq)]
enum Refusal<'a> {
    /// The caller is who rotated, or could not know that somebody did: the current token again.
    Repeat(&'a Session),
    Gone,
    Reuse(&'a Session),
}

/// Exchanges a refresh token for the next one: one conditional write.
///
/// # Errors
/// [`RefreshError`].
pub async fn refresh<P>(
    ports: &P,
    env: Env<'_>,
    policy: &SessionPolicy,
    audience: &Audience,
    command: RefreshCommand<'_>,
) -> Result<Grant, RefreshError>
where
    P: RotateSession + EndSessions,
{
    let token = open_refresh_token(env.keyring, command.refresh_token).ok_or_else(|| {
        if is_forged_refresh_token(env.keyring, command.refresh_token) {
            RefreshError::Forged
        } else {
            RefreshError::Invalid
        }
    })?;
    let now = env.now();
    let operation = env.operation()?;
    let request = RotationRequest {
        user: token.user,
        session: token.session,
        presented: token.counter,
        now,
        idle_until: now + policy.idle,
        operation,
        by_cookie: command.by_cookie,
    };
    // What came as a cookie goes back as one, also where the session does not know it (yet).
    let answer = |mut session: Session| {
        if command.by_cookie {
            session.delivery = Delivery::Cookie;
        }
        grant(env, audience, token.user, session)
    };
    let held = match ports.rotate(request).await? {
        Rotation::Rotated(session) => return Ok(answer(session)?),
        Rotation::Refused(held) => held.ok_or(RefreshError::Invalid)?,
    };
    let device = command.device_token.and_then(|text| open_device_token(env.keyring, text, now));
    let known = |session: &Session| device.is_some_and(|device| device.device == session.device);
    match classify(&held, token, operation, now, policy, known) {
        Refusal::Repeat(session) => Ok(answer(session.clone())?),
        Refusal::Gone => Err(RefreshError::Invalid),
        Refusal::Reuse(session) => {
            let subject = Subject::User(token.user);
            let event =
                SecurityEvent::new(operation, now, EventKind::RefreshTokenReused, subject, command.origin)
                    .session(session.id)
                    .detail(format!("presented {} of {}", token.counter, session.counter));
            let message = Message {
                id: operation,
                user: token.user,
                template: Template::SessionEndedAfterReuse,
                created_at: now,
                address: command.origin.address.to_string(),
                agent: session.agent.clone(),
            };
            ports.end(token.user, &[session.id], &event, Some(&message)).await?;
            Err(RefreshError::Reused)
        }
    }
}

fn classify<'a>(
    held: &'a UserSessions,
    token: RefreshToken,
    operation: OperationId,
    now: Timestamp,
    policy: &SessionPolicy,
    known_device: impl Fn(&Session) -> bool,
) -> Refusal<'a> {
    let Some(session) = held.live(token.session, now) else {
        return Refusal::Gone;
    };
    // A counter that is ahead was never issued by this item: the table was put back to an earlier state.
    let Some(behind) = session.counter.checked_sub(token.counter) else {
        return Refusal::Gone;
    };
    let lost_reply = session.rotated_by == operation;
    let in_grace = now.since(session.rotated_at) < policy.grace;
    match behind {
        // The condition failed and yet the counter is right: the session ended and began to be read in between.
        0 => Refusal::Gone,
        1 if lost_reply || in_grace || known_device(session) => Refusal::Repeat(session),
        _ => Refusal::Reuse(session),
    }
}
