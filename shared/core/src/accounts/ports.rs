//! What accounts need of storage.

use super::{Email, LoginRecord, Profile, StoredHash};
use crate::{audit::SecurityEvent, ids::UserId, store::StoreResult};

pub trait LoginRecords: Send + Sync {
    /// A consistent read.
    fn login_record(&self, email: &Email) -> impl Future<Output = StoreResult<Option<LoginRecord>>> + Send;

    /// A consistent read.
    fn profile(&self, user: UserId) -> impl Future<Output = StoreResult<Option<Profile>>> + Send;
}

pub trait RenewHash: Send + Sync {
    /// Replaces a hash with one of the same password, provided that it is still the one that was checked: in one
    /// transaction with its event. Whoever meets somebody else at it leaves it to them.
    fn renew_hash(
        &self,
        email: &Email,
        checked: &StoredHash,
        renewed: &StoredHash,
        event: &SecurityEvent,
    ) -> impl Future<Output = StoreResult<()>> + Send;
}
