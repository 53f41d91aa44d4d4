//! A copy in the process of what changes seldom: fetched when it is too old, kept when the fetch fails.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sallyport_core::{
    clock::{Clock, Timestamp},
    store::StoreResult,
};

use crate::meter;

struct Copied<T> {
    value: Arc<T>,
    fetched_at: Timestamp,
    /// After a fetch that failed, or gave what was outdated: not before this.
    retry_at: Timestamp,
}

/// How long a fetch that did not help is not repeated.
const RETRY: Duration = Duration::from_secs(5);

/// The last good copy.
pub(crate) struct LastGood<T> {
    what: &'static str,
    clock: Arc<dyn Clock>,
    max_age: Duration,
    copy: Mutex<Option<Copied<T>>>,
}

impl<T> LastGood<T> {
    pub(crate) fn new(what: &'static str, clock: Arc<dyn Clock>, max_age: Duration) -> Self {
        Self { what, clock, max_age, copy: Mutex::new(None) }
    }

    /// The copy, or what `fetch` gives where the copy is too old or outdated; `None` is not kept.
    ///
    /// # Errors
    /// The fetch failed and there is no copy.
    pub(crate) async fn get(
        &self,
        is_outdated: impl Fn(&T) -> bool,
        fetch: impl Future<Output = StoreResult<Option<T>>>,
    ) -> StoreResult<Option<Arc<T>>> {
        let now = self.clock.now();
        if let Some(value) = self.fresh(now, &is_outdated) {
            meter::note_cache(true);
            return Ok(Some(value));
        }
        meter::note_cache(false);
        match fetch.await {
            Ok(None) => Ok(None),
            Ok(Some(value)) => {
                let value = Arc::new(value);
                let retry_at = if is_outdated(&value) { now + RETRY } else { now };
                *self.locked() = Some(Copied { value: Arc::clone(&value), fetched_at: now, retry_at });
                Ok(Some(value))
            }
            Err(error) => {
                let mut copy = self.locked();
                let Some(copied) = copy.as_mut() else {
                    return Err(error);
                };
                copied.retry_at = now + RETRY;
                tracing::warn!(%error, "{} could not be fetched, the last good copy serves on", self.what);
                Ok(Some(Arc::clone(&copied.value)))
            }
        }
    }

    /// The copy, however old.
    pub(crate) fn last(&self) -> Option<Arc<T>> {
        self.locked().as_ref().map(|copied| Arc::clone(&copied.value))
    }

    pub(crate) fn max_age(&self) -> Duration {
        self.max_age
    }

    fn fresh(&self, now: Timestamp, is_outdated: impl Fn(&T) -> bool) -> Option<Arc<T>> {
        let copy = self.locked();
        let copied = copy.as_ref()?;
        let young = now < copied.fetched_at + self.max_age && !is_outdated(&copied.value);
        (young || now < copied.retry_at).then(|| Arc::clone(&copied.value))
    }

    fn locked(&self) -> MutexGuard<'_, Option<Copied<T>>> {
        self.copy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
