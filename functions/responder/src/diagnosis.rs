//! The logs, asked: by CloudWatch Logs Insights in the cloud, by the lines that the process remembers elsewhere. And Lambda,
//! since when its functions are as they are.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::try_join_all;
use sallyport_aws::{
    logs::{self, AskLogs, LogInsights, LogsError, Query, Row, suspicious_sign_ins},
    responder::Functions,
};
use sallyport_core::clock::Timestamp;
use sallyport_lambda::Platform;
use sallyport_operations::incidents::{Changed, Diagnose, Entered, Known, Question};

use crate::alarm::moment;

/// As many answers to each question.
const MOST: usize = 5;

/// People have been told already, and the next alarm may wait.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Logs {
    platform: Platform,
    insights: Option<LogInsights>,
    functions: Option<Functions>,
}

impl Logs {
    pub(crate) fn new(platform: &Platform) -> Self {
        let groups = platform.config().log_groups.clone();
        let insights = LogInsights::of_function(platform.clients(), groups, PATIENCE);
        let functions = Functions::new(platform.clients());
        Self { platform: platform.clone(), insights, functions }
    }
}

impl Diagnose for Logs {
    async fn top(
        &self,
        question: Question,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(String, u64)>, String> {
        let (asked, name) = match question {
            Question::Errors => (logs::Question::ERRORS_BY_CODE, "code"),
            Question::Addresses => (logs::Question::REFUSALS_BY_ADDRESS, "address"),
        };
        Ok(ranked(&self.ask_logs(&asked.query(), from, to).await?, name))
    }

    async fn entered(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Entered>, String> {
        let looked = suspicious_sign_ins(self, from, to);
        let found = tokio::time::timeout(PATIENCE, looked).await;
        let found = found.map_err(|_| LogsError::Slow(PATIENCE).to_string())??;
        Ok(found.entered)
    }

    async fn changes(&self) -> Result<Vec<Changed>, String> {
        let functions = self.functions.as_ref().ok_or("there is no way to Lambda")?;
        let asked = self.platform.config().functions.iter().map(|name| async move {
            let changed_at = functions.changed_at(name).await?;
            let at = moment(&changed_at).ok_or_else(|| format!("{name} changed at {changed_at:?}"))?;
            // Who reads it knows the stack, whose name begins the function's.
            Ok(Changed { function: name.rsplit('-').next().unwrap_or(name).to_owned(), at })
        });
        try_join_all(asked).await
    }
}

impl AskLogs for Logs {
    type Error = String;

    async fn ask_logs(&self, query: &Query, from: Timestamp, to: Timestamp) -> Result<Vec<Row>, String> {
        let rows = if let Some(lines) = self.platform.recent_lines() {
            of_lines(query, &lines)
        } else {
            let insights = self.insights.as_ref().ok_or("there is no way to the logs")?;
            insights.ask(self.platform.clock(), query, from, to).await
        };
        rows.map_err(|error| error.to_string())
    }
}

fn of_lines(query: &Query, lines: &[String]) -> Result<Vec<Row>, LogsError> {
    query.over(lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// A code comes once for each of its routes.
fn ranked(rows: &[Row], name: &str) -> Vec<(String, u64)> {
    let mut counts = BTreeMap::<&str, u64>::new();
    for row in rows {
        let answers = row.get("answers").and_then(|count| count.parse::<u64>().ok());
        if let Some((key, answers)) = row.get(name).zip(answers) {
            let count = counts.entry(key).or_default();
            *count = count.saturating_add(answers);
        }
    }
    let mut ranked: Vec<_> = counts.into_iter().map(|(key, count)| (key.to_owned(), count)).collect();
    ranked.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    ranked.truncate(MOST);
    ranked
}

/// What is known without the logs.
pub(crate) async fn known(platform: &Platform) -> Known {
    let release = format!("release {}", env!("CARGO_PKG_VERSION"));
    Known { release, flags: crate::mitigation::holding(platform).await }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_were_errors_are_counted_and_others_are_not() {
        let line = |message: &str, route: &str, status: u16, code: &str, address: &str| {
            format!(
                r#"{{"message":"{message}","route":"{route}","status":{status},"code":"{code}","address":"{address}"}}"#
            )
        };
        let succeeded = r#"{"message":"request","route":"/a","status":200,"address":"192.0.2.3"}"#;
        let lines = [
            line("request", "/a", 401, "invalid_credentials", "192.0.2.1"),
            line("request", "/b", 401, "invalid_credentials", "192.0.2.2"),
            line("request failed", "/a", 503, "dependency_unavailable", "192.0.2.2"),
            line("security event", "/a", 401, "invalid_credentials", "192.0.2.4"),
            succeeded.to_owned(),
            "not JSON".to_owned(),
            r#"{"status":401,"code":"of a wide event"}"#.to_owned(),
        ];
        let top =
            |asked: logs::Question, name| of_lines(&asked.query(), &lines).map(|rows| ranked(&rows, name));
        let expected = [("invalid_credentials".to_owned(), 2), ("dependency_unavailable".to_owned(), 1)];
        assert_eq!(top(logs::Question::ERRORS_BY_CODE, "code"), Ok(expected.to_vec()));
        let expected = [("192.0.2.2".to_owned(), 2), ("192.0.2.1".to_owned(), 1)];
        assert_eq!(top(logs::Question::REFUSALS_BY_ADDRESS, "address"), Ok(expected.to_vec()));
    }
}
