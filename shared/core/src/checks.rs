//! Health: whether each dependency answers in time.

use std::time::Duration;

use futures_util::{
    future::{Either, join_all, select},
    pin_mut,
};

use crate::{clock::Clock, store::StoreResult};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    Users,
    Sessions,
    Throttle,
    Keyring,
}

impl Component {
    pub const ALL: [Self; 4] = [Self::Users, Self::Sessions, Self::Throttle, Self::Keyring];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Sessions => "sessions",
            Self::Throttle => "throttle",
            Self::Keyring => "keyring",
        }
    }

    /// Reads what [`Component::as_str`] wrote.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|component| component.as_str() == name)
    }
}

/// What a component that answers says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Ready,
    /// It can be read, and nobody has filled it yet: so a deployment begins.
    Empty,
}

pub trait Probe: Send + Sync {
    /// One small, consistent read of the component.
    fn probe(&self, component: Component) -> impl Future<Output = StoreResult<Answer>> + Send;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub component: Component,
    pub latency: Duration,
    /// For the log; callers are told up, empty or down.
    pub fault: Option<String>,
    /// It is no fault of the component: it has not been filled yet.
    pub empty: bool,
}

/// Probes components side by side. One that has not answered within `limit` is down.
pub async fn check<P: Probe>(
    ports: &P,
    clock: &dyn Clock,
    components: &[Component],
    limit: Duration,
) -> Vec<Finding> {
    join_all(components.iter().map(|component| async {
        let started = clock.now();
        let probe = ports.probe(*component);
        pin_mut!(probe);
        let (fault, empty) = match select(probe, clock.sleep(limit)).await {
            Either::Left((Ok(Answer::Ready), _)) => (None, false),
            Either::Left((Ok(Answer::Empty), _)) => (Some("it has not been filled yet".to_owned()), true),
            Either::Left((Err(error), _)) => (Some(error.to_string()), false),
            Either::Right(_) => (Some(format!("no answer within {} ms", limit.as_millis())), false),
        };
        Finding { component: *component, latency: clock.now().since(started), fault, empty }
    }))
    .await
}
