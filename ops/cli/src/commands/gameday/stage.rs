//! The backend that is played on: its clock, its callers, its alarms.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use sallyport_alarms::{Datum, Evaluator, Parameters, State, Template, emf};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::games::{Fault, Game, PARAMETERS};
use crate::{
    console::{Console, odd},
    failure::Failure,
};

pub(super) const MINUTE_MS: u64 = 60_000;
/// Days after which a signing key is past its time, and one more.
const PAST: u64 = 91 * 86_400;

pub(super) struct Stage {
    pub(super) console: Console,
    pub(super) evaluator: Evaluator,
    seen_line: u64,
    seen_value: u64,
    /// Rises with every account that is tried.
    tried: u64,
}

impl Stage {
    /// A backend at rest.
    pub(super) async fn set(console: Console) -> Result<Self, Failure> {
        for path in ["faults", "functions/faults"] {
            if !console.list(path, "faults").await?.is_empty() {
                let message = format!(
                    "faults stand already: DELETE {}/_local/{path}, or start a fresh `cargo run -p local`",
                    console.url()
                );
                return Err(Failure::conflict("faults_standing", message));
            }
        }
        let offset = console.get("clock").await?.get("offset_seconds").and_then(Value::as_u64);
        if offset.is_none_or(|offset| offset > 86_400) {
            let message = "this backend's clock was put forward for days: start a fresh `cargo run -p local`";
            return Err(Failure::conflict("clock_ahead", message));
        }
        let template = template()?;
        let mut stage =
            Self { console, evaluator: Evaluator::new(template, 0), seen_line: 0, seen_value: 0, tried: 0 };
        // What was before is nobody's business.
        stage.collect().await?;
        stage.align().await?;
        let now = stage.now().await?;
        stage.evaluator = Evaluator::new(self::template()?, now);
        Ok(stage)
    }

    pub(super) async fn now(&self) -> Result<u64, Failure> {
        Ok(self.console.now().await?.millis())
    }

    pub(super) async fn advance(&self, seconds: u64) -> Result<(), Failure> {
        self.console.post("clock", &json!({"advance_seconds": seconds})).await.map(drop)
    }

    /// To the next whole minute.
    async fn align(&self) -> Result<(), Failure> {
        let into = (self.now().await? / 1000) % 60;
        self.advance(60 - into).await
    }

    /// A minute in which this happens, and what the schedules do.
    pub(super) async fn minute(&mut self, game: &Game, broken: bool) -> Result<(), Failure> {
        let caller = client(None)?;
        let ready = format!("{}/health/ready", self.console.url());
        // The probe is asked for its metric.
        let _answer = caller.get(&ready).send().await;
        if game.fault == Fault::OldKey {
            self.console.post("invoke/maintenance", &json!({"task": "key_age"})).await?;
        } else {
            self.callers(&caller, 6).await;
            if broken && game.fault == Fault::Stuffing {
                self.stuff().await?;
            }
            // A percentile of fewer than 200 requests in five minutes would say nothing.
            for _ in 0..45 {
                let _answer = caller.get(format!("{}/health/live", self.console.url())).send().await;
            }
        }
        self.align().await?;
        self.collect().await?;
        let now = self.now().await?;
        self.evaluator.run_until(now - now % MINUTE_MS);
        Ok(())
    }

    /// Callers who mistype, as on every day, all at once: none waits for another's slow answer.
    async fn callers(&mut self, caller: &reqwest::Client, count: u64) {
        let mut calls = JoinSet::new();
        for _ in 0..count {
            calls.spawn(self.attempt(caller));
        }
        while calls.join_next().await.is_some() {}
    }

    /// The next account's sign-in, with a password that is not its own, and the status of the answer.
    fn attempt(&mut self, caller: &reqwest::Client) -> impl Future<Output = Option<u16>> + Send + use<> {
        self.tried += 1;
        let body = json!({"email": format!("gameday{}@example.com", self.tried), "password": "Summer2026!"});
        let call = caller.post(format!("{}/api/v1/auth/login", by_address(self.console.url()))).json(&body);
        async move { Some(call.send().await.ok()?.status().as_u16()) }
    }

    async fn stuff(&mut self) -> Result<(), Failure> {
        let attacker = client(Some(IpAddr::from([127, 66, 0, 1])))?;
        for _ in 0..40 {
            self.attempt(&attacker).await;
        }
        Ok(())
    }

    /// Whether the attacker is still let in.
    pub(super) async fn attacked(&mut self) -> Result<Option<u16>, Failure> {
        let attacker = client(Some(IpAddr::from([127, 66, 0, 1])))?;
        Ok(self.attempt(&attacker).await)
    }

    pub(super) async fn is_ready(&self) -> bool {
        let Ok(caller) = client(None) else { return false };
        let answer = caller.get(format!("{}/health/ready", self.console.url())).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    async fn collect(&mut self) -> Result<(), Failure> {
        let mut data = Vec::new();
        let number =
            |entry: &Value| entry.get("sequence").and_then(Value::as_u64).ok_or_else(|| odd("no number"));
        for entry in self.console.list(&format!("logs?since={}", self.seen_line), "lines").await? {
            self.seen_line = number(&entry)?;
            data.extend(entry.get("line").map(emf::read_value).and_then(Result::ok).unwrap_or_default());
        }
        for entry in self.console.list(&format!("metrics?since={}", self.seen_value), "data").await? {
            self.seen_value = number(&entry)?;
            let datum: Datum = serde_json::from_value(entry).map_err(|error| odd(&error.to_string()))?;
            data.push(datum);
        }
        self.evaluator.add(data);
        Ok(())
    }

    /// Of those that fired at `since` or later, the alarms that still do.
    pub(super) fn still_firing(&self, since: u64) -> BTreeSet<String> {
        let changes = self.evaluator.transitions().iter();
        let fired = changes.filter(|change| change.at >= since && change.to == State::Alarm);
        fired.filter(|change| self.fires(&change.alarm)).map(|change| change.alarm.clone()).collect()
    }

    pub(super) fn fires(&self, alarm: &str) -> bool {
        self.evaluator.state(alarm) == Some(State::Alarm)
    }

    pub(super) async fn inject(&self, fault: Fault) -> Result<(), Failure> {
        for (path, rule) in fault.rules() {
            self.console.post(path, &rule).await?;
        }
        if fault == Fault::OldKey {
            self.advance(PAST).await?;
        }
        Ok(())
    }

    /// Ends the fault, as AWS, an attacker or time does.
    pub(super) async fn lift(&self, fault: Fault) -> Result<(), Failure> {
        self.console.delete("faults").await?;
        self.console.delete("keyring/faults").await?;
        if fault == Fault::OldKey {
            // Everybody has the key that was published, and it may be used.
            self.advance(3 * 60 * 60).await?;
        }
        Ok(())
    }

    /// Tells the responder what CloudWatch would, and returns the incident.
    pub(super) async fn tell(&self, alarm: &str, state: &str, at: u64) -> Result<Option<String>, Failure> {
        let alarm_of = self.evaluator.template().alarm(alarm);
        let topic = alarm_of.map(|alarm| alarm.severity.to_string()).unwrap_or_default();
        let description = alarm_of.map(|alarm| alarm.meaning().to_owned()).unwrap_or_default();
        let at = jiff::Timestamp::from_millisecond(i64::try_from(at).unwrap_or_default())
            .map(|at| at.strftime("%Y-%m-%dT%H:%M:%S.000+0000").to_string())
            .unwrap_or_default();
        let message = json!({
            "AlarmName": format!("sallyport-local-{alarm}"),
            "AlarmDescription": description,
            "AWSAccountId": "123456789012",
            "AlarmConfigurationUpdatedTimestamp": at,
            "NewStateValue": state,
            "NewStateReason": "A game day.",
            "StateChangeTime": at,
            "Region": "EU (Frankfurt)",
            "AlarmArn": format!("arn:aws:cloudwatch:eu-central-1:123456789012:alarm:sallyport-local-{alarm}"),
            "OldStateValue": if state == "ALARM" { "OK" } else { "ALARM" },
            "OKActions": [], "AlarmActions": [], "InsufficientDataActions": [],
        });
        let event = json!({"Records": [{
            "EventSource": "aws:sns", "EventVersion": "1.0",
            "Sns": {
                "Type": "Notification", "MessageId": "1", "Subject": state, "Timestamp": at,
                "TopicArn": format!("arn:aws:sns:eu-central-1:123456789012:sallyport-local-{topic}"),
                "Message": message.to_string(), "MessageAttributes": {},
            },
        }]});
        let answer = self.console.post("invoke/responder", &event).await?;
        Ok(answer.pointer("/result/alarms/0/incident").and_then(Value::as_str).map(str::to_owned))
    }
}

fn template() -> Result<Template, Failure> {
    let parameters: Parameters =
        PARAMETERS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Template::of_the_stack(&parameters)
        .map_err(|error| Failure::dependency("alarms_unreadable", error.to_string()))
}

fn client(address: Option<IpAddr>) -> Result<reqwest::Client, Failure> {
    reqwest::Client::builder()
        .no_proxy()
        .local_address(address)
        .timeout(Duration::from_secs(20))
        .build()
        .map_err(|error| Failure::dependency("runtime", error.to_string()))
}

/// Callers bind addresses of 127.0.0.0/8, from which the name's other address cannot be reached.
fn by_address(url: &str) -> String {
    url.replace("localhost", "127.0.0.1")
}
