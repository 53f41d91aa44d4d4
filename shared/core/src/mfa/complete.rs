//! The second half of a sign-in.

use std::time::Duration;

use futures_util::join;

use super::{
    CheckError, CodeAttempt, CodeSource, CompletePorts, Completed, Completion, FactorCheck, FactorChoice,
    SeedError, SignInCompletion, check_code, refuse_code,
};
use crate::{
    audit::{EventKind, Origin, SecurityEvent, Subject},
    env::Env,
    random::RandomUnavailable,
    rules::Rules,
    sessions::{Grant, Methods, NewSession, ReadSessions, UserSessions, displaced_event, grant, reopen},
    store::StoreError,
    throttle::{self, BucketState, ReserveError},
    tokens::{DeviceBound, DeviceToken, MFA_LIFETIME, MfaClaims, TokenError, issue_device_token},
};

#[derive(Debug)]
pub struct CompleteCommand<'a> {
    pub claims: MfaClaims,
    pub choice: FactorChoice,
    pub code: &'a str,
    pub origin: &'a Origin,
}

#[derive(Debug, thiserror::Error)]
pub enum CompleteError {
    /// Spent.
    #[error("the MFA token is not valid")]
    InvalidToken,
    /// The password was changed since, the account disabled, or everything signed out.
    #[error("the MFA token is of another epoch")]
    Overtaken,
    #[error("the code is not valid")]
    InvalidCode,
    #[error("no such factor")]
    FactorNotFound,
    #[error("too many attempts")]
    TooManyAttempts { retry_after: Duration },
    #[error("too many requests from this address")]
    AddressExhausted { retry_after: Duration },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Seed(#[from] SeedError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Random(#[from] RandomUnavailable),
}

impl From<ReserveError> for CompleteError {
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

impl From<CheckError> for CompleteError {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Reserve(error) => error.into(),
            CheckError::Seed(error) => Self::Seed(error),
            CheckError::Store(error) => Self::Store(error),
        }
    }
}

#[derive(Debug)]
pub struct CompleteAnswer {
    pub bucket: Option<BucketState>,
    pub locked_out: bool,
    pub outcome: Result<Grant, CompleteError>,
}

/// Completes a sign-in with a code: the code is taken, the MFA token spent, the session added, in one transaction.
pub async fn complete_sign_in<P: CompletePorts>(
    ports: &P,
    env: Env<'_>,
    rules: &Rules,
    command: CompleteCommand<'_>,
) -> CompleteAnswer {
    let mut answer =
        CompleteAnswer { bucket: None, locked_out: false, outcome: Err(CompleteError::InvalidToken) };
    answer.outcome = run(ports, env, rules, command, &mut answer).await;
    answer
}

/// Whether the sign-in behind a token can still be completed; what sessions its user has. Before an attempt is reserved: a token
/// that leads nowhere any more must neither use up the owner's attempts nor tell right codes from wrong ones.
///
/// # Errors
/// [`CompleteError::InvalidToken`], [`CompleteError::Overtaken`], storage.
pub async fn check_pending<P>(ports: &P, claims: &MfaClaims) -> Result<UserSessions, CompleteError>
where
    P: ReadSessions + SignInCompletion,
{
    let (held, spent) = join!(ports.sessions(claims.user), ports.is_spent(claims.id));
    let held = held?;
    if spent? {
        return Err(CompleteError::InvalidToken);
    }
    // Where the user has no item yet nothing has passed.
    if claims.epoch < held.epoch {
        return Err(CompleteError::Overtaken);
    }
    Ok(held)
}

async fn run<P: CompletePorts>(
    ports: &P,
    env: Env<'_>,
    rules: &Rules,
    command: CompleteCommand<'_>,
    answer: &mut CompleteAnswer,
) -> Result<Grant, CompleteError> {
    let CompleteCommand { claims, choice, code, origin } = command;
    let user = claims.user;
    let (bucket, held) =
        join!(ports.count(origin.address, &rules.address, env.now()), check_pending(ports, &claims));
    let bucket = bucket?;
    answer.bucket = Some(bucket);
    if bucket.is_exhausted() {
        return Err(CompleteError::AddressExhausted { retry_after: Duration::from_secs(bucket.resets_in) });
    }
    if let Some(retry_after) = rules.flags.account_wait(claims.account, &rules.pool, env.now()) {
        return Err(CompleteError::TooManyAttempts { retry_after });
    }
    let held = held?;

    let device = claims.device.key();
    let by = if claims.known_device { CodeSource::Device(device) } else { CodeSource::Stranger };
    let attempt = CodeAttempt { user, choice, code, by };
    let checked = check_code(ports, env, &rules.pool, attempt, origin).await;
    let (claim, reservation) = match checked? {
        FactorCheck::NotFound => return Err(CompleteError::FactorNotFound),
        FactorCheck::Refused { locked_out } => {
            answer.locked_out = locked_out;
            return Err(CompleteError::InvalidCode);
        }
        FactorCheck::Right { claim, reservation } => (claim, reservation),
    };

    let methods = match choice {
        FactorChoice::Totp(_) => Methods::PASSWORD.with(Methods::OTP),
        FactorChoice::RecoveryCode => Methods::PASSWORD.with(Methods::RECOVERY_CODE),
    };
    let new = NewSession { user, device: claims.device, methods, delivery: claims.delivery, origin };
    let session = new.build(env, &rules.sessions)?;
    let surplus = held.surplus(&session, rules.sessions.limit, env.now());
    let mut events =
        vec![event(env, EventKind::SignedIn, &claims, origin)?.session(session.id).device(device)];
    if choice == FactorChoice::RecoveryCode {
        events.push(event(env, EventKind::RecoveryCodeUsed, &claims, origin)?.session(session.id));
    }
    if !surplus.displaced.is_empty() {
        events.push(displaced_event(env, user, &surplus.displaced, origin)?);
    }
    let completed = ports
        .complete(&Completion {
            user,
            epoch: claims.epoch,
            claim: &claim,
            token: claims.id,
            token_until: claims.issued_at + MFA_LIFETIME,
            session: &session,
            surplus: &surplus,
            events: &events,
            now: env.now(),
        })
        .await?;
    match completed {
        Completed::Yes => {}
        Completed::CodeTaken => {
            answer.locked_out = refuse_code(ports, env, attempt, &reservation, origin).await?;
            return Err(CompleteError::InvalidCode);
        }
        refused @ (Completed::TokenSpent | Completed::EpochPassed) => {
            throttle::release(ports, &reservation).await?;
            return Err(if refused == Completed::EpochPassed {
                CompleteError::Overtaken
            } else {
                CompleteError::InvalidToken
            });
        }
    }
    let reopened = event(env, EventKind::PoolReopened, &claims, origin)?;
    let (settled, reopened) = join!(
        throttle::settle_success(ports, &reservation),
        reopen(
            ports,
            env,
            &rules.pool,
            user,
            claims.account,
            claims.known_device && held.strangers_shut,
            &reopened
        ),
    );
    settled.and(reopened)?;
    let mut granted = grant(env, &rules.audience, user, session)?;
    let generation = held.device(device).map_or(0, |device| device.generation.number);
    let token = DeviceToken {
        device: claims.device,
        account: claims.account,
        issued_at: env.now(),
        bound: Some(DeviceBound { user, epoch: claims.epoch, generation }),
    };
    granted.device_token = Some(issue_device_token(env.keyring, &token));
    Ok(granted)
}

fn event(
    env: Env<'_>,
    kind: EventKind,
    claims: &MfaClaims,
    origin: &Origin,
) -> Result<SecurityEvent, RandomUnavailable> {
    Ok(SecurityEvent::new(env.operation()?, env.now(), kind, Subject::User(claims.user), origin))
}
