//! What is played: callers that come and go, the alarms that watch, the people who are told.

use std::{collections::BTreeSet, net::IpAddr};

use sallyport_alarms::{Evaluator, Parameters, State, Template};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    games::{Fault, Game, PARAMETERS},
    ground::{Ground, MINUTE_MS},
};
use crate::failure::Failure;

/// Addresses that the attacker has, all of one network.
const ATTACKERS: u8 = 12;
/// Where everybody else comes from: 127.67.0.1, 127.67.1.1 and on, each from a network of its own.
const CALLERS: u32 = 0x7f43_0001;

/// One of the attacker's addresses.
const fn attacker(number: u8) -> IpAddr {
    IpAddr::V4(std::net::Ipv4Addr::new(127, 66, 0, 1 + number % ATTACKERS))
}

/// An account whose password the attacker has.
pub(super) struct Victim {
    pub(super) email: &'static str,
    pub(super) password: String,
}

impl Victim {
    /// The same account in every game; its password is this game's.
    pub(super) fn new(began: u64) -> Self {
        Self { email: "gameday-victim@example.com", password: format!("stolen elsewhere {began}") }
    }
}
/// Callers who call at once.
const AT_ONCE: usize = 4;

pub(super) struct Stage<G> {
    pub(super) ground: G,
    pub(super) evaluator: Evaluator,
    /// Epoch milliseconds: what was tried in the game before is not tried again.
    began: u64,
    /// Minutes that were played.
    minutes: u32,
    /// Rises with every account that is tried.
    tried: u64,
    /// Whether there is something to take back.
    pub(super) mitigated: bool,
    /// Who is entered in the next minute of an attack.
    pub(super) victim: Option<Victim>,
}

/// The status that a caller saw, when there was an answer.
type Seen = Option<u16>;

impl<G: Ground> Stage<G> {
    pub(super) fn new(ground: G, template: Template) -> Self {
        let evaluator = Evaluator::new(template, 0);
        Self { ground, evaluator, began: 0, minutes: 0, tried: 0, mitigated: false, victim: None }
    }

    /// Begins with a whole minute. What was before is nobody's business.
    pub(super) async fn begin(&mut self) -> Result<(), Failure> {
        self.ground.collect().await?;
        self.ground.next_minute().await?;
        self.began = self.ground.now().await?;
        self.evaluator = Evaluator::new(self.evaluator.template().clone(), self.began);
        Ok(())
    }

    /// A minute that the alarms watch.
    pub(super) async fn minute(&mut self, game: &Game, broken: bool) -> Result<(), Failure> {
        let now = self.pass(game, broken).await?;
        self.evaluator.run_until(now - now % MINUTE_MS);
        Ok(())
    }

    /// After time that nobody saw: minutes for the alarms to look back at.
    pub(super) async fn minutes_before(&mut self, game: &Game, minutes: u64) -> Result<(), Failure> {
        for _ in 0..minutes {
            let now = self.pass(game, false).await?;
            self.evaluator.skip_to(now);
        }
        Ok(())
    }

    /// A minute in which callers call, and schedules do what they do. When it ended.
    async fn pass(&mut self, game: &Game, broken: bool) -> Result<u64, Failure> {
        // Another address each minute: on an emulator a minute is over before the limit of an address is.
        self.minutes += 1;
        let caller = self.ground.caller(Some(IpAddr::from((CALLERS + (self.minutes << 8)).to_be_bytes())))?;
        // The probe is asked for its metric.
        self.get(&caller, &["/health/ready"]).await;
        if game.fault == Fault::OldKey {
            self.ground.invoke("maintenance", &json!({"task": "key_age"})).await?;
        } else {
            self.attempts(&caller, 6).await;
            if broken && game.fault == Fault::Stuffing {
                self.attack().await?;
            }
            // A percentile of fewer than 200 requests in five minutes would say nothing.
            self.get(&caller, &["/health/live"; 45]).await;
        }
        self.ground.next_minute().await?;
        let measured = self.ground.collect().await?;
        self.evaluator.add(measured);
        self.ground.now().await
    }

    /// Forty-eight wrong passwords, and among them the victim's.
    async fn attack(&mut self) -> Result<(), Failure> {
        for number in 0..ATTACKERS {
            let caller = self.ground.caller(Some(attacker(number)))?;
            self.attempts(&caller, 4).await;
            if number == ATTACKERS / 2
                && let Some(victim) = self.victim.take()
            {
                let url = format!("{}/api/v1/auth/login", self.ground.url());
                let body = json!({"email": victim.email, "password": victim.password});
                self.call(vec![caller.post(url).json(&body)]).await;
            }
        }
        Ok(())
    }

    async fn get(&mut self, caller: &reqwest::Client, paths: &[&str]) {
        let calls = paths.iter().map(|path| caller.get(format!("{}{path}", self.ground.url()))).collect();
        self.call(calls).await;
    }

    /// Sign-ins of so many accounts that nobody has, as by callers who mistype; all at once, so that none waits for another's
    /// slow answer.
    async fn attempts(&mut self, caller: &reqwest::Client, count: usize) -> Vec<Seen> {
        let url = format!("{}/api/v1/auth/login", self.ground.url());
        let calls = (0..count)
            .map(|_| {
                self.tried += 1;
                let email = format!("gameday{}-{}@example.com", self.began, self.tried);
                caller.post(&url).json(&json!({"email": email, "password": "Summer2026!"}))
            })
            .collect();
        self.call(calls).await
    }

    async fn call(&mut self, mut calls: Vec<reqwest::RequestBuilder>) -> Vec<Seen> {
        let mut under_way = JoinSet::new();
        let mut seen = Vec::new();
        loop {
            while under_way.len() < AT_ONCE
                && let Some(call) = calls.pop()
            {
                under_way.spawn(status(call));
            }
            let Some(answer) = under_way.join_next().await else { return seen };
            let answer = answer.ok().flatten();
            if let Some(status) = answer {
                self.ground.answered(status);
            }
            seen.push(answer);
        }
    }

    /// What the attacker is answered now.
    pub(super) async fn attacked(&mut self) -> Result<Option<u16>, Failure> {
        let caller = self.ground.caller(Some(attacker(0)))?;
        let seen = self.attempts(&caller, 1).await;
        Ok(seen.first().copied().flatten())
    }

    pub(super) async fn is_ready(&self) -> bool {
        let Ok(caller) = self.ground.caller(None) else { return false };
        let answer = caller.get(format!("{}/health/ready", self.ground.url())).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
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

    /// Tells the responder what CloudWatch would, and returns the incident.
    pub(super) async fn tell(
        &mut self,
        alarm: &str,
        state: &str,
        at: u64,
    ) -> Result<Option<String>, Failure> {
        let (deployment, at) = (self.ground.deployment().to_owned(), self.ground.by_functions(at));
        let alarm_of = self.evaluator.template().alarm(alarm);
        let topic = alarm_of.map(|alarm| alarm.severity.to_string()).unwrap_or_default();
        let description = alarm_of.map(|alarm| alarm.meaning().to_owned()).unwrap_or_default();
        let at = jiff::Timestamp::from_millisecond(i64::try_from(at).unwrap_or_default())
            .map(|at| at.strftime("%Y-%m-%dT%H:%M:%S.000+0000").to_string())
            .unwrap_or_default();
        let message = json!({
            "AlarmName": format!("{deployment}-{alarm}"),
            "AlarmDescription": description,
            "AWSAccountId": "123456789012",
            "AlarmConfigurationUpdatedTimestamp": at,
            "NewStateValue": state,
            "NewStateReason": "A game day.",
            "StateChangeTime": at,
            "Region": "EU (Frankfurt)",
            "AlarmArn": format!("arn:aws:cloudwatch:eu-central-1:123456789012:alarm:{deployment}-{alarm}"),
            "OldStateValue": if state == "ALARM" { "OK" } else { "ALARM" },
            "OKActions": [], "AlarmActions": [], "InsufficientDataActions": [],
        });
        let event = json!({"Records": [{
            "EventSource": "aws:sns", "EventVersion": "1.0",
            "Sns": {
                "Type": "Notification", "MessageId": "1", "Subject": state, "Timestamp": at,
                "TopicArn": format!("arn:aws:sns:eu-central-1:123456789012:{deployment}-{topic}"),
                "Message": message.to_string(), "MessageAttributes": {},
            },
        }]});
        let answer = self.ground.invoke("responder", &event).await?;
        Ok(answer.pointer("/alarms/0/incident").and_then(Value::as_str).map(str::to_owned))
    }
}

async fn status(call: reqwest::RequestBuilder) -> Seen {
    Some(call.send().await.ok()?.status().as_u16())
}

/// The alarms of this deployment, as a game has them.
///
/// # Errors
/// Those of this release do not evaluate.
pub(super) fn template(ground: &impl Ground) -> Result<Template, Failure> {
    let of_a_game = PARAMETERS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let parameters: Parameters = ground.parameters().into_iter().chain(of_a_game).collect();
    Template::of_the_stack(&parameters)
        .map_err(|error| Failure::dependency("alarms_unreadable", error.to_string()))
}
