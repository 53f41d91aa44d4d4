//! Devices that an account knows: they stand in the item of the user's sessions, each with a pool of its own.
//!
//! A device's pool never refuses anybody. Who finds no room in it is counted with the strangers, whatever token they hold: so
//! somebody who copied a device token can shut its pool, and its owner is no worse off than without a token.

use std::time::Duration;

use super::{AddressLimit, BucketState, Pool, PoolPolicy};
use crate::{
    accounts::Epoch,
    clock::Timestamp,
    ids::{DeviceId, DeviceKey, OperationId, UserId},
};

/// Devices that an account knows at most, live sessions' included, unless it has more sessions than that. With
/// [`DEVICE_SHUT_AFTER`] it bounds the guesses of whoever holds device tokens, however many.
pub const MOST_DEVICES: usize = 12;

/// Consecutive failures after which a device is a stranger until it signs in as one.
pub const DEVICE_SHUT_AFTER: u32 = 20;

/// A device as its token, or its session, names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownDevice {
    pub user: UserId,
    pub device: DeviceId,
    /// Under which it became known.
    pub epoch: Epoch,
}

/// Why a device is counted with the strangers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stranger {
    /// What it became known under was ended: its sessions were too.
    EpochPassed,
    /// The account does not know it.
    Unknown,
    /// Its minute is used up.
    MinuteUsedUp,
}

/// What is kept of a device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Device {
    /// `None` where the account does not know it: then only its generation is kept, for a session of an earlier release.
    pub known: Option<DeviceUse>,
    /// How often a refresh was repeated by its token after the grace, and when last.
    pub generation: Generation,
    /// Its attempts at the password.
    pub pool: Pool,
}

/// A repeat by device token puts the generation up, so that it works once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Generation {
    pub number: u32,
    /// The counter of the refresh token that the last repeat was answered with.
    pub counter: u32,
}

/// When a device signed in last, and how often in that minute: the least recently used gives way, and nobody signs in
/// more often than an address may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceUse(u64);

impl DeviceUse {
    /// A number of ten digits takes six bytes. 2020-01-01.
    const SINCE: u64 = 1_577_836_800;
    const MINUTE: u64 = 60;
    /// Sign-ins that are told apart within a minute.
    const MOST: u64 = 1_000;

    const fn minute_of(now: Timestamp) -> u64 {
        now.seconds().saturating_sub(Self::SINCE) / Self::MINUTE
    }

    const fn new(minute: u64, sign_ins: u64) -> Self {
        Self(minute * Self::MOST + sign_ins)
    }

    /// A first sign-in.
    pub const fn first(now: Timestamp) -> Self {
        Self::new(Self::minute_of(now), 1)
    }

    /// One sign-in more.
    #[must_use]
    pub fn again(self, now: Timestamp) -> Self {
        // Another instance's clock may be a little ahead.
        if self.0 / Self::MOST < Self::minute_of(now) {
            return Self::first(now);
        }
        if self.0 % Self::MOST == Self::MOST - 1 { self } else { Self(self.0 + 1) }
    }

    pub const fn stored(self) -> u64 {
        self.0
    }

    pub const fn from_stored(stored: u64) -> Self {
        Self(stored)
    }

    /// From this value on until [`DeviceUse::later`], the budget of this minute is used up.
    pub fn full(limit: &AddressLimit, now: Timestamp) -> u64 {
        Self::minute_of(now) * Self::MOST + limit.requests.min(Self::MOST - 1)
    }

    /// The values of later minutes.
    pub const fn later(now: Timestamp) -> u64 {
        (Self::minute_of(now) + 1) * Self::MOST
    }

    pub fn has_room(self, limit: &AddressLimit, now: Timestamp) -> bool {
        self.0 < Self::full(limit, now) || self.0 >= Self::later(now)
    }

    /// What the device has left of its minute when this attempt is counted.
    pub fn budget(self, limit: &AddressLimit, now: Timestamp) -> BucketState {
        let minute = Self::minute_of(now);
        let before = if self.0 / Self::MOST == minute { self.0 % Self::MOST } else { 0 };
        let ends = Timestamp::from_seconds(Self::SINCE + (minute + 1) * Self::MINUTE);
        let limit = AddressLimit { window: Duration::from_secs(Self::MINUTE), ..*limit };
        limit.state(before + 1, ends, now)
    }
}

/// An attempt of a known device, to be reserved.
#[derive(Debug, Clone, Copy)]
pub struct DeviceAttempt {
    pub of: KnownDevice,
    pub operation: OperationId,
    pub policy: PoolPolicy,
    /// `None`: whatever is left of its minute.
    pub budget: Option<AddressLimit>,
}

impl DeviceAttempt {
    pub fn key(&self) -> DeviceKey {
        self.of.device.key()
    }

    /// As [`DeviceUse::full`].
    pub fn full(&self, now: Timestamp) -> u64 {
        self.budget.as_ref().map_or_else(|| DeviceUse::later(now), |limit| DeviceUse::full(limit, now))
    }

    pub fn has_room(&self, used: DeviceUse, now: Timestamp) -> bool {
        self.budget.is_none_or(|limit| used.has_room(&limit, now))
    }
}

/// The rules of a device's pool: who finds no room in it need not wait for long, since there is another.
pub(crate) fn policy_of_devices(policy: &PoolPolicy) -> PoolPolicy {
    PoolPolicy {
        shut_after: policy.shut_after.min(DEVICE_SHUT_AFTER),
        patience: policy.patience / 2,
        ..*policy
    }
}
