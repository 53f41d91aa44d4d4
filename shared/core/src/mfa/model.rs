//! What is known of a second factor.

use std::collections::BTreeSet;

use super::{CodeHash, SealedSeed};
use crate::{
    clock::Timestamp,
    ids::{FactorId, UserId},
};

/// A TOTP factor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Factor {
    pub user: UserId,
    pub id: FactorId,
    pub label: String,
    pub seed: SealedSeed,
    /// Whether its user has shown a code of it. Before that it is offered nowhere.
    pub confirmed: bool,
    /// The last time step that was accepted: the next must lie above it (RFC 6238 5.2).
    pub last_step: Option<u64>,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
}

/// The recovery codes that a user has left, hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryCodes {
    pub user: UserId,
    pub left: BTreeSet<CodeHash>,
    pub issued_at: Timestamp,
}

/// What a right code takes: it can be taken once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    TotpStep { factor: FactorId, step: u64 },
    RecoveryCode { code: CodeHash },
}
