//! Signing in: two round trips around one hash.
//!
//! {read the record ∥ reserve the attempt ∥ count the address} → hash → {add the session ∥ settle the attempt ∥ audit}
//!
//! A device that the account knows has its attempts, its budget and its sessions in one item:
//! {read the record ∥ reserve the attempt} → hash → {add the session and settle the attempt ∥ audit}. Where that reservation
//! does not stand the device is a stranger, and goes through the first three one round trip later.
//!
//! In an emergency a device that the account does not know has one before these: {count the address ∥ claim the wait}.
//! A stranger's address that is known to have used half of its budget is counted before anything else, so that one that is
//! beyond it takes no place in a pool.

use std::time::Duration;

use futures_util::join;

use super::SignInPorts;
use crate::{
    accounts::{
        Credential, Email, FactorKind, LoginRecord, Password, PasswordError, PasswordHasher, StoredHash,
        Verification,
    },
    audit::{EventKind, Origin, SecurityEvent, Subject},
    env::Env,
    ids::{AccountKey, DeviceId, FactorId},
    random::RandomUnavailable,
    rules::Rules,
    secret::Secret,
    sessions::{self, DeviceReservation, Grant, Methods, NewSession, PasswordAttempt, Session, grant},
    store::{StoreError, StoreResult},
    throttle::{self, BucketState, KnownDevice, PoolKey, ReserveError, Settled, WaitKey},
    tokens::{
        Delivery, DeviceBound, DeviceToken, MfaClaims, TokenError, issue_device_token, issue_mfa_token,
        open_device_token,
    },
};

#[derive(Debug)]
pub struct SignInCommand<'a> {
    pub email: Email,
    pub password: Password,
    pub device_token: Option<&'a str>,
    /// Remembered by the session, and for the second factor, whose answer holds the tokens.
    pub delivery: Delivery,
    pub origin: &'a Origin,
}

#[derive(Debug)]
pub enum SignedIn {
    Authenticated(Box<Grant>),
    MfaRequired(MfaChallenge),
}

/// A right password that waits for a second factor.
#[derive(Debug)]
pub struct MfaChallenge {
    pub token: Secret<String>,
    pub factors: Vec<OfferedFactor>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum OfferedFactor {
    Totp { id: FactorId, label: String },
    RecoveryCode,
}

#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// Unknown account, wrong password, disabled, unverified, no password: nobody can tell which.
    #[error("the credentials are not valid")]
    InvalidCredentials,
    /// The account's pool is locked, whether or not there is such an account.
    #[error("too many attempts")]
    TooManyAttempts { retry_after: Duration },
    /// The address has used its budget.
    #[error("too many requests from this address")]
    AddressExhausted { retry_after: Duration },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Random(#[from] RandomUnavailable),
}

impl From<ReserveError> for SignInError {
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

/// The outcome, with what the address has left, which every answer tells.
#[derive(Debug)]
pub struct SignInAnswer {
    pub bucket: Option<BucketState>,
    /// Whether a password was hashed: what the lockout promises to bound.
    pub password_checked: bool,
    /// Whether this attempt locked its pool.
    pub locked_out: bool,
    pub outcome: Result<SignedIn, SignInError>,
}

struct Attempt<'a> {
    command: SignInCommand<'a>,
    account: AccountKey,
}

/// Signs in.
pub async fn sign_in<P: SignInPorts>(
    ports: &P,
    env: Env<'_>,
    rules: &Rules,
    hasher: &PasswordHasher,
    command: SignInCommand<'_>,
) -> SignInAnswer {
    let mut answer = SignInAnswer {
        bucket: None,
        password_checked: false,
        locked_out: false,
        outcome: Err(SignInError::InvalidCredentials),
    };
    answer.outcome = run(ports, env, rules, hasher, command, &mut answer).await;
    answer
}

async fn run<P: SignInPorts>(
    ports: &P,
    env: Env<'_>,
    rules: &Rules,
    hasher: &PasswordHasher,
    command: SignInCommand<'_>,
    answer: &mut SignInAnswer,
) -> Result<SignedIn, SignInError> {
    let account = command.email.account_key();
    let known = command
        .device_token
        .and_then(|token| open_device_token(env.keyring, token, env.now()))
        .filter(|token| token.account == account)
        .and_then(|token| token.bound.map(|bound| (token.device, bound)))
        .map(|(device, DeviceBound { user, epoch, .. })| KnownDevice { user, device, epoch });
    let attempt = Attempt { command, account };
    if let Some(retry_after) = rules.flags.account_wait(account, &rules.pool, env.now()) {
        // As with a lock: counted, told what is left, and refused whether or not the count succeeded.
        answer.bucket = attempt.count(ports, env, rules).await.ok();
        return Err(SignInError::TooManyAttempts { retry_after });
    }
    let (record, reservation) = match known {
        Some(known) => match attempt.as_known(ports, env, rules, known, answer).await? {
            (record, Some(reservation)) => (record, PasswordAttempt::OfDevice(Box::new(reservation))),
            (record, None) => attempt.as_stranger(ports, env, rules, Some(record), answer).await?,
        },
        None => attempt.as_stranger(ports, env, rules, None, answer).await?,
    };

    answer.password_checked = true;
    let verification = check_password(hasher, env, record.as_ref(), &attempt.command.password)?;
    match record {
        Some(record) if verification != Verification::Mismatch && record.may_sign_in() => {
            let renewed = attempt.renewal(env, hasher, &record, verification)?;
            let accepted = Accepted { record, renewed, reservation };
            attempt.accept(ports, env, rules, accepted).await
        }
        refused => attempt.refuse(ports, env, &reservation, refused.as_ref(), answer).await,
    }
}

fn exhausted(bucket: BucketState) -> Option<SignInError> {
    let retry_after = Duration::from_secs(bucket.resets_in);
    bucket.is_exhausted().then_some(SignInError::AddressExhausted { retry_after })
}

fn admit(
    bucket: StoreResult<BucketState>,
    record: StoreResult<Option<LoginRecord>>,
) -> Result<Option<LoginRecord>, SignInError> {
    match exhausted(bucket?) {
        Some(error) => Err(error),
        None => Ok(record?),
    }
}

/// One hash, whoever asks for whom.
fn check_password(
    hasher: &PasswordHasher,
    env: Env<'_>,
    record: Option<&LoginRecord>,
    password: &Password,
) -> Result<Verification, PasswordError> {
    match record.map(|record| &record.credential) {
        Some(Credential::Password(stored)) => hasher.verify(password, stored, env.keyring),
        Some(Credential::None) | None => {
            hasher.verify_nothing(password, env.keyring)?;
            Ok(Verification::Mismatch)
        }
    }
}

/// The hash that was checked, the one that replaces it, and the event of that.
struct Renewal {
    checked: StoredHash,
    hash: StoredHash,
    event: SecurityEvent,
}

struct Accepted {
    record: LoginRecord,
    renewed: Option<Renewal>,
    reservation: PasswordAttempt,
}

impl Attempt<'_> {
    /// The first round trip of a device that holds a token. Its reservation stands where the account knows the device in the
    /// epoch that the record has now: a guess that was admitted under a former one is never checked against a newer password.
    async fn as_known<P: SignInPorts>(
        &self,
        ports: &P,
        env: Env<'_>,
        rules: &Rules,
        known: KnownDevice,
        answer: &mut SignInAnswer,
    ) -> Result<(Option<LoginRecord>, Option<DeviceReservation>), SignInError> {
        let (record, reservation) = join!(
            ports.login_record(&self.command.email),
            sessions::reserve_for_device(ports, env, known, &rules.pool, Some(&rules.address)),
        );
        let reservation = match reservation {
            // Its own pool has no room: it is a stranger for now.
            Err(ReserveError::Locked { .. } | ReserveError::Shut { .. }) | Ok(Err(_)) => {
                return Ok((record?, None));
            }
            Ok(Ok(reservation)) => reservation,
            Err(error) => return Err(error.into()),
        };
        let holds = |record: &LoginRecord| record.user == known.user && record.epoch == known.epoch;
        match record {
            Ok(record) if record.as_ref().is_some_and(holds) => {
                answer.bucket = reservation.budget(&rules.address, env.now());
                Ok((record, Some(reservation)))
            }
            record => {
                // Nothing was checked. If this fails too, the reservation expires and counts: the safe side.
                reservation.release(ports, env).await?;
                Ok((record?, None))
            }
        }
    }

    /// The first round trip of everybody else.
    async fn as_stranger<P: SignInPorts>(
        &self,
        ports: &P,
        env: Env<'_>,
        rules: &Rules,
        read: Option<Option<LoginRecord>>,
        answer: &mut SignInAnswer,
    ) -> Result<(Option<LoginRecord>, PasswordAttempt), SignInError> {
        let counted = self.count_first(ports, env, rules, answer).await?;
        let counted = match rules.emergency {
            Some(_) => Some(self.wait(ports, env, rules, counted, answer).await?),
            None => counted,
        };
        let counting = self.count_unless(ports, env, rules, counted);
        let reading = async {
            match read {
                Some(record) => Ok(record),
                None => ports.login_record(&self.command.email).await,
            }
        };
        let (record, bucket, reservation) = join!(
            reading,
            counting,
            throttle::reserve(ports, env, PoolKey::strangers(self.account), &rules.pool),
        );
        answer.bucket = bucket.as_ref().ok().copied();
        let reservation = reservation?;
        match admit(bucket, record) {
            Ok(record) => Ok((record, PasswordAttempt::InPool(reservation))),
            Err(error) => {
                // As above.
                throttle::release(ports, &reservation).await?;
                Err(error)
            }
        }
    }

    async fn count<P: SignInPorts>(
        &self,
        ports: &P,
        env: Env<'_>,
        rules: &Rules,
    ) -> StoreResult<BucketState> {
        ports.count(self.command.origin.address, &rules.address, env.now()).await
    }

    /// Counts the address before anything else, where this process knows that little is left of its budget. What is beyond
    /// it takes nobody's place in a pool and writes no more than the count.
    async fn count_first<P: SignInPorts>(
        &self,
        ports: &P,
        env: Env<'_>,
        rules: &Rules,
        answer: &mut SignInAnswer,
    ) -> Result<Option<BucketState>, SignInError> {
        if !ports.is_known_scarce(self.command.origin.address, &rules.address, env.now()) {
            return Ok(None);
        }
        let bucket = self.count(ports, env, rules).await?;
        answer.bucket = Some(bucket);
        exhausted(bucket).map_or(Ok(Some(bucket)), Err)
    }

    async fn count_unless<P: SignInPorts>(
        &self,
        ports: &P,
        env: Env<'_>,
        rules: &Rules,
        counted: Option<BucketState>,
    ) -> StoreResult<BucketState> {
        match counted {
            Some(bucket) => Ok(bucket),
            None => self.count(ports, env, rules).await,
        }
    }

    /// What unknown devices do in an emergency: the first attempt claims its wait and is refused. Before the reservation,
    /// so that whoever does not come back has cost two writes and has taken nobody's place in the pool.
    async fn wait<P: SignInPorts>(
        &self,
        ports: &P,
        env: Env<'_>,
        rules: &Rules,
        counted: Option<BucketState>,
        answer: &mut SignInAnswer,
    ) -> Result<BucketState, SignInError> {
        let key = WaitKey::new(self.account, self.command.origin.address);
        let now = env.now();
        let counting = self.count_unless(ports, env, rules, counted);
        let (bucket, waiting) = join!(counting, ports.claim_wait(&key, now));
        answer.bucket = bucket.as_ref().ok().copied();
        let bucket = bucket?;
        if let Some(error) = exhausted(bucket) {
            return Err(error);
        }
        match waiting?.left(now) {
            Some(retry_after) => Err(SignInError::TooManyAttempts { retry_after }),
            None => Ok(bucket),
        }
    }

    fn event(
        &self,
        env: Env<'_>,
        kind: EventKind,
        record: Option<&LoginRecord>,
    ) -> Result<SecurityEvent, SignInError> {
        let subject = record.map_or(Subject::Account(self.account), |record| Subject::User(record.user));
        Ok(SecurityEvent::new(env.operation()?, env.now(), kind, subject, self.command.origin))
    }

    async fn refuse<P: SignInPorts>(
        &self,
        ports: &P,
        env: Env<'_>,
        reservation: &PasswordAttempt,
        record: Option<&LoginRecord>,
        answer: &mut SignInAnswer,
    ) -> Result<SignedIn, SignInError> {
        let event = self.event(env, EventKind::SignInRefused, record)?.device(reservation.device());
        let (settled, recorded) = join!(reservation.fail(ports, env), ports.record(&event));
        recorded?;
        let Settled { locked, shut } = settled?;
        if !(locked || shut) {
            return Err(SignInError::InvalidCredentials);
        }
        answer.locked_out = true;
        let event = self.event(env, EventKind::LockedOut, record)?.device(reservation.device());
        let noting = async {
            match (reservation, record) {
                (PasswordAttempt::InPool(_), Some(record)) if shut => {
                    ports.note_strangers_shut(record.user, true).await
                }
                _ => Ok(()),
            }
        };
        let (recorded, noted) = join!(ports.record(&event), noting);
        recorded.and(noted)?;
        Err(SignInError::InvalidCredentials)
    }

    /// A new hash of the same password, when the stored one is weaker than today's or its pepper was rotated.
    fn renewal(
        &self,
        env: Env<'_>,
        hasher: &PasswordHasher,
        record: &LoginRecord,
        verification: Verification,
    ) -> Result<Option<Renewal>, SignInError> {
        match (&record.credential, verification) {
            (Credential::Password(stored), Verification::MatchOutdated) => {
                let hash = hasher.hash(&self.command.password, env.keyring, env.random)?;
                let event = self.event(env, EventKind::PasswordRehashed, Some(record))?;
                Ok(Some(Renewal { checked: stored.clone(), hash, event }))
            }
            _ => Ok(None),
        }
    }

    async fn accept<P: SignInPorts>(
        &self,
        ports: &P,
        env: Env<'_>,
        rules: &Rules,
        accepted: Accepted,
    ) -> Result<SignedIn, SignInError> {
        let Accepted { record, renewed, reservation } = accepted;
        let device = match &reservation {
            PasswordAttempt::OfDevice(reservation) => reservation.of.device,
            // Who comes as a stranger leaves as a new device, whatever token it came with: another may hold a copy.
            PasswordAttempt::InPool(_) => DeviceId::generate(env.random)?,
        };
        let renewing = async {
            match &renewed {
                Some(Renewal { checked, hash, event }) => {
                    ports.renew_hash(&record.email, checked, hash, event).await
                }
                None => Ok(()),
            }
        };
        if !record.factors.is_empty() {
            let event =
                self.event(env, EventKind::PasswordAccepted, Some(&record))?.device(reservation.device());
            let known = matches!(reservation, PasswordAttempt::OfDevice(_));
            let challenge = self.challenge(env, rules, &record, device, known)?;
            let (settled, recorded, renewed) =
                join!(reservation.succeed(ports, env), ports.record(&event), renewing);
            settled.and(recorded).and(renewed)?;
            return Ok(SignedIn::MfaRequired(challenge));
        }
        let new = NewSession {
            user: record.user,
            device,
            methods: Methods::PASSWORD,
            delivery: self.command.delivery,
            origin: self.command.origin,
        };
        let session = new.build(env, &rules.sessions)?;
        let event = self
            .event(env, EventKind::SignedIn, Some(&record))?
            .session(session.id)
            .device(session.device.key());
        let (begun, recorded, renewed) = join!(
            self.begin(ports, env, rules, &record, &session, &reservation),
            ports.record(&event),
            renewing,
        );
        recorded.and(renewed)?;
        if !begun? {
            return Err(SignInError::InvalidCredentials);
        }
        let mut granted = grant(env, &rules.audience, record.user, session)?;
        let generation = match &reservation {
            PasswordAttempt::OfDevice(reservation) => reservation.generation(),
            PasswordAttempt::InPool(_) => 0,
        };
        let bound = DeviceBound { user: record.user, epoch: record.epoch, generation };
        let token = DeviceToken { device, account: self.account, issued_at: env.now(), bound: Some(bound) };
        granted.device_token = Some(issue_device_token(env.keyring, &token));
        Ok(SignedIn::Authenticated(Box::new(granted)))
    }

    /// Adds the session and settles the attempt: one write where both stand in one item. `false` when the epoch of the record
    /// has passed.
    async fn begin<P: SignInPorts>(
        &self,
        ports: &P,
        env: Env<'_>,
        rules: &Rules,
        record: &LoginRecord,
        session: &Session,
        reservation: &PasswordAttempt,
    ) -> Result<bool, SignInError> {
        let (user, origin) = (record.user, self.command.origin);
        match reservation {
            PasswordAttempt::OfDevice(reservation) => {
                let adding = async {
                    let added = reservation.succeed(ports, env, Some(session)).await?;
                    sessions::make_room(ports, env, &rules.sessions, user, session, added, origin).await
                };
                let event = self.event(env, EventKind::PoolReopened, Some(record))?;
                let opening = sessions::reopen(
                    ports,
                    env,
                    &rules.pool,
                    user,
                    self.account,
                    reservation.seen.strangers_shut,
                    &event,
                );
                let (begun, opened) = join!(adding, opening);
                opened?;
                Ok(begun?)
            }
            PasswordAttempt::InPool(reservation) => {
                let adding =
                    sessions::begin(ports, env, &rules.sessions, user, record.epoch, session, origin);
                let (begun, settled) = join!(adding, throttle::settle_success(ports, reservation));
                settled?;
                Ok(begun?)
            }
        }
    }

    fn challenge(
        &self,
        env: Env<'_>,
        rules: &Rules,
        record: &LoginRecord,
        device: DeviceId,
        known_device: bool,
    ) -> Result<MfaChallenge, SignInError> {
        let claims = MfaClaims {
            user: record.user,
            epoch: record.epoch,
            device,
            known_device,
            account: self.account,
            delivery: self.command.delivery,
            id: env.operation()?,
            issued_at: env.now(),
        };
        let mut factors: Vec<_> = record
            .factors
            .iter()
            .map(|factor| match factor.kind {
                FactorKind::Totp => OfferedFactor::Totp { id: factor.id, label: factor.label.clone() },
            })
            .collect();
        if record.recovery_codes {
            factors.push(OfferedFactor::RecoveryCode);
        }
        Ok(MfaChallenge { token: issue_mfa_token(env.keyring, &rules.audience, &claims)?, factors })
    }
}
