//! `sallyport reset`.

use std::{collections::BTreeSet, fmt, path::PathBuf};

use clap::{Args, Subcommand};
use sallyport_core::{
    accounts::{Credential, Email, LoginRecords as _},
    address::Network,
    administration::{self, AdministrationError},
    audit::{EventKind, Severity},
    flags::Reason,
    ids::UserId,
};
use serde::Serialize;

use crate::{
    address::AddressOrNetwork,
    audit::{self, Wanted},
    cli::{Change, Target},
    deployment::{Deployment, placeholder_keyring},
    failure::Failure,
    output::{Answer, Format, Progress, Since, Table, count, parse_since},
};

#[derive(Debug, Subcommand)]
pub(crate) enum ResetCommand {
    /// Make passwords unusable until `user set-password` sets others, and end all sessions.
    Force {
        #[command(flatten)]
        whose: Whose,
        /// When the events begin that count for --signal: how long ago (2h), or a moment (2026-07-31T14:00:00Z).
        #[arg(long, value_name = "TIME", value_parser = parse_since, requires = "signal")]
        since: Option<Since>,
        /// Count events for --signal from this address or prefix alone, such as 203.0.113.0/24; may stand several times. An
        /// IPv6 address stands for its /64.
        #[arg(long, value_name = "ADDRESS|PREFIX", value_parser = network, requires = "signal")]
        address: Vec<Network>,
        /// Why, for whoever asks later: `user show` and `explain user` tell it.
        #[arg(long, value_name = "TEXT")]
        reason: Option<Reason>,
        #[command(flatten)]
        change: Change,
    },
}

/// Whose passwords: one of the three.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Whose {
    /// Addresses of accounts.
    #[arg(value_name = "EMAIL")]
    emails: Vec<Email>,
    /// A file of addresses, one a line; # begins a comment.
    #[arg(long, value_name = "FILE")]
    accounts: Option<PathBuf>,
    /// Accounts with such an event since --since: a kind of event, or suspicious_activity for all that are suspicious.
    #[arg(long, value_name = "NAME", requires = "since")]
    signal: Option<String>,
}

fn network(text: &str) -> Result<Network, String> {
    Ok(text.parse::<AddressOrNetwork>()?.network())
}

impl ResetCommand {
    /// # Errors
    /// A list that does not read; none of the accounts exists; AWS.
    pub(crate) async fn run(self, target: &Target, format: Format) -> Result<Answer, Failure> {
        let Self::Force { whose, since, address, reason, change } = self;
        let progress = Progress::new(format);
        // Whatever is wrong with the list is told before anything is asked of anybody.
        let listed = match &whose.accounts {
            Some(path) => read_list(path)?,
            None => whose.emails,
        };
        let kinds = whose.signal.as_deref().map(kinds_of).transpose()?;
        if let (Some(kinds), true) = (&kinds, address.is_empty()) {
            refuse_everybody(kinds)?;
        }
        let kinds: Option<Vec<_>> = kinds.map(|kinds| kinds.into_iter().map(EventKind::as_str).collect());
        let deployment = Deployment::find(target).await?;
        let emails = match (kinds, since) {
            (Some(kinds), Some(since)) => by_signal(&deployment, kinds, since, address, progress).await?,
            _ => listed,
        };
        force(&deployment, emails, reason.as_ref(), change, progress).await
    }
}

fn read_list(path: &std::path::Path) -> Result<Vec<Email>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::usage("list_unreadable", format!("{} can't be read: {error}", path.display()))
    })?;
    let mut emails = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let email: Email = line.parse().map_err(|_| {
            let number = index.saturating_add(1);
            Failure::usage(
                "list_invalid",
                format!("{}, line {number}: not an e-mail address", path.display()),
            )
        })?;
        if seen.insert(email.clone()) {
            emails.push(email);
        }
    }
    if emails.is_empty() {
        return Err(Failure::usage("list_invalid", format!("{} has no addresses", path.display())));
    }
    Ok(emails)
}

/// The name of the metric stands for all kinds that it counts.
const SUSPICIOUS: &str = "suspicious_activity";

/// What happens to everybody who signs in names nobody whose password is in doubt: it takes a place besides.
fn refuse_everybody(kinds: &[EventKind]) -> Result<(), Failure> {
    match kinds.iter().find(|kind| kind.severity() == Severity::Info) {
        None => Ok(()),
        Some(kind) => Err(Failure::usage(
            "usage",
            format!(
                "--signal {0} would reset everybody: {0} is no sign of an attack; say from where, by --address",
                kind.as_str()
            ),
        )),
    }
}

fn kinds_of(signal: &str) -> Result<Vec<EventKind>, Failure> {
    let kinds: Vec<_> = EventKind::ALL
        .iter()
        .filter(|kind| if signal == SUSPICIOUS { kind.is_suspicious() } else { kind.as_str() == signal })
        .copied()
        .collect();
    if kinds.is_empty() {
        let known: Vec<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
        let message = format!("there is no signal {signal}: {SUSPICIOUS}, {}", known.join(", "));
        return Err(Failure::not_found("signal_not_found", message));
    }
    Ok(kinds)
}

/// Events of addresses that have no account name nobody whose password could be reset.
async fn by_signal(
    deployment: &Deployment,
    kinds: Vec<&'static str>,
    since: Since,
    networks: Vec<Network>,
    progress: Progress,
) -> Result<Vec<Email>, Failure> {
    let wanted = Wanted { since: since.moment(deployment.now()), kinds, networks, ..Wanted::default() };
    let users: BTreeSet<UserId> = audit::scan(deployment, &wanted, progress)
        .await?
        .iter()
        .filter_map(|item| item.get("pk")?.as_s().ok()?.strip_prefix("USER#")?.parse().ok())
        .collect();
    let mut emails = Vec::new();
    for user in users {
        // An account that was deleted since has no profile.
        emails.extend(deployment.store.profile(user).await?.map(|profile| profile.email));
    }
    Ok(emails)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// Done, or to be done at a dry run.
    Reset,
    /// There was no password to make unusable.
    Already,
    NotFound,
}

#[derive(Serialize)]
struct One {
    email: String,
    outcome: Outcome,
}

#[derive(Serialize)]
struct Forced {
    accounts: Vec<One>,
    reset: usize,
    already: usize,
    not_found: usize,
    reason: Option<String>,
    dry_run: bool,
}

impl Forced {
    fn count(&self, outcome: Outcome) -> usize {
        self.accounts.iter().filter(|one| one.outcome == outcome).count()
    }
}

impl fmt::Display for Forced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.accounts.is_empty() {
            return writeln!(f, "No account; nothing was changed.");
        }
        let mut table = Table::new(["account", "outcome"]);
        for one in &self.accounts {
            let words = match (one.outcome, self.dry_run) {
                (Outcome::Reset, false) => "reset",
                (Outcome::Reset, true) => "would be reset",
                (Outcome::Already, _) => "has no password already",
                (Outcome::NotFound, _) => "no such account",
            };
            table.row([one.email.clone(), words.to_owned()]);
        }
        if self.reset == 0 {
            return writeln!(f, "{table}\nnothing was changed");
        }
        write!(f, "{table}\n{}", if self.dry_run { "would reset " } else { "reset " })?;
        write!(f, "{}", count(self.reset, "password"))?;
        if self.dry_run {
            writeln!(f, "; nothing was changed")
        } else {
            writeln!(f, "; sessions have ended, access tokens that are out live up to 5 minutes")
        }
    }
}

async fn force(
    deployment: &Deployment,
    emails: Vec<Email>,
    reason: Option<&Reason>,
    change: Change,
    progress: Progress,
) -> Result<Answer, Failure> {
    let keyring = placeholder_keyring(deployment.now())?;
    let (env, origin, total) = (deployment.env(&keyring), Deployment::origin()?, emails.len());
    let mut accounts = Vec::new();
    for email in emails {
        let found = if change.dry_run {
            let record = deployment.store.login_record(&email).await.map_err(Into::into);
            record.and_then(|record| {
                record
                    .map(|record| record.credential != Credential::None)
                    .ok_or(AdministrationError::NotFound)
            })
        } else {
            administration::force_reset(&deployment.store, env, &email, reason, &origin).await
        };
        let outcome = match found {
            Ok(true) => Outcome::Reset,
            Ok(false) => Outcome::Already,
            Err(AdministrationError::NotFound) => Outcome::NotFound,
            Err(error) => {
                let failure = Failure::from(error);
                let done = accounts.iter().filter(|one: &&One| one.outcome == Outcome::Reset).count();
                let message = format!(
                    "{}; {done} of {total} accounts were reset before: run it again, it goes on where it ended",
                    failure.message
                );
                return Err(Failure { message, ..failure });
            }
        };
        accounts.push(One { email: email.to_string(), outcome });
        if accounts.len() % 100 == 0 {
            progress.tell(&format!("{} of {total} accounts", accounts.len()));
        }
    }
    let mut forced = Forced {
        accounts,
        reset: 0,
        already: 0,
        not_found: 0,
        reason: reason.map(ToString::to_string),
        dry_run: change.dry_run,
    };
    forced.reset = forced.count(Outcome::Reset);
    forced.already = forced.count(Outcome::Already);
    forced.not_found = forced.count(Outcome::NotFound);
    if forced.not_found > 0 && forced.not_found == total {
        let message = match forced.accounts.as_slice() {
            [one] => format!("there is no account with the address {}", one.email),
            all => format!("there is none of these {} accounts", all.len()),
        };
        return Err(Failure::not_found("account_not_found", message));
    }
    Answer::of(&forced)
}
