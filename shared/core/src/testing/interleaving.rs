//! Actors whose storage calls a test puts in order.
//!
//! Each storage call waits for its turn first, and is atomic then, as one conditional write is. So the turns that a test
//! hands out are a history, and all possible hand-outs are all possible histories.

use std::{
    collections::HashSet,
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::{
    clock::{Clock, Timestamp, Waiting},
    random::{Random, RandomUnavailable},
};

/// Gives the others a chance: pending once.
pub(crate) struct Turn(bool);

pub(crate) fn turn() -> Turn {
    Turn(false)
}

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Polls to the end a future that nobody else has to go on for.
pub(crate) fn finish<F: Future>(future: F) -> F::Output {
    let mut future = Box::pin(future);
    for _ in 0..100_000 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
    panic!("the future never ends");
}

/// A clock that stands still until a test moves it, or a sleeper has its turn.
pub(crate) struct ManualClock(AtomicU64);

impl ManualClock {
    pub(crate) fn at(start: Timestamp) -> Self {
        Self(AtomicU64::new(start.millis()))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.advance_to(self.now() + by);
    }

    pub(crate) fn advance_to(&self, to: Timestamp) {
        self.0.fetch_max(to.millis(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn sleep(&self, duration: Duration) -> Waiting<'_> {
        let until = self.now() + duration;
        Box::pin(async move {
            turn().await;
            self.advance_to(until);
        })
    }
}

/// Bytes that no two calls share, nor two actors; the same at every run.
pub(crate) struct Counting {
    actor: u8,
    calls: AtomicU64,
}

impl Counting {
    pub(crate) fn of(actor: usize) -> Self {
        Self { actor: u8::try_from(actor).unwrap_or(u8::MAX), calls: AtomicU64::new(0) }
    }
}

impl Random for Counting {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomUnavailable> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst).to_be_bytes();
        let pattern = std::iter::once(self.actor).chain(call);
        for (to, from) in bytes.iter_mut().zip(pattern.chain(std::iter::repeat(0))) {
            *to = from;
        }
        Ok(())
    }
}

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The actors of one history.
#[derive(Default)]
pub(crate) struct Actors(Vec<Option<Running>>);

impl Actors {
    /// Lets it run to its first storage call.
    pub(crate) fn start(&mut self, actor: impl Future<Output = ()> + Send + 'static) {
        self.0.push(Some(Box::pin(actor)));
        self.turn(self.0.len() - 1);
    }

    /// Lets an actor make its storage call and go on to its next.
    pub(crate) fn turn(&mut self, actor: usize) {
        let slot = &mut self.0[actor];
        if let Some(running) = slot
            && running.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
        {
            *slot = None;
        }
    }

    pub(crate) fn unfinished(&self) -> Vec<usize> {
        self.0.iter().enumerate().filter_map(|(index, slot)| slot.is_some().then_some(index)).collect()
    }
}

/// A history under way.
pub(crate) trait History {
    fn actors(&mut self) -> &mut Actors;

    /// All that the rest of the history depends on: storage, clock, and what each actor was told.
    fn fingerprint(&self) -> u64;

    /// What holds after every turn.
    fn check(&self);

    /// What holds when every actor is done.
    fn check_end(&self) {}
}

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Explored {
    /// Distinct states that were reached.
    pub(crate) states: usize,
    /// Distinct states in which every actor was done.
    pub(crate) ends: usize,
}

impl std::ops::AddAssign for Explored {
    fn add_assign(&mut self, other: Self) {
        self.states += other.states;
        self.ends += other.ends;
    }
}

/// Plays every order of turns. States that were seen before are not played on.
pub(crate) fn explore<H: History>(start: impl Fn() -> H) -> Explored {
    let mut explored = Explored::default();
    let mut seen = HashSet::new();
    // Each is a history to its first turn that was not played yet.
    let mut open: Vec<Vec<usize>> = vec![Vec::new()];
    while let Some(mut turns) = open.pop() {
        let mut history = start();
        for actor in &turns {
            history.actors().turn(*actor);
        }
        while seen.insert(history.fingerprint()) {
            history.check();
            explored.states += 1;
            let unfinished = history.actors().unfinished();
            let Some((next, others)) = unfinished.split_first() else {
                history.check_end();
                explored.ends += 1;
                break;
            };
            open.extend(others.iter().map(|actor| {
                let mut other = turns.clone();
                other.push(*actor);
                other
            }));
            turns.push(*next);
            history.actors().turn(*next);
        }
    }
    explored
}
