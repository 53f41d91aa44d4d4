//! Clients under the operator's options and the SDK's own configuration.

use std::time::Duration;

use aws_config::{Region, SdkConfig, timeout::TimeoutConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use sallyport_aws::{ProfileError, ProfileOptions, TransactionConflicts, shared_config, trusted_bundle};

use super::{Settings, name, settings::not_chosen};
use crate::{cli::Target, environment::variable, failure::Failure};

/// Clients of the services that the command calls.
pub(crate) struct Connection {
    pub(crate) dynamodb: aws_sdk_dynamodb::Client,
    pub(crate) secrets: aws_sdk_secretsmanager::Client,
    pub(crate) cloudformation: aws_sdk_cloudformation::Client,
    pub(crate) cloudwatch: aws_sdk_cloudwatch::Client,
    pub(crate) lambda: aws_sdk_lambda::Client,
    pub(crate) codedeploy: aws_sdk_codedeploy::Client,
    pub(crate) apigateway: aws_sdk_apigateway::Client,
    pub(crate) sns: aws_sdk_sns::Client,
    pub(crate) logs: aws_sdk_cloudwatchlogs::Client,
    pub(crate) region: String,
    /// Certificates to trust in place of the system's, as PEM.
    pub(crate) ca_bundle: Option<Vec<u8>>,
}

impl Connection {
    /// # Errors
    /// No region is set; a stack is asked of a backend on this machine.
    pub(crate) async fn open(target: &Target) -> Result<Self, Failure> {
        if target.stack.is_some() && is_local_backend(target) {
            return Err(no_stacks());
        }
        let (config, region) = configuration(target).await?;
        let dynamodb_url = target.endpoint_dynamodb.as_ref().or(target.endpoint.as_ref());
        let secrets_url = target.endpoint_secrets.as_ref().or(target.endpoint.as_ref());

        // An operator's write may meet a user's transaction, which is over in milliseconds.
        let mut dynamodb =
            aws_sdk_dynamodb::config::Builder::from(&config).retry_classifier(TransactionConflicts);
        let mut secrets = aws_sdk_secretsmanager::config::Builder::from(&config);
        // Only what was said: the SDK reads its own variables into the builder, and `None` would erase them.
        if let Some(url) = dynamodb_url {
            dynamodb = dynamodb.endpoint_url(url);
        }
        if let Some(url) = secrets_url {
            secrets = secrets.endpoint_url(url);
        }
        Ok(Self {
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            secrets: aws_sdk_secretsmanager::Client::from_conf(secrets.build()),
            cloudformation: aws_sdk_cloudformation::Client::new(&config),
            cloudwatch: aws_sdk_cloudwatch::Client::new(&config),
            lambda: aws_sdk_lambda::Client::new(&config),
            codedeploy: aws_sdk_codedeploy::Client::new(&config),
            apigateway: aws_sdk_apigateway::Client::new(&config),
            sns: aws_sdk_sns::Client::new(&config),
            logs: aws_sdk_cloudwatchlogs::Client::new(&config),
            region,
            ca_bundle: trusted_bundle(target.profile.as_deref()).await?,
        })
    }
}

async fn configuration(target: &Target) -> Result<(SdkConfig, String), Failure> {
    let at_home = is_local(target);
    let options = ProfileOptions {
        profile: target.profile.clone(),
        region: target.region.clone(),
        endpoint: target.endpoint.clone(),
        direct: at_home,
    };
    let config = shared_config(options).await?;
    let region = match config.region() {
        Some(region) => region.to_string(),
        None if at_home => "us-east-1".to_owned(),
        // Whoever has chosen none lacks more than a region.
        None if target.stack.is_none() && Settings::from_environment().is_empty() => return Err(not_chosen()),
        None => {
            return Err(Failure::usage(
                "no_region",
                "no AWS region: pass --region, or set AWS_REGION or a profile",
            ));
        }
    };
    let mut builder = config.into_builder().region(Region::new(region.clone())).timeout_config(timeouts());
    if at_home && target.profile.is_none() && !has_credentials() {
        // What runs on this machine asks for some credentials, and not for which.
        let credentials = Credentials::new("local", "local", None, None, "loopback endpoint");
        builder = builder.credentials_provider(SharedCredentialsProvider::new(credentials));
    }
    Ok((builder.build(), region))
}

impl From<ProfileError> for Failure {
    fn from(error: ProfileError) -> Self {
        let code = match &error {
            ProfileError::NoProfile { .. } | ProfileError::Unreadable(_) => "no_profile",
            ProfileError::Bundle { .. } | ProfileError::NoCertificate { .. } => "ca_bundle_unusable",
        };
        Self::usage(code, error.to_string())
    }
}

/// An operator waits longer than a function does, and not forever.
fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .operation_attempt_timeout(Duration::from_secs(10))
        .operation_timeout(Duration::from_secs(30))
        .build()
}

fn has_credentials() -> bool {
    ["AWS_ACCESS_KEY_ID", "AWS_PROFILE"].iter().any(|name| variable(name).is_some())
}

/// Whether every address that is used stands on this machine.
fn is_local(target: &Target) -> bool {
    let any = target.endpoint.clone().or_else(|| variable("AWS_ENDPOINT_URL"));
    let either = |option: &Option<String>, name| {
        option.clone().or_else(|| target.endpoint.clone()).or_else(|| variable(name)).or_else(|| any.clone())
    };
    let dynamodb = either(&target.endpoint_dynamodb, "AWS_ENDPOINT_URL_DYNAMODB");
    let secrets = either(&target.endpoint_secrets, "AWS_ENDPOINT_URL_SECRETS_MANAGER");
    [dynamodb, secrets].iter().all(|url| url.as_deref().is_some_and(is_loopback))
}

/// Whether the environment is one that `local` prints, and CloudFormation would be asked of that backend. Emulators stand on
/// this machine too, and have stacks.
fn is_local_backend(target: &Target) -> bool {
    target.endpoint.is_none()
        && variable("AWS_ENDPOINT_URL_CLOUDFORMATION").is_none()
        && variable("AWS_ENDPOINT_URL").is_some_and(|url| is_loopback(&url))
        && variable(name::STAGE).is_some_and(|stage| stage == "local")
}

/// What asks a backend on this machine for a stack is told.
pub(super) fn no_stacks() -> Failure {
    Failure::usage(
        "not_here",
        "the endpoint is a backend on this machine, which has no stacks: leave out --stack, and unset SALLYPORT_STACK",
    )
}

pub(crate) fn is_loopback(url: &str) -> bool {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")).unwrap_or(url);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // What stands before an `@` is no host.
    if authority.contains('@') {
        return false;
    }
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_local() {
        for url in
            ["http://localhost:4566", "http://127.0.0.1:8000/", "http://[::1]:8000", "https://127.0.0.2"]
        {
            assert!(is_loopback(url), "{url}");
        }
        for url in [
            "http://localhost.example.com",
            "http://localhost:x@example.com",
            "http://10.0.0.1:8000",
            "https://dynamodb.eu-central-1.amazonaws.com",
            "",
        ] {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
