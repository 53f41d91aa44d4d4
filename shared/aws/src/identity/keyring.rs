//! The keyring in Secrets Manager, and its copy in the process.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use aws_sdk_secretsmanager::{
    Client,
    operation::{
        get_secret_value::GetSecretValueError, put_secret_value::PutSecretValueError,
        update_secret_version_stage::UpdateSecretVersionStageError,
    },
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use sallyport_core::{
    audit::{RecordEvent, SecurityEvent},
    clock::{Clock, Timestamp},
    keyring::{
        FillKeyring, KeyId, KeyState, Keyring, KeyringDocument, KeyringSource, SecretKeyEntry,
        SigningAlgorithm, SigningKeyEntry, Stored,
    },
    random::Random,
    secret::Secret,
    store::{StoreError, StoreResult},
};
use sallyport_operations::{
    rotate::{self, KeyringVersions, OutdateCopies, Versions},
    rotation::MakeKeys,
};

use crate::platform::{
    cache::LastGood,
    meter,
    store::{Store, unavailable},
};

/// The idempotency token of the first version. It is always the same: Secrets Manager takes one content under a token, so
/// that of two that fill the secret at once one wins and the other is told.
const FIRST_VERSION: &str = "5a11b0a7-0000-4000-8000-6b657972696e";

/// The secret that holds the keyring.
#[derive(Debug, Clone)]
pub struct SecretsKeyring {
    client: Client,
    secret: String,
}

impl SecretsKeyring {
    /// `secret` is its name or ARN.
    pub fn new(client: Client, secret: impl Into<String>) -> Self {
        Self { client, secret: secret.into() }
    }
}

impl KeyringSource for SecretsKeyring {
    async fn read(&self) -> StoreResult<Stored> {
        let answer = self
            .client
            .get_secret_value()
            .secret_id(&self.secret)
            .send()
            .await
            .map_err(unavailable("read keyring"))?;
        let text = answer.secret_string.unwrap_or_default();
        Ok(match text.trim() {
            "" | "{}" => Stored::Empty,
            _ => Stored::Filled(Secret::new(text)),
        })
    }
}

impl FillKeyring for SecretsKeyring {
    async fn fill(&self, document: &KeyringDocument) -> StoreResult<bool> {
        self.put("fill keyring", FIRST_VERSION, document, None).await
    }
}

impl SecretsKeyring {
    /// Adds a version, or confirms it. `false` when the version holds something else.
    async fn put(
        &self,
        operation: &'static str,
        version: &str,
        document: &KeyringDocument,
        stage: Option<&str>,
    ) -> StoreResult<bool> {
        let text = serde_json::to_string(document)
            .map_err(|error| StoreError::Unavailable { operation, reason: error.to_string() })?;
        let sent = self
            .client
            .put_secret_value()
            .secret_id(&self.secret)
            .client_request_token(version)
            .set_version_stages(stage.map(|stage| vec![stage.to_owned()]))
            .secret_string(text)
            .send()
            .await;
        match sent {
            Ok(_) => Ok(true),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(PutSecretValueError::is_resource_exists_exception) =>
            {
                Ok(false)
            }
            Err(error) => Err(unavailable(operation)(error)),
        }
    }
}

impl KeyringVersions for SecretsKeyring {
    async fn versions(&self) -> StoreResult<Versions> {
        let answer = self
            .client
            .describe_secret()
            .secret_id(&self.secret)
            .send()
            .await
            .map_err(unavailable("describe keyring"))?;
        Ok(Versions {
            rotation_enabled: answer.rotation_enabled.unwrap_or_default(),
            stages: answer.version_ids_to_stages.unwrap_or_default().into_iter().collect(),
        })
    }

    async fn version(&self, id: &str) -> StoreResult<Option<Secret<String>>> {
        let sent = self.client.get_secret_value().secret_id(&self.secret).version_id(id).send().await;
        match sent {
            Ok(answer) => Ok(answer.secret_string.map(Secret::new)),
            // A version that was reserved and not filled is "not found" too; that the secret is there was seen before.
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(GetSecretValueError::is_resource_not_found_exception) =>
            {
                Ok(None)
            }
            Err(error) => Err(unavailable("read keyring version")(error)),
        }
    }

    async fn put_pending(&self, id: &str, document: &KeyringDocument) -> StoreResult<bool> {
        self.put("stage keyring", id, document, Some(rotate::PENDING)).await
    }

    async fn make_current(&self, to: &str, from: &str) -> StoreResult<bool> {
        let sent = self
            .client
            .update_secret_version_stage()
            .secret_id(&self.secret)
            .version_stage(rotate::CURRENT)
            .move_to_version_id(to)
            .remove_from_version_id(from)
            .send()
            .await;
        match sent {
            Ok(_) => Ok(true),
            // The stage is not on `from`.
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(UpdateSecretVersionStageError::is_invalid_parameter_exception) =>
            {
                Ok(false)
            }
            Err(error) => Err(unavailable("make keyring current")(error)),
        }
    }

    async fn drop_pending(&self, id: &str) -> StoreResult<()> {
        let sent = self
            .client
            .update_secret_version_stage()
            .secret_id(&self.secret)
            .version_stage(rotate::PENDING)
            .remove_from_version_id(id)
            .send()
            .await;
        match sent {
            Ok(_) => Ok(()),
            // Not there, or at another version by now: nothing is to be taken away.
            Err(error)
                if error.as_service_error().is_some_and(|error| {
                    error.is_invalid_parameter_exception() || error.is_resource_not_found_exception()
                }) =>
            {
                Ok(())
            }
            Err(error) => Err(unavailable("unstage keyring")(error)),
        }
    }
}

/// The secret, the table of events and the flags: what a rotation changes.
#[derive(Debug, Clone, Copy)]
pub struct KeyringVault<'a> {
    pub secret: &'a SecretsKeyring,
    pub store: &'a Store,
}

impl KeyringVersions for KeyringVault<'_> {
    async fn versions(&self) -> StoreResult<Versions> {
        self.secret.versions().await
    }

    async fn version(&self, id: &str) -> StoreResult<Option<Secret<String>>> {
        self.secret.version(id).await
    }

    async fn put_pending(&self, id: &str, document: &KeyringDocument) -> StoreResult<bool> {
        self.secret.put_pending(id, document).await
    }

    async fn make_current(&self, to: &str, from: &str) -> StoreResult<bool> {
        self.secret.make_current(to, from).await
    }

    async fn drop_pending(&self, id: &str) -> StoreResult<()> {
        self.secret.drop_pending(id).await
    }
}

impl OutdateCopies for KeyringVault<'_> {
    async fn outdate_copies(&self, from: Timestamp) -> StoreResult<()> {
        self.store.outdate_copies(from).await
    }
}

impl RecordEvent for KeyringVault<'_> {
    async fn record(&self, event: &SecurityEvent) -> StoreResult<()> {
        self.store.record(event).await
    }
}

/// Makes keys with the process's randomness.
#[derive(Clone, Copy)]
pub struct KeyMaker<'a>(pub &'a dyn Random);

impl std::fmt::Debug for KeyMaker<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyMaker")
    }
}

impl MakeKeys for KeyMaker<'_> {
    fn signing(&self, algorithm: SigningAlgorithm) -> StoreResult<(String, Secret<String>)> {
        let failed =
            |reason: &str| StoreError::Unavailable { operation: "generate keys", reason: reason.to_owned() };
        let pkcs8 = match algorithm {
            SigningAlgorithm::ES256 => {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "aws-lc draws the randomness of key pairs itself"
                )]
                let generator = SystemRandom::new();
                EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &generator)
                    .map_err(|_| failed("ECDSA"))?
                    .as_ref()
                    .to_vec()
            }
            SigningAlgorithm::RS256 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa3072).map_err(|_| failed("RSA"))?;
                AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(|_| failed("RSA"))?.as_ref().to_vec()
            }
        };
        let kid = URL_SAFE_NO_PAD.encode(self.0.bytes::<9>()?);
        Ok((kid, Secret::new(STANDARD.encode(Secret::new(pkcs8).expose()))))
    }

    fn secret(&self) -> StoreResult<Secret<String>> {
        Ok(Secret::new(STANDARD.encode(self.0.bytes::<32>()?)))
    }
}

/// New keys of every kind, each current.
///
/// # Errors
/// The generator failed.
pub fn generate_keyring(
    algorithm: SigningAlgorithm,
    random: &dyn Random,
    now: Timestamp,
) -> StoreResult<KeyringDocument> {
    let keys = KeyMaker(random);
    let (kid, private_key) = keys.signing(algorithm)?;
    let (state, created_at, since) = (KeyState::Current, now.seconds(), None);
    let secret = || -> StoreResult<Vec<SecretKeyEntry>> {
        Ok(vec![SecretKeyEntry { id: KeyId(1), state, created_at, since, key: keys.secret()? }])
    };
    Ok(KeyringDocument {
        version: KeyringDocument::VERSION,
        changed_at: None,
        signing: vec![SigningKeyEntry { kid, algorithm, state, created_at, since, private_key }],
        refresh: secret()?,
        device: secret()?,
        pepper: secret()?,
        aead: secret()?,
    })
}

/// The keyring in the process: fetched when it is older than `max_age`, kept when the fetch fails.
pub struct KeyringCache<S> {
    source: S,
    copy: LastGood<Keyring>,
}

impl<S: KeyringSource> KeyringCache<S> {
    pub fn new(source: S, clock: Arc<dyn Clock>, max_age: Duration) -> Self {
        Self { source, copy: LastGood::new("the keyring", clock, max_age) }
    }

    pub fn source(&self) -> &S {
        &self.source
    }

    /// The keyring; `None` when the secret has not been filled yet. None from before `from` is served: what was revoked since
    /// is in use in it.
    ///
    /// # Errors
    /// The fetch failed and there is no copy that counts, or what it fetched does not read, or is from before `from`.
    pub async fn get(&self, from: Option<Timestamp>) -> StoreResult<Option<Arc<Keyring>>> {
        let is_outdated = |copy: &Keyring| from.is_some_and(|from| copy.is_from_before(from));
        self.copy.get(is_outdated, self.fetch()).await
    }

    /// The last good copy, however old, without asking anybody; `None` when there is none. A copy from before `from` is not
    /// served here either, so that another is fetched.
    ///
    /// # Errors
    /// As [`KeyringCache::get`], where the copy is from before `from`.
    pub async fn last(&self, from: Option<Timestamp>) -> StoreResult<Option<Arc<Keyring>>> {
        match self.copy.last() {
            Some(copy) if from.is_some_and(|from| copy.is_from_before(from)) => self.get(from).await,
            copy => {
                meter::note_cache(copy.is_some());
                Ok(copy)
            }
        }
    }

    async fn fetch(&self) -> StoreResult<Option<Keyring>> {
        match self.source.read().await? {
            // Whoever emptied the secret has not emptied this copy, which sessions and factors depend on.
            Stored::Empty if self.copy.last().is_some() => Err(damaged("it has been emptied".to_owned())),
            Stored::Empty => Ok(None),
            Stored::Filled(text) => {
                Keyring::parse(text.expose()).map(Some).map_err(|error| damaged(error.to_string()))
            }
        }
    }
}

fn damaged(problem: String) -> StoreError {
    StoreError::Corrupt { table: "keyring", key: "AWSCURRENT".to_owned(), problem }
}

impl<S> std::fmt::Debug for KeyringCache<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyringCache").field("max_age", &self.copy.max_age()).finish_non_exhaustive()
    }
}
