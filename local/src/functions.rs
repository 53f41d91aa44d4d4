//! The functions, each with its own clients and its own copy of the keyring, as if each were alone in its process.

use std::{borrow::Cow, collections::BTreeMap, io::Write as _, sync::Arc};

use futures_util::future::BoxFuture;
use http::Method;
use sallyport_alarms::emf;
use sallyport_aws::Clients;
use sallyport_core::clock::Clock;
use sallyport_lambda::{App, Config, Invocation, Platform, Trigger, telemetry::Sink};
use sallyport_operations::metrics::ReadMetrics;
use serde_json::Value;

use crate::{
    clock::ShiftingClock,
    console::Logs,
    environment::Environment,
    gateway::{Answer, Function},
    identifier,
    lambda::Lambda,
    metrics::Registry,
};

impl Function for App {
    fn name(&self) -> &'static str {
        self.name()
    }

    fn routes(&self) -> Vec<(Method, &'static str)> {
        self.routes()
    }

    fn invoke(&self, event: Value) -> Answer<'_> {
        let invocation = Invocation { request_id: identifier::uuid().unwrap_or_default(), trace: None };
        Box::pin(async { self.invoke(event, invocation).await.map_err(|error| error.to_string()) })
    }
}

/// Where lines go: to the console and, unless quiet, to stdout.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sinks {
    pub(crate) logs: Arc<Logs>,
    pub(crate) metrics: Arc<Registry>,
    pub(crate) lambda: Arc<Lambda>,
    pub(crate) quiet: bool,
}

impl Sinks {
    /// The sink of a function, which has a log group of its own; without one, that of everything else.
    pub(crate) fn of(&self, function: Option<&'static str>) -> Arc<dyn Sink> {
        Arc::new(Lines { sinks: self.clone(), function })
    }
}

#[derive(Debug)]
struct Lines {
    sinks: Sinks,
    function: Option<&'static str>,
}

impl Lines {
    /// As CloudWatch receives it. What it refuses of a function's log group it counts.
    fn received<'a>(&self, line: &'a str) -> Cow<'a, str> {
        let Some(function) = self.function else { return line.into() };
        let mut line = Cow::Borrowed(line);
        if self.sinks.lambda.garbles(function) && line.contains("\"_aws\"") {
            line = line.chars().take(line.chars().count() / 2).collect::<String>().into();
        }
        if let Err(fault) = emf::read(&line) {
            self.sinks.lambda.metrics.refused_line(function, fault.metric());
        }
        line
    }
}

impl Sink for Lines {
    fn line(&self, line: &str) {
        let line = self.received(line);
        self.sinks.logs.push(self.function, &line);
        self.sinks.metrics.take(&line);
        if !self.sinks.quiet {
            let mut stdout = std::io::stdout().lock();
            // Nobody reads what cannot be written.
            drop(writeln!(stdout, "{line}").and_then(|()| stdout.flush()));
        }
    }

    fn recent(&self) -> Option<Vec<String>> {
        Some(self.sinks.logs.lines())
    }
}

type Prepare = fn(Platform) -> BoxFuture<'static, ()>;

type Entry = (&'static str, fn(&Platform) -> App, Prepare);

/// `keys` is first: it fills the keyring, which the others fetch.
const FUNCTIONS: [Entry; 5] = [
    ("keys", keys::app, |platform| Box::pin(keys::prepare(platform))),
    ("login", login::app, |platform| Box::pin(login::prepare(platform))),
    ("refresh", refresh::app, |platform| Box::pin(refresh::prepare(platform))),
    ("mfa", mfa::app, |platform| Box::pin(mfa::prepare(platform))),
    ("health", health::app, |platform| Box::pin(health::prepare(platform))),
];

type TriggerEntry = (&'static str, fn(&Platform) -> Trigger);

/// Functions that nobody calls over HTTP; `POST /_local/invoke/{name}` hands them an event.
const TRIGGERS: [TriggerEntry; 4] = [
    ("responder", responder::trigger),
    ("rotation", rotation::trigger),
    ("maintenance", maintenance::trigger),
    ("smoke", smoke::trigger),
];

/// All functions, not yet prepared.
///
/// # Errors
/// When a variable is missing or not valid, or when routes contradict one another.
pub(crate) fn all(
    environment: &Environment,
    clock: &Arc<ShiftingClock>,
    sinks: &Sinks,
) -> anyhow::Result<Functions> {
    let mut functions =
        Functions { handlers: Vec::new(), triggers: Vec::new(), unprepared: Unprepared::new() };
    let platform = |name: &'static str| -> anyhow::Result<Platform> {
        let config = config(environment)?;
        Ok(Platform::builder(config.clone(), connect(environment, &config, name)?)
            .clock(Arc::clone(clock) as Arc<dyn Clock>)
            .sink(sinks.of(Some(name)))
            .metrics(Arc::clone(&sinks.metrics) as Arc<dyn ReadMetrics>)
            .build())
    };
    for (name, app, prepare) in FUNCTIONS {
        let platform = platform(name)?;
        let app = app(&platform);
        app.check()?;
        functions.handlers.push(Arc::new(app));
        functions.unprepared.insert(name, (platform, prepare));
    }
    for (name, trigger) in TRIGGERS {
        functions.triggers.push(Arc::new(trigger(&platform(name)?)));
    }
    Ok(functions)
}

/// The functions and what they stand on.
pub(crate) struct Functions {
    pub(crate) handlers: Vec<Arc<dyn Function>>,
    pub(crate) triggers: Vec<Arc<Trigger>>,
    unprepared: Unprepared,
}

/// Functions whose process has not started yet, by name.
pub(crate) type Unprepared = BTreeMap<&'static str, (Platform, Prepare)>;

impl Functions {
    /// What Lambda's init phase does. A dependency that is down does not stop the start, here as there.
    pub(crate) async fn prepare(&mut self) {
        let mut unprepared = std::mem::take(&mut self.unprepared);
        // In this order: the first fills the keyring, which the others fetch.
        for (name, ..) in FUNCTIONS {
            if let Some((platform, prepare)) = unprepared.remove(name) {
                prepare(platform).await;
            }
        }
    }

    /// Those that were not prepared.
    pub(crate) fn take_unprepared(&mut self) -> Unprepared {
        std::mem::take(&mut self.unprepared)
    }
}

/// Clients under the name of a function.
///
/// # Errors
/// When a variable is missing.
pub(crate) fn connect(
    environment: &Environment,
    config: &Config,
    name: &'static str,
) -> anyhow::Result<Clients> {
    Ok(Clients::connect(&config.endpoints, name, &|name| environment.get(name).cloned())?)
}

/// The configuration that the functions read.
///
/// # Errors
/// When a variable is missing or not valid.
pub(crate) fn config(environment: &Environment) -> anyhow::Result<Config> {
    Ok(Config::from_lookup(&|name| environment.get(name).cloned())?)
}
