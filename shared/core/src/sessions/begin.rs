//! Beginning a session.

use super::{AddSession, Added, Delivery, EndSessions, Methods, Proofs, Session, SessionPolicy};
use crate::{
    accounts::Epoch,
    audit::{EventKind, Origin, SecurityEvent, Subject},
    env::Env,
    ids::{DeviceId, OperationId, SessionId, UserId},
    random::RandomUnavailable,
    store::StoreResult,
};

/// What a session begins with.
#[derive(Debug, Clone)]
pub struct NewSession<'a> {
    pub user: UserId,
    pub device: DeviceId,
    pub methods: Methods,
    pub delivery: Delivery,
    pub origin: &'a Origin,
}

impl NewSession<'_> {
    /// The session, not stored yet.
    ///
    /// # Errors
    /// [`RandomUnavailable`].
    pub fn build(&self, env: Env<'_>, policy: &SessionPolicy) -> Result<Session, RandomUnavailable> {
        let now = env.now();
        Ok(Session {
            id: SessionId::generate(env.random)?,
            counter: 0,
            created_at: now,
            rotated_at: now,
            rotated_by: OperationId::generate(env.random)?,
            idle_until: now + policy.idle,
            absolute_until: now + policy.absolute,
            proofs: Proofs::at(self.methods, now),
            delivery: self.delivery,
            device: self.device,
            address: self.origin.address,
            agent: self.origin.agent.chars().take(Session::AGENT).collect(),
        })
    }
}

/// Stores a session: one write, and one more when the user's limit makes others give way.
///
/// `false` when the epoch that the credential check read has passed.
///
/// # Errors
/// Storage.
pub async fn begin<P>(
    ports: &P,
    env: Env<'_>,
    policy: &SessionPolicy,
    user: UserId,
    epoch: Epoch,
    session: &Session,
    origin: &Origin,
) -> StoreResult<bool>
where
    P: AddSession + EndSessions,
{
    match ports.add_session(user, epoch, session).await? {
        Added::EpochPassed => Ok(false),
        Added::Among(all) => {
            let surplus = all.surplus(session.id, policy.limit, env.now());
            // What time has ended goes too, whoever gives way or not: otherwise the item would grow for ever.
            if all.sessions.len() > policy.limit {
                let event = if surplus.displaced.is_empty() {
                    let id = env.operation()?;
                    SecurityEvent::new(id, env.now(), EventKind::SessionEnded, Subject::User(user), origin)
                        .detail("expired")
                } else {
                    displaced_event(env, user, &surplus.displaced, origin)?
                };
                let gone: Vec<_> = surplus.over.iter().chain(&surplus.displaced).copied().collect();
                ports.end(user, &gone, &event, None).await?;
            }
            Ok(true)
        }
    }
}

pub(crate) fn displaced_event(
    env: Env<'_>,
    user: UserId,
    displaced: &[SessionId],
    origin: &Origin,
) -> StoreResult<SecurityEvent> {
    let id = env.operation()?;
    let listed: Vec<_> = displaced.iter().map(ToString::to_string).collect();
    Ok(SecurityEvent::new(id, env.now(), EventKind::SessionDisplaced, Subject::User(user), origin)
        .detail(listed.join(" ")))
}
