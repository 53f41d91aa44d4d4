//! The deployment that a command works on: where it is, what it is made of, who asks.

mod clock;
mod connect;
mod operator;
mod settings;
mod stack;

use sallyport_aws::{SecretsKeyring, Store, Tables, generate_keyring, system::OsRandom};
use sallyport_core::{
    accounts::HashParameters,
    audit::{EventKind, Origin, RecordEvent as _, SecurityEvent, Subject},
    clock::{Clock as _, Timestamp},
    env::Env,
    ids::OperationId,
    keyring::{Keyring, KeyringSource as _, SigningAlgorithm, Stored},
};

pub(crate) use self::{
    clock::OperatorClock,
    connect::{Connection, is_loopback},
    operator::operator,
    settings::{FUNCTIONS, Settings, TABLES, name},
};
use crate::{cli::Target, failure::Failure};

/// A deployment that was found.
pub(crate) struct Deployment {
    pub(crate) connection: Connection,
    pub(crate) settings: Settings,
    pub(crate) tables: Tables,
    pub(crate) store: Store,
    pub(crate) secret: SecretsKeyring,
    clock: OperatorClock,
    random: OsRandom,
}

impl Deployment {
    /// # Errors
    /// There is no such stack, or neither stack nor variables say where to go.
    pub(crate) async fn find(target: &Target) -> Result<Self, Failure> {
        let connection = Connection::open(target).await?;
        let settings = Settings::find(target, &connection).await?;
        let tables = settings.tables()?;
        Ok(Self {
            store: Store::new(connection.dynamodb.clone(), tables.clone()),
            secret: SecretsKeyring::new(connection.secrets.clone(), settings.keyring_secret()?),
            connection,
            settings,
            tables,
            clock: OperatorClock::of(target).await,
            random: OsRandom,
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The keyring, for what hashes passwords or opens seeds.
    ///
    /// # Errors
    /// It does not read, or is empty.
    pub(crate) async fn keyring(&self) -> Result<Keyring, Failure> {
        match self.secret.read().await? {
            Stored::Filled(document) => Ok(Keyring::parse(document.expose())?),
            Stored::Empty => Err(Failure::dependency(
                "keyring_empty",
                "the keyring is empty: run `sallyport keys init` first",
            )),
        }
    }

    pub(crate) fn env<'a>(&'a self, keyring: &'a Keyring) -> Env<'a> {
        Env { clock: &self.clock, random: &self.random, keyring }
    }

    pub(crate) fn random(&self) -> &dyn sallyport_core::random::Random {
        &self.random
    }

    /// What a change is remembered by, should its reply be lost.
    ///
    /// # Errors
    /// No randomness.
    pub(crate) fn operation(&self) -> Result<OperationId, Failure> {
        Ok(OperationId::generate(&self.random)?)
    }

    /// An identifier for a new version of the secret: a random UUID, as Secrets Manager takes it.
    ///
    /// # Errors
    /// No randomness.
    pub(crate) fn version(&self) -> Result<String, Failure> {
        let bytes = self.random().bytes::<16>()?;
        Ok(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
    }

    /// The parameters that new hashes get.
    ///
    /// # Errors
    /// A variable is no number.
    pub(crate) fn hash_parameters(&self) -> Result<HashParameters, Failure> {
        self.settings.hash_parameters()
    }

    /// Keeps an event of the deployment itself.
    pub(crate) async fn record(&self, kind: EventKind, detail: &str) -> Result<(), Failure> {
        Ok(self.store.record(&self.event(kind, detail)?).await?)
    }

    /// An event of the deployment itself, for a transaction that keeps it.
    ///
    /// # Errors
    /// No randomness.
    pub(crate) fn event(&self, kind: EventKind, detail: &str) -> Result<SecurityEvent, Failure> {
        let id = OperationId::generate(&self.random)?;
        Ok(SecurityEvent::new(id, self.now(), kind, Subject::Deployment, &Self::origin()?).detail(detail))
    }

    /// The operator, as events name who acted.
    ///
    /// # Errors
    /// The environment's name for the operator can't be kept.
    pub(crate) fn origin() -> Result<Origin, Failure> {
        Ok(Origin::operator(&operator()?))
    }
}

/// A keyring for use cases that use none of its keys. Disabling an account must work while the real one can't be read.
///
/// # Errors
/// No randomness.
pub(crate) fn placeholder_keyring(now: Timestamp) -> Result<Keyring, Failure> {
    let document = generate_keyring(SigningAlgorithm::ES256, &OsRandom, now)?;
    Ok(Keyring::from_document(&document)?)
}
