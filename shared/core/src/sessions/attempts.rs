//! Attempts of devices that an account knows: each has its pool in the item of the user's sessions.

use super::{Added, Session, UserSessions};
use crate::{
    audit::SecurityEvent,
    clock::Timestamp,
    env::Env,
    ids::{AccountKey, DeviceKey, OperationId, UserId},
    store::StoreResult,
    throttle::{
        AddressLimit, Attempts, BucketState, Clearing, Device, DeviceAttempt, KnownDevice, Place, Pool,
        PoolKey, PoolPolicy, ReopenPool, Reservation, ReserveError, Settled, Stranger, Tried, claim,
        policy_of_devices, release, settle_success,
    },
};

/// What became of a reservation in a device's pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceReserved {
    /// It stands; the item after it.
    Yes(UserSessions),
    /// The condition did not hold; the item as it is, `None` when there is none.
    No(Option<UserSessions>),
}

/// The success of an attempt of a known device, and the session that begins with it, if one does.
#[derive(Debug)]
pub struct DeviceSuccess<'a> {
    pub of: KnownDevice,
    pub operation: OperationId,
    /// The item as the reservation showed it.
    pub seen: &'a UserSessions,
    pub clearing: &'a Clearing,
    /// Whether it counts as a use of the device: an attempt that is given back does not.
    pub counts: bool,
    pub session: Option<&'a Session>,
    pub now: Timestamp,
}

/// Attempts of known devices, in the item of the user's sessions. Each call is one conditional write, but where said
/// otherwise.
pub trait DeviceAttempts: Send + Sync {
    /// Reserves an attempt where the epoch is the device's, the account knows the device, and its pool and its budget have
    /// room: without reading the item first.
    fn reserve_device(
        &self,
        attempt: &DeviceAttempt,
        now: Timestamp,
    ) -> impl Future<Output = StoreResult<DeviceReserved>> + Send;

    /// Writes `next` in place of `seen` where the pool is still at that version, the epoch the device's, and the device known.
    fn replace_device(
        &self,
        attempt: &DeviceAttempt,
        seen: &Pool,
        next: &Pool,
    ) -> impl Future<Output = StoreResult<DeviceReserved>> + Send;

    /// As [`Attempts::settle_failure`].
    fn settle_device_failure(
        &self,
        of: KnownDevice,
        operation: OperationId,
        now: Timestamp,
    ) -> impl Future<Output = StoreResult<Option<Pool>>> + Send;

    /// As [`Attempts::settle_success`] and [`super::AddSession::add_session`] in one. Where others came in between
    /// it takes up to three writes more; whatever became of the reservation, the session is added under its epoch.
    fn settle_device_success(
        &self,
        success: &DeviceSuccess<'_>,
    ) -> impl Future<Output = StoreResult<Added>> + Send;

    /// Forgets the failures of these devices' pools.
    fn clear_devices(
        &self,
        user: UserId,
        devices: &[(DeviceKey, Pool)],
    ) -> impl Future<Output = StoreResult<()>> + Send;

    /// Notes that the strangers' pool is shut, for the next sign-in of a known device, which reads this item and not that
    /// pool. A user who never signed in has no known device, and nothing is noted.
    fn note_strangers_shut(&self, user: UserId, shut: bool) -> impl Future<Output = StoreResult<()>> + Send;
}

struct AtDevice<'a, P> {
    ports: &'a P,
    env: Env<'a>,
    attempt: DeviceAttempt,
}

impl<P> AtDevice<'_, P> {
    fn tried(&self, reserved: DeviceReserved) -> Tried<UserSessions> {
        let (reserved, held) = match reserved {
            DeviceReserved::Yes(held) => (true, held),
            DeviceReserved::No(Some(held)) => (false, held),
            DeviceReserved::No(None) => return Tried::Nowhere(Stranger::EpochPassed),
        };
        let device = held.device(self.attempt.key());
        let pool = device.map(|device| device.pool.clone()).unwrap_or_default();
        if reserved || pool.reserved.contains_key(&self.attempt.operation) {
            return Tried::Yes(held, pool);
        }
        if held.epoch != self.attempt.of.epoch {
            return Tried::Nowhere(Stranger::EpochPassed);
        }
        match device.and_then(|device| device.known) {
            None => Tried::Nowhere(Stranger::Unknown),
            Some(used) if self.attempt.has_room(used, self.env.now()) => Tried::No(held, pool),
            Some(_) => Tried::Nowhere(Stranger::MinuteUsedUp),
        }
    }
}

impl<P: DeviceAttempts> Place for AtDevice<'_, P> {
    type Shown = UserSessions;

    fn policy(&self) -> &PoolPolicy {
        &self.attempt.policy
    }

    async fn reserve(&self, now: Timestamp) -> StoreResult<Tried<UserSessions>> {
        self.ports.reserve_device(&self.attempt, now).await.map(|reserved| self.tried(reserved))
    }

    async fn replace(&self, seen: &Pool, next: &Pool) -> StoreResult<Tried<UserSessions>> {
        self.ports.replace_device(&self.attempt, seen, next).await.map(|reserved| self.tried(reserved))
    }
}

/// An attempt of a known device. It must be settled; one that is not counts as failed.
#[derive(Debug, Clone)]
pub struct DeviceReservation {
    pub of: KnownDevice,
    pub operation: OperationId,
    pub policy: PoolPolicy,
    pub clearing: Clearing,
    /// The item as the reservation showed it.
    pub seen: UserSessions,
}

/// As [`crate::throttle::reserve`], in the pool of a device, or why it is a stranger. Without a `budget` its minute does not
/// count: whoever holds a session of it must not find another pool by using it up.
///
/// # Errors
/// [`ReserveError`].
pub async fn reserve_for_device<P: DeviceAttempts>(
    ports: &P,
    env: Env<'_>,
    of: KnownDevice,
    policy: &PoolPolicy,
    budget: Option<&AddressLimit>,
) -> Result<Result<DeviceReservation, Stranger>, ReserveError> {
    let operation = env.operation()?;
    let attempt = DeviceAttempt { of, operation, policy: policy_of_devices(policy), budget: budget.copied() };
    let claimed = claim(&AtDevice { ports, env, attempt }, env, operation).await?;
    Ok(claimed.map(|(seen, pool)| {
        let clearing = Clearing::of(&pool, env.now());
        DeviceReservation { of, operation, policy: attempt.policy, clearing, seen }
    }))
}

impl DeviceReservation {
    fn device(&self) -> Option<&Device> {
        self.seen.device(self.of.device.key())
    }

    /// What the device has left of its minute.
    pub fn budget(&self, limit: &AddressLimit, now: Timestamp) -> Option<BucketState> {
        self.device().and_then(|device| device.known).map(|used| used.budget(limit, now))
    }

    pub fn generation(&self) -> u32 {
        self.device().map_or(0, |device| device.generation.number)
    }

    /// Settles as failed.
    ///
    /// # Errors
    /// As [`settle_failure`].
    pub async fn fail<P: DeviceAttempts>(&self, ports: &P, env: Env<'_>) -> StoreResult<Settled> {
        let now = env.now();
        let after = ports.settle_device_failure(self.of, self.operation, now).await?;
        Ok(Settled::of(after.as_ref(), &self.policy, now))
    }

    /// Settles as succeeded, and adds the session that begins with it.
    pub async fn succeed<P: DeviceAttempts>(
        &self,
        ports: &P,
        env: Env<'_>,
        session: Option<&Session>,
    ) -> StoreResult<Added> {
        let Self { of, operation, clearing, seen, .. } = self;
        let success = DeviceSuccess {
            of: *of,
            operation: *operation,
            seen,
            clearing,
            counts: true,
            session,
            now: env.now(),
        };
        ports.settle_device_success(&success).await
    }

    /// Gives the attempt back: nothing was checked.
    ///
    /// # Errors
    /// Storage. The reservation then expires and counts as failed.
    pub async fn release<P: DeviceAttempts>(&self, ports: &P, env: Env<'_>) -> StoreResult<()> {
        let Self { of, operation, seen, .. } = self;
        let success = DeviceSuccess {
            of: *of,
            operation: *operation,
            seen,
            clearing: &Clearing::default(),
            counts: false,
            session: None,
            now: env.now(),
        };
        ports.settle_device_success(&success).await.map(drop)
    }
}

/// An attempt at a password, wherever it is counted.
#[derive(Debug, Clone)]
pub enum PasswordAttempt {
    OfDevice(Box<DeviceReservation>),
    InPool(Reservation),
}

impl PasswordAttempt {
    /// The known device whose attempt it is.
    pub fn device(&self) -> Option<DeviceKey> {
        match self {
            Self::OfDevice(reservation) => Some(reservation.of.device.key()),
            Self::InPool(_) => None,
        }
    }

    /// # Errors
    /// As [`settle_failure`].
    pub async fn fail<P: Attempts + DeviceAttempts>(&self, ports: &P, env: Env<'_>) -> StoreResult<Settled> {
        match self {
            Self::OfDevice(reservation) => reservation.fail(ports, env).await,
            Self::InPool(reservation) => reservation.fail(ports, env).await,
        }
    }

    /// # Errors
    /// As [`settle_success`].
    pub async fn succeed<P: Attempts + DeviceAttempts>(&self, ports: &P, env: Env<'_>) -> StoreResult<()> {
        match self {
            Self::OfDevice(reservation) => reservation.succeed(ports, env, None).await.map(drop),
            Self::InPool(reservation) => settle_success(ports, reservation).await,
        }
    }

    /// # Errors
    /// As [`release`].
    pub async fn release<P: Attempts + DeviceAttempts>(&self, ports: &P, env: Env<'_>) -> StoreResult<()> {
        match self {
            Self::OfDevice(reservation) => reservation.release(ports, env).await,
            Self::InPool(reservation) => release(ports, reservation).await,
        }
    }
}

/// Re-opens the strangers' pool after a sign-in from a known device, when it was noted to be shut for good.
pub(crate) async fn reopen<P: Attempts + ReopenPool + DeviceAttempts>(
    ports: &P,
    env: Env<'_>,
    policy: &PoolPolicy,
    user: UserId,
    account: AccountKey,
    noted: bool,
    event: &SecurityEvent,
) -> StoreResult<()> {
    if !noted {
        return Ok(());
    }
    let key = PoolKey::strangers(account);
    if let Some(pool) = ports.pool(&key).await?.filter(|pool| pool.is_shut(policy, env.now())) {
        ports.reopen(&key, pool.version, event).await?;
    }
    ports.note_strangers_shut(user, false).await
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;
    use crate::{
        accounts::Epoch,
        ids::DeviceId,
        testing::{
            interleaving::{Counting, ManualClock},
            keyring::keyring,
        },
        throttle::DeviceUse,
    };

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
    const LIMIT: AddressLimit = AddressLimit { requests: 3, window: Duration::from_secs(60) };

    /// What an item that refused the attempt says of it.
    fn told(held: Option<UserSessions>, budget: Option<AddressLimit>) -> Result<(), Stranger> {
        let (clock, random, keyring) = (ManualClock::at(NOW), Counting::of(1), keyring());
        let env = Env { clock: &clock, random: &random, keyring: &keyring };
        let of = KnownDevice {
            user: UserId::from_bytes([1; 16]),
            device: DeviceId::from_bytes([4; 16]),
            epoch: Epoch(7),
        };
        let operation = OperationId::from_bytes([3; 16]);
        let attempt = DeviceAttempt { of, operation, policy: PoolPolicy::default(), budget };
        match (AtDevice { ports: &(), env, attempt }).tried(DeviceReserved::No(held)) {
            Tried::Nowhere(reason) => Err(reason),
            Tried::Yes(..) | Tried::No(..) => Ok(()),
        }
    }

    fn item(epoch: u64, known: Option<DeviceUse>) -> Option<UserSessions> {
        let device = Device { known, ..Device::default() };
        let devices = BTreeMap::from([(DeviceId::from_bytes([4; 16]).key(), device)]);
        Some(UserSessions { epoch: Epoch(epoch), devices, ..UserSessions::default() })
    }

    #[test]
    fn why_a_device_is_a_stranger_is_told_apart() {
        let (fresh, full) = (DeviceUse::first(NOW), DeviceUse::first(NOW).again(NOW).again(NOW));
        for (held, budget, expected) in [
            (None, Some(LIMIT), Err(Stranger::EpochPassed)),
            (item(8, Some(fresh)), Some(LIMIT), Err(Stranger::EpochPassed)),
            (item(8, None), None, Err(Stranger::EpochPassed)),
            (item(7, None), Some(LIMIT), Err(Stranger::Unknown)),
            (item(7, None), None, Err(Stranger::Unknown)),
            (item(7, Some(full)), Some(LIMIT), Err(Stranger::MinuteUsedUp)),
            (item(7, Some(full)), None, Ok(())),
            (item(7, Some(fresh)), Some(LIMIT), Ok(())),
        ] {
            assert_eq!(told(held.clone(), budget), expected, "{held:?} {budget:?}");
        }
    }
}
