//! Confidential clients: services that may introspect and revoke tokens (RFC 7662 2.1, RFC 7009 2.1).

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq as _;

use crate::{
    audit::{EventKind, Origin, SecurityEvent, Subject},
    clock::Timestamp,
    env::Env,
    random::{Random, RandomUnavailable},
    secret::{EnteredSecret, Secret},
    store::StoreResult,
};

/// 256 random bits as base64url behind `sps_`. Stored as SHA-256: what can't be guessed needs no slow hash.
#[derive(Debug, Clone)]
pub struct ClientSecret(Secret<String>);

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClientSecretHash([u8; 32]);

/// A registered client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Chosen by the operator: 1 to 64 of `a-z`, `0-9`, `-`.
    pub id: String,
    pub secret: ClientSecretHash,
    pub created_at: Timestamp,
}

/// Whether a text can be a client's id.
pub fn is_client_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

impl ClientSecret {
    /// # Errors
    /// [`RandomUnavailable`].
    pub fn generate(random: &dyn Random) -> Result<Self, RandomUnavailable> {
        Ok(Self(Secret::new(format!("sps_{}", URL_SAFE_NO_PAD.encode(random.bytes::<32>()?)))))
    }

    pub fn new(text: &str) -> Self {
        Self(Secret::new(text.to_owned()))
    }

    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    pub fn hash(&self) -> ClientSecretHash {
        let mut hash = [0; 32];
        for (to, from) in
            hash.iter_mut().zip(digest::digest(&digest::SHA256, self.0.expose().as_bytes()).as_ref())
        {
            *to = *from;
        }
        ClientSecretHash(hash)
    }
}

impl ClientSecretHash {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for ClientSecretHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

pub trait FindClient: Send + Sync {
    /// A consistent read.
    fn client(&self, id: &str) -> impl Future<Output = StoreResult<Option<Client>>> + Send;
}

/// Each change and its event are one transaction.
pub trait ManageClients: Send + Sync {
    /// `false` when the id is taken.
    fn add_client(
        &self,
        client: &Client,
        event: &SecurityEvent,
    ) -> impl Future<Output = StoreResult<bool>> + Send;

    /// `false` when there is none.
    fn remove_client(
        &self,
        id: &str,
        event: &SecurityEvent,
    ) -> impl Future<Output = StoreResult<bool>> + Send;

    fn clients(&self) -> impl Future<Output = StoreResult<Vec<Client>>> + Send;
}

/// Whether `id` and `secret` are a registered client's. A secret that is too weak to be one is nobody's, whatever is stored.
pub async fn authenticate<P: FindClient>(ports: &P, id: &str, secret: &ClientSecret) -> StoreResult<bool> {
    if !is_client_id(id) || EnteredSecret::parse(secret.expose()).is_err() {
        return Ok(false);
    }
    let presented = secret.hash();
    let client = ports.client(id).await?;
    Ok(client.is_some_and(|client| bool::from(client.secret.0.ct_eq(&presented.0))))
}

/// # Errors
/// Storage, randomness.
pub async fn add<P: ManageClients>(
    ports: &P,
    env: Env<'_>,
    client: &Client,
    origin: &Origin,
) -> StoreResult<bool> {
    ports.add_client(client, &event(env, EventKind::ClientAdded, &client.id, origin)?).await
}

/// # Errors
/// Storage, randomness.
pub async fn remove<P: ManageClients>(
    ports: &P,
    env: Env<'_>,
    id: &str,
    origin: &Origin,
) -> StoreResult<bool> {
    ports.remove_client(id, &event(env, EventKind::ClientRemoved, id, origin)?).await
}

fn event(env: Env<'_>, kind: EventKind, id: &str, origin: &Origin) -> StoreResult<SecurityEvent> {
    Ok(SecurityEvent::new(env.operation()?, env.now(), kind, Subject::Deployment, origin).detail(id))
}
