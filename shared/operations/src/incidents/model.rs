//! An incident, its timeline and its notices.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
    time::Duration,
};

use data_encoding::BASE32_DNSSEC;
use sallyport_core::{
    clock::Timestamp,
    ids::OperationId,
    random::{Random, RandomUnavailable},
};

const MINUTE: Duration = Duration::from_secs(60);

/// `inc_` and sixteen characters: five bytes of the second in which it was opened, five random ones. So ids sort by time, a
/// week of incidents is one range, and they can be read out over the telephone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IncidentId([u8; 10]);

/// The text is no incident's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an incident's id (inc_ and 16 characters)")]
pub struct InvalidIncidentId;

impl IncidentId {
    /// # Errors
    /// [`RandomUnavailable`].
    pub fn generate(random: &dyn Random, now: Timestamp) -> Result<Self, RandomUnavailable> {
        Ok(Self::of(now, random.bytes()?))
    }

    /// The least id of that second: where a range begins.
    pub fn first_of(at: Timestamp) -> Self {
        Self::of(at, [0; 5])
    }

    pub const fn from_bytes(bytes: [u8; 10]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 10] {
        &self.0
    }

    fn of(at: Timestamp, random: [u8; 5]) -> Self {
        let mut bytes = [0; 10];
        // Five bytes of seconds last for 34,000 years.
        let seconds = at.seconds().to_be_bytes();
        for (to, from) in bytes.iter_mut().zip(seconds.iter().skip(3).chain(&random)) {
            *to = *from;
        }
        Self(bytes)
    }
}

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "inc_{}", BASE32_DNSSEC.encode(&self.0))
    }
}

impl fmt::Debug for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for IncidentId {
    type Err = InvalidIncidentId;

    fn from_str(text: &str) -> Result<Self, InvalidIncidentId> {
        text.strip_prefix("inc_")
            .and_then(|encoded| BASE32_DNSSEC.decode(encoded.as_bytes()).ok())
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or(InvalidIncidentId)
    }
}

/// What incidents are told apart by: alarms of one cause belong to one incident.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cause(String);

impl Cause {
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The document's four severities; the first is the gravest, and the least in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    Sev1,
    Sev2,
    Sev3,
    Sev4,
}

impl Severity {
    pub const ALL: [Self; 4] = [Self::Sev1, Self::Sev2, Self::Sev3, Self::Sev4];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sev1 => "SEV1",
            Self::Sev2 => "SEV2",
            Self::Sev3 => "SEV3",
            Self::Sev4 => "SEV4",
        }
    }

    /// How soon somebody must have acknowledged it: the document's times for critical, warning and info.
    pub const fn response(self) -> Duration {
        match self {
            Self::Sev1 | Self::Sev2 => Duration::from_secs(5 * 60),
            Self::Sev3 => Duration::from_secs(30 * 60),
            Self::Sev4 => Duration::from_secs(240 * 60),
        }
    }

    /// How often people want to hear how it goes.
    pub const fn updates(self) -> Option<Duration> {
        match self {
            Self::Sev1 | Self::Sev2 => Some(Duration::from_secs(15 * 60)),
            Self::Sev3 | Self::Sev4 => None,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Severity {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == text).ok_or(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Open,
    Acknowledged,
    Resolved,
}

impl State {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }
}

/// Somebody has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    pub at: Timestamp,
    pub by: String,
}

/// Somebody says that it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    pub at: Timestamp,
    pub by: String,
    pub summary: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlarmState {
    Alarm,
    Ok,
    InsufficientData,
}

impl AlarmState {
    /// CloudWatch's own words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alarm => "ALARM",
            Self::Ok => "OK",
            Self::InsufficientData => "INSUFFICIENT_DATA",
        }
    }
}

impl FromStr for AlarmState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Alarm, Self::Ok, Self::InsufficientData]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(())
    }
}

/// An alarm of an incident, as it was last heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmRecord {
    pub state: AlarmState,
    /// When it changed by CloudWatch's clock. A notification that is not newer has been heard already.
    pub changed_at: Timestamp,
    /// The alarms that made a composite alarm ring, by their short names.
    pub children: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    pub id: IncidentId,
    pub cause: Cause,
    pub severity: Severity,
    /// When it began, as the first alarm's periods tell.
    pub began_at: Timestamp,
    pub opened_at: Timestamp,
    /// Since when an acknowledgement is waited for.
    pub waiting_since: Timestamp,
    pub acknowledged: Option<Acknowledgement>,
    pub resolved: Option<Resolution>,
    /// The last word of a person, or the opening.
    pub status_at: Timestamp,
    pub reminded_at: Option<Timestamp>,
    pub escalation_level: u32,
    pub escalated_at: Option<Timestamp>,
    /// By their short names.
    pub alarms: BTreeMap<String, AlarmRecord>,
    /// Nobody begins a diagnosis before this; `None` when it has one.
    pub diagnosis_from: Option<Timestamp>,
    /// The change of an alarm that a mitigation answered.
    pub mitigated_for: Option<Timestamp>,
    /// Counts its changes, from 1.
    pub version: u64,
    /// What made the last change.
    pub operation: OperationId,
}

impl Incident {
    pub const fn state(&self) -> State {
        match (&self.resolved, &self.acknowledged) {
            (Some(_), _) => State::Resolved,
            (None, Some(_)) => State::Acknowledged,
            (None, None) => State::Open,
        }
    }

    pub const fn is_open(&self) -> bool {
        self.resolved.is_none()
    }

    /// The alarms that ring.
    pub fn ringing(&self) -> impl Iterator<Item = &str> {
        self.alarms
            .iter()
            .filter(|(_, record)| record.state == AlarmState::Alarm)
            .map(|(name, _)| name.as_str())
    }
}

macro_rules! words {
    ($(#[$outer:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant),* }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl FromStr for $name {
            type Err = ();

            fn from_str(text: &str) -> Result<Self, ()> {
                Self::ALL.iter().copied().find(|kind| kind.as_str() == text).ok_or(())
            }
        }
    };
}

words! {
    /// What a line of the timeline tells.
    EntryKind {
        Opened = "opened",
        Reopened = "reopened",
        AlarmJoined = "alarm_joined",
        AlarmCleared = "alarm_cleared",
        SeverityRaised = "severity_raised",
        Acknowledged = "acknowledged",
        Note = "note",
        Escalated = "escalated",
        Reminded = "reminded",
        Mitigated = "mitigated",
        Diagnosed = "diagnosed",
        /// A notice that no channel took for a day.
        NotDelivered = "not_delivered",
        Resolved = "resolved",
    }
}

words! {
    /// What people are told.
    NoticeKind {
        Opened = "opened",
        Reopened = "reopened",
        SeverityRaised = "severity_raised",
        Acknowledged = "acknowledged",
        Escalated = "escalated",
        StatusDue = "status_due",
        AllClear = "all_clear",
        Mitigated = "mitigated",
        Diagnosed = "diagnosed",
        Resolved = "resolved",
    }
}

/// A line of the timeline, at its place: the version of the incident that it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub incident: IncidentId,
    pub version: u64,
    pub index: u8,
    pub at: Timestamp,
    pub kind: EntryKind,
    pub by: String,
    pub text: String,
}

/// Something that people are still to be told. It is written with its cause and goes when every channel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub incident: IncidentId,
    /// The version of the incident that it came with.
    pub version: u64,
    pub kind: NoticeKind,
    pub at: Timestamp,
    pub text: String,
    /// Nobody sends it before this.
    pub due_at: Timestamp,
    pub attempts: u32,
    /// Who claimed it last.
    pub claim: Option<OperationId>,
    /// The channels that have it.
    pub sent: BTreeSet<String>,
}

impl Notice {
    /// After a day nobody wants to hear it any more.
    pub(crate) const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

    /// How long a claim keeps others away, and so how long a failed one waits: longer each time, longer than a function
    /// lives.
    pub(crate) fn pause(&self) -> Duration {
        MINUTE * (1 << self.attempts.min(3))
    }
}
