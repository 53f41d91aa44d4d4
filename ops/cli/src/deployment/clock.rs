//! The time in which an operator acts.

use std::time::Duration;

use sallyport_aws::system::SystemClock;
use sallyport_core::clock::{Clock, Timestamp, Waiting};
use serde_json::Value;

use crate::{cli::Target, console::Console};

/// This machine's clock. Where the backend runs on this machine it is that one's: it may have been put forward, and
/// what is done to it is done in its time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OperatorClock {
    ahead: Duration,
}

impl OperatorClock {
    /// A backend that does not answer is not ahead.
    pub(crate) async fn of(target: &Target) -> Self {
        let console = Console::find().ok().filter(|_| target.stack.is_none());
        let answer = match console {
            Some(console) => console.get("clock").await.ok(),
            None => None,
        };
        let ahead = answer.and_then(|answer| answer.get("offset_seconds").and_then(Value::as_u64));
        Self { ahead: Duration::from_secs(ahead.unwrap_or_default()) }
    }

    /// In this time, what this machine's clock said: log lines know no other.
    pub(crate) fn of_machine(self, at: Timestamp) -> Timestamp {
        at + self.ahead
    }
}

impl Clock for OperatorClock {
    fn now(&self) -> Timestamp {
        SystemClock.now() + self.ahead
    }

    fn sleep(&self, duration: Duration) -> Waiting<'_> {
        SystemClock.sleep(duration)
    }
}
