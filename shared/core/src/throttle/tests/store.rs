//! The port in memory, as its documentation says, and beside it a model of what the pool ought to count.
//!
//! The model knows attempts by name and keeps sets of them; the pool keeps numbers. It shares no arithmetic with the pool.

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use super::super::{Attempts, Clearing, Pool, PoolKey, PoolPolicy, Reserved};
use crate::{
    clock::{Clock as _, Timestamp},
    ids::{AccountKey, OperationId},
    store::{StoreError, StoreResult},
    testing::interleaving::{ManualClock, turn},
};

pub(super) fn key() -> PoolKey {
    PoolKey::strangers(AccountKey::from_bytes([7; 16]))
}

/// How a reply gets lost on its way, the write being applied in each case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Reply {
    Arrives,
    /// It is lost, and the SDK repeats the call.
    Repeated,
    /// It is lost, and so is every repetition's.
    Lost,
}

/// An attempt as the model knows it.
#[derive(Debug, Clone, Hash)]
struct Known {
    at: Timestamp,
    expires: Timestamp,
    settled: bool,
    /// What had failed by the time it was admitted, and so goes with its success.
    failed_then: BTreeSet<OperationId>,
}

/// What ought to count.
#[derive(Debug, Default, Hash)]
pub(super) struct Model {
    attempts: BTreeMap<OperationId, Known>,
    /// What failed or is in flight since the last success or quiet window, but for failures whose place a probe took.
    counted: BTreeSet<OperationId>,
    /// The same since the last success only, and all of them.
    in_a_row: BTreeSet<OperationId>,
    probes: u32,
    last: Timestamp,
    /// Attempts that are given back unchecked: they take nothing with them.
    pub(super) released: BTreeSet<OperationId>,
    /// Whether a success ever left failures standing since another success or a straggler came first: then the pool may
    /// count more than it ought to. Never less.
    cautious: bool,
}

impl Model {
    fn in_flight(&self, now: Timestamp) -> BTreeSet<OperationId> {
        let flies = |known: &Known| !known.settled && now < known.expires;
        self.attempts.iter().filter(|(_, known)| flies(known)).map(|(id, _)| *id).collect()
    }

    /// The documented locks, written out: 30 s, doubling, at most 15 minutes.
    fn lock(&self) -> Duration {
        Duration::from_secs([30, 60, 120, 240, 480].get(self.probes as usize).copied().unwrap_or(900))
    }

    /// Whether an attempt may be checked now, by the rules as they are written down.
    fn admit(&mut self, operation: OperationId, policy: &PoolPolicy, now: Timestamp) {
        assert!(
            self.in_a_row.len() < policy.shut_after as usize,
            "admitted after {} failures in a row",
            self.in_a_row.len()
        );
        let in_flight = self.in_flight(now);
        let full = self.counted.len() >= policy.limit as usize;
        let lock = if full { self.lock() } else { Duration::ZERO };
        if in_flight.is_empty() && now >= self.last + lock + policy.window {
            self.counted.clear();
            self.probes = 0;
        } else if full {
            assert!(in_flight.is_empty(), "admitted beyond the limit, with {} in flight", in_flight.len());
            assert!(
                now >= self.last + lock,
                "admitted {:?} after the last failure, locked for {lock:?}",
                now.since(self.last)
            );
            self.counted.pop_first();
            self.probes += 1;
        }
        self.counted.insert(operation);
        self.in_a_row.insert(operation);
        self.last = now;
        let known = Known {
            at: now,
            expires: now + policy.reservation,
            settled: false,
            failed_then: BTreeSet::new(),
        };
        self.attempts.insert(operation, known);
    }

    /// The attempt learns of its admission, and with it of what had failed.
    fn told(&mut self, operation: OperationId, now: Timestamp) {
        let in_flight = self.in_flight(now);
        let failed = self.in_a_row.iter().filter(|id| !in_flight.contains(id)).copied().collect();
        if let Some(known) = self.attempts.get_mut(&operation) {
            known.failed_then = failed;
        }
    }

    fn fail(&mut self, operation: OperationId, now: Timestamp) {
        if let Some(known) = self.attempts.get_mut(&operation) {
            known.settled = true;
            self.last = now;
        }
    }

    fn succeed(&mut self, operation: OperationId) {
        let released = self.released.contains(&operation);
        if let Some(known) = self.attempts.get_mut(&operation) {
            known.settled = true;
            let mut leaving = BTreeSet::from([operation]);
            if !released && !known.failed_then.is_empty() {
                leaving.extend(known.failed_then.iter().copied());
                // Who counts as failed already is not in flight either.
                for id in &leaving {
                    if let Some(other) = self.attempts.get_mut(id) {
                        other.settled = true;
                    }
                }
                self.probes = 0;
            }
            self.counted.retain(|id| !leaving.contains(id));
            self.in_a_row.retain(|id| !leaving.contains(id));
        }
    }
}

/// One pool.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) pool: Option<Pool>,
    pub(super) policy: PoolPolicy,
    pub(super) model: Model,
    /// Calls to storage, by operation.
    pub(super) calls: BTreeMap<OperationId, u32>,
    /// Calls that changed the item.
    pub(super) writes: u32,
    /// Actors whose call is on its way.
    pub(super) under_way: BTreeSet<usize>,
    /// What each actor was told, folded into a number.
    pub(super) told: BTreeMap<usize, u64>,
}

impl Store {
    pub(super) fn new(policy: PoolPolicy) -> Self {
        Self {
            pool: None,
            policy,
            model: Model::default(),
            calls: BTreeMap::new(),
            writes: 0,
            under_way: BTreeSet::new(),
            told: BTreeMap::new(),
        }
    }

    fn read(&self) -> Pool {
        self.pool.clone().unwrap_or_default()
    }

    fn write(&mut self, pool: Pool) -> Pool {
        self.writes += 1;
        self.pool = Some(pool.clone());
        pool
    }

    /// `sent` is when the caller looked at its clock, `now` is when the write arrives.
    fn reserve(&mut self, operation: OperationId, sent: Timestamp, now: Timestamp) -> Reserved {
        let policy = self.policy;
        let mut pool = self.read();
        let fits = pool.used < policy.limit && pool.total < policy.shut_after;
        let fresh = pool.used == 0 || sent < pool.last + policy.window;
        if !fits || !fresh || pool.reserved.contains_key(&operation) {
            self.model.told(operation, now);
            return Reserved::No(pool);
        }
        self.model.admit(operation, &policy, sent);
        self.model.told(operation, now);
        pool.used += 1;
        pool.total += 1;
        pool.last = sent;
        pool.reserved.insert(operation, sent + policy.reservation);
        pool.version += 1;
        Reserved::Yes(self.write(pool))
    }

    fn replace(&mut self, operation: OperationId, seen: u64, next: &Pool, now: Timestamp) -> Reserved {
        let pool = self.read();
        if pool.version != seen {
            self.model.told(operation, now);
            return Reserved::No(pool);
        }
        self.model.admit(operation, &self.policy.clone(), next.last);
        self.model.told(operation, now);
        Reserved::Yes(self.write(next.clone()))
    }

    fn settle_failure(&mut self, operation: OperationId, now: Timestamp) -> Option<Pool> {
        let mut pool = self.pool.clone()?;
        if pool.reserved.remove(&operation).is_none() {
            return Some(pool);
        }
        self.model.fail(operation, now);
        pool.last = now;
        pool.version += 1;
        Some(self.write(pool))
    }

    fn settle_success(&mut self, operation: OperationId, clearing: &Clearing, now: Timestamp) {
        let mut pool = self.read();
        if pool.reserved.remove(&operation).is_none() {
            let lost = self
                .model
                .attempts
                .get(&operation)
                .is_some_and(|known| !known.settled && now < known.expires);
            assert!(!lost, "a reservation was lost while it was in flight");
            return;
        }
        let less =
            |count: u32, by: u32| count.checked_sub(by).expect("a success took more off than there was");
        pool.used = less(pool.used, 1);
        pool.total = less(pool.total, 1);
        let untouched = pool.cleared == clearing.cleared
            && clearing.expired.iter().all(|expired| pool.reserved.contains_key(expired));
        self.model.succeed(operation);
        self.model.cautious |= !clearing.is_empty() && !untouched;
        if !clearing.is_empty() && untouched {
            pool.used = less(pool.used, clearing.used);
            pool.total = less(pool.total, clearing.total);
            pool.probes = 0;
            pool.reserved.retain(|id, _| !clearing.expired.contains(id));
            pool.cleared += 1;
        }
        pool.version += 1;
        self.write(pool);
    }

    /// What holds after each write, whatever came before.
    pub(super) fn check(&self, now: Timestamp) {
        let pool = self.read();
        let policy = &self.policy;
        assert!(pool.failed(now) + pool.in_flight(now) <= policy.limit, "{pool:?}");
        assert!(pool.used <= policy.limit, "failed and in flight exceed the limit: {pool:?}");
        assert!(pool.total <= policy.shut_after, "more in a row than the pool allows: {pool:?}");
        assert!(pool.reserved.len() <= pool.used as usize, "reservations outgrow the count: {pool:?}");
        let (counted, in_a_row) = (self.model.counted.len(), self.model.in_a_row.len());
        assert!(pool.used as usize >= counted, "counts {} of {counted}: {self:?}", pool.used);
        assert!(pool.total as usize >= in_a_row, "counts {} of {in_a_row} in a row: {self:?}", pool.total);
        assert!(pool.probes >= self.model.probes, "locks too short: {self:?}");
        if !self.model.cautious {
            assert_eq!((pool.used as usize, pool.total as usize), (counted, in_a_row), "{self:?}");
        }
        for operation in self.model.in_flight(now) {
            assert!(
                pool.reserved.contains_key(&operation),
                "{operation} flies without a reservation: {pool:?}"
            );
        }
    }

    /// When each attempt was admitted.
    pub(super) fn admissions(&self) -> Vec<Timestamp> {
        let mut times: Vec<_> = self.model.attempts.values().map(|known| known.at).collect();
        times.sort();
        times
    }

    pub(super) fn fingerprint(&self, now: Timestamp) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.pool.tell(&mut hasher);
        self.model.hash(&mut hasher);
        (&self.told, &self.under_way).hash(&mut hasher);
        now.hash(&mut hasher);
        hasher.finish()
    }
}

/// What an actor was told, as a number can take it in.
pub(super) trait Told {
    fn tell(&self, hasher: &mut DefaultHasher);
}

impl Told for () {
    fn tell(&self, _: &mut DefaultHasher) {}
}

impl Told for &str {
    fn tell(&self, hasher: &mut DefaultHasher) {
        self.hash(hasher);
    }
}

impl Told for Pool {
    fn tell(&self, hasher: &mut DefaultHasher) {
        let Self { used, total, probes, last, cleared, reserved, version } = self;
        (used, total, probes, last, cleared, reserved, version).hash(hasher);
    }
}

impl Told for Option<Pool> {
    fn tell(&self, hasher: &mut DefaultHasher) {
        if let Some(pool) = self {
            pool.tell(hasher);
        }
    }
}

impl Told for Reserved {
    fn tell(&self, hasher: &mut DefaultHasher) {
        let (Self::Yes(pool) | Self::No(pool)) = self;
        matches!(self, Self::Yes(_)).hash(hasher);
        pool.tell(hasher);
    }
}

/// One actor's way to the store.
#[derive(Clone)]
pub(super) struct Port {
    pub(super) store: Arc<Mutex<Store>>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) actor: usize,
    /// Which of its calls lose their reply, by number; all others arrive.
    pub(super) replies: Arc<Mutex<Vec<Reply>>>,
    /// The attempt that is under way.
    operation: Arc<Mutex<Option<OperationId>>>,
}

impl Port {
    pub(super) fn of(
        actor: usize,
        store: &Arc<Mutex<Store>>,
        clock: &Arc<ManualClock>,
        mut replies: Vec<Reply>,
    ) -> Self {
        replies.reverse();
        Self {
            store: store.clone(),
            clock: clock.clone(),
            actor,
            replies: Arc::new(Mutex::new(replies)),
            operation: Arc::default(),
        }
    }

    pub(super) fn current(&self) -> Option<OperationId> {
        *self.operation.lock().unwrap()
    }

    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    /// One call: its turn, its effect, and what becomes of its reply.
    async fn call<T: Told>(
        &self,
        operation: OperationId,
        mut apply: impl FnMut(&mut Store, Timestamp) -> T + Send,
    ) -> StoreResult<T> {
        let reply = self.replies.lock().unwrap().pop().unwrap_or(Reply::Arrives);
        self.store().under_way.insert(self.actor);
        self.note(&"sends");
        turn().await;
        let mut told = self.apply(operation, &mut apply);
        if reply == Reply::Repeated {
            // Said by nobody: another turn passes until the repetition.
            self.note(&"lost");
            turn().await;
            told = self.apply(operation, &mut apply);
        }
        self.store().under_way.remove(&self.actor);
        if reply == Reply::Lost {
            self.note(&"lost for good");
            return Err(StoreError::Unavailable { operation: "test", reason: "reply lost".to_owned() });
        }
        self.note(&told);
        Ok(told)
    }

    fn apply<T>(&self, operation: OperationId, apply: &mut impl FnMut(&mut Store, Timestamp) -> T) -> T {
        let now = self.clock.now();
        let mut store = self.store();
        *store.calls.entry(operation).or_default() += 1;
        let told = apply(&mut store, now);
        store.check(now);
        told
    }

    /// Only an exhaustive search needs to know what each actor knows; it is the costly half of a call.
    pub(super) fn note(&self, told: &impl Told) {
        let mut store = self.store();
        if let Some(before) = store.told.get(&self.actor).copied() {
            let mut hasher = DefaultHasher::new();
            (before, self.clock.now()).hash(&mut hasher);
            told.tell(&mut hasher);
            store.told.insert(self.actor, hasher.finish());
        }
    }
}

impl Attempts for Port {
    async fn reserve(
        &self,
        _: &PoolKey,
        operation: OperationId,
        _: &PoolPolicy,
        now: Timestamp,
    ) -> StoreResult<Reserved> {
        *self.operation.lock().unwrap() = Some(operation);
        self.call(operation, |store, arrives| store.reserve(operation, now, arrives)).await
    }

    async fn replace(&self, _: &PoolKey, seen: u64, next: &Pool, _: &PoolPolicy) -> StoreResult<Reserved> {
        let operation = self.current().expect("a replacement follows a reservation");
        self.call(operation, |store, arrives| store.replace(operation, seen, next, arrives)).await
    }

    async fn settle_failure(
        &self,
        _: &PoolKey,
        operation: OperationId,
        now: Timestamp,
    ) -> StoreResult<Option<Pool>> {
        self.call(operation, |store, _| store.settle_failure(operation, now)).await
    }

    async fn settle_success(
        &self,
        _: &PoolKey,
        operation: OperationId,
        clearing: &Clearing,
    ) -> StoreResult<()> {
        self.call(operation, |store, arrives| store.settle_success(operation, clearing, arrives)).await
    }

    async fn pool(&self, _: &PoolKey) -> StoreResult<Option<Pool>> {
        turn().await;
        Ok(self.store().pool.clone())
    }

    async fn forget(&self, _: &PoolKey) -> StoreResult<()> {
        turn().await;
        let mut store = self.store();
        store.pool = None;
        store.model = Model::default();
        Ok(())
    }
}
