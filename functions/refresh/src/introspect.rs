//! `POST /oauth/introspect` (RFC 7662)

use std::sync::Arc;

use http::StatusCode;
use sallyport_core::{
    env::Env,
    rules::Rules,
    sessions::{Session, is_current},
    store::StoreResult,
    tokens::{
        AccessClaims, ProofClaims, RefreshToken, TokenError, is_forged_refresh_token, open_refresh_token,
        verify_access_token,
    },
};
use sallyport_lambda::{Call, Platform, Problem, Reply, telemetry::Facts};
use serde::Serialize;

use crate::oauth;

#[derive(Serialize)]
struct Inactive {
    active: bool,
}

#[derive(Serialize)]
struct Active {
    active: bool,
    scope: String,
    client_id: String,
    token_type: &'static str,
    sub: String,
    sid: String,
    aal: u8,
    amr: Vec<String>,
    auth_time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    proofs: Option<ProofClaims>,
    iat: u64,
    exp: u64,
    iss: String,
    aud: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
}

pub(crate) async fn handle(platform: Arc<Platform>, call: Call) -> Result<Reply, Problem> {
    let request = match oauth::authenticate(&platform, &call).await? {
        Ok(request) => request,
        Err(reply) => return Ok(reply),
    };
    let keyring = platform.keyring().await?;
    let rules = platform.rules(&call.context);
    let found = look_up(&platform, platform.env(&keyring), &rules, &call.facts, &request.token).await?;
    match found {
        Some(active) => Reply::json(StatusCode::OK, &active),
        // 2.2: whatever is wrong with it, no more is said.
        None => Reply::json(StatusCode::OK, &Inactive { active: false }),
    }
}

async fn look_up(
    platform: &Platform,
    env: Env<'_>,
    rules: &Rules,
    facts: &Facts,
    token: &str,
) -> StoreResult<Option<Active>> {
    if let Some(refresh) = open_refresh_token(env.keyring, token) {
        let session =
            is_current(platform.store(), env, refresh.user, refresh.session, Some(refresh.counter)).await?;
        return Ok(session.map(|session| of_refresh_token(rules, &refresh, &session)));
    }
    let claims = match verify_access_token(env.keyring, &rules.audience, token, env.now()) {
        Ok(claims) => claims,
        Err(error) => {
            if error == TokenError::Forged || is_forged_refresh_token(env.keyring, token) {
                facts.suspicious();
            }
            return Ok(None);
        }
    };
    let (Ok(user), Ok(session)) = (claims.sub.parse(), claims.sid.parse()) else {
        return Ok(None);
    };
    let session = is_current(platform.store(), env, user, session, None).await?;
    Ok(session.map(|_| of_access_token(claims)))
}

fn of_access_token(claims: AccessClaims) -> Active {
    Active {
        active: true,
        scope: claims.scope,
        client_id: claims.client_id,
        token_type: "Bearer",
        sub: claims.sub,
        sid: claims.sid,
        aal: claims.aal,
        amr: claims.amr,
        auth_time: claims.auth_time,
        proofs: claims.proofs,
        iat: claims.iat,
        exp: claims.exp,
        iss: claims.iss,
        aud: claims.aud,
        jti: Some(claims.jti),
    }
}

fn of_refresh_token(rules: &Rules, token: &RefreshToken, session: &Session) -> Active {
    Active {
        active: true,
        scope: "account".to_owned(),
        client_id: sallyport_core::tokens::CLIENT_ID.to_owned(),
        token_type: "refresh_token",
        sub: token.user.to_string(),
        sid: session.id.to_string(),
        aal: session.proofs.assurance_level(),
        amr: session.proofs.references().map(str::to_owned).collect(),
        auth_time: session.authenticated_at().seconds(),
        proofs: Some(session.proofs.into()),
        iat: session.rotated_at.seconds(),
        exp: session.refresh_until().seconds(),
        iss: rules.audience.issuer.clone(),
        aud: rules.audience.issuer.clone(),
        jti: None,
    }
}
