//! `sallyport explain request`.

use std::collections::BTreeSet;

use super::{Cause, Explanation, logs};
use crate::{
    audit::{self, Wanted},
    cli::Target,
    commands::user::events,
    deployment::Deployment,
    failure::Failure,
    output::{Progress, Since},
};

/// # Errors
/// Nothing tells of the request; AWS.
pub(super) async fn explain(
    target: &Target,
    id: &str,
    since: Since,
    progress: Progress,
) -> Result<Explanation, Failure> {
    let deployment = Deployment::find(target).await?;
    let now = deployment.now();
    let requests = logs::of_request(target, id, since.moment(now), now).await;
    let wanted = Wanted { since: since.moment(now), request_id: Some(id), ..Wanted::default() };
    let found = audit::scan(&deployment, &wanted, progress).await?;
    let mut events = events::with_accounts(&deployment, &found).await;
    events.sort_by_key(|event| event.time);
    let mut codes: BTreeSet<_> =
        requests.iter().flatten().filter_map(|request| request.code.clone()).collect();
    if requests.as_ref().map_or(true, Vec::is_empty) {
        if events.is_empty() {
            let told = match &requests {
                Ok(_) => "nothing tells".to_owned(),
                Err(failure) => format!("no event tells, and the log is not available ({})", failure.message),
            };
            return Err(Failure::not_found(
                "request_not_found",
                format!("{told} of a request {id}: is it this deployment, and recent enough? See --since"),
            ));
        }
        codes.extend(events.iter().filter_map(|event| answered(&event.kind).map(str::to_owned)));
    }
    let causes = codes.iter().map(|code| Cause::of_code(code)).collect();
    Ok(Explanation::new(format!("request {id}"), causes, requests, events, "it was not refused", now))
}

/// The code that came with an event.
fn answered(kind: &str) -> Option<&'static str> {
    match kind {
        "login.refused" | "session.reauthentication_refused" => Some("invalid_credentials"),
        "mfa.refused" => Some("invalid_code"),
        "session.refresh_token_reused" => Some("refresh_token_reused"),
        _ => None,
    }
}
