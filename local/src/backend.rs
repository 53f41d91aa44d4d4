//! The whole backend, started and stopped as one.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::{Router, middleware, serve::ListenerExt as _};
use sallyport_core::clock::Clock as _;
use tokio::{net::TcpListener, runtime::Handle, sync::Mutex, task::JoinSet};

use crate::{
    clock::ShiftingClock,
    console::{self, Console, Logs},
    demo,
    environment::{self, Environment},
    functions,
    gateway::{self, Access, Answers, Gateway, Refusals, Routes},
    guard,
    hook::{self, Deployments, Hook},
    lambda::Lambda,
    loopback::listen_on_both,
    options::Options,
    published::Published,
    runtime::Threads,
    schedules,
    services::{self, Services},
    stop::{self, Stop, Stopper},
    stream::Mapping,
    template::Template,
};

/// Database and keyring answer beside whatever the functions compute.
const SERVICE_THREADS: usize = 2;
/// A hash holds a thread; the processors are shared by the operating system, not by turns.
const FUNCTION_THREADS: usize = 16;
/// How long calls under way are waited for.
const GRACE: Duration = Duration::from_secs(5);

/// A backend that runs. Dropping it ends it at once, [`Backend::stop`] lets calls under way come to their end.
#[derive(Debug)]
pub struct Backend {
    url: String,
    services_url: String,
    environment: Environment,
    guide: Option<String>,
    logs: Arc<Logs>,
    stopper: Stopper,
    servers: JoinSet<()>,
    _threads: [Threads; 2],
}

impl Backend {
    /// Starts everything on threads of its own, and returns once it answers.
    ///
    /// # Errors
    /// When a port is in use, when the data cannot be read, when a variable of the functions is not valid.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let for_services = Threads::start("services", SERVICE_THREADS)?;
        let for_functions = Threads::start("functions", FUNCTION_THREADS)?;
        let (stopper, stop) = stop::channel();
        let started = start(options, for_services.handle().clone(), stop);
        let Started { url, services_url, environment, guide, logs, servers } =
            for_functions.handle().spawn(started).await??;
        let _threads = [for_services, for_functions];
        Ok(Self { url, services_url, environment, guide, logs, stopper, servers, _threads })
    }

    /// Where the API answers, without a trailing slash.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where the database answers.
    pub fn dynamodb_url(&self) -> &str {
        &self.services_url
    }

    /// Where the keyring answers: the same port, told apart by `X-Amz-Target`.
    pub fn secrets_url(&self) -> &str {
        &self.services_url
    }

    /// The variables of the functions, which the operator's command takes as well.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// What the functions have written.
    pub fn log_lines(&self) -> LogLines {
        LogLines(Arc::clone(&self.logs))
    }

    /// The demo accounts with commands to try them, when they were asked for.
    pub fn guide(&self) -> Option<&str> {
        self.guide.as_deref()
    }

    /// Takes no more calls and waits for those under way, five seconds at most.
    pub async fn stop(mut self) {
        self.stopper.stop();
        let all = async { while self.servers.join_next().await.is_some() {} };
        // What is not done by now is cut off with the threads.
        drop(tokio::time::timeout(GRACE, all).await);
    }
}

struct Started {
    url: String,
    services_url: String,
    environment: Environment,
    guide: Option<String>,
    logs: Arc<Logs>,
    servers: JoinSet<()>,
}

/// The functions' lines, also once their backend is gone.
#[derive(Debug, Clone)]
pub struct LogLines(Arc<Logs>);

impl LogLines {
    /// Whether both are of one backend.
    pub fn is_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The last lines, as they were written, oldest first.
    pub fn all(&self) -> Vec<String> {
        self.0.lines()
    }
}

async fn start(options: Options, for_services: Handle, stop: Stop) -> anyhow::Result<Started> {
    let template = Template::of_the_stack()?;
    let listeners = listen_on_both(options.port, "--port").await?;
    let address = listeners.first().context("nothing listens")?.local_addr()?;
    let clock = Arc::new(ShiftingClock::default());
    let published = Arc::new(Published::new(Arc::clone(&clock)));
    let (services, mut servers) =
        start_services(&template, &options, &for_services, &published, &stop).await?;
    for rule in &options.faults {
        services.faults.add(serde_json::from_str(rule).with_context(|| format!("fault {rule}"))?);
    }
    let url = format!("http://localhost:{}", address.port());
    let services_url = format!("http://{}", services.address);
    let environment = environment::of(&template, &services_url, &url, &options.environment);

    let logs = Arc::new(Logs::default());
    let access = Arc::new(Logs::default());
    let lambda = Arc::new(Lambda::new(published, Arc::clone(&logs)));
    let sinks = functions::Sinks {
        logs: Arc::clone(&logs),
        metrics: Arc::default(),
        lambda: Arc::clone(&lambda),
        quiet: options.quiet,
    };
    sallyport_lambda::telemetry::install(sinks.of(None));
    let config = functions::config(&environment)?;
    let mut functions = functions::all(&environment, &clock, &sinks)?;
    if !options.cold {
        functions.prepare().await;
    }
    let gateway = Gateway {
        routes: Routes::of(&functions.handlers)?,
        refusals: Refusals::of_the_stack(&config.docs_url, &config.allowed_origins)?,
        clock: Arc::clone(&clock),
        lambda: Arc::clone(&lambda),
        port: address.port(),
        access: Access::of_the_stack(Arc::clone(&access))?,
        answers: options.answers.as_deref().map(Answers::into_directory).transpose()?,
    };
    let deployments = Arc::new(Deployments::default());
    let hook = Hook {
        handlers: functions.handlers.clone(),
        lambda: Arc::clone(&lambda),
        deployments: Arc::clone(&deployments),
        deployed_at: clock.now(),
    };
    let hook = hook::router(hook).layer(middleware::from_fn(guard::this_machine));
    servers.spawn(serve(services.hook, hook, stop.clone()));
    let console = Arc::new(Console {
        template: template.clone(),
        database: services.database.clone(),
        clock: Arc::clone(&clock),
        logs: Arc::clone(&logs),
        access,
        recorder: Arc::clone(&services.recorder),
        faults: services.faults,
        lambda,
        deployments,
        cold: Mutex::new(functions.take_unprepared()),
        handlers: functions.handlers,
        secrets: services.secrets,
        sessions: Arc::new(Mapping::of(&template, "Sessions", services.database, &functions.triggers)?),
        triggers: functions.triggers,
    });
    if options.schedules {
        for schedule in schedules::of_the_stack()? {
            let (console, clock) = (Arc::clone(&console), Arc::clone(&clock));
            servers.spawn(schedules::keep_playing(schedule, console, clock, stop.clone()));
        }
    }
    if let Some(every) = options.stream_every {
        servers.spawn(Arc::clone(&console.sessions).keep_delivering(every, stop.clone()));
    }
    let router = Router::new()
        .fallback(gateway::answer)
        .with_state(Arc::new(gateway))
        .nest("/_local", console::router(Arc::clone(&console), address.port()))
        .layer(middleware::from_fn(guard::this_machine));
    for listener in listeners {
        servers.spawn(serve(listener, router.clone(), stop.clone()));
    }

    let guide = if options.demo {
        let accounts = demo::Accounts::connect(
            functions::connect(&environment, &config, "local")?,
            &config,
            clock.clone(),
        );
        let accounts = accounts.await.context("demo accounts")?;
        let (api, data) = ((address, url.as_str()), options.data.as_deref());
        let guide = demo::prepare(&accounts, api, options.demo_password.clone(), data, clock.as_ref());
        Some(guide.await.context("demo accounts")?)
    } else {
        None
    };
    // What the start itself has called is nobody's business.
    services.recorder.clear();
    Ok(Started { url, services_url, environment, guide, logs, servers })
}

/// The services on their own threads.
pub(crate) async fn start_services(
    template: &Template,
    options: &Options,
    threads: &Handle,
    published: &Arc<Published>,
    stop: &Stop,
) -> anyhow::Result<(Services, JoinSet<()>)> {
    let (template, published, stop) = (template.clone(), Arc::clone(published), stop.clone());
    let options = options.clone();
    let starting = threads.spawn(async move {
        let mut servers = JoinSet::new();
        let services = services::start(&template, &options, published, &stop, &mut servers).await?;
        anyhow::Ok((services, servers))
    });
    starting.await?
}

async fn serve(listener: TcpListener, router: Router, stop: Stop) {
    // A small answer is sent as it is, not held back for more to come. A failure costs latency only.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    drop(axum::serve(listener, service).with_graceful_shutdown(async move { stop.requested().await }).await);
}
