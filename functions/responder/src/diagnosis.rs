//! The logs, asked: by CloudWatch Logs Insights in the cloud, by the lines that the process remembers elsewhere.

use std::collections::BTreeMap;

use sallyport_aws::responder::LogInsights;
use sallyport_core::{
    clock::Timestamp,
    incidents::{Diagnose, Known, Question},
};
use sallyport_http::Platform;
use serde_json::Value;

/// As many answers to each question.
const MOST: usize = 5;

/// The two questions, as CloudWatch reads them.
const ERRORS: &str = "filter message like /^request/ and status >= 400 and ispresent(code) \
    | stats count(*) as answers by code | sort answers desc | limit 5";
const ADDRESSES: &str = "filter message like /^request/ and status >= 400 and ispresent(address) \
    | stats count(*) as answers by address | sort answers desc | limit 5";

pub(crate) struct Logs {
    platform: Platform,
    insights: Option<LogInsights>,
}

impl Logs {
    pub(crate) fn new(platform: &Platform) -> Self {
        let groups = platform.config().log_groups.clone();
        Self { platform: platform.clone(), insights: LogInsights::new(platform.clients(), groups) }
    }
}

impl Diagnose for Logs {
    async fn top(
        &self,
        question: Question,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(String, u64)>, String> {
        if let Some(lines) = self.platform.recent_lines() {
            return Ok(count(&lines, question));
        }
        let insights = self.insights.as_ref().ok_or("there is no way to the logs")?;
        let query = match question {
            Question::Errors => ERRORS,
            Question::Addresses => ADDRESSES,
        };
        let rows = insights.rows(self.platform.clock(), query, from, to).await?;
        let counted = rows.iter().filter_map(|row| {
            let (count, names) = row.split_last()?;
            Some((names.join(" "), count.parse().ok()?))
        });
        Ok(counted.take(MOST).collect())
    }
}

/// The same from lines: answers that were errors, by code or by address.
fn count(lines: &[String], question: Question) -> Vec<(String, u64)> {
    let mut counts = BTreeMap::<String, u64>::new();
    for line in lines {
        let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
        let text = |name: &str| line.get(name).and_then(Value::as_str);
        // Log lines have a message, wide events have none.
        let failed = text("message").is_some_and(|message| message.starts_with("request"))
            && line.get("status").and_then(Value::as_u64).is_some_and(|status| status >= 400);
        let key = match question {
            Question::Errors => text("code"),
            Question::Addresses => text("address"),
        };
        if let (true, Some(key)) = (failed, key) {
            *counts.entry(key.to_owned()).or_default() += 1;
        }
    }
    let mut counted: Vec<_> = counts.into_iter().collect();
    counted.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
    counted.truncate(MOST);
    counted
}

/// What is known without the logs.
pub(crate) async fn known(platform: &Platform) -> Known {
    let version = platform.config().function_version.as_deref().unwrap_or("unknown");
    let deployment = format!("release {}, version {version} of this function", env!("CARGO_PKG_VERSION"));
    Known { deployment, flags: crate::mitigation::holding(platform).await }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_were_errors_are_counted_and_others_are_not() {
        let line = |message: &str, status: u16, code: &str, address: &str| {
            format!(r#"{{"message":"{message}","status":{status},"code":"{code}","address":"{address}"}}"#)
        };
        let lines = [
            line("request", 401, "invalid_credentials", "192.0.2.1"),
            line("request", 401, "invalid_credentials", "192.0.2.2"),
            line("request failed", 503, "dependency_unavailable", "192.0.2.2"),
            line("request", 200, "none", "192.0.2.3"),
            line("security event", 401, "invalid_credentials", "192.0.2.4"),
            "not JSON".to_owned(),
            r#"{"status":401,"code":"of a wide event"}"#.to_owned(),
        ];
        let expected = [("invalid_credentials".to_owned(), 2), ("dependency_unavailable".to_owned(), 1)];
        assert_eq!(count(&lines, Question::Errors), expected);
        let expected = [("192.0.2.2".to_owned(), 2), ("192.0.2.1".to_owned(), 1)];
        assert_eq!(count(&lines, Question::Addresses), expected);
    }
}
