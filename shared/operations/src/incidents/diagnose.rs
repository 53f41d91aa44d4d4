//! The first look, which nobody has to take at night: attached once to every incident.

use std::time::Duration;

use futures_util::future::join4;
use sallyport_core::{audit::Origin, clock::Timestamp, ids::OperationId, random::Random, store::StoreResult};

use super::{
    ChangeIncident, Entered, EntryKind, FindIncident, Incident, NoticeKind, Pointer,
    open::{ROUNDS, Step, contended},
    people::applied,
};

/// What the logs are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Error codes of answers.
    Errors,
    /// Addresses whose requests were refused.
    Addresses,
}

/// A function of the deployment, and since when it is as it is: by a release, or by a change of its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub function: String,
    pub at: Timestamp,
}

/// Looks into the logs and at what was deployed, within its own limit of time.
pub trait Diagnose: Send + Sync {
    /// The most frequent answers with their counts, the first the most frequent.
    ///
    /// # Errors
    /// What the logs did not say, in a line.
    fn top(
        &self,
        question: Question,
        from: Timestamp,
        to: Timestamp,
    ) -> impl Future<Output = Result<Vec<(String, u64)>, String>> + Send;

    /// Sign-ins from addresses, networks and devices that failed often, newest first.
    ///
    /// # Errors
    /// What the logs did not say, in a line.
    fn entered(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> impl Future<Output = Result<Vec<Entered>, String>> + Send;

    /// The functions that answer callers.
    ///
    /// # Errors
    /// What Lambda did not say, in a line.
    fn changes(&self) -> impl Future<Output = Result<Vec<Changed>, String>> + Send;
}

/// What is known without the logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// What runs.
    pub release: String,
    /// Modes and blocks that hold.
    pub flags: Result<Vec<String>, String>,
}

/// A diagnosis that has not come to its end by then is begun again.
const LIMIT: Duration = Duration::from_secs(120);
/// Before the alarm's own periods.
const LEAD: Duration = Duration::from_secs(5 * 60);
const WINDOW: Duration = Duration::from_secs(60 * 60);

/// Whether it has no diagnosis yet, and nobody is at it.
pub fn wants_diagnosis(incident: &Incident, now: Timestamp) -> bool {
    incident.diagnosis_from.is_some_and(|from| from <= now)
}

/// Diagnoses an incident that has no diagnosis yet, and attaches it. `None` when it has one, or another is at it. What
/// the logs don't say is attached as well: half a diagnosis now is better than a whole one too late.
///
/// # Errors
/// Storage, randomness; it is begun again later.
pub async fn diagnose<P, D>(
    ports: &P,
    logs: &D,
    known: &Known,
    incident: &Incident,
    now: Timestamp,
    random: &dyn Random,
    origin: &Origin,
) -> StoreResult<Option<Incident>>
where
    P: FindIncident + ChangeIncident,
    D: Diagnose,
{
    if !wants_diagnosis(incident, now) {
        return Ok(None);
    }
    let mut claim = Step::of(incident, Pointer::Stays);
    claim.incident.diagnosis_from = Some(now + LIMIT);
    let operation = OperationId::generate(random)?;
    if !applied(ports, &claim.change(now, operation, origin), operation).await? {
        return Ok(None);
    }
    let from = incident.began_at.minus(LEAD).max(now.minus(WINDOW));
    let (errors, addresses, entered, changes) = join4(
        logs.top(Question::Errors, from, now),
        logs.top(Question::Addresses, from, now),
        logs.entered(from, now),
        logs.changes(),
    )
    .await;
    let minutes = now.since(from).as_secs().div_ceil(60);
    let errors = format!("top error codes ({minutes} min): {}", listed(&errors));
    let flags = match &known.flags {
        Ok(flags) if flags.is_empty() => "none".to_owned(),
        Ok(flags) => flags.join("; "),
        Err(fault) => format!("not known: {fault}"),
    };
    let deployed = deployed(&changes, incident.began_at);
    let rest = format!("modes and blocks: {flags}\ndeployment: {}, {deployed}", known.release);
    let (count, each) = got_in(&entered, minutes);
    let whole =
        format!("{count}{each}\n{errors}\ntop addresses ({minutes} min): {}\n{rest}", listed(&addresses));
    // Who the callers are is not for whoever runs the channels: the timeline knows.
    let told = format!("{count}\n{errors}\n{rest}\naddresses: sallyport incident show {}", incident.id);

    let operation = OperationId::generate(random)?;
    for _ in 0..ROUNDS {
        let Some(stored) = ports.incident(incident.id).await? else { return Ok(None) };
        let mut step = Step::of(&stored, Pointer::Stays).entry(EntryKind::Diagnosed, &whole);
        step.incident.diagnosis_from = None;
        if stored.is_open() {
            step = step.notice(NoticeKind::Diagnosed, &told);
        }
        let change = step.change(now, operation, origin);
        if applied(ports, &change, operation).await? {
            return Ok(Some(change.incident));
        }
    }
    Err(contended())
}

/// A deployment changes all functions within so much time.
const ONE_DEPLOYMENT: Duration = Duration::from_secs(10 * 60);
/// Deployments that are told of.
const MOST: usize = 3;

/// The recent deployments, the latest first, before or after the incident began: `login, mfa changed 12 min before`.
fn deployed(changes: &Result<Vec<Changed>, String>, began: Timestamp) -> String {
    let mut changes = match changes {
        Ok(changes) if changes.is_empty() => return "no functions are known".to_owned(),
        Ok(changes) => changes.clone(),
        Err(fault) => return format!("since when is not known: {fault}"),
    };
    changes.sort_by(|one, other| (other.at, &one.function).cmp(&(one.at, &other.function)));
    let mut told: Vec<(Timestamp, Vec<&str>)> = Vec::new();
    for changed in &changes {
        match told.last_mut() {
            Some((latest, functions)) if latest.since(changed.at) <= ONE_DEPLOYMENT => {
                functions.push(&changed.function);
            }
            _ => told.push((changed.at, vec![&changed.function])),
        }
    }
    let each: Vec<_> = told
        .iter()
        .take(MOST)
        .map(|(at, functions)| {
            let distance = if *at <= began {
                format!("{} before", length(began.since(*at)))
            } else {
                format!("{} after it began", length(at.since(began)))
            };
            format!("{} changed {distance}", functions.join(", "))
        })
        .collect();
    each.join("; ")
}

/// In the unit that says enough: minutes, hours, days.
fn length(duration: Duration) -> String {
    match duration.as_secs() / 60 {
        minutes @ 0..120 => format!("{minutes} min"),
        minutes @ 120..2880 => format!("{} h", minutes / 60),
        minutes => format!("{} days", minutes / 1440),
    }
}

/// Sign-ins that are named; the command lists all.
const NAMED: usize = 5;

/// How many suspicious sign-ins there were, and which: the second part names addresses.
fn got_in(entered: &Result<Vec<Entered>, String>, minutes: u64) -> (String, String) {
    let about = format!("sign-ins from addresses that failed often ({minutes} min)");
    match entered {
        Ok(entered) if entered.is_empty() => (format!("{about}: none"), String::new()),
        Ok(entered) => {
            let command = format!("sallyport top entered --since {}m", minutes.max(1));
            let named = entered.iter().take(NAMED).map(|Entered { sign_in, suspicion }| {
                let (subject, address, failures) = (&sign_in.subject, sign_in.address, suspicion.failures);
                format!("\n  {} {subject} from {address}, {failures} failures", sign_in.kind.as_str())
            });
            (format!("{about}: {}, {command}", entered.len()), named.collect())
        }
        Err(fault) => (format!("{about}: not known: {fault}"), String::new()),
    }
}

fn listed(counted: &Result<Vec<(String, u64)>, String>) -> String {
    match counted {
        Ok(counted) if counted.is_empty() => "none".to_owned(),
        Ok(counted) => {
            let each: Vec<_> = counted.iter().map(|(what, count)| format!("{what} {count}")).collect();
            each.join(", ")
        }
        Err(fault) => format!("not known: {fault}"),
    }
}
