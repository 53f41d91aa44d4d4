//! What the public is told: whether it concerns them, and how far we are. Neither names nor numbers of ours.

use super::{
    Incident, Severity, State,
    alarm::{ATTACK, MET_BY_USERS},
};

/// What users meet. The first is the worst, and the least in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Impact {
    /// The service does not work.
    Outage,
    /// It fails for many.
    Disruption,
    /// It is slow, or fails for some.
    Degraded,
}

impl Impact {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Outage => "outage",
            Self::Disruption => "disruption",
            Self::Degraded => "degraded",
        }
    }
}

/// How far people are with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nobody has said yet that he is at it.
    Detected,
    Investigating,
    /// Nothing is wrong any more, and somebody watches.
    Monitoring,
    Resolved,
}

impl Progress {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Detected => "detected",
            Self::Investigating => "investigating",
            Self::Monitoring => "monitoring",
            Self::Resolved => "resolved",
        }
    }
}

/// What users meet of an incident; `None` where it is the operators' business alone. An attack is as grave as an outage to
/// those who fend it off, and its victims meet limits. What a person reports concerns users where its cause says so.
pub fn impact(incident: &Incident) -> Option<Impact> {
    let cause = incident.cause.as_str();
    if incident.alarms.is_empty() && !MET_BY_USERS.contains(&cause) {
        return None;
    }
    match incident.severity {
        Severity::Sev4 => None,
        Severity::Sev1 | Severity::Sev2 if cause == ATTACK => Some(Impact::Degraded),
        Severity::Sev1 => Some(Impact::Outage),
        Severity::Sev2 => Some(Impact::Disruption),
        Severity::Sev3 => ["availability", "performance"].contains(&cause).then_some(Impact::Degraded),
    }
}

pub fn progress(incident: &Incident) -> Progress {
    match incident.state() {
        State::Resolved => Progress::Resolved,
        // What no alarm has joined, no alarm knows to be over.
        _ if !incident.alarms.is_empty() && incident.ringing().next().is_none() => Progress::Monitoring,
        State::Acknowledged => Progress::Investigating,
        State::Open => Progress::Detected,
    }
}
