//! A CloudFormation stack as a source of settings: its outputs, and the parameters that it was deployed with.

use std::collections::BTreeMap;

use aws_sdk_cloudformation::{Client, error::ProvideErrorMetadata as _};

use super::{connect::no_stacks, name};
use crate::{aws_fault, failure::Failure};

/// Which output or parameter of template.yaml is which variable. Outputs win: they are what came out.
const NAMES: [(&str, &str); 22] = [
    ("Stage", name::STAGE),
    ("UsersTable", name::USERS),
    ("SessionsTable", name::SESSIONS),
    ("ThrottleTable", name::THROTTLE),
    ("OutboxTable", name::OUTBOX),
    ("AuditTable", name::AUDIT),
    ("OpsTable", name::OPS),
    ("KeyringSecret", name::KEYRING),
    ("ProvidersSecret", name::PROVIDERS),
    ("Issuer", name::ISSUER),
    ("Audience", name::AUDIENCE),
    ("AllowedOrigins", name::ALLOWED_ORIGINS),
    ("AllowedHeaders", name::ALLOWED_HEADERS),
    ("ProductName", name::PRODUCT_NAME),
    ("SigningAlgorithm", name::SIGNING_ALGORITHM),
    ("RefreshGraceSeconds", name::REFRESH_GRACE),
    ("AddressLimit", name::ADDRESS_LIMIT),
    ("PasswordMemoryKib", name::PASSWORD_MEMORY),
    ("PasswordIterations", name::PASSWORD_ITERATIONS),
    ("KeyringMaxAgeSeconds", name::KEYRING_MAX_AGE),
    ("DocsUrl", name::DOCS_URL),
    ("LogRetentionDays", name::LOG_RETENTION),
];

/// # Errors
/// There is no such stack in this account and region; AWS.
pub(super) async fn settings(
    client: &Client,
    stack: &str,
    region: &str,
) -> Result<BTreeMap<String, String>, Failure> {
    let not_found = || {
        Failure::not_found(
            "stack_not_found",
            format!("there is no stack {stack} in {region}: is it the right name, region and account?"),
        )
    };
    let answer = client.describe_stacks().stack_name(stack).send().await.map_err(|error| {
        let absent = error.code() == Some("ValidationError")
            && error.message().is_some_and(|message| message.contains("does not exist"));
        // Not CloudFormation's: a backend on this machine takes the call for one of the services that it plays.
        let elsewhere = error.code() == Some("NotFound");
        if absent {
            not_found()
        } else if elsewhere {
            no_stacks()
        } else {
            aws_fault::from_sdk("describe the stack", &error)
        }
    })?;
    let description = answer.stacks().first().ok_or_else(not_found)?;
    let parameters = description
        .parameters()
        .iter()
        .map(|parameter| (parameter.parameter_key(), parameter.parameter_value()));
    let outputs = description.outputs().iter().map(|output| (output.output_key(), output.output_value()));
    let mut settings = named(parameters.chain(outputs));
    // As the template has it: `--stack` may also be an ARN.
    let name = description.stack_name().unwrap_or(stack);
    settings.insert(name::DEPLOYMENT.to_owned(), name.to_owned());
    Ok(settings)
}

fn named<'a>(pairs: impl Iterator<Item = (Option<&'a str>, Option<&'a str>)>) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    for (key, value) in pairs {
        let variable = NAMES.iter().find(|(name, _)| Some(*name) == key).map(|(_, variable)| *variable);
        if let (Some(variable), Some(value)) = (variable, value) {
            settings.insert(variable.to_owned(), value.to_owned());
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = include_str!("../../../../template.yaml");

    #[test]
    fn outputs_win_over_parameters_and_the_rest_is_ignored() {
        let pairs = [
            ("Issuer", ""),
            ("LogLevel", "INFO"),
            ("Issuer", "https://id.example.com"),
            ("UsersTable", "u-1"),
        ];
        let settings = named(pairs.into_iter().map(|(key, value)| (Some(key), Some(value))));
        assert_eq!(settings.len(), 2);
        assert_eq!(settings.get(name::ISSUER).map(String::as_str), Some("https://id.example.com"));
        assert_eq!(settings.get(name::USERS).map(String::as_str), Some("u-1"));
    }

    #[test]
    fn every_name_is_a_parameter_or_an_output_of_the_template() {
        for (key, variable) in NAMES {
            assert!(TEMPLATE.contains(&format!("\n  {key}:")), "{key} is not in template.yaml");
            assert!(TEMPLATE.contains(&format!("  {variable}:")), "{variable} is set for no function");
        }
    }
}
