//! What the pages' commands find in their environment.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::{
    cli::Target,
    deployment::{Connection, Settings, is_loopback, name},
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
    let (settings, connection) = match Connection::open(target).await {
        Ok(connection) => (Settings::find(target, &connection).await?, Some(connection)),
        // Reading a page needs no deployment; a command that does will say so.
        Err(_) if target.stack.is_none() => (Settings::from_environment(), None),
        Err(failure) => return Err(failure),
    };
    for part in PARTS {
        set(part, settings.get(part));
    }
    set(URL, variable(URL).as_deref().or(settings.get(name::ISSUER)));
    let token = match &connection {
        Some(connection) if variable(METRICS_TOKEN).is_none() => token_here(&settings, connection).await,
        _ => None,
    };
    set(METRICS_TOKEN, token.as_deref());
    Ok(variables)
}

/// The scrape token of a backend on this machine, which is nobody's secret. A deployment's stays where it is until somebody
/// asks for it.
async fn token_here(settings: &Settings, connection: &Connection) -> Option<String> {
    let secret = variable("SALLYPORT_PROVIDERS_SECRET")?;
    settings.get(name::ISSUER).filter(|url| is_loopback(url))?;
    let held = connection.secrets.get_secret_value().secret_id(secret).send().await.ok()?;
    let held: serde_json::Value = serde_json::from_str(held.secret_string()?).ok()?;
    held.get("metrics_token")?.as_str().map(str::to_owned)
}

#[derive(Serialize)]
struct Exports {
    variables: BTreeMap<String, String>,
    #[serde(skip)]
    token_elsewhere: bool,
}

/// Where the token is that was not exported.
const TOKEN_ELSEWHERE: &str = "\
# METRICS_TOKEN is the member metrics_token of the providers' secret:
# aws secretsmanager get-secret-value --secret-id PROVIDERS_SECRET --query SecretString --output text | jq -r .metrics_token";

impl fmt::Display for Exports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.variables {
            writeln!(f, "export {name}='{}'", value.replace('\'', "'\\''"))?;
        }
        if self.token_elsewhere { writeln!(f, "{TOKEN_ELSEWHERE}") } else { Ok(()) }
    }
}

pub(super) async fn print(target: &Target) -> Result<Answer, Failure> {
    let variables = of_deployment(target).await?;
    // Lines that set nothing would leave whoever pastes a page's commands with another deployment, or none.
    Settings::from_lookup(|name| variables.get(name).cloned()).tables()?;
    let token_elsewhere = !variables.contains_key(METRICS_TOKEN) && variable(METRICS_TOKEN).is_none();
    Answer::of(&Exports { variables, token_elsewhere })
}
