#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod store;

use std::{
    sync::{Arc, LazyLock, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, TestRunner},
};

use self::store::{Port, Reply, Store};
use super::*;
use crate::{
    accounts::Epoch,
    address::ClientAddress,
    audit::{Actor, EventKind, Origin, Severity},
    clock::{Clock as _, Timestamp},
    env::Env,
    ids::{AccountKey, DeviceId, SessionId, UserId},
    keyring::Keyring,
    testing::{
        interleaving::{Actors, Counting, Explored, History, ManualClock, explore, finish},
        keyring::keyring,
    },
    throttle::{Device, DeviceUse, MOST_DEVICES},
    tokens::{
        Audience, Delivery, DeviceBound, DeviceToken, RefreshToken, issue_device_token, issue_refresh_token,
        open_device_token, open_refresh_token, verify_access_token,
    },
};

static KEYRING: LazyLock<Keyring> = LazyLock::new(keyring);
static AUDIENCE: LazyLock<Audience> =
    LazyLock::new(|| Audience { issuer: "https://issuer.example".to_owned(), audience: "api".to_owned() });

const START: Timestamp = Timestamp::from_seconds(1_800_000_000);
const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const USER: UserId = UserId::from_bytes([1; 16]);
const DEVICE: DeviceId = DeviceId::from_bytes([2; 16]);

fn origin() -> Origin {
    Origin {
        actor: Actor::Caller,
        address: ClientAddress::parse("192.0.2.7").unwrap(),
        agent: "a browser".to_owned(),
        request_id: "r".to_owned(),
    }
}

fn policy(grace: u64) -> SessionPolicy {
    SessionPolicy { grace: Duration::from_secs(grace), ..SessionPolicy::default() }
}

/// The token of a counter, as the client kept it.
fn token(session: SessionId, counter: u32) -> String {
    issue_refresh_token(&KEYRING, &RefreshToken { user: USER, session, counter }).expose().clone()
}

/// As a release before issued it: of the first generation.
fn device_token(device: DeviceId, issued_at: Timestamp) -> String {
    let token = DeviceToken { device, account: AccountKey::from_bytes([3; 16]), issued_at, bound: None };
    issue_device_token(&KEYRING, &token).expose().clone()
}

fn device_token_of(generation: u32) -> String {
    let bound = Some(DeviceBound { user: USER, epoch: Epoch(0), generation });
    let token =
        DeviceToken { device: DEVICE, account: AccountKey::from_bytes([3; 16]), issued_at: START, bound };
    issue_device_token(&KEYRING, &token).expose().clone()
}

/// One user, one session, one after the other who uses it.
struct Scene {
    store: Arc<Mutex<Store>>,
    clock: Arc<ManualClock>,
    random: Counting,
    policy: SessionPolicy,
    session: SessionId,
}

/// How a refresh ended, as a caller sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// The tokens of this counter.
    Tokens(u32),
    Invalid,
    Reused,
    Unavailable,
}

fn answer(outcome: Result<Grant, RefreshError>, now: Timestamp) -> Answer {
    match outcome {
        Ok(granted) => {
            let opened = open_refresh_token(&KEYRING, granted.refresh_token.expose()).unwrap();
            assert_eq!(
                (opened.user, opened.session, opened.counter),
                (granted.user, granted.session.id, granted.session.counter)
            );
            let access =
                verify_access_token(&KEYRING, &AUDIENCE, granted.access_token.expose(), now).unwrap();
            assert_eq!(access.sid, granted.session.id.to_string());
            Answer::Tokens(opened.counter)
        }
        Err(RefreshError::Invalid) => Answer::Invalid,
        Err(RefreshError::Reused) => Answer::Reused,
        Err(RefreshError::Store(_)) => Answer::Unavailable,
        Err(error) => panic!("{error}"),
    }
}

impl Scene {
    fn new(grace: u64) -> Self {
        let scene = Self::empty(policy(grace));
        let session = scene.sign_in();
        Self { session, ..scene }
    }

    fn empty(policy: SessionPolicy) -> Self {
        Self {
            store: Arc::default(),
            clock: Arc::new(ManualClock::at(START)),
            random: Counting::of(1),
            policy,
            session: SessionId::from_bytes([0; 16]),
        }
    }

    fn env(&self) -> Env<'_> {
        Env { clock: &*self.clock, random: &self.random, keyring: &KEYRING }
    }

    fn port(&self) -> Port {
        Port::of(0, &self.store, Vec::new())
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn sign_in(&self) -> SessionId {
        let origin = origin();
        let new = NewSession {
            user: USER,
            device: DEVICE,
            methods: Methods::PASSWORD,
            delivery: Delivery::Body,
            origin: &origin,
        };
        let session = new.build(self.env(), &self.policy).unwrap();
        let epoch = self.store().held.epoch;
        assert!(
            finish(begin(&self.port(), self.env(), &self.policy, USER, epoch, &session, &origin)).unwrap()
        );
        session.id
    }

    fn refresh_with(&self, refresh_token: &str, device_token: Option<&str>, replies: Vec<Reply>) -> Answer {
        let port = Port::of(0, &self.store, replies);
        let origin = origin();
        let command = RefreshCommand { refresh_token, device_token, by_cookie: false, origin: &origin };
        answer(finish(refresh(&port, self.env(), &self.policy, &AUDIENCE, command)), self.now())
    }

    fn refresh(&self, counter: u32) -> Answer {
        self.refresh_with(&token(self.session, counter), None, Vec::new())
    }

    fn end(&self, session: SessionId, scope: EndScope) {
        self.end_by(session, Presented::AccessToken, scope);
    }

    fn end_by(&self, session: SessionId, presented: Presented, scope: EndScope) {
        let origin = origin();
        let command = EndCommand { user: USER, session, presented, scope, origin: &origin };
        finish(end_sessions(&self.port(), self.env(), &self.policy, command)).unwrap();
    }

    fn live(&self) -> usize {
        self.store().held.sessions.iter().filter(|session| session.is_live(self.now())).count()
    }

    fn session(&self) -> Option<Session> {
        self.store().held.find(self.session).cloned()
    }
}

#[test]
fn a_refresh_answers_the_next_token_and_puts_the_idle_end_off() {
    let scene = Scene::new(10);
    for counter in 0..5 {
        scene.clock.advance(DAY);
        assert_eq!(scene.refresh(counter), Answer::Tokens(counter + 1));
        let session = scene.session().unwrap();
        assert_eq!(session.idle_until, scene.now() + DAY * 14);
        assert_eq!(session.absolute_until, START + DAY * 90);
        assert_eq!(session.authenticated_at(), START, "a refresh proves nothing anew");
    }
}

#[test]
fn the_token_before_is_answered_with_the_current_one_until_the_grace_is_over() {
    for grace in [10, 60] {
        let scene = Scene::new(grace);
        assert_eq!(scene.refresh(0), Answer::Tokens(1));
        scene.clock.advance(SECOND * u32::try_from(grace).unwrap() - MILLI);
        assert_eq!(scene.refresh(0), Answer::Tokens(1), "the same again");
        assert_eq!(scene.session().unwrap().counter, 1, "and nothing rotated");
        scene.clock.advance(MILLI);
        assert_eq!(scene.refresh(0), Answer::Reused);
        assert_eq!(scene.refresh(1), Answer::Invalid, "the session has ended");
    }
}

#[test]
fn without_grace_the_token_before_is_a_reuse_at_once() {
    let scene = Scene::new(0);
    assert_eq!(scene.refresh(0), Answer::Tokens(1));
    assert_eq!(scene.refresh(0), Answer::Reused);
    assert_eq!(scene.session(), None);
}

/// A client, or whoever copied all that it holds.
#[derive(Clone)]
struct Holder {
    refresh: String,
    device: String,
}

impl Holder {
    fn refresh(&mut self, scene: &Scene) -> Result<u32, RefreshError> {
        let (port, origin) = (scene.port(), origin());
        let command = RefreshCommand {
            refresh_token: &self.refresh,
            device_token: Some(&self.device),
            by_cookie: false,
            origin: &origin,
        };
        let granted = finish(refresh(&port, scene.env(), &scene.policy, &AUDIENCE, command))?;
        self.refresh.clone_from(granted.refresh_token.expose());
        if let Some(token) = granted.device_token {
            self.device = token.expose().clone();
        }
        Ok(granted.session.counter)
    }
}

impl Scene {
    fn holder(&self) -> Holder {
        Holder { refresh: token(self.session, 0), device: device_token_of(0) }
    }
}

#[test]
fn the_device_of_the_session_is_answered_after_the_grace_once() {
    // By the token of a release before, too.
    for first in [device_token(DEVICE, START), device_token_of(0)] {
        let scene = Scene::new(10);
        let mut owner = Holder { device: first.clone(), ..scene.holder() };
        let before = owner.clone();
        assert_eq!(owner.clone().refresh(&scene).unwrap(), 1, "its reply is lost");
        scene.clock.advance(DAY * 3);
        assert_eq!(owner.refresh(&scene).unwrap(), 2, "the repeat is a rotation");
        assert_ne!(owner.device, first, "under the next generation");
        assert_eq!(owner.refresh(&scene).unwrap(), 3);
        scene.clock.advance(DAY);
        assert!(matches!(before.clone().refresh(&scene), Err(RefreshError::Reused)));
    }
}

#[test]
fn a_lost_reply_of_a_repeat_by_device_is_survived_within_the_grace() {
    let scene = Scene::new(10);
    let owner = scene.holder();
    assert_eq!(owner.clone().refresh(&scene).unwrap(), 1, "lost");
    scene.clock.advance(DAY);
    let mut told = owner.clone();
    assert_eq!(told.refresh(&scene).unwrap(), 2, "lost too");
    scene.clock.advance(SECOND * 10 - MILLI);
    let mut again = owner.clone();
    assert_eq!(again.refresh(&scene).unwrap(), 2);
    assert_eq!((&again.refresh, &again.device), (&told.refresh, &told.device), "the same answer");
    assert_eq!(scene.store().held.devices[&DEVICE.key()].generation.number, 1, "and nothing moved");
    scene.clock.advance(MILLI);
    assert!(matches!(owner.clone().refresh(&scene), Err(RefreshError::Reused)));
}

#[test]
fn a_rotation_of_a_repeat_whose_reply_the_database_lost_is_answered_with_the_next_generation() {
    let scene = Scene::new(0);
    let owner = scene.holder();
    assert_eq!(owner.clone().refresh(&scene).unwrap(), 1);
    scene.clock.advance(DAY);
    let port = Port::of(0, &scene.store, vec![Reply::Arrives, Reply::Repeated]);
    let origin = origin();
    let command = RefreshCommand {
        refresh_token: &owner.refresh,
        device_token: Some(&owner.device),
        by_cookie: false,
        origin: &origin,
    };
    let granted = finish(refresh(&port, scene.env(), &scene.policy, &AUDIENCE, command)).unwrap();
    assert_eq!(granted.session.counter, 2);
    let device = open_device_token(&KEYRING, granted.device_token.unwrap().expose(), scene.now()).unwrap();
    assert_eq!(device.generation(), 1);
}

#[test]
fn of_two_holders_of_one_cookie_jar_the_second_is_found_out_at_its_next_refresh_in_turns_of_any_length() {
    for grace in [0, 10] {
        // Who refreshes first, how often it does before the other, and how often the other does then.
        for (first, second) in [(1, 1), (1, 2), (1, 5), (2, 1), (3, 3)] {
            for warm in [0, 1, 4] {
                let scene = Scene::new(grace);
                let mut owner = scene.holder();
                let pause = || scene.clock.advance(SECOND * 290);
                for _ in 0..warm {
                    pause();
                    owner.refresh(&scene).unwrap();
                }
                let (mut one, mut other) = (owner.clone(), owner.clone());
                let mut found = false;
                for (holder, turns) in [(&mut one, first), (&mut other, second)] {
                    for _ in 0..turns {
                        pause();
                        match holder.refresh(&scene) {
                            Ok(_) => {}
                            Err(RefreshError::Reused) => found = true,
                            Err(RefreshError::Invalid) if found => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
                pause();
                // Whoever came first comes again: by now one of the two was told apart from the other.
                let last = one.refresh(&scene);
                assert!(
                    found || matches!(last, Err(RefreshError::Reused)),
                    "{first} {second} {warm} {grace}"
                );
                assert_eq!(scene.session(), None, "the session has ended");
                assert_eq!(scene.store().messages.len(), 1, "and its owner is told");
            }
        }
    }
}

#[test]
fn a_device_token_saves_nobody_two_rotations_behind_nor_another_device() {
    for (device, behind) in [(DEVICE, 2), (DeviceId::from_bytes([9; 16]), 1)] {
        let scene = Scene::new(0);
        for counter in 0..behind {
            scene.refresh(counter);
        }
        let device = device_token(device, START);
        assert_eq!(scene.refresh_with(&token(scene.session, 0), Some(&device), Vec::new()), Answer::Reused);
    }
    // A token of the right device that has expired, or that is none.
    for held in [device_token(DEVICE, START.minus(DAY * 180)), "spd_".to_owned(), token(DEVICE_SESSION, 0)] {
        let scene = Scene::new(0);
        scene.refresh(0);
        assert_eq!(scene.refresh_with(&token(scene.session, 0), Some(&held), Vec::new()), Answer::Reused);
    }
}

const DEVICE_SESSION: SessionId = SessionId::from_bytes([2; 16]);

#[test]
fn a_rotation_whose_reply_was_lost_is_not_a_reuse_even_without_grace() {
    let scene = Scene::new(0);
    let answer = scene.refresh_with(&token(scene.session, 0), None, vec![Reply::Repeated]);
    assert_eq!(answer, Answer::Tokens(1));
    assert_eq!(scene.session().unwrap().counter, 1);
    assert_eq!(scene.refresh(1), Answer::Tokens(2));
}

#[test]
fn a_reuse_ends_the_session_and_tells_the_operator_and_the_owner() {
    let scene = Scene::new(10);
    let other = scene.sign_in();
    scene.refresh(0);
    scene.refresh(1);
    assert_eq!(scene.refresh(0), Answer::Reused);
    assert_eq!(scene.session(), None);
    assert!(scene.store().held.find(other).is_some(), "other sessions of the user live on");
    let store = scene.store();
    let [event] = store.events.as_slice() else { panic!("{:?}", store.events) };
    assert_eq!((event.kind, event.session), (EventKind::RefreshTokenReused, Some(scene.session)));
    assert_eq!(event.kind.severity(), Severity::Critical);
    assert_eq!(event.detail.as_deref(), Some("presented 0 of 2"));
    let [message] = store.messages.as_slice() else { panic!("{:?}", store.messages) };
    assert_eq!((message.user, message.id), (USER, event.id));
    assert_eq!((message.address.as_str(), message.agent.as_str()), ("192.0.2.7", "a browser"));
}

#[test]
fn a_reuse_that_storage_did_not_end_is_not_called_one() {
    // fosite, CVE-2020-15223: the answer spoke of a revocation that had failed.
    let scene = Scene::new(0);
    scene.refresh(0);
    let replies = vec![Reply::Arrives, Reply::Refused];
    assert_eq!(scene.refresh_with(&token(scene.session, 0), None, replies), Answer::Unavailable);
    assert_eq!(scene.refresh(0), Answer::Reused, "the next one tells");
}

#[test]
fn keycloak_50999_of_twenty_rotations_within_a_millisecond_each_older_token_is_known_as_older() {
    for grace in [0, 10, 60] {
        for replayed in 0..20 {
            let scene = Scene::new(grace);
            for counter in 0..20 {
                assert_eq!(scene.refresh(counter), Answer::Tokens(counter + 1));
            }
            assert_eq!(scene.now(), START);
            if replayed == 19 && grace > 0 {
                assert_eq!(scene.refresh(replayed), Answer::Tokens(20));
            } else {
                assert_eq!(scene.refresh(replayed), Answer::Reused, "token {replayed} of 20, grace {grace}");
                assert_eq!(scene.refresh(20), Answer::Invalid, "the family has ended");
            }
        }
    }
}

#[test]
fn a_session_ends_when_it_was_idle_for_14_days() {
    let scene = Scene::new(10);
    scene.clock.advance(DAY * 14 - MILLI);
    assert_eq!(scene.refresh(0), Answer::Tokens(1));
    scene.clock.advance(DAY * 14);
    assert_eq!(scene.refresh(1), Answer::Invalid);
    assert_eq!(scene.refresh(0), Answer::Invalid, "an old token of a dead session is no reuse");
    assert_eq!(scene.store().events, []);
}

#[test]
fn a_session_ends_90_days_after_its_sign_in_whatever_was_refreshed() {
    let scene = Scene::new(10);
    for counter in 0..9 {
        scene.clock.advance(DAY * 10 - MILLI);
        assert_eq!(scene.refresh(counter), Answer::Tokens(counter + 1));
    }
    assert_eq!(scene.session().unwrap().refresh_until(), START + DAY * 90);
    scene.clock.advance(MILLI * 9);
    assert_eq!(scene.refresh(9), Answer::Invalid);
}

#[test]
fn a_token_of_a_counter_that_was_never_reached_is_no_token_and_ends_nothing() {
    // A table that was put back to an earlier state.
    let scene = Scene::new(10);
    assert_eq!(scene.refresh(7), Answer::Invalid);
    assert_eq!(scene.refresh(u32::MAX), Answer::Invalid);
    assert_eq!(scene.refresh(0), Answer::Tokens(1));
}

#[test]
fn what_is_no_refresh_token_never_reaches_storage() {
    let scene = Scene::new(10);
    let calls = scene.store().calls;
    for text in
        ["", "spr_", "spr_AAAA", &device_token(DEVICE, START), &format!("{}A", token(scene.session, 0))]
    {
        assert_eq!(scene.refresh_with(text, None, Vec::new()), Answer::Invalid);
    }
    assert_eq!(scene.store().calls, calls);
}

#[test]
fn a_refresh_is_one_request_to_storage() {
    let scene = Scene::new(10);
    let calls = scene.store().calls;
    scene.refresh(0);
    assert_eq!(scene.store().calls, calls + 1);
}

#[test]
fn a_user_without_sessions_has_no_token_that_works() {
    let scene = Scene::empty(policy(10));
    assert_eq!(scene.refresh(0), Answer::Invalid);
    scene.end(scene.session, EndScope::Global);
    assert_eq!(scene.store().events, [], "nothing ended, nothing told");
}

#[test]
fn a_logout_ends_the_sessions_of_its_scope() {
    for (scope, left) in [(EndScope::Local, 2), (EndScope::Others, 1), (EndScope::Global, 0)] {
        let scene = Scene::new(10);
        scene.sign_in();
        scene.sign_in();
        scene.end(scene.session, scope);
        assert_eq!(scene.live(), left, "{scope:?}");
        let alive = scene.refresh(0) == Answer::Tokens(1);
        assert_eq!(alive, scope == EndScope::Others, "{scope:?}");
        let store = scene.store();
        let [event] = store.events.as_slice() else { panic!("{:?}", store.events) };
        assert_eq!(event.kind, EventKind::SessionEnded);
        assert_eq!(event.detail.as_deref(), Some(format!("{scope:?}").to_lowercase().as_str()));
    }
}

#[test]
fn the_eleventh_session_displaces_the_one_idle_longest() {
    let scene = Scene::new(10);
    let mut sessions = vec![scene.session];
    for _ in 1..10 {
        scene.clock.advance(SECOND);
        sessions.push(scene.sign_in());
    }
    scene.clock.advance(SECOND);
    assert_eq!(scene.refresh(0), Answer::Tokens(1), "the oldest is used again");
    scene.clock.advance(SECOND);
    let eleventh = scene.sign_in();
    assert_eq!(scene.live(), 10);
    assert!(scene.store().held.find(sessions[0]).is_some());
    assert!(scene.store().held.find(sessions[1]).is_none(), "the second was idle longest");
    assert!(scene.store().held.find(eleventh).is_some());
    let store = scene.store();
    let [event] = store.events.as_slice() else { panic!("{:?}", store.events) };
    assert_eq!(event.kind, EventKind::SessionDisplaced);
    assert_eq!(event.detail, Some(sessions[1].to_string()));
}

#[test]
fn sessions_that_time_has_ended_displace_nobody() {
    let scene = Scene::new(10);
    for _ in 1..9 {
        scene.sign_in();
    }
    scene.clock.advance(DAY * 14);
    for _ in 0..10 {
        scene.sign_in();
    }
    assert_eq!(scene.live(), 10);
    assert!(scene.store().events.iter().all(|event| event.kind != EventKind::SessionDisplaced));
}

#[test]
fn sessions_that_time_has_ended_do_not_pile_up() {
    // Somebody who signs in once a fortnight for two years and never logs out.
    let scene = Scene::new(10);
    for _ in 0..52 {
        scene.clock.advance(DAY * 14);
        scene.sign_in();
        assert_eq!(scene.live(), 1);
        let held = scene.store().held.sessions.len();
        assert!(held <= scene.policy.limit, "{held} sessions are kept");
    }
}

#[test]
fn a_sign_in_under_an_epoch_that_has_passed_begins_no_session() {
    let scene = Scene::empty(policy(10));
    scene.store().held.epoch = Epoch(4);
    let origin = origin();
    let new = NewSession {
        user: USER,
        device: DEVICE,
        methods: Methods::PASSWORD,
        delivery: Delivery::Body,
        origin: &origin,
    };
    let session = new.build(scene.env(), &scene.policy).unwrap();
    for (epoch, begins) in [(Epoch(3), false), (Epoch(5), false), (Epoch(4), true)] {
        let begun = finish(begin(&scene.port(), scene.env(), &scene.policy, USER, epoch, &session, &origin));
        assert_eq!(begun, Ok(begins));
        assert_eq!(scene.live() == 1, begins);
    }
}

proptest! {
    #[test]
    fn what_gives_way_is_over_or_idle_longest_and_no_more_than_needed(
        idle in proptest::collection::vec((0_u64..40, 0_u64..40), 0..25),
        limit in 1_usize..12,
        keep in 0_usize..25,
    ) {
        let now = START + DAY * 20;
        let sessions: Vec<_> = idle
            .iter()
            .enumerate()
            .map(|(index, (rotated, until))| Session {
                rotated_at: START + DAY * u32::try_from(*rotated).unwrap(),
                idle_until: START + DAY * u32::try_from(*until).unwrap(),
                ..plain(u8::try_from(index).unwrap())
            })
            .collect();
        let held = UserSessions { sessions, ..UserSessions::default() };
        let keep = plain(u8::try_from(keep).unwrap());
        let Surplus { over, displaced, .. } = held.surplus(&keep, limit, now);
        let keep = keep.id;
        let live: Vec<_> = held.sessions.iter().filter(|session| session.is_live(now) && session.id != keep).collect();
        prop_assert!(!over.contains(&keep) && !displaced.contains(&keep));
        prop_assert!(over.iter().all(|id| !held.find(*id).unwrap().is_live(now)));
        prop_assert_eq!(over.len(), held.sessions.iter().filter(|session| !session.is_live(now) && session.id != keep).count());
        prop_assert_eq!(displaced.len(), (live.len() + 1).saturating_sub(limit));
        let newest_displaced = displaced.iter().map(|id| held.find(*id).unwrap().rotated_at).max();
        let oldest_kept = live.iter().filter(|session| !displaced.contains(&session.id)).map(|session| session.rotated_at).min();
        prop_assert!(newest_displaced.zip(oldest_kept).is_none_or(|(gone, kept)| gone <= kept));
    }
}

proptest! {
    #[test]
    fn an_account_knows_its_sessions_devices_and_of_the_others_those_used_last(
        used in proptest::collection::btree_map(0_u8..40, 0_u64..1_000, 0..30),
        with_session in proptest::collection::btree_set(0_u8..40, 0..10),
        new in 0_u8..40,
    ) {
        let key = |id: u8| DeviceId::from_bytes([id; 16]).key();
        let device = |minute| Device { known: Some(DeviceUse::from_stored(minute)), ..Device::default() };
        let of_device = |id| Session { device: DeviceId::from_bytes([id; 16]), ..plain(id) };
        let held = UserSessions {
            sessions: with_session.iter().map(|id| of_device(*id)).collect(),
            devices: used.iter().map(|(id, minute)| (key(*id), device(*minute))).collect(),
            ..UserSessions::default()
        };
        let keep = Session { id: SessionId::from_bytes([99; 16]), ..of_device(new) };
        let gone: Vec<_> = held.surplus(&keep, 20, START).devices.into_iter().map(|(key, _)| key).collect();
        let stays = |id: &u8| !gone.contains(&key(*id));
        let in_use = |id: &u8| with_session.contains(id) || *id == new;
        prop_assert!(used.keys().filter(|id| in_use(id)).all(stays));
        let left = used.keys().filter(|id| stays(id)).count() + usize::from(!used.contains_key(&new));
        let needed = used.keys().filter(|id| in_use(id)).count() + usize::from(!used.contains_key(&new));
        prop_assert!(left <= MOST_DEVICES.max(needed));
        prop_assert!(gone.is_empty() || left == MOST_DEVICES.max(needed), "no more than needed");
        let newest_gone = used.iter().filter(|(id, _)| !stays(id)).map(|(_, minute)| minute).max();
        let oldest_left = used.iter().filter(|(id, _)| stays(id) && !in_use(id)).map(|(_, minute)| minute).min();
        prop_assert!(newest_gone.zip(oldest_left).is_none_or(|(gone, left)| gone <= left));
    }
}

fn plain(id: u8) -> Session {
    Session {
        id: SessionId::from_bytes([id; 16]),
        counter: 0,
        created_at: START,
        rotated_at: START,
        rotated_by: crate::ids::OperationId::from_bytes([id; 16]),
        idle_until: START + DAY * 14,
        absolute_until: START + DAY * 90,
        proofs: Proofs::at(Methods::PASSWORD, START),
        delivery: Delivery::Body,
        device: DEVICE,
        address: ClientAddress::unknown(),
        agent: String::new(),
    }
}

/// Every combination of what was proven when with what the account has: a proof of one method is none of another.
#[test]
fn a_recent_proof_is_one_of_what_the_account_demands() {
    let now = START + DAY;
    let ages = [None, Some(Duration::ZERO), Some(SECOND * 600), Some(SECOND * 600 + MILLI), Some(DAY)];
    let recent = |at: Option<Timestamp>| at.is_some_and(|at| at >= now.minus(SECOND * 600));
    for (password, otp, recovery) in ages
        .iter()
        .flat_map(|one| ages.iter().map(move |two| (*one, *two)))
        .flat_map(|(one, two)| ages.iter().map(move |three| (one, two, *three)))
    {
        let at = |age: Option<Duration>| age.map(|age| now.minus(age));
        let proofs = Proofs { password: at(password), otp: at(otp), recovery_code: at(recovery) };
        let caller = Caller { user: USER, session: DEVICE_SESSION, proofs };
        let second = recent(proofs.otp) || recent(proofs.recovery_code);
        let with_factor = caller.require_recent(now, true).is_ok();
        let without = caller.require_recent(now, false).is_ok();
        assert_eq!(with_factor, second, "{proofs:?}");
        assert_eq!(without, second || recent(proofs.password), "{proofs:?}");
        // What a token says of it: both factors of AAL2 were proven at its time or later, and so was each method it names.
        if proofs.assurance_level() == 2 {
            let time = proofs.authenticated_at().unwrap();
            assert!(
                proofs.password.unwrap() >= time && proofs.second_factor().unwrap() >= time,
                "{proofs:?}"
            );
        }
        for (name, proven) in [("pwd", proofs.password), ("otp", proofs.otp)] {
            let named = proofs.references().any(|reference| reference == name);
            assert!(!named || proven >= proofs.authenticated_at(), "{proofs:?}");
        }
        assert_eq!(proofs.references().any(|reference| reference == "mfa"), proofs.assurance_level() == 2);
    }
}

#[test]
fn a_new_proof_of_one_method_renews_no_other() {
    let signed_in = Proofs::at(Methods::PASSWORD.with(Methods::OTP), START);
    let (later, latest) = (START + DAY, START + DAY * 2);
    let password = signed_in.renewed(Methods::PASSWORD, later);
    assert_eq!(password, Proofs { password: Some(later), ..signed_in });
    assert_eq!((password.assurance_level(), password.authenticated_at()), (2, Some(START)));
    let both = password.renewed(Methods::RECOVERY_CODE, latest);
    assert_eq!(both.authenticated_at(), Some(later), "the older one of the two factors");
    assert_eq!(both.references().collect::<Vec<_>>(), ["pwd", "mfa"], "its one-time code is older than that");
}

/// The rules again, in the words of the design, over a session that is three numbers.
struct Model {
    counter: u32,
    rotated_at: Timestamp,
    idle_until: Timestamp,
    generation: u32,
    repeated_to: u32,
    ended: bool,
    events: usize,
}

impl Model {
    /// `generation` is that of the session's own device token, if one was presented.
    fn refresh(
        &mut self,
        presented: u32,
        generation: Option<u32>,
        grace: Duration,
        now: Timestamp,
    ) -> Answer {
        let over = now >= self.idle_until || now >= START + DAY * 90;
        if self.ended || over || presented > self.counter {
            return Answer::Invalid;
        }
        if presented == self.counter {
            self.counter += 1;
            self.rotated_at = now;
            self.idle_until = now + DAY * 14;
            return Answer::Tokens(self.counter);
        }
        let in_grace = now < self.rotated_at + grace;
        if presented + 1 == self.counter && in_grace {
            return Answer::Tokens(self.counter);
        }
        if presented + 1 == self.counter && generation == Some(self.generation) {
            self.counter += 1;
            self.generation += 1;
            self.repeated_to = self.counter;
            self.rotated_at = now;
            self.idle_until = now + DAY * 14;
            return Answer::Tokens(self.counter);
        }
        let repeated = self.counter == self.repeated_to
            && presented + 2 == self.counter
            && generation.is_some_and(|generation| generation + 1 == self.generation);
        if repeated && in_grace {
            return Answer::Tokens(self.counter);
        }
        self.ended = true;
        self.events += 1;
        Answer::Reused
    }
}

#[test]
fn refreshes_in_any_order_are_answered_as_the_model_answers_them() {
    let began = Instant::now();
    let config = ProptestConfig {
        cases: 3_000,
        failure_persistence: None,
        rng_algorithm: RngAlgorithm::XorShift,
        ..ProptestConfig::default()
    };
    let histories = (0_usize..3, proptest::collection::vec(any::<u32>(), 1..40));
    TestRunner::new(config)
        .run(&histories, |(grace, choices)| {
            let grace = [0, 10, 60][grace];
            let scene = Scene::new(grace);
            let foreign = device_token(DeviceId::from_bytes([9; 16]), START);
            let mut model = Model {
                counter: 0,
                rotated_at: START,
                idle_until: START + DAY * 14,
                generation: 0,
                repeated_to: 0,
                ended: false,
                events: 0,
            };
            for choice in choices {
                let detail = choice / 16;
                match choice % 16 {
                    0..=9 => {
                        // Mostly the current token or the one before, sometimes any other.
                        let behind = [0, 0, 0, 0, 1, 1, 1, 2, 3, 7][detail as usize % 10];
                        let presented = model.counter.wrapping_sub(behind);
                        // The current generation, the one before, or one that is not there yet.
                        let older = [0, 0, 0, 1, u32::MAX][(detail / 7) as usize % 5];
                        let generation = model.generation.wrapping_sub(older);
                        let mine = device_token_of(generation);
                        let device = [None, None, Some(&mine), Some(&foreign)][(detail / 10) as usize % 4];
                        // Only a caller who may rotate can lose the reply of a rotation.
                        let replies =
                            if (detail / 40).is_multiple_of(5) { vec![Reply::Repeated] } else { Vec::new() };
                        let expected = {
                            let own = (device == Some(&mine)).then_some(generation);
                            model.refresh(presented, own, scene.policy.grace, scene.now())
                        };
                        let text = token(scene.session, presented);
                        let answered = scene.refresh_with(&text, device.map(String::as_str), replies);
                        prop_assert_eq!(answered, expected);
                    }
                    10 if detail.is_multiple_of(4) => {
                        // One that has ended, be it by time, leaves no event.
                        let live = scene.session().is_some_and(|session| session.is_live(scene.now()));
                        scene.end(scene.session, EndScope::Local);
                        model.events += usize::from(live);
                        model.ended |= live;
                    }
                    10..=13 => {
                        let seconds = [0, 1, 4, 5, 9, 10, 30, 59, 60, 61][detail as usize % 10];
                        scene.clock.advance(SECOND * seconds);
                    }
                    14 => scene.clock.advance(MILLI),
                    _ => scene.clock.advance(DAY * [1, 1, 1, 7, 13, 14, 60][detail as usize % 7]),
                }
                prop_assert_eq!(scene.session().is_none(), model.ended);
                prop_assert_eq!(scene.store().events.len(), model.events);
            }
            Ok(())
        })
        .unwrap();
    println!("3000 histories of refreshes in {:?}", began.elapsed());
}

/// What an actor of a race does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    /// With the current token.
    Refresh,
    RefreshRepeated,
    /// With the token before, after the grace: somebody else's.
    Replay,
    Logout,
    LogoutEverywhere,
    SignIn,
    Disable,
}

struct Race {
    actors: Actors,
    store: Arc<Mutex<Store>>,
    clock: Arc<ManualClock>,
    session: SessionId,
    granted: Arc<Mutex<Vec<(RefreshToken, bool)>>>,
    acts: Vec<Act>,
    grace: u64,
}

impl Race {
    fn start(acts: &[Act], grace: u64) -> Self {
        let scene = Scene::new(grace);
        // One rotation lies behind, longer ago than any grace.
        assert_eq!(scene.refresh(0), Answer::Tokens(1));
        scene.clock.advance(SECOND * 120);
        let granted = Arc::new(Mutex::new(Vec::new()));
        let mut actors = Actors::default();
        for (actor, act) in acts.iter().copied().enumerate() {
            let replies = if act == Act::RefreshRepeated { vec![Reply::Repeated] } else { Vec::new() };
            let port = Port::of(actor + 1, &scene.store, replies);
            actors.start(play(
                act,
                actor,
                port,
                scene.clock.clone(),
                scene.policy,
                scene.session,
                granted.clone(),
            ));
        }
        let Scene { store, clock, session, .. } = scene;
        Self { actors, store, clock, session, granted, acts: acts.to_vec(), grace }
    }
}

async fn play(
    act: Act,
    actor: usize,
    port: Port,
    clock: Arc<ManualClock>,
    policy: SessionPolicy,
    session: SessionId,
    granted: Arc<Mutex<Vec<(RefreshToken, bool)>>>,
) {
    let random = Counting::of(actor + 10);
    let env = Env { clock: &*clock, random: &random, keyring: &KEYRING };
    let origin = origin();
    match act {
        Act::Refresh | Act::RefreshRepeated | Act::Replay => {
            let text = token(session, u32::from(act != Act::Replay));
            let command = RefreshCommand {
                refresh_token: &text,
                device_token: None,
                by_cookie: false,
                origin: &origin,
            };
            let outcome = refresh(&port, env, &policy, &AUDIENCE, command).await;
            if let Ok(grant) = outcome {
                let given = open_refresh_token(&KEYRING, grant.refresh_token.expose()).unwrap();
                granted.lock().unwrap().push((given, false));
            }
        }
        Act::Logout | Act::LogoutEverywhere => {
            let scope = if act == Act::Logout { EndScope::Local } else { EndScope::Global };
            let presented = Presented::AccessToken;
            let command = EndCommand { user: USER, session, presented, scope, origin: &origin };
            end_sessions(&port, env, &policy, command).await.unwrap();
            // Acknowledged: from here on nothing of this session lives.
            port.store().ended.insert(session);
        }
        Act::SignIn => {
            let new = NewSession {
                user: USER,
                device: DEVICE,
                methods: Methods::PASSWORD,
                delivery: Delivery::Body,
                origin: &origin,
            };
            let built = new.build(env, &policy).unwrap();
            // The record as it is read before the password is checked.
            let Some(epoch) = port.record_epoch().await else {
                return;
            };
            if begin(&port, env, &policy, USER, epoch, &built, &origin).await.unwrap() {
                let store = port.store();
                let outlives = store.held.epoch != epoch && store.held.find(built.id).is_some();
                assert!(!outlives, "a sign-in that was under way outlives the end of all sessions");
                drop(store);
                let given = RefreshToken { user: USER, session: built.id, counter: 0 };
                granted.lock().unwrap().push((given, true));
            }
        }
        Act::Disable => {
            port.disable().await;
        }
    }
}

impl History for Race {
    fn actors(&mut self) -> &mut Actors {
        &mut self.actors
    }

    fn fingerprint(&self) -> u64 {
        self.store.lock().unwrap().fingerprint()
    }

    fn check(&self) {
        let store = self.store.lock().unwrap();
        for ended in &store.ended {
            assert!(
                store.held.find(*ended).is_none(),
                "{ended} lives after its end was acknowledged: {:?}",
                self.acts
            );
        }
        if store.disabled {
            assert!(
                store.held.sessions.is_empty(),
                "a session lives after the account was disabled: {:?}",
                self.acts
            );
        }
        assert!(store.held.sessions.len() <= 1 + self.acts.iter().filter(|act| **act == Act::SignIn).count());
    }

    fn check_end(&self) {
        let granted = self.granted.lock().unwrap().clone();
        let counters: std::collections::BTreeSet<_> = granted
            .iter()
            .filter(|(given, _)| given.session == self.session)
            .map(|(given, _)| given.counter)
            .collect();
        assert!(counters.len() <= 1, "two children of one token: {granted:?}");
        let ends = self.acts.iter().any(|act| matches!(act, Act::Logout | Act::LogoutEverywhere));
        let disabled = self.store.lock().unwrap().disabled;
        for (given, _) in granted {
            let scene = Scene {
                store: self.store.clone(),
                clock: self.clock.clone(),
                random: Counting::of(99),
                policy: policy(self.grace),
                session: given.session,
            };
            let answered = scene.refresh(given.counter);
            if disabled || ends && given.session == self.session {
                assert_eq!(answered, Answer::Invalid, "a token works after the end: {:?}", self.acts);
            }
        }
        let events = self.store.lock().unwrap().events.clone();
        if !self.acts.contains(&Act::Replay) && self.grace > 0 {
            assert!(
                events.iter().all(|event| event.kind != EventKind::RefreshTokenReused),
                "nobody stole: {:?}",
                self.acts
            );
        }
    }
}

#[test]
fn nothing_lives_after_its_end_was_acknowledged_in_any_order() {
    let began = Instant::now();
    let acts = [
        Act::Refresh,
        Act::RefreshRepeated,
        Act::Replay,
        Act::Logout,
        Act::LogoutEverywhere,
        Act::SignIn,
        Act::Disable,
    ];
    let (mut races, mut explored) = (0, Explored::default());
    for grace in [0, 10] {
        for first in acts {
            for second in acts.into_iter().filter(|second| *second >= first) {
                for third in acts.into_iter().filter(|third| *third >= second) {
                    races += 1;
                    explored += explore(|| Race::start(&[first, second, third], grace));
                }
            }
        }
    }
    println!("sessions: {races} races of three, {explored:?}, {:?}", began.elapsed());
}

#[test]
fn ten_sessions_are_the_limit_however_many_begin_at_once() {
    let mut explored = Explored::default();
    for earlier in [8, 9, 10] {
        explored += explore(|| {
            let scene = Scene::empty(policy(10));
            for _ in 0..earlier {
                scene.clock.advance(SECOND);
                scene.sign_in();
            }
            Crowd::start(scene)
        });
    }
    println!("sessions at the limit: {explored:?}");
}

struct Crowd {
    actors: Actors,
    store: Arc<Mutex<Store>>,
}

impl Crowd {
    fn start(scene: Scene) -> Self {
        let mut actors = Actors::default();
        for actor in 0..3 {
            let port = Port::of(actor + 1, &scene.store, Vec::new());
            let granted = Arc::default();
            actors.start(play(
                Act::SignIn,
                actor,
                port,
                scene.clock.clone(),
                scene.policy,
                scene.session,
                granted,
            ));
        }
        Self { actors, store: scene.store }
    }
}

impl History for Crowd {
    fn actors(&mut self) -> &mut Actors {
        &mut self.actors
    }

    fn fingerprint(&self) -> u64 {
        self.store.lock().unwrap().fingerprint()
    }

    fn check(&self) {}

    fn check_end(&self) {
        assert_eq!(self.store.lock().unwrap().held.sessions.len(), 10);
    }
}
