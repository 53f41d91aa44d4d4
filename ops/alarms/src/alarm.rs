//! What an alarm is.

use std::{fmt, str::FromStr};

use serde::Serialize;

use crate::{datum::Series, math::Expression, rule::Rule, statistic::Statistic, template::Severity};

/// The state of an alarm, in CloudWatch's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum State {
    #[serde(rename = "OK")]
    Ok,
    #[serde(rename = "ALARM")]
    Alarm,
    #[serde(rename = "INSUFFICIENT_DATA")]
    InsufficientData,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "OK",
            Self::Alarm => "ALARM",
            Self::InsufficientData => "INSUFFICIENT_DATA",
        })
    }
}

/// What a value is compared with its threshold by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    AtLeast,
    Greater,
    Less,
    AtMost,
}

impl FromStr for Comparison {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "GreaterThanOrEqualToThreshold" => Self::AtLeast,
            "GreaterThanThreshold" => Self::Greater,
            "LessThanThreshold" => Self::Less,
            "LessThanOrEqualToThreshold" => Self::AtMost,
            other => return Err(format!("ComparisonOperator {other} is not known here")),
        })
    }
}

impl Comparison {
    /// Whether a value breaches the threshold.
    pub fn breaches(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::AtLeast => value >= threshold,
            Self::Greater => value > threshold,
            Self::Less => value < threshold,
            Self::AtMost => value <= threshold,
        }
    }

    /// As in `> 10`.
    pub const fn sign(self) -> &'static str {
        match self {
            Self::AtLeast => ">=",
            Self::Greater => ">",
            Self::Less => "<",
            Self::AtMost => "<=",
        }
    }
}

/// What a period without data means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missing {
    #[default]
    Missing,
    Ignore,
    Breaching,
    NotBreaching,
}

impl FromStr for Missing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "missing" => Self::Missing,
            "ignore" => Self::Ignore,
            "breaching" => Self::Breaching,
            "notBreaching" => Self::NotBreaching,
            other => return Err(format!("TreatMissingData {other} is none of CloudWatch's")),
        })
    }
}

/// What a percentile of too few values means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LowSamples {
    #[default]
    Evaluate,
    Ignore,
}

impl FromStr for LowSamples {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "evaluate" => Self::Evaluate,
            "ignore" => Self::Ignore,
            other => return Err(format!("EvaluateLowSampleCountPercentile {other} is none of CloudWatch's")),
        })
    }
}

/// A metric under a statistic.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    pub series: Series,
    pub statistic: Statistic,
}

/// A metric or an expression, by the id that expressions know it by.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    Metric(Metric),
    Expression(Expression),
}

/// What a metric alarm watches.
#[derive(Debug, Clone, PartialEq)]
pub enum Watched {
    Metric(Metric),
    Math {
        /// By id.
        sources: Vec<(String, Source)>,
        /// The one id whose value is compared.
        returned: String,
    },
}

/// The part of a metric alarm that CloudWatch evaluates.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricAlarm {
    pub watched: Watched,
    /// Seconds, a multiple of 60.
    pub period: u64,
    /// N of "M out of N".
    pub evaluation_periods: usize,
    /// M of "M out of N".
    pub datapoints_to_alarm: usize,
    pub threshold: f64,
    pub comparison: Comparison,
    pub missing: Missing,
    pub low_samples: LowSamples,
}

impl MetricAlarm {
    /// The metrics that it reads.
    pub fn metrics(&self) -> Vec<&Metric> {
        match &self.watched {
            Watched::Metric(metric) => vec![metric],
            Watched::Math { sources, .. } => sources
                .iter()
                .filter_map(|(_, source)| match source {
                    Source::Metric(metric) => Some(metric),
                    Source::Expression(_) => None,
                })
                .collect(),
        }
    }
}

/// Whom a composite alarm is silent for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppressor {
    /// The alarm whose ALARM silences it.
    pub alarm: String,
    /// Seconds that it waits for the suppressor before it acts.
    pub wait: u64,
    /// Seconds that it stays silent after the suppressor has cleared.
    pub extension: u64,
}

/// The part of a composite alarm that CloudWatch evaluates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composite {
    pub rule: Rule,
    pub suppressor: Option<Suppressor>,
}

/// How an alarm is decided.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    Metric(MetricAlarm),
    Composite(Composite),
}

/// An alarm of the template.
#[derive(Debug, Clone, PartialEq)]
pub struct Alarm {
    /// As CloudWatch knows it.
    pub name: String,
    /// The name without the deployment's: that of the page.
    pub short: String,
    pub severity: Severity,
    pub description: String,
    /// Topics that are told of ALARM, by their logical names.
    pub alarm_actions: Vec<String>,
    /// Topics that are told of OK.
    pub ok_actions: Vec<String>,
    /// Topics that are told of `INSUFFICIENT_DATA`: of an alarm whose metric falls silent.
    pub silence_actions: Vec<String>,
    pub kind: Kind,
}

impl Alarm {
    /// A line of the description that begins with `label`.
    fn line(&self, label: &str) -> Option<&str> {
        self.description.lines().find_map(|line| line.trim().strip_prefix(label)).map(str::trim)
    }

    /// Where its page is.
    pub fn runbook(&self) -> Option<&str> {
        self.line("Runbook:")
    }

    /// The command to begin with.
    pub fn first_command(&self) -> Option<&str> {
        self.line("First:")
    }

    /// What it means for users: the first line.
    pub fn meaning(&self) -> &str {
        self.description.lines().next().unwrap_or_default().trim()
    }

    /// When the alarm is one on metrics.
    pub fn metric(&self) -> Option<&MetricAlarm> {
        match &self.kind {
            Kind::Metric(alarm) => Some(alarm),
            Kind::Composite(_) => None,
        }
    }

    /// When the alarm is one of alarms.
    pub fn composite(&self) -> Option<&Composite> {
        match &self.kind {
            Kind::Composite(composite) => Some(composite),
            Kind::Metric(_) => None,
        }
    }
}
