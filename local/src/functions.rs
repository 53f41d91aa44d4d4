//! The functions, each with its own clients and its own copy of the keyring, as if each were alone in its process.

use std::{borrow::Cow, io::Write as _, sync::Arc};

use http::Method;
use lambda_http::Request;
use sallyport_alarms::emf;
use sallyport_aws::Clients;
use sallyport_core::{clock::Clock, metrics::ReadMetrics};
use sallyport_http::{App, Config, Platform, Trigger, telemetry::Sink};

use crate::{
    clock::ShiftingClock,
    console::Logs,
    environment::Environment,
    gateway::{Answer, Function},
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

    fn handle(&self, request: Request) -> Answer<'_> {
        Box::pin(self.handle(request))
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
        self.sinks.logs.push(&line);
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

type Entry = (&'static str, fn(&Platform) -> App);

const FUNCTIONS: [Entry; 5] = [
    ("login", login::app),
    ("refresh", refresh::app),
    ("mfa", mfa::app),
    ("keys", keys::app),
    ("health", health::app),
];

type TriggerEntry = (&'static str, fn(&Platform) -> Trigger);

/// Functions that nobody calls over HTTP; `POST /_local/invoke/{name}` hands them an event.
const TRIGGERS: [TriggerEntry; 3] = [
    ("responder", responder::trigger),
    ("rotation", rotation::trigger),
    ("maintenance", maintenance::trigger),
];

/// All functions, not yet warm.
///
/// # Errors
/// When a variable is missing or not valid.
pub(crate) fn all(
    environment: &Environment,
    clock: &Arc<ShiftingClock>,
    sinks: &Sinks,
) -> anyhow::Result<Functions> {
    let mut functions = Functions { handlers: Vec::new(), triggers: Vec::new(), platforms: Vec::new() };
    let platform = |name: &'static str| -> anyhow::Result<Platform> {
        let config = config(environment)?;
        Ok(Platform::builder(config.clone(), connect(environment, &config, name)?)
            .clock(Arc::clone(clock) as Arc<dyn Clock>)
            .sink(sinks.of(Some(name)))
            .metrics(Arc::clone(&sinks.metrics) as Arc<dyn ReadMetrics>)
            .build())
    };
    for (name, app) in FUNCTIONS {
        let platform = platform(name)?;
        let app = app(&platform);
        functions.platforms.push(Started { name, platform, gated: app.is_gated() });
        functions.handlers.push(Arc::new(app));
    }
    for (name, trigger) in TRIGGERS {
        let platform = platform(name)?;
        functions.triggers.push(Arc::new(trigger(&platform)));
        functions.platforms.push(Started { name, platform, gated: false });
    }
    Ok(functions)
}

/// The functions and what they stand on.
pub(crate) struct Functions {
    pub(crate) handlers: Vec<Arc<dyn Function>>,
    pub(crate) triggers: Vec<Arc<Trigger>>,
    platforms: Vec<Started>,
}

struct Started {
    name: &'static str,
    platform: Platform,
    /// Whether it reads modes and blocks.
    gated: bool,
}

impl Functions {
    /// What Lambda's init phase does: `keys` fills an empty keyring, all fetch it and open their connections. A
    /// dependency that is down does not stop the start, here as there.
    pub(crate) async fn warm_up(&self) {
        for Started { name, platform, .. } in &self.platforms {
            if *name == "keys"
                && let Err(error) = platform.fill_keyring(name).await
            {
                tracing::warn!(%error, "filling the keyring failed");
            }
        }
        for Started { platform, gated, .. } in &self.platforms {
            let platform = platform.clone();
            if *gated { platform.warm_up_for(1).await } else { platform.warm_up().await }
        }
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
