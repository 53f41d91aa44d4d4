//! A function that nobody calls over HTTP: a schedule, a topic, a stream or a rotation triggers it.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use lambda_runtime::Diagnostic;
use sallyport_aws::{meter, meter::Usage, system::is_cold_start};
use sallyport_core::{clock::Timestamp, store::StoreError};
use serde_json::Value;

use crate::{
    platform::Platform,
    telemetry::{Facts, in_millis, invocation_event},
};

/// What a handler is given.
#[derive(Debug)]
pub struct Event {
    /// As AWS sends it.
    pub payload: Value,
    /// Counts for the wide event.
    pub facts: Facts,
}

/// Why an event could not be handled. Lambda repeats what fails, so it says whether that could help.
#[derive(Debug, thiserror::Error)]
pub enum TriggerError {
    /// The event is not one that this function takes.
    #[error("the event is not understood: {0}")]
    Unknown(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A dependency other than the tables.
    #[error("{dependency}: {reason}")]
    Dependency { dependency: &'static str, reason: String },
    /// It must not be done now: a guard holds.
    #[error("refused: {0}")]
    Refused(String),
}

impl TriggerError {
    /// Stable, for logs and alarms.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "unknown_event",
            Self::Store(StoreError::Corrupt { .. }) => "corrupt_item",
            Self::Store(StoreError::Unavailable { .. } | StoreError::Contended { .. })
            | Self::Dependency { .. } => "dependency_unavailable",
            Self::Refused(_) => "refused",
        }
    }
}

/// Lambda's own words for it: the code, and the message for the log.
impl From<TriggerError> for Diagnostic {
    fn from(error: TriggerError) -> Self {
        Self { error_type: error.code().to_owned(), error_message: error.to_string() }
    }
}

type Handling = Pin<Box<dyn Future<Output = Result<Value, TriggerError>> + Send>>;
type Handler = Box<dyn Fn(Event) -> Handling + Send + Sync>;

/// A function with its one handler, and everything around it that no handler should repeat.
pub struct Trigger {
    name: &'static str,
    platform: Platform,
    handler: Handler,
}

impl Trigger {
    pub fn new<S, F>(
        name: &'static str,
        platform: &Platform,
        state: &Arc<S>,
        handler: fn(Arc<S>, Event) -> F,
    ) -> Self
    where
        S: Send + Sync + 'static,
        F: Future<Output = Result<Value, TriggerError>> + Send + 'static,
    {
        let state = Arc::clone(state);
        let handler: Handler = Box::new(move |event| Box::pin(handler(Arc::clone(&state), event)));
        Self { name, platform: platform.clone(), handler }
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Handles an event, and leaves a log line and a wide event.
    ///
    /// # Errors
    /// The handler's own. Lambda repeats an event whose handler failed.
    pub async fn handle(&self, payload: Value) -> Result<Value, TriggerError> {
        #[expect(clippy::disallowed_methods, reason = "a duration is measured, no rule depends on it")]
        let started = Instant::now();
        let at = self.platform.clock().now();
        let facts = Facts::default();
        let event = Event { payload, facts: facts.clone() };
        let (outcome, usage) = meter::metered((self.handler)(event)).await;
        self.report(&outcome, at, started.elapsed(), usage, &facts);
        outcome
    }

    fn report(
        &self,
        outcome: &Result<Value, TriggerError>,
        at: Timestamp,
        duration: Duration,
        usage: Usage,
        facts: &Facts,
    ) {
        let function = self.name;
        let (duration_ms, dependency_ms, calls) = (in_millis(duration), in_millis(usage.time), usage.calls);
        let cold_start = Some(true).filter(|_| is_cold_start());
        match outcome {
            Ok(_) => {
                tracing::info!(
                    target: "request",
                    function, duration_ms, calls, dependency_ms, cold_start, "invocation"
                );
            }
            Err(error) => {
                let (code, fault) = (error.code(), error.to_string());
                tracing::error!(
                    target: "request",
                    function, code, fault, duration_ms, calls, dependency_ms, cold_start, "invocation failed"
                );
            }
        }
        let deployment = &self.platform.config().deployment;
        let event = invocation_event(deployment, function, outcome.is_err(), &usage, facts, at);
        self.platform.sink().line(&event.to_string());
    }
}

impl std::fmt::Debug for Trigger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trigger").field("name", &self.name).finish_non_exhaustive()
    }
}
