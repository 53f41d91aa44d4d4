//! Checking a code: the attempt is reserved first, and taken after.

use futures_util::join;

use super::{Claim, FactorPorts, RecoveryCode, SeedError, matching_step};
use crate::{
    audit::{EventKind, Origin, RecordEvent, SecurityEvent, Subject},
    env::Env,
    ids::{DeviceKey, FactorId, UserId},
    random::RandomUnavailable,
    store::{StoreError, StoreResult},
    throttle::{self, Attempts, PoolKey, PoolPolicy, Reservation, ReserveError},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactorChoice {
    Totp(FactorId),
    RecoveryCode,
}

impl FactorChoice {
    fn pool(self, user: UserId) -> PoolKey {
        match self {
            Self::Totp(factor) => PoolKey::factor(user, factor),
            Self::RecoveryCode => PoolKey::recovery_codes(user),
        }
    }

    fn describe(self) -> String {
        match self {
            Self::Totp(factor) => factor.to_string(),
            Self::RecoveryCode => "recovery".to_owned(),
        }
    }
}

/// Why a code could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error(transparent)]
    Reserve(#[from] ReserveError),
    #[error(transparent)]
    Seed(#[from] SeedError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug)]
pub enum FactorCheck {
    /// The user has no such factor; nothing was counted.
    NotFound,
    /// Wrong; counted.
    Refused { locked_out: bool },
    /// Right. It is still to be taken, and the reservation to be settled.
    Right { claim: Claim, reservation: Box<Reservation> },
}

/// From where a code comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeSource {
    /// A sign-in from a device that the account does not know.
    Stranger,
    /// A sign-in from one that it knows.
    Device(DeviceKey),
    /// A session of this device.
    Session(DeviceKey),
}

impl CodeSource {
    fn device(self) -> Option<DeviceKey> {
        match self {
            Self::Stranger => None,
            Self::Device(device) | Self::Session(device) => Some(device),
        }
    }
}

/// Reserves an attempt at a code: in the pool of the device, where it is known, so that strangers who know a password don't lock
/// the account's own devices out of their second step. A sign-in that finds no room there is counted with the strangers.
///
/// # Errors
/// [`ReserveError`].
pub(crate) async fn reserve_code<P: Attempts>(
    ports: &P,
    env: Env<'_>,
    policy: &PoolPolicy,
    attempt: CodeAttempt<'_>,
) -> Result<Reservation, ReserveError> {
    let CodeAttempt { user, choice, by, .. } = attempt;
    if let CodeSource::Device(device) | CodeSource::Session(device) = by {
        let key = PoolKey::codes_of_device(user, device);
        match throttle::reserve(ports, env, key, &throttle::policy_of_devices(policy)).await {
            Err(ReserveError::Locked { .. } | ReserveError::Shut { .. })
                if by == CodeSource::Device(device) => {}
            reserved => return reserved,
        }
    }
    throttle::reserve(ports, env, choice.pool(user), policy).await
}

/// Who gives a code, and for what.
#[derive(Debug, Clone, Copy)]
pub struct CodeAttempt<'a> {
    pub user: UserId,
    pub choice: FactorChoice,
    pub code: &'a str,
    pub by: CodeSource,
}

/// Checks a code against a confirmed factor, or against the recovery codes.
///
/// # Errors
/// The pool is locked; storage; a seed that can't be opened.
pub async fn check_code<P>(
    ports: &P,
    env: Env<'_>,
    policy: &PoolPolicy,
    attempt: CodeAttempt<'_>,
    origin: &Origin,
) -> Result<FactorCheck, CheckError>
where
    P: FactorPorts + Attempts + RecordEvent,
{
    let CodeAttempt { user, choice, code, .. } = attempt;
    let (candidate, reservation) =
        join!(find(ports, user, choice), reserve_code(ports, env, policy, attempt));
    let reservation = reservation?;
    match candidate {
        Ok(None) => {
            throttle::release(ports, &reservation).await?;
            Ok(FactorCheck::NotFound)
        }
        Ok(Some(candidate)) => match candidate.compare(env, user, code)? {
            Some(claim) => Ok(FactorCheck::Right { claim, reservation: Box::new(reservation) }),
            None => {
                let locked_out = refuse_code(ports, env, attempt, &reservation, origin).await?;
                Ok(FactorCheck::Refused { locked_out })
            }
        },
        Err(error) => {
            throttle::release(ports, &reservation).await?;
            Err(error.into())
        }
    }
}

/// Counts a code as wrong. `true` when this locked the factor's pool.
pub async fn refuse_code<P>(
    ports: &P,
    env: Env<'_>,
    attempt: CodeAttempt<'_>,
    reservation: &Reservation,
    origin: &Origin,
) -> StoreResult<bool>
where
    P: Attempts + RecordEvent,
{
    let CodeAttempt { user, choice, by, .. } = attempt;
    let event = |kind| -> Result<SecurityEvent, RandomUnavailable> {
        Ok(SecurityEvent::new(env.operation()?, env.now(), kind, Subject::User(user), origin)
            .device(by.device())
            .detail(choice.describe()))
    };
    let refused = event(EventKind::FactorRefused)?;
    let (locked, recorded) = join!(throttle::settle_failure(ports, env, reservation), ports.record(&refused));
    recorded?;
    let locked = locked?;
    if locked {
        ports.record(&event(EventKind::FactorLockedOut)?).await?;
    }
    Ok(locked)
}

/// What the code is compared with, once the attempt is reserved.
enum Candidate {
    Totp(Box<super::Factor>),
    RecoveryCodes(super::RecoveryCodes),
}

async fn find<P: FactorPorts>(
    ports: &P,
    user: UserId,
    choice: FactorChoice,
) -> StoreResult<Option<Candidate>> {
    Ok(match choice {
        FactorChoice::Totp(id) => ports
            .factor(user, id)
            .await?
            .filter(|factor| factor.confirmed)
            .map(|factor| Candidate::Totp(Box::new(factor))),
        FactorChoice::RecoveryCode => ports.recovery_codes(user).await?.map(Candidate::RecoveryCodes),
    })
}

impl Candidate {
    fn compare(&self, env: Env<'_>, user: UserId, code: &str) -> Result<Option<Claim>, SeedError> {
        match self {
            Self::Totp(factor) => {
                let seed = factor.seed.open(env.keyring, user, factor.id)?;
                let step = matching_step(&seed, code, env.now(), factor.last_step);
                Ok(step.map(|step| Claim::TotpStep { factor: factor.id, step }))
            }
            Self::RecoveryCodes(codes) => {
                let hash = RecoveryCode::parse(code).map(|code| code.hash(user));
                Ok(hash.filter(|hash| codes.contains(hash)).map(|code| Claim::RecoveryCode { code }))
            }
        }
    }
}
