//! What is wrong when a page is opened.

use serde_json::{Value, json};

/// A state of affairs for a page.
#[derive(Debug, Default)]
pub(crate) struct Fault {
    /// Rules of `/_local/faults`. They name functions: the operator's own calls go through, as they would from another
    /// machine.
    pub(crate) rules: Vec<Value>,
    /// What callers do meanwhile.
    pub(crate) traffic: Traffic,
    /// Accounts whose passwords the page makes unusable, and no other's. `None` where it need not.
    pub(crate) resets: Option<&'static [&'static str]>,
}

/// An account whose password was stolen elsewhere, and fits here.
pub(crate) const ENTERED: &str = "victim7@example.com";
/// An account that was tried, and whose password is another.
pub(crate) const TRIED: &str = "victim0@example.com";

/// What callers do.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// One sign-in, as every day.
    #[default]
    Usual,
    /// Many accounts, one password each, from one address: one fits.
    Stuffing,
    /// One account, until it is locked.
    Guessing,
    /// A second factor, until it is locked.
    Codes,
    /// A refresh token that was exchanged before.
    Reuse,
}

/// Every function that talks to the database.
const FUNCTIONS: [&str; 4] = ["login", "refresh", "mfa", "health"];

fn rules(kind: &str, more: &Value) -> Vec<Value> {
    let rule = |function: &&str| {
        let mut rule = json!({"kind": kind, "function": function});
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rule
    };
    FUNCTIONS.iter().map(rule).collect()
}

fn down(table: &str) -> Fault {
    Fault { rules: rules("refuse", &json!({"table": table})), ..Fault::default() }
}

fn slow(table: &str) -> Fault {
    Fault { rules: rules("slow", &json!({"table": table, "delay_ms": 200})), ..Fault::default() }
}

fn failing(kind: &str, table: &str) -> Fault {
    Fault { rules: rules(kind, &json!({"table": table, "count": 50})), ..Fault::default() }
}

fn keyring_down() -> Fault {
    Fault { rules: rules("refuse", &json!({"service": "secretsmanager"})), ..Fault::default() }
}

fn traffic(traffic: Traffic) -> Fault {
    Fault { traffic, ..Fault::default() }
}

/// The fault of a page. `None` for a page that nobody thought of.
pub(crate) fn fault(page: &str) -> Option<Fault> {
    Some(match page {
        "service-down" | "page-availability" | "high-error-rate" | "api-server-errors" => down("users"),
        "elevated-error-rate" | "database-system-errors" | "database" => failing("error_500", "users"),
        "database-throttles" => failing("throttle", "throttle"),
        "slow-responses" | "degraded-performance" | "function-timeouts" => slow("throttle"),
        "sessions-and-throttle" => down("sessions"),
        "function-errors" | "rotation-failed" => keyring_down(),
        "low-cache-hit-ratio" => Fault {
            rules: rules("slow", &json!({"service": "secretsmanager", "delay_ms": 200})),
            ..Fault::default()
        },
        "failure-spike" | "page-attack" | "security-incident" => traffic(Traffic::Stuffing),
        "credential-stuffing" => Fault { resets: Some(&[ENTERED]), ..traffic(Traffic::Stuffing) },
        "lockouts-rising" | "limiter-triggers" | "low-success-rate" | "users-cannot-log-in" => {
            traffic(Traffic::Guessing)
        }
        "mfa-bypass-attempts" | "mfa-issues" => traffic(Traffic::Codes),
        "refresh-token-reuse" | "suspicious-activity" => traffic(Traffic::Reuse),
        // Nothing that a caller could notice is wrong, or it is wrong where only AWS can be.
        "function-throttles"
        | "concurrency-high"
        | "recovery-off"
        | "restore-proof-old"
        | "telemetry-broken"
        | "upkeep-errors"
        | "alarm-topic-unheard"
        | "key-age"
        | "application"
        | "memory"
        | "deployment"
        | "rollback"
        | "key-compromise"
        | "restore-from-backup"
        | "maintenance-window"
        | "incident"
        | "post-mortem"
        | "daily-review"
        | "weekly-review"
        | "monthly-review" => Fault::default(),
        _ => return None,
    })
}
