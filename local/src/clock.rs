//! The clock of the functions, which can be put forward.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use sallyport_aws::system::SystemClock;
use sallyport_core::clock::{Clock, Timestamp, Waiting};

/// Real time plus an offset that only grows: what a test waits for may lie days ahead.
#[derive(Debug, Default)]
pub(crate) struct ShiftingClock {
    offset_ms: AtomicU64,
}

impl ShiftingClock {
    /// Puts the clock forward and returns the whole offset.
    pub(crate) fn advance(&self, by: Duration) -> Duration {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        let add = |offset: u64| Some(offset.saturating_add(by));
        let before = self.offset_ms.fetch_update(Ordering::SeqCst, Ordering::SeqCst, add).unwrap_or_default();
        Duration::from_millis(before.saturating_add(by))
    }

    /// By how much it is ahead of real time.
    pub(crate) fn offset(&self) -> Duration {
        Duration::from_millis(self.offset_ms.load(Ordering::SeqCst))
    }
}

impl Clock for ShiftingClock {
    fn now(&self) -> Timestamp {
        SystemClock.now() + self.offset()
    }

    /// Real time: a wait of the functions is a few milliseconds, and nobody puts the clock forward to end it.
    fn sleep(&self, duration: Duration) -> Waiting<'_> {
        Box::pin(tokio::time::sleep(duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_forward_by_what_it_is_told() {
        let clock = ShiftingClock::default();
        let before = clock.now();
        assert_eq!(clock.advance(Duration::from_secs(90)), Duration::from_secs(90));
        assert_eq!(clock.advance(Duration::from_secs(10)), Duration::from_secs(100));
        let passed = clock.now().since(before);
        assert!(passed >= Duration::from_secs(100) && passed < Duration::from_secs(105), "{passed:?}");
    }
}
