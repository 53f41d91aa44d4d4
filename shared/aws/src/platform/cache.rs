//! A copy in the process of what changes seldom: fetched when it is too old, kept when the fetch fails.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sallyport_core::{
    clock::{Clock, Timestamp},
    store::{StoreError, StoreResult},
};

use crate::platform::meter;

struct Copied<T> {
    value: Arc<T>,
    fetched_at: Timestamp,
    /// After a fetch that failed, or gave what was outdated: not before this.
    retry_at: Timestamp,
}

/// How long a fetch that failed is not repeated.
const RETRY: Duration = Duration::from_secs(5);

/// How long a fetch that gave what was outdated is not repeated: a store that is read again too early still shows what was.
const RETRY_OUTDATED: Duration = Duration::from_secs(1);

/// What the copy is worth.
enum Kept<T> {
    Good(Arc<T>),
    /// It may not be served, and it is too early to ask again.
    Outdated,
    /// To be fetched.
    None,
}

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

    /// The copy, or what `fetch` gives where the copy is too old or outdated; `None` is not kept. What is outdated is not
    /// served, whatever else there is or is not.
    ///
    /// # Errors
    /// The fetch failed and there is no copy that may be served; or it gave what is outdated.
    pub(crate) async fn get(
        &self,
        is_outdated: impl Fn(&T) -> bool,
        fetch: impl Future<Output = StoreResult<Option<T>>>,
    ) -> StoreResult<Option<Arc<T>>> {
        let now = self.clock.now();
        let kept = self.kept(now, &is_outdated);
        meter::note_cache(matches!(kept, Kept::Good(_)));
        match kept {
            Kept::Good(value) => return Ok(Some(value)),
            Kept::Outdated => return Err(self.outdated()),
            Kept::None => {}
        }
        match fetch.await {
            Ok(None) => Ok(None),
            Ok(Some(value)) => {
                let outdated = is_outdated(&value);
                let value = Arc::new(value);
                let retry_at = if outdated { now + RETRY_OUTDATED } else { now };
                *self.locked() = Some(Copied { value: Arc::clone(&value), fetched_at: now, retry_at });
                if outdated { Err(self.outdated()) } else { Ok(Some(value)) }
            }
            Err(error) => {
                let mut copy = self.locked();
                let Some(copied) = copy.as_mut() else {
                    return Err(error);
                };
                copied.retry_at = now + RETRY;
                if is_outdated(&copied.value) {
                    return Err(error);
                }
                tracing::warn!(%error, "{} could not be fetched, the last good copy serves on", self.what);
                Ok(Some(Arc::clone(&copied.value)))
            }
        }
    }

    /// The copy, however old.
    pub(crate) fn last(&self) -> Option<Arc<T>> {
        self.locked().as_ref().map(|copied| Arc::clone(&copied.value))
    }

    /// Whether what the copy is of was read within this time.
    pub(crate) fn was_read_within(&self, time: Duration) -> bool {
        let now = self.clock.now();
        self.locked().as_ref().is_some_and(|copied| now < copied.fetched_at + time)
    }

    pub(crate) fn max_age(&self) -> Duration {
        self.max_age
    }

    fn kept(&self, now: Timestamp, is_outdated: impl Fn(&T) -> bool) -> Kept<T> {
        let copy = self.locked();
        let Some(copied) = copy.as_ref() else { return Kept::None };
        let (outdated, waits) = (is_outdated(&copied.value), now < copied.retry_at);
        match (outdated, waits) {
            (true, true) => Kept::Outdated,
            (true, false) => Kept::None,
            (false, _) if waits || now < copied.fetched_at + self.max_age => {
                Kept::Good(Arc::clone(&copied.value))
            }
            (false, _) => Kept::None,
        }
    }

    fn outdated(&self) -> StoreError {
        let reason = format!("the copy of {} is from before a revocation", self.what);
        StoreError::Unavailable { operation: "fetch", reason }
    }

    fn locked(&self) -> MutexGuard<'_, Option<Copied<T>>> {
        self.copy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::atomic::{AtomicU64, Ordering};

    use sallyport_core::clock::Waiting;

    use super::*;

    const AGE: Duration = Duration::from_secs(300);

    #[derive(Default)]
    struct Clock(AtomicU64);

    impl sallyport_core::clock::Clock for Clock {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.0.load(Ordering::SeqCst))
        }

        fn sleep(&self, _: Duration) -> Waiting<'_> {
            Box::pin(async {})
        }
    }

    struct Scene {
        clock: Arc<Clock>,
        cache: LastGood<u32>,
    }

    impl Scene {
        /// A copy of the first revision.
        fn new() -> Self {
            let clock = Arc::new(Clock::default());
            let cache = LastGood::new("the number", Arc::clone(&clock) as Arc<_>, AGE);
            let scene = Self { clock, cache };
            assert_eq!(scene.get(0, Ok(Some(1))), (Some(1), true));
            scene
        }

        fn pass(&self, time: Duration) {
            let millis = u64::try_from(time.as_millis()).unwrap();
            self.clock.0.fetch_add(millis, Ordering::SeqCst);
        }

        /// What is served where nothing before `from` counts, and whether it was fetched.
        fn get(&self, from: u32, fetched: StoreResult<Option<u32>>) -> (Option<u32>, bool) {
            let asked = AtomicU64::default();
            let fetch = async {
                asked.fetch_add(1, Ordering::SeqCst);
                fetched
            };
            let getting = self.cache.get(|copy| *copy < from, fetch);
            let got = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(getting);
            (got.ok().flatten().map(|value| *value), asked.load(Ordering::SeqCst) > 0)
        }
    }

    fn down() -> StoreResult<Option<u32>> {
        Err(StoreError::Unavailable { operation: "fetch", reason: "down".to_owned() })
    }

    #[test]
    fn a_copy_serves_on_through_an_outage_and_is_asked_for_every_five_seconds() {
        let scene = Scene::new();
        assert_eq!(scene.get(0, down()), (Some(1), false));
        scene.pass(AGE);
        assert_eq!(scene.get(0, down()), (Some(1), true));
        assert_eq!(scene.get(0, down()), (Some(1), false), "asked again at once");
        scene.pass(RETRY);
        assert_eq!(scene.get(0, Ok(Some(2))), (Some(2), true));
    }

    #[test]
    fn what_is_outdated_is_never_served_and_is_not_asked_for_without_pause() {
        // The copy, then what comes in its place: nothing, or what is outdated as well.
        for (came, pause) in [(down(), RETRY), (Ok(Some(1)), RETRY_OUTDATED)] {
            let scene = Scene::new();
            assert_eq!(scene.get(2, came.clone()), (None, true));
            assert_eq!(scene.get(2, Ok(Some(2))), (None, false));
            scene.pass(pause);
            assert_eq!(scene.get(2, came), (None, true));
            scene.pass(pause);
            assert_eq!(scene.get(2, Ok(Some(2))), (Some(2), true));
            assert_eq!(scene.get(2, down()), (Some(2), false));
        }
    }
}
