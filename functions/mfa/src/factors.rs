//! `GET /api/v1/mfa/factors` and `DELETE /api/v1/mfa/factors/{id}`

use std::sync::Arc;

use http::StatusCode;
use sallyport_core::mfa::{list_factors, remove_factor};
use sallyport_lambda::{Call, Code, Platform, Problem, Reply};
use serde::Serialize;

#[derive(Serialize)]
struct FactorList {
    factors: Vec<Factor>,
    recovery_codes_remaining: usize,
}

#[derive(Serialize)]
struct Factor {
    id: String,
    r#type: &'static str,
    label: String,
    created_at: u64,
    last_used_at: Option<u64>,
    confirmed: bool,
}

pub(crate) async fn list(platform: Arc<Platform>, call: Call) -> Result<Reply, Problem> {
    let keyring = platform.keyring().await?;
    let env = platform.env(&keyring);
    let caller = call.caller(env, &platform.rules(&call.context).audience)?;
    let listed = list_factors(platform.store(), env, caller).await.map_err(crate::problem)?;
    let factors = listed.factors.into_iter().map(|factor| Factor {
        id: factor.id.to_string(),
        r#type: "totp",
        label: factor.label,
        created_at: factor.created_at.seconds(),
        last_used_at: factor.last_used_at.map(sallyport_core::clock::Timestamp::seconds),
        confirmed: factor.confirmed,
    });
    Reply::json(
        StatusCode::OK,
        &FactorList { factors: factors.collect(), recovery_codes_remaining: listed.recovery_codes },
    )
}

pub(crate) async fn remove(platform: Arc<Platform>, call: Call) -> Result<Reply, Problem> {
    let keyring = platform.keyring().await?;
    let env = platform.env(&keyring);
    let caller = call.caller(env, &platform.rules(&call.context).audience)?;
    let id = call.parameter("id").parse().map_err(|_| Problem::new(Code::FactorNotFound))?;
    remove_factor(platform.store(), env, caller, id, &call.context.origin).await.map_err(crate::problem)?;
    Ok(Reply::no_content())
}
