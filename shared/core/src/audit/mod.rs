//! Security events: what happened, to whom, from where, by whom. Each change of state has one, written with it.

mod actor;

pub use self::actor::{Actor, LONGEST_OPERATOR_NAME, NameError, operator_name, steering};
use crate::{
    address::ClientAddress,
    clock::Timestamp,
    ids::{AccountKey, DeviceKey, OperationId, SessionId, UserId},
    store::StoreResult,
};

/// Who acts, and where a request came from, for events and for the session's owner. Never a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub actor: Actor,
    pub address: ClientAddress,
    /// What the client of a caller calls itself, shortened: its own word. Empty where nobody calls.
    pub agent: String,
    pub request_id: String,
}

impl Origin {
    /// A function by itself, with nobody's request at hand.
    pub fn function(name: &str) -> Self {
        Self::of(Actor::Function(name.to_owned()))
    }

    /// An operator at the command line, by a name that [`operator_name`] let through.
    pub fn operator(name: &str) -> Self {
        Self::of(Actor::Operator(name.to_owned()))
    }

    /// This request's, by the client that it has proven to be of.
    #[must_use]
    pub fn by_client(&self, id: &str) -> Self {
        Self { actor: Actor::Client(id.to_owned()), ..self.clone() }
    }

    fn of(actor: Actor) -> Self {
        Self { actor, address: ClientAddress::unknown(), agent: String::new(), request_id: String::new() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Info,
    Warning,
    Critical,
}

impl Severity {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl EventKind {
    /// Whether somebody else than the account's owner is the likely cause: what the metric `suspicious_activity` counts,
    /// with forged and overtaken tokens.
    pub const fn is_suspicious(self) -> bool {
        matches!(self, Self::RefreshTokenReused | Self::FactorLockedOut)
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal, $severity:ident;)*) => {
        /// What happened. The names are stable: alarms, queries and reports count them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum EventKind { $($(#[$doc])* $kind),* }

        impl EventKind {
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$kind => $name),* }
            }

            pub const fn severity(self) -> Severity {
                match self { $(Self::$kind => Severity::$severity),* }
            }
        }
    };
}

kinds! {
    /// A session began.
    SignedIn = "login.succeeded", Info;
    /// A password was right and a second factor is awaited.
    PasswordAccepted = "login.password_accepted", Info;
    /// A password was checked and refused, or the account was not fit to sign in.
    SignInRefused = "login.refused", Warning;
    /// A pool of attempts was locked by this failure.
    LockedOut = "login.locked_out", Warning;
    /// A sign-in from a known device let strangers try again, whose failures had shut their pool.
    PoolReopened = "login.pool_reopened", Warning;
    /// A second factor was checked and refused.
    FactorRefused = "mfa.refused", Warning;
    /// A factor's pool of attempts was locked by this failure.
    FactorLockedOut = "mfa.locked_out", Critical;
    Reauthenticated = "session.reauthenticated", Info;
    ReauthenticationRefused = "session.reauthentication_refused", Warning;
    SessionEnded = "session.ended", Info;
    /// The limit of sessions was reached and the one idle longest gave way.
    SessionDisplaced = "session.displaced", Info;
    /// A refresh token was used a second time: somebody else may hold it.
    RefreshTokenReused = "session.refresh_token_reused", Critical;
    TotpEnrolled = "mfa.totp_enrolled", Info;
    TotpConfirmed = "mfa.totp_confirmed", Warning;
    FactorRemoved = "mfa.factor_removed", Warning;
    /// An operator removed all factors of an account, and its recovery codes.
    FactorsReset = "mfa.reset", Warning;
    RecoveryCodesIssued = "mfa.recovery_codes_issued", Warning;
    RecoveryCodeUsed = "mfa.recovery_code_used", Warning;
    AccountCreated = "account.created", Info;
    AccountDisabled = "account.disabled", Warning;
    AccountEnabled = "account.enabled", Warning;
    AccountUnlocked = "account.unlocked", Warning;
    PasswordSet = "account.password_set", Warning;
    /// The hash was renewed with today's parameters at a sign-in.
    PasswordRehashed = "account.password_rehashed", Info;
    SessionsRevoked = "account.sessions_revoked", Warning;
    /// An operator made the password unusable: somebody else may know it.
    PasswordResetForced = "password.reset_forced", Warning;
    ClientAdded = "client.added", Warning;
    ClientRemoved = "client.removed", Warning;
    KeyringCreated = "keyring.created", Warning;
    /// A step of a rotation: keys were published, promoted or dropped.
    KeyringRotated = "keyring.rotated", Warning;
    /// A key was taken out of use at once.
    KeyringRevoked = "keyring.revoked", Critical;
    MigrationApplied = "migration.applied", Warning;
    MigrationReverted = "migration.reverted", Warning;
    /// An operator gave the calls back to the versions before.
    ReleaseRolledBack = "release.rolled_back", Warning;
    ModeSet = "mode.set", Warning;
    ModeCleared = "mode.cleared", Warning;
    BlockAdded = "block.added", Warning;
    BlockRemoved = "block.removed", Warning;
    /// Of the incidents below none is a warning: an incident must not feed the alarms that open incidents.
    IncidentOpened = "incident.opened", Info;
    /// It was over, or somebody had it, and it is worse than that.
    IncidentReopened = "incident.reopened", Info;
    IncidentAcknowledged = "incident.acknowledged", Info;
    IncidentEscalated = "incident.escalated", Info;
    IncidentResolved = "incident.resolved", Info;
    /// It was over for so long that it was taken away.
    IncidentForgotten = "incident.forgotten", Info;
    /// A backup was restored, read, and signed in to.
    RestoreProven = "restore.proven", Info;
    RestoreFailed = "restore.failed", Warning;
}

/// Whom it happened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    User(UserId),
    /// An address that may or may not have an account.
    Account(AccountKey),
    /// The deployment itself.
    Deployment,
}

/// One event. Its id makes writing it twice the same as writing it once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityEvent {
    pub id: OperationId,
    pub at: Timestamp,
    pub kind: EventKind,
    pub subject: Subject,
    pub session: Option<SessionId>,
    /// The device it came from, where the account knows it; of a sign-in also the one that it makes known.
    pub device: Option<DeviceKey>,
    pub origin: Origin,
    /// What else an investigator needs: a factor's id, a count. Never a secret, never free text of a caller.
    pub detail: Option<String>,
}

impl SecurityEvent {
    pub fn new(id: OperationId, at: Timestamp, kind: EventKind, subject: Subject, origin: &Origin) -> Self {
        Self { id, at, kind, subject, session: None, device: None, origin: origin.clone(), detail: None }
    }

    #[must_use]
    pub fn session(mut self, session: SessionId) -> Self {
        self.session = Some(session);
        self
    }

    #[must_use]
    pub fn device(mut self, device: impl Into<Option<DeviceKey>>) -> Self {
        self.device = device.into();
        self
    }

    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

/// Keeps an event that stands alone. Events of a change that is a transaction are part of it.
pub trait RecordEvent: Send + Sync {
    /// An event of the same id and time that stands already is left as it is: it says who did it.
    fn record(&self, event: &SecurityEvent) -> impl Future<Output = StoreResult<()>> + Send;
}
