//! The keyring as it is stored: JSON, versioned, readable by the release before.

use serde::{Deserialize, Serialize};

use super::KeyId;
use crate::secret::Secret;

/// A key's life: published, signing, verifying what it signed, gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// Published in the JWKS, signs nothing yet.
    Next,
    /// Signs. One of a kind.
    Current,
    /// Signs no more; what it signed is still accepted.
    Previous,
    /// Accepted no more.
    Revoked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SigningAlgorithm {
    /// ECDSA on P-256: 20 µs a signature.
    ES256,
    /// RSA PKCS #1 v1.5, 3072 bits: for HTTP APIs' built-in authorizer, which takes RSA only.
    RS256,
}

/// A signing key. The private key is PKCS #8, DER, base64.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SigningKeyEntry {
    pub kid: String,
    pub algorithm: SigningAlgorithm,
    pub state: KeyState,
    /// Epoch seconds.
    pub created_at: u64,
    /// Epoch seconds: when it came into its state. A release that does not know it keeps by `created_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    #[serde(with = "secret_text")]
    pub private_key: Secret<String>,
}

/// 32 random bytes, base64.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SecretKeyEntry {
    pub id: KeyId,
    pub state: KeyState,
    /// Epoch seconds.
    pub created_at: u64,
    /// Epoch seconds: when it came into its state. A release that does not know it keeps by `created_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    #[serde(with = "secret_text")]
    pub key: Secret<String>,
}

/// The document. Unknown members are kept out, not refused: a release before may read what a later one wrote.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyringDocument {
    pub version: u32,
    /// Epoch seconds: when it was built out of the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<u64>,
    pub signing: Vec<SigningKeyEntry>,
    pub refresh: Vec<SecretKeyEntry>,
    pub device: Vec<SecretKeyEntry>,
    pub pepper: Vec<SecretKeyEntry>,
    pub aead: Vec<SecretKeyEntry>,
}

impl KeyringDocument {
    pub const VERSION: u32 = 1;
}

mod secret_text {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::secret::Secret;

    pub(super) fn serialize<S: Serializer>(
        secret: &Secret<String>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(secret.expose())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Secret<String>, D::Error> {
        String::deserialize(deserializer).map(Secret::new)
    }
}
