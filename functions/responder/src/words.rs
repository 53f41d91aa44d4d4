//! What people read, whatever way it comes.

use jiff::fmt::strtime;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sallyport_core::clock::Timestamp;
use sallyport_lambda::Config;
use sallyport_operations::incidents::{Incident, Notice, NoticeKind};

/// A notice with all that it is told with.
pub(crate) struct Told<'a> {
    pub(crate) notice: &'a Notice,
    pub(crate) incident: &'a Incident,
    /// Whose incident it is: stages are named alike in every deployment.
    pub(crate) deployment: &'a str,
    pub(crate) stage: &'a str,
    /// The page of the runbook, of an incident that an alarm opened.
    pub(crate) runbook: Option<String>,
}

impl<'a> Told<'a> {
    pub(crate) fn new(notice: &'a Notice, incident: &'a Incident, config: &'a Config) -> Self {
        let alarm = incident.ringing().next().or_else(|| incident.alarms.keys().next().map(String::as_str));
        let runbook =
            alarm.map(|alarm| format!("{}/{}.md", config.runbook_url, utf8_percent_encode(alarm, SEGMENT)));
        Self { notice, incident, deployment: &config.deployment, stage: &config.stage, runbook }
    }

    /// The same for every attempt, so that a receiver can tell a repetition.
    pub(crate) fn delivery(&self) -> String {
        format!("{}-{}", self.notice.incident, self.notice.version)
    }

    /// `[SEV1 shop-prod] availability: opened`.
    pub(crate) fn title(&self) -> String {
        let Self { incident, deployment, .. } = self;
        one_line(&format!("[{} {deployment}] {}: {}", incident.severity, incident.cause, self.what()))
    }

    fn what(&self) -> String {
        match self.notice.kind {
            NoticeKind::Opened => "opened".to_owned(),
            NoticeKind::Reopened => "rings again".to_owned(),
            NoticeKind::SeverityRaised => "became worse".to_owned(),
            NoticeKind::Acknowledged => "acknowledged".to_owned(),
            NoticeKind::Escalated => format!("escalated to level {}", self.incident.escalation_level),
            NoticeKind::StatusDue => "a status update is due".to_owned(),
            NoticeKind::AllClear => "no alarm rings any more".to_owned(),
            NoticeKind::Mitigated => "mitigated by itself".to_owned(),
            NoticeKind::Diagnosed => "first diagnosis".to_owned(),
            NoticeKind::Resolved => "resolved".to_owned(),
        }
    }

    pub(crate) fn alarms(&self) -> String {
        let each =
            self.incident.alarms.iter().map(|(name, alarm)| format!("{name} {}", alarm.state.as_str()));
        one_line(&each.collect::<Vec<_>>().join(", "))
    }

    /// What the reader does next.
    pub(crate) fn next(&self) -> Option<String> {
        let (id, incident) = (self.incident.id, self.incident);
        let command = match self.notice.kind {
            NoticeKind::Resolved => format!("postmortem {id}"),
            NoticeKind::AllClear => format!("resolve {id} --summary '...'"),
            NoticeKind::StatusDue => format!("note {id} '...'"),
            _ if incident.acknowledged.is_none() => format!("ack {id}"),
            _ => format!("show {id}"),
        };
        Some(format!("sallyport incident {command}"))
    }

    /// What it says, on as many lines as it was written.
    pub(crate) fn said(&self) -> String {
        self.notice.text.split('\n').map(one_line).collect::<Vec<_>>().join("\n")
    }

    /// The whole as plain text.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}\n\n{}\n\n", self.title(), self.said());
        let mut line = |name: &str, value: &str| text.push_str(&format!("{name:<9} {value}\n"));
        line("incident", &self.incident.id.to_string());
        line("state", self.incident.state().as_str());
        line("alarms", &self.alarms());
        line("opened", &moment(self.incident.opened_at));
        if let Some(runbook) = &self.runbook {
            line("runbook", runbook);
        }
        if let Some(next) = self.next() {
            line("next", &next);
        }
        text
    }
}

/// A text without what would begin another line, steer a terminal, or turn the order of what follows: alarms have the names that
/// people gave them.
pub(crate) fn one_line(text: &str) -> String {
    let steers = |character: char| {
        character.is_control()
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().map(|character| if steers(character) { '\u{fffd}' } else { character }).collect()
}

/// What stands for itself in a part of a path (RFC 3986 2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `2026-07-31T14:02:11Z`.
pub(crate) fn moment(at: Timestamp) -> String {
    i64::try_from(at.millis())
        .ok()
        .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok())
        .and_then(|at| strtime::format("%Y-%m-%dT%H:%M:%SZ", at).ok())
        .unwrap_or_else(|| at.seconds().to_string())
}
