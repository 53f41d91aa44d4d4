//! Where failures come from, and who got in from there: `top addresses` and `top entered`.

use std::{collections::HashMap, fmt};

use sallyport_aws::logs::{FoundEntered, Question, Row, failure_sources, suspicious_sign_ins};
use sallyport_core::{
    accounts::{Email, LoginRecords as _},
    address::Network,
    audit::EventKind,
    clock::{Clock as _, Timestamp},
    ids::UserId,
};
use sallyport_operations::incidents::{Entered, FailureSources, NetworkFailures, Source};
use serde::Serialize;

use super::logs::{Span, in_words};
use crate::{
    cli::Target,
    deployment::{Deployment, OperatorClock},
    failure::Failure,
    logs::Logs,
    output::{Answer, Since, Table, count, moment, on_account},
};

/// Rows of each table.
const MOST: usize = 25;
/// Logs Insights returns no more.
const ALL: u16 = 10_000;

/// An address or a prefix, as `block add` takes it.
fn plain(network: Network) -> String {
    let text = network.to_string();
    text.strip_suffix("/32").map_or_else(|| text.clone(), str::to_owned)
}

fn block(network: Network) -> String {
    format!("sallyport block add {} --for 24h --reason attack --replace", plain(network))
}

#[derive(Debug, Serialize)]
struct NetworkRow {
    network: String,
    failures: u64,
    addresses: u64,
    /// Of all failures, in percent.
    share: u64,
}

#[derive(Debug, Serialize)]
struct Addresses {
    /// Epoch seconds.
    since: u64,
    rows: Vec<Row>,
    networks: Vec<NetworkRow>,
    failures: u64,
    /// What ends it, as far as the sources say.
    commands: Vec<String>,
    #[serde(skip)]
    from: Timestamp,
}

/// # Errors
/// The logs can't be reached.
pub(super) async fn addresses(target: &Target, span: Span) -> Result<Answer, Failure> {
    let now = OperatorClock::of(target).await.now();
    let from = span.moment(now);
    let logs = Logs::find(target).await?;
    let rows = logs.ask(&Question::FAILURES_BY_ADDRESS.query().limit(ALL), from, now).await?;
    let sources = failure_sources(&logs, from, now).await?;
    let network = |found: NetworkFailures| NetworkRow {
        network: plain(found.network),
        failures: found.failures,
        addresses: found.addresses,
        share: share(found.failures, sources.total()),
    };
    Answer::of(&Addresses {
        since: from.seconds(),
        rows: rows.into_iter().map(in_words).collect(),
        networks: sources.networks().into_iter().map(network).collect(),
        failures: sources.total(),
        commands: measures(&sources),
        from,
    })
}

fn share(part: u64, whole: u64) -> u64 {
    part.saturating_mul(100).checked_div(whole).unwrap_or_default()
}

/// Failures in all under which nobody is attacked.
const ATTACK: u64 = 10;

fn measures(sources: &FailureSources) -> Vec<String> {
    let few = sources.concentrated();
    if !few.is_empty() {
        return few.into_iter().map(|network| block(network.network)).collect();
    }
    if sources.total() >= ATTACK {
        return vec!["sallyport mode set emergency --for 1h --reason attack --replace".to_owned()];
    }
    Vec::new()
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return writeln!(f, "Nothing since {}.", moment(self.from));
        }
        let mut table = Table::new(["network", "failures", "share", "addresses"]);
        for row in self.networks.iter().take(MOST) {
            let (failures, addresses) = (row.failures.to_string(), row.addresses.to_string());
            table.row([row.network.clone(), failures, format!("{} %", row.share), addresses]);
        }
        writeln!(f, "{table}")?;
        let mut table = Table::new(["address", "failures", "accounts", "first", "last"]);
        for row in self.rows.iter().take(MOST) {
            let cell = |name: &str| row.get(name).cloned().unwrap_or_default();
            table.row(["address", "failures", "accounts", "first_seen", "last_seen"].map(cell));
        }
        write!(f, "{table}")?;
        let (networks, addresses) = (self.networks.len(), self.rows.len());
        let from = (count(networks, "network"), count(addresses, "address"));
        let shown = if networks.max(addresses) > MOST {
            format!(", the first {MOST} of each shown")
        } else {
            String::new()
        };
        let failures = count(usize::try_from(self.failures).unwrap_or(usize::MAX), "failure");
        writeln!(f, "\n{failures} from {} in {} since {}{shown}.", from.1, from.0, moment(self.from))?;
        let named: Vec<_> = self.networks.iter().take(self.commands.len()).collect();
        let Some(first) = self.commands.first() else { return Ok(()) };
        if first.contains("block add") {
            let part: u64 = named.iter().map(|row| row.share).sum();
            let names: Vec<_> = named.iter().map(|row| row.network.as_str()).collect();
            let verb = if names.len() == 1 { "makes" } else { "make" };
            writeln!(
                f,
                "\n{} {verb} {part} % of the failures. Block {}:",
                names.join(", "),
                if names.len() == 1 { "it" } else { "them" }
            )?;
        } else {
            writeln!(f, "\nNo few networks make most of the failures. Slow all strangers down:")?;
        }
        for command in &self.commands {
            writeln!(f, "  {command}")?;
        }
        Ok(())
    }
}

#[derive(Debug, Serialize)]
struct EnteredRow {
    /// Epoch milliseconds.
    at: u64,
    event: &'static str,
    account: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    address: String,
    /// `address`, `device`, or the network that failed often.
    source: String,
    failures: u64,
    request_id: String,
    /// What shuts the intruder out.
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
}

#[derive(Debug, Serialize)]
struct EnteredReport {
    /// Epoch seconds.
    since: u64,
    /// Epoch seconds; later than `since` where there were too many sign-ins to look through.
    looked_from: u64,
    entered: Vec<EnteredRow>,
}

/// # Errors
/// The logs can't be reached.
pub(super) async fn entered(target: &Target, span: Span, until: Option<Since>) -> Result<Answer, Failure> {
    let now = OperatorClock::of(target).await.now();
    let from = span.moment(now);
    let until = until.map_or(now, |until| until.moment(now));
    let logs = Logs::find(target).await?;
    let FoundEntered { entered, looked_from, .. } = suspicious_sign_ins(&logs, from, until).await?;
    let emails = emails(target, &entered).await;
    let row = |Entered { sign_in, suspicion }: &Entered| {
        let email = emails.get(sign_in.subject.as_str());
        EnteredRow {
            at: sign_in.at.millis(),
            event: sign_in.kind.as_str(),
            command: email.map(|email| {
                let reason = format!(" --reason \"signed in from {}\"", sign_in.address);
                on_account("reset force", email, &reason)
            }),
            email: email.map(Email::to_string),
            account: sign_in.subject.clone(),
            address: sign_in.address.to_string(),
            source: match suspicion.source {
                Source::Address => "address".to_owned(),
                Source::Device => "device".to_owned(),
                Source::Network(network) => plain(network),
            },
            failures: suspicion.failures,
            request_id: sign_in.request_id.clone(),
        }
    };
    Answer::of(&EnteredReport {
        since: from.seconds(),
        looked_from: looked_from.seconds(),
        entered: entered.iter().map(row).collect(),
    })
}

/// Whose accounts they are, by the subjects of events. An account that can't be read stays an id.
async fn emails(target: &Target, entered: &[Entered]) -> HashMap<String, Email> {
    let mut emails = HashMap::new();
    if entered.is_empty() {
        return emails;
    }
    let Ok(deployment) = Deployment::find(target).await else { return emails };
    for Entered { sign_in, .. } in entered {
        if emails.contains_key(&sign_in.subject) {
            continue;
        }
        let user = sign_in.subject.strip_prefix("USER#").and_then(|id| id.parse::<UserId>().ok());
        let Some(user) = user else { continue };
        if let Ok(Some(profile)) = deployment.store.profile(user).await {
            emails.insert(sign_in.subject.clone(), profile.email);
        }
    }
    emails
}

/// What became of it, in a few words.
fn outcome(event: &str) -> String {
    let known = |kind: EventKind| kind.as_str() == event;
    let words = if known(EventKind::SignedIn) {
        "signed in"
    } else if known(EventKind::PasswordAccepted) {
        "password right, code due"
    } else if known(EventKind::Reauthenticated) {
        "reauthenticated"
    } else {
        event
    };
    words.to_owned()
}

impl fmt::Display for EnteredReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = moment(Timestamp::from_seconds(self.looked_from));
        if self.looked_from > self.since {
            writeln!(
                f,
                "Too many sign-ins to look through at once. For those before {from} ask again with --until \"{from}\"."
            )?;
        }
        if self.entered.is_empty() {
            writeln!(
                f,
                "No sign-in since {from} came from an address, network or device that failed often."
            )?;
            return writeln!(
                f,
                "An attack with one attempt per address can't be seen here: compare `sallyport logs events --kind login.succeeded`."
            );
        }
        let mut table = Table::new(["time", "account", "what", "address", "failures", "of its"]);
        for row in self.entered.iter().take(MOST) {
            table.row([
                moment(Timestamp::from_millis(row.at)),
                row.email.clone().unwrap_or_else(|| row.account.clone()),
                outcome(row.event),
                row.address.clone(),
                row.failures.to_string(),
                row.source.clone(),
            ]);
        }
        write!(f, "{table}")?;
        let mut accounts: Vec<_> = self.entered.iter().map(|row| &row.account).collect();
        accounts.sort_unstable();
        accounts.dedup();
        let shown =
            if self.entered.len() > MOST { format!(", the newest {MOST} shown") } else { String::new() };
        writeln!(
            f,
            "\n{} to {} since {from}, from where many failed{shown}.",
            count(self.entered.len(), "sign-in"),
            count(accounts.len(), "account"),
        )?;
        let mut commands = Vec::new();
        for command in self.entered.iter().filter_map(|row| row.command.as_ref()) {
            // One for each account, of its newest sign-in.
            let account = command.split(" --reason").next();
            if !commands.iter().any(|known: &&String| known.split(" --reason").next() == account) {
                commands.push(command);
            }
        }
        if commands.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nEnd their sessions and make their passwords unusable:")?;
        for command in commands.into_iter().take(MOST) {
            writeln!(f, "  {command}")?;
        }
        Ok(())
    }
}
