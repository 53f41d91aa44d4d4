//! What an operator does to an account.

use std::collections::BTreeSet;

use super::{Credential, Email, LoginRecord, Password, PasswordError, PasswordHasher, Profile, Status};
use crate::{
    audit::{EventKind, Origin, SecurityEvent, Subject},
    env::Env,
    flags::Reason,
    ids::{DeviceId, FactorId, UserId},
    login::LoginRecords,
    mfa::{Factor, ManageFactors},
    random::RandomUnavailable,
    sessions::{ReadSessions, UserSessions},
    store::{StoreError, StoreResult},
    throttle::{Attempts, PoolKey},
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
        epoch: super::Epoch::default(),
        factors: Vec::new(),
        recovery_codes: false,
    };
    let profile = Profile { user, email: new.email, created_at: env.now() };
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
    P: ManageAccounts + LoginRecords + ReadSessions + Attempts,
{
    let record = ports.login_record(email).await?.ok_or(AdministrationError::NotFound)?;
    // Before the sessions end, since they name the devices.
    let held = ports.sessions(record.user).await?;
    let hash = hasher.hash(password, env.keyring, env.random)?;
    change(ports, env, email, Cause::of(EventKind::PasswordSet, origin), |record| {
        record.credential = Credential::Password(hash.clone());
    })
    .await?;
    for (attempted, pool) in pools(&record, &held) {
        if attempted.takes_password() {
            ports.forget(&pool).await?;
        }
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
    P: ManageAccounts + LoginRecords + ManageFactors + Attempts,
{
    let mut changed = false;
    for _ in 0..TRIES {
        let before = ports.login_record(email).await?.ok_or(AdministrationError::NotFound)?;
        let mut factors = ports.factors(before.user).await?;
        if factors.is_empty() && before.factors.is_empty() && !before.recovery_codes {
            return Ok(changed);
        }
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
            return Ok(true);
        }
    }
    Err(StoreError::Unavailable { operation: "reset factors", reason: "contention".to_owned() }.into())
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
    P: LoginRecords + ReadSessions + Attempts + crate::audit::RecordEvent,
{
    let record = ports.login_record(email).await?.ok_or(AdministrationError::NotFound)?;
    let held = ports.sessions(record.user).await?;
    for (_, pool) in pools(&record, &held) {
        ports.forget(&pool).await?;
    }
    let event = event(env, EventKind::AccountUnlocked, record.user, origin)?;
    Ok(ports.record(&event).await?)
}

/// What is attempted in a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempted {
    SignInFromUnknownDevices,
    SignInFromDevice(DeviceId),
    Reauthentication,
    CodesOf(FactorId),
    RecoveryCodes,
}

impl Attempted {
    const fn takes_password(self) -> bool {
        matches!(self, Self::SignInFromUnknownDevices | Self::SignInFromDevice(_) | Self::Reauthentication)
    }
}

/// All pools in which an account can be locked out. Devices are those of its sessions: a device that is signed out is not
/// found, and its pool locks nobody but itself.
pub fn pools(record: &LoginRecord, held: &UserSessions) -> Vec<(Attempted, PoolKey)> {
    let account = record.email.account_key();
    let mut pools = vec![
        (Attempted::SignInFromUnknownDevices, PoolKey::strangers(account)),
        (Attempted::Reauthentication, PoolKey::reauthentication(record.user)),
        (Attempted::RecoveryCodes, PoolKey::recovery_codes(record.user)),
    ];
    pools.extend(
        record
            .factors
            .iter()
            .map(|factor| (Attempted::CodesOf(factor.id), PoolKey::factor(record.user, factor.id))),
    );
    let devices: BTreeSet<_> = held.sessions.iter().map(|session| session.device).collect();
    pools.extend(
        devices
            .into_iter()
            .map(|device| (Attempted::SignInFromDevice(device), PoolKey::known_device(account, device))),
    );
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
    Err(StoreError::Unavailable { operation: "change account", reason: "contention".to_owned() }.into())
}

fn event(
    env: Env<'_>,
    kind: EventKind,
    user: UserId,
    origin: &Origin,
) -> Result<SecurityEvent, RandomUnavailable> {
    Ok(SecurityEvent::new(env.operation()?, env.now(), kind, Subject::User(user), origin))
}
