//! What operators changed while an incident went on: it stands among the events of the deployment, not in the timeline.

use sallyport_core::{audit::EventKind, clock::Timestamp, store::StoreResult};

use super::Incident;

/// A change of the deployment that was made for the incident, or that may explain it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measure {
    pub at: Timestamp,
    pub kind: EventKind,
    pub by: String,
    pub detail: String,
}

impl Measure {
    /// The events that are measures, and whether they are meant to end what users meet.
    pub const fn mitigates(kind: EventKind) -> Option<bool> {
        match kind {
            EventKind::ModeSet | EventKind::BlockAdded | EventKind::KeyringRevoked => Some(true),
            EventKind::ModeCleared
            | EventKind::BlockRemoved
            | EventKind::KeyringRotated
            | EventKind::MigrationApplied
            | EventKind::MigrationReverted => Some(false),
            _ => None,
        }
    }
}

pub trait ReadMeasures: Send + Sync {
    /// Oldest first, `from` and `to` included.
    fn measures(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> impl Future<Output = StoreResult<Vec<Measure>>> + Send;
}

/// The measures of an incident: from its beginning to its end, or to now.
pub async fn measures_of<P: ReadMeasures>(
    ports: &P,
    incident: &Incident,
    now: Timestamp,
) -> StoreResult<Vec<Measure>> {
    let end = incident.resolved.as_ref().map_or(now, |resolution| resolution.at);
    ports.measures(incident.began_at, end).await
}
