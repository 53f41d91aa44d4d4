//! The figures that a deployment is judged by: their names, and what follows from them.
//!
//! The functions emit them (docs/LOGGING.md), CloudWatch or the local server adds them up, `/metrics` shows them.

use std::{collections::BTreeMap, pin::Pin, time::Duration};

use sallyport_core::{clock::Timestamp, store::StoreResult};

/// How a metric is added up over a window of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Summed.
    Count,
    /// Summed, and no metric of a line where it is 0: a metric is paid for by the hours in which it is written. No alarm reads one, for an
    /// alarm would clear later than its cause.
    Rare,
    /// Milliseconds, of which percentiles tell.
    Time,
    /// The last value counts; of several at once the largest.
    Level,
    /// As [`Kind::Level`]; of several at once the smallest.
    Floor,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// As it is emitted, and as alarms know it.
    pub name: &'static str,
    pub kind: Kind,
    /// Whether it is emitted by deployment and function, besides by deployment alone.
    pub by_function: bool,
    pub meaning: &'static str,
}

macro_rules! metrics {
    ($($name:literal, $kind:ident, $by_function:literal, $meaning:literal;)*) => {
        /// Every metric of the namespace. The names are stable: alarms, dashboards and scrapers use them.
        pub const METRICS: &[Metric] = &[
            $(Metric { name: $name, kind: Kind::$kind, by_function: $by_function, meaning: $meaning }),*
        ];
    };
}

metrics! {
    "requests", Count, true, "Requests answered";
    "errors", Count, true, "Requests answered with 5xx";
    "response_time", Time, false, "Time in the function until the answer";
    "cold_starts", Rare, false, "Requests that were the first of a process";
    "dependency_time", Time, false, "Time of a request in calls of AWS, added up";
    "cache_hits", Count, false, "Reads of keyring and flags served by the copy in the process";
    "cache_misses", Count, false, "Reads of keyring and flags that had to be fetched";
    "security_events_info", Rare, false, "Security events of severity info";
    "security_events_warning", Rare, false, "Security events of severity warning";
    "security_events_critical", Rare, false, "Security events of severity critical";
    "suspicious_activity", Count, false, "Refresh tokens reused, factors locked out, tokens forged or of another epoch";
    "login_attempts", Count, false, "Sign-ins and reauthentications by password, of valid form";
    "login_successes", Count, false, "Of these, those whose password was right";
    "login_failures", Count, false, "Of these, those refused for wrong credentials";
    "password_checks", Count, false, "Passwords hashed for a sign-in or a reauthentication";
    "lockouts", Count, false, "Pools of attempts locked by a wrong password";
    "limiter_triggers", Count, false, "Sign-ins and codes refused by a lock or by the address's limit";
    "maintenance_refusals", Count, false, "Requests refused because an operator closed the service";
    "reauthentications", Count, false, "Reauthentications of valid form";
    "reauthentication_failures", Rare, false, "Reauthentications refused for a wrong password or code";
    "mfa_attempts", Count, false, "Codes sent to complete a sign-in, to reauthenticate, or to confirm a factor";
    "mfa_successes", Count, false, "Codes that were right";
    "mfa_failures", Count, false, "Codes that were wrong";
    "mfa_lockouts", Count, false, "Factors locked by a wrong code";
    "refreshes", Count, false, "Refreshes that named a token";
    "refresh_failures", Rare, false, "Refreshes refused for their token";
    "refresh_token_reuses", Count, false, "Refresh tokens presented a second time";
    "client_authentication_failures", Rare, false, "Requests of services refused for the client or its secret";
    "ready", Floor, false, "Whether the last check of readiness passed: 1 or 0";
    "dependencies_down", Level, false, "Dependencies that a health check found down";
    "invocations", Count, false, "Events handled by functions without HTTP";
    "invocation_failures", Rare, false, "Events whose handling failed";
    "active_sessions", Level, false, "Sessions that could be refreshed";
    "signing_key_age_days", Level, false, "Time since the signing key was made";
    "restore_proof_age_hours", Level, false, "Time since a backup was last proven to restore";
    "tables_without_recovery", Level, false, "Tables whose point-in-time recovery is off";
    "unheard_alarm_topics", Level, false, "Alarm topics that nobody listens to";
    "incidents_open", Level, false, "Incidents that are not resolved";
    "incidents_opened", Rare, false, "Incidents opened by an alarm";
    "notifications_sent", Rare, false, "Notices of incidents that reached a channel";
    "notification_failures", Rare, false, "Notices of incidents that did not";
    "session_records", Rare, false, "Changes of sessions that the gauge has taken in";
    "rotation_failures", Count, false, "Steps of key rotation that failed";
}

/// Whether 0 of this is no metric.
pub fn is_rare(name: &str) -> bool {
    METRICS.iter().any(|metric| metric.name == name && metric.kind == Kind::Rare)
}

/// Functions that answer requests.
pub const FUNCTIONS: [&str; 5] = ["login", "refresh", "mfa", "keys", "health"];

/// Functions that events trigger.
pub const TRIGGERS: [&str; 3] = ["responder", "rotation", "maintenance"];

/// The percentiles that are told of times.
pub const QUANTILES: [f64; 3] = [0.5, 0.95, 0.99];

/// How far back counts and percentiles look.
pub const WINDOW: Duration = Duration::from_secs(300);

impl Metric {
    /// Of a count that is told apart, the functions that emit it.
    pub fn functions(&self) -> &'static [&'static str] {
        if self.by_function { &FUNCTIONS } else { &[] }
    }
}

/// The figures of one window. What nothing was heard of is absent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// Sums by name and, where they are told apart, by function.
    pub counts: BTreeMap<(&'static str, Option<&'static str>), f64>,
    /// Milliseconds at each of [`QUANTILES`].
    pub times: BTreeMap<&'static str, [Option<f64>; QUANTILES.len()]>,
    pub levels: BTreeMap<&'static str, f64>,
}

impl Figures {
    /// A count, over all functions.
    pub fn total(&self, name: &str) -> f64 {
        // Rust's sum of no numbers is -0.0, which would be shown.
        0.0 + self
            .counts
            .iter()
            .filter(|((counted, _), _)| *counted == name)
            .map(|(_, value)| value)
            .sum::<f64>()
    }

    /// Requests a second.
    pub fn throughput(&self) -> f64 {
        self.total("requests") / WINDOW.as_secs_f64()
    }

    /// The part of the requests that were answered with 5xx; 0 when there were none.
    pub fn error_rate(&self) -> f64 {
        ratio(self.total("errors"), self.total("requests")).unwrap_or(0.0)
    }

    /// The part of the reads that the copy in the process served.
    pub fn cache_hit_ratio(&self) -> Option<f64> {
        let hits = self.total("cache_hits");
        ratio(hits, hits + self.total("cache_misses"))
    }

    /// The part of the sign-ins of valid form whose password was right.
    pub fn authentication_success_rate(&self) -> Option<f64> {
        ratio(self.total("login_successes"), self.total("login_attempts"))
    }
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

/// The value at a quantile by nearest rank; `sorted` is in ascending order.
pub fn at_quantile(sorted: &[f64], quantile: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    // The first value that at least this part of all are no larger than.
    let parts = u32::try_from(sorted.len()).map_or(f64::INFINITY, f64::from);
    let mut below = 0.0;
    let rank = sorted.iter().position(|_| {
        below += 1.0;
        below / parts >= quantile
    });
    sorted.get(rank.unwrap_or(last)).copied()
}

/// A boxed future: the source is a trait object, CloudWatch here and the local server there.
pub type Reading<'a> = Pin<Box<dyn Future<Output = StoreResult<Figures>> + Send + 'a>>;

/// The figures up to an instant.
pub trait ReadMetrics: Send + Sync {
    fn read(&self, now: Timestamp) -> Reading<'_>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(counts: &[(&'static str, Option<&'static str>, f64)]) -> Figures {
        let counts = counts.iter().map(|(name, function, value)| ((*name, *function), *value)).collect();
        Figures { counts, ..Figures::default() }
    }

    #[test]
    fn every_metric_has_one_name() {
        let mut names: Vec<_> = METRICS.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), METRICS.len());
    }

    #[test]
    fn what_nothing_was_counted_of_is_nought_and_not_less() {
        for nothing in [figures(&[]), figures(&[("requests", Some("login"), -0.0)])] {
            let shown = [nothing.total("requests"), nothing.throughput(), nothing.error_rate()];
            assert_eq!(shown.map(|figure| figure.to_string()), ["0", "0", "0"]);
        }
    }

    #[test]
    fn rates_are_taken_over_all_functions() {
        let figures = figures(&[
            ("requests", Some("login"), 270.0),
            ("requests", Some("keys"), 30.0),
            ("errors", Some("login"), 3.0),
            ("cache_hits", None, 9.0),
            ("cache_misses", None, 1.0),
            ("login_attempts", None, 4.0),
            ("login_successes", None, 3.0),
        ]);
        assert_eq!((figures.throughput(), figures.error_rate()), (1.0, 0.01));
        assert_eq!(
            (figures.cache_hit_ratio(), figures.authentication_success_rate()),
            (Some(0.9), Some(0.75))
        );
    }

    #[test]
    fn a_ratio_of_nothing_is_none_and_no_requests_are_no_errors() {
        let figures = Figures::default();
        assert_eq!((figures.throughput(), figures.error_rate()), (0.0, 0.0));
        assert_eq!((figures.cache_hit_ratio(), figures.authentication_success_rate()), (None, None));
    }

    #[test]
    fn a_quantile_is_a_value_that_was_measured() {
        let hundred: Vec<_> = (1..=100).map(f64::from).collect();
        assert_eq!(
            QUANTILES.map(|quantile| at_quantile(&hundred, quantile)),
            [Some(50.0), Some(95.0), Some(99.0)]
        );
        assert_eq!(QUANTILES.map(|quantile| at_quantile(&[7.0], quantile)), [Some(7.0); 3]);
        assert_eq!(at_quantile(&[], 0.5), None);
    }
}
