//! The one thing that may be done before anybody is awake, where the deployment allows it.

use std::time::Duration;

use aws_lc_rs::digest;
use sallyport_core::{audit::Origin, clock::Timestamp, ids::OperationId, random::Random, store::StoreResult};

use super::{
    AlarmState, ChangeIncident, EntryKind, FindIncident, Incident, NoticeKind, Pointer,
    open::{ROUNDS, Step, contended},
    people::applied,
};

/// How long emergency mode lasts that nobody has asked for.
pub const MITIGATION: Duration = Duration::from_secs(30 * 60);

const SPIKE: &str = "failure-spike";

pub trait Mitigate: Send + Sync {
    /// Turns emergency mode on until `until`. The same operation again changes nothing. `false` when it is on already, by
    /// somebody's word and for as long.
    fn emergency(
        &self,
        now: Timestamp,
        operation: OperationId,
        until: Timestamp,
        reason: &str,
    ) -> impl Future<Output = StoreResult<bool>> + Send;
}

/// The change of an alarm that asks for it: failures spike, and it has not been answered yet. It is answered once for each
/// time that the alarm rings; to go on after that is a person's decision.
pub fn wants_mitigation(incident: &Incident) -> Option<Timestamp> {
    let spike = incident
        .alarms
        .iter()
        .filter(|(name, record)| {
            record.state == AlarmState::Alarm
                && (*name == SPIKE || record.children.iter().any(|child| child == SPIKE))
        })
        .map(|(_, record)| record.changed_at)
        .max()?;
    let answered = incident.mitigated_for.is_some_and(|answered| spike <= answered);
    (incident.is_open() && !answered).then_some(spike)
}

/// Answers a spike of failures with emergency mode, and notes it. `None` when nothing asks for it.
///
/// # Errors
/// Storage, randomness. It is done again then, and takes effect once.
pub async fn mitigate<P, M>(
    ports: &P,
    flags: &M,
    incident: &Incident,
    now: Timestamp,
    random: &dyn Random,
    origin: &Origin,
) -> StoreResult<Option<Incident>>
where
    P: FindIncident + ChangeIncident,
    M: Mitigate,
{
    let Some(spike) = wants_mitigation(incident) else { return Ok(None) };
    let until = now + MITIGATION;
    let reason = format!("{SPIKE}, {}", incident.id);
    let turned_on = flags.emergency(now, operation(incident, spike), until, &reason).await?;
    let minutes = MITIGATION.as_secs() / 60;
    let text = if turned_on {
        format!("emergency mode for {minutes} minutes (sallyport mode clear emergency ends it)")
    } else {
        "emergency mode is on already".to_owned()
    };
    let own = OperationId::generate(random)?;
    for _ in 0..ROUNDS {
        let Some(stored) = ports.incident(incident.id).await? else { return Ok(None) };
        if stored.mitigated_for.is_some_and(|answered| spike <= answered) {
            return Ok(None);
        }
        let mut step = Step::of(&stored, Pointer::Stays)
            .entry(EntryKind::Mitigated, &text)
            .notice(NoticeKind::Mitigated, &text);
        step.incident.mitigated_for = Some(spike);
        let change = step.change(now, own, origin);
        if applied(ports, &change, own).await? {
            return Ok(Some(change.incident));
        }
    }
    Err(contended())
}

/// The same for the same ringing of the same incident, so that doing it again is doing it once.
fn operation(incident: &Incident, spike: Timestamp) -> OperationId {
    let mut hashed = digest::Context::new(&digest::SHA256);
    hashed.update(b"mitigation");
    hashed.update(incident.id.as_bytes());
    hashed.update(&spike.millis().to_be_bytes());
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(hashed.finish().as_ref()) {
        *to = *from;
    }
    OperationId::from_bytes(bytes)
}
