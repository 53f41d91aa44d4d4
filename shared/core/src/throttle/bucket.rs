//! The budget of an address: requests in a fixed window.

use std::time::Duration;

use crate::{address::ClientAddress, clock::Timestamp};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressLimit {
    pub requests: u64,
    pub window: Duration,
}

impl Default for AddressLimit {
    fn default() -> Self {
        Self { requests: 100, window: Duration::from_secs(60) }
    }
}

/// A budget after this request was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketState {
    pub limit: AddressLimit,
    /// This request included.
    pub used: u64,
    /// Seconds, rounded up: never 0.
    pub resets_in: u64,
}

impl BucketState {
    pub fn is_exhausted(&self) -> bool {
        self.used > self.limit.requests
    }

    pub fn remaining(&self) -> u64 {
        self.limit.requests.saturating_sub(self.used)
    }

    /// Whether half of the budget is used: others may use up the rest before this process hears of it.
    pub fn is_scarce(&self) -> bool {
        self.remaining() <= self.limit.requests / 2
    }
}

impl AddressLimit {
    /// The counter of this window, and when the window ends. Addresses start their windows at different times, so that not
    /// all of them end at once.
    pub fn window_of(&self, address: ClientAddress, now: Timestamp) -> (String, Timestamp) {
        let bucket = address.bucket();
        let length = u64::try_from(self.window.as_millis()).unwrap_or(u64::MAX).max(1);
        let offset = u64::from(crc32fast::hash(bucket.as_bytes())) % length;
        let index = (now.millis() + offset) / length;
        let ends = Timestamp::from_millis((index + 1) * length - offset);
        (format!("address#{bucket}#{index}"), ends)
    }

    pub fn state(&self, used: u64, ends: Timestamp, now: Timestamp) -> BucketState {
        let wait = ends.since(now);
        let resets_in = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        BucketState { limit: *self, used, resets_in: resets_in.max(1) }
    }
}
