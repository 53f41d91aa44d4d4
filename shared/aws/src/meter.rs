//! What a request costs in calls and time: counted where the calls are made, read by the wide event.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::config::{
    ConfigBag, Intercept, RuntimeComponents,
    interceptors::{BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef},
};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_types::config_bag::{Storable, StoreReplace};

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
            note(|usage| usage.time = usage.time.saturating_add(elapsed));
        }
        Ok(())
    }
}
