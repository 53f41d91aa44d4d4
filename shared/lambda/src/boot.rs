//! From the process's start to its first event.

use std::{pin::Pin, sync::Arc};

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use sallyport_aws::{Clients, ConnectError};
use serde_json::Value;

use crate::{
    app::{App, RouteError},
    config::{Config, ConfigError, environment},
    inbound::Invocation,
    platform::Platform,
    telemetry::{self, Stdout},
    trigger::Trigger,
};

/// The function can't start. Lambda shows the message in the log of the failed start.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Routes(#[from] RouteError),
    #[error("the runtime can't start: {0}")]
    Runtime(#[from] std::io::Error),
    #[error("the runtime ended: {0}")]
    Ended(String),
}

type Answering = Pin<Box<dyn Future<Output = Result<Value, Diagnostic>> + Send>>;

/// Boots a function and serves events until Lambda ends the process.
///
/// `prepare` runs once the platform stands, within Lambda's init phase, which has a whole processor whatever the memory.
///
/// # Errors
/// [`BootError`].
pub fn serve<F>(
    name: &'static str,
    app: fn(&Platform) -> App,
    prepare: impl FnOnce(Platform) -> F,
) -> Result<(), BootError>
where
    F: Future<Output = ()>,
{
    boot(name, prepare, async |platform| {
        let app = app(&platform);
        app.check()?;
        let app = Arc::new(app);
        lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| {
            let app = Arc::clone(&app);
            // Boxed: the compiler's queries about what the runtime wraps around it go as deep as its type.
            let answering: Answering = Box::pin(async move {
                let LambdaEvent { payload, context } = event;
                let invocation = Invocation { request_id: context.request_id, trace: context.xray_trace_id };
                app.invoke(payload, invocation).await.map_err(|error| Diagnostic {
                    error_type: "unknown_event".to_owned(),
                    error_message: error.to_string(),
                })
            });
            answering
        }))
        .await
        .map_err(|error| BootError::Ended(error.to_string()))
    })
}

/// As [`serve`], for a function that is triggered by something else than HTTP.
///
/// # Errors
/// [`BootError`].
pub fn serve_trigger<F>(
    name: &'static str,
    trigger: fn(&Platform) -> Trigger,
    prepare: impl FnOnce(Platform) -> F,
) -> Result<(), BootError>
where
    F: Future<Output = ()>,
{
    boot(name, prepare, async |platform| {
        let trigger = Arc::new(trigger(&platform));
        lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| {
            let trigger = Arc::clone(&trigger);
            async move { trigger.handle(event.payload).await }
        }))
        .await
        .map_err(|error| BootError::Ended(error.to_string()))
    })
}

fn boot<F>(
    name: &'static str,
    prepare: impl FnOnce(Platform) -> F,
    run: impl AsyncFnOnce(Platform) -> Result<(), BootError>,
) -> Result<(), BootError>
where
    F: Future<Output = ()>,
{
    telemetry::install(Arc::new(Stdout));
    let config = Config::from_env()?;
    let clients = Clients::connect(&config.endpoints, name, &environment)?;
    // One event at a time: a second thread would cost half a millisecond of start and serve nobody.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let platform = Platform::builder(config, clients).build();
        if platform.config().warm_up {
            prepare(platform.clone()).await;
        }
        run(platform).await
    })
}
