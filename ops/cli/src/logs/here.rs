//! The lines of a backend that runs on this machine.

use sallyport_core::clock::Timestamp;
use serde_json::Value;

use super::{LogSource, Query, Row, query::Plan};
use crate::{console::Console, failure::Failure};

pub(crate) struct Here(Console);

impl Here {
    /// # Errors
    /// The environment names no backend on this machine.
    pub(crate) fn find() -> Result<Self, Failure> {
        Ok(Self(Console::find()?))
    }
}

impl LogSource for Here {
    async fn ask(&self, query: &Query, from: Timestamp, to: Timestamp) -> Result<Vec<Row>, Failure> {
        let plan = Plan::read(&query.0).map_err(|error| {
            Failure::dependency("query_failed", format!("the query does not read: {error}"))
        })?;
        let numbered = self.0.list("logs", "lines").await?;
        let lines: Vec<_> = numbered
            .into_iter()
            .filter_map(|mut numbered| numbered.get_mut("line").map(Value::take))
            .filter(|line| written_at(line).is_none_or(|at| (from..=to).contains(&at)))
            .collect();
        Ok(plan.run(lines))
    }
}

/// When a line was written; wide events say it elsewhere.
fn written_at(line: &Value) -> Option<Timestamp> {
    if let Some(millis) = line.pointer("/_aws/Timestamp").and_then(Value::as_u64) {
        return Some(Timestamp::from_millis(millis));
    }
    let moment: jiff::Timestamp = line.get("timestamp")?.as_str()?.parse().ok()?;
    u64::try_from(moment.as_millisecond()).ok().map(Timestamp::from_millis)
}
