//! Tokens that the service did not issue, some of them signed with its own key.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};

use crate::prelude::*;

/// One that knows the signing key.
pub(crate) struct Forger {
    pub(crate) kid: String,
    key: EncodingKey,
}

impl Forger {
    /// With the deployment's own key.
    pub(crate) fn of(backend: &Backend) -> Result<Self> {
        let keyring = backend.keyring();
        let entry = keyring["signing"][0].clone();
        let der = STANDARD.decode(entry["private_key"].as_str().context("no private key")?)?;
        let kid = entry["kid"].as_str().context("no kid")?.to_owned();
        Ok(Self { kid, key: EncodingKey::from_ec_der(&der) })
    }

    /// What the service itself would put into a token's header.
    pub(crate) fn header(&self) -> Value {
        json!({"alg": "ES256", "typ": "at+jwt", "kid": self.kid})
    }

    /// Any header and any claims under a good ES256 signature.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> Result<String> {
        let message = message(header, claims);
        let signature = crypto::sign(message.as_bytes(), &self.key, Algorithm::ES256)?;
        Ok(format!("{message}.{signature}"))
    }
}

/// Header and claims, encoded, with the dot between them.
pub(crate) fn message(header: &Value, claims: &Value) -> String {
    format!("{}.{}", encode(header.to_string()), encode(claims.to_string()))
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Whether any route takes this as an access token. All of them are asked.
pub(crate) async fn is_taken(backend: &Backend, client: &ServiceClient, token: &str) -> Result<bool> {
    let actor = backend.actor();
    let mut taken = Vec::new();
    for (method, path) in [
        ("GET", "/api/v1/mfa/factors"),
        ("POST", "/api/v1/mfa/totp"),
        ("POST", "/api/v1/auth/reauthenticate"),
        ("POST", "/api/v1/auth/logout"),
    ] {
        // What a logout would end belongs to the test: it goes last, and only where all others refused.
        if path.ends_with("logout") && taken.contains(&true) {
            break;
        }
        let mut ask = actor.ask(method, path).bearer(token);
        if path.ends_with("reauthenticate") {
            ask = ask.json(&json!({"password": "wrong"}));
        }
        let answer = ask.send().await?;
        ensure!(answer.status < 500, "{path} {}", answer.text());
        let refused = answer.outcome() == outcome(401, "invalid_token");
        taken.push(!refused);
    }
    // Before a token in a header there may be several spaces (RFC 6750 2.1); a form has the token alone.
    let introspected = actor.introspect(client, token.trim_start_matches(' ')).await?.expect(200)?;
    taken.push(introspected.json() != json!({"active": false}));
    ensure!(
        taken.iter().all(|each| *each) || !taken.contains(&true),
        "routes disagree about {token}: {taken:?}"
    );
    Ok(taken.contains(&true))
}
