//! The pools of attempts of one account: where it can be locked out, and whether it is.

use sallyport_core::{
    accounts::LoginRecord,
    administration::{self, AccountPool, Attempted},
    clock::Timestamp,
    mfa::ManageFactors as _,
    sessions::UserSessions,
    throttle::{Attempts as _, DEVICE_SHUT_AFTER, Pool, PoolPolicy},
};
use serde::Serialize;

use crate::{deployment::Deployment, failure::Failure};

/// A pool that was read.
#[derive(Debug, Serialize)]
pub(crate) struct PoolReport {
    /// What is attempted, for people.
    pub(crate) attempts: String,
    /// Key of the item in the Throttle table, or the device whose attributes of the sessions' item it is.
    pub(crate) key: String,
    /// Whether attempts that it refuses are counted with the strangers': then it refuses nobody.
    pub(crate) gives_way: bool,
    pub(crate) state: PoolState,
    /// Since the last success or quiet window.
    pub(crate) failed: u32,
    /// Since the last success.
    pub(crate) failed_in_a_row: u32,
    /// Epoch seconds.
    pub(crate) locked_until: Option<u64>,
    #[serde(skip)]
    pub(crate) until: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PoolState {
    Open,
    Locked,
    Shut,
}

impl PoolState {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Locked => "locked",
            Self::Shut => "shut",
        }
    }
}

impl PoolReport {
    fn of(attempted: Attempted, key: String, pool: &Pool, policy: &PoolPolicy, now: Timestamp) -> Self {
        let gives_way = attempted.gives_way();
        let policy = &PoolPolicy {
            shut_after: if gives_way { DEVICE_SHUT_AFTER } else { policy.shut_after },
            ..*policy
        };
        let until = pool.locked_until(policy, now);
        let state = if pool.is_shut(policy, now) {
            PoolState::Shut
        } else if until.is_some() {
            PoolState::Locked
        } else {
            PoolState::Open
        };
        Self {
            attempts: words(attempted),
            key,
            gives_way,
            state,
            failed: pool.failed(now),
            failed_in_a_row: pool.failed_in_a_row(now),
            locked_until: until.map(Timestamp::seconds),
            until,
        }
    }
}

/// The pools that hold anything, and so whatever `user unlock` would forget.
pub(crate) async fn read(
    deployment: &Deployment,
    record: &LoginRecord,
    held: &UserSessions,
) -> Result<Vec<PoolReport>, Failure> {
    read_all(deployment, all(deployment, record, held).await?, &PoolPolicy::default()).await
}

/// All pools of an account.
pub(crate) async fn all(
    deployment: &Deployment,
    record: &LoginRecord,
    held: &UserSessions,
) -> Result<Vec<(Attempted, AccountPool)>, Failure> {
    let factors = deployment.store.factors(record.user).await?;
    Ok(administration::pools(record, held, &factors))
}

/// Those of `pools` that hold anything, under the limits of `policy`.
pub(crate) async fn read_all(
    deployment: &Deployment,
    pools: Vec<(Attempted, AccountPool)>,
    policy: &PoolPolicy,
) -> Result<Vec<PoolReport>, Failure> {
    let mut found = Vec::new();
    for (attempted, pool) in pools {
        let (key, pool) = match pool {
            AccountPool::Stored(key) => (key.to_string(), deployment.store.pool(&key).await?),
            AccountPool::OfDevice(device, pool) => (device.to_string(), Some(pool)),
        };
        if let Some(pool) = pool {
            let report = PoolReport::of(attempted, key, &pool, policy, deployment.now());
            if report.failed_in_a_row > 0 || report.failed > 0 {
                found.push(report);
            }
        }
    }
    Ok(found)
}

fn words(attempted: Attempted) -> String {
    match attempted {
        Attempted::SignInFromUnknownDevices => "sign-in from unknown devices".to_owned(),
        Attempted::PasswordFromDevice(device) => format!("password from {device}"),
        Attempted::Reauthentication => "password when signed in".to_owned(),
        Attempted::CodesOf(factor) => format!("codes of {factor}"),
        Attempted::RecoveryCodes => "recovery codes".to_owned(),
        Attempted::CodesFromDevice(device) => format!("codes from {device}"),
    }
}

#[cfg(test)]
mod tests {
    use sallyport_core::ids::DeviceId;

    use super::*;

    fn report(pool: &Pool, now: Timestamp) -> PoolReport {
        let attempted = Attempted::SignInFromUnknownDevices;
        PoolReport::of(attempted, "login#".to_owned(), pool, &PoolPolicy::default(), now)
    }

    #[test]
    fn a_pool_is_open_then_locked_then_shut() {
        let now = Timestamp::from_seconds(1_000_000);
        let pool = |used, total| Pool { used, total, last: now, ..Pool::default() };
        assert_eq!(report(&pool(4, 4), now).state, PoolState::Open);
        let locked = report(&pool(5, 5), now);
        assert_eq!((locked.state, locked.locked_until), (PoolState::Locked, Some(1_000_030)));
        assert_eq!(report(&pool(5, 100), now).state, PoolState::Shut);
        let device = Attempted::PasswordFromDevice(DeviceId::from_bytes([1; 16]).key());
        let of_device =
            |pool| PoolReport::of(device, String::new(), &pool, &PoolPolicy::default(), now).state;
        assert_eq!((of_device(pool(5, 19)), of_device(pool(5, 20))), (PoolState::Locked, PoolState::Shut));
    }
}
