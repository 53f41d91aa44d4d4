//! Responder: alarms become incidents, incidents reach people, and nobody is forgotten.

mod alarm;
mod channels;
mod diagnosis;
mod formats;
mod mitigation;
mod words;

use std::sync::Arc;

use sallyport_aws::responder::Webhooks;
use sallyport_core::{audit::Origin, clock::Timestamp};
use sallyport_lambda::{Event, Platform, Trigger, TriggerError, telemetry::Facts};
use sallyport_operations::incidents::{self, AlarmChange, Incident, ListIncidents as _, Taken};
use serde_json::{Value, json};

use self::{channels::People, diagnosis::Logs, mitigation::Flags};

/// What the function stands on.
struct Responder {
    platform: Platform,
    people: People,
    logs: Logs,
    origin: Origin,
}

/// The function: notifications of alarms by SNS, and a tick every minute.
pub fn trigger(platform: &Platform) -> Trigger {
    let webhooks = Webhooks::connect(platform.config().endpoints.ca_file.as_ref());
    let responder = Responder {
        platform: platform.clone(),
        people: People::new(platform, webhooks.map_err(|error| error.to_string())),
        logs: Logs::new(platform),
        origin: Origin::function("responder"),
    };
    Trigger::new("responder", platform, &Arc::new(responder), handle)
}

async fn handle(responder: Arc<Responder>, event: Event) -> Result<Value, TriggerError> {
    match event.payload.get("task").and_then(Value::as_str) {
        Some("tick") => responder.tick(&event.facts).await,
        Some(other) => Err(TriggerError::Unknown(format!("no task {other}"))),
        None => responder.alarms(&event).await,
    }
}

impl Responder {
    /// Takes the notifications of an event. What it cannot take, Lambda delivers again; what was taken before changes
    /// nothing then.
    async fn alarms(&self, event: &Event) -> Result<Value, TriggerError> {
        let read = alarm::read(&event.payload);
        let mut outcomes = Vec::new();
        let (mut opened, mut touched, mut unread) = (0, Vec::new(), Vec::new());
        for change in read {
            match change {
                Ok(change) => {
                    let taken = self.take(&change).await?;
                    opened += u64::from(matches!(taken, Taken::Opened(_) | Taken::Reopened(_)));
                    outcomes.push(json!({
                        "alarm": change.name,
                        "outcome": taken.as_str(),
                        "incident": taken.incident().map(|incident| incident.id.to_string()),
                    }));
                    touched.extend(taken.incident().cloned());
                }
                Err(problem) => unread.push(problem),
            }
        }
        event.facts.count("incidents_opened", opened);
        // People first: what is done beside must not keep them waiting.
        self.deliver(&event.facts).await?;
        let mut attended = 0;
        for incident in touched {
            attended += usize::from(self.attend(incident).await?);
        }
        if attended > 0 {
            self.deliver(&event.facts).await?;
        }
        match unread.first() {
            Some(problem) => Err(TriggerError::Unknown(problem.clone())),
            None => Ok(json!({ "alarms": outcomes })),
        }
    }

    async fn take(&self, change: &AlarmChange) -> Result<Taken, TriggerError> {
        let (store, random) = (self.platform.store(), self.platform.random());
        let taken = incidents::take_alarm(store, self.now(), random, change, &self.origin).await?;
        let (alarm, outcome) = (change.name.as_str(), taken.as_str());
        let incident = taken.incident().map(|incident| incident.id.to_string());
        tracing::info!(target: "request", alarm, state = change.state.as_str(), outcome, incident, "alarm heard");
        Ok(taken)
    }

    /// What is due by now: reminders, escalations, what an earlier event left undone, notices that nobody took.
    async fn tick(&self, facts: &Facts) -> Result<Value, TriggerError> {
        let (store, random) = (self.platform.store(), self.platform.random());
        let ticked = incidents::tick(store, self.now(), random, &self.origin).await?;
        let (open, escalations, reminders) = (ticked.open, ticked.escalations, ticked.reminders);
        facts.count("incidents_open", count(open));
        self.deliver(facts).await?;
        let mut attended = 0;
        if open > 0 {
            for incident in store.open_incidents().await? {
                attended += usize::from(self.attend(incident).await?);
            }
        }
        if attended > 0 {
            self.deliver(facts).await?;
        }
        Ok(json!({ "open": open, "escalations": escalations, "reminders": reminders }))
    }

    /// Mitigates, where the deployment allows it, and diagnoses. Whether there is something to tell.
    async fn attend(&self, incident: Incident) -> Result<bool, TriggerError> {
        let (store, random) = (self.platform.store(), self.platform.random());
        let mut current = incident;
        let mut attended = false;
        if self.platform.config().auto_mitigation {
            let flags = Flags::new(&self.platform, &self.origin);
            let mitigated =
                incidents::mitigate(store, &flags, &current, self.now(), random, &self.origin).await?;
            if let Some(mitigated) = mitigated {
                let incident = mitigated.id.to_string();
                tracing::warn!(target: "request", incident, "emergency mode by itself");
                current = mitigated;
                attended = true;
            }
        }
        let (logs, now) = (&self.logs, self.now());
        // What is known costs a read, each minute of each incident.
        if !incidents::wants_diagnosis(&current, now) {
            return Ok(attended);
        }
        let known = diagnosis::known(&self.platform).await;
        let diagnosed = incidents::diagnose(store, logs, &known, &current, now, random, &self.origin).await?;
        Ok(attended || diagnosed.is_some())
    }

    async fn deliver(&self, facts: &Facts) -> Result<(), TriggerError> {
        let (store, random) = (self.platform.store(), self.platform.random());
        let delivered = incidents::deliver(store, &self.people, self.now(), random, &self.origin).await?;
        facts.count("notifications_sent", count(delivered.sent));
        facts.count("notification_failures", count(delivered.failed + delivered.given_up));
        Ok(())
    }

    fn now(&self) -> Timestamp {
        self.platform.clock().now()
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
