//! What an operator does, by the code of the operator's command.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail};
use sallyport_aws::{
    Clients, Endpoints, KeyMaker, KeyringVault, SecretsKeyring, Store,
    system::{OsRandom, SystemClock},
};
use sallyport_core::{
    accounts::{Email, Password, PasswordHasher, Status},
    administration::{self, NewAccount},
    audit::Origin,
    clients::{self, Client, ClientSecret},
    clock::{Clock, Timestamp, Waiting},
    env::Env,
    flags::{self, BlockSubject, ModeName, NewBlock, NewMode, Reason},
    ids::OperationId,
    keyring::{Keyring, KeyringSource as _, SigningAlgorithm, Stored},
};
use sallyport_lambda::Config;
use sallyport_operations::{
    incidents,
    rotate::{self, RotationEnv},
    rotation::RotationPolicy,
};

/// The backend's clock, seen from here.
#[derive(Debug, Default)]
pub(crate) struct OffsetClock(AtomicU64);

impl OffsetClock {
    pub(crate) fn set(&self, offset: Duration) {
        self.0.store(u64::try_from(offset.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for OffsetClock {
    fn now(&self) -> Timestamp {
        SystemClock.now() + Duration::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn sleep(&self, duration: Duration) -> Waiting<'_> {
        SystemClock.sleep(duration)
    }
}

pub(crate) struct Operator {
    store: Store,
    secret: SecretsKeyring,
    algorithm: SigningAlgorithm,
    keyring: Option<Keyring>,
    document: String,
    hasher: PasswordHasher,
    clock: Arc<OffsetClock>,
}

impl Operator {
    pub(crate) async fn connect(
        environment: &local::Environment,
        clock: Arc<OffsetClock>,
    ) -> anyhow::Result<Self> {
        let lookup = |name: &str| environment.get(name).cloned();
        let config = Config::from_lookup(&lookup)?;
        let clients = Clients::connect(&Endpoints::from_lookup(&lookup), "operator", &lookup)?;
        // Without a keyring there is no account to create; a suite may want to see just that.
        let secret = SecretsKeyring::new(clients.secrets, &config.keyring_secret);
        let document = match secret.read().await {
            Ok(Stored::Filled(text)) => text.expose().clone(),
            Ok(Stored::Empty) | Err(_) => String::new(),
        };
        let keyring = if document.is_empty() { None } else { Some(Keyring::parse(&document)?) };
        let store = Store::new(clients.dynamodb, config.tables.clone());
        let (algorithm, hasher) = (config.signing_algorithm, PasswordHasher::new(config.password));
        Ok(Self { store, secret, algorithm, keyring, document, hasher, clock })
    }

    /// The keyring as it is stored.
    pub(crate) fn document(&self) -> &str {
        &self.document
    }

    fn env(&self) -> anyhow::Result<Env<'_>> {
        let keyring = self.keyring.as_ref().context("the backend has no keyring")?;
        Ok(Env { clock: &*self.clock, random: &OsRandom, keyring })
    }

    pub(crate) async fn create(&self, email: &str, password: &str) -> anyhow::Result<String> {
        let new = NewAccount { email: address(email)?, password: Password::new(password)? };
        Ok(administration::create_account(&self.store, self.env()?, &self.hasher, new, &origin())
            .await?
            .to_string())
    }

    pub(crate) async fn set_status(&self, email: &str, status: Status) -> anyhow::Result<()> {
        Ok(administration::set_status(&self.store, self.env()?, &address(email)?, status, &origin()).await?)
    }

    pub(crate) async fn set_password(&self, email: &str, password: &str) -> anyhow::Result<()> {
        let password = Password::new(password)?;
        let email = address(email)?;
        Ok(administration::set_password(&self.store, self.env()?, &self.hasher, &email, &password, &origin())
            .await?)
    }

    pub(crate) async fn revoke_sessions(&self, email: &str) -> anyhow::Result<()> {
        Ok(administration::revoke_sessions(&self.store, self.env()?, &address(email)?, &origin()).await?)
    }

    pub(crate) async fn reset_factors(&self, email: &str) -> anyhow::Result<bool> {
        Ok(administration::reset_factors(&self.store, self.env()?, &address(email)?, &origin()).await?)
    }

    pub(crate) async fn unlock(&self, email: &str) -> anyhow::Result<()> {
        Ok(administration::unlock(&self.store, self.env()?, &address(email)?, &origin()).await?)
    }

    pub(crate) async fn acknowledge_incident(&self, id: &str) -> anyhow::Result<()> {
        let id = id.parse()?;
        incidents::acknowledge(&self.store, self.clock.now(), &OsRandom, id, None, &origin()).await?;
        Ok(())
    }

    pub(crate) async fn resolve_incident(&self, id: &str) -> anyhow::Result<()> {
        let (id, now) = (id.parse()?, self.clock.now());
        incidents::resolve(&self.store, now, &OsRandom, id, "It is over.", false, &origin()).await?;
        Ok(())
    }

    pub(crate) async fn set_mode(&self, name: ModeName, lasts: Duration, factor: u32) -> anyhow::Result<()> {
        let now = self.clock.now();
        let new = NewMode::new(name, now + lasts, Reason::new("suite")?);
        let new = if name == ModeName::Emergency { new.factor(factor) } else { new };
        flags::set_mode(&self.store, now, operation()?, new, &origin()).await?;
        Ok(())
    }

    pub(crate) async fn clear_mode(&self, name: ModeName) -> anyhow::Result<()> {
        flags::clear_mode(&self.store, self.clock.now(), operation()?, name, &origin()).await?;
        Ok(())
    }

    pub(crate) async fn block(&self, subject: BlockSubject, lasts: Duration) -> anyhow::Result<()> {
        let now = self.clock.now();
        let new = NewBlock::new(subject, now + lasts, Reason::new("suite")?);
        flags::add_block(&self.store, now, operation()?, new, &origin()).await?;
        Ok(())
    }

    pub(crate) async fn unblock(&self, subject: BlockSubject) -> anyhow::Result<()> {
        flags::remove_block(&self.store, self.clock.now(), operation()?, subject, &origin()).await?;
        Ok(())
    }

    pub(crate) async fn revoke_key(&self, name: &str) -> anyhow::Result<()> {
        let vault = KeyringVault { secret: &self.secret, store: &self.store };
        let policy = RotationPolicy { keyring_max_age: Duration::from_secs(300) };
        let keys = KeyMaker(&OsRandom);
        let env = RotationEnv { now: self.clock.now(), policy, algorithm: self.algorithm, keys: &keys };
        let token = format!("{:032x}", u128::from_be_bytes(*operation()?.as_bytes()));
        rotate::revoke(&vault, env, &name.parse()?, &token, &origin()).await?;
        Ok(())
    }

    pub(crate) async fn force_reset(&self, email: &str) -> anyhow::Result<bool> {
        Ok(administration::force_reset(&self.store, self.env()?, &address(email)?, None, &origin()).await?)
    }

    pub(crate) async fn add_client(&self, id: &str) -> anyhow::Result<String> {
        let secret = ClientSecret::generate(&OsRandom)?;
        self.add_client_with(id, secret.expose()).await?;
        Ok(secret.expose().to_owned())
    }

    pub(crate) async fn remove_client(&self, id: &str) -> anyhow::Result<()> {
        if clients::remove(&self.store, self.env()?, id, &origin()).await? {
            Ok(())
        } else {
            bail!("there is no client {id}")
        }
    }

    pub(crate) async fn add_client_with(&self, id: &str, secret: &str) -> anyhow::Result<()> {
        let client = Client {
            id: id.to_owned(),
            secret: ClientSecret::new(secret).hash(),
            created_at: self.clock.now(),
        };
        if clients::add(&self.store, self.env()?, &client, &origin()).await? {
            Ok(())
        } else {
            bail!("there is a client {id} already")
        }
    }
}

fn operation() -> anyhow::Result<OperationId> {
    Ok(OperationId::generate(&OsRandom)?)
}

fn address(email: &str) -> anyhow::Result<Email> {
    email.parse().with_context(|| format!("{email} is not an address"))
}

fn origin() -> Origin {
    Origin::operator("suite")
}
