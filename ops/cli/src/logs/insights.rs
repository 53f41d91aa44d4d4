//! Logs Insights.

use std::time::Duration;

use aws_sdk_cloudwatchlogs::{
    Client,
    types::{QueryStatus, ResultField},
};
use sallyport_core::clock::Timestamp;

use super::{LogSource, Query, Row};
use crate::{aws_fault, deployment::Connection, failure::Failure};

/// Between two looks at a query that runs.
const PAUSE: Duration = Duration::from_millis(500);

/// A minute of looks; a query of a day takes seconds.
const MOST_LOOKS: u32 = 120;

/// The log groups of a stack.
pub(crate) struct Insights {
    client: Client,
    region: String,
    stack: String,
}

impl Insights {
    pub(crate) fn new(connection: Connection, stack: &str) -> Self {
        Self { client: connection.logs, region: connection.region, stack: stack.to_owned() }
    }

    /// Those that exist: a function of a later release may be missing.
    async fn groups(&self) -> Result<Vec<String>, Failure> {
        let prefix = format!("/sallyport/{}/", self.stack);
        let answer = self
            .client
            .describe_log_groups()
            .log_group_name_prefix(&prefix)
            .send()
            .await
            .map_err(|error| aws_fault::from_sdk("find the log groups", &error))?;
        let groups: Vec<_> = answer
            .log_groups()
            .iter()
            .filter_map(|group| group.log_group_name().map(str::to_owned))
            // The gateway's own lines have other fields.
            .filter(|name| !name.ends_with("/api"))
            .collect();
        if groups.is_empty() {
            let (stack, region) = (&self.stack, &self.region);
            return Err(Failure::not_found(
                "stack_not_found",
                format!(
                    "there are no log groups of a stack {stack} in {region}: is it the right name, region and account?"
                ),
            ));
        }
        Ok(groups)
    }
}

impl LogSource for Insights {
    async fn ask(&self, query: &Query, from: Timestamp, to: Timestamp) -> Result<Vec<Row>, Failure> {
        let seconds = |at: Timestamp| i64::try_from(at.seconds()).unwrap_or(i64::MAX);
        let started = self
            .client
            .start_query()
            .set_log_group_names(Some(self.groups().await?))
            .query_string(&query.0)
            .start_time(seconds(from))
            .end_time(seconds(to))
            .send()
            .await
            .map_err(|error| aws_fault::from_sdk("ask the logs", &error))?;
        let id = started.query_id().unwrap_or_default();
        for _ in 0..MOST_LOOKS {
            let answer = self
                .client
                .get_query_results()
                .query_id(id)
                .send()
                .await
                .map_err(|error| aws_fault::from_sdk("read the answer of the logs", &error))?;
            match answer.status() {
                Some(QueryStatus::Complete) => {
                    return Ok(answer.results().iter().map(|fields| row(fields)).collect());
                }
                Some(QueryStatus::Running | QueryStatus::Scheduled) | None => tokio::time::sleep(PAUSE).await,
                Some(other) => {
                    let message = format!("the query of the logs ended as {}", other.as_str());
                    return Err(Failure::dependency("query_failed", message));
                }
            }
        }
        Err(Failure::dependency(
            "timeout",
            "the logs have not answered within a minute: ask for less, with --since",
        ))
    }
}

fn row(fields: &[ResultField]) -> Row {
    fields
        .iter()
        .filter_map(|field| Some((field.field()?.to_owned(), field.value()?.to_owned())))
        .filter(|(name, _)| name != "@ptr")
        .collect()
}
