//! What a request costs in calls and time: counted where the calls are made, read by the wide event.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::config::{
    ConfigBag, Intercept, RuntimeComponents,
    interceptors::{BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef},
};
use aws_smithy_runtime_api::{box_error::BoxError, client::orchestrator::Metadata};
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use sallyport_core::audit::{EventKind, Severity};

tokio::task_local! {
    static METER: Arc<Mutex<Usage>>;
}

/// Calls that a request made to its dependencies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Attempts, retries included.
    pub calls: u32,
    /// Attempts beyond the first of a call.
    pub retries: u32,
    /// Time in calls, added up: calls side by side count each.
    pub time: Duration,
    /// The part of it in calls of Secrets Manager.
    pub secrets_time: Duration,
    /// Copies in the process (keyring, flags) that served, and that had to be fetched anew.
    pub cache_hits: u32,
    pub cache_misses: u32,
    /// Security events that were stored.
    pub events: Events,
}

/// Security events by severity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Events {
    pub info: u32,
    pub warning: u32,
    pub critical: u32,
    /// Those among them that are suspicious ([`EventKind::is_suspicious`]).
    pub suspicious: u32,
}

/// Runs `future`, and tells what it used.
pub async fn metered<F: Future>(future: F) -> (F::Output, Usage) {
    let usage = Arc::new(Mutex::new(Usage::default()));
    let output = METER.scope(Arc::clone(&usage), future).await;
    let usage = *usage.lock().unwrap_or_else(PoisonError::into_inner);
    (output, usage)
}

fn note(change: impl FnOnce(&mut Usage)) {
    // Outside of a request (at init) nobody counts.
    let _outside = METER.try_with(|usage| change(&mut usage.lock().unwrap_or_else(PoisonError::into_inner)));
}

/// Counts an answer of a copy in the process: whether it was fresh.
pub(crate) fn note_cache(hit: bool) {
    note(|usage| {
        let count = if hit { &mut usage.cache_hits } else { &mut usage.cache_misses };
        *count = count.saturating_add(1);
    });
}

pub(crate) fn note_event(kind: EventKind) {
    note(|usage| {
        let events = &mut usage.events;
        let count = match kind.severity() {
            Severity::Info => &mut events.info,
            Severity::Warning => &mut events.warning,
            Severity::Critical => &mut events.critical,
        };
        *count = count.saturating_add(1);
        events.suspicious = events.suspicious.saturating_add(u32::from(kind.is_suspicious()));
    });
}

/// Counts attempts and times operations.
#[derive(Debug)]
pub(crate) struct CallMeter;

#[derive(Debug)]
struct Started(Instant, u32);

impl Storable for Started {
    type Storer = StoreReplace<Self>;
}

impl Intercept for CallMeter {
    fn name(&self) -> &'static str {
        "call meter"
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        #[expect(clippy::disallowed_methods, reason = "a duration is measured, no rule depends on it")]
        let now = Instant::now();
        let (started, attempts) = config.load::<Started>().map_or((now, 0), |started| (started.0, started.1));
        config.interceptor_state().store_put(Started(started, attempts.saturating_add(1)));
        note(|usage| {
            usage.calls = usage.calls.saturating_add(1);
            usage.retries = usage.retries.saturating_add(u32::from(attempts > 0));
        });
        Ok(())
    }

    fn read_after_execution(
        &self,
        _context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(Started(started, _)) = config.load::<Started>() {
            let elapsed = started.elapsed();
            let secrets =
                config.load::<Metadata>().is_some_and(|metadata| metadata.service() == "Secrets Manager");
            note(|usage| {
                usage.time = usage.time.saturating_add(elapsed);
                if secrets {
                    usage.secrets_time = usage.secrets_time.saturating_add(elapsed);
                }
            });
        }
        Ok(())
    }
}
