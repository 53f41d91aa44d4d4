//! Telling people: claimed before it is sent, tried again until it is taken.

use futures_util::future::join_all;
use sallyport_core::{audit::Origin, clock::Timestamp, ids::OperationId, random::Random, store::StoreResult};

use super::{ChangeIncident, Channels, EntryKind, FindIncident, Notice, Notices, Pointer, open::Step};

/// As many as a function has time for; the next tick goes on.
const AT_ONCE: usize = 20;

/// What a round of sending came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delivered {
    pub sent: usize,
    /// They are tried again.
    pub failed: usize,
    pub given_up: usize,
}

/// Sends what is due. A failed notice stays, and is tried again after a pause that grows to eight minutes, for a day.
///
/// # Errors
/// Storage, randomness: what was not settled is claimable again after the pause.
pub async fn deliver<P, C>(
    ports: &P,
    channels: &C,
    now: Timestamp,
    random: &dyn Random,
    origin: &Origin,
) -> StoreResult<Delivered>
where
    P: Notices + FindIncident + ChangeIncident,
    C: Channels,
{
    let mut delivered = Delivered::default();
    let pending = ports.pending_notices().await?;
    let due: Vec<_> = pending.into_iter().filter(|notice| notice.due_at <= now).take(AT_ONCE).collect();
    if due.is_empty() {
        return Ok(delivered);
    }
    // Unknown is not none: a secret that cannot be read must not make a page vanish.
    let names = channels.names().await;
    for notice in due {
        let operation = OperationId::generate(random)?;
        if !ports.claim_notice(&notice, operation, now + notice.pause()).await? {
            continue;
        }
        let reached = match &names {
            Ok(names) => send(ports, channels, names, &notice).await?,
            Err(()) => false,
        };
        if reached {
            ports.forget_notice(&notice).await?;
            delivered.sent += 1;
        } else if now >= notice.at + Notice::KEPT {
            delivered.given_up += usize::from(give_up(ports, notice, now, operation, origin).await?);
        } else {
            delivered.failed += 1;
        }
    }
    Ok(delivered)
}

/// Whether every channel has it now.
async fn send<P, C>(ports: &P, channels: &C, names: &[String], notice: &Notice) -> StoreResult<bool>
where
    P: Notices + FindIncident,
    C: Channels,
{
    // `retention` deletes incidents long after their last notice. Without the incident there is nothing to send.
    let Some(incident) = ports.incident(notice.incident).await? else {
        return Ok(true);
    };
    let missing: Vec<_> = names.iter().filter(|name| !notice.sent.contains(*name)).collect();
    let outcomes = join_all(missing.iter().map(|name| channels.send(name.as_str(), notice, &incident))).await;
    let mut reached = Vec::new();
    for (name, taken) in missing.iter().zip(outcomes) {
        if taken {
            reached.push(name.as_str());
        }
    }
    if reached.len() == missing.len() {
        return Ok(true);
    }
    for name in reached {
        ports.mark_sent(notice, name).await?;
    }
    Ok(false)
}

/// Notes it and forgets the notice, as one change: a notice that outlived its entry would be given up again. `false` when
/// another change of the incident came between: the next round tries again.
async fn give_up<P>(
    ports: &P,
    notice: Notice,
    now: Timestamp,
    operation: OperationId,
    origin: &Origin,
) -> StoreResult<bool>
where
    P: FindIncident + ChangeIncident,
{
    let Some(incident) = ports.incident(notice.incident).await? else { return Ok(false) };
    let text = format!("{}: no channel took it for a day", notice.kind.as_str());
    let step = Step::of(&incident, Pointer::Stays).entry(EntryKind::NotDelivered, text);
    let mut change = step.change(now, operation, origin);
    change.given_up = Some(notice);
    ports.change_incident(&change).await
}
