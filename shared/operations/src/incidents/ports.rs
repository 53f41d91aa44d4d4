//! What incidents need of storage and of the world.

use sallyport_core::{audit::SecurityEvent, clock::Timestamp, ids::OperationId, store::StoreResult};

use super::{Cause, Entry, Incident, IncidentId, Notice};

pub trait FindIncident: Send + Sync {
    /// A consistent read.
    fn incident(&self, id: IncidentId) -> impl Future<Output = StoreResult<Option<Incident>>> + Send;

    /// The latest incident of a cause, over or not: consistent reads.
    fn latest_of(&self, cause: &Cause) -> impl Future<Output = StoreResult<Option<Incident>>> + Send;
}

pub trait ListIncidents: Send + Sync {
    /// All that are not resolved, oldest first.
    fn open_incidents(&self) -> impl Future<Output = StoreResult<Vec<Incident>>> + Send;

    /// All that were opened since, oldest first.
    fn incidents_since(&self, since: Timestamp) -> impl Future<Output = StoreResult<Vec<Incident>>> + Send;
}

pub trait ReadTimeline: Send + Sync {
    /// Oldest first.
    fn timeline(&self, id: IncidentId) -> impl Future<Output = StoreResult<Vec<Entry>>> + Send;
}

/// What a change means for the cause: it leads to one incident, which is open or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pointer {
    /// The cause leads to this incident from now on; it led to that one, which is over, or to none.
    Moves(Option<IncidentId>),
    /// The incident is over, or open again.
    Marks,
    /// As it was.
    Stays,
}

/// A step of an incident from one version to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentChange {
    /// As it is to be. Its version is one more than the one that was read.
    pub incident: Incident,
    pub pointer: Pointer,
    pub entries: Vec<Entry>,
    pub notice: Option<Notice>,
    /// A notice that nobody took and that is given up with this: it must still be there.
    pub given_up: Option<Notice>,
    pub event: Option<SecurityEvent>,
}

pub trait ChangeIncident: Send + Sync {
    /// All of a change or nothing. `false` when the incident, what its cause leads to, or a notice that is given up, is not
    /// as it was read.
    fn change_incident(&self, change: &IncidentChange) -> impl Future<Output = StoreResult<bool>> + Send;
}

pub trait Notices: Send + Sync {
    /// Everything that is still to be sent.
    fn pending_notices(&self) -> impl Future<Output = StoreResult<Vec<Notice>>> + Send;

    /// Keeps others away from a notice until `until`: one conditional write. `false` when somebody else has it.
    fn claim_notice(
        &self,
        notice: &Notice,
        operation: OperationId,
        until: Timestamp,
    ) -> impl Future<Output = StoreResult<bool>> + Send;

    /// A channel has it.
    fn mark_sent(&self, notice: &Notice, channel: &str) -> impl Future<Output = StoreResult<()>> + Send;

    /// Every channel has it.
    fn forget_notice(&self, notice: &Notice) -> impl Future<Output = StoreResult<()>> + Send;
}

/// The ways to people. What fails on them is theirs to log.
pub trait Channels: Send + Sync {
    /// Those that are set up.
    ///
    /// # Errors
    /// It cannot be said which: then nothing counts as sent.
    fn names(&self) -> impl Future<Output = Result<Vec<String>, ()>> + Send;

    /// Whether it was taken, as far as is known.
    fn send(&self, channel: &str, notice: &Notice, incident: &Incident) -> impl Future<Output = bool> + Send;
}
