//! Accounts made and changed as the operator's command does it.

use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use sallyport_aws::{Clients, SecretsKeyring, Store, system::OsRandom};
use sallyport_core::{
    accounts::{Email, Password, PasswordHasher},
    administration::{AdministrationError, NewAccount, create_account, set_password},
    audit::Origin,
    clock::Clock,
    env::Env,
    keyring::{Keyring, KeyringSource as _, Stored},
};
use sallyport_lambda::Config;

/// What accounts are made with.
pub(crate) struct Accounts {
    store: Store,
    keyring: Keyring,
    hasher: PasswordHasher,
    clock: Arc<dyn Clock>,
}

impl Accounts {
    /// Connects to the tables and the keyring that the functions use.
    ///
    /// # Errors
    /// When the keyring cannot be read or has not been filled.
    pub(crate) async fn connect(
        clients: Clients,
        config: &Config,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let keyring = SecretsKeyring::new(clients.secrets, &config.keyring_secret);
        let keyring = match keyring.read().await? {
            Stored::Filled(text) => Keyring::parse(text.expose())?,
            Stored::Empty => return Err(anyhow!("the keyring is empty")),
        };
        let store = Store::new(clients.dynamodb, config.tables.clone());
        Ok(Self { store, keyring, hasher: PasswordHasher::new(config.password), clock })
    }

    /// `false` when there is such an account already.
    ///
    /// # Errors
    /// When the address or the password is none, when the database fails.
    pub(super) async fn create(&self, email: &str, password: &str) -> anyhow::Result<bool> {
        let new = NewAccount { email: address(email)?, password: Password::new(password)? };
        match create_account(&self.store, self.env(), &self.hasher, new, &origin()).await {
            Ok(_) => Ok(true),
            Err(AdministrationError::Exists) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// # Errors
    /// When the address or the password is none, when the database fails.
    pub(super) async fn set_password(&self, email: &str, password: &str) -> anyhow::Result<()> {
        let password = Password::new(password)?;
        Ok(set_password(&self.store, self.env(), &self.hasher, &address(email)?, &password, &origin())
            .await?)
    }

    fn env(&self) -> Env<'_> {
        Env { clock: self.clock.as_ref(), random: &OsRandom, keyring: &self.keyring }
    }
}

fn address(email: &str) -> anyhow::Result<Email> {
    email.parse().with_context(|| format!("{email} is not an address"))
}

fn origin() -> Origin {
    Origin::operator("local")
}
