//! How many sessions are live, without looking at them all.
//!
//! Every change of a user's sessions arrives once or more, in order within its shard. The ends of sessions are counted in
//! buckets of five minutes: a change takes the old ends out and puts the new ones in. The sessions that live are those whose
//! bucket has not passed.

use std::{cmp::Ordering, collections::BTreeMap, time::Duration};

use sallyport_core::{clock::Timestamp, store::StoreResult};

/// What the count is exact to.
pub const GRAIN: Duration = Duration::from_secs(300);

const DAY: u64 = 24 * 60 * 60;
/// Buckets of a day.
pub const BUCKETS: u64 = DAY / GRAIN.as_secs();

/// No session ends later than this after now: ninety days, and a day for what is on its way.
pub const HORIZON_DAYS: u64 = 91;

/// Five minutes of ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket(u64);

impl Bucket {
    pub const fn of(end: Timestamp) -> Self {
        Self(end.seconds() / GRAIN.as_secs())
    }

    pub const fn new(day: u64, slot: u64) -> Self {
        Self(day * BUCKETS + slot)
    }

    /// Days since 1970.
    pub const fn day(self) -> u64 {
        self.0 / BUCKETS
    }

    /// The bucket within its day.
    pub const fn slot(self) -> u64 {
        self.0 % BUCKETS
    }
}

/// A number of a stream's record: digits, of any length, ascending within a shard.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sequence(String);

impl Sequence {
    /// `None` when the text is no number.
    pub fn new(text: &str) -> Option<Self> {
        let digits = text.trim_start_matches('0');
        (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| Self(digits.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        if self.0.is_empty() { "0" } else { &self.0 }
    }
}

impl PartialOrd for Sequence {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Sequence {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.0.len(), &self.0).cmp(&(other.0.len(), &other.0))
    }
}

/// One change of a user's sessions: when they ended before, and when they end now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionChange {
    pub sequence: Sequence,
    pub before: Vec<Timestamp>,
    pub after: Vec<Timestamp>,
}

/// What a batch adds to each bucket.
pub type Deltas = BTreeMap<Bucket, i64>;

pub trait CountSessions: Send + Sync {
    /// The last record of a shard that was counted.
    fn counted(&self, shard: &str) -> impl Future<Output = StoreResult<Option<Sequence>>> + Send;

    /// Adds `deltas` and notes `last` as counted on `day`, in one transaction. `false` when `before` is not what was counted
    /// last.
    fn count_in(
        &self,
        shard: &str,
        before: Option<&Sequence>,
        last: &Sequence,
        day: u64,
        deltas: &Deltas,
    ) -> impl Future<Output = StoreResult<bool>> + Send;

    /// The sum of all buckets from `first` on.
    fn sum(&self, first: Bucket) -> impl Future<Output = StoreResult<i64>> + Send;

    /// Forgets days that have passed, and shards of which nothing was counted since: a stream replaces its shards every few
    /// hours. A shard of which it is not known when it was counted counts as seen on `today`.
    fn forget_before(&self, day: u64, today: u64) -> impl Future<Output = StoreResult<()>> + Send;
}

/// For how many days a day's counts and a shard's last record are kept. A stream keeps its records for one: by then no batch
/// can come again.
pub const KEPT_DAYS: u64 = 2;

/// Forgets what no count needs any more.
pub async fn forget<P: CountSessions>(ports: &P, now: Timestamp) -> StoreResult<()> {
    let today = Bucket::of(now).day();
    ports.forget_before(today.saturating_sub(KEPT_DAYS), today).await
}

/// Counts a batch of a shard; what of it was counted before is left out. Answers how many records were new.
///
/// # Errors
/// Storage: the batch comes again.
pub async fn take_batch<P: CountSessions>(
    ports: &P,
    shard: &str,
    changes: &[SessionChange],
    now: Timestamp,
) -> StoreResult<usize> {
    let today = Bucket::of(now).day();
    // Another delivery of the same batch may run beside this one: whoever loses finds it counted.
    for _ in 0..5 {
        let before = ports.counted(shard).await?;
        let new: Vec<_> = changes
            .iter()
            .filter(|change| before.as_ref().is_none_or(|before| change.sequence > *before))
            .collect();
        let Some(last) = new.iter().map(|change| &change.sequence).max() else {
            return Ok(0);
        };
        let mut deltas = Deltas::new();
        for change in &new {
            for (ends, step) in [(&change.before, -1), (&change.after, 1)] {
                for end in ends {
                    *deltas.entry(Bucket::of(*end)).or_default() += step;
                }
            }
        }
        deltas.retain(|_, delta| *delta != 0);
        if ports.count_in(shard, before.as_ref(), last, today, &deltas).await? {
            return Ok(new.len());
        }
    }
    Err(sallyport_core::store::StoreError::Contended { operation: "count sessions" })
}

/// The sessions that live at `now`, and those that ended in the five minutes before.
pub async fn active_sessions<P: CountSessions>(ports: &P, now: Timestamp) -> StoreResult<u64> {
    // Below zero only while sessions from before the stream are refreshed.
    ports.sum(Bucket::of(now)).await.map(|sum| u64::try_from(sum).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::{
        collections::HashMap,
        sync::{
            Mutex,
            atomic::{AtomicUsize, Ordering::SeqCst},
        },
    };

    use proptest::prelude::*;

    use super::*;
    use crate::testing::interleaving::finish;
    use sallyport_core::store::StoreError;

    #[derive(Default)]
    struct Counts {
        buckets: Mutex<Deltas>,
        shards: Mutex<HashMap<String, Sequence>>,
        calls: AtomicUsize,
        /// Calls of `count_in` that act and lose their answer.
        lost: Vec<usize>,
    }

    impl CountSessions for Counts {
        async fn counted(&self, shard: &str) -> StoreResult<Option<Sequence>> {
            Ok(self.shards.lock().unwrap().get(shard).cloned())
        }

        async fn count_in(
            &self,
            shard: &str,
            before: Option<&Sequence>,
            last: &Sequence,
            _day: u64,
            deltas: &Deltas,
        ) -> StoreResult<bool> {
            let mut shards = self.shards.lock().unwrap();
            if shards.get(shard) != before {
                return Ok(false);
            }
            shards.insert(shard.to_owned(), last.clone());
            for (bucket, delta) in deltas {
                *self.buckets.lock().unwrap().entry(*bucket).or_default() += delta;
            }
            if self.lost.contains(&self.calls.fetch_add(1, SeqCst)) {
                return Err(StoreError::Unavailable { operation: "test", reason: "lost".to_owned() });
            }
            Ok(true)
        }

        async fn sum(&self, first: Bucket) -> StoreResult<i64> {
            Ok(self.buckets.lock().unwrap().range(first..).map(|(_, count)| count).sum())
        }

        async fn forget_before(&self, day: u64, _today: u64) -> StoreResult<()> {
            self.buckets.lock().unwrap().retain(|bucket, _| bucket.day() >= day);
            Ok(())
        }
    }

    const START: u64 = 1_800_000_000;

    #[derive(Debug, Clone)]
    enum Act {
        Begin(u8, u32),
        Refresh(u8, u32),
        End(u8),
        EndAll,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            (0_u8..6, 1_u32..1_300_000).prop_map(|(id, life)| Act::Begin(id, life)),
            (0_u8..6, 1_u32..1_300_000).prop_map(|(id, life)| Act::Refresh(id, life)),
            (0_u8..6).prop_map(Act::End),
            Just(Act::EndAll),
        ]
    }

    proptest! {
        /// Users' sessions change at random; the records arrive in batches that overlap, come again and lose their answer.
        #[test]
        fn the_count_is_that_of_counting_them_all(
            history in prop::collection::vec((0_usize..4, 0_u32..40_000, act()), 1..120),
            sizes in prop::collection::vec((1_usize..9, 0_usize..4), 1..60),
            lost in prop::collection::vec(0_usize..40, 0..6),
            later in 0_u64..2_000_000,
        ) {
            let mut users: Vec<HashMap<u8, Timestamp>> = vec![HashMap::new(); 4];
            let mut shards: Vec<Vec<SessionChange>> = vec![Vec::new(); 2];
            let mut now = START;
            for (number, (user, wait, act)) in history.into_iter().enumerate() {
                now += u64::from(wait);
                let sessions = &mut users[user];
                let before: Vec<_> = sessions.values().copied().collect();
                let end = |life: u32| Timestamp::from_seconds(now + u64::from(life));
                match act {
                    Act::Begin(id, life) => drop(sessions.insert(id, end(life))),
                    Act::Refresh(id, life) => if let Some(held) = sessions.get_mut(&id) { *held = end(life); },
                    Act::End(id) => drop(sessions.remove(&id)),
                    Act::EndAll => sessions.clear(),
                }
                let after = sessions.values().copied().collect();
                let sequence = Sequence::new(&format!("{:021}", number * 7 + 95)).unwrap();
                shards[user % 2].push(SessionChange { sequence, before, after });
            }
            let counts = Counts { lost, ..Counts::default() };
            for (shard, changes) in shards.iter().enumerate() {
                let mut at = 0;
                let mut sizes = sizes.iter().cycle();
                while at < changes.len() {
                    let (size, back) = sizes.next().unwrap();
                    let from = at.saturating_sub(*back);
                    let to = (at + size).min(changes.len());
                    let batch = &changes[from..to];
                    // What fails comes again.
                    if finish(take_batch(&counts, &format!("shard-{shard}"), batch, Timestamp::from_seconds(START))).is_ok() {
                        at = to;
                    }
                }
            }
            let now = Timestamp::from_seconds(now + later);
            let counted = finish(active_sessions(&counts, now)).unwrap();
            let lives = |at: Timestamp| {
                users.iter().flat_map(HashMap::values).filter(|end| **end > at).count() as u64
            };
            let (live, live_lately) = (lives(now), lives(now.minus(GRAIN)));
            prop_assert!((live..=live_lately).contains(&counted), "{live} <= {counted} <= {live_lately}");
        }

        #[test]
        fn sequences_compare_as_numbers(a: u128, b: u128, zeros in 0_usize..4) {
            let sequence = |number: u128| Sequence::new(&format!("{}{number}", "0".repeat(zeros))).unwrap();
            prop_assert_eq!(sequence(a).cmp(&sequence(b)), a.cmp(&b));
            prop_assert_eq!(Sequence::new(sequence(a).as_str()).unwrap(), sequence(a));
        }
    }

    #[test]
    fn what_is_no_number_is_no_sequence() {
        assert_eq!(Sequence::new(""), None);
        assert_eq!(Sequence::new("12a"), None);
        assert!(Sequence::new("0").unwrap() < Sequence::new("1").unwrap());
    }

    #[test]
    fn a_bucket_is_five_minutes_of_a_day() {
        let bucket = Bucket::of(Timestamp::from_seconds(20_000 * 86_400 + 299));
        assert_eq!((bucket.day(), bucket.slot()), (20_000, 0));
        let bucket = Bucket::of(Timestamp::from_seconds(20_001 * 86_400 - 1));
        assert_eq!((bucket.day(), bucket.slot()), (20_000, 287));
        assert_eq!(Bucket::new(bucket.day(), bucket.slot()), bucket);
    }
}
