//! What the pages' commands find in their environment.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::{
    cli::Target,
    deployment::{Connection, Settings, name},
    environment::variable,
    failure::Failure,
    output::Answer,
};

/// Where the API answers, for `curl`.
pub(super) const URL: &str = "SALLYPORT_URL";
/// The incident that the page is followed for.
pub(super) const INCIDENT: &str = "INCIDENT";

/// The scrape token of `/metrics`.
pub(super) const METRICS_TOKEN: &str = "METRICS_TOKEN";

/// Names of the deployment's parts that `aws` commands need.
const PARTS: [&str; 7] =
    [name::USERS, name::SESSIONS, name::THROTTLE, name::OUTBOX, name::AUDIT, name::OPS, name::KEYRING];

/// The variables of the deployment, from the options as the commands themselves would read them, so that every command of
/// a page goes where this one was sent.
///
/// # Errors
/// There is no such stack.
pub(super) async fn of_deployment(target: &Target) -> Result<BTreeMap<String, String>, Failure> {
    let mut variables = BTreeMap::new();
    let mut set = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            variables.insert(name.to_owned(), value.to_owned());
        }
    };
    set("SALLYPORT_STACK", target.stack.as_deref());
    set("AWS_PROFILE", target.profile.as_deref());
    set("AWS_REGION", target.region.as_deref());
    set("AWS_ENDPOINT_URL", target.endpoint.as_deref());
    set("AWS_ENDPOINT_URL_DYNAMODB", target.endpoint_dynamodb.as_deref());
    set("AWS_ENDPOINT_URL_SECRETS_MANAGER", target.endpoint_secrets.as_deref());
    let settings = match Connection::open(target).await {
        Ok(connection) => Settings::find(target, &connection).await?,
        // Reading a page needs no deployment; a command that does will say so.
        Err(_) if target.stack.is_none() => Settings::from_environment(),
        Err(failure) => return Err(failure),
    };
    for part in PARTS {
        set(part, settings.get(part));
    }
    set(URL, variable(URL).as_deref().or(settings.get(name::ISSUER)));
    Ok(variables)
}

#[derive(Serialize)]
struct Exports {
    variables: BTreeMap<String, String>,
}

impl fmt::Display for Exports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.variables {
            writeln!(f, "export {name}='{}'", value.replace('\'', "'\\''"))?;
        }
        Ok(())
    }
}

pub(super) async fn print(target: &Target) -> Result<Answer, Failure> {
    Answer::of(&Exports { variables: of_deployment(target).await? })
}
