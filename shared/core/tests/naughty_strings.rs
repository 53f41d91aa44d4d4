//! The big list of naughty strings through everything that reads a caller's text.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods, reason = "tests")]

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sallyport_core::{
    accounts::{Email, Password, StoredHash},
    address::ClientAddress,
    clients::is_client_id,
    clock::Timestamp,
    ids::{DeviceId, FactorId, SessionId, UserId},
    keyring::{KeyId, KeyState, Keyring, KeyringDocument, SecretKeyEntry, SigningAlgorithm, SigningKeyEntry},
    mfa::{RecoveryCode, Seed, enrolment, matching_step},
    secret::Secret,
    tokens::{Audience, open_device_token, open_refresh_token, verify_access_token, verify_mfa_token},
};

static STRINGS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let strings: Vec<String> = serde_json::from_str(include_str!("../testdata/blns.json")).unwrap();
    assert_eq!(strings.len(), 515);
    strings
});

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// Each string alone, and where a caller would put it.
fn dressed(before: &str, after: &str) -> impl Iterator<Item = String> {
    STRINGS.iter().flat_map(move |text| {
        [text.clone(), format!("{before}{text}"), format!("{text}{after}"), format!("{before}{text}{after}")]
    })
}

fn keyring() -> Keyring {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    let random = aws_lc_rs::rand::SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let symmetric = |byte: u8| {
        let key = Secret::new(STANDARD.encode([byte; 32]));
        vec![SecretKeyEntry { id: KeyId(1), state: KeyState::Current, created_at: 0, since: None, key }]
    };
    Keyring::from_document(&KeyringDocument {
        version: KeyringDocument::VERSION,
        changed_at: None,
        signing: vec![SigningKeyEntry {
            kid: "k".to_owned(),
            algorithm: SigningAlgorithm::ES256,
            state: KeyState::Current,
            created_at: 0,
            since: None,
            private_key: Secret::new(STANDARD.encode(pkcs8.as_ref())),
        }],
        refresh: symmetric(1),
        device: symmetric(2),
        pepper: symmetric(3),
        aead: symmetric(4),
    })
    .unwrap()
}

#[test]
fn an_address_is_refused_or_has_a_canonical_form_that_stays() {
    let (mut read, mut accepted) = (0, 0);
    for text in dressed("ada", "@example.com").chain(dressed("ada@", ".com")) {
        read += 1;
        let Ok(email) = text.parse::<Email>() else { continue };
        accepted += 1;
        assert_eq!(email.as_str().parse::<Email>().as_ref(), Ok(&email), "{text:?}");
        assert_eq!(email.to_string(), email.as_str());
        assert!(email.as_str().len() <= 254, "{text:?}");
        assert_eq!(email.as_str().matches('@').count(), 1, "{text:?} became {email}");
        let (local, domain) = email.as_str().split_once('@').unwrap();
        assert!(domain.is_ascii() && domain.contains('.'), "{text:?} became {email}");
        assert!(
            !email.as_str().chars().any(|letter| letter.is_whitespace() || letter.is_control()),
            "{text:?}"
        );
        assert!(!local.chars().any(|letter| "<>()[],;:\\\"".contains(letter)), "{text:?} became {email}");
        // What is logged and counted is not the address.
        assert!(!format!("{email:?}").contains(local) || local.len() < 4, "{email:?}");
    }
    println!("{read} addresses, {accepted} accepted");
    assert!(accepted > 20, "some are fine: {accepted}");
}

#[test]
fn a_password_of_1_to_1024_bytes_is_accepted_whatever_is_in_it() {
    let long = STRINGS.iter().map(|text| text.repeat(Password::MAX_BYTES / text.len().max(1) + 1));
    for text in dressed("correct horse ", " battery staple").chain(long) {
        let fits = (1..=Password::MAX_BYTES).contains(&text.len());
        let password = Password::new(&text);
        assert_eq!(password.is_ok(), fits, "{text:?}");
        let shown = format!("{password:?}");
        assert!(text.len() < 12 || !shown.contains(&text), "printed: {shown}");
    }
}

#[test]
fn no_string_is_a_token() {
    let keyring = keyring();
    let audience = Audience { issuer: "https://issuer.example".to_owned(), audience: "api".to_owned() };
    for text in
        dressed("spr_", "AAAA").chain(dressed("spd_", "=")).chain(dressed("eyJhbGciOiJub25lIn0.", ".AAAA"))
    {
        assert_eq!(open_refresh_token(&keyring, &text), None, "{text:?}");
        assert_eq!(open_device_token(&keyring, &text, NOW), None, "{text:?}");
        assert!(verify_access_token(&keyring, &audience, &text, NOW).is_err(), "{text:?}");
        assert!(verify_mfa_token(&keyring, &audience, &text, NOW).is_err(), "{text:?}");
    }
}

#[test]
fn no_string_is_a_code() {
    let seed = Seed::from_bytes(b"12345678901234567890".to_vec());
    for text in dressed("12345", "6") {
        assert_eq!(matching_step(&seed, &text, NOW, None), None, "{text:?}");
        // Case, spaces and hyphens are how people type: what is left must have the length of a code.
        let letters = text.chars().filter(char::is_ascii_alphanumeric).count();
        assert!(RecoveryCode::parse(&text).is_none() || letters == 24, "{text:?}");
    }
}

#[test]
fn no_string_is_an_identifier_and_few_name_a_client() {
    for text in dressed("usr_", "AAAAAAAAAAAAAAAAAAAAAA") {
        for parsed in [
            text.parse::<UserId>().map(|id| id.to_string()),
            text.parse::<SessionId>().map(|id| id.to_string()),
            text.parse::<FactorId>().map(|id| id.to_string()),
            text.parse::<DeviceId>().map(|id| id.to_string()),
        ] {
            // `usr_` and 22 letters that the empty string leaves alone are one.
            assert!(parsed.is_err() || parsed == Ok(text.clone()), "{text:?}");
        }
        if is_client_id(&text) {
            assert!(text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')), "{text:?}");
        }
        assert!(text.parse::<StoredHash>().is_err(), "{text:?}");
        if let Some(address) = ClientAddress::parse(&text) {
            assert_eq!(ClientAddress::parse(&address.to_string()), Some(address), "{text:?}");
        }
    }
}

#[test]
fn a_label_of_any_text_makes_an_enrolment_or_a_refusal() {
    let seed = Seed::from_bytes(b"12345678901234567890".to_vec());
    // Drawing a QR code takes its time: every fourth.
    for text in STRINGS.iter().step_by(4) {
        for (issuer, account) in [(text.as_str(), "ada@example.com"), ("Sallyport", text.as_str())] {
            let Ok(shown) = enrolment(&seed, issuer, account) else { continue };
            let uri = shown.otpauth_uri.expose();
            assert!(uri.is_ascii() && uri.starts_with("otpauth://totp/"), "{text:?} made {uri}");
            assert_eq!(uri.matches("secret=").count(), 1, "{text:?} made {uri}");
        }
    }
}
