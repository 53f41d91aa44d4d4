//! The count of live sessions, fed by the stream of the table.

use sallyport_aws::session_ends;
use sallyport_lambda::{TriggerError, telemetry::Facts};
use sallyport_operations::gauge::{self, Sequence, SessionChange};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::State;

/// A batch of a DynamoDB stream with a tumbling window, which is what names the shard.
#[derive(Deserialize)]
struct Batch {
    #[serde(rename = "Records")]
    records: Vec<Record>,
    #[serde(rename = "shardId")]
    shard: Option<String>,
    #[serde(rename = "eventSourceARN")]
    stream: Option<String>,
    #[serde(default)]
    state: Value,
}

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "eventSourceARN")]
    stream: Option<String>,
    dynamodb: Images,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Images {
    sequence_number: String,
    #[serde(default)]
    new_image: Value,
    #[serde(default)]
    old_image: Value,
}

/// Counts a batch in. A record that does not read is left out and told: it must not stop those behind it.
pub(crate) async fn count_batch(
    state: &State,
    payload: &Value,
    facts: &Facts,
) -> Result<Value, TriggerError> {
    let batch = Batch::deserialize(payload).map_err(|error| TriggerError::Unknown(error.to_string()))?;
    let stream = batch.stream.or_else(|| batch.records.first().and_then(|record| record.stream.clone()));
    // Without a window nobody names the shard. Emulators have one.
    let shard = batch.shard.or(stream).unwrap_or_else(|| "only".to_owned());
    let mut unreadable = 0;
    let mut changes = Vec::new();
    for record in &batch.records {
        let (before, lost_before) = session_ends(&record.dynamodb.old_image);
        let (after, lost_after) = session_ends(&record.dynamodb.new_image);
        unreadable += lost_before + lost_after;
        match Sequence::new(&record.dynamodb.sequence_number) {
            Some(sequence) => changes.push(SessionChange { sequence, before, after }),
            None => unreadable += 1,
        }
    }
    let now = state.platform.clock().now();
    let counted = gauge::take_batch(state.platform.store(), &shard, &changes, now).await?;
    facts.count("session_records", counted as u64);
    if unreadable > 0 {
        tracing::warn!(unreadable, "sessions that do not read are not counted");
    }
    // A tumbling window hands its state from batch to batch; the state of this one is in the table.
    Ok(json!({"state": batch.state, "batchItemFailures": []}))
}

/// Tells how many sessions live, and forgets the days and the shards that have passed.
pub(crate) async fn report(state: &State, facts: &Facts) -> Result<Value, TriggerError> {
    let now = state.platform.clock().now();
    let active = gauge::active_sessions(state.platform.store(), now).await?;
    facts.count("active_sessions", active);
    gauge::forget(state.platform.store(), now).await?;
    Ok(json!({"active_sessions": active}))
}
