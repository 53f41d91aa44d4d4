//! The keyring in Secrets Manager, and its copy in the process.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use aws_sdk_secretsmanager::{Client, operation::put_secret_value::PutSecretValueError};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use sallyport_core::{
    clock::{Clock, Timestamp},
    keyring::{
        FillKeyring, KeyId, KeyState, Keyring, KeyringDocument, KeyringSource, SecretKeyEntry,
        SigningAlgorithm, SigningKeyEntry, Stored,
    },
    random::Random,
    secret::Secret,
    store::{StoreError, StoreResult},
};

use crate::{meter, store::unavailable};

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
        let operation = "fill keyring";
        let text = serde_json::to_string(document)
            .map_err(|error| StoreError::Unavailable { operation, reason: error.to_string() })?;
        let sent = self
            .client
            .put_secret_value()
            .secret_id(&self.secret)
            .client_request_token(FIRST_VERSION)
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

/// New keys of every kind, each current.
///
/// # Errors
/// The generator failed.
pub fn generate_keyring(
    algorithm: SigningAlgorithm,
    random: &dyn Random,
    now: Timestamp,
) -> StoreResult<KeyringDocument> {
    let failed =
        |reason: &str| StoreError::Unavailable { operation: "generate keys", reason: reason.to_owned() };
    let pkcs8 = match algorithm {
        SigningAlgorithm::ES256 => {
            #[expect(clippy::disallowed_methods, reason = "aws-lc draws the randomness of key pairs itself")]
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
    let secret = || -> StoreResult<Vec<SecretKeyEntry>> {
        Ok(vec![SecretKeyEntry {
            id: KeyId(1),
            state: KeyState::Current,
            created_at: now.seconds(),
            key: Secret::new(STANDARD.encode(random.bytes::<32>()?)),
        }])
    };
    Ok(KeyringDocument {
        version: KeyringDocument::VERSION,
        signing: vec![SigningKeyEntry {
            kid: URL_SAFE_NO_PAD.encode(random.bytes::<9>()?),
            algorithm,
            state: KeyState::Current,
            created_at: now.seconds(),
            private_key: Secret::new(STANDARD.encode(Secret::new(pkcs8).expose())),
        }],
        refresh: secret()?,
        device: secret()?,
        pepper: secret()?,
        aead: secret()?,
    })
}

struct Copied {
    keyring: Arc<Keyring>,
    fetched_at: Timestamp,
    /// After a failed fetch: not before this.
    retry_at: Timestamp,
}

/// The keyring in the process: fetched when it is older than `max_age`, kept when the fetch fails.
pub struct KeyringCache<S> {
    source: S,
    clock: Arc<dyn Clock>,
    max_age: Duration,
    copy: Mutex<Option<Copied>>,
}

/// How long a failed fetch is not repeated.
const RETRY: Duration = Duration::from_secs(5);

impl<S: KeyringSource> KeyringCache<S> {
    pub fn new(source: S, clock: Arc<dyn Clock>, max_age: Duration) -> Self {
        Self { source, clock, max_age, copy: Mutex::new(None) }
    }

    pub fn source(&self) -> &S {
        &self.source
    }

    /// The keyring; `None` when the secret has not been filled yet.
    ///
    /// # Errors
    /// The fetch failed and there is no copy, or what it fetched does not read.
    pub async fn get(&self) -> StoreResult<Option<Arc<Keyring>>> {
        let now = self.clock.now();
        if let Some(keyring) = self.fresh(now) {
            meter::note_cache(true);
            return Ok(Some(keyring));
        }
        meter::note_cache(false);
        let fetched = match self.fetch().await {
            // Whoever emptied the secret has not emptied this copy, which sessions and factors depend on.
            Ok(None) if self.locked().is_some() => Err(damaged("it has been emptied".to_owned())),
            fetched => fetched,
        };
        match fetched {
            Ok(None) => Ok(None),
            Ok(Some(keyring)) => {
                let keyring = Arc::new(keyring);
                let copied = Copied { keyring: Arc::clone(&keyring), fetched_at: now, retry_at: now };
                *self.locked() = Some(copied);
                Ok(Some(keyring))
            }
            Err(error) => {
                let mut copy = self.locked();
                let Some(copied) = copy.as_mut() else {
                    return Err(error);
                };
                copied.retry_at = now + RETRY;
                tracing::warn!(%error, "the keyring could not be fetched, the last good one serves on");
                Ok(Some(Arc::clone(&copied.keyring)))
            }
        }
    }

    fn fresh(&self, now: Timestamp) -> Option<Arc<Keyring>> {
        let copy = self.locked();
        let copied = copy.as_ref()?;
        let fresh = now < copied.fetched_at + self.max_age || now < copied.retry_at;
        fresh.then(|| Arc::clone(&copied.keyring))
    }

    async fn fetch(&self) -> StoreResult<Option<Keyring>> {
        match self.source.read().await? {
            Stored::Empty => Ok(None),
            Stored::Filled(text) => {
                Keyring::parse(text.expose()).map(Some).map_err(|error| damaged(error.to_string()))
            }
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Option<Copied>> {
        self.copy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn damaged(problem: String) -> StoreError {
    StoreError::Corrupt { table: "keyring", key: "AWSCURRENT".to_owned(), problem }
}

impl<S> std::fmt::Debug for KeyringCache<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyringCache").field("max_age", &self.max_age).finish_non_exhaustive()
    }
}
