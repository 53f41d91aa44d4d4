#![allow(clippy::unwrap_used, reason = "tests")]

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::*;
use crate::{
    secret::Secret,
    testing::keyring::{document, keyring},
};

#[test]
fn a_keyring_without_a_current_key_is_not_used() {
    let mut faulty = document();
    faulty.pepper[0].state = KeyState::Previous;
    assert_eq!(Keyring::from_document(&faulty).err(), Some(KeyringError::NoCurrentKey("pepper")));
}

#[test]
fn a_revoked_key_is_neither_published_nor_accepted() {
    let mut rotated = document();
    let mut revoked = document().signing.remove(0);
    revoked.kid = "k0".to_owned();
    revoked.state = KeyState::Revoked;
    rotated.signing.push(revoked);
    let keyring = Keyring::from_document(&rotated).unwrap();
    assert!(keyring.public_key("k0").is_none());
    assert_eq!(keyring.jwks().len(), 1);
}

#[test]
fn an_rsa_key_signs_what_its_public_key_verifies() {
    use aws_lc_rs::{
        encoding::{AsDer as _, Pkcs8V1Der},
        rsa::{KeyPair, KeySize},
    };

    let pair = KeyPair::generate(KeySize::Rsa3072).unwrap();
    let pkcs8: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let mut with_rsa = document();
    with_rsa.signing[0].algorithm = SigningAlgorithm::RS256;
    with_rsa.signing[0].private_key = Secret::new(STANDARD.encode(pkcs8.as_ref()));
    let keyring = Keyring::from_document(&with_rsa).unwrap();
    let signer = keyring.signer();
    let signature = jsonwebtoken::crypto::sign(b"message", &signer.key, signer.algorithm).unwrap();
    let public = &keyring.public_key("k1").unwrap().key;
    assert!(jsonwebtoken::crypto::verify(&signature, b"message", public, signer.algorithm).unwrap());
}

#[test]
fn no_key_shows_when_a_keyring_is_printed() {
    let document = document();
    let shown = format!("{document:?} {:?}", keyring());
    assert!(!shown.contains(document.refresh[0].key.expose().as_str()));
    assert!(!shown.contains(document.signing[0].private_key.expose().as_str()));
}
