//! Many attempts at once, in random orders and in all orders.

use std::{
    sync::{Arc, LazyLock, Mutex},
    time::{Duration, Instant},
};

use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, TestRunner},
};

use super::super::{PoolPolicy, ReserveError, release, reserve, settle_failure, settle_success};
use super::store::{Port, Reply, Store, key};
use crate::{
    clock::{Clock as _, Timestamp},
    env::Env,
    keyring::Keyring,
    testing::{
        interleaving::{Actors, Counting, Explored, History, ManualClock, explore, finish, turn},
        keyring::keyring,
    },
};

static KEYRING: LazyLock<Keyring> = LazyLock::new(keyring);

const START: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// Conditional writes of one attempt: [`super::super::reserve`]'s ceiling, and its settlement.
const MOST_CALLS: u32 = 40 + 1;

/// What becomes of an attempt that is let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    Succeeds,
    Fails,
    /// Whoever made it is gone before it is settled.
    Crashes,
    /// Given back: a dependency failed, nothing was checked.
    Released,
}

async fn attempt(port: Port, policy: PoolPolicy, random: Counting, ending: Ending, pauses: bool) {
    let clock = port.clock.clone();
    let env = Env { clock: &*clock, random: &random, keyring: &KEYRING };
    let outcome = reserve(&port, env, key(), &policy).await;
    let operation = port.current().unwrap();
    let held =
        |port: &Port| port.store().pool.as_ref().is_some_and(|pool| pool.reserved.contains_key(&operation));
    match outcome {
        Ok(reservation) => {
            assert_eq!(reservation.operation, operation);
            if pauses {
                // The check itself, which may take its time.
                turn().await;
            }
            let settled = match ending {
                Ending::Succeeds => settle_success(&port, &reservation).await,
                Ending::Fails => settle_failure(&port, env, &reservation).await.map(drop),
                Ending::Crashes => return,
                Ending::Released => {
                    port.store().model.released.insert(operation);
                    release(&port, &reservation).await
                }
            };
            assert!(settled.is_err() || !held(&port), "settled and still reserved");
        }
        Err(ReserveError::Locked { retry_after } | ReserveError::Shut { retry_after }) => {
            assert!(!held(&port), "refused, and yet it holds a reservation");
            assert!(retry_after <= policy.longest_lock, "told to wait for {retry_after:?}");
        }
        Err(ReserveError::Store(_)) => {}
        Err(error @ ReserveError::Random(_)) => panic!("{error}"),
    }
    let calls = port.store().calls.get(&operation).copied().unwrap_or_default();
    // Each reply that was lost adds its repetition.
    assert!(calls <= MOST_CALLS + 4, "{calls} writes for one attempt");
}

/// Lets what is on its way arrive: a function may take its time, a request to storage has a timeout.
fn deliver(actors: &mut Actors, store: &Mutex<Store>) {
    loop {
        let under_way: Vec<_> = store.lock().unwrap().under_way.iter().copied().collect();
        if under_way.is_empty() {
            return;
        }
        for actor in under_way {
            actors.turn(actor);
        }
    }
}

/// What a number says to do next.
fn play(choices: &[u32]) {
    let mut choices = choices.iter().copied();
    let shape = choices.next().unwrap_or_default();
    let limit = [5, 5, 3, 2, 1][shape as usize % 5];
    let policy = PoolPolicy {
        limit,
        shut_after: limit + [95, 1, 3, 7][(shape / 5) as usize % 4],
        patience: Duration::from_millis([4000, 0, 40][(shape / 20) as usize % 3]),
        ..PoolPolicy::default()
    };
    let attackers_only = (shape / 60).is_multiple_of(3);
    let store = Arc::new(Mutex::new(Store::new(policy)));
    let clock = Arc::new(ManualClock::at(START));
    let mut actors = Actors::default();
    let mut started = 0;
    for choice in choices {
        let (kind, detail) = (choice % 16, (choice / 16) as usize);
        let unfinished = actors.unfinished();
        match kind {
            0..=2 if unfinished.len() < 8 => {
                let (ending, detail) = (detail % 8, detail / 8);
                let ending = match ending {
                    0..=5 if attackers_only => Ending::Fails,
                    0..=2 => Ending::Succeeds,
                    3..=5 => Ending::Fails,
                    7 if !attackers_only => Ending::Released,
                    _ => Ending::Crashes,
                };
                let reply = |digit: usize| match digit % 8 {
                    0 => Reply::Repeated,
                    1 if digit.is_multiple_of(16) => Reply::Lost,
                    _ => Reply::Arrives,
                };
                let replies = vec![reply(detail), reply(detail / 8), reply(detail / 64)];
                let port = Port::of(started, &store, &clock, replies);
                actors.start(attempt(port, policy, Counting::of(started), ending, true));
                started += 1;
            }
            12..=13 => clock.advance(Duration::from_millis([1, 5, 20, 100, 900][detail % 5])),
            14..=15 => {
                deliver(&mut actors, &store);
                let seconds =
                    [5, 9, 10, 29, 30, 31, 60, 120, 240, 480, 899, 900, 930, 1800, 86_400][detail % 15];
                clock.advance(Duration::from_secs(seconds));
            }
            _ if !unfinished.is_empty() => actors.turn(unfinished[detail % unfinished.len()]),
            _ => {}
        }
    }
    for _ in 0..1000 {
        let unfinished = actors.unfinished();
        if unfinished.is_empty() {
            break;
        }
        for actor in unfinished {
            actors.turn(actor);
        }
    }
    assert!(actors.unfinished().is_empty(), "an attempt never ended");
    let store = store.lock().unwrap();
    store.check(clock.now());
    if attackers_only {
        // Somebody who only guesses: in no 30 seconds more than the limit, whatever is interleaved with what.
        for window in store.admissions().windows(limit as usize + 1) {
            let [first, .., last] = window else { unreachable!() };
            assert!(last.since(*first) >= policy.first_lock, "{window:?}");
        }
    }
}

fn check_histories(cases: u32, length: std::ops::Range<usize>) {
    let began = Instant::now();
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        rng_algorithm: RngAlgorithm::XorShift,
        ..ProptestConfig::default()
    };
    let histories = proptest::collection::vec(any::<u32>(), length);
    TestRunner::new(config)
        .run(&histories, |choices| {
            play(&choices);
            Ok(())
        })
        .unwrap();
    println!("{cases} random histories in {:?}", began.elapsed());
}

#[test]
fn no_random_history_lets_more_through_than_the_limit() {
    check_histories(30_000, 10..48);
}

#[test]
fn no_short_random_history_lets_more_through_than_the_limit() {
    check_histories(75_000, 4..20);
}

/// Two attempts fit, the third failure in a row but two shuts, and a busy pool is waited for once.
const NARROW: PoolPolicy = PoolPolicy {
    limit: 2,
    window: Duration::from_secs(15 * 60),
    first_lock: Duration::from_secs(30),
    longest_lock: Duration::from_secs(15 * 60),
    shut_after: 5,
    reservation: Duration::from_secs(10),
    memory: Duration::from_secs(365 * 24 * 60 * 60),
    patience: Duration::from_millis(1),
};

/// What an attempt of the exhaustive search does, and which of its replies get lost.
type Behaviour = (Ending, [Reply; 2]);

const BEHAVIOURS: [Behaviour; 8] = [
    (Ending::Succeeds, [Reply::Arrives, Reply::Arrives]),
    (Ending::Succeeds, [Reply::Repeated, Reply::Arrives]),
    (Ending::Succeeds, [Reply::Arrives, Reply::Repeated]),
    (Ending::Fails, [Reply::Arrives, Reply::Arrives]),
    (Ending::Fails, [Reply::Arrives, Reply::Repeated]),
    (Ending::Fails, [Reply::Lost, Reply::Arrives]),
    (Ending::Crashes, [Reply::Arrives, Reply::Arrives]),
    (Ending::Released, [Reply::Arrives, Reply::Arrives]),
];

/// How many failures the pool has seen when the search begins; two lock it, and the search begins at the end of the lock.
const EARLIER_FAILURES: [usize; 3] = [0, 1, 2];

struct Race {
    actors: Actors,
    store: Arc<Mutex<Store>>,
    clock: Arc<ManualClock>,
}

impl Race {
    fn start(earlier_failures: usize, behaviours: &[Behaviour], jump: Option<Duration>) -> Self {
        let store = Arc::new(Mutex::new(Store::new(NARROW)));
        let clock = Arc::new(ManualClock::at(START));
        for earlier in 0..earlier_failures {
            let port = Port::of(100 + earlier, &store, &clock, Vec::new());
            finish(attempt(port, NARROW, Counting::of(100 + earlier), Ending::Fails, false));
        }
        if earlier_failures >= 2 {
            clock.advance(NARROW.first_lock);
        }
        let mut actors = Actors::default();
        for (actor, (ending, replies)) in behaviours.iter().copied().enumerate() {
            store.lock().unwrap().told.insert(actor, 0);
            let port = Port::of(actor, &store, &clock, replies.to_vec());
            actors.start(async move {
                if jump.is_some() {
                    // It may come before the jump or after.
                    turn().await;
                }
                attempt(port, NARROW, Counting::of(actor), ending, jump.is_some()).await;
            });
        }
        if let Some(jump) = jump {
            let (store, clock) = (store.clone(), clock.clone());
            actors.start(async move {
                loop {
                    turn().await;
                    if store.lock().unwrap().under_way.is_empty() {
                        return clock.advance(jump);
                    }
                }
            });
        }
        Self { actors, store, clock }
    }
}

impl History for Race {
    fn actors(&mut self) -> &mut Actors {
        &mut self.actors
    }

    fn fingerprint(&self) -> u64 {
        self.store.lock().unwrap().fingerprint(self.clock.now())
    }

    fn check(&self) {
        self.store.lock().unwrap().check(self.clock.now());
    }
}

fn explore_races(actors: usize, known: &[Behaviour], jump: Option<Duration>) -> (usize, Explored) {
    let (mut races, mut explored) = (0, Explored::default());
    let mut crews: Vec<Vec<usize>> = vec![Vec::new()];
    for _ in 0..actors {
        // Actors differ in nothing but their behaviour: each crew once.
        crews = crews
            .iter()
            .flat_map(|crew| {
                let least = crew.last().copied().unwrap_or(0);
                (least..known.len()).map(|next| crew.iter().copied().chain([next]).collect())
            })
            .collect();
    }
    for crew in crews {
        let behaviours: Vec<_> = crew.iter().map(|index| known[*index]).collect();
        for earlier in EARLIER_FAILURES {
            races += 1;
            explored += explore(|| Race::start(earlier, &behaviours, jump));
        }
    }
    (races, explored)
}

#[test]
fn no_order_of_two_attempts_breaks_a_pool() {
    let began = Instant::now();
    for jump in [None, Some(NARROW.reservation), Some(NARROW.first_lock * 2)] {
        let (races, explored) = explore_races(2, &BEHAVIOURS, jump);
        println!("two attempts, jump {jump:?}: {races} races, {explored:?}, {:?}", began.elapsed());
    }
}

#[test]
fn no_order_of_three_attempts_breaks_a_pool() {
    let began = Instant::now();
    let (races, explored) =
        explore_races(3, &[BEHAVIOURS[0], BEHAVIOURS[2], BEHAVIOURS[3], BEHAVIOURS[6]], None);
    println!("three attempts: {races} races, {explored:?}, {:?}", began.elapsed());
}
