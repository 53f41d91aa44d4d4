//! What Lambda's event source mapping does: it reads a table's stream and hands batches to a function.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use sallyport_lambda::Trigger;
use serde_json::json;
use tokio::sync::Mutex;

use crate::{
    database::{Database, Stream},
    stop::Stop,
    template::Template,
};

/// The function that the streams of sessions are for.
const FUNCTION: &str = "maintenance";

/// The stream of a table, and how far it was read.
#[derive(Debug)]
pub(crate) struct Mapping {
    database: Database,
    table: String,
    trigger: Option<Arc<Trigger>>,
    /// Held while a batch is delivered: batches of a shard follow one another.
    position: Mutex<Position>,
}

#[derive(Debug, Default)]
struct Position {
    stream: Option<Stream>,
    next: Option<String>,
}

impl Mapping {
    /// # Errors
    /// When the template has no such table.
    pub(crate) fn of(
        template: &Template,
        table: &str,
        database: Database,
        triggers: &[Arc<Trigger>],
    ) -> anyhow::Result<Self> {
        Ok(Self {
            database,
            table: template.table_name(table)?.to_owned(),
            trigger: triggers.iter().find(|trigger| trigger.name() == FUNCTION).cloned(),
            position: Mutex::default(),
        })
    }

    /// Delivers what there is, when `function` is the one that it is for.
    ///
    /// # Errors
    /// The function failed: the batch comes again.
    pub(crate) async fn deliver_to(&self, function: &str) -> anyhow::Result<()> {
        if function == FUNCTION { self.deliver().await } else { Ok(()) }
    }

    async fn deliver(&self) -> anyhow::Result<()> {
        let Some(trigger) = &self.trigger else { return Ok(()) };
        let mut position = self.position.lock().await;
        if position.stream.is_none() {
            position.stream = self.database.stream_of(&self.table)?;
        }
        let Some(stream) = position.stream.clone() else { return Ok(()) };
        loop {
            let (records, next) = self.database.records(&stream, position.next.as_deref())?;
            if records.as_array().is_none_or(Vec::is_empty) {
                return Ok(());
            }
            let event = json!({
                "Records": records, "shardId": stream.shard, "eventSourceARN": stream.arn,
                "window": {"start": null, "end": null}, "state": {}, "isFinalInvokeForWindow": false,
                "isWindowTerminatedEarly": false,
            });
            trigger.handle(event).await.context("a batch of the stream")?;
            position.next = Some(next);
        }
    }

    /// Delivers again and again. A batch that fails is repeated.
    pub(crate) async fn keep_delivering(self: Arc<Self>, every: Duration, stop: Stop) {
        let mut turns = tokio::time::interval(every);
        loop {
            tokio::select! {
                _ = turns.tick() => {
                    if let Err(error) = self.deliver().await {
                        tracing::warn!(%error, "a batch of the stream comes again");
                    }
                }
                () = stop.requested() => return,
            }
        }
    }
}
