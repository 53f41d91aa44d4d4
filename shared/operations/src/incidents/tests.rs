#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod store;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::prelude::*;
use sallyport_core::{
    address::ClientAddress,
    audit::{EventKind, Origin},
    clock::Timestamp,
    secret::EnteredSecret,
    store::StoreResult,
};

use self::store::{Kept, Memory};
use super::*;
use crate::testing::{
    interleaving::{Actors, Counting, History, explore, finish},
    random::SeededRandom,
};

const START: Timestamp = Timestamp::from_seconds(1_800_000_000);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn responder() -> Origin {
    Origin::function("responder")
}

fn operator() -> Origin {
    Origin::operator("grace@desk")
}

fn alarm(name: &str, state: AlarmState, at: Timestamp) -> AlarmChange {
    AlarmChange {
        name: format!("sallyport-prod-{name}"),
        state,
        changed_at: at,
        began_at: at.minus(MINUTE),
        reason: "Threshold Crossed".to_owned(),
        level: None,
        children: Vec::new(),
    }
}

fn of_composite(name: &str, children: &[&str]) -> AlarmChange {
    let children = children.iter().map(|child| format!("sallyport-prod-{child}")).collect();
    AlarmChange { children, ..alarm(name, AlarmState::Alarm, START) }
}

/// A store, and somebody who acts on it one step after the other.
struct Scene {
    kept: Arc<Mutex<Kept>>,
    random: SeededRandom,
    now: Timestamp,
}

impl Scene {
    fn new() -> Self {
        Self { kept: Arc::default(), random: SeededRandom::new(1), now: START }
    }

    fn memory(&self) -> Memory {
        Memory(Arc::clone(&self.kept), 0)
    }

    fn after(&mut self, duration: Duration) -> &mut Self {
        self.now = self.now + duration;
        self
    }

    fn hear(&self, change: &AlarmChange) -> Taken {
        finish(take_alarm(&self.memory(), self.now, &self.random, change, &responder())).unwrap()
    }

    fn rings(&self, name: &str) -> Taken {
        self.hear(&alarm(name, AlarmState::Alarm, self.now))
    }

    fn clears(&self, name: &str) -> Taken {
        self.hear(&alarm(name, AlarmState::Ok, self.now))
    }

    fn tick(&self) -> Ticked {
        finish(tick(&self.memory(), self.now, &self.random, &responder())).unwrap()
    }

    fn ack(&self, id: IncidentId) -> Result<Incident, IncidentError> {
        finish(acknowledge(&self.memory(), self.now, &self.random, id, None, &operator()))
    }

    fn note(&self, id: IncidentId, text: &str) -> Result<Incident, IncidentError> {
        finish(note(&self.memory(), self.now, &self.random, id, text, &operator()))
    }

    fn resolve(&self, id: IncidentId, force: bool) -> Result<Incident, IncidentError> {
        finish(resolve(&self.memory(), self.now, &self.random, id, "it was the database", force, &operator()))
    }

    fn incident(&self, id: IncidentId) -> Incident {
        finish(self.memory().incident(id)).unwrap().unwrap()
    }

    fn kinds(&self, id: IncidentId) -> Vec<&'static str> {
        finish(self.memory().timeline(id)).unwrap().iter().map(|entry| entry.kind.as_str()).collect()
    }

    fn events(&self) -> Vec<EventKind> {
        self.kept.lock().unwrap().events.iter().map(|event| event.kind).collect()
    }

    fn notices(&self) -> Vec<&'static str> {
        finish(self.memory().pending_notices()).unwrap().iter().map(|notice| notice.kind.as_str()).collect()
    }
}

fn opened(taken: Taken) -> Incident {
    match taken {
        Taken::Opened(incident) => incident,
        other => panic!("{other:?}"),
    }
}

#[test]
fn severities_are_the_documents() {
    for (name, children, expected) in [
        ("service-down", &[][..], Severity::Sev1),
        ("mfa-bypass-attempts", &[], Severity::Sev1),
        ("failure-spike", &[], Severity::Sev1),
        ("page-availability", &[], Severity::Sev1),
        ("page-availability", &["high-error-rate", "service-down"], Severity::Sev1),
        ("page-availability", &["high-error-rate", "function-errors"], Severity::Sev2),
        ("high-error-rate", &[], Severity::Sev2),
        ("degraded-performance", &["slow-responses"], Severity::Sev3),
        ("slow-responses", &[], Severity::Sev3),
        ("key-age", &[], Severity::Sev4),
        ("suspicious-activity", &[], Severity::Sev4),
    ] {
        let classified = classify(&of_composite(name, children));
        assert_eq!((classified.alarm.as_str(), classified.severity), (name, expected));
    }
}

/// The template's alarms, by name, with the severity that their descriptions state.
fn shipped() -> Vec<(String, String)> {
    let template = include_str!("../../../../infra/alarms.yaml");
    let alarms = template.split("AlarmName: !Sub \"${Deployment}-").skip(1);
    alarms
        .map(|alarm| {
            let severity = alarm.split("Severity: ").nth(1).unwrap().lines().next().unwrap();
            (alarm.split('"').next().unwrap().to_owned(), severity.to_owned())
        })
        .collect()
}

#[test]
fn every_alarm_of_the_template_is_known_and_as_grave_as_it_says() {
    let shipped = shipped();
    assert_eq!(shipped.len(), 29, "{shipped:?}");
    for (name, severity) in shipped {
        // As if nothing but its name were known.
        let change = AlarmChange { level: Some(AlarmLevel::Info), ..of_composite(&name, &[]) };
        let classified = classify(&change);
        let expected: &[Severity] = match severity.as_str() {
            "critical" => &[Severity::Sev1, Severity::Sev2],
            "warning" => &[Severity::Sev3],
            _ => &[Severity::Sev4],
        };
        assert_eq!(
            classified.alarm, name,
            "not among the known alarms of shared/operations/src/incidents/alarm.rs"
        );
        assert!(expected.contains(&classified.severity), "{name}: {severity}, {}", classified.severity);
    }
}

#[test]
fn alarms_of_one_cause_share_an_incident_and_others_do_not() {
    let cause = |name: &str| classify(&of_composite(name, &[])).cause.as_str().to_owned();
    assert_eq!(cause("service-down"), cause("page-availability"));
    assert_eq!(cause("failure-spike"), cause("page-attack"));
    assert_eq!(cause("slow-responses"), cause("degraded-performance"));
    assert_eq!(cause("key-age"), "key-age");
    let all: BTreeSet<_> = ["service-down", "failure-spike", "slow-responses", "key-age"].map(cause).into();
    assert_eq!(all.len(), 4);
}

#[test]
fn an_alarm_that_is_not_ours_is_as_grave_as_its_topic() {
    for (level, expected) in [
        (Some(AlarmLevel::Critical), Severity::Sev2),
        (Some(AlarmLevel::Warning), Severity::Sev3),
        (Some(AlarmLevel::Info), Severity::Sev4),
        (None, Severity::Sev2),
    ] {
        let change =
            AlarmChange { name: "our-own-queue".to_owned(), level, ..alarm("x", AlarmState::Alarm, START) };
        let classified = classify(&change);
        assert_eq!((classified.cause.as_str(), classified.severity), ("our-own-queue", expected));
    }
}

#[test]
fn an_alarm_opens_an_incident_and_the_same_again_changes_nothing() {
    let scene = Scene::new();
    let change = alarm("service-down", AlarmState::Alarm, START);
    let incident = opened(scene.hear(&change));
    assert_eq!((incident.severity, incident.state()), (Severity::Sev1, State::Open));
    assert_eq!(incident.began_at, START.minus(MINUTE));
    for _ in 0..3 {
        assert_eq!(scene.hear(&change), Taken::Unchanged(Some(incident.clone())));
    }
    // Overtaken on its way.
    scene.hear(&alarm("service-down", AlarmState::Ok, START.minus(SECOND)));
    assert_eq!(scene.incident(incident.id), incident);
    assert_eq!(scene.kinds(incident.id), ["opened"]);
    assert_eq!(scene.notices(), ["opened"]);
    assert_eq!(scene.events(), [EventKind::IncidentOpened]);
}

#[test]
fn another_alarm_of_the_cause_joins_without_another_page() {
    let mut scene = Scene::new();
    let incident = opened(scene.rings("service-down"));
    scene.after(MINUTE);
    assert!(matches!(scene.rings("high-error-rate"), Taken::Updated(_)));
    assert_eq!(scene.kinds(incident.id), ["opened", "alarm_joined"]);
    assert_eq!(scene.notices(), ["opened"]);
    assert_ne!(opened(scene.rings("failure-spike")).id, incident.id);
}

#[test]
fn a_graver_alarm_raises_the_severity_and_asks_for_an_acknowledgement_again() {
    let mut scene = Scene::new();
    let incident = opened(scene.rings("lockouts-rising"));
    scene.ack(incident.id).unwrap();
    scene.after(MINUTE).rings("failure-spike");
    let raised = scene.incident(incident.id);
    assert_eq!((raised.severity, raised.state()), (Severity::Sev1, State::Open));
    assert_eq!(raised.waiting_since, scene.now);
    assert_eq!(scene.kinds(incident.id), ["opened", "acknowledged", "alarm_joined", "severity_raised"]);
    assert_eq!(scene.notices(), ["opened", "acknowledged", "severity_raised"]);
}

#[test]
fn clearing_alarms_ends_nothing_and_is_told_once_all_are_clear() {
    let mut scene = Scene::new();
    let incident = opened(scene.rings("service-down"));
    scene.rings("high-error-rate");
    scene.after(MINUTE);
    scene.clears("service-down");
    assert_eq!(scene.notices(), ["opened"]);
    scene.clears("high-error-rate");
    assert_eq!(scene.notices(), ["opened", "all_clear"]);
    assert!(scene.incident(incident.id).is_open());
    assert_eq!(scene.clears("never-rang"), Taken::Unchanged(None));
}

#[test]
fn a_person_resolves_and_not_over_an_alarm_that_rings() {
    let mut scene = Scene::new();
    let incident = opened(scene.rings("service-down"));
    assert_eq!(scene.resolve(incident.id, false), Err(IncidentError::Ringing("service-down".to_owned())));
    assert!(scene.incident(incident.id).is_open());
    scene.after(MINUTE).clears("service-down");
    assert_eq!(scene.resolve(incident.id, false).unwrap().state(), State::Resolved);
    assert!(matches!(scene.resolve(incident.id, false), Err(IncidentError::Resolved { .. })));
    assert!(matches!(scene.ack(incident.id), Err(IncidentError::Resolved { .. })));

    let other = opened(scene.rings("key-age"));
    assert_eq!(scene.resolve(other.id, true).unwrap().state(), State::Resolved);
    assert_eq!(
        scene.events(),
        [
            EventKind::IncidentOpened,
            EventKind::IncidentResolved,
            EventKind::IncidentOpened,
            EventKind::IncidentResolved,
        ]
    );
}

#[test]
fn an_alarm_soon_after_the_end_goes_on_with_the_incident_and_later_opens_another() {
    let mut scene = Scene::new();
    let first = opened(scene.rings("service-down"));
    scene.after(MINUTE).clears("service-down");
    scene.resolve(first.id, false).unwrap();
    scene.after(REOPEN);
    let Taken::Reopened(again) = scene.rings("high-error-rate") else { panic!() };
    assert_eq!((again.id, again.state(), again.waiting_since), (first.id, State::Open, scene.now));
    scene.after(MINUTE).clears("high-error-rate");
    scene.resolve(first.id, false).unwrap();

    // What is delivered once more after all that is still no news.
    let late = alarm("service-down", AlarmState::Alarm, START);
    assert!(matches!(scene.hear(&late), Taken::Unchanged(_)));
    scene.after(REOPEN + SECOND);
    assert!(matches!(scene.hear(&late), Taken::Unchanged(_)));
    assert_ne!(opened(scene.rings("service-down")).id, first.id);
    assert_eq!(finish(scene.memory().open_incidents()).unwrap().len(), 1);
}

#[test]
fn the_same_word_twice_is_told_so_and_changes_nothing() {
    let mut scene = Scene::new();
    let id = opened(scene.rings("service-down")).id;
    scene.ack(id).unwrap();
    scene.note(id, "looking at the database").unwrap();
    let before = scene.incident(id);
    assert!(matches!(scene.ack(id), Err(IncidentError::Acknowledged { by, .. }) if by == "grace@desk"));
    assert_eq!(scene.note(id, "looking at the database"), Err(IncidentError::NoteExists));
    assert_eq!(scene.note(id, " "), Err(IncidentError::Text));
    assert_eq!(scene.incident(id), before);
    let up = || finish(escalate(&scene.memory(), scene.now, &scene.random, id, &operator()));
    assert_eq!(up().unwrap().escalation_level, 1);
    assert!(matches!(up(), Err(IncidentError::JustEscalated { level: 1, .. })));
    scene.after(MINUTE);
    let up = || finish(escalate(&scene.memory(), scene.now, &scene.random, id, &operator()));
    assert_eq!(up().unwrap().escalation_level, 2);
    let nobody = IncidentId::first_of(START);
    assert_eq!(scene.ack(nobody), Err(IncidentError::NotFound));
}

#[test]
fn a_page_that_nobody_answers_climbs_and_one_that_is_answered_does_not() {
    for (name, minutes) in [("service-down", 5), ("slow-responses", 30), ("key-age", 240)] {
        let mut scene = Scene::new();
        let id = opened(scene.rings(name)).id;
        for level in 1..=3 {
            scene.after(MINUTE * minutes).after(Duration::ZERO);
            scene.now = scene.now.minus(SECOND);
            assert_eq!(scene.tick().escalations, 0, "{name} {level}");
            scene.after(SECOND);
            assert_eq!(scene.tick().escalations, 1, "{name} {level}");
            assert_eq!(scene.tick().escalations, 0, "{name} {level}");
            assert_eq!(scene.incident(id).escalation_level, level);
        }
        scene.ack(id).unwrap();
        scene.after(MINUTE * minutes * 2);
        assert_eq!(scene.tick().escalations, 0);
    }
}

#[test]
fn a_quarter_of_an_hour_of_silence_is_reminded_of_and_a_word_ends_it() {
    let mut scene = Scene::new();
    let id = opened(scene.rings("service-down")).id;
    scene.ack(id).unwrap();
    scene.after(MINUTE * 15);
    assert_eq!(scene.tick().reminders, 1);
    scene.after(MINUTE * 10);
    scene.note(id, "restarting").unwrap();
    scene.after(MINUTE * 14);
    assert_eq!(scene.tick().reminders, 0);
    scene.after(MINUTE);
    assert_eq!(scene.tick().reminders, 1);
    // A scheduler that was away for an hour does not catch up four times.
    scene.after(MINUTE * 60);
    assert_eq!(scene.tick().reminders, 1);
    assert_eq!(scene.tick().reminders, 0);
    let warning = opened(scene.rings("slow-responses")).id;
    scene.ack(warning).unwrap();
    scene.after(MINUTE * 14);
    assert_eq!(scene.tick().reminders, 0, "nobody waits for news of a warning");
}

/// What may happen to an incident between two ticks.
#[derive(Debug, Clone, Copy)]
enum Act {
    Wait(u64),
    Acknowledge,
    Note,
    Raise,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (20_u64..2000).prop_map(Act::Wait),
        1 => Just(Act::Acknowledge),
        1 => Just(Act::Note),
        1 => Just(Act::Raise),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// However ticks come: nothing is due twice, nothing comes early, nothing is forgotten.
    #[test]
    fn reminders_and_escalations_keep_their_times(acts in proptest::collection::vec(act(), 1..60), grave: bool) {
        let mut scene = Scene::new();
        let id = opened(scene.rings(if grave { "failure-spike" } else { "lockouts-rising" })).id;
        let (mut word, mut climbed, mut notes) = (scene.now, scene.now, 0);
        for act in acts {
            match act {
                Act::Wait(seconds) => { scene.after(SECOND * u32::try_from(seconds).unwrap()); }
                Act::Acknowledge => if scene.ack(id).is_ok() { word = scene.now; },
                Act::Note => {
                    notes += 1;
                    scene.note(id, &format!("note {notes}")).unwrap();
                    word = scene.now;
                }
                Act::Raise => {
                    let before = scene.incident(id).severity;
                    scene.after(SECOND).rings("failure-spike");
                    if scene.incident(id).severity < before {
                        (word, climbed) = (scene.now, scene.now);
                    }
                }
            }
            let before = scene.incident(id);
            let ticked = scene.tick();
            let updates = before.severity.updates();
            let silent = updates.is_some_and(|every| scene.now >= word + every);
            prop_assert_eq!(ticked.reminders, usize::from(silent));
            if silent { word = scene.now; }
            let waits = before.state() == State::Open && scene.now >= climbed + before.severity.response();
            prop_assert_eq!(ticked.escalations, usize::from(waits));
            if waits { climbed = scene.now; }
            prop_assert!(due(&scene.incident(id), scene.now).is_empty());
            prop_assert_eq!(scene.tick(), Ticked { open: 1, ..Ticked::default() });
        }
        // Every line of the timeline at its place, every version once.
        let timeline = finish(scene.memory().timeline(id)).unwrap();
        let places: BTreeSet<_> = timeline.iter().map(|entry| (entry.version, entry.index)).collect();
        prop_assert_eq!(places.len(), timeline.len());
        prop_assert!(timeline.windows(2).all(|pair| pair[0].at <= pair[1].at));
    }

    #[test]
    fn an_id_reads_back_and_ids_sort_by_time(first in 0..4_000_000_000_u64, later in 1..4_000_000_000_u64, bytes: [u8; 10]) {
        let id = IncidentId::from_bytes(bytes);
        prop_assert_eq!(id.to_string().parse::<IncidentId>(), Ok(id));
        prop_assert_eq!(id.to_string().len(), 20);
        let early = IncidentId::generate(&Counting::of(255), Timestamp::from_seconds(first)).unwrap();
        let late = IncidentId::generate(&Counting::of(0), Timestamp::from_seconds(first + later)).unwrap();
        prop_assert!(early < late && early.to_string() < late.to_string());
        prop_assert!(IncidentId::first_of(Timestamp::from_seconds(first)) <= early);
    }
}

/// Several notifications at once, in every order of their storage calls.
struct AtOnce {
    kept: Arc<Mutex<Kept>>,
    actors: Actors,
    told: Arc<Mutex<Vec<Taken>>>,
}

impl AtOnce {
    fn of(changes: &[AlarmChange], lost: bool) -> Self {
        let (kept, told) = (Arc::<Mutex<Kept>>::default(), Arc::<Mutex<Vec<Taken>>>::default());
        kept.lock().unwrap().turns = true;
        kept.lock().unwrap().lose = lost;
        let mut actors = Actors::default();
        for (index, change) in changes.iter().cloned().enumerate() {
            let (memory, told) = (Memory(Arc::clone(&kept), index), Arc::clone(&told));
            actors.start(async move {
                let random = Counting::of(index + 1);
                let taken = take_alarm(&memory, START, &random, &change, &responder()).await.unwrap();
                told.lock().unwrap().push(taken);
            });
        }
        Self { kept, actors, told }
    }
}

impl History for AtOnce {
    fn actors(&mut self) -> &mut Actors {
        &mut self.actors
    }

    fn fingerprint(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let mut hasher = DefaultHasher::new();
        format!("{:?}{:?}", self.kept.lock().unwrap(), self.told.lock().unwrap()).hash(&mut hasher);
        self.actors.unfinished().hash(&mut hasher);
        hasher.finish()
    }

    fn check(&self) {
        assert!(self.kept.lock().unwrap().incidents.len() <= 1);
    }

    fn check_end(&self) {
        let (kept, told) = (self.kept.lock().unwrap(), self.told.lock().unwrap());
        assert_eq!((kept.incidents.len(), kept.causes.len()), (1, 1));
        let opened = told.iter().filter(|taken| matches!(taken, Taken::Opened(_))).count();
        // Whose reply was lost, and whose incident another has changed since, is told that it is there.
        assert!(opened == 1 || kept.lose && opened == 0, "{told:?}");
        let count = |kind| kept.notices.values().filter(|notice| notice.kind == kind).count();
        assert_eq!(count(NoticeKind::Opened), 1);
        assert_eq!(kept.events.iter().filter(|event| event.kind == EventKind::IncidentOpened).count(), 1);
    }
}

#[test]
fn notifications_at_once_open_one_incident_in_every_order() {
    let down = alarm("service-down", AlarmState::Alarm, START);
    let errors = alarm("high-error-rate", AlarmState::Alarm, START);
    for lost in [false, true] {
        let changes = [down.clone(), down.clone(), errors.clone()];
        let explored = explore(|| AtOnce::of(&changes, lost));
        assert!(explored.ends > 2, "{explored:?}");
    }
}

/// Channels that fail as they are told.
struct Switched {
    names: Result<Vec<&'static str>, ()>,
    broken: BTreeSet<&'static str>,
    sent: Mutex<Vec<String>>,
}

impl Switched {
    fn new(names: &[&'static str], broken: &[&'static str]) -> Self {
        let broken = broken.iter().copied().collect();
        Self { names: Ok(names.to_vec()), broken, sent: Mutex::default() }
    }
}

impl Channels for Switched {
    async fn names(&self) -> Result<Vec<String>, ()> {
        self.names.clone().map(|names| names.into_iter().map(str::to_owned).collect())
    }

    async fn send(&self, channel: &str, notice: &Notice, _incident: &Incident) -> bool {
        let works = !self.broken.contains(channel);
        if works {
            self.sent.lock().unwrap().push(format!("{channel} {}", notice.kind.as_str()));
        }
        works
    }
}

impl Scene {
    fn deliver(&self, channels: &Switched) -> Delivered {
        finish(deliver(&self.memory(), channels, self.now, &self.random, &responder())).unwrap()
    }
}

#[test]
fn a_channel_that_fails_is_tried_again_and_the_others_are_not() {
    let mut scene = Scene::new();
    scene.rings("service-down");
    let broken = Switched::new(&["topic", "webhook"], &["webhook"]);
    assert_eq!(scene.deliver(&broken), Delivered { failed: 1, ..Delivered::default() });
    assert_eq!(*broken.sent.lock().unwrap(), ["topic opened"]);
    let whole = Switched::new(&["topic", "webhook"], &[]);
    assert_eq!(scene.deliver(&whole), Delivered::default(), "not before the pause is over");
    scene.after(MINUTE);
    assert_eq!(scene.deliver(&whole), Delivered { sent: 1, ..Delivered::default() });
    assert_eq!(*whole.sent.lock().unwrap(), ["webhook opened"]);
    scene.after(MINUTE * 60);
    assert_eq!(scene.deliver(&whole), Delivered::default());
}

#[test]
fn nothing_is_lost_while_the_channels_are_not_known_and_a_day_of_failure_is_noted() {
    let mut scene = Scene::new();
    let id = opened(scene.rings("key-age")).id;
    let unknown = Switched { names: Err(()), ..Switched::new(&[], &[]) };
    for _ in 0..100 {
        assert_eq!(scene.deliver(&unknown).failed, 1);
        scene.after(MINUTE * 8);
    }
    scene.after(MINUTE * 60 * 24);
    assert_eq!(scene.deliver(&unknown).given_up, 1);
    assert_eq!(scene.kinds(id), ["opened", "not_delivered"]);
    assert!(scene.notices().is_empty());
}

struct Logs(Result<Vec<(String, u64)>, String>, Result<Vec<Changed>, String>);

impl Diagnose for Logs {
    async fn top(&self, _: Question, _: Timestamp, _: Timestamp) -> Result<Vec<(String, u64)>, String> {
        self.0.clone()
    }

    async fn entered(&self, _: Timestamp, _: Timestamp) -> Result<Vec<Entered>, String> {
        self.0.as_ref().map(|_| Vec::new()).map_err(Clone::clone)
    }

    async fn changes(&self) -> Result<Vec<Changed>, String> {
        self.1.clone()
    }
}

#[test]
fn the_first_look_tells_the_latest_deployments_and_how_long_before_they_were() {
    let scene = Scene::new();
    let incident = opened(scene.rings("service-down"));
    let changed = |function: &str, minutes: u64| Changed {
        function: function.to_owned(),
        at: incident.began_at.minus(Duration::from_secs(60 * minutes)),
    };
    let mut changes =
        vec![changed("refresh", 13), changed("login", 12), changed("keys", 300), changed("mfa", 20)];
    changes.push(Changed { function: "health".to_owned(), at: incident.began_at + Duration::from_secs(180) });
    let deployment = |changes| {
        let scene = Scene::new();
        let incident = opened(scene.rings("service-down"));
        let known = Known { release: "release 1".to_owned(), flags: Ok(Vec::new()) };
        let logs = Logs(Ok(Vec::new()), changes);
        let memory = scene.memory();
        finish(diagnose(&memory, &logs, &known, &incident, scene.now, &scene.random, &responder())).unwrap();
        let timeline = finish(memory.timeline(incident.id)).unwrap();
        timeline.last().unwrap().text.lines().last().unwrap().to_owned()
    };
    assert_eq!(
        deployment(Ok(changes)),
        "deployment: release 1, health changed 3 min after it began; login, refresh, mfa changed 12 min before; \
         keys changed 5 h before"
    );
    assert_eq!(
        deployment(Err("throttled".to_owned())),
        "deployment: release 1, since when is not known: throttled"
    );
    assert_eq!(
        deployment(Ok(vec![changed("login", 60 * 24 * 9)])),
        "deployment: release 1, login changed 9 days before"
    );
}

#[test]
fn an_incident_is_diagnosed_once_and_what_is_not_known_is_said() {
    let mut scene = Scene::new();
    let incident = opened(scene.rings("service-down"));
    let known = Known { release: "release 1".to_owned(), flags: Ok(vec!["emergency".to_owned()]) };
    let logs = Logs(Err("the query is slow".to_owned()), Ok(Vec::new()));
    let memory = scene.memory();
    let look = |incident: &Incident, now| {
        finish(diagnose(&memory, &logs, &known, incident, now, &scene.random, &responder())).unwrap()
    };
    let diagnosed = look(&incident, scene.now).unwrap();
    assert_eq!(look(&incident, scene.now), None);
    assert_eq!(look(&diagnosed, scene.now), None);
    let timeline = finish(memory.timeline(incident.id)).unwrap();
    let entry = timeline.last().unwrap();
    assert_eq!(entry.kind, EntryKind::Diagnosed);
    assert_eq!(
        entry.text,
        "sign-ins from addresses that failed often (6 min): not known: the query is slow\n\
         top error codes (6 min): not known: the query is slow\n\
         top addresses (6 min): not known: the query is slow\n\
         modes and blocks: emergency\ndeployment: release 1, no functions are known"
    );
    let notice = finish(memory.pending_notices()).unwrap().pop().unwrap();
    assert!(!notice.text.contains("top addresses"), "{}", notice.text);
    scene.after(MINUTE);
}

/// The first look at an attack says who got in: the timeline whose, the channels how many.
#[test]
fn the_first_look_tells_who_got_in_and_the_channels_how_many() {
    struct Entry;
    impl Diagnose for Entry {
        async fn top(&self, _: Question, _: Timestamp, _: Timestamp) -> Result<Vec<(String, u64)>, String> {
            Ok(Vec::new())
        }
        async fn entered(&self, _: Timestamp, to: Timestamp) -> Result<Vec<Entered>, String> {
            let address = ClientAddress::parse("203.0.113.5").unwrap();
            let sources = FailureSources::new([(address, 412)], []);
            let sign_in = SignIn {
                at: to,
                kind: EventKind::SignedIn,
                subject: "USER#usr_a".to_owned(),
                address,
                device: None,
                request_id: "r".to_owned(),
            };
            Ok(entered(&sources, [sign_in]))
        }
        async fn changes(&self) -> Result<Vec<Changed>, String> {
            Ok(Vec::new())
        }
    }
    let mut scene = Scene::new();
    let incident = opened(scene.rings("failure-spike"));
    let known = Known { release: "release 1".to_owned(), flags: Ok(Vec::new()) };
    let memory = scene.memory();
    finish(diagnose(&memory, &Entry, &known, &incident, scene.now, &scene.random, &responder())).unwrap();
    let timeline = finish(memory.timeline(incident.id)).unwrap();
    let text = &timeline.last().unwrap().text;
    assert!(
        text.starts_with(
            "sign-ins from addresses that failed often (6 min): 1, sallyport top entered --since 6m\n  \
             login.succeeded USER#usr_a from 203.0.113.5, 412 failures\n"
        ),
        "{text}"
    );
    let notice = finish(memory.pending_notices()).unwrap().pop().unwrap();
    assert!(
        notice.text.starts_with("sign-ins from addresses that failed often (6 min): 1,"),
        "{}",
        notice.text
    );
    assert!(!notice.text.contains("203.0.113") && !notice.text.contains("usr_a"), "{}", notice.text);
    scene.after(MINUTE);
}

/// Emergency mode, with what it was turned on by.
#[derive(Default)]
struct Modes(Mutex<Vec<sallyport_core::ids::OperationId>>);

impl Mitigate for Modes {
    async fn emergency(
        &self,
        _: Timestamp,
        operation: sallyport_core::ids::OperationId,
        _: Timestamp,
        _: &str,
    ) -> StoreResult<bool> {
        self.0.lock().unwrap().push(operation);
        Ok(true)
    }
}

#[test]
fn a_spike_is_answered_once_each_time_it_rings() {
    let mut scene = Scene::new();
    let modes = Modes::default();
    let answer = |scene: &Scene, incident: &Incident| {
        finish(mitigate(&scene.memory(), &modes, incident, scene.now, &scene.random, &responder())).unwrap()
    };
    let other = opened(scene.rings("service-down"));
    assert_eq!(answer(&scene, &other), None);
    let incident = opened(scene.hear(&of_composite("page-attack", &["failure-spike"])));
    let answered = answer(&scene, &incident).unwrap();
    assert_eq!(answer(&scene, &answered), None);
    // As if its note had never been written: the same operation, which takes effect once.
    answer(&scene, &incident);
    let operations = modes.0.lock().unwrap().clone();
    assert_eq!(operations.iter().collect::<BTreeSet<_>>().len(), 1);
    scene.after(MINUTE).rings("failure-spike");
    assert!(answer(&scene, &scene.incident(incident.id)).is_some());
    let mitigations = scene.kinds(incident.id).iter().filter(|kind| **kind == "mitigated").count();
    assert_eq!(mitigations, 2);
}

#[test]
fn figures_are_measured_from_the_opening() {
    let mut scene = Scene::new();
    let id = opened(scene.rings("service-down")).id;
    scene.after(MINUTE * 2).ack(id).unwrap();
    scene.after(MINUTE * 8).clears("service-down");
    scene.after(MINUTE * 3).resolve(id, false).unwrap();
    let timeline = finish(scene.memory().timeline(id)).unwrap();
    assert_eq!(
        figures(&scene.incident(id), &timeline, &[]),
        Figures {
            detected: MINUTE,
            acknowledged: Some(MINUTE * 2),
            mitigated: Some(MINUTE * 10),
            resolved: Some(MINUTE * 13),
            ..Figures::default()
        }
    );
    let measure = |kind, minutes| Measure {
        at: START + MINUTE * minutes,
        kind,
        by: "grace@desk".to_owned(),
        detail: "emergency".to_owned(),
    };
    let measures = [measure(EventKind::ModeCleared, 3), measure(EventKind::ModeSet, 4)];
    let with = figures(&scene.incident(id), &timeline, &measures);
    assert_eq!(with.mitigated, Some(MINUTE * 4));
}

#[test]
fn the_public_is_told_what_it_meets_and_no_more() {
    let of = |name: &str| {
        let scene = Scene::new();
        impact(&opened(scene.rings(name)))
    };
    assert_eq!(of("service-down"), Some(Impact::Outage));
    assert_eq!(of("high-error-rate"), Some(Impact::Disruption));
    assert_eq!(of("slow-responses"), Some(Impact::Degraded));
    assert_eq!(of("failure-spike"), Some(Impact::Degraded));
    for internal in ["key-age", "restore-proof-old", "rotation-failed", "lockouts-rising"] {
        assert_eq!(of(internal), None, "{internal}");
    }
}

#[test]
fn a_test_of_an_alarm_is_an_incident_that_concerns_no_user_and_calls_for_no_mitigation() {
    let mut scene = Scene::new();
    let test = AlarmChange {
        reason: format!("{TEST_REASON}: by grace@desk"),
        ..of_composite("page-attack", &["failure-spike"])
    };
    let incident = opened(scene.hear(&test));
    assert_eq!((incident.cause.as_str(), incident.severity), ("test", Severity::Sev4));
    assert_eq!((impact(&incident), wants_mitigation(&incident)), (None, None));
    assert_eq!(incident.ringing().count(), 0);
    // CloudWatch returns it in its own words, and a real one is another incident.
    assert_eq!(scene.after(MINUTE).clears("page-attack"), Taken::Unchanged(None));
    assert_eq!(opened(scene.rings("page-attack")).cause.as_str(), "attack");
    assert!(scene.resolve(incident.id, false).is_ok());
}

#[test]
fn a_person_opens_an_incident_once_and_an_alarm_of_its_cause_joins_it() {
    let mut scene = Scene::new();
    let new = |cause: &str, text: &str| NewIncident {
        cause: Cause::new(cause),
        severity: Severity::Sev2,
        text: text.to_owned(),
    };
    let report = |scene: &Scene, new: &NewIncident| {
        finish(super::report(&scene.memory(), scene.now, &scene.random, new, &operator()))
    };
    let incident = report(&scene, &new("availability", "a customer cannot sign in")).unwrap();
    assert_eq!((incident.alarms.len(), impact(&incident)), (0, Some(Impact::Disruption)));
    assert_eq!(progress(&incident), Progress::Detected, "that no alarm rings says nothing");
    let again = report(&scene, &new("availability", "another, too"));
    assert_eq!(again, Err(IncidentError::Open { id: incident.id }));
    assert_eq!(scene.events(), [EventKind::IncidentOpened]);
    assert_eq!(scene.notices(), ["opened"]);

    let joined = scene.after(MINUTE).rings("service-down").incident().cloned().unwrap();
    assert_eq!((joined.id, joined.severity), (incident.id, Severity::Sev1));
    let leak = report(&scene, &new("security", "a key was found in a repository")).unwrap();
    assert_eq!(impact(&leak), None);
    for (cause, text) in [("", "x"), ("Two Words", "x"), ("a/b", "x"), ("security-2", " ")] {
        assert!(report(&scene, &new(cause, text)).is_err(), "{cause}");
    }
}

#[test]
fn a_report_whose_reply_is_lost_opens_one_incident() {
    let scene = Scene::new();
    scene.kept.lock().unwrap().lose = true;
    let new =
        NewIncident { cause: Cause::new("security"), severity: Severity::Sev1, text: "a report".to_owned() };
    let incident =
        finish(super::report(&scene.memory(), scene.now, &scene.random, &new, &operator())).unwrap();
    assert_eq!(scene.kinds(incident.id), ["opened"]);
    assert_eq!(scene.events(), [EventKind::IncidentOpened]);
}

#[test]
fn a_signature_differs_by_time_body_and_secret() {
    let of = |secret: &str, at: u64, body: &[u8]| {
        sign(&EnteredSecret::parse(secret).unwrap(), Timestamp::from_seconds(at), body)
    };
    let (a, b) = ("webhook-signing-secret", "another-signing-secret");
    let all: BTreeSet<_> =
        [of(a, 1, b"x"), of(b, 1, b"x"), of(a, 2, b"x"), of(a, 1, b"y")].into_iter().collect();
    assert_eq!(all.len(), 4);
}
