//! Every use case that writes, once: what comes before it, what is done, and how its user goes on.

use anyhow::{Context as _, bail, ensure};
use sallyport_aws::{Clients, Endpoints, SecretsKeyring, Store, system::OsRandom};
use sallyport_core::{
    accounts::Email,
    administration::AdministrationError,
    audit::{self, EventKind, Origin, SecurityEvent},
    clients::{Client, ClientSecret, ManageClients as _},
    clock::Timestamp,
    flags::FlagsError,
    ids::{OperationId, UserId},
    sessions::DeviceAttempts as _,
    store::StoreError,
    throttle::{Attempts as _, MOST_DEVICES, Pool, PoolKey, PoolPolicy, Reserved},
};
use sallyport_lambda::Config;
use sallyport_operations::{incidents::IncidentError, rotate::RotateError};
use sallyport_testkit::{
    Account, Actor, Answer, Backend, Enrolment, Factor, Pending, Receiver, ServiceClient, Session,
};
use serde_json::{Value, json};

use crate::deployment::{Scene, set_webhook};

/// A use case in one of its forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scenario {
    LogInUnknown,
    LogInWrong,
    LogInWrongAndLock,
    LogIn,
    LogInAfterFailures,
    LogInAfterLock,
    LogInEleventh,
    LogInWithWeakHash,
    LogInFromKnownDevice,
    LogInFromKnownDeviceWrong,
    LogInFromKnownDeviceBeyond,
    LogInFromKnownDeviceReopens,
    LogInFromThirteenthDevice,
    LogInAwaitsFactor,
    VerifyTotp,
    VerifyRecoveryCode,
    VerifyWrongCode,
    VerifyEleventh,
    VerifyFromKnownDeviceReopens,
    Refresh,
    RefreshAtTenSessions,
    RefreshRepeated,
    RefreshRepeatedByDevice,
    RefreshReused,
    LogOut,
    LogOutByRefreshToken,
    LogOutOthers,
    LogOutEverywhere,
    Revoke,
    ReauthenticateByPassword,
    ReauthenticateByTotp,
    ReauthenticateByRecoveryCode,
    ReauthenticateWrong,
    Enrol,
    EnrolAgain,
    Confirm,
    ConfirmSecond,
    ConfirmWrong,
    RemoveUnconfirmed,
    RemoveOne,
    RemoveLast,
    Regenerate,
    OperatorCreates,
    OperatorDisables,
    OperatorEnables,
    OperatorSetsPassword,
    OperatorRevokes,
    OperatorResetsFactors,
    OperatorUnlocks,
    OperatorAddsClient,
    OperatorRemovesClient,
    OperatorForcesReset,
    OperatorSetsMode,
    OperatorClearsMode,
    OperatorBlocks,
    OperatorUnblocks,
    OperatorAcknowledges,
    OperatorNotes,
    OperatorEscalates,
    OperatorResolves,
    OperatorRotatesKeys,
    OperatorRevokesKey,
    AlarmOpens,
    AlarmRaises,
    AlarmClears,
    AlarmReopens,
    AlarmMitigates,
    TickEscalates,
    TickTells,
    TickTellsOneChannel,
    TickGivesUp,
    RotationStep,
    SessionsCounted,
    SessionsReported,
    BackupsVerified,
    IncidentsForgotten,
    Introspect,
    IntrospectAccessToken,
    ListFactors,
    LogInLocked,
    AlarmAgain,
    TickIdle,
}

use Scenario::*;

impl Scenario {
    pub(crate) const ALL: [Self; 76] = [
        LogInUnknown,
        LogInWrong,
        LogInWrongAndLock,
        LogIn,
        LogInAfterFailures,
        LogInAfterLock,
        LogInEleventh,
        LogInWithWeakHash,
        LogInFromKnownDevice,
        LogInFromKnownDeviceWrong,
        LogInFromKnownDeviceBeyond,
        LogInFromKnownDeviceReopens,
        LogInFromThirteenthDevice,
        LogInAwaitsFactor,
        VerifyTotp,
        VerifyRecoveryCode,
        VerifyWrongCode,
        VerifyEleventh,
        VerifyFromKnownDeviceReopens,
        Refresh,
        RefreshAtTenSessions,
        RefreshRepeated,
        RefreshRepeatedByDevice,
        RefreshReused,
        LogOut,
        LogOutByRefreshToken,
        LogOutOthers,
        LogOutEverywhere,
        Revoke,
        ReauthenticateByPassword,
        ReauthenticateByTotp,
        ReauthenticateByRecoveryCode,
        ReauthenticateWrong,
        Enrol,
        EnrolAgain,
        Confirm,
        ConfirmSecond,
        ConfirmWrong,
        RemoveUnconfirmed,
        RemoveOne,
        RemoveLast,
        Regenerate,
        OperatorCreates,
        OperatorDisables,
        OperatorEnables,
        OperatorSetsPassword,
        OperatorRevokes,
        OperatorResetsFactors,
        OperatorUnlocks,
        OperatorAddsClient,
        OperatorRemovesClient,
        OperatorForcesReset,
        OperatorSetsMode,
        OperatorClearsMode,
        OperatorBlocks,
        OperatorUnblocks,
        OperatorAcknowledges,
        OperatorNotes,
        OperatorEscalates,
        OperatorResolves,
        OperatorRotatesKeys,
        OperatorRevokesKey,
        AlarmOpens,
        AlarmRaises,
        AlarmClears,
        AlarmReopens,
        AlarmMitigates,
        TickEscalates,
        TickTells,
        TickTellsOneChannel,
        TickGivesUp,
        RotationStep,
        SessionsCounted,
        SessionsReported,
        BackupsVerified,
        IncidentsForgotten,
    ];

    /// What reads, or counts, and changes nothing of an account.
    pub(crate) const READING: [Self; 4] = [Introspect, IntrospectAccessToken, ListFactors, LogInLocked];

    /// What comes again and again and finds nothing to do: the reads of others.
    pub(crate) const IDLE: [Self; 2] = [AlarmAgain, TickIdle];

    /// What it answers when nothing fails.
    pub(crate) const fn answers(self) -> (u16, &'static str) {
        match self {
            LogInUnknown
            | LogInWrong
            | LogInWrongAndLock
            | LogInFromKnownDeviceWrong
            | ReauthenticateWrong => (401, "invalid_credentials"),
            VerifyWrongCode | ConfirmWrong => (401, "invalid_code"),
            RefreshReused => (401, "refresh_token_reused"),
            LogInLocked => (429, "too_many_attempts"),
            Enrol | EnrolAgain => (201, ""),
            LogOut | LogOutByRefreshToken | LogOutOthers | LogOutEverywhere | RemoveUnconfirmed
            | RemoveOne | RemoveLast => (204, ""),
            _ => (200, ""),
        }
    }

    /// Whether it is answered as ever while a call at that table, of that item, fails for good in that way: what answers it
    /// is known without, or that call is another's business too.
    pub(crate) fn is_answered_without(self, table: &str, item: Option<&str>, kind: &str) -> bool {
        match self {
            // Whoever meets another renewal of the hash leaves it to that.
            LogInWithWeakHash => table == "users" && kind == "conflict",
            LogInLocked => table == "users" || item == Some("address"),
            // A diagnosis says what it could not learn.
            AlarmOpens => item == Some("FLAGS") && kind == "drop_before",
            _ => false,
        }
    }

    /// Whether the nth call of that operation on an item fails here. How people are told, what is read before and how an
    /// incident is diagnosed is the same for every event: it fails where an alarm opens an incident and where a tick tells.
    pub(crate) fn is_played(self, operation: &str, item: Option<&str>, nth: u64) -> bool {
        match self {
            AlarmRaises | AlarmClears | AlarmReopens => operation == "TransactWriteItems" && nth == 1,
            // The second change of the incident says what was done, the first opens it.
            AlarmMitigates => operation == "TransactWriteItems" && (item == Some("FLAGS") || nth == 2),
            TickEscalates => operation == "TransactWriteItems",
            TickTellsOneChannel => operation == "UpdateItem",
            TickGivesUp => operation != "Query",
            _ => true,
        }
    }

    /// Who makes the calls that are the subject: an operator, or a function that nobody calls over HTTP. `None` is the
    /// function that a user asked.
    pub(crate) const fn caller(self) -> Option<&'static str> {
        match self {
            OperatorCreates
            | OperatorDisables
            | OperatorEnables
            | OperatorSetsPassword
            | OperatorRevokes
            | OperatorResetsFactors
            | OperatorUnlocks
            | OperatorAddsClient
            | OperatorRemovesClient
            | OperatorForcesReset
            | OperatorSetsMode
            | OperatorClearsMode
            | OperatorBlocks
            | OperatorUnblocks
            | OperatorAcknowledges
            | OperatorNotes
            | OperatorEscalates
            | OperatorResolves
            | OperatorRotatesKeys
            | OperatorRevokesKey => Some("operator"),
            AlarmOpens | AlarmRaises | AlarmClears | AlarmReopens | AlarmMitigates | AlarmAgain
            | TickEscalates | TickTells | TickTellsOneChannel | TickGivesUp | TickIdle => Some("responder"),
            RotationStep => Some("rotation"),
            SessionsCounted | SessionsReported | BackupsVerified | IncidentsForgotten => Some("maintenance"),
            _ => None,
        }
    }

    /// Whether it is about the deployment, and about nobody's account.
    pub(crate) const fn is_of_deployment(self) -> bool {
        match self {
            OperatorCreates
            | OperatorDisables
            | OperatorEnables
            | OperatorSetsPassword
            | OperatorRevokes
            | OperatorResetsFactors
            | OperatorUnlocks
            | OperatorAddsClient
            | OperatorRemovesClient
            | OperatorForcesReset => false,
            _ => self.caller().is_some(),
        }
    }

    /// Whether a recorded call is one of its items that it makes itself. The read of modes and blocks belongs to no
    /// request: it comes when the copy of them is five seconds old.
    pub(crate) fn is_subject(self, call: &Value) -> bool {
        let (function, part) = (call["function"].as_str().unwrap_or_default(), &call["parts"][0]);
        call["service"] == "dynamodb"
            && !part.is_null()
            && match self.caller() {
                Some(caller) => function == caller,
                None => part["kind"] != "FLAGS" && !["operator", "maintenance"].contains(&function),
            }
    }
}

/// Where scenarios are played: a backend, and an older one over the same database with a weaker hash.
pub(crate) struct World {
    pub(crate) backend: Backend,
    weaker: Option<Backend>,
    pub(crate) store: Store,
    pub(crate) secret: SecretsKeyring,
    /// Whom the responder calls.
    pub(crate) receiver: Option<Receiver>,
}

/// Whom a scenario is played with.
pub(crate) struct Subject {
    pub(crate) account: Account,
    actor: Actor,
    session: Option<Session>,
    /// The sessions besides, and tokens that were good before.
    others: Vec<Session>,
    pending: Option<Pending>,
    enrolment: Option<Enrolment>,
    service: Option<ServiceClient>,
    /// A code that was asked for already, so that asking is no part of the scenario.
    code: String,
    pub(crate) scene: Scene,
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) status: u16,
    pub(crate) code: String,
    /// None when no user did it.
    pub(crate) answer: Option<Answer>,
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.status, self.code)
    }
}

impl Outcome {
    fn of(answer: Answer) -> Self {
        Self { status: answer.status, code: answer.code(), answer: Some(answer) }
    }

    pub(crate) fn of_operator(outcome: anyhow::Result<()>) -> Self {
        let (status, code) = match outcome {
            Ok(()) => (200, String::new()),
            Err(error) => match store_error(&error) {
                Some(StoreError::Unavailable { .. }) => (503, "dependency_unavailable".to_owned()),
                Some(StoreError::Contended { .. }) => (429, "too_many_changes".to_owned()),
                _ => (409, format!("{error:#}")),
            },
        };
        Self { status, code, answer: None }
    }

    pub(crate) fn is(&self, expected: (u16, &str)) -> bool {
        (self.status, self.code.as_str()) == expected
    }

    /// The session that was answered.
    fn session(&self, actor: &Actor) -> anyhow::Result<Session> {
        Session::of(actor, self.answer.as_ref().context("no answer")?)
    }

    fn string(&self, name: &str) -> anyhow::Result<String> {
        self.answer.as_ref().context("no answer")?.string(name)
    }

    fn codes(&self) -> Vec<String> {
        let listed = self.answer.as_ref().map(|answer| answer.field("recovery_codes"));
        let listed = listed.as_ref().and_then(|codes| codes.as_array()).cloned().unwrap_or_default();
        listed.iter().filter_map(|code| code.as_str()).map(str::to_owned).collect()
    }
}

/// How storage failed, by the error of whichever use case.
fn store_error(error: &anyhow::Error) -> Option<&StoreError> {
    if let Some(AdministrationError::Store(store)) = error.downcast_ref() {
        Some(store)
    } else if let Some(FlagsError::Store(store)) = error.downcast_ref() {
        Some(store)
    } else if let Some(IncidentError::Store(store)) = error.downcast_ref() {
        Some(store)
    } else if let Some(RotateError::Store(store)) = error.downcast_ref() {
        Some(store)
    } else {
        error.downcast_ref()
    }
}

const HASH: (&str, &str) = ("SALLYPORT_PASSWORD_ITERATIONS", "1");

impl World {
    pub(crate) async fn start(scenario: Scenario) -> anyhow::Result<Self> {
        let mut variables =
            vec![HASH, ("SALLYPORT_PASSWORD_MEMORY_KIB", "7200"), ("SALLYPORT_ADDRESS_LIMIT", "100")];
        variables.extend(scenario.variables());
        let backend = Backend::with(&variables).await?;
        let weaker = match scenario {
            LogInWithWeakHash => {
                let shared = ("AWS_ENDPOINT_URL", backend.dynamodb_url());
                Some(Backend::with(&[HASH, ("SALLYPORT_PASSWORD_MEMORY_KIB", "7168"), shared]).await?)
            }
            _ => None,
        };
        let lookup = |name: &str| backend.environment().get(name).cloned();
        let config = Config::from_lookup(&lookup)?;
        let clients = Clients::connect(&Endpoints::from_lookup(&lookup), "operator", &lookup)?;
        let store = Store::new(clients.dynamodb, config.tables);
        let secret = SecretsKeyring::new(clients.secrets, &config.keyring_secret);
        let receiver = if scenario.tells() { Some(Receiver::start().await?) } else { None };
        if let Some(receiver) = &receiver {
            set_webhook(&backend, receiver).await?;
        }
        Ok(Self { backend, weaker, store, secret, receiver })
    }

    async fn account(&self, scenario: Scenario) -> anyhow::Result<Account> {
        let backend = &self.backend;
        match scenario {
            LogInWithWeakHash => {
                // A backend of its own numbers its accounts from one, as the other does.
                let name = OperationId::generate(&OsRandom)?;
                let weaker = self.weaker.as_ref().context("no weaker backend")?;
                weaker.account_as(&format!("weak-{name}@example.com").to_lowercase(), "Correct horse").await
            }
            _ if scenario.is_of_deployment() => Ok(Account {
                user_id: "nobody".to_owned(),
                email: "nobody@example.com".to_owned(),
                password: String::new(),
                factors: Vec::new(),
                recovery_codes: Vec::new(),
            }),
            LogInUnknown | OperatorCreates => {
                // Nobody yet: an account of that name is what the scenario would make.
                let account = backend.account().await?;
                let email = account.email.replace("user", "nobody");
                Ok(Account { email, user_id: "nobody".to_owned(), ..account })
            }
            LogInAwaitsFactor
            | VerifyTotp
            | VerifyRecoveryCode
            | VerifyWrongCode
            | VerifyEleventh
            | VerifyFromKnownDeviceReopens
            | ReauthenticateByTotp
            | ReauthenticateByRecoveryCode
            | ConfirmSecond
            | RemoveOne
            | RemoveLast
            | Regenerate
            | OperatorResetsFactors => backend.account_with_totp().await,
            _ => backend.account().await,
        }
    }

    /// Everything that comes before.
    pub(crate) async fn prepare(&self, scenario: Scenario) -> anyhow::Result<Subject> {
        let backend = &self.backend;
        let account = self.account(scenario).await?;
        let actor = backend.actor();
        let mut subject = Subject {
            account,
            actor: actor.clone(),
            session: None,
            others: Vec::new(),
            pending: None,
            enrolment: None,
            service: None,
            code: String::new(),
            scene: Scene::default(),
        };
        if scenario.is_of_deployment() {
            subject.scene = self.prepare_deployment(scenario).await?;
            return Ok(subject);
        }
        let account = &mut subject.account;
        match scenario {
            LogInWrongAndLock => self.fail(account, 4).await?,
            LogInAfterFailures => self.fail(account, 3).await?,
            LogInAfterLock => {
                self.fail(account, 5).await?;
                backend.advance(31).await?;
            }
            LogInEleventh => {
                for _ in 0..10 {
                    backend.actor().log_in(account).await?;
                }
            }
            LogInFromKnownDevice | LogInFromKnownDeviceWrong => drop(actor.log_in(account).await?),
            LogInFromKnownDeviceBeyond => {
                actor.log_in(account).await?;
                for _ in 0..PoolPolicy::default().limit {
                    actor.try_log_in(&account.email, "Wrong").await?.expect(401)?;
                }
            }
            LogInFromThirteenthDevice => {
                for _ in 0..MOST_DEVICES {
                    backend.actor().log_in(account).await?.log_out("local").await?.expect(204)?;
                }
            }
            LogInFromKnownDeviceReopens => {
                actor.log_in(account).await?;
                self.shut(account).await?;
            }
            VerifyTotp | VerifyWrongCode => {
                subject.pending = Some(actor.begin_log_in(account).await?);
                subject.code = backend.code(account.factor()).await?;
                if scenario == VerifyWrongCode {
                    subject.code = account.factor().wrong_code_at(backend.now());
                }
            }
            VerifyRecoveryCode => {
                subject.pending = Some(actor.begin_log_in(account).await?);
                subject.code = account.recovery_codes.pop().context("no code")?;
            }
            VerifyEleventh => {
                for code in std::mem::take(&mut account.recovery_codes) {
                    backend.actor().begin_log_in(account).await?.verify_with_recovery_code(&code).await?;
                }
                subject.code = backend.code(account.factor()).await?;
                subject.pending = Some(actor.begin_log_in(account).await?);
            }
            VerifyFromKnownDeviceReopens => {
                actor.begin_log_in(account).await?.verify_with_totp(backend, account).await?;
                subject.code = backend.code(account.factor()).await?;
                subject.pending = Some(actor.begin_log_in(account).await?);
                self.shut(account).await?;
            }
            Refresh
            | LogOut
            | LogOutByRefreshToken
            | ReauthenticateByPassword
            | ReauthenticateWrong
            | Enrol
            | ListFactors => {
                subject.session = Some(actor.log_in(account).await?);
            }
            LogOutOthers | LogOutEverywhere => {
                subject.others = vec![backend.actor().log_in(account).await?, actor.log_in(account).await?];
                subject.session = Some(actor.log_in(account).await?);
            }
            RefreshRepeated | RefreshReused => {
                let mut session = actor.log_in(account).await?;
                actor.forget_device();
                let first = session.clone();
                session.refresh().await?;
                if scenario == RefreshReused {
                    session.refresh().await?;
                }
                subject.others = vec![session];
                subject.session = Some(first);
            }
            RefreshRepeatedByDevice => {
                let mut session = actor.log_in(account).await?;
                subject.code = actor.device_token().context("no device token")?;
                subject.session = Some(session.clone());
                session.refresh().await?;
                backend.advance(3600).await?;
            }
            RefreshAtTenSessions => {
                for _ in 0..9 {
                    backend.actor().log_in(account).await?;
                }
                subject.session = Some(actor.log_in(account).await?);
            }
            LogInLocked => self.fail(account, 5).await?,
            Revoke | Introspect | IntrospectAccessToken => {
                subject.session = Some(actor.log_in(account).await?);
                subject.service = Some(backend.client().await?);
            }
            ReauthenticateByTotp
            | ReauthenticateByRecoveryCode
            | RemoveLast
            | Regenerate
            | ConfirmSecond
            | RemoveOne => {
                let pending = actor.begin_log_in(account).await?;
                let session = pending.verify_with_totp(backend, account).await?;
                match scenario {
                    ReauthenticateByTotp => subject.code = backend.code(account.factor()).await?,
                    ReauthenticateByRecoveryCode => {
                        subject.code = account.recovery_codes.pop().context("no code")?;
                    }
                    ConfirmSecond => {
                        let enrolment = session.enrol_totp("Tablet").await?;
                        subject.code = backend.code(&enrolment.factor).await?;
                        subject.enrolment = Some(enrolment);
                    }
                    RemoveOne => session.add_totp(backend, account).await?,
                    _ => {}
                }
                subject.session = Some(session);
            }
            EnrolAgain | RemoveUnconfirmed | Confirm | ConfirmWrong => {
                let session = actor.log_in(account).await?;
                let enrolment = session.enrol_totp("Phone").await?;
                subject.code = match scenario {
                    ConfirmWrong => enrolment.factor.wrong_code_at(backend.now()),
                    Confirm => backend.code(&enrolment.factor).await?,
                    _ => String::new(),
                };
                subject.enrolment = Some(enrolment);
                subject.session = Some(session);
            }
            OperatorDisables | OperatorSetsPassword | OperatorRevokes | OperatorForcesReset => {
                subject.session = Some(actor.log_in(account).await?);
            }
            OperatorResetsFactors => {
                let pending = actor.begin_log_in(account).await?;
                subject.session = Some(pending.verify_with_totp(backend, account).await?);
            }
            OperatorEnables => backend.disable(account).await?,
            OperatorUnlocks => self.fail(account, 5).await?,
            OperatorAddsClient | OperatorRemovesClient => {
                let id = account.email.replace(['@', '.'], "-");
                if scenario == OperatorRemovesClient {
                    ensure!(
                        self.store.add_client(&client(&id), &operators_event()?).await?,
                        "the client was there"
                    );
                }
                subject.service = Some(ServiceClient { id, secret: SECRET.to_owned() });
            }
            _ => {}
        }
        Ok(subject)
    }

    /// A stranger guesses.
    async fn fail(&self, account: &Account, times: usize) -> anyhow::Result<()> {
        let stranger = self.backend.actor();
        for _ in 0..times {
            stranger.try_log_in(&account.email, "Wrong").await?.expect(401)?;
        }
        Ok(())
    }

    /// A hundred consecutive failures of strangers, without the hour that they take.
    async fn shut(&self, account: &Account) -> anyhow::Result<()> {
        self.fail(account, 1).await?;
        let email: Email = account.email.parse()?;
        let (key, policy) = (PoolKey::strangers(email.account_key()), PoolPolicy::default());
        let pool = self.store.pool(&key).await?.context("no pool")?;
        let next =
            Pool { used: policy.limit, total: policy.shut_after, version: pool.version + 1, ..pool.clone() };
        let written = self.store.replace(&key, pool.version, &next, &policy).await?;
        ensure!(matches!(written, Reserved::Yes(_)), "{written:?}");
        // As the hundredth of them does.
        let user: UserId = account.user_id.parse()?;
        Ok(self.store.note_strangers_shut(user, true).await?)
    }

    /// The use case itself.
    pub(crate) async fn act(&self, scenario: Scenario, subject: &mut Subject) -> anyhow::Result<Outcome> {
        if scenario.is_of_deployment() {
            return self.act_on_deployment(scenario, &mut subject.scene).await;
        }
        if scenario.caller().is_some() {
            return Ok(Outcome::of_operator(self.operate(scenario, subject).await));
        }
        let Subject { account, actor, session, pending, enrolment, service, code, .. } = subject;
        let session = session.as_ref();
        let signed_in = || session.context("nobody is signed in");
        let answer = match scenario {
            LogInUnknown | LogInWrong | LogInWrongAndLock | LogInFromKnownDeviceWrong => {
                actor.try_log_in(&account.email, "Wrong").await?
            }
            LogIn
            | LogInAfterFailures
            | LogInAfterLock
            | LogInEleventh
            | LogInWithWeakHash
            | LogInFromKnownDevice
            | LogInFromKnownDeviceBeyond
            | LogInFromKnownDeviceReopens
            | LogInFromThirteenthDevice
            | LogInLocked
            | LogInAwaitsFactor => actor.try_log_in(&account.email, &account.password).await?,
            VerifyTotp | VerifyWrongCode | VerifyEleventh | VerifyFromKnownDeviceReopens => {
                pending.as_ref().context("no sign-in")?.try_verify(&account.factor().id, code).await?
            }
            VerifyRecoveryCode => {
                pending.as_ref().context("no sign-in")?.try_verify("recovery", code).await?
            }
            Refresh | RefreshAtTenSessions | RefreshRepeated | RefreshReused => {
                signed_in()?.try_refresh().await?
            }
            RefreshRepeatedByDevice => {
                let body = json!({"refresh_token": signed_in()?.refresh_token, "device_token": code});
                actor.post("/api/v1/auth/refresh", &body).await?
            }
            Introspect => {
                let service = service.as_ref().context("no client")?;
                actor.introspect(service, &signed_in()?.refresh_token).await?
            }
            IntrospectAccessToken => {
                let service = service.as_ref().context("no client")?;
                actor.introspect(service, &signed_in()?.access_token).await?
            }
            ListFactors => signed_in()?.list_factors().await?,
            LogOut => signed_in()?.log_out("local").await?,
            LogOutByRefreshToken => {
                let body = json!({"refresh_token": signed_in()?.refresh_token});
                actor.post("/api/v1/auth/logout", &body).await?
            }
            LogOutOthers => signed_in()?.log_out("others").await?,
            LogOutEverywhere => signed_in()?.log_out("global").await?,
            Revoke => {
                actor.revoke(service.as_ref().context("no client")?, &signed_in()?.refresh_token).await?
            }
            ReauthenticateByPassword => {
                signed_in()?.try_reauthenticate(&json!({"password": account.password})).await?
            }
            ReauthenticateWrong => signed_in()?.try_reauthenticate(&json!({"password": "Wrong"})).await?,
            ReauthenticateByTotp => {
                let proof = json!({"factor_id": account.factor().id, "code": code});
                signed_in()?.try_reauthenticate(&proof).await?
            }
            ReauthenticateByRecoveryCode => {
                signed_in()?.try_reauthenticate(&json!({"factor_id": "recovery", "code": code})).await?
            }
            Enrol | EnrolAgain => signed_in()?.try_enrol_totp("Phone").await?,
            Confirm | ConfirmSecond | ConfirmWrong => {
                let factor = &enrolment.as_ref().context("no enrolment")?.factor;
                signed_in()?.try_confirm(&factor.id, code).await?
            }
            RemoveUnconfirmed => {
                let factor = &enrolment.as_ref().context("no enrolment")?.factor;
                signed_in()?.remove_factor(&factor.id).await?
            }
            RemoveOne | RemoveLast => {
                let factor = account.factors.last().context("no factor")?;
                signed_in()?.remove_factor(&factor.id).await?
            }
            Regenerate => signed_in()?.new_recovery_codes().await?,
            _ => bail!("an operator's"),
        };
        Ok(Outcome::of(answer))
    }

    async fn operate(&self, scenario: Scenario, subject: &mut Subject) -> anyhow::Result<()> {
        let (backend, account) = (&self.backend, &mut subject.account);
        let service = subject.service.as_ref().map(|service| service.id.clone()).unwrap_or_default();
        match scenario {
            OperatorCreates => {
                account.user_id = backend.account_as(&account.email, &account.password).await?.user_id;
                Ok(())
            }
            OperatorDisables => backend.disable(account).await,
            OperatorEnables => backend.enable(account).await,
            OperatorSetsPassword => backend.set_password(account, "Another horse").await,
            OperatorRevokes => backend.revoke_sessions(account).await,
            OperatorResetsFactors => backend.reset_factors(account).await.map(drop),
            OperatorUnlocks => backend.unlock(account).await,
            OperatorForcesReset => backend.force_reset(account).await.map(drop),
            OperatorAddsClient => {
                match self.store.add_client(&client(&service), &operators_event()?).await? {
                    true => Ok(()),
                    false => bail!("there is such a client already"),
                }
            }
            OperatorRemovesClient => match self.store.remove_client(&service, &operators_event()?).await? {
                true => Ok(()),
                false => bail!("there is no such client"),
            },
            _ => bail!("a user's"),
        }
    }

    /// What the user does next, once nothing fails any more: it works, whatever was answered.
    pub(crate) async fn go_on(
        &self,
        scenario: Scenario,
        subject: &mut Subject,
        outcome: &Outcome,
    ) -> anyhow::Result<()> {
        let done = outcome.is(scenario.answers());
        match scenario {
            _ if scenario.is_of_deployment() => {
                self.go_on_deployment(scenario, &mut subject.scene, outcome).await?;
            }
            LogInUnknown => {
                let again = self.act(scenario, subject).await?;
                ensure!(again.is(scenario.answers()), "{again:?}");
            }
            LogInWrong | LogInWrongAndLock | LogInFromKnownDeviceWrong => {
                // A lock of 30 s may stand now, and the attempt that was cut off counts for 10.
                self.backend.advance(41).await?;
                self.backend.actor().log_in(&subject.account).await?;
            }
            LogIn
            | LogInAfterFailures
            | LogInAfterLock
            | LogInEleventh
            | LogInWithWeakHash
            | LogInFromKnownDevice
            | LogInFromKnownDeviceBeyond
            | LogInFromKnownDeviceReopens
            | LogInFromThirteenthDevice => {
                if done {
                    ensure!(
                        outcome.session(&subject.actor)?.is_alive().await?,
                        "the session that was answered is dead"
                    );
                }
                if !done && scenario == LogInAfterLock {
                    // The one attempt at the end of the lock may have been taken.
                    self.backend.advance(71).await?;
                }
                let mut session = subject.actor.log_in(&subject.account).await?;
                ensure!(session.is_alive().await?, "the next session is dead");
                if scenario == LogInEleventh {
                    let held = crate::state::State::of(&self.backend, &subject.account).await?;
                    ensure!(held.of_kind("session") == 10, "{} sessions", held.of_kind("session"));
                }
            }
            LogInAwaitsFactor => {
                if done {
                    let pending = Pending {
                        actor: subject.actor.clone(),
                        mfa_token: outcome.string("mfa_token")?,
                        factors: Vec::new(),
                    };
                    pending.verify_with_totp(&self.backend, &subject.account).await?;
                }
                self.sign_in_with_totp(subject).await?;
            }
            VerifyTotp | VerifyRecoveryCode | VerifyEleventh | VerifyFromKnownDeviceReopens => {
                if done {
                    ensure!(
                        outcome.session(&subject.actor)?.is_alive().await?,
                        "the session that was answered is dead"
                    );
                    let replay = self.act(scenario, subject).await?;
                    ensure!(replay.status == 401, "a second use: {replay:?}");
                }
                self.sign_in_with_totp(subject).await?;
            }
            VerifyWrongCode => self.sign_in_with_totp(subject).await?,
            Refresh | RefreshAtTenSessions | RefreshRepeated | RefreshRepeatedByDevice => {
                // The same token again, as a client does that was told to try again: the same answer.
                let again = self.act(scenario, subject).await?;
                ensure!(again.is((200, "")), "{again:?}");
                if done {
                    ensure!(
                        outcome.string("refresh_token")? == again.string("refresh_token")?,
                        "two children of one token"
                    );
                }
                ensure!(again.session(&subject.actor)?.is_alive().await?, "the child is dead");
            }
            RefreshReused => {
                let again = self.act(scenario, subject).await?;
                ensure!(again.status == 401, "{again:?}");
                for session in &mut subject.others {
                    ensure!(!session.is_alive().await?, "a session whose token was used twice lives");
                }
                subject.actor.log_in(&subject.account).await?;
            }
            LogOut | LogOutByRefreshToken | LogOutOthers | LogOutEverywhere | Revoke => {
                if !done {
                    let again = self.act(scenario, subject).await?;
                    // The access token of a session that has ended is good for nothing, logging out included.
                    let ended = scenario != LogOutOthers && again.is((401, "invalid_token"));
                    ensure!(again.is(scenario.answers()) || ended, "{again:?}");
                }
                let session = subject.session.as_mut().context("no session")?;
                ensure!(session.is_alive().await? == (scenario == LogOutOthers), "the session of the logout");
                for session in &mut subject.others {
                    ensure!(!session.is_alive().await?, "another session lives on");
                }
                subject.actor.log_in(&subject.account).await?;
            }
            ReauthenticateByPassword | ReauthenticateByTotp | ReauthenticateByRecoveryCode => {
                let mut session = if done {
                    outcome.session(&subject.actor)?
                } else {
                    subject.session.clone().context("no session")?
                };
                if scenario == ReauthenticateByPassword {
                    session.reauthenticate(&json!({"password": subject.account.password})).await?;
                } else {
                    session.step_up(&self.backend, &subject.account).await?;
                }
                ensure!(session.is_alive().await?, "the session is dead");
            }
            ReauthenticateWrong => {
                let session = subject.session.as_mut().context("no session")?;
                session.reauthenticate(&json!({"password": subject.account.password})).await?;
            }
            Enrol | EnrolAgain | RemoveUnconfirmed => {
                let session = subject.session.as_ref().context("no session")?;
                if done && scenario != RemoveUnconfirmed {
                    let factor = Factor::new(&outcome.string("factor_id")?, &outcome.string("secret")?);
                    let code = self.backend.code(&factor).await?;
                    session.try_confirm(&factor.id, &code).await?.expect(200)?;
                } else {
                    session.add_totp(&self.backend, &mut subject.account).await?;
                }
            }
            Confirm | ConfirmSecond | ConfirmWrong => self.confirm_again(scenario, subject, outcome).await?,
            RemoveOne | RemoveLast => {
                if !done {
                    let again = self.act(scenario, subject).await?;
                    ensure!(again.is((204, "")) || again.is((404, "factor_not_found")), "{again:?}");
                }
                if scenario == RemoveLast {
                    self.backend.actor().log_in(&subject.account).await?;
                } else {
                    self.sign_in_with_totp(subject).await?;
                }
            }
            Regenerate => {
                let again = self.act(scenario, subject).await?;
                ensure!(again.is((200, "")), "{again:?}");
                let code = again.codes().pop().context("no codes")?;
                let pending = self.backend.actor().begin_log_in(&subject.account).await?;
                pending.verify_with_recovery_code(&code).await?;
            }
            OperatorCreates => {
                if !done {
                    let again = self.act(scenario, subject).await?;
                    ensure!(again.status == 200 || again.code.contains("there is an account"), "{again:?}");
                }
                self.backend.actor().log_in(&subject.account).await?;
            }
            OperatorDisables
            | OperatorSetsPassword
            | OperatorRevokes
            | OperatorResetsFactors
            | OperatorEnables
            | OperatorForcesReset => {
                if !done {
                    let again = self.act(scenario, subject).await?;
                    ensure!(again.is((200, "")), "{again:?}");
                }
                if let Some(session) = subject.session.as_mut() {
                    ensure!(!session.is_alive().await?, "a session outlives it");
                }
                let answer = self
                    .backend
                    .actor()
                    .try_log_in(&subject.account.email, &subject.account.password)
                    .await?;
                let shut_out = matches!(scenario, OperatorDisables | OperatorForcesReset);
                answer.expect(if shut_out { 401 } else { 200 })?;
            }
            OperatorUnlocks => {
                if !done {
                    let again = self.act(scenario, subject).await?;
                    ensure!(again.is((200, "")), "{again:?}");
                }
                self.backend.actor().log_in(&subject.account).await?;
            }
            OperatorAddsClient | OperatorRemovesClient => {
                if !done {
                    let again = self.act(scenario, subject).await?;
                    // Whoever was refused may find it done.
                    ensure!(again.status != 503, "{again:?}");
                }
                let service = subject.service.as_ref().context("no client")?;
                let answer = subject.actor.introspect(service, "nothing").await?;
                answer.expect(if scenario == OperatorAddsClient { 200 } else { 401 })?;
            }
            Introspect | IntrospectAccessToken => {
                let again = self.act(scenario, subject).await?;
                let answer = again.answer.as_ref().context("no answer")?;
                ensure!(answer.field("active") == true, "{}", answer.text());
            }
            ListFactors | LogInLocked => {
                let again = self.act(scenario, subject).await?;
                ensure!(again.is(scenario.answers()), "{again:?}");
            }
            _ => bail!("nobody goes on"),
        }
        Ok(())
    }

    /// Signs in as an account with a factor does, once attempts that were cut off count no more.
    async fn sign_in_with_totp(&self, subject: &Subject) -> anyhow::Result<()> {
        self.backend.advance(11).await?;
        let pending = subject.actor.begin_log_in(&subject.account).await?;
        let mut session = pending.verify_with_totp(&self.backend, &subject.account).await?;
        ensure!(session.is_alive().await?, "the next session is dead");
        Ok(())
    }

    /// A factor whose confirmation was cut off may be confirmed or not; either way its owner gets in, with recovery codes.
    async fn confirm_again(
        &self,
        scenario: Scenario,
        subject: &mut Subject,
        outcome: &Outcome,
    ) -> anyhow::Result<()> {
        let backend = &self.backend;
        let factor = subject.enrolment.clone().context("no enrolment")?.factor;
        let session = subject.session.clone().context("no session")?;
        let mut codes = outcome.codes();
        if !outcome.is((200, "")) {
            backend.advance(11).await?;
            let code = backend.code(&factor).await?;
            let again = Outcome::of(session.try_confirm(&factor.id, &code).await?);
            // Confirmed after all: to change factors now takes this factor.
            let done_before =
                again.is((401, "reauthentication_required")) || again.is((409, "factor_already_confirmed"));
            ensure!(again.is((200, "")) || done_before, "{again:?}");
            codes = again.codes();
        }
        subject.account.factors.insert(0, factor);
        let pending = backend.actor().begin_log_in(&subject.account).await?;
        let session = pending.verify_with_totp(backend, &subject.account).await?;
        if scenario == ConfirmSecond {
            ensure!(codes.is_empty(), "a second factor brings no codes");
        } else if codes.is_empty() {
            session.new_recovery_codes().await?.expect(200)?;
        } else {
            let pending = backend.actor().begin_log_in(&subject.account).await?;
            pending.verify_with_recovery_code(&codes[0]).await?;
        }
        Ok(())
    }
}

const SECRET: &str = "sps_0123456789abcdef";

/// The event of a client's change; each change has its own.
fn operators_event() -> anyhow::Result<SecurityEvent> {
    let origin = Origin::operator("suite");
    let (id, at) = (OperationId::generate(&OsRandom)?, Timestamp::from_seconds(1_700_000_000));
    Ok(SecurityEvent::new(id, at, EventKind::ClientAdded, audit::Subject::Deployment, &origin))
}

fn client(id: &str) -> Client {
    Client {
        id: id.to_owned(),
        secret: ClientSecret::new(SECRET).hash(),
        created_at: Timestamp::from_seconds(1_700_000_000),
    }
}
