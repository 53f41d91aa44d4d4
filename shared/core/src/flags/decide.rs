//! What a request may do while flags hold.

use std::time::Duration;

use super::{Block, BlockSubject, DEFAULT_FACTOR, Flags, Mode, ModeName};
use crate::{
    address::{ClientAddress, Network},
    checks::Component,
    clock::Timestamp,
    ids::AccountKey,
    throttle::{AddressLimit, PoolPolicy},
};

/// What a function is subject to, and what it can't do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    /// Tables that it can't answer without. The keyring is none of them: its last good copy serves.
    pub needs: &'static [Component],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The caller's address is blocked.
    Blocked,
    Maintenance {
        retry_after: Duration,
    },
    /// A dependency is known to be down.
    Down {
        component: Component,
        retry_after: Duration,
    },
}

/// Callers are not sent away for longer, whatever the mode's end: modes are cleared early.
const LONGEST_MAINTENANCE_WAIT: Duration = Duration::from_secs(300);
const LONGEST_OUTAGE_WAIT: Duration = Duration::from_secs(30);

/// An emergency that holds: limits are divided, and devices that the account does not know wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Emergency {
    pub factor: u32,
}

impl Emergency {
    /// Attempts until a lock, divided. How many failures shut a pool for good stays as it is: that outlives the emergency.
    #[must_use]
    pub fn pool(self, policy: &PoolPolicy) -> PoolPolicy {
        PoolPolicy { limit: (policy.limit / self.factor.max(1)).max(1), ..*policy }
    }

    #[must_use]
    pub fn address(self, limit: &AddressLimit) -> AddressLimit {
        AddressLimit { requests: (limit.requests / u64::from(self.factor.max(1))).max(1), ..*limit }
    }
}

impl Flags {
    /// A mode, where it holds at `now`.
    pub fn mode(&self, name: ModeName, now: Timestamp) -> Option<&Mode> {
        self.modes.get(&name).filter(|mode| now < mode.expires_at)
    }

    /// The modes that hold at `now`.
    pub fn modes_at(&self, now: Timestamp) -> impl Iterator<Item = (ModeName, &Mode)> {
        self.modes.iter().filter(move |(_, mode)| now < mode.expires_at).map(|(name, mode)| (*name, mode))
    }

    /// The blocks that hold at `now`.
    pub fn blocks_at(&self, now: Timestamp) -> impl Iterator<Item = (BlockSubject, &Block)> {
        let held = self.blocks.iter().filter(move |(_, block)| now < block.expires_at);
        held.map(|(subject, block)| (*subject, block))
    }

    /// The block that an address falls under: of several the one that lasts longest.
    pub fn block_of_address(&self, address: ClientAddress, now: Timestamp) -> Option<(BlockSubject, &Block)> {
        let matching = self.blocks_at(now).filter(
            |(subject, _)| matches!(subject, BlockSubject::Network(network) if network.contains(address)),
        );
        matching.max_by_key(|(_, block)| block.expires_at)
    }

    /// Blocks of the network, of a part of it, or of more than it.
    pub fn blocks_of_network(
        &self,
        network: Network,
        now: Timestamp,
    ) -> impl Iterator<Item = (BlockSubject, &Block)> {
        self.blocks_at(now).filter(
            move |(subject, _)| matches!(subject, BlockSubject::Network(blocked) if blocked.overlaps(network)),
        )
    }

    pub fn block_of_account(&self, account: AccountKey, now: Timestamp) -> Option<&Block> {
        self.blocks.get(&BlockSubject::Account(account)).filter(|block| now < block.expires_at)
    }

    /// Whether any account is blocked at `now`.
    pub fn blocks_accounts(&self, now: Timestamp) -> bool {
        self.blocks_at(now).any(|(subject, _)| matches!(subject, BlockSubject::Account(_)))
    }

    /// How long an account is blocked for, as callers are told: no longer than a lock can be, so that the two look alike.
    pub fn account_wait(&self, account: AccountKey, policy: &PoolPolicy, now: Timestamp) -> Option<Duration> {
        let block = self.block_of_account(account, now)?;
        Some(block.expires_at.since(now).min(policy.longest_lock))
    }

    pub fn emergency(&self, now: Timestamp) -> Option<Emergency> {
        let mode = self.mode(ModeName::Emergency, now)?;
        Some(Emergency { factor: mode.factor.unwrap_or(DEFAULT_FACTOR) })
    }

    pub fn is_degraded(&self, component: Component, now: Timestamp) -> bool {
        self.mode(ModeName::Degraded(component), now).is_some()
    }

    /// Whether a request may go on to its function.
    ///
    /// # Errors
    /// [`Refusal`]. Blocks come first: whoever is shut out is not told what else there is.
    pub fn admit(&self, gate: &Gate, address: ClientAddress, now: Timestamp) -> Result<(), Refusal> {
        if self.block_of_address(address, now).is_some() {
            return Err(Refusal::Blocked);
        }
        if let Some(mode) = self.mode(ModeName::Maintenance, now) {
            let retry_after = mode.expires_at.since(now).min(LONGEST_MAINTENANCE_WAIT);
            return Err(Refusal::Maintenance { retry_after });
        }
        for component in gate.needs {
            if let Some(mode) = self.mode(ModeName::Degraded(*component), now) {
                let retry_after = mode.expires_at.since(now).min(LONGEST_OUTAGE_WAIT);
                return Err(Refusal::Down { component: *component, retry_after });
            }
        }
        Ok(())
    }
}
