//! In an emergency, devices that an account does not know wait before their first attempt is taken.
//!
//! As mail servers greylist: the first attempt is refused with the time to come back at, and claims a place; an attempt after that
//! time, within a window, is taken. A person's client comes back; a list of stolen passwords that is tried once each does not.
//! Nothing here asks whether there is such an account.

use std::{fmt, time::Duration};

use crate::{address::ClientAddress, clock::Timestamp, ids::AccountKey, store::StoreResult};

/// How long the first attempt waits.
pub const WAIT: Duration = Duration::from_secs(10);

/// How long after the wait attempts are taken. Then the next is a first one again.
pub const WAIT_WINDOW: Duration = Duration::from_secs(300);

/// Who waits for what: an address, as limits count it, for an account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaitKey(String);

impl WaitKey {
    pub fn new(account: AccountKey, address: ClientAddress) -> Self {
        Self(format!("wait#{account}#{}", address.bucket()))
    }
}

impl fmt::Display for WaitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an attempt found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// Nobody was waiting: this attempt is the first, from now on.
    First,
    /// An attempt at this time was the first.
    Since(Timestamp),
}

impl Waiting {
    /// How long the attempt still has to wait; `None` when it may be taken.
    pub fn left(self, now: Timestamp) -> Option<Duration> {
        match self {
            Self::First => Some(WAIT),
            Self::Since(first) if now < first + WAIT => Some((first + WAIT).since(now).min(WAIT)),
            Self::Since(_) => None,
        }
    }
}

pub trait ClaimWait: Send + Sync {
    /// Claims the place of the first attempt, unless one younger than [`WAIT`] and [`WAIT_WINDOW`] together has it: one
    /// conditional write. Repeated because its reply was lost, it finds its own claim, and the answer is the same wait.
    fn claim_wait(&self, key: &WaitKey, now: Timestamp) -> impl Future<Output = StoreResult<Waiting>> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn the_first_attempt_waits_and_one_within_the_window_does_not() {
        assert_eq!(Waiting::First.left(NOW), Some(WAIT));
        let first = Waiting::Since(NOW);
        assert_eq!(first.left(NOW), Some(WAIT));
        assert_eq!(first.left((NOW + WAIT).minus(Duration::from_millis(1))), Some(Duration::from_millis(1)));
        assert_eq!(first.left(NOW + WAIT), None);
        // Another instance's clock is ahead: nobody waits longer for it.
        assert_eq!(Waiting::Since(NOW + HOUR).left(NOW), Some(WAIT));
    }
}
