//! The operator's way to AWS: profiles, SSO, processes, and the surroundings' proxy and certificates, as other AWS tools read
//! them. Never in a function, whose transport is [`crate::platform::transport`].

use std::{borrow::Cow, fmt, path::PathBuf};

use aws_config::{Region, profile};
use aws_sdk_dynamodb::config::{AppName, BehaviorVersion};
use aws_smithy_http_client::{
    Builder, Connector,
    proxy::ProxyConfig,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
        SharedHttpConnector,
    },
    orchestrator::HttpRequest,
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_types::os_shim_internal::{Env, Fs};
use rustls::RootCertStore;

use crate::platform::connection::{ConnectError, read_roots, retries, trust};

/// What an operator may say about where to go and as whom.
#[derive(Debug, Clone, Default)]
pub struct ProfileOptions {
    pub profile: Option<String>,
    pub region: Option<String>,
    /// For all services.
    pub endpoint: Option<String>,
    /// Past every proxy: the services are on this machine, which no proxy of the surroundings knows.
    pub direct: bool,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    #[error("there is no AWS profile {asked} in ~/.aws/config and ~/.aws/credentials ({})", among(.known))]
    NoProfile { asked: String, known: Vec<String> },
    #[error("the AWS configuration does not read: {0}")]
    Unreadable(String),
    #[error("{source_of}: {error}")]
    Bundle { source_of: &'static str, error: ConnectError },
    #[error("{source_of}: {path} holds no certificate")]
    NoCertificate { source_of: &'static str, path: PathBuf },
}

fn among(profiles: &[String]) -> String {
    if profiles.is_empty() {
        "there are none".to_owned()
    } else {
        format!("there are: {}", profiles.join(", "))
    }
}

/// The SDK's configuration under the operator's options.
///
/// # Errors
/// The profile that was asked for is not there; the certificates do not read.
pub async fn shared_config(options: ProfileOptions) -> Result<aws_config::SdkConfig, ProfileError> {
    let env = Env::real();
    let profiles = profiles(&env, options.profile.as_deref()).await?;
    let bundle = ca_bundle(&env, &profiles)?;
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(client(bundle, options.direct))
        .retry_config(retries());
    if let Ok(name) = AppName::new("sallyport") {
        loader = loader.app_name(name);
    }
    if let Some(profile) = options.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = options.region {
        loader = loader.region(Region::new(region));
    }
    if let Some(endpoint) = options.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    Ok(loader.load().await)
}

/// The certificates that `AWS_CA_BUNDLE` or the profile's `ca_bundle` names, for whoever makes a client of another kind.
///
/// # Errors
/// As [`shared_config`].
pub async fn trusted_bundle(profile: Option<&str>) -> Result<Option<Vec<u8>>, ProfileError> {
    let env = Env::real();
    let profiles = profiles(&env, profile).await?;
    ca_bundle(&env, &profiles)
}

async fn profiles(env: &Env, asked: Option<&str>) -> Result<profile::ProfileSet, ProfileError> {
    #[expect(deprecated, reason = "its new place is a crate that nothing else here needs")]
    let files = profile::profile_file::ProfileFiles::default();
    let selected = asked.map(|name| Cow::Owned(name.to_owned()));
    let set = profile::load(&Fs::real(), env, &files, selected)
        .await
        .map_err(|error| ProfileError::Unreadable(error.to_string()))?;
    // Without a name it is `default`, which nobody need have.
    let named =
        asked.map(str::to_owned).or_else(|| env.get("AWS_PROFILE").ok()).filter(|name| !name.is_empty());
    match named {
        Some(asked) if asked != "default" && set.get_profile(&asked).is_none() => {
            let mut known: Vec<_> = set.profiles().map(str::to_owned).collect();
            known.sort();
            Err(ProfileError::NoProfile { asked, known })
        }
        _ => Ok(set),
    }
}

/// As botocore has it: the variable before the profile, and an empty one is none. What is named takes the place of the
/// system's certificates.
fn ca_bundle(env: &Env, profiles: &profile::ProfileSet) -> Result<Option<Vec<u8>>, ProfileError> {
    let of_environment = env.get("AWS_CA_BUNDLE").ok().map(|path| ("AWS_CA_BUNDLE", path));
    let of_profile = profiles.get("ca_bundle").map(|path| ("ca_bundle of the profile", path.to_owned()));
    let named = of_environment.filter(|(_, path)| !path.is_empty()).or(of_profile);
    let Some((source_of, path)) = named.filter(|(_, path)| !path.trim().is_empty()) else { return Ok(None) };
    let path = at_home(env, path.trim());
    let read = || {
        let pem = read_roots(&path)?;
        // The connector takes what it is given for certificates: whether they are is found out here.
        let mut roots = RootCertStore::empty();
        trust(&mut roots, &pem)?;
        Ok((pem, roots.is_empty()))
    };
    match read().map_err(|error| ProfileError::Bundle { source_of, error })? {
        (_, true) => Err(ProfileError::NoCertificate { source_of, path }),
        (pem, false) => Ok(Some(pem)),
    }
}

/// A profile may say `~/company.pem`, which no shell has read.
fn at_home(env: &Env, path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), env.get("HOME")) {
        (Some(rest), Ok(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(path),
    }
}

fn client(bundle: Option<Vec<u8>>, direct: bool) -> SharedHttpClient {
    let client = Builder::new().build_with_connector_fn(move |settings, components| {
        let mut builder = Connector::builder();
        if let Some(settings) = settings {
            builder = builder.connector_settings(settings.clone());
        }
        builder.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        builder =
            builder.proxy_config(if direct { ProxyConfig::disabled() } else { ProxyConfig::from_env() });
        let builder = builder.tls_provider(Provider::Rustls(CryptoMode::AwsLc));
        let trusted = bundle.as_ref().map(|pem| TrustStore::empty().with_pem_certificate(pem.as_slice()));
        match trusted.map(|store| TlsContext::builder().with_trust_store(store).build()) {
            Some(Ok(context)) => builder.tls_context(context).build(),
            _ => builder.build(),
        }
    });
    SharedHttpClient::new(Naming(client))
}

/// Says of what could not be reached where it is.
#[derive(Debug)]
struct Naming(SharedHttpClient);

impl HttpClient for Naming {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(NamingConnector(self.0.http_connector(settings, components)))
    }
}

#[derive(Debug)]
struct NamingConnector(SharedHttpConnector);

impl HttpConnector for NamingConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let address = address(request.uri());
        let answer = self.0.call(request);
        HttpConnectorFuture::new(async move { answer.await.map_err(|error| named(address, error)) })
    }
}

/// Scheme and authority.
fn address(uri: &str) -> String {
    let after_scheme = uri.find("://").map_or(0, |at| at + 3);
    let rest = uri.get(after_scheme..).unwrap_or_default();
    let end = rest.find(['/', '?']).map_or(uri.len(), |at| after_scheme + at);
    uri.get(..end).unwrap_or(uri).to_owned()
}

#[derive(Debug)]
struct Unreached {
    address: String,
    error: ConnectorError,
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}", self.address)
    }
}

impl std::error::Error for Unreached {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Of the same kind: retries go by it.
fn named(address: String, error: ConnectorError) -> ConnectorError {
    let (timeout, user, io, other) = (error.is_timeout(), error.is_user(), error.is_io(), error.as_other());
    let told = Box::new(Unreached { address, error });
    if timeout {
        ConnectorError::timeout(told)
    } else if user {
        ConnectorError::user(told)
    } else if io {
        ConnectorError::io(told)
    } else {
        ConnectorError::other(told, other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_an_address_has_neither_path_nor_query() {
        for (uri, told) in [
            ("http://127.0.0.1:8999/", "http://127.0.0.1:8999"),
            (
                "https://lambda.eu-central-1.amazonaws.com/2015-03-31/functions?x=1",
                "https://lambda.eu-central-1.amazonaws.com",
            ),
            ("http://[::1]:1", "http://[::1]:1"),
            ("", ""),
        ] {
            assert_eq!(address(uri), told);
        }
    }

    #[test]
    fn a_named_error_is_retried_as_the_one_within() {
        let lost = || Box::new(std::io::Error::other("lost"));
        assert!(named(String::new(), ConnectorError::io(lost())).is_io());
        assert!(named(String::new(), ConnectorError::timeout(lost())).is_timeout());
        assert!(named(String::new(), ConnectorError::user(lost())).is_user());
        let transient = aws_smithy_types::retry::ErrorKind::TransientError;
        let other = named(String::new(), ConnectorError::other(lost(), Some(transient)));
        assert_eq!(other.as_other(), Some(transient));
    }
}
