//! `GET /metrics`

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use sallyport_core::{
    clock::Timestamp,
    providers::{Providers, ReadProviders as _, Scrape},
    store::StoreResult,
};
use sallyport_lambda::{Call, Code, Platform, Problem, Reply, bearer_token};

use crate::exposition::{self, CONTENT_TYPE, PLAIN};

/// How long a copy of the scrape token serves: a new one counts from then on.
const MAX_AGE: Duration = Duration::from_secs(60);

/// After a failed fetch the last copy serves on, and nobody asks again for so long.
const RETRY: Duration = Duration::from_secs(5);

pub(crate) struct State {
    platform: Platform,
    copy: Mutex<Option<Copied>>,
}

struct Copied {
    providers: Arc<Providers>,
    fresh_until: Timestamp,
}

impl State {
    pub(crate) fn new(platform: &Platform) -> Self {
        Self { platform: platform.clone(), copy: Mutex::new(None) }
    }

    /// What operators have entered. Anonymous callers reach this: it asks Secrets Manager once a minute.
    async fn providers(&self) -> StoreResult<Arc<Providers>> {
        let now = self.platform.clock().now();
        let held = self.locked().as_ref().map(|copied| (Arc::clone(&copied.providers), copied.fresh_until));
        if let Some((providers, fresh_until)) = &held
            && now < *fresh_until
        {
            return Ok(Arc::clone(providers));
        }
        let Some(secret) = self.platform.providers() else {
            return Ok(Arc::new(Providers::default()));
        };
        let (providers, age) = match (secret.providers().await, held) {
            (Ok(providers), _) => {
                for refused in providers.refused() {
                    let (member, problem) = (&refused.member, refused.problem);
                    tracing::warn!(member, %problem, "a secret of the providers is refused");
                }
                (Arc::new(providers), MAX_AGE)
            }
            (Err(error), Some((providers, _))) => {
                tracing::warn!(%error, "the providers' secret could not be fetched, the last good one serves on");
                (providers, RETRY)
            }
            (Err(error), None) => return Err(error),
        };
        *self.locked() = Some(Copied { providers: Arc::clone(&providers), fresh_until: now + age });
        Ok(providers)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Option<Copied>> {
        self.copy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) async fn handle(state: Arc<State>, call: Call) -> Result<Reply, Problem> {
    let providers = state.providers().await?;
    match providers.scrape(bearer_token(&call.headers).ok()) {
        Scrape::Off => return Err(Problem::new(Code::NotFound)),
        Scrape::Refused => return Err(Problem::invalid_token()),
        Scrape::Allowed => {}
    }
    let platform = &state.platform;
    let source = platform.metrics().ok_or_else(|| Problem::new(Code::NotFound))?;
    let figures = source.read(platform.clock().now()).await?;
    let text = exposition::text(&platform.config().deployment, figures)
        .map_err(|error| Problem::new(Code::InternalError).operator(error))?;
    let content_type = if takes_open_metrics(&call.headers) { CONTENT_TYPE } else { PLAIN };
    let reply = Reply::text(StatusCode::OK, content_type, text);
    Ok(reply.header(header::VARY, HeaderValue::from_static("Accept")))
}

/// Whether the text is to be called OpenMetrics. Its gauges read the same in Prometheus's older format, which is what readers
/// without OpenMetrics ask for, and what clients that were generated from the document can read.
fn takes_open_metrics(headers: &HeaderMap) -> bool {
    let accepted: Vec<String> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|range| range.to_ascii_lowercase().replace(' ', ""))
        .filter(|range| !range.ends_with(";q=0") && !range.is_empty())
        .map(|range| range.split(';').next().unwrap_or_default().to_owned())
        .collect();
    let names = |range: &str| accepted.iter().any(|accepted| accepted == range);
    let plain = names("text/plain") || names("text/*");
    accepted.is_empty()
        || names("application/openmetrics-text")
        || (!plain && (names("*/*") || names("application/*")))
}
