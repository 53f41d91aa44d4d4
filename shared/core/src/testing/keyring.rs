//! A keyring with one key of each kind.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    keyring::{KeyId, KeyState, Keyring, KeyringDocument, SecretKeyEntry, SigningAlgorithm, SigningKeyEntry},
    secret::Secret,
};

pub(crate) fn document() -> KeyringDocument {
    #[expect(clippy::disallowed_methods, reason = "aws-lc draws the randomness of key pairs itself")]
    let generator = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &generator).unwrap();
    let secret = |byte: u8| {
        vec![SecretKeyEntry {
            id: KeyId(1),
            state: KeyState::Current,
            created_at: 1_700_000_000,
            since: None,
            key: Secret::new(STANDARD.encode([byte; 32])),
        }]
    };
    KeyringDocument {
        version: KeyringDocument::VERSION,
        changed_at: None,
        signing: vec![SigningKeyEntry {
            kid: "k1".to_owned(),
            algorithm: SigningAlgorithm::ES256,
            state: KeyState::Current,
            created_at: 1_700_000_000,
            since: None,
            private_key: Secret::new(STANDARD.encode(pkcs8.as_ref())),
        }],
        refresh: secret(1),
        device: secret(2),
        pepper: secret(3),
        aead: secret(4),
    }
}

pub(crate) fn keyring() -> Keyring {
    Keyring::from_document(&document()).unwrap()
}
