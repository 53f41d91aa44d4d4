//! Clients of AWS, with timeouts and retries that fit into a function's time.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

#[cfg(feature = "more-clients")]
use aws_sdk_dynamodb::config::SharedCredentialsProvider;
use aws_sdk_dynamodb::config::{
    AppName, BehaviorVersion, Credentials, Region, SharedHttpClient, StalledStreamProtectionConfig,
    retry::RetryConfig, timeout::TimeoutConfig,
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::platform::{meter::CallMeter, retries::TransactionConflicts, transport};

/// The roots that AWS endpoints chain to (<https://www.amazontrust.com/repository/>). The system's store has 140 roots
/// and costs 0.5 ms to read at each start.
const AMAZON_ROOTS: &[u8] = include_bytes!("../../roots/amazon.pem");

/// Where the services are. `None` is AWS's own address.
#[derive(Debug, Clone, Default)]
pub struct Endpoints {
    pub region: Option<String>,
    pub dynamodb: Option<String>,
    pub secrets: Option<String>,
    pub sns: Option<String>,
    pub logs: Option<String>,
    pub lambda: Option<String>,
    pub codedeploy: Option<String>,
    pub cloudwatch: Option<String>,
    /// PEM of further roots to trust, for an endpoint that is not AWS.
    pub ca_file: Option<PathBuf>,
    /// How long one attempt of a call may take; `None` is [`ATTEMPT_TIMEOUT`].
    pub call_timeout: Option<Duration>,
}

impl Endpoints {
    /// Reads the SDKs' own variables.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Self {
        let any = lookup("AWS_ENDPOINT_URL");
        Self {
            region: lookup("AWS_REGION").or_else(|| lookup("AWS_DEFAULT_REGION")),
            dynamodb: lookup("AWS_ENDPOINT_URL_DYNAMODB").or_else(|| any.clone()),
            secrets: lookup("AWS_ENDPOINT_URL_SECRETS_MANAGER").or_else(|| any.clone()),
            sns: lookup("AWS_ENDPOINT_URL_SNS").or_else(|| any.clone()),
            logs: lookup("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS").or_else(|| any.clone()),
            lambda: lookup("AWS_ENDPOINT_URL_LAMBDA").or_else(|| any.clone()),
            codedeploy: lookup("AWS_ENDPOINT_URL_CODEDEPLOY").or_else(|| any.clone()),
            cloudwatch: lookup("AWS_ENDPOINT_URL_CLOUDWATCH").or(any),
            ca_file: lookup("AWS_CA_BUNDLE").map(PathBuf::from),
            call_timeout: None,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("{0} is not set")]
    Missing(&'static str),
    #[error("can't read {path}: {error}")]
    Roots { path: PathBuf, error: std::io::Error },
    #[error("TLS: {0}")]
    Tls(String),
}

/// The two clients that a function has, and what further ones are made of.
#[derive(Debug, Clone)]
pub struct Clients {
    pub dynamodb: aws_sdk_dynamodb::Client,
    pub secrets: aws_sdk_secretsmanager::Client,
    #[cfg(feature = "cloudwatch")]
    pub cloudwatch: aws_sdk_cloudwatch::Client,
    #[cfg(feature = "more-clients")]
    pub(crate) shared: Option<Shared>,
}

/// What the clients have in common.
#[cfg(feature = "more-clients")]
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) config: aws_types::SdkConfig,
    pub(crate) endpoints: Endpoints,
}

impl Clients {
    /// Connects with the credentials that Lambda puts into the environment.
    ///
    /// There is no chain of providers here: it would be built, and never asked, at every cold start.
    ///
    /// # Errors
    /// A variable is missing, or the roots do not read.
    pub fn connect(
        endpoints: &Endpoints,
        app: &'static str,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConnectError> {
        let required = |name| lookup(name).ok_or(ConnectError::Missing(name));
        let credentials = Credentials::new(
            required("AWS_ACCESS_KEY_ID")?,
            required("AWS_SECRET_ACCESS_KEY")?,
            lookup("AWS_SESSION_TOKEN"),
            None,
            "environment",
        );
        let region = endpoints.region.clone().ok_or(ConnectError::Missing("AWS_REGION"))?;
        let http = http_client(endpoints)?;
        let timeouts = time_limits(endpoints.call_timeout.unwrap_or(ATTEMPT_TIMEOUT));
        let app = AppName::new(app).ok();

        let mut dynamodb = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region.clone()))
            .credentials_provider(credentials.clone())
            .http_client(http.clone())
            .timeout_config(timeouts.clone())
            .retry_config(retries())
            .retry_classifier(TransactionConflicts)
            .interceptor(CallMeter)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        dynamodb.set_endpoint_url(endpoints.dynamodb.clone()).set_app_name(app.clone());

        #[cfg(feature = "more-clients")]
        let shared = {
            let mut config = aws_types::SdkConfig::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new(region.clone()))
                .credentials_provider(SharedCredentialsProvider::new(credentials.clone()))
                .http_client(http.clone())
                .timeout_config(timeouts.clone())
                .retry_config(retries())
                .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
            config.set_app_name(app.clone());
            Shared { config: config.build(), endpoints: endpoints.clone() }
        };
        #[cfg(feature = "cloudwatch")]
        let cloudwatch = {
            let mut cloudwatch = aws_sdk_cloudwatch::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new(region.clone()))
                .credentials_provider(credentials.clone())
                .http_client(http.clone())
                .timeout_config(time_limits(QUERY_TIMEOUT))
                .retry_config(retries())
                .interceptor(CallMeter)
                .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
            cloudwatch.set_endpoint_url(endpoints.cloudwatch.clone()).set_app_name(app.clone());
            aws_sdk_cloudwatch::Client::from_conf(cloudwatch.build())
        };

        let mut secrets = aws_sdk_secretsmanager::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region))
            .credentials_provider(credentials)
            .http_client(http)
            .timeout_config(timeouts)
            .retry_config(retries())
            .interceptor(CallMeter)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        secrets.set_endpoint_url(endpoints.secrets.clone()).set_app_name(app);

        Ok(Self {
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            secrets: aws_sdk_secretsmanager::Client::from_conf(secrets.build()),
            #[cfg(feature = "more-clients")]
            shared: Some(shared),
            #[cfg(feature = "cloudwatch")]
            cloudwatch,
        })
    }
}

fn http_client(endpoints: &Endpoints) -> Result<SharedHttpClient, ConnectError> {
    let mut roots = RootCertStore::empty();
    trust(&mut roots, AMAZON_ROOTS)?;
    if let Some(path) = &endpoints.ca_file {
        trust(&mut roots, &read_roots(path)?)?;
    }
    transport::client(roots, CONNECT_TIMEOUT).map_err(tls)
}

pub(crate) fn trust(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), ConnectError> {
    CertificateDer::pem_slice_iter(pem)
        .try_for_each(|certificate| roots.add(certificate.map_err(tls)?).map_err(tls))
}

pub(crate) fn read_roots(path: &Path) -> Result<Vec<u8>, ConnectError> {
    std::fs::read(path).map_err(|error| ConnectError::Roots { path: path.to_owned(), error })
}

pub(crate) fn tls(error: impl std::fmt::Display) -> ConnectError {
    ConnectError::Tls(error.to_string())
}

const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// How long an attempt of a call may take, unless the deployment says otherwise.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(700);

/// CloudWatch adds up what it is asked for while it is asked.
#[cfg(feature = "cloudwatch")]
const QUERY_TIMEOUT: Duration = Duration::from_millis(2500);

/// Three lost attempts fit into the time of a call. A request makes up to six calls in a row (`tests/usage`), and as many again
/// where its pool is busy: the deadline of a request ends those that are slow one after the other, before the function's own.
fn time_limits(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(attempt)
        .operation_timeout(attempt * 3)
        .build()
}

/// The SDK's first wait of up to a second is longer than a caller waits for a login.
pub(crate) fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(4)
        .with_initial_backoff(Duration::from_millis(25))
        .with_max_backoff(Duration::from_millis(200))
}
