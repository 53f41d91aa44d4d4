//! Forged and damaged JWTs: each differs from a good token in one thing, and is refused for it.
//!
//! reference: RFC 8725, RFC 9068 4, CVE-2026-25537 (times of the wrong type), CVE-2022-21449 (r = s = 0), and the algorithm
//! confusions of many libraries.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::disallowed_methods,
    reason = "tests"
)]

use std::collections::BTreeSet;

use aws_lc_rs::{
    encoding::AsDer as _,
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
        RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512,
        RsaEncoding, RsaKeyPair,
    },
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD},
};
use sallyport_core::{
    clock::Timestamp,
    ids::{AccountKey, DeviceId, OperationId, SessionId, UserId},
    keyring::{KeyId, KeyState, Keyring, KeyringDocument, SecretKeyEntry, SigningAlgorithm, SigningKeyEntry},
    secret::Secret,
    tokens::{
        Audience, TokenError, open_device_token, open_refresh_token, verify_access_token, verify_mfa_token,
    },
};
use serde_json::{Map, Value, json};

const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "api";
const RSA_ENCODINGS: [(&str, &dyn RsaEncoding); 6] = [
    ("RS256", &RSA_PKCS1_SHA256),
    ("RS384", &RSA_PKCS1_SHA384),
    ("RS512", &RSA_PKCS1_SHA512),
    ("PS256", &RSA_PSS_SHA256),
    ("PS384", &RSA_PSS_SHA384),
    ("PS512", &RSA_PSS_SHA512),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Access,
    Mfa,
}

impl Kind {
    fn typ(self) -> &'static str {
        match self {
            Self::Access => "at+jwt",
            Self::Mfa => "mfa+jwt",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Access => Self::Mfa,
            Self::Mfa => Self::Access,
        }
    }

    fn claims(self) -> Map<String, Value> {
        let user = UserId::from_bytes([1; 16]).to_string();
        let claims = match self {
            Self::Access => json!({
                "iss": ISSUER, "aud": AUDIENCE, "sub": user, "client_id": "first-party",
                "sid": SessionId::from_bytes([2; 16]).to_string(), "aal": 1, "amr": ["pwd"], "auth_time": NOW - 10,
                "iat": NOW - 10, "exp": NOW + 290, "jti": "AAAAAAAAAAAAAAAAAAAAAA", "scope": "account",
            }),
            Self::Mfa => json!({
                "iss": ISSUER, "aud": ISSUER, "sub": user, "jti": OperationId::from_bytes([3; 16]).to_string(),
                "iat": NOW - 10, "exp": NOW + 290, "epoch": 4, "device": DeviceId::from_bytes([5; 16]).to_string(),
                "known": false, "cookie": false, "account": AccountKey::from_bytes([6; 16]).to_string(),
            }),
        };
        claims.as_object().unwrap().clone()
    }

    fn header(self) -> Map<String, Value> {
        json!({ "alg": "ES256", "typ": self.typ(), "kid": "es-current" }).as_object().unwrap().clone()
    }
}

/// The deployment's keys, and the attacker's own.
struct Keys {
    keyring: Keyring,
    random: SystemRandom,
    current: EcdsaKeyPair,
    current_pkcs8: Vec<u8>,
    next: EcdsaKeyPair,
    revoked: EcdsaKeyPair,
    rsa: RsaKeyPair,
    attacker: EcdsaKeyPair,
    attacker_rsa: RsaKeyPair,
}

fn ec() -> (EcdsaKeyPair, Vec<u8>) {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    (
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap(),
        pkcs8.as_ref().to_vec(),
    )
}

fn signing(kid: &str, algorithm: SigningAlgorithm, state: KeyState, pkcs8: &[u8]) -> SigningKeyEntry {
    SigningKeyEntry {
        kid: kid.to_owned(),
        algorithm,
        state,
        created_at: NOW,
        since: None,
        private_key: Secret::new(STANDARD.encode(pkcs8)),
    }
}

impl Keys {
    fn new() -> Self {
        let ((current, current_pkcs8), (next, next_pkcs8), (revoked, revoked_pkcs8)) = (ec(), ec(), ec());
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let rsa_pkcs8: aws_lc_rs::encoding::Pkcs8V1Der<'_> = rsa.as_der().unwrap();
        let symmetric = |byte: u8| {
            let key = Secret::new(STANDARD.encode([byte; 32]));
            vec![SecretKeyEntry { id: KeyId(1), state: KeyState::Current, created_at: NOW, since: None, key }]
        };
        let document = KeyringDocument {
            version: KeyringDocument::VERSION,
            changed_at: None,
            signing: vec![
                signing("es-current", SigningAlgorithm::ES256, KeyState::Current, &current_pkcs8),
                signing("es-next", SigningAlgorithm::ES256, KeyState::Next, &next_pkcs8),
                signing("es-revoked", SigningAlgorithm::ES256, KeyState::Revoked, &revoked_pkcs8),
                signing("rs-previous", SigningAlgorithm::RS256, KeyState::Previous, rsa_pkcs8.as_ref()),
            ],
            refresh: symmetric(1),
            device: symmetric(2),
            pepper: symmetric(3),
            aead: symmetric(4),
        };
        Self {
            keyring: Keyring::from_document(&document).unwrap(),
            random: SystemRandom::new(),
            current,
            current_pkcs8,
            next,
            revoked,
            rsa,
            attacker: ec().0,
            attacker_rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
        }
    }

    fn es256(&self, key: &EcdsaKeyPair, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = key.sign(&self.random, signed.as_bytes()).unwrap();
        format!("{signed}.{}", encode(signature.as_ref()))
    }

    fn rsa(
        &self,
        key: &RsaKeyPair,
        encoding: &'static dyn RsaEncoding,
        header: &str,
        claims: &str,
    ) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(encoding, &self.random, signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", encode(&signature))
    }

    fn verify(&self, kind: Kind, token: &str) -> Result<(), TokenError> {
        let audience = Audience { issuer: ISSUER.to_owned(), audience: AUDIENCE.to_owned() };
        let now = Timestamp::from_seconds(NOW);
        match kind {
            Kind::Access => verify_access_token(&self.keyring, &audience, token, now).map(drop),
            Kind::Mfa => verify_mfa_token(&self.keyring, &audience, token, now).map(drop),
        }
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn hmac_with(algorithm: hmac::Algorithm, key: &[u8], header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", encode(header), encode(claims));
    let tag = hmac::sign(&hmac::Key::new(algorithm, key), signed.as_bytes());
    format!("{signed}.{}", encode(tag.as_ref()))
}

/// Header or claims with one member changed, added or, by `None`, removed.
fn with(mut members: Map<String, Value>, name: &str, value: Option<Value>) -> String {
    match value {
        Some(value) => drop(members.insert(name.to_owned(), value)),
        None => drop(members.remove(name)),
    }
    Value::Object(members).to_string()
}

fn text(members: Map<String, Value>) -> String {
    Value::Object(members).to_string()
}

/// A member whose value is no JSON that `serde_json` would write.
fn raw(members: Map<String, Value>, name: &str, value: &str) -> String {
    with(members, name, Some(json!("@@"))).replace("\"@@\"", value)
}

/// The same member a second time, in front of the first or behind it.
fn twice(members: &Map<String, Value>, name: &str, value: &Value, first: bool) -> String {
    let inner = text(members.clone());
    let inner = &inner[1..inner.len() - 1];
    let member = format!("{}:{value}", json!(name));
    if first { format!("{{{member},{inner}}}") } else { format!("{{{inner},{member}}}") }
}

struct Forger<'a> {
    keys: &'a Keys,
    kind: Kind,
    rows: Vec<(String, String)>,
}

impl Forger<'_> {
    fn row(&mut self, name: impl Into<String>, token: impl Into<String>) {
        self.rows.push((name.into(), token.into()));
    }

    /// Signed with the deployment's own key.
    fn signed(&mut self, name: impl Into<String>, header: &str, claims: &str) {
        let token = self.keys.es256(&self.keys.current, header, claims);
        self.row(name, token);
    }

    /// Signed with the attacker's key.
    fn attacked(&mut self, name: impl Into<String>, header: &str) {
        let token = self.keys.es256(&self.keys.attacker, header, &text(self.kind.claims()));
        self.row(name, token);
    }

    fn good(&self) -> String {
        self.keys.es256(&self.keys.current, &text(self.kind.header()), &text(self.kind.claims()))
    }

    fn all(mut self) -> Vec<(String, String)> {
        self.no_algorithm();
        self.hmac_with_a_public_key();
        self.other_algorithms();
        self.key_ids();
        self.keys_in_the_header();
        self.critical_members();
        self.types();
        self.times();
        self.issuer_and_audience();
        self.other_claims();
        self.members_twice();
        self.form();
        self.signatures();
        self.edits();
        self.rows
    }

    fn no_algorithm(&mut self) {
        let good = self.good();
        let signature = good.rsplit('.').next().unwrap().to_owned();
        for algorithm in ["none", "None", "NONE", "nOnE", "noné", " none", "none ", ""] {
            let header = with(self.kind.header(), "alg", Some(json!(algorithm)));
            let signed = format!("{}.{}", encode(header), encode(text(self.kind.claims())));
            self.row(format!("alg {algorithm:?}, no signature"), format!("{signed}."));
            self.row(format!("alg {algorithm:?}, no third part"), signed.clone());
            self.row(
                format!("alg {algorithm:?}, another token's signature"),
                format!("{signed}.{signature}"),
            );
        }
        for (name, algorithm) in [
            ("null", Some(json!(null))),
            ("missing", None),
            ("a list", Some(json!(["ES256", "none"]))),
            ("0", Some(json!(0))),
        ] {
            self.signed(
                format!("alg {name}"),
                &with(self.kind.header(), "alg", algorithm),
                &text(self.kind.claims()),
            );
        }
    }

    fn hmac_with_a_public_key(&mut self) {
        let point = self.keys.current.public_key().as_ref().to_vec();
        let spki: Vec<u8> = self.keys.current.public_key().as_der().unwrap().as_ref().to_vec();
        let rsa_spki: Vec<u8> = self.keys.rsa.public_key().as_der().unwrap().as_ref().to_vec();
        let pem =
            format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(&spki));
        let jwks = serde_json::to_vec(&self.keys.keyring.jwks()).unwrap();
        let secrets = [
            ("the public point", point.clone()),
            ("the coordinates", point[1..].to_vec()),
            ("the public key in DER", spki),
            ("the public key in PEM", pem.into_bytes()),
            ("the JWKS", jwks),
            ("the RSA key in DER", rsa_spki),
            ("nothing", Vec::new()),
            ("the kid", b"es-current".to_vec()),
        ];
        let algorithms =
            [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)];
        for (secret_name, secret) in &secrets {
            for (algorithm, hmac) in algorithms {
                let kid = if secret_name.contains("RSA") { "rs-previous" } else { "es-current" };
                let mut header = self.kind.header();
                header.insert("kid".to_owned(), json!(kid));
                let token = hmac_with(
                    hmac,
                    secret,
                    &with(header, "alg", Some(json!(algorithm))),
                    &text(self.kind.claims()),
                );
                self.row(format!("{algorithm} keyed with {secret_name}"), token);
            }
        }
    }

    fn other_algorithms(&mut self) {
        for algorithm in [
            "ES384", "ES512", "ES521", "ES256K", "EdDSA", "Ed25519", "RS256", "RS384", "PS256", "es256",
            "Es256", "ES256 ",
        ] {
            let header = with(self.kind.header(), "alg", Some(json!(algorithm)));
            self.signed(
                format!("alg {algorithm:?} over a signature of ES256"),
                &header,
                &text(self.kind.claims()),
            );
        }
        // The RSA key is a good one, for RS256 and nothing else.
        for (algorithm, encoding) in RSA_ENCODINGS.into_iter().filter(|(name, _)| *name != "RS256") {
            let mut header = self.kind.header();
            header.insert("kid".to_owned(), json!("rs-previous"));
            header.insert("alg".to_owned(), json!(algorithm));
            let token =
                self.keys.rsa(&self.keys.rsa, encoding, &text(header.clone()), &text(self.kind.claims()));
            self.row(format!("{algorithm} with the key that is for RS256"), token);
            header.insert("alg".to_owned(), json!("RS256"));
            let token = self.keys.rsa(&self.keys.rsa, encoding, &text(header), &text(self.kind.claims()));
            self.row(format!("a signature of {algorithm} that is called RS256"), token);
        }
        let header = with(self.kind.header(), "kid", Some(json!("rs-previous")));
        self.signed("ES256 under the name of the RSA key", &header, &text(self.kind.claims()));
        let mut header = self.kind.header();
        header.insert("alg".to_owned(), json!("RS256"));
        let token = self.keys.rsa(
            &self.keys.rsa,
            &RSA_PKCS1_SHA256,
            &text(header.clone()),
            &text(self.kind.claims()),
        );
        self.row("RS256 under the name of the ES256 key", token);
        header.insert("kid".to_owned(), json!("rs-previous"));
        let token = self.keys.rsa(
            &self.keys.attacker_rsa,
            &RSA_PKCS1_SHA256,
            &text(header),
            &text(self.kind.claims()),
        );
        self.row("RS256 by another RSA key", token);
    }

    fn key_ids(&mut self) {
        let long = "k".repeat(2000);
        for kid in [
            "",
            "unknown",
            "ES-CURRENT",
            "es-current ",
            " es-current",
            "es-current\u{0}",
            "es-current\n",
            "es-curren",
            "es-currentt",
            "../es-current",
            "../../../../dev/null",
            "file:///dev/null",
            "es-current' OR '1'='1",
            "*",
            "0",
            "https://attacker.example/jwks.json",
            "es\u{2010}current",
            long.as_str(),
        ] {
            let header = with(self.kind.header(), "kid", Some(json!(kid)));
            let shown: String = kid.chars().take(40).collect();
            self.signed(format!("kid {shown:?}"), &header, &text(self.kind.claims()));
        }
        for (name, kid) in [
            ("missing", None),
            ("null", Some(json!(null))),
            ("a number", Some(json!(0))),
            ("a list", Some(json!(["es-current"]))),
            ("an object", Some(json!({ "kid": "es-current" }))),
            ("the next key's", Some(json!("es-next"))),
        ] {
            self.signed(
                format!("kid {name}"),
                &with(self.kind.header(), "kid", kid),
                &text(self.kind.claims()),
            );
        }
        let header = with(self.kind.header(), "kid", Some(json!("es-revoked")));
        let token = self.keys.es256(&self.keys.revoked, &header, &text(self.kind.claims()));
        self.row("by a revoked key, under its name", token);
        let token = self.keys.es256(&self.keys.revoked, &text(self.kind.header()), &text(self.kind.claims()));
        self.row("by a revoked key, under the current key's name", token);
        let token = self.keys.es256(&self.keys.next, &text(self.kind.header()), &text(self.kind.claims()));
        self.row("by the next key, under the current key's name", token);
    }

    fn keys_in_the_header(&mut self) {
        let point = self.keys.attacker.public_key().as_ref().to_vec();
        let jwk = json!({ "kty": "EC", "crv": "P-256", "kid": "es-current", "alg": "ES256", "use": "sig",
            "x": encode(&point[1..33]), "y": encode(&point[33..]) });
        let url = json!("https://attacker.example/keys.json");
        let members = [
            ("jwk", jwk.clone()),
            ("jku", url.clone()),
            ("x5u", url),
            ("x5c", json!([STANDARD.encode(b"certificate")])),
            ("x5t", json!(encode([0; 20]))),
            ("x5t#S256", json!(encode([0; 32]))),
        ];
        for (name, value) in members {
            for (how, kid) in
                [("our kid", Some("es-current")), ("its own kid", Some("attacker")), ("no kid", None)]
            {
                let mut header = self.kind.header();
                match kid {
                    Some(kid) => drop(header.insert("kid".to_owned(), json!(kid))),
                    None => drop(header.remove("kid")),
                }
                self.attacked(
                    format!("the attacker's key, {name} in the header, {how}"),
                    &with(header, name, Some(value.clone())),
                );
            }
        }
        self.attacked("the attacker's key under our name", &text(self.kind.header()));
        let symmetric = json!({ "kty": "oct", "k": encode(b"secret"), "alg": "HS256" });
        let mut header = self.kind.header();
        header.insert("alg".to_owned(), json!("HS256"));
        let token = hmac_with(
            hmac::HMAC_SHA256,
            b"secret",
            &with(header, "jwk", Some(symmetric)),
            &text(self.kind.claims()),
        );
        self.row("HS256 with the secret in the header", token);
    }

    fn critical_members(&mut self) {
        for (name, crit) in [
            ("of nothing", json!([])),
            ("of exp", json!(["exp"])),
            ("of something unknown", json!(["x-must-understand"])),
            ("of b64", json!(["b64"])),
            ("that is a text", json!("exp")),
            ("that is a number", json!(1)),
        ] {
            let mut header = self.kind.header();
            header.insert("b64".to_owned(), json!(false));
            self.signed(format!("crit {name}"), &with(header, "crit", Some(crit)), &text(self.kind.claims()));
        }
    }

    fn types(&mut self) {
        let (typ, other) = (self.kind.typ(), self.kind.other().typ());
        let (upper, application) = (typ.to_uppercase(), format!("application/{typ}"));
        let (padded, leading, suffixed) = (format!("{typ} "), format!(" {typ}"), format!("{typ};v=1"));
        for value in [
            "JWT",
            "jwt",
            "",
            "at",
            "id+jwt",
            "logout+jwt",
            "dpop+jwt",
            other,
            &upper,
            &application,
            &padded,
            &leading,
            &suffixed,
        ] {
            let header = with(self.kind.header(), "typ", Some(json!(value)));
            self.signed(format!("typ {value:?}"), &header, &text(self.kind.claims()));
        }
        for (name, value) in [
            ("missing", None),
            ("null", Some(json!(null))),
            ("a number", Some(json!(1))),
            ("a list", Some(json!([typ]))),
        ] {
            self.signed(
                format!("typ {name}"),
                &with(self.kind.header(), "typ", value),
                &text(self.kind.claims()),
            );
        }
        self.signed("claims of the other kind", &text(self.kind.header()), &text(self.kind.other().claims()));
        self.signed(
            "a whole token of the other kind",
            &text(self.kind.other().header()),
            &text(self.kind.other().claims()),
        );
    }

    fn times(&mut self) {
        for claim in ["exp", "iat", "nbf"] {
            // No kind has an `nbf`; one that is there is read all the same.
            let right = self.kind.claims().get(claim).cloned().unwrap_or_else(|| json!(NOW));
            for (name, value) in [
                ("a text of digits", json!(right.to_string())),
                ("a date", json!("2027-01-15T08:00:00Z")),
                ("an empty text", json!("")),
                ("negative", json!(-1)),
                ("very negative", json!(i64::MIN)),
                ("null", json!(null)),
                ("true", json!(true)),
                ("a list", json!([right])),
                ("an object", json!({ "value": right })),
            ] {
                let claims = with(self.kind.claims(), claim, Some(value));
                self.signed(format!("{claim} {name}"), &text(self.kind.header()), &claims);
            }
            for (name, value) in [
                ("a float", format!("{right}.0")),
                ("a fraction", format!("{right}.5")),
                ("in exponents", "1.80000029e9".to_owned()),
                ("the largest integer", u64::MAX.to_string()),
                ("beyond the largest integer", "18446744073709551616".to_owned()),
                ("beyond the largest float", "1e400".to_owned()),
                ("not a number", "NaN".to_owned()),
                ("infinite", "Infinity".to_owned()),
                ("hexadecimal", "0x6b49d2f2".to_owned()),
                ("with leading zeros", format!("00{right}")),
                ("with a plus", format!("+{right}")),
            ] {
                self.signed(
                    format!("{claim} {name}"),
                    &text(self.kind.header()),
                    &raw(self.kind.claims(), claim, &value),
                );
            }
            if claim == "nbf" {
                let claims = with(self.kind.claims(), claim, Some(json!(NOW + 31)));
                self.signed("nbf half a minute and a second ahead", &text(self.kind.header()), &claims);
                continue;
            }
            let claims = with(self.kind.claims(), claim, None);
            self.signed(format!("{claim} missing"), &text(self.kind.header()), &claims);
            let mut claims = self.kind.claims();
            let value = claims.remove(claim).unwrap();
            self.signed(
                format!("{claim} in capitals"),
                &text(self.kind.header()),
                &with(claims, &claim.to_uppercase(), Some(value)),
            );
        }
        for (name, iat, exp) in [
            ("expired this second", NOW - 300, NOW),
            ("expired by one second", NOW - 301, NOW - 1),
            ("expired by a day", NOW - 86_700, NOW - 86_400),
            ("of 1970", 0, 300),
            ("issued half a minute and a second ahead", NOW + 31, NOW + 331),
            ("issued tomorrow", NOW + 86_400, NOW + 86_700),
            ("alive for a second longer than its kind", NOW - 1, NOW + 300),
            ("alive for ever", NOW, u64::MAX),
            ("expired before it was issued", NOW, NOW - 1),
        ] {
            let mut claims = self.kind.claims();
            claims.insert("iat".to_owned(), json!(iat));
            self.signed(name, &text(self.kind.header()), &with(claims, "exp", Some(json!(exp))));
        }
    }

    fn issuer_and_audience(&mut self) {
        let audience = self.kind.claims()["aud"].as_str().unwrap().to_owned();
        for (claim, right) in [("iss", ISSUER.to_owned()), ("aud", audience)] {
            let (upper, longer, slash) = (right.to_uppercase(), format!("{right}x"), format!("{right}/"));
            for (name, value) in [
                ("missing", None),
                ("null", Some(json!(null))),
                ("empty", Some(json!(""))),
                ("another", Some(json!("https://other.example"))),
                ("in capitals", Some(json!(upper))),
                ("longer", Some(json!(longer))),
                ("shorter", Some(json!(right[..right.len() - 1]))),
                ("with a slash", Some(json!(slash))),
                ("with a space", Some(json!(format!("{right} ")))),
                ("a list of the right one", Some(json!([right]))),
                ("a list of two", Some(json!([right, "other"]))),
                ("an empty list", Some(json!([]))),
                ("a number", Some(json!(1))),
                ("true", Some(json!(true))),
                ("an object", Some(json!({ "0": right }))),
            ] {
                let claims = with(self.kind.claims(), claim, value);
                self.signed(format!("{claim} {name}"), &text(self.kind.header()), &claims);
            }
        }
    }

    fn other_claims(&mut self) {
        let strange: &[(&str, Value)] = match self.kind {
            Kind::Access => &[
                ("aal", json!("2")),
                ("aal", json!(-1)),
                ("aal", json!(256)),
                ("aal", json!(1.5)),
                ("amr", json!("pwd")),
                ("amr", json!([1])),
                ("auth_time", json!("1800000000")),
                ("auth_time", json!(-5)),
                ("sub", json!(["usr_AQEBAQEBAQEBAQEBAQEBAQ"])),
                ("scope", json!(["account"])),
                ("sid", json!(7)),
            ],
            Kind::Mfa => &[
                ("sub", json!("admin")),
                ("sub", json!("ses_AQEBAQEBAQEBAQEBAQEBAQ")),
                ("sub", json!("")),
                ("jti", json!("op_")),
                ("jti", json!("op_AwMDAwMDAwMDAwMDAwMDAw==")),
                ("epoch", json!("4")),
                ("epoch", json!(-4)),
                ("epoch", json!(4.0)),
                ("device", json!("dev_short")),
                ("device", json!("usr_BQUFBQUFBQUFBQUFBQUFBQ")),
                ("known", json!("false")),
                ("known", json!(0)),
                ("cookie", json!("true")),
                ("account", json!("short")),
                ("account", json!("")),
            ],
        };
        for (claim, value) in strange {
            let claims = with(self.kind.claims(), claim, Some(value.clone()));
            self.signed(format!("{claim} {value}"), &text(self.kind.header()), &claims);
        }
        for claim in
            self.kind.claims().keys().filter(|claim| !["iat", "exp", "iss", "aud"].contains(&claim.as_str()))
        {
            self.signed(
                format!("{claim} missing"),
                &text(self.kind.header()),
                &with(self.kind.claims(), claim, None),
            );
            let claims = with(self.kind.claims(), claim, Some(json!(null)));
            self.signed(format!("{claim} null"), &text(self.kind.header()), &claims);
        }
    }

    fn members_twice(&mut self) {
        for (claim, value) in [
            ("exp", json!(NOW + 290)),
            ("sub", json!("usr_AQEBAQEBAQEBAQEBAQEBAQ")),
            ("iss", json!(ISSUER)),
            ("jti", json!("x")),
        ] {
            for first in [true, false] {
                let order = if first { "before" } else { "after" };
                let claims = twice(&self.kind.claims(), claim, &value, first);
                self.signed(format!("{claim} twice, the second {order}"), &text(self.kind.header()), &claims);
            }
        }
        let typ = json!(self.kind.typ());
        for (member, value) in
            [("alg", json!("none")), ("alg", json!("ES256")), ("kid", json!("es-current")), ("typ", typ)]
        {
            for first in [true, false] {
                let order = if first { "before" } else { "after" };
                let header = twice(&self.kind.header(), member, &value, first);
                self.signed(
                    format!("{member} {value} twice, the second {order}"),
                    &header,
                    &text(self.kind.claims()),
                );
            }
        }
    }

    fn form(&mut self) {
        let good = self.good();
        let [header, claims, signature]: [&str; 3] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
        let part = good.len() / 2;
        for (name, token) in [
            ("empty", String::new()),
            ("one dot", ".".to_owned()),
            ("two dots", "..".to_owned()),
            ("three dots", "...".to_owned()),
            ("a dot in front", format!(".{good}")),
            ("a dot behind", format!("{good}.")),
            ("two dots after the header", format!("{header}..{claims}.{signature}")),
            ("a fourth part", format!("{good}.{signature}")),
            (
                "five parts, as encrypted tokens have",
                format!("{header}.{claims}.{claims}.{claims}.{signature}"),
            ),
            ("the header alone", header.to_owned()),
            ("no signature", format!("{header}.{claims}")),
            ("an empty signature", format!("{header}.{claims}.")),
            ("no claims", format!("{header}..{signature}")),
            ("no header", format!(".{claims}.{signature}")),
            ("parts in another order", format!("{claims}.{header}.{signature}")),
            ("padding after the header", format!("{header}=.{claims}.{signature}")),
            ("padding after the claims", format!("{header}.{claims}=.{signature}")),
            ("padding after the signature", format!("{good}=")),
            ("two signs of padding", format!("{good}==")),
            ("a space in front", format!(" {good}")),
            ("a space behind", format!("{good} ")),
            ("a line's end behind", format!("{good}\n")),
            ("a space inside", format!("{header}. {claims}.{signature}")),
            (
                "a line's end in the signature",
                format!("{header}.{claims}.{}\n{}", &signature[..20], &signature[20..]),
            ),
            ("a byte of zero behind", format!("{good}\u{0}")),
            ("a byte-order mark in front", format!("\u{feff}{good}")),
            ("the scheme in front", format!("Bearer {good}")),
            ("in quotes", format!("\"{good}\"")),
            ("twice, with a comma", format!("{good},{good}")),
            ("percent-encoded dots", good.replace('.', "%2E")),
            ("full-width dots", good.replace('.', "\u{ff0e}")),
            (
                "as JSON",
                json!({ "protected": header, "payload": claims, "signature": signature }).to_string(),
            ),
            ("cut by one character", good[..good.len() - 1].to_owned()),
            ("cut in half", good[..part].to_owned()),
            ("its first character gone", good[1..].to_owned()),
            (
                "a header of one character less",
                format!("{}.{claims}.{signature}", &header[..header.len() - 1]),
            ),
            ("a character too many in the signature", format!("{good}A")),
            ("upper case", good.to_uppercase()),
            ("longer than any token", format!("{good}{}", "A".repeat(4096))),
            ("only letters", "A".repeat(300)),
        ] {
            self.row(name, token);
        }
        // Bits of the last character that carry nothing: two texts of one signature.
        let mut last = signature[..signature.len() - 1].to_owned();
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let index = alphabet.find(signature.chars().last().unwrap()).unwrap();
        last.push(alphabet.chars().nth(index ^ 1).unwrap());
        self.row("unused bits of the last character set", format!("{header}.{claims}.{last}"));
        // Signed as they stand: what the signature covers is fine, what it says is not.
        for (name, payload) in [
            ("claims that are a list", "[]".to_owned()),
            ("claims that are a text", "\"claims\"".to_owned()),
            ("claims that are null", "null".to_owned()),
            ("claims that are nothing", String::new()),
            ("no claims at all", "{}".to_owned()),
            ("something behind the claims", format!("{}x", text(self.kind.claims()))),
            ("claims twice", format!("{0}{0}", text(self.kind.claims()))),
            ("a comma too many", text(self.kind.claims()).replace('}', ",}")),
            ("a comment in the claims", text(self.kind.claims()).replacen('{', "{/**/", 1)),
            ("a byte-order mark before the claims", format!("\u{feff}{}", text(self.kind.claims()))),
            ("claims within claims", json!({ "claims": self.kind.claims() }).to_string()),
        ] {
            self.signed(name, &text(self.kind.header()), &payload);
        }
        let claims = with(self.kind.claims(), "x", Some(json!("x".repeat(4096))));
        self.signed("longer than any token, and signed", &text(self.kind.header()), &claims);
        let mut payload = text(self.kind.claims()).into_bytes();
        let at = payload.windows(4).position(|window| window == b"usr_").unwrap();
        payload[at] = 0xff;
        let signed = format!("{}.{}", encode(text(self.kind.header())), encode(&payload));
        let signature = self.keys.current.sign(&self.keys.random, signed.as_bytes()).unwrap();
        self.row("claims that are not UTF-8", format!("{signed}.{}", encode(signature.as_ref())));
        for (name, header) in [
            ("a list", "[]"),
            ("a text", "\"ES256\""),
            ("null", "null"),
            ("nothing", ""),
            ("an empty object", "{}"),
        ] {
            self.signed(format!("a header that is {name}"), header, &text(self.kind.claims()));
        }
        // Signed over another encoding of the same bytes.
        for (name, engine) in [("with padding", URL_SAFE), ("of the standard alphabet", STANDARD)] {
            let claims = with(self.kind.claims(), "x", Some(json!("\u{3ff}\u{fffe}?>~~")));
            let signed = format!("{}.{}", engine.encode(text(self.kind.header())), engine.encode(claims));
            let signature = self.keys.current.sign(&self.keys.random, signed.as_bytes()).unwrap();
            self.row(format!("base64 {name}"), format!("{signed}.{}", engine.encode(signature.as_ref())));
        }
    }

    fn signatures(&mut self) {
        let good = self.good();
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let right = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let (r, s) = right.split_at(32);
        let order = data_encoding::HEXLOWER
            .decode(b"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")
            .unwrap();
        let prime = data_encoding::HEXLOWER
            .decode(b"ffffffff00000001000000000000000000000000ffffffffffffffffffffffff")
            .unwrap();
        let (zero, mut one) = (vec![0; 32], vec![0; 32]);
        one[31] = 1;
        let numbers = [("0", &zero), ("1", &one), ("the order", &order), ("the prime", &prime)];
        for (r_name, r_value) in numbers {
            for (s_name, s_value) in numbers {
                let forged = [r_value.as_slice(), s_value].concat();
                self.row(format!("r is {r_name} and s is {s_name}"), format!("{signed}.{}", encode(forged)));
            }
            self.row(
                format!("r is {r_name}"),
                format!("{signed}.{}", encode([r_value.as_slice(), s].concat())),
            );
            self.row(
                format!("s is {r_name}"),
                format!("{signed}.{}", encode([r, r_value.as_slice()].concat())),
            );
        }
        let der_key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &self.keys.current_pkcs8).unwrap();
        let der = der_key.sign(&self.keys.random, signed.as_bytes()).unwrap();
        for (name, forged) in [
            ("in DER", der.as_ref().to_vec()),
            ("of 63 bytes", right[..63].to_vec()),
            ("of 65 bytes", [&right[..], &[0]].concat()),
            ("with a zero in front", [&[0], &right[..]].concat()),
            ("of one byte", vec![0]),
            ("all ones", vec![0xff; 64]),
            ("with its halves exchanged", [s, r].concat()),
            ("twice", [&right[..], &right].concat()),
            ("backwards", right.iter().rev().copied().collect()),
        ] {
            self.row(format!("a signature {name}"), format!("{signed}.{}", encode(forged)));
        }
        for byte in [0, 1, 15, 31, 32, 47, 62, 63] {
            let mut forged = right.clone();
            forged[byte] ^= 1;
            self.row(
                format!("one bit of byte {byte} of the signature"),
                format!("{signed}.{}", encode(forged)),
            );
        }
    }

    fn edits(&mut self) {
        let good = self.good();
        let [header, claims, signature]: [&str; 3] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
        let mut edits = vec![
            ("sub", json!("usr_CQkJCQkJCQkJCQkJCQkJCQ")),
            ("exp", json!(NOW + 10_000)),
            ("iat", json!(NOW)),
            ("jti", json!("op_CQkJCQkJCQkJCQkJCQkJCQ")),
            ("admin", json!(true)),
        ];
        match self.kind {
            Kind::Access => {
                edits.extend([("aal", json!(2)), ("scope", json!("admin")), ("auth_time", json!(NOW))]);
            }
            Kind::Mfa => edits.extend([("epoch", json!(5)), ("known", json!(true))]),
        }
        for (claim, value) in edits {
            let edited = encode(with(self.kind.claims(), claim, Some(value.clone())));
            self.row(
                format!("{claim} edited to {value} under the old signature"),
                format!("{header}.{edited}.{signature}"),
            );
        }
        for (member, value) in
            [("kid", json!("es-next")), ("x", json!(1)), ("typ", json!(self.kind.other().typ()))]
        {
            let edited = encode(with(self.kind.header(), member, Some(value)));
            self.row(
                format!("header's {member} edited under the old signature"),
                format!("{edited}.{claims}.{signature}"),
            );
        }
        let spaced = encode(text(self.kind.claims()).replace(',', ", "));
        self.row(
            "the same claims with spaces under the old signature",
            format!("{header}.{spaced}.{signature}"),
        );
        let other = self.keys.es256(
            &self.keys.current,
            &text(self.kind.header()),
            &with(self.kind.claims(), "x", Some(json!(1))),
        );
        let other = other.rsplit('.').next().unwrap();
        self.row("the signature of another good token", format!("{header}.{claims}.{other}"));
    }
}

fn rows(keys: &Keys, kind: Kind) -> Vec<(String, String)> {
    Forger { keys, kind, rows: Vec::new() }.all()
}

#[test]
fn no_forged_token_is_accepted_by_either_verifier() {
    let keys = Keys::new();
    for kind in [Kind::Access, Kind::Mfa] {
        let rows = rows(&keys, kind);
        let names: BTreeSet<_> = rows.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), rows.len(), "each row has a name of its own");
        assert!(rows.len() >= 150, "{} rows", rows.len());
        let mut accepted = Vec::new();
        for (name, token) in &rows {
            if keys.verify(kind, token).is_ok() {
                accepted.push(name);
            }
            // A whole token of the other kind is good where it belongs, and nowhere else.
            if name != "a whole token of the other kind" && keys.verify(kind.other(), token).is_ok() {
                accepted.push(name);
            }
            let now = Timestamp::from_seconds(NOW);
            assert_eq!(open_refresh_token(&keys.keyring, token), None, "{name}");
            assert_eq!(open_device_token(&keys.keyring, token, now), None, "{name}");
        }
        println!("{kind:?}: {} forged tokens, {} accepted", rows.len(), accepted.len());
        assert!(accepted.is_empty(), "{kind:?}: {accepted:#?}");
    }
}

/// Without this, rows could be refused for a fault of the forger's.
#[test]
fn the_tokens_that_the_forgeries_differ_from_are_accepted() {
    let keys = Keys::new();
    for kind in [Kind::Access, Kind::Mfa] {
        let good = keys.es256(&keys.current, &text(kind.header()), &text(kind.claims()));
        assert_eq!(keys.verify(kind, &good), Ok(()));
        assert!(keys.verify(kind.other(), &good).is_err());
        let by_next = with(kind.header(), "kid", Some(json!("es-next")));
        assert_eq!(keys.verify(kind, &keys.es256(&keys.next, &by_next, &text(kind.claims()))), Ok(()));
        let mut by_previous = kind.header();
        by_previous.insert("kid".to_owned(), json!("rs-previous"));
        by_previous.insert("alg".to_owned(), json!("RS256"));
        let token = keys.rsa(&keys.rsa, &RSA_PKCS1_SHA256, &text(by_previous), &text(kind.claims()));
        assert_eq!(keys.verify(kind, &token), Ok(()));
        // To the second: the last one, and the skew of two hosts' clocks.
        for (iat, exp) in [(NOW - 299, NOW + 1), (NOW + 30, NOW + 330)] {
            let mut claims = kind.claims();
            claims.insert("iat".to_owned(), json!(iat));
            let claims = with(claims, "exp", Some(json!(exp)));
            assert_eq!(keys.verify(kind, &keys.es256(&keys.current, &text(kind.header()), &claims)), Ok(()));
        }
        let spaced = text(kind.claims()).replace(',', " ,\n");
        assert_eq!(keys.verify(kind, &keys.es256(&keys.current, &text(kind.header()), &spaced)), Ok(()));
        for not_before in [0, NOW, NOW + 30] {
            let claims = with(kind.claims(), "nbf", Some(json!(not_before)));
            assert_eq!(keys.verify(kind, &keys.es256(&keys.current, &text(kind.header()), &claims)), Ok(()));
        }
        let unknown = with(kind.claims(), "unknown", Some(json!(1)));
        assert_eq!(keys.verify(kind, &keys.es256(&keys.current, &text(kind.header()), &unknown)), Ok(()));
    }
}

#[test]
fn an_expired_token_is_told_from_an_invalid_one() {
    let keys = Keys::new();
    let mut claims = Kind::Access.claims();
    claims.insert("iat".to_owned(), json!(NOW - 300));
    let expired =
        keys.es256(&keys.current, &text(Kind::Access.header()), &with(claims, "exp", Some(json!(NOW))));
    assert_eq!(keys.verify(Kind::Access, &expired), Err(TokenError::Expired));
}
