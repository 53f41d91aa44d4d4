//! The functions, each with its own clients and its own copy of the keyring, as if each were alone in its process.

use std::{io::Write as _, sync::Arc};

use http::Method;
use lambda_http::Request;
use sallyport_aws::Clients;
use sallyport_core::{clock::Clock, metrics::ReadMetrics};
use sallyport_http::{App, Config, Platform, Trigger, telemetry::Sink};

use crate::{
    clock::ShiftingClock,
    console::Logs,
    environment::Environment,
    gateway::{Answer, Function},
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

/// The functions' lines, to the console and, unless quiet, to stdout.
#[derive(Debug)]
struct Lines {
    logs: Arc<Logs>,
    metrics: Arc<Registry>,
    quiet: bool,
}

impl Sink for Lines {
    fn line(&self, line: &str) {
        self.logs.push(line);
        self.metrics.take(line);
        if !self.quiet {
            let mut stdout = std::io::stdout().lock();
            // Nobody reads what cannot be written.
            drop(writeln!(stdout, "{line}").and_then(|()| stdout.flush()));
        }
    }

    fn recent(&self) -> Option<Vec<String>> {
        Some(self.logs.lines())
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
const TRIGGERS: [TriggerEntry; 1] = [("responder", responder::trigger)];

/// Where the functions' lines go.
pub(crate) fn sink(logs: &Arc<Logs>, metrics: &Arc<Registry>, quiet: bool) -> Arc<dyn Sink> {
    Arc::new(Lines { logs: Arc::clone(logs), metrics: Arc::clone(metrics), quiet })
}

/// All functions, not yet warm.
///
/// # Errors
/// When a variable is missing or not valid.
pub(crate) fn all(
    environment: &Environment,
    clock: &Arc<ShiftingClock>,
    sink: &Arc<dyn Sink>,
    metrics: &Arc<Registry>,
) -> anyhow::Result<Functions> {
    let mut functions = Functions { handlers: Vec::new(), triggers: Vec::new(), platforms: Vec::new() };
    let platform = |name: &'static str| -> anyhow::Result<Platform> {
        let config = config(environment)?;
        Ok(Platform::builder(config.clone(), connect(environment, &config, name)?)
            .clock(Arc::clone(clock) as Arc<dyn Clock>)
            .sink(Arc::clone(sink))
            .metrics(Arc::clone(metrics) as Arc<dyn ReadMetrics>)
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
