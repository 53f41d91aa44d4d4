//! Enrolling, confirming, listing and removing factors.

use std::time::Duration;

use futures_util::join;

use super::{
    Confirmation, Enrolled, Enrolling, Factor, FactorChange, MOST_FACTORS, MOST_REPLACED, ManagePorts,
    RecoveryCode, RecoveryCodes, Removal, Seed, SeedError, enrolment, matching_step,
};
use crate::{
    accounts::Email,
    audit::{EventKind, Origin, SecurityEvent, Subject},
    env::Env,
    ids::{DeviceKey, FactorId, UserId},
    random::RandomUnavailable,
    rules::Rules,
    sessions::{Caller, CallerError},
    store::{StoreError, StoreResult},
    throttle::{self, ReserveError},
};

#[derive(Debug, thiserror::Error)]
pub enum ManageError {
    #[error(transparent)]
    Caller(#[from] CallerError),
    #[error("no such factor")]
    FactorNotFound,
    #[error("no more factors fit")]
    FactorLimitReached,
    #[error("the factor is confirmed already")]
    AlreadyConfirmed,
    #[error("the account has no factor")]
    NoFactor,
    #[error("the code is not valid")]
    InvalidCode,
    #[error("too many attempts")]
    TooManyAttempts { retry_after: Duration },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Seed(#[from] SeedError),
    #[error("enrolment failed: {0}")]
    Enrolment(String),
    #[error(transparent)]
    Random(#[from] RandomUnavailable),
}

impl From<ReserveError> for ManageError {
    fn from(error: ReserveError) -> Self {
        match error {
            ReserveError::Locked { retry_after } | ReserveError::Shut { retry_after } => {
                Self::TooManyAttempts { retry_after }
            }
            ReserveError::Store(error) => Self::Store(error),
            ReserveError::Random(error) => Self::Random(error),
        }
    }
}

/// A user's factors, as the user sees them.
#[derive(Debug)]
pub struct FactorList {
    pub factors: Vec<Factor>,
    pub recovery_codes: usize,
}

/// A factor that waits for its first code.
#[derive(Debug)]
pub struct Enrolment {
    pub factor: FactorId,
    pub shown: Enrolled,
}

/// What every change of factors begins with: a live session, a recent authentication, and what there is.
struct Opening {
    factors: Vec<Factor>,
    email: Email,
    /// The session's.
    device: DeviceKey,
    /// The factor that waits for its first code, if there is one, and if the release before did not add it.
    enrolling: Option<FactorId>,
}

/// How often a change is tried anew when another one comes in between.
const TRIES: usize = 3;

/// Enrolments wait for one another: of so many at once each comes through.
const ENROLMENT_TRIES: usize = 6;

impl Opening {
    fn confirmed(&self) -> usize {
        self.factors.iter().filter(|factor| factor.confirmed).count()
    }

    /// What gives way to a new enrolment: the factor that the profile names, which another enrolment may have added after the
    /// factors were read, and others that wait.
    fn replaced(&self) -> Vec<FactorId> {
        let confirmed = |id: FactorId| self.factors.iter().any(|factor| factor.id == id && factor.confirmed);
        let named = self.enrolling.filter(|id| !confirmed(*id));
        let others = self.factors.iter().filter(|factor| !factor.confirmed && Some(factor.id) != named);
        named.into_iter().chain(others.map(|factor| factor.id)).take(MOST_REPLACED).collect()
    }

    fn find(&self, id: FactorId) -> Result<&Factor, ManageError> {
        self.factors.iter().find(|factor| factor.id == id).ok_or(ManageError::FactorNotFound)
    }
}

async fn open<P: ManagePorts>(ports: &P, env: Env<'_>, caller: &Caller) -> Result<Opening, ManageError> {
    let (session, factors, profile) =
        join!(caller.check_session(ports, env), ports.factors(caller.user), ports.profile(caller.user));
    let session = session?;
    let factors = factors?;
    caller.require_recent(env.now(), factors.iter().any(|factor| factor.confirmed))?;
    let profile = profile?.ok_or(CallerError::InvalidToken)?;
    Ok(Opening { factors, email: profile.email, device: session.device.key(), enrolling: profile.enrolling })
}

/// # Errors
/// [`ManageError`].
pub async fn list_factors<P: ManagePorts>(
    ports: &P,
    env: Env<'_>,
    caller: Caller,
) -> Result<FactorList, ManageError> {
    let (opening, codes) = join!(open(ports, env, &caller), ports.recovery_codes(caller.user));
    let mut factors = opening?.factors;
    factors.sort_by_key(|factor| factor.created_at);
    Ok(FactorList { factors, recovery_codes: codes?.map_or(0, |codes| codes.left.len()) })
}

/// Adds an unconfirmed factor, in place of any other unconfirmed one, and shows its secret: this once.
///
/// # Errors
/// [`ManageError`].
pub async fn enrol_totp<P: ManagePorts>(
    ports: &P,
    env: Env<'_>,
    caller: Caller,
    issuer: &str,
    label: Option<&str>,
    origin: &Origin,
) -> Result<Enrolment, ManageError> {
    let seed = Seed::generate(env.random)?;
    let id = FactorId::generate(env.random)?;
    let factor = Factor {
        user: caller.user,
        id,
        label: label.unwrap_or("Authenticator app").to_owned(),
        seed: seed.seal(env.keyring, env.random, caller.user, id)?,
        confirmed: false,
        last_step: None,
        created_at: env.now(),
        last_used_at: None,
    };
    let event = event(env, EventKind::TotpEnrolled, caller.user, origin)?.detail(id.to_string());
    for _ in 0..ENROLMENT_TRIES {
        let opening = open(ports, env, &caller).await?;
        if opening.confirmed() >= MOST_FACTORS {
            return Err(ManageError::FactorLimitReached);
        }
        let replaced = opening.replaced();
        let enrolling =
            Enrolling { factor: &factor, seen: opening.enrolling, replaced: &replaced, event: &event };
        if ports.add_factor(&enrolling).await? == FactorChange::Done {
            let shown = enrolment(&seed, issuer, opening.email.as_str()).map_err(ManageError::Enrolment)?;
            return Ok(Enrolment { factor: id, shown });
        }
    }
    Err(contention("add factor"))
}

/// What became of a first code.
#[derive(Debug)]
pub struct ConfirmAnswer {
    /// Whether this attempt locked the factor.
    pub locked_out: bool,
    /// The recovery codes, when these are the account's first.
    pub outcome: Result<Vec<RecoveryCode>, ManageError>,
}

/// Confirms a factor with its first code: a guess like one at a sign-in.
pub async fn confirm_totp<P: ManagePorts>(
    ports: &P,
    env: Env<'_>,
    rules: &Rules,
    caller: Caller,
    id: FactorId,
    code: &str,
    origin: &Origin,
) -> ConfirmAnswer {
    let mut locked_out = false;
    let outcome = check_first_code(ports, env, rules, caller, id, code, origin, &mut locked_out).await;
    ConfirmAnswer { locked_out, outcome }
}

#[expect(clippy::too_many_arguments, reason = "what a check needs, and where it tells what it did")]
async fn check_first_code<P: ManagePorts>(
    ports: &P,
    env: Env<'_>,
    rules: &Rules,
    caller: Caller,
    id: FactorId,
    code: &str,
    origin: &Origin,
    locked_out: &mut bool,
) -> Result<Vec<RecoveryCode>, ManageError> {
    let policy = &rules.pool;
    let opening = open(ports, env, &caller).await?;
    if let Some(retry_after) = rules.flags.account_wait(opening.email.account_key(), policy, env.now()) {
        return Err(ManageError::TooManyAttempts { retry_after });
    }
    let factor = opening.find(id)?;
    if factor.confirmed {
        return Err(ManageError::AlreadyConfirmed);
    }
    let attempt = super::CodeAttempt {
        user: caller.user,
        choice: super::FactorChoice::Totp(id),
        code,
        by: super::CodeSource::Session(opening.device),
    };
    let reservation = super::reserve_code(ports, env, policy, attempt).await?;
    let seed = factor.seed.open(env.keyring, caller.user, id)?;
    let Some(step) = matching_step(&seed, code, env.now(), factor.last_step) else {
        *locked_out = super::refuse_code(ports, env, attempt, &reservation, origin).await?;
        return Err(ManageError::InvalidCode);
    };
    let outcome = confirm(ports, env, caller, opening, id, step, origin).await;
    // Whoever enrols a factor knows its codes: they prove nothing of the others, whose failures stay in the device's pool.
    let settled = throttle::release(ports, &reservation).await;
    let shown = outcome?;
    settled?;
    Ok(shown)
}

/// Confirms a factor whose code was right.
async fn confirm<P: ManagePorts>(
    ports: &P,
    env: Env<'_>,
    caller: Caller,
    mut opening: Opening,
    id: FactorId,
    step: u64,
    origin: &Origin,
) -> Result<Vec<RecoveryCode>, ManageError> {
    let confirmed = event(env, EventKind::TotpConfirmed, caller.user, origin)?.detail(id.to_string());
    let issued = event(env, EventKind::RecoveryCodesIssued, caller.user, origin)?;
    for _ in 0..TRIES {
        let (factor, seen) = (opening.find(id)?, opening.confirmed());
        if factor.confirmed {
            return Err(ManageError::AlreadyConfirmed);
        }
        if seen >= MOST_FACTORS {
            return Err(ManageError::FactorLimitReached);
        }
        // The first factor brings them, and the last takes them along.
        let mut events = vec![confirmed.clone()];
        let (shown, codes) = if seen == 0 {
            events.push(issued.clone());
            issue_codes(env, caller.user).map(|(shown, codes)| (shown, Some(codes)))?
        } else {
            (Vec::new(), None)
        };
        let confirmation = Confirmation {
            factor,
            email: &opening.email,
            step,
            seen,
            recovery_codes: codes.as_ref(),
            events: &events,
            now: env.now(),
        };
        if ports.confirm_factor(&confirmation).await? == FactorChange::Done {
            return Ok(shown);
        }
        opening = open(ports, env, &caller).await?;
    }
    Err(contention("confirm factor"))
}

/// # Errors
/// [`ManageError`].
pub async fn remove_factor<P: ManagePorts>(
    ports: &P,
    env: Env<'_>,
    caller: Caller,
    id: FactorId,
    origin: &Origin,
) -> Result<(), ManageError> {
    let event = event(env, EventKind::FactorRemoved, caller.user, origin)?.detail(id.to_string());
    for _ in 0..TRIES {
        let opening = open(ports, env, &caller).await?;
        let (factor, seen) = (opening.find(id)?, opening.confirmed());
        let last = seen == usize::from(factor.confirmed);
        let (user, email) = (caller.user, &opening.email);
        let removal = Removal { user, email, factor: id, seen, last, event: &event };
        match ports.remove_factor(&removal).await? {
            FactorChange::Done => return Ok(()),
            FactorChange::Gone => return Err(ManageError::FactorNotFound),
            FactorChange::Overtaken => {}
        }
    }
    Err(contention("remove factor"))
}

/// Issues ten new recovery codes in place of those that are left.
///
/// # Errors
/// [`ManageError`].
pub async fn regenerate_recovery_codes<P: ManagePorts>(
    ports: &P,
    env: Env<'_>,
    caller: Caller,
    origin: &Origin,
) -> Result<Vec<RecoveryCode>, ManageError> {
    let (shown, codes) = issue_codes(env, caller.user)?;
    let event = event(env, EventKind::RecoveryCodesIssued, caller.user, origin)?;
    for _ in 0..TRIES {
        let opening = open(ports, env, &caller).await?;
        let seen = opening.confirmed();
        if seen == 0 {
            return Err(ManageError::NoFactor);
        }
        let changed = ports.replace_recovery_codes(&opening.email, seen, &codes, &event).await?;
        if changed == FactorChange::Done {
            return Ok(shown);
        }
    }
    Err(contention("replace recovery codes"))
}

fn contention(operation: &'static str) -> ManageError {
    StoreError::Contended { operation }.into()
}

fn issue_codes(env: Env<'_>, user: UserId) -> Result<(Vec<RecoveryCode>, RecoveryCodes), RandomUnavailable> {
    let shown = (0..RecoveryCode::COUNT)
        .map(|_| RecoveryCode::generate(env.random))
        .collect::<Result<Vec<_>, _>>()?;
    let left = shown.iter().map(|code| code.hash(user)).collect();
    Ok((shown, RecoveryCodes { user, left, issued_at: env.now() }))
}

fn event(env: Env<'_>, kind: EventKind, user: UserId, origin: &Origin) -> StoreResult<SecurityEvent> {
    let id = env.operation()?;
    Ok(SecurityEvent::new(id, env.now(), kind, Subject::User(user), origin))
}
