//! `POST /api/v1/auth/logout`

use std::sync::Arc;

use http::header;
use sallyport_core::{
    env::Env,
    ids::{SessionId, UserId},
    sessions::{EndCommand, EndScope, Presented, end_sessions},
    tokens::{Audience, is_forged_refresh_token, open_refresh_token},
};
use sallyport_lambda::{
    Call, Code, Platform, Problem, REFRESH_COOKIE, Reply, bearer_token,
    fields::{RefreshTokenField, present},
};
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[serde(default, deserialize_with = "present")]
    refresh_token: Option<RefreshTokenField>,
    #[serde(default)]
    scope: Scope,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(try_from = "String")]
enum Scope {
    #[default]
    Local,
    Others,
    Global,
}

/// By way of a text: as an enum serde takes a wrong type for bad syntax, and names no field.
impl TryFrom<String> for Scope {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.as_str() {
            "local" => Ok(Self::Local),
            "others" => Ok(Self::Others),
            "global" => Ok(Self::Global),
            _ => Err("not a scope"),
        }
    }
}

impl From<Scope> for EndScope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Local => Self::Local,
            Scope::Others => Self::Others,
            Scope::Global => Self::Global,
        }
    }
}

pub(crate) async fn handle(platform: Arc<Platform>, call: Call) -> Result<Reply, Problem> {
    let request: Request = call.optional_json()?;
    let keyring = platform.keyring().await?;
    let env = platform.env(&keyring);
    let cookie = call.cookie(REFRESH_COOKIE)?;
    let rules = platform.rules(&call.context);
    let in_body = request.refresh_token.as_ref();
    let (user, session, named_by) = named_session(env, &rules.audience, &call, in_body)?;
    let (scope, origin) = (request.scope.into(), &call.context.origin);
    let command = EndCommand { user, session, presented: named_by, scope, origin };
    let lives_on = end_sessions(platform.store(), env, &rules.sessions, command).await?;
    let reply = Reply::no_content();
    // Whoever ends the other sessions keeps the cookie of this one.
    let of_this_one =
        |cookie: &str| open_refresh_token(&keyring, cookie).is_some_and(|token| token.session == session);
    let keeps = lives_on && cookie.as_deref().is_some_and(of_this_one);
    Ok(if cookie.is_some() && !keeps { reply.without_refresh_cookie() } else { reply })
}

/// The session to end: that of the access token, of the refresh token in the body, or of the refresh cookie, in this order.
fn named_session(
    env: Env<'_>,
    audience: &Audience,
    call: &Call,
    in_body: Option<&RefreshTokenField>,
) -> Result<(UserId, SessionId, Presented), Problem> {
    if call.headers.contains_key(header::AUTHORIZATION) {
        let caller = call.caller(env, audience)?;
        return Ok((caller.user, caller.session, Presented::AccessToken));
    }
    let Some(presented) = call.refresh_token(in_body)? else {
        return bearer_token(&call.headers).map(|_| ()).and(Err(Problem::invalid_token()));
    };
    // Whichever token of the session it is: ending this one is safe, and what its holder wants.
    let opened = open_refresh_token(env.keyring, &presented.token).ok_or_else(|| {
        if is_forged_refresh_token(env.keyring, &presented.token) {
            call.facts.suspicious();
        }
        Problem::new(Code::InvalidRefreshToken)
    })?;
    Ok((opened.user, opened.session, Presented::RefreshToken(opened.counter)))
}
