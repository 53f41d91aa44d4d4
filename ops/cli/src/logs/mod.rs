//! The questions that responders have to the logs, and who answers them: CloudWatch Logs Insights, or this machine.

mod here;
mod insights;
mod query;

use std::collections::BTreeMap;

use sallyport_core::clock::Timestamp;

pub(crate) use self::{here::Here, insights::Insights};
use crate::{cli::Target, deployment::Connection, failure::Failure};

/// One line of an answer: values by the names that the query gives them. What a line does not have is absent.
pub(crate) type Row = BTreeMap<String, String>;

/// A file of `infra/queries`, the same that the stack saves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) name: &'static str,
    text: &'static str,
}

macro_rules! questions {
    ($($constant:ident = $name:literal;)*) => {
        impl Question {
            $(pub(crate) const $constant: Self =
                Self { name: $name, text: include_str!(concat!("../../../../infra/queries/", $name, ".logs")) };)*
        }

        #[cfg(test)]
        const ASKED: &[Question] = &[$(Question::$constant),*];
    };
}

questions! {
    ERRORS = "errors";
    ERRORS_BY_CODE = "errors-by-code";
    EVENTS = "security-events";
    REQUEST = "request";
    FAILURES_BY_ADDRESS = "failures-by-address";
    FAILURES_BY_ACCOUNT = "failures-by-account";
    REQUESTS_BY_ADDRESS = "requests-by-address";
}

/// A question with what was left open in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query(String);

impl Question {
    pub(crate) fn query(self) -> Query {
        Query(self.text.to_owned())
    }
}

impl Query {
    /// Only lines whose field has one of these values, which must have nothing that would end a text.
    pub(crate) fn only(mut self, field: &str, values: &[&str]) -> Self {
        if !values.is_empty() {
            let values: Vec<_> = values.iter().map(|value| format!("\"{value}\"")).collect();
            let filter = format!("\n| filter {field} in [{}]\n| sort", values.join(", "));
            self.0 = self.0.replacen("\n| sort", &filter, 1);
        }
        self
    }

    /// As many lines at most.
    pub(crate) fn limit(mut self, most: u16) -> Self {
        if let Some((before, _)) = self.0.rsplit_once("\n| limit ") {
            self.0 = format!("{before}\n| limit {most}\n");
        }
        self
    }

    /// Puts the id of a request in its place.
    pub(crate) fn of_request(mut self, id: &str) -> Self {
        self.0 = self.0.replace("REQUEST_ID", id);
        self
    }
}

/// Where logs are.
pub(crate) trait LogSource {
    /// # Errors
    /// The logs can't be reached, or the query is not understood.
    async fn ask(&self, query: &Query, from: Timestamp, to: Timestamp) -> Result<Vec<Row>, Failure>;
}

/// The logs of the deployment that the options name.
pub(crate) enum Logs {
    Insights(Insights),
    Here(Here),
}

impl Logs {
    /// # Errors
    /// Nothing says which deployment.
    pub(crate) async fn find(target: &Target) -> Result<Self, Failure> {
        match &target.stack {
            Some(stack) => Ok(Self::Insights(Insights::new(Connection::open(target).await?, stack))),
            None => Ok(Self::Here(Here::find()?)),
        }
    }
}

impl LogSource for Logs {
    async fn ask(&self, query: &Query, from: Timestamp, to: Timestamp) -> Result<Vec<Row>, Failure> {
        match self {
            Self::Insights(logs) => logs.ask(query, from, to).await,
            Self::Here(logs) => logs.ask(query, from, to).await,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;

    #[test]
    fn every_question_is_understood_here() {
        for question in ASKED {
            query::Plan::read(&question.query().0)
                .unwrap_or_else(|error| panic!("{}: {error}", question.name));
        }
    }

    #[test]
    fn what_is_left_open_is_filled_in() {
        let query = Question::EVENTS.query().only("severity", &["critical"]).only("event", &[]).limit(7);
        assert!(query.0.contains("\n| filter severity in [\"critical\"]\n| sort"), "{}", query.0);
        assert!(query.0.ends_with("\n| limit 7\n"), "{}", query.0);
        let query = Question::REQUEST.query().of_request("1-2");
        assert!(query.0.contains("request_id = \"1-2\"") && !query.0.contains("REQUEST_ID"), "{}", query.0);
    }
}
