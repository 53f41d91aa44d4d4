//! Probes of what this deployment depends on.

use sallyport_core::{
    checks::{Component, Probe},
    keyring::{Keyring, KeyringSource as _, Stored},
    store::{StoreError, StoreResult},
};
use sallyport_http::Platform;

pub(crate) struct Probes<'a> {
    platform: &'a Platform,
}

impl<'a> Probes<'a> {
    pub(crate) fn new(platform: &'a Platform) -> Self {
        Self { platform }
    }

    /// Reads the secret itself, past the cache: whether it can be read is the question.
    async fn keyring(&self) -> StoreResult<()> {
        let corrupt =
            |problem: String| StoreError::Corrupt { table: "keyring", key: "AWSCURRENT".to_owned(), problem };
        match self.platform.keyring_cache().source().read().await? {
            Stored::Empty => Err(corrupt("it has not been filled yet: sallyport keys init".to_owned())),
            Stored::Filled(text) => {
                Keyring::parse(text.expose()).map(drop).map_err(|error| corrupt(error.to_string()))
            }
        }
    }
}

impl Probe for Probes<'_> {
    async fn probe(&self, component: Component) -> StoreResult<()> {
        match component {
            Component::Keyring => self.keyring().await,
            Component::Users | Component::Sessions | Component::Throttle => {
                self.platform.store().probe_table(component).await
            }
        }
    }
}
