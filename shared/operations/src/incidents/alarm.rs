//! What an alarm says, and what it means.

use sallyport_core::clock::Timestamp;

use super::{AlarmState, Cause, Severity};

/// A notification of CloudWatch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmChange {
    /// The alarm's whole name, stack and all.
    pub name: String,
    pub state: AlarmState,
    pub changed_at: Timestamp,
    /// When the periods began that made it ring.
    pub began_at: Timestamp,
    pub reason: String,
    /// Of the topic that it came by.
    pub level: Option<AlarmLevel>,
    /// The whole names of the alarms that made a composite alarm ring.
    pub children: Vec<String>,
}

/// What CloudWatch is told as the reason when somebody lets an alarm tell its topics to see whether anybody hears it.
pub const TEST_REASON: &str = "sallyport alarms test";

impl AlarmChange {
    /// Somebody's test: nothing is wrong.
    pub fn is_test(&self) -> bool {
        self.reason.starts_with(TEST_REASON)
    }
}

/// The three topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlarmLevel {
    Critical,
    Warning,
    Info,
}

/// What an alarm means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classified {
    /// The alarm without the stack's name: the name of its runbook.
    pub alarm: String,
    pub cause: Cause,
    pub severity: Severity,
    pub children: Vec<String>,
}

use Severity::{Sev1, Sev2, Sev3, Sev4};

const AVAILABILITY: &str = "availability";
pub(super) const ATTACK: &str = "attack";
const PERFORMANCE: &str = "performance";
const TEST: &str = "test";

/// The causes that users meet something of.
pub(super) const MET_BY_USERS: [&str; 3] = [AVAILABILITY, ATTACK, PERFORMANCE];

/// The alarms of infra/alarms.yaml. Severity 1 is an outage or a security incident, 2 an error that many meet, 3 what
/// some meet or what would hide the next incident, 4 what nobody meets yet. An alarm without a cause is its own.
const KNOWN: [(&str, Option<&str>, Severity); 29] = [
    ("service-down", Some(AVAILABILITY), Sev1),
    ("high-error-rate", Some(AVAILABILITY), Sev2),
    ("api-server-errors", Some(AVAILABILITY), Sev2),
    ("function-errors", Some(AVAILABILITY), Sev2),
    ("page-availability", Some(AVAILABILITY), Sev1),
    ("failure-spike", Some(ATTACK), Sev1),
    ("mfa-bypass-attempts", Some(ATTACK), Sev1),
    ("page-attack", Some(ATTACK), Sev1),
    ("lockouts-rising", Some(ATTACK), Sev3),
    ("limiter-triggers", Some(ATTACK), Sev3),
    ("suspicious-activity", Some(ATTACK), Sev4),
    ("elevated-error-rate", Some(PERFORMANCE), Sev3),
    ("slow-responses", Some(PERFORMANCE), Sev3),
    ("low-success-rate", Some(PERFORMANCE), Sev3),
    ("low-cache-hit-ratio", Some(PERFORMANCE), Sev3),
    ("function-throttles", Some(PERFORMANCE), Sev3),
    ("function-timeouts", Some(PERFORMANCE), Sev3),
    ("database-throttles", Some(PERFORMANCE), Sev3),
    ("database-system-errors", Some(PERFORMANCE), Sev3),
    ("degraded-performance", Some(PERFORMANCE), Sev3),
    ("concurrency-high", None, Sev3),
    ("upkeep-errors", None, Sev3),
    ("refresh-token-reuse", None, Sev3),
    ("rotation-failed", None, Sev3),
    ("recovery-off", None, Sev3),
    ("restore-proof-old", None, Sev3),
    ("telemetry-broken", None, Sev3),
    ("alarm-topic-unheard", None, Sev3),
    ("key-age", None, Sev4),
];

/// The alarm without what stands before its own name.
fn known(name: &str) -> Option<&'static (&'static str, Option<&'static str>, Severity)> {
    let is =
        |own: &str| name.strip_suffix(own).is_some_and(|before| before.is_empty() || before.ends_with('-'));
    KNOWN.iter().filter(|(own, _, _)| is(own)).max_by_key(|(own, _, _)| own.len())
}

fn short(name: &str) -> &str {
    known(name).map_or(name, |(own, _, _)| own)
}

/// Classifies an alarm by its name. A composite alarm is as grave as the gravest alarm that made it ring, where it says
/// which; an alarm that is not ours as grave as its topic, and one that comes by no topic of ours is looked at soon.
pub fn classify(change: &AlarmChange) -> Classified {
    if change.is_test() {
        // An incident of its own, so that it is seen who hears it: it concerns no user, and makes no other graver.
        let alarm = short(&change.name).to_owned();
        return Classified { alarm, cause: Cause::new(TEST), severity: Sev4, children: Vec::new() };
    }
    let children: Vec<_> = change.children.iter().map(|child| short(child).to_owned()).collect();
    let (cause, own) = known(&change.name).map_or_else(
        || {
            let severity = match change.level {
                Some(AlarmLevel::Critical) | None => Sev2,
                Some(AlarmLevel::Warning) => Sev3,
                Some(AlarmLevel::Info) => Sev4,
            };
            (change.name.as_str(), severity)
        },
        |(own, cause, severity)| (cause.unwrap_or(own), *severity),
    );
    let of_children =
        change.children.iter().filter_map(|child| known(child)).map(|(_, _, severity)| *severity).min();
    Classified {
        alarm: short(&change.name).to_owned(),
        cause: Cause::new(cause),
        severity: of_children.unwrap_or(own),
        children,
    }
}
