//! What every module of the suite uses.

pub(crate) use anyhow::{Context as _, Result, ensure};
pub(crate) use sallyport_testkit::{
    APP_ORIGIN, Account, Answer, Backend, Factor, ServiceClient, Session, raw,
};
pub(crate) use serde_json::{Value, json};

/// Status and code, to compare outcomes with.
pub(crate) fn outcome(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// A body that is read strictly as JSON: where, whether with an access token, and an example of each field.
pub(crate) struct JsonRoute {
    pub(crate) path: &'static str,
    pub(crate) bearer: bool,
    /// Name, an example, and whether a request needs it.
    pub(crate) fields: &'static [(&'static str, &'static str, bool)],
}

const REFRESH: &str = "spr_AQABAAAA";
const DEVICE: &str = "spd_AQABAAAA";
const MFA: &str = "eyJhbGciOiJFUzI1NiJ9.e30.c2ln";
const FACTOR: &str = "fac_AAAAAAAAAAAAAAAAAAAAAA";

pub(crate) const JSON_ROUTES: [JsonRoute; 9] = [
    JsonRoute {
        path: "/api/v1/auth/login",
        bearer: false,
        fields: &[
            ("email", "nobody@example.com", true),
            ("password", "a password", true),
            ("device_token", DEVICE, false),
            ("token_delivery", "body", false),
        ],
    },
    JsonRoute {
        path: "/api/v1/auth/reauthenticate",
        bearer: true,
        fields: &[("password", "a password", true), ("factor_id", FACTOR, false), ("code", "123456", false)],
    },
    JsonRoute {
        path: "/api/v1/auth/mfa/challenge",
        bearer: false,
        fields: &[("mfa_token", MFA, true), ("factor_id", FACTOR, true)],
    },
    JsonRoute {
        path: "/api/v1/auth/mfa/verify",
        bearer: false,
        fields: &[("mfa_token", MFA, true), ("factor_id", FACTOR, true), ("code", "123456", true)],
    },
    JsonRoute {
        path: "/api/v1/auth/refresh",
        bearer: false,
        fields: &[("refresh_token", REFRESH, false), ("device_token", DEVICE, false)],
    },
    JsonRoute {
        path: "/api/v1/auth/logout",
        bearer: false,
        fields: &[("refresh_token", REFRESH, false), ("scope", "local", false)],
    },
    JsonRoute { path: "/api/v1/mfa/totp", bearer: true, fields: &[("label", "Phone", false)] },
    JsonRoute {
        path: "/api/v1/mfa/totp/confirm",
        bearer: true,
        fields: &[("factor_id", FACTOR, true), ("code", "123456", true)],
    },
    JsonRoute { path: "/api/v1/mfa/recovery-codes", bearer: true, fields: &[] },
];

impl JsonRoute {
    /// The fields that a request needs, with their examples.
    pub(crate) fn body(&self) -> Value {
        let needed = self.fields.iter().filter(|(_, _, needed)| *needed);
        Value::Object(needed.map(|(name, example, _)| ((*name).to_owned(), json!(example))).collect())
    }

    /// Posts a body, with the session's access token where the route takes one.
    pub(crate) async fn post(&self, session: &Session, content_type: &str, body: &[u8]) -> Result<Answer> {
        let ask = session.actor.ask("POST", self.path);
        let ask = if self.bearer { ask.bearer(&session.access_token) } else { ask };
        ask.body(content_type, body).send().await
    }
}

/// Kinds of the audit table's events, oldest first.
pub(crate) async fn audit_kinds(backend: &Backend) -> Result<Vec<String>> {
    let mut items = backend.items("Audit").await?;
    items.sort_by_key(|item| item["sk"].as_str().unwrap_or_default().to_owned());
    Ok(items.iter().map(|item| item["kind"].as_str().unwrap_or_default().to_owned()).collect())
}

/// Guesses wrongly, from an address of its own, until the account's pool is locked.
pub(crate) async fn lock(backend: &Backend, email: &str) -> Result<()> {
    let stranger = backend.actor();
    for _ in 0..5 {
        stranger.try_log_in(email, "not it").await?.expect(401)?;
    }
    stranger.try_log_in(email, "not it").await?.expect(429).map(drop)
}
