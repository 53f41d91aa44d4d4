//! The secret of outside providers.

use aws_sdk_secretsmanager::Client;
use sallyport_core::{
    providers::{Providers, ReadProviders},
    store::{StoreError, StoreResult},
};

use crate::platform::store::unavailable;

/// The secret that operators enter credentials into.
#[derive(Debug, Clone)]
pub struct SecretsProviders {
    client: Client,
    secret: String,
}

impl SecretsProviders {
    /// `secret` is its name or ARN.
    pub fn new(client: Client, secret: impl Into<String>) -> Self {
        Self { client, secret: secret.into() }
    }
}

impl ReadProviders for SecretsProviders {
    async fn providers(&self) -> StoreResult<Providers> {
        let answer = self
            .client
            .get_secret_value()
            .secret_id(&self.secret)
            .send()
            .await
            .map_err(unavailable("read providers"))?;
        Providers::parse(answer.secret_string.as_deref().unwrap_or("{}")).map_err(|problem| {
            StoreError::Corrupt {
                table: "providers",
                key: "AWSCURRENT".to_owned(),
                problem: problem.to_owned(),
            }
        })
    }
}
