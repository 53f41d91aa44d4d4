//! CloudWatch Logs Insights, within the time that a responder has.

use std::time::Duration;

use aws_sdk_cloudwatchlogs::{Client, error::DisplayErrorContext, types::QueryStatus};
use sallyport_core::clock::{Clock, Timestamp};

use crate::{Clients, meter::CallMeter};

/// A query that is not done by then is left alone.
const LIMIT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(500);

/// The functions' log groups.
#[derive(Debug, Clone)]
pub struct LogInsights {
    client: Client,
    groups: Vec<String>,
}

impl LogInsights {
    /// `None` for clients that were not connected by a function.
    pub fn new(clients: &Clients, groups: Vec<String>) -> Option<Self> {
        let shared = clients.shared.as_ref()?;
        let mut config = aws_sdk_cloudwatchlogs::config::Builder::from(&shared.config).interceptor(CallMeter);
        config.set_endpoint_url(shared.endpoints.logs.clone());
        Some(Self { client: Client::from_conf(config.build()), groups })
    }

    /// The rows of a query, each its values in their order.
    ///
    /// # Errors
    /// CloudWatch, or it took too long, in the operator's words.
    pub async fn rows(
        &self,
        clock: &dyn Clock,
        query: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Vec<String>>, String> {
        if self.groups.is_empty() {
            return Err("no log group is named".to_owned());
        }
        let seconds = |at: Timestamp| i64::try_from(at.seconds()).unwrap_or(i64::MAX);
        let started = self
            .client
            .start_query()
            .set_log_group_names(Some(self.groups.clone()))
            .start_time(seconds(from))
            .end_time(seconds(to))
            .query_string(query)
            .send()
            .await
            .map_err(|error| DisplayErrorContext(error).to_string())?;
        let id = started.query_id.ok_or("the query has no id")?;
        let mut waited = Duration::ZERO;
        while waited < LIMIT {
            clock.sleep(PAUSE).await;
            waited += PAUSE;
            let answer = self.client.get_query_results().query_id(&id).send().await;
            let answer = answer.map_err(|error| DisplayErrorContext(error).to_string())?;
            match answer.status {
                Some(QueryStatus::Scheduled | QueryStatus::Running) => {}
                Some(QueryStatus::Complete) => {
                    let rows = answer.results.unwrap_or_default();
                    return Ok(rows
                        .into_iter()
                        .map(|row| {
                            let own = row.into_iter().filter(|field| field.field.as_deref() != Some("@ptr"));
                            own.map(|field| field.value.unwrap_or_default()).collect()
                        })
                        .collect());
                }
                other => {
                    let status = other.map_or_else(|| "unknown".to_owned(), |status| status.to_string());
                    return Err(format!("the query is {status}"));
                }
            }
        }
        Err(format!("the query was not done within {} s", LIMIT.as_secs()))
    }
}
