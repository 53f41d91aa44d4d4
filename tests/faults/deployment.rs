//! Use cases on a deployment instead of an account: modes and blocks, incidents from their alarm to the people who are
//! told, the keyring, what is counted. Operators do them, and the functions that nobody calls over HTTP.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, bail, ensure};
use sallyport_aws::{KeyMaker, KeyringVault, system::OsRandom};
use sallyport_core::{
    audit::Origin,
    clock::Timestamp,
    flags::{self, BlockSubject, ReadFlags as _},
    ids::OperationId,
    keyring::{KeyState, KeyringSource as _, SigningAlgorithm, Stored},
};
use sallyport_operations::{
    incidents::{self, IncidentId, ListIncidents as _, Notices as _},
    rotate::{self, RotateError, Rotated, RotationEnv},
    rotation::{self, KeyKind, KeyName, Phase, RotationPolicy},
};
use sallyport_testkit::{Answer, Backend, Receiver};
use serde_json::{Value, json};

use crate::{
    scenario::{
        Outcome,
        Scenario::{self, *},
        Subject, World,
    },
    state::{Change, State},
};

/// What a use case on the deployment is about.
#[derive(Default)]
pub(crate) struct Scene {
    /// A key, or the idempotency token of a rotation.
    name: String,
    incident: Option<IncidentId>,
    /// What the function is handed.
    event: Value,
    /// Notices that the webhook was called with: which delivery of what.
    told: Vec<(String, String)>,
}

impl Scene {
    fn incident(&self) -> anyhow::Result<IncidentId> {
        self.incident.context("no incident")
    }
}

const POLICY: RotationPolicy = RotationPolicy { keyring_max_age: Duration::from_secs(300) };

const MODE: &str = "degraded.throttle";
const NETWORK: &str = "198.51.100.0/24";

/// When an alarm of one incident changes, one time after the other. What is due counts by the backend's clock.
const RINGS: &str = "2026-01-01T12:00:00.000+0000";
const CHANGES: &str = "2026-01-01T12:20:00.000+0000";
const RINGS_AGAIN: &str = "2026-01-01T12:40:00.000+0000";

/// Alarms of infra/alarms.yaml, as children of an alarm whose name nobody knows: it has their severity, and a cause of its
/// own, so that every run has its own incident.
const MILD: &str = "key-age";
const GRAVE: &str = "service-down";
const SPIKE: &str = "failure-spike";

fn notification(alarm: &str, child: &str, state: &str, at: &str) -> Value {
    json!({
        "AlarmName": alarm, "NewStateValue": state, "StateChangeTime": at, "NewStateReason": "Threshold Crossed",
        "TriggeringChildren": [{"Arn": format!("arn:aws:cloudwatch:eu-central-1:123456789012:alarm:{child}")}],
    })
}

/// As long as Secrets Manager wants its tokens.
fn unique() -> String {
    let half = || OperationId::generate(&OsRandom).unwrap();
    format!("{}{}", half(), half())
}

fn origin() -> Origin {
    Origin::operator("suite")
}

impl Scenario {
    /// Whether the responder is to have a webhook to call.
    pub(crate) const fn tells(self) -> bool {
        matches!(
            self,
            AlarmOpens
                | AlarmRaises
                | AlarmClears
                | AlarmReopens
                | AlarmMitigates
                | AlarmAgain
                | TickEscalates
                | TickTells
                | TickTellsOneChannel
                | TickGivesUp
                | TickIdle
        )
    }

    /// The variables that only it needs.
    pub(crate) const fn variables(self) -> &'static [(&'static str, &'static str)] {
        match self {
            AlarmMitigates => &[("SALLYPORT_AUTO_MITIGATION", "emergency")],
            TickTellsOneChannel => &[(
                "SALLYPORT_INCIDENT_TOPIC",
                "arn:aws:sns:us-east-1:000000000000:sallyport-local-incidents",
            )],
            _ => &[],
        }
    }
}

/// Fills the providers' secret as an operator would.
pub(crate) async fn set_webhook(backend: &Backend, receiver: &Receiver) -> anyhow::Result<()> {
    let webhook = json!({"url": format!("{}/hook", receiver.url), "format": "generic", "secret": "webhook-signing-secret"});
    let document = json!({"incident_webhook": webhook}).to_string();
    backend.write_secret_past_everything("SALLYPORT_PROVIDERS_SECRET", &document).await
}

impl World {
    fn clock(&self) -> Timestamp {
        Timestamp::from_seconds(self.backend.now())
    }

    async fn hear(&self, event: &Value) -> anyhow::Result<IncidentId> {
        let answer = self.backend.invoke("responder", event).await?.expect(200)?;
        let incident = &answer.json()["result"]["alarms"][0]["incident"];
        incident.as_str().unwrap_or_default().parse().context("no incident")
    }

    async fn tick(&self) -> anyhow::Result<()> {
        self.backend.invoke("responder", &json!({"task": "tick"})).await?.expect(200).map(drop)
    }

    /// What the run before has left: it is no part of this one.
    async fn tidy(&self) -> anyhow::Result<()> {
        let (now, flags) = (self.clock(), self.store.flags().await?);
        for (name, _) in flags.modes_at(now) {
            self.backend.clear_mode(&name.to_string()).await?;
        }
        for (subject, _) in flags.blocks_at(now) {
            let operation = OperationId::generate(&OsRandom)?;
            flags::remove_block(&self.store, now, operation, subject, &origin()).await?;
        }
        for incident in self.store.open_incidents().await? {
            incidents::resolve(&self.store, now, &OsRandom, incident.id, "Over.", true, &origin()).await?;
        }
        if let Some(receiver) = &self.receiver {
            receiver.answer("202 Accepted", "", "");
            for notice in self.store.pending_notices().await? {
                self.store.forget_notice(&notice).await?;
            }
        }
        Ok(())
    }

    /// Everything that comes before.
    pub(crate) async fn prepare_deployment(&self, scenario: Scenario) -> anyhow::Result<Scene> {
        self.tidy().await?;
        let backend = &self.backend;
        let mut scene = Scene::default();
        let alarm = format!("alarm-{}", unique());
        let change = |child: &str, state: &str, at: &str| notification(&alarm, child, state, at);
        match scenario {
            OperatorClearsMode => backend.set_mode(MODE, 3600).await?,
            OperatorUnblocks => backend.block_prefix(NETWORK, 3600).await?,
            // A step of a rotation may be taken a day after the one before, and the next begins after the last of one.
            RotationStep => backend.advance_days(1).await?,
            OperatorRotatesKeys => loop {
                backend.advance_days(1).await?;
                if self.rotate().await?.phase == Phase::Retire {
                    break;
                }
            },
            OperatorRevokesKey => {
                let document = rotate::current_document(&self.vault()).await?;
                let held = rotation::outlook(&document, &POLICY);
                let signs = |key: &KeyName| key.kind == KeyKind::Signing;
                let held = held.iter().find(|held| held.state == KeyState::Current && signs(&held.key));
                scene.name = held.context("no key signs")?.key.to_string();
            }
            OperatorAcknowledges | OperatorNotes | OperatorEscalates | TickTells | TickTellsOneChannel => {
                scene.incident = Some(self.hear(&change(MILD, "ALARM", RINGS)).await?);
            }
            OperatorResolves | TickGivesUp => {
                scene.incident = Some(self.hear(&change(MILD, "ALARM", RINGS)).await?);
                self.hear(&change(MILD, "OK", CHANGES)).await?;
            }
            AlarmOpens => scene.event = change(MILD, "ALARM", RINGS),
            AlarmMitigates => scene.event = change(SPIKE, "ALARM", RINGS),
            AlarmRaises => {
                self.hear(&change(MILD, "ALARM", RINGS)).await?;
                scene.event = change(GRAVE, "ALARM", CHANGES);
            }
            AlarmClears | AlarmReopens => {
                let incident = self.hear(&change(MILD, "ALARM", RINGS)).await?;
                scene.event = change(MILD, "OK", CHANGES);
                if scenario == AlarmReopens {
                    self.hear(&scene.event).await?;
                    backend.resolve_incident(&incident.to_string()).await?;
                    scene.event = change(MILD, "ALARM", RINGS_AGAIN);
                    self.tick().await?;
                }
            }
            AlarmAgain => {
                scene.event = change(MILD, "ALARM", RINGS);
                self.hear(&scene.event).await?;
            }
            TickEscalates => {
                self.hear(&change(GRAVE, "ALARM", RINGS)).await?;
                backend.advance(15 * 60).await?;
            }
            SessionsCounted => scene.event = batch(&unique(), backend.now() + 3600),
            SessionsReported => {
                backend.advance_days(4).await?;
                let days_ago = backend.now() - 3 * 24 * 60 * 60;
                backend.invoke("maintenance", &batch(&unique(), days_ago)).await?.expect(200)?;
                scene.event = json!({"task": "session_gauge"});
            }
            BackupsVerified => {
                scene.event = json!({"task": "backup_verify"});
                backend.invoke("maintenance", &scene.event).await?.expect(200)?;
                backend.advance(1).await?;
            }
            IncidentsForgotten => {
                scene.event = json!({"task": "retention"});
                // So that a proof is replaced each time.
                backend.invoke("maintenance", &scene.event).await?.expect(200)?;
                let incident = self.hear(&change(MILD, "ALARM", RINGS)).await?;
                self.hear(&change(MILD, "OK", CHANGES)).await?;
                backend.advance_days(1).await?;
                backend.resolve_incident(&incident.to_string()).await?;
                backend.advance_days(401).await?;
            }
            TickIdle => {
                self.hear(&change(MILD, "ALARM", RINGS)).await?;
            }
            _ => {}
        }
        if let Some(receiver) = &self.receiver {
            receiver.calls();
            let acted_on = match scenario {
                TickTells | TickTellsOneChannel | TickGivesUp => Some(scene.incident()?.to_string()),
                _ => None,
            };
            // What the operator's command has written, the tick tells.
            match (scenario, acted_on) {
                (TickGivesUp, Some(id)) => {
                    backend.resolve_incident(&id).await?;
                    backend.advance_days(1).await?;
                }
                (_, Some(id)) => backend.acknowledge_incident(&id).await?,
                (_, None) => {}
            }
            if matches!(scenario, TickTellsOneChannel | TickGivesUp) {
                receiver.answer("500 Internal Server Error", "", "");
            }
        }
        if scene.event.is_null() {
            scene.event = json!({"task": "tick"});
        }
        Ok(scene)
    }

    fn vault(&self) -> KeyringVault<'_> {
        KeyringVault { secret: &self.secret, store: &self.store }
    }

    fn rotation_env<'a>(&self, keys: &'a KeyMaker<'a>) -> RotationEnv<'a> {
        RotationEnv { now: self.clock(), policy: POLICY, algorithm: SigningAlgorithm::ES256, keys }
    }

    async fn rotate(&self) -> Result<Rotated, RotateError> {
        let (keys, token) = (KeyMaker(&OsRandom), unique());
        let env = self.rotation_env(&keys);
        rotate::rotate(&self.vault(), env, &KeyKind::SCHEDULED, &token, &origin()).await
    }

    /// The use case itself.
    pub(crate) async fn act_on_deployment(
        &self,
        scenario: Scenario,
        scene: &mut Scene,
    ) -> anyhow::Result<Outcome> {
        let function = match scenario.caller() {
            Some("operator") => {
                return Ok(Outcome::of_operator(self.change_deployment(scenario, scene).await));
            }
            Some(function) => function,
            None => bail!("nobody's"),
        };
        let answer = if scenario == RotationStep {
            let again = Some(&scene.name).filter(|token| !token.is_empty());
            let again = again.map(|token| json!({"token": token}));
            self.backend.console("POST", "rotate", again).await?
        } else {
            self.backend.invoke(function, &scene.event).await?
        };
        if let Some(token) = answer.json()["token"].as_str() {
            token.clone_into(&mut scene.name);
        }
        Ok(Outcome::of_invocation(&answer))
    }

    async fn change_deployment(&self, scenario: Scenario, scene: &Scene) -> anyhow::Result<()> {
        let (backend, store, now, origin) = (&self.backend, &self.store, self.clock(), origin());
        match scenario {
            OperatorSetsMode => backend.set_mode(MODE, 3600).await?,
            OperatorClearsMode => backend.clear_mode(MODE).await?,
            OperatorBlocks => backend.block_prefix(NETWORK, 3600).await?,
            OperatorUnblocks => {
                let subject = BlockSubject::Network(NETWORK.parse()?);
                let operation = OperationId::generate(&OsRandom)?;
                flags::remove_block(store, now, operation, subject, &origin).await?;
            }
            OperatorAcknowledges => backend.acknowledge_incident(&scene.incident()?.to_string()).await?,
            OperatorNotes => {
                incidents::note(store, now, &OsRandom, scene.incident()?, "Restarting.", &origin).await?;
            }
            OperatorEscalates => {
                incidents::escalate(store, now, &OsRandom, scene.incident()?, &origin).await?;
            }
            OperatorResolves => backend.resolve_incident(&scene.incident()?.to_string()).await?,
            OperatorRotatesKeys => drop(self.rotate().await?),
            OperatorRevokesKey => {
                let (keys, key) = (KeyMaker(&OsRandom), scene.name.parse()?);
                rotate::revoke(&self.vault(), self.rotation_env(&keys), &key, &unique(), &origin).await?;
            }
            _ => bail!("not an operator's"),
        }
        Ok(())
    }

    /// What follows once nothing fails any more: the operator asks again, Lambda delivers again, the schedule goes on.
    pub(crate) async fn go_on_deployment(
        &self,
        scenario: Scenario,
        scene: &mut Scene,
        outcome: &Outcome,
    ) -> anyhow::Result<()> {
        if !outcome.is(scenario.answers()) {
            let again = self.act_on_deployment(scenario, scene).await?;
            // Whoever was refused may find it done.
            let operators = scenario.caller() == Some("operator");
            ensure!(again.is(scenario.answers()) || operators && again.status == 409, "{again:?}");
        }
        let Some(receiver) = &self.receiver else { return Ok(()) };
        if scenario == TickTellsOneChannel {
            receiver.calls();
            receiver.answer("202 Accepted", "", "");
        }
        // Longer than a claim of a notice or of a diagnosis holds.
        self.backend.advance(180).await?;
        self.tick().await?;
        // Who answered that it failed was called more than once.
        let told = receiver.calls().into_iter().filter(|_| scenario != TickGivesUp);
        for call in told {
            let body = call.json();
            let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
            scene.told.push((text("delivery"), text("type")));
        }
        let distinct: BTreeSet<_> = scene.told.iter().collect();
        let twice = scene.told.len() - distinct.len();
        ensure!(twice == 0 || !outcome.is(scenario.answers()), "told twice: {:?}", scene.told);
        let waiting = self.backend.items("Ops").await?;
        let waiting: Vec<_> = waiting.iter().filter(|item| item["pk"] == "INCIDENT_NOTICE").collect();
        ensure!(waiting.is_empty(), "nobody was told: {waiting:?}");
        Ok(())
    }

    /// What has come of it in the end, those who were told included: the same, whatever failed on the way.
    pub(crate) async fn settled(&self, subject: &Subject, before: &State) -> anyhow::Result<Change> {
        let (mut change, _) = self.state(subject).await?.since(before);
        let told: BTreeSet<_> = subject.scene.told.iter().collect();
        for (_, what) in told {
            *change.entry(format!("told {what}")).or_default() += 1;
        }
        Ok(change)
    }

    /// What is stored, the keyring included.
    pub(crate) async fn state(&self, subject: &Subject) -> anyhow::Result<State> {
        let mut state = State::of(&self.backend, &subject.account).await?;
        if let Stored::Filled(text) = self.secret.read().await? {
            state.hold("keyring", text.expose());
        }
        Ok(state)
    }
}

/// A session that begins, as the stream of the table tells it.
fn batch(shard: &str, ends: u64) -> Value {
    let millis = json!({"N": (ends * 1000).to_string()});
    let image = json!({"user_id": {"S": "usr_1"}, "s_1": {"M": {"i": millis, "a": millis}}});
    let record =
        json!({"eventSourceARN": "arn:local", "dynamodb": {"SequenceNumber": "100", "NewImage": image}});
    json!({"Records": [record], "shardId": shard})
}

impl Outcome {
    /// Of a function that nobody calls over HTTP.
    fn of_invocation(answer: &Answer) -> Self {
        let code = answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned();
        let status = if code == "dependency_unavailable" { 503 } else { answer.status };
        Self { status, code, answer: None }
    }
}
