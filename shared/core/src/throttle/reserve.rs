//! Reserving and settling attempts.

use std::time::Duration;

use super::{
    AddressLimit, Attempts, BucketState, Decision, Device, DeviceAttempt, DeviceAttempts, DeviceReserved,
    DeviceSuccess, KnownDevice, Pool, PoolKey, PoolPolicy, Reserved, Stranger, device::policy_of_devices,
};
use crate::{
    clock::Timestamp,
    env::Env,
    ids::{DeviceKey, OperationId},
    random::RandomUnavailable,
    sessions::{Added, Session, UserSessions},
    store::{StoreError, StoreResult},
};

/// An attempt that may be checked now. It must be settled; one that is not counts as failed.
#[derive(Debug, Clone)]
pub struct Reservation {
    pub key: PoolKey,
    pub operation: OperationId,
    /// The rules of its pool.
    pub policy: PoolPolicy,
    /// What a success takes off the pool.
    pub clearing: Clearing,
}

/// What a success takes with it: the failures that the pool showed when the attempt was reserved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Clearing {
    pub used: u32,
    pub total: u32,
    pub probes: u32,
    /// [`Pool::cleared`] as it was shown: another success may have taken the failures off since.
    pub cleared: u64,
    /// Reservations that were given up.
    pub expired: Vec<OperationId>,
}

impl Clearing {
    fn of(pool: &Pool, now: Timestamp) -> Self {
        Self {
            used: pool.failed(now),
            total: pool.failed_in_a_row(now),
            probes: pool.probes,
            cleared: pool.cleared,
            expired: pool
                .reserved
                .iter()
                .filter(|(_, expires)| now >= **expires)
                .map(|(id, _)| *id)
                .collect(),
        }
    }

    /// Whether there is nothing to take off but the attempt itself.
    pub fn is_empty(&self) -> bool {
        self.used == 0 && self.total == 0 && self.probes == 0 && self.expired.is_empty()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReserveError {
    /// No attempt for this long.
    #[error("too many attempts")]
    Locked { retry_after: Duration },
    /// No attempt until something re-opens the pool.
    #[error("the pool is shut")]
    Shut { retry_after: Duration },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Random(#[from] RandomUnavailable),
}

/// Waits between tries while the pool is busy: short first, since an attempt is over in a few tens of milliseconds.
const FIRST_WAIT: Duration = Duration::from_millis(15);
const LONGEST_WAIT: Duration = Duration::from_millis(250);

/// The promise of a ceiling on writes: this many conditional writes an attempt, at most.
const MOST_WRITES: u32 = 40;

/// Where attempts are counted.
trait Place: Sync {
    /// What a write shows.
    type Shown: Send;

    fn policy(&self) -> &PoolPolicy;

    fn reserve(&self, now: Timestamp) -> impl Future<Output = StoreResult<Tried<Self::Shown>>> + Send;

    /// With compare-and-swap.
    fn replace(
        &self,
        seen: &Pool,
        next: &Pool,
    ) -> impl Future<Output = StoreResult<Tried<Self::Shown>>> + Send;
}

enum Tried<S> {
    Yes(S, Pool),
    No(S, Pool),
    /// There is no place for this attempt.
    Nowhere(Stranger),
}

struct InPool<'a, P> {
    ports: &'a P,
    key: &'a PoolKey,
    operation: OperationId,
    policy: &'a PoolPolicy,
}

impl From<Reserved> for Tried<()> {
    fn from(reserved: Reserved) -> Self {
        match reserved {
            Reserved::Yes(pool) => Self::Yes((), pool),
            Reserved::No(pool) => Self::No((), pool),
        }
    }
}

impl<P: Attempts> Place for InPool<'_, P> {
    type Shown = ();

    fn policy(&self) -> &PoolPolicy {
        self.policy
    }

    async fn reserve(&self, now: Timestamp) -> StoreResult<Tried<()>> {
        self.ports.reserve(self.key, self.operation, self.policy, now).await.map(Tried::from)
    }

    async fn replace(&self, seen: &Pool, next: &Pool) -> StoreResult<Tried<()>> {
        self.ports.replace(self.key, seen.version, next, self.policy).await.map(Tried::from)
    }
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

/// Claims an attempt before anything is checked.
///
/// The first write decides without reading in the usual case. Where it finds no room, what it was shown is decided on by
/// [`Pool::decide`] and written with compare-and-swap. While others are in flight it waits for them, so that a burst of valid
/// attempts passes. Both end with the policy's patience.
///
/// # Errors
/// [`ReserveError`].
pub async fn reserve<P: Attempts>(
    ports: &P,
    env: Env<'_>,
    key: PoolKey,
    policy: &PoolPolicy,
) -> Result<Reservation, ReserveError> {
    let operation = env.operation()?;
    let place = InPool { ports, key: &key, operation, policy };
    match claim(&place, env, operation).await? {
        Ok(((), pool)) => {
            Ok(Reservation { clearing: Clearing::of(&pool, env.now()), key, operation, policy: *policy })
        }
        // A pool of the Throttle table is there for whoever asks.
        Err(_) => Err(ReserveError::Locked { retry_after: LOST }),
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

/// As [`reserve`], in the pool of a device, or why it is a stranger. Without a `budget` its minute does not count: whoever holds
/// a session of it must not find another pool by using it up.
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

/// What somebody is told who lost every race: try again at once.
const LOST: Duration = Duration::from_secs(1);

async fn claim<L: Place>(
    place: &L,
    env: Env<'_>,
    operation: OperationId,
) -> Result<Result<(L::Shown, Pool), Stranger>, ReserveError> {
    let policy = place.policy();
    let started = env.now();
    let mut wait = FIRST_WAIT;
    let mut outcome = place.reserve(started).await?;
    for writes in 1..=MOST_WRITES {
        let pool = match outcome {
            Tried::Yes(shown, pool) => return Ok(Ok((shown, pool))),
            // The write that made it was repeated because its reply was lost.
            Tried::No(shown, pool) if pool.reserved.contains_key(&operation) => {
                return Ok(Ok((shown, pool)));
            }
            Tried::No(_, pool) => pool,
            Tried::Nowhere(reason) => return Ok(Err(reason)),
        };
        // Only here, where it is known that the last of them did not win.
        if writes == MOST_WRITES {
            break;
        }
        let now = env.now();
        let impatient = now.since(started) >= policy.patience;
        outcome = match pool.decide(operation, policy, now) {
            // Others keep coming first, or answers are late. The first look counts whatever the patience.
            Decision::Admit(_) if impatient && writes > 1 => break,
            Decision::Admit(next) => place.replace(&pool, &next).await?,
            Decision::Locked(retry_after) => return Err(ReserveError::Locked { retry_after }),
            Decision::Shut => return Err(ReserveError::Shut { retry_after: policy.longest_lock }),
            Decision::Busy => {
                if impatient {
                    break;
                }
                env.clock.sleep(jittered(env, wait)?).await;
                wait = wait.saturating_mul(3).div_f32(2.0).min(LONGEST_WAIT);
                place.reserve(env.now()).await?
            }
        };
    }
    Err(ReserveError::Locked { retry_after: LOST })
}

/// Between half of `wait` and all of it, so that those who wait do not return together.
fn jittered(env: Env<'_>, wait: Duration) -> Result<Duration, RandomUnavailable> {
    let [byte] = env.random.bytes::<1>()?;
    let half = wait / 2;
    Ok(half + half.saturating_mul(u32::from(byte)) / 255)
}

/// What a failure made of its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settled {
    pub locked: bool,
    pub shut: bool,
}

impl Settled {
    fn of(pool: Option<&Pool>, policy: &PoolPolicy, now: Timestamp) -> Self {
        pool.map_or_else(Self::default, |pool| Self {
            locked: pool.locked_until(policy, now).is_some(),
            shut: pool.is_shut(policy, now),
        })
    }

    /// Whether the next attempt is refused.
    pub const fn refuses(self) -> bool {
        self.locked || self.shut
    }
}

/// Settles as failed. `true` when this failure locked the pool.
///
/// # Errors
/// Storage. The reservation then expires and counts as failed all the same.
pub async fn settle_failure<P: Attempts>(
    ports: &P,
    env: Env<'_>,
    reservation: &Reservation,
) -> StoreResult<bool> {
    reservation.fail(ports, env).await.map(Settled::refuses)
}

impl Reservation {
    /// Settles as failed.
    ///
    /// # Errors
    /// As [`settle_failure`].
    pub async fn fail<P: Attempts>(&self, ports: &P, env: Env<'_>) -> StoreResult<Settled> {
        let now = env.now();
        let after = ports.settle_failure(&self.key, self.operation, now).await?;
        Ok(Settled::of(after.as_ref(), &self.policy, now))
    }
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

/// Settles as succeeded: the pool is clear but for what is in flight.
pub async fn settle_success<P: Attempts>(ports: &P, reservation: &Reservation) -> StoreResult<()> {
    ports.settle_success(&reservation.key, reservation.operation, &reservation.clearing).await
}

/// Gives the attempt back: nothing was checked.
///
/// # Errors
/// Storage. The reservation then expires and counts as failed.
pub async fn release<P: Attempts>(ports: &P, reservation: &Reservation) -> StoreResult<()> {
    ports.settle_success(&reservation.key, reservation.operation, &Clearing::default()).await
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        accounts::Epoch,
        ids::{DeviceId, UserId},
        interleaving::{Counting, ManualClock},
        keyring::tests::keyring,
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
