//! The database and the keyring alone, for function binaries that run elsewhere.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;

use crate::{
    backend::start_services,
    environment::{self, Environment},
    options::Options,
    runtime::Threads,
    stop::{self, Stopper},
    template::Template,
};

/// Where `cargo lambda watch` listens unless told otherwise.
const WATCH_URL: &str = "http://localhost:9000";

/// Dependencies that run. Dropping them ends them.
#[derive(Debug)]
pub struct Dependencies {
    environment: Environment,
    stopper: Stopper,
    servers: JoinSet<()>,
    _threads: Threads,
}

impl Dependencies {
    /// Starts the database with its tables and the keyring.
    ///
    /// # Errors
    /// When the port is in use, when the data cannot be read.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let threads = Threads::start("services", 2)?;
        let (stopper, stop) = stop::channel();
        let template = Template::of_the_stack()?;
        let (services, servers) =
            start_services(&template, &options, threads.handle(), &Arc::default(), &stop).await?;
        let url = format!("http://{}", services.address);
        let mut environment = environment::of(&template, &url, WATCH_URL, &options.environment);
        // Functions that ask one another find each other there, by the names of their binaries.
        environment.insert("AWS_ENDPOINT_URL_LAMBDA".to_owned(), WATCH_URL.to_owned());
        environment.insert("SALLYPORT_KEYS_FUNCTION".to_owned(), "keys".to_owned());
        Ok(Self { environment, stopper, servers, _threads: threads })
    }

    /// Lines for a POSIX shell that give the functions their variables.
    pub fn exports(&self) -> String {
        environment::exports(&self.environment)
    }

    /// Takes no more calls and waits for those under way, five seconds at most.
    pub async fn stop(mut self) {
        self.stopper.stop();
        let all = async { while self.servers.join_next().await.is_some() {} };
        // What is not done by now is cut off with the threads.
        drop(tokio::time::timeout(Duration::from_secs(5), all).await);
    }
}
