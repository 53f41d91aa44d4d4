//! A session and its rules.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    accounts::Epoch,
    address::ClientAddress,
    clock::Timestamp,
    ids::{DeviceId, DeviceKey, OperationId, SessionId},
    throttle::{Device, MOST_DEVICES},
    tokens::Delivery,
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

/// How somebody proved who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Methods {
    pub password: bool,
    pub otp: bool,
    pub recovery_code: bool,
}

impl Methods {
    pub const PASSWORD: Self = Self { password: true, otp: false, recovery_code: false };

    pub const OTP: Self = Self { password: false, otp: true, recovery_code: false };
    pub const RECOVERY_CODE: Self = Self { password: false, otp: false, recovery_code: true };

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

/// When each method was last proven in a session. One time for all of them would let a new proof of one renew another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Proofs {
    pub password: Option<Timestamp>,
    pub otp: Option<Timestamp>,
    pub recovery_code: Option<Timestamp>,
}

impl Proofs {
    /// These methods, all proven at one time.
    pub fn at(methods: Methods, at: Timestamp) -> Self {
        Self::default().renewed(methods, at)
    }

    /// These proofs, with `methods` proven anew. The others stay as old as they are.
    #[must_use]
    pub fn renewed(self, methods: Methods, at: Timestamp) -> Self {
        let renew = |proven: bool, before: Option<Timestamp>| if proven { Some(at) } else { before };
        Self {
            password: renew(methods.password, self.password),
            otp: renew(methods.otp, self.otp),
            recovery_code: renew(methods.recovery_code, self.recovery_code),
        }
    }

    pub const fn methods(self) -> Methods {
        Methods {
            password: self.password.is_some(),
            otp: self.otp.is_some(),
            recovery_code: self.recovery_code.is_some(),
        }
    }

    /// When a second factor was last proven. (A recovery code stands for the factor that was lost.)
    pub fn second_factor(self) -> Option<Timestamp> {
        self.otp.max(self.recovery_code)
    }

    /// When anything was last proven.
    pub fn latest(self) -> Option<Timestamp> {
        self.password.max(self.second_factor())
    }

    /// NIST SP 800-63B: two factors are AAL2.
    pub fn assurance_level(self) -> u8 {
        if self.password.is_some() && self.second_factor().is_some() { 2 } else { 1 }
    }

    /// When the assurance level was last proven in full: at AAL2 the older one of both factors' proofs, so that neither makes
    /// the other look younger than it is.
    pub fn authenticated_at(self) -> Option<Timestamp> {
        match (self.password, self.second_factor()) {
            (Some(password), Some(second)) => Some(password.min(second)),
            (one, other) => one.max(other),
        }
    }

    /// Authentication method references after RFC 8176, which has no value for a recovery code: the methods that were proven
    /// at [`Self::authenticated_at`] or later.
    pub fn references(self) -> impl Iterator<Item = &'static str> {
        let since = self.authenticated_at();
        let holds = |at: Option<Timestamp>| at.is_some() && at >= since;
        [(holds(self.password), "pwd"), (holds(self.otp), "otp"), (self.assurance_level() > 1, "mfa")]
            .into_iter()
            .filter_map(|(holds, name)| holds.then_some(name))
    }
}

/// One sign-in on one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    /// The counter of the one refresh token that is good now.
    pub counter: u32,
    pub created_at: Timestamp,
    /// When the counter last went up.
    pub rotated_at: Timestamp,
    /// Which operation put it up: how a rotation whose reply was lost knows itself.
    pub rotated_by: OperationId,
    pub idle_until: Timestamp,
    pub absolute_until: Timestamp,
    pub proofs: Proofs,
    pub delivery: Delivery,
    pub device: DeviceId,
    /// Where it was created from, for its owner to see.
    pub address: ClientAddress,
    /// What kind of device it says it is, for its owner to see. At most [`Session::AGENT`] characters.
    pub agent: String,
}

impl Session {
    /// Ten sessions with everything in them, and the devices that the account knows, fit into two write units.
    pub const AGENT: usize = 22;

    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.idle_until && now < self.absolute_until
    }

    /// When its assurance level was last proven in full. A session begins with a proof.
    pub fn authenticated_at(&self) -> Timestamp {
        self.proofs.authenticated_at().unwrap_or(self.created_at)
    }

    /// When the current refresh token stops working, if it is not used.
    pub fn refresh_until(&self) -> Timestamp {
        self.idle_until.min(self.absolute_until)
    }
}

/// All sessions of a user, and the devices that the account knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserSessions {
    pub epoch: Epoch,
    pub sessions: Vec<Session>,
    pub devices: BTreeMap<DeviceKey, Device>,
    /// Whether strangers have shut their pool: a known device that signs in opens it.
    pub strangers_shut: bool,
}

impl UserSessions {
    pub fn find(&self, id: SessionId) -> Option<&Session> {
        self.sessions.iter().find(|session| session.id == id)
    }

    pub fn live(&self, id: SessionId, now: Timestamp) -> Option<&Session> {
        self.find(id).filter(|session| session.is_live(now))
    }

    pub fn device(&self, key: DeviceKey) -> Option<&Device> {
        self.devices.get(&key)
    }

    /// Devices that the account knows, or that have a session.
    pub fn device_keys(&self) -> BTreeSet<DeviceKey> {
        self.devices.keys().copied().chain(self.sessions.iter().map(|session| session.device.key())).collect()
    }

    /// What must go so that `keep` and its device fit under the limits: of sessions what is over, and of the rest those idle
    /// longest; of devices without a session those that were used least recently.
    pub fn surplus(&self, keep: &Session, limit: usize, now: Timestamp) -> Surplus {
        let (live, over): (Vec<_>, Vec<_>) = self.sessions.iter().partition(|session| session.is_live(now));
        let mut others: Vec<_> = live.into_iter().filter(|session| session.id != keep.id).collect();
        others.sort_by_key(|session| (session.rotated_at, session.id));
        let excess = (others.len() + 1).saturating_sub(limit);
        let (displaced, staying) = others.split_at(excess);
        Surplus {
            over: over.iter().map(|session| session.id).filter(|id| *id != keep.id).collect(),
            displaced: displaced.iter().map(|session| session.id).collect(),
            devices: self.surplus_devices(keep, staying),
        }
    }

    fn surplus_devices(&self, keep: &Session, staying: &[&Session]) -> Vec<(DeviceKey, Device)> {
        let used: BTreeSet<_> =
            staying.iter().copied().chain([keep]).map(|session| session.device.key()).collect();
        let mut unused: Vec<_> = self.devices.iter().filter(|(key, _)| !used.contains(key)).collect();
        unused.sort_by_key(|(key, device)| (device.known, **key));
        let listed = self.devices.len() + usize::from(!self.devices.contains_key(&keep.device.key()));
        let excess = listed.saturating_sub(MOST_DEVICES);
        unused.into_iter().take(excess).map(|(key, device)| (*key, device.clone())).collect()
    }
}

/// Sessions and devices that make room.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Surplus {
    /// Ended by time already.
    pub over: Vec<SessionId>,
    /// Alive until the limit ended them.
    pub displaced: Vec<SessionId>,
    /// Devices that the account knows no longer.
    pub devices: Vec<(DeviceKey, Device)>,
}
