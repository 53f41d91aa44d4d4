//! `POST /oauth/revoke` (RFC 7009)

use std::sync::Arc;

use http::StatusCode;
use sallyport_core::{
    ids::{SessionId, UserId},
    sessions::{Caller, revoke_token},
    tokens::{TokenError, is_forged_refresh_token, open_refresh_token},
};
use sallyport_lambda::{Call, Platform, Problem, Reply};

use crate::oauth;

pub(crate) async fn handle(platform: Arc<Platform>, call: Call) -> Result<Reply, Problem> {
    let request = match oauth::authenticate(&platform, &call).await? {
        Ok(request) => request,
        Err(reply) => return Ok(reply),
    };
    let keyring = platform.keyring().await?;
    let env = platform.env(&keyring);
    let rules = platform.rules(&call.context);
    // The hint tells where to look first; here both looks are free.
    let named: Option<(UserId, SessionId)> = match open_refresh_token(env.keyring, &request.token) {
        Some(token) => Some((token.user, token.session)),
        None => match Caller::identify(env, &rules.audience, &request.token) {
            Ok(caller) => Some((caller.user, caller.session)),
            Err(error) => {
                if error == TokenError::Forged || is_forged_refresh_token(env.keyring, &request.token) {
                    call.facts.suspicious();
                }
                None
            }
        },
    };
    if let Some((user, session)) = named {
        let origin = call.context.origin.by_client(&request.client);
        revoke_token(platform.store(), env, user, session, &origin).await?;
    }
    // 2.2: a token that is not known is as good as revoked.
    Ok(Reply::empty(StatusCode::OK))
}
