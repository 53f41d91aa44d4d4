//! Failures by source and sign-ins, as the logs have them, for [`sallyport_operations::incidents::entered`].

use std::collections::BTreeSet;

use sallyport_core::{address::ClientAddress, audit::EventKind, clock::Timestamp};
use sallyport_operations::incidents::{Entered, FailureSources, SignIn, entered};

use super::{Query, Question, Row, instant};

/// The most lines that Logs Insights returns.
const MOST: u16 = 10_000;
/// Answers of [`MOST`] sign-ins each that are asked for.
const PAGES: usize = 10;

/// Asks the logs of a deployment.
pub trait AskLogs: Sync {
    type Error: Send;

    /// What a question finds in a span, both ends of it included.
    fn ask_logs(
        &self,
        query: &Query,
        from: Timestamp,
        to: Timestamp,
    ) -> impl Future<Output = Result<Vec<Row>, Self::Error>> + Send;
}

/// What was found, and how far back the sign-ins were looked through.
#[derive(Debug, Clone)]
pub struct FoundEntered {
    pub entered: Vec<Entered>,
    pub sources: FailureSources,
    /// The start of the span, or later where there were too many sign-ins to look through all.
    pub looked_from: Timestamp,
}

/// Failures of the span by where they came from.
///
/// # Errors
/// Those of the logs.
pub async fn failure_sources<A: AskLogs>(
    logs: &A,
    from: Timestamp,
    to: Timestamp,
) -> Result<FailureSources, A::Error> {
    let by_address = logs.ask_logs(&Question::FAILURES_BY_ADDRESS.query().limit(MOST), from, to).await?;
    let by_device = logs.ask_logs(&Question::FAILURES_BY_DEVICE.query().limit(MOST), from, to).await?;
    let failures = |row: &Row| row.get("failures")?.parse::<u64>().ok();
    let address = |row: &Row| Some((ClientAddress::parse(row.get("address")?)?, failures(row)?));
    let device = |row: &Row| Some((row.get("device")?.clone(), failures(row)?));
    Ok(FailureSources::new(by_address.iter().filter_map(address), by_device.iter().filter_map(device)))
}

/// Sign-ins of the span from addresses, networks and devices that failed often in it.
///
/// # Errors
/// Those of the logs.
pub async fn suspicious_sign_ins<A: AskLogs>(
    logs: &A,
    from: Timestamp,
    to: Timestamp,
) -> Result<FoundEntered, A::Error> {
    let sources = failure_sources(logs, from, to).await?;
    if !sources.failed_often() {
        return Ok(FoundEntered { entered: Vec::new(), sources, looked_from: from });
    }
    let kinds = SignIn::KINDS.map(EventKind::as_str);
    let query = Question::EVENTS.query().only("event", &kinds).limit(MOST);
    let (mut until, mut looked_from) = (to, to);
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for _ in 0..PAGES {
        let rows = logs.ask_logs(&query, from, until).await?;
        let whole = rows.len() < usize::from(MOST);
        let sign_ins: Vec<_> = rows.iter().filter_map(read).collect();
        looked_from = sign_ins.iter().map(|sign_in| sign_in.at).min().unwrap_or(from);
        // The next answer begins in the same second.
        let new = sign_ins
            .into_iter()
            .filter(|one| seen.insert((one.at, one.request_id.clone(), one.kind.as_str())));
        found.extend(entered(&sources, new));
        if whole {
            looked_from = from;
            break;
        }
        if looked_from >= until {
            break;
        }
        until = looked_from;
    }
    Ok(FoundEntered {
        entered: entered(&sources, found.into_iter().map(|one| one.sign_in)),
        sources,
        looked_from,
    })
}

fn read(row: &Row) -> Option<SignIn> {
    let kind = row.get("event")?;
    Some(SignIn {
        at: instant(row.get("@timestamp")?)?,
        kind: EventKind::ALL.iter().copied().find(|known| known.as_str() == kind)?,
        subject: row.get("subject").cloned().unwrap_or_default(),
        address: ClientAddress::parse(row.get("address")?)?,
        device: row.get("device").cloned(),
        request_id: row.get("request_id").cloned().unwrap_or_default(),
    })
}
