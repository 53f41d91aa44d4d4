//! TLS in front of the embedded services, by a certificate authority that lives as long as the run.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use crate::process::Environment;

/// Ends TLS on a thread of its own.
#[derive(Debug)]
pub(crate) struct Front {
    _threads: Runtime,
    url: String,
    authority: String,
}

impl Front {
    /// Puts TLS before the services of `environment`.
    pub(crate) fn start(environment: &Environment, directory: &Path) -> anyhow::Result<Self> {
        let services = environment.get("AWS_ENDPOINT_URL").context("no AWS_ENDPOINT_URL")?;
        let services: SocketAddr = services.trim_start_matches("http://").parse()?;

        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate()?;
        let authority = params.self_signed(&authority_key)?;
        let path = directory.join("authority.pem");
        fs::write(&path, authority.pem())?;

        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(
            &key,
            &authority,
            &authority_key,
        )?;
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));

        let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = threads.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let url = format!("https://localhost:{}", listener.local_addr()?.port());
        threads.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A connection that breaks is one that the other side closed.
                    drop(forward(acceptor, stream, services).await);
                });
            }
        });
        let authority = path.to_str().context("a path that is not UTF-8")?.to_owned();
        Ok(Self { _threads: threads, url, authority })
    }

    /// The variables of functions that come through here.
    pub(crate) fn environment(&self, behind: &Environment) -> Environment {
        let mut environment = behind.clone();
        environment.remove("AWS_ENDPOINT_URL");
        environment.insert("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), self.url.clone());
        environment.insert("AWS_ENDPOINT_URL_SECRETS_MANAGER".to_owned(), self.url.clone());
        environment.insert("AWS_CA_BUNDLE".to_owned(), self.authority.clone());
        environment
    }
}

async fn forward(acceptor: TlsAcceptor, stream: TcpStream, services: SocketAddr) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut upstream = TcpStream::connect(services).await?;
    upstream.set_nodelay(true)?;
    let mut stream = acceptor.accept(stream).await?;
    copy_bidirectional(&mut stream, &mut upstream).await.map(drop)
}
