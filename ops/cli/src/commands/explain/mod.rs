//! `sallyport explain`: why something was refused.

mod address;
mod logs;
mod meaning;
mod request;
mod user;

use std::{fmt, time::Duration};

use clap::Subcommand;
use sallyport_core::{
    accounts::Email,
    checks::Component,
    clock::Timestamp,
    flags::{Flags, ModeName},
};
use serde::Serialize;

use self::{
    logs::{RequestReport, Requests},
    meaning::Meaning,
};
use crate::{
    address::AddressOrNetwork,
    cli::Target,
    commands::user::events::{self, EventReport},
    failure::Failure,
    logs::request_id,
    output::{Answer, Format, Progress, Since, Table, ago, cut, parse_since},
};

/// How far back logs and events are looked through, unless it is said otherwise.
const LOOKED_THROUGH: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Subcommand)]
pub(crate) enum ExplainCommand {
    /// Why sign-ins to an account are refused: its status, its locks, blocks, modes, its newest events and their requests.
    User {
        /// Address of the account; there need not be one.
        email: Email,
    },
    /// Why a request was refused: from the log and from security events.
    Request {
        /// X-Request-Id of the answer.
        #[arg(value_name = "ID", value_parser = request_id)]
        id: String,
        /// How far back both are looked through: how long ago (2h), or a moment; a day by default.
        #[arg(long, value_name = "TIME", value_parser = parse_since)]
        since: Option<Since>,
    },
    /// Why an address or a prefix is refused: blocks, its budget, modes, what was refused lately.
    Address {
        /// The address or prefix that the requests come from, such as 203.0.113.9 or 203.0.113.0/24.
        #[arg(value_name = "ADDRESS|PREFIX")]
        address: AddressOrNetwork,
        /// Look at the log since then, and not since a day ago; and for its security events, in the whole Audit table.
        #[arg(long, value_name = "TIME", value_parser = parse_since)]
        since: Option<Since>,
    },
}

impl ExplainCommand {
    /// # Errors
    /// No such request; AWS.
    pub(crate) async fn run(self, target: &Target, format: Format) -> Result<Answer, Failure> {
        let progress = Progress::new(format);
        let explanation = match self {
            Self::User { email } => user::explain(target, &email).await?,
            Self::Request { id, since } => {
                request::explain(target, &id, since.unwrap_or(Since::Ago(LOOKED_THROUGH)), progress).await?
            }
            Self::Address { address, since } => address::explain(target, address, since, progress).await?,
        };
        Answer::of(&explanation)
    }
}

/// One thing that refuses, or that refused.
#[derive(Debug, Serialize)]
struct Cause {
    /// Stable, for scripts.
    code: String,
    explanation: String,
    /// Epoch seconds; absent where nothing ends it but somebody.
    until: Option<u64>,
    /// Of the runbook: `sallyport runbook show NAME`.
    page: Option<&'static str>,
    /// What ends it.
    commands: Vec<String>,
}

impl Cause {
    fn new(code: &str, page: &'static str, explanation: impl Into<String>) -> Self {
        let explanation = explanation.into();
        Self { code: code.to_owned(), explanation, until: None, page: Some(page), commands: Vec::new() }
    }

    /// What a code of the API stands for.
    fn of_code(code: &str) -> Self {
        let Meaning { words, page } = Meaning::of(code);
        Self { code: code.to_owned(), explanation: words.to_owned(), until: None, page, commands: Vec::new() }
    }

    fn until(mut self, until: Timestamp) -> Self {
        self.until = Some(until.seconds());
        self
    }

    fn command(mut self, command: impl Into<String>) -> Self {
        self.commands.push(command.into());
        self
    }
}

/// The whole answer.
#[derive(Debug, Serialize)]
struct Explanation {
    about: String,
    causes: Vec<Cause>,
    /// What the log says; `null` where it could not be read.
    requests: Option<Vec<RequestReport>>,
    /// Why it could not.
    #[serde(skip_serializing_if = "Option::is_none")]
    log_problem: Option<String>,
    events: Vec<EventReport>,
    #[serde(skip)]
    nothing: &'static str,
    #[serde(skip)]
    now: Timestamp,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.causes.is_empty() {
            writeln!(f, "{}: {}", self.about, self.nothing)?;
        } else {
            writeln!(f, "{}", self.about)?;
            let mut table = Table::new(["why", "until", "runbook page", "what it means"]);
            for cause in &self.causes {
                table.row([
                    cause.code.clone(),
                    cause
                        .until
                        .map(|until| ago(Timestamp::from_seconds(until), self.now))
                        .unwrap_or_default(),
                    cause.page.unwrap_or_default().to_owned(),
                    cause.explanation.clone(),
                ]);
            }
            write!(f, "\n{table}")?;
        }
        let mut commands: Vec<_> =
            self.causes.iter().flat_map(|cause| cause.commands.iter().map(String::as_str)).collect();
        commands.dedup();
        if !commands.is_empty() {
            writeln!(f, "\nTo end it:")?;
            for command in commands {
                writeln!(f, "  {command}")?;
            }
        }
        self.show_requests(f)?;
        events::show(&self.events, f)
    }
}

impl Explanation {
    /// `nothing` is said where there is no cause.
    fn new(
        about: String,
        causes: Vec<Cause>,
        requests: Requests,
        events: Vec<EventReport>,
        nothing: &'static str,
        now: Timestamp,
    ) -> Self {
        let (requests, log_problem) = match requests {
            Ok(requests) => (Some(requests), None),
            Err(failure) => (None, Some(failure.message)),
        };
        Self { about, causes, requests, log_problem, events, nothing, now }
    }

    fn show_requests(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(problem) = &self.log_problem {
            return writeln!(f, "\nThe log is not available: {problem}");
        }
        let Some(requests) = self.requests.as_ref().filter(|requests| !requests.is_empty()) else {
            return Ok(());
        };
        let mut table = Table::new(["at", "request", "status", "code", "id", "fault"]);
        for request in requests {
            table.row([
                request.at.clone(),
                format!("{} {}", request.method, request.route),
                request.status.to_string(),
                request.code.clone().unwrap_or_default(),
                request.request_id.clone(),
                cut(request.fault.as_deref().unwrap_or_default()),
            ]);
        }
        write!(f, "\n{table}")
    }
}

/// The modes that hold, as far as they concern callers.
fn modes(flags: &Flags, now: Timestamp) -> Vec<Cause> {
    flags
        .modes_at(now)
        .map(|(name, mode)| {
            let by = format!("set by {}: {}", mode.by, mode.reason);
            let (code, page, words) = match name {
                ModeName::Maintenance => ("maintenance", "maintenance-window", "every route answers 503".to_owned()),
                ModeName::Emergency => {
                    let factor = mode.factor.unwrap_or_default();
                    ("emergency", "failure-spike", format!(
                        "limits are divided by {factor}, and the first login of a device that the account does not know waits 10 s"
                    ))
                }
                ModeName::Degraded(Component::Keyring) => {
                    ("degraded", "degraded-performance", "the last good copy of the keyring serves".to_owned())
                }
                ModeName::Degraded(component) => ("degraded", "degraded-performance", format!(
                    "functions that need {} answer 503 at once", component.as_str()
                )),
            };
            let command = name.to_string().replace('.', " ");
            Cause::new(code, page, format!("{words}; {by}"))
                .until(mode.expires_at)
                .command(format!("sallyport mode clear {command}"))
        })
        .collect()
}
