//! The tasks of the operators' calendar.

use serde::Serialize;

use super::ReviewCommand;

/// What a task is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Area {
    Service,
    /// Users, audit, ops, outbox.
    Database,
    /// Sessions and throttle.
    Sessions,
    Application,
    Security,
}

impl Area {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Database => "database",
            Self::Sessions => "sessions",
            Self::Application => "application",
            Self::Security => "security",
        }
    }
}

#[derive(Serialize)]
pub(super) struct Task {
    #[serde(skip)]
    pub(super) period: ReviewCommand,
    pub(super) area: Area,
    #[serde(rename = "task")]
    pub(super) what: &'static str,
    /// Who does it without being asked; absent where a person does.
    pub(super) automated_by: Option<&'static str>,
    /// A command, or where to look.
    pub(super) how: &'static str,
}

macro_rules! tasks {
    ($($period:ident $area:ident: $($what:literal $(by $by:literal)? => $how:literal,)*)*) => {
        /// All of them. docs/OPERATIONS.md says where each comes from.
        pub(super) const TASKS: &[Task] = &[$($(Task {
            period: ReviewCommand::$period,
            area: Area::$area,
            what: $what,
            automated_by: tasks!(@ $($by)?),
            how: $how,
        },)*)*];
    };
    (@) => { None };
    (@ $by:literal) => { Some($by) };
}

tasks! {
    Daily Service:
        "health monitoring" by "alarms" => "sallyport alarms list",
        "log rotation and cleanup" by "maintenance" => "sallyport retention check",
        "backup verification" by "maintenance" => "sallyport backup verify",
        "advisories of dependencies" by "CI" => "cargo deny check advisories",
        "performance figures" by "alarms" => "the response time above: slow-responses, low-success-rate",
    Daily Database:
        "tables answer" by "alarms" => "the table figures above",
        "replication" by "AWS" => "three copies in three zones",
        "size and growth" => "the table figures above",
    Daily Sessions:
        "tables answer" by "alarms" => "the table figures above",
        "size" => "the table figures above",
        "clients" by "AWS" => "requests, not connections: sallyport runbook show concurrency-high",
    Daily Application:
        "health" by "alarms" => "curl -f $SALLYPORT_URL/health/ready",
        "error logs" => "sallyport logs errors --since 24h",
        "memory" => "sallyport runbook show memory",
    Daily Security:
        "security alerts" by "alarms" => "sallyport incident list",
        "failed sign-ins" by "alarms" => "sallyport top accounts --since 24h",
        "suspicious activity" by "alarms" => "sallyport logs events --since 24h",
        "backup integrity" by "maintenance" => "sallyport backup verify",
    Weekly Service:
        "patterns in the error logs" => "sallyport top errors --since 7d",
        "capacity" by "alarms" => "requests and cold starts above; sallyport runbook show concurrency-high",
        "backup integrity" by "maintenance" => "sallyport restore drill",
        "security patches" => "cargo deny check; sallyport runbook show deployment",
        "performance benchmarks" => "tests/bench/run; sallyport calibrate",
    Weekly Database:
        "vacuum and analyse" by "AWS" => "nothing to do: TTL deletes, items are read by key",
        "long-running queries" by "AWS" => "calls end by themselves: sallyport runbook show function-timeouts",
        "slow queries" by "alarms" => "sallyport runbook show slow-responses",
    Weekly Sessions:
        "keyspace" by "maintenance" => "sallyport sessions count",
        "slow calls" by "alarms" => "sallyport runbook show slow-responses",
        "persistence" by "AWS" => "a write is durable when it is acknowledged",
    Weekly Application:
        "performance figures" => "the response time above; curl $SALLYPORT_URL/metrics",
        "memory leaks" => "sallyport runbook show memory",
        "security events" => "sallyport logs events --since 7d",
    Weekly Security:
        "access logs" => "sallyport top addresses --since 7d",
        "signatures" by "AWS" => "managed rules of the firewall; cargo deny check advisories",
        "certificates" by "AWS" => "ACM renews: sallyport runbook show monthly-review",
        "security figures" => "the figures above; sallyport logs events --since 7d",
    Monthly Service:
        "database maintenance" => "sallyport migrate validate",
        "certificates" by "AWS" => "ACM renews: sallyport runbook show monthly-review",
        "dependencies" => "cargo update; tests/run; sallyport runbook show deployment",
        "security audit" => "sallyport doctor; sallyport runbook show monthly-review",
        "disaster recovery" by "maintenance" => "sallyport restore drill; sallyport gameday list",
    Monthly Database:
        "full verification of the backup" by "maintenance" => "sallyport backup verify; sallyport restore drill",
        "use of indexes" => "there are none, and sallyport config validate holds the tables to that",
        "statistics" by "AWS" => "no planner",
    Monthly Security:
        "scans" => "cargo deny check; tests/conformance/run",
        "access rights" => "sallyport client list; sallyport runbook show monthly-review",
        "security documents" => "docs/SECURITY.md; the suites hold it to the code",
        "rehearsal of incidents" => "sallyport gameday run NAME",
}
