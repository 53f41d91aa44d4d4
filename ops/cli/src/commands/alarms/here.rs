//! On this machine: the alarms of the template, evaluated on what the backend's console remembers.

use sallyport_alarms::{Alarm, Datum, Evaluator, Parameters, State, Template, emf};

use super::{Changed, Entry, Standing, Tested, unknown};
use crate::{
    console::{Console, odd},
    failure::Failure,
    output::Answer,
};

const MINUTE_MS: u64 = 60_000;

pub(super) struct Alarms(Evaluator);

impl Alarms {
    /// # Errors
    /// Nobody answers.
    pub(super) async fn read(console: &Console) -> Result<Self, Failure> {
        let template = Template::of_the_stack(&Parameters::new())
            .map_err(|error| Failure::dependency("alarms_unreadable", error.to_string()))?;
        let mut data = Vec::new();
        for line in console.list("logs", "lines").await? {
            data.extend(line.get("line").map(emf::read_value).and_then(Result::ok).unwrap_or_default());
        }
        for value in console.list("metrics", "data").await? {
            let datum: Datum = serde_json::from_value(value).map_err(|error| odd(&error.to_string()))?;
            data.push(datum);
        }
        let now = console.now().await?.millis();
        let first = data.iter().map(|datum| datum.at).min().unwrap_or(now);
        // The first minutes are incomplete: nothing is concluded from them.
        let mut evaluator =
            Evaluator::new(template, first.saturating_add(2 * MINUTE_MS).min(now - MINUTE_MS));
        evaluator.add(data);
        evaluator.run_until(now);
        Ok(Self(evaluator))
    }

    fn state(&self, alarm: &Alarm) -> State {
        self.0.state(&alarm.name).unwrap_or(State::InsufficientData)
    }

    /// # Errors
    /// There is no such alarm.
    pub(super) fn stands(&self, name: &str) -> Result<Standing, Failure> {
        let known = self.list().into_iter().find(|entry| entry.name == name).ok_or_else(|| unknown(name))?;
        let measured = self.measured(name);
        Ok(Standing { name: known.name, state: known.state, since: known.since, measured })
    }

    /// The newest value beside the threshold; of a composite, the alarms that hold it.
    fn measured(&self, name: &str) -> Option<String> {
        let alarm = self.0.template().alarm(name)?;
        let Some(metric) = alarm.metric() else {
            let of = alarm.composite()?.rule.alarms().into_iter();
            let firing: Vec<_> = of.filter(|name| self.0.state(name) == Some(State::Alarm)).collect();
            return Some(if firing.is_empty() {
                "none of its alarms fires".to_owned()
            } else {
                firing.join(", ")
            });
        };
        let values = self.0.reason(name)?;
        let newest = values.split_whitespace().next_back()?;
        let sign = metric.comparison.sign();
        Some(format!("newest value {newest}, fires at {sign} {}", metric.threshold))
    }

    pub(super) fn list(&self) -> Vec<Entry> {
        let since = |alarm: &Alarm| {
            let changes = self.0.transitions().iter();
            changes.rev().find(|change| change.alarm == alarm.short).map(|change| change.at / 1000)
        };
        self.0
            .template()
            .alarms
            .iter()
            .map(|alarm| Entry {
                name: alarm.short.clone(),
                severity: alarm.severity.to_string(),
                state: self.state(alarm).to_string(),
                since: since(alarm),
                meaning: alarm.meaning().to_owned(),
                runbook: alarm.runbook().unwrap_or_default().to_owned(),
                first: alarm.first_command().unwrap_or_default().to_owned(),
            })
            .collect()
    }

    /// # Errors
    /// There is no such alarm.
    pub(super) fn test(&self, name: &str) -> Result<Answer, Failure> {
        let alarm = self.0.template().alarm(name).ok_or_else(|| unknown(name))?;
        let detail = match (self.0.reason(name), alarm.composite()) {
            (Some(values), _) => format!("evaluated now; its last periods, newest last: {values}"),
            (None, Some(composite)) => {
                let firing: Vec<_> = composite
                    .rule
                    .alarms()
                    .into_iter()
                    .filter(|name| self.0.state(name) == Some(State::Alarm))
                    .collect();
                if firing.is_empty() {
                    "evaluated now; none of its alarms fires".to_owned()
                } else {
                    format!("evaluated now; of its alarms these fire: {}", firing.join(", "))
                }
            }
            (None, None) => "evaluated now".to_owned(),
        };
        Answer::of(&Tested {
            name: alarm.short.clone(),
            state: self.state(alarm).to_string(),
            detail,
            tells: alarm.alarm_actions.clone(),
            dry_run: false,
        })
    }

    /// # Errors
    /// There is no such alarm.
    pub(super) fn history(&self, name: Option<&str>, limit: u16) -> Result<Vec<Changed>, Failure> {
        let wanted = match name {
            Some(name) => Some(&self.0.template().alarm(name).ok_or_else(|| unknown(name))?.short),
            None => None,
        };
        Ok(self
            .0
            .transitions()
            .iter()
            .rev()
            .filter(|change| wanted.is_none_or(|wanted| change.alarm == *wanted))
            .take(usize::from(limit))
            .map(|change| Changed {
                at: change.at / 1000,
                name: change.alarm.clone(),
                what: match change.reason.as_str() {
                    "" => format!("{} to {}", change.from, change.to),
                    reason => format!("{} to {} ({reason})", change.from, change.to),
                },
            })
            .collect())
    }
}
