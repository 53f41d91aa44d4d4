//! The tasks of the operators' calendar.

use serde::Serialize;

use super::ReviewCommand::{self, Daily, Monthly, Weekly};

/// What a task is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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

pub(super) struct Task {
    pub(super) period: ReviewCommand,
    pub(super) area: Area,
    pub(super) what: &'static str,
    pub(super) automated_by: Option<&'static str>,
    pub(super) how: &'static str,
}

const fn task(
    period: ReviewCommand,
    area: Area,
    what: &'static str,
    automated_by: Option<&'static str>,
    how: &'static str,
) -> Task {
    Task { period, area, what, automated_by, how }
}

const ALARMS: Option<&str> = Some("alarms");
const MAINTENANCE: Option<&str> = Some("maintenance");
const AWS: Option<&str> = Some("AWS");

/// All of them. docs/OPERATIONS.md says where each comes from.
pub(super) const TASKS: &[Task] = &[
    task(Daily, Area::Service, "health monitoring", ALARMS, "sallyport alarms list"),
    task(Daily, Area::Service, "log rotation and cleanup", AWS, "LogRetentionDays, TTL of the tables"),
    task(Daily, Area::Service, "backup verification", MAINTENANCE, "sallyport backup verify"),
    task(Daily, Area::Service, "advisories of dependencies", Some("CI"), "cargo deny check advisories"),
    task(Daily, Area::Service, "performance figures", ALARMS, "slow-responses, low-success-rate"),
    task(Daily, Area::Database, "tables answer", ALARMS, "the table figures above"),
    task(Daily, Area::Database, "replication", AWS, "three copies in three zones"),
    task(Daily, Area::Database, "size and growth", None, "the table figures above"),
    task(Daily, Area::Sessions, "tables answer", ALARMS, "the table figures above"),
    task(Daily, Area::Sessions, "size", None, "the table figures above"),
    task(
        Daily,
        Area::Sessions,
        "clients",
        AWS,
        "requests, not connections: sallyport runbook show concurrency-high",
    ),
    task(Daily, Area::Application, "health", ALARMS, "curl -f $SALLYPORT_URL/health/ready"),
    task(Daily, Area::Application, "error logs", None, "sallyport logs errors --since 24h"),
    task(Daily, Area::Application, "memory", ALARMS, "sallyport runbook show memory"),
    task(Daily, Area::Security, "security alerts", ALARMS, "sallyport incident list"),
    task(Daily, Area::Security, "failed sign-ins", ALARMS, "sallyport top accounts --since 24h"),
    task(Daily, Area::Security, "suspicious activity", ALARMS, "sallyport logs events --since 24h"),
    task(Daily, Area::Security, "backup integrity", MAINTENANCE, "sallyport backup verify"),
    task(Weekly, Area::Service, "patterns in the error logs", None, "sallyport top errors --since 7d"),
    task(Weekly, Area::Service, "capacity", ALARMS, "sallyport runbook show concurrency-high"),
    task(Weekly, Area::Service, "backup integrity", MAINTENANCE, "sallyport restore drill"),
    task(
        Weekly,
        Area::Service,
        "security patches",
        None,
        "cargo deny check; sallyport runbook show deployment",
    ),
    task(Weekly, Area::Service, "performance benchmarks", None, "tests/bench/run; sallyport calibrate"),
    task(
        Weekly,
        Area::Database,
        "vacuum and analyse",
        AWS,
        "nothing to do: TTL deletes, items are read by key",
    ),
    task(
        Weekly,
        Area::Database,
        "long-running queries",
        AWS,
        "calls end by themselves: sallyport runbook show function-timeouts",
    ),
    task(Weekly, Area::Database, "slow queries", ALARMS, "sallyport runbook show slow-responses"),
    task(Weekly, Area::Sessions, "keyspace", MAINTENANCE, "sallyport sessions count"),
    task(Weekly, Area::Sessions, "slow calls", ALARMS, "sallyport runbook show slow-responses"),
    task(Weekly, Area::Sessions, "persistence", AWS, "a write is durable when it is acknowledged"),
    task(Weekly, Area::Application, "performance figures", None, "curl $SALLYPORT_URL/metrics"),
    task(Weekly, Area::Application, "memory leaks", None, "sallyport runbook show memory"),
    task(Weekly, Area::Application, "security events", None, "sallyport logs events --since 7d"),
    task(Weekly, Area::Security, "access logs", None, "sallyport top addresses --since 7d"),
    task(
        Weekly,
        Area::Security,
        "signatures",
        AWS,
        "managed rules of the firewall; cargo deny check advisories",
    ),
    task(Weekly, Area::Security, "certificates", AWS, "ACM renews: sallyport runbook show monthly-review"),
    task(
        Weekly,
        Area::Security,
        "security figures",
        None,
        "the figures above; sallyport logs events --since 7d",
    ),
    task(Monthly, Area::Service, "database maintenance", None, "sallyport migrate validate"),
    task(Monthly, Area::Service, "certificates", AWS, "ACM renews: sallyport runbook show monthly-review"),
    task(
        Monthly,
        Area::Service,
        "dependencies",
        None,
        "cargo update; tests/run; sallyport runbook show deployment",
    ),
    task(
        Monthly,
        Area::Service,
        "security audit",
        None,
        "sallyport doctor; sallyport runbook show monthly-review",
    ),
    task(
        Monthly,
        Area::Service,
        "disaster recovery",
        MAINTENANCE,
        "sallyport restore drill; sallyport gameday list",
    ),
    task(
        Monthly,
        Area::Database,
        "full verification of the backup",
        MAINTENANCE,
        "sallyport backup verify; sallyport restore drill",
    ),
    task(
        Monthly,
        Area::Database,
        "use of indexes",
        None,
        "there are none, and sallyport config validate holds the tables to that",
    ),
    task(Monthly, Area::Database, "statistics", AWS, "no planner"),
    task(Monthly, Area::Security, "scans", None, "cargo deny check; tests/conformance/run"),
    task(
        Monthly,
        Area::Security,
        "access rights",
        None,
        "sallyport client list; sallyport runbook show monthly-review",
    ),
    task(
        Monthly,
        Area::Security,
        "security documents",
        None,
        "docs/SECURITY.md; the suites hold it to the code",
    ),
    task(Monthly, Area::Security, "rehearsal of incidents", None, "sallyport gameday run NAME"),
];
