//! Reserving and settling attempts.

use std::time::Duration;

use super::{Attempts, Decision, Pool, PoolKey, PoolPolicy, Reserved, Stranger};
use crate::{
    clock::Timestamp,
    env::Env,
    ids::OperationId,
    random::RandomUnavailable,
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
    pub(crate) fn of(pool: &Pool, now: Timestamp) -> Self {
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
pub(crate) trait Place: Sync {
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

pub(crate) enum Tried<S> {
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

/// What somebody is told who lost every race: try again at once.
const LOST: Duration = Duration::from_secs(1);

pub(crate) async fn claim<L: Place>(
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
    pub(crate) fn of(pool: Option<&Pool>, policy: &PoolPolicy, now: Timestamp) -> Self {
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
