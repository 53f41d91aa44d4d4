//! `sallyport alarms`: in the cloud as CloudWatch knows them, on this machine as CloudWatch would.

mod cloud;
mod here;

use std::{fmt, time::Duration};

use clap::Subcommand;
use sallyport_aws::system::SystemClock;
use sallyport_core::clock::{Clock as _, Timestamp};
use sallyport_operations::incidents::TEST_REASON;
use serde::Serialize;

use crate::{
    cli::{Change, Target},
    console::Console,
    deployment::{Connection, operator},
    failure::{Exit, Failure},
    output::{Answer, Facts, Format, StatusLine, Table, moment, parse_span, span},
};

#[derive(Debug, Subcommand)]
pub(crate) enum AlarmsCommand {
    /// List the alarms: severity, state, since when, and the command to begin with.
    List {
        /// Only those that fire.
        #[arg(long)]
        firing: bool,
    },
    /// Wait until an alarm is quiet: 0 when it is, 5 when it still fires at the end. For the last step of a runbook.
    Wait {
        /// The alarm, as it is listed.
        name: String,
        /// How long at most, such as 10m.
        #[arg(long = "for", value_name = "TIME", default_value = "30m", value_parser = parse_span)]
        limit: Duration,
    },
    /// Let an alarm tell its topics, to see whether anybody hears it. It returns by itself, and its incident is a SEV4 of the
    /// cause test. On this machine: evaluate it now.
    Test {
        /// The alarm, as it is listed.
        name: String,
        #[command(flatten)]
        change: Change,
    },
    /// What the alarms did, newest first.
    History {
        /// One alarm alone.
        name: Option<String>,
        /// At most so many changes.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
}

impl AlarmsCommand {
    /// # Errors
    /// There is no such alarm; nothing says which deployment; AWS.
    pub(crate) async fn run(self, target: &Target, format: Format) -> Result<Answer, Failure> {
        match &target.stack {
            Some(stack) => {
                let cloud = cloud::Alarms::new(Connection::open(target).await?.cloudwatch, stack)?;
                match self {
                    Self::List { firing } => list(cloud.list().await?, firing),
                    Self::Wait { name, limit } => {
                        wait(format, limit, async || cloud.state(&name).await).await
                    }
                    Self::Test { name, change } => cloud.test(&name, change).await,
                    Self::History { name, limit } => history(cloud.history(name.as_deref(), limit).await?),
                }
            }
            None => {
                let console = Console::find()?;
                let here = here::Alarms::read(&console).await?;
                match self {
                    Self::List { firing } => list(here.list(), firing),
                    Self::Wait { name, limit } => {
                        let state = async || here::Alarms::read(&console).await?.stands(&name);
                        wait(format, limit, state).await
                    }
                    Self::Test { name, .. } => here.test(&name),
                    Self::History { name, limit } => history(here.history(name.as_deref(), limit)?),
                }
            }
        }
    }
}

/// Between two looks at an alarm.
const PAUSE: Duration = Duration::from_secs(10);

/// An alarm as it stands: its state, and since when where it has ever changed.
struct Standing {
    name: String,
    state: String,
    since: Option<u64>,
    /// Value and threshold, in a line.
    measured: Option<String>,
}

#[derive(Serialize)]
struct Waited {
    name: String,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    measured: Option<String>,
    /// Seconds.
    waited: u64,
    /// Epoch seconds.
    since: Option<u64>,
    quiet: bool,
}

impl fmt::Display for Waited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.since.map(|since| format!(" since {}", moment(Timestamp::from_seconds(since))));
        let (name, state, since) = (&self.name, &self.state, since.unwrap_or_default());
        let verdict = if self.quiet { "is quiet" } else { "still fires" };
        let measured = self.measured.as_ref().map(|measured| format!("; {measured}")).unwrap_or_default();
        let waited = span(Duration::from_secs(self.waited));
        writeln!(f, "{name} {verdict} after {waited}: {state}{since}{measured}")
    }
}

async fn wait(
    format: Format,
    limit: Duration,
    look: impl AsyncFn() -> Result<Standing, Failure>,
) -> Result<Answer, Failure> {
    // By the clock: a look under load takes as long as the pause.
    let began = SystemClock.now();
    let mut line = StatusLine::new(format);
    loop {
        let Standing { name, state, since, measured } = look().await?;
        let waited = SystemClock.now().since(began);
        let quiet = state != "ALARM";
        if quiet || waited >= limit {
            line.end();
            let exit = if quiet { Exit::Done } else { Exit::Findings };
            let waited = waited.as_secs();
            return Ok(Answer::of(&Waited { name, state, measured, waited, since, quiet })?.exit(exit));
        }
        let left = limit.saturating_sub(waited);
        let fires = match measured {
            Some(measured) => format!("{name} fires: {measured}"),
            None => format!("{name} fires"),
        };
        line.show(&fires, &format!("; {} to go", span(left)));
        tokio::time::sleep(PAUSE.min(left)).await;
    }
}

/// The alarms at a glance.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub(super) names: Vec<String>,
    pub(super) firing: Vec<String>,
    /// Their actions are switched off.
    pub(super) muted: Vec<String>,
    /// They have no actions, and stand in no composite that would have.
    pub(super) silent: Vec<String>,
}

/// # Errors
/// AWS, or nobody answers on this machine.
pub(super) async fn watch(target: &Target, connection: &Connection) -> Result<Watch, Failure> {
    match &target.stack {
        Some(stack) => cloud::Alarms::new(connection.cloudwatch.clone(), stack)?.watch().await,
        None => {
            let alarms = here::Alarms::read(&Console::find()?).await?.list();
            let firing = alarms.iter().filter(|alarm| alarm.state == "ALARM");
            let firing = firing.map(|alarm| alarm.name.clone()).collect();
            Ok(Watch {
                names: alarms.into_iter().map(|alarm| alarm.name).collect(),
                firing,
                ..Watch::default()
            })
        }
    }
}

fn unknown(name: &str) -> Failure {
    Failure::not_found(
        "alarm_not_found",
        format!("there is no alarm {name}: `sallyport alarms list` names them"),
    )
}

fn reason() -> Result<String, Failure> {
    Ok(format!("{TEST_REASON}: by {}. It returns by itself.", operator()?))
}

#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    severity: String,
    state: String,
    /// Epoch seconds; none for an alarm that has never changed.
    since: Option<u64>,
    meaning: String,
    runbook: String,
    /// The command to begin with.
    first: String,
}

#[derive(Serialize)]
struct Listed {
    alarms: Vec<Entry>,
}

fn list(mut alarms: Vec<Entry>, firing: bool) -> Result<Answer, Failure> {
    alarms.retain(|alarm| !firing || alarm.state == "ALARM");
    // What fires stands on top, what is worse above.
    let rank = |alarm: &Entry| {
        let severity = ["critical", "warning", "info"].iter().position(|known| *known == alarm.severity);
        (alarm.state != "ALARM", severity, alarm.name.clone())
    };
    alarms.sort_by_cached_key(rank);
    Answer::of(&Listed { alarms })
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.alarms.is_empty() {
            return writeln!(f, "No alarms.");
        }
        let mut table = Table::new(["alarm", "severity", "state", "since", "begin with"]);
        for alarm in &self.alarms {
            table.row([
                alarm.name.clone(),
                alarm.severity.clone(),
                alarm.state.clone(),
                alarm.since.map(|since| moment(Timestamp::from_seconds(since))).unwrap_or_default(),
                alarm.first.clone(),
            ]);
        }
        write!(f, "{table}")
    }
}

#[derive(Serialize)]
struct Tested {
    name: String,
    state: String,
    /// What it was decided by, or what was done.
    detail: String,
    /// Who is told, when it fires.
    tells: Vec<String>,
    dry_run: bool,
}

impl fmt::Display for Tested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tells = if self.tells.is_empty() {
            "nobody itself: it is part of a composite alarm".to_owned()
        } else {
            self.tells.join(", ")
        };
        let facts = Facts::default()
            .with("alarm", &self.name)
            .with("state", &self.state)
            .with("detail", &self.detail)
            .with("tells", tells);
        write!(f, "{facts}")
    }
}

#[derive(Serialize)]
struct Changed {
    /// Epoch seconds.
    at: u64,
    name: String,
    what: String,
}

#[derive(Serialize)]
struct Told {
    changes: Vec<Changed>,
}

fn history(changes: Vec<Changed>) -> Result<Answer, Failure> {
    Answer::of(&Told { changes })
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.changes.is_empty() {
            return writeln!(f, "Nothing has changed.");
        }
        let mut table = Table::new(["at", "alarm", "what"]);
        for change in &self.changes {
            table.row([moment(Timestamp::from_seconds(change.at)), change.name.clone(), change.what.clone()]);
        }
        write!(f, "{table}")
    }
}
