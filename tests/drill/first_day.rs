//! The first hours of a deployment: every alarm of the template, in both sets, evaluated from the first minute on.
//!
//! What comes when is CloudFormation's, Scheduler's and EventBridge's to say, so it is played in every order that they may bring
//! it in: alarms before or after what they watch, the probe before or after the keyring is filled, schedules at once or late.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use sallyport_alarms::{Datum, Evaluator, Parameters, Schedule, State, Template, emf, schedules};
use sallyport_testkit::Backend;
use serde_json::{Value, json};

use crate::drill::TEMPLATE;

const MINUTE_MS: u64 = 60_000;
const HOUR: u64 = 60;

/// The minute in which each part of a deployment is there.
#[derive(Debug, Clone, Copy)]
struct Order {
    alarms: u64,
    probe: u64,
    schedules: u64,
    /// When the keyring is filled: the first event of the schedule that is there for it.
    fill: u64,
    /// When Secrets Manager tests the configuration of the rotation.
    rotation: u64,
}

const ORDERS: [(&str, Order); 5] = [
    ("all at once", Order { alarms: 0, probe: 0, schedules: 0, fill: 0, rotation: 0 }),
    ("as the template asks for it", Order { alarms: 3, probe: 1, schedules: 1, fill: 1, rotation: 2 }),
    ("alarms first", Order { alarms: 0, probe: 3, schedules: 4, fill: 4, rotation: 1 }),
    ("the keyring late", Order { alarms: 1, probe: 0, schedules: 0, fill: 9, rotation: 2 }),
    ("the probe late", Order { alarms: 2, probe: 12, schedules: 0, fill: 0, rotation: 5 }),
];

/// A deployment that nobody has used yet.
struct Deployment {
    backend: Backend,
    schedules: Vec<Schedule>,
    order: Order,
    /// The set, with its alarms.
    sets: Vec<(&'static str, Evaluator)>,
    /// All that was measured: an alarm that is made looks back as well.
    data: Vec<Datum>,
    seen_line: u64,
    seen_value: u64,
    /// Minutes since it began.
    age: u64,
    probes: bool,
}

fn is_probe(schedule: &Schedule) -> bool {
    schedule.function == "health"
}

fn fills(schedule: &Schedule) -> bool {
    schedule.function == "keys"
}

impl Deployment {
    async fn begin(order: Order) -> Result<Self> {
        let environment = [("SALLYPORT_PASSWORD_MEMORY_KIB".to_owned(), "7168".to_owned())].into();
        let options = local::Options { environment, cold: true, ..local::Options::default() };
        let backend = Backend::start_as(options).await?;
        backend.advance(60 - backend.now() % 60).await?;
        let schedules = schedules(TEMPLATE)?;
        ensure!(schedules.iter().any(is_probe) && schedules.iter().any(fills), "{schedules:?}");
        Ok(Self {
            backend,
            schedules,
            order,
            sets: Vec::new(),
            data: Vec::new(),
            seen_line: 0,
            seen_value: 0,
            age: 0,
            probes: true,
        })
    }

    /// When a schedule hands its first event: Scheduler at once, a rule of EventBridge within its first period.
    fn first(&self, schedule: &Schedule) -> u64 {
        match schedule {
            schedule if is_probe(schedule) => self.order.probe,
            schedule if fills(schedule) => self.order.fill,
            _ => self.order.schedules,
        }
    }

    async fn minute(&mut self) -> Result<()> {
        let minute = self.backend.now() / 60;
        if self.age == self.order.alarms {
            for set in ["full", "basic"] {
                // A machine that builds beside it is no Lambda.
                let parameters: Parameters = [("AlarmSet", set), ("SlowResponseMs", "5000")]
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into();
                let mut evaluator = Evaluator::new(Template::of_the_stack(&parameters)?, minute * MINUTE_MS);
                evaluator.add(self.data.iter().cloned());
                self.sets.push((set, evaluator));
            }
        }
        if self.age == self.order.rotation {
            let test = Some(json!({"immediately": false}));
            let answer = self.backend.console("POST", "rotate", test).await?.expect(200)?;
            ensure!(answer.field("result")["phase"] == "configuration", "{}", answer.text());
        }
        for schedule in self.schedules.clone() {
            let first = self.first(&schedule);
            let due = self.age >= first && (self.age - first).is_multiple_of((schedule.every / 60).max(1));
            if due && (self.probes || !is_probe(&schedule)) {
                // A task that fails is repeated twice. An answer of 503 is an answer.
                let mut answer = self.backend.invoke(&schedule.function, &schedule.input).await?;
                for _ in 0..2 {
                    if answer.status != 200 {
                        answer = self.backend.invoke(&schedule.function, &schedule.input).await?;
                    }
                }
            }
        }
        ensure!(self.backend.now() / 60 == minute, "what was done in minute {minute} lasted longer");
        self.backend.advance(60 - self.backend.now() % 60).await?;
        self.age += 1;
        let data = self.collect().await?;
        for (_, evaluator) in &mut self.sets {
            evaluator.add(data.iter().cloned());
            evaluator.run_until((minute + 1) * MINUTE_MS);
        }
        self.data.extend(data);
        Ok(())
    }

    async fn collect(&mut self) -> Result<Vec<Datum>> {
        let mut data = Vec::new();
        for entry in self.backend.logs_since(self.seen_line).await? {
            self.seen_line = entry["sequence"].as_u64().context("a line has no number")?;
            data.extend(match &entry["line"] {
                Value::String(text) => emf::read(text).unwrap_or_default(),
                line => emf::read_value(line).unwrap_or_default(),
            });
        }
        for mut entry in self.backend.platform_metrics_since(self.seen_value).await? {
            self.seen_value = entry["sequence"].as_u64().context("a value has no number")?;
            data.push(serde_json::from_value(entry.take())?);
        }
        Ok(data)
    }

    async fn minutes(&mut self, count: u64) -> Result<()> {
        for _ in 0..count {
            self.minute().await?;
        }
        Ok(())
    }

    /// What rang at any time, in either set.
    fn rang(&self) -> BTreeSet<String> {
        let of_set = |(set, evaluator): &(&'static str, Evaluator)| {
            let rang = evaluator.transitions().iter().filter(|change| change.to == State::Alarm);
            rang.map(|change| format!("{} ({set}): {}", change.alarm, change.reason)).collect::<Vec<_>>()
        };
        self.sets.iter().flat_map(of_set).collect()
    }

    /// Who was told that something is wrong, in either set.
    fn told(&self) -> Vec<String> {
        let of_set = |(set, evaluator): &(&'static str, Evaluator)| {
            let wrong = evaluator.notifications().iter().filter(|note| note.state != State::Ok);
            wrong.map(|note| format!("{} ({set}): {}", note.alarm, note.state)).collect::<Vec<_>>()
        };
        self.sets.iter().flat_map(of_set).collect()
    }
}

#[tokio::test]
async fn nothing_rings_on_the_first_day_in_whatever_order_its_parts_begin() -> Result<()> {
    for (name, order) in ORDERS {
        let mut deployment = Deployment::begin(order).await?;
        deployment.minutes(3 * HOUR + 20).await?;
        ensure!(deployment.rang().is_empty(), "{name}: {:#?}", deployment.rang());
        ensure!(deployment.told().is_empty(), "{name}: {:#?}", deployment.told());
        // It was filled by the schedule, and is ready.
        deployment.backend.actor().get("/health/ready").await?.expect(200)?;
        for (set, evaluator) in &deployment.sets {
            let heartbeats = ["service-down", "restore-proof-old"].map(|alarm| evaluator.state(alarm));
            ensure!(heartbeats == [Some(State::Ok); 2], "{name}, {set}: {heartbeats:?}");
        }
    }
    Ok(())
}

/// Nobody has confirmed a subscription: that is told, and nothing else.
#[tokio::test]
async fn on_the_first_day_nothing_rings_but_that_nobody_listens() -> Result<()> {
    let mut deployment = Deployment::begin(ORDERS[1].1).await?;
    let topic = "arn:aws:sns:us-east-1:000000000000:sallyport-local-critical";
    let form = format!("Version=2010-03-31&Action=Unsubscribe&SubscriptionArn={topic}:1");
    let left = reqwest::Client::new()
        .post(deployment.backend.dynamodb_url())
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await?;
    ensure!(left.status().is_success(), "{left:?}");
    deployment.minutes(15).await?;
    for (set, evaluator) in &deployment.sets {
        ensure!(evaluator.firing() == ["alarm-topic-unheard"], "{set}: {:?}", evaluator.firing());
    }
    ensure!(deployment.rang().len() == 2, "{:#?}", deployment.rang());
    Ok(())
}

/// The readiness of a deployment that begins is none, and no failure either.
#[tokio::test]
async fn a_keyring_that_nobody_fills_is_told_as_empty_and_pages_nobody() -> Result<()> {
    let mut deployment = Deployment::begin(Order { fill: u64::MAX, ..ORDERS[0].1 }).await?;
    deployment.minutes(HOUR + 1).await?;
    ensure!(deployment.told().is_empty(), "{:#?}", deployment.told());
    let answer = deployment.backend.actor().get("/health/ready").await?.expect(503)?;
    ensure!(answer.json()["checks"]["keyring"]["status"] == "empty", "{}", answer.text());
    let tasks = [("key_age", "keyring", json!("empty")), ("restore_drill", "standing", json!("no_keyring"))];
    for (task, member, expected) in tasks {
        let answer = deployment.backend.invoke("maintenance", &json!({"task": task})).await?.expect(200)?;
        ensure!(answer.field("result")[member] == expected, "{task}: {}", answer.text());
    }
    let rotated = deployment.backend.console("POST", "rotate", None).await?.expect(200)?;
    ensure!(rotated.field("result")["phase"] == "empty", "{}", rotated.text());
    Ok(())
}

/// A proof is waited for from the first call on, not for ever: neither a drill that fails nor a keyring that stays empty is one.
#[tokio::test]
async fn a_proof_that_never_comes_is_told_after_a_week() -> Result<()> {
    for fill in [0, u64::MAX] {
        let mut deployment = Deployment::begin(Order { fill, ..ORDERS[0].1 }).await?;
        let fault = json!({"kind": "refuse", "function": "maintenance", "operation": "CreateTable"});
        deployment.backend.fault(fault).await?;
        deployment.minutes(HOUR).await?;
        deployment.backend.advance(190 * 3600).await?;
        let now = deployment.backend.now();
        for (_, evaluator) in &mut deployment.sets {
            evaluator.skip_to(now * 1000 - MINUTE_MS);
        }
        deployment.minutes(6 * HOUR).await?;
        for (set, evaluator) in &deployment.sets {
            let state = evaluator.state("restore-proof-old");
            ensure!(state == Some(State::Alarm), "filled in minute {fill}, {set}: {state:?}");
        }
    }
    Ok(())
}

/// What has answered and answers no more is down, in the set without expressions as well.
#[tokio::test]
async fn a_probe_that_falls_silent_after_the_first_day_is_told_in_both_sets() -> Result<()> {
    let mut deployment = Deployment::begin(ORDERS[1].1).await?;
    deployment.minutes(20).await?;
    ensure!(deployment.told().is_empty(), "{:#?}", deployment.told());
    deployment.probes = false;
    deployment.minutes(10).await?;
    let told = deployment.told();
    ensure!(
        told == ["page-availability (full): ALARM", "service-down (basic): INSUFFICIENT_DATA"],
        "{told:#?}"
    );
    deployment.probes = true;
    deployment.minutes(6).await?;
    for (set, evaluator) in &deployment.sets {
        let state = evaluator.state("service-down");
        ensure!(state == Some(State::Ok), "{set}: {state:?}");
        let last = evaluator.notifications().last().map(|note| note.state);
        ensure!(last == Some(State::Ok), "{set}: nobody was told that it is over");
    }
    Ok(())
}
