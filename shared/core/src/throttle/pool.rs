//! A pool of attempts at something guessable.
//!
//! Every attempt is reserved before it is checked, and what is reserved counts as failed until it is settled as a success.
//! So (failed + in flight) never exceeds the limit, in any interleaving and whatever crashes. See docs/decisions/lockout.md.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::{
    clock::Timestamp,
    ids::{AccountKey, DeviceKey, FactorId, OperationId, UserId},
};

/// Names a pool. Strings of stored data stay out of it but for hashes and ids.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolKey(String);

impl PoolKey {
    /// Sign-ins to an account from devices that it does not know.
    pub fn strangers(account: AccountKey) -> Self {
        Self(format!("login#{account}"))
    }

    /// Passwords given within sessions of a release that noted no devices.
    pub fn reauthentication(user: UserId) -> Self {
        Self(format!("reauthentication#{user}"))
    }

    /// Codes of one factor from devices that the account does not know.
    pub fn factor(user: UserId, factor: FactorId) -> Self {
        Self(format!("factor#{user}#{factor}"))
    }

    /// Codes of all kinds from a device that the account knows.
    pub fn codes_of_device(user: UserId, device: DeviceKey) -> Self {
        Self(format!("factor#{user}#{device}"))
    }

    /// Recovery codes of one user from devices that the account does not know.
    pub fn recovery_codes(user: UserId) -> Self {
        Self(format!("factor#{user}#recovery"))
    }
}

impl fmt::Display for PoolKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// When a pool locks, for how long, and when it is shut for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolPolicy {
    /// Attempts before the first lock.
    pub limit: u32,
    /// After this long without an attempt (and without a lock) the attempts so far are forgotten.
    pub window: Duration,
    /// The first lock; each further failure doubles it.
    pub first_lock: Duration,
    pub longest_lock: Duration,
    /// Consecutive failures that shut the pool (NIST SP 800-63B 3.2.2: at most 100).
    pub shut_after: u32,
    /// A reservation that is not settled within this time counts as a failure: whoever made it is gone.
    pub reservation: Duration,
    /// After this long without an attempt a pool is forgotten, consecutive failures included.
    pub memory: Duration,
    /// How long an attempt waits for one of those in flight before it is refused.
    pub patience: Duration,
}

impl Default for PoolPolicy {
    fn default() -> Self {
        Self {
            limit: 5,
            window: Duration::from_secs(15 * 60),
            first_lock: Duration::from_secs(30),
            longest_lock: Duration::from_secs(15 * 60),
            shut_after: 100,
            reservation: Duration::from_secs(10),
            memory: Duration::from_secs(365 * 24 * 60 * 60),
            patience: Duration::from_secs(4),
        }
    }
}

impl PoolPolicy {
    /// The lock after `failed_probes` failures at the end of earlier locks.
    fn lock(&self, failed_probes: u32) -> Duration {
        self.first_lock.saturating_mul(2_u32.saturating_pow(failed_probes)).min(self.longest_lock)
    }
}

/// A pool as it is stored. `used` and `total` count what failed and what is in flight alike.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pool {
    /// Since the last success or the last quiet window.
    pub used: u32,
    /// Since the last success.
    pub total: u32,
    /// Failures at the end of a lock, each of which doubled the next.
    pub probes: u32,
    /// When the last attempt was reserved or failed.
    pub last: Timestamp,
    /// How often the pool was cleared: two successes at once must not both take the same failures off.
    pub cleared: u64,
    /// What is reserved and not settled, with the time when it counts as failed.
    pub reserved: BTreeMap<OperationId, Timestamp>,
    /// Goes up with every write: for compare-and-swap.
    pub version: u64,
}

/// What a pool says to one more attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Room: write this state, provided that nobody wrote before.
    Admit(Pool),
    /// No room now, but attempts in flight may make some.
    Busy,
    /// Locked for this long.
    Locked(Duration),
    /// Shut until a reset, an operator, or a sign-in from a known device.
    Shut,
}

impl Pool {
    pub fn in_flight(&self, now: Timestamp) -> u32 {
        u32::try_from(self.reserved.values().filter(|expires| now < **expires).count()).unwrap_or(u32::MAX)
    }

    /// Failures, reservations that were given up included.
    pub fn failed(&self, now: Timestamp) -> u32 {
        self.used.saturating_sub(self.in_flight(now))
    }

    pub fn failed_in_a_row(&self, now: Timestamp) -> u32 {
        self.total.saturating_sub(self.in_flight(now))
    }

    pub fn is_shut(&self, policy: &PoolPolicy, now: Timestamp) -> bool {
        self.failed_in_a_row(now) >= policy.shut_after
    }

    /// Until when attempts are refused, if they are.
    pub fn locked_until(&self, policy: &PoolPolicy, now: Timestamp) -> Option<Timestamp> {
        let until = self.last + policy.lock(self.probes);
        (self.failed(now) >= policy.limit && now < until).then_some(until)
    }

    /// Whether it holds nothing that counts.
    pub fn is_empty(&self) -> bool {
        self.used == 0 && self.total == 0
    }

    /// Decides about one more attempt, for which the first, unread write found no room.
    pub fn decide(&self, operation: OperationId, policy: &PoolPolicy, now: Timestamp) -> Decision {
        let in_flight = self.in_flight(now);
        if in_flight == 0 && now >= self.last + policy.memory {
            return Self { used: 0, total: 0, probes: 0, ..self.clone() }.admit(operation, policy, now);
        }
        if self.total >= policy.shut_after {
            return if in_flight > 0 { Decision::Busy } else { Decision::Shut };
        }
        let lock = if self.used >= policy.limit { policy.lock(self.probes) } else { Duration::ZERO };
        if in_flight == 0 && now >= self.last + lock + policy.window {
            return Self { used: 0, probes: 0, ..self.clone() }.admit(operation, policy, now);
        }
        if self.used < policy.limit {
            return self.clone().admit(operation, policy, now);
        }
        if in_flight > 0 {
            return Decision::Busy;
        }
        let until = self.last + lock;
        if now < until {
            return Decision::Locked(until.since(now));
        }
        // One attempt at the end of a lock. It takes the place of a failure that is already counted.
        Self { used: self.used.saturating_sub(1), probes: self.probes.saturating_add(1), ..self.clone() }
            .admit(operation, policy, now)
    }

    fn admit(mut self, operation: OperationId, policy: &PoolPolicy, now: Timestamp) -> Decision {
        self.reserved.retain(|_, expires| now < *expires);
        self.reserved.insert(operation, now + policy.reservation);
        self.used = self.used.saturating_add(1);
        self.total = self.total.saturating_add(1);
        self.version = self.version.saturating_add(1);
        self.last = now;
        Decision::Admit(self)
    }
}
