//! What a process remembers of the budgets of addresses.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use sallyport_core::clock::Timestamp;

/// The budgets that were scarce when this process last counted them, by the name of their window, until the window ends.
///
/// A budget gets here by half of it in one window, so that no more of them are here than `PasswordRateLimit` lets through:
/// 60 at 50 a second.
#[derive(Debug, Default)]
pub(crate) struct ScarceBudgets(Mutex<HashMap<String, Timestamp>>);

/// Further ones are not remembered. It bounds the memory where no gateway bounds the callers.
const MOST_SCARCE: usize = 4096;

impl ScarceBudgets {
    pub(crate) fn note(&self, window: String, ends: Timestamp, now: Timestamp) {
        let mut held = self.held();
        held.retain(|_, ends| now < *ends);
        if held.len() < MOST_SCARCE {
            held.insert(window, ends);
        }
    }

    pub(crate) fn holds(&self, window: &str) -> bool {
        self.held().contains_key(window)
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
