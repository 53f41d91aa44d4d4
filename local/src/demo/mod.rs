//! Two accounts to try the API with, made by the code that operators and users make theirs with.

mod accounts;
mod client;
mod guide;
mod keepsake;

use std::{net::SocketAddr, path::Path};

use anyhow::{Context as _, bail};
use sallyport_core::{clock::Clock, mfa::TOTP_STEP};
use serde_json::{Value, json};

pub(crate) use self::accounts::Accounts;
use self::{
    client::{Client, text},
    keepsake::{Factor, Keepsake},
};
use crate::{identifier, totp};

const PLAIN_ACCOUNT: &str = "test@example.com";
const MFA_ACCOUNT: &str = "mfa@example.com";

/// 18 characters of 5 bits: no guess at the login's rate finds it.
const PASSWORD_LENGTH: usize = 18;

/// Sees to it that both accounts are there, and says how to use them.
///
/// # Errors
/// When the API does not do what it should.
pub(crate) async fn prepare(
    accounts: &Accounts,
    api: (SocketAddr, &str),
    password: Option<String>,
    data: Option<&Path>,
    clock: &dyn Clock,
) -> anyhow::Result<String> {
    let kept = Keepsake::read(data)?;
    let password = match password.or_else(|| kept.as_ref().map(|kept| kept.password.clone())) {
        Some(password) => password,
        None => identifier::password(PASSWORD_LENGTH)?,
    };
    let is_known = kept.as_ref().is_some_and(|kept| kept.password == password);
    for email in [PLAIN_ACCOUNT, MFA_ACCOUNT] {
        let created =
            accounts.create(email, &password).await.with_context(|| format!("cannot create {email}"))?;
        if !created && !is_known {
            accounts
                .set_password(email, &password)
                .await
                .with_context(|| format!("cannot change {email}"))?;
        }
    }
    let factor = match kept.and_then(|kept| kept.factor) {
        Some(factor) => Some(factor),
        None => enrol(Client(api.0), &password, clock).await.context("cannot enrol a factor")?,
    };
    let keepsake = Keepsake { password, factor };
    keepsake.write(data)?;
    Ok(guide::text(api.1, &keepsake))
}

/// Enrols an authenticator app for the second account, as its owner would. None when it has one that we do not know.
async fn enrol(client: Client, password: &str, clock: &dyn Clock) -> anyhow::Result<Option<Factor>> {
    let signed_in = client.login(MFA_ACCOUNT, password).await?;
    if signed_in.get("mfa_token").is_some() {
        return Ok(None);
    }
    let bearer = Some(text(&signed_in, "access_token")?);
    let enrolled = client.post("/api/v1/mfa/totp", bearer, &json!({"label": "Demo"})).await?;
    let (id, secret) = (text(&enrolled, "factor_id")?, text(&enrolled, "secret")?);
    // The code of the step before: a code is good once, and the present one is for the person who tries it. Where the
    // step ends meanwhile it is too old, and the next one is not.
    let confirm = async || {
        let code = totp::code(secret, clock.now().minus(TOTP_STEP))?;
        client.post("/api/v1/mfa/totp/confirm", bearer, &json!({"factor_id": id, "code": code})).await
    };
    let confirmed = match confirm().await {
        Ok(confirmed) => confirmed,
        Err(_) => confirm().await?,
    };
    client.post("/api/v1/auth/logout", bearer, &json!({})).await?;
    let Some(Value::Array(codes)) = confirmed.get("recovery_codes") else {
        bail!("the answer has no recovery codes")
    };
    Ok(Some(Factor {
        id: id.to_owned(),
        secret: secret.to_owned(),
        otpauth_uri: text(&enrolled, "otpauth_uri")?.to_owned(),
        recovery_codes: codes.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
    }))
}
