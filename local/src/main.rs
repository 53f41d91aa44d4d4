//! `cargo run -p local`: the whole backend on this machine.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use local::{Backend, Dependencies, Environment, OVERRIDABLE, Options, exports_for, routes};
use sallyport_core::secret::EnteredSecret;

/// The whole backend on this machine: API, database, keyring and a page of sent messages. No Docker, no AWS account.
///
/// Variables of the functions, such as SALLYPORT_ADDRESS_LIMIT, are taken from the environment.
#[derive(Debug, Parser)]
#[command(name = "local", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// The port of the API; 0 takes a free one.
    #[arg(long, default_value_t = 3000, global = true)]
    port: u16,
    #[command(flatten)]
    services: Services,
    /// The password of the demo accounts; one is generated otherwise.
    #[arg(long, env = "SALLYPORT_DEMO_PASSWORD", hide_env_values = true)]
    demo_password: Option<String>,
    /// The token by which GET /metrics may be scraped; empty for none.
    #[arg(
        long,
        env = "SALLYPORT_METRICS_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true,
        default_value = "local-metrics-token"
    )]
    metrics_token: String,
    /// Play no schedules: no probe of readiness each minute, no restore drill, no reminders of incidents.
    #[arg(long, env = "SALLYPORT_NO_SCHEDULES")]
    no_schedules: bool,
    /// Create no demo accounts.
    #[arg(long)]
    no_demo: bool,
    /// A fault that stands from the start, as JSON; for the suites.
    #[arg(long, value_name = "RULE", hide = true)]
    fault: Vec<String>,
    /// A directory in which to note what was answered to which route; for the suites.
    #[arg(long, value_name = "DIR", env = "SALLYPORT_ANSWERS", hide = true)]
    answers: Option<PathBuf>,
    /// Keep the functions' log lines off the terminal; http://localhost:3000/_local/logs shows them.
    #[arg(long)]
    quiet: bool,
}

#[derive(Debug, Args)]
struct Services {
    /// The port of the database and the keyring; 0 takes a free one.
    #[arg(long, default_value_t = 8000, global = true)]
    dynamodb_port: u16,
    /// Keep the data in this directory.
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
    /// Delay every call of the database by so many milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0, global = true)]
    latency: u64,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the database and the keyring alone, and print the environment for `cargo lambda watch`.
    Deps,
    /// Print the environment by which the operator's command finds a backend that runs on the given ports.
    Env,
    /// List the routes of all functions.
    Routes {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(io::stderr(), "local: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    // The backend would take it for none, and /metrics would answer 404.
    if !cli.metrics_token.is_empty() {
        EnteredSecret::parse(&cli.metrics_token)
            .map_err(|problem| anyhow::anyhow!("--metrics-token: {problem}"))?;
    }
    let options = Options {
        port: cli.port,
        dynamodb_port: cli.services.dynamodb_port,
        data: cli.services.data,
        latency: Duration::from_millis(cli.services.latency),
        demo: !cli.no_demo,
        // An empty variable is none.
        demo_password: cli.demo_password.filter(|password| !password.is_empty()),
        quiet: cli.quiet,
        providers: BTreeMap::from([("metrics_token".to_owned(), cli.metrics_token)]),
        faults: cli.fault,
        environment: overrides(),
        stream_every: Some(Duration::from_secs(1)),
        cold: false,
        schedules: !cli.no_schedules,
        answers: cli.answers,
    };
    match cli.command {
        None => {
            let interruption = interruption()?;
            let backend = Backend::start(options).await?;
            print(backend.guide().unwrap_or_default())?;
            print(&addresses(&backend))?;
            interruption.await;
            backend.stop().await;
        }
        Some(Command::Deps) => {
            let interruption = interruption()?;
            let dependencies = Dependencies::start(options).await?;
            print(&dependencies.exports())?;
            interruption.await;
            dependencies.stop().await;
        }
        // That takes a free one for whoever starts a backend; one that runs has printed which.
        Some(Command::Env) if options.port == 0 || options.dynamodb_port == 0 => {
            anyhow::bail!("env: of a backend that runs, name the ports that it has printed: 0 is none");
        }
        Some(Command::Env) => print(&exports_for(options.port, options.dynamodb_port)?)?,
        Some(Command::Routes { json: true }) => print(&serde_json::to_string_pretty(&routes()?)?)?,
        Some(Command::Routes { json: false }) => {
            for route in routes()? {
                print(&format!("{:8} {:40} {}", route.method, route.path, route.function))?;
            }
        }
    }
    Ok(())
}

fn addresses(backend: &Backend) -> String {
    let (url, dynamodb) = (backend.url(), backend.dynamodb_url());
    let port = |url: &str| url.rsplit(':').next().unwrap_or_default().to_owned();
    format!(
        "\nOutbox    {url}/_local/outbox\nMetrics   {url}/metrics, with the token of --metrics-token\n\
         Database  {dynamodb}\nOperator  \
         eval \"$(cargo run -q -p local -- env --port {} --dynamodb-port {})\"; cargo run -q -p sallyport -- --help\n\n\
         listening on {url}",
        port(url),
        port(dynamodb),
    )
}

fn overrides() -> Environment {
    #[expect(clippy::disallowed_methods, reason = "by name, and once")]
    let read = |name: &str| Some((name.to_owned(), std::env::var(name).ok()?));
    OVERRIDABLE.into_iter().filter_map(read).collect()
}

/// A parent process waits for what is printed.
fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// Listens for Ctrl-C and SIGTERM from now on; resolves when one comes.
#[cfg(unix)]
fn interruption() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
    })
}

/// Listens for Ctrl-C; resolves when it comes.
#[cfg(not(unix))]
fn interruption() -> io::Result<impl Future<Output = ()>> {
    Ok(async { drop(tokio::signal::ctrl_c().await) })
}
