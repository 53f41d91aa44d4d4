//! What is known of an account.

use super::{Email, StoredHash};
use crate::{clock::Timestamp, ids::FactorId, ids::UserId};

/// Counts the events that end every session and every pending sign-in of an account: a new password, a reset, a disabling,
/// a deletion. A session can only be added under the epoch that its credential check read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Epoch(pub u64);

impl Epoch {
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Active,
    /// Signing in is refused until an operator enables the account again.
    Disabled,
}

/// How an account proves itself with something that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    Password(StoredHash),
    /// The account signs in through a provider only.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactorKind {
    Totp,
}

/// What sign-in needs to know of a confirmed second factor in order to offer it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactorSummary {
    pub id: FactorId,
    pub kind: FactorKind,
    /// Shown to the user, who gave it.
    pub label: String,
}

/// All that sign-in needs, in one item that is read by the canonical address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginRecord {
    pub email: Email,
    pub user: UserId,
    pub credential: Credential,
    pub status: Status,
    /// Whether the owner of the address has confirmed it.
    pub verified: bool,
    pub epoch: Epoch,
    pub factors: Vec<FactorSummary>,
    /// Whether recovery codes were issued. They are offered beside the factors.
    pub recovery_codes: bool,
}

impl LoginRecord {
    /// Whether a right password leads anywhere. All that refuses looks the same to the caller.
    pub fn may_sign_in(&self) -> bool {
        self.status == Status::Active && self.verified
    }
}

/// The account as its owner and the operator see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    pub user: UserId,
    pub email: Email,
    pub created_at: Timestamp,
    /// The factor that was enrolled last. It waits for its first code, or has had it, or is gone.
    pub enrolling: Option<FactorId>,
}
