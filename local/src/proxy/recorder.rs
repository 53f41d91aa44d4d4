//! The calls that were made, in the order of their ends.

use std::{collections::VecDeque, sync::Mutex};

use sallyport_aws::system::SystemClock;
use sallyport_core::clock::Clock as _;

use super::call::Call;

/// A full run of a suite fits; beyond it the oldest calls are forgotten.
const CAPACITY: usize = 50_000;

/// Remembers the last calls.
#[derive(Debug, Default)]
pub(crate) struct Recorder(Mutex<Recorded>);

#[derive(Debug, Default)]
struct Recorded {
    last: u64,
    calls: VecDeque<Call>,
}

impl Recorder {
    /// The calls after the given sequence number (0 for all that are remembered).
    pub(crate) fn since(&self, sequence: u64) -> Vec<Call> {
        self.locked().calls.iter().filter(|call| call.sequence > sequence).cloned().collect()
    }

    /// Forgets all calls; the sequence goes on.
    pub(crate) fn clear(&self) {
        self.locked().calls.clear();
    }

    pub(super) fn record(&self, mut call: Call) {
        call.at = SystemClock.now().millis();
        let mut recorded = self.locked();
        recorded.last += 1;
        call.sequence = recorded.last;
        if recorded.calls.len() == CAPACITY {
            recorded.calls.pop_front();
        }
        recorded.calls.push_back(call);
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
