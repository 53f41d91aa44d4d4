//! How a drill is run and judged.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use sallyport_alarms::{
    Comparison, Datum, Evaluator, Kind, Metric, Missing, Notification, Parameters, Schedule, Source, State,
    Template, Watched, emf, schedules,
};
use sallyport_testkit::Backend;
use serde_json::Value;

use crate::{page, world::World};

pub(crate) const TEMPLATE: &str = include_str!("../../template.yaml");

const MINUTE_MS: u64 = 60_000;

/// What must come of a fault.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    /// The alarm that this drill is about.
    pub(crate) alarm: &'static str,
    /// Minutes in which it fires.
    pub(crate) within: u64,
    /// All others that fire too, by the same cause. No other may.
    pub(crate) also: &'static [&'static str],
    /// The one that tells somebody: exactly once that it fires, exactly once that it is over.
    pub(crate) tells: &'static str,
    /// Minutes for which the fault lasts, at least `within`.
    pub(crate) lasts: u64,
    /// Minutes after the fault in which everything is quiet again.
    pub(crate) clears_within: u64,
}

impl Expected {
    /// An alarm that fires alone, and tells of itself.
    pub(crate) const fn alone(alarm: &'static str, within: u64) -> Self {
        Self { alarm, within, also: &[], tells: alarm, lasts: within, clears_within: 6 }
    }
}

/// When it happened, in minutes since the Unix epoch.
#[derive(Debug, Clone, Copy)]
struct Course {
    began: u64,
    /// Whether it was a function that fell silent: then it is missing data that decides, not the threshold.
    silence: bool,
}

/// Another deployment of the same stage in the same account: CloudWatch has what it writes beside what the drilled one writes.
struct Neighbour {
    world: World,
    seen_line: u64,
}

/// A backend under evaluation.
pub(crate) struct Drill {
    pub(crate) world: World,
    schedules: Vec<Schedule>,
    parameters: Parameters,
    evaluator: Evaluator,
    /// All that was measured, to be judged again by a template that was tampered with.
    data: Vec<Datum>,
    evaluated_from: u64,
    seen_line: u64,
    seen_value: u64,
    neighbour: Option<Neighbour>,
    /// The minute under way, since the Unix epoch.
    minute: u64,
    /// The function whose schedules fell silent.
    silent: Option<&'static str>,
}

impl Drill {
    /// A backend on an ordinary day, all alarms quiet.
    pub(crate) async fn start() -> Result<Self> {
        Self::with(&[], &[]).await
    }

    /// With variables of the functions and parameters of the alarms that differ from the defaults.
    pub(crate) async fn with(variables: &[(&str, &str)], parameters: &[(&str, &str)]) -> Result<Self> {
        // The least that the functions take: no alarm is about how much work a hash is.
        let memory = [("SALLYPORT_PASSWORD_MEMORY_KIB", "7168")];
        let backend = Backend::with(&[&memory, variables].concat()).await?;
        // A machine that builds and tests beside it is no Lambda: who drills slowness says so.
        let slow = [("SlowResponseMs", "5000")];
        let parameters: Parameters = slow
            .iter()
            .chain(parameters)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let template = Template::of_the_stack(&parameters)?;
        let world = World::new(backend).await?;
        let mut drill = Self {
            schedules: schedules(TEMPLATE)?,
            evaluator: Evaluator::new(template, 0),
            parameters,
            data: Vec::new(),
            evaluated_from: 0,
            seen_line: 0,
            seen_value: 0,
            neighbour: None,
            minute: 0,
            silent: None,
            world,
        };
        drill.come_to_rest().await?;
        Ok(drill)
    }

    /// Puts a second deployment beside it, of another name and the same stage. Its schedules go on with those of the drilled one.
    pub(crate) async fn beside_another(mut self) -> Result<Self> {
        let variables =
            [("SALLYPORT_PASSWORD_MEMORY_KIB", "7168"), ("SALLYPORT_DEPLOYMENT", "sallyport-neighbour")];
        let backend = Backend::with(&variables).await?;
        let stage = |backend: &Backend| backend.environment().get("SALLYPORT_STAGE").cloned();
        ensure!(stage(&backend) == stage(&self.world.backend), "the stages differ, and so would the figures");
        self.neighbour = Some(Neighbour { world: World::new(backend).await?, seen_line: 0 });
        self.align(60).await?;
        Ok(self)
    }

    /// The world of the second deployment.
    pub(crate) fn neighbour(&self) -> Result<&World> {
        Ok(&self.neighbour.as_ref().context("there is no other deployment")?.world)
    }

    /// Runs through the hours and minutes that alarms look back on, then evaluates the first of them.
    async fn come_to_rest(&mut self) -> Result<()> {
        for _ in 0..3 {
            self.align(3600).await?;
            for schedule in self.schedules.clone() {
                self.world.backend.invoke(&schedule.function, &schedule.input).await?;
            }
        }
        for _ in 0..5 {
            self.pass(async |world| world.ordinary().await).await?;
        }
        self.evaluated_from = self.world.backend.now() * 1000 - 2 * MINUTE_MS;
        self.evaluator = self.evaluator_of(Template::of_the_stack(&self.parameters)?);
        self.evaluate();
        self.ensure_quiet()
    }

    fn evaluator_of(&self, template: Template) -> Evaluator {
        let mut evaluator = Evaluator::new(template, self.evaluated_from);
        evaluator.add(self.data.iter().cloned());
        evaluator
    }

    /// Lets the schedules of a function fall silent, as when they were switched off.
    pub(crate) fn silence(&mut self, function: &'static str) {
        self.silent = Some(function);
    }

    pub(crate) fn ensure_quiet(&self) -> Result<()> {
        ensure!(self.evaluator.firing().is_empty(), "{:?} fire on an ordinary day", self.evaluator.firing());
        Ok(())
    }

    /// Lets hours pass that nobody evaluates, and comes to rest after them.
    pub(crate) async fn leap(&mut self, hours: u64) -> Result<()> {
        self.world.backend.advance(hours * 3600).await?;
        self.come_to_rest().await
    }

    /// Puts the clock forward to the next multiple of so many seconds.
    async fn align(&mut self, seconds: u64) -> Result<()> {
        let backend = &self.world.backend;
        backend.advance(seconds - backend.now() % seconds).await?;
        self.minute = backend.now() / 60;
        if let Some(Neighbour { world, .. }) = &self.neighbour {
            world.backend.advance(backend.now().saturating_sub(world.backend.now())).await?;
        }
        Ok(())
    }

    /// A minute in which this happens, besides what the schedules do.
    async fn pass(&mut self, traffic: impl AsyncFn(&World) -> Result<()>) -> Result<()> {
        for schedule in self.schedules.clone() {
            let due = self.minute.is_multiple_of((schedule.every / 60).max(1));
            let silent = self.silent == Some(schedule.function.as_str());
            if due && !silent {
                self.world.backend.invoke(&schedule.function, &schedule.input).await?;
            }
            if let Some(Neighbour { world, .. }) = self.neighbour.as_ref().filter(|_| due) {
                world.backend.invoke(&schedule.function, &schedule.input).await?;
            }
        }
        traffic(&self.world).await?;
        let now = self.world.backend.now() / 60;
        ensure!(now == self.minute, "what was done in minute {} lasted into minute {now}", self.minute);
        self.align(60).await?;
        self.collect().await
    }

    /// So many minutes, evaluated.
    pub(crate) async fn minutes(
        &mut self,
        count: u64,
        traffic: impl AsyncFn(&World) -> Result<()>,
    ) -> Result<()> {
        for _ in 0..count {
            self.pass(&traffic).await?;
            self.evaluate();
        }
        Ok(())
    }

    fn evaluate(&mut self) {
        self.evaluator.run_until(self.minute * MINUTE_MS);
    }

    /// Takes what the functions wrote and what AWS would have published.
    async fn collect(&mut self) -> Result<()> {
        let mut data = Vec::new();
        take(&self.world, &mut self.seen_line, &mut data).await?;
        if let Some(Neighbour { world, seen_line }) = &mut self.neighbour {
            take(world, seen_line, &mut data).await?;
        }
        for mut entry in self.world.backend.platform_metrics_since(self.seen_value).await? {
            self.seen_value = entry["sequence"].as_u64().context("a value has no number")?;
            data.push(serde_json::from_value(entry.take())?);
        }
        self.evaluator.add(data.iter().cloned());
        self.data.extend(data);
        Ok(())
    }

    /// Breaks something, lets it be broken under traffic, mends it, and judges what the alarms made of it.
    pub(crate) async fn play(
        mut self,
        expected: Expected,
        break_it: impl AsyncFn(&World) -> Result<()>,
        traffic: impl AsyncFn(&World) -> Result<()>,
        mend_it: impl AsyncFn(&World) -> Result<()>,
        afterwards: impl AsyncFn(&World) -> Result<()>,
    ) -> Result<()> {
        self.ensure_quiet()?;
        let began = self.minute;
        break_it(&self.world).await?;
        self.minutes(expected.lasts, traffic).await?;
        mend_it(&self.world).await?;
        let silence = self.silent.take().is_some();
        self.minutes(expected.clears_within, afterwards).await?;
        self.judge(expected, Course { began, silence })
    }

    /// Breaks something and lets it go on: when the Mitigation of the alarm's page was followed, with these variables, the alarm
    /// must clear all the same.
    pub(crate) async fn mitigate(
        mut self,
        expected: Expected,
        variables: &[(&str, &str)],
        break_it: impl AsyncFn(&World) -> Result<()>,
        goes_on: impl AsyncFn(&World) -> Result<()>,
    ) -> Result<()> {
        self.ensure_quiet()?;
        let began = self.minute;
        break_it(&self.world).await?;
        self.minutes(expected.lasts, &goes_on).await?;
        // A minute of its own: the clock goes on while its commands run.
        self.minutes(1, async |world: &World| page::mitigate(world, expected.alarm, variables).await).await?;
        self.minutes(expected.clears_within, &goes_on).await?;
        self.judge(expected, Course { began, silence: false })
    }

    /// The alarms did what was expected, and would not have, had they been wrong.
    fn judge(&self, expected: Expected, course: Course) -> Result<()> {
        let context = || {
            let transitions = self.evaluator.transitions().iter();
            let shown: Vec<_> = transitions
                .filter(|change| change.at / MINUTE_MS > course.began)
                .map(|change| {
                    let after = change.at / MINUTE_MS - course.began;
                    format!("+{after} {} {} ({})", change.alarm, change.to, change.reason)
                })
                .collect();
            format!("{}:\n{}", expected.alarm, shown.join("\n"))
        };
        verdict(&self.evaluator, expected, course).with_context(context)?;
        for (what, template) in tampered(self.evaluator.template(), expected.alarm, course.silence)? {
            let mut evaluator = self.evaluator_of(template);
            evaluator.run_until(self.minute * MINUTE_MS);
            let noticed = verdict(&evaluator, expected, course).is_err();
            ensure!(noticed, "{} with {what}: the drill would not have noticed", expected.alarm);
        }
        Ok(())
    }

    /// The sum of a metric of one deployment, over all that was measured.
    pub(crate) fn measured(&self, metric: &str, deployment: &str) -> f64 {
        let own = |datum: &&Datum| {
            datum.metric == metric
                && datum.dimensions.len() == 1
                && datum.dimensions.get("deployment").is_some_and(|name| name == deployment)
        };
        self.data.iter().filter(own).map(|datum| datum.value).sum()
    }

    /// Everything that was measured.
    pub(crate) fn evaluator(&self) -> &Evaluator {
        &self.evaluator
    }
}

/// The metrics of the lines that a backend's functions have written since.
async fn take(world: &World, seen_line: &mut u64, data: &mut Vec<Datum>) -> Result<()> {
    for entry in world.backend.logs_since(*seen_line).await? {
        *seen_line = entry["sequence"].as_u64().context("a line has no number")?;
        // What CloudWatch refuses is counted by the platform, not read.
        data.extend(match &entry["line"] {
            Value::String(text) => emf::read(text).unwrap_or_default(),
            line => emf::read_value(line).unwrap_or_default(),
        });
    }
    Ok(())
}

/// Whether the alarms did what was expected.
fn verdict(evaluator: &Evaluator, expected: Expected, course: Course) -> Result<()> {
    let fired: Vec<_> = evaluator.transitions().iter().filter(|change| change.to == State::Alarm).collect();
    let early: Vec<_> = fired.iter().filter(|change| change.at / MINUTE_MS <= course.began).collect();
    ensure!(early.is_empty(), "{early:?} before anything happened");
    let first = fired.iter().find(|change| change.alarm == expected.alarm).context("it did not fire")?;
    let after = first.at / MINUTE_MS - course.began;
    ensure!(after <= expected.within, "it fired after {after} minutes, not within {}", expected.within);

    let all: BTreeSet<&str> = fired.iter().map(|change| change.alarm.as_str()).collect();
    let named: BTreeSet<&str> =
        expected.also.iter().copied().chain([expected.alarm, expected.tells]).collect();
    ensure!(all == named, "{all:?} fired, not {named:?}");

    let told = |state: State| -> Vec<&Notification> {
        evaluator.notifications().iter().filter(|note| note.state == state).collect()
    };
    for state in [State::Alarm, State::Ok] {
        let told = told(state);
        let right = told.len() == 1 && told.iter().all(|note| note.alarm == expected.tells);
        ensure!(right, "{} should tell of {state} once, and nobody else: {told:?}", expected.tells);
    }
    ensure!(evaluator.firing().is_empty(), "{:?} did not clear", evaluator.firing());
    Ok(())
}

/// The template with one alarm made wrong, in each of the ways that leave a template valid.
fn tampered(template: &Template, alarm: &str, silence: bool) -> Result<Vec<(&'static str, Template)>> {
    let position = template.alarms.iter().position(|other| other.short == alarm);
    let position = position.with_context(|| format!("there is no alarm {alarm}"))?;
    let changed = |change: &dyn Fn(&mut Kind)| {
        let mut template = template.clone();
        change(&mut template.alarms[position].kind);
        template
    };
    let other_dimensions = |metric: &mut Metric| {
        for value in metric.series.dimensions.values_mut() {
            value.push_str("-other");
        }
    };
    let wrong_dimensions = changed(&|kind| {
        let Kind::Metric(alarm) = kind else { return };
        match &mut alarm.watched {
            Watched::Metric(metric) => other_dimensions(metric),
            Watched::Math { sources, .. } => {
                for (_, source) in sources {
                    if let Source::Metric(metric) = source {
                        other_dimensions(metric);
                    }
                }
            }
        }
    });
    let out_of_reach = changed(&|kind| {
        let Kind::Metric(alarm) = kind else { return };
        alarm.threshold = match alarm.comparison {
            Comparison::AtLeast | Comparison::Greater => f64::MAX,
            Comparison::Less | Comparison::AtMost => f64::MIN,
        };
    });
    let silence_is_well = changed(&|kind| {
        let Kind::Metric(alarm) = kind else { return };
        alarm.missing = Missing::NotBreaching;
        // Without the expression that tells a gap from a good answer.
        if let Watched::Math { sources, .. } = &alarm.watched
            && let Some((_, Source::Metric(metric))) = sources.first()
        {
            alarm.watched = Watched::Metric(metric.clone());
        }
    });
    let dull = if silence {
        ("silence taken for well", silence_is_well)
    } else {
        ("a threshold out of reach", out_of_reach)
    };
    Ok(vec![("other dimensions", wrong_dimensions), dull])
}
