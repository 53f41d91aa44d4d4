//! Wycheproof's JOSE vectors against the call that checks our signatures.
//!
//! The call takes a key and the one algorithm that this key is for, as the keyring has it. Choosing the key by `kid` and
//! refusing keys that are not for this is the keyring's part; [`Verifier`] does the same over the vectors' JWKs.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, errors::ErrorKind};
use serde_json::Value;

use super::super::jwt;

const SIGNATURE: &str = include_str!("../../../testdata/wycheproof_json_web_signature_test.json");
const CRYPTO: &str = include_str!("../../../testdata/wycheproof_json_web_crypto_test.json");
const KEY: &str = include_str!("../../../testdata/wycheproof_json_web_key_test.json");

/// Where we leave the vectors' verdict, with the reason. Everything else agrees, case by case.
const SIGNATURE_DEVIATIONS: &[(u64, &str)] = &[
    (346, "refused: signed with PS384 under a key that says PS256; a key is used with one algorithm"),
    (350, "refused: as 346"),
    (347, "refused: the key says `ES521`, which is no algorithm, and P-521 is no curve of ours"),
    (351, "refused: as 347"),
    (
        367,
        "accepted: the published token is that of case 357, byte for byte; the padding it speaks of is not in it",
    ),
    (370, "accepted: as 367"),
    (372, "refused: `?` is no base64url; skipping it would make two texts of one token"),
    (373, "refused: as 372"),
];
const CRYPTO_DEVIATIONS: &[(u64, &str)] = &[
    (
        46,
        "accepted: whether a key is of ROCA's kind is not asked; keys come from the keyring, which made them itself",
    ),
    (
        47,
        "accepted: the right key for its one algorithm, among others; no keyring of ours holds a symmetric key for JWTs",
    ),
    (50, "refused: an encrypted token; none is read here"),
    (67, "refused: as 50"),
];
const KEY_DEVIATIONS: &[(u64, &str)] = &[
    (1, "accepted: as 47 of the attacks"),
    (7, "accepted: as 46 of the attacks"),
    (10, "accepted: an HMAC key that is too short; no keyring of ours holds an HMAC key for JWTs"),
    (11, "accepted: as 10"),
    (12, "accepted: as 10"),
    (16, "accepted: an empty HMAC key; as 10"),
    (17, "accepted: as 16"),
    (18, "accepted: as 16"),
];

/// A JWK as a keyring would hold it: with one algorithm, for signatures.
struct Verifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Verifier {
    /// `None` for what the keyring's reader would not take either: no algorithm, another use, another family.
    fn of(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if text("use").is_some_and(|usage| usage != "sig") {
            return None;
        }
        let algorithm: Algorithm = text("alg")?.parse().ok()?;
        let key = match (text("kty")?, algorithm) {
            ("EC", Algorithm::ES256) if text("crv") == Some("P-256") => {
                DecodingKey::from_ec_components(text("x")?, text("y")?).ok()?
            }
            (
                "RSA",
                Algorithm::RS256
                | Algorithm::RS384
                | Algorithm::RS512
                | Algorithm::PS256
                | Algorithm::PS384
                | Algorithm::PS512,
            ) => DecodingKey::from_rsa_components(text("n")?, text("e")?).ok()?,
            ("oct", Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512) => {
                DecodingKey::from_secret(&URL_SAFE_NO_PAD.decode(text("k")?).ok()?)
            }
            _ => return None,
        };
        Some(Self { algorithm, key })
    }

    /// Whether the signature holds. A payload that is no JSON is refused after the signature was accepted, not before.
    fn accepts(&self, token: &str) -> bool {
        let Ok(header) = jsonwebtoken::decode_header(token) else {
            return false;
        };
        if header.crit.is_some() || header.alg != self.algorithm {
            return false;
        }
        match jwt::decode::<Value>(self.algorithm, &self.key, token) {
            Ok(_) => true,
            Err(error) => matches!(error.kind(), ErrorKind::Json(_) | ErrorKind::Utf8(_)),
        }
    }
}

/// The key that a token names among those of its group.
fn verifier(group: &Value, token: &str) -> Option<Verifier> {
    let held = group.get("public").or(group.get("private"))?;
    let Some(keys) = held.get("keys").and_then(Value::as_array) else {
        return Verifier::of(held);
    };
    let kid = jsonwebtoken::decode_header(token).ok()?.kid?;
    let mut named = keys.iter().filter(|key| key.get("kid").and_then(Value::as_str) == Some(&kid));
    let key = named.next()?;
    // Two keys of one name: which one is meant is nobody's to guess.
    if named.next().is_some() { None } else { Verifier::of(key) }
}

fn check(vectors: &str, cases: usize, deviations: &[(u64, &str)]) {
    let vectors: Value = serde_json::from_str(vectors).unwrap();
    let deviations: BTreeMap<_, _> = deviations.iter().copied().collect();
    let (mut checked, mut accepted, mut deviating) = (0, 0, BTreeMap::new());
    for group in vectors["testGroups"].as_array().unwrap() {
        for case in group["tests"].as_array().unwrap() {
            let id = case["tcId"].as_u64().unwrap();
            // Encrypted tokens are nothing that we read: they have five parts and are refused as such.
            let token = case.get("jws").or(case.get("jwe")).unwrap();
            let token = token.as_str().map_or_else(|| token.to_string(), str::to_owned);
            let accepts = verifier(group, &token).is_some_and(|verifier| verifier.accepts(&token));
            checked += 1;
            accepted += usize::from(accepts);
            if accepts != (case["result"] == "valid") {
                deviating
                    .insert(id, format!("{} {} ({})", case["result"], case["comment"], group["comment"]));
            }
        }
    }
    let unlisted: Vec<_> = deviating.iter().filter(|(id, _)| !deviations.contains_key(id)).collect();
    let agreeing: Vec<_> = deviations.keys().filter(|id| !deviating.contains_key(id)).collect();
    println!("{checked} vectors, {accepted} accepted, {} listed deviations", deviations.len());
    assert_eq!(checked, cases);
    assert!(unlisted.is_empty(), "deviations that are not listed: {unlisted:#?}");
    assert!(agreeing.is_empty(), "listed deviations that are none: {agreeing:?}");
}

#[test]
fn signatures_are_accepted_where_wycheproof_accepts_them() {
    check(SIGNATURE, 401, SIGNATURE_DEVIATIONS);
}

#[test]
fn jose_attacks_are_refused_where_wycheproof_refuses_them() {
    check(CRYPTO, 83, CRYPTO_DEVIATIONS);
}

#[test]
fn bad_keys_are_refused_where_wycheproof_refuses_them() {
    check(KEY, 26, KEY_DEVIATIONS);
}
