//! The alarms of a template.

use std::{fmt, str::FromStr};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    alarm::{Alarm, Composite, Kind, Metric, MetricAlarm, Source, Suppressor, Watched},
    cloudformation::{CloudFormationError, Parameters, Stack, read, text_of},
    datum::{Dimensions, Series},
    math::{Expression, MathError},
    rule::{Rule, RuleError},
};

const ALARMS: &str = include_str!("../../../infra/alarms.yaml");

/// How soon somebody has to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Within 5 minutes.
    Critical,
    /// Within 30 minutes.
    Warning,
    /// Within 4 hours.
    Info,
}

impl FromStr for Severity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "critical" => Self::Critical,
            "warning" => Self::Warning,
            "info" => Self::Info,
            other => return Err(format!("there is no severity {other}")),
        })
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
        })
    }
}

/// Why the alarms of a template cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error(transparent)]
    CloudFormation(#[from] CloudFormationError),
    #[error("alarm {alarm}: {reason}")]
    Alarm { alarm: String, reason: String },
}

/// Why one alarm is not understood.
#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error(transparent)]
    Math(#[from] MathError),
    #[error(transparent)]
    Rule(#[from] RuleError),
    #[error("{0}")]
    Text(String),
}

impl From<String> for Reason {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// The alarms of a template under given parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// In the order of their names.
    pub alarms: Vec<Alarm>,
}

/// Properties that are read here. One that is not would be evaluated wrongly: it is an error.
const METRIC_PROPERTIES: [&str; 20] = [
    "AlarmName",
    "AlarmDescription",
    "AlarmActions",
    "OKActions",
    "InsufficientDataActions",
    "Tags",
    "Namespace",
    "MetricName",
    "Dimensions",
    "Statistic",
    "ExtendedStatistic",
    "Unit",
    "Metrics",
    "Period",
    "EvaluationPeriods",
    "DatapointsToAlarm",
    "Threshold",
    "ComparisonOperator",
    "TreatMissingData",
    "EvaluateLowSampleCountPercentile",
];
const COMPOSITE_PROPERTIES: [&str; 9] = [
    "AlarmName",
    "AlarmDescription",
    "AlarmActions",
    "OKActions",
    "Tags",
    "AlarmRule",
    "ActionsSuppressor",
    "ActionsSuppressorWaitPeriod",
    "ActionsSuppressorExtensionPeriod",
];

/// The names of a deployment on this machine, as `template.yaml` passes them to the nested stack.
fn local_parameters() -> Parameters {
    let mut parameters = Parameters::from([
        ("Deployment".to_owned(), "sallyport-local".to_owned()),
        ("Stage".to_owned(), "local".to_owned()),
    ]);
    for topic in ["Critical", "Warning", "Info"] {
        parameters.insert(topic.to_owned(), topic.to_owned());
    }
    for table in ["Users", "Sessions", "Throttle", "Outbox", "Audit", "Ops"] {
        parameters.insert(format!("{table}Table"), format!("sallyport-local-{}", table.to_lowercase()));
    }
    parameters
}

impl Template {
    /// The alarms that ship, of a deployment on this machine; `overrides` are parameters that differ from their defaults.
    ///
    /// # Errors
    /// When the template uses what is not known here.
    pub fn of_the_stack(overrides: &Parameters) -> Result<Self, TemplateError> {
        Self::load(ALARMS, overrides)
    }

    /// The text of the template that ships.
    pub const fn text() -> &'static str {
        ALARMS
    }

    /// The alarms of a template, of a deployment on this machine.
    ///
    /// # Errors
    /// When the template uses what is not known here.
    pub fn load(text: &str, overrides: &Parameters) -> Result<Self, TemplateError> {
        let document = read(text)?;
        let mut parameters = local_parameters();
        parameters.extend(overrides.clone());
        let stack = Stack::new(&document, &parameters);
        let prefix = match stack.parameter("Deployment")? {
            Some(deployment) => format!("{}-", text_of(&deployment).unwrap_or_default()),
            None => String::new(),
        };
        let mut alarms = Vec::new();
        for (logical, resource) in stack.resources("AWS::CloudWatch::Alarm")? {
            alarms.push(alarm(&stack, &prefix, logical, resource, &METRIC_PROPERTIES, metric_kind)?);
        }
        for (logical, resource) in stack.resources("AWS::CloudWatch::CompositeAlarm")? {
            alarms.push(alarm(&stack, &prefix, logical, resource, &COMPOSITE_PROPERTIES, composite_kind)?);
        }
        alarms.sort_by(|left, right| left.name.cmp(&right.name));
        let template = Self { alarms };
        template.check()?;
        Ok(template)
    }

    /// The alarm of a name, with or without the deployment's.
    pub fn alarm(&self, name: &str) -> Option<&Alarm> {
        self.alarms.iter().find(|alarm| alarm.short == name || alarm.name == name)
    }

    /// Names are used once, and rules and suppressors ask about alarms that exist.
    fn check(&self) -> Result<(), TemplateError> {
        let wrong =
            |alarm: &Alarm, reason: String| Err(TemplateError::Alarm { alarm: alarm.short.clone(), reason });
        for (alarm, next) in self.alarms.iter().zip(self.alarms.iter().skip(1)) {
            if alarm.name == next.name {
                return wrong(alarm, "the name is used twice".to_owned());
            }
        }
        for alarm in &self.alarms {
            let Some(composite) = alarm.composite() else { continue };
            let suppressor = composite.suppressor.as_ref().map(|suppressor| suppressor.alarm.as_str());
            for name in composite.rule.alarms().into_iter().chain(suppressor) {
                if !self.alarms.iter().any(|other| other.name == name) {
                    return wrong(alarm, format!("there is no alarm {name}"));
                }
            }
        }
        Ok(())
    }
}

fn alarm(
    stack: &Stack<'_>,
    prefix: &str,
    logical: &str,
    resource: &Value,
    known: &[&str],
    kind: fn(&Properties<'_>) -> Result<Kind, Reason>,
) -> Result<Alarm, TemplateError> {
    let resolved =
        resource.get("Properties").map(|properties| stack.resolve(properties)).transpose()?.flatten();
    let resolved = resolved.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
    let properties = Properties(&resolved);
    let name = properties.text("AlarmName").unwrap_or_else(|_| logical.to_owned());
    let wrong = |reason: String| TemplateError::Alarm { alarm: name.clone(), reason };
    if let Some(unknown) = resolved.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(wrong(format!("{unknown} is not known here")));
    }
    let kind = kind(&properties).map_err(|reason| wrong(reason.to_string()))?;
    let short = name.strip_prefix(prefix).unwrap_or(&name).to_owned();
    let description = properties.text("AlarmDescription").map_err(&wrong)?;
    let severity = description.lines().find_map(|line| line.trim().strip_prefix("Severity:")).map(str::trim);
    let severity = severity.ok_or_else(|| wrong("the description has no line `Severity:`".to_owned()))?;
    Ok(Alarm {
        severity: severity.parse().map_err(&wrong)?,
        description,
        alarm_actions: properties.texts("AlarmActions"),
        ok_actions: properties.texts("OKActions"),
        silence_actions: properties.texts("InsufficientDataActions"),
        short,
        name,
        kind,
    })
}

fn metric_kind(properties: &Properties<'_>) -> Result<Kind, Reason> {
    let (watched, period) = match properties.0.get("Metrics").and_then(Value::as_array) {
        None => (Watched::Metric(metric(properties)?), properties.number("Period")?),
        Some(queries) => math(queries)?,
    };
    if period < 60.0 || period % 60.0 != 0.0 {
        return Err(Reason::Text(format!("a period of {period} seconds is no number of minutes")));
    }
    let evaluation_periods = properties.number("EvaluationPeriods")?;
    let alarm = MetricAlarm {
        watched,
        period: whole(period),
        evaluation_periods: count(evaluation_periods),
        datapoints_to_alarm: count(properties.number("DatapointsToAlarm").unwrap_or(evaluation_periods)),
        threshold: properties.number("Threshold")?,
        comparison: properties.text("ComparisonOperator")?.parse()?,
        missing: properties.text("TreatMissingData").map_or(Ok(<_>::default()), |text| text.parse())?,
        low_samples: properties
            .text("EvaluateLowSampleCountPercentile")
            .map_or(Ok(<_>::default()), |text| text.parse())?,
    };
    if !(1..=alarm.evaluation_periods).contains(&alarm.datapoints_to_alarm) {
        return Err(Reason::Text("DatapointsToAlarm is not among the EvaluationPeriods".to_owned()));
    }
    Ok(Kind::Metric(alarm))
}

/// CloudWatch takes so many metrics in one alarm.
const MOST_METRICS: usize = 10;

fn math(queries: &[Value]) -> Result<(Watched, f64), Reason> {
    if queries.len() > MOST_METRICS {
        return Err(Reason::Text(format!(
            "{} metrics and expressions, of at most {MOST_METRICS}",
            queries.len()
        )));
    }
    let (mut sources, mut returned, mut periods) = (Vec::new(), Vec::new(), Vec::new());
    for query in queries {
        let entries = query.as_object().ok_or_else(|| "an entry of Metrics is no object".to_owned())?;
        let query = Properties(entries);
        let id = query.text("Id")?;
        if entries.get("ReturnData").and_then(text_of).as_deref() != Some("false") {
            returned.push(id.clone());
        }
        let source = match entries.get("MetricStat").and_then(Value::as_object) {
            Some(statistics) => {
                let statistics = Properties(statistics);
                let of = statistics.0.get("Metric").and_then(Value::as_object);
                let of = Properties(of.ok_or_else(|| format!("{id} has no Metric"))?);
                periods.push(statistics.number("Period")?);
                Source::Metric(Metric { series: series(&of)?, statistic: statistics.text("Stat")?.parse()? })
            }
            None => Source::Expression(Expression::parse(&query.text("Expression")?)?),
        };
        sources.push((id, source));
    }
    let [id] = returned.as_slice() else {
        return Err(Reason::Text(format!("one of the Metrics must return data, {} do", returned.len())));
    };
    let known: Vec<&str> = sources.iter().map(|(id, _)| id.as_str()).collect();
    for (position, (id, source)) in sources.iter().enumerate() {
        let Source::Expression(expression) = source else { continue };
        // CloudWatch takes any order but no circle; here what is referred to stands above.
        let above = known.get(..position).unwrap_or_default();
        if let Some(unknown) = expression.ids().into_iter().find(|id| !above.contains(id)) {
            return Err(Reason::Text(format!("{id} refers to {unknown}, which does not stand above it")));
        }
    }
    periods.dedup();
    let [period] = periods.as_slice() else {
        return Err(Reason::Text("the metrics have different periods".to_owned()));
    };
    Ok((Watched::Math { returned: id.clone(), sources }, *period))
}

fn metric(properties: &Properties<'_>) -> Result<Metric, Reason> {
    let statistic = properties.text("Statistic").or_else(|_| properties.text("ExtendedStatistic"))?;
    Ok(Metric { series: series(properties)?, statistic: statistic.parse()? })
}

fn series(properties: &Properties<'_>) -> Result<Series, Reason> {
    let mut dimensions = Dimensions::new();
    for dimension in properties.0.get("Dimensions").and_then(Value::as_array).into_iter().flatten() {
        let of = |name: &str| dimension.get(name).and_then(text_of);
        let (Some(name), Some(value)) = (of("Name"), of("Value")) else {
            return Err(Reason::Text("a dimension has no name or no value".to_owned()));
        };
        dimensions.insert(name, value);
    }
    Ok(Series {
        namespace: properties.text("Namespace")?,
        metric: properties.text("MetricName")?,
        dimensions,
    })
}

fn composite_kind(properties: &Properties<'_>) -> Result<Kind, Reason> {
    let suppressor = match properties.text("ActionsSuppressor") {
        Err(_) => None,
        Ok(alarm) => Some(Suppressor {
            alarm,
            wait: whole(properties.number("ActionsSuppressorWaitPeriod")?),
            extension: whole(properties.number("ActionsSuppressorExtensionPeriod")?),
        }),
    };
    Ok(Kind::Composite(Composite { rule: Rule::parse(&properties.text("AlarmRule")?)?, suppressor }))
}

/// Properties without intrinsic functions.
struct Properties<'a>(&'a Map<String, Value>);

impl Properties<'_> {
    fn text(&self, name: &str) -> Result<String, String> {
        self.0.get(name).and_then(text_of).ok_or_else(|| format!("{name} is missing"))
    }

    fn number(&self, name: &str) -> Result<f64, String> {
        let text = self.text(name)?;
        text.parse().map_err(|_| format!("{name} is no number: {text}"))
    }

    fn texts(&self, name: &str) -> Vec<String> {
        self.0.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(text_of).collect()
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "seconds and counts of a template"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

fn count(number: f64) -> usize {
    usize::try_from(whole(number)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::alarm::{Missing, State};

    fn stack() -> Template {
        Template::of_the_stack(&Parameters::new()).unwrap()
    }

    fn names(template: &Template, severity: Severity) -> Vec<&str> {
        template
            .alarms
            .iter()
            .filter(|alarm| alarm.severity == severity)
            .map(|alarm| alarm.short.as_str())
            .collect()
    }

    #[test]
    fn the_alarms_that_ship_are_those_of_the_runbook() {
        let template = stack();
        assert_eq!(
            names(&template, Severity::Critical),
            [
                "api-server-errors",
                "failure-spike",
                "function-errors",
                "high-error-rate",
                "mfa-bypass-attempts",
                "page-attack",
                "page-availability",
                "service-down",
            ]
        );
        assert_eq!(
            names(&template, Severity::Warning),
            [
                "alarm-topic-unheard",
                "concurrency-high",
                "database-system-errors",
                "database-throttles",
                "degraded-performance",
                "elevated-error-rate",
                "function-throttles",
                "function-timeouts",
                "limiter-triggers",
                "lockouts-rising",
                "low-cache-hit-ratio",
                "low-success-rate",
                "recovery-off",
                "refresh-token-reuse",
                "restore-proof-old",
                "rotation-failed",
                "slow-responses",
                "telemetry-broken",
                "upkeep-errors",
            ]
        );
        assert_eq!(names(&template, Severity::Info), ["key-age", "suspicious-activity"]);
    }

    #[test]
    fn every_alarm_says_what_it_means_where_its_page_is_and_what_to_do_first() {
        for alarm in stack().alarms {
            let name = &alarm.short;
            assert!(alarm.description.len() <= 1024, "{name}");
            assert!(
                alarm.meaning().len() > 20 && alarm.meaning().ends_with('.'),
                "{name}: {}",
                alarm.meaning()
            );
            assert!(alarm.runbook().unwrap().ends_with(&format!("/{name}.md")), "{name}");
            let first = alarm.first_command().unwrap();
            assert!(first.starts_with("sallyport "), "{name}");
            // Where it is read: whoever listed the alarms has done so already.
            assert!(!first.starts_with("sallyport alarms list"), "{name}");
        }
    }

    /// One cause, one page: whoever stands in a rule is silent, and everybody else tells the topic of their severity.
    #[test]
    fn children_of_composites_tell_nobody_and_all_others_do() {
        let template = stack();
        let children: Vec<&str> = template
            .alarms
            .iter()
            .filter(|alarm| alarm.short != "page-attack" && alarm.short != "page-availability")
            .filter(|alarm| {
                let asks = |other: &Alarm| {
                    other
                        .composite()
                        .is_some_and(|composite| composite.rule.alarms().contains(alarm.name.as_str()))
                };
                template.alarms.iter().any(asks)
            })
            .map(|alarm| alarm.short.as_str())
            .collect();
        for alarm in &template.alarms {
            let topic = match alarm.severity {
                Severity::Critical => "Critical",
                Severity::Warning => "Warning",
                Severity::Info => "Info",
            };
            let silent = alarm.alarm_actions.is_empty() && alarm.ok_actions.is_empty();
            let speaks = alarm.alarm_actions.iter().any(|action| action == topic);
            assert_eq!(
                (silent, speaks),
                (children.contains(&alarm.short.as_str()), !silent),
                "{}",
                alarm.short
            );
            assert_eq!(alarm.alarm_actions, alarm.ok_actions, "{}", alarm.short);
        }
        assert_eq!(children.len(), 14);
    }

    #[test]
    fn the_basic_set_is_simple_alarms_that_tell_their_topics_themselves() {
        let basic = Parameters::from([("AlarmSet".to_owned(), "basic".to_owned())]);
        let template = Template::of_the_stack(&basic).unwrap();
        assert!(template.alarms.len() >= 12, "{}", template.alarms.len());
        for alarm in template.alarms {
            assert!(matches!(alarm.metric().unwrap().watched, Watched::Metric(_)), "{}", alarm.short);
            assert!(!alarm.alarm_actions.is_empty(), "{}", alarm.short);
        }
    }

    /// A metric that nobody has written yet is a deployment that begins, and one that nobody writes any more is a fault. An alarm
    /// that took both for breaching would ring from its first minute on.
    #[test]
    fn no_alarm_rings_before_anything_was_measured_and_those_of_heartbeats_notice_silence() {
        for set in ["full", "basic"] {
            let parameters = Parameters::from([("AlarmSet".to_owned(), set.to_owned())]);
            let template = Template::of_the_stack(&parameters).unwrap();
            for alarm in &template.alarms {
                let Some(metric) = alarm.metric() else { continue };
                let name = format!("{} ({set})", alarm.short);
                assert_ne!(metric.missing, Missing::Breaching, "{name}");
                let heartbeat = ["service-down", "restore-proof-old"].contains(&alarm.short.as_str());
                let tells_silence = set == "basic" && heartbeat;
                assert_eq!(!alarm.silence_actions.is_empty(), tells_silence, "{name}");
                let repeats = match &metric.watched {
                    Watched::Metric(_) => false,
                    Watched::Math { sources, .. } => sources.iter().any(|(_, source)| {
                        matches!(source, Source::Expression(expression) if expression.notices_silence())
                    }),
                };
                assert_eq!(repeats, set == "full" && heartbeat, "{name}");
            }
        }
    }

    #[test]
    fn a_threshold_is_the_parameters() {
        let parameters = Parameters::from([("SlowResponseMs".to_owned(), "250".to_owned())]);
        let threshold =
            |template: Template| template.alarm("slow-responses").unwrap().metric().unwrap().threshold;
        assert_eq!(threshold(stack()).to_string(), "100");
        assert_eq!(threshold(Template::of_the_stack(&parameters).unwrap()).to_string(), "250");
    }

    #[test]
    fn what_is_not_known_is_an_error_and_no_guess() {
        let shipped = Template::text();
        for (from, to) in [
            ("Statistic: Maximum", "Statistic: tm90"),
            ("TreatMissingData: notBreaching", "TreatMissingData: unclear"),
            ("ComparisonOperator: LessThanThreshold", "ComparisonOperator: Near"),
            ("100 * e / n", "100 * e / missing"),
            ("SUM([login,", "FILL([login,"),
            ("FILL(ready, REPEAT)", "FILL(ready, 0)"),
            ("OR ALARM(\"${HighErrorRate}\")", "OR ALARM(\"nobody\")"),
            ("EvaluationPeriods: 2", "EvaluationPeriods: 1"),
            ("Severity: info", "Severity: shrug"),
            ("-high-error-rate\"", "-service-down\""),
            ("ExtendedStatistic: p95", "ExtendedStatistic: p95\n      ThresholdMetricId: band"),
        ] {
            assert!(shipped.contains(from), "{from}");
            let changed = Template::load(&shipped.replace(from, to), &Parameters::new());
            assert!(changed.is_err(), "{to}");
        }
    }

    #[test]
    fn states_are_named_as_cloudwatch_names_them() {
        let names = [State::Ok, State::Alarm, State::InsufficientData].map(|state| state.to_string());
        assert_eq!(names, ["OK", "ALARM", "INSUFFICIENT_DATA"]);
    }
}
