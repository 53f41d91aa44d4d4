//! Incidents: what an alarm opens, people answer, and nobody forgets.
//!
//! An incident has a cause, and a cause has one incident at a time. Every change of it is one conditional write that takes
//! the incident from one version to the next, with its entries of the timeline, its audit event, and the notice of it that
//! is to be sent: what was decided is never lost for want of a network.

mod alarm;
mod deliver;
mod diagnose;
mod entered;
mod figures;
mod measures;
mod mitigate;
mod model;
mod open;
mod people;
mod ports;
mod public;
mod report;
mod schedule;
mod signature;
mod tick;
mod trial;

pub use alarm::{AlarmChange, AlarmLevel, Classified, TEST_REASON, classify};
pub use deliver::{Delivered, deliver};
pub use diagnose::{Changed, Diagnose, Known, Question, diagnose, wants_diagnosis};
pub use entered::{Entered, FailureSources, NetworkFailures, SignIn, Source, Suspicion, entered};
pub use figures::{Figures, figures};
pub use measures::{Measure, ReadMeasures, measures_of};
pub use mitigate::{MITIGATION, Mitigate, mitigate, wants_mitigation};
pub use model::{
    Acknowledgement, AlarmRecord, AlarmState, Cause, Entry, EntryKind, Incident, IncidentId,
    InvalidIncidentId, Notice, NoticeKind, Resolution, Severity, State,
};
pub use open::{REOPEN, Taken, take_alarm};
pub use people::{IncidentError, LONGEST_TEXT, acknowledge, escalate, note, resolve};
pub use ports::{
    ChangeIncident, Channels, FindIncident, IncidentChange, ListIncidents, Notices, Pointer, ReadTimeline,
};
pub use public::{Impact, Progress, impact, progress};
pub use report::{NewIncident, report};
pub use schedule::{Due, due};
pub use signature::sign;
pub use tick::{Ticked, tick};
pub use trial::Trial;

#[cfg(test)]
mod tests;
