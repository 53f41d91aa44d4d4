//! Beginning a session.

use super::{AddSession, Added, GiveWay, Methods, Proofs, Session, SessionPolicy};
use crate::{
    accounts::Epoch,
    audit::{EventKind, Origin, SecurityEvent, Subject},
    env::Env,
    ids::{DeviceId, OperationId, SessionId, UserId},
    random::RandomUnavailable,
    store::StoreResult,
    tokens::Delivery,
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

/// Stores a session: one write, and one more when the user's limits make others give way.
///
/// `false` when the epoch that the credential check read has passed.
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
    P: AddSession + GiveWay,
{
    let added = ports.add_session(user, epoch, session).await?;
    make_room(ports, env, policy, user, session, added, origin).await
}

/// What follows on the adding of `session`.
pub(crate) async fn make_room<P: GiveWay>(
    ports: &P,
    env: Env<'_>,
    policy: &SessionPolicy,
    user: UserId,
    session: &Session,
    added: Added,
    origin: &Origin,
) -> StoreResult<bool> {
    let Added::Among(all) = added else {
        return Ok(false);
    };
    let mut surplus = all.surplus(session, policy.limit, env.now());
    // What time has ended goes too, whoever gives way or not: otherwise the item would grow for ever.
    let event = if all.sessions.len() <= policy.limit {
        surplus.over.clear();
        None
    } else if surplus.displaced.is_empty() {
        let id = env.operation()?;
        let event = SecurityEvent::new(id, env.now(), EventKind::SessionEnded, Subject::User(user), origin);
        Some(event.detail("expired"))
    } else {
        Some(displaced_event(env, user, &surplus.displaced, origin)?)
    };
    if event.is_some() || !surplus.devices.is_empty() {
        ports.give_way(user, &surplus, event.as_ref()).await?;
    }
    Ok(true)
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
