//! What a function stands on: configuration, clients, clock, randomness, keyring, telemetry.

use std::{sync::Arc, time::Duration};

use sallyport_aws::{
    Clients, FlagsCache, KeyringCache, SecretsKeyring, SecretsProviders, Store, generate_keyring,
    system::{OsRandom, SystemClock},
};
use sallyport_core::{
    audit::{EventKind, Origin, RecordEvent as _, SecurityEvent, Subject},
    checks::Component,
    clock::Clock,
    env::Env,
    flags::{Flags, MAX_AGE, ModeName},
    ids::OperationId,
    keyring::{FillKeyring as _, Keyring},
    random::Random,
    rules::Rules,
    store::{StoreError, StoreResult},
};
use sallyport_operations::metrics::ReadMetrics;

use crate::{
    config::Config,
    context::RequestContext,
    problem::{Code, Problem},
    telemetry::{Sink, Stdout},
};

/// Cheap to clone; one a process.
#[derive(Clone)]
pub struct Platform {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    clients: Clients,
    store: Store,
    keyring: KeyringCache<SecretsKeyring>,
    flags: FlagsCache<Store>,
    providers: Option<SecretsProviders>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    sink: Arc<dyn Sink>,
    metrics: Option<Arc<dyn ReadMetrics>>,
}

/// Builds a [`Platform`]; what is not given is the real thing.
pub struct PlatformBuilder {
    config: Config,
    clients: Clients,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    sink: Arc<dyn Sink>,
    metrics: Option<Arc<dyn ReadMetrics>>,
}

impl PlatformBuilder {
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    #[must_use]
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = random;
        self
    }

    #[must_use]
    pub fn sink(mut self, sink: Arc<dyn Sink>) -> Self {
        self.sink = sink;
        self
    }

    /// Where the deployment's figures are, if not in CloudWatch.
    #[must_use]
    pub fn metrics(mut self, metrics: Arc<dyn ReadMetrics>) -> Self {
        self.metrics = Some(metrics);
        self
    }

    pub fn build(self) -> Platform {
        #[cfg(feature = "cloudwatch")]
        let metrics = self.metrics.or_else(|| {
            let figures = sallyport_aws::CloudWatchMetrics::new(
                self.clients.cloudwatch.clone(),
                &self.config.deployment,
            );
            Some(Arc::new(figures))
        });
        #[cfg(not(feature = "cloudwatch"))]
        let metrics = self.metrics;
        let providers = self
            .config
            .providers_secret
            .as_ref()
            .map(|secret| SecretsProviders::new(self.clients.secrets.clone(), secret));
        let source = SecretsKeyring::new(self.clients.secrets.clone(), &self.config.keyring_secret);
        let keyring = KeyringCache::new(source, Arc::clone(&self.clock), self.config.keyring_max_age);
        let store = Store::new(self.clients.dynamodb.clone(), self.config.tables.clone());
        Platform {
            inner: Arc::new(Inner {
                config: self.config,
                flags: FlagsCache::new(store.clone(), Arc::clone(&self.clock), MAX_AGE),
                clients: self.clients,
                store,
                keyring,
                providers,
                clock: self.clock,
                random: self.random,
                sink: self.sink,
                metrics,
            }),
        }
    }
}

/// How long the public keys wait for the flags.
const FLAGS_WAIT: Duration = Duration::from_millis(300);

/// How long a revocation is news: whoever has to revoke one key may find that another is known as well.
const LATELY_REVOKED: Duration = Duration::from_secs(60 * 60);

/// The keyring to publish.
#[derive(Debug)]
pub struct Published {
    pub keyring: Arc<Keyring>,
    /// Whether a key was revoked within the hour.
    pub lately_revoked: bool,
}

impl Platform {
    pub fn builder(config: Config, clients: Clients) -> PlatformBuilder {
        PlatformBuilder {
            config,
            clients,
            clock: Arc::new(SystemClock),
            random: Arc::new(OsRandom),
            sink: Arc::new(Stdout),
            metrics: None,
        }
    }

    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    pub fn clock(&self) -> &dyn Clock {
        &*self.inner.clock
    }

    pub fn random(&self) -> &dyn Random {
        &*self.inner.random
    }

    /// For what only some functions call.
    pub fn clients(&self) -> &Clients {
        &self.inner.clients
    }

    /// The last lines of all functions, where they are remembered in this process.
    pub fn recent_lines(&self) -> Option<Vec<String>> {
        self.inner.sink.recent()
    }

    pub fn keyring_cache(&self) -> &KeyringCache<SecretsKeyring> {
        &self.inner.keyring
    }

    /// The secret of outside providers, where the function is told of it.
    pub fn providers(&self) -> Option<&SecretsProviders> {
        self.inner.providers.as_ref()
    }

    /// The deployment's figures, for the function that shows them.
    pub fn metrics(&self) -> Option<&dyn ReadMetrics> {
        self.inner.metrics.as_deref()
    }

    pub(crate) fn sink(&self) -> &dyn Sink {
        &*self.inner.sink
    }

    /// The environment of a use case.
    pub fn env<'a>(&'a self, keyring: &'a Keyring) -> Env<'a> {
        Env { clock: &*self.inner.clock, random: &*self.inner.random, keyring }
    }

    /// The rules that a request is under.
    pub fn rules(&self, context: &RequestContext) -> Rules {
        let rules = self.inner.config.rules(self.issuer(context));
        rules.under(Arc::clone(&context.flags), self.inner.clock.now())
    }

    /// The configured issuer, or the address of the API that the request came in by. That is the gateway's word, not a
    /// header's.
    pub fn issuer<'a>(&'a self, context: &'a RequestContext) -> &'a str {
        self.inner.config.issuer.as_deref().unwrap_or(&context.api_url)
    }

    /// Modes and blocks, a few seconds old at most.
    ///
    /// # Errors
    /// 503 `dependency_unavailable` when they were never read: nobody is let in whom an operator may have shut out.
    pub(crate) async fn flags(&self) -> Result<Arc<Flags>, Problem> {
        Ok(self.inner.flags.get().await?)
    }

    /// The keyring, from after the last revocation. While it is known to be unreachable the last good copy serves, and nobody
    /// waits for another, unless a key was revoked since: then there is none until another is fetched. Flags that could not
    /// be read for a minute may hide a revocation, so that the mode counts no longer.
    ///
    /// # Errors
    /// 503 `keyring_unavailable` when there is none: not fetched, damaged, from before a revocation, or not filled yet.
    pub async fn keyring(&self) -> Result<Arc<Keyring>, Problem> {
        let now = self.inner.clock.now();
        let flags = self.inner.flags.last().unwrap_or_default();
        let known_down = flags.is_degraded(Component::Keyring, now) && self.inner.flags.are_current();
        let kept = if known_down {
            self.inner.keyring.last(flags.keyring_from).await
        } else {
            self.inner.keyring.get(flags.keyring_from).await
        };
        match kept {
            Ok(Some(keyring)) => Ok(keyring),
            Ok(None) if known_down => {
                let mode = ModeName::Degraded(Component::Keyring);
                let message = format!("{mode} is set, and there is no copy");
                Err(Problem::new(Code::KeyringUnavailable).operator(message))
            }
            Ok(None) => {
                Err(Problem::new(Code::KeyringUnavailable).operator("the keyring has not been filled yet"))
            }
            Err(error) => Err(Problem::new(Code::KeyringUnavailable).operator(error)),
        }
    }

    /// As [`Platform::keyring`], for the function that publishes it and has no gate: it looks for a revocation itself. What
    /// can't be known within a moment does not keep the keys from those who verify with them.
    ///
    /// # Errors
    /// As [`Platform::keyring`].
    pub async fn published_keyring(&self) -> Result<Published, Problem> {
        drop(tokio::time::timeout(FLAGS_WAIT, self.inner.flags.get()).await);
        let keyring = self.keyring().await?;
        let revoked_at = self.inner.flags.last().and_then(|flags| flags.keyring_from);
        let now = self.inner.clock.now();
        let lately_revoked = revoked_at.is_some_and(|at| now < at + LATELY_REVOKED);
        Ok(Published { keyring, lately_revoked })
    }

    /// Fills an empty keyring with new keys, and records that under the function's name. Of two functions that start at
    /// once one fills it.
    ///
    /// # Errors
    /// Secrets Manager, the generator; or the keyring is filled and the event is lost.
    pub async fn fill_keyring(&self, function: &str) -> StoreResult<()> {
        if self.inner.keyring.get(None).await?.is_some() {
            return Ok(());
        }
        let algorithm = self.inner.config.signing_algorithm;
        let document = generate_keyring(algorithm, &*self.inner.random, self.inner.clock.now())?;
        let filled = self.inner.keyring.source().fill(&document).await?;
        tracing::info!(filled, "the keyring was empty");
        if filled {
            let (id, now) = (OperationId::generate(&*self.inner.random)?, self.inner.clock.now());
            let origin = Origin::function(function);
            let kid = document.signing.first().map(|key| key.kid.clone()).unwrap_or_default();
            let event = SecurityEvent::new(id, now, EventKind::KeyringCreated, Subject::Deployment, &origin);
            self.inner.store.record(&event.detail(kid)).await?;
        }
        // A copy from the first minute on, for an outage that begins in it.
        self.inner.keyring.get(None).await?;
        Ok(())
    }

    /// What the first request would otherwise wait for: the handshake with DynamoDB and the keyring. Neither may fail the
    /// start: a dependency that is down now is reported by the requests that need it.
    pub async fn warm_up(self) {
        let (keyring, ()) = tokio::join!(self.inner.keyring.get(None), self.inner.store.warm_up(1));
        report_cold(keyring.err());
    }

    /// As [`Platform::warm_up`], for a gated application whose requests make so many calls of DynamoDB side by side. One of
    /// the connections is opened by the first read of the flags.
    pub async fn warm_up_for(self, calls: usize) {
        let (keyring, flags, ()) = tokio::join!(
            self.inner.keyring.get(None),
            self.inner.flags.get(),
            self.inner.store.warm_up(calls.saturating_sub(1))
        );
        report_cold(keyring.err());
        report_cold(flags.err());
    }
}

fn report_cold(error: Option<StoreError>) {
    if let Some(error) = error {
        tracing::warn!(%error, "not warm at start");
    }
}

impl std::fmt::Debug for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Platform").field("deployment", &self.inner.config.deployment).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for PlatformBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlatformBuilder").field("deployment", &self.config.deployment).finish_non_exhaustive()
    }
}
