//! A session and its rules.

use std::time::Duration;

use crate::{
    accounts::Epoch,
    address::ClientAddress,
    clock::Timestamp,
    ids::{DeviceId, OperationId, SessionId},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long sessions live and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionPolicy {
    /// A session that is not refreshed for this long is over.
    pub idle: Duration,
    /// A session is over this long after its sign-in, whatever is done with it.
    pub absolute: Duration,
    /// Sessions per user.
    pub limit: usize,
    /// For this long after a rotation the token before is answered with the current one.
    pub grace: Duration,
}

impl Default for SessionPolicy {
    fn default() -> Self {
        Self { idle: DAY * 14, absolute: DAY * 90, limit: 10, grace: Duration::from_secs(10) }
    }
}

/// What was proved at the last authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Methods {
    pub password: bool,
    pub otp: bool,
    pub recovery_code: bool,
}

impl Methods {
    pub const PASSWORD: Self = Self { password: true, otp: false, recovery_code: false };

    /// NIST SP 800-63B: two factors are AAL2. (A recovery code stands for the factor that was lost.)
    pub const fn assurance_level(self) -> u8 {
        if self.password && (self.otp || self.recovery_code) { 2 } else { 1 }
    }

    /// Authentication method references after RFC 8176; it has no value for a recovery code.
    pub fn references(self) -> impl Iterator<Item = &'static str> {
        let level = self.assurance_level();
        [(self.password, "pwd"), (self.otp, "otp"), (level > 1, "mfa")]
            .into_iter()
            .filter_map(|(holds, name)| holds.then_some(name))
    }

    /// Both proofs together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self {
            password: self.password || other.password,
            otp: self.otp || other.otp,
            recovery_code: self.recovery_code || other.recovery_code,
        }
    }
}

/// One sign-in on one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    /// The counter of the one refresh token that is good now.
    pub counter: u32,
    pub created_at: Timestamp,
    pub authenticated_at: Timestamp,
    /// When the counter last went up.
    pub rotated_at: Timestamp,
    /// Which operation put it up: how a rotation whose reply was lost knows itself.
    pub rotated_by: OperationId,
    pub idle_until: Timestamp,
    pub absolute_until: Timestamp,
    pub methods: Methods,
    pub device: DeviceId,
    /// Where it was created from, for its owner to see.
    pub address: ClientAddress,
    /// What kind of device it says it is, for its owner to see. At most [`Session::AGENT`] bytes.
    pub agent: String,
}

impl Session {
    /// Ten sessions with everything in them fit into two write units.
    pub const AGENT: usize = 40;

    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.idle_until && now < self.absolute_until
    }

    /// When the current refresh token stops working, if it is not used.
    pub fn refresh_until(&self) -> Timestamp {
        self.idle_until.min(self.absolute_until)
    }
}

/// All sessions of a user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserSessions {
    pub epoch: Epoch,
    pub sessions: Vec<Session>,
}

impl UserSessions {
    pub fn find(&self, id: SessionId) -> Option<&Session> {
        self.sessions.iter().find(|session| session.id == id)
    }

    pub fn live(&self, id: SessionId, now: Timestamp) -> Option<&Session> {
        self.find(id).filter(|session| session.is_live(now))
    }

    /// What must go so that `keep` fits under the limit: what is over, and of the rest those idle longest.
    pub fn surplus(&self, keep: SessionId, limit: usize, now: Timestamp) -> Surplus {
        let (live, over): (Vec<_>, Vec<_>) = self.sessions.iter().partition(|session| session.is_live(now));
        let mut others: Vec<_> = live.into_iter().filter(|session| session.id != keep).collect();
        others.sort_by_key(|session| (session.rotated_at, session.id));
        let excess = (others.len() + 1).saturating_sub(limit);
        Surplus {
            over: over.iter().map(|session| session.id).filter(|id| *id != keep).collect(),
            displaced: others.iter().take(excess).map(|session| session.id).collect(),
        }
    }
}

/// Sessions that make room.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Surplus {
    /// Ended by time already.
    pub over: Vec<SessionId>,
    /// Alive until the limit ended them.
    pub displaced: Vec<SessionId>,
}
