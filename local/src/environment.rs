//! The variables of the functions, as `template.yaml` gives them in the cloud.

use std::collections::BTreeMap;

use crate::{
    gateway::STAGE,
    hook,
    proxy::{TOPICS, topic},
    published::DEPLOYMENT,
    template::Template,
};

/// Variables that a person may set for the functions; what says where the services are is not among them.
pub const OVERRIDABLE: [&str; 15] = [
    "SALLYPORT_ISSUER",
    "SALLYPORT_AUDIENCE",
    "SALLYPORT_ALLOWED_ORIGINS",
    "SALLYPORT_ALLOWED_HEADERS",
    "SALLYPORT_PRODUCT_NAME",
    "SALLYPORT_SIGNING_ALGORITHM",
    "SALLYPORT_REFRESH_GRACE_SECONDS",
    "SALLYPORT_ADDRESS_LIMIT",
    "SALLYPORT_PASSWORD_MEMORY_KIB",
    "SALLYPORT_PASSWORD_ITERATIONS",
    "SALLYPORT_KEYRING_MAX_AGE_SECONDS",
    "SALLYPORT_DOCS_URL",
    "SALLYPORT_CALL_TIMEOUT_MS",
    "SALLYPORT_AUTO_MITIGATION",
    "SALLYPORT_INCIDENT_TOPIC",
];

/// Variables by name.
pub type Environment = BTreeMap<String, String>;

/// The variables for a backend whose services answer at `services` and whose API answers at `api`.
pub(crate) fn of(template: &Template, services: &str, api: &str, overrides: &Environment) -> Environment {
    let mut environment = Environment::new();
    let mut set = |name: &str, value: &str| environment.insert(name.to_owned(), value.to_owned());
    set("SALLYPORT_STAGE", STAGE);
    set("SALLYPORT_DEPLOYMENT", DEPLOYMENT);
    for table in &template.tables {
        set(&format!("SALLYPORT_{}_TABLE", table.logical.to_uppercase()), &table.name);
    }
    for secret in &template.secrets {
        set(&format!("SALLYPORT_{}_SECRET", secret.logical.to_uppercase()), &secret.name);
    }
    set("SALLYPORT_ALARM_TOPICS", &TOPICS.map(topic).join(","));
    set("SALLYPORT_SCRATCH_PREFIX", "sallyport-local-drill");
    set("SALLYPORT_FUNCTIONS", &hook::names());
    set("SALLYPORT_KEYS_FUNCTION", &hook::version_of("keys"));
    set("SALLYPORT_ISSUER", api);
    set("SALLYPORT_ALLOWED_ORIGINS", api);
    // The services believe whatever is signed with; the SDK refuses to call without.
    set("AWS_REGION", "us-east-1");
    set("AWS_ACCESS_KEY_ID", "local");
    set("AWS_SECRET_ACCESS_KEY", "local");
    set("AWS_ENDPOINT_URL", services);
    environment.extend(overrides.clone());
    environment
}

/// Lines for a POSIX shell by which the operator's command finds a backend that runs on this machine.
///
/// # Errors
/// When the template cannot be read.
pub fn exports_for(port: u16, dynamodb_port: u16) -> anyhow::Result<String> {
    let (services, api) = (format!("http://127.0.0.1:{dynamodb_port}"), format!("http://localhost:{port}"));
    Ok(exports(&of(&Template::of_the_stack()?, &services, &api, &Environment::new())))
}

/// Lines for a POSIX shell.
pub(crate) fn exports(environment: &Environment) -> String {
    environment
        .iter()
        .map(|(name, value)| format!("export {name}='{}'\n", value.replace('\'', "'\\''")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_environment_of_a_function() {
        let template = Template::of_the_stack().unwrap();
        let overrides = Environment::from([("SALLYPORT_ADDRESS_LIMIT".to_owned(), "it's 9".to_owned())]);
        let environment = of(&template, "http://127.0.0.1:8000", "http://localhost:3000", &overrides);
        assert_eq!(
            exports(&environment),
            "\
export AWS_ACCESS_KEY_ID='local'
export AWS_ENDPOINT_URL='http://127.0.0.1:8000'
export AWS_REGION='us-east-1'
export AWS_SECRET_ACCESS_KEY='local'
export SALLYPORT_ADDRESS_LIMIT='it'\\''s 9'
export SALLYPORT_ALARM_TOPICS='arn:aws:sns:us-east-1:000000000000:sallyport-local-critical,\
arn:aws:sns:us-east-1:000000000000:sallyport-local-warning,\
arn:aws:sns:us-east-1:000000000000:sallyport-local-info'
export SALLYPORT_ALLOWED_ORIGINS='http://localhost:3000'
export SALLYPORT_AUDIT_TABLE='sallyport-local-audit'
export SALLYPORT_DEPLOYMENT='sallyport-local'
export SALLYPORT_FUNCTIONS='sallyport-local-login,sallyport-local-refresh,sallyport-local-mfa,\
sallyport-local-keys,sallyport-local-health'
export SALLYPORT_ISSUER='http://localhost:3000'
export SALLYPORT_KEYRING_SECRET='sallyport-local-keyring'
export SALLYPORT_KEYS_FUNCTION='sallyport-local-keys:1'
export SALLYPORT_OPS_TABLE='sallyport-local-ops'
export SALLYPORT_OUTBOX_TABLE='sallyport-local-outbox'
export SALLYPORT_PROVIDERS_SECRET='sallyport-local-providers'
export SALLYPORT_SCRATCH_PREFIX='sallyport-local-drill'
export SALLYPORT_SESSIONS_TABLE='sallyport-local-sessions'
export SALLYPORT_STAGE='local'
export SALLYPORT_THROTTLE_TABLE='sallyport-local-throttle'
export SALLYPORT_USERS_TABLE='sallyport-local-users'
"
        );
    }
}
