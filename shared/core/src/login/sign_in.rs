//! Signing in: two round trips around one hash.
//!
//! {read the record ∥ reserve the attempt ∥ count the address} → hash → {add the session ∥ settle the attempt ∥ audit}
//!
//! In an emergency a device that the account does not know has one before these: {count the address ∥ claim the wait}.

use std::time::Duration;

use futures_util::join;

use super::{Rules, SignInPorts};
use crate::{
    accounts::{
        AccountKey, Credential, Email, FactorKind, LoginRecord, Password, PasswordError, PasswordHasher,
        StoredHash, Verification,
    },
    audit::{EventKind, Origin, SecurityEvent, Subject},
    env::Env,
    flags::WaitKey,
    ids::{DeviceId, FactorId},
    random::RandomUnavailable,
    secret::Secret,
    sessions::{self, Delivery, Grant, Methods, NewSession, grant},
    store::{StoreError, StoreResult},
    throttle::{self, BucketState, Pool, PoolKey, Reservation, ReserveError},
    tokens::{DeviceToken, MfaClaims, TokenError, issue_device_token, issue_mfa_token, open_device_token},
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
    known: Option<DeviceId>,
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
        .map(|token| token.device);
    let attempt = Attempt { command, account, known };
    if let Some(retry_after) = rules.flags.account_wait(account, &rules.pool, env.now()) {
        // As with a lock: counted, told what is left, and refused whether or not the count succeeded.
        answer.bucket = attempt.count(ports, env, rules).await.ok();
        return Err(SignInError::TooManyAttempts { retry_after });
    }
    let waited = match rules.emergency {
        Some(_) if known.is_none() => Some(attempt.wait(ports, env, rules, answer).await?),
        _ => None,
    };

    let counting = async {
        match waited {
            Some(bucket) => Ok(bucket),
            None => attempt.count(ports, env, rules).await,
        }
    };
    let (record, bucket, strangers, reservation) = join!(
        ports.login_record(&attempt.command.email),
        counting,
        attempt.strangers_pool(ports),
        throttle::reserve(ports, env, attempt.pool(), &rules.pool),
    );
    answer.bucket = bucket.as_ref().ok().copied();
    let reservation = reservation?;
    let (record, strangers) = match admit(bucket, record, strangers) {
        Ok(admitted) => admitted,
        Err(error) => {
            // Nothing was checked. If this fails too, the reservation expires and counts: the safe side.
            throttle::release(ports, &reservation).await?;
            return Err(error);
        }
    };

    answer.password_checked = true;
    let verification = check_password(hasher, env, record.as_ref(), &attempt.command.password)?;
    match record {
        Some(record) if verification != Verification::Mismatch && record.may_sign_in() => {
            let renewed = attempt.renewal(env, hasher, &record, verification)?;
            let accepted = Accepted { record, renewed, strangers, reservation };
            attempt.accept(ports, env, rules, accepted).await
        }
        refused => attempt.refuse(ports, env, rules, &reservation, refused.as_ref(), answer).await,
    }
}

type Admitted = (Option<LoginRecord>, Option<Pool>);

fn exhausted(bucket: BucketState) -> Option<SignInError> {
    let retry_after = Duration::from_secs(bucket.resets_in);
    bucket.is_exhausted().then_some(SignInError::AddressExhausted { retry_after })
}

fn admit(
    bucket: StoreResult<BucketState>,
    record: StoreResult<Option<LoginRecord>>,
    strangers: StoreResult<Option<Pool>>,
) -> Result<Admitted, SignInError> {
    match exhausted(bucket?) {
        Some(error) => Err(error),
        None => Ok((record?, strangers?)),
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
    strangers: Option<Pool>,
    reservation: Reservation,
}

impl Attempt<'_> {
    /// Devices that the account knows are counted apart from strangers.
    fn pool(&self) -> PoolKey {
        self.known.map_or_else(
            || PoolKey::strangers(self.account),
            |device| PoolKey::known_device(self.account, device),
        )
    }

    async fn count<P: SignInPorts>(
        &self,
        ports: &P,
        env: Env<'_>,
        rules: &Rules,
    ) -> StoreResult<BucketState> {
        ports.count(self.command.origin.address, &rules.address, env.now()).await
    }

    /// What unknown devices do in an emergency: the first attempt claims its wait and is refused. Before the reservation,
    /// so that whoever does not come back has cost two writes and has taken nobody's place in the pool.
    async fn wait<P: SignInPorts>(
        &self,
        ports: &P,
        env: Env<'_>,
        rules: &Rules,
        answer: &mut SignInAnswer,
    ) -> Result<BucketState, SignInError> {
        let key = WaitKey::new(self.account, self.command.origin.address);
        let now = env.now();
        let (bucket, waiting) = join!(self.count(ports, env, rules), ports.claim_wait(&key, now));
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

    /// The strangers' pool, which a sign-in from a known device re-opens when it is shut.
    async fn strangers_pool<P: SignInPorts>(&self, ports: &P) -> StoreResult<Option<Pool>> {
        match self.known {
            Some(_) => ports.pool(&PoolKey::strangers(self.account)).await,
            None => Ok(None),
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
        rules: &Rules,
        reservation: &Reservation,
        record: Option<&LoginRecord>,
        answer: &mut SignInAnswer,
    ) -> Result<SignedIn, SignInError> {
        let event = self.event(env, EventKind::SignInRefused, record)?;
        let (locked, recorded) =
            join!(throttle::settle_failure(ports, env, &rules.pool, reservation), ports.record(&event));
        recorded?;
        if locked? {
            answer.locked_out = true;
            ports.record(&self.event(env, EventKind::LockedOut, record)?).await?;
        }
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
        let Accepted { record, renewed, strangers, reservation } = accepted;
        let device = self.known.map_or_else(|| DeviceId::generate(env.random), Ok)?;
        let renewing = async {
            match &renewed {
                Some(Renewal { checked, hash, event }) => {
                    ports.renew_hash(&record.email, checked, hash, event).await
                }
                None => Ok(()),
            }
        };
        if !record.factors.is_empty() {
            let event = self.event(env, EventKind::PasswordAccepted, Some(&record))?;
            let challenge = self.challenge(env, rules, &record, device)?;
            let (settled, recorded, renewed) =
                join!(throttle::settle_success(ports, &reservation), ports.record(&event), renewing);
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
        let event = self.event(env, EventKind::SignedIn, Some(&record))?.session(session.id);
        let reopened = self.event(env, EventKind::PoolReopened, Some(&record))?;
        let (begun, settled, recorded, renewed, reopened) = join!(
            sessions::begin(
                ports,
                env,
                &rules.sessions,
                record.user,
                record.epoch,
                &session,
                self.command.origin
            ),
            throttle::settle_success(ports, &reservation),
            ports.record(&event),
            renewing,
            reopen(ports, env, rules, self.account, strangers.as_ref(), &reopened),
        );
        settled.and(recorded).and(renewed).and(reopened)?;
        if !begun? {
            return Err(SignInError::InvalidCredentials);
        }
        let mut granted = grant(env, &rules.audience, record.user, session)?;
        let token = DeviceToken { device, account: self.account, issued_at: env.now() };
        granted.device_token = Some(issue_device_token(env.keyring, &token));
        Ok(SignedIn::Authenticated(Box::new(granted)))
    }

    fn challenge(
        &self,
        env: Env<'_>,
        rules: &Rules,
        record: &LoginRecord,
        device: DeviceId,
    ) -> Result<MfaChallenge, SignInError> {
        let claims = MfaClaims {
            user: record.user,
            epoch: record.epoch,
            device,
            known_device: self.known.is_some(),
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

/// Re-opens the strangers' pool after a sign-in from a known device, when it had been shut for good.
pub(crate) async fn reopen<P: throttle::ReopenPool>(
    ports: &P,
    env: Env<'_>,
    rules: &Rules,
    account: AccountKey,
    strangers: Option<&Pool>,
    event: &SecurityEvent,
) -> StoreResult<()> {
    match strangers {
        Some(pool) if pool.is_shut(&rules.pool, env.now()) => {
            ports.reopen(&PoolKey::strangers(account), pool.version, event).await
        }
        _ => Ok(()),
    }
}
