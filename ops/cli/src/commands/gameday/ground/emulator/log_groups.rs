//! What functions wrote to their log groups.

use std::collections::BTreeSet;

use aws_sdk_cloudwatchlogs::Client;
use sallyport_alarms::{Datum, emf};

use crate::{aws_fault, deployment::Connection, failure::Failure, logs::groups};

/// Lines come a little after the answer they are about: each reading looks back so many milliseconds.
const LATE: i64 = 20_000;

pub(super) struct LogGroups {
    names: Vec<String>,
    /// Epoch milliseconds of the newest line that was read.
    newest: i64,
    /// Lines of the last [`LATE`] milliseconds: time, stream, text.
    seen: BTreeSet<(i64, String, String)>,
}

impl LogGroups {
    /// Those of a stack, to be read from a moment on, in epoch milliseconds.
    ///
    /// # Errors
    /// The stack has none.
    pub(super) async fn find(connection: &Connection, stack: &str, from: u64) -> Result<Self, Failure> {
        let newest = i64::try_from(from).unwrap_or(i64::MAX);
        Ok(Self { names: groups(connection, stack).await?, newest, seen: BTreeSet::new() })
    }

    /// The values of the wide events that were written since.
    ///
    /// # Errors
    /// The groups can't be read.
    pub(super) async fn read(&mut self, client: &Client) -> Result<Vec<Datum>, Failure> {
        let since = self.newest.saturating_sub(LATE).max(0);
        let mut data = Vec::new();
        let mut newest = self.newest;
        for group in &self.names {
            let mut token = None;
            loop {
                let asked = client.filter_log_events().log_group_name(group).start_time(since);
                let sent = asked.set_next_token(token).send().await;
                let answer = sent.map_err(|error| aws_fault::from_sdk("read the logs", &error))?;
                for event in answer.events() {
                    let (Some(at), Some(line)) = (event.timestamp(), event.message()) else { continue };
                    let stream = event.log_stream_name().unwrap_or_default();
                    if self.seen.insert((at, stream.to_owned(), line.to_owned())) {
                        newest = newest.max(at);
                        data.extend(emf::read(line).unwrap_or_default());
                    }
                }
                token = answer.next_token().map(str::to_owned);
                if token.is_none() {
                    break;
                }
            }
        }
        self.newest = newest;
        let kept = newest.saturating_sub(LATE);
        self.seen.retain(|(at, _, _)| *at >= kept);
        Ok(data)
    }
}
