//! The embedded database and keyring behind one port.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    database::Database,
    loopback::{listen_inside, listen_on_both},
    options::Options,
    proxy::{Faults, Imitations, Proxy, Recorder},
    published::Published,
    secrets::Secrets,
    stop::Stop,
    template::Template,
};

/// The services that run.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) database: Database,
    pub(crate) secrets: Secrets,
    pub(crate) faults: Arc<Faults>,
    pub(crate) recorder: Arc<Recorder>,
    /// Where the SDK finds all services.
    pub(crate) address: SocketAddr,
    /// Where calls of Lambda and CodeDeploy arrive, for whoever has functions. Dropped, nobody answers them.
    pub(crate) hook: TcpListener,
}

/// Starts the services on the current runtime; `servers` holds what ends by `stop`.
///
/// # Errors
/// When the port is in use, when the data cannot be read.
pub(crate) async fn start(
    template: &Template,
    options: &Options,
    metrics: Arc<Published>,
    stop: &Stop,
    servers: &mut JoinSet<()>,
) -> anyhow::Result<Services> {
    let data = options.data.as_deref();
    let fronts = listen_on_both(options.dynamodb_port, "--dynamodb-port").await?;
    let address = fronts.first().context("nothing listens")?.local_addr()?;
    let database = Database::open(data, template)?;
    let secrets = Secrets::open(data, template, &options.providers)?;
    let (dynamodb, secretsmanager, hook) =
        (listen_inside().await?, listen_inside().await?, listen_inside().await?);
    let hook_address = hook.local_addr()?;
    let services = Services {
        database: database.clone(),
        secrets: secrets.clone(),
        faults: Arc::default(),
        recorder: Arc::default(),
        address,
        hook,
    };
    let proxy = Arc::new(Proxy {
        port: address.port(),
        dynamodb: dynamodb.local_addr()?,
        secretsmanager: secretsmanager.local_addr()?,
        hook: hook_address,
        latency: options.latency,
        faults: Arc::clone(&services.faults),
        recorder: Arc::clone(&services.recorder),
        imitations: Imitations::of(template, metrics.clock()),
        metrics,
    });
    servers.spawn(database.serve(dynamodb, stop.clone()));
    servers.spawn(secrets.serve(secretsmanager, stop.clone()));
    for front in fronts {
        servers.spawn(Arc::clone(&proxy).serve(front, stop.clone()));
    }
    Ok(services)
}
