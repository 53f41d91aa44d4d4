//! TOTP seeds: shown once, sealed at rest with AES-256-GCM under the key id, the user and the factor.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::{
    ids::{FactorId, UserId},
    keyring::{KeyId, Keyring, SecretKey},
    random::{Random, RandomUnavailable},
    secret::Secret,
};

/// 160 bits, as RFC 4226 4 recommends.
const SEED: usize = 20;
/// NIST SP 800-38D 5.2.1.1.
const NONCE: usize = 12;

/// A seed in the clear.
#[derive(Debug, Clone)]
pub struct Seed(Secret<Vec<u8>>);

/// A seed as it is stored: key id, nonce, ciphertext and tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSeed(Vec<u8>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeedError {
    #[error("the sealed seed is damaged, or is another user's")]
    Damaged,
    #[error("the key {0} of the sealed seed is not in the keyring")]
    KeyMissing(KeyId),
    #[error("sealing failed")]
    Sealing,
    #[error(transparent)]
    Random(#[from] RandomUnavailable),
}

impl Seed {
    /// # Errors
    /// [`RandomUnavailable`].
    pub fn generate(random: &dyn Random) -> Result<Self, RandomUnavailable> {
        Ok(Self(Secret::new(random.bytes::<SEED>()?.to_vec())))
    }

    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(Secret::new(bytes))
    }

    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }

    /// # Errors
    /// [`SeedError::Sealing`], [`SeedError::Random`].
    pub fn seal(
        &self,
        keyring: &Keyring,
        random: &dyn Random,
        user: UserId,
        factor: FactorId,
    ) -> Result<SealedSeed, SeedError> {
        let key = keyring.aead();
        let nonce = random.bytes::<NONCE>()?;
        let mut sealed = self.0.expose().clone();
        aead_key(key)?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                context(key.id, user, factor),
                &mut sealed,
            )
            .map_err(|_| SeedError::Sealing)?;
        Ok(SealedSeed([&key.id.0.to_be_bytes()[..], &nonce, &sealed].concat()))
    }
}

impl SealedSeed {
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Which key it is sealed with.
    pub fn key(&self) -> Option<KeyId> {
        self.0.first_chunk::<2>().map(|id| KeyId(u16::from_be_bytes(*id)))
    }

    /// # Errors
    /// [`SeedError::Damaged`], [`SeedError::KeyMissing`].
    pub fn open(&self, keyring: &Keyring, user: UserId, factor: FactorId) -> Result<Seed, SeedError> {
        let (id, rest) = self.0.split_first_chunk::<2>().ok_or(SeedError::Damaged)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>().ok_or(SeedError::Damaged)?;
        let id = KeyId(u16::from_be_bytes(*id));
        let key = keyring.aead_by_id(id).ok_or(SeedError::KeyMissing(id))?;
        let mut opened = sealed.to_vec();
        let length = aead_key(key)?
            .open_in_place(Nonce::assume_unique_for_key(*nonce), context(id, user, factor), &mut opened)
            .map_err(|_| SeedError::Damaged)?
            .len();
        opened.truncate(length);
        Ok(Seed::from_bytes(opened))
    }
}

fn aead_key(key: &SecretKey) -> Result<LessSafeKey, SeedError> {
    UnboundKey::new(&AES_256_GCM, key.key.expose()).map(LessSafeKey::new).map_err(|_| SeedError::Sealing)
}

fn context(key: KeyId, user: UserId, factor: FactorId) -> Aad<Vec<u8>> {
    Aad::from([&key.0.to_be_bytes()[..], user.as_bytes(), factor.as_bytes()].concat())
}
