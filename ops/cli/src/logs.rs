//! The logs of a deployment: of a stack by Logs Insights, of a backend on this machine by its console.

use std::time::Duration;

use sallyport_aws::{
    logs::{AskLogs, LogGroups, LogInsights, LogsError, Query, Row, instant},
    system::SystemClock,
};
use sallyport_core::clock::Timestamp;
use sallyport_operations::retention::LogGroup;
use serde_json::Value;

use crate::{
    aws_fault,
    cli::Target,
    console::Console,
    deployment::{Connection, OperatorClock},
    failure::Failure,
};

/// A query of a day takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// The logs of the deployment that the options name.
pub(crate) enum Logs {
    Insights(LogInsights),
    /// With the list of the console that has the lines.
    Here(Console, OperatorClock, &'static str),
}

impl Logs {
    /// # Errors
    /// Nothing says which deployment, or there is none of that name; AWS.
    pub(crate) async fn find(target: &Target) -> Result<Self, Failure> {
        let Some(stack) = &target.stack else {
            return Ok(Self::Here(Console::find()?, OperatorClock::of(target).await, "logs"));
        };
        let connection = Connection::open(target).await?;
        let groups = groups(&connection, stack).await?;
        Ok(Self::Insights(LogInsights::new(connection.logs, groups, PATIENCE)))
    }

    /// The gateway's access log, whose lines have fields of their own.
    ///
    /// # Errors
    /// As [`Logs::find`]; or the gateway writes none.
    pub(crate) async fn of_the_gateway(target: &Target) -> Result<Self, Failure> {
        let Some(stack) = &target.stack else {
            return Ok(Self::Here(Console::find()?, OperatorClock::of(target).await, "access"));
        };
        let connection = Connection::open(target).await?;
        let mut groups = all_groups(&connection, stack).await?;
        groups.retain(|name| is_the_gateways(name));
        if groups.is_empty() {
            return Err(Failure::not_found(
                "no_access_log",
                format!("the gateway of {stack} writes no access log: deploy it with ApiAccessLogs=on"),
            ));
        }
        Ok(Self::Insights(LogInsights::new(connection.logs, groups, PATIENCE)))
    }

    /// # Errors
    /// The logs can't be reached, or the query is not understood.
    pub(crate) async fn ask(
        &self,
        query: &Query,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Row>, Failure> {
        match self {
            Self::Insights(logs) => Ok(logs.ask(&SystemClock, query, from, to).await?),
            Self::Here(console, clock, list) => {
                let numbered = console.list(list, "lines").await?;
                let lines = numbered
                    .into_iter()
                    .filter_map(in_its_group)
                    .filter(|line| written_at(line, *clock).is_none_or(|at| (from..=to).contains(&at)))
                    .collect();
                Ok(query.over(lines)?)
            }
        }
    }
}

impl AskLogs for Logs {
    type Error = Failure;

    async fn ask_logs(&self, query: &Query, from: Timestamp, to: Timestamp) -> Result<Vec<Row>, Failure> {
        self.ask(query, from, to).await
    }
}

/// The functions', as far as they exist: a function of a later release may be missing.
pub(crate) async fn groups(connection: &Connection, stack: &str) -> Result<Vec<String>, Failure> {
    let mut groups = all_groups(connection, stack).await?;
    groups.retain(|name| !is_the_gateways(name));
    Ok(groups)
}

fn is_the_gateways(group: &str) -> bool {
    group.ends_with("/api")
}

async fn all_groups(connection: &Connection, stack: &str) -> Result<Vec<String>, Failure> {
    let groups: Vec<_> = of_stack(connection, stack).await?.into_iter().map(|group| group.name).collect();
    if groups.is_empty() {
        let region = &connection.region;
        return Err(Failure::not_found(
            "stack_not_found",
            format!(
                "there are no log groups of a stack {stack} in {region}: is it the right name, region and account?"
            ),
        ));
    }
    Ok(groups)
}

/// Every log group of a stack, with how long it keeps a line.
pub(crate) async fn of_stack(connection: &Connection, stack: &str) -> Result<Vec<LogGroup>, Failure> {
    Ok(LogGroups::new(connection.logs.clone(), format!("/sallyport/{stack}/")).list().await?)
}

/// A line of the console, with the name that CloudWatch has for where it stands.
fn in_its_group(mut numbered: Value) -> Option<Value> {
    let mut line = numbered.get_mut("line").map(Value::take)?;
    if let (Some(group), Some(line)) = (numbered.get("group").and_then(Value::as_str), line.as_object_mut()) {
        line.insert("@log".to_owned(), format!("/sallyport/local/{group}").into());
    }
    Some(line)
}

/// When a line was written. Wide events say it elsewhere, and in the backend's own time; Lambda and the gateway by another name.
fn written_at(line: &Value, clock: OperatorClock) -> Option<Timestamp> {
    if let Some(millis) = line.pointer("/_aws/Timestamp").and_then(Value::as_u64) {
        return Some(Timestamp::from_millis(millis));
    }
    let written = instant(line.get("timestamp").or_else(|| line.get("time"))?.as_str()?)?;
    Some(clock.of_machine(written))
}

/// The id of a request, in a form that ends no text of a query.
pub(crate) fn request_id(text: &str) -> Result<String, &'static str> {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_=".contains(character);
    let well_formed = (1..=128).contains(&text.len()) && text.chars().all(plain);
    if well_formed { Ok(text.to_owned()) } else { Err("1 to 128 letters, digits or any of -_=") }
}

impl From<LogsError> for Failure {
    fn from(error: LogsError) -> Self {
        match error {
            LogsError::Unavailable { operation, reason } => aws_fault::from_text(operation, &reason),
            slow @ LogsError::Slow(_) => {
                Self::dependency("timeout", format!("{slow}: a shorter span is less to read"))
            }
            other @ (LogsError::Ended(_) | LogsError::NoGroups | LogsError::Unreadable(_)) => {
                Self::dependency("query_failed", other.to_string())
            }
        }
    }
}
