//! What has to be looked after: keys that age, backups that must restore, topics that somebody must hear, sessions counted,
//! what is past its time.
//!
//! One task an event: `{"task": "key_age"}`, from a schedule; or a batch of the stream of sessions.

mod checks;
mod drill;
mod retention;
mod sessions;

use std::sync::Arc;

use sallyport_aws::{SnsTopics, logs::LogGroups};
use sallyport_core::{accounts::PasswordHasher, audit::Origin};
use sallyport_lambda::{Event, Platform, Trigger, TriggerError};
use serde_json::Value;

/// What the tasks stand on.
struct State {
    platform: Platform,
    topics: SnsTopics,
    log_groups: Option<LogGroups>,
    hasher: PasswordHasher,
    origin: Origin,
}

/// The function.
pub fn trigger(platform: &Platform) -> Trigger {
    let config = platform.config();
    let state = State {
        topics: SnsTopics::new(platform.clients()),
        log_groups: config
            .log_group_prefix
            .clone()
            .and_then(|prefix| LogGroups::of_function(platform.clients(), prefix)),
        hasher: PasswordHasher::new(config.password),
        platform: platform.clone(),
        origin: Origin::function("maintenance"),
    };
    Trigger::new("maintenance", platform, &Arc::new(state), handle)
}

async fn handle(state: Arc<State>, event: Event) -> Result<Value, TriggerError> {
    if event.payload.get("Records").is_some() {
        return sessions::count_batch(&state, &event.payload, &event.facts).await;
    }
    match event.payload.get("task").and_then(Value::as_str) {
        Some("key_age") => checks::key_age(&state, &event.facts).await,
        Some("recovery_check") => checks::recovery(&state, &event.facts).await,
        Some("topic_check") => checks::topics(&state, &event.facts).await,
        Some("backup_verify") => checks::backups(&state).await,
        Some("restore_drill") => drill::run(&state, &event.facts).await,
        Some("retention") => retention::run(&state).await,
        Some("session_gauge") => sessions::report(&state, &event.facts).await,
        Some(other) => Err(TriggerError::Unknown(format!("no task {other}"))),
        None => Err(TriggerError::Unknown("neither a task nor records".to_owned())),
    }
}
