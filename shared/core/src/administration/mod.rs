//! What an operator does to an account.

use std::collections::BTreeSet;

use crate::{
    accounts::{
        Credential, Email, Epoch, LoginRecord, LoginRecords, Password, PasswordError, PasswordHasher,
        Profile, Status,
    },
    audit::{EventKind, Origin, SecurityEvent, Subject},
    env::Env,
    flags::Reason,
    ids::{DeviceKey, FactorId, UserId},
    mfa::{Factor, ManageFactors},
    random::RandomUnavailable,
    sessions::{DeviceAttempts, ReadSessions, UserSessions},
    store::{StoreError, StoreResult},
    throttle::{Attempts, Pool, PoolKey},
};

/// An account to create: its address counts as confirmed, since an operator vouches for it.
#[derive(Debug)]
pub struct NewAccount {
    pub email: Email,
    pub password: Password,
}

#[derive(Debug, thiserror::Error)]
pub enum AdministrationError {
    #[error("there is an account with this address already")]
    Exists,
    #[error("there is no account with this address")]
    NotFound,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error(transparent)]
    Random(#[from] RandomUnavailable),
}

/// An account's items, to be written together.
#[derive(Debug)]
pub struct CreateAccount<'a> {
    pub record: &'a LoginRecord,
    pub profile: &'a Profile,
    pub event: &'a SecurityEvent,
}

/// All second factors of an account, to be removed together.
#[derive(Debug)]
pub struct FactorReset<'a> {
    /// The record as it was read: of its epoch, and with as many factors.
    pub before: &'a LoginRecord,
    /// The record without factors, under the new epoch.
    pub after: &'a LoginRecord,
    /// The items to remove, [`MOST_AT_ONCE`] at most: confirmed factors, which must all be there still, and others.
    pub factors: &'a [Factor],
    pub event: &'a SecurityEvent,
}

/// Factors that one reset removes: a transaction of DynamoDB has 100 parts, some of which are not factors.
pub const MOST_AT_ONCE: usize = 90;

pub trait ManageAccounts: Send + Sync {
    /// `false` when the address is taken.
    fn create(&self, account: CreateAccount<'_>) -> impl Future<Output = StoreResult<bool>> + Send;

    /// Writes `after` in place of `before`, ends all sessions under the new epoch, and writes the event: one transaction.
    /// `false` when the record has changed since `before` was read.
    fn change(
        &self,
        before: &LoginRecord,
        after: &LoginRecord,
        event: &SecurityEvent,
    ) -> impl Future<Output = StoreResult<bool>> + Send;

    /// Removes factors and recovery codes, ends all sessions under the new epoch, and writes the event: one transaction.
    /// `false` when the record, or a confirmed factor, has changed since it was read.
    fn reset_factors(&self, reset: &FactorReset<'_>) -> impl Future<Output = StoreResult<bool>> + Send;
}

/// # Errors
/// [`AdministrationError::Exists`], storage.
pub async fn create_account<P: ManageAccounts>(
    ports: &P,
    env: Env<'_>,
    hasher: &PasswordHasher,
    new: NewAccount,
    origin: &Origin,
) -> Result<UserId, AdministrationError> {
    let user = UserId::generate(env.random)?;
    let record = LoginRecord {
        email: new.email.clone(),
        user,
        credential: Credential::Password(hasher.hash(&new.password, env.keyring, env.random)?),
        status: Status::Active,
        verified: true,
        epoch: Epoch::default(),
        factors: Vec::new(),
        recovery_codes: false,
    };
    let profile = Profile { user, email: new.email, created_at: env.now(), enrolling: None };
    let event = event(env, EventKind::AccountCreated, user, origin)?;
    if ports.create(CreateAccount { record: &record, profile: &profile, event: &event }).await? {
        Ok(user)
    } else {
        Err(AdministrationError::Exists)
    }
}

/// Disables or enables an account. Disabling ends its sessions; so does enabling, which finds none.
///
/// # Errors
/// [`AdministrationError::NotFound`], storage.
pub async fn set_status<P: ManageAccounts + LoginRecords>(
    ports: &P,
    env: Env<'_>,
    email: &Email,
    status: Status,
    origin: &Origin,
) -> Result<(), AdministrationError> {
    let kind = match status {
        Status::Active => EventKind::AccountEnabled,
        Status::Disabled => EventKind::AccountDisabled,
    };
    change(ports, env, email, Cause::of(kind, origin), |record| record.status = status).await
}

/// Sets a password, ends all sessions, and opens the pools of password attempts again: this is the reset that a pool which
/// was shut waits for. Factors keep their pools.
///
/// # Errors
/// [`AdministrationError::NotFound`], storage.
pub async fn set_password<P>(
    ports: &P,
    env: Env<'_>,
    hasher: &PasswordHasher,
    email: &Email,
    password: &Password,
    origin: &Origin,
) -> Result<(), AdministrationError>
where
    P: ManageAccounts + LoginRecords + Attempts,
{
    let record = ports.login_record(email).await?.ok_or(AdministrationError::NotFound)?;
    let hash = hasher.hash(password, env.keyring, env.random)?;
    change(ports, env, email, Cause::of(EventKind::PasswordSet, origin), |record| {
        record.credential = Credential::Password(hash.clone());
    })
    .await?;
    // Those of devices went with their sessions.
    for pool in [PoolKey::strangers(email.account_key()), PoolKey::reauthentication(record.user)] {
        ports.forget(&pool).await?;
    }
    Ok(())
}

/// Makes the password unusable until an operator sets another, and ends all sessions: for a password that somebody else may
/// know. Its hash is gone, so that not even a mistake lets it in again. `false`, and nothing is changed, where there is none.
///
/// # Errors
/// [`AdministrationError::NotFound`], storage.
pub async fn force_reset<P: ManageAccounts + LoginRecords>(
    ports: &P,
    env: Env<'_>,
    email: &Email,
    reason: Option<&Reason>,
    origin: &Origin,
) -> Result<bool, AdministrationError> {
    let record = ports.login_record(email).await?.ok_or(AdministrationError::NotFound)?;
    if record.credential == Credential::None {
        return Ok(false);
    }
    let cause = Cause { kind: EventKind::PasswordResetForced, reason, origin };
    change(ports, env, email, cause, |record| record.credential = Credential::None).await?;
    Ok(true)
}

/// Removes all second factors and the recovery codes, ends all sessions and every sign-in that is under way, and opens the
/// pools of attempts at codes again: for an owner who has lost them all. `false`, and nothing is changed, where there are none.
///
/// # Errors
/// [`AdministrationError::NotFound`], storage.
pub async fn reset_factors<P>(
    ports: &P,
    env: Env<'_>,
    email: &Email,
    origin: &Origin,
) -> Result<bool, AdministrationError>
where
    P: ManageAccounts + LoginRecords + ManageFactors + ReadSessions + Attempts,
{
    let mut changed = false;
    let mut devices = BTreeSet::new();
    for _ in 0..TRIES {
        let before = ports.login_record(email).await?.ok_or(AdministrationError::NotFound)?;
        let mut factors = ports.factors(before.user).await?;
        if factors.is_empty() && before.factors.is_empty() && !before.recovery_codes {
            return Ok(changed);
        }
        // Before the sessions end, and the devices with them.
        devices.extend(ports.sessions(before.user).await?.device_keys());
        // Confirmed ones first: those that are left for another round let nobody in.
        factors.sort_by_key(|factor| (!factor.confirmed, factor.id));
        let all = factors.len() <= MOST_AT_ONCE;
        factors.truncate(MOST_AT_ONCE);
        let mut after = before.clone();
        (after.factors, after.recovery_codes, after.epoch) = (Vec::new(), false, before.epoch.next());
        let mut event = event(env, EventKind::FactorsReset, before.user, origin)?;
        let ids: Vec<_> = factors.iter().map(|factor| factor.id.to_string()).collect();
        event.detail = Some(ids.join(" ")).filter(|ids| !ids.is_empty());
        let reset = FactorReset { before: &before, after: &after, factors: &factors, event: &event };
        if !ports.reset_factors(&reset).await? {
            continue;
        }
        changed = true;
        for factor in &factors {
            ports.forget(&PoolKey::factor(before.user, factor.id)).await?;
        }
        if all {
            ports.forget(&PoolKey::recovery_codes(before.user)).await?;
            for device in devices {
                ports.forget(&PoolKey::codes_of_device(before.user, device)).await?;
            }
            return Ok(true);
        }
    }
    Err(StoreError::Contended { operation: "reset factors" }.into())
}

/// Ends all sessions, and every sign-in that is under way.
///
/// # Errors
/// [`AdministrationError::NotFound`], storage.
pub async fn revoke_sessions<P: ManageAccounts + LoginRecords>(
    ports: &P,
    env: Env<'_>,
    email: &Email,
    origin: &Origin,
) -> Result<(), AdministrationError> {
    change(ports, env, email, Cause::of(EventKind::SessionsRevoked, origin), |_| ()).await
}

/// Forgets the failed attempts of an account: strangers', its known devices', its factors'.
///
/// # Errors
/// [`AdministrationError::NotFound`], storage.
pub async fn unlock<P>(
    ports: &P,
    env: Env<'_>,
    email: &Email,
    origin: &Origin,
) -> Result<(), AdministrationError>
where
    P: LoginRecords + ReadSessions + ManageFactors + Attempts + DeviceAttempts + crate::audit::RecordEvent,
{
    let record = ports.login_record(email).await?.ok_or(AdministrationError::NotFound)?;
    let (held, factors) = (ports.sessions(record.user).await?, ports.factors(record.user).await?);
    let mut devices = Vec::new();
    for (_, pool) in pools(&record, &held, &factors) {
        match pool {
            AccountPool::Stored(key) => ports.forget(&key).await?,
            AccountPool::OfDevice(device, pool) if pool.version > 0 => devices.push((device, pool)),
            AccountPool::OfDevice(..) => {}
        }
    }
    if !devices.is_empty() {
        ports.clear_devices(record.user, &devices).await?;
    }
    if held.strangers_shut {
        ports.note_strangers_shut(record.user, false).await?;
    }
    let event = event(env, EventKind::AccountUnlocked, record.user, origin)?;
    Ok(ports.record(&event).await?)
}

/// What is attempted in a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempted {
    SignInFromUnknownDevices,
    /// Sign-ins and reauthentications.
    PasswordFromDevice(DeviceKey),
    Reauthentication,
    CodesOf(FactorId),
    RecoveryCodes,
    CodesFromDevice(DeviceKey),
}

impl Attempted {
    /// Whether attempts that find no room go on in another pool.
    pub const fn gives_way(self) -> bool {
        matches!(self, Self::PasswordFromDevice(_) | Self::CodesFromDevice(_))
    }
}

/// Where a pool of an account is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountPool {
    /// An item of the Throttle table.
    Stored(PoolKey),
    /// A part of the sessions' item, as it was read.
    OfDevice(DeviceKey, Pool),
}

/// All pools in which attempts at an account are counted: no other can refuse its owner. Devices are those that the account
/// knows and those of its sessions; `factors` are all of its factors, unconfirmed ones included.
pub fn pools(record: &LoginRecord, held: &UserSessions, factors: &[Factor]) -> Vec<(Attempted, AccountPool)> {
    let (account, user) = (record.email.account_key(), record.user);
    let stored = |attempted, key| (attempted, AccountPool::Stored(key));
    let mut pools = vec![
        stored(Attempted::SignInFromUnknownDevices, PoolKey::strangers(account)),
        stored(Attempted::Reauthentication, PoolKey::reauthentication(user)),
        stored(Attempted::RecoveryCodes, PoolKey::recovery_codes(user)),
    ];
    let factors: BTreeSet<_> =
        record.factors.iter().map(|factor| factor.id).chain(factors.iter().map(|factor| factor.id)).collect();
    pools.extend(factors.into_iter().map(|id| stored(Attempted::CodesOf(id), PoolKey::factor(user, id))));
    for device in held.device_keys() {
        let pool = held.device(device).map(|device| device.pool.clone()).unwrap_or_default();
        pools.push((Attempted::PasswordFromDevice(device), AccountPool::OfDevice(device, pool)));
        let codes = PoolKey::codes_of_device(user, device);
        pools.push(stored(Attempted::CodesFromDevice(device), codes));
    }
    pools
}

/// What the event of a change says.
#[derive(Clone, Copy)]
struct Cause<'a> {
    kind: EventKind,
    reason: Option<&'a Reason>,
    origin: &'a Origin,
}

impl<'a> Cause<'a> {
    const fn of(kind: EventKind, origin: &'a Origin) -> Self {
        Self { kind, reason: None, origin }
    }
}

/// How often a change is tried anew when somebody else changes the same account.
const TRIES: usize = 5;

async fn change<P: ManageAccounts + LoginRecords>(
    ports: &P,
    env: Env<'_>,
    email: &Email,
    cause: Cause<'_>,
    apply: impl Fn(&mut LoginRecord),
) -> Result<(), AdministrationError> {
    for _ in 0..TRIES {
        let before = ports.login_record(email).await?.ok_or(AdministrationError::NotFound)?;
        let mut after = before.clone();
        apply(&mut after);
        after.epoch = before.epoch.next();
        let mut event = event(env, cause.kind, before.user, cause.origin)?;
        event.detail = cause.reason.map(ToString::to_string);
        if ports.change(&before, &after, &event).await? {
            return Ok(());
        }
    }
    Err(StoreError::Contended { operation: "change account" }.into())
}

fn event(
    env: Env<'_>,
    kind: EventKind,
    user: UserId,
    origin: &Origin,
) -> Result<SecurityEvent, RandomUnavailable> {
    Ok(SecurityEvent::new(env.operation()?, env.now(), kind, Subject::User(user), origin))
}
