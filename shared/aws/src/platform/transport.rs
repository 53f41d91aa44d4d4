//! HTTP/1.1 over TLS, the way to both services.
//!
//! `aws-smithy-http-client` does the same and more. What it does more, HTTP/2 above all, would be a tenth of each function's
//! binary, and neither DynamoDB nor Secrets Manager answers by it.

use std::{error::Error, io, sync::Arc, time::Duration};

use aws_smithy_runtime_api::client::{
    connection::{CaptureSmithyConnection, ConnectionMetadata},
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
        SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::{body::SdkBody, retry::ErrorKind};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client, Error as ClientError,
        connect::{CaptureConnection, HttpConnector as TcpConnector, capture_connection},
    },
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::{
        CryptoProvider,
        aws_lc_rs::{self, cipher_suite},
    },
};

/// A client that trusts `roots` and keeps its connections. Endpoints of `http://` are reached without TLS.
///
/// # Errors
/// The TLS library refuses its own defaults.
pub(crate) fn client(
    roots: RootCertStore,
    connect_timeout: Duration,
) -> Result<SharedHttpClient, rustls::Error> {
    let client = http(roots, connect_timeout)?;
    Ok(SharedHttpClient::new(Transport(SharedHttpConnector::new(Connections(client)))))
}

/// Connections that are kept. Redirects are answers like any other.
pub(crate) type Http = Client<HttpsConnector<TcpConnector>, SdkBody>;

/// As [`client`], without the SDK.
///
/// # Errors
/// As [`client`].
pub(crate) fn http(roots: RootCertStore, connect_timeout: Duration) -> Result<Http, rustls::Error> {
    // What AWS's own client offers, but for ChaCha20: every processor of Lambda has AES instructions.
    let provider = CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        ],
        ..aws_lc_rs::default_provider()
    };
    let tls = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tcp = TcpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(connect_timeout));
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
    Ok(Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector))
}

/// One set of connections for all calls: their time limits are the same.
#[derive(Debug)]
struct Transport(SharedHttpConnector);

impl HttpClient for Transport {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        self.0.clone()
    }
}

#[derive(Debug)]
struct Connections(Http);

impl HttpConnector for Connections {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into()))),
        };
        let connection = capture_connection(&mut request);
        if let Some(capture) = request.extensions().get::<CaptureSmithyConnection>() {
            capture.set_connection_retriever(move || describe(&connection));
        }
        let answer = self.0.request(request);
        HttpConnectorFuture::new(async move {
            match answer.await {
                Ok(answer) => HttpResponse::try_from(answer.map(SdkBody::from_body_1_x))
                    .map_err(|error| ConnectorError::other(error.into(), None)),
                Err(error) => Err(classify(error)),
            }
        })
    }
}

/// By this the SDK has a connection closed on which a call failed.
fn describe(connection: &CaptureConnection) -> Option<ConnectionMetadata> {
    connection.connection_metadata().as_ref()?;
    let connection = connection.clone();
    let close = move || {
        if let Some(connected) = connection.connection_metadata().as_ref() {
            connected.poison();
        }
    };
    Some(ConnectionMetadata::builder().proxied(false).poison_fn(close).build())
}

/// What the SDK's retries go by.
fn classify(error: ClientError) -> ConnectorError {
    let is_io = find::<io::Error>(&error).is_some();
    let kind: fn(Box<ClientError>) -> ConnectorError = match find::<hyper::Error>(&error) {
        Some(error) if error.is_timeout() => |error| ConnectorError::timeout(error),
        Some(error) if error.is_user() => |error| ConnectorError::user(error),
        Some(error) if error.is_closed() || error.is_canceled() || is_io => |error| ConnectorError::io(error),
        Some(error) if error.is_incomplete_message() => {
            |error| ConnectorError::other(error, Some(ErrorKind::TransientError))
        }
        None if error.is_connect() || is_io => |error| ConnectorError::io(error),
        _ => |error| ConnectorError::other(error, None),
    };
    kind(Box::new(error))
}

/// The first error of that type among an error and its causes.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    std::iter::successors(Some(error), |&error| error.source()).find_map(|error| error.downcast_ref())
}
