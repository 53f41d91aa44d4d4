//! `sallyport logs` and `sallyport top`: the questions of a night, without a query to write.

use std::fmt;

use clap::{Args, Subcommand};
use sallyport_aws::logs::{Query, Question, Row, instant};
use sallyport_core::{
    accounts::LoginRecords as _,
    audit::{EventKind, Severity},
    clock::{Clock as _, Timestamp},
    ids::UserId,
};
use serde::Serialize;

use super::sources;
use crate::{
    cli::Target,
    deployment::{Deployment, OperatorClock},
    failure::Failure,
    logs::{Logs, request_id},
    output::{Answer, Since, Table, count, cut, moment, parse_since},
};

#[derive(Debug, Subcommand)]
pub(crate) enum LogsCommand {
    /// What failed, newest first: answers of 5xx, invocations, dependencies that are down.
    Errors {
        #[command(flatten)]
        span: Span,
        #[command(flatten)]
        most: Most,
    },
    /// What Lambda ended, or ended by itself, newest first: crashed, out of memory, out of time. Functions that fail and say so
    /// stand here, too; why, `logs errors` has.
    Killed {
        #[command(flatten)]
        span: Span,
        #[command(flatten)]
        most: Most,
    },
    /// Security events, newest first.
    Events {
        /// Only of this severity.
        #[arg(long, value_name = "SEVERITY", value_parser = severity)]
        severity: Option<Severity>,
        /// Only of this kind, such as login.locked_out; may stand several times.
        #[arg(long, value_name = "KIND", value_parser = kind)]
        kind: Vec<EventKind>,
        #[command(flatten)]
        span: Span,
        #[command(flatten)]
        most: Most,
    },
    /// All that was logged of one request, in its order.
    Request {
        /// The request's id: X-Request-Id of the answer, `request_id` of an error.
        #[arg(value_name = "ID", value_parser = request_id)]
        id: String,
        #[command(flatten)]
        span: Span,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TopCommand {
    /// Sign-ins from addresses, networks and devices that failed often: who got in. Newest first, with the command that shuts
    /// each out.
    Entered {
        #[command(flatten)]
        span: Span,
        /// Look only at what came before: how long ago (15m), or a moment.
        #[arg(long, value_name = "DURATION|TIME", value_parser = parse_since)]
        until: Option<Since>,
    },
    /// Where failures come from, by network (/24, /64) and by address: wrong passwords and codes, locks. With the command that
    /// blocks the source.
    Addresses {
        /// Count every request, refused or not.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        span: Span,
    },
    /// Accounts that refusals are about. One that may not exist is shown as a hash of its address.
    Accounts {
        #[command(flatten)]
        span: Span,
    },
    /// Error codes that were answered, with their routes.
    Errors {
        #[command(flatten)]
        span: Span,
    },
    /// What the gateway answered itself, and each 5xx, with what Lambda told it. Functions that were not reached stand here alone.
    Gateway {
        #[command(flatten)]
        span: Span,
    },
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Span {
    /// How far back: 15m, 24h, 7d, or a moment such as 2026-07-31T14:00:00Z.
    #[arg(long, value_name = "DURATION|TIME", default_value = "1h", value_parser = parse_since)]
    since: Since,
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Most {
    /// As many lines at most.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
}

impl Most {
    /// As many as an answer of Logs Insights can have.
    const MOST: u16 = 10_000;

    /// One more than is shown, where there can be one: it says that there are more.
    fn and_one(self) -> u16 {
        self.limit.saturating_add(1).min(Self::MOST)
    }

    fn leaves_out(self, found: usize) -> bool {
        found > usize::from(self.limit) || (self.limit == Self::MOST && found == usize::from(Self::MOST))
    }
}

fn severity(text: &str) -> Result<Severity, &'static str> {
    let all = [Severity::Info, Severity::Warning, Severity::Critical];
    all.into_iter().find(|severity| severity.as_str() == text).ok_or("info, warning or critical")
}

fn kind(text: &str) -> Result<EventKind, &'static str> {
    let found = EventKind::ALL.iter().find(|kind| kind.as_str() == text);
    found.copied().ok_or("not a kind of event: docs/LOGGING.md lists them")
}

impl Span {
    pub(super) fn moment(self, now: Timestamp) -> Timestamp {
        self.since.moment(now)
    }
}

impl LogsCommand {
    /// # Errors
    /// The logs can't be reached; nothing is known of the request.
    pub(crate) async fn run(self, target: &Target) -> Result<Answer, Failure> {
        match self {
            Self::Errors { span, most } => {
                Answer::of(&Found::newest(target, Question::ERRORS.query(), most, span, Shape::Errors).await?)
            }
            Self::Killed { span, most } => {
                Answer::of(&Found::newest(target, Question::KILLED.query(), most, span, Shape::Killed).await?)
            }
            Self::Events { severity, kind, span, most } => {
                let severities: Vec<_> = severity.iter().map(|severity| severity.as_str()).collect();
                let kinds: Vec<_> = kind.iter().map(|kind| kind.as_str()).collect();
                let query = Question::EVENTS.query().only("severity", &severities).only("event", &kinds);
                Answer::of(&Found::newest(target, query, most, span, Shape::Events).await?)
            }
            Self::Request { id, span } => {
                let query = Question::REQUEST.query().of_request(&id);
                let found = Found::ask(target, &query, span, Shape::Request).await?;
                if found.rows.is_empty() {
                    let message = format!(
                        "the logs know of no request {id}: is it this deployment, and recent enough? See --since"
                    );
                    return Err(Failure::not_found("request_not_found", message));
                }
                Answer::of(&found)
            }
        }
    }
}

impl TopCommand {
    /// # Errors
    /// The logs can't be reached.
    pub(crate) async fn run(self, target: &Target) -> Result<Answer, Failure> {
        let (question, span, shape) = match self {
            Self::Entered { span, until } => return sources::entered(target, span, until).await,
            Self::Addresses { all: false, span } => return sources::addresses(target, span).await,
            Self::Addresses { all: true, span } => (Question::REQUESTS_BY_ADDRESS, span, Shape::Requests),
            Self::Accounts { span } => (Question::FAILURES_BY_ACCOUNT, span, Shape::Accounts),
            Self::Errors { span } => (Question::ERRORS_BY_CODE, span, Shape::Codes),
            Self::Gateway { span } => (Question::GATEWAY_ERRORS, span, Shape::Gateway),
        };
        let mut found = Found::ask(target, &question.query(), span, shape).await?;
        if shape == Shape::Accounts {
            found.name_accounts(target).await;
        }
        Answer::of(&found)
    }
}

/// What people are shown of an answer; scripts get all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Errors,
    Killed,
    Events,
    Request,
    Requests,
    Accounts,
    Codes,
    Gateway,
}

impl Shape {
    /// Headings, and the fields of which the first that a line has is shown.
    const fn columns(self) -> &'static [(&'static str, &'static [&'static str])] {
        match self {
            Self::Errors => &[
                ("time", &["time"]),
                ("what", &["message"]),
                ("where", &["route", "component", "function"]),
                ("code", &["code"]),
                ("fault", &["fault", "error"]),
                ("request", &["request_id"]),
            ],
            Self::Killed => &[
                ("time", &["time"]),
                ("function", &["function"]),
                ("what", &["what"]),
                ("status", &["status"]),
                ("error", &["error_type"]),
                ("ms", &["duration_ms"]),
                ("used MB", &["used_mb"]),
                ("of MB", &["size_mb"]),
                ("invocation", &["invocation"]),
            ],
            Self::Events => &[
                ("time", &["time"]),
                ("severity", &["severity"]),
                ("event", &["event"]),
                ("subject", &["subject"]),
                ("actor", &["actor"]),
                ("address", &["address"]),
                ("detail", &["detail"]),
                ("request", &["request_id"]),
            ],
            Self::Request => &[
                ("time", &["time"]),
                ("what", &["message"]),
                ("which", &["event", "route"]),
                ("status", &["status"]),
                ("code", &["code"]),
                ("subject", &["subject"]),
                ("actor", &["actor"]),
                ("address", &["address"]),
                ("ms", &["duration_ms"]),
                ("detail", &["fault", "detail"]),
            ],
            Self::Requests => &[
                ("address", &["address"]),
                ("requests", &["requests"]),
                ("routes", &["routes"]),
                ("first", &["first_seen"]),
                ("last", &["last_seen"]),
            ],
            Self::Accounts => &[
                ("account", &["subject"]),
                ("address of mail", &["email"]),
                ("refusals", &["failures"]),
                ("from addresses", &["addresses"]),
                ("first", &["first_seen"]),
                ("last", &["last_seen"]),
            ],
            Self::Codes => &[
                ("code", &["code"]),
                ("status", &["status"]),
                ("route", &["route"]),
                ("answers", &["answers"]),
                ("first", &["first_seen"]),
                ("last", &["last_seen"]),
            ],
            Self::Gateway => &[
                ("status", &["status"]),
                ("gateway", &["gateway_error"]),
                ("Lambda", &["lambda_status"]),
                ("route", &["route"]),
                ("answers", &["answers"]),
                ("addresses", &["addresses"]),
                ("first", &["first_seen"]),
                ("last", &["last_seen"]),
            ],
        }
    }
}

#[derive(Debug, Serialize)]
struct Found {
    /// Epoch seconds.
    since: u64,
    rows: Vec<Row>,
    /// Older lines are left out.
    more: bool,
    #[serde(skip)]
    shape: Shape,
    #[serde(skip)]
    from: Timestamp,
}

impl Found {
    async fn ask(target: &Target, query: &Query, span: Span, shape: Shape) -> Result<Self, Failure> {
        let now = OperatorClock::of(target).await.now();
        let from = span.since.moment(now);
        let logs = match shape {
            Shape::Gateway => Logs::of_the_gateway(target).await?,
            _ => Logs::find(target).await?,
        };
        let rows = logs.ask(query, from, now).await?;
        let rows = rows.into_iter().map(in_words).collect();
        Ok(Self { since: from.seconds(), rows, more: false, shape, from })
    }

    /// The newest lines, and whether there are more.
    async fn newest(
        target: &Target,
        query: Query,
        most: Most,
        span: Span,
        shape: Shape,
    ) -> Result<Self, Failure> {
        let mut found = Self::ask(target, &query.limit(most.and_one()), span, shape).await?;
        found.more = most.leaves_out(found.rows.len());
        found.rows.truncate(usize::from(most.limit));
        Ok(found)
    }

    /// Where an account is an id, whose it is. What can't be found out stays an id: the answer is of the logs.
    async fn name_accounts(&mut self, target: &Target) {
        let Ok(deployment) = Deployment::find(target).await else { return };
        for row in &mut self.rows {
            let user = row.get("subject").and_then(|subject| subject.strip_prefix("USER#"));
            let Some(user) = user.and_then(|id| id.parse::<UserId>().ok()) else { continue };
            if let Ok(Some(profile)) = deployment.store.profile(user).await {
                row.insert("email".to_owned(), profile.email.to_string());
            }
        }
    }
}

/// Times as people write them, and what Lambda's lines are about.
pub(super) fn in_words(row: Row) -> Row {
    row.into_iter()
        .map(|(name, value)| match name.as_str() {
            "@timestamp" => ("time".to_owned(), time(&value)),
            "@log" => {
                let function = value.rsplit('/').next().unwrap_or_default().to_owned();
                ("function".to_owned(), function)
            }
            "first_seen" | "last_seen" => (name, time(&value)),
            "what" => match value.as_str() {
                "platform.report" => (name, "call".to_owned()),
                "platform.initReport" => (name, "start".to_owned()),
                _ => (name, value),
            },
            _ => (name, value),
        })
        .collect()
}

fn time(text: &str) -> String {
    instant(text).map_or_else(|| text.to_owned(), moment)
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return writeln!(f, "Nothing since {}.", moment(self.from));
        }
        // Of a question some columns say nothing: those are left out.
        let cell = |row: &Row, names: &[&str]| names.iter().find_map(|name| row.get(*name)).cloned();
        let columns: Vec<_> = self
            .shape
            .columns()
            .iter()
            .filter(|(_, names)| self.rows.iter().any(|row| cell(row, names).is_some()))
            .collect();
        let mut table = Table::with(columns.iter().map(|(heading, _)| *heading));
        for row in &self.rows {
            let cells = columns.iter().map(|(_, names)| cell(row, names).unwrap_or_default());
            // Of one request everything is wanted.
            if self.shape == Shape::Request {
                table.add(cells);
            } else {
                table.add(cells.map(|cell| cut(&cell)));
            }
        }
        write!(f, "{table}")?;
        let (lines, from) = (count(self.rows.len(), "line"), moment(self.from));
        let oldest = self.rows.last().and_then(|row| row.get("time"));
        match oldest {
            Some(oldest) if self.more => writeln!(
                f,
                "\nThe newest {lines}, back to {oldest}. There are older ones since {from}: narrow it down, or pass --limit."
            ),
            _ => writeln!(f, "\n{lines} since {from}."),
        }
    }
}
