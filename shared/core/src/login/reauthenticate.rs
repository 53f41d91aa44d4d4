//! Proving oneself again within a session, for what needs a recent authentication.

use std::time::Duration;

use futures_util::join;

use super::{ReauthenticationPorts, Restamp};
use crate::{
    accounts::{Credential, Epoch, Password, PasswordError, PasswordHasher, Verification},
    audit::{EventKind, Origin, SecurityEvent, Subject},
    clock::Timestamp,
    env::Env,
    ids::{FactorId, UserId},
    mfa::{self, CodeAttempt, CodeSource, FactorCheck, FactorChoice},
    random::RandomUnavailable,
    rules::Rules,
    sessions::{self, Caller, Grant, Methods, PasswordAttempt, Rotation, RotationRequest, Session, grant},
    store::{StoreError, StoreResult},
    throttle::{self, BucketState, KnownDevice, PoolKey, ReserveError, Stranger},
    tokens::{Delivery, TokenError, open_refresh_token},
};

#[derive(Debug)]
pub enum Proof<'a> {
    Password(Password),
    Code { factor: FactorId, code: &'a str },
    RecoveryCode(&'a str),
}

#[derive(Debug)]
pub struct ReauthenticateCommand<'a> {
    pub caller: Caller,
    pub proof: Proof<'a>,
    /// The refresh token that the request carries as a cookie. The release before did not note which sessions have one.
    pub cookie: Option<&'a str>,
    pub origin: &'a Origin,
}

#[derive(Debug, thiserror::Error)]
pub enum ReauthenticateError {
    #[error("the session has ended")]
    SessionEnded,
    #[error("the credentials are not valid")]
    InvalidCredentials,
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
    Password(#[from] PasswordError),
    #[error(transparent)]
    Seed(#[from] mfa::SeedError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Random(#[from] RandomUnavailable),
}

impl From<ReserveError> for ReauthenticateError {
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

impl From<mfa::CheckError> for ReauthenticateError {
    fn from(error: mfa::CheckError) -> Self {
        match error {
            mfa::CheckError::Reserve(error) => error.into(),
            mfa::CheckError::Seed(error) => Self::Seed(error),
            mfa::CheckError::Store(error) => Self::Store(error),
        }
    }
}

/// The outcome, with what it was counted as: a guess like one at a sign-in.
#[derive(Debug)]
pub struct ReauthenticateAnswer {
    pub bucket: Option<BucketState>,
    /// Whether a password was hashed.
    pub password_checked: bool,
    /// Whether this attempt locked its pool.
    pub locked_out: bool,
    pub outcome: Result<Grant, ReauthenticateError>,
}

/// Checks the proof and gives the session a fresh authentication time and fresh tokens (ASVS 7.2.4).
pub async fn reauthenticate<P: ReauthenticationPorts>(
    ports: &P,
    env: Env<'_>,
    rules: &Rules,
    hasher: &PasswordHasher,
    command: ReauthenticateCommand<'_>,
) -> ReauthenticateAnswer {
    let mut answer = ReauthenticateAnswer {
        bucket: None,
        password_checked: false,
        locked_out: false,
        outcome: Err(ReauthenticateError::SessionEnded),
    };
    answer.outcome = run(ports, env, rules, hasher, command, &mut answer).await;
    answer
}

async fn run<P: ReauthenticationPorts>(
    ports: &P,
    env: Env<'_>,
    rules: &Rules,
    hasher: &PasswordHasher,
    command: ReauthenticateCommand<'_>,
    answer: &mut ReauthenticateAnswer,
) -> Result<Grant, ReauthenticateError> {
    let caller = command.caller;
    let user = caller.user;
    let (bucket, held, blocked) = join!(
        ports.count(command.origin.address, &rules.address, env.now()),
        ports.sessions(user),
        blocked_for(ports, env, rules, user),
    );
    let bucket = bucket?;
    answer.bucket = Some(bucket);
    if bucket.is_exhausted() {
        return Err(ReauthenticateError::AddressExhausted {
            retry_after: Duration::from_secs(bucket.resets_in),
        });
    }
    let held = held?;
    let session = held.live(caller.session, env.now()).ok_or(ReauthenticateError::SessionEnded)?.clone();
    if let Some(retry_after) = blocked? {
        return Err(ReauthenticateError::TooManyAttempts { retry_after });
    }
    // A session is as good as a device token: strangers can't get here.
    let by = CodeSource::Session(session.device.key());
    let proved = match command.proof {
        Proof::Password(password) => {
            let device = KnownDevice { user, device: session.device, epoch: held.epoch };
            check_password(ports, env, rules, hasher, device, &password, command.origin, answer).await?;
            Methods::PASSWORD
        }
        Proof::Code { factor, code } => {
            let attempt = CodeAttempt { user, choice: FactorChoice::Totp(factor), code, by };
            check_code(ports, env, rules, &caller, attempt, command.origin, answer).await?;
            Methods::OTP
        }
        Proof::RecoveryCode(code) => {
            let attempt = CodeAttempt { user, choice: FactorChoice::RecoveryCode, code, by };
            check_code(ports, env, rules, &caller, attempt, command.origin, answer).await?;
            Methods::RECOVERY_CODE
        }
    };
    let by_cookie = command.cookie.and_then(|text| open_refresh_token(env.keyring, text));
    let stamp = Stamp {
        proved,
        by_cookie: by_cookie.is_some_and(|token| token.user == user && token.session == session.id),
    };
    let restamped = restamp(ports, env, rules.sessions.idle, user, session, held.epoch, stamp).await?;
    let event = event(env, EventKind::Reauthenticated, user, command.origin)?
        .session(restamped.id)
        .device(restamped.device.key());
    ports.record(&event).await?;
    Ok(grant(env, &rules.audience, user, restamped)?)
}

/// What a session is given.
#[derive(Clone, Copy)]
struct Stamp {
    proved: Methods,
    by_cookie: bool,
}

impl Stamp {
    fn on(self, mut session: Session, now: Timestamp) -> Session {
        session.proofs = session.proofs.renewed(self.proved, now);
        if self.by_cookie {
            session.delivery = Delivery::Cookie;
        }
        session
    }
}

/// How long an operator's block of the account lasts. What it is asked by, the account's address, is read only while any
/// account is blocked.
async fn blocked_for<P: ReauthenticationPorts>(
    ports: &P,
    env: Env<'_>,
    rules: &Rules,
    user: UserId,
) -> StoreResult<Option<Duration>> {
    if !rules.flags.blocks_accounts(env.now()) {
        return Ok(None);
    }
    let profile = ports.profile(user).await?;
    Ok(profile
        .and_then(|profile| rules.flags.account_wait(profile.email.account_key(), &rules.pool, env.now())))
}

/// How many refreshes of the session may come in between, one after the other.
const ROUNDS: usize = 40;

async fn restamp<P: Restamp>(
    ports: &P,
    env: Env<'_>,
    idle: Duration,
    user: UserId,
    mut session: Session,
    epoch: Epoch,
    stamp: Stamp,
) -> Result<Session, ReauthenticateError> {
    let now = env.now();
    // Refreshes in other tabs may come in between, and what they left is taken up: each lost round is a refresh that came
    // through.
    for _ in 0..ROUNDS {
        let request = RotationRequest {
            user,
            session: session.id,
            presented: session.counter,
            now,
            idle_until: now + idle,
            operation: env.operation()?,
            by_cookie: false,
        };
        match ports.restamp(request, epoch, &stamp.on(session.clone(), now)).await? {
            Rotation::Rotated(session) => return Ok(session),
            Rotation::Refused(held) => {
                let held =
                    held.filter(|held| held.epoch == epoch).ok_or(ReauthenticateError::SessionEnded)?;
                let held = held.live(session.id, now).ok_or(ReauthenticateError::SessionEnded)?;
                if held.rotated_by == request.operation {
                    return Ok(held.clone());
                }
                session = held.clone();
            }
        }
    }
    Err(StoreError::Contended { operation: "restamp session" }.into())
}

/// Somebody who holds an access token and no password has the guesses of its session's device: strangers can't use them up, and
/// a sign-in from that device, which has the strangers' pool behind its own, is still let through.
#[expect(clippy::too_many_arguments, reason = "what a check needs, and where it tells what it did")]
async fn check_password<P: ReauthenticationPorts>(
    ports: &P,
    env: Env<'_>,
    rules: &Rules,
    hasher: &PasswordHasher,
    device: KnownDevice,
    password: &Password,
    origin: &Origin,
    answer: &mut ReauthenticateAnswer,
) -> Result<(), ReauthenticateError> {
    let user = device.user;
    let (profile, reservation) = join!(ports.profile(user), reserve_password(ports, env, rules, device));
    let reservation = reservation?;
    let record = match profile {
        Ok(Some(profile)) => ports.login_record(&profile.email).await,
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    let record = match record {
        Ok(record) => record,
        Err(error) => {
            reservation.release(ports, env).await?;
            return Err(error.into());
        }
    };
    answer.password_checked = true;
    let verification = match record.as_ref().map(|record| &record.credential) {
        Some(Credential::Password(stored)) => hasher.verify(password, stored, env.keyring)?,
        Some(Credential::None) | None => {
            hasher.verify_nothing(password, env.keyring)?;
            Verification::Mismatch
        }
    };
    if verification != Verification::Mismatch && record.is_some_and(|record| record.may_sign_in()) {
        reservation.succeed(ports, env).await?;
        return Ok(());
    }
    let key = device.device.key();
    let refused = event(env, EventKind::ReauthenticationRefused, user, origin)?.device(key);
    let (settled, recorded) = join!(reservation.fail(ports, env), ports.record(&refused));
    recorded?;
    if settled?.refuses() {
        answer.locked_out = true;
        let locked = event(env, EventKind::LockedOut, user, origin)?.device(key).detail("reauthentication");
        ports.record(&locked).await?;
    }
    Err(ReauthenticateError::InvalidCredentials)
}

async fn reserve_password<P: ReauthenticationPorts>(
    ports: &P,
    env: Env<'_>,
    rules: &Rules,
    device: KnownDevice,
) -> Result<PasswordAttempt, ReauthenticateError> {
    // The address was counted. A minute that is used up must not open a second pool: each is five guesses more.
    match sessions::reserve_for_device(ports, env, device, &rules.pool, None).await? {
        Ok(reservation) => Ok(PasswordAttempt::OfDevice(Box::new(reservation))),
        // A session of a release that noted no devices.
        Err(Stranger::Unknown) => {
            let key = PoolKey::reauthentication(device.user);
            Ok(throttle::reserve(ports, env, key, &rules.pool).await.map(PasswordAttempt::InPool)?)
        }
        Err(Stranger::EpochPassed) => Err(ReauthenticateError::SessionEnded),
        Err(Stranger::MinuteUsedUp) => {
            Err(ReauthenticateError::TooManyAttempts { retry_after: Duration::from_secs(60) })
        }
    }
}

fn event(
    env: Env<'_>,
    kind: EventKind,
    user: UserId,
    origin: &Origin,
) -> Result<SecurityEvent, RandomUnavailable> {
    Ok(SecurityEvent::new(env.operation()?, env.now(), kind, Subject::User(user), origin))
}

async fn check_code<P: ReauthenticationPorts>(
    ports: &P,
    env: Env<'_>,
    rules: &Rules,
    caller: &Caller,
    attempt: CodeAttempt<'_>,
    origin: &Origin,
    answer: &mut ReauthenticateAnswer,
) -> Result<(), ReauthenticateError> {
    let CodeAttempt { user, choice, .. } = attempt;
    let check = mfa::check_code(ports, env, &rules.pool, attempt, origin).await?;
    match check {
        FactorCheck::NotFound => Err(ReauthenticateError::FactorNotFound),
        FactorCheck::Refused { locked_out } => {
            answer.locked_out = locked_out;
            Err(ReauthenticateError::InvalidCode)
        }
        FactorCheck::Right { claim, reservation } => {
            let used = match choice {
                FactorChoice::Totp(_) => Vec::new(),
                FactorChoice::RecoveryCode => {
                    vec![event(env, EventKind::RecoveryCodeUsed, user, origin)?.session(caller.session)]
                }
            };
            if ports.claim(user, &claim, &used, env.now()).await? {
                throttle::settle_success(ports, &reservation).await?;
                Ok(())
            } else {
                answer.locked_out = mfa::refuse_code(ports, env, attempt, &reservation, origin).await?;
                Err(ReauthenticateError::InvalidCode)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::Mutex;

    use super::*;
    use crate::{
        address::ClientAddress,
        ids::{DeviceId, OperationId, SessionId},
        sessions::{Proofs, UserSessions},
        testing::{
            interleaving::{Counting, ManualClock, finish},
            keyring::keyring,
        },
    };

    const START: Timestamp = Timestamp::from_seconds(1_800_000_000);
    const IDLE: Duration = Duration::from_secs(14 * 24 * 60 * 60);
    const USER: UserId = UserId::from_bytes([1; 16]);

    fn session() -> Session {
        Session {
            id: SessionId::from_bytes([2; 16]),
            counter: 7,
            created_at: START,
            rotated_at: START,
            rotated_by: OperationId::from_bytes([3; 16]),
            idle_until: START + IDLE,
            absolute_until: START + IDLE,
            proofs: Proofs::at(Methods::PASSWORD, START),
            delivery: Delivery::Body,
            device: DeviceId::from_bytes([4; 16]),
            address: ClientAddress::unknown(),
            agent: String::new(),
        }
    }

    /// The session's item, which a refresh changes right before each of the first so many calls.
    struct Busy {
        held: Mutex<Session>,
        refreshes: Mutex<usize>,
    }

    impl Restamp for Busy {
        async fn restamp(
            &self,
            request: RotationRequest,
            epoch: Epoch,
            stamped: &Session,
        ) -> StoreResult<Rotation> {
            let (mut held, mut refreshes) = (self.held.lock().unwrap(), self.refreshes.lock().unwrap());
            if *refreshes > 0 {
                *refreshes -= 1;
                held.counter += 1;
            }
            if held.counter != request.presented {
                let sessions = vec![held.clone()];
                let held = UserSessions { epoch, sessions, ..UserSessions::default() };
                return Ok(Rotation::Refused(Some(held)));
            }
            held.counter += 1;
            held.proofs = stamped.proofs;
            Ok(Rotation::Rotated(held.clone()))
        }
    }

    #[test]
    fn refreshes_that_come_in_between_are_taken_up_however_many_tabs_there_are() {
        let (clock, random, keyring) = (ManualClock::at(START), Counting::of(1), keyring());
        let env = Env { clock: &clock, random: &random, keyring: &keyring };
        for refreshes in [0, 1, 3, 12, 39] {
            let busy = Busy { held: Mutex::new(session()), refreshes: Mutex::new(refreshes) };
            let stamp = Stamp { proved: Methods::PASSWORD, by_cookie: false };
            let restamped = finish(restamp(&busy, env, IDLE, USER, session(), Epoch(1), stamp)).unwrap();
            assert_eq!(usize::try_from(restamped.counter).unwrap(), 8 + refreshes);
        }
    }
}
