//! `POST /api/v1/mfa/totp` and `POST /api/v1/mfa/totp/confirm`

use std::sync::Arc;

use http::StatusCode;
use sallyport_core::mfa::{ManageError, confirm_totp, enrol_totp};
use sallyport_lambda::{
    Call, Platform, Problem, Reply,
    fields::{FactorIdField, TotpCodeField, present},
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnrolRequest {
    #[serde(default, deserialize_with = "present")]
    label: Option<String>,
}

#[derive(Serialize)]
struct Enrolment<'a> {
    factor_id: String,
    secret: &'a str,
    otpauth_uri: &'a str,
    qr_svg: &'a str,
}

pub(crate) async fn enrol(platform: Arc<Platform>, call: Call) -> Result<Reply, Problem> {
    let keyring = platform.keyring().await?;
    let env = platform.env(&keyring);
    let rules = platform.rules(&call.context);
    let caller = call.caller(env, &rules.audience)?;
    let request: EnrolRequest = call.optional_json()?;
    if request.label.as_deref().is_some_and(|label| !is_label(label)) {
        return Err(Problem::field("label", "invalid", "1 to 64 characters, no control characters."));
    }
    let label = request.label.as_deref();
    let name = platform.config().authenticator_name();
    let enrolment = enrol_totp(platform.store(), env, caller, &name, label, &call.context.origin)
        .await
        .map_err(crate::problem)?;
    Reply::json(
        StatusCode::CREATED,
        &Enrolment {
            factor_id: enrolment.factor.to_string(),
            secret: enrolment.shown.secret.expose(),
            otpauth_uri: enrolment.shown.otpauth_uri.expose(),
            qr_svg: enrolment.shown.qr_svg.expose(),
        },
    )
}

fn is_label(text: &str) -> bool {
    (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfirmRequest {
    factor_id: FactorIdField,
    code: TotpCodeField,
}

#[derive(Serialize)]
struct Confirmation<'a> {
    factor_id: String,
    recovery_codes: Vec<&'a str>,
}

pub(crate) async fn confirm(platform: Arc<Platform>, call: Call) -> Result<Reply, Problem> {
    let keyring = platform.keyring().await?;
    let env = platform.env(&keyring);
    let rules = platform.rules(&call.context);
    let caller = call.caller(env, &rules.audience)?;
    let request: ConfirmRequest = call.json()?;
    let id = request.factor_id.0;
    let origin = &call.context.origin;
    // A guess like that of a sign-in, and counted as one.
    call.facts.attempt("mfa_attempts", ["mfa_successes", "mfa_failures", "mfa_lockouts", "limiter_triggers"]);
    let answer = confirm_totp(platform.store(), env, &rules, caller, id, &request.code.0, origin).await;
    let refused = matches!(answer.outcome, Err(ManageError::InvalidCode));
    let limited = matches!(answer.outcome, Err(ManageError::TooManyAttempts { .. }));
    call.facts.count("mfa_successes", u64::from(answer.outcome.is_ok()));
    call.facts.count("mfa_failures", u64::from(refused));
    call.facts.count("mfa_lockouts", u64::from(answer.locked_out));
    call.facts.count("limiter_triggers", u64::from(limited));
    let codes = answer.outcome.map_err(crate::problem)?;
    Reply::json(
        StatusCode::OK,
        &Confirmation {
            factor_id: id.to_string(),
            recovery_codes: codes.iter().map(sallyport_core::mfa::RecoveryCode::expose).collect(),
        },
    )
}
