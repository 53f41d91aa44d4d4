//! The keyring as it is used: keys parsed once, each with one algorithm.

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RsaKeyPair};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use serde::Serialize;

use super::{KeyId, KeyState, KeyringDocument, SecretKeyEntry, SigningAlgorithm, SigningKeyEntry};
use crate::{clock::Timestamp, secret::Secret};

/// The keyring can't be used as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    #[error("the keyring does not read: {0}")]
    Malformed(String),
    #[error("the keyring has format {0}, this release reads {expected}", expected = KeyringDocument::VERSION)]
    Version(u32),
    #[error("the keyring has no current {0} key")]
    NoCurrentKey(&'static str),
    #[error("key {0}: {1}")]
    Key(String, String),
}

/// A symmetric key.
#[derive(Debug, Clone)]
pub struct SecretKey {
    pub id: KeyId,
    pub key: Secret<Vec<u8>>,
}

/// What signs.
pub struct Signer {
    pub kid: String,
    pub algorithm: Algorithm,
    pub(crate) key: EncodingKey,
}

/// What verifies, and what the JWKS shows.
pub struct PublicKey {
    pub kid: String,
    pub algorithm: Algorithm,
    pub(crate) key: DecodingKey,
    jwk: Jwk,
}

/// A public key after RFC 7517 and RFC 7518 6.
#[derive(Debug, Clone, Serialize)]
pub struct Jwk {
    kid: String,
    #[serde(rename = "use")]
    usage: &'static str,
    alg: &'static str,
    #[serde(flatten)]
    parameters: JwkParameters,
}

#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kty")]
enum JwkParameters {
    #[serde(rename = "EC")]
    EllipticCurve { crv: &'static str, x: String, y: String },
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String },
}

/// All keys of a deployment, ready to use.
pub struct Keyring {
    changed_at: Option<Timestamp>,
    signer: Signer,
    public: Vec<PublicKey>,
    refresh: SecretKeys,
    device: SecretKeys,
    pepper: SecretKeys,
    aead: SecretKeys,
}

impl Keyring {
    /// Reads the stored document.
    ///
    /// # Errors
    /// [`KeyringError`]; nothing of a keyring that has a fault is used.
    pub fn parse(json: &str) -> Result<Self, KeyringError> {
        let document: KeyringDocument =
            serde_json::from_str(json).map_err(|error| KeyringError::Malformed(error.to_string()))?;
        Self::from_document(&document)
    }

    /// # Errors
    /// As [`Keyring::parse`].
    pub fn from_document(document: &KeyringDocument) -> Result<Self, KeyringError> {
        if document.version != KeyringDocument::VERSION {
            return Err(KeyringError::Version(document.version));
        }
        let current = document
            .signing
            .iter()
            .find(|key| key.state == KeyState::Current)
            .ok_or(KeyringError::NoCurrentKey("signing"))?;
        let public = document
            .signing
            .iter()
            .filter(|key| key.state != KeyState::Revoked)
            .map(|entry| read_signing_key(entry).map(|(_, public)| public))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            changed_at: document.changed_at.map(Timestamp::from_seconds),
            signer: read_signing_key(current)?.0,
            public,
            refresh: SecretKeys::read("refresh", &document.refresh)?,
            device: SecretKeys::read("device", &document.device)?,
            pepper: SecretKeys::read("pepper", &document.pepper)?,
            aead: SecretKeys::read("aead", &document.aead)?,
        })
    }

    /// For each signing key that is not revoked, whether its public half verifies what its private half signs.
    ///
    /// # Errors
    /// A key does not read, or does not sign.
    pub fn proofs(document: &KeyringDocument) -> Result<Vec<(String, bool)>, KeyringError> {
        let entries = document.signing.iter().filter(|key| key.state != KeyState::Revoked);
        entries
            .map(|entry| {
                let (signer, public) = read_signing_key(entry)?;
                let fault = |error: jsonwebtoken::errors::Error| {
                    KeyringError::Key(signer.kid.clone(), error.to_string())
                };
                let signature =
                    jsonwebtoken::crypto::sign(b"proof", &signer.key, signer.algorithm).map_err(fault)?;
                let verified =
                    jsonwebtoken::crypto::verify(&signature, b"proof", &public.key, public.algorithm);
                Ok((signer.kid.clone(), verified.map_err(fault)?))
            })
            .collect()
    }

    /// Whether it is an earlier keyring than that of `from`, in which a key was revoked.
    pub fn is_from_before(&self, from: Timestamp) -> bool {
        self.changed_at.is_none_or(|changed_at| changed_at < from)
    }

    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// The key that `kid` names, unless it was revoked.
    pub fn public_key(&self, kid: &str) -> Option<&PublicKey> {
        self.public.iter().find(|key| key.kid == kid)
    }

    /// The JWKS: everything that verifies, the next key included.
    pub fn jwks(&self) -> Vec<&Jwk> {
        self.public.iter().map(|key| &key.jwk).collect()
    }

    pub(crate) fn refresh(&self) -> &SecretKey {
        &self.refresh.current
    }

    pub(crate) fn refresh_by_id(&self, id: KeyId) -> Option<&SecretKey> {
        self.refresh.by_id(id)
    }

    pub(crate) fn device(&self) -> &SecretKey {
        &self.device.current
    }

    pub(crate) fn device_by_id(&self, id: KeyId) -> Option<&SecretKey> {
        self.device.by_id(id)
    }

    pub(crate) fn pepper(&self) -> &SecretKey {
        &self.pepper.current
    }

    pub fn pepper_by_id(&self, id: KeyId) -> Option<&SecretKey> {
        self.pepper.by_id(id)
    }

    pub fn aead(&self) -> &SecretKey {
        &self.aead.current
    }

    pub fn aead_by_id(&self, id: KeyId) -> Option<&SecretKey> {
        self.aead.by_id(id)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("signer", &self.signer.kid).finish_non_exhaustive()
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

struct SecretKeys {
    current: SecretKey,
    others: Vec<SecretKey>,
}

impl SecretKeys {
    fn read(kind: &'static str, entries: &[SecretKeyEntry]) -> Result<Self, KeyringError> {
        let mut current = None;
        let mut others = Vec::new();
        for entry in entries.iter().filter(|entry| entry.state != KeyState::Revoked) {
            let bytes = STANDARD
                .decode(entry.key.expose())
                .map_err(|_| KeyringError::Key(format!("{kind} {}", entry.id), "not base64".to_owned()))?;
            if bytes.len() != 32 {
                return Err(KeyringError::Key(format!("{kind} {}", entry.id), "not 32 bytes".to_owned()));
            }
            let key = SecretKey { id: entry.id, key: Secret::new(bytes) };
            if entry.state == KeyState::Current {
                current = Some(key);
            } else {
                others.push(key);
            }
        }
        Ok(Self { current: current.ok_or(KeyringError::NoCurrentKey(kind))?, others })
    }

    fn by_id(&self, id: KeyId) -> Option<&SecretKey> {
        std::iter::once(&self.current).chain(&self.others).find(|key| key.id == id)
    }
}

/// The PEM of a PKCS #8 key. As DER `jsonwebtoken` takes an RSA key in PKCS #1 only; from PEM it unwraps PKCS #8.
fn pem(base64: &str) -> Secret<String> {
    let mut text = String::from("-----BEGIN PRIVATE KEY-----\n");
    for (index, letter) in base64.chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            text.push('\n');
        }
        text.push(letter);
    }
    text.push_str("\n-----END PRIVATE KEY-----\n");
    Secret::new(text)
}

fn read_signing_key(entry: &SigningKeyEntry) -> Result<(Signer, PublicKey), KeyringError> {
    let fault = |problem: &str| KeyringError::Key(entry.kid.clone(), problem.to_owned());
    let der = Secret::new(STANDARD.decode(entry.private_key.expose()).map_err(|_| fault("not base64"))?);
    let (algorithm, key, decoding, alg, parameters) = match entry.algorithm {
        SigningAlgorithm::ES256 => {
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.expose())
                .map_err(|error| fault(&error.to_string()))?;
            let point = pair.public_key().as_ref();
            // SEC 1, 2.3.3: an uncompressed point is 0x04, x, y.
            let coordinates = point.strip_prefix(&[4]).filter(|rest| rest.len() == 64);
            let (x, y) = coordinates.ok_or_else(|| fault("public key"))?.split_at(32);
            let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
            let decoding =
                DecodingKey::from_ec_components(&x, &y).map_err(|error| fault(&error.to_string()))?;
            let parameters = JwkParameters::EllipticCurve { crv: "P-256", x, y };
            (Algorithm::ES256, EncodingKey::from_ec_der(der.expose()), decoding, "ES256", parameters)
        }
        SigningAlgorithm::RS256 => {
            let pair = RsaKeyPair::from_pkcs8(der.expose()).map_err(|error| fault(&error.to_string()))?;
            let n = URL_SAFE_NO_PAD.encode(pair.public_key().modulus().big_endian_without_leading_zero());
            let e = URL_SAFE_NO_PAD.encode(pair.public_key().exponent().big_endian_without_leading_zero());
            let decoding =
                DecodingKey::from_rsa_components(&n, &e).map_err(|error| fault(&error.to_string()))?;
            let parameters = JwkParameters::Rsa { n, e };
            let key = EncodingKey::from_rsa_pem(pem(entry.private_key.expose()).expose().as_bytes())
                .map_err(|error| fault(&error.to_string()))?;
            (Algorithm::RS256, key, decoding, "RS256", parameters)
        }
    };
    let jwk = Jwk { kid: entry.kid.clone(), usage: "sig", alg, parameters };
    Ok((
        Signer { kid: entry.kid.clone(), algorithm, key },
        PublicKey { kid: entry.kid.clone(), algorithm, key: decoding, jwk },
    ))
}
