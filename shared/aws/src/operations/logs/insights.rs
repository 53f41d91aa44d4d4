//! CloudWatch Logs Insights, within the time that its asker has.

use std::time::Duration;

use aws_sdk_cloudwatchlogs::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::{QueryStatus, ResultField},
};
use sallyport_core::clock::{Clock, Timestamp};
use thiserror::Error;

use super::{Query, Row};
use crate::platform::{cause::cause, connection::Clients};

/// Between two looks at a query that runs.
const PAUSE: Duration = Duration::from_millis(500);

/// Why the logs say nothing, in the operator's words.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LogsError {
    /// CloudWatch refuses, or can't be reached.
    #[error("{operation} failed: {reason}")]
    Unavailable { operation: &'static str, reason: String },
    #[error("the query of the logs ended as {0}")]
    Ended(String),
    #[error("the logs have not answered within {} s", .0.as_secs())]
    Slow(Duration),
    #[error("no log group is named")]
    NoGroups,
    #[error("the query does not read: {0}")]
    Unreadable(String),
}

/// The functions' log groups.
#[derive(Debug, Clone)]
pub struct LogInsights {
    client: Client,
    groups: Vec<String>,
    patience: Duration,
}

impl LogInsights {
    /// A query that is not done within `patience` is left alone.
    pub const fn new(client: Client, groups: Vec<String>, patience: Duration) -> Self {
        Self { client, groups, patience }
    }

    /// For a function. `None` for clients that were not connected by one.
    pub fn of_function(clients: &Clients, groups: Vec<String>, patience: Duration) -> Option<Self> {
        Some(Self::new(super::client_of_function(clients)?, groups, patience))
    }

    /// What a query finds in a span, both ends of it included.
    ///
    /// # Errors
    /// CloudWatch, or it took too long.
    pub async fn ask(
        &self,
        clock: &dyn Clock,
        query: &Query,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Row>, LogsError> {
        if self.groups.is_empty() {
            return Err(LogsError::NoGroups);
        }
        let seconds = |at: Timestamp| i64::try_from(at.seconds()).unwrap_or(i64::MAX);
        let started = self
            .client
            .start_query()
            .set_log_group_names(Some(self.groups.clone()))
            .start_time(seconds(from))
            .end_time(seconds(to))
            .query_string(&query.0)
            .send()
            .await
            .map_err(unavailable("ask the logs"))?;
        let id = started.query_id().unwrap_or_default();
        let mut waited = Duration::ZERO;
        loop {
            let answer = self.client.get_query_results().query_id(id).send().await;
            let answer = answer.map_err(unavailable("read the answer of the logs"))?;
            match answer.status() {
                Some(QueryStatus::Complete) => {
                    return Ok(answer.results().iter().map(|fields| row(fields)).collect());
                }
                Some(QueryStatus::Running | QueryStatus::Scheduled) | None => {}
                Some(other) => return Err(LogsError::Ended(other.as_str().to_owned())),
            }
            if waited >= self.patience {
                return Err(LogsError::Slow(self.patience));
            }
            clock.sleep(PAUSE).await;
            waited += PAUSE;
        }
    }
}

pub(super) fn unavailable<E>(operation: &'static str) -> impl FnOnce(SdkError<E>) -> LogsError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    move |error| LogsError::Unavailable { operation, reason: cause(&error) }
}

fn row(fields: &[ResultField]) -> Row {
    fields
        .iter()
        .filter_map(|field| Some((field.field()?.to_owned(), field.value()?.to_owned())))
        .filter(|(name, _)| name != "@ptr")
        .collect()
}
