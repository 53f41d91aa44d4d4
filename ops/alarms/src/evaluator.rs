//! All alarms of a template, minute by minute.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use crate::{
    alarm::{Alarm, Composite, LowSamples, Metric, MetricAlarm, Missing, Source, State, Watched},
    data::{Data, MINUTE_MS},
    datum::{Datum, Series},
    judge::{BEYOND, Count, Slot, judge},
    template::Template,
};

/// An alarm that changed its state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Transition {
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    /// Without the deployment's name.
    pub alarm: String,
    pub from: State,
    pub to: State,
    /// The values that it was decided by, oldest first.
    pub reason: String,
}

/// A message to topics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notification {
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    /// Without the deployment's name.
    pub alarm: String,
    pub state: State,
    /// Logical names.
    pub topics: Vec<String>,
}

/// Evaluates every alarm once a minute over sliding periods, as CloudWatch does with periods of a minute and longer.
#[derive(Debug)]
pub struct Evaluator {
    template: Template,
    data: Data,
    /// The minute that is evaluated next: what was measured before it counts.
    next: u64,
    states: BTreeMap<String, State>,
    /// Composites in ALARM that have told nobody yet.
    waiting: BTreeMap<String, Waiting>,
    /// Composites whose ALARM was told.
    told: Vec<String>,
    transitions: Vec<Transition>,
    notifications: Vec<Notification>,
}

#[derive(Debug, Clone, Copy)]
enum Waiting {
    /// Acts at this minute, if its suppressor stays quiet.
    Until(u64),
    /// Its suppressor is in ALARM.
    Silenced,
}

impl Evaluator {
    /// All alarms begin without a state, at a time in milliseconds since the Unix epoch.
    pub fn new(template: Template, from: u64) -> Self {
        let states =
            template.alarms.iter().map(|alarm| (alarm.name.clone(), State::InsufficientData)).collect();
        Self {
            template,
            data: Data::default(),
            next: from / MINUTE_MS + 1,
            states,
            waiting: BTreeMap::new(),
            told: Vec::new(),
            transitions: Vec::new(),
            notifications: Vec::new(),
        }
    }

    /// Takes data, in any order.
    pub fn add(&mut self, data: impl IntoIterator<Item = Datum>) {
        for datum in data {
            self.data.add(&datum);
        }
    }

    /// Evaluates every minute that has ended by a time, in milliseconds since the Unix epoch.
    pub fn run_until(&mut self, now: u64) {
        while self.next <= now / MINUTE_MS {
            self.evaluate(self.next);
            self.next += 1;
        }
    }

    /// Lets the time until then pass without evaluating it.
    pub fn skip_to(&mut self, now: u64) {
        self.next = self.next.max(now / MINUTE_MS + 1);
        self.data.forget_before(self.next.saturating_sub(8 * 24 * 60));
    }

    pub fn template(&self) -> &Template {
        &self.template
    }

    /// The state of an alarm, by either of its names.
    pub fn state(&self, name: &str) -> Option<State> {
        let alarm = self.template.alarm(name)?;
        self.states.get(&alarm.name).copied()
    }

    /// The alarms in ALARM, by their short names.
    pub fn firing(&self) -> Vec<&str> {
        let firing = |alarm: &&Alarm| self.states.get(&alarm.name) == Some(&State::Alarm);
        self.template.alarms.iter().filter(firing).map(|alarm| alarm.short.as_str()).collect()
    }

    /// Every change so far, oldest first.
    pub fn transitions(&self) -> &[Transition] {
        &self.transitions
    }

    /// Every message so far, oldest first.
    pub fn notifications(&self) -> &[Notification] {
        &self.notifications
    }

    /// Whether anything was ever measured of a metric.
    pub fn has_data(&self, series: &Series) -> bool {
        self.data.contains(series)
    }

    /// Every metric that something was measured of.
    pub fn series(&self) -> impl Iterator<Item = &Series> {
        self.data.series()
    }

    /// What a metric alarm would be decided by at the minute that was evaluated last, oldest first.
    pub fn reason(&self, name: &str) -> Option<String> {
        let alarm = self.template.alarm(name)?.metric()?;
        Some(shown(&self.points(alarm, self.next.saturating_sub(1))))
    }

    fn evaluate(&mut self, minute: u64) {
        let decided: Vec<(usize, State, String)> = self
            .template
            .alarms
            .iter()
            .enumerate()
            .filter_map(|(position, alarm)| {
                let metric = alarm.metric()?;
                let points = self.points(metric, minute);
                let state = judge(&slots(metric, &points), count(metric))?;
                Some((position, state, shown(&points)))
            })
            .collect();
        for (position, state, reason) in decided {
            self.settle(position, state, reason, minute);
        }
        self.evaluate_composites(minute);
    }

    /// Composites of composites settle after those that they ask about.
    fn evaluate_composites(&mut self, minute: u64) {
        let mut open: VecDeque<(usize, Composite)> = self
            .template
            .alarms
            .iter()
            .enumerate()
            .filter_map(|(position, alarm)| Some((position, alarm.composite()?.clone())))
            .collect();
        let mut postponed = 0;
        while let Some((position, composite)) = open.pop_front() {
            let names = composite.rule.alarms();
            let asks_open = open
                .iter()
                .filter_map(|(other, _)| self.template.alarms.get(*other))
                .any(|other| names.contains(other.name.as_str()));
            if asks_open && postponed <= open.len() {
                postponed += 1;
                open.push_back((position, composite));
                continue;
            }
            postponed = 0;
            let of = |name: &str| self.states.get(name).copied().unwrap_or(State::InsufficientData);
            let state = if composite.rule.holds(&of) { State::Alarm } else { State::Ok };
            let firing: Vec<&str> = names.into_iter().filter(|name| of(name) == State::Alarm).collect();
            let reason = firing.join(", ");
            self.settle(position, state, reason, minute);
        }
        self.act(minute);
    }

    fn settle(&mut self, position: usize, state: State, reason: String, minute: u64) {
        let Some(alarm) = self.template.alarms.get(position) else { return };
        let before = self.states.insert(alarm.name.clone(), state).unwrap_or(State::InsufficientData);
        if before == state {
            return;
        }
        let at = minute * MINUTE_MS;
        self.transitions.push(Transition { at, alarm: alarm.short.clone(), from: before, to: state, reason });
        let suppressor = alarm.composite().and_then(|composite| composite.suppressor.as_ref());
        match (state, suppressor) {
            (State::Alarm, Some(suppressor)) => {
                let until = minute + suppressor.wait.div_ceil(60);
                self.waiting.insert(alarm.name.clone(), Waiting::Until(until));
            }
            (State::Alarm, None) => self.tell(position, State::Alarm, at),
            (State::Ok, _) => {
                self.waiting.remove(&alarm.name);
                self.tell(position, State::Ok, at);
            }
            // Its own actions, of an alarm that tells its silence.
            (State::InsufficientData, _) => self.tell(position, State::InsufficientData, at),
        }
    }

    /// Composites that wait act, or stay silent.
    fn act(&mut self, minute: u64) {
        let waiting: Vec<(String, Waiting)> =
            self.waiting.iter().map(|(name, how)| (name.clone(), *how)).collect();
        for (name, how) in waiting {
            let Some(position) = self.template.alarms.iter().position(|alarm| alarm.name == name) else {
                continue;
            };
            let composite = self.template.alarms.get(position).and_then(Alarm::composite);
            let Some(suppressor) = composite.and_then(|composite| composite.suppressor.clone()) else {
                continue;
            };
            let silent = self.states.get(&suppressor.alarm) == Some(&State::Alarm);
            match how {
                _ if silent => {
                    self.waiting.insert(name, Waiting::Silenced);
                }
                Waiting::Silenced => {
                    self.waiting.insert(name, Waiting::Until(minute + suppressor.extension.div_ceil(60)));
                }
                Waiting::Until(due) if due <= minute => {
                    self.waiting.remove(&name);
                    self.tell(position, State::Alarm, minute * MINUTE_MS);
                }
                Waiting::Until(_) => {}
            }
        }
    }

    /// OK is told of where ALARM was.
    fn tell(&mut self, position: usize, state: State, at: u64) {
        let Some(alarm) = self.template.alarms.get(position) else { return };
        let topics = match state {
            State::Alarm => {
                self.told.push(alarm.name.clone());
                alarm.alarm_actions.clone()
            }
            State::InsufficientData => {
                if !alarm.silence_actions.is_empty() {
                    self.told.push(alarm.name.clone());
                }
                alarm.silence_actions.clone()
            }
            _ if self.told.contains(&alarm.name) => {
                self.told.retain(|name| *name != alarm.name);
                alarm.ok_actions.clone()
            }
            _ => Vec::new(),
        };
        if !topics.is_empty() {
            self.notifications.push(Notification { at, alarm: alarm.short.clone(), state, topics });
        }
    }

    /// The periods that end at `minute` and before, newest first.
    fn points(&self, alarm: &MetricAlarm, minute: u64) -> Vec<Point> {
        let length = alarm.period / 60;
        let periods: Vec<(u64, u64)> = (0..alarm.evaluation_periods + BEYOND)
            .map_while(|age| {
                let to = minute.checked_sub(u64::try_from(age).ok()? * length)?;
                Some((to.checked_sub(length)?, to))
            })
            .collect();
        match &alarm.watched {
            Watched::Metric(metric) => {
                periods.into_iter().map(|(from, to)| self.point(alarm, metric, from, to)).collect()
            }
            Watched::Math { sources, returned } => {
                let mut values: BTreeMap<&str, Vec<Option<f64>>> = BTreeMap::new();
                for (id, source) in sources {
                    let of_source = match source {
                        Source::Metric(Metric { series, statistic }) => periods
                            .iter()
                            .map(|(from, to)| statistic.of(&self.data.values(series, *from, *to)))
                            .collect(),
                        Source::Expression(expression) => (0..periods.len())
                            .map(|age| {
                                let value = |id: &str, back: usize| {
                                    values.get(id)?.get(age + back).copied().flatten()
                                };
                                expression.evaluate(periods.len() - age, &value)
                            })
                            .collect(),
                    };
                    values.insert(id, of_source);
                }
                values.remove(returned.as_str()).into_iter().flatten().map(Point::from).collect()
            }
        }
    }

    fn point(&self, alarm: &MetricAlarm, metric: &Metric, from: u64, to: u64) -> Point {
        let values = self.data.values(&metric.series, from, to);
        let ignored = alarm.low_samples == LowSamples::Ignore
            && !values.is_empty()
            && !metric.statistic.is_significant(&values);
        if ignored { Point::Insignificant } else { metric.statistic.of(&values).into() }
    }
}

/// The value of a period.
#[derive(Debug, Clone, Copy)]
enum Point {
    Value(f64),
    Missing,
    Insignificant,
}

impl From<Option<f64>> for Point {
    fn from(value: Option<f64>) -> Self {
        value.map_or(Self::Missing, Self::Value)
    }
}

fn slots(alarm: &MetricAlarm, points: &[Point]) -> Vec<Slot> {
    let slot = |point: &Point| match point {
        Point::Value(value) if alarm.comparison.breaches(*value, alarm.threshold) => Slot::Breaching,
        Point::Value(_) => Slot::Within,
        Point::Missing => Slot::Missing,
        Point::Insignificant => Slot::Insignificant,
    };
    points.iter().map(slot).collect()
}

fn count(alarm: &MetricAlarm) -> Count {
    // "Alarms that evaluate metrics in the AWS/DynamoDB namespace always ignore missing data."
    let ignores = alarm.metrics().iter().any(|metric| metric.series.namespace == "AWS/DynamoDB");
    Count {
        periods: alarm.evaluation_periods,
        to_alarm: alarm.datapoints_to_alarm,
        missing: if ignores { Missing::Ignore } else { alarm.missing },
    }
}

fn shown(newest_first: &[Point]) -> String {
    let point = |point: &Point| match point {
        Point::Value(value) => format!("{value:.3}").trim_end_matches('0').trim_end_matches('.').to_owned(),
        Point::Missing => "-".to_owned(),
        Point::Insignificant => "few".to_owned(),
    };
    newest_first.iter().rev().map(point).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
