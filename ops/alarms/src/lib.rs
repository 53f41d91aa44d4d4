//! The alarms of `infra/alarms.yaml`, evaluated as CloudWatch evaluates them: what no emulator does.
//!
//! [`Template`] reads the shipped template, [`emf`] turns the functions' log lines into [`Datum`]s, and [`Evaluator`]
//! says at which minute each alarm fires, whom it tells, and when it clears. What the template uses and this crate does
//! not know is an error, never a guess.

pub mod emf;

mod alarm;
mod cloudformation;
mod data;
mod datum;
mod evaluator;
mod judge;
mod math;
mod rule;
mod statistic;
mod template;

pub use alarm::{
    Alarm, Comparison, Composite, Kind, LowSamples, Metric, MetricAlarm, Missing, Source, State, Suppressor,
    Watched,
};
pub use cloudformation::{Parameters, Schedule, schedules};
pub use datum::{Datum, Dimensions, Series};
pub use evaluator::{Evaluator, Notification, Transition};
pub use math::{Expression, MathError};
pub use rule::{Rule, RuleError};
pub use statistic::Statistic;
pub use template::{Severity, Template, TemplateError};
