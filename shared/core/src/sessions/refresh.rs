//! Rotation of refresh tokens (RFC 9700 4.14.2), safe against lost replies and parallel use.

use super::{
    EndSessions, Grant, RotateSession, Rotation, RotationRequest, Session, SessionPolicy, UserSessions, grant,
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
        Audience, Delivery, DeviceToken, RefreshToken, TokenError, is_forged_refresh_token,
        open_device_token, open_refresh_token,
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
    /// After that time the device token answers for it, once: the counter moves on, and the device's generation.
    RepeatByDevice(&'a Session, DeviceToken),
    /// The answer to that again, with the generation that it gave.
    RepeatOfRepeat(&'a Session, DeviceToken, u32),
    Gone,
    Reuse(&'a Session),
}

/// Exchanges a refresh token for the next one: one conditional write.
///
/// The token before is answered again for the grace. Later it is by the session's device token, with one write more: of two
/// holders of both tokens one then has a refresh token that is older than the current one, and a device token of an older
/// generation. Its next refresh is found to be a reuse, whoever of the two it is.
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
    let mut held = match ports.rotate(request).await? {
        Rotation::Rotated(session) => return Ok(answer(session)?),
        Rotation::Refused(held) => held.ok_or(RefreshError::Invalid)?,
    };
    let device = command.device_token.and_then(|text| open_device_token(env.keyring, text, now));
    let presented = Presented { token, device, operation, now };
    let mut refusal = presented.classify(&held, policy);
    if let Refusal::RepeatByDevice(session, device) = refusal {
        let current = RotationRequest { presented: session.counter, ..request };
        held = match ports.repeat(current, device.device.key(), device.generation()).await? {
            Rotation::Rotated(session) => {
                let generation = device.generation().saturating_add(1);
                let mut granted = answer(session)?;
                granted.device_token = Some(device.renewed(env, token.user, held.epoch, generation));
                return Ok(granted);
            }
            // Somebody was faster: the same client by another connection, or another holder.
            Rotation::Refused(held) => held.ok_or(RefreshError::Invalid)?,
        };
        refusal = presented.classify(&held, policy);
    }
    match refusal {
        Refusal::Repeat(session) => Ok(answer(session.clone())?),
        Refusal::RepeatOfRepeat(session, device, generation) => {
            let mut granted = answer(session.clone())?;
            granted.device_token = Some(device.renewed(env, token.user, held.epoch, generation));
            Ok(granted)
        }
        // Twice in a row: others keep rotating this session between a look and a write.
        Refusal::RepeatByDevice(..) => Err(StoreError::Contended { operation: "repeat refresh" }.into()),
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

/// Whether a refresh would take a token of this counter, be it once more: the current one, and within the grace the one before.
pub(super) fn is_taken(session: &Session, counter: u32, policy: &SessionPolicy, now: Timestamp) -> bool {
    match session.counter.checked_sub(counter) {
        Some(0) => true,
        Some(1) => now.since(session.rotated_at) < policy.grace,
        _ => false,
    }
}

/// What a caller came with, and when.
struct Presented {
    token: RefreshToken,
    device: Option<DeviceToken>,
    operation: OperationId,
    now: Timestamp,
}

impl Presented {
    fn classify<'a>(&self, held: &'a UserSessions, policy: &SessionPolicy) -> Refusal<'a> {
        let Some(session) = held.live(self.token.session, self.now) else {
            return Refusal::Gone;
        };
        // A counter that is ahead was never issued by this item: the table was put back to an earlier state.
        let Some(behind) = session.counter.checked_sub(self.token.counter) else {
            return Refusal::Gone;
        };
        let own = self.device.filter(|device| device.device == session.device);
        let generation =
            held.device(session.device.key()).map(|device| device.generation).unwrap_or_default();
        let in_grace = self.now.since(session.rotated_at) < policy.grace;
        let next = |device: &DeviceToken| device.generation().checked_add(1) == Some(generation.number);
        if session.rotated_by == self.operation {
            // Its reply was lost on the way from the database, so that whoever asked was not told either.
            return match (behind, own) {
                (1, _) => Refusal::Repeat(session),
                (2, Some(device)) if next(&device) => {
                    Refusal::RepeatOfRepeat(session, device, generation.number)
                }
                _ => Refusal::Gone,
            };
        }
        match (behind, own) {
            // The condition failed and yet the counter is right: the session ended and began to be read in between.
            (0, _) => Refusal::Gone,
            (1, _) if in_grace => Refusal::Repeat(session),
            (1, Some(device)) if device.generation() == generation.number => {
                Refusal::RepeatByDevice(session, device)
            }
            // The reply of a repeat was lost: it moved the counter on by one more, and the generation with it.
            (2, Some(device)) if in_grace && session.counter == generation.counter && next(&device) => {
                Refusal::RepeatOfRepeat(session, device, generation.number)
            }
            _ => Refusal::Reuse(session),
        }
    }
}
