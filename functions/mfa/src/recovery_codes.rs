//! `POST /api/v1/mfa/recovery-codes`

use std::sync::Arc;

use http::StatusCode;
use sallyport_core::mfa::{RecoveryCode, regenerate_recovery_codes};
use sallyport_lambda::{Call, Platform, Problem, Reply};
use serde::{Deserialize, Serialize};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {}

#[derive(Serialize)]
struct RecoveryCodes<'a> {
    recovery_codes: Vec<&'a str>,
}

pub(crate) async fn regenerate(platform: Arc<Platform>, call: Call) -> Result<Reply, Problem> {
    let keyring = platform.keyring().await?;
    let env = platform.env(&keyring);
    let caller = call.caller(env, &platform.rules(&call.context).audience)?;
    let Request {} = call.optional_json()?;
    let codes = regenerate_recovery_codes(platform.store(), env, caller, &call.context.origin)
        .await
        .map_err(crate::problem)?;
    Reply::json(
        StatusCode::OK,
        &RecoveryCodes { recovery_codes: codes.iter().map(RecoveryCode::expose).collect() },
    )
}
