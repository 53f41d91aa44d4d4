//! `POST /api/v1/auth/mfa/challenge`
//!
//! Factors whose code has to be sent first come with messages; those there are now have theirs at hand.

use std::sync::Arc;

use sallyport_core::mfa::{FactorPorts as _, check_pending};
use sallyport_lambda::{
    Call, Code, Platform, Problem, Reply,
    fields::{FactorField, JwtField},
};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    mfa_token: JwtField,
    factor_id: FactorField,
}

pub(crate) async fn handle(platform: Arc<Platform>, call: Call) -> Result<Reply, Problem> {
    let request: Request = call.json()?;
    let keyring = platform.keyring().await?;
    let rules = platform.rules(&call.context);
    let claims = crate::pending(platform.env(&keyring), &rules.audience, &call, &request.mfa_token.0)?;
    check_pending(platform.store(), &claims).await.map_err(crate::verify::problem)?;
    let known = match request.factor_id {
        FactorField::Factor(factor) => platform.store().factor(claims.user, factor).await?.is_some(),
        FactorField::Recovery => platform.store().recovery_codes(claims.user).await?.is_some(),
    };
    Err(Problem::new(if known { Code::ChallengeNotApplicable } else { Code::FactorNotFound }))
}
