//! Reserving and settling attempts.

use std::time::Duration;

use super::{Attempts, Decision, Pool, PoolKey, PoolPolicy, Reserved};
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
    let started = env.now();
    let mut wait = FIRST_WAIT;
    let mut outcome = ports.reserve(&key, operation, policy, started).await?;
    for writes in 1..=MOST_WRITES {
        let pool = match outcome {
            Reserved::Yes(pool) => return Ok(reservation(key, operation, &pool, env.now())),
            // The write that made it was repeated because its reply was lost.
            Reserved::No(pool) if pool.reserved.contains_key(&operation) => {
                return Ok(reservation(key, operation, &pool, env.now()));
            }
            Reserved::No(pool) => pool,
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
            Decision::Admit(next) => ports.replace(&key, pool.version, &next, policy).await?,
            Decision::Locked(retry_after) => return Err(ReserveError::Locked { retry_after }),
            Decision::Shut => return Err(ReserveError::Shut { retry_after: policy.longest_lock }),
            Decision::Busy => {
                if impatient {
                    break;
                }
                env.clock.sleep(jittered(env, wait)?).await;
                wait = wait.saturating_mul(3).div_f32(2.0).min(LONGEST_WAIT);
                ports.reserve(&key, operation, policy, env.now()).await?
            }
        };
    }
    Err(ReserveError::Locked { retry_after: Duration::from_secs(1) })
}

fn reservation(key: PoolKey, operation: OperationId, pool: &Pool, now: Timestamp) -> Reservation {
    Reservation { key, operation, clearing: Clearing::of(pool, now) }
}

/// Between half of `wait` and all of it, so that those who wait do not return together.
fn jittered(env: Env<'_>, wait: Duration) -> Result<Duration, RandomUnavailable> {
    let [byte] = env.random.bytes::<1>()?;
    let half = wait / 2;
    Ok(half + half.saturating_mul(u32::from(byte)) / 255)
}

/// Settles as failed. `true` when this failure locked the pool.
///
/// # Errors
/// Storage. The reservation then expires and counts as failed all the same.
pub async fn settle_failure<P: Attempts>(
    ports: &P,
    env: Env<'_>,
    policy: &PoolPolicy,
    reservation: &Reservation,
) -> StoreResult<bool> {
    let now = env.now();
    let after = ports.settle_failure(&reservation.key, reservation.operation, now).await?;
    Ok(after.is_some_and(|pool| pool.locked_until(policy, now).is_some() || pool.is_shut(policy, now)))
}

/// Settles as succeeded: the pool is clear but for what is in flight.
///
/// # Errors
/// Storage.
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
