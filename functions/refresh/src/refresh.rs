//! `POST /api/v1/auth/refresh`

use std::sync::Arc;

use sallyport_core::sessions::{RefreshCommand, RefreshError, refresh};
use sallyport_lambda::{
    Call, Code, DEVICE_COOKIE, Platform, Problem, Reply,
    fields::{DeviceTokenField, RefreshTokenField, present},
};
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[serde(default, deserialize_with = "present")]
    refresh_token: Option<RefreshTokenField>,
    #[serde(default)]
    device_token: DeviceTokenField,
}

pub(crate) async fn handle(platform: Arc<Platform>, call: Call) -> Result<Reply, Problem> {
    let request: Request = call.optional_json()?;
    let presented = call
        .refresh_token(request.refresh_token.as_ref())?
        .ok_or_else(|| Problem::new(Code::InvalidRefreshToken))?;
    let device_token = match request.device_token.0 {
        Some(token) => Some(token),
        None if presented.by_cookie => call.cookie(DEVICE_COOKIE)?,
        None => None,
    };
    call.facts.attempt("refreshes", ["refresh_failures", "refresh_token_reuses"]);
    let keyring = platform.keyring().await?;
    let rules = platform.rules(&call.context);
    let command = RefreshCommand {
        refresh_token: &presented.token,
        device_token: device_token.as_deref(),
        by_cookie: presented.by_cookie,
        origin: &call.context.origin,
    };
    let outcome =
        refresh(platform.store(), platform.env(&keyring), &rules.sessions, &rules.audience, command).await;
    let (forged, reused) =
        (matches!(outcome, Err(RefreshError::Forged)), matches!(outcome, Err(RefreshError::Reused)));
    let refused = forged || reused || matches!(outcome, Err(RefreshError::Invalid));
    call.facts.count("refresh_failures", u64::from(refused));
    call.facts.count("refresh_token_reuses", u64::from(reused));
    if forged {
        call.facts.suspicious();
    }
    match outcome {
        Ok(grant) => Reply::tokens(&grant),
        Err(RefreshError::Invalid | RefreshError::Forged) => Err(Problem::new(Code::InvalidRefreshToken)),
        Err(RefreshError::Reused) => Err(Problem::new(Code::RefreshTokenReused)),
        Err(RefreshError::Store(error)) => Err(error.into()),
        Err(RefreshError::Token(error)) => Err(error.into()),
        Err(RefreshError::Random(error)) => Err(error.into()),
    }
}
