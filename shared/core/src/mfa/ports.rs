//! What second factors need of storage.

use super::{Claim, CodeHash, Factor, RecoveryCodes};
use crate::{
    accounts::{Email, Epoch, LoginRecords},
    audit::{RecordEvent, SecurityEvent},
    clock::Timestamp,
    ids::{FactorId, OperationId, UserId},
    sessions::{DeviceAttempts, ReadSessions, Session, Surplus},
    store::StoreResult,
    throttle::{Attempts, CountAddress, ReopenPool},
};

/// Reading factors and taking codes. Reads are consistent.
pub trait FactorPorts: Send + Sync {
    fn factor(
        &self,
        user: UserId,
        factor: FactorId,
    ) -> impl Future<Output = StoreResult<Option<Factor>>> + Send;

    fn recovery_codes(&self, user: UserId)
    -> impl Future<Output = StoreResult<Option<RecoveryCodes>>> + Send;

    /// Takes a code, in one transaction with the events of it. `false` when it has been taken before, or a later one has.
    fn claim(
        &self,
        user: UserId,
        claim: &Claim,
        events: &[SecurityEvent],
        now: Timestamp,
    ) -> impl Future<Output = StoreResult<bool>> + Send;
}

/// A sign-in to complete: everything in one transaction.
#[derive(Debug)]
pub struct Completion<'a> {
    pub user: UserId,
    pub epoch: Epoch,
    pub claim: &'a Claim,
    /// The MFA token, to be spent, and until when that must be remembered.
    pub token: OperationId,
    pub token_until: Timestamp,
    pub session: &'a Session,
    /// Sessions and devices that make room.
    pub surplus: &'a Surplus,
    pub events: &'a [SecurityEvent],
    pub now: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completed {
    Yes,
    /// The code had been taken.
    CodeTaken,
    /// The MFA token had been spent.
    TokenSpent,
    /// The password has changed, or the account was disabled, since it was checked.
    EpochPassed,
}

pub trait SignInCompletion: Send + Sync {
    /// Whether an MFA token has been spent: a consistent read.
    fn is_spent(&self, token: OperationId) -> impl Future<Output = StoreResult<bool>> + Send;

    fn complete(&self, completion: &Completion<'_>) -> impl Future<Output = StoreResult<Completed>> + Send;
}

/// A factor to confirm, in one transaction with what follows from it.
#[derive(Debug)]
pub struct Confirmation<'a> {
    pub factor: &'a Factor,
    pub email: &'a Email,
    pub step: u64,
    /// How many confirmed factors were read.
    pub seen: usize,
    /// Issued with the first factor.
    pub recovery_codes: Option<&'a RecoveryCodes>,
    pub events: &'a [SecurityEvent],
    pub now: Timestamp,
}

/// A factor to add, which waits for its first code.
#[derive(Debug, Clone, Copy)]
pub struct Enrolling<'a> {
    pub factor: &'a Factor,
    /// Which factor the profile named as the one that waits, when it was read. Of any number of enrolments that read the same
    /// one adds its factor: so there is one at most that waits, however many begin at once.
    pub seen: Option<FactorId>,
    /// Unconfirmed factors to remove, [`MOST_REPLACED`] at most.
    pub replaced: &'a [FactorId],
    pub event: &'a SecurityEvent,
}

/// Factors that one enrolment removes. There is one, unless the release before left more: it bounds what it adds by nothing. A
/// transaction of DynamoDB has 100 parts.
pub const MOST_REPLACED: usize = 25;

/// A factor to remove.
#[derive(Debug)]
pub struct Removal<'a> {
    pub user: UserId,
    pub email: &'a Email,
    pub factor: FactorId,
    /// How many confirmed factors were read.
    pub seen: usize,
    /// No confirmed factor stays: the recovery codes go too.
    pub last: bool,
    pub event: &'a SecurityEvent,
}

/// What became of a change of factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactorChange {
    Done,
    /// The factor is not there, or not waiting to be confirmed, any more.
    Gone,
    /// The account does not have as many factors any more as were read: what follows from them may be different.
    Overtaken,
}

/// Changing factors. Each call is one transaction that holds its event.
pub trait ManageFactors: Send + Sync {
    /// All factors of a user, unconfirmed ones included: a consistent read.
    fn factors(&self, user: UserId) -> impl Future<Output = StoreResult<Vec<Factor>>> + Send;

    /// Adds an unconfirmed factor in place of others. [`FactorChange::Overtaken`], and nothing is written, when another enrolment
    /// or a confirmation came in between.
    fn add_factor(&self, enrolling: &Enrolling<'_>)
    -> impl Future<Output = StoreResult<FactorChange>> + Send;

    fn confirm_factor(
        &self,
        confirmation: &Confirmation<'_>,
    ) -> impl Future<Output = StoreResult<FactorChange>> + Send;

    fn remove_factor(&self, removal: &Removal<'_>) -> impl Future<Output = StoreResult<FactorChange>> + Send;

    /// Puts `codes` in place of those that are left, provided that the account still has `seen` confirmed factors.
    fn replace_recovery_codes(
        &self,
        email: &Email,
        seen: usize,
        codes: &RecoveryCodes,
        event: &SecurityEvent,
    ) -> impl Future<Output = StoreResult<FactorChange>> + Send;
}

/// All that completing a sign-in may touch.
pub trait CompletePorts:
    FactorPorts
    + SignInCompletion
    + Attempts
    + DeviceAttempts
    + ReopenPool
    + CountAddress
    + ReadSessions
    + RecordEvent
{
}

impl<P> CompletePorts for P where
    P: FactorPorts
        + SignInCompletion
        + Attempts
        + DeviceAttempts
        + ReopenPool
        + CountAddress
        + ReadSessions
        + RecordEvent
{
}

/// All that managing factors may touch.
pub trait ManagePorts:
    FactorPorts + ManageFactors + LoginRecords + Attempts + ReadSessions + RecordEvent
{
}

impl<P> ManagePorts for P where
    P: FactorPorts + ManageFactors + LoginRecords + Attempts + ReadSessions + RecordEvent
{
}

/// Hashes of codes as a set of bytes.
impl RecoveryCodes {
    pub fn contains(&self, code: &CodeHash) -> bool {
        self.left.contains(code)
    }
}
