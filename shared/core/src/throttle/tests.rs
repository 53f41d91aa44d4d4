#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unreachable,
    reason = "tests"
)]

mod histories;
mod store;

use std::{
    sync::{Arc, LazyLock, Mutex, MutexGuard},
    time::Duration,
};

use self::store::{Port, Reply, Store, key};
use super::*;
use crate::{
    clock::{Clock as _, Timestamp},
    env::Env,
    ids::OperationId,
    keyring::Keyring,
    store::StoreResult,
    testing::{
        interleaving::{Actors, Counting, ManualClock, finish, turn},
        keyring::keyring,
    },
};

static KEYRING: LazyLock<Keyring> = LazyLock::new(keyring);

const START: Timestamp = Timestamp::from_seconds(1_800_000_000);
const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

/// One pool and one after the other who tries.
struct Scene {
    store: Arc<Mutex<Store>>,
    clock: Arc<ManualClock>,
    policy: PoolPolicy,
    random: Counting,
    lost: Vec<Reply>,
}

impl Scene {
    fn new() -> Self {
        Self::with(PoolPolicy::default())
    }

    fn with(policy: PoolPolicy) -> Self {
        Self {
            store: Arc::new(Mutex::new(Store::new(policy))),
            clock: Arc::new(ManualClock::at(START)),
            policy,
            random: Counting::of(1),
            lost: Vec::new(),
        }
    }

    fn port(&self) -> Port {
        Port::of(0, &self.store, &self.clock, self.lost.clone())
    }

    fn env(&self) -> Env<'_> {
        Env { clock: &*self.clock, random: &self.random, keyring: &KEYRING }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    fn pool(&self) -> Pool {
        self.store().pool.clone().unwrap_or_default()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn reserve(&self) -> Result<Reservation, ReserveError> {
        finish(reserve(&self.port(), self.env(), key(), &self.policy))
    }

    fn fail(&self, reservation: &Reservation) -> bool {
        finish(settle_failure(&self.port(), self.env(), reservation)).unwrap()
    }

    fn succeed(&self, reservation: &Reservation) {
        finish(settle_success(&self.port(), reservation)).unwrap();
    }

    /// A whole attempt with a wrong guess; `true` when it locked the pool.
    fn guess_wrong(&self) -> bool {
        let reservation = self.reserve().unwrap();
        self.fail(&reservation)
    }

    fn guess_right(&self) {
        let reservation = self.reserve().unwrap();
        self.succeed(&reservation);
    }

    fn lock_it(&self) {
        for _ in 0..self.policy.limit {
            self.guess_wrong();
        }
    }

    /// How long an attempt is told to wait.
    fn refused_for(&self) -> Duration {
        match self.reserve() {
            Err(ReserveError::Locked { retry_after } | ReserveError::Shut { retry_after }) => retry_after,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn five_wrong_guesses_are_checked_and_the_sixth_is_not() {
    let scene = Scene::new();
    for guess in 1..=5 {
        assert_eq!(scene.guess_wrong(), guess == 5, "guess {guess}");
    }
    assert_eq!(scene.refused_for(), Duration::from_secs(30));
}

#[test]
fn locks_double_from_30_seconds_to_15_minutes_and_no_further() {
    let scene = Scene::new();
    scene.lock_it();
    for seconds in [30, 60, 120, 240, 480, 900, 900, 900] {
        assert_eq!(scene.refused_for(), Duration::from_secs(seconds));
        scene.clock.advance(Duration::from_secs(seconds) - MILLI);
        assert_eq!(scene.refused_for(), MILLI);
        scene.clock.advance(MILLI);
        assert!(scene.guess_wrong(), "one guess at the end of a lock of {seconds} s, and the next lock");
    }
}

#[test]
fn an_attempt_while_the_pool_is_locked_changes_nothing() {
    let scene = Scene::new();
    scene.lock_it();
    let locked = scene.pool();
    for _ in 0..50 {
        scene.clock.advance(MILLI * 500);
        scene.refused_for();
        assert_eq!(scene.pool(), locked);
    }
    assert_eq!(scene.refused_for(), SECOND * 5, "25 of the 30 seconds have passed");
}

#[test]
fn one_guess_is_checked_at_the_end_of_a_lock_however_many_come() {
    let scene = Scene::with(PoolPolicy { patience: Duration::ZERO, ..PoolPolicy::default() });
    scene.lock_it();
    scene.clock.advance(SECOND * 30);
    let probe = scene.reserve().unwrap();
    for _ in 0..20 {
        assert_eq!(scene.refused_for(), SECOND, "somebody is being checked");
    }
    assert!(scene.fail(&probe));
    assert_eq!(scene.refused_for(), SECOND * 60);
}

/// The times of the most guesses that fit before `end`, for somebody who knows the rules and the clock: after each guess
/// either the next as soon as there is one, or a rest until the failures so far are forgotten.
fn best_guesses(pool: &Pool, policy: &PoolPolicy, now: Timestamp, end: Timestamp) -> Vec<Timestamp> {
    if now >= end {
        return Vec::new();
    }
    let operation = OperationId::from_bytes([1; 16]);
    let mut next = match pool.decide(operation, policy, now) {
        Decision::Admit(next) => next,
        Decision::Locked(wait) => return best_guesses(pool, policy, now + wait, end),
        Decision::Busy | Decision::Shut => return Vec::new(),
    };
    next.reserved.clear();
    let rest = next.locked_until(policy, now).unwrap_or(now) + policy.window;
    let (sooner, later) = (best_guesses(&next, policy, now, end), best_guesses(&next, policy, rest, end));
    let mut best = if later.len() > sooner.len() { later } else { sooner };
    best.insert(0, now);
    best
}

/// Promise 8's ceiling.
#[test]
fn perfectly_timed_guesses_of_an_hour_are_29_at_most() {
    let scene = Scene::new();
    let times = best_guesses(&Pool::default(), &scene.policy, START, START + SECOND * 60 * 60);
    assert_eq!(times.len(), 29, "{times:?}");
    // And they are checked indeed, all of them.
    for time in times {
        scene.clock.advance(time.since(scene.now()));
        scene.guess_wrong();
    }
    assert_eq!(scene.pool().total, 29);
}

#[test]
fn a_success_forgets_the_failures_before_it() {
    let scene = Scene::new();
    for _ in 0..4 {
        scene.guess_wrong();
    }
    scene.guess_right();
    let Pool { used, total, probes, reserved, .. } = scene.pool();
    assert_eq!((used, total, probes, reserved.len()), (0, 0, 0, 0));
}

#[test]
fn a_success_at_the_end_of_a_lock_makes_the_next_lock_the_first_again() {
    let scene = Scene::new();
    scene.lock_it();
    scene.clock.advance(SECOND * 30);
    scene.guess_wrong();
    scene.clock.advance(SECOND * 60);
    scene.guess_right();
    scene.lock_it();
    assert_eq!(scene.refused_for(), SECOND * 30);
}

#[test]
fn a_success_leaves_what_others_have_in_flight() {
    let scene = Scene::new();
    scene.guess_wrong();
    let (first, second, third) =
        (scene.reserve().unwrap(), scene.reserve().unwrap(), scene.reserve().unwrap());
    scene.succeed(&third);
    assert_eq!((scene.pool().used, scene.pool().in_flight(scene.now())), (2, 2));
    scene.fail(&first);
    scene.fail(&second);
    assert_eq!(scene.pool().failed(scene.now()), 2);
}

#[test]
fn a_success_leaves_failures_that_came_after_it_had_begun() {
    let scene = Scene::new();
    let slow = scene.reserve().unwrap();
    for _ in 0..4 {
        scene.guess_wrong();
    }
    scene.succeed(&slow);
    assert_eq!(scene.pool().failed(scene.now()), 4);
}

#[test]
fn two_successes_at_once_take_the_same_failures_off_once() {
    let scene = Scene::new();
    for _ in 0..3 {
        scene.guess_wrong();
    }
    let (first, second) = (scene.reserve().unwrap(), scene.reserve().unwrap());
    scene.succeed(&first);
    scene.guess_wrong();
    scene.succeed(&second);
    assert_eq!(scene.pool().failed(scene.now()), 1, "the failure in between stays");
}

#[test]
fn a_straggler_that_succeeds_after_all_is_taken_off_once() {
    // Its reservation has expired, so the next success means to take it off as a failure; then it succeeds first.
    let scene = Scene::new();
    let straggler = scene.reserve().unwrap();
    scene.guess_wrong();
    scene.clock.advance(scene.policy.reservation);
    let next = scene.reserve().unwrap();
    assert_eq!(next.clearing.expired, [straggler.operation]);
    scene.succeed(&straggler);
    scene.succeed(&next);
    scene.store().check(scene.now());
    assert_eq!(scene.pool().used, 1, "the safe side: the failure stays until the next success");
    scene.guess_right();
    assert_eq!(scene.pool().used, 0);
}

#[test]
fn a_burst_of_fifty_right_passwords_passes() {
    let scene = Scene::new();
    let passed = Arc::new(Mutex::new(0));
    let mut actors = Actors::default();
    for actor in 0..50 {
        let (port, clock, passed, policy) = (
            Port::of(actor, &scene.store, &scene.clock, Vec::new()),
            scene.clock.clone(),
            passed.clone(),
            scene.policy,
        );
        actors.start(async move {
            let random = Counting::of(actor);
            let env = Env { clock: &*clock, random: &random, keyring: &KEYRING };
            let reservation = reserve(&port, env, key(), &policy).await.unwrap();
            clock.sleep(MILLI * 12).await;
            settle_success(&port, &reservation).await.unwrap();
            *passed.lock().unwrap() += 1;
        });
    }
    while let [first, others @ ..] = actors.unfinished().as_slice() {
        actors.turn(*others.last().unwrap_or(first));
        for actor in others {
            actors.turn(*actor);
        }
        actors.turn(*first);
    }
    assert_eq!((*passed.lock().unwrap(), scene.pool().used), (50, 0));
    assert!(scene.now().since(START) < scene.policy.patience);
}

#[test]
fn an_attempt_waits_for_those_in_flight_as_long_as_its_patience_lasts() {
    let scene = Scene::new();
    let held: Vec<_> = (0..5).map(|_| scene.reserve().unwrap()).collect();
    assert_eq!(scene.refused_for(), SECOND);
    let waited = scene.now().since(START);
    assert!(waited >= scene.policy.patience && waited < scene.policy.patience + MILLI * 250, "{waited:?}");
    scene.succeed(&held[0]);
    scene.reserve().unwrap();
}

#[test]
fn a_reservation_that_nobody_settles_counts_as_a_failure() {
    let scene = Scene::new();
    for _ in 0..5 {
        scene.reserve().unwrap();
    }
    scene.clock.advance(scene.policy.reservation - MILLI);
    assert_eq!(scene.pool().in_flight(scene.now()), 5);
    scene.clock.advance(MILLI);
    assert_eq!((scene.pool().in_flight(scene.now()), scene.pool().failed(scene.now())), (0, 5));
    assert_eq!(scene.refused_for(), SECOND * 20, "the lock began with the last of them");
}

#[test]
fn a_success_takes_expired_reservations_with_it() {
    let scene = Scene::new();
    for _ in 0..3 {
        scene.reserve().unwrap();
    }
    scene.clock.advance(scene.policy.reservation);
    scene.guess_right();
    assert_eq!((scene.pool().used, scene.pool().reserved.len()), (0, 0));
}

#[test]
fn a_quiet_window_forgets_failures_and_probes_but_not_how_many_came_in_a_row() {
    let scene = Scene::new();
    for _ in 0..4 {
        scene.guess_wrong();
    }
    scene.clock.advance(scene.policy.window - MILLI);
    assert!(scene.guess_wrong(), "the fifth within the window");
    // Locked: the window begins when the lock is over.
    scene.clock.advance(SECOND * 30 + scene.policy.window - MILLI);
    assert!(scene.guess_wrong(), "one guess, still");
    scene.clock.advance(SECOND * 60 + scene.policy.window);
    assert!(!scene.guess_wrong(), "five guesses again");
    assert_eq!((scene.pool().used, scene.pool().probes, scene.pool().total), (1, 0, 7));
}

#[test]
fn a_hundred_failures_in_a_row_shut_a_pool_whatever_the_pauses() {
    for pause in [1, 45, 16 * 60, 2 * 60 * 60, 40 * 24 * 60 * 60] {
        let scene = Scene::new();
        let mut checked = 0;
        // Four months of trying each second are enough for the slowest.
        for _ in 0..100_000 {
            match scene.reserve() {
                Ok(reservation) => {
                    checked += 1;
                    assert!(checked <= 100, "checked {checked} with pauses of {pause} s");
                    let locked = scene.fail(&reservation);
                    assert!(checked < 100 || locked, "the hundredth failure is told apart");
                }
                Err(ReserveError::Locked { retry_after }) => scene.clock.advance(retry_after),
                Err(ReserveError::Shut { .. }) => break,
                Err(error) => panic!("{error}"),
            }
            scene.clock.advance(SECOND * pause);
        }
        assert_eq!(checked, 100, "pauses of {pause} s");
        scene.clock.advance(scene.policy.memory - SECOND * pause - SECOND);
        assert!(matches!(scene.reserve(), Err(ReserveError::Shut { .. })), "shut for a year but a second");
    }
}

#[test]
fn a_shut_pool_waits_for_those_in_flight_before_it_refuses() {
    let scene = Scene::with(PoolPolicy { shut_after: 2, patience: Duration::ZERO, ..PoolPolicy::default() });
    scene.guess_wrong();
    let last = scene.reserve().unwrap();
    assert!(matches!(scene.reserve(), Err(ReserveError::Locked { .. })), "it may succeed yet");
    scene.fail(&last);
    assert!(
        matches!(scene.reserve(), Err(ReserveError::Shut { retry_after }) if retry_after == SECOND * 900)
    );
}

#[test]
fn a_success_among_them_starts_the_hundred_anew() {
    let scene = Scene::with(PoolPolicy { shut_after: 10, ..PoolPolicy::default() });
    for _ in 0..5 {
        for _ in 0..4 {
            scene.guess_wrong();
        }
        scene.guess_right();
    }
    assert_eq!(scene.pool().total, 0);
}

#[test]
fn a_year_of_quiet_forgets_a_shut_pool() {
    let scene = Scene::with(PoolPolicy { shut_after: 5, ..PoolPolicy::default() });
    scene.lock_it();
    assert!(matches!(scene.reserve(), Err(ReserveError::Shut { .. })));
    scene.clock.advance(scene.policy.memory - MILLI);
    assert!(matches!(scene.reserve(), Err(ReserveError::Shut { .. })));
    scene.clock.advance(MILLI);
    // The model of the histories knows no year: this is asked of the decision alone.
    let operation = OperationId::from_bytes([9; 16]);
    let Decision::Admit(pool) = scene.pool().decide(operation, &scene.policy, scene.now()) else {
        panic!("still shut");
    };
    assert_eq!((pool.used, pool.total, pool.probes), (1, 1, 0));
}

#[test]
fn an_attempt_that_is_given_back_counts_for_nothing_and_clears_nothing() {
    let scene = Scene::new();
    for _ in 0..3 {
        scene.guess_wrong();
    }
    let before = scene.pool();
    let reservation = scene.reserve().unwrap();
    scene.store().model.released.insert(reservation.operation);
    finish(release(&scene.port(), &reservation)).unwrap();
    let after = scene.pool();
    assert_eq!((after.used, after.total, after.cleared), (before.used, before.total, before.cleared));
}

#[test]
fn an_attempt_that_is_settled_twice_counts_once() {
    let scene = Scene::new();
    let reservation = scene.reserve().unwrap();
    assert!(!scene.fail(&reservation));
    let failed = scene.pool();
    scene.fail(&reservation);
    scene.succeed(&reservation);
    assert_eq!(scene.pool(), failed, "what has failed can't succeed any more");
}

#[test]
fn a_reservation_whose_reply_was_lost_is_one_reservation() {
    let mut scene = Scene::new();
    scene.lost = vec![Reply::Repeated];
    scene.reserve().unwrap();
    assert_eq!((scene.pool().used, scene.pool().reserved.len()), (1, 1));
    // The same at the end of a lock, where the write is a compare-and-swap.
    let mut scene = Scene::new();
    scene.lock_it();
    scene.clock.advance(SECOND * 30);
    scene.lost = vec![Reply::Arrives, Reply::Repeated];
    let probe = scene.reserve().unwrap();
    assert_eq!((scene.pool().used, scene.pool().probes, scene.pool().reserved.len()), (5, 1, 1));
    scene.succeed(&probe);
    assert_eq!(scene.pool().used, 0);
}

#[test]
fn a_failure_whose_reply_was_lost_still_says_that_it_locked_the_pool() {
    let mut scene = Scene::new();
    for _ in 0..4 {
        scene.guess_wrong();
    }
    let last = scene.reserve().unwrap();
    scene.lost = vec![Reply::Repeated];
    assert!(scene.fail(&last));
}

#[test]
fn attempts_of_a_pool_that_was_forgotten_meanwhile_change_nothing() {
    let scene = Scene::new();
    let (first, second) = (scene.reserve().unwrap(), scene.reserve().unwrap());
    finish(scene.port().forget(&key())).unwrap();
    assert!(!scene.fail(&first));
    scene.succeed(&second);
    assert_eq!(scene.store().pool, None);
}

#[test]
fn pools_of_different_things_have_different_names() {
    let (account, user) =
        (crate::ids::AccountKey::from_bytes([1; 16]), crate::ids::UserId::from_bytes([1; 16]));
    let (device, factor) =
        (crate::ids::DeviceId::from_bytes([1; 16]).key(), crate::ids::FactorId::from_bytes([1; 16]));
    let names = std::collections::BTreeSet::from([
        PoolKey::strangers(account),
        PoolKey::codes_of_device(user, device),
        PoolKey::reauthentication(user),
        PoolKey::factor(user, factor),
        PoolKey::recovery_codes(user),
    ]);
    assert_eq!(names.len(), 5);
}

/// Loses every race against somebody else for the first `losses` writes.
struct Contended {
    port: Port,
    losses: Mutex<u32>,
    writes: Mutex<u32>,
    /// How long each write takes.
    takes: Duration,
}

impl Contended {
    fn lose(&self) -> bool {
        *self.writes.lock().unwrap() += 1;
        self.port.clock.advance(self.takes);
        let mut losses = self.losses.lock().unwrap();
        *losses = losses.saturating_sub(1);
        *losses > 0
    }

    /// What somebody else made of the pool: room, but not as it was seen.
    fn other(&self) -> Pool {
        Pool { used: 1, total: 1, version: u64::from(*self.writes.lock().unwrap()) + 10, ..Pool::default() }
    }
}

impl Attempts for Contended {
    async fn reserve(
        &self,
        key: &PoolKey,
        operation: OperationId,
        policy: &PoolPolicy,
        now: Timestamp,
    ) -> StoreResult<Reserved> {
        if self.lose() {
            Ok(Reserved::No(self.other()))
        } else {
            self.port.reserve(key, operation, policy, now).await
        }
    }

    async fn replace(&self, _: &PoolKey, _: u64, next: &Pool, _: &PoolPolicy) -> StoreResult<Reserved> {
        turn().await;
        if self.lose() { Ok(Reserved::No(self.other())) } else { Ok(Reserved::Yes(next.clone())) }
    }

    async fn settle_failure(
        &self,
        key: &PoolKey,
        operation: OperationId,
        now: Timestamp,
    ) -> StoreResult<Option<Pool>> {
        self.port.settle_failure(key, operation, now).await
    }

    async fn settle_success(
        &self,
        key: &PoolKey,
        operation: OperationId,
        clearing: &Clearing,
    ) -> StoreResult<()> {
        self.port.settle_success(key, operation, clearing).await
    }

    async fn pool(&self, key: &PoolKey) -> StoreResult<Option<Pool>> {
        self.port.pool(key).await
    }

    async fn forget(&self, key: &PoolKey) -> StoreResult<()> {
        self.port.forget(key).await
    }
}

fn contended(scene: &Scene, losses: u32, takes: Duration) -> Contended {
    Contended { port: scene.port(), losses: Mutex::new(losses), writes: Mutex::new(0), takes }
}

#[test]
fn an_attempt_that_others_keep_overtaking_gives_up_when_its_patience_is_over() {
    for takes in [100, 700, 2_100] {
        let scene = Scene::new();
        let ports = contended(&scene, 100, MILLI * takes);
        assert!(matches!(
            finish(reserve(&ports, scene.env(), key(), &scene.policy)),
            Err(ReserveError::Locked { .. })
        ));
        let waited = scene.now().since(START);
        assert!(waited >= scene.policy.patience, "{waited:?}");
        assert!(waited < scene.policy.patience + MILLI * takes, "{waited:?}");
    }
    // The first look counts, however late its answer was.
    let scene = Scene::new();
    let ports = contended(&scene, 2, scene.policy.patience);
    assert!(finish(reserve(&ports, scene.env(), key(), &scene.policy)).is_ok());
}

#[test]
fn an_attempt_makes_40_conditional_writes_at_most_and_never_loses_one_that_it_won() {
    for losses in [1, 2, 20, 39, 40, 41, 42, 100] {
        let scene = Scene::new();
        let ports = contended(&scene, losses, Duration::ZERO);
        let outcome = finish(reserve(&ports, scene.env(), key(), &scene.policy));
        let writes = *ports.writes.lock().unwrap();
        assert!(writes <= 40, "{writes} writes");
        assert_eq!(outcome.is_ok(), losses <= 40, "after {losses} losses and {writes} writes");
    }
}

#[test]
fn a_budget_of_an_address_is_used_up_by_the_request_after_the_last() {
    let limit = AddressLimit { requests: 2, window: SECOND * 60 };
    let state = |used| limit.state(used, START + SECOND * 7, START);
    assert_eq!((state(1).remaining(), state(1).is_exhausted()), (1, false));
    assert_eq!((state(2).remaining(), state(2).is_exhausted()), (0, false));
    assert_eq!((state(3).remaining(), state(3).is_exhausted()), (0, true));
    assert_eq!(state(1).resets_in, 7);
    assert_eq!(limit.state(1, START, START).resets_in, 1, "never 0");
}

#[test]
fn windows_of_an_address_follow_each_other_without_a_gap() {
    let limit = AddressLimit::default();
    let address = crate::address::ClientAddress::parse("192.0.2.7").unwrap();
    let (name, ends) = limit.window_of(address, START);
    assert!(ends > START && ends.since(START) <= limit.window);
    assert_eq!(limit.window_of(address, ends.minus(MILLI)).0, name);
    let (next, next_ends) = limit.window_of(address, ends);
    assert_ne!(next, name);
    assert_eq!(next_ends.since(ends), limit.window);
    let other = crate::address::ClientAddress::parse("192.0.2.8").unwrap();
    assert_ne!(limit.window_of(other, START).0, name);
}
