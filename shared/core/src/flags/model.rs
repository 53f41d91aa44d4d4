//! What is set and what is blocked.

use std::{collections::BTreeMap, fmt, str::FromStr};

use crate::{
    address::{ClientAddress, Network},
    audit::steering,
    checks::Component,
    clock::Timestamp,
    ids::{AccountKey, OperationId},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ModeName {
    /// All limits are divided, and unknown devices wait.
    Emergency,
    /// Nobody is served but by the public keys and health.
    Maintenance,
    /// This dependency is known to be down: nobody waits for it.
    Degraded(Component),
}

impl ModeName {
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Emergency, Self::Maintenance].into_iter().chain(Component::ALL.map(Self::Degraded))
    }
}

impl fmt::Display for ModeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Emergency => f.write_str("emergency"),
            Self::Maintenance => f.write_str("maintenance"),
            Self::Degraded(component) => write!(f, "degraded.{}", component.as_str()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a mode")]
pub struct UnknownMode;

impl FromStr for ModeName {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        Self::all().find(|name| name.to_string() == text).ok_or(UnknownMode)
    }
}

/// Why something was set: shown to whoever answers for it later. 1 to 200 bytes, printable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a reason has 1 to {} bytes, and no control, no bidirectional and no invisible characters",
    Reason::MOST_BYTES
)]
pub struct InvalidReason;

impl Reason {
    pub const MOST_BYTES: usize = 200;

    /// # Errors
    /// [`InvalidReason`].
    pub fn new(text: &str) -> Result<Self, InvalidReason> {
        let text = text.trim();
        if text.is_empty() || text.len() > Self::MOST_BYTES || steering(text).contains(&true) {
            return Err(InvalidReason);
        }
        Ok(Self(text.to_owned()))
    }

    /// As it is stored. An earlier release let characters through that are refused now: a mode must not be lost by them.
    pub fn stored(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Reason {
    type Err = InvalidReason;

    fn from_str(text: &str) -> Result<Self, InvalidReason> {
        Self::new(text)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// By what limits are divided in an emergency, unless it is said otherwise.
pub const DEFAULT_FACTOR: u32 = 4;
pub const MOST_FACTOR: u32 = 100;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mode {
    pub reason: Reason,
    pub set_at: Timestamp,
    pub expires_at: Timestamp,
    /// Who set it, as events name authors.
    pub by: String,
    /// By what limits are divided: of an emergency alone.
    pub factor: Option<u32>,
}

/// Who is shut out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockSubject {
    Network(Network),
    /// By the hash of its address, so that it works whether or not the account exists.
    Account(AccountKey),
}

impl BlockSubject {
    /// One caller: an IPv6 address stands for its /64, which is what a subscriber holds.
    pub fn address(address: ClientAddress) -> Self {
        Self::Network(Network::of(address))
    }
}

impl fmt::Display for BlockSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => write!(f, "network#{network}"),
            Self::Account(account) => write!(f, "account#{account}"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the subject of a block")]
pub struct InvalidSubject;

impl FromStr for BlockSubject {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        match text.split_once('#') {
            Some(("network", network)) => network.parse().map(Self::Network).map_err(|_| InvalidSubject),
            Some(("account", account)) => account.parse().map(Self::Account).map_err(|_| InvalidSubject),
            _ => Err(InvalidSubject),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub reason: Reason,
    pub set_at: Timestamp,
    pub expires_at: Timestamp,
    /// Who added it, as events name authors.
    pub by: String,
}

/// All modes and blocks. Entries that have expired may still be among them; the methods that decide leave them out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Flags {
    /// Goes up with every change; 0 when nothing was ever set.
    pub version: u64,
    pub modes: BTreeMap<ModeName, Mode>,
    pub blocks: BTreeMap<BlockSubject, Block>,
    /// A key was revoked in the keyring of this time: no function goes on with a copy of an earlier one.
    pub keyring_from: Option<Timestamp>,
    /// The latest changes, oldest first: one that is repeated because its reply was lost finds itself.
    pub recent: Vec<OperationId>,
}
