//! Accounts, written as the operator's command writes them, without a hash each.

use std::time::Duration;

use anyhow::{Context as _, bail};
use aws_sdk_dynamodb::types::AttributeValue;
use sallyport_aws::{
    Clients, Endpoints, SecretsKeyring, Store,
    system::{OsRandom, SystemClock},
};
use sallyport_core::{
    accounts::{
        Credential, Email, Epoch, FactorKind, FactorSummary, HashParameters, LoginRecord, Password,
        PasswordHasher, Profile, Status, StoredHash,
    },
    administration::{CreateAccount, ManageAccounts as _},
    audit::{EventKind, Origin, SecurityEvent, Subject},
    clock::Clock as _,
    env::Env,
    flags::{self, BlockSubject, ModeName, NewBlock, NewMode, Reason},
    ids::{FactorId, UserId},
    keyring::{Keyring, KeyringSource as _, Stored},
    throttle::{Attempts as _, Pool, PoolKey, PoolPolicy},
};
use sallyport_lambda::Config;
use sallyport_operations::incidents;

use crate::process::Environment;

pub(crate) const PASSWORD: &str = "correct horse battery staple";

const HOUR: Duration = Duration::from_secs(60 * 60);

/// What accounts are made with, and what else operators do.
pub(crate) struct Operator {
    clients: Clients,
    sessions: String,
    store: Store,
    keyring: Keyring,
    hash: StoredHash,
    /// Of half the memory.
    weak_hash: StoredHash,
}

/// How an account differs from one that may sign in with its password alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    Disabled,
    WithFactor,
    WeakHash,
    Unverified,
    NoPassword,
}

impl Operator {
    /// Connects to the services of `environment`, whose keyring must be filled.
    pub(crate) async fn connect(environment: &Environment) -> anyhow::Result<Self> {
        let lookup = |name: &str| environment.get(name).cloned();
        let config = Config::from_lookup(&lookup)?;
        let clients = Clients::connect(&Endpoints::from_lookup(&lookup), "operator", &lookup)?;
        let source = SecretsKeyring::new(clients.secrets.clone(), &config.keyring_secret);
        let Stored::Filled(text) = source.read().await? else { bail!("the keyring is empty") };
        let keyring = Keyring::parse(text.expose())?;
        let password = Password::new(PASSWORD)?;
        let weak = HashParameters { memory: config.password.memory / 2, ..config.password };
        let hash = PasswordHasher::new(config.password).hash(&password, &keyring, &OsRandom)?;
        let weak_hash = PasswordHasher::new(weak).hash(&password, &keyring, &OsRandom)?;
        let store = Store::new(clients.dynamodb.clone(), config.tables.clone());
        Ok(Self { clients, sessions: config.tables.sessions, store, keyring, hash, weak_hash })
    }

    fn env(&self) -> Env<'_> {
        Env { clock: &SystemClock, random: &OsRandom, keyring: &self.keyring }
    }

    /// All of them have the same password, and the same hash of it, but for those that are to differ in just that.
    pub(crate) async fn create(&self, email: &str, kind: Kind) -> anyhow::Result<UserId> {
        let user = UserId::generate(&OsRandom)?;
        let email: Email = email.parse().context("not an address")?;
        let factor = FactorSummary {
            id: FactorId::generate(&OsRandom)?,
            kind: FactorKind::Totp,
            label: "Phone".to_owned(),
        };
        let record = LoginRecord {
            email: email.clone(),
            user,
            credential: match kind {
                Kind::NoPassword => Credential::None,
                Kind::WeakHash => Credential::Password(self.weak_hash.clone()),
                _ => Credential::Password(self.hash.clone()),
            },
            status: if kind == Kind::Disabled { Status::Disabled } else { Status::Active },
            verified: kind != Kind::Unverified,
            epoch: Epoch::default(),
            factors: if kind == Kind::WithFactor { vec![factor] } else { Vec::new() },
            recovery_codes: kind == Kind::WithFactor,
        };
        let now = SystemClock.now();
        let profile = Profile { user, email, created_at: now, enrolling: None };
        let event = SecurityEvent::new(
            self.env().operation()?,
            now,
            EventKind::AccountCreated,
            Subject::User(user),
            &Origin::operator("bench"),
        );
        let account = CreateAccount { record: &record, profile: &profile, event: &event };
        if !self.store.create(account).await? {
            bail!("{} is there already", profile.email);
        }
        Ok(user)
    }

    /// Takes all sessions away: the next sign-in finds none that would have to give way.
    pub(crate) async fn forget_sessions(&self, user: UserId) -> anyhow::Result<()> {
        self.clients
            .dynamodb
            .delete_item()
            .table_name(&self.sessions)
            .key("user_id", AttributeValue::S(user.to_string()))
            .send()
            .await?;
        Ok(())
    }

    pub(crate) async fn set_mode(&self) -> anyhow::Result<()> {
        let (now, operation) = (SystemClock.now(), self.env().operation()?);
        let new = NewMode::new(ModeName::Emergency, now + HOUR, Reason::new("bench")?);
        flags::set_mode(&self.store, now, operation, new, &Origin::operator("bench")).await?;
        Ok(())
    }

    pub(crate) async fn block(&self) -> anyhow::Result<()> {
        let (now, operation) = (SystemClock.now(), self.env().operation()?);
        let subject = BlockSubject::Network("203.0.113.0/24".parse()?);
        let new = NewBlock::new(subject, now + HOUR, Reason::new("bench")?);
        flags::add_block(&self.store, now, operation, new, &Origin::operator("bench")).await?;
        Ok(())
    }

    pub(crate) async fn acknowledge(&self, incident: &str) -> anyhow::Result<()> {
        let (now, origin) = (SystemClock.now(), Origin::operator("bench"));
        incidents::acknowledge(&self.store, now, &OsRandom, incident.parse()?, None, &origin).await?;
        Ok(())
    }

    pub(crate) async fn resolve(&self, incident: &str) -> anyhow::Result<()> {
        let (now, origin) = (SystemClock.now(), Origin::operator("bench"));
        incidents::resolve(&self.store, now, &OsRandom, incident.parse()?, "Over.", false, &origin).await?;
        Ok(())
    }

    /// Locks the pool of an address, for a quarter of an hour and whether or not it has an account.
    pub(crate) async fn lock(&self, email: &str) -> anyhow::Result<()> {
        let email: Email = email.parse().context("not an address")?;
        let pool =
            Pool { used: 5, total: 15, probes: 10, last: SystemClock.now(), version: 1, ..Pool::default() };
        let key = PoolKey::strangers(email.account_key());
        self.store.forget(&key).await?;
        self.store.replace(&key, 0, &pool, &PoolPolicy::default()).await?;
        Ok(())
    }
}
